"""Try random rate limits with 2 to 8 processes that share them, and count those in which a process gets too little.

The processes, their network and their clocks are computed (`_processes`), so a thousand limits take about a minute. The
limits have windows of 1 to 60 s and at least 10 requests per process and window. Each process has 30 loops, and starts
up to two windows after the one before. All figures are those of the last half of the time that all processes ran. The
columns of the table are

- share: the smallest share of a process, as a fraction of an equal share: the lowest tenth, and the lowest;
- used: accepted requests as a fraction of those that the limit allows: the lowest tenth, and the lowest;
- 429s: share of the requests that were rate limited: the highest tenth, and the highest;
- entry: how many windows a new process waits for its first accepted request: the highest tenth, and the highest;
- fair, starved: how many limits gave each process at least 60 % of an equal share, and how many gave one nothing.

The exit status is 1 if a process starved.
"""

import argparse
import json
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal, cast, get_args

import attrs

from aiorooms.simulator import RateLimit

from ._processes import Figures, Scenario, measure

Kind = Literal["fixed", "sliding", "bucket"]
Rounding = Literal["fractional", "up", "down"]

_FAIR: Final = 0.6
_HEAD: Final = f"{'limits':<24}{'share':>12}{'used':>12}{'429s':>16}{'entry':>12}{'fair':>8}{'starved':>9}"


def scenario(seed: int, kind: Kind, *, headers: bool) -> Scenario:
    """Return a random scenario. It depends only on the arguments."""
    chance = random.Random(f"{seed} {kind} {headers}")
    count = chance.randint(2, 8)
    window = chance.choice([1.0, 1.0, 2.0, 5.0, 60.0])
    return Scenario(
        limit=RateLimit(
            count * round(10 * 10 ** chance.random()),
            window,
            chance.choice(get_args(Rounding)),
            headers,
            kind=kind,
        ),
        starts=tuple(number * chance.uniform(0, 2) * window for number in range(count)),
        seconds=20 * window,
        latency=(chance.uniform(0.005, 0.03), chance.uniform(0.03, 0.08)),
        seed=seed,
    )


def line(name: str, results: Sequence[Figures]) -> str:
    """Return the row of the table for some results."""

    def worst(values: Sequence[float], *, high: bool) -> tuple[float, float]:
        ordered = sorted(values, reverse=high)
        return ordered[len(ordered) // 10], ordered[0]

    tenth, lowest = worst([result.smallest for result in results], high=False)
    used, least = worst([result.used for result in results], high=False)
    limited, most = worst([100 * result.rate_limited for result in results], high=True)
    entry, latest = worst([result.entry for result in results], high=True)
    fair = sum(result.smallest >= _FAIR for result in results) / len(results)
    starved = sum(result.smallest == 0 for result in results)
    return (
        f"{name:<24}{f'{tenth:.2f} {lowest:.2f}':>12}{f'{used:.2f} {least:.2f}':>12}"
        f"{f'{limited:.1f} % {most:.1f} %':>16}{f'{entry:.1f} {latest:.1f}':>12}{f'{100 * fair:.0f} %':>8}{starved:>9}"
    )


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks fairness", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", metavar="N", type=int, default=300, help="random limits for each row (default: 300)")
    parser.add_argument("--json", metavar="FILE", type=Path, help="also write the figures to this file")
    options = parser.parse_args(arguments)
    count, file = cast("int", options.count), cast("Path | None", options.json)
    if count < 1:
        parser.error("--count must be at least 1")
    rows: dict[str, list[Figures]] = {}
    print(_HEAD)
    for headers in (True, False):
        for kind in get_args(Kind):
            name = f"{kind}, {'reported' if headers else 'not reported'}"
            rows[name] = [measure(scenario(seed, kind, headers=headers)) for seed in range(count)]
            print(line(name, rows[name]), flush=True)
    if file is not None:
        figures = {name: [attrs.asdict(result) for result in results] for name, results in rows.items()}
        file.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    if any(result.smallest == 0 for results in rows.values() for result in results):
        sys.exit(1)
