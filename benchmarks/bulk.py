"""Measure the time, CPU time and memory of planning and applying a change of many rooms.

The simulator runs in its own process on one core, with new rooms in each round. Each task (plan, apply, resume or
`update_many`) runs in a new process on another core, with uvloop and orjson if they are installed. The change sets five
fields of every room: `max_participants`, `enable_recording`, `webhook_event_url`, `webhook_event_failover_url` and
`webhook_timeout_secs`. Each room gets a webhook URL and a failover URL of its own, except in the rows "the same URLs in
all rooms".

The CPU time of `apply` includes everything from opening the plan file to closing the journal. It is compared with the
CPU time that `update_many` needs, in the same round, to update the same fields of the same rooms from a generator.

Before `apply` sends any update, it lists the rooms that were updated since the day before the plan's latest
`updated_at`, to find rooms that someone else has modified. In the row "apply, all rooms updated recently", this list
contains all rooms. In the other rows of `apply`, it contains only a few. While it sends updates, it lists the rooms
again that were updated recently, which includes those that it has updated itself.

The figures are the median over the rounds, with the minimum and the maximum. The exit status is 0 even if a target is
missed.
"""

import argparse
import asyncio
import gc
import importlib
import importlib.util
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing import connection
from pathlib import Path
from typing import Any, Final, Literal, Self, TypeAlias, cast

import attrs

from aiorooms import Room, RoomsClient, RoomUpdate
from aiorooms.bulk import Change, InputProblem, Plan, apply, make_plan, resume
from aiorooms.simulator import RoomsSimulator

from ._contestants import _cpu, _peak_mb  # pyright: ignore[reportPrivateUsage]
from ._runs import (
    Spread,
    Target,
    choose_cores,
    make_parser,
    print_environment,
    print_table,
    print_targets,
    write_json,
)

CONCURRENCY: Final = 50

PLAN_TARGET: Final = 60.0
"""Maximum time for a plan of `--rooms` rooms, in seconds."""
CPU_TARGET: Final = 1.15
"""Maximum ratio of the CPU time of `apply` to that of `update_many`, if each room gets URLs of its own."""
MEMORY_TARGET: Final = 30.0
"""Maximum peak memory of `apply` with `--rooms` rooms, in MB above that of `apply` with `_FEW` rooms."""

_FEW: Final = 1_000
"""Number of rooms in the small runs. Their peak memory is the reference for `MEMORY_TARGET`."""

_WARM_UP: Final = 200
"""Number of requests that are made before the measurement, to open the connections."""

_SPAWN: Final = multiprocessing.get_context("spawn")

Task: TypeAlias = Literal["plan", "apply", "update_many", "nothing_left"]


# --- the server's process ---


def serve(pipe: "connection.Connection[Any, Any]", rooms: int, core: int | None) -> None:
    if core is not None:
        os.sched_setaffinity(0, {core})
    with RoomsSimulator(rooms=rooms) as sim:
        pipe.send((sim.url, sim.api_key))
        pipe.recv()


class Server:
    """A simulator with new rooms, in its own process."""

    def __init__(self, rooms: int) -> None:
        cores = choose_cores()
        self._pipe, theirs = _SPAWN.Pipe()
        self._process = _SPAWN.Process(
            target=serve, args=(theirs, rooms, None if cores is None else cores[1]), daemon=True
        )
        self._process.start()
        self._core = None if cores is None else cores[0]
        self._url, self._key = cast("tuple[str, str]", self._pipe.recv())
        self._folder = tempfile.TemporaryDirectory()
        self._number = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe.send(None)
        self._process.join()
        self._folder.cleanup()

    def run(self, task: Task, number: int) -> "Figures":
        """Run a task in a new process, and return its figures. `number` selects the values to set (see `Wanted`)."""
        command = [sys.executable, "-m", "benchmarks.bulk", "--task", task]
        command += ["--url", self._url, "--key", self._key, "--folder", self._folder.name, "--number", str(number)]
        if self._core is not None:
            command += ["--core", str(self._core)]
        ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if ended.returncode != 0:
            sys.exit(f"{task} failed: its process ended with exit status {ended.returncode}")
        return Figures(**json.loads(ended.stdout))


# --- a client's process ---


@attrs.frozen(kw_only=True)
class Figures:
    """The measurements of one task."""

    rooms: int
    cpu: float
    """CPU time in seconds, user and system."""
    seconds: float
    """Wall time, in seconds."""
    peak_mb: float
    """Peak memory of the process, in MB."""

    @property
    def cpu_us(self) -> float:
        """CPU time for one room, in microseconds."""
        return self.cpu / self.rooms * 1e6


@attrs.frozen
class Wanted:
    """The values to set, which depend on `number`. If it is negative, all rooms get the same URLs.

    Two consecutive numbers differ in the value of every field, so a plan changes all five fields of every room.
    """

    number: int
    source: str = "the benchmark"

    def update_of(self, room_id: str | None) -> RoomUpdate:
        number = abs(self.number)
        path = str(number) if self.number < 0 else f"{number}/{room_id}"
        return RoomUpdate(
            max_participants=11 + number,
            enable_recording=number % 2 == 1,  # it is off in the new rooms of the simulator
            webhook_event_url=f"https://new.example.com/rooms/{path}",
            webhook_event_failover_url=f"https://failover.example.com/rooms/{path}",
            webhook_timeout_secs=10 + number,
        )

    def change_of(self, room: Room) -> Change:
        return Change(self.update_of(room.id))

    def not_met(self) -> Iterator[InputProblem]:
        return iter(())


async def _plan(client: RoomsClient, folder: Path, number: int) -> int:
    return (await make_plan(client, Wanted(number), folder / f"{number}.plan")).rooms


async def _apply(client: RoomsClient, folder: Path, number: int) -> int:
    plan = Plan.open(folder / f"{number}.plan")
    updated = 0
    async for outcome in apply(client, plan, folder / f"{number}.journal", concurrency=CONCURRENCY).outcomes():
        assert outcome.status == "updated", outcome.error
        updated += 1
    assert updated == plan.rooms
    return updated


async def _resume(client: RoomsClient, folder: Path, number: int) -> int:
    """Resume a finished run. This run sends nothing. Return the number of rooms in its journal."""
    run = resume(client, folder / f"{number}.journal", concurrency=CONCURRENCY)
    assert [outcome async for outcome in run.outcomes()] == []
    return run.settled


async def _update_many(client: RoomsClient, room_ids: Sequence[str], number: int) -> int:
    wanted = Wanted(number)

    def updates() -> Iterator[tuple[str, RoomUpdate]]:
        for room_id in room_ids:
            yield room_id, wanted.update_of(room_id)

    updated = 0
    async for result in client.rooms.update_many(updates(), concurrency=CONCURRENCY):
        assert result.status == "updated", result.error
        updated += 1
    return updated


def _room_ids(folder: Path) -> Sequence[str]:
    """Return the room ids of a plan in `folder`.

    Listing the account instead would raise the peak memory that is measured for `update_many`.
    """
    return [planned.room_id for planned in Plan.open(next(folder.glob("*.plan"))).updates()]


async def _measure(task: Task, url: str, key: str, folder: Path, number: int) -> Figures:
    async with RoomsClient(key, base_url=url) as client:
        first = (await anext(client.rooms.list(page_size=1).pages())).rooms[0]
        await asyncio.gather(*(client.rooms.retrieve(first) for _ in range(_WARM_UP)))
        room_ids: Sequence[str] = _room_ids(folder) if task == "update_many" else ()
        gc.collect()
        cpu, clock = _cpu(), time.perf_counter()
        match task:
            case "plan":
                rooms = await _plan(client, folder, number)
            case "apply":
                rooms = await _apply(client, folder, number)
            case "nothing_left":
                rooms = await _resume(client, folder, number)
            case "update_many":
                rooms = await _update_many(client, room_ids, number)
        return Figures(rooms=rooms, cpu=_cpu() - cpu, seconds=time.perf_counter() - clock, peak_mb=_peak_mb())


def _work(options: argparse.Namespace) -> None:
    if options.core is not None:
        os.sched_setaffinity(0, {options.core})
    loop = "uvloop" if importlib.util.find_spec("uvloop") is not None else "asyncio"
    with asyncio.Runner(loop_factory=importlib.import_module(loop).new_event_loop) as runner:
        figures = runner.run(_measure(options.task, options.url, options.key, Path(options.folder), options.number))
    print(json.dumps(attrs.asdict(figures)))


# --- the benchmark ---


_SAME_URLS: Final = "apply, the same URLs in all rooms"
"""This row has no target, because few users set the same URLs in all rooms."""

ROWS: Final = {
    "plan": None,
    "update_many": None,
    "apply": "update_many",
    "apply, all rooms updated recently": "update_many",
    "update_many, the same URLs in all rooms": None,
    _SAME_URLS: "update_many, the same URLs in all rooms",
    "resume of a finished run": None,
}
"""The rows of the table. The value is the row to compare the CPU time with, or None if there is no comparison."""


def measure_round(rooms: int) -> Mapping[str, Figures]:
    """Measure each row once."""
    with Server(rooms) as server:
        plan = server.run("plan", 1)
        applied = server.run("apply", 1)
        server.run("plan", 2)
        applied_lately = server.run("apply", 2)
        nothing_left = server.run("nothing_left", 2)
        plain = server.run("update_many", 3)
    with Server(rooms) as server:
        server.run("plan", -1)
        applied_same = server.run("apply", -1)
        plain_same = server.run("update_many", -2)
    figures = (plan, plain, applied, applied_lately, plain_same, applied_same, nothing_left)
    return dict(zip(ROWS, figures, strict=True))


@attrs.frozen(kw_only=True)
class Row:
    what: str
    rooms: int
    cpu_us: Spread
    """CPU time of the client for one room, in microseconds."""
    ratio: Spread | None
    """CPU time divided by that of `update_many` in the same round; None if this row is not compared."""
    seconds: Spread
    peak_mb: Spread
    runs: Sequence[Figures]


@attrs.frozen(kw_only=True)
class Bulk:
    rounds: int
    rows: Sequence[Row]
    bars: Sequence[Target]


def make_rows(rooms: int, rounds: Sequence[Mapping[str, Figures]]) -> list[Row]:
    return [
        Row(
            what=what,
            rooms=rooms,
            cpu_us=Spread.of([one[what].cpu_us for one in rounds]),
            ratio=None if other is None else Spread.of([one[what].cpu / one[other].cpu for one in rounds]),
            seconds=Spread.of([one[what].seconds for one in rounds]),
            peak_mb=Spread.of([one[what].peak_mb for one in rounds]),
            runs=[one[what] for one in rounds],
        )
        for what, other in ROWS.items()
    ]


def make_targets(rooms: int, rows: Sequence[Row], few: Sequence[Row]) -> list[Target]:
    by_name = {row.what: row for row in rows}
    small = {row.what: row.peak_mb.median for row in few}
    what = f"{rooms:,} rooms"
    peaks = [figures.peak_mb - small["apply"] for figures in by_name["apply"].runs]
    return [
        Target(f"{what}: wall time of the plan", by_name["plan"].seconds, PLAN_TARGET, " s"),
        *(
            Target(f"{what}: {row.what}, CPU time relative to update_many", row.ratio, CPU_TARGET)
            for row in rows
            if row.ratio is not None and row.what != _SAME_URLS
        ),
        Target(f"{what}: apply, peak memory above that with {_FEW:,} rooms", Spread.of(peaks), MEMORY_TARGET, " MB"),
    ]


def main(arguments: Sequence[str]) -> None:
    parser = make_parser("bulk", __doc__, rounds=3, count=100_000, counted="rooms")
    # Options of the processes that this benchmark starts.
    parser.add_argument("--task", help=argparse.SUPPRESS)
    for name in ("--url", "--key", "--folder"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    for name in ("--number", "--core"):
        parser.add_argument(name, type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.task is not None:
        _work(options)
        return
    print_environment()
    measured: dict[int, list[Mapping[str, Figures]]] = {options.rooms: [], _FEW: []}
    for number in range(1, options.rounds + 1):
        for rooms in measured:
            measured[rooms].append(measure_round(rooms))
        print(f"round {number} of {options.rounds} is done", flush=True)
    by_rooms = {rooms: make_rows(rooms, rounds) for rooms, rounds in measured.items()}
    found = Bulk(
        rounds=options.rounds,
        rows=[row for rows in by_rooms.values() for row in rows],
        bars=make_targets(options.rooms, by_rooms[options.rooms], by_rooms[_FEW]),
    )
    head = ("task", "rooms", "CPU µs per room", "ratio to update_many", "seconds", "peak MB")
    cells = [
        (
            row.what,
            f"{row.rooms:,}",
            row.cpu_us.text(),
            "" if row.ratio is None else row.ratio.text(3),
            row.seconds.text(),
            row.peak_mb.text(),
        )
        for row in found.rows
    ]
    print_table(head, cells)
    print_targets(found.bars)
    if options.json is not None:
        write_json(options.json, found)


if __name__ == "__main__":
    main(sys.argv[1:])
