"""The queue of tasks, on pydocket (Redis streams). No other module knows pydocket.

A task is a run and the number of a batch, or `LEAD`. The engine delivers each task to one worker. It delivers it again
if the worker does not renew its lease for the redelivery time, because the worker was killed or can't reach the store.
A handler ends a delivery in one of three ways:

- It returns. The task is done, and is not delivered again.
- It raises `HandBack`. The task is delivered again at once, to any worker.
- It raises anything else, such as an error of the store. The task keeps its lease, and is delivered again when the
  lease expires. So a batch is tried again for as long as needed.

Each account has a queue of its own, named after a digest of its API key and base URL, so that a worker with another key
never gets its batches.
"""

import asyncio
import secrets
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any, Final, Self, TypeAlias

import attrs
from docket import CurrentExecution, Docket, Execution, Worker
from docket.dependencies import AdmissionBlocked
from redis.asyncio import Redis
from redis.exceptions import RedisError

from ..._aio import end_tasks
from ._store import StoreClient

__all__ = ["LEAD", "STORE_ERRORS", "Delivery", "Engine", "HandBack", "Handler"]

STORE_ERRORS: Final = (RedisError, OSError, TimeoutError)
"""What a call of the store raises if the store can't be reached, or does not do what it is asked."""

LEAD: Final = -1
"""The number of the task that leads a run."""

_TASK: Final = "aiorooms_batch"
_KEEP: Final = timedelta(days=30)
"""How long the engine remembers a task that is done. An old message of a task that it has forgotten is not recognized
as superseded, and the default of 15 minutes is shorter than a long run."""

_CONNECT_SECONDS: Final = 5.0

_RENEW: Final = """
local found = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[3], ARGV[3], 1)
if not found[1] or found[1][2] ~= ARGV[2] then return 0 end
redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[3], 'JUSTID')
return 1
"""
"""Renew a lease, unless another worker has it. A plain XCLAIM would take it away from the other worker."""


class HandBack(Exception):  # noqa: N818 - it is not an error
    """A handler returns its task, to be delivered to another worker at once."""


@attrs.frozen(eq=False)
class Delivery:
    """One delivery of a task."""

    run: str
    number: int
    renew: Callable[[], Awaitable[bool]]
    """Renew the lease. Return whether the task still belongs to this worker."""


Handler: TypeAlias = Callable[[Delivery], Awaitable[None]]


class Engine:
    """The queue of one account. Use it with `async with`."""

    def __init__(self, url: str, account: str, *, redelivery: float) -> None:
        self.redelivery: float = redelivery
        """Seconds after which a task whose lease is not renewed is delivered again."""
        self._docket = Docket(name=f"aiorooms-{account}", url=url, execution_ttl=_KEEP)
        self._is_memory = url.startswith("memory:")
        self._stack = AsyncExitStack()
        self._client: StoreClient = None
        self._handle: Handler | None = None
        self._name = f"{socket.gethostname()}#{secrets.token_hex(4)}"

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await self._reach()
            await stack.enter_async_context(self._docket)
            self._client = await stack.enter_async_context(self._docket.redis())
            self._docket.register(self._task, names=[_TASK])
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def _reach(self) -> None:
        """Raise an error if the store can't be reached. The engine itself would try again without end."""
        if self._is_memory:
            return
        redis: Any = Redis.from_url(  # pyright: ignore[reportUnknownMemberType]
            self._docket.url, socket_connect_timeout=_CONNECT_SECONDS, socket_timeout=_CONNECT_SECONDS
        )
        try:
            await redis.ping()
        finally:
            await redis.aclose()

    @property
    def client(self) -> StoreClient:
        """A client of the store."""
        return self._client

    async def add(self, tasks: Iterable[tuple[str, int]]) -> None:
        """Queue tasks, in this order. A task that is queued already is not queued again."""
        calls = [self._docket.call(_TASK, key=f"{run}:{number}")(run, number) for run, number in tasks]
        done = await self._docket.add_many(calls)
        for execution in done:
            if execution.schedule_exception is not None:
                raise execution.schedule_exception

    async def workers(self) -> int:
        """Return the number of workers that have shown themselves in the last seconds."""
        return len(await self._docket.workers())

    async def work(self, handle: Handler, stopping: asyncio.Event, *, at_once: int, until_finished: bool) -> None:
        """Handle tasks until `stopping` is set, or until no task is left. Deliveries then end by themselves."""
        self._handle = handle
        worker = Worker(
            self._docket,
            name=self._name,
            concurrency=at_once,
            redelivery_timeout=timedelta(seconds=self.redelivery),
            reconnection_delay=timedelta(seconds=1),
            # This is also how long a free slot may stay free.
            minimum_check_interval=timedelta(milliseconds=50),
            schedule_automatic_tasks=False,
        )
        async with worker:
            running = asyncio.create_task(worker.run_until_finished() if until_finished else worker.run_forever())
            waiting = asyncio.create_task(stopping.wait())
            try:
                await asyncio.wait([running, waiting], return_when=asyncio.FIRST_COMPLETED)
            finally:
                # The worker ends its deliveries before it ends, even if it is cancelled.
                await end_tasks([waiting, running])
            if not running.cancelled():
                running.result()

    async def _task(self, run: str, number: int, execution: Execution = CurrentExecution()) -> None:  # noqa: B008
        handle = self._handle
        if handle is None:  # only a worker gets tasks
            raise RuntimeError("this engine does not work")
        delivery = Delivery(run, number, lambda: self._renew(execution))
        try:
            await handle(delivery)
        except HandBack:
            raise AdmissionBlocked(execution, "it was handed back", retry_delay=timedelta()) from None
        except Exception:  # noqa: BLE001 - `Worker` has logged the error
            # The engine neither acknowledges the task nor queues it again, so it is delivered when its lease expires.
            raise AdmissionBlocked(execution, "it is tried again", handled=True) from None

    async def _renew(self, execution: Execution) -> bool:
        if self._is_memory:
            return True  # there is one process, and the engine itself renews often enough
        docket = self._docket
        words: Sequence[Any] = [docket.worker_group_name, self._name, execution.message_id or b""]
        return bool(await self._client.eval(_RENEW, 1, docket.stream_key, *words))
