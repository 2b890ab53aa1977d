"""Send random and mutated webhook deliveries to a handler over sockets, and check that only genuine ones are accepted.

Each delivery is a genuine one that is changed in random ways: its headers, its body, its signature, its timestamp, its
size, its encoding. A tenth stays genuine. The command ends with exit status 1 if another one is accepted, if a genuine
one is not, if an answer is 5xx, or if the memory of the process grows by more than 30 MB.
"""

import argparse
import asyncio
import base64
import gzip
import json
import resource
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Final

import attrs
from aiohttp import ClientError, ClientSession, ClientTimeout, web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from aiorooms.webhooks import Event, WebhookVerifier, webhook_handler

_MAX_GROWTH: Final = 30 * 1024
"""In KiB."""


@attrs.define
class Deliveries:
    """What became of the deliveries of one run."""

    count: int = 0
    genuine: int = 0
    accepted: int = 0
    server_errors: int = 0
    wrong: list[str] = attrs.Factory(list[str])
    """Deliveries that got another answer than they should have, at most 10."""


Delivery = tuple[list[tuple[str, str]], bytes]


def _genuine(key: Ed25519PrivateKey, random: Random, number: int) -> Delivery:
    kind = random.choice(("session.started", "session.ended", "participant.joined", "recording.completed", "x"))
    payload = {"room_id": str(number), "context": "secret-in-a-body", "duration_secs": random.choice((1, "x", None))}
    data = {"event_type": f"video.room.{kind}", "id": f"e-{number}", "payload": payload}
    body = json.dumps({"data": data} if random.random() < 0.8 else data).encode()
    return _signed(key, body, str(int(time.time()))), body


def _signed(key: Ed25519PrivateKey, body: bytes, timestamp: str) -> list[tuple[str, str]]:
    signature = base64.b64encode(key.sign(timestamp.encode() + b"|" + body)).decode()
    return [("telnyx-signature-ed25519", signature), ("telnyx-timestamp", timestamp)]


def _flip(text: bytes, random: Random) -> bytes:
    at = random.randrange(len(text))
    return text[:at] + bytes([text[at] ^ (1 << random.randrange(8))]) + text[at + 1 :]


def _mutations(key: Ed25519PrivateKey) -> Sequence[Callable[[Delivery, Random], Delivery]]:
    """Return the functions that make a genuine delivery one that must be rejected."""
    other = Ed25519PrivateKey.generate()

    def signature(change: Callable[[str, Random], str]) -> Callable[[Delivery, Random], Delivery]:
        return lambda one, random: ([(one[0][0][0], change(one[0][0][1], random)), one[0][1]], one[1])

    def timestamp(change: Callable[[str, Random], str]) -> Callable[[Delivery, Random], Delivery]:
        return lambda one, random: ([one[0][0], (one[0][1][0], change(one[0][1][1], random))], one[1])

    def signed_at(change: Callable[[Random], int]) -> Callable[[Delivery, Random], Delivery]:
        return lambda one, random: (_signed(key, one[1], str(int(time.time()) + change(random))), one[1])

    def body(change: Callable[[Random], bytes]) -> Callable[[Delivery, Random], Delivery]:
        return lambda one, random: (_signed(key, made := change(random), one[0][1][1]), made)

    def random_text(random: Random) -> str:
        return "".join(chr(random.randrange(33, 127)) for _ in range(random.randrange(200)))

    return (
        lambda one, random: (one[0], _flip(one[1], random)),
        lambda one, random: (one[0], one[1] + b" " * random.randrange(1, 5)),
        lambda one, random: (one[0], one[1][: random.randrange(len(one[1]))]),
        lambda one, random: (one[0][:1], one[1]),
        lambda one, random: (one[0][1:], one[1]),
        lambda one, random: ([], one[1]),
        lambda one, random: ([*one[0], random.choice(one[0])], one[1]),
        lambda one, random: (_signed(other, one[1], one[0][1][1]), one[1]),
        signature(lambda text, random: base64.b64encode(_flip(base64.b64decode(text), random)).decode()),
        signature(lambda text, random: random_text(random)),
        signature(lambda text, random: text * random.randrange(2, 60)),
        timestamp(lambda text, random: str(int(text) + random.choice((1, -1)))),
        timestamp(lambda text, random: random_text(random)),
        signed_at(lambda random: -random.randrange(310, 10**9)),
        signed_at(lambda random: random.randrange(310, 10**9)),
        body(lambda random: b"[" * random.randrange(1, 50_000)),
        body(lambda random: b'{"a":' * random.randrange(1, 20_000)),
        body(lambda random: random.randbytes(random.randrange(300))),
        body(lambda random: b"9" * random.randrange(1, 50_000)),
        lambda one, random: ([*one[0], ("Content-Encoding", "gzip")], gzip.compress(one[1])),
        lambda one, random: ([*one[0], ("Content-Encoding", "gzip")], gzip.compress(b"0" * 1_000_000)),
        lambda one, random: (one[0], one[1] + b" " * 300_000),
    )


async def play(seed: int, count: int, *, in_flight: int = 20) -> Deliveries:
    """Send `count` deliveries to a handler in this process, and return what became of them."""
    key = Ed25519PrivateKey.generate()
    public = base64.b64encode(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()
    mutations = _mutations(key)
    found = Deliveries()

    async def ignore(event: Event) -> None: ...

    app = web.Application()
    webhook_handler(WebhookVerifier(public), ignore).add_to(app, "/webhooks")
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    numbers = iter(range(count))

    async def send(http: ClientSession) -> None:
        for number in numbers:
            random = Random(f"{seed} {number}")
            delivery = _genuine(key, random, number)
            is_genuine = random.random() < 0.1
            mutation = random.randrange(len(mutations))
            headers, body = delivery if is_genuine else mutations[mutation](delivery, random)
            try:
                async with http.post(f"http://127.0.0.1:{port}/webhooks", data=body, headers=headers) as answer:
                    status = answer.status
            except (ClientError, ValueError):
                status = 0  # the connection was closed in the middle of a large body, or a header can't be sent
            found.count += 1
            found.genuine += is_genuine
            found.accepted += status == 200
            found.server_errors += status >= 500
            if (status == 200) != is_genuine or status >= 500:
                found.wrong = [*found.wrong, f"mutation {mutation}: {status}"][:10]

    async with ClientSession(timeout=ClientTimeout(total=30)) as http, asyncio.TaskGroup() as senders:
        for _ in range(in_flight):
            senders.create_task(send(http))
    await runner.cleanup()
    return found


def main(arguments: Sequence[str]) -> None:
    """Run the campaign."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks deliveries", description=__doc__)
    parser.add_argument("--count", type=int, default=100_000, help="number of deliveries (100000)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the random choices (1)")
    parser.add_argument("--json", metavar="FILE", help="also write the figures to FILE")
    options = parser.parse_args(arguments)
    asyncio.run(play(options.seed, 2_000))  # so that the memory of a warm process is compared
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = asyncio.run(play(options.seed + 1, options.count))
    growth = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(f"{found.count:,} deliveries, {found.genuine:,} genuine, {found.accepted:,} accepted")
    print(f"{found.server_errors} answers 5xx, memory grew by {growth / 1024:.1f} MB")
    for line in found.wrong:
        print(line)
    if options.json is not None:
        Path(options.json).write_text(json.dumps({**attrs.asdict(found), "growth_kib": growth}))
    if found.wrong or growth > _MAX_GROWTH:
        sys.exit(1)
