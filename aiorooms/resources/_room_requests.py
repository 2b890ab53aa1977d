"""Build the requests of all operations on rooms, after checking their arguments. No I/O."""

from collections.abc import Mapping, Sequence
from datetime import date
from functools import partial
from typing import Any, Final, cast
from urllib.parse import urlencode

import attrs

from .._checks import bool_problems, date_problems, int_problems, name_problems
from .._http.call_settings import CallOptions
from .._http.request import Request
from .._text import quoted
from .._unset import UNSET, Unset
from .._webhook_url import WebhookUrlPolicy
from ..errors import InvalidRequestError, Problem
from ..models import FIELD_NAMES, Room, RoomCreate, RoomFields, RoomFilters, RoomPage, RoomUpdate, read_room_ref
from ._bodies import MAX_LIST, MAX_ROOM, decode_rooms
from ._calls import raise_if_invalid
from ._null_support import NullSupport
from ._read_back import (
    decode_created,
    decode_deleted,
    decode_updated,
    get_room,
    not_confirmed,
    read_back_delete,
    read_back_update,
)

__all__ = ["FILTER_NAMES", "ListQuery", "RoomArguments", "RoomListArguments", "RoomRequests", "list_query"]

_DAYS: Final = tuple(
    f"date_{event}_at_{operator}" for event in ("created", "updated") for operator in ("eq", "gte", "lte")
)
FILTER_NAMES: Final = ("unique_name", *_DAYS, "include_sessions")

_PAGE_SIZES: Final = range(1, 251)
_PAGE_NUMBERS: Final = range(1, 10**9)


class RoomArguments(RoomFields, CallOptions, total=False):
    """The writable fields of a room, and the options of the call, as keyword arguments."""


class RoomListArguments(RoomFilters, CallOptions, total=False):
    """The filters of a list of rooms, and the options of the call, as keyword arguments."""


class RoomRequests:
    """The requests of one client. All methods raise `InvalidRequestError` with all problems."""

    def __init__(self, webhook_url_policy: WebhookUrlPolicy, null: "NullSupport | None" = None) -> None:
        self.policy = webhook_url_policy
        self._null = null or NullSupport()

    def with_policy(self, webhook_url_policy: WebhookUrlPolicy) -> "RoomRequests":
        """Return the requests with another policy. What was learned about the server is shared."""
        return RoomRequests(webhook_url_policy, self._null)

    def retrieve(self, room: object, include_sessions: bool | Unset) -> Request[Room]:
        """Return the request that reads a room."""
        room_id, problems = read_room_ref(room)
        raise_if_invalid([*problems, *bool_problems("/include_sessions", include_sessions)])
        query = "" if include_sessions is UNSET else f"include_sessions={_json_bool(include_sessions)}"
        return get_room(room_id, query)

    def page(self, query: "ListQuery", number: int) -> Request[RoomPage]:
        """Return the request that reads one page of a list."""
        raise_if_invalid(int_problems("/number", number, _PAGE_NUMBERS))
        paged = urlencode([*query.filters, ("page[number]", number), ("page[size]", query.page_size)])
        return Request(
            method="GET",
            route="/rooms",
            path="/rooms",
            query=paged,
            subject="list of rooms",
            decode=partial(decode_rooms, number),
            max_size=MAX_LIST,
            size_advice="lower page_size",
        )

    def create(self, room: RoomCreate | None, fields: dict[str, Any]) -> Request[Room]:
        """Return the request that creates a room from a `RoomCreate` or from single fields."""
        if room is None:
            room = RoomCreate(**fields, webhook_url_policy=self.policy)
        else:
            raise_if_invalid(_object_problems(room, RoomCreate, fields))
            raise_if_invalid(room.url_problems(self.policy))
        name = "" if room.unique_name is UNSET else f" {quoted(room.unique_name)}"
        wanted = room.to_dict()
        request = Request(
            method="POST",
            route="/rooms",
            path="/rooms",
            subject=f"new room{name}",
            decode=partial(decode_created, wanted),
            max_size=MAX_ROOM,
        )
        return self._null.with_fields(request, wanted)

    def update(self, room: object, update: RoomUpdate | None, fields: dict[str, Any]) -> Request[Room]:
        """Return the request that updates a room with a `RoomUpdate` or with single fields."""
        room_id, problems = read_room_ref(room)
        if update is not None:
            if wrong := _object_problems(update, RoomUpdate, fields):
                raise InvalidRequestError([*problems, *wrong])
            return self.update_with_id(room_id, update, problems)
        try:
            update = RoomUpdate(**fields, webhook_url_policy=self.policy)
        except InvalidRequestError as error:
            raise InvalidRequestError([*problems, *error.problems]) from None
        return self.update_with_id(room_id, update, problems)

    def update_with_id(self, room_id: str, update: RoomUpdate, problems: Sequence[Problem] = ()) -> Request[Room]:
        """Return the request that updates the room with the given id. `problems` are those of the id."""
        fields = update.to_dict()
        problems = [*problems, *update.url_problems(self.policy)]
        if not fields:
            message = f"there is nothing to change; give at least one of {', '.join(FIELD_NAMES)}"
            problems.append(Problem("", message, code="nothing_to_change"))
        raise_if_invalid(problems)
        request = Request(
            method="PATCH",
            route="/rooms/{room_id}",
            path=f"/rooms/{room_id}",
            subject=f"room {room_id}",
            decode=partial(decode_updated, room_id, fields),
            decode_no_content=not_confirmed,
            max_size=MAX_ROOM,
            read_back=partial(read_back_update, room_id, fields),
        )
        return self._null.with_fields(request, fields)

    def delete(self, room: object) -> Request[None]:
        """Return the request that deletes a room."""
        room_id, problems = read_room_ref(room)
        raise_if_invalid(problems)
        return Request(
            method="DELETE",
            route="/rooms/{room_id}",
            path=f"/rooms/{room_id}",
            subject=f"room {room_id}",
            decode=partial(decode_deleted, room_id),
            max_size=MAX_ROOM,
            decode_no_content=lambda: None,
            read_back=partial(read_back_delete, room_id),
        )


@attrs.frozen
class ListQuery:
    """The filters of a list, checked and encoded, and its page size."""

    filters: Sequence[tuple[str, str]]
    page_size: int


def list_query(filters: Mapping[str, object], page_size: int) -> ListQuery:
    """Return the query of a list from `RoomFilters`. Raises `InvalidRequestError` with all problems."""
    name = cast("str | Unset", filters.get("unique_name", UNSET))
    include_sessions = cast("bool | Unset", filters.get("include_sessions", UNSET))
    days = {day: cast("date | Unset", filters.get(day, UNSET)) for day in _DAYS}
    problems = [
        *name_problems("/unique_name", name),
        *bool_problems("/include_sessions", include_sessions),
        *int_problems("/page_size", page_size, _PAGE_SIZES),
    ]
    for day, value in days.items():
        problems += date_problems(f"/{day}", value)
    raise_if_invalid(problems)
    query = [] if name is UNSET else [("filter[unique_name]", name)]
    for day, value in days.items():
        if value is not UNSET:
            field, _, operator = day.rpartition("_")
            query.append((f"filter[{field}][{operator}]", str(value)))
    if include_sessions is not UNSET:
        query.append(("include_sessions", _json_bool(include_sessions)))
    return ListQuery(query, page_size)


def _json_bool(value: bool) -> str:
    return "true" if value else "false"


def _object_problems(given: object, wanted: type[RoomUpdate] | type[RoomCreate], fields: object) -> list[Problem]:
    problems: list[Problem] = []
    if not isinstance(given, wanted):
        problems.append(
            Problem("", f"{quoted(given)} is not a {wanted.__name__}", value=given, expected=f"a {wanted.__name__}")
        )
    if fields:
        message = f"give either a {wanted.__name__} or single fields, not both"
        problems.append(Problem("", message, code="conflicting_arguments"))
    return problems
