"""The client over real sockets: operations, settings, ownership, secrets, timeouts and stale connections."""

import asyncio
import contextlib
import gc
import json
import logging
import socket
import warnings
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

import aiohttp
import attrs
import pytest

from aiorooms import (
    APIConnectionError,
    APIError,
    APIResponseError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    ClientSettingsError,
    ClientStateError,
    InvalidRequestError,
    NotFoundError,
    Pacing,
    RateLimitError,
    RetryPolicy,
    Room,
    RoomCreate,
    RoomsClient,
    RoomSession,
    RoomUpdate,
    UnprocessableEntityError,
    WebhookUrlPolicy,
)
from aiorooms.simulator import FaultKind, Faults, RateLimit, RoomsSimulator

from .conftest import QUICK, settle, tasks_left, times

ROOM_ID = "7b61621f-62e0-4aad-ab11-9fd19e272e73"

# --- the samples of the API's reference page, byte for byte ---

SAMPLE_ANSWER = b"""{
"data": {
"id": "7b61621f-62e0-4aad-ab11-9fd19e272e73",
"max_participants": 50,
"unique_name": "My Room",
"created_at": "2021-04-16T09:46:20.954863Z",
"updated_at": "2021-04-16T10:24:55.962200Z",
"active_session_id": "7b61621f-62e0-4aad-ab11-9fd19e272e74",
"enable_recording": true,
"webhook_event_failover_url": "https://failover.example.com",
"webhook_timeout_secs": 25,
"webhook_event_url": "https://www.example.com",
"sessions": [
{
"id": "7b61621f-62e0-4aad-ab11-9fd19e272e74",
"room_id": "7b61621f-62e0-4aad-ab11-9fd19e272e73",
"active": true,
"created_at": "2021-04-16T09:46:20.954863Z",
"updated_at": "2021-04-16T10:24:55.962200Z",
"participants": [],
"record_type": "room_session"
}
],
"record_type": "room"
}
}"""

SAMPLE_REQUEST = {
    "unique_name": "My room",
    "max_participants": 10,
    "enable_recording": True,
    "webhook_event_url": "https://example.com",
    "webhook_event_failover_url": "https://failover.example.com",
    "webhook_timeout_secs": 25,
}

Received = list[bytes]


@asynccontextmanager
async def raw_server(
    answer: Callable[[int, asyncio.StreamReader, asyncio.StreamWriter, Received], Awaitable[None]],
) -> AsyncGenerator[tuple[str, Received]]:
    """A bare TCP server: `answer(connection number, reader, writer, received)` does what it likes."""
    received: Received = []
    connections = 0
    handlers: set[asyncio.Task[Any]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        task = asyncio.current_task()
        assert task is not None
        handlers.add(task)
        try:
            await answer(connections, reader, writer, received)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            handlers.discard(task)

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v2", received
    finally:
        server.close()
        for task in handlers:
            task.cancel()
        await asyncio.gather(*handlers, return_exceptions=True)
        await server.wait_closed()


async def read_request(reader: asyncio.StreamReader, received: Received) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    length = 0
    for line in head.split(b"\r\n"):
        if line.lower().startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    received.append(head + await reader.readexactly(length))


def ok(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


async def test_the_samples_of_the_reference_page_are_sent_and_read() -> None:
    async def answer(number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, got: Received) -> None:
        while True:
            await read_request(reader, got)
            writer.write(ok(SAMPLE_ANSWER))

    async with raw_server(answer) as (url, received), RoomsClient("KEY", base_url=url) as client:
        room = await client.rooms.update(ROOM_ID, RoomUpdate.from_dict(SAMPLE_REQUEST))
    (request,) = received
    head, _, body = request.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == f"PATCH /v2/rooms/{ROOM_ID} HTTP/1.1"
    headers = dict(line.lower().split(": ", 1) for line in lines[1:])
    assert headers["authorization"] == "bearer key"
    assert headers["accept"] == "application/json"
    assert headers["content-type"] == "application/json"
    assert headers["user-agent"].startswith("aiorooms/")
    assert headers["content-length"] == str(len(body))
    assert body == (
        b'{"unique_name":"My room","max_participants":10,"enable_recording":true,'
        b'"webhook_event_url":"https://example.com","webhook_event_failover_url":"https://failover.example.com",'
        b'"webhook_timeout_secs":25}'
    )
    assert json.loads(body) == SAMPLE_REQUEST
    created = datetime(2021, 4, 16, 9, 46, 20, 954863, tzinfo=UTC)
    updated = datetime(2021, 4, 16, 10, 24, 55, 962200, tzinfo=UTC)
    assert room == Room(
        id=ROOM_ID,
        max_participants=50,
        unique_name="My Room",
        created_at=created,
        updated_at=updated,
        active_session_id="7b61621f-62e0-4aad-ab11-9fd19e272e74",
        enable_recording=True,
        webhook_event_failover_url="https://failover.example.com",
        webhook_timeout_secs=25,
        webhook_event_url="https://www.example.com",
        sessions=(
            RoomSession(
                id="7b61621f-62e0-4aad-ab11-9fd19e272e74",
                room_id=ROOM_ID,
                active=True,
                created_at=created,
                updated_at=updated,
                participants=(),
                record_type="room_session",
            ),
        ),
        record_type="room",
    )


WAYS_TO_WRITE_A_TIME = [
    "2021-04-16T09:46:20.954863Z",
    "2021-04-16 09:46:20.954863Z",
    "2021-04-16T11:46:20.954863+02:00",
    "2021-04-16T09:46:20.954863+00:00",
]


@pytest.mark.parametrize("written", WAYS_TO_WRITE_A_TIME)
@pytest.mark.parametrize("field", [*json.loads(SAMPLE_ANSWER)["data"]])
async def test_missing_fields_are_none_unknown_ones_ignored_and_timestamps_aware(field: str, written: str) -> None:
    data = json.loads(SAMPLE_ANSWER)
    data["data"]["created_at"] = written
    data["data"].pop(field)
    data["data"]["brand_new"] = {"x": [1]}
    data["brand_new"] = 1

    async def answer(number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, got: Received) -> None:
        await read_request(reader, got)
        writer.write(ok(json.dumps(data).encode()))

    async with raw_server(answer) as (url, _), RoomsClient("KEY", base_url=url) as client:
        room = await client.rooms.retrieve(ROOM_ID)
    assert getattr(room, field) is None
    if field != "created_at":
        assert room.created_at == datetime(2021, 4, 16, 9, 46, 20, 954863, tzinfo=UTC)


# --- operations ---


async def test_create_retrieve_update_delete() -> None:
    async with RoomsSimulator() as sim, RoomsClient(sim.api_key, base_url=sim.url) as client:
        room = await client.rooms.create(unique_name="first", webhook_event_url="https://a.example.com")
        assert room.id is not None
        assert (room.unique_name, room.max_participants, room.enable_recording) == ("first", 10, False)
        assert attrs.evolve(await client.rooms.retrieve(room.id), sessions=room.sessions) == room
        changed = await client.rooms.update(
            room, max_participants=20, webhook_event_failover_url="https://b.example.com", webhook_timeout_secs=5
        )
        assert (changed.max_participants, changed.webhook_timeout_secs) == (20, 5)
        assert changed.updated_at is not None
        assert room.updated_at is not None
        assert changed.updated_at > room.updated_at
        cleared = await client.rooms.update(
            UUID(room.id), RoomUpdate(webhook_event_failover_url=None, webhook_timeout_secs=None)
        )
        assert not cleared.webhook_event_failover_url
        assert cleared.webhook_timeout_secs is None
        assert cleared.webhook_event_url == "https://a.example.com"
        await client.rooms.delete(room.id.upper())
        with pytest.raises(NotFoundError, match=f"404 room {room.id} not found \\(10005: "):
            await client.rooms.retrieve(room.id)
        with pytest.raises(NotFoundError):
            await client.rooms.delete(room)
        with pytest.raises(NotFoundError):
            await client.rooms.update(room, max_participants=3)
        second = await client.rooms.create(RoomCreate(unique_name="second"))
        assert sim.room_ids == [second.id]


async def test_a_name_that_is_taken_is_an_error_of_the_server_with_its_pointer() -> None:
    async with RoomsSimulator(rooms=2) as sim, RoomsClient(sim.api_key, base_url=sim.url) as client:
        taken = str(sim.rooms[sim.room_ids[1]]["unique_name"])
        with pytest.raises(APIStatusError, match=f"422 room {sim.room_ids[0]} refused") as caught:
            await client.rooms.update(sim.room_ids[0], unique_name=taken)
        assert isinstance(caught.value, UnprocessableEntityError)
        assert caught.value.errors[0].pointer == "/unique_name"
        assert caught.value.request_id
        with pytest.raises(UnprocessableEntityError, match=f"422 new room '{taken}' refused"):
            await client.rooms.create(unique_name=taken)
        assert sim.stats.requests == 2


async def test_sessions_come_when_asked_for() -> None:
    async with RoomsSimulator(rooms=1) as sim, RoomsClient(sim.api_key, base_url=sim.url) as client:
        (room_id,) = sim.room_ids
        sim.record = True
        await client.rooms.retrieve(room_id, include_sessions=True)
        await client.rooms.retrieve(room_id, include_sessions=False)
        await client.rooms.retrieve(room_id)
        assert [request.path for request in sim.recorded] == [
            f"/v2/rooms/{room_id}?include_sessions=true",
            f"/v2/rooms/{room_id}?include_sessions=false",
            f"/v2/rooms/{room_id}",
        ]


async def test_wrong_calls_send_nothing_and_tell_everything_at_once() -> None:
    async with RoomsSimulator(rooms=1) as sim, RoomsClient(sim.api_key, base_url=sim.url) as client:
        (room_id,) = sim.room_ids
        rooms: Any = client.rooms
        update = RoomUpdate(max_participants=20)
        calls: list[tuple[Callable[[], Any], list[str]]] = [
            (lambda: rooms.update("x", max_participants=1, webhook_timeout_secs=99),
             ["/room_id", "/max_participants", "/webhook_timeout_secs"]),
            (lambda: rooms.update("x"), ["/room_id", ""]),
            (lambda: rooms.update("x", RoomUpdate()), ["/room_id", ""]),
            (lambda: rooms.update(room_id, update, max_participants=3), [""]),
            (lambda: rooms.update(room_id, {"max_participants": 3}), [""]),
            (lambda: rooms.update(room_id, RoomCreate(max_participants=3)), [""]),
            (lambda: rooms.create(update), [""]),
            (lambda: rooms.create(RoomCreate(), max_participants=3), [""]),
            (lambda: rooms.create(max_participants=1, unique_name=""), ["/unique_name", "/max_participants"]),
            (lambda: rooms.retrieve("x", include_sessions=1), ["/room_id", "/include_sessions"]),
            (lambda: rooms.delete(None), ["/room_id"]),
        ]  # fmt: skip
        for call, pointers in calls:
            with pytest.raises(InvalidRequestError) as caught:
                await call()
            assert [problem.pointer for problem in caught.value.problems] == pointers, str(caught.value)
        with pytest.raises(InvalidRequestError) as caught:
            rooms.list(page_size=0, unique_name="", date_created_at_gte=datetime.now(UTC), include_sessions="yes")
        assert [problem.pointer for problem in caught.value.problems] == [
            "/unique_name", "/include_sessions", "/page_size", "/date_created_at_gte",
        ]  # fmt: skip
        with pytest.raises(TypeError):
            await rooms.update(room_id, max_participant=3)
        assert sim.stats.requests == 0


async def test_the_clients_policy_holds_for_every_way_to_send() -> None:
    policy = WebhookUrlPolicy(schemes=("https",), allow_credentials=True)
    async with (
        RoomsSimulator(rooms=1) as sim,
        RoomsClient(sim.api_key, base_url=sim.url, webhook_url_policy=policy) as client,
    ):
        (room_id,) = sim.room_ids
        plain = "http://example.com/"
        with pytest.raises(InvalidRequestError, match="http"):
            await client.rooms.update(room_id, webhook_event_url=plain)
        with pytest.raises(InvalidRequestError, match="http"):
            await client.rooms.update(room_id, RoomUpdate(webhook_event_url=plain))
        with pytest.raises(InvalidRequestError, match="http"):
            await client.rooms.create(RoomCreate(webhook_event_failover_url=plain))
        results = [r async for r in client.rooms.update_many([(room_id, RoomUpdate(webhook_event_url=plain))])]
        assert [result.status for result in results] == ["failed"]
        assert sim.stats.requests == 0
        url = "https://user:word@example.com/"
        room = await client.rooms.update(room_id, webhook_event_url=url)
        assert room.webhook_event_url == url
        await client.rooms.update(room_id, RoomUpdate(webhook_event_url=url, webhook_url_policy=policy))


# --- settings and environment ---


def test_settings_come_from_the_environment_and_arguments_win(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ClientSettingsError, match="TELNYX_API_KEY"):
        RoomsClient()
    monkeypatch.setenv("TELNYX_API_KEY", "from-env")
    assert repr(RoomsClient()) == "RoomsClient(base_url='https://api.telnyx.com/v2')"
    monkeypatch.setenv("TELNYX_BASE_URL", "https://other.example.com/v2/")
    assert repr(RoomsClient()) == "RoomsClient(base_url='https://other.example.com/v2')"
    assert repr(RoomsClient("k", base_url="https://x.example.com")) == "RoomsClient(base_url='https://x.example.com')"
    monkeypatch.setenv("TELNYX_API_KEY", "from-a-file\n")
    with pytest.raises(ClientSettingsError, match="TELNYX_API_KEY holds blanks, line ends") as caught:
        RoomsClient()
    assert "from-a-file" not in str(caught.value)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("key", ["", " ", "a b", "a\n", "a\r\nX-Evil: 1", "ключ", 5, b"key"])
def test_a_key_that_can_be_none_is_refused(key: Any) -> None:
    with pytest.raises(ClientSettingsError) as caught:
        RoomsClient(key)
    assert "Evil" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("api.telnyx.com/v2", "not an absolute http or https URL"),
        ("ftp://api.telnyx.com", "not an absolute http or https URL"),
        ("https://", "base_url"),
        ("https://x.example.com/v2?a=1", "query"),
        ("https://x.example.com/v2#a", "fragment"),
        ("https://user:pass@x.example.com/v2", "credentials"),
        ("https://x.example.com:99999/v2", "base_url"),
        ("http://api.telnyx.com/v2", "unencrypted"),
        ("http://127.0.0.1.example.com/v2", "unencrypted"),
        ("http://10.0.0.1/v2", "unencrypted"),
        ("", "base_url"),
        (5, "base_url"),
    ],
)
def test_a_base_url_that_can_not_be_right_is_refused(url: Any, words: str) -> None:
    with pytest.raises(ClientSettingsError, match=words) as caught:
        RoomsClient("key", base_url=url)
    assert "pass@" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["http://localhost:80/v2", "http://127.0.0.1", "http://127.9.9.9/", "http://[::1]:8/v2", "https://x.io/v2"]
)
def test_plain_http_goes_to_this_machine_only(url: str) -> None:
    RoomsClient("key", base_url=url)
    RoomsClient("key", base_url="http://api.example.com", allow_insecure_http=True)


@pytest.mark.parametrize(
    "settings",
    [
        {"retry": None},
        {"retry": 3},
        {"pacing": 300},
        {"session": "x"},
        {"webhook_url_policy": None},
        {"timeout": 0},
        {"timeout": None},
        {"timeout": -1},
        {"timeout": "5"},
        {"timeout": True},
        {"max_connections": 0},
        {"max_connections": 2.5},
    ],
)
def test_other_settings_are_checked_too(settings: Any) -> None:
    with pytest.raises(ClientSettingsError, match="|".join(settings)):
        RoomsClient("key", **settings)


# --- ownership and loops ---


async def test_a_client_opens_at_the_first_call_and_closes_once() -> None:
    async with RoomsSimulator(rooms=1) as sim:
        client = RoomsClient(sim.api_key, base_url=sim.url)
        await client.rooms.retrieve(sim.room_ids[0])
        await client.close()
        await client.close()
        for call in (
            lambda: client.rooms.retrieve(sim.room_ids[0]),
            lambda: client.rooms.update(sim.room_ids[0], max_participants=3),
            lambda: anext(client.rooms.list()),
            client.__aenter__,
        ):
            with pytest.raises(ClientStateError, match="the client is closed; make a new RoomsClient"):
                await call()
        assert tasks_left() == set()


async def test_a_forgotten_client_is_a_resource_warning() -> None:
    async with RoomsSimulator(rooms=1) as sim:
        client = RoomsClient(sim.api_key, base_url=sim.url)
        await client.rooms.retrieve(sim.room_ids[0])
        session = client._transport._session
        assert session is not None
        with pytest.warns(ResourceWarning, match=r"unclosed RoomsClient\(.*`await client.close\(\)`"):  # noqa: PT031
            del client
            gc.collect()
        await session.close()


def test_a_client_that_was_never_used_needs_no_closing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        RoomsClient("key")
        gc.collect()


def test_a_client_belongs_to_the_loop_it_was_first_used_in() -> None:
    with RoomsSimulator(rooms=1) as sim:
        client = RoomsClient(sim.api_key, base_url=sim.url)

        async def use() -> None:
            await client.rooms.retrieve(sim.room_ids[0])

        with asyncio.Runner() as first:
            first.run(use())
            with asyncio.Runner() as second, pytest.raises(ClientStateError, match="another event loop"):
                second.run(use())
            first.run(use())
            first.run(client.close())


async def test_a_session_that_was_brought_stays_open_and_its_defaults_do_not_leak_in() -> None:
    async with (
        RoomsSimulator(rooms=1) as sim,
        aiohttp.ClientSession(
            headers={"Authorization": "Bearer other", "X-Mine": "yes"},
            raise_for_status=True,
            timeout=aiohttp.ClientTimeout(0.001),
        ) as session,
    ):
        sim.record = True
        async with RoomsClient(sim.api_key, base_url=sim.url, session=session) as client:
            await client.rooms.update(sim.room_ids[0], max_participants=3)
            with pytest.raises(NotFoundError):
                await client.rooms.retrieve(ROOM_ID)
        assert not session.closed
        assert all(request.headers["X-Mine"] == "yes" for request in sim.recorded)


async def test_a_session_that_can_not_serve_is_refused_clearly() -> None:
    session = aiohttp.ClientSession()
    client = RoomsClient("key", base_url="http://127.0.0.1:1", session=session)
    await session.close()
    with pytest.raises(ClientStateError, match="session that the client was given is closed"):
        await client.rooms.retrieve(ROOM_ID)


def test_a_session_of_another_loop_is_refused_clearly() -> None:
    async def make() -> aiohttp.ClientSession:
        return aiohttp.ClientSession()

    async def use(session: aiohttp.ClientSession) -> None:
        await RoomsClient("key", session=session).rooms.retrieve(ROOM_ID)

    with asyncio.Runner() as first:
        session = first.run(make())
        with asyncio.Runner() as second, pytest.raises(ClientStateError, match="of another event loop"):
            second.run(use(session))
        first.run(session.close())


@pytest.mark.parametrize("method", ["update", "retrieve"])
async def test_closing_ends_what_is_under_way(method: str) -> None:
    async with RoomsSimulator(rooms=1, latency=5) as sim:
        client = RoomsClient(sim.api_key, base_url=sim.url, retry=QUICK, max_connections=1)
        call = client.rooms.update(sim.room_ids[0], max_participants=3)
        if method == "retrieve":
            call.close()
            call = client.rooms.retrieve(sim.room_ids[0])
        task = asyncio.create_task(call)
        waiting = asyncio.create_task(client.rooms.update(sim.room_ids[0], max_participants=3))
        while not sim.stats.in_flight:
            await asyncio.sleep(0.001)
        await client.close()
        with pytest.raises(ClientStateError) as caught:
            await task
        assert caught.value.uncertain == (method == "update")
        with pytest.raises(ClientStateError, match="closed before this was sent") as caught:
            await waiting
        assert not caught.value.uncertain
        assert tasks_left() == set()


# --- secrets ---


async def test_the_key_is_nowhere_to_be_read(caplog: pytest.LogCaptureFixture) -> None:
    key = "KEY_very_secret"
    caplog.set_level(logging.DEBUG)
    errors: list[Exception] = []
    kinds: list[FaultKind] = ["bad_http", "garbage", "truncated", "500", "502", "reset_before", "stall_before", "429"]
    for kind in kinds:
        async with RoomsSimulator(rooms=1, api_key=key, faults=Faults(rate=1, kinds=[kind])) as sim:
            async with RoomsClient(key, base_url=sim.url, retry=QUICK, timeout=0.05) as client:
                with pytest.raises(APIError) as caught:
                    await client.rooms.retrieve(sim.room_ids[0])
                errors.append(caught.value)
                assert key not in repr(client) + str(client) + repr(client.rooms)
    async with RoomsSimulator(rooms=1) as sim, RoomsClient(key, base_url=sim.url) as client:
        with pytest.raises(AuthenticationError) as refused:
            await client.rooms.retrieve(sim.room_ids[0])
        errors.append(refused.value)
    for error in errors:
        seen: BaseException | None = error
        while seen is not None:
            assert key not in repr(seen) + str(seen) + repr(vars(seen))
            seen = seen.__cause__ or seen.__context__
    assert key not in caplog.text


# --- timeouts, retries, pacing over sockets ---


async def test_closing_the_client_wakes_who_waits_before_the_next_attempt() -> None:
    async with RoomsSimulator(rooms=1, faults=Faults(script=["503"], retry_after="60")) as sim:
        client = RoomsClient(sim.api_key, base_url=sim.url)
        task = asyncio.create_task(client.rooms.update(sim.room_ids[0], max_participants=3))
        while sim.stats.requests == 0 or client._transport._pacer.in_flight:
            await asyncio.sleep(0.001)
        await settle()
        async with asyncio.timeout(5):
            await client.close()
            with pytest.raises(ClientStateError, match="the client is closed") as caught:
                await task
        assert caught.value.uncertain
        assert caught.value.attempts == 1


@pytest.mark.parametrize("status", [401, 429, 404])
async def test_a_refusal_is_one_also_if_the_rest_of_it_gets_lost(status: int) -> None:
    async def answer(number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, got: Received) -> None:
        await read_request(reader, got)
        writer.write(b"HTTP/1.1 %d No\r\nContent-Length: 900\r\nRetry-After: 900\r\n\r\n{" % status)
        await writer.drain()
        writer.close()

    async with raw_server(answer) as (url, received), RoomsClient("KEY", base_url=url) as client:
        with pytest.raises(APIStatusError) as caught:
            await client.rooms.update(ROOM_ID, max_participants=3)
        assert caught.value.status == status
        assert not caught.value.uncertain
        assert len(received) == 1


async def test_a_post_whose_body_a_hook_replaced_is_not_sent_twice() -> None:
    async def signs(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        await request.update_body(b'{"unique_name":"signed"}')
        return await send(request)

    async def answer(number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, got: Received) -> None:
        await read_request(reader, got)
        writer.transport.abort()

    async with raw_server(answer) as (url, received), aiohttp.ClientSession(middlewares=(signs,)) as session:
        async with RoomsClient("KEY", base_url=url, session=session) as client:
            with pytest.raises(APIConnectionError) as caught:
                await client.rooms.create(unique_name="x")
            assert caught.value.uncertain
            assert len(received) == 1


async def test_a_timeout_while_connecting_leaves_nothing_in_doubt() -> None:
    with socket.socket() as full:
        # A backlog of nothing that is full: connecting takes for ever.
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        with socket.create_connection(full.getsockname()), contextlib.ExitStack() as waiting:
            for _ in range(3):
                other = waiting.enter_context(socket.socket())
                other.setblocking(False)
                other.connect_ex(full.getsockname())
            url = f"http://127.0.0.1:{full.getsockname()[1]}/v2"
            async with RoomsClient("key", base_url=url, timeout=0.05, retry=RetryPolicy(max_attempts=1)) as client:
                with pytest.raises(APITimeoutError, match="not sent: no connection within the timeout") as caught:
                    await client.rooms.update(ROOM_ID, max_participants=3)
                assert not caught.value.uncertain


@pytest.mark.parametrize("timeout", [0.05, aiohttp.ClientTimeout(sock_read=0.05)])
@pytest.mark.parametrize("where", ["client", "call"])
async def test_a_timeout_is_for_one_attempt(timeout: Any, where: str) -> None:
    async with RoomsSimulator(rooms=1) as sim:
        sim.script("stall_before", "stall_before")
        settings = {"timeout": timeout} if where == "client" else {}
        async with RoomsClient(
            sim.api_key, base_url=sim.url, retry=RetryPolicy(max_attempts=2, base_delay=0.001), **settings
        ) as client:
            arguments = {} if where == "client" else {"timeout": timeout}
            with pytest.raises(APITimeoutError, match="no answer within the timeout, after 2 attempts") as caught:
                await client.rooms.retrieve(sim.room_ids[0], **arguments)
            assert isinstance(caught.value, TimeoutError)
            assert not caught.value.uncertain
        assert tasks_left() == set()


async def test_nobody_there_is_a_connection_error_with_nothing_sent() -> None:
    async with RoomsClient("key", base_url="http://127.0.0.1:9/v2", retry=QUICK) as client:
        for method in (client.rooms.create(), client.rooms.update(ROOM_ID, max_participants=3)):
            with pytest.raises(APIConnectionError, match=r"not sent: .*after 4 attempts$") as caught:
                await method
            assert caught.value.attempts == 4
            assert not caught.value.uncertain
            assert isinstance(caught.value, ConnectionError)


async def test_max_elapsed_holds_for_the_wait_for_a_turn_too() -> None:
    limit = RateLimit(limit=1, window=60, headers=False, retry_after="seconds")
    async with RoomsSimulator(rooms=1, rate_limit=limit) as sim:
        retry = RetryPolicy(max_elapsed=0.05)
        async with RoomsClient(sim.api_key, base_url=sim.url, retry=retry) as client:
            await client.rooms.retrieve(sim.room_ids[0])
            with pytest.raises(RateLimitError, match=r"429 .*RetryPolicy\(max_elapsed=0.05\) allows no further"):
                await client.rooms.retrieve(sim.room_ids[0])
            # Now everybody is paused, and this one isn't even sent.
            with pytest.raises(APITimeoutError, match=r"not sent; its turn did not come within .*max_elapsed=0.05"):
                await client.rooms.update(sim.room_ids[0], max_participants=3)
            assert client._transport._pacer.waiting == 0
        assert sim.stats.requests == 2


async def test_an_attempt_that_would_begin_too_late_is_not_waited_for() -> None:
    async with RoomsSimulator(rooms=1, faults=Faults(script=["503"], retry_after="5")) as sim:
        async with RoomsClient(sim.api_key, base_url=sim.url, retry=RetryPolicy(max_elapsed=3)) as client:
            with pytest.raises(APIStatusError, match="allows no further attempt") as caught:
                await client.rooms.retrieve(sim.room_ids[0])
            assert caught.value.attempts == 1


async def test_attempts_end_with_max_elapsed() -> None:
    async with RoomsSimulator(rooms=1) as sim:
        sim.script(*times("500", 100))
        retry = RetryPolicy(max_attempts=100, base_delay=0.02, max_delay=0.02, max_elapsed=0.1)
        async with RoomsClient(sim.api_key, base_url=sim.url, retry=retry) as client:
            with pytest.raises(APIStatusError, match=r"RetryPolicy\(max_elapsed=0.1\) allows no further attempt"):
                await client.rooms.retrieve(sim.room_ids[0])
        assert 2 <= sim.stats.requests < 90


@pytest.mark.parametrize("retry_after", ["seconds", "date", "ms", "none"])
async def test_a_refusal_is_waited_for_and_nothing_is_held_open(retry_after: Any) -> None:
    # Without figures in its answers, or the client would not come to be refused.
    limit = RateLimit(limit=1, window=0.3, retry_after=retry_after, headers=False)
    async with RoomsSimulator(rooms=1, rate_limit=limit) as sim:
        async with RoomsClient(sim.api_key, base_url=sim.url) as client:
            await client.rooms.retrieve(sim.room_ids[0])
            task = asyncio.create_task(client.rooms.retrieve(sim.room_ids[0]))
            while sim.stats.refused == 0 or sim.stats.in_flight or client._transport._pacer.in_flight:
                await asyncio.sleep(0.001)
            session = client._transport._session
            assert session is not None
            assert session.connector is not None
            assert not session.connector._acquired, "a connection is held while waiting"
            await task
        assert sim.stats.refused >= 1


@pytest.mark.parametrize("figures", [True, False])
async def test_a_wait_that_is_too_long_is_refused_with_the_figures(figures: bool) -> None:
    limit = RateLimit(limit=1, window=900, headers=figures, retry_after="seconds")
    async with RoomsSimulator(rooms=2, rate_limit=limit) as sim:
        async with RoomsClient(sim.api_key, base_url=sim.url, pacing=Pacing(max_wait=60)) as client:
            await client.rooms.retrieve(sim.room_ids[0])
            if not figures:
                with pytest.raises(
                    RateLimitError, match=r"429 .* asked to wait 900 s, longer than Pacing\(max_wait=60\) allows"
                ) as caught:
                    await client.rooms.retrieve(sim.room_ids[0])
                assert caught.value.attempts == 1
            with pytest.raises(RateLimitError, match=r"not sent: .*Pacing\(max_wait=60\)") as caught:
                await client.rooms.update(sim.room_ids[0], max_participants=3)
            assert caught.value.attempts == 0
            assert sim.stats.requests == (1 if figures else 2)


async def test_a_brought_sessions_connections_bound_what_is_in_flight() -> None:
    async with (
        RoomsSimulator(rooms=30, latency=0.005) as sim,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, limit_per_host=3)) as session,
        RoomsClient(sim.api_key, base_url=sim.url, session=session, timeout=0.03) as client,
    ):
        await asyncio.gather(*(client.rooms.retrieve(room_id) for room_id in sim.room_ids))
        assert sim.stats.peak_in_flight <= 3
        assert sim.stats.requests == 30


async def test_more_calls_than_connections_wait_for_their_turn_outside_of_their_timeouts() -> None:
    async with RoomsSimulator(rooms=40, latency=0.03) as sim:
        async with RoomsClient(
            sim.api_key, base_url=sim.url, max_connections=4, timeout=0.2, retry=RetryPolicy(max_attempts=1)
        ) as client:
            # 40 calls, 4 at a time, 0.03 s each: the last one waits longer than its timeout.
            await asyncio.gather(*(client.rooms.retrieve(room_id) for room_id in sim.room_ids))
        assert sim.stats.peak_in_flight <= 4
        assert sim.stats.connections <= 4


async def test_cancelling_a_call_leaves_nothing_behind() -> None:
    async with RoomsSimulator(rooms=1, latency=5) as sim:
        async with RoomsClient(sim.api_key, base_url=sim.url) as client:
            task = asyncio.create_task(client.rooms.update(sim.room_ids[0], max_participants=3))
            while not sim.stats.in_flight:
                await asyncio.sleep(0.001)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert client._transport._pacer.in_flight == 0
            session = client._transport._session
            assert session is not None
            assert session.connector is not None
            assert not session.connector._acquired
            assert not session.connector._conns
        assert tasks_left() == set()


# --- stale keep-alive connections ---


def answers_once_then_hangs_up() -> Callable[..., Awaitable[None]]:
    """The first request of each connection is answered; the second is read, and then the connection is closed."""

    async def answer(number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, got: Received) -> None:
        await read_request(reader, got)
        writer.write(ok(SAMPLE_ANSWER))
        await read_request(reader, got)
        writer.transport.abort()

    return answer


@pytest.mark.parametrize("method", ["update", "retrieve", "delete"])
@pytest.mark.parametrize("own_session", [True, False])
async def test_a_stale_connection_costs_no_attempt(method: str, own_session: bool) -> None:
    async with raw_server(answers_once_then_hangs_up()) as (url, received), aiohttp.ClientSession() as session:
        async with RoomsClient(
            "KEY", base_url=url, retry=RetryPolicy(max_attempts=1), session=None if own_session else session
        ) as client:
            # Over a session of ours what is sent again has a connection for itself, which can't be stale later.
            for sent in (1, 3, 4) if own_session else (1, 3, 5):
                match method:
                    case "update":
                        await client.rooms.update(ROOM_ID, max_participants=3)
                    case "retrieve":
                        await client.rooms.retrieve(ROOM_ID)
                    case _:
                        await client.rooms.delete(ROOM_ID)
                assert len(received) == sent


async def test_a_stale_connection_makes_no_uncertain() -> None:
    async def answer(number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, got: Received) -> None:
        await read_request(reader, got)
        writer.write(ok(SAMPLE_ANSWER) if got[-1].startswith(b"GET") else ok(b"garbage"))
        await read_request(reader, got)
        writer.transport.abort()

    async with raw_server(answer) as (url, _):
        async with RoomsClient("KEY", base_url=url, retry=RetryPolicy(max_attempts=1)) as client:
            # The update's own connection is stale when the room is to be read.
            room = await client.rooms.update(ROOM_ID, max_participants=50)
            assert room.max_participants == 50


async def test_update_many_over_a_stale_connection() -> None:
    async with raw_server(answers_once_then_hangs_up()) as (url, _):
        async with RoomsClient("KEY", base_url=url, retry=RetryPolicy(max_attempts=1)) as client:
            await client.rooms.retrieve(ROOM_ID)
            results = [r async for r in client.rooms.update_many([(ROOM_ID, RoomUpdate(max_participants=3))])]
            assert [(result.status, result.attempts) for result in results] == [("updated", 1)]


async def test_several_stale_connections_cost_no_attempt_either() -> None:
    async with raw_server(answers_once_then_hangs_up()) as (url, received):
        async with RoomsClient("KEY", base_url=url, retry=RetryPolicy(max_attempts=1)) as client:
            for count in (1, 3, 10, 3):
                await asyncio.gather(*(client.rooms.update(ROOM_ID, max_participants=3) for _ in range(count)))
            assert len(received) > 17, "no connection was stale"


async def test_hanging_up_on_a_fresh_connection_costs_an_attempt() -> None:
    async def answer(number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, got: Received) -> None:
        await read_request(reader, got)
        writer.transport.abort()

    async with raw_server(answer) as (url, received):
        async with RoomsClient("KEY", base_url=url, retry=RetryPolicy(max_attempts=2, base_delay=0)) as client:
            with pytest.raises(APIConnectionError, match="after 2 attempts") as caught:
                await client.rooms.update(ROOM_ID, max_participants=3)
            assert caught.value.uncertain
    assert sum(request.startswith(b"PATCH") for request in received) == 2


async def test_a_server_that_resets_every_reused_connection_is_not_hammered() -> None:
    resets = 0

    async def answer(number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, got: Received) -> None:
        nonlocal resets
        await read_request(reader, got)
        if got[-1].startswith(b"GET"):
            writer.write(ok(SAMPLE_ANSWER))
            await read_request(reader, got)
        resets += 1
        writer.transport.abort()

    async with raw_server(answer) as (url, _):
        async with RoomsClient("KEY", base_url=url, retry=RetryPolicy(max_attempts=2, base_delay=0)) as client:
            await asyncio.gather(*(client.rooms.retrieve(ROOM_ID) for _ in range(20)))
            resets = 0
            with pytest.raises(APIConnectionError):
                await client.rooms.update(ROOM_ID, max_participants=3)
    # Two attempts and one look at the room, and each of them once more over a new connection.
    assert resets <= 2 * (2 + 1)


async def test_a_whole_pool_of_stale_connections_costs_no_attempt() -> None:
    async with RoomsSimulator(rooms=1, latency=0.02) as sim:
        (room_id,) = sim.room_ids
        async with RoomsClient(sim.api_key, base_url=sim.url, retry=RetryPolicy(max_attempts=1)) as client:
            for _ in range(8):  # a few times, until many are in flight
                await asyncio.gather(*(client.rooms.retrieve(room_id) for _ in range(50)))
            assert sim.stats.connections >= 20
            sim.script(*times("reset_before", 1), method="PATCH")
            assert (await client.rooms.update(room_id, max_participants=3)).max_participants == 3
            session = client._transport._fresh_session
            assert session is not None
            assert session.connector is not None
            assert not session.connector._conns, "a connection for one request was kept"


async def test_a_post_on_a_stale_connection_is_not_sent_again() -> None:
    async with raw_server(answers_once_then_hangs_up()) as (url, received):
        async with RoomsClient("KEY", base_url=url, retry=QUICK) as client:
            await client.rooms.retrieve(ROOM_ID)
            with pytest.raises(APIConnectionError) as caught:
                await client.rooms.create(unique_name="x")
            assert caught.value.uncertain
    assert sum(request.startswith(b"POST") for request in received) == 1


async def test_keep_alive_is_on() -> None:
    async with RoomsSimulator(rooms=1) as sim, RoomsClient(sim.api_key, base_url=sim.url) as client:
        for _ in range(20):
            await client.rooms.update(sim.room_ids[0], max_participants=3)
        assert sim.stats.connections == 1


async def test_an_answer_about_another_room_is_not_taken_for_this_one() -> None:
    async with RoomsSimulator(rooms=2) as sim, RoomsClient(sim.api_key, base_url=sim.url) as client:
        sim.script(*times("wrong_room", 5), room_id=sim.room_ids[0])
        with pytest.raises(APIResponseError, match="the answer is about another room") as caught:
            await client.rooms.retrieve(sim.room_ids[0], timeout=1)
        assert caught.value.path == "data.id"


def test_dates_are_days() -> None:
    client = RoomsClient("key")
    client.rooms.list(date_created_at_eq=date(2021, 4, 25), date_updated_at_lte=date(2021, 4, 26))


async def test_what_a_session_of_the_users_own_sends_by_itself_does_not_replace_what_belongs_to_a_request() -> None:
    headers = {"Content-Type": "text/plain", "Authorization": "Basic x", "Accept": "text/html"}
    async with RoomsSimulator(rooms=1) as sim, aiohttp.ClientSession(headers=headers) as session:
        async with RoomsClient(sim.api_key, base_url=sim.url, session=session) as client:
            room = await client.rooms.update(sim.room_ids[0], max_participants=20)
            assert room.max_participants == 20


async def test_an_answer_that_switches_protocols_leaves_no_connection_behind() -> None:
    loop = asyncio.get_running_loop()
    told: list[str] = []
    loop.set_debug(True)
    loop.set_exception_handler(lambda loop, context: told.append(context["message"]))

    async def switch(
        number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, received: Received
    ) -> None:
        await read_request(reader, received)
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
        await reader.read()

    async with raw_server(switch) as (url, _):
        async with RoomsClient("KEY", base_url=url, retry=RetryPolicy(max_attempts=1)) as client:
            with pytest.raises(APIStatusError, match="101"):
                await client.rooms.update(ROOM_ID, max_participants=20)
    loop.set_debug(False)
    assert "Unclosed response" not in told
