"""Calls that wait for the rate limit, or for a connection."""

import asyncio
from typing import Any

import aiohttp
import pytest

from aiorooms import Pacing, RateLimitError, RetryPolicy, RoomsClient
from aiorooms.client import awaits_first_answer
from aiorooms.simulator import RateLimit, RoomsSimulator


@pytest.mark.parametrize("retry_after", ["seconds", "date", "ms", "none"])
async def test_a_call_waits_after_a_429_and_succeeds(retry_after: Any) -> None:
    # The limit is not reported, because a client that knows the limit gets no 429.
    limit = RateLimit(limit=1, window=0.3, retry_after=retry_after, headers=False)
    async with RoomsSimulator(rooms=1, rate_limit=limit) as sim:
        async with RoomsClient(sim.api_key, base_url=sim.url) as client:
            await client.rooms.retrieve(sim.room_ids[0])
            task = asyncio.create_task(client.rooms.retrieve(sim.room_ids[0]))
            while sim.stats.refused == 0 or client.pacing.snapshot().in_flight:
                await asyncio.sleep(0.001)
            await task
        assert sim.stats.refused >= 1


async def test_a_call_that_waits_for_the_rate_limit_holds_no_connection() -> None:
    limit = RateLimit(limit=1, window=200, retry_after="seconds", headers=False)
    async with (
        RoomsSimulator(rooms=1, rate_limit=limit) as sim,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as session,
        RoomsClient(sim.api_key, base_url=sim.url, session=session) as client,
    ):
        await client.rooms.retrieve(sim.room_ids[0])
        task = asyncio.create_task(client.rooms.retrieve(sim.room_ids[0]))
        while client.pacing.snapshot().waiting == 0:
            await asyncio.sleep(0.001)
        async with asyncio.timeout(30), session.get(sim.url) as answer:  # uses the only connection
            assert answer.status == 401
        assert not task.done()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


@pytest.mark.parametrize("reported", [True, False])
async def test_a_wait_longer_than_max_wait_raises_at_once(reported: bool) -> None:
    limit = RateLimit(limit=1, window=900, headers=reported, retry_after="seconds")
    async with RoomsSimulator(rooms=2, rate_limit=limit) as sim:
        async with RoomsClient(sim.api_key, base_url=sim.url, pacing=Pacing(max_wait=60)) as client:
            await client.rooms.retrieve(sim.room_ids[0])
            if not reported:
                with pytest.raises(
                    RateLimitError,
                    match=r"429 .* asked the client to wait 900 s, longer than Pacing\(max_wait=60\) allows",
                ) as caught:
                    await client.rooms.retrieve(sim.room_ids[0])
                assert caught.value.attempts == 1
            with pytest.raises(RateLimitError, match=r"not sent: .*Pacing\(max_wait=60\)") as caught:
                await client.rooms.update(sim.room_ids[0], max_participants=3)
            assert caught.value.attempts == 0
            assert sim.stats.requests == (1 if reported else 2)


async def test_the_connection_limit_of_the_callers_session_limits_requests_in_flight() -> None:
    async with (
        RoomsSimulator(rooms=33, latency=0.1) as sim,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, limit_per_host=3)) as session,
        RoomsClient(sim.api_key, base_url=sim.url, session=session, timeout=1) as client,
    ):
        # 33 calls, 3 at a time, 0.1 s each: the last ones finish after 1.1 s, which is longer than the timeout.
        await asyncio.gather(*(client.rooms.retrieve(room_id) for room_id in sim.room_ids))
        assert sim.stats.peak_in_flight <= 3
        assert sim.stats.requests == 33


async def test_the_wait_for_a_connection_does_not_count_against_the_timeout() -> None:
    async with RoomsSimulator(rooms=44, latency=0.1) as sim:
        async with RoomsClient(
            sim.api_key, base_url=sim.url, max_connections=4, timeout=1, retry=RetryPolicy(max_attempts=1)
        ) as client:
            # 44 calls, 4 at a time, 0.1 s each: the last ones finish after 1.1 s, which is longer than the timeout.
            await asyncio.gather(*(client.rooms.retrieve(room_id) for room_id in sim.room_ids))
        assert sim.stats.peak_in_flight <= 4
        assert sim.stats.connections <= 4


async def test_a_client_awaits_its_first_answer_only_while_a_request_is_in_flight() -> None:
    async with (
        RoomsSimulator(rooms=1, latency=0.1) as sim,
        RoomsClient(sim.api_key, base_url=sim.url) as client,
    ):
        assert not awaits_first_answer(client)
        for expected in (True, False):
            task = asyncio.create_task(client.rooms.retrieve(sim.room_ids[0]))
            while not sim.stats.in_flight:
                await asyncio.sleep(0.001)
            assert awaits_first_answer(client) == expected
            await task
            assert not awaits_first_answer(client)
