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
"""

from collections.abc import Iterator, Mapping
from contextlib import closing

from ..errors import JournalError, PlanFileError
from ..models import Room
from ..models._fields import differing
from ._journal import Journal
from ._journal_records import End, JournalLine, Run, Stop
from ._plan_of_journal import plan_of
from ._plan_records import PLANNED, PlannedUpdate

__all__ = ["HiddenUpdates"]


class HiddenUpdates:
    """The updates whose `begin` line is not in the journal."""

    def __init__(self, begun: Mapping[str, object]) -> None:
        """`begun` has a key for each room whose `begin` line was read. It may grow while lines are added."""
        self.damaged_lines: list[int] = []
        """The numbers of the damaged lines."""
        self.unknown: set[str] = set()
        """The ids of rooms whose previous values are unknown, without those that `conflict` has named."""
        self.reason: str = ""
        """Why the plan can't be used, if `unknown` is not empty."""
        self._begun = begun
        self._sent: dict[str, End] = {}
        self._found: set[str] = set()
        self._possible: dict[str, bytes] = {}
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
        elif isinstance(record, End) and record.end not in self._begun:
            if record.attempts and record.status != "skipped":
                self._sent[record.end] = record
            elif record.found:
                self._found.add(record.end)

    def recover(self, journal: Journal) -> Iterator[tuple[PlannedUpdate, End]]:
        """Yield the updates that were sent but have no `begin` line, with their last `end` line.

        Call this when all lines have been added.
        """
        sent = {room_id: end for room_id, end in self._sent.items() if room_id not in self._begun}
        is_incomplete = self._is_incomplete or self._has_open_run
        if not sent and not is_incomplete:
            return
        recovered: list[PlannedUpdate] = []
        try:
            plan = plan_of(journal)
            with closing(plan.open_file()) as file:
                for line in plan.room_lines(file):
                    planned = PLANNED.read(line)
                    if planned.room_id in sent:
                        recovered.append(planned)
                    elif is_incomplete and planned.room_id not in self._begun:
                        self._possible[planned.room_id] = line
        except (PlanFileError, JournalError) as error:
            self._possible.clear()
            self.reason = error.message
            self.unknown = set(sent) | (self._found - self._begun.keys() if is_incomplete else set())
            return
        for planned in recovered:
            yield planned, sent[planned.room_id]

    def conflict(self, room: Room) -> str | None:
        """Return why it is unknown whether a room must be rolled back, or to what; None if the room is not hidden."""
        room_id = room.id or ""
        if room_id in self.unknown:
            self.unknown.discard(room_id)
            return f"room {room_id}: a damaged line hides its previous values, and {self.reason}"
        line = self._possible.get(room_id)
        if line is None or differing(room, PLANNED.read(line).after):
            return None
        return f"room {room_id} has the planned values, but the line that says who set them may be damaged or lost"
