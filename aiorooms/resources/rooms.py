"""The operations on rooms, one typed method each."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import date
from functools import partial
from typing import Final, Unpack, overload
from urllib.parse import urlencode

from .._checks import (
    bool_problems,
    check_at_least,
    check_positive,
    date_problems,
    int_problems,
    name_problems,
)
from .._http.exchange import Timeout, Transport, client_timeout
from .._http.json import dumps
from .._http.outage import Outage
from .._http.response import Answer, Request, RetryPolicy, is_sign_of_life
from .._text import quoted
from .._unset import UNSET, Unset
from .._webhook_url import WebhookUrlPolicy, same_url
from ..errors import AioroomsError, APIError, InvalidRequestError, NotFoundError, Problem
from ..models import (
    FIELD_NAMES,
    Room,
    RoomCreate,
    RoomFields,
    RoomPage,
    RoomRef,
    RoomUpdate,
    UpdateResult,
    read_room_ref,
)
from ..models._converter import DecodeError
from ._bodies import decode_room, decode_room_and_names, decode_rooms
from ._pages import RoomList
from ._update_many import Updates, update_many

__all__ = ["Rooms"]

_ONCE: Final = RetryPolicy(max_attempts=1)

_PAGE_SIZES: Final = range(1, 251)


class Rooms:
    """The operations on rooms: `client.rooms`.

    A room is named by its id, as text or as a `uuid.UUID`, or by a `Room` that has one. `timeout` is for one attempt,
    in seconds or as an `aiohttp.ClientTimeout`; without it the client's own holds.

    All methods raise `InvalidRequestError` before anything is sent if what they were given is wrong, an `APIError`
    if the server refused or could not be reached in all the attempts that `RetryPolicy` allows, and
    `ClientStateError` on a client that is closed or belongs to another event loop.
    """

    def __init__(self, transport: Transport, webhook_url_policy: WebhookUrlPolicy) -> None:
        self._transport = transport
        self._policy = webhook_url_policy

    async def retrieve(
        self, room_id: RoomRef, *, include_sessions: bool | Unset = UNSET, timeout: Timeout | None = None
    ) -> Room:
        """Read one room; with its sessions and their participants if `include_sessions` is True.

        Raises `NotFoundError` if the account has no such room.
        """
        wanted, problems = read_room_ref(room_id)
        _refuse([*problems, *bool_problems("/include_sessions", include_sessions)])
        query = "" if include_sessions is UNSET else f"include_sessions={_json_bool(include_sessions)}"
        return (await self._transport.send(_get(wanted, query), timeout=timeout)).value

    def list(
        self,
        *,
        unique_name: str | Unset = UNSET,
        date_created_at_eq: date | Unset = UNSET,
        date_created_at_gte: date | Unset = UNSET,
        date_created_at_lte: date | Unset = UNSET,
        date_updated_at_eq: date | Unset = UNSET,
        date_updated_at_gte: date | Unset = UNSET,
        date_updated_at_lte: date | Unset = UNSET,
        include_sessions: bool | Unset = UNSET,
        page_size: int = 250,
        timeout: Timeout | None = None,
    ) -> RoomList:
        """Read all rooms, or those that match every filter given: `async for room in client.rooms.list()`.

        The dates are days in UTC: `eq` on that day, `gte` on it or later, `lte` on it or earlier. `page_size` is 1 to
        250 rooms fetched at a time. Nothing is sent before the loop begins.
        """
        days = {
            "[date_created_at][eq]": date_created_at_eq,
            "[date_created_at][gte]": date_created_at_gte,
            "[date_created_at][lte]": date_created_at_lte,
            "[date_updated_at][eq]": date_updated_at_eq,
            "[date_updated_at][gte]": date_updated_at_gte,
            "[date_updated_at][lte]": date_updated_at_lte,
        }
        problems = [
            *name_problems("/unique_name", unique_name),
            *bool_problems("/include_sessions", include_sessions),
            *int_problems("/page_size", page_size, _PAGE_SIZES),
        ]
        for name, day in days.items():
            problems += date_problems("/" + name.strip("[]").replace("][", "_"), day)
        _refuse(problems)
        filters = {"[unique_name]": unique_name, **days}
        query = [("filter" + name, str(value)) for name, value in filters.items() if value is not UNSET]
        if include_sessions is not UNSET:
            query.append(("include_sessions", _json_bool(include_sessions)))
        return RoomList(partial(self._page, query, page_size, client_timeout(timeout)), page_size)

    async def create(
        self, room: RoomCreate | None = None, /, *, timeout: Timeout | None = None, **fields: Unpack[RoomFields]
    ) -> Room:
        """Make a room from the fields given, or from a `RoomCreate`. What is left out gets the API's default.

        A POST that may have been processed is not sent again: where the answer was lost, the error has
        `uncertain` set, and `list(unique_name=...)` tells whether the room is there.
        """
        if room is None:
            room = RoomCreate(**fields, webhook_url_policy=self._policy)
        else:
            _refuse(_object_problems(room, RoomCreate, fields))
            _refuse(room.url_problems(self._policy))
        name = "" if room.unique_name is UNSET else f" {quoted(room.unique_name)}"
        request = Request(
            method="POST", path="/rooms", subject=f"new room{name}", decode=decode_room, body=dumps(room.to_dict())
        )
        return (await self._transport.send(request, timeout=timeout)).value

    @overload
    async def update(self, room_id: RoomRef, update: RoomUpdate, /, *, timeout: Timeout | None = None) -> Room: ...
    @overload
    async def update(
        self, room_id: RoomRef, /, *, timeout: Timeout | None = None, **fields: Unpack[RoomFields]
    ) -> Room: ...
    async def update(
        self,
        room: RoomRef,
        update: RoomUpdate | None = None,
        /,
        *,
        timeout: Timeout | None = None,
        **fields: Unpack[RoomFields],
    ) -> Room:
        """Change the fields given, or those that a `RoomUpdate` sets, and give the room as it is then.

        A field that is left out stays as it is; None clears one that can be cleared. Sent again after every failure
        that may pass. If all attempts fail and one of them may have been carried out, the room is read once. If it has
        the wanted values, the update succeeded. If not, the failure is raised. If the room can't be read either, the
        error has `uncertain` set.
        """
        room_id, id_problems = read_room_ref(room)
        problems = list(id_problems)
        if update is None:
            try:
                update = RoomUpdate(**fields, webhook_url_policy=self._policy)
            except InvalidRequestError as error:
                problems += error.problems
        else:
            problems += _object_problems(update, RoomUpdate, fields)
        if len(problems) > len(id_problems) or update is None:
            raise InvalidRequestError(problems)
        return (await self._update(room_id, update, timeout=timeout, id_problems=id_problems)).value

    def update_many(
        self,
        updates: Updates,
        *,
        concurrency: int = 50,
        stop_after_failures: int | None = None,
        outage_patience: float | None = 60.0,
        timeout: Timeout | None = None,
    ) -> AsyncGenerator[UpdateResult]:
        """Make many updates at a time, and give one `UpdateResult` for each, in order of completion.

        `concurrency` updates are in hand at a time, 1 or more; at most `max_connections` of the client are in flight.
        `updates` is an iterable or an async iterable of `(room, RoomUpdate)`; it is pulled from as results are taken,
        so it may be of any length. A plain iterable runs in the event loop: one that reads from slow places should be
        an async one. Updates of the same room keep their order and are never in flight together. A pair that is wrong
        is a `failed` result, and nothing is sent for it.

        401 and 403 stop the run, as every later update would meet them too; so does a pause longer than
        `Pacing(max_wait)`, and the failure number `stop_after_failures` (1 or more). What is in flight then is
        finished, the rest comes out as `skipped`. If the input raises, the results under way come out first, then its
        error.

        While the server is out, unreachable or answering 5xx to everyone, the run waits and asks with single requests
        whether it is back, and no update fails for it, unless `RetryPolicy(max_elapsed)` ends it first. After
        `outage_patience` seconds without a sign of life the run is stopped. With None each update has its attempts and
        no more, also during an outage.

        Leaving the loop early cancels what is in flight, and closes `updates` if it is a generator.
        `contextlib.aclosing` makes that happen at once.
        """
        check_at_least(1, "update_many(concurrency=)", concurrency)
        if stop_after_failures is not None:
            check_at_least(1, "update_many(stop_after_failures=)", stop_after_failures)
        outage: Outage | None = None
        if outage_patience is not None:
            check_positive("update_many(outage_patience=)", outage_patience)
            outage = Outage(outage_patience, concurrency)
        return update_many(
            updates,
            partial(self._update, timeout=client_timeout(timeout), outage=outage),
            concurrency=concurrency,
            stop_after_failures=stop_after_failures,
            outage=outage,
        )

    async def delete(self, room_id: RoomRef, *, timeout: Timeout | None = None) -> None:
        """Delete a room. Its participants are kicked out.

        Raises `NotFoundError` if the account has no such room. If the answer to an attempt was lost and the next one
        finds no room, that is success.
        """
        unwanted, problems = read_room_ref(room_id)
        _refuse(problems)
        request = Request(
            method="DELETE", path=f"/rooms/{unwanted}", subject=f"room {unwanted}", decode=lambda body: None
        )
        try:
            await self._transport.send(request, timeout=timeout)
        except APIError as error:
            if not error.uncertain:
                raise
            if await self._settle(error, unwanted, timeout) is not None:
                raise

    async def _update(
        self,
        room_id: str,
        update: RoomUpdate,
        *,
        timeout: Timeout | None,
        outage: Outage | None = None,
        id_problems: Sequence[Problem] = (),
    ) -> Answer[Room]:
        fields = update.to_dict()
        problems = [*id_problems, *update.url_problems(self._policy)]
        if not fields:
            problems.append(Problem("", f"nothing is to be changed; give at least one of {', '.join(FIELD_NAMES)}"))
        _refuse(problems)
        request = Request(
            method="PATCH",
            path=f"/rooms/{room_id}",
            subject=f"room {room_id}",
            decode=partial(_decode_room, room_id),
            body=dumps(fields),
        )
        signs_before = 0 if outage is None else outage.signs_of_life
        sent = 0
        maybe_applied = False
        while True:
            try:
                answer = await self._transport.send(request, timeout=timeout, outage=outage)
            except APIError as error:
                error.attempts = sent = sent + error.attempts
                error.uncertain = maybe_applied = maybe_applied or error.uncertain
                if not maybe_applied:
                    raise
                try:
                    found = await self._settle(error, room_id, timeout, outage)
                except APIError:
                    if outage is not None and outage.keeps_trying(signs_before, reached=False):
                        continue  # It isn't the room, as nobody was answered since.
                    raise
                if found is None:
                    raise
                _see_applied(fields, *found, error)
                return Answer(found[0], sent)
            answer.attempts += sent
            return answer

    async def _settle(
        self, error: APIError, room_id: str, timeout: Timeout | None, outage: Outage | None = None
    ) -> tuple[Room, frozenset[str]] | None:
        """Read the room once after attempts that may have been carried out; None means there is no such room.

        With the room come the names of the fields that the answer has. If the room can't be read either, the outcome
        stays unknown and the error that was met is raised.
        """
        found = None
        began_at = 0.0 if outage is None else outage.begin()
        if not isinstance(error, NotFoundError):
            try:
                found = (await self._transport.send(_look(room_id), timeout=timeout, retry=_ONCE)).value
            except NotFoundError:
                pass
            except AioroomsError as unread:
                if outage is not None and is_sign_of_life(unread):
                    outage.alive()
                elif outage is not None and isinstance(unread, APIError) and unread.attempts:
                    outage.failed(f"a look at room {room_id}", began_at)
                raise error from None
        if outage is not None:
            outage.alive()
        error.uncertain = False
        return found

    async def _page(
        self, query: Sequence[tuple[str, str]], page_size: int, timeout: Timeout | None, number: int
    ) -> RoomPage:
        paged = urlencode([*query, ("page[number]", number), ("page[size]", page_size)])
        request = Request(method="GET", path="/rooms", query=paged, subject="list of rooms", decode=decode_rooms)
        rooms, meta = (await self._transport.send(request, timeout=timeout)).value
        return RoomPage(rooms=rooms, number=number, total_pages=meta.total_pages, total_results=meta.total_results)


def _see_applied(wanted: Mapping[str, object], room: Room, told: frozenset[str], error: APIError) -> None:
    """Raise the error unless the room has the wanted values; `told` are the fields of which the answer told."""
    known = [name for name in wanted if name in told]
    if different := [name for name in known if not _equal(getattr(room, name), wanted[name])]:
        error.hint = f"the room was read, and the update is not in it ({', '.join(different)})"
        raise error
    if untold := [name for name in wanted if name not in told]:
        error.uncertain = True
        error.hint = f"the room was read, and the answer does not tell {', '.join(untold)}"
        raise error


def _get(room_id: str, query: str = "") -> Request[Room]:
    return Request(
        method="GET",
        path=f"/rooms/{room_id}",
        query=query,
        subject=f"room {room_id}",
        decode=partial(_decode_room, room_id),
    )


def _look(room_id: str) -> Request[tuple[Room, frozenset[str]]]:
    def decode(body: bytes) -> tuple[Room, frozenset[str]]:
        room, told = decode_room_and_names(body)
        return _same_room(room_id, room), told

    return Request(method="GET", path=f"/rooms/{room_id}", subject=f"room {room_id}", decode=decode)


def _decode_room(room_id: str, body: bytes) -> Room:
    return _same_room(room_id, decode_room(body))


def _same_room(room_id: str, room: Room) -> Room:
    """See that a room is the one asked for: a proxy in between can mix up answers."""
    if room.id is not None and room.id != room_id and room.id.lower() != room_id.lower():
        raise DecodeError(f"is {quoted(room.id)}: the answer is about another room", "data.id")
    return room


def _json_bool(value: bool) -> str:
    return "true" if value else "false"


def _equal(present: object, wanted: object) -> bool:
    """Whether the room has the value that was asked for. The API writes "no URL" as an empty text or as null."""
    if present == wanted or (wanted is None and present == ""):
        return True
    return isinstance(present, str) and isinstance(wanted, str) and same_url(present, wanted)


def _refuse(problems: Sequence[Problem]) -> None:
    if problems:
        raise InvalidRequestError(problems)


def _object_problems(given: object, wanted: type[RoomUpdate] | type[RoomCreate], fields: RoomFields) -> list[Problem]:
    problems: list[Problem] = []
    if not isinstance(given, wanted):
        problems.append(Problem("", f"{quoted(given)} is not a {wanted.__name__}"))
    if fields:
        problems.append(Problem("", f"give either a {wanted.__name__} or single fields, not both"))
    return problems
