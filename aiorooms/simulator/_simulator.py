"""The simulator itself: takes requests from the listener, and puts account, limiter, faults and wire together.

The way of one request: it is counted and its body read, the latency passes, the key is checked (401, 403), the rate
limit is asked (429), a fault is drawn, the API does what was asked, and the answer is sent. Requests that are
unauthorized do not use up the rate limit. A 401, 403 or 429 has the same shape for all operations, lists included.
"""

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from email.utils import formatdate
from hashlib import blake2b
from http import HTTPStatus
from queue import SimpleQueue
from random import Random
from types import TracebackType
from typing import Literal, Self, TypeVar

from aiohttp import HttpVersion11, web
from yarl import URL

from ._account import OLD_WEBHOOK_URL, WRITABLE, Account, Room, RoomsView
from ._answers import (
    AUTHENTICATION,
    AUTHORIZATION,
    BAD_REQUEST,
    TOO_MANY_REQUESTS,
    Answer,
    JsonValue,
    bare_error,
    error_item,
    error_list,
)
from ._fault_effects import instead, mangle, page, spoil, whole
from ._faults import NOT_APPLIED, Draw, FaultKind, FaultPlan, Faults
from ._limiters import Limiter, RateLimit, Verdict, limit_headers, make_limiter
from ._listener import Listener, reset
from ._operations.rooms import call, is_uuid, room_in
from ._stats import METHODS, RecordedRequest, Stats

T = TypeVar("T")

_SLOW_PIECES = 10
_MAX_PORT = 65535
_FOREVER = 1e9


class _Sent(web.StreamResponse):
    """Tells aiohttp that the answer is on its way already, and whether the connection stays open."""

    def __init__(self, *, keep_alive: bool) -> None:
        super().__init__()
        self._open = keep_alive

    @property
    def keep_alive(self) -> bool:
        return self._open

    async def prepare(self, request: web.BaseRequest) -> None:
        """Write nothing: the head is written already."""

    async def write_eof(self, data: bytes = b"") -> None:
        """Write nothing: the body is written already."""


_OPEN = _Sent(keep_alive=True)
_CLOSED = _Sent(keep_alive=False)


class RoomsSimulator:
    """A Telnyx Video Rooms API on loopback, with rooms in memory.

    `async with RoomsSimulator(...) as sim:` runs it in the current event loop. A plain `with` runs it in a thread with
    an event loop of its own, for code that is not async and for tests under any async plugin. It may be started again
    after it was stopped; rooms and counters stay. The methods and attributes may be used from any thread while it
    runs in a thread, and from the loop's own thread otherwise.
    """

    def __init__(
        self,
        *,
        rooms: int = 0,
        api_key: str = "KEY_simulated",
        rate_limit: RateLimit | str | None = None,
        faults: Faults | None = None,
        latency: float | tuple[float, float] = 0.0,
        seed: int = 0,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        """Set up an account; nothing is opened yet.

        `rooms` are created at once, the same ones under the same `seed`: `room-000001`, `room-000002`, ..., with the
        webhook URL `https://old.example.com/rooms`. `rate_limit` may be written as `"100/1s"`. `latency` is seconds
        before each request is looked at, fixed or drawn evenly between two bounds. Port 0 takes any free one.
        """
        if rooms < 0:
            raise ValueError(f"rooms is a number of rooms, 0 or more, not {rooms}")
        if not 0 <= port <= _MAX_PORT:
            raise ValueError(f"port is between 0 and {_MAX_PORT}, not {port}")
        self.api_key = api_key
        """The key that is accepted. Change it while the simulator runs to revoke it."""
        self.forbidden_keys: set[str] = set()
        """Keys that are known, but may do nothing: they get a 403."""
        self.record = False
        """Whether to keep every request in `recorded`, which grows without bound."""
        self.recorded: list[RecordedRequest] = []
        """The requests that were received while `record` was true, in the order in which their bodies were complete."""
        self._stats = Stats()
        self._seed = seed
        self._host = host
        self._wanted_port = port
        self._port: int | None = None
        self._latency = _latency_bounds(latency)
        self._latency_random = Random(seed)  # noqa: S311 - not a secret
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread_id = 0
        self._limit: tuple[RateLimit, Limiter] | None = None
        self.rate_limit = rate_limit
        self._faults = faults
        self._plan = FaultPlan(faults or Faults(), seed)
        self._account = Account(seed=seed, clock=lambda: time.time_ns() // 1000)
        self._account.fill(rooms)
        self._rooms_view = RoomsView(self._account)
        self._outage: Literal["503", "reset", "hang"] | None = None
        self._listener = Listener(self._handle, self._forget)
        self._seen: set[web.RequestHandler] = set()
        self._stale: set[web.RequestHandler] = set()
        self._answers = 0
        self._date_second = 0
        self._date_line = ""
        self._background: _LoopThread | None = None

    # Starting and stopping

    async def start(self) -> None:
        """Open the port and answer requests in the current event loop.

        An OSError that names the address if the port can't be opened; a RuntimeError if it runs already.
        """
        if self._loop is not None:
            raise RuntimeError(f"{self!r} is running already")
        port = await self._listener.start(self._host, self._wanted_port)
        self._outage = None
        self._port = port
        self._loop = asyncio.get_running_loop()
        self._thread_id = threading.get_ident()

    async def stop(self) -> None:
        """Close the port and every connection, also those with a request in flight, and wait until all is gone.

        What waits for its latency is not applied any more. Does nothing if it is not running.
        """
        if self._loop is None:
            return
        if self._loop is not asyncio.get_running_loop():
            raise RuntimeError(f"{self!r} runs in another event loop; stop it there, or leave its `with` block")
        self._loop = None
        await self._listener.stop()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()

    def __enter__(self) -> Self:
        if self._background is not None or self._loop is not None:
            raise RuntimeError(f"{self!r} is running already")
        background = _LoopThread()
        with contextlib.ExitStack() as on_failure:
            on_failure.callback(background.close)
            asyncio.run_coroutine_threadsafe(self.start(), background.loop).result()
            on_failure.pop_all()
        self._background = background
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        background, self._background = self._background, None
        if background is not None:
            with contextlib.ExitStack() as at_last:
                at_last.callback(background.close)
                asyncio.run_coroutine_threadsafe(self.stop(), background.loop).result()

    def __repr__(self) -> str:
        where = "not started" if self._port is None else self.url
        return f"<RoomsSimulator {where}, {len(self._account.rooms)} rooms>"

    @property
    def url(self) -> str:
        """The base URL with `/v2`, such as `http://127.0.0.1:54321/v2`; a RuntimeError before the first start."""
        if self._port is None:
            raise RuntimeError("the simulator has no URL before it is started")
        return str(URL.build(scheme="http", host=self._host, port=self._port, path="/v2"))

    # Rooms

    @property
    def rooms(self) -> Mapping[str, dict[str, JsonValue]]:
        """The rooms by id, in the order of creation, as JSON objects with all 12 fields.

        A look-up shows the state of that moment; the dict is yours to change.
        """
        return self._rooms_view

    @property
    def room_ids(self) -> list[str]:
        """The ids of all rooms in the order of creation."""
        return [*self._account.rooms]

    def add_room(
        self,
        *,
        id: str | None = None,  # noqa: A002 - the name that the field has in the API
        unique_name: str | None = None,
        max_participants: int = 10,
        enable_recording: bool = False,
        webhook_event_url: str | None = OLD_WEBHOOK_URL,
        webhook_event_failover_url: str | None = "",
        webhook_timeout_secs: int | None = None,
        created_at: str | None = None,
        updated_at: str | None = None,
    ) -> str:
        """Add a room and return its id.

        The values are not checked, so that a test can have a room that the API would refuse; only a taken id or name
        is a ValueError. A room without a name gets its id as its name.
        """

        def add() -> str:
            account = self._account
            room_id = (account.new_id() if id is None else id).lower()
            created = account.now() if created_at is None else created_at
            account.insert(
                Room(
                    id=room_id,
                    unique_name=room_id if unique_name is None else unique_name,
                    created_at=created,
                    updated_at=created if updated_at is None else updated_at,
                    max_participants=max_participants,
                    enable_recording=enable_recording,
                    webhook_event_url=webhook_event_url,
                    webhook_event_failover_url=webhook_event_failover_url,
                    webhook_timeout_secs=webhook_timeout_secs,
                )
            )
            return room_id

        return self._on_loop(add)

    def change_room(self, room_id: str, **fields: JsonValue) -> None:
        """Change a room behind the client's back; `updated_at` moves. The six fields of an update, not checked."""
        unknown = fields.keys() - set(WRITABLE)
        if unknown:
            raise TypeError(f"a room has no field {', '.join(sorted(unknown))} to change; it has {', '.join(WRITABLE)}")
        self._on_loop(lambda: self._account.change(self._account.rooms[room_id], fields))

    def remove_room(self, room_id: str) -> None:
        """Take a room away behind the client's back; a KeyError if there is none."""
        self._on_loop(lambda: self._account.remove(room_id))

    def add_session(self, room_id: str, *, active: bool = True, participants: Sequence[str] = ()) -> str:
        """Put a session in a room and return its id; `participants` are the contexts of who is in it.

        An active session becomes the room's `active_session_id` and ends the one before. One that is not active has
        ended already, and its participants have left.
        """
        account = self._account
        return self._on_loop(
            lambda: account.add_session(account.rooms[room_id], active=active, participants=participants).id
        )

    def end_session(self, room_id: str) -> None:
        """End the active session of a room, if there is one; its participants leave."""
        self._on_loop(lambda: self._account.end_session(self._account.rooms[room_id]))

    # Limits, faults, outages

    @property
    def rate_limit(self) -> RateLimit | None:
        """The rate limit in force. It may be set at any time, also as text such as `"100/1s"`; counting starts anew."""
        return None if self._limit is None else self._limit[0]

    @rate_limit.setter
    def rate_limit(self, rule: RateLimit | str | None) -> None:
        limit = RateLimit.parse(rule) if isinstance(rule, str) else rule

        def change() -> None:
            self._limit = None if limit is None else (limit, make_limiter(limit, time.monotonic_ns))

        self._on_loop(change)

    @property
    def latency(self) -> float | tuple[float, float]:
        """Seconds before each request is looked at, fixed or as bounds to draw from. It may be set at any time."""
        low, high = self._latency
        return low if low == high else (low, high)

    @latency.setter
    def latency(self, seconds: float | tuple[float, float]) -> None:
        self._latency = _latency_bounds(seconds)

    @property
    def faults(self) -> Faults | None:
        """The faults in force. They may be set at any time; the tries of the rooms are then counted anew."""
        return self._faults

    @faults.setter
    def faults(self, faults: Faults | None) -> None:
        def change() -> None:
            plan = FaultPlan(faults or Faults(), self._seed)
            plan.take_scripts(self._plan)
            self._faults = faults
            self._plan = plan

        self._on_loop(change)

    def script(self, *kinds: FaultKind | None, room_id: str | None = None, method: str | None = None) -> None:
        """Say what the next requests meet, one entry each; None is a normal answer.

        With `room_id` or `method` only such requests count. The narrowest script goes first: room and method, room,
        method, all; then `Faults(script=...)`, then chance. Scripts for the same requests are appended.
        """
        self._on_loop(lambda: self._plan.add_script(kinds, room_id, method))

    def refuse_connections(self, how: Literal["closed", "503", "reset", "hang"] = "closed") -> None:
        """Begin an outage, until `accept_connections()`.

        `closed` closes the port and drops all connections; requests waiting for their latency are still applied.
        `503` answers everything with a proxy's 503 page, `reset` resets the connection of each request, `hang` answers
        nothing until the client gives up or the outage ends. Nothing that arrives during an outage is applied.
        """

        def begin() -> None:
            if how == "closed":
                self._outage = None
                self._listener.refuse()
            else:
                self._end_outage()
                self._outage = how

        self._on_loop(begin)

    def accept_connections(self) -> None:
        """End an outage: connections are taken from the moment this returns. Hanging requests are closed unanswered."""
        self._on_loop(self._end_outage)

    def _end_outage(self) -> None:
        if self._outage == "hang":
            self._listener.release()
        self._outage = None
        if self._loop is not None:
            self._listener.accept()

    # What was seen

    @property
    def stats(self) -> Stats:
        """The counters. It is always the same object; `reset_stats()` sets it to zero."""
        return self._stats

    def reset_stats(self) -> None:
        """Start counting anew, and forget what was recorded. Requests in flight and open connections are counted on."""

        def clear() -> None:
            self._stats.clear()
            self._seen.clear()
            self.recorded.clear()

        self._on_loop(clear)

    # One request

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        stats = self._stats
        connection = request.protocol
        if connection in self._stale:
            stats.stale += 1
            return _CLOSED
        method = request.method
        stats.requests += 1
        stats.by_method[method if method in METHODS else "OTHER"] += 1
        if connection not in self._seen:
            self._seen.add(connection)
            stats.connections += 1
        stats.in_flight += 1
        if stats.in_flight > stats.peak_in_flight:
            stats.peak_in_flight = stats.in_flight
        try:
            path, _, query = request.raw_path.partition("?")
            room_id = room_in(path)
            if room_id is not None and (room_id in self._account.rooms or is_uuid(room_id)):
                stats.requests_by_room[room_id] += 1
            try:
                body = await self._read(request) if request.body_exists else b""
            except (web.RequestPayloadError, ConnectionError):  # the client went away or sent half a body
                return _CLOSED
            if body is None:
                large = error_list(413, error_item(BAD_REQUEST, "The request body is too large."))
                return self._send(request, large, "")
            if self.record:
                self.recorded.append(RecordedRequest(method, request.raw_path, request.headers, body))
            if self._latency[1]:
                low, high = self._latency
                if not await self._listener.wait(low if low == high else self._latency_random.uniform(low, high)):
                    return _CLOSED
            if self._outage is not None:
                return await self._in_outage(request, self._outage)
            limit, refused = self._gate(request)
            if refused is not None:
                return self._send(request, refused, limit)
            plan = self._plan
            if plan.active:
                target = room_id or f"{request.raw_path}\0{blake2b(body, digest_size=8).hexdigest()}"
                draw = plan.draw(method, room_id, target)
                if draw is not None:
                    stats.faults[draw.kind] += 1
                    answer = None
                    if draw.kind not in NOT_APPLIED:
                        answer = self._apply(request, path, room_id, query, body)
                    return await self._break(request, draw, answer, limit)
            return self._send(request, self._apply(request, path, room_id, query, body), limit)
        finally:
            stats.in_flight -= 1

    async def _read(self, request: web.BaseRequest) -> bytes | None:
        """Read the body to its end; None if there was too much of it."""
        try:
            return await request.read()
        except web.HTTPRequestEntityTooLarge:
            await request.release()
            return None

    def _gate(self, request: web.BaseRequest) -> tuple[str, Answer | None]:
        """Check key and rate limit; return the header lines on the limit, and the answer if the request is refused."""
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        bearer = scheme.lower() == "bearer"
        known = bearer and (key == self.api_key or key in self.forbidden_keys)
        lines = ""
        if self._limit is not None:
            rule, limiter = self._limit
            verdict: Verdict = limiter.take() if known else limiter.peek()
            lines = "".join(f"{name}: {value}\r\n" for name, value in limit_headers(rule, verdict, time.time()))
            if not verdict.allowed:
                self._stats.refused += 1
                detail = "You have exceeded the maximum number of allowed requests."
                return lines, error_list(429, error_item(TOO_MANY_REQUESTS, detail))
        if not known:
            self._stats.unauthorized += 1
            detail = "Could not understand the provided authentication credentials."
            return lines, error_list(401, error_item(AUTHENTICATION, detail))
        if key in self.forbidden_keys:
            return lines, bare_error(403, AUTHORIZATION, "You do not have permission to perform the requested action.")
        return lines, None

    def _apply(self, request: web.BaseRequest, path: str, room_id: str | None, query: str, body: bytes) -> Answer:
        answer = call(self._account, request.method, path, room_id, query, request.headers.get("Content-Type"), body)
        if room_id is not None and answer.status == HTTPStatus.OK and request.method == "PATCH":
            self._stats.updates_applied[room_id] += 1
        return answer

    async def _in_outage(self, request: web.BaseRequest, how: Literal["503", "reset", "hang"]) -> _Sent:
        if how == "503":
            return self._send(request, page(503), "")
        if how == "reset":
            reset(request.protocol)
        else:
            await self._listener.wait(_FOREVER, request.protocol)
        return _CLOSED

    async def _break(self, request: web.BaseRequest, draw: Draw, answer: Answer | None, limit: str) -> _Sent:
        """Give a request the answer that its fault says; `answer` is the right one, None if nothing was applied."""
        kind = draw.kind
        faults = self._plan.faults
        connection = request.protocol
        if kind in ("stall_before", "stall_after"):
            await self._listener.wait(faults.stall_seconds, connection)
            return _CLOSED
        if kind in ("reset_before", "reset_after"):
            reset(connection)
            return _CLOSED
        if kind in ("close_before", "close_after"):
            return _CLOSED
        replaced = instead(kind, faults)
        if replaced is not None:
            return self._send(request, replaced, limit)
        answer = answer or Answer(HTTPStatus.OK)
        if kind == "slow":
            return await self._dribble(request, answer, limit, faults.slow_seconds)
        if kind == "stale":
            sent = self._send(request, answer, limit)
            if connection.transport is not None:
                self._stale.add(connection)
            return sent
        mangled = mangle(kind, answer, self._common_lines(limit))
        if mangled is not None:
            data, stays_open = mangled
            if kind != "bad_http":
                self._stats.by_status[answer.status] += 1
            return self._write(request, data, stays_open and not self._is_last(request))
        shown: JsonValue = json.loads(answer.body) if answer.body else None
        return self._send(request, spoil(draw, answer, shown, self._account) or answer, limit)

    async def _dribble(self, request: web.BaseRequest, answer: Answer, limit: str, seconds: float) -> _Sent:
        answer.close = answer.close or self._is_last(request)
        self._stats.by_status[answer.status] += 1
        data = whole(answer, self._common_lines(limit))
        size = -(-len(data) // _SLOW_PIECES)
        for start in range(0, len(data), size):
            self._write(request, data[start : start + size], True)
            if not await self._listener.wait(seconds / _SLOW_PIECES, request.protocol):
                return _CLOSED
        return _CLOSED if answer.close else _OPEN

    def _send(self, request: web.BaseRequest, answer: Answer, limit: str) -> _Sent:
        if self._is_last(request):
            answer.close = True
        self._stats.by_status[answer.status] += 1
        data = whole(answer, self._common_lines(limit), with_body=request.method != "HEAD")
        return self._write(request, data, not answer.close)

    def _write(self, request: web.BaseRequest, data: bytes, keep_alive: bool) -> _Sent:
        transport = request.transport
        if transport is None or transport.is_closing():
            return _CLOSED
        transport.write(data)
        return _OPEN if keep_alive else _CLOSED

    def _is_last(self, request: web.BaseRequest) -> bool:
        return not request.keep_alive or request.version < HttpVersion11

    def _common_lines(self, limit: str) -> str:
        """Write the header lines of every answer."""
        second = int(time.time())
        if second != self._date_second:
            self._date_second = second
            self._date_line = f"Date: {formatdate(second, usegmt=True)}\r\n"
        self._answers += 1
        request_id = f"{self._answers:08x}-5eed-4000-8000-{self._seed & 0xFFFFFFFFFFFF:012x}"
        return f"x-request-id: {request_id}\r\n{limit}{self._date_line}"

    def _forget(self, connection: web.RequestHandler) -> None:
        self._seen.discard(connection)
        self._stale.discard(connection)

    def _on_loop(self, change: Callable[[], T]) -> T:
        """Make a change in the loop's own thread, so that no request sees half of it."""
        loop = self._loop
        if loop is None or self._thread_id == threading.get_ident():
            return change()

        async def changed() -> T:
            return change()

        # A matter of microseconds. Waiting in a queue, not for the future's lock, keeps detectors of blocking calls
        # quiet in async tests that use a simulator in a thread.
        done: SimpleQueue[Future[T]] = SimpleQueue()
        asyncio.run_coroutine_threadsafe(changed(), loop).add_done_callback(done.put)
        return done.get().result()


class _LoopThread:
    """A thread that runs an event loop until it is closed."""

    def __init__(self) -> None:
        self.loop = asyncio.SelectorEventLoop()
        self._thread = threading.Thread(target=self._run, name="rooms-simulator", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the loop and the thread."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()

    def _run(self) -> None:
        with contextlib.closing(self.loop):
            self.loop.run_forever()
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
            self.loop.run_until_complete(self.loop.shutdown_default_executor())


def _latency_bounds(seconds: float | tuple[float, float]) -> tuple[float, float]:
    low, high = seconds if isinstance(seconds, tuple) else (seconds, seconds)
    if not 0 <= low <= high:
        raise ValueError(f"latency is seconds, 0 or more, or two bounds in order, not {seconds!r}")
    return low, high
