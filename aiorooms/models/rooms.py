"""What the API answers, and what it is asked, as frozen attrs classes.

Answers (`Room`, `RoomSession`, `RoomParticipant`) hold what the server said and nothing else: a field that it left
out is None. Requests (`RoomUpdate`, `RoomCreate`) are checked when they are made, all problems at once, so that a
wrong one never leaves the machine. In a request, `UNSET` leaves a field alone and `None` clears it; the types say
which fields can be cleared.
"""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias, TypedDict, cast
from uuid import UUID

import attrs

from .._checks import bool_problems, int_problems, name_problems, not_nullable
from .._text import quoted
from .._unset import UNSET, Unset
from .._webhook_url import DEFAULT_POLICY, WebhookUrlPolicy, check_webhook_urls
from ..errors import InvalidRequestError, Problem

__all__ = [
    "MAX_PARTICIPANTS",
    "WEBHOOK_TIMEOUT_SECS",
    "Room",
    "RoomCreate",
    "RoomFields",
    "RoomPage",
    "RoomParticipant",
    "RoomRef",
    "RoomSession",
    "RoomUpdate",
]

MAX_PARTICIPANTS = range(2, 51)
"""The values that `max_participants` may have (API reference, "Update a room")."""

WEBHOOK_TIMEOUT_SECS = range(31)
"""The values that `webhook_timeout_secs` may have, in seconds (API reference, "Update a room")."""


@attrs.frozen(kw_only=True)
class RoomParticipant:
    """Somebody who is, or was, in a session."""

    id: str | None = None
    session_id: str | None = None
    context: str | None = None
    """What the participant's client gave as its context."""
    joined_at: datetime | None = None
    updated_at: datetime | None = None
    left_at: datetime | None = None
    record_type: str | None = None


@attrs.frozen(kw_only=True)
class RoomSession:
    """One meeting in a room, from the first participant's joining to its end."""

    id: str | None = None
    room_id: str | None = None
    active: bool | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    ended_at: datetime | None = None
    participants: tuple[RoomParticipant, ...] | None = None
    record_type: str | None = None


@attrs.frozen(kw_only=True)
class Room:
    """A room as the server knows it. A field that the answer left out is None; timestamps are aware datetimes."""

    id: str | None = None
    max_participants: int | None = None
    unique_name: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    active_session_id: str | None = None
    """The session that runs now, if any."""
    sessions: tuple[RoomSession, ...] | None = None
    """Filled where the call asked for `include_sessions=True`."""
    enable_recording: bool | None = None
    webhook_event_url: str | None = None
    webhook_event_failover_url: str | None = None
    """Empty or None where there is none."""
    webhook_timeout_secs: int | None = None
    record_type: str | None = None


RoomRef: TypeAlias = str | UUID | Room
"""What names a room in a call: its id as text or as a `uuid.UUID`, or a `Room` that has one."""


def read_room_ref(room: object) -> tuple[str, tuple[Problem, ...]]:
    """Give the room's id as text, and what is wrong with it."""
    room_id = room.id if isinstance(room, Room) else room
    if isinstance(room_id, str) and _UUID.fullmatch(room_id):
        return room_id, ()
    if isinstance(room_id, UUID):
        return str(room_id), ()
    message = f"{quoted(room_id)} is not a UUID such as '7b61621f-62e0-4aad-ab11-9fd19e272e73'"
    problem = Problem("/room_id", message, code="not_a_uuid", value=room_id, expected="a UUID")
    return room_id if isinstance(room_id, str) else quoted(room_id), (problem,)


_UUID = re.compile("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII)


@attrs.frozen(kw_only=True)
class RoomPage:
    """One page of a list of rooms."""

    rooms: tuple[Room, ...]
    number: int
    """Counted from 1."""
    total_pages: int | None = None
    """How many pages there were when this one was read; it can change while a list is read."""
    total_results: int | None = None

    def __iter__(self) -> Iterator[Room]:
        return iter(self.rooms)

    def __len__(self) -> int:
        return len(self.rooms)


class RoomFields(TypedDict, total=False):
    """The six fields that a room's owner sets, as keywords. `RoomUpdate` says what each of them means."""

    unique_name: str | Unset
    max_participants: int | Unset
    enable_recording: bool | Unset
    webhook_event_url: str | Unset
    webhook_event_failover_url: str | Unset | None
    webhook_timeout_secs: int | Unset | None


@attrs.frozen(init=False, repr=False)
class _RoomRequest:
    """The six fields that a room's owner sets, checked. The base of `RoomUpdate` and `RoomCreate`."""

    unique_name: str | Unset = UNSET
    """The room's name, unique within the account; not empty and not only blanks."""
    max_participants: int | Unset = UNSET
    """2 to 50."""
    enable_recording: bool | Unset = UNSET
    webhook_event_url: str | Unset = UNSET
    """Where events about the room are sent. It has a scheme, such as `https`, and at most 2000 characters."""
    webhook_event_failover_url: str | Unset | None = UNSET
    """Where events are sent if sending to the primary URL fails. None clears it."""
    webhook_timeout_secs: int | Unset | None = UNSET
    """Seconds to wait before a webhook times out, 0 to 30. None clears it."""

    def __init__(
        self,
        *,
        unique_name: str | Unset = UNSET,
        max_participants: int | Unset = UNSET,
        enable_recording: bool | Unset = UNSET,
        webhook_event_url: str | Unset = UNSET,
        webhook_event_failover_url: str | Unset | None = UNSET,
        webhook_timeout_secs: int | Unset | None = UNSET,
        webhook_url_policy: WebhookUrlPolicy = DEFAULT_POLICY,
    ) -> None:
        """Check all fields, and raise `InvalidRequestError` with all problems if there are any.

        `webhook_url_policy` says which webhook and failover URLs are accepted here. It isn't kept: a client checks
        the URLs once more with its own policy before it sends them.
        """
        problems: list[Problem] = []
        # Most updates set a field or two; not to ask about the others saves a third of this.
        if unique_name is not UNSET:
            problems += name_problems("/unique_name", unique_name)
        if max_participants is not UNSET:
            problems += int_problems("/max_participants", max_participants, MAX_PARTICIPANTS)
        if enable_recording is not UNSET:
            problems += bool_problems("/enable_recording", enable_recording)
        problems += _url_problems(webhook_event_url, webhook_event_failover_url, webhook_url_policy)
        if webhook_timeout_secs is not UNSET:
            problems += int_problems("/webhook_timeout_secs", webhook_timeout_secs, WEBHOOK_TIMEOUT_SECS, nullable=True)
        if problems:
            raise InvalidRequestError(problems)
        self.__attrs_init__(
            unique_name,
            max_participants,
            enable_recording,
            webhook_event_url,
            webhook_event_failover_url,
            webhook_timeout_secs,
        )

    if TYPE_CHECKING:
        # attrs makes it; the type checkers don't know that.
        def __attrs_init__(self, *fields: object) -> None: ...

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.to_dict().items())})"

    @classmethod
    def from_dict(cls, data: Mapping[str, object], /, *, webhook_url_policy: WebhookUrlPolicy = DEFAULT_POLICY) -> Self:
        """Make the request from JSON data: an absent key is `UNSET`, null is None.

        Raises `InvalidRequestError` with all problems, unknown keys among them.
        """
        if not isinstance(cast("object", data), Mapping):
            message = f"{quoted(data)} is not {_AN_OBJECT}"
            raise InvalidRequestError([Problem("", message, code="wrong_type", value=data, expected=_AN_OBJECT)])
        unknown = [_unknown_key(key) for key in data if key not in FIELD_NAMES]
        # The values are of any type; the constructor refuses what is wrong.
        known = cast("dict[str, Any]", {key: value for key, value in data.items() if key in FIELD_NAMES})
        if not unknown:
            return cls(**known, webhook_url_policy=webhook_url_policy)
        try:
            cls(**known, webhook_url_policy=webhook_url_policy)
        except InvalidRequestError as error:
            unknown += error.problems
        raise InvalidRequestError(unknown)

    def to_dict(self) -> dict[str, str | int | bool | None]:
        """Give the JSON object that is sent: a field that is `UNSET` is absent, None is null."""
        return {name: value for name in FIELD_NAMES if (value := getattr(self, name)) is not UNSET}

    def url_problems(self, policy: WebhookUrlPolicy) -> tuple[Problem, ...]:
        """Check the webhook and failover URLs against another policy than the one they were made under."""
        return _url_problems(self.webhook_event_url, self.webhook_event_failover_url, policy)


FIELD_NAMES: Final = tuple(attribute.name for attribute in attrs.fields(_RoomRequest))
"""The names of the six fields, in the order of the API's reference page."""


@attrs.frozen(init=False, repr=False)
class RoomUpdate(_RoomRequest):
    """What to change in a room. Every field is `UNSET` (leave it alone) unless it is given.

    - `unique_name`: the room's name, unique within the account; not empty and not only blanks.
    - `max_participants`: 2 to 50.
    - `enable_recording`: True or False.
    - `webhook_event_url`: where events about the room are sent. It has a scheme, and at most 2000 characters.
    - `webhook_event_failover_url`: where events are sent if sending to the webhook URL fails; None clears it.
    - `webhook_timeout_secs`: seconds before a webhook times out, 0 to 30; None clears it.

    Raises `InvalidRequestError`, which is also a `ValueError`, if a value is out of range or of a wrong type. An
    update that sets nothing can be made, but is refused when it is to be sent.
    """


@attrs.frozen(init=False, repr=False)
class RoomCreate(_RoomRequest):
    """A room to be made, with the fields of `RoomUpdate`. What is `UNSET` gets the API's default.

    Raises `InvalidRequestError`, which is also a `ValueError`, if a value is out of range or of a wrong type.
    """


def _url_problems(url: object, failover_url: object, policy: WebhookUrlPolicy) -> tuple[Problem, ...]:
    if url is UNSET and failover_url is UNSET:
        return ()
    if url is None:
        return (
            not_nullable("/webhook_event_url", "a URL"),
            *check_webhook_urls(UNSET, failover_url, policy),
        )
    return check_webhook_urls(url, failover_url, policy)


_AN_OBJECT = "an object with fields of a room"


def _unknown_key(key: object) -> Problem:
    message = f"{quoted(key)} is not a field of a room; the fields are {', '.join(FIELD_NAMES)}"
    return Problem(_pointer(key), message, code="unknown_field", value=key)


def _pointer(key: object) -> str:
    """A JSON pointer to a key (RFC 6901: `~` and `/` are escaped), on one line whatever the key holds."""
    text = str(key).replace("~", "~0").replace("/", "~1")
    return "/" + json.dumps(text)[1:-1]
