"""Cost of the import, of pacing, and of checking a webhook URL.

Times are CPU times (user and system): the median over the rounds, with the minimum and the maximum. Updates run on
asyncio's loop without orjson. A missed target is only reported: the exit status stays 0.
"""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import attrs

from aiorooms import InvalidRequestError, RoomUpdate
from aiorooms.webhook_config import check_webhook_url

from . import pacing
from ._contestants import FAILOVER_URL, WEBHOOK_URL
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

IMPORT_TARGET: Final = 1.2

_CHECKS: Final = 10_000
"""Number of URLs that each URL check is timed on in one round."""


# --- importing ---

_IMPORTED: Final = ("aiohttp", "aiorooms")

_TIME_IMPORT: Final = """
import os, sys, time
if sys.argv[2]:
    os.sched_setaffinity(0, {int(sys.argv[2])})
started = time.process_time()
__import__(sys.argv[1])
print([started, time.process_time() - started])
"""
"""Prints two CPU times in seconds: of the start of the interpreter, and of the import."""


@attrs.frozen(kw_only=True)
class Imports:
    """CPU times in milliseconds."""

    interpreter: Spread
    """Start of the interpreter. The other times don't include it."""
    aiohttp: Spread
    aiorooms: Spread


def import_times(package: str) -> tuple[float, float]:
    """Import a package in a new interpreter. Return two CPU times in seconds: of its start, and of the import."""
    cores = choose_cores()
    command = [sys.executable, "-I", "-c", _TIME_IMPORT, package, "" if cores is None else str(cores[0])]
    started, imported = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
    return started, imported


def measure_imports(rounds: int) -> tuple[Imports, Target]:
    for package in _IMPORTED:
        import_times(package)  # not measured: it writes the bytecode files
    measured = [[import_times(package) for package in _IMPORTED] for _ in range(rounds)]
    aiohttp, aiorooms = ([times[place][1] for times in measured] for place in range(len(_IMPORTED)))
    imports = Imports(
        interpreter=Spread.of([started * 1e3 for times in measured for started, _ in times]),
        aiohttp=Spread.of([seconds * 1e3 for seconds in aiohttp]),
        aiorooms=Spread.of([seconds * 1e3 for seconds in aiorooms]),
    )
    ratios = [ours / theirs for ours, theirs in zip(aiorooms, aiohttp, strict=True)]
    return imports, Target("import aiorooms against import aiohttp", Spread.of(ratios), IMPORT_TARGET)


# --- pacing, within an update and alone ---


@attrs.frozen(kw_only=True)
class Update:
    """The cost of an update in one setting."""

    what: str
    cpu_us: Spread
    """CPU time of the client for one update, in microseconds."""
    more_us: Spread
    """CPU time minus the CPU time with the first setting in the same round, in microseconds."""
    runs: Sequence[Figures]


def measure_updates(rounds: int, count: int) -> list[Update]:
    with Server() as server, Server(rate_limit=True) as limiting:
        settings = {
            "update_many": (server, "update_many"),
            "without pacing": (server, "update_many_unpaced"),
            "the server reports a rate limit": (limiting, "update_many"),
            "another webhook URL for each room": (server, "update_many_different_urls"),
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


# --- checking a webhook URL ---


def invalid_update(url: str) -> None:
    try:
        RoomUpdate(webhook_event_url=url)
    except InvalidRequestError:
        return
    raise AssertionError(f"{url} passed the check")


def room_update(url: str) -> None:
    RoomUpdate(max_participants=20, webhook_event_url=url, webhook_event_failover_url=FAILOVER_URL)


def measure_checks(rounds: int) -> dict[str, Spread]:
    """Return the CPU time of each check, in microseconds."""
    good, bad = f"{WEBHOOK_URL}/{{}}", "hooks.example.com/{}"
    checks: dict[str, tuple[Callable[[str], object], str]] = {
        "check_webhook_url, seen before": (check_webhook_url, WEBHOOK_URL),
        "check_webhook_url, never seen": (check_webhook_url, good),
        "check_webhook_url, never seen and bad": (check_webhook_url, bad),
        "RoomUpdate, URLs seen before": (room_update, WEBHOOK_URL),
        "RoomUpdate, another URL each": (room_update, good),
        "RoomUpdate, refused for its URL": (invalid_update, bad),
    }
    measured: dict[str, list[float]] = {what: [] for what in checks}
    for number in range(rounds):
        for place, (what, (check, url)) in enumerate(checks.items()):
            urls = [url.format(f"{number}/{place}/{one}") for one in range(_CHECKS)]
            began = time.process_time()
            for one in urls:
                check(one)
            measured[what].append((time.process_time() - began) / _CHECKS * 1e6)
    return {what: Spread.of(times) for what, times in measured.items()}


# --- the benchmark ---


@attrs.frozen(kw_only=True)
class Costs:
    rounds: int
    count: int
    imports: Imports
    updates: Sequence[Update]
    pacer: Mapping[str, Spread]
    """Microseconds to acquire and release a permit, without the update."""
    checks: Mapping[str, Spread]
    """Microseconds."""
    bars: Sequence[Target]


def main(arguments: Sequence[str]) -> None:
    options = make_parser("costs", __doc__, rounds=11).parse_args(arguments)
    print_environment()
    imports, import_target = measure_imports(options.rounds)
    checks = measure_checks(options.rounds)
    pacer, pacer_target = measure_pacer(options.rounds)
    updates = measure_updates(options.rounds, options.count)
    found = Costs(
        rounds=options.rounds,
        count=options.count,
        imports=imports,
        updates=updates,
        pacer=pacer,
        checks=checks,
        bars=[import_target, pacer_target],
    )
    rows = [
        ("start of the interpreter", imports.interpreter),
        ("import aiohttp", imports.aiohttp),
        ("import aiorooms", imports.aiorooms),
    ]
    print_table(("import", "CPU ms"), [(what, figure.text()) for what, figure in rows])
    print_table(("operation", "CPU µs"), [(what, figure.text(2)) for what, figure in {**pacer, **checks}.items()])
    head = ("updates", "CPU µs per update", "more than the first")
    print_table(head, [(row.what, row.cpu_us.text(), row.more_us.text()) for row in updates])
    print_targets(found.bars)
    if options.json is not None:
        write_json(options.json, found)
