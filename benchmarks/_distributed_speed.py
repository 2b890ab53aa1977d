"""How fast several workers are, how long the rooms of a killed worker wait, and how much memory a large run needs.

On two cores, the simulator, Redis and three workers share the machine. So the CPU time per room is compared, not the
time: that of workers, and that of as many local applies at once. That of a small local apply is subtracted from that of
a large one, and workers are measured after a small run.
"""

import asyncio
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from uuid import UUID

import attrs
import redis

from aiorooms.bulk import Journal
from aiorooms.bulk._new_file import write_atomically
from aiorooms.bulk._plan_records import PlannedUpdate
from aiorooms.bulk._plan_writer import PlanWriter
from aiorooms.bulk.distributed import DistributedRun, RunStatus
from aiorooms.errors import PlanFileError
from aiorooms.models._fields import Values
from aiorooms.simulator import RateLimit, RoomsSimulator

from ._redis_server import RedisServer
from ._servers import Pipe, serve, start, stats_of

__all__ = ["measure"]

_LIMIT: Final = 500
_LIMITED_ROOMS: Final = 9_750
"""Nineteen and a half windows of a second, so the ideal time is 19 s."""

_IDEAL: Final = 19.0

_ROUNDS: Final = 5
_FREE_ROOMS: Final = 36_000
_FEW_ROOMS: Final = 3_000
_MANY_ROOMS: Final = 1_000_000
_FACTOR: Final = 0x9E3779B97F4A7C15F39CC0605CEDC835
"""Makes ids that look random."""


@attrs.frozen
class _Place:
    """A folder, a store, and a server in a process of its own."""

    folder: Path
    store: RedisServer
    pipe: Pipe
    url: str
    key: str
    rooms: list[str]

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "TELNYX_API_KEY": self.key, "TELNYX_BASE_URL": self.url}

    def command(self, *words: str) -> "subprocess.Popen[bytes]":
        """Start a command of aiorooms."""
        with (self.folder / "commands.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "aiorooms", *words],
                cwd=self.folder, env=self.environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
            )  # fmt: skip

    def plan(self, name: str, rooms: Iterator[str], before: int = 10) -> Path:
        """Write a plan with a webhook URL of its own for each room."""
        path = self.folder / name
        at = datetime.now(UTC)
        with write_atomically(path, lambda _, reason: PlanFileError(reason)) as file:
            writer = PlanWriter(file, self.url, "benchmark")
            for number, room_id in enumerate(rooms):
                url = f"https://new.example.com/rooms/{number}"
                old: Values = {"max_participants": before, "webhook_event_url": ""}
                new: Values = {"max_participants": 20, "webhook_event_url": url}
                writer.add(
                    PlannedUpdate(
                        room_id=room_id, unique_name=f"room-{number:07}", updated_at=at, before=old, after=new,
                        pair={"webhook_event_failover_url": ""},
                    )
                )  # fmt: skip
            writer.finish(0)
        return path


@contextmanager
def _place(rooms: int) -> Generator[_Place]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = RedisServer(folder, "--appendonly", "yes")
        store.start()
        pipe, process = start(serve, rooms)
        try:
            url, key, ids = pipe.recv()
            yield _Place(folder, store, pipe, url, key, ids)
            pipe.send(None)
        finally:
            process.kill()
            store.end()


def _cpu(process: "subprocess.Popen[bytes]") -> float:
    """Return the CPU time of a process, in seconds."""
    values = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(values[11]) + int(values[12])) / os.sysconf("SC_CLK_TCK")


def _peak(process: "subprocess.Popen[bytes]") -> float:
    """Return the largest memory of a process so far, in MB."""
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0


def _status(name: str, on: str) -> RunStatus:
    async def ask() -> RunStatus:
        async with DistributedRun(name, on) as run:
            return await run.status()

    return asyncio.run(ask())


def _until(condition: Callable[[], bool], seconds: float = 300.0, *, pause: float = 0.02) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("the benchmark takes too long")
        time.sleep(pause)


_SUBMIT: Final = """
import asyncio, resource, sys
from aiorooms import RoomsClient
from aiorooms.bulk import Plan
from aiorooms.bulk.distributed import submit

async def main():
    async with RoomsClient() as client:
        print(await submit(client, Plan.open(sys.argv[1]), sys.argv[2]))

asyncio.run(main())
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def _submitted(place: _Place, plan: Path) -> tuple[str, float]:
    """Submit a plan, without watching its run. Return its name, and the largest memory of the process in MB."""
    words = [sys.executable, "-c", _SUBMIT, str(plan), place.store.url]
    done = subprocess.run(words, env=place.environment, check=True, capture_output=True, text=True)
    name, peak = done.stdout.split()
    return name, float(peak)


def _workers(place: _Place, *options: str, count: int = 3) -> "list[subprocess.Popen[bytes]]":
    return [place.command("worker", "--on", place.store.url, *options) for _ in range(count)]


def _end(workers: "list[subprocess.Popen[bytes]]") -> None:
    for worker in workers:
        worker.kill()
        worker.wait()


def _journal(name: str, place: _Place) -> Journal:
    async def pull() -> None:
        async with DistributedRun(name, place.store.url) as run:
            await run.pull_journal(place.folder / f"{name}.journal")

    asyncio.run(pull())
    return Journal.open(place.folder / f"{name}.journal")


def limited() -> None:
    """Three workers with a limit."""
    with _place(_LIMITED_ROOMS) as place:
        place.pipe.send(_limit)
        place.pipe.recv()
        workers = _workers(place)
        time.sleep(4)
        name = _finish(place, "rooms", place.rooms)
        records = [*_journal(name, place).records()]
        begun = min(float(str(record["at"])) for record in records if "begin" in record)
        ended = max(float(str(record["at"])) for record in records if "end" in record)
        place.pipe.send(stats_of)
        stats = place.pipe.recv()
        _end(workers)
    seconds = ended - begun
    rate_limited = stats.refused / max(1, stats.requests)
    print(
        f"3 workers, {_LIMIT}/s: {_LIMITED_ROOMS / seconds / _LIMIT:.1%} of the limit, target at least 97 %;"
        f" {seconds:.2f} s, {_IDEAL:g} s with the last window used at once; {stats.by_method['GET']} reads beside,"
        f" {rate_limited:.2%} 429s",
        flush=True,
    )


def _limit(sim: RoomsSimulator) -> None:
    sim.rate_limit = RateLimit(_LIMIT)


def cpu() -> None:
    """The CPU time per room of workers, and of as many local applies at once.

    The measured processes have one core for themselves, and the simulator and Redis the other one. Processes that share
    a core compete for its caches: three local applies at once need 1.3 times as much per room as one.
    """
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})
    try:
        for count in (1, 3):
            rounds = [(_local_us(count), _workers_us(count)) for _ in range(_ROUNDS)]
            local, us = (min(column) for column in zip(*rounds, strict=True))
            print(
                f"workers without a limit: {count}, {us:.0f} us CPU per room, {us / local:.2f} times that of"
                f" {count} local applies at once ({local:.0f} us), the least of {_ROUNDS} each; target at most 1.15",
                flush=True,
            )
    finally:
        os.sched_setaffinity(0, cores)


def _on_other_core(process: "subprocess.Popen[bytes]") -> "subprocess.Popen[bytes]":
    """Give a process another core than the one of the benchmark."""
    if others := {*range(os.cpu_count() or 1)} - os.sched_getaffinity(0):
        os.sched_setaffinity(process.pid, {min(others)})
    return process


def _local_us(count: int) -> float:
    """Return the CPU time per room of some local applies at once, in microseconds."""
    few, many = (_local_cpu(count, rooms) for rooms in (_FEW_ROOMS, _FREE_ROOMS))
    return (many - few) / (_FREE_ROOMS - _FEW_ROOMS) * 1e6


def _local_cpu(count: int, rooms: int) -> float:
    """Return the CPU time of some local applies at once, with so many rooms together, in seconds."""
    with _place(rooms) as place:
        parts = [iter(place.rooms[number::count]) for number in range(count)]
        plans = [place.plan(f"{number}.plan", part) for number, part in enumerate(parts)]
        applies = [_on_other_core(place.command("apply", str(plan), "--yes")) for plan in plans]
        return sum(map(_ended_cpu, applies))


def _workers_us(count: int) -> float:
    """Return the CPU time per room of some workers, in microseconds.

    A small run before it is not measured: in it, the workers join the shared limit and find out that there is none.
    """
    with _place(_FREE_ROOMS + _FEW_ROOMS) as place:
        workers = [_on_other_core(worker) for worker in _workers(place, count=count)]
        time.sleep(4)
        _finish(place, "few", place.rooms[:_FEW_ROOMS])
        before = sum(map(_cpu, workers))
        _finish(place, "many", place.rooms[_FEW_ROOMS:])
        used = sum(map(_cpu, workers)) - before
        _end(workers)
    return used / _FREE_ROOMS * 1e6


def _finish(place: _Place, name: str, rooms: Sequence[str]) -> str:
    """Submit a plan for some rooms, wait until its run has ended, and return the name of the run."""
    run, _ = _submitted(place, place.plan(f"{name}.plan", iter(rooms)))
    _until(lambda: _status(run, place.store.url).has_ended, pause=0.2)
    return run


def _ended_cpu(process: "subprocess.Popen[bytes]") -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert process.wait() == 0
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def killed(redelivery: float = 15.0, rounds: int = 3) -> None:
    """How long the rooms of a killed worker wait."""
    waits: list[float] = []
    for _ in range(rounds):
        with _place(500) as place:
            place.pipe.send(_slow)
            place.pipe.recv()
            options = ("--redelivery", f"{redelivery:g}", "--concurrency", "3")
            (first,) = _workers(place, *options, count=1)
            name, _ = _submitted(place, place.plan("rooms.plan", iter(place.rooms)))
            _until(lambda: _status(name, place.store.url).snapshot.counts["updated"] > 20)  # noqa: B023
            others = _workers(place, *options, count=2)
            time.sleep(4)
            _end([first])
            at = time.monotonic()
            time.sleep(1)
            before = _requests(place)
            _until(lambda: _requests(place) > before + 3)  # noqa: B023 - it is called at once
            waits.append(time.monotonic() - at)
            _end(others)
    print(
        f"rooms of a killed worker go on after {max(waits):.1f} s (of {', '.join(f'{one:.1f}' for one in waits)}),"
        f" target at most {redelivery + 3:g} s",
        flush=True,
    )


def _slow(sim: RoomsSimulator) -> None:
    sim.latency = 0.2


def _requests(place: _Place) -> int:
    place.pipe.send(stats_of)
    stats = place.pipe.recv()
    return int(stats.by_method["PATCH"] + stats.by_method["GET"])


def memory() -> None:
    """The memory of a run with a million rooms."""
    with _place(1) as place:
        ids = (str(UUID(int=number * _FACTOR % 2**128, version=4)) for number in range(_MANY_ROOMS))
        plan = place.plan("many.plan", ids)
        store = redis.Redis.from_url(place.store.url)  # pyright: ignore[reportUnknownMemberType]
        before = int(store.info("memory")["used_memory"])  # pyright: ignore[reportUnknownMemberType]
        began = time.monotonic()
        name, submit_mb = _submitted(place, plan)
        seconds = time.monotonic() - began
        stored = int(store.info("memory")["used_memory"]) - before  # pyright: ignore[reportUnknownMemberType]
        store.close()
        status = place.command("status", name, "--on", place.store.url)
        status_mb = _peak_until_end(status)
        (worker,) = _workers(place, "--retries", "0", count=1)
        _until(lambda: _status(name, place.store.url).phase == "sending")
        stopped = place.command("stop", name, "--on", place.store.url)
        stopped.wait()
        worker_mb = _peak(worker)
        _end([worker])
    print(
        f"{_MANY_ROOMS:,} rooms: {stored / 1e6:.1f} MB in the store, submitted in {seconds:.0f} s; peak of submit"
        f" {submit_mb:.0f} MB, status {status_mb:.0f} MB, lead {worker_mb:.0f} MB;"
        " targets: 40 MB in the store, 200 MB in any process",
        flush=True,
    )


def _peak_until_end(process: "subprocess.Popen[bytes]") -> float:
    peak = 0.0
    while process.poll() is None:
        try:
            peak = max(peak, _peak(process))
        except OSError:
            break
        time.sleep(0.01)
    process.wait()
    return peak


def measure(only: str | None = None) -> None:
    """Print all rows, or those whose name contains `only`."""
    for name, row in (("limit", limited), ("cpu", cpu), ("killed", killed), ("memory", memory)):
        if only is None or only in name:
            row()
