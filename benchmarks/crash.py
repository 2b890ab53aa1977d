"""Kill bulk runs at random instants while others change rooms, resume them, and check that nothing is lost.

In each run, a process applies a plan to the simulator, which injects random faults. The plan gives each room a webhook
URL of its own, so a room with the URL of another room would be noticed. The process is killed with SIGKILL at a random
instant. Further processes then resume the run until all rooms are updated. About half of these processes are killed
too. Meanwhile, someone else changes rooms at random: the webhook URL, which is planned, or `webhook_timeout_secs`,
which is not. After each process, the benchmark checks that

- the journal can be read, has no damaged lines, and contains a `begin` record of every update that the process sent;
- the process sent no update for a room that was already `updated` in the journal, and such rooms are still `updated`;
- the process read back only rooms whose update it began itself, and rooms that were `begun` or `uncertain` in the
  journal when it started;
- the process overwrote a webhook URL only if someone else had set it less than `BulkRun.overwrite_window` before. This
  is not checked for the updates that were in flight when the process was killed, because they are not in its report.

At the end of a run, every room must have an outcome. It is `updated`, and the room has the wanted values, unless
someone else changed the webhook URL. Then it may be `conflict` instead, and the room has the URL of the other. The seed
of a run determines its faults and the planned instants of the kills. The actual instants also depend on the speed of
the machine. The first failed check ends the benchmark with exit status 1.
"""

import argparse
import asyncio
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Final, Literal, cast

import attrs

from aiorooms import APIError, RetryPolicy, RoomsClient
from aiorooms.bulk import Journal, JournalError, Plan, Rows, apply, make_plan, read_rows, resume
from aiorooms.simulator import Faults, RoomsSimulator

from ._campaign import CheckError, add_options, execute
from ._runs import at_least_one

CONCURRENCY: Final = 20

KEY: Final = "KEY_simulated"

THEIR_URL: Final = "https://theirs.example.com/rooms"
"""The URL that someone else gives to rooms."""

_OTHER_FIELD: Final = 0.5
"""Share of the changes by someone else that are of a field that is not planned."""

_FAULTS: Final = Faults(0.15, stall_seconds=0.05, slow_seconds=0.02)

_LATENCY: Final = (0.0, 0.006)

_ENDED_EARLY: Final = 3
"""The exit status of a process that could not list the rooms of the account."""

_KILLED: Final = 0.5
"""Probability that a process is chosen to be killed. Until the journal contains a room, every process is chosen."""

_ANY_TIME: Final = 0.2
"""Share of the kills that come within 0.6 s after the start of the process, possibly before it sends anything."""

_STUCK_AFTER: Final = 60.0
"""Time limit in seconds.

A process that is chosen to be killed is killed at the latest when this time has passed since its start. Any other
process counts as stuck at the latest after twice this time.
"""


# --- the process that is killed ---


async def work(what: Literal["apply", "resume"], url: str, plan: Path, journal: Path) -> None:
    retry = RetryPolicy(max_attempts=2, base_delay=0.005, max_delay=0.02)
    async with RoomsClient(KEY, base_url=url, retry=retry, timeout=1.0) as client:
        if what == "apply":
            run = apply(client, Plan.open(plan), journal, concurrency=CONCURRENCY)
        else:
            run = resume(client, journal, concurrency=CONCURRENCY, retry_failed=True)
        try:
            with _window_file(journal).open("w") as file:
                async for _ in run.outcomes():
                    file.write(f"{run.overwrite_window or 0.0}\n")
                    file.flush()
        except APIError as error:  # faults made all attempts to list the account fail
            print(error, file=sys.stderr)
            sys.exit(_ENDED_EARLY)


def _window_file(journal: Path) -> Path:
    """Return the file with the overwrite window of the last process, one line per outcome."""
    return journal.with_suffix(".window")


# --- the runs ---


@attrs.define
class Campaign:
    """Counts over all runs."""

    runs: int = 0
    kills: int = 0
    early_kills: int = 0
    """Processes that ended before the first line of the journal was complete."""
    ended_early: int = 0
    """Processes that exited because all attempts to list the account failed."""
    torn: int = 0
    """Processes that left the last line of the journal incomplete."""
    begun: int = 0
    """Rooms in flight when a process ended: their update had begun, and had no outcome."""
    most_begun: int = 0
    """Maximum of `begun` for a single process."""
    looked_at: int = 0
    """Rooms that `resume` read back because an earlier process left them `begun` or `uncertain` in the journal."""
    found: int = 0
    """Rooms that `resume` read back, and that already had the wanted values."""
    confirmed: int = 0
    """Rooms that a process read back because the answer to its own update was lost or invalid."""
    updates: int = 0
    """Update requests that the server received."""
    resent: int = 0
    """Update requests for rooms that were already `updated` in the journal."""
    changed: int = 0
    """Changes of planned fields by someone else."""
    conflicts: int = 0
    """Rooms whose outcome is `conflict`, because someone else had changed a planned field."""
    overwritten: int = 0
    """Changes of planned fields by someone else that were overwritten within the reported window."""
    overwritten_in_flight: int = 0
    """Changes that were overwritten by an update that was in flight when its process was killed."""

    def rows(self) -> Sequence[tuple[str, int]]:
        return [
            ("runs", self.runs),
            ("kills", self.kills),
            ("  before the first line of the journal", self.early_kills),
            ("  in the middle of a line of the journal", self.torn),
            ("processes that could not list the account", self.ended_early),
            ("rooms in flight when a process ended", self.begun),
            ("  maximum for one process", self.most_begun),
            ("rooms read back by `resume`", self.looked_at),
            ("  that already had the wanted values", self.found),
            ("rooms read back after a lost or invalid answer", self.confirmed),
            ("update requests", self.updates),
            ("  for rooms that were already updated", self.resent),
            ("planned fields changed by someone else", self.changed),
            ("  reported as conflicts", self.conflicts),
            ("  overwritten within the reported window", self.overwritten),
            ("  overwritten by an update in flight at a kill", self.overwritten_in_flight),
        ]


def _url_of(room_id: str) -> str:
    """Return the webhook URL that the plan gives a room."""
    return f"https://new.example.com/rooms/{room_id}"


def _right_values(room_id: str) -> Mapping[str, Collection[tuple[int, str]]]:
    """Return the numbers of participants and the webhook URLs that a room may have at the end, by its outcome."""
    return {
        "updated": ((20, _url_of(room_id)), (20, THEIR_URL)),
        "conflict": ((10, THEIR_URL), (20, THEIR_URL)),
    }


class Run:
    """One run: a process applies a plan, and others resume it until every room is updated. Some are killed."""

    def __init__(self, seed: int, rooms: int, folder: Path, campaign: Campaign) -> None:
        self._rooms = rooms
        self._plan = folder / "a.plan"
        self._journal = folder / "a.journal"
        self._random = Random(seed)
        self._campaign = campaign
        self._sim = RoomsSimulator(rooms=rooms, seed=seed, latency=_LATENCY, api_key=KEY)
        self._changes: dict[str, float] = {}
        """When someone else changed the webhook URL of a room, as a Unix time, by room id. At most once a room."""
        self._next_change = 0.0
        """Number of requests of the current process after which someone else changes the next room."""
        self._checked_records = 0
        """Number of journal records that have been checked."""

    def play(self) -> None:
        """Execute the run. Raise `CheckError` if a check fails."""
        with self._sim:
            with self._read_rows() as wanted:
                asyncio.run(self._make_plan(wanted))
            self._sim.faults = _FAULTS
            self._sim.record = True
            before: Mapping[str, str] = {}
            while True:
                completed = self._process(is_killed=not before or self._random.random() < _KILLED)
                states = self._states()
                self._check(before, states)
                before = states
                if completed and set(states.values()) <= {"updated", "conflict"} and len(states) == self._rooms:
                    break
            self._check_rooms(states)
        self._campaign.runs += 1

    def _read_rows(self) -> Rows:
        """Write and read the input of the plan, in which each room has a webhook URL of its own."""
        path = self._plan.with_suffix(".csv")
        lines = (f"{room_id},20,{_url_of(room_id)}\n" for room_id in self._sim.room_ids)
        path.write_text("room_id,max_participants,webhook_event_url\n" + "".join(lines))
        return read_rows(path)

    async def _make_plan(self, wanted: Rows) -> None:
        async with RoomsClient(KEY, base_url=self._sim.url) as client:
            await make_plan(client, wanted, self._plan)

    def _process(self, *, is_killed: bool) -> bool:
        """Apply or resume in a process that may be killed, and return whether it completed."""
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
        # Kill the process after a random number of requests. In some cases (`_ANY_TIME`), a random time limit applies
        # as well, so that some processes are killed before their first request.
        at_time = time.monotonic() + (
            self._random.uniform(0, 0.6) if self._random.random() < _ANY_TIME else _STUCK_AFTER
        )
        at_request = self._random.uniform(0, 1.2 * self._rooms)
        delay = self._random.uniform(0, 0.003)
        self._next_change = self._random.uniform(0, self._rooms / 5)
        while process.poll() is None:
            self._change_rooms()
            if is_killed and (time.monotonic() >= at_time or sim.stats.requests >= at_request):
                time.sleep(delay)
                process.kill()
                break
            if time.monotonic() > at_time + _STUCK_AFTER:
                process.kill()
                raise CheckError(f"{what} did not finish in time")
            time.sleep(0.0005)
        stderr = process.communicate()[1].decode()
        if process.returncode == -signal.SIGKILL:
            self._campaign.kills += 1
        elif process.returncode == _ENDED_EARLY:
            self._campaign.ended_early += 1
        elif process.returncode != 0:
            raise CheckError(f"{what} ended with exit status {process.returncode}: {stderr}")
        while sim.stats.in_flight:  # the server may still be applying requests of the killed process
            time.sleep(0.0005)
        return process.returncode == 0

    def _change_rooms(self) -> None:
        """Change a room as someone else would, after each few requests of the process."""
        sim = self._sim
        if sim.stats.requests < self._next_change:
            return
        self._next_change += self._random.uniform(0, self._rooms / 5)
        room_id = self._random.choice(sim.room_ids)
        if room_id in self._changes:
            return
        if self._random.random() < _OTHER_FIELD:
            sim.change_room(room_id, webhook_timeout_secs=self._random.randint(0, 30))
        else:
            sim.change_room(room_id, webhook_event_url=THEIR_URL)
            self._changes[room_id] = time.time()
            self._campaign.changed += 1

    def _has_begun(self) -> bool:
        if not self._journal.exists():
            return False
        try:
            Journal.open(self._journal)
        except JournalError as error:
            if error.reason == "empty_journal":
                self._journal.unlink()  # as the error says
                return False
            raise CheckError(f"the journal can't be read: {error}") from None
        return True

    def _states(self) -> Mapping[str, str]:
        if not self._has_begun():
            self._campaign.early_kills += 1
            return {}
        journal = Journal.open(self._journal)
        self._campaign.torn += journal.size < self._journal.stat().st_size
        try:
            states, damaged = journal.states(), journal.damaged_lines()
        except JournalError as error:
            raise CheckError(f"the journal can't be read: {error}") from None
        if damaged:
            raise CheckError(f"lines of the journal are damaged: {damaged}")
        begun = sum(state == "begun" for state in states.values())
        self._campaign.begun += begun
        self._campaign.most_begun = max(self._campaign.most_begun, begun)
        return states

    def _new_records(self) -> Sequence[Mapping[str, object]]:
        """Return the records that the last process wrote."""
        if not self._has_begun():
            return []
        records = [*Journal.open(self._journal).records()]
        new = records[self._checked_records :]
        self._checked_records = len(records)
        return new

    def _check(self, before: Mapping[str, str], states: Mapping[str, str]) -> None:
        """Check the requests and records of the last process.

        `before` and `states` are the states of the rooms in the journal, before and after the process ran.
        """
        paths = Counter((one.method, one.path.partition("?")[0].rpartition("/rooms/")[2]) for one in self._sim.recorded)
        sent = {room_id: count for (method, room_id), count in paths.items() if method == "PATCH"}
        read = {room_id for (method, room_id) in paths if method == "GET" and room_id in self._sim.rooms}
        records = self._new_records()
        begun = {str(record["begin"]) for record in records if "begin" in record}
        read_by_resume = read & {room_id for room_id, state in before.items() if state in ("begun", "uncertain")}
        campaign = self._campaign
        campaign.updates += sum(sent.values())
        campaign.looked_at += len(read_by_resume)
        campaign.found += sum("found" in record for record in records)
        campaign.confirmed += len(read & begun - read_by_resume)
        done = {room_id for room_id, state in before.items() if state == "updated"}
        campaign.resent += sum(count for room_id, count in sent.items() if room_id in done)
        if again := done & sent.keys():
            raise CheckError(f"the updates of {len(again)} updated rooms were sent again: {sorted(again)}")
        if missing := sent.keys() - states.keys():
            raise CheckError(f"{len(missing)} rooms with sent updates are not in the journal: {sorted(missing)}")
        if unbegun := sent.keys() - begun:
            raise CheckError(f"the updates of {len(unbegun)} rooms were sent without a begin record: {sorted(unbegun)}")
        if other := read - read_by_resume - begun:
            raise CheckError(f"{len(other)} rooms were read back needlessly: {sorted(other)}")
        if lost := {room_id for room_id in done if states.get(room_id) != "updated"}:
            raise CheckError(f"{len(lost)} rooms are no longer `updated` in the journal: {sorted(lost)}")
        ended = [str(record["end"]) for record in records if "end" in record]
        self._check_overwritten(
            sent.keys() & self._changes.keys(),
            {room_id for room_id in begun if states[room_id] == "begun"} | {*ended[-1:]},
        )

    def _check_overwritten(self, sent: Collection[str], unreported: Collection[str]) -> None:
        """Check that updates overwrote only recent changes by someone else.

        `sent` contains the rooms that someone else has changed, and whose updates the last process has sent. The rooms
        in `unreported` may be missing from the window that it reported.
        """
        windows = _window_file(self._journal)
        # The last line may be incomplete.
        lines = windows.read_text().rpartition("\n")[0].splitlines() if windows.exists() else []
        window = float(lines[-1]) if lines else 0.0
        for room_id in sent:
            room = self._sim.rooms[room_id]
            if room["webhook_event_url"] != _url_of(room_id):
                continue
            updated_at = datetime.fromisoformat(str(room["updated_at"])).timestamp()
            passed = updated_at - self._changes[room_id]
            if room_id in unreported:
                self._campaign.overwritten_in_flight += 1
            elif passed <= window:
                self._campaign.overwritten += 1
            else:
                text = f"a change of room {room_id} was overwritten {passed:.3f} s later, outside the window of"
                raise CheckError(f"{text} {window:.3f} s")

    def _check_rooms(self, states: Mapping[str, str]) -> None:
        rooms = self._sim.rooms
        for room_id, state in states.items():
            found = (rooms[room_id]["max_participants"], rooms[room_id]["webhook_event_url"])
            self._campaign.conflicts += state == "conflict"
            # A conflict may have the new number of participants, if its update was in flight when a process was killed.
            if found not in _right_values(room_id)[state]:
                raise CheckError(f"room {room_id} is {state!r}, but has the values {found}")
            if found[1] == THEIR_URL and room_id not in self._changes:
                raise CheckError(f"room {room_id} has a URL that nobody gave it")


def play(seeds: Sequence[int], rooms: int, *, every: int = 0) -> Campaign:
    """Execute a run for each seed, and return the counts over all runs.

    Print a line after every `every` runs, or no lines if `every` is 0. If a check fails, raise a `CheckError` with the
    seed in its message.
    """
    campaign = Campaign()
    for number, seed in enumerate(seeds, 1):
        with tempfile.TemporaryDirectory() as folder:
            try:
                Run(seed, rooms, Path(folder), campaign).play()
            except CheckError as error:
                raise CheckError(f"run with seed {seed}: {error}") from error
        if every and number % every == 0:
            print(f"{number} of {len(seeds)} runs, {campaign.kills} kills", flush=True)
    return campaign


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks crash", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_options(parser, runs=300)
    parser.add_argument(
        "--rooms",
        metavar="NUMBER",
        type=at_least_one,
        default=200,
        help="number of rooms in each run (default: 200)",
    )
    parser.add_argument("--work", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.work is not None:
        what, url, plan, journal = cast("list[str]", options.work)
        asyncio.run(work("apply" if what == "apply" else "resume", url, Path(plan), Path(journal)))
        return
    execute(options, lambda seeds: play(seeds, options.rooms, every=25), "All checks passed")


if __name__ == "__main__":
    main(sys.argv[1:])
