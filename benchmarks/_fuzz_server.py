"""The server of the fuzz: it applies updates, records them in a ledger, and answers correctly or in many wrong ways.

It shares no code with aiorooms or its simulator, so a bug in their code can't hide another one. The results of the
client are compared with the ledger. Two rules make this comparison exact:

- The server does not lie about outcomes. It sends a 4xx only if it did not apply the update, and an answer with the
  wanted values only if it did. All other answers, and no answer, may come in both cases.
- It sends a second answer on a connection only while no request is on its way there. Otherwise nobody could tell which
  request the second answer belongs to.
"""

import asyncio
import gzip
import json
import re
import select
import socket
import struct
import zlib
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from random import Random
from typing import Final, Literal, TypeAlias, cast

import attrs

__all__ = ["KINDS", "FuzzServer", "Ledger", "room_url", "serial_of"]

Json: TypeAlias = "Mapping[str, Json] | Sequence[Json] | str | int | float | bool | None"

_URL: Final = "https://hooks.example.com/rooms/"


def room_url(serial: int) -> str:
    """Return the webhook URL of an update, which identifies it."""
    return f"{_URL}{serial}"


def serial_of(values: Mapping[str, Json]) -> int:
    """Return the number of the update that has these values."""
    return int(str(values["webhook_event_url"]).removeprefix(_URL))


@attrs.define
class Ledger:
    """What the server received and applied."""

    rooms: dict[str, dict[str, Json]]
    received: Counter[int] = attrs.Factory(Counter[int])
    """Number of PATCHes by update."""
    applied: dict[str, list[int]] = attrs.Factory(lambda: defaultdict[str, list[int]](list))
    """The applied updates of each room, in order. An update is in it several times if it was applied several times."""
    faults: Counter[str] = attrs.Factory(Counter[str])


@attrs.frozen
class _Request:
    method: str
    room_id: str
    values: Mapping[str, Json]


_HEAD: Final = re.compile(rb"([A-Z]+) /v2/rooms(?:/([^ ?]+))?[^\r\n]* HTTP/1\.1\r\n")
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)


class FuzzServer:
    """Serves the rooms of a ledger on loopback, within the event loop of the client."""

    def __init__(
        self,
        ledger: Ledger,
        random: Random,
        *,
        rate: float,
        kinds: Sequence[str],
        late_statuses: Sequence[int],
        rejects_null: bool,
    ) -> None:
        """Answer a request wrongly with the probability `rate`. `late_statuses` are those of late second answers."""
        self.ledger = ledger
        self.rejects_null = rejects_null
        self.random = random
        self.rate = rate
        self.kinds = [kind for kind in KINDS if kind.name in kinds]
        self.late_statuses = late_statuses
        self.connections: set[_Connection] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self.mistakes: list[str] = []
        """Errors of the server itself."""

    async def start(self) -> str:
        """Open the port, and return the base URL."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), "127.0.0.1", 0, backlog=1024)
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v2"

    async def stop(self) -> None:
        """Close the port and all connections."""
        self._server.close()
        for connection in [*self.connections]:
            connection.transport.abort()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self._server.wait_closed()

    def run(self, work: Awaitable[None]) -> None:
        """Run a task that `stop` ends."""

        async def run() -> None:
            try:
                await work
            except Exception as error:  # noqa: BLE001 - the benchmark reports it
                self.mistakes.append(repr(error))

        task = asyncio.ensure_future(run())
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def choose(self, method: str) -> "_Kind":
        """Return the kind of the next answer."""
        kinds = [kind for kind in self.kinds if method == "PATCH" or kind.for_get]
        return self.random.choice(kinds) if kinds and self.random.random() < self.rate else _GOOD

    def apply(self, request: _Request) -> None:
        """Change the room, and record the update."""
        room = self.ledger.rooms[request.room_id]
        room |= request.values
        if room["webhook_event_failover_url"] is None:
            room["webhook_event_failover_url"] = self.random.choice([None, ""])
        self.ledger.applied[request.room_id].append(serial_of(request.values))


class _Connection(asyncio.Protocol):
    transport: asyncio.Transport

    def __init__(self, server: FuzzServer) -> None:
        self._server = server
        self._unread = b""
        self._requests: asyncio.Queue[_Request | None] = asyncio.Queue()
        self.requests = 0
        self.is_lost = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._server.connections.add(self)
        self._server.run(self._handle())

    def data_received(self, data: bytes) -> None:
        self._unread += data
        while (end := self._unread.find(b"\r\n\r\n")) >= 0:
            length = _LENGTH.search(self._unread, 0, end)
            total = end + 4 + (int(length[1]) if length is not None else 0)
            if len(self._unread) < total:
                break
            head, body = self._unread[: end + 2], self._unread[end + 4 : total]
            self._unread = self._unread[total:]
            found = _HEAD.match(head)
            assert found is not None, head
            self._requests.put_nowait(
                _Request(found[1].decode(), (found[2] or b"").decode(), json.loads(body or b"{}"))
            )

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.connections.discard(self)
        self.is_lost.set()
        self._requests.put_nowait(None)

    @property
    def is_idle(self) -> bool:
        """Whether no byte of a further request has arrived, not even in the kernel."""
        if self._unread or not self._requests.empty() or self.transport.is_closing():
            return False
        poll = select.poll()
        poll.register(cast("socket.socket", self.transport.get_extra_info("socket")).fileno(), select.POLLIN)
        return not poll.poll(0)

    async def _handle(self) -> None:
        while (request := await self._requests.get()) is not None and not self.transport.is_closing():
            self.requests += 1
            await self._answer(request)

    async def _answer(self, request: _Request) -> None:
        server, ledger = self._server, self._server.ledger
        exchange = _Exchange(server, self, request)
        if request.method == "PATCH":
            ledger.received[serial_of(request.values)] += 1
        if not request.room_id:  # a probe of update_many, which asks for a list
            is_available = server.random.random() >= server.rate
            exchange.send(200, b'{"data": []}') if is_available else exchange.send(503, b"")
            return
        if request.room_id not in ledger.rooms:
            exchange.send(404, b'{"code": "10005", "title": "Resource not found"}')
            return
        if server.rejects_null and None in request.values.values():
            exchange.send(422, _NULL)
            return
        kind = server.choose(request.method)
        if kind is not _GOOD:
            ledger.faults[kind.name] += 1
        is_applied = kind.applied == "yes" or (kind.applied == "either" and server.random.random() < 0.5)
        if request.method == "PATCH" and is_applied:
            server.apply(request)
        await kind.effect(exchange)


_NULL: Final = b'{"errors": [{"code": "10026", "source": {"pointer": "/webhook_event_failover_url"}}]}'


# --- answers ---


@attrs.frozen
class _Exchange:
    """One request, and the ways to answer it."""

    server: FuzzServer
    connection: _Connection
    request: _Request

    @property
    def random(self) -> Random:
        return self.server.random

    @property
    def room(self) -> dict[str, Json]:
        return dict(self.server.ledger.rooms[self.request.room_id])

    def write(self, data: bytes) -> None:
        if not self.connection.transport.is_closing():
            self.connection.transport.write(data)

    def close(self) -> None:
        self.connection.transport.close()

    def reset(self) -> None:
        sock = cast("socket.socket | None", self.connection.transport.get_extra_info("socket"))
        if sock is not None and sock.fileno() >= 0:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.transport.abort()

    def bytes_of(self, status: int, body: bytes, *lines: str) -> bytes:
        """Return the bytes of an answer."""
        head = [
            f"HTTP/1.1 {status:03} Whatever",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
            *lines,
        ]
        return "\r\n".join([*head, "", ""]).encode("latin-1") + body

    def good(self) -> bytes:
        """Return the body of the correct answer."""
        return json.dumps({"data": self.room}).encode()

    def send(self, status: int, body: bytes, *lines: str) -> None:
        self.write(self.bytes_of(status, body, *lines))

    def send_object(self, value: Json) -> None:
        self.send(200, json.dumps(value).encode())

    def later(self, seconds: float, act: Callable[[], None]) -> None:
        """Act after some time, if no further request has arrived on the connection until then."""
        requests = self.connection.requests

        async def wait() -> None:
            await asyncio.sleep(seconds)
            if self.connection.requests == requests and self.connection.is_idle:
                act()

        self.server.run(wait())


async def _good(x: _Exchange) -> None:
    x.send(200, x.good())


# Correct answers in an unusual form.


async def _odd_fields(x: _Exchange) -> None:
    room = x.room
    for name, values in x.random.sample([*_ODD.items()], 4):
        if name not in x.request.values or name == "max_participants":
            value = x.random.choice(values)
            room[name] = float(cast("int", room[name])) if value is _AS_FLOAT else value
    x.send_object({"data": room, "meta": x.random.choice(_ANYTHING)})


_AS_FLOAT: Final = "the number as a float"
_ANYTHING: Final[Sequence[Json]] = [None, True, 3, 2.5, "text", [], [None], {}, {"a": {"b": []}}]
_ODD: Final[Mapping[str, Sequence[Json]]] = {
    "created_at": ["2026-01-01T00:00:00", "2026-01-01t00:00:00z", "2016-12-31T23:59:60Z", "yesterday", 5, {}],
    "updated_at": ["2026-01-01 00:00:00", "9999-99-99T00:00:00Z", None, [], ""],
    "sessions": [["some id"], "none", [{"id": 5}], [{}], [None], {"id": "x"}, [{"id": "s", "participants": ["p", {}]}]],
    "active_session_id": [7, "", ["x"], {}],
    "unique_name": [12, 1.5, True, [], {"name": "x"}],
    "record_type": [None, 0, "rooom"],
    "max_participants": [_AS_FLOAT],
    "video_codecs": [["h264", "vp8"], None],
    "\u2028 surprise": [*_ANYTHING],
}


async def _bom(x: _Exchange) -> None:
    x.send(200, b"\xef\xbb\xbf" + x.good())


async def _encoded(x: _Exchange) -> None:
    raw = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    body, encoding = x.random.choice(
        [
            (gzip.compress(x.good()), "gzip"),
            (gzip.compress(x.good()), "X-GZIP"),
            (zlib.compress(x.good()), "deflate"),
            (raw.compress(x.good()) + raw.flush(), "deflate"),
        ]
    )
    x.send(200, body, f"Content-Encoding: {encoding}")


async def _chunked(x: _Exchange) -> None:
    body = x.good()
    cuts = sorted(x.random.sample(range(1, len(body)), 3))
    x.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: application/json\r\n\r\n")
    for begin, end in zip([0, *cuts], [*cuts, len(body)], strict=True):
        x.write(b"%x;odd=1\r\n" % (end - begin) + body[begin:end] + b"\r\n")
        await asyncio.sleep(0)
    x.write(b"0\r\nTrailer: yes\r\n\r\n")


async def _slow(x: _Exchange) -> None:
    data = x.bytes_of(200, x.good())
    for begin in range(0, len(data), 100):
        x.write(data[begin : begin + 100])
        await asyncio.sleep(x.random.uniform(0, 0.004))


async def _until_close(x: _Exchange) -> None:
    x.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n" + x.good())
    x.close()


async def _early(x: _Exchange) -> None:
    for _ in range(x.random.randint(1, 3)):
        x.write(x.random.choice([b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", b"HTTP/1.1 102 Wait\r\n\r\n"]))
        await asyncio.sleep(0)
    x.send(200, x.good())


async def _absurd_headers(x: _Exchange) -> None:
    x.send(200, x.good(), *(f"{name}: {x.random.choice(_ABSURD)}" for name in x.random.sample(_NUMBERS, 3)))


_NUMBERS: Final = ["Retry-After", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset", "RateLimit", "Age"]
_ABSURD: Final = [
    "999999999999999", "-1", "1e400", "nan", "inf", "-inf", "", "soon", "9" * 400, "0x10", "1_000", "\xb2", "5, 5",
    "Fri, 31 Dec 9999 23:59:59 GMT", "limit=-5, remaining=nan, reset=1e99", "\xa0",
]  # fmt: skip


# A second answer, or a connection that the server closes.


async def _second_at_once(x: _Exchange) -> None:
    first = x.bytes_of(200, x.good())
    second = first if x.random.random() < 0.5 else x.bytes_of(x.random.choice([200, 401, 404, 500]), b"{}")
    x.write(first + (second if x.random.random() < 0.7 else second[: x.random.randint(1, len(second))]))


async def _second_later(x: _Exchange) -> None:
    first = x.bytes_of(200, x.good())
    status = x.random.choice(x.server.late_statuses)
    second = first if status == 200 else x.bytes_of(status, b'{"errors": [{"code": "10005", "title": "No"}]}')
    x.write(first)
    x.later(x.random.uniform(0, 0.06), lambda: x.write(second))


async def _close_later(x: _Exchange) -> None:
    x.send(200, x.good())
    x.later(x.random.uniform(0, 0.02), x.random.choice([x.close, x.reset]))


async def _close_at_next(x: _Exchange) -> None:
    x.send(200, x.good())
    x.later(0, x.close)


# No answer.


async def _reset(x: _Exchange) -> None:
    await asyncio.sleep(x.random.choice([0, 0.003]))
    x.reset()


async def _close(x: _Exchange) -> None:
    x.close()


async def _stall(x: _Exchange) -> None:
    await x.connection.is_lost.wait()


async def _cut(x: _Exchange) -> None:
    data = x.bytes_of(200, x.good())
    x.write(data[: x.random.randint(1, len(data) - 1)])
    x.random.choice([x.close, x.reset])()


async def _stall_in_body(x: _Exchange) -> None:
    data = x.bytes_of(200, x.good())
    x.write(data[: x.random.randint(1, len(data) - 1)])
    await x.connection.is_lost.wait()


# Answers that say nothing about the update.


async def _not_http(x: _Exchange) -> None:
    x.write(
        x.random.choice(
            [
                b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
                b"\x00" * 50,
                b"HTTP/1.1 2000 OK\r\n\r\n",
                b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
                b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
                b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\n\r\n",
            ]
        )
    )
    x.close()


async def _not_json(x: _Exchange) -> None:
    texts = [
        b"",
        b"<html>Sign in</html>",
        b"[",
        b"null",
        b"[]",
        b'"ok"',
        b"1",
        b"\xff\xfe{}",
        b"[" * 5000,
        b'{"data":NaN}',
    ]
    x.send(200, x.random.choice(texts))


async def _not_confirmed(x: _Exchange) -> None:
    room = x.room
    wanted = [*x.request.values]
    match x.random.randrange(7):
        case 0:
            x.send_object({"data": {}})
        case 1:
            x.send_object({"data": {name: value for name, value in room.items() if name != "id"}})
        case 2 if wanted:
            left_out = x.random.choice(wanted)
            x.send_object({"data": {name: value for name, value in room.items() if name != left_out}})
        case 3 if wanted:
            x.send_object({"data": {**room, **x.request.values, "max_participants": 49}})
        case 4:
            x.send_object({"data": {**room, **x.request.values, "id": "5e0a0d4c-2d5e-4d3a-9f5d-6e9d0d1f2a3b"}})
        case 5:
            x.send_object({"errors": [{"code": "10007", "title": "Unexpected", "detail": "Something failed."}]})
        case _:
            x.send_object({"data": [room]})


async def _bad_encoding(x: _Exchange) -> None:
    packed = gzip.compress(x.good())
    body, encoding = x.random.choice(
        [
            (packed[:-9], "gzip"),
            (x.good(), "gzip"),
            (packed, "br"),
            (packed, "snappy"),
            (packed + b"more", "gzip"),
            (_BOMB, "gzip"),
        ]
    )
    x.send(200, body, f"Content-Encoding: {encoding}")


_BOMB: Final = gzip.compress(bytes(20_000_000))


async def _odd_status(x: _Exchange) -> None:
    status = x.random.choice([0, 99, 101, 202, 204, 206, 299, 301, 303, 304, 308, 399])
    x.send(status, b"" if status in (101, 204, 304) else b"{}", "Location: /elsewhere")
    if status in (0, 99, 101):
        x.close()


async def _server_error(x: _Exchange) -> None:
    body = x.random.choice([b"", b"<html><title>Bad gateway</title></html>", b'{"errors": [{"code": "10007"}]}'])
    x.send(x.random.choice([408, 500, 502, 503, 504, 520, 599]), body)


# Rejections: the update was not applied.


async def _rate_limited(x: _Exchange) -> None:
    x.send(429, b'{"errors": [{"code": "10011"}]}', *x.random.choice([[], ["Retry-After: 0"], ["Retry-After: 0.01"]]))


async def _rejected(x: _Exchange) -> None:
    body = x.random.choice(
        [
            b'{"errors": [{"code": "10027", "detail": "No.", "source": {"pointer": "/max_participants"}}]}',
            b'{"detail": [{"loc": ["body", "max_participants"], "msg": "no", "type": "value_error"}]}',
            b'{"success": false, "message": "no"}',
            b"",
            b"x" * 200_000,
        ]
    )
    x.send(x.random.choice([400, 409, 415, 422, 499]), body)


# --- the kinds ---


@attrs.frozen
class _Kind:
    name: str
    effect: Callable[[_Exchange], Awaitable[None]]
    applied: Literal["yes", "no", "either"]
    for_get: bool = True
    """Whether a read-back may be answered so. It must not be answered with values that the room does not have."""


_GOOD: Final = _Kind("good", _good, "yes")

KINDS: Final = (
    *(
        _Kind(effect.__name__.strip("_").replace("_", " "), effect, "yes")
        for effect in (
            _odd_fields, _bom, _encoded, _chunked, _slow, _until_close, _early, _absurd_headers, _second_at_once,
            _second_later, _close_later, _close_at_next,
        )
    ),
    *(
        _Kind(effect.__name__.strip("_").replace("_", " "), effect, "either", for_get=effect is not _not_confirmed)
        for effect in (
            _reset, _close, _stall, _cut, _stall_in_body, _not_http, _not_json, _not_confirmed, _bad_encoding,
            _odd_status, _server_error,
        )
    ),
    _Kind("rate limited", _rate_limited, "no"),
    _Kind("rejected", _rejected, "no", for_get=False),
)  # fmt: skip
