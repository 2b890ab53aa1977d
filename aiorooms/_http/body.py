"""Reading the body of an answer: in pieces, decompressed, and never more than a limit.

An uncompressed body whose length is known and within the limit is read at once. Any other body is read piece by piece,
because its size may be known only at its end: 2 MB of gzip may hold 2 GB of zeros. Example: the limit is 8 MB, and each
piece of 64 KB would unpack to 64 MB. Unpacking the first piece stops one byte above 8 MB, because this byte shows that
the body is too large.

Our own session leaves the decompression to this module. The user's session is expected to decompress by itself, so that
its pieces arrive unpacked.
"""

import zlib
from typing import Final

import aiohttp

__all__ = ["ENCODINGS", "BodyError", "TooLargeError", "read_body"]

ENCODINGS: Final = "gzip, deflate"
"""What a server may use; the value of `Accept-Encoding`."""


class BodyError(Exception):
    """The body can't be decompressed; the text says why."""


class TooLargeError(Exception):
    """The body is larger than the limit. `.beginning` has its first bytes, up to the limit."""

    def __init__(self, beginning: bytes) -> None:
        super().__init__()
        self.beginning = beginning


async def read_body(response: aiohttp.ClientResponse, limit: int, *, is_decompressed: bool) -> bytes:
    """Return the body of an answer. Raises `BodyError`, `TooLargeError`, or what aiohttp raises.

    `is_decompressed`: whether the session decompresses by itself. The connection is closed if the body is not read to
    its end.
    """
    encoding = response.headers.get("Content-Encoding", "").strip().lower()
    length = response.content_length
    if length is not None and length <= limit and not encoding:
        return await response.read()
    try:
        unpacker = None if is_decompressed or encoding in ("", "identity") else _Unpacker(encoding)
    except BodyError:
        response.close()
        raise
    pieces: list[bytes] = []
    size = 0
    is_at_end = False
    try:
        async for packed in response.content.iter_any():
            piece = packed if unpacker is None else unpacker.unpack(packed, limit - size + 1)
            pieces.append(piece)
            size += len(piece)
            if size > limit:
                break
        else:
            is_at_end = True
    finally:
        if not is_at_end:
            response.close()
    if not is_at_end:
        raise TooLargeError(b"".join(pieces)[:limit])
    if unpacker is not None and size and not unpacker.is_complete:
        raise BodyError(f"its {encoding} data is cut off")
    return b"".join(pieces)


class _Unpacker:
    """Decompresses one body."""

    def __init__(self, encoding: str) -> None:
        # x-gzip is the same as gzip (RFC 9110, 8.4.1.3).
        if encoding not in ("gzip", "x-gzip", "deflate"):
            raise BodyError(f"its Content-Encoding is {encoding[:50]!r}; supported are {ENCODINGS}")
        self._encoding = encoding
        self._decompress = zlib.decompressobj(zlib.MAX_WBITS | 16 if "gzip" in encoding else zlib.MAX_WBITS)
        self._is_first = True

    @property
    def is_complete(self) -> bool:
        return self._decompress.eof

    def unpack(self, packed: bytes, limit: int) -> bytes:
        """Decompress the next piece to at most `limit` bytes. Raises `BodyError`."""
        try:
            return self._unpack(packed, limit)
        except zlib.error as error:
            raise BodyError(f"it is not {self._encoding}: {error}") from None

    def _unpack(self, packed: bytes, limit: int) -> bytes:
        try:
            return self._decompress.decompress(packed, limit)
        except zlib.error:
            # Some servers send deflate without the zlib header that the standard requires (RFC 9110, 8.4.1.2).
            if self._encoding != "deflate" or not self._is_first:
                raise
            self._decompress = zlib.decompressobj(-zlib.MAX_WBITS)
            return self._decompress.decompress(packed, limit)
        finally:
            self._is_first = False
