"""Several processes that share one rate limit through a store, computed with a turned clock: no sockets and no waiting.

Each process has a pacer and a link of its own, as in real life, and a number of loops that send one request after
another. The limiter is the simulator's, which shares no code with the pacer. The store is in memory. It answers after a
while, and can hang, fail and forget. A minute of 40 processes takes a few seconds.
"""

import asyncio
import random
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, TypeVar

import attrs

from aiorooms import Pacing
from aiorooms._pacing import Pacer, Priority, RateLimitInfo, read_rate_limit
from aiorooms._pacing.shared.store import Posted, StoreError, Swapped
from aiorooms.simulator import RateLimit
from aiorooms.simulator._limit_headers import limit_headers
from aiorooms.simulator._limiters import Verdict, make_limiter
from aiorooms.telemetry import RateLimitPaused, SharedPacingChanged

__all__ = ["MemoryStore", "Process", "World"]

T = TypeVar("T")

_LOCK_TTL: Final = 0.1
_OPERATION: Final = "PATCH /rooms/{room_id}"


class MemoryStore:
    """A store as `Store` describes it. `clock` is the store's own clock, in seconds."""

    def __init__(self, clock: Callable[[], float], trip: Callable[[], float] = lambda: 0.001) -> None:
        self.clock = clock
        self.trip = trip
        """Returns how long the next answer takes, in seconds."""
        self.failure: str | None = None
        """Why every call fails; None if the store works."""
        self.can_receive = True
        self.token, self.state = "", b""
        self.inbox: list[bytes] = []
        self.lock: tuple[str, float] | None = None
        self.listeners: dict[str, deque[bytes]] = {}
        self.news = asyncio.Event()
        self.posts = self.swaps = self.messages = 0
        self._steps: set[asyncio.Task[Any]] = set()

    async def open(self, client: str) -> "MemorySession":
        def subscribe() -> MemorySession:
            self.listeners[client] = deque()
            return MemorySession(self, client)

        return await self.answer(subscribe)

    async def answer(self, step: Callable[[], T]) -> T:
        """Carry out a step. As with a real server, it is carried out even if nobody waits for the answer any more."""

        async def carry_out() -> T:
            await asyncio.sleep(self.trip())
            if self.failure is not None:
                raise StoreError(self.failure)
            return step()

        task = asyncio.create_task(carry_out())
        self._steps.add(task)
        task.add_done_callback(self._forget_step)
        return await asyncio.shield(task)

    def _forget_step(self, task: asyncio.Task[Any]) -> None:
        self._steps.discard(task)
        if not task.cancelled():
            task.exception()

    def forget(self) -> None:
        """Lose everything, as a server that was restarted."""
        self.token, self.state, self.inbox, self.lock = "", b"", [], None


class MemorySession:
    def __init__(self, store: MemoryStore, client: str) -> None:
        self._store = store
        self._client = client
        self.can_receive = store.can_receive

    async def post(self, report: bytes) -> Posted:
        return await self._store.answer(partial(self._post, report))

    def _post(self, report: bytes) -> Posted:
        store, now = self._store, self._store.clock()
        store.posts += 1
        if report:
            store.inbox.append(report)
        if store.lock is not None and now < store.lock[1] <= now + _LOCK_TTL:
            return Posted(now, False)
        store.lock = (self._client, now + _LOCK_TTL)
        return Posted(now, True, store.token, store.state, tuple(store.inbox))

    async def swap(
        self, expected: str, token: str, state: bytes, *, ttl: float, recorded: int, messages: Mapping[str, bytes]
    ) -> Swapped:
        return await self._store.answer(partial(self._swap, expected, token, state, recorded, messages))

    def _swap(self, expected: str, token: str, state: bytes, recorded: int, messages: Mapping[str, bytes]) -> Swapped:
        store, now = self._store, self._store.clock()
        store.swaps += 1
        holder = store.lock[0] if store.lock is not None and now < store.lock[1] <= now + _LOCK_TTL else None
        if store.token != expected or holder not in (None, self._client):
            return Swapped(now, False)
        store.token, store.state = token, state
        del store.inbox[:recorded]
        for client, message in messages.items():
            store.messages += 1
            if client in store.listeners:
                store.listeners[client].append(message)
                store.news.set()
        if not store.inbox:
            store.lock = None
        return Swapped(now, True, tuple(store.inbox))

    async def ping(self) -> None:
        await self._store.answer(lambda: None)

    async def receive(self) -> bytes:
        queue = self._store.listeners[self._client]
        while not queue:
            self._store.news.clear()
            await self._store.news.wait()
        await self._store.answer(lambda: None)
        return queue.popleft()

    async def close(self) -> None:
        self._store.listeners.pop(self._client, None)


@attrs.define
class Process:
    """One process, and what it has seen."""

    pacer: Pacer
    accepted: list[float] = attrs.Factory(list[float])
    """When its requests were accepted."""
    limited: list[float] = attrs.Factory(list[float])
    """When its requests were rate limited."""
    waits: list[float] = attrs.Factory(list[float])
    """How long its callers waited for each permit, in seconds."""


class World:
    """Processes, a server with a limit, and a store, in an event loop with a turned clock."""

    def __init__(
        self,
        limit: RateLimit,
        *,
        processes: int,
        shared: bool = True,
        seed: int = 0,
        latency: tuple[float, float] = (0.002, 0.01),
    ) -> None:
        loop = asyncio.get_running_loop()
        self.clock = loop.time
        self.rule = limit
        self._chance = random.Random(seed)
        self._latency = latency
        self._limiter = make_limiter(limit, lambda: round(self.clock() * 1e9))
        self.store = MemoryStore(lambda: 1e9 + self.clock(), lambda: self._chance.uniform(0.0003, 0.002))
        self.events: list[RateLimitPaused | SharedPacingChanged] = []
        """What the pacers have reported."""
        self.processes = [
            Process(
                Pacer(
                    Pacing(max_wait=1e6),
                    max_in_flight=100,
                    clock=self.clock,
                    random=random.Random(f"{seed} {number}").random,
                    store=self.store if shared else None,
                    emit=self.events.append,
                )
            )
            for number in range(processes)
        ]

    def set_limit(self, limit: RateLimit) -> None:
        """Replace the server's limit."""
        self.rule = limit
        self._limiter = make_limiter(limit, lambda: round(self.clock() * 1e9))

    async def send(self, process: Process, priority: Priority = "low", operation: str = _OPERATION) -> bool:
        """Send one request. Return whether it was accepted."""
        began = self.clock()
        permit = process.pacer.acquire_now(priority, operation) or await process.pacer.acquire(priority, operation)
        process.waits.append(self.clock() - began)
        info: RateLimitInfo | None = None
        try:
            verdict = await self._exchange(process)
            headers = limit_headers([(self.rule, verdict)], 1e9 + self.clock())
            named = {name.lower(): value for name, value in headers}
            info = read_rate_limit(named, rate_limited=not verdict.allowed)
        finally:
            process.pacer.release(permit, info)
        return verdict.allowed

    async def _exchange(self, process: Process) -> Verdict:
        await asyncio.sleep(self._chance.uniform(*self._latency) / 2)
        verdict = self._limiter.take()
        (process.accepted if verdict.allowed else process.limited).append(self.clock())
        await asyncio.sleep(self._chance.uniform(*self._latency) / 2)
        return verdict

    async def update(self, process: Process, count: int, loops: int = 50) -> None:
        """Send `count` requests with loops. A request that was rate limited is sent again."""
        left = iter(range(count))

        async def loop() -> None:
            for _ in left:
                while not await self.send(process):
                    pass

        async with asyncio.TaskGroup() as tasks:
            for _ in range(loops):
                tasks.create_task(loop())

    async def close(self) -> None:
        """Close all processes."""
        for process in self.processes:
            process.pacer.close()
            await process.pacer.leave()

    @property
    def rate_limited(self) -> float:
        """429s as a fraction of all requests."""
        limited = sum(len(process.limited) for process in self.processes)
        return limited / max(1, limited + sum(len(process.accepted) for process in self.processes))
