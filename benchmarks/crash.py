"""Whether an apply survives being killed: processes killed at random instants, and resumed until all is done.

In each run a plan is applied to the simulator by a process of its own, with random faults on, and that process is
killed with SIGKILL at a random instant; so is the resume that follows, every other time, and so on until one comes to
its end. After each kill, and in the end, it is checked that

- the journal can be read, and knows of every room of which an update reached the server;
- a resume sends nothing for a room that the journal had as `updated` before it;
- a resume looks at no other rooms than those that were begun and had no outcome: what is read besides are rooms that
  the resume itself has begun, when the answer to their update was lost;
- in the end every room has the wanted values, and an outcome that says so.

The seed of a run decides on its faults and on when it is killed, as far as the clock lets it. The first run in which
something is wrong ends the campaign with exit status 1.
"""

import argparse
import asyncio
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Final, Literal, cast

import attrs

from aiorooms import APIError, RetryPolicy, RoomsClient
from aiorooms.bulk import Journal, JournalError, Plan, apply, make_plan, resume, select
from aiorooms.simulator import Faults, RoomsSimulator

from ._runs import at_least_one, write_json

CONCURRENCY: Final = 20

KEY: Final = "KEY_simulated"

NEW_URL: Final = "https://new.example.com/rooms"

_FAULTS: Final = Faults(0.15, stall_seconds=0.05, slow_seconds=0.02)

_LATENCY: Final = (0.0, 0.006)

_ENDED_EARLY: Final = 3
"""An exit status."""

_KILLED: Final = 0.5
"""The share of the resumes that are killed; so is every apply."""

_ANY_TIME: Final = 0.2
"""The share of the kills that may come before anything is sent."""

_LONGEST: Final = 60.0
"""Seconds that a process may take before it is taken for stuck."""


class WrongError(Exception):
    """Something is not as it was promised."""


# --- the process that is killed ---


async def work(what: Literal["apply", "resume"], url: str, plan: Path, journal: Path) -> None:
    retry = RetryPolicy(max_attempts=2, base_delay=0.005, max_delay=0.02)
    async with RoomsClient(KEY, base_url=url, retry=retry, timeout=1.0) as client:
        if what == "apply":
            run = apply(client, Plan.open(plan), journal, concurrency=CONCURRENCY)
        else:
            run = resume(client, journal, concurrency=CONCURRENCY, retry_failed=True)
        try:
            async for _ in run.outcomes():
                pass
        except APIError as error:  # the account could not be listed: faults come to that too
            print(error, file=sys.stderr)
            sys.exit(_ENDED_EARLY)


# --- the runs ---


@attrs.define
class Campaign:
    """What was seen in all runs."""

    runs: int = 0
    kills: int = 0
    early_kills: int = 0
    """Of them, before there was a journal."""
    ended_early: int = 0
    """Processes that could not list the account in so many attempts, and said so."""
    torn: int = 0
    """Journals whose last line was cut off."""
    begun: int = 0
    """Rooms that were begun and had no outcome when their process was killed."""
    most_begun: int = 0
    """The most of them at one kill."""
    looked_at: int = 0
    """Rooms that a resume looked at before it sent anything for them."""
    found: int = 0
    """Of them, those that had the wanted values."""
    confirmed: int = 0
    """Rooms that were read after a fault, by the process that had begun them."""
    updates: int = 0
    """Requests to update a room, as the server counted them."""
    resent: int = 0
    """Of them, those for rooms that were done already by what the journal said."""

    def rows(self) -> Sequence[tuple[str, int]]:
        return [
            ("runs", self.runs),
            ("kills", self.kills),
            ("  before there was a journal", self.early_kills),
            ("  in the middle of a line", self.torn),
            ("processes that could not list the account", self.ended_early),
            ("rooms begun and without an outcome at a kill", self.begun),
            ("  most at one kill", self.most_begun),
            ("rooms looked at by a resume", self.looked_at),
            ("  found with the wanted values", self.found),
            ("rooms read again after a fault", self.confirmed),
            ("requests to update", self.updates),
            ("  for rooms that were done", self.resent),
        ]


class Run:
    """One plan, applied, killed and resumed until it is done."""

    def __init__(self, seed: int, rooms: int, folder: Path, campaign: Campaign) -> None:
        self._rooms = rooms
        self._plan = folder / "a.plan"
        self._journal = folder / "a.journal"
        self._random = Random(seed)
        self._campaign = campaign
        self._sim = RoomsSimulator(rooms=rooms, seed=seed, latency=_LATENCY, api_key=KEY)
        self._records = 0
        """Records of the journal that were looked at already."""

    def play(self) -> None:
        """Play it. Raises `WrongError`."""
        with self._sim:
            asyncio.run(self._make_plan())
            self._sim.faults = _FAULTS
            self._sim.record = True
            known: Mapping[str, str] = {}
            while True:
                ended = self._process(is_killed=not known or self._random.random() < _KILLED)
                states = self._states()
                self._check(known, states)
                known = states
                if ended and set(states.values()) == {"updated"} and len(states) == self._rooms:
                    break
            self._check_rooms()
        self._campaign.runs += 1

    async def _make_plan(self) -> None:
        async with RoomsClient(KEY, base_url=self._sim.url) as client:
            wanted = select(set_fields=["max_participants=20", f"webhook_event_url={NEW_URL}"])
            await make_plan(client, wanted, self._plan)

    def _process(self, *, is_killed: bool) -> bool:
        """Apply or resume, in a process that may be killed; give whether it came to its end."""
        sim = self._sim
        sim.recorded.clear()
        sim.reset_stats()
        what = "resume" if self._has_begun() else "apply"
        command = [
            sys.executable,
            "-m",
            "benchmarks.crash",
            "--work",
            what,
            sim.url,
            str(self._plan),
            str(self._journal),
        ]
        process = subprocess.Popen(command, stderr=subprocess.PIPE)
        # Some are killed at any time, before they do anything too; most while they send. The others may end.
        at_time = time.monotonic() + (self._random.uniform(0, 0.6) if self._random.random() < _ANY_TIME else _LONGEST)
        at_request = self._random.uniform(0, 1.2 * self._rooms)
        more = self._random.uniform(0, 0.003)
        while process.poll() is None:
            if is_killed and (time.monotonic() >= at_time or sim.stats.requests >= at_request):
                time.sleep(more)
                process.kill()
                break
            if time.monotonic() > at_time + _LONGEST:
                process.kill()
                raise WrongError(f"{what} did not end")
            time.sleep(0.0005)
        said = process.communicate()[1].decode()
        if process.returncode == -signal.SIGKILL:
            self._campaign.kills += 1
        elif process.returncode == _ENDED_EARLY:
            self._campaign.ended_early += 1
        elif process.returncode != 0:
            raise WrongError(f"{what} ended with {process.returncode}: {said}")
        while sim.stats.in_flight:  # what the dead process sent is carried out all the same
            time.sleep(0.0005)
        return process.returncode == 0

    def _has_begun(self) -> bool:
        if not self._journal.exists():
            return False
        try:
            Journal.open(self._journal)
        except JournalError as error:
            if "cut off before anything was sent" in str(error):
                return False
            raise WrongError(f"the journal can't be read: {error}") from None
        return True

    def _states(self) -> Mapping[str, str]:
        if not self._has_begun():
            self._campaign.early_kills += 1
            return {}
        journal = Journal.open(self._journal)
        self._campaign.torn += journal.size < self._journal.stat().st_size
        try:
            states = journal.states()
        except JournalError as error:
            raise WrongError(f"the journal can't be read: {error}") from None
        begun = sum(state == "begun" for state in states.values())
        self._campaign.begun += begun
        self._campaign.most_begun = max(self._campaign.most_begun, begun)
        return states

    def _new_records(self) -> Sequence[Mapping[str, object]]:
        """Give the records that the last process wrote."""
        if not self._has_begun():
            return []
        records = [*Journal.open(self._journal).records()]
        new = records[self._records :]
        self._records = len(records)
        return new

    def _check(self, known: Mapping[str, str], states: Mapping[str, str]) -> None:
        """See that the process which was the last to run did what it should; `known` are the states before it."""
        paths = Counter((one.method, one.path.partition("?")[0].rpartition("/rooms/")[2]) for one in self._sim.recorded)
        sent = {room_id: count for (method, room_id), count in paths.items() if method == "PATCH"}
        read = {room_id for (method, room_id) in paths if method == "GET" and room_id in self._sim.rooms}
        records = self._new_records()
        begun = {str(record["begin"]) for record in records if "begin" in record}
        looked_at = read & {room_id for room_id, state in known.items() if state in ("begun", "uncertain")}
        campaign = self._campaign
        campaign.updates += sum(sent.values())
        campaign.looked_at += len(looked_at)
        campaign.found += sum("found" in record for record in records)
        campaign.confirmed += len(read & begun - looked_at)
        done = {room_id for room_id, state in known.items() if state == "updated"}
        campaign.resent += sum(count for room_id, count in sent.items() if room_id in done)
        if again := done & sent.keys():
            raise WrongError(f"{len(again)} rooms were sent again though they were done: {sorted(again)}")
        if unnoted := sent.keys() - states.keys():
            raise WrongError(f"{len(unnoted)} rooms were sent that the journal doesn't know: {sorted(unnoted)}")
        if unbegun := sent.keys() - begun:
            raise WrongError(f"{len(unbegun)} rooms were sent before they were begun: {sorted(unbegun)}")
        if other := read - looked_at - begun:
            raise WrongError(f"{len(other)} rooms were looked at without need: {sorted(other)}")
        if lost := {room_id for room_id in done if states.get(room_id) != "updated"}:
            raise WrongError(f"{len(lost)} rooms are not done any more: {sorted(lost)}")

    def _check_rooms(self) -> None:
        rooms = self._sim.rooms
        wrong = [
            room_id
            for room_id in rooms
            if (rooms[room_id]["max_participants"], rooms[room_id]["webhook_event_url"]) != (20, NEW_URL)
        ]
        if wrong:
            raise WrongError(f"{len(wrong)} rooms don't have the wanted values: {wrong}")


def play(seeds: Sequence[int], rooms: int, *, every: int = 0) -> Campaign:
    """Play a run for each seed. `every` so many runs a line is printed. Raises `WrongError` that names the seed."""
    campaign = Campaign()
    for number, seed in enumerate(seeds, 1):
        with tempfile.TemporaryDirectory() as folder:
            try:
                Run(seed, rooms, Path(folder), campaign).play()
            except WrongError as error:
                raise WrongError(f"run with seed {seed}: {error}") from error
        if every and number % every == 0:
            print(f"{number} of {len(seeds)} runs, {campaign.kills} kills", flush=True)
    return campaign


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks crash", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", metavar="NUMBER", type=at_least_one, default=300, help="300 if not given")
    parser.add_argument("--rooms", metavar="NUMBER", type=at_least_one, default=200, help="200 if not given")
    parser.add_argument("--seed", metavar="NUMBER", type=int, default=1, help="of the first run; 1 if not given")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write what was seen to this file too")
    parser.add_argument("--work", nargs=4, help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    if asked.work is not None:
        what, url, plan, journal = cast("list[str]", asked.work)
        asyncio.run(work("apply" if what == "apply" else "resume", url, Path(plan), Path(journal)))
        return
    began = time.monotonic()
    try:
        campaign = play(range(asked.seed, asked.seed + asked.runs), asked.rooms, every=25)
    except WrongError as error:
        sys.exit(str(error))
    for what, count in campaign.rows():
        print(f"{what:<48}{count:>10,}")
    if asked.json is not None:
        write_json(asked.json, campaign)
    print(f"All is as it should be; it took {time.monotonic() - began:.0f} s.")


if __name__ == "__main__":
    main(sys.argv[1:])
