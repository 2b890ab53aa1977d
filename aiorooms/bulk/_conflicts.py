"""Find conflicts: rooms whose planned fields someone else changed after the plan was made.

The check needs no GET for each room, because the API can list the rooms that were updated on a given day or later. For
example, a plan sets the webhook URL of the rooms A, B, C and D to N. All four had the URL O and were last updated in
May, the latest on 3 May. The plan was made on 3 May or later, so any room modified since then has an `updated_at` of 3
May or later. Before the run sends any update, it lists the rooms updated on 2 May or later. (The extra day allows for a
server in another time zone.) The list is usually short. In this example, the list contains

- A, with the URL P. This is neither the URL that the plan found (O) nor the one that it sets (N), so someone else set
  it. A is *set aside*, which means that its update is not sent.
- B, with the URL N. Someone else has made the planned change. B is set aside too.
- C, with the URL O and a later `updated_at` than in the plan. Someone else modified C, but no planned field. C is
  updated, and its outcome has a note.
- D, as it was when the plan was made. D is updated.
- X, which is not in the plan. X is ignored.

While the run sends the updates, it lists the rooms updated on the day before its first update or later, again and again
(`_refresh`), and compares each room whose update has not begun yet. If someone else changes the URL of D meanwhile, and
a list is complete before D's update begins, D is set aside too. Rooms that the run has updated itself are ignored.

After all other updates, the run lists the rooms again, and compares A and B with the plan once more. A room that has
the wanted values now is `updated`, any other room that someone else changed is a `conflict`. If the list lacks A or B,
the run reads the room with a GET, because a list can miss a room that exists (`_recheck`).

With `strict`, and with a plan in format 1, the rule is simpler: a room with another `updated_at` than in the plan is a
conflict, unless it has the wanted values. So C is a conflict too. With `force`, nothing is listed, and every update is
sent.
"""

import time
from collections.abc import AsyncGenerator, Container, Iterable
from datetime import UTC, date, datetime, timedelta
from typing import BinaryIO, Final, Literal, TypeAlias

from .._text import timestamp
from ..client import RoomsClient
from ..errors import APIError
from ..models import Room
from ..models._fields import has_fields, unreadable_fields
from ..resources._pages import RoomList
from ..resources._statuses import ends_run
from ._checked_plan import CheckedPlan
from ._lookup import PlanLookup
from ._outcomes import Outcome
from ._plan_records import PLANNED, PlannedLine, PlannedUpdate
from ._recheck import Rechecker, find_room
from ._recorder import Recorder

__all__ = ["Conflicts", "Finding", "day_before", "deleted", "judge", "settled"]

Finding: TypeAlias = Literal["unmodified", "noted", "wanted", "conflict"]
"""What a comparison of a room with its planned update finds.

`noted` means that someone else modified the room, but nothing that the update depends on. `wanted` means that the room
already has the wanted values.
"""


def judge(planned: PlannedUpdate, room: Room, *, strict: bool) -> Finding:
    """Compare a room with its planned update. With `strict`, every modification is a conflict."""
    if has_fields(room, planned.after):
        return "wanted"
    if planned.has_changed(room) if strict else planned.contested_fields(room):
        return "conflict"
    # An answer without `updated_at` shows no modification.
    is_dated = planned.updated_at is not None and room.updated_at is not None
    return "noted" if is_dated and room.updated_at != planned.updated_at else "unmodified"


def settled(planned: PlannedUpdate, room: Room, *, strict: bool) -> Outcome | None:
    """Return the outcome of a room that has the wanted values or is a conflict; None for any other room."""
    finding = judge(planned, room, strict=strict)
    if finding == "wanted":
        return Outcome(room_id=planned.room_id, unique_name=planned.unique_name, status="updated", found=True)
    if finding != "conflict" or unreadable_fields(room, planned.after, planned.pair):
        return None
    fields = "" if strict else f" ({', '.join(planned.contested_fields(room))})"
    text = f"room {room.id} was modified by someone else{_when(room.updated_at)} after the plan was made{fields}"
    return Outcome(room_id=planned.room_id, unique_name=planned.unique_name, status="conflict", error=text)


def deleted(planned: PlannedUpdate) -> Outcome:
    """Return the outcome of a room that was set aside, and does not exist any more."""
    text = f"room {planned.room_id} was modified by someone else after the plan was made, and then deleted"
    return Outcome(room_id=planned.room_id, unique_name=planned.unique_name, status="conflict", error=text)


class Conflicts:
    """Finds the conflicts of one run."""

    def __init__(
        self,
        client: RoomsClient,
        plan: CheckedPlan,
        file: BinaryIO,
        recorder: Recorder,
        *,
        force: bool,
        strict: bool,
    ) -> None:
        """`file` is the file of the plan, opened once more. Only this object reads from it."""
        self.listed_at: float | None = None
        """The monotonic time in seconds at which the last complete list began; None before that, and with `force`."""
        self.recent: int = 0
        """Number of rooms that `recent_rooms` would have yielded when the run began."""
        self.compared: int = 0
        """Number of rooms that `find` has read so far."""
        self.window: float | None = None
        """See `BulkRun.overwrite_window`."""
        self._position = 0
        """The offset in the plan file up to which all rooms were sent, set aside or skipped."""
        self._client = client
        self._checked = plan
        self._plan = plan.plan
        self._file = file
        self._recorder = recorder
        self._force = force
        self._strict = strict or plan.plan.version == 1
        self._lookup: PlanLookup | None = None
        """None before the first list, and with `force`."""
        self._began = datetime.now(UTC)
        self._first_update: datetime | None = None
        """The `updated_at` of the first room that this run updated, by the server's clock; None before that."""
        self._excluded: Container[str] = ()
        self._read_back: set[str] = set()
        """The ids of rooms that were read back and whose update has not begun yet."""
        self._modified: set[str] = set()
        """The ids of the listed rooms to set aside: conflicts, and rooms that have the wanted values."""
        self._noted: dict[str, datetime | None] = {}
        """The `updated_at` of each room that someone else modified without a conflict, by room id."""
        self._aside: dict[str, bytes] = {}
        """The plan's lines for the rooms set aside, by room id. A line needs less memory than a parsed object."""

    async def find(self, excluded: Container[str], read_back: Iterable[PlannedLine]) -> None:
        """Find the rooms that were modified since the plan was made. With `force`, do nothing.

        `excluded` contains the ids of rooms whose update will not be sent, except for those in `read_back`. Raises
        `APIError` if the rooms can't be listed, and `PlanFileError` if the plan was modified since `Plan.open`.
        """
        if self._force:
            return
        self._excluded = excluded
        self._read_back = {planned.room_id for planned in read_back}
        self._lookup = await PlanLookup.of(self._checked, self._file)
        listed_at = time.monotonic()
        recently = datetime.combine(day_before(self._began), datetime.min.time(), UTC)
        recheck = Rechecker(self._client)
        async for listed in self.changed_rooms():
            self.compared += 1
            room = await self._read_again(listed, recheck) if recheck.is_needed(listed) else listed
            self.recent += self._plan.latest_update is None or (
                room.updated_at is not None and room.updated_at >= recently
            )
            self.compare_listed(room)
        self.end_list(listed_at)

    async def _read_again(self, listed: Room, recheck: Rechecker) -> Room:
        """Return a planned room with values from a GET. A value that can't be read in a list is no change of it."""
        lookup = self._lookup
        if lookup is None or lookup.find(listed.id) is None:
            return listed
        try:
            return await recheck(listed) or listed
        except APIError as error:
            if ends_run(error):
                raise
            return listed  # it is set aside, and read again after all other updates

    def end_list(self, began_at: float) -> None:
        """Record that a list is complete. It began at this monotonic time, in seconds."""
        self.listed_at = began_at

    def advance(self, position: int) -> None:
        """Record that all rooms before this offset in the plan file are sent, set aside or skipped."""
        self._position = position

    def recent_rooms(self) -> RoomList:
        """Return the list of the rooms that may have been modified since the run began.

        The server's clock decides, unless it is ahead of the clock of this machine.
        """
        latest = self._plan.latest_update
        if latest is None or self._first_update is None:
            return self.changed_rooms()
        return self._updated_since(max(latest, self._first_update))

    def record_update(self, listed_at: float | None, ended_at: float, updated_at: datetime | None) -> None:
        """Record the end of an update that began after the list that began at `listed_at`.

        All times are monotonic, in seconds.
        """
        if self._first_update is None:
            self._first_update = updated_at
        if listed_at is not None:
            self.window = max(self.window or 0.0, ended_at - listed_at)

    def compare_listed(self, room: Room) -> None:
        """Compare a listed room with the plan, if its update has not begun yet. Forget earlier comparisons.

        Raises `PlanFileError` if the plan was modified since `find`.
        """
        lookup = self._lookup
        if lookup is None:
            return
        is_read_back = room.id in self._read_back
        if room.id in self._excluded and not is_read_back:
            return
        if (planned := lookup.find(room.id, begin=0 if is_read_back else self._position)) is None:
            return
        room_id = planned.room_id
        self._modified.discard(room_id)
        self._noted.pop(room_id, None)
        finding = judge(planned, room, strict=self._strict)
        if finding == "noted":
            self._noted[room_id] = room.updated_at
        elif finding != "unmodified":
            self._modified.add(room_id)

    def set_aside(self, planned: PlannedLine) -> bool:
        """Set a room aside if it must not be updated, and return whether it was set aside. Call this once a room."""
        self._read_back.discard(planned.room_id)
        if planned.room_id not in self._modified:
            return False
        self._modified.discard(planned.room_id)
        self._aside[planned.room_id] = planned.line
        return True

    def note(self, room_id: str) -> str | None:
        """Return the note for a room that is updated; None if nobody else modified it. Call this once a room."""
        if room_id not in self._noted:
            return None
        when = _when(self._noted.pop(room_id))
        return f"room {room_id} was modified by someone else{when} after the plan was made, but not in a planned field"

    async def compare_set_aside(self) -> AsyncGenerator[Outcome]:
        """List the modified rooms again, and yield the outcomes of the rooms set aside.

        A room that the list lacks is read with a GET. Raises `APIError` if that or the list fails.
        """
        if not self._aside:
            return
        async for room in self.changed_rooms():
            if (line := self._aside.pop(room.id, None)) is not None:
                outcome = self.compare(PLANNED.read(line), room)
                # None means that the room has its `before` values again, or that they can't be read. `resume` can then
                # send its update.
                if outcome is not None:
                    yield outcome
        for planned in map(PLANNED.read, self._aside.values()):
            if (found := await find_room(self._client, planned.room_id)) is not None:
                outcome = self.compare(planned, found)
            else:
                outcome = self._end(deleted(planned))
            if outcome is not None:
                yield outcome

    def compare(self, planned: PlannedUpdate, room: Room) -> Outcome | None:
        """Record and return the outcome of a room that has the wanted values or is a conflict; else return None."""
        outcome = settled(planned, room, strict=self._strict)
        if outcome is not None and (outcome.found or not self._force):
            return self._end(outcome, room.updated_at if outcome.found else None)
        if not self._force and judge(planned, room, strict=self._strict) == "noted":
            self._noted[planned.room_id] = room.updated_at
        return None

    def _end(self, outcome: Outcome, updated_at: datetime | None = None) -> Outcome:
        return self._recorder.end(
            outcome.room_id,
            outcome.unique_name,
            outcome.status,
            error=outcome.error,
            found=outcome.found,
            updated_at=updated_at,
        )

    def changed_rooms(self) -> RoomList:
        """Return the list of the rooms that may have been modified since the plan was made."""
        latest = self._plan.latest_update
        if latest is None:
            return self._client.rooms.list()
        return self._updated_since(latest)

    def _updated_since(self, time: datetime) -> RoomList:
        # A server may report a time in the future. Changes that are made now would then not be in the list.
        return self._client.rooms.list(date_updated_at_gte=day_before(min(time, self._began)))


def _when(time: datetime | None) -> str:
    return "" if time is None else f" at {timestamp(time)},"


def day_before(time: datetime) -> date:
    """Return the day before a time, in UTC."""
    try:
        return (time.astimezone(UTC) - _DAY).date()
    except OverflowError:  # in the year 1, or a clock that is far ahead
        return time.date()


_DAY: Final = timedelta(days=1)
