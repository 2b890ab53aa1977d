"""Connection failures, truncated answers, switched protocols and keep-alive."""

import asyncio

import aiohttp
import pytest

from aiorooms import APIConnectionError, APIResponseError, APIStatusError, RetryPolicy, RoomsClient
from aiorooms.simulator import RoomsSimulator

from ..conftest import QUICK, times
from ..raw_server import Peer, raw_server
from ..samples import ROOM_ID


async def test_an_unreachable_server_is_a_connection_error_and_nothing_is_sent() -> None:
    async with RoomsClient("key", base_url="http://127.0.0.1:9/v2", retry=QUICK) as client:
        for method in (client.rooms.create(), client.rooms.update(ROOM_ID, max_participants=3)):
            with pytest.raises(APIConnectionError, match=r"not sent: .*after 4 attempts$") as caught:
                await method
            assert caught.value.attempts == 4
            assert not caught.value.uncertain
            assert isinstance(caught.value, ConnectionError)


@pytest.mark.parametrize("status", [401, 429, 404])
async def test_a_4xx_is_reported_even_if_its_body_is_truncated(status: int) -> None:
    async def answer(peer: Peer) -> None:
        await peer.read()
        peer.write(b"HTTP/1.1 %d No\r\nContent-Length: 900\r\nRetry-After: 900\r\n\r\n{" % status)

    async with raw_server(answer) as (url, received), RoomsClient("KEY", base_url=url) as client:
        with pytest.raises(APIStatusError) as caught:
            await client.rooms.update(ROOM_ID, max_participants=3)
        assert caught.value.status == status
        assert not caught.value.uncertain
        assert len(received) == 1


async def test_a_post_whose_body_was_replaced_by_middleware_is_not_sent_twice() -> None:
    async def signs(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        await request.update_body(b'{"unique_name":"signed"}')
        return await send(request)

    async def answer(peer: Peer) -> None:
        await peer.read()
        peer.reset()

    async with raw_server(answer) as (url, received), aiohttp.ClientSession(middlewares=(signs,)) as session:
        async with RoomsClient("KEY", base_url=url, session=session) as client:
            with pytest.raises(APIConnectionError) as caught:
                await client.rooms.create(unique_name="x")
            assert caught.value.uncertain
            assert len(received) == 1


async def test_a_reset_on_a_new_connection_costs_an_attempt() -> None:
    async def answer(peer: Peer) -> None:
        await peer.read()
        peer.reset()

    async with raw_server(answer) as (url, received):
        async with RoomsClient("KEY", base_url=url, retry=RetryPolicy(max_attempts=2, base_delay=0)) as client:
            with pytest.raises(APIConnectionError, match="after 2 attempts") as caught:
                await client.rooms.update(ROOM_ID, max_participants=3)
            assert caught.value.uncertain
    assert sum(request.startswith(b"PATCH") for request in received) == 2


async def test_an_answer_about_another_room_is_an_error() -> None:
    async with RoomsSimulator(rooms=2) as sim, RoomsClient(sim.api_key, base_url=sim.url) as client:
        sim.script(*times("wrong_room", 5), room_id=sim.room_ids[0])
        with pytest.raises(APIResponseError, match="the answer is about another room") as caught:
            await client.rooms.retrieve(sim.room_ids[0], timeout=1)
        assert caught.value.path == "data.id"


async def test_an_answer_that_switches_protocols_is_closed() -> None:
    loop = asyncio.get_running_loop()
    messages: list[str] = []
    loop.set_debug(True)
    loop.set_exception_handler(lambda loop, context: messages.append(context["message"]))

    async def switch(peer: Peer) -> None:
        await peer.read()
        peer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
        await peer.read_to_the_end()

    async with raw_server(switch) as (url, _):
        async with RoomsClient("KEY", base_url=url, retry=RetryPolicy(max_attempts=1)) as client:
            with pytest.raises(APIStatusError, match="101"):
                await client.rooms.update(ROOM_ID, max_participants=20)
    loop.set_debug(False)
    assert "Unclosed response" not in messages


async def test_consecutive_requests_use_the_same_connection() -> None:
    async with RoomsSimulator(rooms=1) as sim, RoomsClient(sim.api_key, base_url=sim.url) as client:
        for _ in range(20):
            await client.rooms.update(sim.room_ids[0], max_participants=3)
        assert sim.stats.connections == 1
