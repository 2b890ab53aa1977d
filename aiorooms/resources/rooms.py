"""The operations on rooms: `client.rooms`."""

import warnings
from collections.abc import Callable
from functools import partial
from typing import Final, Unpack, get_args, overload

from .._checks import check_at_least, check_positive, setting_error
from .._http.attempts import CallResult, Role, Sender
from .._http.call_settings import CallOptions, CallSettings
from .._http.outage import Outage
from .._http.request import Request
from .._pacing import Priority
from .._unset import UNSET, Unset
from ..models import Room, RoomCreate, RoomPage, RoomRef, RoomUpdate
from ..models._values import load_converter
from ._bodies import MAX_LIST
from ._calls import checked_options, split_arguments
from ._pages import RoomList
from ._room_requests import FILTER_NAMES, ListQuery, RoomArguments, RoomListArguments, RoomRequests, list_query
from ._update_many import UpdateRun, Updates, update_many
from .rooms_with_response import RoomsWithResponse, send_update

__all__ = ["Rooms"]


class Rooms:
    """The operations on rooms: `client.rooms`.

    A room can be given as its id (a string or a `uuid.UUID`), or as a `Room`. All methods take the options of
    `CallOptions` by name: `timeout`, `retry`, `deadline` and `extra_headers`.

    All methods except `update_many`, which yields errors in its results, raise

    - `InvalidRequestError` if an argument is invalid, `ClientSettingsError` if an option is invalid, and `TypeError` if
      an argument has an unknown name, before anything is sent;
    - an `APIError` if the server rejects the request, or if all attempts that `RetryPolicy` allows fail;
    - `ClientStateError` if the client is closed or belongs to another event loop.
    """

    with_response: RoomsWithResponse
    """`retrieve`, `list_page`, `create`, `update` and `delete`, which return a `Response`."""

    def __init__(self, sender: Sender, requests: RoomRequests) -> None:
        load_converter()  # here, because importing cattrs in the first call would block the event loop
        self._sender = sender
        self._requests = requests
        self.with_response = RoomsWithResponse(sender, requests)

    async def retrieve(
        self, room_id: RoomRef, *, include_sessions: bool | Unset = UNSET, **options: Unpack[CallOptions]
    ) -> Room:
        """Return one room, with its sessions and their participants if `include_sessions` is True.

        Raises `NotFoundError` if the account has no such room.
        """
        return (await self.with_response.retrieve(room_id, include_sessions=include_sessions, **options)).value

    def list(self, *, page_size: int = 250, **filters: Unpack[RoomListArguments]) -> RoomList:
        """Return all rooms, or those that match every given filter: `async for room in client.rooms.list()`.

        `RoomFilters` describes the filters. `page_size` is the number of rooms per request, 1 to 250. Nothing is sent
        before the iteration begins.
        """
        given, options = split_arguments("rooms.list", filters, FILTER_NAMES)
        query = list_query(given, page_size)
        return RoomList(partial(self._page, query, self._sender.settings.with_options(options)), page_size)

    async def list_page(
        self, number: int = 1, *, page_size: int = 250, **filters: Unpack[RoomListArguments]
    ) -> RoomPage:
        """Return one page of the list, for a web page that shows page 40 without reading 39.

        `number` counts from 1, and `page_size` is 1 to 250. A page after the last one has no rooms. The filters are
        those of `list`. Rooms that are created or deleted between two calls move other rooms to other pages; `list`
        allows for that.
        """
        return (await self.with_response.list_page(number, page_size=page_size, **filters)).value

    async def create(self, room: RoomCreate | None = None, /, **fields: Unpack[RoomArguments]) -> Room:
        """Create a room from the given fields or from a `RoomCreate`, and return it.

        The server uses its default for each field that is not given. If the answer is lost, or shows another value
        for a given field, the room may have been created. The request is then not sent again, and the error has
        `uncertain` set. Use `list(unique_name=...)` to find out whether the room exists.
        """
        return (await self.with_response.create(room, **fields)).value

    @overload
    async def update(self, room_id: RoomRef, update: RoomUpdate, **options: Unpack[CallOptions]) -> Room: ...
    @overload
    async def update(self, room_id: RoomRef, **fields: Unpack[RoomArguments]) -> Room: ...
    async def update(self, room_id: RoomRef, update: RoomUpdate | None = None, **fields: Unpack[RoomArguments]) -> Room:
        """Update a room with the given fields or with a `RoomUpdate`, and return the updated room.

        A field that is not given stays unchanged. None clears a field that can be cleared. After a transient failure,
        the update is sent again, until `RetryPolicy` allows no further attempt. If all attempts fail and one of them
        may have been carried out, the client reads the room (read-back). If the room has the wanted values, it is
        returned. If not, the error of the last attempt is raised. If the read-back can't show the outcome, that error
        has `uncertain` set.

        Raises `NotFoundError` if the account has no such room.
        """
        return (await send_update(self._sender, self._requests, room_id, update, fields)).value

    def update_many(
        self,
        updates: Updates,
        *,
        concurrency: int = 50,
        max_failures: int | None = None,
        outage_patience: float | None = 60.0,
        priority: Priority = "low",
        may_send: Callable[[], bool] | None = None,
        stop_after_failures: int | None = None,
        **options: Unpack[CallOptions],
    ) -> UpdateRun:
        """Send many updates concurrently, and yield one `UpdateResult` for each, in order of completion.

        `async for result in client.rooms.update_many(...)` iterates over the results. After `result.status ==
        "updated"`, type checkers know that `result.room` is a `Room`.

        - `updates`: an iterable or async iterable of `(room, RoomUpdate)` pairs. It can have any length, because pairs
          are read only as fast as you take results. A slow sync iterable blocks the event loop, so make it async.
        - `concurrency`: maximum number of updates in progress at a time, 1 or more. The client's `max_connections`
          limits how many of them are in flight.
        - `max_failures`: stop the run after this many updates that failed, are uncertain or could not be sent, 1 or
          more. None means no limit.
        - `outage_patience`: stop the run when an outage has lasted this many seconds, above 0. None means that the run
          does not wait for the end of an outage, and updates end when they have no attempts left.
        - `priority`: `low` lets single calls of the same client go first, but the run gets at least half of what the
          rate limit allows. With `normal`, all calls are sent in the order in which they were queued.
        - `may_send`: called without arguments before each attempt. If it returns False, the attempt is not sent, and
          the run is stopped as by `stop`. For example, a worker asks whether it still holds the lease of its batch.
        - `stop_after_failures`: the deprecated name of `max_failures`.
        - `options`: those of `CallOptions`, for each update.

        Updates of the same room keep their order and are never in flight together. An invalid pair yields a `failed`
        result, and nothing is sent for it. If the input raises, the results of the earlier pairs are yielded first, and
        then the error is raised.

        A 401, a 403, a wrong certificate, any other TLS failure before the first answer, and a wait for the rate limit
        that would exceed `Pacing.max_wait` also stop the run, because every later update would fail in the same way.
        When an error or `max_failures` stops the run, the updates in flight are finished, and the rest of the input is
        yielded as `skipped`. An update that got such an error is `skipped` too: only what the server says about a room
        makes its update `failed`.

        An outage means that the server is unreachable, or answers every update with 5xx or 429. The run then waits, and
        sends one update at a time until the server is available again. Pauses that a 429 announces don't count as an
        outage. An update fails because of an outage only if `RetryPolicy.max_elapsed` is exceeded. If few rooms are
        left, an update may have one attempt more than `RetryPolicy.max_attempts`, because only the last attempt can
        show whether the server or the room is the cause.

        `stop` of the `UpdateRun` drains the run: attempts in flight finish, and the rest of the input is not read and
        has no results.

        If you leave the loop early, the updates in flight are cancelled, and `updates` is closed if it is a generator.
        `async with client.rooms.update_many(...) as run:` ensures that this happens at once.

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
        if outage_patience is not None:
            check_positive("update_many(outage_patience=)", outage_patience)
        settings = self._sender.settings.with_options(checked_options("rooms.update_many", options))
        outage = Outage.of_run(outage_patience, concurrency, probe=_PROBE)
        outage.may_send = may_send
        role = Role(priority, is_in_run=True)

        async def send(room_id: str, update: RoomUpdate) -> CallResult[Room]:
            request = self._requests.update_with_id(room_id, update)
            return await self._sender.send(request, settings, outage=outage, role=role)

        return update_many(
            updates,
            send,
            stop_sending=outage.stop,
            concurrency=concurrency,
            max_failures=max_failures,
            telemetry=self._sender.telemetry,
        )

    async def delete(self, room_id: RoomRef, **options: Unpack[CallOptions]) -> None:
        """Delete a room, and disconnect its participants.

        Raises `NotFoundError` if the account has no such room. If the answer to an attempt was lost and the next
        attempt finds no room, the delete counts as successful.
        """
        await self.with_response.delete(room_id, **options)

    async def _page(self, query: ListQuery, settings: CallSettings, number: int) -> RoomPage:
        return (await self._sender.send(self._requests.page(query, number), settings)).value


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
