"""Read the body of an answer, decompress it, and stop at a size limit.

An uncompressed body is read in one call if its length is known and within the limit. Any other body is read piece by
piece, because it may be too large. For example, 2 MB of gzip can decompress to 2 GB of zeros. If the limit is 8 MB,
and the first piece of 64 KB would decompress to 64 MB, decompression stops one byte above 8 MB, because that byte
proves that the body is too large.

Our own session leaves decompression to this module. A session that the user passed in usually decompresses by itself,
so its pieces arrive decompressed.
"""

import zlib
from collections.abc import Coroutine
from typing import Final

import aiohttp
from aiohttp import hdrs

__all__ = ["ENCODINGS", "BodyError", "TooLargeError", "read_body"]

ENCODINGS: Final = "gzip, deflate"
"""The compression formats that the server may use. Sent as `Accept-Encoding`."""


class BodyError(Exception):
    """The body can't be decompressed. The message says why."""


class TooLargeError(Exception):
    """The body is larger than the limit. `.beginning` contains its first bytes, up to the limit."""

    def __init__(self, beginning: bytes) -> None:
        super().__init__()
        self.beginning = beginning


def read_body(response: aiohttp.ClientResponse, limit: int, *, auto_decompress: bool) -> Coroutine[None, None, bytes]:
    """Return the decompressed body of an answer. Raises `BodyError`, `TooLargeError` or an exception of aiohttp.

    `auto_decompress` says whether the session decompresses by itself. If the body is not read to its end, the
    connection is closed.
    """
    encoding = response.headers.get(hdrs.CONTENT_ENCODING)
    length = response.content_length
    if encoding is None and length is not None and length <= limit:
        return response.read()
    return _read_in_pieces(response, (encoding or "").strip().lower(), limit, auto_decompress=auto_decompress)


async def _read_in_pieces(
    response: aiohttp.ClientResponse, encoding: str, limit: int, *, auto_decompress: bool
) -> bytes:
    is_plain = encoding in ("", "identity") or (auto_decompress and encoding in _DECODED_BY_AIOHTTP)
    is_at_end = False
    pieces: list[bytes] = []
    size = packed_size = 0
    try:
        unpacker = None if is_plain else _Unpacker(encoding)
        async for packed in response.content.iter_any():
            piece = packed if unpacker is None else unpacker.unpack(packed, limit - size + 1)
            pieces.append(piece)
            size += len(piece)
            packed_size += len(packed)
            # Both sizes are limited, because a compressed body may be endless and decompress to nothing.
            if max(size, packed_size) > limit:
                break
        else:
            is_at_end = True
    finally:
        if not is_at_end:
            response.close()
    if not is_at_end:
        raise TooLargeError(b"".join(pieces)[:limit])
    if unpacker is not None and packed_size and not unpacker.is_complete:
        raise BodyError(f"its {encoding} data is cut off")
    return b"".join(pieces)


_DECODED_BY_AIOHTTP: Final = ("gzip", "deflate", "br", "zstd")

_ZLIB_HEADER: Final = 2
"""The size of a zlib header, in bytes."""


class _Unpacker:
    """Decompresses one body."""

    def __init__(self, encoding: str) -> None:
        # x-gzip is the same as gzip (RFC 9110, 8.4.1.3).
        if encoding not in ("gzip", "x-gzip", "deflate"):
            raise BodyError(f"its Content-Encoding is {encoding[:50]!r}; supported are {ENCODINGS}")
        self._encoding = encoding
        self._decompressor = None if encoding == "deflate" else zlib.decompressobj(zlib.MAX_WBITS | 16)
        self._held: bytes = b""
        """The deflate data received so far, while it is too short to recognize a zlib header."""

    @property
    def is_complete(self) -> bool:
        return self._decompressor is not None and self._decompressor.eof

    def unpack(self, packed: bytes, limit: int) -> bytes:
        """Decompress the next piece to at most `limit` bytes. Raises `BodyError`."""
        if self._decompressor is None:
            packed = self._held + packed
            if len(packed) < _ZLIB_HEADER:
                self._held = packed
                return b""
            # Some servers omit the zlib header that deflate requires (RFC 9110, 8.4.1.2; RFC 1950, 2.2).
            has_header = packed[0] & 15 == zlib.DEFLATED and int.from_bytes(packed[:2], "big") % 31 == 0
            self._decompressor = zlib.decompressobj(zlib.MAX_WBITS if has_header else -zlib.MAX_WBITS)
        was_complete = self._decompressor.eof
        try:
            piece = b"" if was_complete else self._decompressor.decompress(packed, limit)
        except zlib.error as error:
            raise BodyError(f"it is not {self._encoding}: {error}") from None
        if was_complete or self._decompressor.unused_data:
            raise BodyError(f"there is more data after the end of its {self._encoding} data")
        return piece
