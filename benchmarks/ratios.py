"""Compare the CPU time of an update with several clients, which take turns in one process.

On a machine whose speed varies from second to second, the runs of `compare` are too far apart to be compared. Here each
client makes a few hundred updates, then the next client, and so on; that is one round. The order is reversed in every
other round. The ratio of two clients is calculated within each round. Its median over all rounds is reported, with the
quartiles in parentheses. There is one process for each event loop and JSON library. In a process with orjson, the
aiohttp script still uses the standard library. The exit status is 0 even if a target is missed.
"""

import argparse
import asyncio
import gc
import importlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Final, TypeAlias, cast

import attrs

from ._comparison import OURS
from ._contestants import CONTESTANTS
from ._runs import (
    CONCURRENCY,
    LOOPS,
    Loop,
    Server,
    Spread,
    Target,
    Variant,
    installed,
    make_parser,
    print_environment,
    print_table,
    print_targets,
    write_json,
)
from .compare import BARE_TARGETS, LABELS, SAME_URLS_TARGET, SCRIPT_TARGET, SDK_TARGET

_NAMES: Final = (
    "script",
    "bare",
    "update",
    "update_many",
    "update_same_urls",
    "update_many_same_urls",
    "telnyx_aiohttp",
)

_Times: TypeAlias = Mapping[str, Sequence[float]]
"""For each contestant, the CPU time of an update in each round, in microseconds."""


async def take_turns(names: Sequence[str], url: str, rounds: int, count: int) -> _Times:
    async with AsyncExitStack() as stack:
        runs = {name: await stack.enter_async_context(CONTESTANTS[name](url, CONCURRENCY)) for name in names}
        for run in runs.values():
            await run(count)  # opens the connections
        gc.collect()
        gc.freeze()  # otherwise, one client would pay for the objects of the others
        times: dict[str, list[float]] = {name: [] for name in names}
        for number in range(rounds):
            for name in names if number % 2 else reversed(names):
                began = time.process_time()
                await runs[name](count)
                times[name].append((time.process_time() - began) / count * 1e6)
        return times


def run_process(server: Server, names: Sequence[str], variant: Variant, rounds: int, count: int) -> _Times:
    command = [sys.executable, "-m", "benchmarks.ratios", "--url", server.url, "--only", ",".join(names)]
    command += ["--loop", variant.loop, "--rounds", str(rounds), "--count", str(count)]
    command += [] if variant.orjson else ["--without-orjson"]
    command += [] if server.client_core is None else ["--core", str(server.client_core)]
    ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if ended.returncode != 0:
        sys.exit(f"the process on {variant.loop} failed with exit status {ended.returncode}")
    return cast("_Times", json.loads(ended.stdout))


def _work(options: argparse.Namespace) -> None:
    if options.core is not None:
        os.sched_setaffinity(0, {options.core})
    if options.without_orjson:
        cast("dict[str, object]", sys.modules)["orjson"] = None  # makes `import orjson` fail
    with asyncio.Runner(loop_factory=importlib.import_module(options.loop).new_event_loop) as runner:
        times = runner.run(take_turns(options.only.split(","), options.url, options.rounds, options.count))
    print(json.dumps(times))


# --- ratios and targets ---


def ratio(times: _Times, ours: str, theirs: str) -> Spread:
    """Return the median and the quartiles of the ratios of two clients, one ratio for each round."""
    ratios = [one / other for one, other in zip(times[ours], times[theirs], strict=True)]
    if len(ratios) == 1:
        return Spread.of(ratios)
    low, median, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return Spread(median, low, high)


def make_targets(variant: Variant, times: _Times) -> list[Target]:
    targets: list[Target] = []
    for name in OURS:
        maximums = {
            "bare": BARE_TARGETS[variant.loop],
            f"{name}_same_urls": SAME_URLS_TARGET,
            "telnyx_aiohttp": SDK_TARGET,
            **({} if variant.orjson else {"script": SCRIPT_TARGET}),
        }
        targets += [
            Target(f"{Variant(name, variant.loop, variant.orjson)} / {other}", ratio(times, name, other), maximum)
            for other, maximum in maximums.items()
            if name in times and other in times
        ]
    return targets


@attrs.frozen(kw_only=True)
class Ratios:
    rounds: int
    count: int
    times: Mapping[str, _Times]
    bars: Sequence[Target]


def main(arguments: Sequence[str]) -> None:
    parser = make_parser("ratios", __doc__, rounds=60, count=300)
    text = f"compare only these clients (default: all: {', '.join(_NAMES)})"
    parser.add_argument("--only", metavar="NAME,NAME", default=",".join(_NAMES), help=text)
    # Options of the processes that this benchmark starts.
    for name in ("--url", "--loop"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    parser.add_argument("--core", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--without-orjson", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.url is not None:
        _work(options)
        return
    names = cast("str", options.only).split(",")
    if unknown := [name for name in names if name not in _NAMES]:
        parser.error(f"unknown client {unknown[0]!r}; choose from {', '.join(_NAMES)}")
    print_environment()
    names = [variant.contestant for variant in installed([Variant(name) for name in names])]
    found: dict[str, _Times] = {}
    targets: list[Target] = []
    with Server() as server:
        for variant in installed([Variant(names[0], loop, orjson) for loop in LOOPS for orjson in (False, True)]):
            times = run_process(server, names, variant, options.rounds, options.count)
            found[f"{variant.loop}{', orjson' if variant.orjson else ''}"] = times
            _print_times(variant.loop, times, orjson=variant.orjson)
            targets += make_targets(variant, times)
    print_targets(targets)
    if options.json is not None:
        write_json(options.json, Ratios(rounds=options.rounds, count=options.count, times=found, bars=targets))


def _print_times(loop: Loop, times: _Times, *, orjson: bool) -> None:
    references = [name for name in ("script", "bare") if name in times]
    rows = [
        (LABELS[name], f"{statistics.median(own):,.1f}", *(ratio(times, name, other).text(3) for other in references))
        for name, own in times.items()
    ]
    head = f"on {loop}, {'orjson' if orjson else 'json'}"
    print_table((head, "CPU µs per update", *(f"x {other}" for other in references)), rows)


if __name__ == "__main__":
    main(sys.argv[1:])
