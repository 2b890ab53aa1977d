"""Rooms that were modified by someone else since the plan was made: they are conflicts, unless the run is forced.

Whatever changed since has a later `updated_at` than any room of the plan, and the API lists rooms by the day of that:
so before anything is sent, the rooms that were updated on the plan's last day or later are listed, mostly a few. Those
of them that are in the plan with another `updated_at` are set aside. After everything else they are listed once more:
one that has the wanted values by now is done, the others are conflicts. What changes while the run goes on is not seen.
"""

from collections.abc import AsyncGenerator, Container
from datetime import UTC, datetime, timedelta

from .._text import timestamp
from ..client import RoomsClient
from ..models import Room
from ..models._fields import differing
from ..resources._pages import RoomList
from ._ledger import Ledger
from ._outcomes import Outcome
from ._plan import Plan
from ._plan_records import PLANNED, PlannedUpdate

__all__ = ["Conflicts"]


class Conflicts:
    """Finds the conflicts of one run."""

    def __init__(self, client: RoomsClient, plan: Plan, ledger: Ledger, *, force: bool) -> None:
        self._client = client
        self._plan = plan
        self._ledger = ledger
        self._force = force
        self._seen: dict[str, datetime | None] = {}
        """When the rooms were updated that were listed at first."""
        self._aside: dict[str, bytes] = {}
        """Rooms that changed since the plan was made, with their lines of it, which take less memory than objects."""

    async def find(self, passed_over: Container[str]) -> None:
        """List the rooms that may have changed since the plan was made."""
        if not self._force:
            async for room in self._changed_rooms():
                if room.id is not None and room.id not in passed_over:
                    self._seen[room.id] = room.updated_at

    def set_aside(self, planned: PlannedUpdate, line: bytes) -> bool:
        """Set a room aside if it was updated since the plan was made."""
        if planned.room_id not in self._seen:
            return False
        if planned.updated_at is not None and planned.updated_at == self._seen[planned.room_id]:
            return False
        self._aside[planned.room_id] = line
        return True

    async def settle(self) -> AsyncGenerator[Outcome]:
        """Compare the rooms that were set aside with the plan."""
        if not self._aside:
            return
        async for room in self._changed_rooms():
            if room.id is not None and (line := self._aside.pop(room.id, None)) is not None:
                outcome = self.compare(PLANNED.read(line), room)
                # Who changed it may have changed it back: then the next resume sends it.
                if outcome is not None:
                    yield outcome
        for line in self._aside.values():
            planned = PLANNED.read(line)
            text = f"room {planned.room_id} was modified by someone else since the plan was made, and is gone"
            yield self._ledger.end(planned.room_id, planned.unique_name, "conflict", error=text)

    def compare(self, planned: PlannedUpdate, room: Room) -> Outcome | None:
        """Settle a room that has the wanted values already, or is a conflict; return None if it is neither."""
        if not differing(room, planned.after):
            return self._ledger.end(
                planned.room_id, planned.unique_name, "updated", found=True, updated_at=room.updated_at
            )
        if planned.has_changed(room) and not self._force:
            when = "" if room.updated_at is None else f" ({timestamp(room.updated_at)})"
            text = f"room {room.id} was modified by someone else since the plan was made{when}"
            return self._ledger.end(planned.room_id, planned.unique_name, "conflict", error=text)
        return None

    def _changed_rooms(self) -> RoomList:
        latest = self._plan.latest_update
        if latest is None:
            return self._client.rooms.list()
        # A day more, should the server's days be of another time zone.
        return self._client.rooms.list(date_updated_at_gte=latest.astimezone(UTC).date() - timedelta(days=1))
