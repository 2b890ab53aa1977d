"""The public class: start and stop a simulator, change its rooms and settings, and read what it received.

The class connects the parts: `Account` stores the rooms, `Listener` receives the requests, `Pipeline` answers them, and
`Access` checks the key and the rate limit. `Meetings` makes the webhook events of sessions, `Deliverer` delivers them.
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Literal, Self, TypeVar

from yarl import URL

from ._access import Access
from ._account import OLD_WEBHOOK_URL, WRITABLE, Account, Room, RoomsView
from ._answers import JsonValue
from ._deliverer import Deliverer
from ._deliveries import Deliveries, DeliveryAttempt
from ._event_key import EventKey
from ._faults import FaultPlan, Faults, ScriptEntry
from ._limit_sets import GivenRateLimits, RateLimits, read_rate_limits
from ._listener import Listener
from ._lively import Lively
from ._loop_thread import LoopThread, call_in_loop
from ._meetings import Meetings, RecordingType
from ._pipeline import Outage, Pipeline
from ._ready_rooms import room_from_json
from ._stats import RecordedRequest, Stats
from ._waits import Waits
from ._webhooks import mixed_webhooks

T = TypeVar("T")

_MAX_PORT = 65535
_MAX_LIVELY = 1000
_LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - a client can't connect to these on every system


class RoomsSimulator:
    """A simulator of the Telnyx Video Rooms API: an HTTP server on loopback, with rooms in memory.

    `async with RoomsSimulator(...) as sim:` runs it in the current event loop. A plain `with` runs it in a thread with
    its own event loop, for synchronous code and for tests with any async plugin. After a stop, it can be started again,
    with the same rooms and counters.

    A simulator in its own thread may be used from any thread. A simulator in the current event loop may be used only
    from the thread of that loop.
    """

    def __init__(
        self,
        *,
        rooms: int | Iterable[Mapping[str, JsonValue]] = 0,
        api_key: str = "KEY_simulated",
        rate_limit: GivenRateLimits | None = None,
        faults: Faults | None = None,
        latency: float | tuple[float, float] = 0.0,
        seed: int = 0,
        host: str = "127.0.0.1",
        port: int = 0,
        webhooks: Literal["same", "mixed"] = "same",
        deliveries: Deliveries | None = None,
        lively: float = 0.0,
    ) -> None:
        """Create the simulator and its rooms. No port is opened yet.

        `rooms` is the number of rooms to create, or the rooms themselves, as JSON objects of the API: for example,
        `rooms=answer["data"]` for a saved answer. A room may lack any field, which then has the default of
        `add_room()`. Its sessions are not used. Values are not checked, because an account may have rooms that break
        today's rules.

        A number creates the rooms `room-000001`, `room-000002`, ... With `webhooks="same"`, all have the
        webhook URL `https://old.example.com/rooms`. With `"mixed"`, each has its own webhook settings, and of every 100
        rooms, one has each kind of mistake that an audit finds. The same `seed` creates the same rooms. `rate_limit` is
        a `RateLimit` or text such as `"100/1s"`, a list of these, or a dict of both by operation (see the property).
        `latency` is the wait before each request is handled, in seconds: fixed, or random between two bounds. `host` is
        the address to listen on; with `0.0.0.0`, other machines can connect too. Port 0 chooses a free port.
        `deliveries` says how webhook events are delivered (see the property). With `lively`, sessions live by
        themselves: that many times per second, a participant joins or leaves, or a session starts or ends.
        """
        if isinstance(rooms, int) and rooms < 0:
            raise ValueError(f"rooms must be 0 or more, not {rooms}")
        if not 0 <= port <= _MAX_PORT:
            raise ValueError(f"port must be between 0 and {_MAX_PORT}, not {port}")
        if not 0 <= lively <= _MAX_LIVELY:
            raise ValueError(f"lively must be a number of steps per second from 0 to {_MAX_LIVELY}, not {lively}")
        self._seed = seed
        self._host = host
        self._wanted_port = port
        self._port: int | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread_id = 0
        self._background: LoopThread | None = None
        self._account = Account(seed=seed, clock=lambda: time.time_ns() // 1000)
        if isinstance(rooms, int):
            self._account.fill(rooms, mixed_webhooks if webhooks == "mixed" else None)
        else:
            for number, fields in enumerate(rooms, 1):
                self._account.insert(room_from_json(self._account, fields, number))
        self._rooms_view = RoomsView(self._account)
        self._stats = Stats()
        self._waits = Waits()
        self._access = Access(api_key, self._stats, host)
        self._faults = faults
        self._pipeline = Pipeline(self._account, self._access, self._stats, self._waits, faults or Faults(), seed)
        self._listener = Listener(self._pipeline.handle, self._pipeline.forget, self._waits)
        self._event_key = EventKey(seed)
        self._deliverer = Deliverer(self._event_key, self._stats, seed)
        self._deliverer.settings = deliveries or Deliveries()
        self._meetings = Meetings(self._account, self._deliverer.emit)
        self._lively = lively
        self._lively_task: asyncio.Task[None] | None = None
        self.rate_limit = rate_limit
        self.latency = latency

    # Starting and stopping

    async def start(self) -> None:
        """Open the port and answer requests in the current event loop.

        Raise OSError if the port can't be opened. Raise RuntimeError if the simulator is already running.
        """
        if self._loop is not None:
            raise RuntimeError(f"{self!r} is already running; stop it first")
        port = await self._listener.start(self._host, self._wanted_port)
        self._pipeline.outage = None
        self._port = port
        self._loop = asyncio.get_running_loop()
        self._thread_id = threading.get_ident()
        self._deliverer.start(self._loop)
        if self._lively:
            steps = Lively(self._account, self._meetings, self._seed).run(self._lively)
            self._lively_task = self._loop.create_task(steps, name="lively sessions")

    async def stop(self) -> None:
        """Close the port and all connections, even with requests in flight, and wait until they are closed.

        Requests that still wait for their latency are not applied. Webhook events that are not yet delivered are
        dropped: call `delivered()` first if your test needs them. Do nothing if the simulator is not running.
        """
        if self._loop is None:
            return
        if self._loop is not asyncio.get_running_loop():
            raise RuntimeError(f"{self!r} runs in another event loop; stop it there, or exit its `with` block")
        self._loop = None
        lively, self._lively_task = self._lively_task, None
        if lively is not None:
            lively.cancel()
            await asyncio.wait([lively])
        try:
            await self._deliverer.stop()
        finally:
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
            raise RuntimeError(f"{self!r} is already running; stop it first")
        background = LoopThread()
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
            with contextlib.ExitStack() as on_exit:
                on_exit.callback(background.close)
                asyncio.run_coroutine_threadsafe(self.stop(), background.loop).result()

    def __repr__(self) -> str:
        where = "not started" if self._port is None else self.url
        return f"<RoomsSimulator {where}, {len(self._account.rooms)} rooms>"

    @property
    def url(self) -> str:
        """The base URL with `/v2`, such as `http://127.0.0.1:54321/v2`. Raise RuntimeError before the first start.

        If the simulator listens on all addresses (`0.0.0.0` or `::`), the URL contains the loopback address.
        """
        if self._port is None:
            raise RuntimeError("the simulator has no URL before it is started; use `async with`, `with` or `start()`")
        return str(URL.build(scheme="http", host=_LOOPBACK.get(self._host, self._host), port=self._port, path="/v2"))

    @property
    def receiver_url(self) -> str:
        """A webhook URL that accepts every event: a POST to it, or to a path below it, is answered with 200.

        Raise RuntimeError before the first start.
        """
        return str(URL(self.url).with_path("/webhooks"))

    # Rooms

    @property
    def rooms(self) -> Mapping[str, dict[str, JsonValue]]:
        """The rooms by id, in the order of creation, as JSON objects with all 12 fields.

        Each lookup returns a new dict with the current state.
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
        """Add a room and return its id. The name defaults to the id.

        The values are not checked, so a test can add a room that the API would reject. Raise ValueError only if the id
        or the name is already taken.
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
        """Set writable fields as another client would, and set `updated_at` to now. The values are not checked."""
        unknown = fields.keys() - set(WRITABLE)
        if unknown:
            raise TypeError(f"not writable fields: {', '.join(sorted(unknown))}; choose from {', '.join(WRITABLE)}")
        self._on_loop(lambda: self._account.change(self._account.rooms[room_id], fields))

    def remove_room(self, room_id: str) -> None:
        """Remove a room, as if another client had deleted it. Raise KeyError if it does not exist."""
        self._on_loop(lambda: self._account.remove(room_id))

    def add_session(self, room_id: str, *, active: bool = True, participants: Sequence[str] = ()) -> str:
        """Add a session to a room and return its id. No webhook event is sent; `start_session()` sends one.

        `participants` are the contexts of the participants.
        If the session is active, the room's `active_session_id` becomes its id, and the previous active session ends.
        Otherwise the new session has already ended, and its participants have left.
        """
        account = self._account
        return self._on_loop(
            lambda: account.add_session(account.rooms[room_id], active=active, participants=participants).id
        )

    # Sessions with webhook events

    def start_session(self, room_id: str) -> str:
        """Start a session in a room, and return its id. If the room has an active session, end it first.

        This and each of the following methods sends its webhook events to the URLs that the room has at that time, as
        the API does. Nothing is sent if the room has no webhook URL, or while the simulator is not running.
        """
        return self._on_loop(lambda: self._meetings.start(room_id).id)

    def join(self, room_or_session_id: str, *, context: str = "") -> str:
        """Add a participant to a session, and return the participant's id. `context` is a text of the client.

        With the id of a room, the participant joins its active session. If there is none, a session is started. If the
        room has `enable_recording`, an audio and a video recording of the participant are started. Raise KeyError if
        there is no such room or session, and ValueError if the session has ended.
        """
        return self._on_loop(lambda: self._meetings.join(room_or_session_id, context).id)

    def leave(self, participant_id: str, *, reason: str = "left") -> None:
        """Let a participant leave. Do nothing if the participant has already left.

        `reason` is the `left_reason` of the event. The API's samples contain `kicked`.
        """
        self._on_loop(lambda: self._meetings.leave(participant_id, reason))

    def end_session(self, room_or_session_id: str, *, reason: str = "ended") -> None:
        """End a session, or the active session of a room. Do nothing if there is none, or if it has already ended.

        The participants who are present leave, and the recordings of the session are completed. `reason` is the
        `ended_reason` of the event. The API's samples contain `stale`.
        """
        self._on_loop(lambda: self._meetings.end(room_or_session_id, reason))

    def start_recording(self, participant_id: str, *, type: RecordingType = "audio") -> str:  # noqa: A002 - as in the API
        """Start a recording of a participant, and return its id."""
        return self._on_loop(lambda: self._meetings.start_recording(participant_id, type))

    def complete_recording(self, recording_id: str) -> None:
        """Complete a recording. Raise KeyError if there is none, or if it is already complete."""
        self._on_loop(lambda: self._meetings.complete_recording(recording_id))

    def complete_composition(self, session_id: str, *, resolution: str = "1280x720") -> str:
        """Complete a composition of the recordings of a session, and return its id."""
        return self._on_loop(lambda: self._meetings.complete_composition(session_id, resolution))

    # Deliveries of webhook events

    @property
    def deliveries(self) -> Deliveries:
        """How webhook events are delivered. You can set it at any time, for the events that occur from then on."""
        return self._deliverer.settings

    @deliveries.setter
    def deliveries(self, deliveries: Deliveries) -> None:
        self._deliverer.settings = deliveries

    @property
    def public_key(self) -> str | None:
        """The public key that verifies the signatures of webhook events, for `TELNYX_PUBLIC_KEY`.

        It is the base64 text of 32 bytes, and depends only on `seed`. None if the package cryptography is not
        installed: events are then sent unsigned.
        """
        return self._event_key.public_key

    @property
    def delivery_log(self) -> Sequence[DeliveryAttempt]:
        """The latest 10,000 attempts to deliver webhook events, in the order in which they ended."""
        return self._on_loop(lambda: tuple(self._deliverer.log))

    @property
    def lively(self) -> float:
        """The number of steps per second that sessions make by themselves, or 0."""
        return self._lively

    async def delivered(self) -> None:
        """Wait until all webhook events that have occurred are delivered or given up, or the simulator stops.

        You can call it from any event loop. In code without an event loop, use `wait_until_delivered()`.
        """
        if self._loop is None or self._loop is asyncio.get_running_loop():
            await self._deliverer.delivered()
        else:
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._deliverer.delivered(), self._loop))

    def wait_until_delivered(self, timeout: float = 60.0) -> None:
        """Wait as `delivered()` does, in a thread without an event loop, for a simulator in its own thread.

        Raise TimeoutError after `timeout` seconds. Raise RuntimeError in the thread of the simulator's event loop.
        """
        if self._loop is None:
            return
        if self._thread_id == threading.get_ident():
            raise RuntimeError("this would block the simulator's own event loop; use `await sim.delivered()`")
        waiting = asyncio.run_coroutine_threadsafe(self._deliverer.delivered(), self._loop)
        try:
            waiting.result(timeout)
        finally:
            waiting.cancel()

    # Keys, limits, faults, outages

    @property
    def api_key(self) -> str:
        """The accepted key. You can change it at any time. Requests with the old key then get a 401."""
        return self._access.api_key

    @api_key.setter
    def api_key(self, key: str) -> None:
        self._access.api_key = key

    @property
    def forbidden_keys(self) -> set[str]:
        """Known keys without permissions. Requests with these keys get a 403."""
        return self._access.forbidden_keys

    @forbidden_keys.setter
    def forbidden_keys(self, keys: set[str]) -> None:
        self._access.forbidden_keys = keys

    @property
    def rate_limit(self) -> RateLimits | None:
        """The current rate limit. You can set it at any time, such as to "100/1s". This resets the request count.

        A list contains limits that must all allow a request, such as `["10/1s", "1000/1h"]`. If one of them does not
        allow it, it counts in none. A dict contains limits for operations (`"GET /rooms"`, `"PATCH /rooms/{room_id}"`),
        methods (`"PATCH"`), and all other requests (`"*"`). Only the limits of the first of these that matches a
        request apply to it, and None means no limit. The value that you read has `RateLimit`s instead of text, and
        tuples instead of lists.
        """
        return self._access.rate_limit

    @rate_limit.setter
    def rate_limit(self, limits: GivenRateLimits | None) -> None:
        limit = read_rate_limits(limits)

        def change() -> None:
            self._access.rate_limit = limit

        self._on_loop(change)

    @property
    def rejects_null(self) -> bool:
        """Whether null is rejected with a 422 even where the documentation allows it.

        If it is true, an empty string clears the failover URL. You can set this attribute at any time.
        """
        return self._account.rejects_null

    @rejects_null.setter
    def rejects_null(self, rejects_null: bool) -> None:
        self._account.rejects_null = rejects_null

    @property
    def latency(self) -> float | tuple[float, float]:
        """The wait before each request is handled, in seconds: fixed, or two bounds. You can set it at any time."""
        low, high = self._pipeline.latency
        return low if low == high else (low, high)

    @latency.setter
    def latency(self, seconds: float | tuple[float, float]) -> None:
        low, high = seconds if isinstance(seconds, tuple) else (seconds, seconds)
        if not 0 <= low <= high:
            raise ValueError(f"latency must be 0 seconds or more, or bounds (low, high), not {seconds!r}")
        self._pipeline.latency = (low, high)

    @property
    def faults(self) -> Faults | None:
        """The current faults. You can set them at any time, which resets the counts for `first_tries`."""
        return self._faults

    @faults.setter
    def faults(self, faults: Faults | None) -> None:
        def change() -> None:
            self._faults = faults
            self._pipeline.plan = FaultPlan(faults or Faults(), self._seed, self._pipeline.plan.scripts)

        self._on_loop(change)

    def script(self, *entries: ScriptEntry, room_id: str | None = None, method: str | None = None) -> None:
        """Inject faults into the next requests, or send answers of your own.

        Each entry is for one request: a kind of fault, a `ScriptedAnswer`, or None for a normal answer.

        With `room_id` or `method`, the entries are only for requests with that room or method. If several scripts match
        a request, the most specific one is used: room and method, then room, then method, then all requests. If no
        script matches, `Faults(script=...)` is used. After its last entry, random faults are injected. A further script
        with the same `room_id` and `method` is appended to the first.
        """
        self._on_loop(lambda: self._pipeline.plan.add_script(entries, room_id, method))

    def refuse_connections(self, how: Outage = "closed") -> None:
        """Start an outage, which lasts until `accept_connections()`.

        `closed` closes the port and drops all connections. Requests that wait for their latency are still applied.
        `503` answers each request with the 503 page of a proxy. `reset` resets the connection of each request. `hang`
        sends no answer, and closes the connection when the outage ends. With `503`, `reset` and `hang`, a request is
        not applied if its latency ends during the outage.
        """

        def begin() -> None:
            if how == "closed":
                self._pipeline.outage = None
                self._listener.refuse()
            else:
                self._end_outage()
                self._pipeline.outage = how

        self._on_loop(begin)

    def accept_connections(self) -> None:
        """End an outage. Connections are accepted as soon as this method returns.

        The connections of hanging requests are closed.
        """
        self._on_loop(self._end_outage)

    def _end_outage(self) -> None:
        if self._pipeline.outage == "hang":
            self._waits.release()
        self._pipeline.outage = None
        if self._loop is not None:
            self._listener.accept()

    @property
    def outage(self) -> Outage | None:
        """The current outage, or None. You can set it at any time, see `refuse_connections()`."""
        return "closed" if self._listener.refuses else self._pipeline.outage

    @outage.setter
    def outage(self, outage: Outage | None) -> None:
        if outage is None:
            self.accept_connections()
        elif outage != self.outage:
            self.refuse_connections(outage)

    # Counters and recorded requests

    @property
    def stats(self) -> Stats:
        """The counters. This is always the same object. `reset_stats()` resets the counters."""
        return self._stats

    @property
    def record(self) -> bool:
        """Whether to add requests to `recorded`, which then grows without bound. You can set this at any time."""
        return self._pipeline.record

    @record.setter
    def record(self, record: bool) -> None:
        self._pipeline.record = record

    @property
    def recorded(self) -> list[RecordedRequest]:
        """The requests received while `record` was true, in the order in which their bodies were complete."""
        return self._pipeline.recorded

    def reset_stats(self) -> None:
        """Reset the counters, and clear `recorded` and `delivery_log`.

        `stats.in_flight` is unchanged. Open connections are counted again at their next request.
        """

        def reset() -> None:
            self._pipeline.clear()
            self._deliverer.log.clear()

        self._on_loop(reset)

    def _on_loop(self, change: Callable[[], T]) -> T:
        """Make a change in the thread of the loop, so that no request sees only a part of the change."""
        if self._loop is None or self._thread_id == threading.get_ident():
            return change()
        return call_in_loop(self._loop, change)
