"""Peak memory of `update_many` over 20,000 and over 200,000 updates from a generator.

Each run is a process of its own, and so is the simulator; what is compared is the greatest resident size of the
client's process (`ru_maxrss`).
"""

import argparse
import asyncio
import json
import resource
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence

from aiorooms import RoomsClient, RoomUpdate
from aiorooms.simulator import RoomsSimulator

ROOMS = 2_000
SIZES = (20_000, 200_000)


def main(arguments: Sequence[str]) -> None:
    argparse.ArgumentParser(prog="python -m benchmarks memory", description=__doc__).parse_args(arguments)
    peaks: dict[int, float] = {}
    with RoomsSimulator(rooms=ROOMS) as sim:
        for size in SIZES:
            command = [sys.executable, "-m", "benchmarks.memory", str(size), sim.url, sim.api_key]
            done = subprocess.run(command, input=json.dumps(sim.room_ids), capture_output=True, text=True, check=True)
            figures = json.loads(done.stdout)
            peaks[size] = figures["peak_mb"]
            print(f"{size:>9,} updates: {figures}")
    small, large = (peaks[size] for size in SIZES)
    print(f"peak memory: {large - small:+.1f} MB for ten times the updates")


async def client(size: int, url: str, key: str, room_ids: list[str]) -> Counter[str]:
    def updates() -> Iterator[tuple[str, RoomUpdate]]:
        for number in range(size):
            yield room_ids[number % ROOMS], RoomUpdate(max_participants=2 + number % 49)

    outcomes: Counter[str] = Counter()
    async with RoomsClient(key, base_url=url) as rooms_client:
        async for result in rooms_client.rooms.update_many(updates()):
            outcomes[result.status] += 1
    return outcomes


def run_client() -> None:
    size, url, key = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    began = time.monotonic()
    outcomes = asyncio.run(client(size, url, key, json.load(sys.stdin)))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"outcomes": outcomes, "peak_mb": round(peak, 1), "seconds": round(time.monotonic() - began, 1)}))


if __name__ == "__main__":
    run_client()
