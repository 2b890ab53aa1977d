"""Kill a receiver of webhooks again and again, and check that no event is lost and none that was finished comes back.

A receiver with a store in a file gets signed events over sockets. Each event is sent until it is answered 200, and
half of them are repeated later. At random moments the receiver is killed with SIGKILL and started again. After each
kill, the file says which events were finished; their handlers must never begin again. At the end, each acknowledged
event must have been handled at least once. The command ends with exit status 1 if not.
"""

import argparse
import asyncio
import json
import sqlite3
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random

import attrs

from .webhooks import delivery, make_key, server


@attrs.define
class Kills:
    """What a campaign has found."""

    kills: int = 0
    acknowledged: int = 0
    begun: int = 0
    """Events whose handler has begun."""
    handled_again: int = 0
    """Handlers that began again although they had begun before. Allowed, unless the event was finished."""
    lost: int = 0
    finished_twice: int = 0


async def _deliver(port: int, request: bytes) -> bool:
    """Send one delivery. Return whether it was acknowledged."""
    try:
        async with asyncio.timeout(5):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request)
            answer = await reader.readuntil(b"\r\n\r\n")
            writer.close()
            return answer.startswith(b"HTTP/1.1 200")
    except (OSError, TimeoutError, asyncio.IncompleteReadError):
        return False


def _finished(folder: Path) -> set[str]:
    with sqlite3.connect(folder / "events.db") as connection:
        rows = connection.execute("SELECT key FROM events WHERE handled_at IS NOT NULL").fetchall()
    connection.close()
    return {key for (key,) in rows}


def _begun(folder: Path) -> list[str]:
    path = folder / "begun"
    return path.read_text().split() if path.exists() else []


async def _send_until(
    port: int, waiting: dict[str, bytes], acknowledged: set[str], until: float, random: Random
) -> None:
    """Send the events that wait, 10 at a time, until all are acknowledged or the time has come."""
    keys = iter([*waiting])

    async def send() -> None:
        for key in keys:
            if time.monotonic() > until:
                return
            if await _deliver(port, waiting[key]):
                acknowledged.add(key)
                if random.random() < 0.5:
                    await _deliver(port, waiting[key])

    async with asyncio.TaskGroup() as senders:
        for _ in range(10):
            senders.create_task(send())


def play(seed: int, events: int, kills: int) -> Kills:
    """Run a campaign."""
    random = Random(seed)
    key, public_key = make_key()
    requests = {f"e-{number}": delivery(key, f"e-{number}") for number in range(events)}
    found, acknowledged, finished = Kills(), set[str](), set[str]()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        seen = 0
        while True:
            is_last = found.kills >= kills
            with server("file", public_key, folder) as (process, port):
                waiting = {one: request for one, request in requests.items() if one not in acknowledged}
                repeated = {one: requests[one] for one in random.sample(sorted(acknowledged), len(acknowledged) // 10)}
                life = 600.0 if is_last else random.uniform(0.02, 0.35)
                # The events are spread over the lives, so that each kill hits a busy receiver.
                share = [*waiting.items()] if is_last else [*waiting.items()][: max(1, events // (kills + 1))]
                until = time.monotonic() + life
                asyncio.run(_send_until(port, {**dict(share), **repeated}, acknowledged, until, random))
                while is_last and len(_finished(folder)) < len(acknowledged) and time.monotonic() < until:
                    time.sleep(0.2)
                process.kill()
                process.wait()
            found.kills += not is_last
            begun = _begun(folder)
            found.finished_twice += sum(one in finished for one in begun[seen:])
            seen = len(begun)
            finished |= _finished(folder)
            if is_last:
                break
        found.acknowledged = len(acknowledged)
        found.begun = len(set(begun))
        found.handled_again = len(begun) - len(set(begun))
        found.lost = len(acknowledged - finished)
    return found


def main(arguments: Sequence[str]) -> None:
    """Run the campaign."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks receiver", description=__doc__)
    parser.add_argument("--events", type=int, default=2_000, help="number of events (2000)")
    parser.add_argument("--kills", type=int, default=20, help="number of kills (20)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the random choices (1)")
    parser.add_argument("--json", metavar="FILE", type=Path, help="also write the figures to FILE")
    options = parser.parse_args(arguments)
    found = play(options.seed, options.events, options.kills)
    print(f"{found.kills} kills, {found.acknowledged:,} events acknowledged, handlers of {found.begun:,} events began")
    print(f"{found.handled_again} handlers began again, {found.finished_twice} of them for finished events")
    print(f"{found.lost} events lost")
    if options.json is not None:
        options.json.write_text(json.dumps(attrs.asdict(found)))
    if found.lost or found.finished_twice or found.acknowledged < options.events:
        sys.exit(1)
