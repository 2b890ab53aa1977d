"""Deliver webhook events to the URLs of the rooms, with retries and failover, and keep a log of the attempts.

Each event has a task of its own until it is delivered or given up. At most `_MAX_PENDING` events have a task, and at
most `_MAX_IN_FLIGHT` attempts are in flight; waits between retries do not count. A stop cancels all tasks.

The first attempts of the events of a room are made in order, one after another, so a receiver that answers gets the
events of a room in order. Retries do not delay later events, so a retried event can arrive after later ones.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime
from random import Random

import aiohttp
import attrs

from ._account import Room
from ._deliveries import Deliveries, DeliveryAttempt, Draw, Outcome, Quirk, decide, timeout_of, urls_of, waits_of
from ._event_key import EventKey
from ._events import Event
from ._stats import Stats
from ._targets import PinnedResolver, Target, Targets

_MAX_PENDING = 10_000
_MAX_IN_FLIGHT = 20
_MAX_LOG = 10_000
_HOLD_SECONDS = 1.0
"""How long a reordered event waits for the next event of its room."""

_SUCCESS = range(200, 300)


@attrs.frozen
class _Delivery:
    """An event with the settings of its room when it occurred."""

    event: Event
    urls: Sequence[str]
    timeout: float
    settings: Deliveries
    quirk: Quirk | None
    is_repeat: bool = False


class Deliverer:
    """Delivers the events of one simulator."""

    def __init__(self, key: EventKey, stats: Stats, seed: int) -> None:
        """Start closed. Events are ignored until `start` is called."""
        self.settings = Deliveries()
        """The settings for events that occur from now on."""
        self.log: deque[DeliveryAttempt] = deque(maxlen=_MAX_LOG)
        self._key = key
        self._stats = stats
        self._random = Random(seed)  # noqa: S311 - not a secret
        self._targets = Targets()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._in_flight = asyncio.Semaphore(_MAX_IN_FLIGHT)
        self._tasks: set[asyncio.Task[None]] = set()
        self._held: dict[str, tuple[_Delivery, Draw, asyncio.TimerHandle]] = {}
        self._first_attempts: dict[str, asyncio.Future[None]] = {}
        """By room, a future that is done when the first attempt of its last event has ended."""

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Accept events."""
        self._loop = loop
        self._in_flight = asyncio.Semaphore(_MAX_IN_FLIGHT)

    async def stop(self) -> None:
        """Cancel all deliveries, and wait until their tasks have ended. Later events are ignored."""
        self._loop = None
        for delivery, _, timer in self._held.values():
            timer.cancel()
            self._record(delivery, delivery.urls[0], 1, "stopped")
        self._held.clear()
        while self._tasks:
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks)
        self._first_attempts.clear()

    async def delivered(self) -> None:
        """Wait until all events that have occurred are delivered or given up. Send held back events at once."""
        for room_id in [*self._held]:
            self._release(room_id)
        if self._tasks:
            await asyncio.wait([*self._tasks])

    def emit(self, room: Room, event: Event) -> None:
        """Deliver an event to the URLs that the room has now. Do nothing if it has none."""
        draw = decide(self.settings, [self._random.random() for _ in range(5)])
        urls = urls_of(room.webhook_event_url, room.webhook_event_failover_url)
        if self._loop is None or not urls:
            return
        delivery = _Delivery(event, urls, timeout_of(room.webhook_timeout_secs), self.settings, draw.quirk)
        if len(self._tasks) + len(self._held) >= _MAX_PENDING:
            self._record(delivery, urls[0], 1, "dropped", error="too many events wait")
            self._stats.events["dropped"] += 1
        elif draw.waits and room.id not in self._held:
            timer = self._loop.call_later(_HOLD_SECONDS, self._release, room.id)
            self._held[room.id] = (delivery, draw, timer)
        else:
            self._send(delivery, draw)
            self._release(room.id)

    def _release(self, room_id: str) -> None:
        """Send the event of a room that was held back, if there is one."""
        held = self._held.pop(room_id, None)
        if held is not None:
            delivery, draw, timer = held
            timer.cancel()
            self._send(delivery, draw)

    def _send(self, delivery: _Delivery, draw: Draw) -> None:
        after = self._spawn(delivery, self._first_attempts.get(delivery.event.room_id))
        if draw.repeats:
            repeat = attrs.evolve(delivery, is_repeat=True)
            self._spawn(repeat, self._first_attempts.get(delivery.event.room_id) if draw.overlaps else after)

    def _spawn(self, delivery: _Delivery, after: "asyncio.Future[None] | None") -> "asyncio.Future[None]":
        """Create the task of a delivery, which begins after `after`. Return a future for its first attempt."""
        assert self._loop is not None
        first: asyncio.Future[None] = self._loop.create_future()
        room_id = delivery.event.room_id
        self._first_attempts[room_id] = first
        task = self._loop.create_task(self._deliver(delivery, after, first), name="webhook delivery")
        self._tasks.add(task)

        def ended(task: "asyncio.Task[None]") -> None:
            self._tasks.discard(task)
            _finish(first)
            if self._first_attempts.get(room_id) is first:
                del self._first_attempts[room_id]

        task.add_done_callback(ended)
        return first

    async def _deliver(
        self, delivery: _Delivery, after: "asyncio.Future[None] | None", first: "asyncio.Future[None]"
    ) -> None:
        if after is not None:
            await asyncio.wait([after])  # the future is shared, so a cancelled task must not cancel it
        outcomes: list[Outcome] = []
        for url in delivery.urls:
            for wait in waits_of(delivery.settings):
                if wait:
                    await asyncio.sleep(wait)
                outcomes.append(await self._attempt(delivery, url, len(outcomes) + 1))
                _finish(first)
                if outcomes[-1] in ("delivered", "not_allowed", "invalid_url"):
                    break
            if outcomes[-1] == "delivered":
                break
        if not delivery.is_repeat:
            self._stats.events[_summary(outcomes)] += 1

    async def _attempt(self, delivery: _Delivery, url: str, number: int) -> Outcome:
        """Make one attempt, record it in the log, and return its outcome."""
        began = datetime.now(UTC)
        outcome: Outcome = "stopped"
        status: int | None = None
        error = "the simulator was stopped"
        try:
            async with self._in_flight:
                began = datetime.now(UTC)
                target = await self._targets.find(url, anywhere=delivery.settings.deliver_anywhere)
                if target.outcome is not None:
                    outcome, error = target.outcome, target.error
                else:
                    status = await self._post(target, delivery, url, number)
                    outcome, error = ("delivered" if status in _SUCCESS else "bad_status"), ""
        except TimeoutError:
            outcome, error = "timeout", f"no answer within {delivery.timeout:g} s"
        except aiohttp.InvalidURL as failure:
            outcome, error = "invalid_url", str(failure)
        except (aiohttp.ClientError, OSError) as failure:
            outcome, error = "unreachable", str(failure) or type(failure).__name__
        except ValueError:  # a URL with a user name that no header can contain
            outcome, error = "invalid_url", "the user name or password can't be sent"
        finally:
            self._record(delivery, url, number, outcome, status=status, error=error, at=began)
        return outcome

    async def _post(self, target: Target, delivery: _Delivery, url: str, number: int) -> int:
        """Send the event, and return the status of the answer. Raise as aiohttp does. The body is not read."""
        body = delivery.event.body(url, number, delivery.quirk)
        async with (
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    resolver=PinnedResolver(target.addresses), use_dns_cache=False, force_close=True
                ),
                # By default, aiohttp rounds up longer timeouts to whole seconds.
                timeout=aiohttp.ClientTimeout(total=delivery.timeout, ceil_threshold=math.inf),
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"Content-Type": "application/json", "User-Agent": "aiorooms simulator"},
            ) as session,
            session.post(
                target.url, data=body, headers=self._key.headers(body, int(time.time())), allow_redirects=False
            ) as response,
        ):
            response.close()
            return response.status

    def _record(
        self,
        delivery: _Delivery,
        url: str,
        number: int,
        outcome: Outcome,
        *,
        status: int | None = None,
        error: str = "the simulator was stopped",
        at: datetime | None = None,
    ) -> None:
        event = delivery.event
        at = datetime.now(UTC) if at is None else at
        self.log.append(DeliveryAttempt(event.id, event.type, event.room_id, url, number, outcome, status, error, at))


def _summary(outcomes: Sequence[Outcome]) -> str:
    """Return the outcome of an event, as it is counted in the statistics."""
    if "delivered" in outcomes:
        return "delivered"
    return "not_allowed" if {*outcomes} == {"not_allowed"} else "given_up"


def _finish(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
