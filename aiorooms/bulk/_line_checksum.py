"""The checksum of a line of a journal.

Since format version 2, the last key of each line is `crc`: the CRC-32 of all bytes of the line before this key, as 8
hexadecimal digits. For example, the line `{"run":1,"at":1795684799.478}` is written as

    {"run":1,"at":1795684799.478,"crc":"1c91eec5"}

A CRC-32 detects each change of up to 32 adjacent bits, so it detects each flipped bit and each wrong byte. A change of
any other kind is accepted with a probability of 1 in 4 billion.
"""

from typing import Final
from zlib import crc32

__all__ = ["KEY", "is_sealed", "sealed"]

KEY: Final = "crc"


def sealed(line: bytes) -> bytes:
    """Return a line with its checksum. The line is a JSON object without white space, and ends with a line break."""
    values = line[:-2]  # without `}` and the line break
    return values + _end(values)


def is_sealed(line: bytes) -> bool:
    """Return whether a line ends with its correct checksum."""
    return line[-_LENGTH:] == _end(line[:-_LENGTH])


def _end(values: bytes) -> bytes:
    return b',"crc":"%08x"}\n' % crc32(values)


_LENGTH: Final = len(_end(b""))
