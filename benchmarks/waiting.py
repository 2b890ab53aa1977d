"""Measure how long single calls take beside a bulk run of the same client, over sockets.

A bulk run of 50 or 200 workers uses the whole limit for two windows, but at least 30 s. Meanwhile a single call is
made every 0.73 s, and takes as long as the caller waits for its result. Each case has a process of its own, and all run
at the same time, because they hardly need the CPU. The columns of the table are

- calls: number of single calls;
- p50, p90, most: how long they took, in seconds;
- used: accepted requests, as a fraction of those that the limit allows;
- target: the target for p50, and whether it was met.
"""

import argparse
import asyncio
import json
import statistics
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import aclosing
from multiprocessing import get_context
from pathlib import Path
from typing import Final, cast

import attrs

from aiorooms import RetryPolicy, RoomsClient, RoomUpdate
from aiorooms.simulator import RateLimit, RoomsSimulator

EVERY: Final = 0.73
MIN_SECONDS: Final = 30.0
TARGET: Final = 0.25
LIMITS: Final = (RateLimit(50, kind="bucket"), RateLimit(100, 5.0), RateLimit(600, 60.0))
WORKERS: Final = (50, 200)
_HEAD: Final = f"{'limit':<22}{'workers':>8}{'calls':>7}{'p50':>8}{'p90':>8}{'most':>8}{'used':>7}  target"


@attrs.frozen
class Waits:
    """How long single calls took beside a bulk run."""

    limit: RateLimit
    workers: int
    seconds: list[float]
    used: float

    @property
    def median(self) -> float:
        """The duration that half of the calls did not exceed, in seconds."""
        return statistics.median(self.seconds)


async def _measure(limit: RateLimit, workers: int, length: float) -> Waits:
    async with RoomsSimulator(rooms=100, rate_limit=limit) as sim:  # noqa: SIM117 - the client needs the URL
        async with RoomsClient(sim.api_key, base_url=sim.url, retry=RetryPolicy(max_elapsed=None)) as client:
            loop = asyncio.get_running_loop()
            began, seconds = loop.time(), list[float]()

            async def updates() -> AsyncIterator[tuple[str, RoomUpdate]]:
                number = 0
                while True:
                    url = f"https://hooks.example.com/{number}"
                    yield sim.room_ids[number % 99], RoomUpdate(webhook_event_url=url)
                    number += 1

            async def run() -> None:
                async with aclosing(client.rooms.update_many(updates(), concurrency=workers)) as results:
                    async for _ in results:
                        pass

            bulk = asyncio.create_task(run())
            while loop.time() < began + length:
                await asyncio.sleep(EVERY)
                called = loop.time()
                await client.rooms.update(sim.room_ids[99], max_participants=2 + len(seconds))
                seconds.append(loop.time() - called)
            allowed = limit.limit * (loop.time() - began) / limit.window
            accepted = sim.stats.requests - sim.stats.refused
            bulk.cancel()
            await asyncio.gather(bulk, return_exceptions=True)
    return Waits(limit, workers, seconds, accepted / allowed)


def measure(limit: RateLimit, workers: int) -> Waits:
    """Make single calls beside a bulk run."""
    return asyncio.run(_measure(limit, workers, max(MIN_SECONDS, 2 * limit.window)))


def line(waits: Waits) -> str:
    """Return the row of the table."""
    ordered = sorted(waits.seconds)
    name = f"{waits.limit.kind}, {waits.limit.limit} per {waits.limit.window:g} s"
    met = "met" if waits.median <= TARGET else "not met"
    return (
        f"{name:<22}{waits.workers:>8}{len(ordered):>7}{waits.median:>8.3f}{ordered[len(ordered) * 9 // 10]:>8.3f}"
        f"{ordered[-1]:>8.3f}{waits.used:>7.2f}  {TARGET:g}: {met}"
    )


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks waiting", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="also write the figures to this file")
    file = cast("Path | None", parser.parse_args(arguments).json)
    cases = [(limit, workers) for limit in LIMITS for workers in WORKERS]
    print(_HEAD)
    with ProcessPoolExecutor(len(cases), mp_context=get_context("spawn")) as pool:
        results = [pool.submit(measure, *case) for case in cases]
        rows = [result.result() for result in results]
    for row in rows:
        print(line(row))
    if file is not None:
        file.write_text(json.dumps([attrs.asdict(row) for row in rows], indent=2) + "\n", encoding="utf-8")
