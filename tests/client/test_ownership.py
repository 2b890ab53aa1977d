"""The life of a client: its opening, its closing, its event loop, and an aiohttp session that the caller provides."""

import asyncio
import gc
import warnings
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from aiorooms import ClientSettingsError, ClientStateError, NotFoundError, RoomsClient
from aiorooms._http import exchange
from aiorooms._http.body import read_body
from aiorooms.simulator import Faults, RoomsSimulator

from ..conftest import QUICK, settle, tasks_left
from ..raw_server import Peer, raw_server
from ..samples import ROOM_ID


async def test_a_client_opens_at_the_first_call_and_stays_closed_after_close() -> None:
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
            with pytest.raises(ClientStateError, match="the client is closed; create a new RoomsClient"):
                await call()
        assert tasks_left() == set()


async def test_an_unclosed_client_causes_a_resource_warning() -> None:
    async with RoomsSimulator(rooms=1) as sim:
        client = RoomsClient(sim.api_key, base_url=sim.url)
        await client.rooms.retrieve(sim.room_ids[0])
        (session,) = [found for found in gc.get_objects() if type(found) is aiohttp.ClientSession and not found.closed]
        with pytest.warns(ResourceWarning, match=r"unclosed RoomsClient\(.*`await client.close\(\)`"):  # noqa: PT031
            del client
            gc.collect()
        await session.close()


def test_a_client_that_was_never_used_needs_no_closing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        RoomsClient("key")
        gc.collect()


def test_a_client_belongs_to_the_loop_of_its_first_use() -> None:
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


async def test_the_callers_session_stays_open_and_its_defaults_are_ignored() -> None:
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


async def test_a_closed_session_is_rejected_with_a_clear_error() -> None:
    session = aiohttp.ClientSession()
    client = RoomsClient("key", base_url="http://127.0.0.1:1", session=session)
    await session.close()
    with pytest.raises(ClientStateError, match=r"session of the client \(session=\) is closed"):
        await client.rooms.retrieve(ROOM_ID)


def test_a_session_of_another_loop_is_rejected_with_a_clear_error() -> None:
    async def make() -> aiohttp.ClientSession:
        return aiohttp.ClientSession()

    async def use(session: aiohttp.ClientSession) -> None:
        await RoomsClient("key", session=session).rooms.retrieve(ROOM_ID)

    with asyncio.Runner() as first:
        session = first.run(make())
        with asyncio.Runner() as second, pytest.raises(ClientStateError, match="belongs to another event loop"):
            second.run(use(session))
        first.run(session.close())


async def test_default_headers_of_the_callers_session_do_not_replace_the_headers_of_the_client() -> None:
    headers = {"Content-Type": "text/plain", "Authorization": "Basic x", "Accept": "text/html"}
    async with RoomsSimulator(rooms=1) as sim, aiohttp.ClientSession(headers=headers) as session:
        async with RoomsClient(sim.api_key, base_url=sim.url, session=session) as client:
            room = await client.rooms.update(sim.room_ids[0], max_participants=20)
            assert room.max_participants == 20


@pytest.mark.parametrize("method", ["update", "retrieve"])
async def test_closing_the_client_ends_the_calls_in_flight_and_in_the_queue(method: str) -> None:
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
        with pytest.raises(ClientStateError, match="not sent: the client was closed") as caught:
            await waiting
        assert not caught.value.uncertain
        assert tasks_left() == set()


async def test_closing_the_client_ends_a_call_that_waits_for_its_next_attempt() -> None:
    async with RoomsSimulator(rooms=1, faults=Faults(script=["503"], retry_after="60")) as sim:
        client = RoomsClient(sim.api_key, base_url=sim.url)
        task = asyncio.create_task(client.rooms.update(sim.room_ids[0], max_participants=3))
        while sim.stats.requests == 0 or client.pacing.snapshot().in_flight:
            await asyncio.sleep(0.001)
        await settle()
        async with asyncio.timeout(5):
            await client.close()
            with pytest.raises(ClientStateError, match="the client is closed") as caught:
                await task
        assert caught.value.uncertain
        assert caught.value.attempts == 1


async def test_cancelling_a_call_leaves_nothing_behind() -> None:
    received, closed = asyncio.Event(), asyncio.Event()

    async def silent(peer: Peer) -> None:
        await peer.read()
        received.set()
        await peer.read_to_the_end()
        closed.set()

    async with raw_server(silent) as (url, _):
        async with RoomsClient("KEY", base_url=url) as client:
            task = asyncio.create_task(client.rooms.update(ROOM_ID, max_participants=3))
            await received.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert client.pacing.snapshot().in_flight == 0
            async with asyncio.timeout(30):
                await closed.wait()  # the connection is closed and not reused
    assert tasks_left() == set()


async def test_a_cancelled_close_still_closes_every_session(monkeypatch: pytest.MonkeyPatch) -> None:
    async with RoomsSimulator(rooms=1) as sim:
        client = RoomsClient(sim.api_key, base_url=sim.url, retry=QUICK)
        sim.script(None, "reset_before")
        for _ in range(2):  # the second call opens the extra session for resends
            await client.rooms.retrieve(sim.room_ids[0])
        exchange: Any = client._sender.exchange
        sessions = [exchange._session, exchange._fresh_session]
        assert None not in sessions
        closing = asyncio.create_task(client.close())
        await asyncio.sleep(0)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        assert [session.closed for session in sessions] == [True, True]


async def test_an_update_whose_answer_comes_after_the_client_was_closed_has_a_true_outcome() -> None:
    is_received, may_answer = asyncio.Event(), asyncio.Event()

    async def serve(peer: Peer) -> None:
        await peer.read()
        is_received.set()
        await may_answer.wait()
        peer.answer(b'{"data": {"id": "%s", "max_participants": 3}}' % ROOM_ID.encode())

    async with raw_server(serve) as (url, _), aiohttp.ClientSession() as session:
        client = RoomsClient("KEY", base_url=url, session=session)
        update = asyncio.ensure_future(client.rooms.update(ROOM_ID, max_participants=3))
        await is_received.wait()
        await client.close()
        may_answer.set()
        assert (await update).max_participants == 3


async def test_closing_the_users_session_while_its_middleware_waits_ends_in_a_documented_error() -> None:
    is_waiting, may_continue = asyncio.Event(), asyncio.Event()

    async def wait(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        is_waiting.set()
        await may_continue.wait()
        return await send(request)

    async with RoomsSimulator(rooms=1) as sim, aiohttp.ClientSession(middlewares=[wait]) as session:
        async with RoomsClient(sim.api_key, base_url=sim.url, session=session, retry=QUICK) as client:
            update = asyncio.ensure_future(client.rooms.update(sim.room_ids[0], max_participants=3))
            await is_waiting.wait()
            await session.close()
            may_continue.set()
            with pytest.raises(ClientStateError, match="session of the client .* is closed"):
                await update


@pytest.mark.parametrize("own_session", [True, False])
async def test_closing_while_an_answer_is_being_read_leaves_the_outcome_uncertain(
    own_session: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def serve(peer: Peer) -> None:
        await peer.read()
        peer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
        await peer.read_to_the_end()

    async with raw_server(serve) as (url, _), aiohttp.ClientSession() as session:
        client = RoomsClient("KEY", base_url=url, session=None if own_session else session)

        async def read_after_close(response: aiohttp.ClientResponse, limit: int, *, auto_decompress: bool) -> bytes:
            await client.close()
            await session.close()
            return await read_body(response, limit, auto_decompress=auto_decompress)

        monkeypatch.setattr(exchange, "read_body", read_after_close)
        with pytest.raises(ClientStateError) as caught:
            await client.rooms.update(ROOM_ID, max_participants=3)
    assert caught.value.uncertain


@pytest.mark.parametrize(
    ("netrc", "trust_env", "is_accepted"),
    [
        ("machine api.telnyx.com login me password secret", True, False),
        ("default login me password secret", True, False),
        ("machine api.telnyx.com login me password secret", False, True),
        ("machine proxy.x.io login me password secret", True, True),
        ("", True, True),
    ],
)
async def test_a_session_that_would_send_a_password_from_netrc_is_rejected(
    netrc: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, trust_env: bool, is_accepted: bool
) -> None:
    file = tmp_path / "netrc"
    file.write_text(netrc)
    monkeypatch.setenv("NETRC", str(file))
    async with aiohttp.ClientSession(trust_env=trust_env) as session:
        if is_accepted:
            RoomsClient("KEY", session=session)
            return
        with pytest.raises(ClientSettingsError) as caught:
            RoomsClient("KEY", session=session)
    assert caught.value.setting == "session"
    assert "netrc has credentials for api.telnyx.com, which conflict with the API key" in str(caught.value)
    assert "secret" not in str(caught.value)
