"""Interrupt the server at random while updates are sent, and check that no update is lost.

Each run updates the rooms of a simulator with `update_many` and the default `RetryPolicy`. From 5 to 50 workers send
the updates, every room gets a webhook URL of its own, and a few requests get a stray 429. Between one and three times
the server has an outage of 0.2 to 8 s: it drops all connections and refuses new ones, answers everything with 503,
resets every connection, or does not answer at all. Some outages begin with updates in flight that get a late answer.

Every update must be `updated`, and every room must have its new values. Also, the server must not be overrun when it
is available again: the largest number of requests that arrive within 20 ms after an outage is printed. The seed of a
run determines its outages, but not the exact moment at which they interrupt an update. The first lost update ends the
benchmark with exit status 1.
"""

import argparse
import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Sequence
from random import Random
from typing import Final, Literal

import attrs

from aiorooms import RoomsClient, RoomUpdate, UpdateResult
from aiorooms.simulator import Faults, RoomsSimulator

from ._campaign import CheckError, add_options, execute
from ._runs import at_least_one

_AT_ONCE: Final = 8
"""Number of runs that are made at the same time, because a run mostly waits."""

_WAYS: Final[Sequence[Literal["closed", "503", "reset", "hang"]]] = ("closed", "503", "reset", "hang")

_SHORTEST, _LONGEST = 0.2, 8.0
"""Duration of an outage, in seconds."""

_JUST_AFTER: Final = 0.02
"""Seconds after the end of an outage in which the arriving requests are counted."""


@attrs.define
class Campaign:
    """Counts over all runs."""

    runs: int = 0
    updates: int = 0
    attempts: int = 0
    most_attempts: int = 0
    """Maximum number of attempts of one update."""
    outages: Counter[str] = attrs.Factory(Counter[str])
    """Outages by kind."""
    seconds: float = 0.0
    """Total duration of the outages, in seconds."""
    rush: int = 0
    """Maximum number of requests in the first 20 ms after an outage."""

    def rows(self) -> Sequence[tuple[str, int]]:
        return [
            ("runs", self.runs),
            ("updates, all updated", self.updates),
            ("  attempts", self.attempts),
            ("  maximum for one update", self.most_attempts),
            ("outages", self.outages.total()),
            *((f"  {kind}", count) for kind, count in sorted(self.outages.items())),
            ("  seconds", round(self.seconds)),
            ("maximum of requests within 20 ms after an outage", self.rush),
        ]


async def run_one(seed: int, campaign: Campaign, *, longest: float = _LONGEST) -> None:
    """Make one run. Raises `CheckError` if an update is lost."""
    random = Random(seed)
    workers = random.randint(5, 50)
    # A 429 pauses the whole client, so more of them would only make the run longer.
    faults = Faults(rate=random.choice([0.0, 0.01, 0.03]), kinds=["429"], retry_after=random.choice([None, 0]))
    # Above the delays of a busy machine, because to the client, a server that is too slow for a single update looks the
    # same as a room that makes the server hang.
    timeout = random.uniform(2.0, 4.0)
    latency = random.choice([0.0, 0.02, 0.1])
    rooms = 10 * workers
    async with (
        RoomsSimulator(rooms=rooms, seed=seed, faults=faults, latency=latency) as sim,
        RoomsClient(sim.api_key, base_url=sim.url, timeout=timeout) as client,
    ):
        updates = {
            room_id: RoomUpdate(webhook_event_url=f"https://hooks.example.com/rooms/{number}")
            for number, room_id in enumerate(sim.room_ids)
        }
        interrupting = asyncio.create_task(_interrupt(sim, random, campaign, rooms, longest))
        try:
            async with asyncio.timeout(300):
                results = [one async for one in client.rooms.update_many(updates.items(), concurrency=workers)]
        finally:
            interrupting.cancel()
            await asyncio.wait([interrupting])
            sim.accept_connections()
        for result in results:
            _check(seed, result, sim)
        if len(results) != rooms:
            raise CheckError(f"run with seed {seed}: {len(results)} results for {rooms} updates")
    campaign.runs += 1
    campaign.updates += len(results)
    campaign.attempts += sum(result.attempts for result in results)
    campaign.most_attempts = max(campaign.most_attempts, *(result.attempts for result in results))


def _check(seed: int, result: UpdateResult, sim: RoomsSimulator) -> None:
    assert result.update is not None
    if result.status != "updated":
        raise CheckError(f"run with seed {seed}: room {result.room_id} is {result.status}: {result.error}")
    if sim.rooms[result.room_id]["webhook_event_url"] != result.update.webhook_event_url:
        raise CheckError(f"run with seed {seed}: room {result.room_id} was reported as updated, but was not applied")


async def _interrupt(sim: RoomsSimulator, random: Random, campaign: Campaign, rooms: int, longest: float) -> None:
    """Make outages, each after a random number of further updates."""
    for _ in range(random.randint(1, 3)):
        wanted = sim.stats.requests + random.randint(1, rooms // 2)
        while sim.stats.requests < wanted:  # noqa: ASYNC110 - the simulator runs in a thread, and sets no event
            await asyncio.sleep(0.002)
        how = random.choice(_WAYS)
        seconds = random.uniform(_SHORTEST, longest)
        sim.refuse_connections(how)
        await asyncio.sleep(seconds)
        sim.accept_connections()
        campaign.outages[how] += 1
        campaign.seconds += seconds
        before, ended = sim.stats.requests, time.monotonic()
        await asyncio.sleep(_JUST_AFTER)
        if time.monotonic() - ended < 2 * _JUST_AFTER:  # otherwise the machine was busy, and the count means nothing
            campaign.rush = max(campaign.rush, sim.stats.requests - before)


def play(seeds: Sequence[int], *, longest: float = _LONGEST, at_once: int = _AT_ONCE) -> Campaign:
    """Make one run for each seed, several at a time. Raises `CheckError` if an update is lost."""
    campaign = Campaign()
    left = iter(seeds)

    async def work() -> None:
        for seed in left:
            await run_one(seed, campaign, longest=longest)

    async def main() -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for _ in itertools.islice(seeds, at_once):
                    group.create_task(work())
        except* CheckError as errors:
            raise errors.exceptions[0] from None

    asyncio.run(main())
    return campaign


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks outages", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_options(parser, runs=200)
    parser.add_argument(
        "--at-once", metavar="NUMBER", type=at_least_one, default=_AT_ONCE, help=f"runs at a time (default: {_AT_ONCE})"
    )
    options = parser.parse_args(arguments)
    execute(options, lambda seeds: play(seeds, at_once=options.at_once), "No update was lost,")
