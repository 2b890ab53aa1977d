"""What one update costs with aiorooms, and with what would be used instead of it.

All contestants in turn, round after round, on asyncio's loop and on uvloop. Nobody has orjson but where it is said.
Told are the client's CPU time for one update (user and system, imports not counted), the updates per second, and the
peak memory above that of the import: the median over the rounds with the least and the most, and as a ratio to the
script on the same loop in the same round. Then for how much of the time client and server were busy: a client that was
not, though the server wasn't either, shared its core with something else, and should be measured again.
Nothing fails if a bar is missed.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeAlias, cast

from ._comparison import OURS, Comparison, Headroom, Row
from ._runs import (
    CONCURRENCY,
    LOOPS,
    Bar,
    Figures,
    Loop,
    Measure,
    Server,
    Spread,
    Variant,
    at_least_one,
    how_to_install,
    installed,
    make_parser,
    missing,
    print_bars,
    print_environment,
    print_table,
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
}
"""The contestants as people know them, in the order of the table."""

_SLOW: Final = ("httpx", "telnyx_aiohttp", "telnyx_httpx")
"""They get a tenth of the updates; the figures are for one update."""

_GATHERED: Final = 20_000
"""Updates at the most that are gathered: its memory grows with them, and the bar is for so many."""

_PIPELINED: Final = 102_400
"""Requests that show how much the server can do, 256 in flight."""

_HEADROOM: Final = 4
"""So many times what the fastest client asks is what the server should be able to answer."""

_Runs: TypeAlias = Mapping[Variant, Sequence[Figures]]


# --- what is run ---


def variants(names: Sequence[str]) -> list[Variant]:
    return [
        Variant(name, loop, orjson)
        for name in LABELS
        if name in names
        for orjson in ((False, True) if name in OURS else (False,))
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
        figures = ("CPU µs per update", "x script", "updates/s", "x script", "peak MB", "x script")
        print_table((f"on {loop}", *figures, "client busy", "server"), cells)


def _times(spread: Spread | None) -> str:
    return "" if spread is None else f"{spread.median:.2f}"


# --- the bars ---


def make_bars(runs: _Runs) -> list[Bar]:
    return [bar for name in OURS for bar in _bars_of(name, runs)]


def _bars_of(name: str, runs: _Runs) -> Iterator[Bar]:
    def bar(ours: Variant, theirs: Variant, most: float, measure: Measure = "cpu_us") -> Iterator[Bar]:
        if ours in runs and theirs in runs:
            of = f"memory over {runs[theirs][0].count:,} updates: " if measure == "above_mb" else ""
            yield Bar(f"{of}{ours} against {theirs}", ratio(runs[ours], runs[theirs], measure), most)

    for loop in LOOPS:
        yield from bar(Variant(name, loop), Variant("script", loop), 1.00)
    yield from bar(Variant(name, "uvloop", orjson=True), Variant("script"), 0.80)
    for loop in LOOPS:
        for orjson in (False, True):
            yield from bar(Variant(name, loop, orjson), Variant("bare", loop), 1.15)
    for loop in LOOPS:
        yield from bar(Variant(name, loop), Variant("telnyx_aiohttp", loop), 1 / 5)
        yield from bar(Variant(name, loop), Variant("telnyx_httpx", loop), 1 / 16)
    for loop in LOOPS:
        yield from bar(Variant(name, loop), Variant("gather", loop), 1 / 10, "above_mb")


# --- whether the server is in the way ---


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
        f"The server answers {found.pipelined_per_second:,.0f} pipelined requests a second ({found.pipelined_busy:.0%}"
        f" busy), {found.pipelined_per_second / found.fastest_per_second:.0f} times what the fastest client asks:"
        f" {found.fastest}. One request at a time on a connection, as clients ask, costs it more: it was"
        f" {found.fastest_busy:.0%} busy with that client, so it could answer {1 / found.fastest_busy:.1f} times as"
        " many."
    )
    if found.too_busy:
        names = ", ".join(f"{name} ({share:.0%} busy)" for name, share in found.too_busy.items())
        print(
            f"It could not answer {_HEADROOM} times as many for {names}. Their updates a second may be limited by the"
            " server; their CPU time is the client's own all the same."
        )


# --- the benchmark ---


def main(arguments: Sequence[str]) -> None:
    parser = make_parser("compare", __doc__, rounds=5)
    text = f"updates in flight, {CONCURRENCY} if not given"
    parser.add_argument("--concurrency", metavar="NUMBER", type=at_least_one, default=CONCURRENCY, help=text)
    text = f"only these contestants, of {','.join(LABELS)}"
    parser.add_argument("--only", metavar="NAME,NAME", default="", help=text)
    parser.add_argument("--chart", metavar="FILE", type=Path, help="draw the CPU times (.svg or .png)")
    asked = parser.parse_args(arguments)
    names = cast("str", asked.only).split(",") if asked.only else list(LABELS)
    if unknown := [name for name in names if name not in LABELS]:
        parser.error(f"no contestant is called {unknown[0]!r}; there are {', '.join(LABELS)}")
    if asked.chart is not None and asked.chart.suffix not in {".svg", ".png"}:
        parser.error(f"the name of a chart ends in .svg or .png, and not as {asked.chart.name!r}")
    if asked.chart is not None and missing(["matplotlib"]):
        parser.error(f"a chart needs matplotlib ({how_to_install('matplotlib')})")

    print_environment()
    chosen = installed(variants(names))
    with Server() as server:
        runs = run_all(server, chosen, asked.rounds, asked.count, asked.concurrency)
        rows = [make_row(variant, runs) for variant in chosen]
        headroom = measure_headroom(server, rows)
    found = Comparison(
        rounds=asked.rounds,
        count=asked.count,
        concurrency=asked.concurrency,
        rows=rows,
        bars=make_bars(runs),
        headroom=headroom,
    )
    print_rows(rows)
    print_bars(found.bars)
    print_headroom(headroom)
    if asked.json is not None:
        write_json(asked.json, found)
    if asked.chart is not None:
        from . import chart  # which needs matplotlib

        chart.draw(found, asked.chart)
