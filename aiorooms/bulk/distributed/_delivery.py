"""Apply one delivery of a batch.

The first delivery of a batch knows that none of its rooms was sent. For example, batch 7 has 250 rooms, and the room at
place 3 must be set aside:

1. It opens the batch. From then on, no earlier delivery can change it.
2. It records that room 3 is set aside, and that the updates of 50 other rooms begin. Only then are they sent.
3. When the last of them has been taken by `update_many`, it records the beginning of the next 50, and so on. Outcomes
   are recorded with the next beginning, when there are 25 of them, or after a second.
4. When all 250 rooms have an outcome or are set aside, it ends the batch.

The worker is killed when 120 rooms are updated, 100 of them have a recorded outcome, and 50 are in flight. The second
delivery reads the 149 rooms that have no recorded outcome. It does not trust that only those with a `begin` were sent,
because the store may have lost its last second. 20 of them have the wanted values: their outcome is `updated`, and they
are not sent. A room that someone else changed is a conflict. The others are sent as above.
"""

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing

import attrs

from ..._aio import end_tasks, sleep_unless
from ...client import RoomsClient
from ...errors import APIError, ClientStateError, InvalidRequestError, NotFoundError
from ...models import Room, RoomUpdate, UpdateResult
from ...models._fields import unreadable_fields
from ...resources._statuses import ends_run
from ...resources._update_many import UpdateRun
from .._conflicts import settled
from .._outcomes import Outcome
from .._plan_records import PLANNED, PlannedLine, PlannedUpdate
from ._batches import OPEN, pack
from ._engine import Delivery, HandBack
from ._lease import Lease, LeaseLostError, keep
from ._recording import TIMEOUT, BatchRecorder, Ended, RateLimited, ended_line
from ._store import Fenced, Opened, RunStore, new_epoch

__all__ = ["BatchSettings", "apply_batch"]

_CHUNK = 50
"""Number of rooms whose beginning is recorded in one change."""

_READS = 4
"""Number of times that a room is read if its values can't be read."""

_GRACE = 5.0
"""Seconds for updates to end by themselves when the worker is stopped."""

_FLUSH = 1.0
"""Seconds after which an outcome is recorded at the latest."""


@attrs.frozen(kw_only=True)
class BatchSettings:
    """How a worker applies batches."""

    concurrency: int
    """Maximum number of updates of one batch in progress."""
    rate_limited: RateLimited


async def apply_batch(
    client: RoomsClient,
    store: RunStore,
    delivery: Delivery,
    lease: Lease,
    settings: BatchSettings,
    boot: str,
    stopping: asyncio.Event,
) -> None:
    """Apply one delivery, until all rooms have an outcome, the run is stopped or `stopping` is set.

    `boot` is what `RunStore.boot` returns. Raises `HandBack` if rooms are left because `stopping` is set, and errors of
    the store.
    """
    epoch = new_epoch()
    async with asyncio.timeout(TIMEOUT):
        head = await store.head()
        if head is None or delivery.attempt != len(head.runs):
            return  # the run was deleted, or it was resumed and has another task for this batch
        opened = await store.open_batch(delivery.number, epoch, boot, lease.seconds)
    if isinstance(opened, str):
        return  # the run was stopped, or the batch has ended: nothing is left to do
    recorder = BatchRecorder(store, delivery.number, epoch, lease, client, opened.listed_at, settings.rate_limited)
    batch = _Batch(
        client, recorder, lease, opened, settings.concurrency, stopping,
        outage_patience=head.settings.get("outage_patience"),
        force=bool(head.settings.get("force")),
        strict=head.is_strict,
    )  # fmt: skip
    beside = [
        asyncio.create_task(keep(lease, delivery.renew, timeout=TIMEOUT)),
        asyncio.create_task(_flush_regularly(recorder, lease)),
    ]
    try:
        # An earlier delivery, which the store may have forgotten, may still send.
        await sleep_unless(stopping, opened.wait)
        await batch.apply()
    except (Fenced, LeaseLostError):
        lease.lose()
        raise LeaseLostError from None
    finally:
        await end_tasks(beside)
    if not lease.is_held:
        raise LeaseLostError
    if batch.is_complete:
        log = await store.new_log(delivery.number)
        packed = await asyncio.to_thread(pack, log)
        try:
            await store.finish(delivery.number, epoch, packed)
        except Fenced:
            raise LeaseLostError from None
    elif not recorder.stop:
        raise HandBack


async def _flush_regularly(recorder: BatchRecorder, lease: Lease) -> None:
    """Record the outcomes that are collected, every second."""
    while lease.is_held:
        await asyncio.sleep(_FLUSH)
        try:
            await recorder.flush()
            await recorder.look_for_stop()
        except (Fenced, LeaseLostError):
            lease.lose()


class _Batch:
    """The rooms of one delivery."""

    def __init__(
        self,
        client: RoomsClient,
        recorder: BatchRecorder,
        lease: Lease,
        opened: Opened,
        concurrency: int,
        stopping: asyncio.Event,
        *,
        outage_patience: float | None,
        force: bool,
        strict: bool,
    ) -> None:
        self._client = client
        self._recorder = recorder
        self._lease = lease
        self._opened = opened
        self._concurrency = concurrency
        self._stopping = stopping
        self._outage_patience = outage_patience
        self._force = force
        self._strict = strict
        self._contact_at = -math.inf
        """The monotonic time of the last answer to a read-back, in seconds."""
        self._open = {place for place, letter in enumerate(opened.rows) if letter in OPEN}
        """The places of the rooms without an outcome."""
        self._begun: set[int] = set()
        """The places of the rooms whose beginning may be recorded, and that were not found to be invalid."""
        self._places: dict[str, int] = {}
        """The places of the rooms that were given to `update_many`, by room id."""

    @property
    def is_complete(self) -> bool:
        """Whether all rooms have an outcome, or are set aside."""
        return not self._open

    async def apply(self) -> None:
        """Read or set aside what needs it, and send the updates of the other rooms."""
        planned = {place: PlannedLine.read(self._opened.lines[place]) for place in sorted(self._open)}
        if self._opened.is_first:
            aside = sorted(self._opened.aside & planned.keys())
            await self._recorder.set_aside(aside)
            self._open.difference_update(aside)
            to_send = [(place, line) for place, line in planned.items() if place in self._open]
        else:
            to_send = await self._read_back(planned.items())
        await self._send(to_send)
        await self._recorder.flush()
        await self._recorder.take_back(sorted(self._begun - {*self._places.values()}))

    # --- later deliveries ---

    async def _read_back(self, rooms: Iterable[tuple[int, PlannedLine]]) -> list[tuple[int, PlannedLine]]:
        """Read rooms, record those that need no update, and return the others."""
        left = iter(rooms)
        to_send: list[tuple[int, PlannedLine]] = []

        async def read() -> None:
            for place, planned in left:
                if self._must_end():
                    return
                if await self._read_one(place, planned):
                    to_send.append((place, planned))

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(self._concurrency, len(self._open))):
                    group.create_task(read())
        except* (Fenced, LeaseLostError):
            raise LeaseLostError from None
        return sorted(to_send)

    async def _read_one(self, place: int, planned: PlannedLine) -> bool:
        """Read a room. Return whether its update must be sent; if not, record its outcome."""
        room_id, name = planned.room_id, planned.unique_name
        update = PLANNED.read(planned.line)
        updated_at = None
        try:
            room = await self._retrieve(update)
        except NotFoundError as error:
            outcome = Outcome(room_id=room_id, unique_name=name, status="failed", error=str(error), failure=error)
        except APIError as error:
            outcome = Outcome(room_id=room_id, unique_name=name, status="uncertain", error=str(error), failure=error)
        else:
            if room is None:
                return False
            found = settled(update, room, strict=self._strict)
            if found is None and (unreadable := unreadable_fields(room, update.after, update.pair)):
                text = f"room {room_id}: the answer to the read-back has no readable {', '.join(unreadable)}"
                found = Outcome(room_id=room_id, unique_name=name, status="uncertain", error=text)
            if found is None or (found.status == "conflict" and self._force):
                return True
            outcome, updated_at = found, room.updated_at if found.found else None
        await self._end(place, outcome, ended_line(outcome, updated_at=updated_at))
        return False

    async def _retrieve(self, update: PlannedUpdate) -> Room | None:
        """Return the room; None if it is left to another delivery or to a resumed run.

        If one of the values to compare can't be read, try again, because no later delivery will. While no room can be
        read, wait until `outage_patience` is over, and then stop the run. Raises `NotFoundError`, and another
        `APIError` if only this room can't be read.
        """
        began = time.monotonic()
        patience = self._outage_patience or 0.0
        tries = 0
        while True:
            tries += 1
            try:
                room = await self._client.rooms.retrieve(update.room_id)
            except NotFoundError:
                self._contact_at = time.monotonic()
                raise
            except (APIError, ClientStateError) as error:
                if ends_run(error):
                    await self._recorder.flush(str(error))
                    return None
                if time.monotonic() - began >= patience:
                    if self._contact_at >= began:
                        raise
                    why = f"the server was unavailable for more than {patience:g} s (outage_patience)"
                    await self._recorder.flush(f"{why}; the last failure: {error.message}")
                    return None
            else:
                self._contact_at = time.monotonic()
                if tries >= _READS or not unreadable_fields(room, update.after, update.pair):
                    return room
            if self._must_end():
                return None
            await asyncio.sleep(min(0.2 * tries, 2.0))

    def _must_end(self) -> bool:
        return bool(self._recorder.stop) or self._stopping.is_set() or not self._lease.is_held

    # --- all deliveries ---

    async def _send(self, rooms: Sequence[tuple[int, PlannedLine]]) -> None:
        results = self._client.rooms.update_many(
            self._updates(rooms),
            concurrency=self._concurrency,
            outage_patience=self._outage_patience,
            may_send=lambda: self._lease.is_held,
        )
        self._recorder.on_stop = results.stop
        hurrying = asyncio.create_task(self._hurry(results))
        try:
            async with aclosing(results):
                async for result in results:
                    await self._record(result)
        finally:
            await end_tasks([hurrying])

    async def _hurry(self, results: UpdateRun) -> None:
        """Stop updates that have not ended some seconds after `stopping` is set, for example because of an outage."""
        await self._stopping.wait()
        await asyncio.sleep(_GRACE)
        results.stop()

    async def _updates(self, rooms: Sequence[tuple[int, PlannedLine]]) -> AsyncGenerator[tuple[str, RoomUpdate]]:
        """Yield the updates for `update_many`. Record the beginning of each chunk before its first update."""
        for index in range(0, len(rooms), _CHUNK):
            if self._must_end():
                return
            chunk = rooms[index : index + _CHUNK]
            # If this is cancelled, the beginning may be recorded nevertheless.
            self._begun.update(place for place, _ in chunk)
            await self._recorder.begin([place for place, _ in chunk])
            for place, planned in chunk:
                try:
                    update = RoomUpdate.from_dict(planned.after, webhook_url_policy=self._client.webhook_url_policy)
                except InvalidRequestError as error:
                    outcome = Outcome(
                        room_id=planned.room_id, unique_name=planned.unique_name, status="failed", error=str(error),
                        failure=error,
                    )  # fmt: skip
                    self._begun.discard(place)
                    await self._end(place, outcome, ended_line(outcome))
                    continue
                self._places[planned.room_id] = place
                yield planned.room_id, update

    async def _record(self, result: UpdateResult) -> None:
        """Record a result of `update_many`."""
        error = result.error
        if error is not None and not self._lease.is_held:
            return  # no read-back was sent, so the next delivery finds out what became of the room
        if error is not None and error.reason == "stopped" and not self._recorder.stop:
            if result.status == "skipped":
                del self._places[result.room_id]  # its update did not begin after all
            return
        outcome = Outcome(
            room_id=result.room_id,
            unique_name=None,
            status=result.status,
            error=None if error is None else str(error),
            failure=error,
            attempts=result.attempts,
        )
        updated_at = None if result.room is None else result.room.updated_at
        stop = str(error) if error is not None and ends_run(error) and not self._recorder.stop else ""
        line = ended_line(outcome, elapsed=result.elapsed, updated_at=updated_at)
        await self._end(self._places[result.room_id], outcome, line, stop)

    async def _end(self, place: int, outcome: Outcome, line: bytes, stop: str = "") -> None:
        self._open.discard(place)
        await self._recorder.end(Ended.of(place, outcome, line), stop)
