"""Measure the CPU time of a genuine webhook delivery, beside a bare handler of aiohttp.web with the same check.

Three servers, each in a process of its own, get the same number of deliveries over 20 connections, in turns: a bare
handler that verifies the signature and parses the JSON, aiorooms with the store in memory, and aiorooms with a store in
a file, which commits each event before it is acknowledged. Each event has an id of its own. The figures are CPU times
of the server for one delivery, as medians over the rounds. The exit status is 0 even if the target is missed.
"""

import argparse
import asyncio
import base64
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

TARGET: Final = 1.3
"""Maximum CPU time with the memory store, as a multiple of that of the bare handler."""

KINDS: Final = ("bare", "memory", "file")
_CONNECTIONS: Final = 20


def make_key() -> tuple[Ed25519PrivateKey, str]:
    """Return a private key, and the base64 text of its public key."""
    key = Ed25519PrivateKey.generate()
    return key, base64.b64encode(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()


def delivery(key: Ed25519PrivateKey, event_id: str) -> bytes:
    """Return a whole HTTP request with a signed event."""
    payload = {"room_id": "0ccc7b54-4df3-4bca-a65a-35a1ecc777f0", "session_id": "7c4da191-2600-4df6-a35e-0ecae6caa5d3"}
    data = {"record_type": "event", "event_type": "video.room.participant.joined", "id": event_id, "payload": payload}
    data["occurred_at"] = "2022-03-02T04:47:29.980874Z"
    body = json.dumps({"data": data, "meta": {"attempt": 1, "delivered_to": "https://hooks.example.com/"}}).encode()
    timestamp = str(int(time.time())).encode()
    signature = base64.b64encode(key.sign(timestamp + b"|" + body))
    head = b"POST /webhooks HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    head += b"Content-Length: %d\r\n" % len(body)
    return head + b"telnyx-signature-ed25519: %b\r\ntelnyx-timestamp: %b\r\n\r\n%b" % (signature, timestamp, body)


@contextmanager
def server(kind: str, public_key: str, folder: Path) -> "Generator[tuple[Popen[str], int]]":
    """Run a server, and yield its process and its port."""
    words = [sys.executable, "-m", "benchmarks._webhook_server", kind, public_key, str(folder)]
    with Popen(words, stdin=PIPE, stdout=PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, int(process.stdout.readline())
        finally:
            process.kill()


async def _send(port: int, requests: Sequence[bytes]) -> None:
    async def one(part: Sequence[bytes]) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for request in part:
            writer.write(request)
            answer = await reader.readuntil(b"\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 200"), answer
        writer.close()

    async with asyncio.TaskGroup() as connections:
        for number in range(_CONNECTIONS):
            connections.create_task(one(requests[number::_CONNECTIONS]))


def measure(kind: str, count: int) -> float:
    """Return the CPU time of the server for one delivery, in microseconds."""
    key, public_key = make_key()
    requests = [delivery(key, f"e-{number}") for number in range(count)]
    with tempfile.TemporaryDirectory() as name, server(kind, public_key, Path(name)) as (process, port):
        asyncio.run(_send(port, requests))
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        return float(process.stdout.readline()) / count * 1e6


def main(arguments: Sequence[str]) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks webhooks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="number of rounds (5)")
    parser.add_argument("--count", type=int, default=4_000, help="deliveries in each round (4000)")
    parser.add_argument("--json", metavar="FILE", type=Path, help="also write the figures to FILE")
    options = parser.parse_args(arguments)
    found: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for _ in range(options.rounds):
        for kind in KINDS:
            found[kind].append(measure(kind, options.count))
    ratios = {
        kind: [one / bare for one, bare in zip(times, found["bare"], strict=True)] for kind, times in found.items()
    }
    print(f"{'':<10}{'CPU us':>10}{'min':>8}{'max':>8}{'ratio':>8}")
    for kind, times in found.items():
        row = f"{kind:<10}{statistics.median(times):>10.0f}{min(times):>8.0f}{max(times):>8.0f}"
        print(f"{row}{statistics.median(ratios[kind]):>8.2f}")
    ratio = statistics.median(ratios["memory"])
    print(
        f"memory store: {ratio:.2f} times the bare handler, target {TARGET}: {'met' if ratio <= TARGET else 'MISSED'}"
    )
    if options.json is not None:
        options.json.write_text(json.dumps({"cpu_us": found, "ratios": ratios}, indent=2))
