"""Measure how well a client uses various rate limits, and the CPU time of pacing.

For each row of the table, the simulator and each client run in separate processes, and communicate over sockets. Every
update sets five fields, and every room gets its own webhook URL and failover URL. At the end, the values on the server
are checked. When the clients start, no request counts against the limit yet. All times are measured from the start of
the clients. If the official SDK (`telnyx`) is installed, it runs some of the rows too, with 50 tasks and its own
retries. The columns of the table are

- failed, unc., skip.: numbers of failed, uncertain and skipped updates;
- wrong: number of rooms on the server that don't have the wanted values;
- 429s: share of the requests that were rate limited;
- time, ideal, ratio: duration of the run, the minimum duration that the limit allows, and time / ideal;
- target, met: the targets of aiorooms, and whether they were met, or else which ones were missed.

Rows with several clients are measured with Redis, through which the clients share the limit, and without it.

Below the table, several processes start one second after another, and share the limit for 12 s, with a latency of 30 to
80 ms. Each line shows the updates of each process in the last half of this time. The targets are at least 60 % of an
equal share for each process, 90 % of the limit used, and at most 3 % 429s, or 12 % if the server reports no limit.

Then follow faults of the store (`_store_faults`), a lone single call beside the bulk run of another process, and the
CPU time of pacing for one update. That of sharing is what it costs more than pacing alone, with Redis.

The exit status is 0 even if a target is missed.
"""

import argparse
import asyncio
import contextlib
import importlib
import importlib.metadata
import importlib.util
import json
import platform
import statistics
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from multiprocessing import connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Final, Literal, cast

import attrs
from multidict import CIMultiDict, CIMultiDictProxy

from aiorooms import APIConnectionError, Pacing, RedisPacing, RoomsClient, RoomUpdate
from aiorooms._pacing import Pacer, read_rate_limit
from aiorooms.simulator import RateLimit, RoomsSimulator, Stats

from ._contestants import fields_of
from ._redis_server import redis_server
from ._servers import Action, Pipe, Server, Wanted, close_port, count_wrong, end, open_port, set_limit, start, stats_of
from ._store_faults import FAULTS, SINGLE, Fault, FaultFigures, measure_fault, measure_single, single_text
from ._store_faults import HEAD as FAULT_HEAD
from ._store_faults import line as fault_line

WORKERS: Final = 50

GRACE: Final = 60.0
"""Clients that still run after 4 times the ideal time plus this number of seconds are stopped."""

INSTALL: Final = "python -m pip install telnyx"

# --- a client's process ---


@attrs.define
class Report:
    """The result of a client's run."""

    outcomes: Counter[str] = attrs.Factory(Counter[str])
    """Number of updates by status. Any exception of the official SDK counts as `failed`."""
    errors: Counter[str] = attrs.Factory(Counter[str])
    """Number of errors by class name."""
    seconds: float = 0.0


def run_client(
    pipe: Pipe, client: Literal["aiorooms", "telnyx"], url: str, key: str, wanted: Wanted, store: str | None
) -> None:
    def wait_for_start() -> None:
        # Blocking the event loop does no harm here, because nothing else is running yet.
        pipe.send(None)
        pipe.recv()

    update_all = partial(with_aiorooms, store=store) if client == "aiorooms" else with_telnyx
    pipe.send(asyncio.run(update_all(url, key, wanted, wait_for_start)))


async def with_aiorooms(
    url: str, key: str, wanted: Wanted, wait_for_start: Callable[[], None], *, store: str | None = None
) -> Report:
    report = Report()
    pacing = Pacing(shared=None if store is None else RedisPacing(store))
    async with RoomsClient(key, base_url=url, pacing=pacing) as client:
        wait_for_start()
        began = time.monotonic()
        updates = ((room_id, RoomUpdate(**fields)) for room_id, fields in wanted)
        async for result in client.rooms.update_many(updates, concurrency=WORKERS):
            report.outcomes[result.status] += 1
            if result.error is not None:
                report.errors[type(result.error).__name__] += 1
        report.seconds = time.monotonic() - began
    return report


async def with_telnyx(url: str, key: str, wanted: Wanted, wait_for_start: Callable[[], None]) -> Report:
    # The package is optional. Type checkers would report a plain import as missing.
    sdk = importlib.import_module("telnyx")
    report = Report()
    todo = iter(wanted)

    async def work() -> None:
        for room_id, fields in todo:
            try:
                await client.rooms.update(room_id, **fields)
            except Exception as error:  # noqa: BLE001 - any exception means that the room was not updated
                report.outcomes["failed"] += 1
                report.errors[type(error).__name__] += 1
            else:
                report.outcomes["updated"] += 1

    async with sdk.AsyncTelnyx(api_key=key, base_url=url) as client:
        wait_for_start()
        began = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            for _ in range(WORKERS):
                tasks.create_task(work())
        report.seconds = time.monotonic() - began
    return report


# --- the rows ---


@attrs.frozen
class Row:
    """One row of the table: what to measure, and the targets."""

    name: str
    limit: RateLimit
    ideal: float
    """Minimum duration that the limit allows, in seconds. An outage of the server is not included."""
    max_seconds: float | None
    max_rate_limited: float | None
    """Maximum share of rate limited requests, in percent of the requests that the server received."""
    updates: int = 1000
    clients: int = 1
    events: tuple[tuple[float, Action[None]], ...] = ()
    """Changes to the simulator. Each is a pair: seconds after the start, and the function to call."""
    official_sdk_too: bool = False
    """Whether the official SDK runs the row too."""
    with_store: bool = False
    """Whether the clients share the limit through Redis."""

    @property
    def target(self) -> str:
        targets = ["0 failed"]
        if self.max_rate_limited is not None:
            targets.append(f"≤{self.max_rate_limited:g}% 429s")
        if self.max_seconds is not None:
            targets.append(f"≤{self.max_seconds:.2f} s (x{self.max_seconds / self.ideal:.2f})")
        return ", ".join(targets)


def ideal(updates: int, *limits: tuple[int, int]) -> float:
    """Return the minimum duration of `updates` updates, in seconds.

    Each of `limits` is a pair: the second in which the limit starts, and the requests per second that it allows. An
    ideal client sends as many requests as possible at the start of each second. So 1000 updates at 100 per second take
    only 9 s: the first 100 are sent at 0 s, and the last 100 at 9 s. A sliding window that starts empty and a token
    bucket that starts full allow the same.

    A new limit starts with its full allowance. For example, a limit of 100 is cut to 40 at 3 s and restored at 6 s. By
    10 s, 3 * 100 requests (at 0 to 2 s) + 3 * 40 (at 3 to 5 s) + 5 * 100 (at 6 to 10 s) = 920 were sent. The last 80 of
    1000 updates are sent at 11 s.
    """
    second = 0
    while True:
        updates -= next(limit for since, limit in reversed(limits) if second >= since)
        if updates <= 0:
            return float(second)
        second += 1


def make_rows() -> list[Row]:
    nine = ideal(1000, (0, 100))
    cut = ideal(1000, (0, 100), (3, 40), (6, 100))
    slow = ideal(500, (0, 20))
    fraction = RateLimit(100, reset_rounding="fractional")
    silent = RateLimit(100, headers=False)
    return [
        Row("fixed window, reset fractional", fraction, nine, nine * 1.10, 1),
        Row("fixed window, reset rounded up", RateLimit(100), nine, nine * 1.25, 1, official_sdk_too=True),
        Row("fixed window, reset rounded down", attrs.evolve(fraction, reset_rounding="down"), nine, nine * 1.10, 1),
        Row("sliding window", attrs.evolve(fraction, kind="sliding"), nine, nine * 1.15, 2),
        Row("token bucket", attrs.evolve(fraction, kind="bucket"), nine, nine * 1.15, 2),
        Row(
            "limit cut to 40 at 3 s, back at 6 s",
            fraction,
            cut,
            cut * 1.20,
            3,
            events=(
                (3.0, partial(set_limit, attrs.evolve(fraction, limit=40))),
                (6.0, partial(set_limit, fraction)),
            ),
        ),
        Row("no headers, 429 without Retry-After", silent, nine, nine * 1.6, 10, official_sdk_too=True),
        # The targets are the same as without Retry-After.
        Row("no headers, 429 with Retry-After", attrs.evolve(silent, retry_after="seconds"), nine, nine * 1.6, 10),
        Row(
            "20 per second, 500 updates",
            attrs.evolve(fraction, limit=20),
            slow,
            slow * 1.10,
            1,
            updates=500,
            official_sdk_too=True,
        ),
        Row(
            "server unreachable from 4 s to 14 s",
            fraction,
            nine,
            nine + 13,
            None,
            events=((4.0, close_port), (14.0, open_port)),
        ),
        Row("four processes, 250 updates each", fraction, nine, None, 5, clients=4),
        *make_shared_rows(),
    ]


def make_shared_rows() -> list[Row]:
    """Return the rows of clients that share a limit, with Redis and without, side by side.

    1,950 updates are 19.5 windows. With a whole number of windows, a single update that misses its window would make
    the run longer by a whole one.
    """
    limits = [
        ("fixed, exact reset", RateLimit(100, reset_rounding="fractional"), 1.05, 0.5),
        ("fixed, rounded up", RateLimit(100), 1.05, 0.5),
        ("fixed, rounded down", RateLimit(100, reset_rounding="down"), 1.05, 0.5),
        ("sliding", RateLimit(100, reset_rounding="fractional", kind="sliding"), 1.05, 1),
        ("bucket", RateLimit(100, reset_rounding="fractional", kind="bucket"), 1.05, 1),
        ("no headers", RateLimit(100, headers=False), 1.15, 3),
    ]
    updates = 1950
    shortest = ideal(updates, (0, 100))
    return [
        Row(
            f"{clients} clients{'+Redis' if with_store else ''}, {name}",
            limit,
            shortest,
            ratio * shortest if with_store else None,
            percent if with_store else None,
            updates=updates,
            clients=clients,
            with_store=with_store,
        )
        for clients in (2, 4, 40)
        for name, limit, ratio, percent in limits
        for with_store in (True, False)
    ]


# --- measuring a row ---


@attrs.frozen(kw_only=True)
class Result:
    """The result of one client in one row."""

    row: str
    client: str
    updates: int
    outcomes: dict[str, int]
    lost: int
    """Updates without an outcome, because their client crashed or did not finish in time."""
    errors: dict[str, int]
    wrong_rooms: int
    """Rooms on the server that don't have the wanted values."""
    requests: int
    rate_limited: int
    rate_limited_percent: float
    connections: int
    seconds: float
    ideal: float
    ratio: float
    bar: str | None
    missed: list[str] | None
    """The missed targets; None if the client has no targets."""


def begin_together(server: Server, limit: RateLimit, started: Sequence[tuple[Pipe, SpawnProcess]]) -> list[Pipe]:
    """When all processes are ready, set the limit, and let them begin. Return their pipes."""
    pipes = [pipe for pipe, _ in started]
    for pipe in pipes:
        pipe.recv()
    server.ask(partial(set_limit, limit))
    for pipe in pipes:
        pipe.send(None)
    return pipes


def measure(row: Row, client: Literal["aiorooms", "telnyx"]) -> Result:
    with Server(row.updates) as server, contextlib.ExitStack() as stack:
        store = None
        if row.with_store:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            store = stack.enter_context(redis_server(folder))
        wanted = [(room_id, fields_of(number)) for number, room_id in enumerate(server.room_ids)]
        started = [
            start(run_client, client, server.url, server.key, wanted[number :: row.clients], store)
            for number in range(row.clients)
        ]
        pipes = begin_together(server, row.limit, started)
        reports, seconds = collect(pipes, row, server)
        for pipe, process in started:
            if len(reports) < row.clients:
                process.terminate()
            end(process)
            pipe.close()
        stats, wrong_rooms = server.ask(stats_of), server.ask(partial(count_wrong, wanted))
        return summary(row, client, reports, seconds, stats, wrong_rooms)


def collect(pipes: Sequence[Pipe], row: Row, server: Server) -> tuple[list[Report], float]:
    """Wait for the clients, and make the row's changes to the simulator in the meantime.

    Return the reports, and the duration of the run in seconds.
    """
    began = time.monotonic()
    deadline = began + 4 * row.ideal + GRACE
    events = deque(row.events)
    reports: list[Report] = []
    pending = list(pipes)
    while pending and time.monotonic() < deadline:
        until = began + events[0][0] if events else deadline
        for pipe in connection.wait(pending, max(0.0, until - time.monotonic())):
            assert isinstance(pipe, connection.Connection)
            pending.remove(pipe)
            try:
                reports.append(pipe.recv())
            except EOFError:
                print(f"a client of {row.name!r} crashed", file=sys.stderr)
        if events and time.monotonic() >= began + events[0][0]:
            server.ask(events.popleft()[1])
    if len(reports) < row.clients:
        return reports, time.monotonic() - began
    # The clients' own times exclude closing the clients and sending the reports.
    return reports, max(report.seconds for report in reports)


def summary(
    row: Row,
    client: Literal["aiorooms", "telnyx"],
    reports: Sequence[Report],
    seconds: float,
    stats: Stats,
    wrong_rooms: int,
) -> Result:
    outcomes = sum((report.outcomes for report in reports), Counter[str]())
    rate_limited_percent = 100 * stats.refused / max(1, stats.requests)
    missed: list[str] = []
    if outcomes["updated"] < row.updates or wrong_rooms:
        missed.append("failed")
    if row.max_rate_limited is not None and rate_limited_percent > row.max_rate_limited:
        missed.append("429s")
    if row.max_seconds is not None and seconds > row.max_seconds:
        missed.append("time")
    return Result(
        row=row.name,
        client=client,
        updates=row.updates,
        outcomes=outcomes,
        lost=row.updates - outcomes.total(),
        errors=sum((report.errors for report in reports), Counter[str]()),
        wrong_rooms=wrong_rooms,
        requests=stats.requests,
        rate_limited=stats.refused,
        rate_limited_percent=rate_limited_percent,
        connections=stats.connections,
        seconds=seconds,
        ideal=row.ideal,
        ratio=seconds / row.ideal,
        bar=row.target if client == "aiorooms" else None,
        missed=missed if client == "aiorooms" else None,
    )


# --- processes that start one after another ---


@attrs.frozen
class Crowd:
    """Processes with one key, which start one after another and send single updates in loops."""

    name: str
    limit: RateLimit
    clients: int

    @property
    def max_rate_limited(self) -> float:
        """Maximum share of rate limited requests, in percent."""
        return 3 if self.limit.headers else 12


@attrs.frozen(kw_only=True)
class Shared:
    """How a crowd shared the limit in the last half of the time that all processes ran."""

    row: str
    updates: list[int]
    """Accepted updates of each process, in the order of their starts."""
    smallest: float
    """The smallest share of a process, as a fraction of an equal share."""
    used: float
    """Accepted updates as a fraction of what the limit allows."""
    rate_limited_percent: float
    """Over the whole run."""
    failed: int
    missed: list[str]


LOOPS: Final = 30
APART: Final = 1.0
"""Seconds between the starts of two processes."""
TOGETHER: Final = 12.0
"""Seconds for which all processes run."""
LATENCY: Final = (0.03, 0.08)
MIN_SHARE: Final = 0.6
MIN_USED: Final = 0.9


def make_crowds() -> list[Crowd]:
    kinds: tuple[Literal["fixed", "sliding", "bucket"], ...] = ("fixed", "sliding", "bucket")
    crowds = [
        Crowd(f"{count} processes, {kind}", RateLimit(100, kind=kind), count) for kind in kinds for count in (2, 3)
    ]
    crowds.append(Crowd("3 processes, fixed, exact reset", RateLimit(50, reset_rounding="fractional"), 3))
    crowds += [Crowd(f"2 processes, {kind}, no headers", RateLimit(100, headers=False, kind=kind), 2) for kind in kinds]
    return crowds


def set_latency(sim: RoomsSimulator) -> None:
    sim.latency = LATENCY


def run_loops(pipe: Pipe, url: str, key: str, room_ids: list[str], wait: float, until: float) -> None:
    pipe.send(None)
    pipe.recv()
    pipe.send(asyncio.run(loop_updates(url, key, room_ids, wait, until)))


async def loop_updates(url: str, key: str, room_ids: list[str], wait: float, until: float) -> tuple[int, int]:
    """Update rooms in loops. Return the number of updates in the last half of the common time, and of failures."""
    began = time.monotonic()
    await asyncio.sleep(wait)
    counted = failed = 0
    rooms = iter(range(10**9))

    async def loop() -> None:
        nonlocal counted, failed
        while time.monotonic() < began + until:
            number = next(rooms)
            try:
                await client.rooms.update(room_ids[number % len(room_ids)], **fields_of(number))
            except APIConnectionError:
                failed += 1
            else:
                counted += began + until - TOGETHER / 2 <= time.monotonic() < began + until

    async with RoomsClient(key, base_url=url) as client, asyncio.TaskGroup() as tasks:
        for _ in range(LOOPS):
            tasks.create_task(loop())
    return counted, failed


def measure_crowd(crowd: Crowd) -> Shared:
    until = (crowd.clients - 1) * APART + TOGETHER
    with Server(100 * crowd.clients) as server:
        server.ask(set_latency)
        started = [
            start(run_loops, server.url, server.key, server.room_ids[number :: crowd.clients], number * APART, until)
            for number in range(crowd.clients)
        ]
        pipes = begin_together(server, crowd.limit, started)
        counts = [cast("tuple[int, int]", pipe.recv()) for pipe in pipes]
        for pipe, process in started:
            end(process)
            pipe.close()
        stats = server.ask(stats_of)
    updates = [counted for counted, _ in counts]
    smallest = min(updates) * len(updates) / max(1, sum(updates))
    used = sum(updates) / (crowd.limit.limit * TOGETHER / 2 / crowd.limit.window)
    percent = 100 * stats.refused / max(1, stats.requests)
    missed = [
        name
        for name, is_missed in (
            ("share", smallest < MIN_SHARE),
            ("use", used < MIN_USED),
            ("429s", percent > crowd.max_rate_limited),
        )
        if is_missed
    ]
    return Shared(
        row=crowd.name,
        updates=updates,
        smallest=smallest,
        used=used,
        rate_limited_percent=percent,
        failed=sum(failed for _, failed in counts),
        missed=missed,
    )


def crowd_line(shared: Shared) -> str:
    updates = " ".join(map(str, shared.updates))
    return (
        f"{shared.row:<37}updates {updates:<15} smallest share {shared.smallest:.2f}  used {shared.used:.2f}"
        f"  429s {shared.rate_limited_percent:.1f} %  failed {shared.failed}"
        f"  {'NO: ' + ', '.join(shared.missed) if shared.missed else 'yes'}"
    )


# --- the CPU time of pacing ---


@attrs.frozen(kw_only=True)
class Cost:
    """The CPU time of pacing for one update, in microseconds."""

    row: str
    microseconds: float
    """The median of `runs`."""
    runs: list[float]
    bar: float | None


COST_UNLIMITED: Final = "cost of pacing, no limit reported"
COST_LIMITED: Final = "cost of pacing, limit reported"
COST_SHARED: Final = "cost of pacing, shared, leases of {}"
COST_TARGET: Final = 3.0
"""Maximum CPU time in the row `COST_UNLIMITED`, in microseconds."""

_COST_RUNS: Final = 15
_COST_UPDATES: Final = 20_000
_PLENTY: Final = 1_000_000_000


_LEASES: Final = (10, 50)
_SHARED_RUNS: Final = 5
_SHARED_UPDATES: Final = 10_000
_SHARED_TARGET: Final = 20.0
_OPERATION: Final = "PATCH /rooms/{room_id}"


def measure_shared_cost(lease: int) -> Cost:
    """Measure what sharing costs more than pacing alone. As many callers as a lease has permits wait together."""
    runs: list[float] = []
    with tempfile.TemporaryDirectory() as folder, redis_server(Path(folder)) as url:
        for _ in range(_SHARED_RUNS):
            alone, shared = (asyncio.run(waiting_cost(store, lease)) for store in (None, RedisPacing(url)))
            runs.append(shared - alone)
    target = _SHARED_TARGET if lease == _LEASES[0] else None
    return Cost(row=COST_SHARED.format(lease), microseconds=statistics.median(runs), runs=runs, bar=target)


async def waiting_cost(shared: RedisPacing | None, callers: int) -> float:
    """Return the CPU time to acquire and release a permit, in microseconds."""
    pacer = Pacer(Pacing(), max_in_flight=100, store=None if shared is None else shared.store("0"))
    used = 0.0
    for count in (1000, _SHARED_UPDATES):  # the first 1000 complete slow start
        heads = iter([answer_head(number, True) for number in range(count)])

        async def call(heads: Iterator[CIMultiDictProxy[str]] = heads) -> None:
            for head in heads:
                permit = pacer.acquire_now("low", _OPERATION) or await pacer.acquire("low", _OPERATION)
                await asyncio.sleep(0)
                pacer.release(permit, read_rate_limit(head, rate_limited=False))

        began = time.process_time()
        async with asyncio.TaskGroup() as tasks:
            for _ in range(callers):
                tasks.create_task(call())
        used = time.process_time() - began
    pacer.close()
    await pacer.leave()
    return used / _SHARED_UPDATES * 1e6


def measure_cost(row: str) -> Cost:
    limited = row == COST_LIMITED
    runs = [asyncio.run(permit_cost(limited)) for _ in range(_COST_RUNS)]
    return Cost(row=row, microseconds=statistics.median(runs), runs=runs, bar=None if limited else COST_TARGET)


async def permit_cost(limited: bool) -> float:
    """Return the CPU time to acquire and release a permit without waiting, in microseconds."""
    pacer = Pacer(Pacing(), max_in_flight=100)
    answers = [answer_head(number, limited) for number in range(_COST_UPDATES + 1000)]
    # The first 1000 answers complete slow start, in which the pacer limits the number of requests in flight.
    for head in answers[:1000]:
        pacer.release(await pacer.acquire(), read_rate_limit(head, rate_limited=False))
    answers = answers[1000:]
    began = time.process_time()
    for head in answers:
        pacer.release(await pacer.acquire(), read_rate_limit(head, rate_limited=False))
    used = time.process_time() - began
    began = time.process_time()
    for _head in answers:
        pass
    used -= time.process_time() - began
    return used / _COST_UPDATES * 1e6


def answer_head(number: int, limited: bool) -> CIMultiDictProxy[str]:
    head = CIMultiDict({"Content-Type": "application/json; charset=utf-8", "x-request-id": f"{number:032x}"})
    if limited:
        # The limit is so high that no request has to wait.
        head["x-ratelimit-limit"] = str(_PLENTY)
        head["x-ratelimit-remaining"] = str(_PLENTY - 1 - number)
        head["x-ratelimit-reset"] = "59.500000"
    head.update({"Date": "Thu, 01 Oct 2026 12:00:00 GMT", "Content-Length": "612", "Connection": "keep-alive"})
    return CIMultiDictProxy(head)


# --- the table ---

_HEAD: Final = (
    f"{'row':<37}{'client':<9}{'failed':>7}{'unc.':>6}{'skip.':>6}{'wrong':>6}{'429s':>9}{'time':>8}{'ideal':>7}"
    f"{'ratio':>7}  {'target':<42}met"
)


def line(result: Result) -> str:
    failed, uncertain, skipped = (result.outcomes.get(status, 0) for status in ("failed", "uncertain", "skipped"))
    text = (
        f"{result.row:<37}{result.client:<9}{failed:>7}{uncertain:>6}{skipped:>6}{result.wrong_rooms:>6}"
        f"{result.rate_limited_percent:>8.2f}%{result.seconds:>7.2f}s{result.ideal:>6.0f}s{result.ratio:>7.2f}"
    )
    if result.missed is not None:
        text += f"  {result.bar:<42}{'NO: ' + ', '.join(result.missed) if result.missed else 'yes'}"
    if result.lost:
        text += f"\n{'':<37}no outcome for {result.lost} updates"
    if result.errors:
        text += f"\n{'':<37}errors: " + ", ".join(f"{count} {name}" for name, count in result.errors.items())
    return text


def cost_line(cost: Cost) -> str:
    text = f"{cost.row:<38}{cost.microseconds:.2f} µs CPU per update ({min(cost.runs):.2f} to {max(cost.runs):.2f})"
    if cost.bar is not None:
        text += f", target at most {cost.bar:g} µs: {'met' if cost.microseconds <= cost.bar else 'MISSED'}"
    return text


def main(arguments: Sequence[str]) -> None:
    rows = make_rows()
    crowds = make_crowds()
    costs = [COST_UNLIMITED, COST_LIMITED]
    shared_costs = {COST_SHARED.format(lease): lease for lease in _LEASES}
    faults: dict[str, Fault] = {f"fault: {fault}": fault for fault in FAULTS}
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks pacing",
        description=__doc__,
        epilog="rows:\n  "
        + "\n  ".join(
            [*(row.name for row in rows), *(crowd.name for crowd in crowds), *faults, SINGLE, *costs, *shared_costs]
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--only", metavar="NAME", default="", help="run only the rows with NAME in their names (default: all)"
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="also write the figures to this file")
    options = parser.parse_args(arguments)
    only, file = cast("str", options.only), cast("Path | None", options.json)
    rows = [row for row in rows if only in row.name]
    crowds = [crowd for crowd in crowds if only in crowd.name]
    costs = [name for name in costs if only in name]
    shared_costs = {name: lease for name, lease in shared_costs.items() if only in name}
    faults = {name: fault for name, fault in faults.items() if only in name}
    if not (rows or crowds or costs or shared_costs or faults or only in SINGLE):
        parser.error(f"no row has {only!r} in its name; --help lists the rows")

    has_telnyx = importlib.util.find_spec("telnyx") is not None
    versions = {"python": platform.python_version(), "aiorooms": importlib.metadata.version("aiorooms")}
    if has_telnyx:
        versions["telnyx"] = importlib.metadata.version("telnyx")
    print(", ".join(f"{name} {version}" for name, version in versions.items()))
    results: list[Result] = []
    if rows:
        print(_HEAD)
    for row in rows:
        results.append(measure(row, "aiorooms"))
        print(line(results[-1]), flush=True)
        if row.official_sdk_too and has_telnyx:
            results.append(measure(row, "telnyx"))
            print(line(results[-1]), flush=True)
    if not has_telnyx and any(row.official_sdk_too for row in rows):
        print(f"The official SDK is not installed and was skipped; to include it: {INSTALL}")
    shared: list[Shared] = []
    for crowd in crowds:
        shared.append(measure_crowd(crowd))
        print(crowd_line(shared[-1]), flush=True)
    fault_figures: list[FaultFigures] = []
    if faults:
        print(FAULT_HEAD)
    for fault in faults.values():
        fault_figures.append(measure_fault(fault))
        print(fault_line(fault_figures[-1]), flush=True)
    waits = measure_single() if only in SINGLE else []
    if waits:
        print(f"{SINGLE:<38}{single_text(waits)}", flush=True)
    measured_costs = [measure_cost(name) for name in costs]
    measured_costs += [measure_shared_cost(lease) for lease in shared_costs.values()]
    for cost in measured_costs:
        print(cost_line(cost))
    if file is not None:
        figures = {
            "versions": versions,
            "rows": [attrs.asdict(result) for result in results],
            "shared": [attrs.asdict(each) for each in shared],
            "faults": [attrs.asdict(each) for each in fault_figures],
            "single": waits,
            "costs": [attrs.asdict(cost) for cost in measured_costs],
        }
        file.write_text(json.dumps(figures, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
