"""The operations on rooms: `client.rooms`."""

import time
import warnings
from collections.abc import AsyncGenerator, Sequence
from datetime import date
from functools import partial
from http import HTTPStatus
from typing import Final, Unpack, cast, get_args, overload
from urllib.parse import urlencode

import attrs

from .._checks import (
    bool_problems,
    check_at_least,
    check_positive,
    date_problems,
    int_problems,
    name_problems,
    setting_error,
)
from .._http.attempts import SINGLE, Answer, Role, Sender
from .._http.deadlines import Timeout, client_timeout
from .._http.json import dumps
from .._http.outage import NO_OUTAGE, Outage
from .._http.request import Request
from .._pacing import Priority
from .._text import quoted, similar
from .._unset import UNSET, Unset
from .._webhook_url import WebhookUrlPolicy
from ..errors import ErrorDetail, InvalidRequestError, Problem
from ..models import (
    FIELD_NAMES,
    Room,
    RoomCreate,
    RoomFields,
    RoomFilters,
    RoomPage,
    RoomRef,
    RoomUpdate,
    UpdateResult,
    read_room_ref,
)
from ..models._fields import Values
from ..models._values import load_converter
from ._bodies import MAX_LIST, MAX_ROOM, decode_rooms
from ._pages import RoomList
from ._read_back import (
    decode_created,
    decode_deleted,
    decode_updated,
    get_room,
    not_confirmed,
    read_back_delete,
    read_back_update,
)
from ._reports import report_error, report_success
from ._resource import Resource, raise_if_invalid
from ._update_many import Updates, update_many

__all__ = ["Rooms"]

_FAILOVER: Final = "webhook_event_failover_url"


def _names_failover(error: ErrorDetail) -> bool:
    return any(text is not None and _FAILOVER in text for text in (error.pointer, error.detail, error.title))


_PAGE_SIZES: Final = range(1, 251)
_PAGE_NUMBERS: Final = range(1, 10**9)


class Rooms(Resource):
    """The operations on rooms: `client.rooms`.

    A room can be given as its id (a string or a `uuid.UUID`), or as a `Room` that has an id. `timeout` limits one
    attempt. It is a number of seconds above 0 or an `aiohttp.ClientTimeout`, and defaults to the timeout of the client.

    All methods except `update_many`, which yields errors in its results, raise

    - `InvalidRequestError` if an argument is invalid, before anything is sent;
    - an `APIError` if the server rejects the request, or if all attempts that `RetryPolicy` allows fail;
    - `ClientStateError` if the client is closed or belongs to another event loop.
    """

    def __init__(self, sender: Sender, webhook_url_policy: WebhookUrlPolicy) -> None:
        super().__init__(sender, webhook_url_policy)
        load_converter()  # here, because importing cattrs in the first call would block the event loop
        self._rejects_null = False
        """Whether the server has rejected null for the failover URL."""

    async def retrieve(
        self, room_id: RoomRef, *, include_sessions: bool | Unset = UNSET, timeout: Timeout | None = None
    ) -> Room:
        """Return one room, with its sessions and their participants if `include_sessions` is True.

        Raises `NotFoundError` if the account has no such room.
        """
        wanted, problems = read_room_ref(room_id)
        raise_if_invalid([*problems, *bool_problems("/include_sessions", include_sessions)])
        query = "" if include_sessions is UNSET else f"include_sessions={_json_bool(include_sessions)}"
        return (await self._sender.send(get_room(wanted, query), timeout=timeout)).value

    def list(self, *, page_size: int = 250, timeout: Timeout | None = None, **filters: Unpack[RoomFilters]) -> RoomList:
        """Return all rooms, or those that match every given filter: `async for room in client.rooms.list()`.

        `RoomFilters` describes the filters. `page_size` is the number of rooms per request, 1 to 250. Nothing is sent
        before the iteration begins.
        """
        query = _list_query("list", filters, page_size)
        return RoomList(partial(self._page, query, page_size, client_timeout(timeout)), page_size)

    async def list_page(
        self,
        number: int = 1,
        *,
        page_size: int = 250,
        timeout: Timeout | None = None,
        **filters: Unpack[RoomFilters],
    ) -> RoomPage:
        """Return one page of the list, for a web page that shows page 40 without reading 39.

        `number` counts from 1, and `page_size` is 1 to 250. A page after the last one has no rooms. The filters are
        those of `list`. Rooms that are created or deleted between two calls move other rooms to other pages; `list`
        allows for that.
        """
        problems = int_problems("/number", number, _PAGE_NUMBERS)
        query = _list_query("list_page", filters, page_size, problems)
        return await self._page(query, page_size, client_timeout(timeout), number)

    async def create(
        self, room: RoomCreate | None = None, /, *, timeout: Timeout | None = None, **fields: Unpack[RoomFields]
    ) -> Room:
        """Create a room from the given fields or from a `RoomCreate`, and return it.

        The server uses its default for each field that is not given. If the answer is lost, or shows another value
        for a given field, the room may have been created. The request is then not sent again, and the error has
        `uncertain` set. Use `list(unique_name=...)` to find out whether the room exists.
        """
        if room is None:
            _check_names("create", fields, FIELD_NAMES)
            room = RoomCreate(**fields, webhook_url_policy=self._policy)
        else:
            raise_if_invalid(_object_problems(room, RoomCreate, fields))
            raise_if_invalid(room.url_problems(self._policy))
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
        return (await self._sender.send(self._with_fields(request, wanted), timeout=timeout)).value

    @overload
    async def update(self, room_id: RoomRef, update: RoomUpdate, *, timeout: Timeout | None = None) -> Room: ...
    @overload
    async def update(
        self, room_id: RoomRef, *, timeout: Timeout | None = None, **fields: Unpack[RoomFields]
    ) -> Room: ...
    async def update(
        self,
        room_id: RoomRef,
        update: RoomUpdate | None = None,
        *,
        timeout: Timeout | None = None,
        **fields: Unpack[RoomFields],
    ) -> Room:
        """Update a room with the given fields or with a `RoomUpdate`, and return the updated room.

        A field that is not given stays unchanged. None clears a field that can be cleared. After a transient failure,
        the update is sent again, until `RetryPolicy` allows no further attempt. If all attempts fail and one of them
        may have been carried out, the client reads the room (read-back). If the room has the wanted values, it is
        returned. If not, the error of the last attempt is raised. If the read-back can't show the outcome, that error
        has `uncertain` set.

        Raises `NotFoundError` if the account has no such room.
        """
        wanted, id_problems = read_room_ref(room_id)
        problems = list(id_problems)
        if update is None:
            _check_names("update", fields, FIELD_NAMES)
            try:
                update = RoomUpdate(**fields, webhook_url_policy=self._policy)
            except InvalidRequestError as error:
                problems += error.problems
        else:
            problems += _object_problems(update, RoomUpdate, fields)
        if len(problems) > len(id_problems) or update is None:
            raise InvalidRequestError(problems)
        telemetry, began = self._sender.telemetry, time.monotonic()
        try:
            answer = await self._update(wanted, update, timeout=timeout, id_problems=id_problems)
        except InvalidRequestError:
            raise  # nothing was sent
        except BaseException as error:
            report_error(telemetry, wanted, error, time.monotonic() - began)
            raise
        report_success(telemetry, wanted, answer.attempts, time.monotonic() - began)
        return answer.value

    def update_many(
        self,
        updates: Updates,
        *,
        concurrency: int = 50,
        max_failures: int | None = None,
        outage_patience: float | None = 60.0,
        timeout: Timeout | None = None,
        priority: Priority = "low",
        stop_after_failures: int | None = None,
    ) -> AsyncGenerator[UpdateResult]:
        """Send many updates concurrently, and yield one `UpdateResult` for each, in order of completion.

        - `updates`: an iterable or async iterable of `(room, RoomUpdate)` pairs. It can have any length, because pairs
          are read only as fast as you take results. A slow sync iterable blocks the event loop, so make it async.
        - `concurrency`: maximum number of updates in progress at a time, 1 or more. The client's `max_connections`
          limits how many of them are in flight.
        - `max_failures`: stop the run after this many updates that failed, are uncertain or could not be sent, 1 or
          more. None means no limit.
        - `outage_patience`: stop the run when an outage has lasted this many seconds, above 0. None means that the run
          does not wait for the end of an outage, and updates end when they have no attempts left.
        - `timeout`: the limit for one attempt, as in all methods.
        - `priority`: `low` lets single calls of the same client go first, but the run gets at least half of what the
          rate limit allows. With `normal`, all calls are sent in the order in which they were queued.
        - `stop_after_failures`: the deprecated name of `max_failures`.

        Updates of the same room keep their order and are never in flight together. An invalid pair yields a `failed`
        result, and nothing is sent for it. If the input raises, the results of the earlier pairs are yielded first, and
        then the error is raised.

        A 401, a 403, a wrong certificate, any other TLS failure before the first answer, and a wait for the rate limit
        that would exceed `Pacing.max_wait` also stop the run, because every later update would fail in the same way.
        When a run stops, the updates in flight are finished, and the rest of the input is yielded as `skipped`. An
        update that got such an error is `skipped` too: only what the server says about a room makes its update
        `failed`.

        An outage means that the server is unreachable, or answers every update with 5xx or 429. The run then waits, and
        sends one update at a time until the server is available again. Pauses that a 429 announces don't count as an
        outage. An update fails because of an outage only if `RetryPolicy.max_elapsed` is exceeded. If few rooms are
        left, an update may have one attempt more than `RetryPolicy.max_attempts`, because only the last attempt can
        show whether the server or the room is the cause.

        If you leave the loop early, the updates in flight are cancelled, and `updates` is closed if it is a generator.
        Wrap the call in `contextlib.aclosing` to ensure that this happens at once.

        Raises `ClientSettingsError` for an invalid setting, and `TypeError` if `updates` is not iterable.
        """
        check_at_least(1, "update_many(concurrency=)", concurrency)
        if stop_after_failures is not None:
            warnings.warn("stop_after_failures is deprecated; use max_failures", DeprecationWarning, stacklevel=2)
            max_failures = stop_after_failures
        if max_failures is not None:
            check_at_least(1, "update_many(max_failures=)", max_failures)
        if priority not in get_args(Priority):
            raise setting_error("update_many(priority=)", f"is {priority!r}", 'give "low" or "normal"', priority)
        outage = NO_OUTAGE
        if outage_patience is not None:
            check_positive("update_many(outage_patience=)", outage_patience)
            outage = Outage(outage_patience, concurrency, probe=_PROBE)
        return update_many(
            updates,
            partial(self._update, timeout=client_timeout(timeout), outage=outage, role=Role(priority, is_in_run=True)),
            concurrency=concurrency,
            max_failures=max_failures,
            telemetry=self._sender.telemetry,
        )

    async def delete(self, room_id: RoomRef, *, timeout: Timeout | None = None) -> None:
        """Delete a room, and disconnect its participants.

        Raises `NotFoundError` if the account has no such room. If the answer to an attempt was lost and the next
        attempt finds no room, the delete counts as successful.
        """
        unwanted, problems = read_room_ref(room_id)
        raise_if_invalid(problems)
        request = Request(
            method="DELETE",
            route="/rooms/{room_id}",
            path=f"/rooms/{unwanted}",
            subject=f"room {unwanted}",
            decode=partial(decode_deleted, unwanted),
            max_size=MAX_ROOM,
            decode_no_content=lambda: None,
            read_back=partial(read_back_delete, unwanted),
        )
        await self._sender.send(request, timeout=timeout)

    async def _update(
        self,
        room_id: str,
        update: RoomUpdate,
        *,
        timeout: Timeout | None,
        outage: Outage = NO_OUTAGE,
        role: Role = SINGLE,
        id_problems: Sequence[Problem] = (),
    ) -> Answer[Room]:
        fields = update.to_dict()
        problems = [*id_problems, *update.url_problems(self._policy)]
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
        return await self._sender.send(self._with_fields(request, fields), timeout=timeout, outage=outage, role=role)

    def _with_fields(self, request: Request[Room], fields: Values) -> Request[Room]:
        """Set the body of a request, and what to send instead if the server rejects null for the failover URL.

        The API reference allows null. But the documented default is an empty string, and published answers contain an
        empty string if a room has no failover URL. After one rejection of null, the client sends only empty strings.
        """
        if fields.get(_FAILOVER, "") is None:
            without_null = dumps({**fields, _FAILOVER: ""})
            if self._rejects_null:
                request.body = without_null
                return request
            request.revise = partial(self._revise, request, without_null)
        request.body = dumps(fields)
        return request

    def _revise(
        self, request: Request[Room], without_null: bytes, status: int, errors: Sequence[ErrorDetail]
    ) -> Request[Room] | None:
        if status != HTTPStatus.UNPROCESSABLE_ENTITY or not any(map(_names_failover, errors)):
            return None

        def decode(body: bytes) -> Room:
            room = request.decode(body)
            self._rejects_null = True  # the server accepted "", so null was the problem
            return room

        return attrs.evolve(request, body=without_null, revise=None, decode=decode)

    async def _page(
        self, query: Sequence[tuple[str, str]], page_size: int, timeout: Timeout | None, number: int
    ) -> RoomPage:
        paged = urlencode([*query, ("page[number]", number), ("page[size]", page_size)])
        request = Request(
            method="GET",
            route="/rooms",
            path="/rooms",
            query=paged,
            subject="list of rooms",
            decode=partial(decode_rooms, number),
            max_size=MAX_LIST,
            size_advice="lower page_size",
        )
        return (await self._sender.send(request, timeout=timeout)).value


_PROBE: Final[Request[object]] = Request(
    method="GET",
    route="/rooms",
    path="/rooms",
    query="page%5Bsize%5D=1",
    subject="probe",
    decode=lambda _: None,
    max_size=MAX_LIST,
)
"""The request that shows in a bulk run whether the server is available. Any answer to it will do."""


def _json_bool(value: bool) -> str:
    return "true" if value else "false"


_DAYS: Final = tuple(
    f"date_{event}_at_{operator}" for event in ("created", "updated") for operator in ("eq", "gte", "lte")
)
_FILTERS: Final = ("unique_name", *_DAYS, "include_sessions")


def _list_query(
    method: str, filters: RoomFilters, page_size: int, problems: Sequence[Problem] = ()
) -> Sequence[tuple[str, str]]:
    """Return the query of a list without the page. Raises `InvalidRequestError` with all problems."""
    _check_names(method, filters, _FILTERS)
    name, include_sessions = filters.get("unique_name", UNSET), filters.get("include_sessions", UNSET)
    days = {day: cast("date | Unset", filters.get(day, UNSET)) for day in _DAYS}
    problems = [
        *problems,
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
    return query


def _check_names(method: str, given: RoomFields | RoomFilters, known: Sequence[str]) -> None:
    """Raise `TypeError` if a field or filter has an unknown name, and suggest a known one."""
    unknown = [name for name in given if name not in known]
    if unknown:
        hints = [f"{name!r}; {similar(name, known, 'the names are ' + ', '.join(known))}" for name in unknown]
        raise TypeError(f"rooms.{method}() got an unexpected argument {', and '.join(hints)}")


def _object_problems(given: object, wanted: type[RoomUpdate] | type[RoomCreate], fields: RoomFields) -> list[Problem]:
    problems: list[Problem] = []
    if not isinstance(given, wanted):
        problems.append(
            Problem("", f"{quoted(given)} is not a {wanted.__name__}", value=given, expected=f"a {wanted.__name__}")
        )
    if fields:
        message = f"give either a {wanted.__name__} or single fields, not both"
        problems.append(Problem("", message, code="conflicting_arguments"))
    return problems
