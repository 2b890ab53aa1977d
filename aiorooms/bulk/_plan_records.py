"""The lines of a plan file: a header, a line for each room to change, and totals with a checksum.

When a line is read, its form and the names of its fields are checked, because a program that edits a plan can also
calculate the right checksum. The values of the fields are checked when the update is created.

The line of a room also contains the values that are needed to detect changes by others. For example, a plan sets only
the webhook URL of a room to N, and the room has the webhook URL O and the failover URL F. The line then has O in
`before`, N in `after`, and F in `pair`, because the two URLs belong together: a new webhook URL may not suit a new
failover URL. When the plan is applied,

- a webhook URL other than O and N, or a failover URL other than F, was set by someone else, and the update would ignore
  it. The plan conflicts with that change.
- `max_participants` may have any value. The update does not touch it, so a change of it is no conflict.

Format 1 has no `pair`. With a plan in format 1, every modification of a room is a conflict. Format 3 adds the keys
`not_concerned` and `invalid` to the totals; a key is omitted if its value is 0.
"""

import hashlib
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, Self, cast

import attrs

from .._http.json import dumps
from .._webhook_url import WebhookUrlPolicy
from ..models import Room, RoomUpdate, read_room_ref
from ..models._fields import Values, differing, has_field
from ._files import json_object
from ._records import Codec, check_values

__all__ = [
    "HEADER",
    "PLANNED",
    "TOTALS",
    "VERSION",
    "VERSIONS",
    "Checksum",
    "PlanHeader",
    "PlanTotals",
    "PlannedLine",
    "PlannedUpdate",
    "contested_fields",
    "room_id_of",
]

VERSION: Final = 3
"""The format version of new plans."""

VERSIONS: Final = (1, 2, 3)
"""The format versions that can be read."""


@attrs.frozen(kw_only=True)
class PlanHeader:
    """The first line of a plan."""

    version: int = VERSION
    plan_id: str
    created_at: str
    base_url: str
    source: str


@attrs.frozen(kw_only=True)
class PlannedUpdate:
    """The planned update of one room."""

    room_id: str
    unique_name: str | None
    """The room's name when the plan was made."""
    updated_at: datetime | None
    """The room's `updated_at` when the plan was made."""
    before: Values
    """The fields that change, with their values when the plan was made."""
    after: Values
    """The same fields, with their new values."""
    pair: Values = attrs.Factory(dict[str, str | int | bool | None])
    """If only one of the two webhook URLs changes, the other one and its value when the plan was made; else empty."""

    def update(self, webhook_url_policy: WebhookUrlPolicy) -> RoomUpdate:
        """Return the update to send. Raises `InvalidRequestError` if the policy rejects a new URL."""
        return RoomUpdate.from_dict(self.after, webhook_url_policy=webhook_url_policy)

    def has_changed(self, room: Room) -> bool:
        """Return whether the room was modified since the plan was made.

        If the plan or the room has no `updated_at`, only the values of the planned fields and of `pair` are compared.
        """
        if self.updated_at is None or room.updated_at is None:
            return bool(differing(room, {**self.before, **self.pair}))
        return room.updated_at != self.updated_at

    def contested_fields(self, room: Room) -> tuple[str, ...]:
        """Return the fields whose changes by someone else conflict with the update.

        These are the planned fields that have neither their old nor their new value, and a changed URL of `pair`.
        """
        return contested_fields(room, self.before, self.after, self.pair)


def contested_fields(room: Room, before: Values, after: Values, pair: Values) -> tuple[str, ...]:
    """Return the fields that have neither their value in `before` nor in `after`, and a URL other than in `pair`."""
    # Most rooms have their old values, so these are compared first, and the new ones seldom. With five fields, of which
    # two are URLs, comparing all of them takes seven times as long.
    neither = [
        name
        for name, value in before.items()
        if not has_field(room, name, value) and name in after and not has_field(room, name, after[name])
    ]
    return (*neither, *differing(room, pair))


class PlannedLine(NamedTuple):
    """The line of a room. Only what sending its update needs is decoded; the rest stays in `line`."""

    line: bytes
    room_id: str
    unique_name: str | None
    updated_at: datetime | None
    after: Values

    @classmethod
    def read(cls, line: bytes) -> Self:
        """Read a line. Raises `ValueError` if it is not the line of a room."""
        # Reading a `PlannedUpdate` instead takes 18,000 more instructions.
        if (planned := cls._canonical(line)) is None:
            # The plan was not written by this package, although its checksum is right.
            strict = PLANNED.read(line)
            line = PLANNED.line(strict)
            planned = cls(line, strict.room_id, strict.unique_name, strict.updated_at, strict.after)
        return planned

    @classmethod
    def _canonical(cls, line: bytes) -> Self | None:
        """Read a line that looks as this package writes it. Return None for all other lines."""
        value = cast("Any", json_object(line))
        try:
            room_id, name, time = value["room_id"], value["unique_name"], value["updated_at"]
            check_values(value["before"])
            after = check_values(value["after"])
            if "pair" in value:
                check_values(value["pair"])
            updated_at = None if time is None else datetime.fromisoformat(time)
            is_canonical = (
                type(room_id) is str
                and (name is None or type(name) is str)
                and (updated_at is None or updated_at.tzinfo is UTC)
                and line.startswith(b'{"room_id":%s,"unique_name":' % dumps(room_id))
            )
        except (TypeError, KeyError, ValueError):
            return None
        return cls(line, room_id, name, updated_at, after) if is_canonical else None


def room_id_of(line: bytes) -> str:
    """Return the room's id of a line that `PlannedLine.read` and `PLANNED.read` accept.

    Raises `ValueError`, with what is wrong, if the line is not the line of a room or if its id is not a UUID.
    """
    try:
        room_id = PlannedLine.read(line).room_id
    except ValueError:
        raise ValueError("is not the line of a room") from None
    if problems := read_room_ref(room_id)[1]:
        raise ValueError(f"has an invalid room id: {problems[0].message}")
    return room_id


@attrs.frozen(kw_only=True)
class PlanTotals:
    """The last line of a plan."""

    rooms: int
    unchanged: int
    latest_update: datetime | None
    """See `Plan.latest_update`."""
    not_concerned: int = 0
    """See `PlanSummary`."""
    invalid: int = 0
    sha256: str = ""


class Checksum:
    """The checksum of a plan: the SHA-256 of all its lines, calculated with an empty `sha256` in the last line."""

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()

    def add(self, line: bytes) -> None:
        """Add a line."""
        self._sha256.update(line)

    def seal(self, totals: PlanTotals) -> PlanTotals:
        """Return the totals with the checksum. Call this once, after all lines have been added."""
        self._sha256.update(TOTALS.line(attrs.evolve(totals, sha256="")))
        return attrs.evolve(totals, sha256=self._sha256.hexdigest())


HEADER: Final = Codec(PlanHeader, version="aiorooms_plan", plan_id="id")
PLANNED: Final = Codec(PlannedUpdate, omit=("pair",))
TOTALS: Final = Codec(PlanTotals, omit=("not_concerned", "invalid"))
