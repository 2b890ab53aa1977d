"""Time limits: `timeout` for one attempt, and `max_elapsed` for the attempts of a whole call."""

import asyncio
import contextlib
import socket
from typing import Any

import aiohttp
import pytest

from aiorooms import (
    APIStatusError,
    APITimeoutError,
    RateLimitError,
    RateLimitTimeoutError,
    RetryPolicy,
    RoomsClient,
    RoomUpdate,
)
from aiorooms.simulator import Faults, RateLimit, RoomsSimulator

from ..conftest import tasks_left, times
from ..samples import ROOM_ID


async def test_a_timeout_while_connecting_is_not_uncertain() -> None:
    with socket.socket() as full:
        # With a full backlog, connecting never succeeds.
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


@pytest.mark.parametrize("timeout", [0.25, aiohttp.ClientTimeout(sock_read=0.25)])
@pytest.mark.parametrize("where", ["client", "call"])
async def test_a_timeout_applies_to_one_attempt(timeout: Any, where: str) -> None:
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


async def test_max_elapsed_includes_the_wait_for_a_permit() -> None:
    limit = RateLimit(limit=1, window=60, headers=False, retry_after="seconds")
    async with RoomsSimulator(rooms=1, rate_limit=limit) as sim:
        retry = RetryPolicy(max_elapsed=0.05)
        async with RoomsClient(sim.api_key, base_url=sim.url, retry=retry) as client:
            await client.rooms.retrieve(sim.room_ids[0])
            with pytest.raises(RateLimitError, match=r"429 .*RetryPolicy\(max_elapsed=0.05\) allows no further"):
                await client.rooms.retrieve(sim.room_ids[0])
            # The 429 paused all calls, so this call is not sent.
            with pytest.raises(
                RateLimitTimeoutError, match=r"not sent: .*max_elapsed=0.05\) expired while the call was queued"
            ) as caught:
                await client.rooms.update(sim.room_ids[0], max_participants=3)
            assert isinstance(caught.value, APITimeoutError)
            assert caught.value.retry_after is not None
            assert 1 < caught.value.retry_after <= 60
            assert client.pacing.snapshot().waiting == 0
        assert sim.stats.requests == 2


async def test_a_call_that_waits_for_a_connection_is_not_rate_limited() -> None:
    async with RoomsSimulator(rooms=1, latency=30) as sim:
        retry = RetryPolicy(max_elapsed=0.05, max_attempts=1)
        async with RoomsClient(sim.api_key, base_url=sim.url, retry=retry, max_connections=1) as client:
            first = asyncio.create_task(client.rooms.retrieve(sim.room_ids[0]))
            while sim.stats.in_flight == 0:
                await asyncio.sleep(0.001)
            with pytest.raises(APITimeoutError, match="not sent") as caught:
                await client.rooms.retrieve(sim.room_ids[0])
            assert not isinstance(caught.value, RateLimitError)
            first.cancel()
            await asyncio.wait([first])


async def test_in_a_bulk_run_max_elapsed_counts_from_the_first_permit() -> None:
    """30 updates at 10 requests/s take 2 s, and each of them has 0.5 s."""
    async with RoomsSimulator(rooms=30, rate_limit=RateLimit(2, 0.2, reset_rounding="fractional")) as sim:
        retry = RetryPolicy(max_attempts=2, max_elapsed=0.5)
        async with RoomsClient(sim.api_key, base_url=sim.url, retry=retry) as client:
            updates = [(room_id, RoomUpdate(max_participants=3)) for room_id in sim.room_ids]
            results = [result async for result in client.rooms.update_many(updates)]
    assert {result.status for result in results} == {"updated"}


async def test_a_call_fails_at_once_if_its_next_attempt_would_begin_after_max_elapsed() -> None:
    async with RoomsSimulator(rooms=1, faults=Faults(script=["503"], retry_after="5")) as sim:
        async with RoomsClient(sim.api_key, base_url=sim.url, retry=RetryPolicy(max_elapsed=3)) as client:
            with pytest.raises(APIStatusError, match="allows no further attempt") as caught:
                await client.rooms.retrieve(sim.room_ids[0])
            assert caught.value.attempts == 1


async def test_no_attempt_begins_after_max_elapsed() -> None:
    async with RoomsSimulator(rooms=1) as sim:
        sim.script(*times("500", 100))
        retry = RetryPolicy(max_attempts=100, base_delay=0.1, max_delay=0.1, max_elapsed=1)
        async with RoomsClient(sim.api_key, base_url=sim.url, retry=retry) as client:
            with pytest.raises(APIStatusError, match=r"RetryPolicy\(max_elapsed=1\) allows no further attempt"):
                await client.rooms.retrieve(sim.room_ids[0])
        assert 2 <= sim.stats.requests < 90
