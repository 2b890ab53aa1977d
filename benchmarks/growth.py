"""Measure how the cost of an update depends on the number of updates and on concurrency.

The first table varies the number of updates. Neither the CPU time for one update nor the peak memory should grow with
the number of updates. The second table varies the number of updates in flight. With few updates in flight, any client
waits for the server more often, and each wait costs CPU time. For comparison, the second table includes the aiohttp
script.

The figures are the client's CPU time for one update, and the increase of its peak memory after the imports. They are
measured on asyncio's event loop, without orjson. Each is the median over the rounds, with the minimum and the maximum.
The exit status is 0 even if a target is missed.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, TypeAlias

import attrs

from ._runs import (
    CONCURRENCY,
    Figures,
    Server,
    Spread,
    Target,
    Variant,
    at_least_one,
    make_parser,
    print_environment,
    print_table,
    print_targets,
    ratio,
    spread,
    write_json,
)

_SCRIPT: Final = Variant("script")
_OURS: Final = (Variant("update"), Variant("update_many"))

_COUNTS: Final = (1_000, 10_000, 100_000, 1_000_000)
_SMALL: Final = 10_000
_LARGE: Final = 1_000_000

_CONCURRENCIES: Final = (1, 10, 50, 100, 200, 500)

_Sizes: TypeAlias = Mapping[tuple[Variant, int, int], Sequence[Figures]]
"""The figures of the runs. A key is (variant, number of updates, number in flight)."""


@attrs.frozen(kw_only=True)
class Row:
    """The results of one contestant for one pair of `count` and `concurrency`."""

    contestant: str
    count: int
    concurrency: int
    cpu_us: Spread
    """CPU time of the client for one update, in microseconds."""
    above_mb: Spread
    """Increase of the peak memory after the imports, in MB."""
    runs: Sequence[Figures]


@attrs.frozen(kw_only=True)
class Growth:
    rounds: int
    by_count: Sequence[Row]
    by_concurrency: Sequence[Row]
    bars: Sequence[Target]


def run_all(server: Server, variants: Sequence[Variant], sizes: Sequence[tuple[int, int]], rounds: int) -> _Sizes:
    """In each round, run each variant with each pair (number of updates, number in flight) of `sizes`."""
    runs: dict[tuple[Variant, int, int], list[Figures]] = {}
    for number in range(1, rounds + 1):
        for count, concurrency in sizes:
            for variant in variants:
                figures = server.run(variant, count, concurrency)
                runs.setdefault((variant, count, concurrency), []).append(figures)
        print(f"round {number} of {rounds} is done", flush=True)
    return runs


def make_rows(sizes: _Sizes) -> list[Row]:
    rows = [
        Row(
            contestant=variant.contestant,
            count=count,
            concurrency=concurrency,
            cpu_us=spread(runs, "cpu_us"),
            above_mb=spread(runs, "above_mb"),
            runs=runs,
        )
        for (variant, count, concurrency), runs in sizes.items()
    ]
    return sorted(rows, key=lambda row: row.contestant)  # this sort is stable, so each contestant's sizes stay in order


def make_targets(sizes: _Sizes) -> Iterator[Target]:
    for variant in _OURS:
        small, large = (sizes.get((variant, count, CONCURRENCY)) for count in (_SMALL, _LARGE))
        if small is not None and large is not None:
            what = f"{_LARGE:,} compared with {_SMALL:,} updates: {variant}"
            yield Target(f"{what}, ratio of the CPU time per update", ratio(large, small, "cpu_us"), 1.05)
            more = [one.peak_mb - other.peak_mb for one, other in zip(large, small, strict=True)]
            yield Target(f"{what}, increase of the peak memory", Spread.of(more), 10, " MB")


def print_rows(rows: Sequence[Row]) -> None:
    head = ("contestant", "updates", "in flight", "CPU µs per update", "MB after imports")
    cells = [
        (row.contestant, f"{row.count:,}", f"{row.concurrency:,}", row.cpu_us.text(), row.above_mb.text())
        for row in rows
    ]
    print_table(head, cells)


def _up_to(maximum: int, numbers: Sequence[int]) -> list[int]:
    return [*(number for number in numbers if number < maximum), maximum]


def main(arguments: Sequence[str]) -> None:
    parser = make_parser("growth", __doc__, rounds=3)
    text = f"largest number of updates in the first table (default: {_COUNTS[-1]})"
    parser.add_argument("--max-count", metavar="NUMBER", type=at_least_one, default=_COUNTS[-1], help=text)
    text = f"largest number of updates in flight in the second table (default: {_CONCURRENCIES[-1]})"
    parser.add_argument("--max-concurrency", metavar="NUMBER", type=at_least_one, default=_CONCURRENCIES[-1], help=text)
    options = parser.parse_args(arguments)

    print_environment()
    counts = _up_to(options.max_count, _COUNTS)
    with Server() as server:
        in_flight = [(options.count, concurrency) for concurrency in _up_to(options.max_concurrency, _CONCURRENCIES)]
        by_concurrency = run_all(server, (_SCRIPT, *_OURS), in_flight, options.rounds)
        by_count = run_all(server, _OURS, [(count, CONCURRENCY) for count in counts], options.rounds)
    found = Growth(
        rounds=options.rounds,
        by_count=make_rows(by_count),
        by_concurrency=make_rows(by_concurrency),
        bars=list(make_targets(by_count)),
    )
    print_rows(found.by_count)
    print_rows(found.by_concurrency)
    if found.bars:
        print_targets(found.bars)
    else:
        print(f"No target was measured, because the targets compare {_LARGE:,} updates with {_SMALL:,}.")
    if options.json is not None:
        write_json(options.json, found)
