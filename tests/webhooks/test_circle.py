"""The whole circle over real sockets: a room gets a webhook URL, and the events of its sessions reach the handler once.

The client sets the URLs, the simulator signs and delivers, and the receiver verifies and handles. None of them shares
code with another.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from telnyx import Telnyx

from aiorooms import RoomsClient
from aiorooms.simulator import Deliveries, RoomsSimulator
from aiorooms.webhooks import (
    Event,
    FileEventStore,
    ParticipantJoined,
    ParticipantLeft,
    UnknownEvent,
    WebhookVerifier,
    webhook_handler,
)

from ..raw_server import Peer, raw_server
from ..webhook_config.receivers import Authority

SESSION = [
    "video.room.session.started",
    "video.room.participant.joined",
    "video.room.participant.left",
    "video.room.session.ended",
]
AT_ONCE = Deliveries(retries=1, backoff=0)


@asynccontextmanager
async def receiver(sim: RoomsSimulator, store: FileEventStore | None = None) -> AsyncGenerator[tuple[str, list[Event]]]:
    """Serve a handler that records the events. Yield its URL and the events."""
    events: list[Event] = []

    async def on_event(event: Event) -> None:
        events.append(event)

    app = web.Application()
    webhook_handler(WebhookVerifier(sim.public_key), on_event, store=store, concurrency=1).add_to(app, "/webhooks")
    async with TestServer(app) as server:
        yield str(server.make_url("/webhooks")), events


async def live(sim: RoomsSimulator, room_id: str) -> None:
    """Let a session of a room live from its start to its end, and wait for its events."""
    sim.start_session(room_id)
    sim.leave(sim.join(room_id, context='{"user": 7}'), reason="kicked")
    sim.end_session(room_id)
    await sim.delivered()


async def aim(sim: RoomsSimulator, url: str, failover_url: str | None = None, timeout_secs: int = 5) -> str:
    """Set the webhook settings of the first room with a client, and return its id."""
    async with RoomsClient(sim.api_key, base_url=sim.url) as client:
        room = await client.rooms.update(
            sim.room_ids[0],
            webhook_event_url=url,
            webhook_event_failover_url=failover_url,
            webhook_timeout_secs=timeout_secs,
        )
    return room.id


async def test_the_events_of_a_session_reach_the_handler() -> None:
    async with RoomsSimulator(rooms=1) as sim, receiver(sim) as (url, events):
        room_id = await aim(sim, url)
        await live(sim, room_id)
        assert [event.event_type for event in events] == SESSION
        joined, left = events[1:3]
        assert isinstance(joined, ParticipantJoined)
        assert isinstance(left, ParticipantLeft)
        assert joined.payload.context_data == {"user": 7}
        assert left.payload.left_reason == "kicked"
        assert {event.delivered_to for event in events} == {url}
        for event in events:
            assert not isinstance(event, UnknownEvent)
            assert event.payload.room_id == room_id
            assert (event.unreadable, event.extra, event.payload.unreadable, event.payload.extra) == ({}, {}, {}, {})


Serve = Callable[[Peer], Awaitable[None]]


async def _answers_500(peer: Peer) -> None:
    await peer.read()
    peer.write(b"HTTP/1.1 500 no\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


async def _redirects(peer: Peer) -> None:
    await peer.read()
    peer.write(b"HTTP/1.1 302 there\r\nLocation: /elsewhere\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


async def _is_slow(peer: Peer) -> None:
    await peer.read_to_the_end()


@pytest.mark.parametrize("primary", ["down", "slow", "500", "redirect", "certificate"])
async def test_a_primary_that_fails_sends_the_events_to_the_failover_once(primary: str, tmp_path: Path) -> None:
    serve: Serve = {"slow": _is_slow, "redirect": _redirects}.get(primary, _answers_500)
    tls = Authority(tmp_path).server("localhost") if primary == "certificate" else None
    async with AsyncExitStack() as stack:
        sim = await stack.enter_async_context(RoomsSimulator(rooms=1, deliveries=AT_ONCE))
        failover, events = await stack.enter_async_context(receiver(sim))
        base, received = await stack.enter_async_context(raw_server(serve, tls=tls))
        url = base.replace("/v2", "/webhooks")
        if primary == "down":
            url = "http://127.0.0.1:1/webhooks"
        if primary == "certificate":
            url = url.replace("http://127.0.0.1", "https://localhost")
        room_id = await aim(sim, url, failover, timeout_secs=1)
        sim.start_session(room_id)
        await sim.delivered()
        assert [event.event_type for event in events] == SESSION[:1]
        assert events[0].delivered_to == failover
        assert [attempt.outcome for attempt in sim.delivery_log][-1] == "delivered"
        assert len(sim.delivery_log) == 3, "two attempts at the primary, one at the failover"
        assert len(received) == {"500": 2, "redirect": 2}.get(primary, 0)


@pytest.mark.parametrize("durable", [False, True])
async def test_repeated_reordered_and_odd_deliveries_are_handled_once(durable: bool, tmp_path: Path) -> None:
    odd = Deliveries(repeat=1, reorder=0.3, quirks=0.7, backoff=0)
    store = FileEventStore(tmp_path / "events.db") if durable else None
    async with RoomsSimulator(rooms=1, deliveries=odd, seed=5) as sim, receiver(sim, store) as (url, events):
        room_id = await aim(sim, url)
        for _ in range(10):
            await live(sim, room_id)
        while len(events) < 40:
            await asyncio.sleep(0.01)
        assert Counter(event.event_type for event in events) == dict.fromkeys(SESSION, 10)
        assert len({event.id for event in events}) == 40
        assert len(sim.delivery_log) == 80
        assert all(event.occurred_at is not None for event in events)


async def test_without_a_receiver_an_event_is_given_up() -> None:
    async with RoomsSimulator(rooms=1, deliveries=AT_ONCE) as sim:
        room_id = await aim(sim, "http://127.0.0.1:1/webhooks")
        sim.start_session(room_id)
        await sim.delivered()
        assert [attempt.outcome for attempt in sim.delivery_log] == ["unreachable"] * 2


async def test_the_official_sdk_accepts_what_the_simulator_signs() -> None:
    accepted: list[str | None] = []

    async with RoomsSimulator(rooms=1) as sim:
        assert sim.public_key is not None
        official = Telnyx(api_key="KEY", public_key=sim.public_key)

        async def handle(request: web.Request) -> web.Response:
            body = (await request.read()).decode()
            official.webhooks.unwrap(body, headers=request.headers)
            with pytest.raises(ValueError, match="Signature verification failed"):
                official.webhooks.unwrap(body + " ", headers=request.headers)
            accepted.append(request.headers["telnyx-timestamp"])
            return web.Response()

        app = web.Application()
        app.router.add_post("/webhooks", handle)
        async with TestServer(app) as server:
            await live(sim, await aim(sim, str(server.make_url("/webhooks"))))
    assert len(accepted) == 4
