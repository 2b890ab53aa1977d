"""Find out whether a room's id occurs twice in a plan of any size, with 8 bytes of memory per room.

A set of a million ids would need 150 MB. So for each id, only a 64-bit hash is kept. The hashes are distributed over
256 arrays by their lowest byte, so that only the set of one array is in memory at a time. For example, a plan has a
million rooms. Each array then has about 3,900 hashes, and its set needs 300 KB.

Two ids with the same hash are rarely different ids: in a million random ids, with a probability of 1 in 40 million.
Therefore the ids are compared themselves in a second pass, which also finds their lines.
"""

from array import array
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

__all__ = ["DuplicateIds"]

_ARRAYS: Final = 256

_MAX_SUSPECTS: Final = 1000
"""Maximum number of equal hashes that are compared by their ids. One pair is enough to reject a plan."""


class DuplicateIds:
    """Finds an id that was added twice. Upper and lower case are equal, as in all UUIDs."""

    def __init__(self) -> None:
        self._hashes = [array("q") for _ in range(_ARRAYS)]

    def add(self, room_id: str) -> None:
        """Add an id."""
        number = hash(room_id.lower())
        self._hashes[number % _ARRAYS].append(number)

    def first_pair(self, room_ids: Iterable[str]) -> tuple[int, int] | None:
        """Return two positions, counted from 0, at which the same id was added; None if all ids are different.

        `room_ids` yields all ids again. It is used only if two hashes are equal.
        """
        suspects = set(islice(self._repeated(), _MAX_SUSPECTS))
        positions: dict[str, int] = {}
        for position, room_id in enumerate(map(str.lower, room_ids if suspects else ())):
            if hash(room_id) in suspects and (first := positions.setdefault(room_id, position)) != position:
                return first, position
        return None

    def _repeated(self) -> Iterator[int]:
        for hashes in self._hashes:
            if len(set(hashes)) < len(hashes):
                seen: set[int] = set()
                for number in hashes:
                    if number in seen:
                        yield number
                    seen.add(number)
