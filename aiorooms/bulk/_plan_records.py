"""What stands in the lines of a plan file: a header, then each room that changes, and totals with a checksum.

A plan that is read has been compared with its checksum, so what is in a line of a room is what was planned.
"""

import hashlib
from datetime import datetime
from typing import Final

import attrs

from .._webhook_url import WebhookUrlPolicy
from ..models import Room, RoomUpdate
from ..models._fields import Values, differing
from ._records import Codec

__all__ = ["HEADER", "PLANNED", "TOTALS", "VERSION", "Checksum", "PlanHeader", "PlanTotals", "PlannedUpdate"]

VERSION: Final = 1


@attrs.frozen(kw_only=True)
class PlanHeader:
    """The first line."""

    version: int = VERSION
    plan_id: str
    created_at: str
    base_url: str
    source: str


@attrs.frozen(kw_only=True)
class PlannedUpdate:
    """What a plan says of one room."""

    room_id: str
    unique_name: str | None
    """The room's name when the plan was made."""
    updated_at: datetime | None
    """When the room was last changed before the plan was made."""
    before: Values
    after: Values
    """The same fields as `before`."""

    def update(self, webhook_url_policy: WebhookUrlPolicy) -> RoomUpdate:
        """Make the update that is sent. Raises `InvalidRequestError` if the policy doesn't accept its URLs."""
        return RoomUpdate.from_dict(self.after, webhook_url_policy=webhook_url_policy)

    def has_changed(self, room: Room) -> bool:
        """Whether the room was modified by someone else since the plan was made."""
        if self.updated_at is None:
            return bool(differing(room, self.before))
        return room.updated_at != self.updated_at


@attrs.frozen(kw_only=True)
class PlanTotals:
    """The last line."""

    rooms: int
    unchanged: int
    latest_update: datetime | None
    """The latest `updated_at` of the rooms; None if not all have one."""
    sha256: str = ""
    """The checksum."""


class Checksum:
    """The checksum of a plan: of all lines before the last one, and of that one with an empty checksum."""

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()

    def add(self, line: bytes) -> None:
        """Add a line."""
        self._sha256.update(line)

    def seal(self, totals: PlanTotals) -> PlanTotals:
        """Return the totals with the checksum; no line can be added after that."""
        self._sha256.update(TOTALS.line(attrs.evolve(totals, sha256="")))
        return attrs.evolve(totals, sha256=self._sha256.hexdigest())


HEADER: Final = Codec(PlanHeader, version="aiorooms_plan", plan_id="id")
PLANNED: Final = Codec(PlannedUpdate)
TOTALS: Final = Codec(PlanTotals)
