"""Lead a run: find what others changed, queue the batches, and end the run.

One worker leads a run, beside its batches. For example, a plan has 1,000 rooms, in the batches 0 to 3:

1. The lead lists the rooms that were modified since the plan was made, as a local run does (`_conflicts`). Someone else
   changed two of the planned rooms, one in batch 0 and one in batch 2. It records that these must be set aside.
2. It queues the four batches. From now on, workers apply them.
3. Meanwhile, it lists the modified rooms again and again, within the budget of a local run (`_refresh`). Batches that
   were opened are left out: many of their rooms are modified, by this run.
4. When all batches have ended, it lists the rooms once more, compares the two that were set aside with the plan, and
   records their outcomes and the end of the run.

So the number of lists does not depend on the number of workers. If the lead is killed, the engine delivers its task to
another worker, which begins with step 1 again. It queues only batches that were not opened. An earlier lead that goes
on later is fenced.
"""

import asyncio
import json
import time
from contextlib import aclosing, suppress
from datetime import UTC, datetime
from typing import Final

import attrs

from ..._aio import end_tasks
from ...client import RoomsClient
from ...errors import APIError, ClientStateError
from ...models import Room
from ...resources._pages import RoomList, gated
from ...resources._statuses import ends_run
from .._conflicts import day_before, deleted, judge, settled
from .._journal_records import PacingRecord, PacingState, line_of
from .._journal_writer import now
from .._plan_records import PLANNED, PlannedUpdate
from .._recheck import Rechecker, find_room
from .._refresh import RefreshBudget
from ._batches import ASIDE, BEGUN, NOT_BEGUN
from ._engine import Delivery, Engine, HandBack
from ._lease import Lease, LeaseLostError, clock, keep
from ._plan_index import PlanIndex
from ._recording import TIMEOUT, Ended, ended_line
from ._snapshot import done_count, updated_count
from ._store import Change, Fence, Fenced, Head, RunStore, new_epoch

__all__ = ["lead_run"]

_TICK: Final = 0.5
"""Seconds between two looks at the progress of the run."""

_RATE_OVER: Final = 10
"""Number of ticks over which the rate is measured."""

_RECORDS: Final = 500
"""The state of the rate limit is recorded every second, later every 1/500 of the time that the run has taken.

A run of an hour has about 1,500 such records, and one of a week 3,800.
"""

_TASKS_AT_ONCE: Final = 1000
"""Number of tasks that are queued in one step."""


async def lead_run(
    client: RoomsClient, store: RunStore, engine: Engine, delivery: Delivery, lease: Lease, stopping: asyncio.Event
) -> None:
    """Lead a run to its end, or until `stopping` is set. Raises `HandBack` then, and errors of the store."""
    head = await store.head()
    if head is None or head.ended_at is not None or delivery.attempt != len(head.runs):
        return  # the run was deleted or has ended, or it was resumed and has another task
    epoch = new_epoch()
    await store.take_lead(epoch)
    lead = _Lead(client, store, engine, head, epoch)
    renewing = asyncio.create_task(keep(lease, delivery.renew, timeout=TIMEOUT))
    leading = asyncio.create_task(lead.run())
    waiting = asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait([renewing, leading, waiting], return_when=asyncio.FIRST_COMPLETED)
    finally:
        is_done = leading.done() and not leading.cancelled()
        await end_tasks([renewing, leading, waiting])
    if is_done:
        try:
            leading.result()
        except Fenced:
            # Another worker leads the run. If this task ended, its message would be acknowledged, which is that of the
            # other worker too.
            raise LeaseLostError("another worker leads the run") from None
    elif stopping.is_set():
        raise HandBack
    else:
        raise LeaseLostError


class _Lead:
    """One delivery of the lead's task."""

    def __init__(self, client: RoomsClient, store: RunStore, engine: Engine, head: Head, epoch: str) -> None:
        self._client = client
        self._store = store
        self._engine = engine
        self._head = head
        self._epoch = epoch
        self._strict = head.is_strict
        self._index: PlanIndex | None = None
        self._changes = 0
        self._aside: dict[int, set[int]] = {}
        """The places of the rooms to set aside, by batch."""
        self._opened: set[int] = set()
        """Batches that are known to be opened."""
        self._compared = 0
        self._began = datetime.now(UTC)
        self._done: list[int] = []
        """The number of rooms with an outcome, at the last ticks."""
        self._sending_at = time.monotonic()
        self._recorded_at = 0.0
        """When the state of the rate limit was recorded last, in seconds after `_sending_at`."""

    async def run(self) -> None:
        """Do all steps."""
        if self._head.stop:
            await self._end(self._head.stop)
            return
        stop = ""
        try:
            if not self._head.settings.get("force"):
                await self._set(phase="comparing")
                self._index = await PlanIndex.of(self._store, self._head.batches)
                await self._list(RefreshBudget(0, time.monotonic()), is_first=True)
            await self._queue()
            stop = await self._follow()
            if not stop:
                await self._set(phase="ending")
                await self._compare_set_aside()
        except (APIError, ClientStateError) as error:
            stop = str(error)
            await self._store.stop(stop, now())
        await self._end(stop)

    async def _set(self, **fields: str) -> str:
        return await self._store.set_head(self._epoch, fields)

    # --- the batches ---

    async def _queue(self) -> None:
        """Queue the batches that were not opened, and record that the run is sending."""
        attempt = len(self._head.runs)
        numbers: list[int] = []
        for number in range(self._head.batches):
            if not await self._store.is_opened(number):
                numbers.append(number)
            if len(numbers) == _TASKS_AT_ONCE:
                await self._engine.add(self._store.run, numbers, attempt=attempt)
                numbers.clear()
        await self._engine.add(self._store.run, numbers, attempt=attempt)
        await self._set(phase="sending")

    async def _follow(self) -> str:
        """Wait until all batches have ended, and list the modified rooms meanwhile. Return why the run is stopped."""
        listing = None if self._index is None else asyncio.create_task(self._list_repeatedly())
        try:
            while True:
                head = await self._store.head()
                if head is None or head.stop:
                    return "the run was deleted" if head is None else head.stop
                await self._record_pacing(head)
                self._head = head
                if head.finished >= head.batches:
                    return ""
                if listing is not None and listing.done():
                    listing.result()
                await asyncio.sleep(_TICK)
        finally:
            if listing is not None:
                await end_tasks([listing])

    async def _record_pacing(self, head: Head) -> None:
        """Record the rate, and the state of the rate limit as the workers have reported it."""
        self._done.append(done_count(head))
        del self._done[: -_RATE_OVER - 1]
        ticks = len(self._done) - 1
        rate = (self._done[-1] - self._done[0]) / (ticks * _TICK) if ticks else 0.0
        await self._set(rate=f"{rate:.2f}")
        elapsed = time.monotonic() - self._sending_at
        if elapsed >= self._recorded_at + max(1.0, elapsed / _RECORDS):
            self._recorded_at = elapsed
            state = PacingState(refused=head.rate_limited, limit=head.limit, rate=round(rate, 2))
            await self._append(0, Change(body=line_of(PacingRecord(pacing=state, at=now()))))

    # --- what others changed ---

    async def _list_repeatedly(self) -> None:
        """List the modified rooms as often as the budget allows."""
        budget = RefreshBudget(self._compared, time.monotonic())
        sent, updated = self._head.attempts, updated_count(self._head)
        while True:
            await asyncio.sleep(_TICK)
            head = self._head
            budget.count_update(head.attempts - sent, updated_count(head) - updated)
            sent, updated = head.attempts, updated_count(head)
            if budget.may_begin(time.monotonic()):
                try:
                    await self._list(budget, is_first=False)
                except (APIError, ClientStateError) as error:
                    if ends_run(error):
                        raise
                    budget.count_pages(max(0, error.attempts - 1))

    async def _list(self, budget: RefreshBudget, *, is_first: bool) -> None:
        """List the modified rooms once, and tell the store which rooms must be set aside."""
        began = await self._store.time()
        budget.begin_list()
        recheck = Rechecker(self._client)
        count, touched = 0, set[int]()

        async def permit() -> None:
            while not is_first and not budget.may_request(time.monotonic()):  # noqa: ASYNC110 - only time passes
                await asyncio.sleep(0.1)
            budget.count_pages()

        async with aclosing(gated(self._modified_rooms(), permit)) as rooms:
            async for room in rooms:
                count += 1
                if (number := await self._compare(room, recheck if is_first else None)) is not None:
                    touched.add(number)
        if is_first:
            self._compared = count
        for number in touched:
            await self._store.publish(number, self._epoch, self._aside.get(number, ()))
        budget.end_list(count)
        await self._set(listed_at=f"{began:.6f}")

    def _modified_rooms(self) -> RoomList:
        latest = self._head.totals.latest_update
        if latest is None:
            return self._client.rooms.list()
        return self._client.rooms.list(date_updated_at_gte=day_before(min(latest, self._began)))

    async def _compare(self, listed: Room, recheck: Rechecker | None) -> int | None:
        """Compare a listed room with the plan. Return its batch if the places to set aside have changed."""
        assert self._index is not None
        if (found := await self._index.find(listed.id)) is None:
            return None
        number, place, planned = found
        if number in self._opened:
            return None
        if await self._store.is_opened(number):
            self._opened.add(number)
            return None
        room = listed
        if recheck is not None and recheck.is_needed(listed):
            with suppress(APIError):
                room = await recheck(listed) or listed
        places = self._aside.setdefault(number, set())
        is_aside = judge(planned, room, strict=self._strict) in ("wanted", "conflict")
        if is_aside == (place in places):
            return None
        (places.add if is_aside else places.discard)(place)
        return number

    async def _compare_set_aside(self) -> None:
        """Compare the rooms that were set aside with the plan once more, and record their outcomes."""
        left = await self._set_aside_rooms()
        if not left:
            return
        async with aclosing(self._modified_rooms()) as rooms:
            async for room in rooms:
                if (aside := left.pop(room.id.lower(), None)) is not None:
                    await self._settle(aside, room)
        for aside in left.values():
            await self._settle(aside, await find_room(self._client, aside.planned.room_id))

    async def _set_aside_rooms(self) -> "dict[str, _Aside]":
        found: dict[str, _Aside] = {}
        head = await self._store.head()
        if head is None or not head.counts.get(ASIDE):
            return found
        for number in range(head.batches):
            rows = await self._store.rows(number)
            if ASIDE not in rows:
                continue
            lines = await self._store.lines(number)
            for place, letter in enumerate(rows):
                if letter == ASIDE:
                    planned = PLANNED.read(lines[place])
                    found[planned.room_id.lower()] = _Aside(number=number, place=place, planned=planned)
        return found

    async def _settle(self, aside: "_Aside", room: Room | None) -> None:
        """Record the outcome of a room that was set aside. A room that has its old values again is left to `resume`."""
        planned = aside.planned
        outcome = deleted(planned) if room is None else settled(planned, room, strict=self._strict)
        if outcome is None:
            await self._append(aside.number, Change(letters=[(aside.place, NOT_BEGUN)]))
            return
        updated_at = room.updated_at if room is not None and outcome.found else None
        ended = Ended.of(aside.place, outcome, ended_line(outcome, updated_at=updated_at))
        await self._append(aside.number, Change(letters=[(ended.place, ended.letter)], body=ended.line))

    async def _append(self, number: int, change: Change) -> None:
        self._changes += 1
        await self._store.append(number, Fence(True, self._epoch), self._changes, change)

    # --- the end ---

    async def _end(self, stop: str) -> None:
        """Record the end of the run, when the updates in flight have ended."""
        deadline = clock() + self._engine.lease
        head = await self._store.head()
        while stop and head is not None and head.counts.get(BEGUN) and clock() < deadline:
            await asyncio.sleep(_TICK)
            head = await self._store.head()
        if head is None:
            return
        at = now()
        runs = [dict(run) for run in head.runs]
        runs[-1] |= {"ended_at": at, "ended": f"stopped: {stop}" if stop else "done"}
        await self._set(ended_at=f"{at:.3f}", runs=json.dumps(runs), phase="stopped" if stop else "ended", rate="")


@attrs.frozen(kw_only=True)
class _Aside:
    """A room that was set aside."""

    number: int
    place: int
    planned: PlannedUpdate
