"""Find the updates that a rollback must undo, but whose `begin` line in the journal is damaged or lost.

A `begin` line holds the previous values of a room, so without it, the journal alone can't tell what to restore. For
example, the `begin` lines of the rooms A to C are damaged:

- A has an `end` line of an update that was sent (`attempts` is not 0). So the run updated A. Its previous values are
  taken from the plan, if the plan is still there and has the checksum that the journal names. Otherwise A is *unknown*,
  and the rollback reports it as a conflict.
- B has no `end` line, or only one that says that B was found with the planned values. If B has the planned values now,
  either the run or someone else has set them. The rollback can't know that, so it reports B as a conflict.
- C has no `end` line, and doesn't have the planned values. So there is nothing to undo.

B is looked for only if the journal is incomplete: a line is damaged, or a run has no `stop` line, so that its last
lines may be lost.

In memory, such rooms are numbered by a `RoomTable`, and the lines of the plan are found by an index. A line of the
journal or of the plan is read only when it is needed.
"""

import asyncio
from array import array
from collections.abc import Callable, Container, Generator, Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import BinaryIO, Final

from ..errors import JournalError, PlanFileError
from ..models import Room
from ..models._fields import differing
from ._files import os_errors_as
from ._index import ChangedLineError, LineIndex
from ._journal import Journal, line_at, unreadable
from ._journal_records import End, JournalLine, Run, Stop
from ._lookup import room_id_of
from ._plan import Plan, replaced_plan, unreadable_plan
from ._plan_of_journal import plan_of
from ._plan_records import PLANNED, PlannedUpdate
from ._room_table import RoomTable
from ._sent_updates import SentUpdate, modified_journal

__all__ = ["HiddenUpdates"]

_WAS_SENT: Final = 1
"""Whether an `end` line says that the update was sent."""
_FOUND: Final = 2
"""Whether an `end` line says that the room was found with the planned values."""
_UNKNOWN: Final = 4
"""Whether the room is unknown, and neither `conflict` nor `unknown` has named it yet."""


class HiddenUpdates:
    """The updates whose `begin` line is not in the journal. Add all lines of the journal, then call `recover`."""

    def __init__(self, journal: Journal, file: BinaryIO, begun: Container[str]) -> None:
        """`file` is the file of the journal, which must stay open.

        `begun` contains the id of each room whose `begin` line was read. It may change while lines are added.
        """
        self.damaged_lines: list[int] = []
        """The numbers of the damaged lines."""
        self._journal = journal
        self._file = file
        self._begun = begun
        self._reason = ""
        """Why the plan can't be used, if rooms are unknown."""
        self._rooms = RoomTable()
        """The rooms that have an `end` line, but had no `begin` line at that time."""
        # The following have one value for each room in `_rooms`.
        self._ends = array("q")
        """The offset of the last `end` line that says that the update was sent; else of the first one."""
        self._flags = bytearray()
        self._plan: Plan | None = None
        """The plan, if `_recovered` and `_possible` are used."""
        self._recovered: LineIndex | None = None
        """The plan's lines for the rooms whose update was sent."""
        self._possible: LineIndex | None = None
        """The plan's lines for the rooms whose update may have been sent, although no line of the journal says so."""
        self._is_incomplete = False
        self._has_open_run = False

    def add(self, line: JournalLine) -> None:
        """Add a line of the journal. All lines must be added, in their order."""
        record = line.record
        if line.is_damaged:
            self.damaged_lines.append(line.number)
            self._is_incomplete = True
        elif isinstance(record, Run):
            self._is_incomplete |= self._has_open_run
            self._has_open_run = True
        elif isinstance(record, Stop):
            self._has_open_run = False

    def add_end(self, line: JournalLine) -> None:
        """Add an `end` line of a room that has no `begin` line yet. Call this after `add`."""
        record = line.record
        if not isinstance(record, End):
            return
        was_sent = bool(record.attempts) and record.status != "skipped"
        if not (was_sent or record.found):
            return
        flag = _WAS_SENT if was_sent else _FOUND
        number = self._rooms.add(record.end)
        if number == len(self._flags):
            self._ends.append(line.offset)
            self._flags.append(flag)
            return
        self._flags[number] |= flag
        if was_sent:
            self._ends[number] = line.offset

    async def recover(self, files: ExitStack) -> None:
        """Find the hidden updates in the plan, or learn which rooms are unknown.

        Call this when all lines have been added. `files` closes the file of the plan. Raises `JournalError` if the
        journal can't be read.
        """
        was_sent = await asyncio.to_thread(self._forget_begun, _WAS_SENT)
        is_incomplete = self._is_incomplete or self._has_open_run
        if not was_sent and not is_incomplete:
            return
        try:
            self._plan = plan = await asyncio.to_thread(plan_of, self._journal)
            file = files.enter_context(closing(plan.open_file()))
            await asyncio.to_thread(self._index, plan, file, is_incomplete=is_incomplete)
        except (PlanFileError, JournalError) as error:
            self._recovered = self._possible = None
            self._reason = error.message
            await asyncio.to_thread(self._mark_unknown, _WAS_SENT | (_FOUND if is_incomplete else 0))

    def _forget_begun(self, flag: int) -> bool:
        """Of the rooms with this flag, forget those that have a `begin` line after all. Return whether any is left."""
        is_any_left = False
        for number, flags in enumerate(self._flags):
            if flags & flag:
                is_begun = self._end_of(number).end in self._begun
                self._flags[number] = 0 if is_begun else flags
                is_any_left |= not is_begun
        return is_any_left

    def _mark_unknown(self, hidden: int) -> None:
        """Mark the rooms with these flags as unknown."""
        self._forget_begun(hidden)
        for number, flags in enumerate(self._flags):
            if flags & hidden:
                self._flags[number] = _UNKNOWN

    def _index(self, plan: Plan, file: BinaryIO, *, is_incomplete: bool) -> None:
        recovered, possible = LineIndex(file), LineIndex(file)
        with os_errors_as(unreadable_plan, plan.path):
            file.seek(0)
            offset = len(file.readline())
        for line in plan.room_lines(file):
            room_id = room_id_of(line)
            number = self._rooms.find(room_id)
            if number is not None and self._flags[number] & _WAS_SENT:
                recovered.add(room_id, offset, line)
            elif is_incomplete and room_id not in self._begun:
                possible.add(room_id, offset, line)
            offset += len(line)
        recovered.sort()
        possible.sort()
        self._recovered, self._possible = recovered, possible

    def take(self, room_id: str) -> SentUpdate | None:
        """Remove and return the update of a room that was found in the plan; None if there is none.

        Raises `PlanFileError` or `JournalError` if the file can't be read, or was modified meanwhile.
        """
        planned = None if self._recovered is None else self._read(self._recovered.find_once, room_id)
        return None if planned is None else self._recover(planned)

    def take_rest(self) -> Iterator[SentUpdate]:
        """Remove and yield the updates that were found in the plan and not taken, in the order of the plan.

        Errors are those of `take`.
        """
        if self._recovered is not None and self._plan is not None:
            with _errors_of(self._plan):
                yield from (self._recover(PLANNED.read(line)) for line in self._recovered.unmatched())

    def unknown(self) -> Iterator[str]:
        """Yield the ids of the unknown rooms that `conflict` has not named. Errors are those of `take`."""
        for number, flags in enumerate(self._flags):
            if flags & _UNKNOWN:
                yield self._end_of(number).end

    def conflict(self, room: Room) -> str | None:
        """Return why it is unknown whether a room must be rolled back, or to what; None if the room is not hidden.

        Errors are those of `take`.
        """
        room_id = room.id or ""
        number = self._rooms.find(room_id)
        if number is not None and self._flags[number] & _UNKNOWN:
            self._flags[number] = 0
            return f"room {room_id}: a damaged line hides its previous values, and {self._reason}"
        planned = None if self._possible is None else self._read(self._possible.find, room_id)
        if planned is None or differing(room, planned.after):
            return None
        return f"room {room_id} has the planned values, but the line that says who set them may be damaged or lost"

    def _read(self, find: Callable[[str], bytes | None], room_id: str) -> PlannedUpdate | None:
        if self._plan is None:
            return None
        with _errors_of(self._plan):
            line = find(room_id)
        return None if line is None else PLANNED.read(line)

    def _recover(self, planned: PlannedUpdate) -> SentUpdate:
        number = self._rooms.find(planned.room_id)
        assert number is not None  # `_index` has found it
        end = self._end_of(number)
        return SentUpdate(
            planned.room_id, planned.before, planned.after, planned.pair, end.updated_at, failed=end.status == "failed"
        )

    def _end_of(self, number: int) -> End:
        """Read the `end` line of a room. Raises `JournalError` if it was modified by someone else."""
        with os_errors_as(unreadable, self._journal.path):
            record = line_at(self._journal, self._file, self._ends[number]).record
        if not isinstance(record, End) or self._rooms.find(record.end) != number:
            raise modified_journal(self._journal)
        return record


@contextmanager
def _errors_of(plan: Plan) -> Generator[None]:
    with os_errors_as(unreadable_plan, plan.path):
        try:
            yield
        except ChangedLineError:
            raise replaced_plan(plan.path) from None
