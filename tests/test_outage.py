"""Outages in a bulk run: the updates queue, and one at a time probes the server. In a short outage, none fails."""

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
from .fake_clock import run_with_fake_clock
from .samples import ROOM_ID

UPDATE = RoomUpdate(max_participants=20)


def counts(results: list[UpdateResult]) -> dict[str, int]:
    return dict(Counter(result.status for result in results))


async def collect(results: AsyncIterator[UpdateResult]) -> list[UpdateResult]:
    return [result async for result in results]


@pytest.mark.parametrize("how", ["closed", "503", "reset", "hang"])
@pytest.mark.parametrize("concurrency", [1, 20])
async def test_no_update_fails_because_of_a_short_outage(
    how: Literal["closed", "503", "reset", "hang"], concurrency: int
) -> None:
    before = 0
    # If the server hangs, attempts end only by their timeout, so the outage must last longer than the timeout.
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
                # 40 requests succeed. At most the following fail: one per worker when the outage begins, two per worker
                # (or four, if that is more) until an outage is assumed, and five probes.
                sent = sim.stats.requests - before - 40
                assert sent <= 3 * concurrency + 4 + 5, f"{sent} requests failed because of the outage"
            assert tasks_left() == set()


async def test_a_run_stops_when_its_patience_is_over_if_the_server_is_never_reached() -> None:
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


async def test_a_single_failing_room_is_not_treated_as_an_outage() -> None:
    async with RoomsSimulator(rooms=30) as sim:
        broken = sim.room_ids[3]
        sim.script(*times("500", 1000), room_id=broken, method="PATCH")
        async with RoomsClient(sim.api_key, base_url=sim.url, retry=RetryPolicy(base_delay=0.01)) as client:
            results = await collect(client.rooms.update_many(((room, UPDATE) for room in sim.room_ids), concurrency=5))
            assert counts(results) == {"updated": 29, "failed": 1}
            (failed,) = [result for result in results if result.status == "failed"]
            assert (failed.room_id, failed.attempts) == (broken, 4)
            assert sim.stats.by_method["PATCH"] == 29 + 4


async def test_a_long_retry_after_does_not_delay_the_probes_of_an_outage() -> None:
    async with RoomsSimulator(rooms=20, faults=Faults(retry_after=3600)) as sim:
        async with RoomsClient(sim.api_key, base_url=sim.url, retry=QUICK) as client:
            for room_id in sim.room_ids:
                sim.script("503", room_id=room_id)
            updates = [(room_id, UPDATE) for room_id in sim.room_ids]
            results = await collect(client.rooms.update_many(updates, concurrency=20, outage_patience=5))
            assert counts(results) == {"updated": 20}


async def test_time_spent_waiting_for_the_input_does_not_count_against_the_patience() -> None:
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


async def test_a_failing_room_whose_read_back_is_rate_limited_does_not_stop_the_run() -> None:
    async with RoomsSimulator(rooms=3) as sim:
        broken = sim.room_ids[1]
        sim.script(*times("500", 4), room_id=broken, method="PATCH")
        sim.script("429", room_id=broken, method="GET")
        async with RoomsClient(sim.api_key, base_url=sim.url, retry=QUICK) as client:
            updates = [(room_id, UPDATE) for room_id in sim.room_ids]
            results = await collect(client.rooms.update_many(updates, concurrency=1))
            assert [result.status for result in results] == ["updated", "uncertain", "updated"]


@pytest.mark.parametrize("methods", [None, "PATCH"])
async def test_a_single_worker_does_not_treat_a_failing_room_as_an_outage(methods: str | None) -> None:
    async with RoomsSimulator(rooms=3) as sim:
        broken = sim.room_ids[1]
        sim.script(*times("500", 1000 if methods else 4), room_id=broken, method=methods)
        async with RoomsClient(sim.api_key, base_url=sim.url, retry=QUICK) as client:
            updates = [(room_id, UPDATE) for room_id in sim.room_ids]
            results = await collect(client.rooms.update_many(updates, concurrency=1))
            assert [result.status for result in results] == ["updated", "failed", "updated"]
            assert results[1].attempts == 4


async def test_single_calls_do_not_wait_for_the_end_of_an_outage() -> None:
    async with RoomsClient("key", base_url="http://127.0.0.1:9/v2", retry=QUICK) as client:
        with pytest.raises(APIConnectionError, match="after 4 attempts"):
            await client.rooms.update(ROOM_ID, max_participants=3)


async def test_cancelling_during_an_outage_leaves_nothing_behind() -> None:
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
            snapshot = client.pacing.snapshot()
            assert (snapshot.in_flight, snapshot.waiting) == (0, 0)


async def test_closing_the_client_during_an_outage_ends_the_run() -> None:
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


async def test_without_patience_each_update_fails_after_its_own_attempts() -> None:
    async with RoomsClient("key", base_url="http://127.0.0.1:9/v2", retry=QUICK) as client:
        updates = [(f"7b61621f-62e0-4aad-ab11-{number:012}", UPDATE) for number in range(20)]
        results = await collect(client.rooms.update_many(updates, concurrency=10, outage_patience=None))
        assert [(result.status, result.attempts) for result in results] == [("failed", 4)] * 20


@pytest.mark.parametrize("value", [0, -1, True, "60"])
async def test_outage_patience_is_checked_when_update_many_is_called(value: Any) -> None:
    async with RoomsClient("key") as client:
        with pytest.raises(ValueError, match=r"update_many\(outage_patience=\) is .*; give a number above 0"):
            client.rooms.update_many([], outage_patience=value)


# --- the queue, with a fake clock ---


def test_one_caller_at_a_time_probes_with_growing_pauses_until_a_contact() -> None:
    async def main() -> tuple[list[float], float]:
        loop = asyncio.get_running_loop()
        outage = Outage(60, 2, clock=loop.time)
        probed_at: list[float] = []
        at_once = 0

        async def one() -> None:
            nonlocal at_once
            while True:
                was_on = outage.is_on
                async with outage.queue(asyncio.Event()):
                    at_once += 1
                    if was_on and outage.is_on:
                        assert at_once == 1, "two probes at the same time"
                        probed_at.append(loop.time())
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
        return probed_at, loop.time()

    probed_at, ended = run_with_fake_clock(main())
    pauses = [later - earlier for earlier, later in pairwise(probed_at)]
    assert pauses == pytest.approx([0.51, 1.01, *[2.01] * (len(pauses) - 2)])
    assert ended < probed_at[-1] + 0.1, "the other callers did not continue at the first contact"
    assert ended < 13


def test_patience_is_measured_from_the_first_attempt_after_the_last_contact() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        outage = Outage(60, 2, clock=loop.time)
        await asyncio.sleep(1000)
        outage.failed("a room", outage.begin())
        assert not outage.patience_is_over, "the first attempt ended the patience"
        await asyncio.sleep(59)
        outage.failed("a room", outage.begin())
        assert not outage.patience_is_over
        outage.contact()
        await asyncio.sleep(1000)  # as if the input were slow
        outage.failed("a room", outage.begin())
        assert not outage.patience_is_over
        last = outage.begin()
        await asyncio.sleep(90)  # an attempt that takes longer than the patience
        outage.failed("a room", last)
        assert not outage.patience_is_over, "the duration of the last attempt was counted"
        outage.failed("a room", outage.begin())
        assert outage.patience_is_over

    run_with_fake_clock(main())


def test_an_update_without_attempts_left_keeps_trying_only_if_the_room_is_not_the_cause() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        outage = Outage(60, 2, clock=loop.time)
        began = outage.contacts
        outage.failed("room 1", outage.begin())
        outage.failed("room 1", outage.begin())
        assert outage.keeps_trying(began, answered=False), "the update gave up, although the server did not answer"
        assert not outage.keeps_trying(began, answered=True), (
            "the update kept trying, although the room may be the cause"
        )
        for number in range(2, 6):
            outage.failed(f"room {number}", outage.begin())
        assert outage.keeps_trying(began, answered=True), "the update gave up, although five rooms have failed"
        await asyncio.sleep(1)
        outage.contact()
        assert not outage.keeps_trying(began, answered=False), (
            "the update kept trying, although another update had a contact"
        )
        await asyncio.sleep(1)
        later = outage.contacts
        outage.failed("room 3", outage.begin())
        assert outage.keeps_trying(later, answered=False)
        await asyncio.sleep(61)
        outage.failed("room 3", outage.begin())
        assert not outage.keeps_trying(later, answered=False), "the update kept trying after the patience was over"

    run_with_fake_clock(main())


async def test_an_update_that_waits_for_a_permit_when_the_outage_begins_does_not_fail() -> None:
    retry = RetryPolicy(max_attempts=2, base_delay=0.01)
    async with (
        RoomsSimulator(rooms=60) as sim,
        # With one connection, at most one update is in flight, and the others wait for a permit.
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
