"""Cut a plan into batches, and keep the state of each room of a batch as one letter. Pure.

A batch is 250 lines of the plan, compressed. Beside the lines, a batch has a text with a letter for each of its rooms,
in the order of the lines. For example, the text of a batch of five rooms is `u.b?c`. The first room is updated, the
second has not begun, the update of the third has begun and has no end yet, the fourth is uncertain, and the fifth is a
conflict. The second and the third are *open*: nothing says what became of them.
"""

import zlib
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

from .._journal_records import Ending

__all__ = [
    "ASIDE",
    "BATCH_SIZE",
    "BEGUN",
    "FOUND",
    "LETTERS",
    "NOT_BEGUN",
    "OPEN",
    "pack",
    "packed_batches",
    "unpack",
]

BATCH_SIZE: Final = 250
"""Number of rooms in a batch; the last batch of a plan may have fewer."""

NOT_BEGUN: Final = "."
BEGUN: Final = "b"
FOUND: Final = "w"
"""Updated, because the room already had the wanted values."""
ASIDE: Final = "a"
"""Set aside: someone else modified the room. It is compared with the plan once more after all updates."""

OPEN: Final = frozenset({NOT_BEGUN, BEGUN})

LETTERS: Final[dict[Ending, str]] = {
    "updated": "u",
    "failed": "f",
    "uncertain": "?",
    "skipped": "s",
    "conflict": "c",
}
"""The letter of each outcome. A room that was updated because it was `found` so has the letter `FOUND`."""


def packed_batches(lines: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """Cut the lines of a plan into batches, and yield the number of rooms and the compressed lines of each."""
    left = iter(lines)
    while batch := [*islice(left, BATCH_SIZE)]:
        yield len(batch), pack(batch)


def pack(lines: Iterable[bytes]) -> bytes:
    """Compress lines, each of which ends with a line break."""
    return zlib.compress(b"".join(lines), 9)


def unpack(packed: bytes) -> list[bytes]:
    """Return the lines that `pack` has compressed. Raises `ValueError` if the bytes are damaged."""
    try:
        return zlib.decompress(packed).splitlines(keepends=True)
    except zlib.error as error:
        raise ValueError(f"it can't be decompressed: {error}") from None
