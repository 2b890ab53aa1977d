"""The canned server: it answers every request at once, and stores nothing.

Each answer contains the same room, but with the id and the values of the request. The server needs so little CPU time
that the client is the bottleneck. `GET /cpu` returns the CPU time that the server has used, in seconds, and the number
of other requests that it has answered. `python -m benchmarks._server` prints its port, and serves until its standard
input is closed.
"""

import argparse
import asyncio
import contextlib
import json
import os
import re
import resource
import sys
from typing import Final, cast

_dumps: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode

_CONTENT_LENGTH: Final = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)

_ID_LENGTH: Final = 36

_ROOM: Final = {
    "record_type": "room",
    "id": "",
    "unique_name": "Room number 1234567",
    "max_participants": 20,
    "enable_recording": True,
    "created_at": "2021-03-26T17:51:59.588408Z",
    "updated_at": "2026-11-25T05:36:55.103224Z",
    "active_session_id": None,
    "webhook_event_url": "https://hooks.example.com/rooms",
    "webhook_event_failover_url": "https://failover.example.com/rooms",
    "webhook_timeout_secs": 10,
}


def _answer(body: bytes, more_headers: bytes = b"") -> bytes:
    return (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\n"
        b"Date: Wed, 25 Nov 2026 05:36:55 GMT\r\nServer: canned\r\n"
        b"X-Request-Id: 8e4b3f6a-8c6c-4a5e-9d0a-3a3f1d1c2b7e\r\n"
        + more_headers
        + b"Content-Length: %d\r\n\r\n" % len(body)
        + body
    )


_RATE_LIMIT: Final = b"X-RateLimit-Limit: 1000000\r\nX-RateLimit-Remaining: 900000\r\nX-RateLimit-Reset: 1\r\n"


class _Connection(asyncio.Protocol):
    """A connection. A request may arrive in several parts, and one part may contain several requests."""

    def __init__(self, counts: dict[str, int], *, rate_limit: bool) -> None:
        self._more_headers = _RATE_LIMIT if rate_limit else b""
        self._counts = counts
        self._unread = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._write = cast("asyncio.Transport", transport).write

    def data_received(self, data: bytes) -> None:
        if self._unread:
            data = self._unread + data
        answers: list[bytes] = []
        begin = 0
        while (head_end := data.find(b"\r\n\r\n", begin)) >= 0:
            length = _CONTENT_LENGTH.search(data, begin, head_end)
            end = head_end + 4 + (int(length[1]) if length is not None else 0)
            if end > len(data):
                break
            id_at = data.find(b"/rooms/", begin, head_end) + len(b"/rooms/")
            if id_at >= len(b"/rooms/"):
                answers.append(self._room(data[id_at : id_at + _ID_LENGTH], data[head_end + 4 : end]))
                self._counts["requests"] += 1
            else:
                answers.append(_answer(self._usage()))
            begin = end
        self._unread = data[begin:]
        if answers:
            self._write(b"".join(answers))

    def _room(self, room_id: bytes, body: bytes) -> bytes:
        changes = cast("dict[str, object]", json.loads(body)) if body else {}
        return _answer(_dumps({"data": {**_ROOM, "id": room_id.decode(), **changes}}).encode(), self._more_headers)

    def _usage(self) -> bytes:
        used = resource.getrusage(resource.RUSAGE_SELF)
        return json.dumps({"cpu": used.ru_utime + used.ru_stime, **self._counts}).encode()


async def _serve(*, rate_limit: bool) -> None:
    loop = asyncio.get_running_loop()
    counts = {"requests": 0}
    server = await loop.create_server(lambda: _Connection(counts, rate_limit=rate_limit), "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks._server", description=__doc__)
    parser.add_argument("--rate-limit", action="store_true", help="report a rate limit that is never reached")
    parser.add_argument("--core", type=int)
    options = parser.parse_args()
    if options.core is not None:
        os.sched_setaffinity(0, {options.core})
    new_loop = asyncio.new_event_loop
    with contextlib.suppress(ImportError):
        import uvloop

        new_loop = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(_serve(rate_limit=options.rate_limit))


if __name__ == "__main__":
    main()
