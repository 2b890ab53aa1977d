"""Submit a plan, and watch, stop, resume and pull its run."""

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, closing
from pathlib import Path
from typing import Any, Final, Self

import attrs

from ..._checks import check_at_least, check_positive
from ...client import RoomsClient, account_of
from ...errors import ClientStateError, DistributedRunError
from .._apply import OUTAGE_PATIENCE
from .._files import path_text
from .._plan import Plan
from .._plan_records import PlanHeader, PlanTotals
from .._progress import Snapshot
from ._batches import ASIDE, BEGUN, LETTERS, NOT_BEGUN, packed_batches
from ._connect import SHORT, Availability, check_store, check_url, opened_engine, opened_store, store_errors
from ._engine import LEAD, Engine
from ._pull import write_journal
from ._snapshot import snapshot_of
from ._store import Head, RunStore, StoreClient, lost, run_names

__all__ = ["DistributedRun", "RunStatus", "find_runs", "list_runs", "submit"]


@attrs.frozen(kw_only=True)
class RunStatus:
    """The state of a distributed run at one moment."""

    run: str
    snapshot: Snapshot
    phase: str
    """`queued` (no worker has begun), `comparing`, `sending`, `ending`, `stopping`, `ended` or `stopped`."""
    stop: str
    """Why the run was stopped; empty if it was not."""
    workers: int
    """Number of workers of this account that have shown themselves within 10 s."""
    base_url: str
    source: str
    plan_file: str
    overwrite_window: float | None
    """As `BulkRun.overwrite_window`, by the store's clock."""

    @property
    def has_ended(self) -> bool:
        """Whether the run has ended, completely or because it was stopped."""
        return self.snapshot.phase != "running"


class DistributedRun:
    """A run in a store. Use it with `async with`."""

    def __init__(self, run: str, on: str) -> None:
        """`run` is the name of the run, and `on` the URL of the store."""
        check_url("DistributedRun(on=)", on)
        self.run = run
        self._on = on
        self._stack = AsyncExitStack()
        self._store: RunStore | None = None
        self._engine: Engine | None = None

    async def __aenter__(self) -> Self:
        """Connect. Raises `DistributedRunError` if the store can't be used, or does not have the run."""
        async with AsyncExitStack() as stack:
            # Which queue the run belongs to is in the store, so a first connection without a queue reads it.
            async with opened_store(self._on) as client:
                with store_errors():
                    async with asyncio.timeout(SHORT):
                        head = await _head(RunStore(client, self.run))
            self._engine = await stack.enter_async_context(opened_engine(self._on, str(head.settings["account"])))
            self._store = RunStore(self._engine.client, self.run)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def status(self) -> RunStatus:
        """Return the state of the run."""
        store, engine = self._opened()
        with store_errors():
            async with asyncio.timeout(SHORT):
                return _status_of(await _head(store), await engine.workers())

    async def watch(self, every: float = 0.5) -> AsyncGenerator[RunStatus]:
        """Yield the state every `every` seconds, until the run has ended. The last state is the one at the end.

        While the store can't be used, nothing is yielded. A warning is logged when that begins, and when it ends.
        """
        check_positive("DistributedRun.watch(every=)", every)
        store = Availability("the display goes on when it can be used again")
        while True:
            try:
                status = await self.status()
            except DistributedRunError as error:
                if error.reason != "no_store":
                    raise
                store.lost(error.message)
            else:
                store.found()
                yield status
                if status.has_ended:
                    return
            await asyncio.sleep(every)

    async def stop(self, why: str = "by the user") -> bool:
        """Stop the run: no further update begins, and updates in flight finish. Return False if it has ended."""
        store, _ = self._opened()
        with store_errors():
            return await store.stop(why[:1000], time.time()) == "ok"

    async def resume(self, *, retry_failed: bool = False, force: bool = False, max_failures: int | None = None) -> bool:
        """Continue a run that has ended early. Rooms that are updated are not updated again.

        The arguments have the same meaning as for `aiorooms.bulk.resume`, and replace those of the earlier run. Its
        `strict` and `outage_patience` stay as they were submitted. Return False, and begin nothing, if no room is left.
        Raises `DistributedRunError` if the run is still in progress.
        """
        if max_failures is not None:
            check_at_least(1, "DistributedRun.resume(max_failures=)", max_failures)
        store, engine = self._opened()
        with store_errors():
            head = await _head(store)
            if head.ended_at is None:
                hint = "wait until a worker has ended it" if head.stop else "stop it first, or wait until it has ended"
                text = f"the run {self.run} is {'stopping' if head.stop else 'in progress'}"
                raise DistributedRunError(text, hint=hint, reason="run_in_progress")
            letters = {LETTERS["skipped"]: NOT_BEGUN, LETTERS["uncertain"]: BEGUN, ASIDE: NOT_BEGUN}
            if retry_failed:
                letters[LETTERS["failed"]] = NOT_BEGUN
            if force:
                letters[LETTERS["conflict"]] = NOT_BEGUN
            left = [await store.reopen(number, letters) for number in range(head.batches)]
            if not any(left):
                return False
            runs = [dict(run) for run in head.runs]
            runs[-1].setdefault("ended", f"stopped: {head.stop}")
            runs[-1].setdefault("ended_at", time.time())
            runs.append({"run": len(runs) + 1, "began_at": round(time.time(), 3)})
            settings = {**head.settings, "force": force, "max_failures": max_failures}
            await store.begin_again(runs, settings)
            await engine.add(self.run, [LEAD], attempt=len(runs))
            return True

    async def pull_journal(self, path: str | Path) -> None:
        """Write an ordinary journal of the run to a new file. `report`, `rollback` and `verify` can read it.

        Raises `JournalError` if the file exists or can't be written.
        """
        store, _ = self._opened()
        with store_errors():
            await write_journal(store, await _head(store), Path(path))

    def _opened(self) -> tuple[RunStore, Engine]:
        if self._store is None or self._engine is None:
            raise ClientStateError("the DistributedRun is not open; use it with `async with`")
        return self._store, self._engine


async def submit(
    client: RoomsClient,
    plan: Plan,
    on: str,
    *,
    force: bool = False,
    strict: bool = False,
    max_failures: int | None = None,
    outage_patience: float | None = OUTAGE_PATIENCE,
) -> str:
    """Store a plan and queue its run. Return the name of the run.

    Workers with the same API key and base URL apply it. The arguments have the same meaning as for
    `aiorooms.bulk.apply`. Nothing is sent to the server of the API. The API key is not stored.

    Raises `DistributedRunError` if the store can't be used, or if a run of this plan is in progress there, and
    `PlanFileError` if the plan was made for another server, or was modified since `Plan.open`.
    """
    check_url("submit(on=)", on)
    if max_failures is not None:
        check_at_least(1, "submit(max_failures=)", max_failures)
    if outage_patience is not None:
        check_positive("submit(outage_patience=)", outage_patience)
    plan.check_server(client)
    settings: dict[str, Any] = {
        "force": force,
        "strict": strict,
        "max_failures": max_failures,
        "outage_patience": outage_patience,
        "plan_file": path_text(await asyncio.to_thread(plan.path.absolute)),
        "account": account_of(client),
    }
    async with opened_engine(on, account_of(client)) as engine:
        with store_errors():
            await check_store(engine, on)
            store, is_new = await _free_store(engine.client, plan, settings)
            if is_new:
                try:
                    await _put(store, plan, settings)
                finally:
                    await store.release()
            await engine.add(store.run, [LEAD], attempt=1)
    return store.run


async def find_runs(on: str) -> Sequence[str]:
    """Return the names of the newest 100 runs in a store, the newest first."""
    check_url("find_runs(on=)", on)
    async with opened_store(on) as client:
        with store_errors():
            async with asyncio.timeout(SHORT):
                return await run_names(client)


async def list_runs(on: str) -> Mapping[str, RunStatus | DistributedRunError]:
    """Return the states of the newest 100 runs in a store by name, the newest first.

    If the data of a run is lost or damaged, an error is returned in place of its state.
    """
    states: dict[str, RunStatus | DistributedRunError] = {}
    workers: dict[str, int] = {}
    names = await find_runs(on)
    async with opened_store(on) as client:
        for name in names:
            try:
                with store_errors():
                    async with asyncio.timeout(SHORT):
                        head = await RunStore(client, name).head()
                if head is None:
                    raise lost(name, "its head is missing")
            except DistributedRunError as error:
                if error.reason == "no_store":
                    raise
                states[name] = error
                continue
            account = str(head.settings.get("account", ""))
            if account not in workers:
                async with opened_engine(on, account) as engine:
                    with store_errors():
                        workers[account] = await engine.workers()
            states[name] = _status_of(head, workers[account])
    return states


async def _free_store(client: StoreClient, plan: Plan, settings: Mapping[str, Any]) -> tuple[RunStore, bool]:
    """Return the store for a run of a plan, and whether the run is new.

    The run is named after the plan, with a number if the plan was applied before. A run that no worker has begun is
    returned again if it has the same settings, because the one who submitted it may have failed before its lead was
    queued.
    """
    short = plan.plan_id[:8]
    for number in range(1, 1000):
        store = RunStore(client, short if number == 1 else f"{short}-{number}")
        if (head := await store.head()) is None:
            if not await store.reserve():
                raise DistributedRunError(
                    f"the plan is being submitted already, as the run {store.run}", hint="watch it", reason="run_exists"
                )
            return store, True
        is_waiting = head.phase == "queued" and len(head.runs) == 1
        if head.header.plan_id == plan.plan_id and is_waiting and head.settings == settings:
            return store, False
        if head.header.plan_id == plan.plan_id and head.ended_at is None:
            hint = "watch it, or stop it first"
            text = f"the plan is being applied already, by the run {store.run}"
            raise DistributedRunError(text, hint=hint, reason="run_exists")
    raise DistributedRunError("the store has 999 runs of this plan", hint="make a new plan", reason="run_exists")


_KEEP_EVERY: Final = 100
"""Number of batches after which the name of the run is reserved again. Storing them takes less than a second."""


async def _put(store: RunStore, plan: Plan, settings: dict[str, Any]) -> None:
    batches = 0
    with closing(plan.open_file()) as file:
        left = packed_batches(plan.room_lines(file))
        # Compressing a batch takes a millisecond, so this is done in a thread.
        while (batch := await asyncio.to_thread(next, left, None)) is not None:
            await store.put_batch(batches, *batch)
            batches += 1
            if batches % _KEEP_EVERY == 0:
                await store.keep_reserved()
    header = PlanHeader(
        version=plan.version,
        plan_id=plan.plan_id,
        created_at=plan.created_at,
        base_url=plan.base_url,
        source=plan.source,
    )
    totals = PlanTotals(
        rooms=plan.rooms,
        unchanged=plan.unchanged,
        latest_update=plan.latest_update,
        not_concerned=plan.not_concerned,
        invalid=plan.invalid,
        sha256=plan.sha256,
    )
    await store.put_head(header, totals, batches, settings, round(time.time(), 3), await store.boot())


def _status_of(head: Head, workers: int) -> RunStatus:
    return RunStatus(
        run=head.run,
        snapshot=snapshot_of(head, time.time()),
        phase="stopping" if head.stop and head.ended_at is None else head.phase,
        stop=head.stop,
        workers=workers,
        base_url=head.header.base_url,
        source=head.header.source,
        plan_file=str(head.settings.get("plan_file", "")),
        overwrite_window=head.window,
    )


async def _head(store: RunStore) -> Head:
    head = await store.head()
    if head is None:
        text = f"the store does not have a run {store.run}"
        raise DistributedRunError(text, hint="find_runs() returns the names of the newest 100 runs", reason="no_run")
    return head
