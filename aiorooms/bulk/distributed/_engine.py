"""The queue of tasks, on pydocket (Redis streams). No other module knows pydocket.

A task is a run, the number of a batch or `LEAD`, and the number of the attempt, because the tasks of a run that is
resumed are new ones. The engine delivers each task to one worker. It delivers it again if the worker does not renew its
lease in time, because the worker was killed or can't reach the store. A handler ends a delivery in one of three ways:

- It returns. The task is done, and is not delivered again. It must not return if another worker may have the task.
- It raises `HandBack`. The task is delivered again at once, to any worker.
- It raises anything else, such as an error of the store. The task keeps its lease, and is delivered again when the
  lease expires. So a batch is tried again for as long as needed.

Each account has queues of its own, named after a digest of its API key and base URL, so that a worker with another key
never gets its batches. Batches and leads have different queues. Otherwise three runs would fill the slots of a worker
with leads that wait for batches.

Three habits of pydocket matter here. It renews leases only every quarter of their length, so each delivery also
renews its own. If it is cancelled, or loses Redis, it first waits for its deliveries. And it marks a delivery whose
task is cancelled as done, so each delivery runs in a task of its own, and only that one is cancelled.
"""

import asyncio
import secrets
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Self, TypeAlias

import attrs
from docket import CurrentExecution, Docket, Execution, Worker
from docket.dependencies import AdmissionBlocked
from redis.asyncio import Redis

from ..._aio import end_tasks, finish, sleep_unless
from ._store import STORE_ERRORS, StoreClient

__all__ = ["LEAD", "Delivery", "Engine", "HandBack", "Handler", "opened_client"]

LEAD: Final = -1
"""The number of the task that leads a run."""

_TASK: Final = "aiorooms_batch"
_KEEP: Final = timedelta(days=30)
"""How long the engine remembers a task that is done. An old message of a task that it has forgotten is not recognized
as superseded, and the default of 15 minutes is shorter than a long run."""

_MEMORY: Final = "memory:"

_CONNECT_SECONDS: Final = 5.0
"""Time limit for each step of connecting, and for each command of a client without a queue."""

_MAX_LEADS: Final = 20
"""Number of runs that one worker can lead."""

_LATE: Final = 2.0
"""Seconds after the redelivery time, within which a task is delivered again if a worker has a free slot."""

_LATEST_LOOK: Final = 1 + 5 / 16
"""When docket looks for a lease that has expired, as a multiple of its length, at the latest."""

_BATCHES_INTERVAL: Final = timedelta(milliseconds=50)
_LEADS_INTERVAL: Final = timedelta(milliseconds=500)
"""How long a slot may stay free if all were taken, and how much later a worker may end. New tasks arrive at once."""

_RESOLUTION: Final = timedelta(seconds=1)
"""How often docket looks for tasks that are due later, of which we have none."""

_IDLE: Final = 0.2
"""Seconds between two looks for batches, if a worker ends when nothing is left."""

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
    """The number of a batch, or `LEAD`."""
    attempt: int
    """1 for a run that was submitted, 2 when it was resumed, and so on."""
    renew: Callable[[], Awaitable[bool]]
    """Renew the lease. Return whether the task still belongs to this worker."""


Handler: TypeAlias = Callable[[Delivery], Coroutine[Any, Any, None]]


@asynccontextmanager
async def opened_client(url: str) -> AsyncGenerator[StoreClient]:
    """Connect to a store without a queue."""
    if url.startswith(_MEMORY):
        async with Docket(name="aiorooms", url=url) as docket, docket.redis() as client:
            yield client
        return
    redis: Any = Redis.from_url(  # pyright: ignore[reportUnknownMemberType]
        url, socket_connect_timeout=_CONNECT_SECONDS, socket_timeout=_CONNECT_SECONDS
    )
    try:
        await redis.ping()
        yield redis
    finally:
        await redis.aclose()


class Engine:
    """The queues of one account. Use it with `async with`."""

    def __init__(self, url: str, account: str, *, redelivery: float) -> None:
        self.lease: float = min(redelivery, (redelivery + _LATE) / _LATEST_LOOK)
        """Seconds after which a lease has expired if it is not renewed. Its task is then delivered again.

        docket looks for expired leases every quarter of their length, and at random up to 5/16 of it later. So if the
        redelivery time is long, a lease is shorter: with 15 s, it has 13 s, and its task goes on after 12 to 17 s.
        """
        self._url = url
        self._batches = Docket(name=f"aiorooms-{account}", url=url, execution_ttl=_KEEP)
        self._leads = Docket(name=f"aiorooms-{account}-leads", url=url, execution_ttl=_KEEP)
        self._is_memory = url.startswith(_MEMORY)
        self._stack = AsyncExitStack()
        self._client: StoreClient = None
        self._handle: Handler | None = None
        self._name = f"{socket.gethostname()}#{secrets.token_hex(4)}"
        self._deliveries: set[asyncio.Task[None]] = set()
        self._ending = asyncio.Event()
        """Set when no further task may be handled."""

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            if not self._is_memory:
                async with opened_client(self._url):
                    pass  # it raises an error if the store can't be reached; docket would try again without end
            for docket in (self._batches, self._leads):
                await stack.enter_async_context(docket)
                docket.register(self._task, names=[_TASK])
            self._client = await stack.enter_async_context(self._batches.redis())
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    @property
    def client(self) -> StoreClient:
        """A client of the store."""
        return self._client

    async def add(self, run: str, numbers: Iterable[int], *, attempt: int) -> None:
        """Queue tasks of a run, in this order. A task that is queued or in progress already is not queued again.

        `attempt` is 1 for a run that was submitted, and 2 when it was resumed. The tasks of another attempt are others.
        """
        given = [*numbers]
        for docket in (self._batches, self._leads):
            calls = [
                docket.call(_TASK, key=f"{run}.{attempt}:{number}")(run, number, attempt)
                for number in given
                if (number == LEAD) == (docket is self._leads)
            ]
            for execution in await docket.add_many(calls):
                if execution.schedule_exception is not None:
                    raise execution.schedule_exception

    async def workers(self) -> int:
        """Return the number of workers that have shown themselves in the last seconds."""
        return len(await self._batches.workers())

    async def work(self, handle: Handler, stopping: asyncio.Event, *, at_once: int, until_finished: bool) -> None:
        """Handle tasks until `stopping` is set, or until no task is left. Deliveries then end by themselves.

        If this is cancelled, so are the deliveries, and their tasks are delivered again when their leases expire. It
        can be called once.
        """
        self._handle = handle
        leads = asyncio.create_task(
            self._serve(self._leads, _MAX_LEADS, _LEADS_INTERVAL, until_finished=until_finished, again=False)
        )
        batches = asyncio.create_task(
            # A lead queues more batches until all have ended, so batches are looked for until no lead is left.
            self._serve(self._batches, at_once, _BATCHES_INTERVAL, until_finished=until_finished, again=True)
        )
        waiting = asyncio.create_task(stopping.wait())
        try:
            await asyncio.wait([leads, batches, waiting], return_when=asyncio.FIRST_COMPLETED)
            # Both end together. Otherwise the one that goes on would get what the other one hands back.
            self._ending.set()
            await asyncio.wait([leads, batches])
        except asyncio.CancelledError:
            self._ending.set()
            await end_tasks([*self._deliveries])
            raise
        finally:
            await finish(asyncio.create_task(asyncio.wait([leads, batches])))
            await end_tasks([waiting])
        for task in (leads, batches):
            task.result()

    async def _serve(
        self, docket: Docket, slots: int, interval: timedelta, *, until_finished: bool, again: bool
    ) -> None:
        """Take tasks of one queue until `_ending` is set, or until none is left. `again` says whether to go on then."""
        ending = asyncio.create_task(self._ending.wait())
        running: asyncio.Task[None] | None = None
        async with AsyncExitStack() as stack:
            stack.push_async_callback(end_tasks, [ending])
            # When this block ends, the worker takes no further tasks, and waits for its deliveries.
            worker = await stack.enter_async_context(self._worker(docket, slots, interval))
            while not self._ending.is_set():
                running = asyncio.create_task(worker.run_until_finished() if until_finished else worker.run_forever())
                await asyncio.sleep(0)  # a worker that has not begun can't be stopped
                await asyncio.wait([running, ending], return_when=asyncio.FIRST_COMPLETED)
                if running.done():
                    running.result()
                    if not again:
                        break
                    await sleep_unless(self._ending, _IDLE)
        if running is not None:
            await running

    def _worker(self, docket: Docket, slots: int, interval: timedelta) -> Worker:
        return Worker(
            docket,
            name=self._name,
            concurrency=slots,
            redelivery_timeout=timedelta(seconds=self.lease),
            reconnection_delay=timedelta(seconds=1),
            minimum_check_interval=interval,
            scheduling_resolution=_RESOLUTION,
            schedule_automatic_tasks=False,
        )

    async def _task(self, run: str, number: int, attempt: int, execution: Execution = CurrentExecution()) -> None:  # noqa: B008
        handle = self._handle
        if handle is None:  # only a worker gets tasks
            raise RuntimeError("this engine does not work")
        delivery = Delivery(run, number, attempt, lambda: self._renew(execution))
        if self._ending.is_set():
            await self._requeue(execution)
        elif await self._handled(handle(delivery), execution):
            return
        # The engine neither acknowledges the task nor queues it again. If it was not queued again above, it is
        # delivered when its lease expires.
        raise AdmissionBlocked(execution, "it is delivered again", handled=True) from None

    async def _handled(self, handle: Coroutine[Any, Any, None], execution: Execution) -> bool:
        """Let the handler handle a delivery. Return whether the task is done."""
        handling = asyncio.create_task(handle)
        self._deliveries.add(handling)
        try:
            await asyncio.wait([handling])
            if not handling.cancelled():
                handling.result()
                return True
        except HandBack:
            await self._requeue(execution)
        except Exception:  # noqa: BLE001, S110 - `Worker` has logged the error
            pass
        finally:
            await end_tasks([handling])
            self._deliveries.discard(handling)
        return False

    async def _requeue(self, execution: Execution) -> None:
        """Queue a task again, unless another worker has it. If that fails, it is delivered when its lease expires."""
        with suppress(*STORE_ERRORS):
            if execution.message_id is not None and await self._renew(execution):
                execution.when = datetime.now(UTC) - timedelta(days=1)  # whatever the clocks of others say
                await execution.schedule(reschedule_message=execution.message_id)

    async def _renew(self, execution: Execution) -> bool:
        if self._is_memory:
            return True  # there is one process, and the engine itself renews often enough
        docket = execution.docket
        words: Sequence[Any] = [docket.worker_group_name, self._name, execution.message_id or b""]
        return bool(await self._client.eval(_RENEW, 1, docket.stream_key, *words))
