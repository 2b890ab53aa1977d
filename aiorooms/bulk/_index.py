"""Finding the line of a room in a plan."""

import asyncio
from bisect import bisect_left
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from typing import Final, Self

from ._plan import Plan

__all__ = ["PlanIndex", "opened_index"]


class PlanIndex:
    """Finds the line of a room in a plan, in some 70 bytes for each room.

    The file is held open, so another one in its place does no harm. Raises `PlanFileError` if it can't be opened.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._places: list[bytes] = []
        self._taken = bytearray()
        self._file = plan.open_file()

    def read(self) -> Self:
        """Read the plan; it takes a second for a million rooms. Raises `PlanFileError` if it is another one now."""
        offset = 0
        lines = self._plan.lines(self._file)
        try:
            for line in lines:
                if offset:
                    # Where the id stands is known, as `PlannedUpdate.to_json` wrote it.
                    self._places.append(_key(line[_ID].decode()) + offset.to_bytes(8))
                offset += len(line)
        except ValueError:
            for _ in lines:
                pass  # another plan, so this raises what is to be said
            raise
        self._places.sort()
        self._taken = bytearray(len(self._places))
        return self

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def take(self, room_id: str) -> bytes | None:
        """Give the line of a room, once; None if it isn't in the plan, or was taken before."""
        number = self._number(room_id)
        if number is None or self._taken[number]:
            return None
        return self._take(number)

    def left(self) -> Iterator[bytes]:
        """Give the lines that were not taken, and take them."""
        for number in range(len(self._places)):
            if not self._taken[number]:
                yield self._take(number)

    def _number(self, room_id: str) -> int | None:
        try:
            key = _key(room_id)
        except ValueError:
            return None  # a plan has no room whose id is no UUID
        number = bisect_left(self._places, key)
        return number if number < len(self._places) and self._places[number].startswith(key) else None

    def _take(self, number: int) -> bytes:
        self._taken[number] = 1
        self._file.seek(int.from_bytes(self._places[number][16:]))
        return self._file.readline()


_ID: Final = slice(len('{"room_id":"'), len('{"room_id":"') + 36)
"""Where the id of a room stands in its line."""


def _key(room_id: str) -> bytes:
    """Give the 16 bytes of a UUID. Raises `ValueError`."""
    key = bytes.fromhex(room_id.replace("-", ""))
    if len(key) != 16:
        raise ValueError("it is no UUID")
    return key


@asynccontextmanager
async def opened_index(plan: Plan) -> AsyncGenerator[PlanIndex]:
    """Read the index of a plan in a thread. Raises `PlanFileError`."""
    index = PlanIndex(plan)
    try:
        # If this is cancelled the thread goes on until it meets the closed file.
        yield await asyncio.to_thread(index.read)
    finally:
        index.close()
