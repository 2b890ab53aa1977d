"""The handler for aiohttp.web, and the router, over real sockets."""

import asyncio
import gzip
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from aiorooms.webhooks import (
    Event,
    RoomEvent,
    SessionEnded,
    SessionStarted,
    UnknownEvent,
    WebhookRouter,
    WebhookVerifier,
    webhook_handler,
)

from ..conftest import settle, tasks_left
from .signing import OTHER_KEY, event_body, public, signed


@asynccontextmanager
async def served(on_event: Any, **settings: Any) -> AsyncGenerator["TestClient[Any, Any]"]:
    """Serve a handler at /webhooks."""
    app = web.Application()
    webhook_handler(WebhookVerifier(public()), on_event, **settings).add_to(app, "/webhooks")
    async with TestClient(TestServer(app)) as http:
        yield http


async def post(http: "TestClient[Any, Any]", body: bytes, headers: dict[str, str] | None = None) -> int:
    async with http.post("/webhooks", data=body, headers=signed(body) if headers is None else headers) as answer:
        assert await answer.read() == b"", "an answer tells nothing"
        return answer.status


async def test_genuine_events_reach_their_functions() -> None:
    router = WebhookRouter()
    calls: list[str] = []
    done = asyncio.Event()

    @router.on(SessionStarted)
    async def started(event: SessionStarted) -> None:
        calls.append(f"started {event.payload.room_id}")

    @router.on(UnknownEvent)
    async def unknown(event: UnknownEvent) -> None:
        calls.append(f"unknown {event.event_type}")
        done.set()

    @router.on(RoomEvent)
    async def every(event: RoomEvent) -> None:
        calls.append(f"any {event.id}")

    async with served(router, concurrency=1) as http:
        assert await post(http, event_body(event_id="1")) == 200
        assert await post(http, event_body("video.room.session.ended", event_id="2")) == 200
        assert await post(http, event_body("x", event_id="3")) == 200
        await done.wait()
    assert calls == ["started r-1", "any 1", "any 2", "unknown x", "any 3"]
    assert tasks_left() == set()


def test_a_router_takes_only_event_classes_and_async_functions() -> None:
    router: Any = WebhookRouter()
    with pytest.raises(TypeError, match="'video.room' is not a class of events; give one such as SessionStarted"):
        router.on("video.room")
    with pytest.raises(TypeError, match="is not an async function"):
        router.on(SessionEnded)(print)


async def _ignore(event: Event) -> None: ...


async def test_what_is_not_genuine_is_answered_400_without_a_word() -> None:
    body = event_body()
    async with served(_ignore) as http:
        assert await post(http, body, {}) == 400
        assert await post(http, body, signed(body, key=OTHER_KEY)) == 400
        assert await post(http, body, signed(body, at=1)) == 400
        assert await post(http, body + b" ", signed(body)) == 400
        async with http.get("/webhooks") as answer:
            assert answer.status == 405


async def test_large_and_compressed_bodies_are_rejected() -> None:
    async with served(_ignore, max_body=1000) as http:
        assert await post(http, b"x" * 1001) == 413
        packed = gzip.compress(b"0" * 10_000_000)
        assert await post(http, packed, {**signed(packed), "Content-Encoding": "gzip"}) in (413, 415)

        reader, writer = await asyncio.open_connection("127.0.0.1", http.port)
        writer.write(b"POST /webhooks HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        writer.write(b"400\r\n" + b"x" * 1024 + b"\r\n")  # and no end
        assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 413 ")
        writer.close()


async def test_two_routes_share_one_inbox() -> None:
    app = web.Application()
    handler = webhook_handler(WebhookVerifier(public()), _ignore)
    handler.add_to(app, "/webhooks")
    handler.add_to(app, "/failover")
    body = event_body()
    async with TestClient(TestServer(app)) as http:
        for path in ("/webhooks", "/failover"):
            async with http.post(path, data=body, headers=signed(body)) as answer:
                assert answer.status == 200
    assert tasks_left() == set()


async def test_a_sender_that_disconnects_in_the_middle_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    async with served(_ignore) as http:
        reader, writer = await asyncio.open_connection("127.0.0.1", http.port)
        writer.write(b"POST /webhooks HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        await writer.drain()
        await settle()
        writer.close()
        await writer.wait_closed()
        await reader.read()
        assert await post(http, event_body()) == 200
    assert "Traceback" not in caplog.text


async def test_a_header_that_is_sent_twice_is_rejected() -> None:
    body = event_body()
    async with served(_ignore) as http:
        headers = [*signed(body).items(), ("telnyx-timestamp", "1")]
        async with http.post("/webhooks", data=body, headers=headers) as answer:
            assert answer.status == 400


async def test_no_random_delivery_is_accepted_or_answered_5xx(caplog: pytest.LogCaptureFixture) -> None:
    """`python -m benchmarks deliveries` sends 100,000 of them."""
    from benchmarks.deliveries import play

    caplog.set_level("DEBUG")
    campaign = await play(seed=1, count=2_000)
    assert campaign.count == 2_000
    assert campaign.genuine == campaign.accepted > 100
    assert campaign.server_errors == 0
    assert "secret-in-a-body" not in caplog.text
