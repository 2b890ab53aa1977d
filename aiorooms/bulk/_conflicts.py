"""Find conflicts: rooms that someone else modified since the plan was made. They are updated only with `force`.

The check needs no GET for each room, because the API can list the rooms that were updated on a given day or later. For
example, a plan has the rooms A, B and C, last updated on 1, 2 and 3 May. The plan was made on 3 May or later, so any
room modified since then has an `updated_at` of 3 May or later. Before the run sends any update, it lists the rooms
updated on 2 May or later. (The extra day allows for a server in another time zone.) The list is usually short. In this
example, the list contains

- B, updated on 2 May, and C, updated on 3 May. They were not modified since the plan was made, so they are updated.
- A, updated on 4 May. It was modified since the plan was made, so it is *set aside*: its update is not sent.
- X, updated on 4 May. It is not in the plan, so it is ignored.

After all other updates, the run lists the rooms again. If A has the wanted values now, its outcome is `updated`,
otherwise `conflict`. If the plan contains a room without an `updated_at`, the run lists the whole account, and sets
that room aside if its values differ from the plan's `before` values. Changes that others make during the run are not
detected.
"""

from collections.abc import AsyncGenerator, Container
from datetime import UTC, datetime, timedelta

from .._text import timestamp
from ..client import RoomsClient
from ..models import Room
from ..models._fields import differing
from ..resources._pages import RoomList
from ._outcomes import Outcome
from ._plan import Plan
from ._plan_records import PLANNED, PlannedLine, PlannedUpdate
from ._recorder import Recorder

__all__ = ["Conflicts"]


class Conflicts:
    """Finds the conflicts of one run."""

    def __init__(self, client: RoomsClient, plan: Plan, recorder: Recorder, *, force: bool) -> None:
        self._client = client
        self._plan = plan
        self._recorder = recorder
        self._force = force
        self._listed: dict[str, datetime | None] = {}
        """The `updated_at` of each room that was listed before anything was sent, by room id."""
        self._listed_rooms: dict[str, Room] = {}
        """The rooms in `_listed`, by id. Stored only if a room of the plan has no `updated_at`, to compare values."""
        self._aside: dict[str, bytes] = {}
        """The plan's lines for the rooms set aside, by room id. A line needs less memory than a parsed object."""

    async def find(self, excluded: Container[str]) -> None:
        """Find the rooms that may have been modified since the plan was made. With `force`, do nothing."""
        if not self._force:
            async for room in self._changed_rooms():
                if room.id is not None and room.id not in excluded:
                    self._listed[room.id] = room.updated_at
                    if self._plan.latest_update is None:
                        self._listed_rooms[room.id] = room

    def set_aside(self, planned: PlannedLine) -> bool:
        """Set a room aside if it was modified since the plan was made, and return whether it was set aside."""
        if planned.room_id not in self._listed:
            return False
        # The values are read only if the plan has no `updated_at` to compare.
        if planned.updated_at is None:
            has_changed = PLANNED.read(planned.line).has_changed(self._listed_rooms[planned.room_id])
        else:
            has_changed = planned.updated_at != self._listed[planned.room_id]
        if not has_changed:
            return False
        self._aside[planned.room_id] = planned.line
        return True

    async def settle(self) -> AsyncGenerator[Outcome]:
        """List the modified rooms again, and yield the outcomes of the rooms set aside."""
        if not self._aside:
            return
        async for room in self._changed_rooms():
            if room.id is not None and (line := self._aside.pop(room.id, None)) is not None:
                outcome = self.compare(PLANNED.read(line), room)
                # None means that the room has its `before` values again. `resume` can then send its update.
                if outcome is not None:
                    yield outcome
        for line in self._aside.values():
            planned = PLANNED.read(line)
            text = f"room {planned.room_id} was modified by someone else after the plan was made, and then deleted"
            yield self._recorder.end(planned.room_id, planned.unique_name, "conflict", error=text)

    def compare(self, planned: PlannedUpdate, room: Room) -> Outcome | None:
        """Record and return the outcome of a room that has the wanted values or is a conflict; else return None."""
        if not differing(room, planned.after):
            return self._recorder.end(
                planned.room_id, planned.unique_name, "updated", found=True, updated_at=room.updated_at
            )
        if planned.has_changed(room) and not self._force:
            when = "" if room.updated_at is None else f" at {timestamp(room.updated_at)},"
            text = f"room {room.id} was modified by someone else{when} after the plan was made"
            return self._recorder.end(planned.room_id, planned.unique_name, "conflict", error=text)
        return None

    def _changed_rooms(self) -> RoomList:
        latest = self._plan.latest_update
        if latest is None:
            return self._client.rooms.list()
        return self._client.rooms.list(date_updated_at_gte=latest.astimezone(UTC).date() - timedelta(days=1))
