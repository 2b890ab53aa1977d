"""What the single parts cost: importing aiorooms, pacing, and checking a webhook URL.

Times are CPU times, user and system: the median over the rounds with the least and the most. Updates are made on
asyncio's loop without orjson. The bars are those of the project's issues; nothing fails if one is missed.
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
    Bar,
    Figures,
    Server,
    Spread,
    Variant,
    choose_cores,
    make_parser,
    print_bars,
    print_environment,
    print_table,
    spread,
    write_json,
)

IMPORT_BAR: Final = 1.2

_CHECKS: Final = 10_000
"""URLs that are checked in one round. Each has to be another one where none has been seen before."""


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
"""Prints the seconds that the interpreter took to start, and those of the import."""


@attrs.frozen(kw_only=True)
class Imports:
    """Milliseconds."""

    interpreter: Spread
    """The start of a bare interpreter, which is no part of the others."""
    aiohttp: Spread
    aiorooms: Spread


def import_times(package: str) -> tuple[float, float]:
    """Import it in a fresh interpreter. Return the seconds until it had started, and of the import."""
    cores = choose_cores()
    command = [sys.executable, "-I", "-c", _TIME_IMPORT, package, "" if cores is None else str(cores[0])]
    started, imported = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
    return started, imported


def measure_imports(rounds: int) -> tuple[Imports, Bar]:
    for package in _IMPORTED:
        import_times(package)  # writes what is compiled
    measured = [[import_times(package) for package in _IMPORTED] for _ in range(rounds)]
    aiohttp, aiorooms = ([times[place][1] for times in measured] for place in range(len(_IMPORTED)))
    imports = Imports(
        interpreter=Spread.of([started * 1e3 for times in measured for started, _ in times]),
        aiohttp=Spread.of([seconds * 1e3 for seconds in aiohttp]),
        aiorooms=Spread.of([seconds * 1e3 for seconds in aiorooms]),
    )
    ratios = [ours / theirs for ours, theirs in zip(aiorooms, aiohttp, strict=True)]
    return imports, Bar("import aiorooms against import aiohttp", Spread.of(ratios), IMPORT_BAR)


# --- pacing, within an update and alone ---


@attrs.frozen(kw_only=True)
class Update:
    """What an update costs in one of several ways."""

    what: str
    cpu_us: Spread
    """CPU time of the client for one update, in microseconds."""
    more_us: Spread
    """The same, less that of the first way in the same round."""
    runs: Sequence[Figures]


def measure_updates(rounds: int, count: int) -> list[Update]:
    with Server() as server, Server(rate_limit=True) as limiting:
        ways = {
            "update_many": (server, "update_many"),
            "without pacing": (server, "update_many_unpaced"),
            "the server tells of a limit": (limiting, "update_many"),
            "another webhook URL for each room": (server, "update_many_different_urls"),
        }
        runs: Mapping[str, list[Figures]] = {what: [] for what in ways}
        for number in range(1, rounds + 1):
            for what, (against, contestant) in ways.items():
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


def measure_pacer(rounds: int) -> tuple[Mapping[str, Spread], Bar]:
    rows = {
        row: Spread.of([asyncio.run(pacing.one_cost(limited)) for _ in range(rounds)])
        for row, limited in ((pacing.COST_UNLIMITED, False), (pacing.COST_LIMITED, True))
    }
    return rows, Bar(pacing.COST_UNLIMITED, rows[pacing.COST_UNLIMITED], pacing.COST_BAR, " µs")


# --- checking a webhook URL ---


def refused(url: str) -> None:
    try:
        RoomUpdate(webhook_event_url=url)
    except InvalidRequestError:
        return
    raise AssertionError(f"{url} was not refused")


def room_update(url: str) -> None:
    RoomUpdate(max_participants=20, webhook_event_url=url, webhook_event_failover_url=FAILOVER_URL)


def measure_checks(rounds: int) -> dict[str, Spread]:
    """Microseconds by what is done."""
    good, bad = f"{WEBHOOK_URL}/{{}}", "hooks.example.com/{}"
    ways: dict[str, tuple[Callable[[str], object], str]] = {
        "check_webhook_url, seen before": (check_webhook_url, WEBHOOK_URL),
        "check_webhook_url, never seen": (check_webhook_url, good),
        "check_webhook_url, never seen and bad": (check_webhook_url, bad),
        "RoomUpdate, URLs seen before": (room_update, WEBHOOK_URL),
        "RoomUpdate, another URL each": (room_update, good),
        "RoomUpdate, refused for its URL": (refused, bad),
    }
    measured: dict[str, list[float]] = {what: [] for what in ways}
    for number in range(rounds):
        for place, (what, (do, url)) in enumerate(ways.items()):
            urls = [url.format(f"{number}/{place}/{one}") for one in range(_CHECKS)]
            began = time.process_time()
            for one in urls:
                do(one)
            measured[what].append((time.process_time() - began) / _CHECKS * 1e6)
    return {what: Spread.of(times) for what, times in measured.items()}


# --- the benchmark ---


@attrs.frozen(kw_only=True)
class Costs:
    rounds: int
    count: int
    imports: Imports
    """Milliseconds."""
    updates: Sequence[Update]
    pacer: Mapping[str, Spread]
    """Microseconds for a turn, taken and given back, without the update around it."""
    checks: Mapping[str, Spread]
    """Microseconds."""
    bars: Sequence[Bar]


def main(arguments: Sequence[str]) -> None:
    asked = make_parser("costs", __doc__, rounds=11).parse_args(arguments)
    print_environment()
    imports, import_bar = measure_imports(asked.rounds)
    checks = measure_checks(asked.rounds)
    pacer, pacer_bar = measure_pacer(asked.rounds)
    updates = measure_updates(asked.rounds, asked.count)
    found = Costs(
        rounds=asked.rounds,
        count=asked.count,
        imports=imports,
        updates=updates,
        pacer=pacer,
        checks=checks,
        bars=[import_bar, pacer_bar],
    )
    rows = [
        ("the bare interpreter", imports.interpreter),
        ("import aiohttp", imports.aiohttp),
        ("import aiorooms", imports.aiorooms),
    ]
    print_table(("importing", "CPU ms"), [(what, figure.text()) for what, figure in rows])
    print_table(("in microseconds", "CPU µs"), [(what, figure.text(2)) for what, figure in {**pacer, **checks}.items()])
    head = ("updates", "CPU µs per update", "more than the first")
    print_table(head, [(row.what, row.cpu_us.text(), row.more_us.text()) for row in updates])
    print_bars(found.bars)
    if asked.json is not None:
        write_json(asked.json, found)
