"""What stands in the lines of a plan file."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final, Self, TypeAlias, cast

import attrs

from .._webhook_url import WebhookUrlPolicy
from ..models import Room, RoomUpdate
from ..models._converter import loads
from ._files import JsonObject, json_line

__all__ = [
    "AFTER_ID",
    "VERSION",
    "PlanSummary",
    "PlannedUpdate",
    "Values",
    "differing",
    "read_planned",
    "timestamp",
    "totals",
]

VERSION: Final = 1

Values: TypeAlias = Mapping[str, str | int | bool | None]
"""Fields of a room and what is in them."""


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

    @classmethod
    def from_json(cls, data: JsonObject) -> Self:
        """Read the line of a room; it is trusted, as its file's checksum was right."""
        fields = cast("Mapping[str, str]", data)
        at = fields["updated_at"]
        return cls(
            room_id=fields["room_id"],
            unique_name=fields["unique_name"],
            updated_at=None if at is None else datetime.fromisoformat(at),  # pyright: ignore[reportUnnecessaryComparison]
            before=cast("Values", data["before"]),
            after=cast("Values", data["after"]),
        )

    def to_json(self) -> JsonObject:
        """Give what stands in the line of a room."""
        return {
            "room_id": self.room_id,
            "unique_name": self.unique_name,
            "updated_at": timestamp(self.updated_at),
            "before": self.before,
            "after": self.after,
        }

    def update(self, policy: WebhookUrlPolicy) -> RoomUpdate:
        """Give what is to be sent."""
        return RoomUpdate.from_dict(self.after, webhook_url_policy=policy)

    def has_changed(self, room: Room) -> bool:
        """Whether somebody changed the room since the plan was made."""
        if self.updated_at is None:
            return bool(differing(room, self.before))
        return room.updated_at != self.updated_at


@attrs.frozen(kw_only=True)
class PlanSummary:
    """What a plan comes to."""

    plan_id: str
    rooms: int
    """Rooms that change."""
    unchanged: int
    """Rooms that were asked for and are already as they should be."""


def differing(room: Room, wanted: Values) -> Values:
    """Give those of the wanted values that the room doesn't have."""
    return {name: value for name, value in wanted.items() if not _is(getattr(room, name), value)}


def _is(present: object, wanted: object) -> bool:
    # The API writes "no URL" as an empty text or as null.
    return present == wanted or (present in _NOTHING and wanted in _NOTHING)


_NOTHING: Final = (None, "")


def totals(rooms: int, unchanged: object, latest: object, checksum: str) -> bytes:
    """Give the last line. The checksum is that of all lines before it, and of this one without the checksum."""
    return json_line({"rooms": rooms, "unchanged": unchanged, "latest_update": latest, "sha256": checksum})


def timestamp(moment: datetime | None) -> str | None:
    """Write as `2021-04-12T22:29:42.000001Z`."""
    if moment is None:
        return None
    utc = moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    return utc.isoformat().removesuffix("+00:00") + "Z"


def read_planned(line: bytes) -> PlannedUpdate:
    """Read the line of a room."""
    return PlannedUpdate.from_json(cast("JsonObject", loads(line)))


AFTER_ID: Final = len('{"room_id":"') + 36 + len('",')
"""Where the line of a room goes on."""
