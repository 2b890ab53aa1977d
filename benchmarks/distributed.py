"""Kill and suspend workers, and kill the store, while several workers apply a plan; check that nothing is lost.

In each run, three workers apply a plan to the simulator, which injects random faults. The plan gives each room a
webhook URL of its own. At random instants, a worker is killed with SIGKILL or terminated with SIGTERM, and replaced; a
worker is suspended with SIGSTOP and goes on later; Redis is killed and started again from its append-only file; or the
run is stopped, and resumed when it has ended. In half of the runs, someone else changes rooms too. At the end, the
benchmark pulls the journal, and checks that

- every room has an outcome: it is `updated` and has the wanted values, or it is a conflict and someone else changed it;
- no request was sent to a room whose final outcome was recorded before;
- the pulled journal has no damaged lines.

The seed of a run determines the instants and the faults. The first failed check ends the benchmark with exit status 1.
"""

import argparse
import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Final

import attrs

from aiorooms import RoomsClient
from aiorooms.bulk import Journal, Plan, make_plan, read_rows
from aiorooms.bulk.distributed import DistributedRun, submit
from aiorooms.bulk.distributed._connect import opened_engine
from aiorooms.bulk.distributed._store import RunStore
from aiorooms.simulator import Faults, RateLimit, RoomsSimulator

from ._campaign import CheckError, add_options, execute
from ._distributed_speed import measure
from ._redis_server import RedisServer
from ._runs import at_least_one

__all__ = ["Campaign", "Fleet", "main", "play"]

KEY: Final = "KEY_simulated"

THEIR_URL: Final = "https://theirs.example.com/rooms"
"""The URL that someone else gives to rooms."""

_FAULTS: Final = Faults(0.05, stall_seconds=0.3, slow_seconds=0.05)

_LATENCY: Final = (0.0, 0.02)

_WORKERS: Final = 3

_EVENTS: Final = ("kill", "terminate", "suspend", "store", "stop")
_WEIGHTS: Final = (6, 2, 4, 2, 1)

_STUCK_AFTER: Final = 120.0
"""Seconds after which a run counts as stuck."""

_TERMINATION: Final = 25.0
"""Seconds after a run within which a worker must end that was terminated. It aborts its updates after 60 s."""

_SLACK: Final = 0.3
"""Seconds by which the recorded time of a request may be wrong."""


class Fleet:
    """Workers in processes of their own."""

    def __init__(self, sim: RoomsSimulator, on: str, folder: Path, *options: str) -> None:
        self._words = [sys.executable, "-m", "aiorooms", "worker", "--on", on, "--base-url", sim.url, *options]
        self._environment = {**os.environ, "TELNYX_API_KEY": sim.api_key}
        self._log = (folder / "workers.log").open("ab")
        self.processes: list[subprocess.Popen[bytes]] = []
        self._ending: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Start a worker."""
        self.processes.append(subprocess.Popen(self._words, env=self._environment, stdout=self._log, stderr=self._log))

    def kill(self, index: int) -> None:
        """Kill a worker."""
        process = self.processes.pop(index)
        process.kill()
        process.wait()

    def terminate(self, index: int) -> None:
        """Let a worker hand its batches back, and end."""
        process = self.processes.pop(index)
        process.terminate()
        self._ending.append(process)

    def check_ended(self) -> None:
        """Wait until all workers that were terminated have ended. Raise `CheckError` if one hangs or has failed."""
        for process in self._ending:
            try:
                code = process.wait(_TERMINATION)
            except subprocess.TimeoutExpired:
                raise CheckError(f"a worker that was terminated did not end within {_TERMINATION:g} s") from None
            if code not in (0, 130, -signal.SIGTERM):  # one that was still starting has another code than 0
                raise CheckError(f"a worker that was terminated ended with {code}")

    def close(self) -> None:
        """Kill all workers."""
        self.processes += self._ending
        while self.processes:
            self.kill(0)
        self._log.close()


@attrs.define
class Campaign:
    """Counts over all runs."""

    runs: int = 0
    killed: int = 0
    terminated: int = 0
    suspended: int = 0
    stopped: int = 0
    stores: int = 0
    updates: int = 0
    found: int = 0
    left: int = 0
    again: int = 0
    changed: int = 0
    conflicts: int = 0
    false_conflicts: int = 0

    def rows(self) -> Sequence[tuple[str, int]]:
        return [
            ("runs", self.runs),
            ("workers killed", self.killed),
            ("workers terminated", self.terminated),
            ("workers suspended", self.suspended),
            ("runs stopped and resumed", self.stopped),
            ("stores killed", self.stores),
            ("update requests", self.updates),
            ("rooms that were found as wanted", self.found),
            ("rooms left without an outcome", self.left),
            ("requests for rooms with a final outcome", self.again),
            ("rooms changed by someone else", self.changed),
            ("conflicts", self.conflicts),
            ("  of rooms that nobody changed", self.false_conflicts),
        ]


def url_of(room_id: str) -> str:
    """Return the webhook URL that the plan gives a room."""
    return f"https://new.example.com/rooms/{room_id}"


def submit_plan(sim: RoomsSimulator, folder: Path, on: str) -> str:
    """Make a plan with a webhook URL of its own for each room, submit it, and return the name of the run."""
    path = make_url_plan(sim, folder)

    async def send() -> str:
        async with RoomsClient(sim.api_key, base_url=sim.url) as client:
            return await submit(client, Plan.open(path), on)

    return asyncio.run(send())


def make_url_plan(sim: RoomsSimulator, folder: Path) -> Path:
    """Make a plan with a webhook URL of its own for each room, and return its path."""
    rows, plan = folder / "rooms.csv", folder / "rooms.plan"
    lines = (f"{room_id},20,{url_of(room_id)}\n" for room_id in sim.room_ids)
    rows.write_text("room_id,max_participants,webhook_event_url\n" + "".join(lines))
    with read_rows(rows) as wanted:

        async def write() -> None:
            async with RoomsClient(sim.api_key, base_url=sim.url) as client:
                await make_plan(client, wanted, plan)

        asyncio.run(write())
    return plan


class Run:
    """One run."""

    def __init__(self, seed: int, rooms: int, redelivery: float, folder: Path, campaign: Campaign) -> None:
        self._random = Random(seed)
        self._redelivery = redelivery
        self._folder = folder
        self._campaign = campaign
        self._sim = RoomsSimulator(rooms=rooms, seed=seed, latency=_LATENCY, api_key=KEY)
        self._changed: set[str] = set()
        self._times: list[tuple[float, int]] = []
        """Unix times, and how many requests had been recorded by then."""

    def play(self) -> None:
        """Execute the run. Raise `CheckError` if a check fails."""
        store = RedisServer(self._folder, "--appendonly", "yes", "--appendfsync", "everysec")
        store.start()
        sim = self._sim
        with sim:
            fleet = Fleet(
                sim, store.url, self._folder, "--redelivery", f"{self._redelivery:g}", "--timeout", "2",
                "--concurrency", "60",
            )  # fmt: skip
            try:
                name = submit_plan(sim, self._folder, store.url)
                sim.record = True
                sim.faults = _FAULTS
                sim.rate_limit = RateLimit(500)
                for _ in range(_WORKERS):
                    fleet.start()
                self._disturb(name, store, fleet)
                fleet.check_ended()
                path = self._folder / "pulled.journal"
                asyncio.run(_pull(name, store.url, path))
                self._check(path)
            finally:
                fleet.close()
                store.end()
        self._campaign.runs += 1

    def _disturb(self, name: str, store: RedisServer, fleet: Fleet) -> None:
        """Disturb the run at random instants, until it has ended."""
        random, campaign = self._random, self._campaign
        changes_rooms = random.random() < 0.5
        began = time.monotonic()
        next_event = began + random.uniform(0.5, 3)
        suspended: list[tuple[float, int]] = []
        next_change, restart_at = began, None
        next_look = began + 2
        while True:
            now = time.monotonic()
            self._times.append((time.time(), len(self._sim.recorded)))
            if now - began > _STUCK_AFTER:
                raise CheckError(f"the run did not end in time: {asyncio.run(_state(name, store.url))}")
            for at, process_id in [*suspended]:
                if now >= at:
                    suspended.remove((at, process_id))
                    os.kill(process_id, signal.SIGCONT)
            if restart_at is not None and now >= restart_at:
                store.start()
                restart_at = None
            if now >= next_event and now - began < 20:
                next_event = now + random.expovariate(1 / 1.5)
                event = random.choices(_EVENTS, _WEIGHTS)[0]
                if event == "store" and restart_at is None:
                    store.end(signal.SIGKILL)
                    restart_at = now + random.uniform(0.2, 3)
                    campaign.stores += 1
                elif event == "suspend":
                    process_id = random.choice(fleet.processes).pid
                    if all(process_id != other for _, other in suspended):
                        os.kill(process_id, signal.SIGSTOP)
                        suspended.append((now + random.uniform(0.5, 3 * self._redelivery), process_id))
                        campaign.suspended += 1
                elif event == "stop" and restart_at is None:
                    campaign.stopped += asyncio.run(_stop(name, store.url))
                elif event == "terminate":
                    fleet.terminate(random.randrange(len(fleet.processes)))
                    fleet.start()
                    campaign.terminated += 1
                elif event == "kill":
                    index = random.randrange(len(fleet.processes))
                    killed = fleet.processes[index].pid
                    suspended = [(at, process_id) for at, process_id in suspended if process_id != killed]
                    fleet.kill(index)
                    fleet.start()
                    campaign.killed += 1
            if changes_rooms and now >= next_change:
                next_change = now + random.uniform(0, 0.5)
                self._change_room()
            if restart_at is None and now >= next_look:
                next_look = now + 0.5
                if asyncio.run(_is_over(name, store.url)):
                    for _, process_id in suspended:
                        os.kill(process_id, signal.SIGCONT)
                    time.sleep(1.0 if suspended else 0.0)  # a suspended worker that goes on must not send anything
                    self._times.append((time.time(), len(self._sim.recorded)))
                    return
            time.sleep(0.02)

    def _change_room(self) -> None:
        room_id = self._random.choice(self._sim.room_ids)
        if room_id not in self._changed:
            self._changed.add(room_id)
            self._sim.change_room(room_id, webhook_event_url=THEIR_URL)
            self._campaign.changed += 1

    def _check(self, path: Path) -> None:
        campaign, sim = self._campaign, self._sim
        journal = Journal.open(path)
        states = journal.states()
        if journal.damaged_lines():
            raise CheckError("lines of the journal are damaged")
        ended = self._ends(journal)
        left = [room_id for room_id in sim.room_ids if states.get(room_id) not in ("updated", "conflict")]
        campaign.left += len(left)
        if left:
            errors = [record.get("error") for record in journal.records() if record.get("end") in left]
            raise CheckError(
                f"{len(left)} rooms have no outcome: {[(one, states.get(one)) for one in left[:5]]} {errors[:5]}"
            )
        for room_id, state in states.items():
            room = sim.rooms[room_id]
            found = room["max_participants"], room["webhook_event_url"]
            right = [(20, url_of(room_id))] if state == "updated" else []
            if room_id in self._changed:
                right += [(20, THEIR_URL), (10, THEIR_URL)]
            elif state == "conflict":
                campaign.false_conflicts += 1
                raise CheckError(f"room {room_id} is a conflict, but nobody changed it")
            if found not in right:
                raise CheckError(f"room {room_id} is {state!r}, but has the values {found}")
            campaign.conflicts += state == "conflict"
        again = self._sent_again(ended)
        campaign.again += len(again)
        if again:
            raise CheckError(f"{len(again)} requests for rooms with an outcome: {again[:5]}")

    def _ends(self, journal: Journal) -> Mapping[str, float]:
        """Return when the outcome of each room was recorded first."""
        ended: dict[str, float] = {}
        for record in journal.records():
            if "end" in record and record["status"] not in ("uncertain", "skipped"):  # `resume` sends these again
                ended.setdefault(str(record["end"]), float(str(record["at"])))
                self._campaign.found += "found" in record
        return ended

    def _sent_again(self, ended: Mapping[str, float]) -> list[tuple[str, float]]:
        """Return the rooms that got a request after their outcome was recorded, and how many seconds later."""
        again: list[tuple[str, float]] = []
        times = iter(self._times)
        earliest, count = next(times)
        before = earliest
        for index, request in enumerate(self._sim.recorded):
            while count <= index and (following := next(times, None)) is not None:
                before, (earliest, count) = earliest, following
            if request.method != "PATCH":
                continue
            self._campaign.updates += 1
            room_id = request.path.rpartition("/")[2]
            if room_id in ended and before > ended[room_id] + _SLACK:
                again.append((room_id, round(before - ended[room_id], 3)))
        return again


async def _stop(name: str, on: str) -> bool:
    async with DistributedRun(name, on) as run:
        return await run.stop()


async def _is_over(name: str, on: str) -> bool:
    """Resume a run that was stopped. Return whether it has ended, and nothing is left."""
    async with DistributedRun(name, on) as run:
        status = await run.status()
        return status.has_ended and not (status.stop and await run.resume())


async def _state(name: str, on: str) -> str:
    """Return what a run that is stuck says about itself."""
    async with opened_engine(on, "none") as engine:
        store = RunStore(engine.client, name)
        head = await store.head()
        rows = [await store.rows(number) for number in range(0 if head is None else head.batches)]
        opened = [await store.is_opened(number) for number in range(len(rows))]
        keys = sorted(map(str, await engine.client.keys("aiorooms*")))
        streams = [key for key in keys if key.endswith(":stream'")]
        pending = [await engine.client.xpending_range(key[2:-1], "docket-workers", "-", "+", 100) for key in streams]
        return f"{head} {[sorted({*letters}) for letters in rows]} {opened} {pending}"


async def _pull(name: str, on: str, path: Path) -> None:
    async with DistributedRun(name, on) as run:
        await run.pull_journal(path)


def play(seeds: Sequence[int], rooms: int, redelivery: float, *, every: int = 0) -> Campaign:
    """Execute a run for each seed, and return the counts. Print a line after every `every` runs."""
    campaign = Campaign()
    for number, seed in enumerate(seeds, 1):
        with tempfile.TemporaryDirectory() as folder:
            try:
                Run(seed, rooms, redelivery, Path(folder), campaign).play()
            except CheckError as error:
                raise CheckError(f"run with seed {seed}: {error}") from error
        if every and number % every == 0:
            print(
                f"{number} of {len(seeds)} runs, {campaign.killed} killed, {campaign.suspended} suspended, "
                f"{campaign.stopped} runs stopped",
                flush=True,
            )
    return campaign


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks distributed", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    add_options(parser, runs=100)
    parser.add_argument(
        "--rooms", metavar="NUMBER", type=at_least_one, default=2000, help="number of rooms in each run (default: 2000)"
    )
    parser.add_argument(
        "--redelivery", metavar="SECONDS", type=float, default=4.0,
        help="redelivery time of the workers (default: 4, so that a run is short)",
    )  # fmt: skip
    parser.add_argument(
        "--speed", nargs="?", const="", metavar="ROW",
        help="measure speed and memory instead: all rows, or limit, cpu, killed or memory",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    if options.speed is not None:
        measure(options.speed or None)
        return
    execute(
        options,
        lambda seeds: play(seeds, options.rooms, options.redelivery, every=5),
        "All rooms have one true outcome",
    )
