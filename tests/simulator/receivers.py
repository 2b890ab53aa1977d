"""Receivers of webhook events, as servers of aiohttp."""

import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import attrs
from aiohttp import web
from aiohttp.test_utils import TestServer

from aiorooms.simulator import RoomsSimulator


@attrs.frozen
class Received:
    """One event as it arrived."""

    headers: Any
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def data(self) -> Any:
        return self.json["data"]

    @property
    def type(self) -> str:
        """The event type without the prefix that all types have."""
        return str(self.data["event_type"]).removeprefix("video.room.")


class Receiver:
    """What one receiver got, and its URL."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.url = ""

    @property
    def types(self) -> list[str]:
        return [event.type for event in self.received]


Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def ok(_request: web.Request) -> web.StreamResponse:
    return web.Response()


@asynccontextmanager
async def receiver(answer: Answer = ok) -> AsyncGenerator[Receiver]:
    """Run a receiver that records each event, and then calls `answer`."""
    one = Receiver()

    async def handle(request: web.Request) -> web.StreamResponse:
        one.received.append(Received(request.headers, await request.read()))
        return await answer(request)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    async with TestServer(app) as server:
        one.url = str(server.make_url("/hooks"))
        yield one


def room_with(sim: RoomsSimulator, url: str, failover_url: str = "", **fields: Any) -> str:
    """Add a room with these URLs, and return its id."""
    return sim.add_room(webhook_event_url=url, webhook_event_failover_url=failover_url, **fields)


def outcomes(sim: RoomsSimulator) -> list[tuple[str, str, int]]:
    """Return the URL, the outcome and the number of each attempt."""
    return [(attempt.url, attempt.outcome, attempt.attempt) for attempt in sim.delivery_log]
