"""Measure the memory and time of the command `aiorooms rollback` for many rooms, each with two URLs of its own.

A finished run has set both webhook URLs of every room. Its plan and journal are written directly, in the format of
`apply`. The rows are

- complete: every room is rolled back;
- conflicts: someone else has changed the webhook URL of every room, so every room is a conflict;
- interrupted: the run was killed when half of the rooms were updated, and its last lines may be lost, so the other half
  is compared with the plan.

The simulator runs in its own process on one core. Each command runs in a new process on another core, with uvloop and
orjson if they are installed. The CPU time and the memory are those of the whole process, including imports. The wall
time begins after the imports.

The figures are the median over the rounds, with the minimum and the maximum. The exit status is 0 even if a target is
missed.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from multiprocessing import connection
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, cast, get_args

import attrs

from aiorooms.bulk import PlannedUpdate
from aiorooms.bulk._journal_records import JournalHeader, Run, Stop, begin_line, end_line, line_of
from aiorooms.bulk._line_checksum import sealed
from aiorooms.bulk._new_file import write_atomically
from aiorooms.bulk._plan import Plan
from aiorooms.bulk._plan_records import PLANNED
from aiorooms.bulk._plan_writer import PlanWriter
from aiorooms.cli import main as aiorooms_main
from aiorooms.errors import PlanFileError
from aiorooms.simulator import RoomsSimulator

from ._contestants import _cpu, _peak_mb  # pyright: ignore[reportPrivateUsage]
from ._runs import Spread, Target, choose_cores, make_parser, print_environment, print_table, print_targets, write_json
from .bulk import _SPAWN, Figures  # pyright: ignore[reportPrivateUsage]

MEMORY_TARGET: Final = 120.0
"""Maximum peak memory of the command for 200,000 rooms, in MB."""

_TARGET_ROOMS: Final = 200_000
"""The number of rooms that `MEMORY_TARGET` is about."""

Case: TypeAlias = Literal["complete", "conflicts", "interrupted"]
CASES: Final[tuple[Case, ...]] = get_args(Case)

_PLAN: Final = "rooms.plan"
_JOURNAL: Final = "rooms.plan.journal"

_START: Final = datetime(2026, 3, 1, 9, tzinfo=UTC)


# --- the server's process ---


def _name(number: int) -> str:
    return f"clinic-{number % 97:02d}-consultation-room-{number:07d}"


def serve(pipe: "connection.Connection[Any, Any]", rooms: int, folder: Path, case: Case, core: int | None) -> None:
    """Write the plan and the journal, and run a simulator with the rooms until something is received."""
    if core is not None:
        os.sched_setaffinity(0, {core})
    with RoomsSimulator() as sim:
        _write_files(sim, rooms, folder, case)
        pipe.send((sim.url, sim.api_key))
        pipe.recv()


def _unwritable(_: Path, reason: str) -> PlanFileError:
    return PlanFileError(reason)


def _write_files(sim: RoomsSimulator, rooms: int, folder: Path, case: Case) -> None:
    updated_rooms = rooms // 2 if case == "interrupted" else rooms
    lines: list[bytes] = []
    with write_atomically(folder / _PLAN, _unwritable) as file:
        plan = PlanWriter(file, sim.url, "the benchmark")
        for number in range(rooms):
            old = f"https://old.example.com/clinics/{number % 97}/rooms/{number}/events"
            new = f"https://hooks.example.com/clinics/{number % 97}/rooms/{number}/events"
            before = {"webhook_event_url": old, "webhook_event_failover_url": f"{old}/failover"}
            after = {"webhook_event_url": new, "webhook_event_failover_url": f"{new}/failover"}
            is_updated = number < updated_rooms
            present = after if is_updated else before
            room_id = sim.add_room(
                unique_name=_name(number),
                created_at=_text(_START),
                updated_at=_text(_START + timedelta(seconds=number)),
                webhook_event_url=f"{old}/x" if case == "conflicts" else present["webhook_event_url"],
                webhook_event_failover_url=present["webhook_event_failover_url"],
            )
            planned = PlannedUpdate(
                room_id=room_id, unique_name=_name(number), updated_at=_START, before=before, after=after
            )
            plan.add(planned)
            if is_updated:
                lines.append(PLANNED.line(planned))
        plan.finish(0)
    opened = Plan.open(folder / _PLAN)
    with (folder / _JOURNAL).open("wb") as journal:
        header = JournalHeader(
            plan=opened.plan_id,
            plan_file=str(opened.path),
            plan_sha256=opened.sha256,
            base_url=opened.base_url,
            rooms=opened.rooms,
            at=1.0,
        )
        journal.write(sealed(line_of(header)))
        journal.write(sealed(line_of(Run(run=1, at=1.0))))
        for number, line in enumerate(lines):
            room_id = PLANNED.read(line).room_id
            at = _START + timedelta(seconds=number)
            journal.write(sealed(begin_line(line, 1.0)))
            journal.write(sealed(end_line(room_id, 2.0, "updated", attempts=1, elapsed=0.1, updated_at=at)))
        if case != "interrupted":
            journal.write(sealed(line_of(Stop(stop="done", at=3.0))))


def _text(time: datetime) -> str:
    return time.isoformat(timespec="microseconds").replace("+00:00", "Z")


@contextmanager
def account(rooms: int, folder: Path, case: Case) -> Generator[Mapping[str, str]]:
    """Run a simulator in its own process, and yield the environment of its clients."""
    cores = choose_cores()
    pipe, theirs = _SPAWN.Pipe()
    core = None if cores is None else cores[1]
    process = _SPAWN.Process(target=serve, args=(theirs, rooms, folder, case, core), daemon=True)
    process.start()
    url, key = cast("tuple[str, str]", pipe.recv())
    try:
        yield {**os.environ, "TELNYX_BASE_URL": url, "TELNYX_API_KEY": key}
    finally:
        pipe.send(None)
        process.join()


# --- the command's process ---


def _work(core: int | None, folder: Path) -> None:
    """Run `aiorooms rollback`, and print its figures as the last line."""
    if core is not None:
        os.sched_setaffinity(0, {core})
    clock = time.perf_counter()
    sys.argv = ["aiorooms", "rollback", str(folder / _JOURNAL), "--out", str(folder / "back.plan")]
    try:
        aiorooms_main()
    except SystemExit as ended:
        if ended.code not in (None, 0, 1):
            raise
    print(json.dumps({"cpu": _cpu(), "seconds": time.perf_counter() - clock, "peak_mb": _peak_mb()}))


def run(rooms: int, case: Case) -> Figures:
    """Measure the command once."""
    cores = choose_cores()
    with tempfile.TemporaryDirectory() as name, account(rooms, folder := Path(name), case) as environment:
        command = [sys.executable, "-m", "benchmarks.rollback", *([] if cores is None else ["--core", str(cores[0])])]
        command += ["--folder", str(folder)]
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        sys.exit(f"the rollback failed: its process ended with exit status {ended.returncode}\n{ended.stderr[-2000:]}")
    *output, figures = ended.stdout.splitlines()
    planned = {"complete": rooms, "conflicts": 0, "interrupted": rooms // 2}[case]
    assert any(line.startswith(f"{planned:,} room") for line in output), output[-3:]
    assert ended.stderr.count("was modified by someone else") == (rooms if case == "conflicts" else 0)
    return Figures(rooms=rooms, **json.loads(figures))


# --- the benchmark ---


@attrs.frozen(kw_only=True)
class Row:
    what: str
    rooms: int
    cpu_us: Spread
    """CPU time of the command for one room, in microseconds."""
    seconds: Spread
    peak_mb: Spread
    runs: Sequence[Figures]


@attrs.frozen(kw_only=True)
class Rollbacks:
    rounds: int
    rows: Sequence[Row]
    bars: Sequence[Target]


def make_row(what: str, runs: Sequence[Figures]) -> Row:
    return Row(
        what=what,
        rooms=runs[0].rooms,
        cpu_us=Spread.of([one.cpu_us for one in runs]),
        seconds=Spread.of([one.seconds for one in runs]),
        peak_mb=Spread.of([one.peak_mb for one in runs]),
        runs=runs,
    )


def make_targets(rows: Sequence[Row]) -> list[Target]:
    return [
        Target(f"{row.rooms:,} rooms, {row.what}: peak memory", row.peak_mb, MEMORY_TARGET, " MB")
        for row in rows
        if row.rooms <= _TARGET_ROOMS
    ]


def main(arguments: Sequence[str]) -> None:
    parser = make_parser("rollback", __doc__, rounds=3, count=_TARGET_ROOMS, counted="rooms")
    parser.add_argument("--only", choices=CASES, help="measure only this row")
    # Options of the processes that this benchmark starts.
    parser.add_argument("--core", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.folder is not None:
        _work(options.core, options.folder)
        return
    print_environment()
    cases: tuple[Case, ...] = CASES if options.only is None else (options.only,)
    rounds: list[Mapping[str, Figures]] = []
    for number in range(1, options.rounds + 1):
        rounds.append({case: run(options.rooms, case) for case in cases})
        print(f"round {number} of {options.rounds} is done", flush=True)
    rows = [make_row(case, [one[case] for one in rounds]) for case in cases]
    found = Rollbacks(rounds=options.rounds, rows=rows, bars=make_targets(rows))
    head = ("journal", "rooms", "CPU µs per room", "seconds", "peak MB")
    cells = [(row.what, f"{row.rooms:,}", row.cpu_us.text(), row.seconds.text(), row.peak_mb.text()) for row in rows]
    print_table(head, cells)
    print_targets(found.bars)
    if options.json is not None:
        write_json(options.json, found)


if __name__ == "__main__":
    main(sys.argv[1:])
