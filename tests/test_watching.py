"""`watch`: the rare events reach a watcher, and for a watcher alone no other event is created."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Literal

import pytest

from aiorooms import RetryPolicy, RoomsClient, RoomUpdate
from aiorooms.client import telemetry_of
from aiorooms.simulator import RoomsSimulator, ScriptedAnswer
from aiorooms.telemetry import Event, OutageBegan, OutageEnded, RateLimitPaused, RetryScheduled
from aiorooms.telemetry._telemetry import Telemetry, listen

from .conftest import QUICK

UPDATE = RoomUpdate(max_participants=20)


@asynccontextmanager
async def watched(sim: RoomsSimulator, events: list[Event], retry: RetryPolicy = QUICK) -> AsyncGenerator[RoomsClient]:
    """Yield a client whose watcher appends its events to a list."""
    async with RoomsClient(sim.api_key, base_url=sim.url, retry=retry) as client:
        telemetry_of(client).watch(events.append)
        yield client


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture(autouse=True)
def _no_log_lines(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("WARNING", "aiorooms")


def names(events: list[Event]) -> list[str]:
    return [type(event).__name__ for event in events]


async def test_a_single_call_reports_only_its_retries(events: list[Event]) -> None:
    async with RoomsSimulator(rooms=1) as sim, watched(sim, events) as client:
        sim.script("503", "502")
        await client.rooms.update(sim.room_ids[0], UPDATE)
        await client.rooms.retrieve(sim.room_ids[0])
    assert names(events) == ["RetryScheduled"] * 2
    first, second = events
    assert isinstance(first, RetryScheduled)
    assert isinstance(second, RetryScheduled)
    assert [(event.attempt, event.status) for event in (first, second)] == [(1, 503), (2, 502)]
    assert 0 < first.elapsed < second.elapsed


async def test_a_bulk_run_reports_neither_updates_nor_their_retries(events: list[Event]) -> None:
    async with RoomsSimulator(rooms=50) as sim, watched(sim, events) as client:
        sim.script(None, "503", None, "503", None, method="PATCH")
        run = client.rooms.update_many([(room_id, UPDATE) for room_id in sim.room_ids])
        assert Counter([result.status async for result in run]) == {"updated": 50}
    assert events == []


async def test_without_outages_a_run_of_one_update_reports_its_retries(events: list[Event]) -> None:
    async with RoomsSimulator(rooms=1) as sim, watched(sim, events) as client:
        sim.script("503")
        run = client.rooms.update_many([(sim.room_ids[0], UPDATE)], outage_patience=None)
        assert [result.status async for result in run] == ["updated"]
    assert names(events) == ["RetryScheduled"]


@pytest.mark.parametrize(("how", "status"), [("503", 503), ("closed", None)])
async def test_an_outage_says_when_it_began_and_how_long_the_run_waits(
    events: list[Event], how: Literal["503", "closed"], status: int | None
) -> None:
    async with RoomsSimulator(rooms=30) as sim, watched(sim, events) as client:
        sim.refuse_connections(how)
        run = client.rooms.update_many([(room_id, UPDATE) for room_id in sim.room_ids], outage_patience=77)

        async def collect() -> set[str]:
            return {result.status async for result in run}

        collecting = asyncio.create_task(collect())
        while not events:
            await asyncio.sleep(0.002)
        sim.accept_connections()
        assert await collecting == {"updated"}
    began, *others = events
    assert isinstance(began, OutageBegan)
    assert (began.status, began.patience) == (status, 77)
    assert 0 < began.unavailable_for < 77
    assert isinstance(others[-1], OutageEnded)


async def test_a_pause_is_reported(events: list[Event]) -> None:
    async with RoomsSimulator(rooms=1) as sim:
        sim.script(ScriptedAnswer(status=429, headers={"Retry-After": "2"}))
        retry = RetryPolicy(max_elapsed=1.5)
        async with watched(sim, events, retry) as client:
            with pytest.raises(Exception, match="429"):
                await client.rooms.retrieve(sim.room_ids[0])
            with pytest.raises(Exception, match="rate limit"):
                await client.rooms.retrieve(sim.room_ids[0], deadline=0.1)
    (paused,) = (event for event in events if isinstance(event, RateLimitPaused))
    assert paused.reason == "retry_after"
    assert 1 < paused.seconds <= 2


def wants_attempts(telemetry: Telemetry) -> bool:
    return telemetry.wants_attempts


def test_what_is_wanted() -> None:
    telemetry = Telemetry()
    for is_in_run in (True, False):
        assert not telemetry.wants_retry(1.0, is_in_run=is_in_run)
    end = telemetry.watch(lambda _: None)
    assert not wants_attempts(telemetry)
    assert not telemetry.wants_retry(1.0, is_in_run=True)
    assert telemetry.wants_retry(1.0, is_in_run=False)
    stop_listening = listen(lambda _: None)
    assert wants_attempts(telemetry)
    assert telemetry.wants_retry(1.0, is_in_run=True)
    stop_listening()
    end()
    end()
    assert not telemetry.wants_retry(1.0, is_in_run=False)
