"""Update rooms of a hostile server in many random ways, and compare every outcome with the server's own ledger.

Each run has its own seed, which determines the faults of the server (`_fuzz_server`), how the updates are made, and
when they are disturbed: one `update_many`, or single calls in many tasks; a session of the client's own, or the user's;
asyncio or uvloop; some updates and whole runs are cancelled, some inputs raise an exception or contain invalid items,
and some clients are closed while they work. After each run, the benchmark checks that

- every update has exactly one result, unless the run was disturbed; then it has at most one;
- the server applied each update whose result is `updated`, and none whose result is `failed`;
- the updates of a room were applied in the order of the input;
- the server received no update more often than its `attempts` allow, and no invalid update at all. It applied no
  skipped update;
- no update got an answer that belongs to another request, such as a 401, which is sent only as a second answer;
- nothing but the documented errors was raised;
- no task, connection, permit or waiting call is left after the client was closed.

The first wrong outcome ends the benchmark with exit status 1. The seed of a run does not determine its exact course,
because that depends on timing, too.
"""

import argparse
import asyncio
import gc
import sys
import time
import warnings
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from random import Random
from typing import Final, Literal, TypeAlias
from uuid import UUID

import aiohttp
import attrs

from aiorooms import (
    AioroomsError,
    AuthenticationError,
    ClientStateError,
    NotFoundError,
    Pacing,
    RetryPolicy,
    RoomsClient,
    RoomUpdate,
    UpdateResult,
    UpdateStatus,
)

from ._campaign import CheckError, add_options, execute
from ._fuzz_server import KINDS, FuzzServer, Json, Ledger, room_url, serial_of
from ._runs import at_least_one

_TIMEOUT: Final = 0.5
"""Seconds for one attempt."""

_MAX_STALL: Final = 0.05
"""Seconds. A run whose event loop was stalled for longer is repeated: after a timeout, the server may handle a request
later than its read-back, and nobody can tell."""

_REPEATS: Final = 5
"""Maximum number of times that a run is repeated."""

_STALE: Final = {True: 1, False: 3}
"""Maximum number of resends after stale connections, which are not counted as attempts: in a session of the client's
own, and in the user's."""

_PATIENCE: Final = 300.0
"""Seconds after which a run counts as stuck."""

How: TypeAlias = Literal["complete", "cancelled", "aborted", "input raises", "closed", "single calls"]
_HOW: Final[Sequence[How]] = (
    "complete", "complete", "complete", "complete", "cancelled", "aborted", "input raises", "closed", "single calls",
    "single calls",
)  # fmt: skip


class _InputError(Exception):
    """The exception that an input raises."""


@attrs.define
class Campaign:
    """Counts over all runs."""

    runs: int = 0
    repeated: int = 0
    """Runs that were repeated, because the machine was too busy."""
    inexact: int = 0
    """Runs that were stalled in each repeat, so that the order and the failed updates were not checked."""
    updates: int = 0
    """Updates in the inputs."""
    updated: int = 0
    failed: int = 0
    uncertain: int = 0
    skipped: int = 0
    without_result: int = 0
    """Updates without a result, because their run or call was disturbed."""
    uncertain_applied: int = 0
    """Uncertain updates that the server had applied."""
    requests: int = 0
    """PATCH requests that the server received."""
    faults: Counter[str] = attrs.Factory(Counter[str])
    """Wrong answers by kind."""

    def rows(self) -> Sequence[tuple[str, int]]:
        return [
            ("runs", self.runs),
            ("  repeated, because the machine was too busy", self.repeated),
            ("  still too busy: not all checks were made", self.inexact),
            ("updates", self.updates),
            ("  updated", self.updated),
            ("  failed", self.failed),
            ("  uncertain", self.uncertain),
            ("    of these, applied", self.uncertain_applied),
            ("  skipped", self.skipped),
            ("  without a result (cancelled, closed, ...)", self.without_result),
            ("PATCH requests", self.requests),
            ("wrong or unusual answers", self.faults.total()),
            *((f"  {kind}", count) for kind, count in sorted(self.faults.items())),
        ]


# --- the plan of a run ---


@attrs.frozen
class Plan:
    """What a run does: everything that its seed determines."""

    seed: int
    how: How
    updates: Sequence[tuple[str, RoomUpdate]]
    ledger: Ledger
    rate: float
    kinds: Sequence[str]
    own_session: bool
    is_async_input: bool
    pacing: Pacing
    retry: RetryPolicy
    concurrency: int
    rejects_null: bool
    disturbed_after: float
    """Share of the updates after which the run is disturbed."""


def make_plan(seed: int, count: int) -> Plan:
    """Return the plan for a seed, with `count` updates."""
    random = Random(seed)
    how = random.choice(_HOW)
    room_ids = [
        str(UUID(int=random.getrandbits(128), version=4)) for _ in range(count if how == "single calls" else 40)
    ]
    known = room_ids[: -1 - len(room_ids) // 20]
    ledger = Ledger({room_id: _new_room(room_id) for room_id in known})
    concurrency = random.choice([1, 5, 20, 50])
    updates: list[tuple[str, RoomUpdate]] = []
    for serial in range(count):
        room_id = room_ids[serial] if how == "single calls" else random.choice(room_ids)
        updates.append((room_id, _new_update(serial, random)))
    return Plan(
        seed=seed,
        how=how,
        updates=updates,
        ledger=ledger,
        rate=random.choice([0.03, 0.1, 0.3, 0.6]) if concurrency >= 20 else 0.05,  # timeouts one by one take long
        kinds=random.sample([kind.name for kind in KINDS], random.choice([3, 8, len(KINDS)])),
        own_session=random.random() < 0.7,
        is_async_input=random.random() < 0.5,
        pacing=Pacing(enabled=random.random() < 0.5, max_wait=1.0),
        retry=RetryPolicy(max_attempts=random.choice([1, 2, 4, 6]), base_delay=0.001, max_delay=0.01),
        concurrency=concurrency,
        rejects_null=random.random() < 0.3,
        disturbed_after=random.random() ** 0.5,  # rather late than early
    )


def _new_room(room_id: str) -> dict[str, Json]:
    return {
        "record_type": "room",
        "id": room_id,
        "unique_name": f"room {room_id}",
        "max_participants": 10,
        "enable_recording": False,
        "created_at": "2026-03-26T17:51:59.588408Z",
        "updated_at": "2026-11-25T05:36:55.103224Z",
        "active_session_id": None,
        "webhook_event_url": room_url(-1),
        "webhook_event_failover_url": "",
        "webhook_timeout_secs": None,
    }


def _new_update(serial: int, random: Random) -> RoomUpdate:
    """Return an update with a webhook URL of its own, and some further fields."""
    update = RoomUpdate(webhook_event_url=room_url(serial), max_participants=random.randint(2, 48))
    if random.random() < 0.3:
        update = attrs.evolve(update, enable_recording=random.random() < 0.5)
    if random.random() < 0.3:
        failover = random.choice([None, f"https://failover.example.com/{serial}"])
        update = attrs.evolve(update, webhook_event_failover_url=failover)
    if random.random() < 0.3:
        update = attrs.evolve(update, webhook_timeout_secs=random.choice([None, 0, 30]))
    return update


# --- a run ---


@attrs.define
class Seen:
    """What the client reported in one run."""

    results: list[UpdateResult] = attrs.Factory(list[UpdateResult])
    invalid: int = 0
    """Number of invalid items in the part of the input that was read."""
    errors: list[BaseException] = attrs.Factory(list[BaseException])
    """What a call raised besides an outcome."""
    leaks: list[str] = attrs.Factory(list[str])
    longest_stall: float = 0.0
    """Seconds for which the event loop was stalled."""


class _Input:
    """The input of `update_many`: the updates of the plan, some invalid items, and perhaps an exception."""

    def __init__(self, plan: Plan, seen: Seen, disturb: Callable[[], None]) -> None:
        self._plan = plan
        self._seen = seen
        self._disturb = disturb
        self._random = Random(plan.seed + 1)

    def items(self) -> Iterator[tuple[str, RoomUpdate]]:
        stop_at = int(self._plan.disturbed_after * len(self._plan.updates))
        for number, pair in enumerate(self._plan.updates):
            if number == stop_at:
                if self._plan.how == "input raises":
                    raise _InputError
                self._disturb()
            if self._random.random() < 0.02:
                self._seen.invalid += 1
                yield self._random.choice(_INVALID)  # type: ignore[misc] # pyright: ignore[reportReturnType]
            yield pair

    async def async_items(self) -> AsyncIterator[tuple[str, RoomUpdate]]:
        for pair in self.items():
            if self._random.random() < 0.1:
                await asyncio.sleep(self._random.uniform(0, 0.01))
            yield pair


_INVALID: Final[Sequence[object]] = [
    5,
    None,
    ("not an id", RoomUpdate(max_participants=3)),
    ("6f9c6a0e-9b1f-4c37-8a6d-0a4e9c6a1b2c", "no update"),
    ("6f9c6a0e-9b1f-4c37-8a6d-0a4e9c6a1b2c", RoomUpdate()),
    ("6f9c6a0e-9b1f-4c37-8a6d-0a4e9c6a1b2c",),
]


async def _run(plan: Plan) -> Seen:
    """Carry out a run, close everything, and return what was seen."""
    loop = asyncio.get_running_loop()
    seen = Seen()
    loop.set_exception_handler(lambda _, context: seen.leaks.append(f"the loop reports: {context}"))
    random = Random(plan.seed + 2)
    # A late second answer must not be a rejection where nobody can tell that it belongs to an earlier request, see
    # `_fuzz_server`: in the user's session, and on uvloop, which sends what was written only after the callbacks of an
    # iteration, so that the server does not see a request that is on its way.
    is_exact = plan.own_session and not type(loop).__module__.startswith("uvloop")
    late_statuses = [200, 401, 404, 500] if is_exact else [200]
    server = FuzzServer(
        plan.ledger,
        random,
        rate=plan.rate,
        kinds=plan.kinds,
        late_statuses=late_statuses,
        rejects_null=plan.rejects_null,
    )
    url = await server.start()
    session = None if plan.own_session else aiohttp.ClientSession()
    client = RoomsClient(
        "KEY_fuzz", base_url=url, timeout=_TIMEOUT, retry=plan.retry, pacing=plan.pacing, session=session
    )
    watch = asyncio.create_task(_watch(seen))
    work = asyncio.create_task(
        _singles(client, plan, seen) if plan.how == "single calls" else _many(client, plan, seen)
    )
    try:
        async with asyncio.timeout(_PATIENCE):
            await asyncio.wait([work])
    except TimeoutError:
        seen.leaks.append("the run is stuck")
        work.cancel()
        await asyncio.wait([work])
    if not work.cancelled() and (error := work.exception()) is not None:
        seen.errors.append(error)
    watch.cancel()
    await asyncio.wait([watch])
    pacing = client.pacing.snapshot()
    if (pacing.in_flight, pacing.waiting) != (0, 0):
        seen.leaks.append(f"{pacing.in_flight} permits and {pacing.waiting} waiting calls are left")
    await client.close()
    if session is not None:
        await session.close()
    await _find_leaks(server, seen)
    await server.stop()
    seen.leaks += server.mistakes
    return seen


async def _watch(seen: Seen) -> None:
    """Measure the longest stall of the event loop."""
    while True:
        began = time.monotonic()
        await asyncio.sleep(0.01)
        seen.longest_stall = max(seen.longest_stall, time.monotonic() - began - 0.01)


async def _find_leaks(server: FuzzServer, seen: Seen) -> None:
    until = time.monotonic() + 2
    while (server.connections or server.tasks) and time.monotonic() < until:  # noqa: ASYNC110 - once per run
        await asyncio.sleep(0.001)
    if server.connections:
        seen.leaks.append(f"{len(server.connections)} connections are open")
    tasks = asyncio.all_tasks() - {asyncio.current_task()} - server.tasks
    seen.leaks += [f"a task is left: {task!r}" for task in tasks]


async def _many(client: RoomsClient, plan: Plan, seen: Seen) -> None:
    task = asyncio.current_task()
    assert task is not None
    random = Random(plan.seed + 3)
    closing: list[asyncio.Task[None]] = []

    def disturb() -> None:
        delay = random.uniform(0, 0.05)
        if plan.how == "cancelled":
            asyncio.get_running_loop().call_later(delay, task.cancel)
        elif plan.how == "closed":
            closing.append(asyncio.ensure_future(client.close()))

    source = _Input(plan, seen, disturb)
    items = source.async_items() if plan.is_async_input else source.items()
    results = client.rooms.update_many(items, concurrency=plan.concurrency)
    abort_at = int(plan.disturbed_after * len(plan.updates)) if plan.how == "aborted" else None
    try:
        async for result in results:
            seen.results.append(result)
            if len(seen.results) == abort_at:
                break
            if random.random() < 0.05:
                await asyncio.sleep(random.uniform(0, 0.01))
    except _InputError:
        if plan.how != "input raises":
            raise
    finally:
        await results.aclose()
        await asyncio.gather(*closing)


async def _singles(client: RoomsClient, plan: Plan, seen: Seen) -> None:
    """Make each update with a call of its own, and disturb some of them."""
    random = Random(plan.seed + 3)
    calls = asyncio.Semaphore(plan.concurrency)

    async def call(room_id: str, update: RoomUpdate, limit: float | None) -> None:
        async with calls:
            try:
                async with asyncio.timeout(limit):
                    room = await client.rooms.update(room_id, update)
            except AioroomsError as error:
                status: UpdateStatus = "uncertain" if error.uncertain else "failed"
                seen.results.append(
                    UpdateResult(room_id=room_id, update=update, status=status, error=error, attempts=error.attempts)
                )
            except TimeoutError:
                if limit is None:
                    raise
            else:
                # A successful call does not report its attempts. This is an upper bound: 25 of them may not count.
                attempts = plan.retry.max_attempts + 25
                seen.results.append(
                    UpdateResult(room_id=room_id, update=update, status="updated", room=room, attempts=attempts)
                )

    async with asyncio.TaskGroup() as group:
        for room_id, update in plan.updates:
            task = group.create_task(call(room_id, update, random.uniform(0, 0.1) if random.random() < 0.1 else None))
            if random.random() < 0.1:
                asyncio.get_running_loop().call_later(random.uniform(0, 1), task.cancel)


# --- the checks ---


def mistakes(plan: Plan, seen: Seen) -> list[str]:
    """Compare what the client reported with the ledger, and return what is wrong."""
    wrong = [*seen.leaks]
    is_exact = seen.longest_stall <= _MAX_STALL
    wrong += [
        f"{error!r} was raised"
        for error in seen.errors
        if not (plan.how == "closed" and isinstance(error, ClientStateError))
    ]
    ledger = plan.ledger
    results = [result for result in seen.results if not _is_invalid(result)]
    counts = Counter(_serial(result) for result in results)
    wrong += [f"update {serial} has {count} results" for serial, count in counts.items() if count > 1]
    if plan.how == "complete" and len(results) != len(plan.updates):
        wrong.append(f"{len(results)} results for {len(plan.updates)} updates")
    if plan.how == "complete" and len(seen.results) - len(results) != seen.invalid:
        wrong.append(f"{len(seen.results) - len(results)} results for {seen.invalid} invalid items")
    for result in results:
        if (text := _mistake(result, plan, is_exact=is_exact)) is not None:
            wrong.append(f"update {_serial(result)} of room {result.room_id}: {text}: {result.error!r}")
    for room_id, serials in ledger.applied.items():
        if serials != sorted(serials) and is_exact:
            wrong.append(f"the updates of room {room_id} were applied out of order: {serials}")
    return wrong


def _is_invalid(result: UpdateResult) -> bool:
    return result.update is None or not isinstance(result.update.webhook_event_url, str)


def _serial(result: UpdateResult) -> int:
    assert result.update is not None
    return serial_of(result.update.to_dict())


def _mistake(result: UpdateResult, plan: Plan, *, is_exact: bool) -> str | None:
    """Return what is wrong with a result, or None."""
    ledger = plan.ledger
    serial = _serial(result)
    is_applied = serial in ledger.applied.get(result.room_id, ())
    match result.status:
        case "updated":
            if not is_applied:
                return "it was reported as updated, but was not applied"
            if result.room is None or result.update is None:
                return "it has no room"
            if result.room.max_participants != result.update.max_participants:
                return f"its room has {result.room.max_participants} participants"
        case "failed":
            if is_applied and is_exact:
                return "it was reported as failed, but was applied"
        case "skipped":
            if is_applied and is_exact:
                return "it was reported as skipped, but was applied"
            if ledger.received[serial] and not result.attempts and plan.how != "closed":
                return "it was reported as skipped without an attempt, but was sent"
        case "uncertain":
            pass  # it may be both, and the server may have closed the connection before it read the request
    if isinstance(result.error, AuthenticationError):
        return "it got an answer that belongs to another request"
    if isinstance(result.error, NotFoundError) and result.room_id in ledger.rooms:
        return "it got an answer that belongs to another request"
    # A call that ends because the client is closed may have sent its request over a stale connection before.
    attempts = result.attempts + (plan.how == "closed")
    if attempts and ledger.received[serial] > attempts * (1 + _STALE[plan.own_session]):
        return f"it was received {ledger.received[serial]} times, with {result.attempts} attempts"
    return None


def play(seeds: Sequence[int], updates: int, *, every: int = 0) -> Campaign:
    """Execute a run for each seed, and return the counts over all runs.

    Print a line after every `every` runs, or no lines if `every` is 0. If a check fails, raise a `CheckError`
    with the seed in its message.
    """
    campaign = Campaign()
    for number, seed in enumerate(seeds, 1):
        plan, seen = _run_in_new_loop(seed, updates)
        for _ in range(_REPEATS):
            if seen.longest_stall <= _MAX_STALL:
                break
            campaign.repeated += 1
            plan, seen = _run_in_new_loop(seed, updates)
        if wrong := mistakes(plan, seen):
            raise CheckError(f"run with seed {seed} ({plan.how}): {'; '.join(wrong[:5])}")
        _count(campaign, plan, seen)
        if every and number % every == 0:
            print(f"{number} of {len(seeds)} runs, {campaign.faults.total():,} faults", flush=True)
    return campaign


def _run_in_new_loop(seed: int, updates: int) -> tuple[Plan, Seen]:
    plan = make_plan(seed, updates)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ResourceWarning)
        with asyncio.Runner(loop_factory=_loop_factory(seed)) as runner:
            seen = runner.run(_run(plan))
        gc.collect()
    seen.leaks += [str(warning.message) for warning in caught]
    return plan, seen


def _loop_factory(seed: int) -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return uvloop for every second seed, if it is installed."""
    if seed % 2:
        return None
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def _count(campaign: Campaign, plan: Plan, seen: Seen) -> None:
    results = [result for result in seen.results if not _is_invalid(result)]
    statuses = Counter(result.status for result in results)
    campaign.runs += 1
    campaign.inexact += seen.longest_stall > _MAX_STALL
    campaign.updates += len(plan.updates)
    campaign.updated += statuses["updated"]
    campaign.failed += statuses["failed"]
    campaign.uncertain += statuses["uncertain"]
    campaign.skipped += statuses["skipped"]
    campaign.without_result += len(plan.updates) - len(results)
    campaign.uncertain_applied += sum(
        result.status == "uncertain" and _serial(result) in plan.ledger.applied.get(result.room_id, ())
        for result in results
    )
    campaign.requests += plan.ledger.received.total()
    campaign.faults += plan.ledger.faults


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks fuzz", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_options(parser, runs=500)
    parser.add_argument(
        "--updates", metavar="NUMBER", type=at_least_one, default=300, help="updates in each run (default: 300)"
    )
    options = parser.parse_args(arguments)
    execute(options, lambda seeds: play(seeds, options.updates, every=25), "No wrong outcome, and no leak,")


if __name__ == "__main__":
    main(sys.argv[1:])
