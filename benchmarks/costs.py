"""Measure the CPU time of importing aiorooms, pacing, events that nobody wants, and checks of webhook URLs.

All times are CPU times, user and system. Each is the median over the rounds, with the minimum and the maximum. Updates
run on asyncio's event loop, without orjson. The exit status is 0 even if a target is missed.
"""

import asyncio
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import attrs

from aiorooms import Room, RoomUpdate, Updated
from aiorooms.resources._reports import report_result
from aiorooms.telemetry._telemetry import Telemetry
from aiorooms.webhook_config import check_webhook_url, check_webhook_urls

from . import pacing
from ._contestants import fields_of
from ._runs import (
    Figures,
    Server,
    Spread,
    Target,
    Variant,
    choose_cores,
    make_parser,
    print_environment,
    print_table,
    print_targets,
    spread,
    write_json,
)

IMPORT_TARGET: Final = 1.15
"""Maximum CPU time of `import aiorooms`, as a multiple of that of `import aiohttp`."""

_CHECKS: Final = 10_000
"""Number of calls of each check in one round."""


# --- imports ---

_IMPORTED: Final = ("aiohttp", "aiorooms")

_TIME_IMPORT: Final = """
import os, sys, time
if sys.argv[2]:
    os.sched_setaffinity(0, {int(sys.argv[2])})
started = time.process_time()
__import__(sys.argv[1])
print([started, time.process_time() - started])
"""
"""A script that prints the CPU time of the interpreter's start and that of the import, in seconds."""


@attrs.frozen(kw_only=True)
class Imports:
    """CPU times of imports and of the interpreter's start, in milliseconds."""

    interpreter: Spread
    """Start of the interpreter. It is not included in the times of the imports."""
    aiohttp: Spread
    aiorooms: Spread


def import_times(package: str) -> tuple[float, float]:
    """Import a package in a new interpreter.

    Return the CPU time of the interpreter's start and that of the import, in seconds.
    """
    cores = choose_cores()
    command = [sys.executable, "-I", "-c", _TIME_IMPORT, package, "" if cores is None else str(cores[0])]
    started, imported = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
    return started, imported


def measure_imports(rounds: int) -> tuple[Imports, Target]:
    for package in _IMPORTED:
        import_times(package)  # the first import is not measured, because it writes the bytecode files
    measured = [[import_times(package) for package in _IMPORTED] for _ in range(rounds)]
    aiohttp, aiorooms = ([times[place][1] for times in measured] for place in range(len(_IMPORTED)))
    imports = Imports(
        interpreter=Spread.of([started * 1e3 for times in measured for started, _ in times]),
        aiohttp=Spread.of([seconds * 1e3 for seconds in aiohttp]),
        aiorooms=Spread.of([seconds * 1e3 for seconds in aiorooms]),
    )
    ratios = [ours / theirs for ours, theirs in zip(aiorooms, aiohttp, strict=True)]
    return imports, Target("CPU time: import aiorooms / import aiohttp", Spread.of(ratios), IMPORT_TARGET)


# --- updates with and without pacing, and pacing alone ---


@attrs.frozen(kw_only=True)
class Update:
    """The cost of an update in one row of the table."""

    what: str
    cpu_us: Spread
    """CPU time of the client for one update, in microseconds."""
    more_us: Spread
    """This CPU time minus that of the row "update_many" in the same round, in microseconds."""
    runs: Sequence[Figures]


def measure_updates(rounds: int, count: int) -> list[Update]:
    with Server() as server, Server(rate_limit=True) as limiting:
        settings = {
            "update_many": (server, "update_many"),
            "update_many without pacing": (server, "update_many_unpaced"),
            "update_many, the server reports a rate limit": (limiting, "update_many"),
            "update_many, the same URLs in all rooms": (server, "update_many_same_urls"),
        }
        runs: Mapping[str, list[Figures]] = {what: [] for what in settings}
        for number in range(1, rounds + 1):
            for what, (against, contestant) in settings.items():
                runs[what].append(against.run(Variant(contestant), count))
            print(f"round {number} of {rounds} is done", flush=True)
    first = runs["update_many"]
    return [
        Update(
            what=what,
            cpu_us=spread(figures, "cpu_us"),
            more_us=Spread.of([one.cpu_us - other.cpu_us for one, other in zip(figures, first, strict=True)]),
            runs=figures,
        )
        for what, figures in runs.items()
    ]


def measure_pacer(rounds: int) -> tuple[Mapping[str, Spread], Target]:
    rows = {
        row: Spread.of([asyncio.run(pacing.permit_cost(limited)) for _ in range(rounds)])
        for row, limited in ((pacing.COST_UNLIMITED, False), (pacing.COST_LIMITED, True))
    }
    return rows, Target(pacing.COST_UNLIMITED, rows[pacing.COST_UNLIMITED], pacing.COST_TARGET, " µs")


# --- events and logs that nobody wants ---

UNOBSERVED_TARGET: Final = 1.0
"""Maximum CPU time for each update, in microseconds, if there is no `on_event` and no handler for log lines."""

_UNOBSERVED: Final = "events and logs of an update, if nobody wants them"


def measure_unobserved(rounds: int) -> tuple[Mapping[str, Spread], Target]:
    """Return the CPU time of the calls by which an update of `update_many` finds out that nobody wants its events."""
    telemetry = Telemetry()
    result = Updated(room_id="id", update=None, room=Room(id="id"))
    times: list[float] = []
    for _ in range(rounds):
        began = time.process_time()
        for _ in range(_CHECKS):
            pass
        middle = time.process_time()
        for _ in range(_CHECKS):
            _ = telemetry.wants_attempts  # once for each call, before its first attempt
            report_result(telemetry, result)
        times.append((time.process_time() - middle - (middle - began)) / _CHECKS * 1e6)
    found = Spread.of(times)
    return {_UNOBSERVED: found}, Target(f"CPU time: {_UNOBSERVED}", found, UNOBSERVED_TARGET, " µs")


# --- checking URLs ---

PAIR_TARGET: Final = 4.0
"""Maximum CPU time to check a pair of plain URLs, in microseconds."""
BAD_TARGET: Final = 100.0
"""Maximum CPU time to check an invalid URL, in microseconds."""

_PAIR: Final = "check_webhook_urls, two new URLs each time"
_BAD: Final = "check_webhook_url, a new invalid URL each time"
_WORST: Final = "check_webhook_url, a new URL with four problems each time"


def check_pair(room: str, failover_host: str = "failover.example.com") -> None:
    found = check_webhook_urls(
        f"https://hooks.example.com/telnyx/rooms/{room}", f"https://{failover_host}/telnyx/failover/{room}"
    )
    assert not found


def measure_checks(rounds: int) -> tuple[dict[str, Spread], list[Target]]:
    """Return the CPU time of each check, in microseconds, and the targets."""
    checks: dict[str, Callable[[str], object]] = {
        _PAIR: check_pair,
        "check_webhook_urls, two new URLs with the same host": lambda room: check_pair(room, "hooks.example.com"),
        "check_webhook_url, a new host each time": lambda room: check_webhook_url(f"https://{room}.example.com/rooms"),
        _BAD: lambda room: check_webhook_url(f"hooks.example.com/{room}"),
        _WORST: lambda room: check_webhook_url(f"ftp://x..io:99999/{room}#top"),
        "RoomUpdate, five fields, two new URLs each time": lambda room: RoomUpdate(**fields_of(int(room))),
        "RoomUpdate, five fields, the same URLs each time": lambda room: RoomUpdate(
            **fields_of(int(room), same_urls=True)
        ),
    }
    measured: dict[str, list[float]] = {what: [] for what in checks}
    numbers = itertools.count()
    for _ in range(rounds):
        for what, check in checks.items():
            rooms = [str(next(numbers)) for _ in range(_CHECKS)]
            began = time.process_time()
            for room in rooms:
                check(room)
            measured[what].append((time.process_time() - began) / _CHECKS * 1e6)
    found = {what: Spread.of(times) for what, times in measured.items()}
    targets = [
        Target(f"CPU time: {what}", found[what], maximum, " µs")
        for what, maximum in ((_PAIR, PAIR_TARGET), (_BAD, BAD_TARGET), (_WORST, BAD_TARGET))
    ]
    return found, targets


# --- the benchmark ---


@attrs.frozen(kw_only=True)
class Costs:
    rounds: int
    count: int
    imports: Imports
    updates: Sequence[Update]
    pacer: Mapping[str, Spread]
    """CPU time to acquire and release one permit, in microseconds."""
    unobserved: Mapping[str, Spread]
    """CPU time of events and logs that nobody wants, in microseconds."""
    checks: Mapping[str, Spread]
    """CPU time of one check, in microseconds."""
    bars: Sequence[Target]


def main(arguments: Sequence[str]) -> None:
    options = make_parser("costs", __doc__, rounds=11).parse_args(arguments)
    print_environment()
    imports, import_target = measure_imports(options.rounds)
    checks, check_targets = measure_checks(options.rounds)
    pacer, pacer_target = measure_pacer(options.rounds)
    unobserved, unobserved_target = measure_unobserved(options.rounds)
    updates = measure_updates(options.rounds, options.count)
    found = Costs(
        rounds=options.rounds,
        count=options.count,
        imports=imports,
        updates=updates,
        pacer=pacer,
        unobserved=unobserved,
        checks=checks,
        bars=[import_target, pacer_target, unobserved_target, *check_targets],
    )
    rows = [
        ("start of the interpreter", imports.interpreter),
        ("import aiohttp", imports.aiohttp),
        ("import aiorooms", imports.aiorooms),
    ]
    print_table(("operation", "CPU ms"), [(what, figure.text()) for what, figure in rows])
    print_table(
        ("operation", "CPU µs"), [(what, figure.text(2)) for what, figure in {**pacer, **unobserved, **checks}.items()]
    )
    head = ("variant", "CPU µs per update", "difference from update_many")
    print_table(head, [(row.what, row.cpu_us.text(), row.more_us.text()) for row in updates])
    print_targets(found.bars)
    if options.json is not None:
        write_json(options.json, found)
