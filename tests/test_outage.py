"""Outages in a bulk run: all wait together, one asks, and no room pays for it."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any, Literal

import pytest

from aiorooms import AioroomsError, APIConnectionError, RetryPolicy, RoomsClient, RoomUpdate, UpdateResult
from aiorooms._http.outage import Outage
from aiorooms.simulator import Faults, RoomsSimulator

from .conftest import QUICK, tasks_left, times
from .samples import ROOM_ID
from .turned_clock import run_turned

UPDATE = RoomUpdate(max_participants=20)


def counts(results: list[UpdateResult]) -> dict[str, int]:
    return dict(Counter(result.status for result in results))


async def collect(results: AsyncIterator[UpdateResult]) -> list[UpdateResult]:
    return [result async for result in results]


@pytest.mark.parametrize("how", ["closed", "503", "reset", "hang"])
@pytest.mark.parametrize("concurrency", [1, 20])
async def test_an_outage_in_the_middle_fails_no_room(
    how: Literal["closed", "503", "reset", "hang"], concurrency: int
) -> None:
    before = 0
    # Only what hangs ends with a timeout, and the outage is longer than that.
    timeout, seconds = (1, 2) if how == "hang" else (30, 0.5)
    async with RoomsSimulator(rooms=60) as sim:
        async with RoomsClient(sim.api_key, base_url=sim.url, retry=QUICK, timeout=timeout) as client:
            updates = ((room_id, UPDATE) for room_id in sim.room_ids)
            results: list[UpdateResult] = []
            async for result in client.rooms.update_many(updates, concurrency=concurrency):
                results.append(result)
                if len(results) == 20:
                    before = sim.stats.requests
                    sim.refuse_connections(how)
                    asyncio.get_running_loop().call_later(seconds, sim.accept_connections)
            assert counts(results) == {"updated": 60}
            assert all(room["max_participants"] == 20 for room in sim.rooms.values())
            if how in ("503", "reset"):
                # All that were in flight, two failures for each worker or four, and then a probe now and then.
                asked = sim.stats.requests - before - 40
                assert asked <= 3 * concurrency + 4 + 5, f"the server was asked {asked} times while it was out"
            assert tasks_left() == set()


async def test_a_server_that_is_never_there_ends_the_run_when_the_patience_does() -> None:
    async with RoomsClient("key", base_url="http://127.0.0.1:9/v2", retry=QUICK) as client:
        updates = [(f"7b61621f-62e0-4aad-ab11-{number:012}", UPDATE) for number in range(200)]
        began = asyncio.get_running_loop().time()
        results = await collect(client.rooms.update_many(updates, concurrency=10, outage_patience=0.5))
        assert asyncio.get_running_loop().time() - began >= 0.5
        assert len(results) == 200
        assert counts(results)["failed"] <= 10
        assert counts(results)["skipped"] >= 190
        for result in results:
            assert isinstance(result.error, APIConnectionError)
            assert "been unavailable for more than 0.5 s (outage_patience)" in str(result.error)


async def test_a_room_that_fails_while_others_do_not_is_not_taken_for_an_outage() -> None:
    async with RoomsSimulator(rooms=30) as sim:
        sick = sim.room_ids[3]
        sim.script(*times("500", 1000), room_id=sick, method="PATCH")
        async with RoomsClient(sim.api_key, base_url=sim.url, retry=RetryPolicy(base_delay=0.01)) as client:
            results = await collect(client.rooms.update_many(((room, UPDATE) for room in sim.room_ids), concurrency=5))
            assert counts(results) == {"updated": 29, "failed": 1}
            (failed,) = [result for result in results if result.status == "failed"]
            assert (failed.room_id, failed.attempts) == (sick, 4)
            assert sim.stats.by_method["PATCH"] == 29 + 4


async def test_an_outage_that_asks_for_a_long_wait_is_asked_after_all_the_same() -> None:
    async with RoomsSimulator(rooms=20, faults=Faults(retry_after=3600)) as sim:
        async with RoomsClient(sim.api_key, base_url=sim.url, retry=QUICK) as client:
            for room_id in sim.room_ids:
                sim.script("503", room_id=room_id)
            updates = [(room_id, UPDATE) for room_id in sim.room_ids]
            results = await collect(client.rooms.update_many(updates, concurrency=20, outage_patience=5))
            assert counts(results) == {"updated": 20}


async def test_an_input_that_was_idle_for_longer_than_the_patience_is_no_outage() -> None:
    async with RoomsSimulator(rooms=10) as sim:
        async with RoomsClient(sim.api_key, base_url=sim.url, retry=QUICK) as client:

            async def updates() -> AsyncIterator[tuple[str, RoomUpdate]]:
                for number, room_id in enumerate(sim.room_ids):
                    if number == 5:
                        await asyncio.sleep(1.2)
                        sim.refuse_connections("503")
                        asyncio.get_running_loop().call_later(0.1, sim.accept_connections)
                    yield room_id, UPDATE

            results = await collect(client.rooms.update_many(updates(), concurrency=1, outage_patience=1))
            assert counts(results) == {"updated": 10}


async def test_a_sick_room_whose_look_is_refused_does_not_end_the_run() -> None:
    async with RoomsSimulator(rooms=3) as sim:
        sick = sim.room_ids[1]
        sim.script(*times("500", 4), room_id=sick, method="PATCH")
        sim.script("429", room_id=sick, method="GET")
        async with RoomsClient(sim.api_key, base_url=sim.url, retry=QUICK) as client:
            updates = [(room_id, UPDATE) for room_id in sim.room_ids]
            results = await collect(client.rooms.update_many(updates, concurrency=1))
            assert [result.status for result in results] == ["updated", "uncertain", "updated"]


@pytest.mark.parametrize("methods", [None, "PATCH"])
async def test_a_sick_room_is_told_from_an_outage_though_there_is_nobody_else(methods: str | None) -> None:
    async with RoomsSimulator(rooms=3) as sim:
        sick = sim.room_ids[1]
        sim.script(*times("500", 1000 if methods else 4), room_id=sick, method=methods)
        async with RoomsClient(sim.api_key, base_url=sim.url, retry=QUICK) as client:
            updates = [(room_id, UPDATE) for room_id in sim.room_ids]
            results = await collect(client.rooms.update_many(updates, concurrency=1))
            assert [result.status for result in results] == ["updated", "failed", "updated"]
            assert results[1].attempts == 4


async def test_single_calls_do_not_wait_out_an_outage() -> None:
    async with RoomsClient("key", base_url="http://127.0.0.1:9/v2", retry=QUICK) as client:
        with pytest.raises(APIConnectionError, match="after 4 attempts"):
            await client.rooms.update(ROOM_ID, max_participants=3)


async def test_leaving_during_an_outage_leaves_nothing_behind() -> None:
    async with RoomsSimulator(rooms=40) as sim:
        async with RoomsClient(sim.api_key, base_url=sim.url, retry=QUICK) as client:
            sim.refuse_connections("503")
            run = asyncio.create_task(
                collect(client.rooms.update_many(((room, UPDATE) for room in sim.room_ids), concurrency=20))
            )
            while sim.stats.requests < 25:
                await asyncio.sleep(0.001)
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run
            assert tasks_left() == set()
            standing = client.pacing.snapshot()
            assert (standing.in_flight, standing.waiting) == (0, 0)


async def test_closing_the_client_ends_the_queue() -> None:
    async with RoomsSimulator(rooms=40) as sim:
        client = RoomsClient(sim.api_key, base_url=sim.url, retry=QUICK)
        sim.refuse_connections("503")
        run = asyncio.create_task(
            collect(client.rooms.update_many(((room, UPDATE) for room in sim.room_ids), concurrency=20))
        )
        while sim.stats.requests < 25:
            await asyncio.sleep(0.001)
        async with asyncio.timeout(5):
            await client.close()
            results = await run
        assert len(results) == 40
        assert all(isinstance(result.error, AioroomsError) for result in results)
        assert tasks_left() == set()


async def test_without_patience_each_update_has_its_attempts_and_no_more() -> None:
    async with RoomsClient("key", base_url="http://127.0.0.1:9/v2", retry=QUICK) as client:
        updates = [(f"7b61621f-62e0-4aad-ab11-{number:012}", UPDATE) for number in range(20)]
        results = await collect(client.rooms.update_many(updates, concurrency=10, outage_patience=None))
        assert [(result.status, result.attempts) for result in results] == [("failed", 4)] * 20


@pytest.mark.parametrize("value", [0, -1, True, "60"])
async def test_patience_is_checked_at_the_call(value: Any) -> None:
    async with RoomsClient("key") as client:
        with pytest.raises(ValueError, match=r"update_many\(outage_patience=\) is .*; give a number above 0"):
            client.rooms.update_many([], outage_patience=value)


# --- the queue, with a turned clock ---


def test_one_asks_at_a_time_with_longer_pauses_and_the_queue_dissolves_at_a_contact() -> None:
    async def main() -> tuple[list[float], float]:
        loop = asyncio.get_running_loop()
        outage = Outage(60, 2, clock=loop.time)
        asked: list[float] = []
        at_once = 0

        async def one() -> None:
            nonlocal at_once
            while True:
                was_on = outage.is_on
                async with outage.queue(asyncio.Event()):
                    at_once += 1
                    if was_on and outage.is_on:
                        assert at_once == 1, "two asked at the same time"
                        asked.append(loop.time())
                    await asyncio.sleep(0.01)
                    at_once -= 1
                    if loop.time() > 10:
                        outage.contact()
                        return
                    outage.failed("a room", outage.begin())

        for _ in range(4):
            outage.failed("a room", outage.begin())
        assert outage.is_on
        await asyncio.gather(*(one() for _ in range(30)))
        return asked, loop.time()

    asked, ended = run_turned(main())
    pauses = [later - earlier for earlier, later in pairwise(asked)]
    assert pauses == pytest.approx([0.51, 1.01, *[2.01] * (len(pauses) - 2)])
    assert ended < asked[-1] + 0.1, "the others came in one after the other"
    assert ended < 13


def test_patience_is_counted_from_the_first_attempt_after_the_last_contact() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        outage = Outage(60, 2, clock=loop.time)
        await asyncio.sleep(1000)
        outage.failed("a room", outage.begin())
        assert not outage.patience_is_over, "nothing was asked before"
        await asyncio.sleep(59)
        outage.failed("a room", outage.begin())
        assert not outage.patience_is_over
        outage.contact()
        await asyncio.sleep(1000)  # the input is slow
        outage.failed("a room", outage.begin())
        assert not outage.patience_is_over
        last = outage.begin()
        await asyncio.sleep(90)  # a timeout that is longer than the patience
        outage.failed("a room", last)
        assert not outage.patience_is_over, "the server may be back since"
        outage.failed("a room", outage.begin())
        assert outage.patience_is_over

    run_turned(main())


def test_who_is_out_of_attempts_goes_on_only_if_it_is_not_about_the_room() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        outage = Outage(60, 2, clock=loop.time)
        began = outage.contacts
        outage.failed("room 1", outage.begin())
        outage.failed("room 1", outage.begin())
        assert outage.keeps_trying(began, answered=False), "nobody was there"
        assert not outage.keeps_trying(began, answered=True), "it may be the room"
        for number in range(2, 6):
            outage.failed(f"room {number}", outage.begin())
        assert outage.keeps_trying(began, answered=True), "it isn't the rooms"
        await asyncio.sleep(1)
        outage.contact()
        assert not outage.keeps_trying(began, answered=False), "somebody else got through"
        await asyncio.sleep(1)
        later = outage.contacts
        outage.failed("room 3", outage.begin())
        assert outage.keeps_trying(later, answered=False)
        await asyncio.sleep(61)
        outage.failed("room 3", outage.begin())
        assert not outage.keeps_trying(later, answered=False), "the patience is at its end"

    run_turned(main())


async def test_who_waited_for_a_turn_while_others_were_answered_is_not_failed_by_the_outage_that_follows() -> None:
    retry = RetryPolicy(max_attempts=2, base_delay=0.01)
    async with (
        RoomsSimulator(rooms=60) as sim,
        # One connection: all others wait, and nobody is answered while an attempt is in flight.
        RoomsClient(sim.api_key, base_url=sim.url, retry=retry, max_connections=1) as client,
    ):
        updates = [(room_id, RoomUpdate(max_participants=20)) for room_id in sim.room_ids]
        statuses: list[str] = []
        async for result in client.rooms.update_many(updates, concurrency=10):
            statuses.append(result.status)
            if len(statuses) == 20:
                sim.refuse_connections("503")
                asyncio.get_running_loop().call_later(0.8, sim.accept_connections)
        assert statuses == ["updated"] * 60
