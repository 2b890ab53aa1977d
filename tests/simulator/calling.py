"""Helpers that send requests to the simulator without the client of aiorooms: with aiohttp, or as raw bytes."""

import asyncio
import json
from typing import Any, Self

import aiohttp
import attrs
from yarl import URL

from aiorooms.simulator import RoomsSimulator

from ..samples import ROOM_ID

UNKNOWN_ID = ROOM_ID
"""An id that no room of the simulator has."""
UPDATE = b'{"max_participants":20,"webhook_event_url":"https://new.example.com/rooms"}'


@attrs.frozen
class Reply:
    status: int
    headers: Any
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def data(self) -> Any:
        return self.json["data"]

    @property
    def errors(self) -> list[tuple[str, str | None]]:
        """The code and the pointer (or parameter) of each error in the answer."""
        found: list[tuple[str, str | None]] = []
        for error in self.json["errors"]:
            source: dict[str, str] = error.get("source", {})
            assert set(error) <= {"code", "title", "detail", "source", "meta"}
            assert error["title"]
            assert error["detail"]
            found.append((error["code"], source.get("pointer", source.get("parameter"))))
        return found


async def ask(
    sim: RoomsSimulator,
    method: str,
    path: str,
    body: Any = None,
    *,
    data: bytes | None = None,
    headers: dict[str, str] | None = None,
    key: str | None = "",
) -> Reply:
    """Send one request on a new connection, with `body` as JSON or with `data` unchanged.

    By default, the simulator's own key is sent. `key=None` sends no key.
    """
    sent = {"Authorization": f"Bearer {key or sim.api_key}"} if key is not None else {}
    if body is not None:
        data = json.dumps(body).encode()
    if data is not None:
        sent["Content-Type"] = "application/json"
    sent |= headers or {}
    url = URL(f"{sim.url}{path}", encoded=True)
    async with (
        aiohttp.ClientSession(skip_auto_headers=["Content-Type"]) as session,
        session.request(method, url, data=data, headers=sent, allow_redirects=False) as answer,
    ):
        return Reply(answer.status, answer.headers, await answer.read())


def head(sim: RoomsSimulator, method: str, path: str, *lines: str, body: bytes = b"") -> bytes:
    """Return the bytes of a request: its head, with additional header lines, and its body."""
    fields = ["Host: localhost", f"Authorization: Bearer {sim.api_key}", *lines]
    if body:
        fields += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([f"{method} {path} HTTP/1.1", *fields, "", ""]).encode() + body


def patch(sim: RoomsSimulator, room_id: str | None = None, body: bytes = UPDATE) -> bytes:
    return head(sim, "PATCH", f"/v2/rooms/{room_id or sim.room_ids[0]}", body=body)


class RawConnection:
    """A connection to the simulator, with access to every byte."""

    def __init__(self, sim: RoomsSimulator) -> None:
        self._url = URL(sim.url)

    async def __aenter__(self) -> Self:
        self.reader, self.writer = await asyncio.open_connection(self._url.host, self._url.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.transport.abort()
        await asyncio.sleep(0)

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self) -> tuple[bytes, bytes]:
        """Read one answer with a Content-Length."""
        start = await self.reader.readuntil(b"\r\n\r\n")
        length = next(
            (int(line[16:]) for line in start.split(b"\r\n") if line.lower().startswith(b"content-length: ")), 0
        )
        return start, await self.reader.readexactly(length)

    async def rest(self) -> bytes:
        """Read until the simulator closes the connection. Raise ConnectionResetError if the simulator resets it."""
        return await self.reader.read()


async def until(condition: Any) -> None:
    """Wait until a condition is true. Raise an AssertionError if it is still false after 2,000 checks."""
    for _ in range(2000):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("the condition is still false")
