"""`UpdateRun.stop()`: nothing more is sent, and every update that was sent still has its true outcome."""

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from uuid import UUID

import pytest

from aiorooms import Pacing, RetryPolicy, RoomsClient, RoomUpdate, UpdateOutcome, UpdateRun
from aiorooms.simulator import FaultKind, Faults, RoomsSimulator, ScriptedAnswer
from aiorooms.telemetry import Event, RetryScheduled, RunStopped

from .conftest import QUICK, settle, tasks_left, times

UPDATE = RoomUpdate(max_participants=20)


def endless(ids: list[str]) -> Iterator[tuple[str, RoomUpdate]]:
    while True:
        yield from ((room_id, UPDATE) for room_id in ids)


async def rest(run: UpdateRun) -> list[UpdateOutcome]:
    return [result async for result in run]


@pytest.mark.parametrize("is_async", [False, True])
async def test_what_is_in_flight_ends_and_nothing_more_is_read(is_async: bool) -> None:
    async with RoomsSimulator(rooms=10, latency=0.05) as sim:
        read: list[str] = []

        def updates() -> Iterator[tuple[str, RoomUpdate]]:
            for room_id, update in endless(sim.room_ids):
                read.append(room_id)
                yield room_id, update

        async def updates_async() -> AsyncIterator[tuple[str, RoomUpdate]]:
            for item in updates():
                yield item

        async with RoomsClient(sim.api_key, base_url=sim.url) as client:
            run = client.rooms.update_many(updates_async() if is_async else updates(), concurrency=5)
            results = [await anext(run)]
            run.stop()
            run.stop()
            results += await rest(run)
            assert len(results) == len(read), "each item has a result, and the rest was not read"
            assert Counter(result.status for result in results)["updated"] == sim.stats.updates_applied.total()
            for result in results:
                if result.status != "updated":
                    assert result.status == "skipped"
                    assert result.error.reason == "stopped"
                    assert "not sent" in str(result.error)
            assert tasks_left() == set()


async def test_an_input_that_waits_for_its_next_item_is_closed() -> None:
    closed: list[bool] = []

    async def updates(room_id: str) -> AsyncIterator[tuple[str, RoomUpdate]]:
        try:
            yield room_id, UPDATE
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            closed.append(True)

    async with RoomsSimulator(rooms=1) as sim, RoomsClient(sim.api_key, base_url=sim.url) as client:
        run = client.rooms.update_many(updates(sim.room_ids[0]))
        assert (await anext(run)).status == "updated"
        asyncio.get_running_loop().call_soon(run.stop)
        assert await rest(run) == []
    assert closed == [True]
    assert tasks_left() == set()


async def test_updates_that_wait_for_the_rate_limit_are_skipped_at_once() -> None:
    async with RoomsSimulator(rooms=50) as sim:
        async with RoomsClient(sim.api_key, base_url=sim.url, pacing=Pacing(max_rate=0.001)) as client:
            run = client.rooms.update_many(endless(sim.room_ids), concurrency=20)
            first = await anext(run)
            run.stop()
            results = [first, *await rest(run)]
            assert Counter(result.status for result in results) == {"updated": 1, "skipped": 20}
            assert client.pacing.snapshot().waiting == 0


async def test_an_update_between_two_attempts_is_read_back_at_once() -> None:
    """The wait for the next attempt would take 1000 s. The first update was applied, the second one was not."""
    slow = RetryPolicy(base_delay=10**9, max_delay=10**9)
    failed: list[Event] = []
    async with RoomsSimulator(rooms=2) as sim:
        applied, lost = sim.room_ids
        sim.script("500_after", room_id=applied, method="PATCH")
        sim.script("500", room_id=lost, method="PATCH")
        async with RoomsClient(sim.api_key, base_url=sim.url, retry=slow, on_event=failed.append) as client:
            run = client.rooms.update_many([(applied, UPDATE), (lost, UPDATE)])
            reading = asyncio.create_task(rest(run))
            while sum(type(event).__name__ == "RetryScheduled" for event in failed) < 2:
                await asyncio.sleep(0.001)
            run.stop()
            results = {result.room_id: result for result in await reading}
    assert results[applied].status == "updated"
    assert results[lost].status == "skipped"
    assert "the run was stopped" in str(results[lost].error)
    assert [event.reason for event in failed if isinstance(event, RunStopped)] == ["not sent: the run was stopped"]


@pytest.mark.parametrize("patience", [60.0, None])
async def test_a_run_can_be_stopped_during_an_outage(patience: float | None) -> None:
    async with RoomsSimulator(rooms=30) as sim:
        sim.refuse_connections("503")
        async with RoomsClient(sim.api_key, base_url=sim.url, retry=QUICK) as client:
            run = client.rooms.update_many(endless(sim.room_ids), concurrency=10, outage_patience=patience)
            reading = asyncio.create_task(rest(run))
            while sim.stats.requests < 25:
                await asyncio.sleep(0.01)
            run.stop()
            results = await reading
    assert {result.status for result in results} <= {"skipped", "uncertain", "failed"}
    if patience is not None:
        assert all(result.status != "failed" for result in results), "no room is the cause"


async def test_a_second_update_of_a_room_is_skipped_while_the_first_one_ends() -> None:
    async with RoomsSimulator(rooms=1, latency=0.1) as sim, RoomsClient(sim.api_key, base_url=sim.url) as client:
        run = client.rooms.update_many([(sim.room_ids[0], UPDATE)] * 3)
        reading = asyncio.create_task(rest(run))
        while not sim.stats.in_flight:
            await asyncio.sleep(0.001)
        run.stop()
        assert [result.status for result in await reading] == ["updated", "skipped", "skipped"]


async def test_a_run_that_is_stopped_before_it_begins_has_no_results() -> None:
    closed: list[bool] = []

    async def updates() -> AsyncIterator[tuple[str, RoomUpdate]]:
        try:
            yield str(UUID(int=1)), UPDATE
        finally:
            closed.append(True)

    async with RoomsClient("KEY", base_url="http://127.0.0.1:1/v2") as client:
        for given in (updates(), [(str(UUID(int=1)), UPDATE)]):
            run = client.rooms.update_many(given)
            run.stop()
            assert await rest(run) == []
    assert tasks_left() == set()


async def test_other_calls_of_the_client_go_on() -> None:
    async with RoomsSimulator(rooms=3, latency=0.02) as sim, RoomsClient(sim.api_key, base_url=sim.url) as client:
        stopped = client.rooms.update_many(endless(sim.room_ids), outage_patience=None)
        other = client.rooms.update_many([(room_id, UPDATE) for room_id in sim.room_ids], outage_patience=None)
        await anext(stopped)
        stopped.stop()
        assert [result.status for result in await rest(other)] == ["updated"] * 3
        await rest(stopped)
        assert (await client.rooms.update(sim.room_ids[0], max_participants=30)).max_participants == 30


@pytest.mark.parametrize("seed", range(5))
async def test_every_result_is_true_however_the_run_is_stopped(seed: int) -> None:
    faults = Faults(rate=0.3)
    async with RoomsSimulator(rooms=60, faults=faults, seed=seed, latency=(0.0, 0.01)) as sim:
        async with RoomsClient(sim.api_key, base_url=sim.url, retry=QUICK, timeout=0.5) as client:
            updates = [(room_id, UPDATE) for room_id in sim.room_ids]
            run = client.rooms.update_many(updates, concurrency=10)
            results: list[UpdateOutcome] = []
            async for result in run:
                results.append(result)
                if len(results) == 5 + 3 * seed:
                    run.stop()
            sim.faults = None
            for result in results:
                has_value = sim.rooms[result.room_id]["max_participants"] == 20
                if result.status == "updated":
                    assert has_value
                elif result.status in ("skipped", "failed"):
                    assert not has_value


async def test_a_run_can_still_be_closed_and_cancelled_after_a_stop() -> None:
    async with RoomsSimulator(rooms=5) as sim, RoomsClient(sim.api_key, base_url=sim.url) as client:
        sim.script(*times("stall_before", 50))
        async with client.rooms.update_many(endless(sim.room_ids)) as run:
            reading = asyncio.create_task(anext(run))
            while not sim.stats.requests:
                await asyncio.sleep(0.001)
            run.stop()
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
        assert tasks_left() == set()


async def test_sigterm_can_stop_a_run() -> None:
    async with RoomsSimulator(rooms=20, latency=0.02) as sim, RoomsClient(sim.api_key, base_url=sim.url) as client:
        run = client.rooms.update_many(endless(sim.room_ids), concurrency=5)
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, run.stop)
        try:
            await anext(run)
            signal.raise_signal(signal.SIGTERM)
            results = await rest(run)
        finally:
            loop.remove_signal_handler(signal.SIGTERM)
        assert {result.status for result in results} <= {"updated", "skipped"}


# --- stop() at any moment ---


@pytest.mark.parametrize("is_async", [False, True])
async def test_the_input_itself_can_stop_the_run(is_async: bool) -> None:
    cleaned_up: list[bool] = []
    async with RoomsSimulator(rooms=3) as sim, RoomsClient(sim.api_key, base_url=sim.url) as client:

        def updates() -> Iterator[tuple[str, RoomUpdate]]:
            for number, item in enumerate(endless(sim.room_ids)):
                if number == 5:
                    run.stop()
                yield item

        async def updates_async() -> AsyncIterator[tuple[str, RoomUpdate]]:
            try:
                for item in updates():
                    yield item
            finally:
                await asyncio.sleep(0)
                await asyncio.sleep(0.001)
                cleaned_up.append(True)

        run = client.rooms.update_many(updates_async() if is_async else updates(), concurrency=2)
        results = await rest(run)
    assert 5 <= len(results) <= 6
    assert {result.status for result in results} <= {"updated", "skipped"}
    assert cleaned_up == [True] * is_async


@pytest.mark.parametrize("patience", [60.0, None])
@pytest.mark.parametrize(
    "answer",
    [
        ScriptedAnswer(503, headers={"Retry-After": "250"}),
        ScriptedAnswer(429, headers={"Retry-After": "250"}),
        ScriptedAnswer(503, headers={"Retry-After": "250"}, applied=True),
    ],
)
async def test_an_attempt_in_flight_that_fails_after_the_stop_is_the_last_one(
    answer: ScriptedAnswer, patience: float | None
) -> None:
    async with RoomsSimulator(rooms=1, latency=0.05) as sim, RoomsClient(sim.api_key, base_url=sim.url) as client:
        sim.script(answer, method="PATCH")
        run = client.rooms.update_many([(sim.room_ids[0], UPDATE)], outage_patience=patience)
        reading = asyncio.create_task(rest(run))
        while not sim.stats.in_flight:
            await asyncio.sleep(0.001)
        run.stop()
        (result,) = await reading
        assert result.status == ("updated" if answer.applied else "skipped")
        assert sim.stats.by_method["PATCH"] == 1


@pytest.mark.parametrize(
    ("before", "answer"),
    [
        ([], ScriptedAnswer(200, {"data": {}}, applied=True)),
        ([], ScriptedAnswer(303, headers={"Location": "/x"}, applied=True)),
        (["reset_after"], ScriptedAnswer(422, {"errors": [{"code": "1", "title": "x"}]})),
    ],
    ids=["not_confirmed", "redirect", "rejected_after_reset"],
)
async def test_an_update_that_may_have_been_applied_is_read_back_after_the_stop(
    before: list[FaultKind], answer: ScriptedAnswer
) -> None:
    at_once = RetryPolicy(base_delay=0)
    async with RoomsSimulator(rooms=1, latency=0.05) as sim:
        sim.script(*before, answer, method="PATCH")
        async with RoomsClient(sim.api_key, base_url=sim.url, retry=at_once) as client:
            run = client.rooms.update_many([(sim.room_ids[0], UPDATE)])
            reading = asyncio.create_task(rest(run))
            while sim.stats.by_method["PATCH"] <= len(before):
                await asyncio.sleep(0.001)
            run.stop()
            (result,) = await reading
    assert result.status == "updated"


async def test_a_stop_during_a_read_back_ends_only_its_wait() -> None:
    events: list[Event] = []
    async with RoomsSimulator(rooms=1) as sim:
        sim.script(ScriptedAnswer(303, headers={"Location": "/x"}, applied=True), method="PATCH")
        sim.script(ScriptedAnswer(503, headers={"Retry-After": "250"}), method="GET")
        async with RoomsClient(sim.api_key, base_url=sim.url, on_event=events.append) as client:
            run = client.rooms.update_many([(sim.room_ids[0], UPDATE)], outage_patience=None)
            reading = asyncio.create_task(rest(run))
            while not any(isinstance(event, RetryScheduled) for event in events):
                await asyncio.sleep(0.001)
            run.stop()
            assert [result.status for result in await reading] == ["updated"]


async def test_a_stop_ends_the_pause_of_an_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aiorooms._http.outage._FIRST_PAUSE", 1000.0)
    async with RoomsSimulator(rooms=30) as sim:
        sim.refuse_connections("503")
        async with RoomsClient(sim.api_key, base_url=sim.url, retry=QUICK) as client:
            run = client.rooms.update_many(endless(sim.room_ids), concurrency=5, outage_patience=10**6)
            reading = asyncio.create_task(rest(run))
            while sim.stats.requests < 10:
                await asyncio.sleep(0.01)
            await settle()
            run.stop()
            results = await reading
    assert results
    assert tasks_left() == set()


async def test_a_stop_after_the_end_is_not_reported() -> None:
    events: list[Event] = []
    async with RoomsSimulator(rooms=1) as sim:
        async with RoomsClient(sim.api_key, base_url=sim.url, on_event=events.append) as client:
            run = client.rooms.update_many([(sim.room_ids[0], UPDATE)])
            await rest(run)
            run.stop()
    assert not any(isinstance(event, RunStopped) for event in events)


async def test_an_attempt_that_may_not_be_sent_stops_the_run() -> None:
    asked = 0

    def may_send() -> bool:
        nonlocal asked
        asked += 1
        return asked <= 20  # each attempt asks twice: before it, and when it has a connection

    async with RoomsSimulator(rooms=30) as sim, RoomsClient(sim.api_key, base_url=sim.url) as client:
        updates = [(room_id, RoomUpdate(max_participants=20)) for room_id in sim.room_ids]
        results = [one async for one in client.rooms.update_many(updates, concurrency=1, may_send=may_send)]
        assert [result.status for result in results] == ["updated"] * 10 + ["skipped"] * (len(results) - 10)
        assert all(result.error is not None and result.error.reason == "stopped" for result in results[10:])
        assert sim.stats.by_method["PATCH"] == 10


async def test_an_attempt_is_not_sent_if_connecting_took_too_long() -> None:
    answers = iter([True, False])
    async with RoomsSimulator(rooms=1) as sim, RoomsClient(sim.api_key, base_url=sim.url) as client:
        updates = [(sim.room_ids[0], RoomUpdate(max_participants=20))]
        (result,) = [one async for one in client.rooms.update_many(updates, may_send=lambda: next(answers, False))]
        assert (result.status, result.attempts) == ("skipped", 1)
        assert sim.stats.updates_applied.total() == 0
