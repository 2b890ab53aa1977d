"""Rooms, their sessions and participants as the API answers them, and the requests that make or change a room.

Answers (`Room`, `RoomSession`, `RoomParticipant`) hold what the server said and nothing else: a field that it left
out is None. Requests (`RoomUpdate`, `RoomCreate`) are checked when they are made, all problems at once, so that a
wrong one never leaves the machine. In a request, `UNSET` leaves a field alone and `None` clears it; the types say
which fields can be cleared.
"""

import functools
import json
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, Self, TypeAlias, TypedDict, cast
from uuid import UUID

import attrs
from cattrs import override
from cattrs.fns import identity
from cattrs.gen import make_dict_unstructure_fn

from .._checks import check_instance, not_nullable
from .._text import quoted
from .._unset import UNSET, Unset
from .._webhook_url import DEFAULT_POLICY, WebhookUrlPolicy, check_webhook_urls
from ..errors import InvalidRequestError, Problem
from ._converter import converter
from ._fields import CHECKS, FIELD_NAMES, FIELDS

__all__ = [
    "Room",
    "RoomCreate",
    "RoomFields",
    "RoomPage",
    "RoomParticipant",
    "RoomRef",
    "RoomSession",
    "RoomUpdate",
    "read_room_ref",
]


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


@attrs.frozen(kw_only=True, repr=False)
class _RoomRequest:
    """The six writable fields, checked. The base of `RoomUpdate` and `RoomCreate`.

    `_fields` has the rules of the fields. Here stand their types, and their documentation.
    """

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
    webhook_url_policy: WebhookUrlPolicy = attrs.field(default=DEFAULT_POLICY, eq=False)
    """The policy under which the webhook and failover URLs were checked. It is not sent, shown or compared."""

    def __attrs_post_init__(self) -> None:
        problems: tuple[Problem, ...] = ()
        # Most updates set a field or two; not to check the others saves a third of this.
        for name, check in CHECKS:
            if (value := getattr(self, name)) is not UNSET:
                problems += check(value)
        if self.webhook_event_url is not UNSET or self.webhook_event_failover_url is not UNSET:
            check_instance(WebhookUrlPolicy, "webhook_url_policy", self.webhook_url_policy)
            problems += self._url_problems(self.webhook_url_policy)
        if problems:
            raise InvalidRequestError(sorted(problems, key=_place))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.to_dict().items())})"

    @classmethod
    def from_dict(cls, data: Mapping[str, object], /, *, webhook_url_policy: WebhookUrlPolicy = DEFAULT_POLICY) -> Self:
        """Make the request from JSON data: an absent key is `UNSET`, null is None.

        Raises `InvalidRequestError` with all problems, unknown keys among them.
        """
        # Not by cattrs: it stops at unknown keys, and knows no policy.
        if not isinstance(cast("object", data), Mapping):
            message = f"{quoted(data)} is not {_AN_OBJECT}"
            raise InvalidRequestError([Problem("", message, code="wrong_type", value=data, expected=_AN_OBJECT)])
        unknown = [_unknown_key(key) for key in data if key not in FIELDS]
        # The values are of any type; the constructor refuses what is wrong.
        known = cast("dict[str, Any]", {key: value for key, value in data.items() if key in FIELDS})
        if not unknown:
            return cls(**known, webhook_url_policy=webhook_url_policy)
        try:
            cls(**known, webhook_url_policy=webhook_url_policy)
        except InvalidRequestError as error:
            unknown += error.problems
        raise InvalidRequestError(unknown)

    def to_dict(self) -> dict[str, str | int | bool | None]:
        """Give the JSON object that is sent: a field that is `UNSET` is absent, None is null."""
        return _unstructure()(self)

    def url_problems(self, webhook_url_policy: WebhookUrlPolicy) -> tuple[Problem, ...]:
        """Check the webhook and failover URLs under a policy, unless they were made under an equal one."""
        if webhook_url_policy is self.webhook_url_policy or webhook_url_policy == self.webhook_url_policy:
            return ()
        return self._url_problems(webhook_url_policy)

    def _url_problems(self, policy: WebhookUrlPolicy) -> tuple[Problem, ...]:
        url, failover_url = cast("object", self.webhook_event_url), self.webhook_event_failover_url
        if url is None:
            return (not_nullable("/webhook_event_url", "a URL"), *check_webhook_urls(UNSET, failover_url, policy))
        return check_webhook_urls(url, failover_url, policy)


@functools.cache
def _unstructure() -> Callable[[_RoomRequest], dict[str, str | int | bool | None]]:
    """Make the function that turns a request into JSON data, when it is needed first: importing needn't wait for it."""
    overrides = {name: override(unstruct_hook=identity) for name in FIELD_NAMES}
    overrides["webhook_url_policy"] = override(omit=True)
    return make_dict_unstructure_fn(_RoomRequest, converter, _cattrs_omit_if_default=True, **cast("Any", overrides))


def _place(problem: Problem) -> int:
    return FIELD_NAMES.index(problem.pointer[1:])


@attrs.frozen(kw_only=True, repr=False)
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


@attrs.frozen(kw_only=True, repr=False)
class RoomCreate(_RoomRequest):
    """A room to be made, with the fields of `RoomUpdate`. What is `UNSET` gets the API's default.

    Raises `InvalidRequestError`, which is also a `ValueError`, if a value is out of range or of a wrong type.
    """


_AN_OBJECT = "an object with fields of a room"


def _unknown_key(key: object) -> Problem:
    message = f"{quoted(key)} is not a field of a room; the fields are {', '.join(FIELD_NAMES)}"
    return Problem(_pointer(key), message, code="unknown_field", value=key)


def _pointer(key: object) -> str:
    """A JSON pointer to a key (RFC 6901: `~` and `/` are escaped), on one line whatever the key holds."""
    text = str(key).replace("~", "~0").replace("/", "~1")
    return "/" + json.dumps(text)[1:-1]
