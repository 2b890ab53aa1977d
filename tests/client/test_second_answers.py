"""Stray answers, which no request has asked for. A connection that receives one while it is idle is not reused."""

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from aiorooms import NotFoundError, RetryPolicy, RoomsClient, RoomUpdate
from aiorooms._http.connector import Connector, Route

from ..conftest import settle
from ..loops import on_both_loops
from ..raw_server import Peer, raw_server
from ..samples import ROOM_ID

MISSING_ID = "5e0a0d4c-2d5e-4d3a-9f5d-6e9d0d1f2a3b"

ONCE = RetryPolicy(max_attempts=1)


def room(participants: int) -> bytes:
    body = json.dumps({"data": {"id": ROOM_ID, "max_participants": participants}}).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body


STRAYS = {
    "200": room(3),
    "404": b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
    "401": b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n",
    "a part": room(3)[:30],
    "garbage": b"\x00\x01\x02",
}


class Server:
    """A server that applies each PATCH, and sends `stray` after its first answer.

    It sends `stray` at once if `late` is None, and otherwise when `late` is set.
    """

    def __init__(self, stray: bytes, late: asyncio.Event | None) -> None:
        self.value = 0
        self.patches: list[int] = []
        self.has_written_stray = asyncio.Event()
        self._stray = stray
        self._late = late

    async def serve(self, peer: Peer) -> None:
        while True:
            request = await peer.read()
            if request.startswith(b"PATCH"):
                self.value = json.loads(request.partition(b"\r\n\r\n")[2])["max_participants"]
                self.patches.append(self.value)
            answer, stray, self._stray = room(self.value), self._stray, b""
            if self._late is None:
                peer.write(answer + stray)
            else:
                peer.write(answer)
                if stray:
                    await self._late.wait()
                    peer.write(stray)
                    self.has_written_stray.set()


@pytest.mark.parametrize("stray", STRAYS.values(), ids=STRAYS)
@pytest.mark.parametrize("at_once", [True, False])
@on_both_loops
async def test_a_stray_answer_is_not_used_for_the_next_request(stray: bytes, at_once: bool) -> None:
    late = None if at_once else asyncio.Event()
    server = Server(stray, late)
    async with raw_server(server.serve) as (url, _):
        async with RoomsClient("KEY", base_url=url, retry=ONCE) as client:
            await client.rooms.update(ROOM_ID, max_participants=3)
            if late is not None:
                late.set()
                await server.has_written_stray.wait()
            for number in (4, 5):
                assert (await client.rooms.update(ROOM_ID, max_participants=number)).max_participants == number
    assert server.patches == [3, 4, 5], "an update was not sent exactly once"


@pytest.mark.parametrize("stray", STRAYS.values(), ids=STRAYS)
@on_both_loops
async def test_an_answer_that_arrives_just_before_the_request_is_written_is_not_used(
    stray: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []
    peers: list[Peer] = []
    begin = Route.begin

    def begin_late(route: Route) -> None:
        # The request has its connection, and is about to be written.
        if len(written) == 1:
            peers[0].write_now(stray)
            written.append(0)
        begin(route)

    async def serve(peer: Peer) -> None:
        peers.append(peer)
        while True:
            request = await peer.read()
            written.append(json.loads(request.partition(b"\r\n\r\n")[2])["max_participants"])
            peer.write(room(written[-1]))

    monkeypatch.setattr(Route, "begin", begin_late)
    async with raw_server(serve) as (url, _):
        async with RoomsClient("KEY", base_url=url, retry=ONCE) as client:
            for number in (3, 4):
                assert (await client.rooms.update(ROOM_ID, max_participants=number)).max_participants == number
    assert written == [3, 0, 4], "the second update was not sent exactly once"
    assert len(peers) == 2, "the connection was used again"


@pytest.mark.parametrize("own_session", [True, False])
@on_both_loops
async def test_a_connection_whose_answers_are_shifted_by_one_is_not_used_again(own_session: bool) -> None:
    connections: list[Peer] = []

    async def serve(peer: Peer) -> None:
        connections.append(peer)
        is_first = len(connections) == 1
        last = b""
        while True:
            request = await peer.read()
            participants = json.loads(request.partition(b"\r\n\r\n")[2])["max_participants"]
            answer = STRAYS["404"] if MISSING_ID.encode() in request else room(participants)
            # On the first connection, the first answer is sent again in place of the second, and so on.
            peer.write(last if is_first and last else answer)
            last = answer

    async with raw_server(serve) as (url, received):
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as session,
            RoomsClient(
                "KEY",
                base_url=url,
                max_connections=1,
                retry=RetryPolicy(base_delay=0),
                session=None if own_session else session,
            ) as client,
        ):
            await client.rooms.update(ROOM_ID, max_participants=3)
            with pytest.raises(NotFoundError):
                await client.rooms.update(MISSING_ID, max_participants=4)
            assert (await client.rooms.update(ROOM_ID, max_participants=5)).max_participants == 5
    assert len(connections) == 2
    assert len(received) == 4, "only the second update is sent twice"


@pytest.mark.parametrize("stray", STRAYS.values(), ids=STRAYS)
async def test_the_reported_outcome_is_also_true_if_the_user_provides_the_session(stray: bytes) -> None:
    late = asyncio.Event()
    server = Server(stray, late)
    async with raw_server(server.serve) as (url, _), aiohttp.ClientSession() as session:
        async with RoomsClient("KEY", base_url=url, retry=ONCE, session=session) as client:
            await client.rooms.update(ROOM_ID, max_participants=3)
            late.set()
            await server.has_written_stray.wait()
            await settle()  # the session receives it while the connection is idle
            (result,) = [r async for r in client.rooms.update_many([(ROOM_ID, RoomUpdate(max_participants=4))])]
            if result.status != "uncertain":
                assert (result.status == "updated") == (server.value == 4), result


@on_both_loops
async def test_a_connection_is_reused_if_nothing_arrives_between_requests() -> None:
    connections = 0

    async def serve(peer: Peer) -> None:
        nonlocal connections
        connections += 1
        while True:
            await peer.read()
            peer.write(room(3))

    async with raw_server(serve) as (url, _), RoomsClient("KEY", base_url=url, retry=ONCE) as client:
        for _ in range(5):
            await client.rooms.update(ROOM_ID, max_participants=3)
    assert connections == 1


async def test_aiohttp_still_has_the_private_methods_that_our_connector_uses() -> None:
    connector: Any = Connector(limit=1, keepalive_timeout=1)
    assert type(connector._factory()).__name__ == "_Protocol"
    assert callable(getattr(aiohttp.TCPConnector, "_release", None)), (
        "aiohttp no longer has the method that our connector overrides"
    )
    await connector.close()
