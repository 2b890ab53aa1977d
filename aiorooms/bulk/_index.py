"""Finding a line by a room's id or name in a file of a million lines, with some 75 bytes of memory for each.

For each line there is one entry of 24 bytes: 16 of a digest of the key, and 8 that say where the line begins. Sorted,
they are searched by bisection. Two keys with one digest are as unlikely as two equal random UUIDs.
"""

import hashlib
from bisect import bisect_left
from collections.abc import Iterator
from typing import BinaryIO, Final

__all__ = ["LineIndex"]

_DIGEST: Final = 16


class LineIndex:
    """Finds lines of a file: first all are added, then the index is sorted, then lines are found.

    The file has to stay open.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._entries: list[bytes] = []
        self._found = bytearray()

    def add(self, key: str, place: int) -> None:
        """Add the line that begins at a place."""
        self._entries.append(_digest(key) + place.to_bytes(8))

    def sort(self) -> None:
        """Make ready for finding."""
        self._entries.sort()
        self._found = bytearray(len(self._entries))

    def twice(self) -> Iterator[tuple[int, int]]:
        """Give the places of two lines with one key: the first that has it, and each other."""
        first = b""
        for entry in self._entries:
            if entry[:_DIGEST] == first[:_DIGEST]:
                yield _place(first), _place(entry)
            else:
                first = entry

    def find(self, key: str) -> bytes | None:
        """Return the line with that key; None if there is none."""
        number = self._number(key)
        return None if number is None else self._read(number)

    def take(self, key: str) -> bytes | None:
        """Return the line with that key, but only once."""
        number = self._number(key)
        return None if number is None or self._found[number] else self._read(number)

    def left(self) -> Iterator[bytes]:
        """Give the lines that were never found, in the order of the file."""
        places = sorted(_place(entry) for entry, found in zip(self._entries, self._found, strict=True) if not found)
        for place in places:
            yield self.line_at(place)

    def line_at(self, place: int) -> bytes:
        """Return the line that begins at a place."""
        self._file.seek(place)
        return self._file.readline()

    def _number(self, key: str) -> int | None:
        digest = _digest(key)
        number = bisect_left(self._entries, digest)
        return number if number < len(self._entries) and self._entries[number].startswith(digest) else None

    def _read(self, number: int) -> bytes:
        self._found[number] = 1
        return self.line_at(_place(self._entries[number]))


def _digest(key: str) -> bytes:
    # A name from the server may hold half of a surrogate pair.
    return hashlib.blake2b(key.encode(errors="surrogatepass"), digest_size=_DIGEST).digest()


def _place(entry: bytes) -> int:
    return int.from_bytes(entry[_DIGEST:])
