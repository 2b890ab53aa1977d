"""Rooms, their sessions and participants as the API returns them, and the requests that create or change a room.

Answers (`Room`, `RoomSession`, `RoomParticipant`) contain only what the server sent. A field that the server omitted is
None. Requests (`RoomUpdate`, `RoomCreate`) are validated when they are created, so an invalid request is never sent.
One error reports all problems of a request. In a request, `UNSET` leaves a field unchanged, and `None` clears it. A
field can be cleared if its type includes None.
"""

import functools
import json
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime
from typing import Any, NoReturn, Self, TypeAlias, TypedDict, cast
from uuid import UUID

import attrs

from .._checks import check_instance, not_nullable
from .._text import quoted, similar
from .._unset import UNSET, Unset
from .._webhook_url import DEFAULT_POLICY, WebhookUrlPolicy, check_webhook_urls
from ..errors import InvalidRequestError, Problem
from ._fields import CHECKS, FIELD_NAMES, FIELDS, differing
from ._values import load_converter

__all__ = [
    "Room",
    "RoomCreate",
    "RoomFields",
    "RoomFilters",
    "RoomPage",
    "RoomParticipant",
    "RoomRef",
    "RoomSession",
    "RoomUpdate",
    "read_room_ref",
]


class _NoFields(dict[str, object]):
    """An empty dict that stays empty, because all rooms share it. So an update creates no dicts for it."""

    def _fail(self, *_: object, **__: object) -> NoReturn:
        raise TypeError("the fields `unreadable` and `extra` of an answer can't be changed")

    __setitem__ = update = setdefault = __ior__ = _fail  # pyright: ignore[reportAssignmentType]


_HIDDEN: Any = attrs.field(default=_NoFields(), eq=False, repr=False)
"""The definition of the fields `unreadable` and `extra`. They are not compared, and not shown in the repr."""


@attrs.frozen(kw_only=True)
class RoomParticipant:
    """A participant who is or was in a session."""

    id: str | None = None
    session_id: str | None = None
    context: str | None = None
    """The context that the participant's client provided."""
    joined_at: datetime | None = None
    updated_at: datetime | None = None
    left_at: datetime | None = None
    record_type: str | None = None
    unreadable: Mapping[str, object] = _HIDDEN
    """See `Room.unreadable`."""
    extra: Mapping[str, object] = _HIDDEN
    """See `Room.extra`."""


@attrs.frozen(kw_only=True)
class RoomSession:
    """One session of a room. A session begins when its first participant joins."""

    id: str | None = None
    room_id: str | None = None
    active: bool | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    ended_at: datetime | None = None
    participants: tuple[RoomParticipant, ...] | None = None
    record_type: str | None = None
    unreadable: Mapping[str, object] = _HIDDEN
    """See `Room.unreadable`."""
    extra: Mapping[str, object] = _HIDDEN
    """See `Room.extra`."""


@attrs.frozen(kw_only=True)
class Room:
    """A room as the server returned it. Fields missing from the answer are None. Timestamps are aware datetimes."""

    id: str
    max_participants: int | None = None
    unique_name: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    active_session_id: str | None = None
    """The id of the current session, if there is one."""
    sessions: tuple[RoomSession, ...] | None = None
    """The sessions; None if the call did not ask for them with `include_sessions=True`."""
    enable_recording: bool | None = None
    webhook_event_url: str | None = None
    webhook_event_failover_url: str | None = None
    """Empty or None if the room has no failover URL."""
    webhook_timeout_secs: int | None = None
    """Seconds before a webhook times out."""
    record_type: str | None = None
    unreadable: Mapping[str, object] = _HIDDEN
    """The raw values of fields that could not be read. The attributes with these names are None."""
    extra: Mapping[str, object] = _HIDDEN
    """The raw values of fields of the answer that this class doesn't have."""

    def to_dict(self) -> dict[str, Any]:
        """Return the room as JSON data, for the answers of a web backend: `json.dumps` can write it.

        Fields have the names of the API, None stays None, and timestamps become text in UTC. `unreadable` and `extra`
        are left out.
        """
        return cast("dict[str, Any]", load_converter().unstructure(self))


RoomRef: TypeAlias = str | UUID | Room
"""A reference to a room: its id as a string or a `uuid.UUID`, or a `Room`."""


def read_room_ref(room: object) -> tuple[str, tuple[Problem, ...]]:
    """Return the id of a room as a string, and a tuple that contains a problem if the id is invalid."""
    room_id = room.id if isinstance(room, Room) else room
    if isinstance(room_id, str) and _UUID.fullmatch(room_id):
        return room_id, ()
    if isinstance(room_id, UUID):
        return str(room_id), ()
    message = f"{quoted(room_id)} is not a UUID such as '7b61621f-62e0-4aad-ab11-9fd19e272e73'"
    problem = Problem("/room_id", message, code="not_a_uuid", value=room_id, expected="a UUID")
    return room_id if isinstance(room_id, str) else quoted(room_id), (problem,)


_URLS = ("webhook_event_url", "webhook_event_failover_url")

_UUID = re.compile("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII)


@attrs.frozen(kw_only=True)
class RoomPage:
    """One page of a list of rooms."""

    rooms: tuple[Room, ...]
    number: int
    """The number of the page, counted from 1."""
    total_pages: int | None = None
    """Number of pages of the list when this page was read. The number can change while the list is read."""
    total_results: int | None = None
    """Number of rooms in the whole list when this page was read."""
    unreadable: tuple[object, ...] = attrs.field(default=(), eq=False)
    """The raw entries of the page that are not rooms with an id."""

    def __iter__(self) -> Iterator[Room]:
        return iter(self.rooms)

    def __len__(self) -> int:
        return len(self.rooms)


class RoomFields(TypedDict, total=False):
    """The six writable fields as keyword arguments. `RoomUpdate` describes each of them."""

    unique_name: str | Unset
    max_participants: int | Unset
    enable_recording: bool | Unset
    webhook_event_url: str | Unset
    webhook_event_failover_url: str | Unset | None
    webhook_timeout_secs: int | Unset | None


class RoomFilters(TypedDict, total=False):
    """The filters of a list of rooms as keyword arguments. The dates are days in UTC."""

    unique_name: str | Unset
    """The exact name of a room."""
    date_created_at_eq: date | Unset
    """Created on that day. `gte` means on that day or later, `lte` on that day or earlier."""
    date_created_at_gte: date | Unset
    date_created_at_lte: date | Unset
    date_updated_at_eq: date | Unset
    date_updated_at_gte: date | Unset
    date_updated_at_lte: date | Unset
    include_sessions: bool | Unset
    """Whether each room has its sessions, with their participants."""


@attrs.frozen(kw_only=True, eq=False, repr=False)
class _RoomRequest:
    """The base of `RoomUpdate` and `RoomCreate`: the six writable fields, with validation.

    This class contains the types and the documentation of the fields. `_fields` contains their rules.
    """

    unique_name: str | Unset = UNSET
    """The name of the room, unique within the account; neither empty nor only whitespace."""
    max_participants: int | Unset = UNSET
    """Maximum number of participants, 2 to 50 inclusive."""
    enable_recording: bool | Unset = UNSET
    """Whether sessions of the room are recorded."""
    webhook_event_url: str | Unset = UNSET
    """The URL that receives the events of the room: with a scheme, such as `https`, and at most 2000 characters."""
    webhook_event_failover_url: str | Unset | None = UNSET
    """A different URL that receives the events if `webhook_event_url` fails. None clears it."""
    webhook_timeout_secs: int | Unset | None = UNSET
    """Seconds before a webhook times out, 0 to 30 inclusive. None clears it."""
    webhook_url_policy: WebhookUrlPolicy = attrs.field(default=DEFAULT_POLICY, eq=False)
    """The policy that both URLs were checked against. It is neither sent, nor shown in the repr, nor compared."""

    def __attrs_post_init__(self) -> None:
        problems: tuple[Problem, ...] = ()
        # Most updates set one or two fields. Skipping the other checks saves a third of this method's time.
        for name, check in CHECKS:
            if (value := getattr(self, name)) is not UNSET:
                problems += check(value)
        if self.webhook_event_url is not UNSET or self.webhook_event_failover_url is not UNSET:
            check_instance(WebhookUrlPolicy, "webhook_url_policy", self.webhook_url_policy)
            problems += self._url_problems(self.webhook_url_policy)
        if problems:
            raise InvalidRequestError(sorted(problems, key=_field_index))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.to_dict().items())})"

    @classmethod
    def from_dict(cls, data: Mapping[str, object], /, *, webhook_url_policy: WebhookUrlPolicy = DEFAULT_POLICY) -> Self:
        """Create the request from JSON data. A missing key becomes `UNSET`, and null becomes None.

        Raises `InvalidRequestError` with all problems, including unknown keys.
        """
        # cattrs isn't used here, because it stops at the first unknown key and can't pass on the policy.
        if not isinstance(cast("object", data), Mapping):
            message = f"{quoted(data)} is not {_AN_OBJECT}"
            raise InvalidRequestError([Problem("", message, code="wrong_type", value=data, expected=_AN_OBJECT)])
        unknown = [_unknown_key(key) for key in data if key not in FIELDS]
        # The values can have any type; the constructor rejects invalid ones.
        known = cast("dict[str, Any]", {key: value for key, value in data.items() if key in FIELDS})
        if not unknown:
            return cls(**known, webhook_url_policy=webhook_url_policy)
        try:
            cls(**known, webhook_url_policy=webhook_url_policy)
        except InvalidRequestError as error:
            unknown += error.problems
        raise InvalidRequestError(unknown)

    def to_dict(self) -> dict[str, str | int | bool | None]:
        """Return the JSON object to send. `UNSET` fields are left out, and None becomes null."""
        return _unstructure()(self)

    def url_problems(self, webhook_url_policy: WebhookUrlPolicy) -> tuple[Problem, ...]:
        """Check both URLs against another policy, and return the problems.

        If the policy equals `self.webhook_url_policy`, the URLs are valid, because they have already been checked.
        """
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
    """Return the function that turns a request into JSON data."""
    # On first use, as in `load_converter`.
    from cattrs.fns import identity
    from cattrs.gen import make_dict_unstructure_fn, override

    overrides = {name: override(unstruct_hook=identity) for name in FIELD_NAMES}
    overrides["webhook_url_policy"] = override(omit=True)
    return make_dict_unstructure_fn(
        _RoomRequest, load_converter(), _cattrs_omit_if_default=True, **cast("Any", overrides)
    )


def _field_index(problem: Problem) -> int:
    return FIELD_NAMES.index(problem.pointer[1:])


@attrs.frozen(kw_only=True, repr=False)
class RoomUpdate(_RoomRequest):
    """The changes to a room. Fields that you don't give are `UNSET`, and stay unchanged on the server.

    - `unique_name`: the name of the room, unique within the account; neither empty nor only whitespace.
    - `max_participants`: maximum number of participants, 2 to 50 inclusive.
    - `enable_recording`: whether sessions of the room are recorded, True or False.
    - `webhook_event_url`: the URL that receives the events of the room, with a scheme and at most 2000 characters.
    - `webhook_event_failover_url`: a different URL that gets the events if `webhook_event_url` fails; None clears it.
    - `webhook_timeout_secs`: seconds before a webhook times out, 0 to 30 inclusive; None clears it.
    - `webhook_url_policy`: the policy that both URLs are checked against; the policy itself is not sent.

    Raises `InvalidRequestError`, which is also a `ValueError`, if a value is invalid. An update without any field can
    be created, but sending it raises `InvalidRequestError`.

    `update | other` has the fields of both, and those of `other` take precedence. Its policy is that of `other`.
    """

    @classmethod
    def from_room(cls, room: "Room", /, *, webhook_url_policy: WebhookUrlPolicy = DEFAULT_POLICY) -> Self:
        """Return the update that gives another room the values of this one.

        If the room has no failover URL or no timeout, the update clears it. Other fields that the room lacks, and
        fields that can't be read, stay unchanged. The name is left out, because it must be unique within the account.

        Raises `InvalidRequestError` if the room has values that can't be sent, such as a URL that the policy rejects.
        """
        values: dict[str, Any] = {}
        for name in FIELD_NAMES:
            value = getattr(room, name) or None if name in _URLS else getattr(room, name)
            if name != "unique_name" and name not in room.unreadable and (value is not None or FIELDS[name].nullable):
                values[name] = value
        return cls(**values, webhook_url_policy=webhook_url_policy)

    def diff(self, room: "Room", /) -> "RoomUpdate":
        """Return the part of this update that would change the room. It may have no fields at all."""
        changed = differing(room, self.to_dict())
        unchanged: dict[str, Any] = {name: UNSET for name in FIELD_NAMES if name not in changed}
        return attrs.evolve(self, **unchanged)

    def __or__(self, other: "RoomUpdate") -> "RoomUpdate":
        if not isinstance(cast("object", other), RoomUpdate):
            return NotImplemented
        own: dict[str, Any] = {name: getattr(self, name) for name in FIELD_NAMES if getattr(other, name) is UNSET}
        return attrs.evolve(other, **own)


@attrs.frozen(kw_only=True, repr=False)
class RoomCreate(_RoomRequest):
    """A new room, with the fields of `RoomUpdate`. The server applies its default to each `UNSET` field.

    Raises `InvalidRequestError`, which is also a `ValueError`, if a value is invalid.
    """


_AN_OBJECT = "an object whose keys are writable fields"


def _unknown_key(key: object) -> Problem:
    hint = similar(str(key)[:80], FIELD_NAMES, f"the writable fields are {', '.join(FIELD_NAMES)}")
    message = f"{quoted(key)} is not a writable field; {hint}"
    return Problem(_pointer(key), message, code="unknown_field", value=key)


def _pointer(key: object) -> str:
    """Return a JSON pointer to a key, with `~` and `/` (RFC 6901) and line breaks escaped."""
    text = str(key).replace("~", "~0").replace("/", "~1")
    return "/" + json.dumps(text)[1:-1]
