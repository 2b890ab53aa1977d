"""Stale connections: if the server has closed an idle connection, sending the request again costs no attempt."""

import asyncio
from collections.abc import Awaitable, Callable

import aiohttp
import pytest

from aiorooms import APIConnectionError, RetryPolicy, RoomsClient, RoomUpdate
from aiorooms.simulator import RoomsSimulator

from ..conftest import QUICK
from ..raw_server import Peer, raw_server
from ..samples import ROOM_ID, SAMPLE_ANSWER


def answers_once_then_resets() -> Callable[..., Awaitable[None]]:
    """Return a handler that answers the first request on each connection, and resets the connection at the second."""

    async def answer(peer: Peer) -> None:
        await peer.read()
        peer.answer(SAMPLE_ANSWER)
        await peer.read()
        peer.reset()

    return answer


@pytest.mark.parametrize("method", ["update", "retrieve", "delete"])
@pytest.mark.parametrize("own_session", [True, False])
async def test_a_stale_connection_costs_no_attempt(method: str, own_session: bool) -> None:
    async with raw_server(answers_once_then_resets()) as (url, received), aiohttp.ClientSession() as session:
        async with RoomsClient(
            "KEY", base_url=url, retry=RetryPolicy(max_attempts=1), session=None if own_session else session
        ) as client:
            # Each resend opens a connection. The client's own session closes that connection after the resend, so the
            # third call is sent once. In the user's session, the third call reuses that connection, which is stale.
            for sent in (1, 3, 4) if own_session else (1, 3, 5):
                match method:
                    case "update":
                        await client.rooms.update(ROOM_ID, max_participants=50)
                    case "retrieve":
                        await client.rooms.retrieve(ROOM_ID)
                    case _:
                        await client.rooms.delete(ROOM_ID)
                assert len(received) == sent


async def test_a_read_back_over_a_stale_connection_settles_the_update() -> None:
    async def answer(peer: Peer) -> None:
        request = await peer.read()
        peer.answer(SAMPLE_ANSWER if request.startswith(b"GET") else b"garbage")
        await peer.read()
        peer.reset()

    async with raw_server(answer) as (url, _):
        async with RoomsClient("KEY", base_url=url, retry=RetryPolicy(max_attempts=1)) as client:
            # The read-back reuses the connection of the update, and then the server resets that connection.
            room = await client.rooms.update(ROOM_ID, max_participants=50)
            assert room.max_participants == 50


async def test_a_stale_connection_costs_no_attempt_in_update_many() -> None:
    async with raw_server(answers_once_then_resets()) as (url, _):
        async with RoomsClient("KEY", base_url=url, retry=RetryPolicy(max_attempts=1)) as client:
            await client.rooms.retrieve(ROOM_ID)
            results = [r async for r in client.rooms.update_many([(ROOM_ID, RoomUpdate(max_participants=50))])]
            assert [(result.status, result.attempts) for result in results] == [("updated", 1)]


async def test_several_stale_connections_cost_no_attempt() -> None:
    async with raw_server(answers_once_then_resets()) as (url, received):
        async with RoomsClient("KEY", base_url=url, retry=RetryPolicy(max_attempts=1)) as client:
            for count in (1, 3, 10, 3):
                await asyncio.gather(*(client.rooms.update(ROOM_ID, max_participants=50) for _ in range(count)))
            assert len(received) > 17, "no connection was stale"


async def test_a_server_that_resets_every_connection_gets_few_requests() -> None:
    resets = 0

    async def answer(peer: Peer) -> None:
        nonlocal resets
        request = await peer.read()
        if request.startswith(b"GET"):
            peer.answer(SAMPLE_ANSWER)
            await peer.read()
        resets += 1
        peer.reset()

    async with raw_server(answer) as (url, _):
        async with RoomsClient("KEY", base_url=url, retry=RetryPolicy(max_attempts=2, base_delay=0)) as client:
            await asyncio.gather(*(client.rooms.retrieve(ROOM_ID) for _ in range(20)))
            resets = 0
            with pytest.raises(APIConnectionError):
                await client.rooms.update(ROOM_ID, max_participants=3)
    # Two attempts and one read-back. Each of the three may be sent once more over a new connection.
    assert resets <= 2 * (2 + 1)


async def test_a_whole_pool_of_stale_connections_costs_no_attempt() -> None:
    async with RoomsSimulator(rooms=1, latency=0.02) as sim:
        (room_id,) = sim.room_ids
        async with RoomsClient(sim.api_key, base_url=sim.url, retry=RetryPolicy(max_attempts=1)) as client:
            for _ in range(8):  # repeated, so that many connections are open
                await asyncio.gather(*(client.rooms.retrieve(room_id) for _ in range(50)))
            assert sim.stats.connections >= 20
            sim.record = True
            sim.script("reset_before", method="PATCH")
            assert (await client.rooms.update(room_id, max_participants=3)).max_participants == 3
            kept = [request.headers.get("Connection") != "close" for request in sim.recorded]
            assert kept == [True, False], "the connection of the resend was kept alive"


async def test_a_post_on_a_stale_connection_is_not_sent_again() -> None:
    async with raw_server(answers_once_then_resets()) as (url, received):
        async with RoomsClient("KEY", base_url=url, retry=QUICK) as client:
            await client.rooms.retrieve(ROOM_ID)
            with pytest.raises(APIConnectionError) as caught:
                await client.rooms.create(unique_name="x")
            assert caught.value.uncertain
    assert sum(request.startswith(b"POST") for request in received) == 1
