"""Find the planned update of a room in the batches of the store, with 8 bytes of memory per room.

Each room has an entry of 64 bits: 40 bits of a digest of its id, and the number of its batch in the other 24. The
entries are sorted and searched by bisection. They are in 256 parts by their first 8 bits, because sorting needs five
times the memory of what is sorted. A batch that is found is loaded and searched for the whole id, so two ids with the
same 40 bits only cost some time. The batches that were loaded last are kept.
"""

import asyncio
import hashlib
from array import array
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, Self

from .._lookup import room_id_of
from .._plan_records import PLANNED, PlannedUpdate
from ._store import RunStore

__all__ = ["Found", "PlanIndex"]

_BATCH_BITS: Final = 24
"""Enough for 16 million batches, or 4 billion rooms."""

_PART_SHIFT: Final = 56

_KEPT: Final = 32
"""Number of batches in memory."""


class Found(NamedTuple):
    """Where a room is in the plan."""

    number: int
    """The number of its batch."""
    place: int
    planned: PlannedUpdate


class PlanIndex:
    """The index of one run."""

    def __init__(self, store: RunStore, parts: "Sequence[array[int]]") -> None:
        self._store = store
        self._parts = parts
        self._kept: OrderedDict[int, Mapping[str, tuple[int, bytes]]] = OrderedDict()

    @classmethod
    async def of(cls, store: RunStore, batches: int) -> Self:
        """Read all batches. Raises `DistributedRunError` if one is missing."""
        parts = [array("Q") for _ in range(256)]
        for number in range(batches):
            for line in await store.lines(number):
                entry = _digest(room_id_of(line).lower()) << _BATCH_BITS | number
                parts[entry >> _PART_SHIFT].append(entry)
        return cls(store, await asyncio.to_thread(lambda: [array("Q", sorted(part)) for part in parts]))

    async def find(self, room_id: str) -> Found | None:
        """Return where a room is in the plan; None if it is not in the plan."""
        room_id = room_id.lower()
        first = _digest(room_id) << _BATCH_BITS
        entries = self._parts[first >> _PART_SHIFT]
        for index in range(bisect_left(entries, first), len(entries)):
            entry = entries[index]
            if entry >> _BATCH_BITS != first >> _BATCH_BITS:
                return None
            number = entry & ((1 << _BATCH_BITS) - 1)
            place, line = (await self._batch(number)).get(room_id, (0, b""))
            if line:
                return Found(number, place, PLANNED.read(line))
        return None

    async def _batch(self, number: int) -> Mapping[str, tuple[int, bytes]]:
        rooms = self._kept.get(number)
        if rooms is None:
            lines = await self._store.lines(number)
            rooms = self._kept[number] = {room_id_of(line).lower(): (place, line) for place, line in enumerate(lines)}
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        else:
            self._kept.move_to_end(number)
        return rooms


def _digest(room_id: str) -> int:
    return int.from_bytes(hashlib.blake2b(room_id.encode(), digest_size=5).digest())
