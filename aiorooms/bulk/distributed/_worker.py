"""A worker: applies the batches of all runs of one account, and leads runs, until it is stopped."""

import asyncio
import logging
import time
from typing import Final

from ..._aio import sleep_unless
from ..._checks import check_at_least, check_positive, setting_error
from ...client import RoomsClient, account_of
from ...errors import AioroomsError, DistributedRunError
from ._connect import REDELIVERY, Availability, check_store, check_url, opened_engine, store_errors, text_of
from ._delivery import BatchSettings, apply_batch
from ._engine import LEAD, Delivery, Engine, HandBack
from ._lead import lead_run
from ._lease import Lease, LeaseLostError, clock
from ._recording import TIMEOUT, RateLimited
from ._store import STORE_ERRORS, RunStore

__all__ = ["Worker"]


_AT_ONCE: Final = 3
"""Number of batches in progress. While one waits for its last updates, the others go on."""

_LEAST_REDELIVERY: Final = 3.0
"""A lease is renewed every second, and nothing is sent in its last 1.5 s."""

_RECONNECT: Final = 1.0
"""Seconds before a store that can't be reached is tried again."""

_logger: Final = logging.getLogger("aiorooms.distributed")


class Worker:
    """Applies the batches of distributed runs. Any number of workers can run, on any machines.

    The client must have the API key and the base URL of the runs. Share its rate limit with the other workers, for
    example with `Pacing(shared=RedisPacing(url))`. It stays open when the worker ends.
    """

    def __init__(self, client: RoomsClient, on: str, *, concurrency: int = 50, redelivery: float = REDELIVERY) -> None:
        """`on` is the URL of the store, and `concurrency` the maximum number of updates in progress, 3 or more.

        If this worker is killed, or can't reach the store, its batches go to others about `redelivery` seconds later, 3
        or more: at most 2 s later than that, if they have free slots. All workers must have the same value.
        """
        check_url("Worker(on=)", on)
        check_at_least(3, "Worker(concurrency=)", concurrency)
        check_positive("Worker(redelivery=)", redelivery)
        if redelivery < _LEAST_REDELIVERY:
            raise setting_error("Worker(redelivery=)", f"is {redelivery:g}", "give 3 seconds or more", redelivery)
        self._client = client
        self._on = on
        self._concurrency = concurrency
        self._redelivery = redelivery
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Begin no further updates, let those in flight finish, and hand the rest of the batches back."""
        self._stopping.set()

    async def run(self, *, until_finished: bool = False) -> None:
        """Apply batches until `stop` is called; with `until_finished`, also until nothing is queued or in progress.

        A store that can't be reached is tried again until it can. Cancelling the worker cancels its updates; their
        rooms are read by the worker that gets the batch next. Raises `DistributedRunError` if the store may evict data.
        """
        store = Availability("the worker tries again every second")
        while not self._stopping.is_set():
            try:
                with store_errors():
                    async with opened_engine(self._on, account_of(self._client), redelivery=self._redelivery) as engine:
                        await check_store(engine, self._on)
                        store.found()
                        await self._work(engine, until_finished=until_finished)
                        return
            except DistributedRunError as error:
                if error.reason != "no_store":
                    raise
                store.lost(error.message)
            await sleep_unless(self._stopping, _RECONNECT)

    async def _work(self, engine: Engine, *, until_finished: bool) -> None:
        settings = BatchSettings(
            concurrency=max(1, self._concurrency // _AT_ONCE),
            rate_limited=RateLimited(self._client.pacing.snapshot().rate_limited),
        )

        async def handle(delivery: Delivery) -> None:
            store = RunStore(engine.client, delivery.run)
            try:
                # The lease may have expired between the delivery and this moment.
                began = clock()
                async with asyncio.timeout(TIMEOUT):
                    if not await delivery.renew():
                        raise LeaseLostError  # noqa: TRY301 - handled like errors of the store
                    boot = await store.boot()
                lease = Lease(engine.lease, began)
                if delivery.number == LEAD:
                    await lead_run(self._client, store, engine, delivery, lease, self._stopping)
                else:
                    await apply_batch(self._client, store, delivery, lease, settings, boot, self._stopping)
            except HandBack:
                raise
            except STORE_ERRORS as error:
                what = "the lead" if delivery.number == LEAD else f"batch {delivery.number}"
                _logger.warning("%s of the run %s is tried again: %s", what, delivery.run, text_of(error))
                raise
            except Exception as error:
                # The same would happen at each delivery, so the run must not go on without anyone noticing.
                _logger.exception("the run %s is stopped", delivery.run)
                why = str(error) if isinstance(error, AioroomsError) else repr(error)
                await store.stop(f"a worker failed: {why}"[:1000], time.time())
                raise

        await engine.work(handle, self._stopping, at_once=_AT_ONCE, until_finished=until_finished)
