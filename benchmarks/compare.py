"""Compare the cost of one update with aiorooms and with other clients.

Each round runs every contestant (a program that updates rooms with one client) once on asyncio's event loop and once on
uvloop. Every update sets five fields, with two new URLs, except in the rows "same URLs". Only contestants marked
"orjson" use orjson. The columns of the table are

- CPU µs per update: CPU time of the client for one update, user and system, without imports;
- updates/s: updates per second;
- MB after imports: increase of the peak memory after the imports;
- x script: the figure to the left divided by that of the aiohttp script on the same loop in the same round;
- client busy, server busy: CPU time of the client and of the server, as a share of the wall time.

The figures are medians over the rounds. In parentheses are the minimum and the maximum. If both busy shares are low,
another process probably used the client's core: measure again. The exit status is 0 even if a target is missed.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeAlias, cast

from ._comparison import OURS, Comparison, Headroom, Row
from ._runs import (
    CONCURRENCY,
    LOOPS,
    Figures,
    Loop,
    Measure,
    Server,
    Spread,
    Target,
    Variant,
    at_least_one,
    how_to_install,
    installed,
    make_parser,
    missing,
    print_environment,
    print_table,
    print_targets,
    ratio,
    spread,
    write_json,
)

LABELS: Final = {
    "floor": "raw sockets",
    "bare": "bare aiohttp session",
    "script": "aiohttp script",
    "gather": "aiohttp script, gather",
    "httpx": "httpx script",
    "telnyx_aiohttp": "official SDK on aiohttp",
    "telnyx_httpx": "official SDK on httpx",
    "update": "aiorooms update",
    "update_many": "aiorooms update_many",
    "update_same_urls": "aiorooms update, same URLs",
    "update_many_same_urls": "aiorooms update_many, same URLs",
}
"""The labels of the contestants, in the order of the table."""

_SLOW: Final = ("httpx", "telnyx_aiohttp", "telnyx_httpx")
"""Slow contestants. To save time, they make only a tenth of the updates. The CPU time per update stays comparable."""

SCRIPT_TARGET: Final = 1.00
"""Maximum CPU time of an update with aiorooms, as a multiple of that of the script on the same loop, without orjson."""
SDK_TARGET: Final = 1 / 5
"""The same for the official SDK on aiohttp."""
SAME_URLS_TARGET: Final = 1.05
"""Maximum CPU time of an update, as a multiple of that of an update with the same URLs for all rooms."""
BARE_TARGETS: Final[Mapping[Loop, float]] = {"asyncio": 1.15, "uvloop": 1.30}
"""Maximum CPU time of an update with aiorooms, as a multiple of that of the bare session with the same JSON library."""

_GATHERED: Final = 20_000
"""Maximum number of updates of `gather`.

The memory of `gather` grows with the number of updates, and the memory target is defined for 20,000.
"""

_PIPELINED: Final = 102_400
"""Number of requests that are sent to measure the capacity of the server."""

_HEADROOM: Final = 4
"""The server should be able to answer 4 times as many requests per second as a client sends."""

_Runs: TypeAlias = Mapping[Variant, Sequence[Figures]]


# --- the runs ---


def variants(names: Sequence[str]) -> list[Variant]:
    return [
        Variant(name, loop, orjson)
        for name in LABELS
        if name in names
        for orjson in ((False, True) if name in (*OURS, "bare") else (False,))
        for loop in LOOPS
    ]


def updates_for(variant: Variant, count: int) -> int:
    if variant.contestant in _SLOW:
        return max(1, count // 10)
    return min(count, _GATHERED) if variant.contestant == "gather" else count


def run_all(server: Server, chosen: Sequence[Variant], rounds: int, count: int, concurrency: int) -> _Runs:
    runs: dict[Variant, list[Figures]] = {variant: [] for variant in chosen}
    for number in range(1, rounds + 1):
        began = time.monotonic()
        for variant in chosen:
            runs[variant].append(server.run(variant, updates_for(variant, count), concurrency))
        print(f"round {number} of {rounds}: {time.monotonic() - began:.0f} s", flush=True)
    return runs


# --- the table ---


def label(variant: Variant) -> str:
    return LABELS[variant.contestant] + (", orjson" if variant.orjson else "")


def make_row(variant: Variant, runs: _Runs) -> Row:
    reference = runs.get(Variant("script", variant.loop))

    def to_script(measure: Measure) -> Spread | None:
        return None if reference is None else ratio(runs[variant], reference, measure)

    return Row(
        contestant=variant.contestant,
        label=label(variant),
        loop=variant.loop,
        orjson=variant.orjson,
        cpu_us=spread(runs[variant], "cpu_us"),
        cpu_ratio=to_script("cpu_us"),
        per_second=spread(runs[variant], "per_second"),
        per_second_ratio=to_script("per_second"),
        above_mb=spread(runs[variant], "above_mb"),
        above_ratio=to_script("above_mb"),
        client_busy=spread(runs[variant], "client_busy"),
        server_busy=spread(runs[variant], "server_busy"),
        runs=runs[variant],
    )


def print_rows(rows: Sequence[Row]) -> None:
    for loop in LOOPS:
        cells = [
            (
                row.label,
                row.cpu_us.text(),
                "" if row.cpu_ratio is None else row.cpu_ratio.text(2),
                row.per_second.text(0),
                _times(row.per_second_ratio),
                row.above_mb.text(),
                _times(row.above_ratio),
                f"{row.client_busy.median:.0%}",
                f"{row.server_busy.median:.0%}",
            )
            for row in rows
            if row.loop == loop
        ]
        figures = ("CPU µs per update", "x script", "updates/s", "x script", "MB after imports", "x script")
        print_table((f"on {loop}", *figures, "client busy", "server busy"), cells)


def _times(spread: Spread | None) -> str:
    return "" if spread is None else f"{spread.median:.2f}"


# --- the targets ---


def make_targets(runs: _Runs) -> list[Target]:
    return [target for name in OURS for target in _targets_of(name, runs)]


def _targets_of(name: str, runs: _Runs) -> Iterator[Target]:
    def target(ours: Variant, theirs: Variant, maximum: float, measure: Measure = "cpu_us") -> Iterator[Target]:
        if ours in runs and theirs in runs:
            prefix = f"memory for {runs[theirs][0].count:,} updates: " if measure == "above_mb" else "CPU time: "
            yield Target(f"{prefix}{ours} / {theirs}", ratio(runs[ours], runs[theirs], measure), maximum)

    yield from target(Variant(name, "uvloop", orjson=True), Variant("script"), 0.80)
    for loop in LOOPS:
        yield from target(Variant(name, loop), Variant("script", loop), SCRIPT_TARGET)
        for orjson in (False, True):
            yield from target(Variant(name, loop, orjson), Variant("bare", loop, orjson), BARE_TARGETS[loop])
        yield from target(Variant(name, loop), Variant(f"{name}_same_urls", loop), SAME_URLS_TARGET)
        yield from target(Variant(name, loop), Variant("telnyx_aiohttp", loop), SDK_TARGET)
        yield from target(Variant(name, loop), Variant("telnyx_httpx", loop), 1 / 16)
        yield from target(Variant(name, loop), Variant("gather", loop), 1 / 10, "above_mb")


# --- whether the server is the bottleneck ---


def measure_headroom(server: Server, rows: Sequence[Row]) -> Headroom:
    loop: Loop = "asyncio" if missing(["uvloop"]) else "uvloop"
    load = server.run(Variant("pipelined", loop), _PIPELINED, concurrency=256)
    clients = [row for row in rows if row.contestant != "floor"] or rows
    fastest = max(clients, key=lambda row: row.per_second.median)
    return Headroom(
        pipelined_per_second=load.per_second,
        pipelined_busy=load.server_busy,
        fastest=f"{fastest.label} on {fastest.loop}",
        fastest_per_second=fastest.per_second.median,
        fastest_busy=fastest.server_busy.median,
        too_busy={
            f"{row.label} on {row.loop}": row.server_busy.median
            for row in rows
            if row.server_busy.median > 1 / _HEADROOM
        },
    )


def print_headroom(found: Headroom) -> None:
    print(
        f"The server answers {found.pipelined_per_second:,.0f} pipelined requests per second"
        f" ({found.pipelined_busy:.0%} busy). This rate is"
        f" {found.pipelined_per_second / found.fastest_per_second:.0f} times that of the fastest client"
        f" ({found.fastest}). Requests that are not pipelined cost more CPU time. With the fastest client, the server"
        f" was {found.fastest_busy:.0%} busy, so it could answer {1 / found.fastest_busy:.1f} times as many requests."
    )
    if found.too_busy:
        names = ", ".join(f"{name} ({share:.0%} busy)" for name, share in found.too_busy.items())
        print(
            f"The server could not answer {_HEADROOM} times as many requests as these contestants send: {names}. So it"
            " may limit their updates per second, but not their CPU time."
        )


# --- the benchmark ---


def main(arguments: Sequence[str]) -> None:
    parser = make_parser("compare", __doc__, rounds=5)
    text = f"number of updates in flight (default: {CONCURRENCY})"
    parser.add_argument("--concurrency", metavar="NUMBER", type=at_least_one, default=CONCURRENCY, help=text)
    text = f"run only these contestants (default: all: {', '.join(LABELS)})"
    parser.add_argument("--only", metavar="NAME,NAME", default="", help=text)
    parser.add_argument(
        "--chart",
        metavar="FILE",
        type=Path,
        help="also draw a chart of the CPU times; the file name must end in .svg or .png",
    )
    options = parser.parse_args(arguments)
    names = cast("str", options.only).split(",") if options.only else list(LABELS)
    if unknown := [name for name in names if name not in LABELS]:
        parser.error(f"unknown contestant {unknown[0]!r}; choose from {', '.join(LABELS)}")
    if options.chart is not None and options.chart.suffix not in {".svg", ".png"}:
        parser.error(f"--chart: the file name {options.chart.name!r} must end in .svg or .png")
    if options.chart is not None and missing(["matplotlib"]):
        parser.error(f"--chart needs matplotlib ({how_to_install('matplotlib')})")

    print_environment()
    chosen = installed(variants(names))
    with Server() as server:
        runs = run_all(server, chosen, options.rounds, options.count, options.concurrency)
        rows = [make_row(variant, runs) for variant in chosen]
        headroom = measure_headroom(server, rows)
    found = Comparison(
        rounds=options.rounds,
        count=options.count,
        concurrency=options.concurrency,
        rows=rows,
        bars=make_targets(runs),
        headroom=headroom,
    )
    print_rows(rows)
    print_targets(found.bars)
    print_headroom(headroom)
    if options.json is not None:
        write_json(options.json, found)
    if options.chart is not None:
        from . import chart  # needs matplotlib

        chart.draw(found, options.chart)
