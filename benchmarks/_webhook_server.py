"""A server that receives webhooks, for `benchmarks.webhooks` and `benchmarks.receiver`.

python -m benchmarks._webhook_server KIND PUBLIC_KEY FOLDER

KIND is `bare` (a handler of aiohttp.web with the same signature check and nothing else), `memory` or `file`. It prints
its port, and serves until its standard input is closed. Then it prints the CPU time that it has used since it
began to listen, in seconds. With `file`, the ids of events whose handler has begun are appended to FOLDER/begun.
"""

import asyncio
import base64
import json
import os
import sys
import time
from pathlib import Path
from typing import Final

from aiohttp import web
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from aiorooms.webhooks import Event, FileEventStore, MemoryEventStore, WebhookVerifier, webhook_handler

_TOLERANCE: Final = 300


def bare(public_key: str) -> web.Application:
    """Return the application that a user would write: signature, tolerance, JSON."""
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public_key))

    async def handle(request: web.Request) -> web.Response:
        body = await request.read()
        try:
            timestamp = request.headers["telnyx-timestamp"]
            signature = base64.b64decode(request.headers["telnyx-signature-ed25519"])
            key.verify(signature, timestamp.encode() + b"|" + body)
        except (KeyError, ValueError, InvalidSignature):
            return web.Response(status=400)
        if abs(time.time() - int(timestamp)) > _TOLERANCE:
            return web.Response(status=400)
        await note(json.loads(body)["data"])
        return web.Response()

    async def note(data: object) -> None: ...

    app = web.Application()
    app.router.add_post("/webhooks", handle)
    return app


def received(kind: str, public_key: str, folder: Path) -> web.Application:
    """Return the application with aiorooms."""
    begun = os.open(folder / "begun", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600) if kind == "file" else -1

    async def on_event(event: Event) -> None:
        if begun >= 0:
            os.write(begun, f"{event.id}\n".encode())
            await asyncio.sleep(0.001)

    app = web.Application()
    store = FileEventStore(folder / "events.db") if kind == "file" else MemoryEventStore(max_events=100_000)
    handler = webhook_handler(WebhookVerifier(public_key), on_event, store=store, lease=2.0, concurrency=20)
    handler.add_to(app, "/webhooks")
    return app


async def main(kind: str, public_key: str, folder: Path) -> None:
    """Serve until standard input is closed."""
    app = bare(public_key) if kind == "bare" else received(kind, public_key, folder)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    began = time.process_time()
    print(runner.addresses[0][1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    used = time.process_time() - began
    await runner.cleanup()
    print(used, flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], Path(sys.argv[3])))
