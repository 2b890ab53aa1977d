"""Measure the CPU time, wall time and memory of the command `aiorooms plan` for many rooms.

Each room has a webhook URL and a failover URL of its own. The plans are

- rewrite: `--rewrite-webhook-host` replaces the host of both URLs of every room;
- CSV: a file sets five fields of every room, and both URLs have other hosts and paths than before.

The simulator runs in its own process on one core. Each command runs in a new process on another core, with uvloop and
orjson if they are installed. The CPU time and the memory are those of the whole
process, including imports. The wall time begins after the imports. All include the summary of the plan.

The figures are the median over the rounds, with the minimum and the maximum.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing import connection
from pathlib import Path
from typing import Any, Final, cast

import attrs

from aiorooms.cli import main as aiorooms_main
from aiorooms.simulator import RoomsSimulator

from ._contestants import _cpu, _peak_mb  # pyright: ignore[reportPrivateUsage]
from ._runs import Spread, choose_cores, make_parser, print_environment, print_table, write_json
from .bulk import _SPAWN, Figures  # pyright: ignore[reportPrivateUsage]

_COLUMNS: Final = (
    "room_id",
    "max_participants",
    "enable_recording",
    "webhook_event_url",
    "webhook_event_failover_url",
    "webhook_timeout_secs",
)

_CSV: Final = "rooms.csv"

REWRITE: Final = ("--rewrite-webhook-host", "old.example.com=new.example.com")


# --- the server's process ---


def serve(pipe: "connection.Connection[Any, Any]", rooms: int, file: Path, core: int | None) -> None:
    """Write the CSV file, and run a simulator until something is received."""
    if core is not None:
        os.sched_setaffinity(0, {core})
    sim = RoomsSimulator()
    with file.open("w", encoding="utf-8", newline="") as text:
        table = csv.writer(text)
        table.writerow(_COLUMNS)
        for number in range(rooms):
            room_id = sim.add_room(
                unique_name=f"room-{number}",
                webhook_event_url=f"https://old.example.com/rooms/{number}/events",
                webhook_event_failover_url=f"https://old.example.com/rooms/{number}/failover",
            )
            url = f"https://hooks.example.com/events/{number}"
            failover_url = f"https://backup.example.net/events/{number}"
            table.writerow((room_id, 11 + number % 40, "true", url, failover_url, 1 + number % 30))
    with sim:
        pipe.send((sim.url, sim.api_key))
        pipe.recv()


@contextmanager
def account(rooms: int, folder: Path) -> Generator[Mapping[str, str]]:
    """Run a simulator in its own process, and yield the environment of its clients."""
    cores = choose_cores()
    pipe, theirs = _SPAWN.Pipe()
    core = None if cores is None else cores[1]
    process = _SPAWN.Process(target=serve, args=(theirs, rooms, folder / _CSV, core), daemon=True)
    process.start()
    url, key = cast("tuple[str, str]", pipe.recv())
    try:
        yield {**os.environ, "TELNYX_BASE_URL": url, "TELNYX_API_KEY": key}
    finally:
        pipe.send(None)
        process.join()


# --- the command's process ---


def _work(core: int | None, arguments: Sequence[str]) -> None:
    """Run `aiorooms plan`, and print its figures as the last line."""
    if core is not None:
        os.sched_setaffinity(0, {core})
    clock = time.perf_counter()
    sys.argv = ["aiorooms", "plan", *arguments]
    try:
        aiorooms_main()
    except SystemExit as ended:
        if ended.code:
            raise
    print(json.dumps({"cpu": _cpu(), "seconds": time.perf_counter() - clock, "peak_mb": _peak_mb()}))


def run(rooms: int, arguments: Sequence[str], folder: Path, environment: Mapping[str, str]) -> Figures:
    cores = choose_cores()
    command = [sys.executable, "-m", "benchmarks.planning", *([] if cores is None else ["--core", str(cores[0])])]
    command += ["--plan", *arguments, "--overwrite", "--out", str(folder / "rooms.plan")]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        sys.exit(f"the plan failed: its process ended with exit status {ended.returncode}\n{ended.stderr}")
    *_, total, figures = ended.stdout.splitlines()
    assert total == f"{rooms:,} rooms to change.", total
    return Figures(rooms=rooms, **json.loads(figures))


# --- the benchmark ---


def measure_round(rooms: int) -> Mapping[str, Figures]:
    """Measure each row once."""
    with tempfile.TemporaryDirectory() as name, account(rooms, folder := Path(name)) as environment:
        rows = {"rewrite": REWRITE, "CSV": [str(folder / _CSV)]}
        return {what: run(rooms, arguments, folder, environment) for what, arguments in rows.items()}


@attrs.frozen(kw_only=True)
class Row:
    what: str
    rooms: int
    cpu: Spread
    """CPU time of the command, in seconds."""
    cpu_us: Spread
    """CPU time of the command for one room, in microseconds."""
    seconds: Spread
    peak_mb: Spread
    runs: Sequence[Figures]


@attrs.frozen(kw_only=True)
class Planning:
    rounds: int
    rows: Sequence[Row]


def make_row(what: str, runs: Sequence[Figures]) -> Row:
    return Row(
        what=what,
        rooms=runs[0].rooms,
        cpu=Spread.of([one.cpu for one in runs]),
        cpu_us=Spread.of([one.cpu_us for one in runs]),
        seconds=Spread.of([one.seconds for one in runs]),
        peak_mb=Spread.of([one.peak_mb for one in runs]),
        runs=runs,
    )


def main(arguments: Sequence[str]) -> None:
    parser = make_parser("planning", __doc__, rounds=3, count=200_000, counted="rooms")
    # Options of the processes that this benchmark starts.
    parser.add_argument("--core", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--plan", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.plan is not None:
        _work(options.core, options.plan)
        return
    print_environment()
    rounds: list[Mapping[str, Figures]] = []
    for number in range(1, options.rounds + 1):
        rounds.append(measure_round(options.rooms))
        print(f"round {number} of {options.rounds} is done", flush=True)
    found = Planning(rounds=options.rounds, rows=[make_row(what, [one[what] for one in rounds]) for what in rounds[0]])
    head = ("plan", "rooms", "CPU seconds", "CPU µs per room", "seconds", "peak MB")
    cells = [
        (row.what, f"{row.rooms:,}", row.cpu.text(), row.cpu_us.text(), row.seconds.text(), row.peak_mb.text())
        for row in found.rows
    ]
    print_table(head, cells)
    if options.json is not None:
        write_json(options.json, found)


if __name__ == "__main__":
    main(sys.argv[1:])
