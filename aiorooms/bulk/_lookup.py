"""Find the planned update of a room by the room's id, in a plan file of any size.

A list of modified rooms is in another order than the plan, and may contain rooms that are not in the plan. So each room
of the list is looked up in an index of the plan, which needs about 75 bytes per planned room. A line is read and parsed
only for the few rooms whose update has not been sent yet.
"""

import asyncio
from typing import BinaryIO, Final, Self

from ._files import os_errors_as
from ._index import ChangedLineError, LineIndex
from ._plan import Plan, modified_plan, unreadable_plan
from ._plan_records import PLANNED, PlannedUpdate

__all__ = ["PlanLookup", "plan_index", "room_id_of"]


def plan_index(plan: Plan, file: BinaryIO) -> LineIndex:
    """Build the index of a plan by room id, in about 3 seconds for a million rooms.

    Raises `PlanFileError` if the file was modified or replaced since `Plan.open`.
    """
    index = LineIndex(file)
    for line in plan.room_lines(file):
        index.add(room_id_of(line).lower(), file.tell() - len(line), line)
    index.sort()
    return index


class PlanLookup:
    """Finds the planned updates of a plan. The file must stay open, and nobody else may read from it."""

    def __init__(self, plan: Plan, index: LineIndex) -> None:
        self._plan = plan
        self._index = index

    @classmethod
    async def of(cls, plan: Plan, file: BinaryIO) -> Self:
        """Build the index in a thread. Raises `PlanFileError` as `plan_index` does."""
        return cls(plan, await asyncio.to_thread(plan_index, plan, file))

    def offset_of(self, room_id: str) -> int | None:
        """Return the offset of the room's line in the file; None if the room is not in the plan."""
        return self._index.offset_of(room_id.lower())

    def find(self, room_id: str) -> PlannedUpdate | None:
        """Return the planned update of a room; None if the room is not in the plan.

        Raises `PlanFileError` if the file can't be read, or if the line was modified since the index was built.
        """
        path = self._plan.path
        with os_errors_as(unreadable_plan, path):
            try:
                line = self._index.find(room_id.lower())
            except ChangedLineError:
                raise modified_plan(path) from None
        return None if line is None else PLANNED.read(line)


def room_id_of(line: bytes) -> str:
    """Return the room's id of a line. Parsing the whole line would take ten times as long."""
    room_id, key, _ = line.partition(b'","unique_name":')
    if key and room_id.startswith(_BEGIN) and b"\\" not in room_id:
        return room_id[len(_BEGIN) :].decode()
    return PLANNED.read(line).room_id


_BEGIN: Final = b'{"room_id":"'
