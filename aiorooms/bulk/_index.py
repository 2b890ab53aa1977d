"""An index that finds a line of a file by a room's id or name, with about 75 bytes of memory per line.

The key of a line is the id or the name. Each line has an entry of 28 bytes: a 16-byte digest of the key, the offset of
the line in the file, in 8 bytes, and the CRC-32 of the line, in 4 bytes. The rest of the 75 bytes is the overhead of
Python's objects. The entries are sorted and searched by bisection, which needs about 20 comparisons for a million
lines. Two keys with the same digest are about as unlikely as two equal random UUIDs.

The CRC-32 shows whether a line that is found is still the line that was added. If someone edited the file meanwhile,
`ChangedLineError` is raised.
"""

import hashlib
from bisect import bisect_left
from collections.abc import Iterator
from typing import BinaryIO, Final
from zlib import crc32

__all__ = ["ChangedLineError", "LineIndex"]

_DIGEST: Final = 16
"""Length of a digest, in bytes."""


_OFFSET: Final = 8
"""Length of an offset, in bytes."""


class ChangedLineError(Exception):
    """A line of the file is not the line that was added to the index."""


class LineIndex:
    """An index of the lines of a file by key. Add all lines, call `sort`, then find lines. The file must stay open."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._entries: list[bytes] = []
        self._found = bytearray()

    def __len__(self) -> int:
        """The number of lines."""
        return len(self._entries)

    def __contains__(self, key: str) -> bool:
        """Whether a line has this key. Must be called after `sort`."""
        return self._position(key) is not None

    def add(self, key: str, offset: int, line: bytes) -> None:
        """Add the line at an offset."""
        self._entries.append(_digest(key) + offset.to_bytes(_OFFSET) + crc32(line).to_bytes(4))

    def sort(self) -> None:
        """Sort the entries. Must be called after the last `add`, and before any other method."""
        self._entries.sort()
        self._found = bytearray(len(self._entries))

    def duplicates(self) -> Iterator[tuple[int, int]]:
        """Yield pairs of offsets: that of the first line with a key, and that of a later line with the same key."""
        first = b""
        for entry in self._entries:
            if entry[:_DIGEST] == first[:_DIGEST]:
                yield _offset(first), _offset(entry)
            else:
                first = entry

    def find(self, key: str, begin: int = 0) -> bytes | None:
        """Return the line with this key; None if there is none, or if it is before the offset `begin`.

        A line before `begin` is not read.
        """
        position = self._position(key)
        return None if position is None or _offset(self._entries[position]) < begin else self._read(position)

    def find_once(self, key: str) -> bytes | None:
        """Return the line with this key; None if there is none, or if an earlier call returned it."""
        position = self._position(key)
        return None if position is None or self._found[position] else self._read(position)

    def unmatched(self) -> Iterator[bytes]:
        """Yield the lines that neither `find` nor `find_once` has returned, in the order of the file."""
        entries = (entry for entry, found in zip(self._entries, self._found, strict=True) if not found)
        for entry in sorted(entries, key=_offset):
            yield self._checked(entry)

    def line_at(self, offset: int) -> bytes:
        """Return the line at an offset."""
        self._file.seek(offset)
        return self._file.readline()

    def _position(self, key: str) -> int | None:
        digest = _digest(key)
        position = bisect_left(self._entries, digest)
        return position if position < len(self._entries) and self._entries[position].startswith(digest) else None

    def _read(self, position: int) -> bytes:
        line = self._checked(self._entries[position])
        self._found[position] = 1
        return line

    def _checked(self, entry: bytes) -> bytes:
        line = self.line_at(_offset(entry))
        if crc32(line).to_bytes(4) != entry[_DIGEST + _OFFSET :]:
            raise ChangedLineError
        return line


def _digest(key: str) -> bytes:
    # A name from the server may contain half of a surrogate pair, which UTF-8 can't encode.
    return hashlib.blake2b(key.encode(errors="surrogatepass"), digest_size=_DIGEST).digest()


def _offset(entry: bytes) -> int:
    return int.from_bytes(entry[_DIGEST : _DIGEST + _OFFSET])
