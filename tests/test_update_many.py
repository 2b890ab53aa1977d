"""`update_many`: each update has one result, updates of a room keep their order, and no task is left behind."""

import asyncio
import gc
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, suppress
from contextvars import ContextVar
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiorooms import (
    UNSET,
    AioroomsError,
    APIConnectionError,
    AuthenticationError,
    ClientStateError,
    InvalidRequestError,
    PermissionDeniedError,
    RetryPolicy,
    Room,
    RoomsClient,
    RoomUpdate,
    Unset,
    UpdateResult,
)
from aiorooms._http.attempts import CallResult
from aiorooms._http.response import Received
from aiorooms.resources._update_many import update_many
from aiorooms.simulator import RateLimit, RoomsSimulator

from .conftest import settle, tasks_left
from .samples import ROOM_ID

UPDATE = RoomUpdate(max_participants=20)


async def collect(results: AsyncIterator[UpdateResult]) -> list[UpdateResult]:
    return [result async for result in results]


def answer(room_id: str, max_participants: int | Unset = UNSET) -> CallResult[Room]:
    room = Room(id=room_id, max_participants=None if max_participants is UNSET else max_participants)
    return CallResult(room, 1, Received(200, {}, b"", None))


def counts(results: list[UpdateResult]) -> dict[str, int]:
    return dict(Counter(result.status for result in results))


@pytest.mark.parametrize("concurrency", [1, 7, 50, 500])
async def test_every_update_is_applied_and_has_one_result(concurrency: int) -> None:
    async with RoomsSimulator(rooms=200) as sim, RoomsClient(sim.api_key, base_url=sim.url) as client:
        updates = ((room_id, RoomUpdate(unique_name=f"n-{room_id}")) for room_id in sim.room_ids)
        results = await collect(client.rooms.update_many(updates, concurrency=concurrency))
        assert counts(results) == {"updated": 200}
        assert {result.room_id for result in results} == set(sim.room_ids)
        for result in results:
            assert result.room is not None
            assert result.room.unique_name == f"n-{result.room_id}" == sim.rooms[result.room_id]["unique_name"]
            assert (result.attempts, result.error) == (1, None)
            assert result.elapsed > 0
        assert sim.stats.requests == 200
        assert sim.stats.peak_in_flight <= min(concurrency, 100)
        assert sim.stats.connections <= min(concurrency, 100)


async def test_an_async_iterable_and_every_kind_of_room_reference_are_accepted() -> None:
    async with RoomsSimulator(rooms=4) as sim, RoomsClient(sim.api_key, base_url=sim.url) as client:
        first, second, third, fourth = sim.room_ids

        async def updates() -> AsyncIterator[tuple[str | UUID | Room, RoomUpdate]]:
            yield first, UPDATE
            yield second.upper(), UPDATE
            await asyncio.sleep(0)
            yield UUID(third), UPDATE
            yield await client.rooms.retrieve(fourth), UPDATE

        results = await collect(client.rooms.update_many(updates()))
        assert counts(results) == {"updated": 4}
        assert {result.room_id for result in results} == {first, second.upper(), third, fourth}


async def test_results_are_yielded_in_order_of_completion() -> None:
    async with RoomsSimulator(rooms=3) as sim, RoomsClient(sim.api_key, base_url=sim.url) as client:
        slow, *quick = sim.room_ids
        sim.script("stall_before", room_id=slow)
        updates = [(room_id, UPDATE) for room_id in sim.room_ids]
        async with aclosing(client.rooms.update_many(updates, timeout=5)) as results:
            assert {(await anext(results)).room_id, (await anext(results)).room_id} == set(quick)


async def test_updates_of_one_room_keep_their_order_and_are_never_in_flight_together() -> None:
    async with RoomsSimulator(rooms=3, latency=0.002) as sim, RoomsClient(sim.api_key, base_url=sim.url) as client:
        sim.record = True
        names = [f"name-{number}" for number in range(30)]
        # Ids that differ only in case mean the same room.
        updates = [
            (room_id.upper() if number % 2 else room_id, RoomUpdate(unique_name=f"{name}-{room_id}"))
            for number, name in enumerate(names)
            for room_id in sim.room_ids
        ]
        results = await collect(client.rooms.update_many(updates, concurrency=20))
        assert counts(results) == {"updated": 90}
        for room_id in sim.room_ids:
            sent = [request.body.decode() for request in sim.recorded if request.path.lower().endswith(room_id)]
            assert sent == [f'{{"unique_name":"{name}-{room_id}"}}' for name in names]
        assert sim.stats.peak_in_flight <= 3


# --- invalid input ---


@pytest.mark.parametrize(
    "item",
    [None, 5, "ab", (), ("x",), ("x", UPDATE, 1), ["x", UPDATE], ("not-a-uuid", UPDATE), (None, UPDATE),
     (ROOM_ID, {"max_participants": 20}),
     (ROOM_ID, None),
     (ROOM_ID, RoomUpdate())],
)  # fmt: skip
async def test_an_invalid_pair_yields_a_failed_result_and_sends_nothing(item: Any) -> None:
    async with RoomsSimulator(rooms=2) as sim, RoomsClient(sim.api_key, base_url=sim.url) as client:
        first, second = sim.room_ids
        results = await collect(client.rooms.update_many([(first, UPDATE), item, (second, UPDATE)], concurrency=1))
        assert [result.status for result in results] == ["updated", "failed", "updated"]
        assert isinstance(results[1].error, InvalidRequestError)
        assert results[1].attempts == 0
        assert str(results[1].error).isprintable()
        assert sim.stats.requests == 2


class BrokenRepr:
    def __repr__(self) -> str:
        raise RuntimeError("not bound to a session")


@pytest.mark.parametrize("item", [BrokenRepr(), (BrokenRepr(), UPDATE), (10**5000, BrokenRepr())])
async def test_an_invalid_pair_whose_repr_raises_yields_a_failed_result(item: Any) -> None:
    async with RoomsClient("key") as client:
        (result,) = await collect(client.rooms.update_many([item]))
        assert result.status == "failed"
        assert isinstance(result.error, InvalidRequestError)


@pytest.mark.parametrize("value", [0, -1, True, 2.0, "5", None])
async def test_settings_are_checked_when_update_many_is_called(value: Any) -> None:
    async with RoomsClient("key") as client:
        with pytest.raises(ValueError, match=r"update_many\(concurrency=\) is .*; give a whole number, 1 or above"):
            client.rooms.update_many([], concurrency=value)
        if value is not None:
            with pytest.raises(ValueError, match=r"update_many\(max_failures=\) is"):
                client.rooms.update_many([], max_failures=value)
        with pytest.raises(ValueError, match="timeout"):
            client.rooms.update_many([], timeout=0)
        wrong: list[Any] = [5, ROOM_ID, {"7b61": UPDATE}]
        for updates in wrong:
            with pytest.raises(TypeError, match=r"update_many\(updates=\) is .*; give "):
                client.rooms.update_many(updates)


async def test_an_empty_input_yields_no_results() -> None:
    async with RoomsClient("key") as client:
        assert await collect(client.rooms.update_many([])) == []


async def test_updates_on_a_closed_client_fail() -> None:
    client = RoomsClient("key")
    await client.close()
    results = await collect(client.rooms.update_many([(ROOM_ID, UPDATE)] * 3))
    assert {result.status for result in results} <= {"failed", "skipped"}
    assert isinstance(results[0].error, ClientStateError)


# --- stopping ---


async def test_10000_updates_with_a_wrong_key_send_at_most_50_requests() -> None:
    async with RoomsSimulator(rooms=1) as sim, RoomsClient("wrong", base_url=sim.url) as client:
        updates = ((str(UUID(int=number)), UPDATE) for number in range(10_000))
        results = await collect(client.rooms.update_many(updates, concurrency=50))
        assert len(results) == 10_000
        assert len({result.room_id for result in results}) == 10_000
        assert sim.stats.requests <= 50
        assert counts(results) == {"skipped": 10_000}
        assert sum(result.attempts for result in results) == sim.stats.requests
        assert all(isinstance(result.error, AuthenticationError) for result in results)


async def test_a_key_without_permission_stops_the_run() -> None:
    async with RoomsSimulator(rooms=50) as sim, RoomsClient("limited", base_url=sim.url) as client:
        sim.forbidden_keys.add("limited")
        results = await collect(
            client.rooms.update_many(((room_id, UPDATE) for room_id in sim.room_ids), concurrency=5)
        )
        assert sim.stats.requests <= 5
        assert counts(results)["skipped"] >= 45
        assert all(isinstance(result.error, PermissionDeniedError) for result in results)


async def test_after_max_failures_the_run_skips_the_rest() -> None:
    async with RoomsSimulator(rooms=50) as sim, RoomsClient(sim.api_key, base_url=sim.url) as client:
        ids = sim.room_ids
        for room_id in ids[10:13]:
            sim.remove_room(room_id)
        results = await collect(
            client.rooms.update_many(((room_id, UPDATE) for room_id in ids), concurrency=1, max_failures=3)
        )
        assert counts(results) == {"updated": 10, "failed": 3, "skipped": 37}
        assert sim.stats.requests == 13
        assert "not found" in str(results[-1].error)


async def test_a_pause_longer_than_max_wait_stops_the_run() -> None:
    limit = RateLimit(limit=5, window=3600)
    async with RoomsSimulator(rooms=100, rate_limit=limit) as sim, RoomsClient(sim.api_key, base_url=sim.url) as client:
        results = await collect(
            client.rooms.update_many(((room_id, UPDATE) for room_id in sim.room_ids), concurrency=2)
        )
        outcomes = counts(results)
        assert outcomes["updated"] == 5
        assert outcomes["skipped"] >= 90
        assert sim.stats.requests == 5
        assert "longer than Pacing(max_wait=300)" in str(results[-1].error)


async def test_invalid_pairs_count_as_failures() -> None:
    async with RoomsClient("key") as client:
        results = await collect(client.rooms.update_many([("x", UPDATE)] * 5, concurrency=1, max_failures=2))
        assert counts(results) == {"failed": 2, "skipped": 3}


# --- inputs that are slow or raise ---


class InputError(Exception):
    pass


@pytest.mark.parametrize("is_async", [True, False])
async def test_no_result_of_an_update_in_flight_is_lost_if_the_input_raises(is_async: bool) -> None:
    async with RoomsSimulator(rooms=20, latency=0.01) as sim, RoomsClient(sim.api_key, base_url=sim.url) as client:

        def updates() -> Iterator[tuple[str, RoomUpdate]]:
            for room_id in sim.room_ids:
                yield room_id, UPDATE
            raise InputError

        async def async_updates() -> AsyncIterator[tuple[str, RoomUpdate]]:
            for update in updates():
                yield update

        results: list[UpdateResult] = []
        with pytest.raises(InputError):
            async for result in client.rooms.update_many(async_updates() if is_async else updates(), concurrency=7):
                results.append(result)  # noqa: PERF401 - a comprehension would lose the results before the error
        assert counts(results) == {"updated": 20}
        assert tasks_left() == set()


async def test_a_slow_async_iterable_does_not_delay_results() -> None:
    async with RoomsSimulator(rooms=2) as sim, RoomsClient(sim.api_key, base_url=sim.url) as client:
        more = asyncio.Event()

        async def updates() -> AsyncIterator[tuple[str, RoomUpdate]]:
            yield sim.room_ids[0], UPDATE
            await more.wait()
            yield sim.room_ids[1], UPDATE

        async with aclosing(client.rooms.update_many(updates())) as results:
            assert (await anext(results)).room_id == sim.room_ids[0]
            more.set()
            assert (await anext(results)).room_id == sim.room_ids[1]


async def test_a_slow_sync_iterable_does_not_delay_results() -> None:
    pulled = 0

    def updates() -> Iterator[tuple[str, RoomUpdate]]:
        nonlocal pulled
        for number in range(20):
            busy_until = time.perf_counter() + 0.002
            while time.perf_counter() < busy_until:
                pass
            pulled += 1
            yield str(UUID(int=number)), UPDATE

    async def done(room_id: str, update: RoomUpdate) -> CallResult[Room]:
        await asyncio.sleep(0)
        return answer(room_id)

    results = update_many(updates(), done, concurrency=20)
    async with aclosing(results):
        await anext(results)
        assert pulled < 10, "the first result waited for too much of the input"


async def test_a_cancellation_raised_by_the_input_is_not_swallowed() -> None:
    async def updates() -> AsyncIterator[tuple[str, RoomUpdate]]:
        yield str(UUID(int=1)), UPDATE
        gone = asyncio.get_running_loop().create_future()
        gone.cancel()
        await gone

    async def done(room_id: str, update: RoomUpdate) -> CallResult[Room]:
        return answer(room_id)

    results: list[UpdateResult] = []
    with pytest.raises(asyncio.CancelledError):
        async for result in update_many(updates(), done, concurrency=2):
            results.append(result)  # noqa: PERF401 - a comprehension would lose the results before the error
    assert len(results) == 1
    assert tasks_left() == set()


async def done(room_id: str, update: RoomUpdate) -> CallResult[Room]:
    """Return an updated room in the next iteration of the event loop."""
    await asyncio.sleep(0)
    return answer(room_id)


@pytest.mark.parametrize("held_open", ["timeout", "task group"])
async def test_an_input_may_keep_timeouts_and_task_groups_open_between_two_items(held_open: str) -> None:
    async def updates() -> AsyncIterator[tuple[str, RoomUpdate]]:
        number = 0
        for _ in range(20):
            async with asyncio.timeout(60) if held_open == "timeout" else asyncio.TaskGroup():
                for _ in range(5):
                    yield str(UUID(int=number)), UPDATE
                    number += 1
                    await asyncio.sleep(0)

    results = await collect(update_many(updates(), done, concurrency=7))
    assert sorted(UUID(result.room_id).int for result in results) == list(range(100))


@pytest.mark.parametrize("goes_on", [True, False])
async def test_no_result_is_lost_if_a_timeout_of_the_input_expires_between_two_items(goes_on: bool) -> None:
    async def updates() -> AsyncIterator[tuple[str, RoomUpdate]]:
        try:
            async with asyncio.timeout(0.01):
                for number in range(1, 4):
                    yield str(UUID(int=number)), UPDATE
        except TimeoutError:
            if not goes_on:
                raise
            yield str(UUID(int=99)), UPDATE

    async def slow(room_id: str, update: RoomUpdate) -> CallResult[Room]:
        await asyncio.sleep(0.03)
        return answer(room_id)

    results: list[int] = []
    try:
        async for result in update_many(updates(), slow, concurrency=1):
            results.append(UUID(result.room_id).int)  # noqa: PERF401 - a comprehension would lose the results before the error
    except TimeoutError:
        assert not goes_on
    else:
        assert goes_on
    assert results == ([1, 99] if goes_on else [1])


async def test_an_input_that_swallows_its_cancellation_does_not_delay_closing() -> None:
    async def updates() -> AsyncIterator[tuple[str, RoomUpdate]]:
        yield str(UUID(int=1)), UPDATE
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                yield str(UUID(int=2)), UPDATE

    async with asyncio.timeout(5):
        async with aclosing(update_many(updates(), done, concurrency=2)) as results:
            await anext(results)
    assert tasks_left() == set()


async def test_a_slow_consumer_slows_down_an_async_iterable() -> None:
    pulled = 0

    async def updates() -> AsyncIterator[tuple[str, RoomUpdate]]:
        nonlocal pulled
        while True:
            pulled += 1
            yield str(UUID(int=pulled)), UPDATE

    async with aclosing(update_many(updates(), done, concurrency=5)) as results:
        await anext(results)
        for _ in range(100):
            await asyncio.sleep(0)
        assert pulled <= 16, "the input was read too far ahead of a slow consumer"


@pytest.mark.parametrize("is_async", [True, False])
async def test_closing_the_run_closes_an_input_that_is_a_generator(is_async: bool) -> None:
    closed: list[bool] = []

    def updates() -> Iterator[tuple[str, RoomUpdate]]:
        try:
            for number in range(1000):
                yield str(UUID(int=number)), UPDATE
        finally:
            closed.append(True)

    async def async_updates() -> AsyncIterator[tuple[str, RoomUpdate]]:
        try:
            for number in range(1000):
                yield str(UUID(int=number)), UPDATE
        finally:
            closed.append(True)

    async def done(room_id: str, update: RoomUpdate) -> CallResult[Room]:
        return answer(room_id)

    results = update_many(async_updates() if is_async else updates(), done, concurrency=2)
    async with aclosing(results):
        await anext(results)
        assert closed == []
    assert closed == [True]


@pytest.mark.parametrize("concurrency", [1, 3])
async def test_a_slow_consumer_gets_every_result(concurrency: int) -> None:
    async def at_once(room_id: str, update: RoomUpdate) -> CallResult[Room]:
        return answer(room_id)

    updates = [(str(UUID(int=number)), UPDATE) for number in range(10)]
    results: list[UpdateResult] = []
    async with asyncio.timeout(5):
        async for result in update_many(updates, at_once, concurrency=concurrency):
            results.append(result)
            await settle()
    assert len(results) == 10


async def test_a_slow_consumer_slows_down_a_sync_iterable() -> None:
    pulled = 0

    def updates() -> Iterator[tuple[str, RoomUpdate]]:
        nonlocal pulled
        for number in range(1000):
            pulled += 1
            yield str(UUID(int=number)), UPDATE

    async def done(room_id: str, update: RoomUpdate) -> CallResult[Room]:
        return answer(room_id)

    results = update_many(updates(), done, concurrency=5)
    async with aclosing(results):
        await anext(results)
        for _ in range(100):
            await asyncio.sleep(0)
        assert pulled <= 12, "the input was read too far ahead of a slow consumer"


# --- aborting ---


async def test_breaking_out_of_the_loop_stops_the_run_at_once() -> None:
    async with RoomsSimulator(rooms=100, latency=0.01) as sim:
        client = RoomsClient(sim.api_key, base_url=sim.url)
        async for _ in client.rooms.update_many(((room_id, UPDATE) for room_id in sim.room_ids), concurrency=10):
            break
        await settle()
        assert tasks_left() == set()
        sent = sim.stats.requests
        assert sent < 40
        await client.close()
        await asyncio.sleep(0.03)
        assert sim.stats.requests == sent


@pytest.mark.usefixtures("short_slow_start")
@pytest.mark.parametrize("where", ["results", "input"])
async def test_cancelling_leaves_no_task_behind(where: str) -> None:
    async with RoomsSimulator(rooms=20, latency=5) as sim:
        client = RoomsClient(sim.api_key, base_url=sim.url)

        async def updates() -> AsyncIterator[tuple[str, RoomUpdate]]:
            for room_id in sim.room_ids:
                yield room_id, UPDATE
            if where == "input":
                await asyncio.Event().wait()

        task = asyncio.create_task(collect(client.rooms.update_many(updates(), concurrency=30)))
        while sim.stats.in_flight < 20:
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert tasks_left() == set()
        assert client.pacing.snapshot().in_flight == 0
        await client.close()


async def test_closing_finishes_even_if_updates_of_a_room_are_queued() -> None:
    async with RoomsSimulator(rooms=1, latency=0.02) as sim, RoomsClient(sim.api_key, base_url=sim.url) as client:
        updates = [(sim.room_ids[0], RoomUpdate(max_participants=2 + number)) for number in range(10)]
        async with aclosing(client.rooms.update_many(updates, concurrency=5)) as results:
            await anext(results)
        gc.collect()
        assert tasks_left() == set()


async def test_a_garbage_collected_run_leaves_no_task_behind() -> None:
    async with RoomsSimulator(rooms=20, latency=0.01) as sim, RoomsClient(sim.api_key, base_url=sim.url) as client:
        results = client.rooms.update_many(((room_id, UPDATE) for room_id in sim.room_ids), concurrency=3)
        await anext(results)
        del results
        gc.collect()
        await settle()
        assert tasks_left() == set()


async def test_closing_a_run_that_was_never_started_sends_nothing() -> None:
    async with RoomsSimulator(rooms=1) as sim, RoomsClient(sim.api_key, base_url=sim.url) as client:
        results = client.rooms.update_many([(sim.room_ids[0], UPDATE)])
        await results.aclose()
        assert sim.stats.requests == 0
        assert tasks_left() == set()


@pytest.mark.parametrize("is_async", [True, False])
async def test_an_unexpected_error_is_raised_after_the_results_of_the_updates_in_flight(is_async: bool) -> None:
    async def updates() -> AsyncIterator[tuple[str, RoomUpdate]]:
        for number in range(10):
            yield str(UUID(int=number)), UPDATE
        await asyncio.Event().wait()  # an input that never ends must not hide the error

    async def broken(room_id: str, update: RoomUpdate) -> CallResult[Room]:
        await asyncio.sleep(0)
        if UUID(room_id).int == 5:
            raise ZeroDivisionError
        return answer(room_id)

    plain = [(str(UUID(int=number)), UPDATE) for number in range(10)]
    results: list[UpdateResult] = []
    with pytest.raises(ZeroDivisionError):
        async for result in update_many(updates() if is_async else plain, broken, concurrency=3, max_failures=None):
            results.append(result)  # noqa: PERF401 - a comprehension would lose the results before the error
    assert {UUID(result.room_id).int for result in results} >= set(range(5))
    assert tasks_left() == set()


async def test_closing_finishes_even_if_an_update_raises_when_it_is_cancelled() -> None:
    async def broken(room_id: str, update: RoomUpdate) -> CallResult[Room]:
        if UUID(room_id).int > 0:
            return answer(room_id)
        try:
            await asyncio.Event().wait()
        finally:
            raise ZeroDivisionError

    updates = [(str(UUID(int=number)), UPDATE) for number in range(10)]
    results = update_many(updates, broken, concurrency=2)
    await anext(results)
    await settle()
    with pytest.raises(ZeroDivisionError):
        async with asyncio.timeout(5), aclosing(results):
            pass
    assert tasks_left() == set()


class OnlyNext:
    """An iterator without `__iter__` and `__aiter__`. A loop accepts it as the iterator of `Plain` or `Async`."""

    def __init__(self) -> None:
        self.number = 0

    def __next__(self) -> tuple[str, RoomUpdate]:
        self.number += 1
        if self.number > 3:
            raise StopIteration
        return str(UUID(int=self.number)), UPDATE

    async def __anext__(self) -> tuple[str, RoomUpdate]:
        try:
            return next(self)
        except StopIteration:
            raise StopAsyncIteration from None


class Plain:
    def __iter__(self) -> Any:
        return OnlyNext()


class Async:
    def __aiter__(self) -> Any:
        return OnlyNext()


@pytest.mark.parametrize("source", [Plain(), Async()])
async def test_the_iterator_of_an_input_needs_neither_iter_nor_aiter(source: Any) -> None:
    results = await collect(update_many(source, done, concurrency=2))
    assert len(results) == 3


class Weird(BaseException):
    pass


async def test_a_base_exception_of_an_update_is_raised() -> None:
    async def broken(room_id: str, update: RoomUpdate) -> CallResult[Room]:
        raise Weird

    async with asyncio.timeout(5):
        with pytest.raises(Weird):
            await collect(update_many([(str(UUID(int=1)), UPDATE)], broken, concurrency=2))


async def test_an_update_that_is_cancelled_while_it_waits_for_its_room_does_not_start_the_next_one() -> None:
    started: list[object] = []
    finish = asyncio.Event()

    async def slow(room_id: str, update: RoomUpdate) -> CallResult[Room]:
        started.append(update.max_participants)
        await finish.wait()
        return answer(room_id)

    room_id = str(UUID(int=1))
    updates = [(room_id, RoomUpdate(max_participants=number)) for number in (2, 3, 4)]
    before = asyncio.all_tasks()
    run = asyncio.create_task(collect(update_many(updates, slow, concurrency=3)))
    await settle()
    workers = sorted(asyncio.all_tasks() - before - {run}, key=lambda task: int(task.get_name().removeprefix("Task-")))
    workers[1].cancel()
    await settle()
    assert started == [2]
    finish.set()
    async with asyncio.timeout(5):
        with pytest.raises(RuntimeError, match="cancelled from outside"):
            await run
    assert started == [2, 4]


async def test_the_run_raises_if_its_workers_are_cancelled_from_outside() -> None:
    async def slow(room_id: str, update: RoomUpdate) -> CallResult[Room]:
        await asyncio.Event().wait()
        raise AssertionError

    before = asyncio.all_tasks()
    run = asyncio.create_task(collect(update_many([(str(UUID(int=1)), UPDATE)], slow, concurrency=2)))
    await settle()
    for task in asyncio.all_tasks() - before - {run}:
        task.cancel()
    async with asyncio.timeout(5):
        with pytest.raises(RuntimeError, match="cancelled from outside"):
            await run


async def test_closing_finishes_even_if_an_update_swallows_its_cancellation() -> None:
    begun = 0

    async def swallows_it(room_id: str, update: RoomUpdate) -> CallResult[Room]:
        nonlocal begun
        begun += 1
        if begun > 1:
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
        return answer(room_id)

    updates = ((str(UUID(int=number)), UPDATE) for number in range(1000))
    async with asyncio.timeout(5):
        async with aclosing(update_many(updates, swallows_it, concurrency=1)) as results:
            await anext(results)
            await settle()
    assert begun == 2
    assert tasks_left() == set()


async def test_a_second_cancellation_reaches_an_input_that_is_slow_to_close() -> None:
    async def updates() -> AsyncIterator[tuple[str, RoomUpdate]]:
        try:
            yield str(UUID(int=1)), UPDATE
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(60)

    results = update_many(updates(), done, concurrency=2)
    await anext(results)
    closing = asyncio.ensure_future(results.aclose())
    await settle()
    closing.cancel()
    async with asyncio.timeout(5):
        with pytest.raises(asyncio.CancelledError):
            await closing
    assert tasks_left() == set()


async def test_a_cancellation_is_not_replaced_by_an_error_of_the_input() -> None:
    def updates() -> Iterator[tuple[str, RoomUpdate]]:
        yield str(UUID(int=1)), UPDATE
        raise InputError

    async def slow(room_id: str, update: RoomUpdate) -> CallResult[Room]:
        await asyncio.Event().wait()
        raise AssertionError

    run = asyncio.create_task(collect(update_many(updates(), slow, concurrency=2)))
    await settle()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run


async def test_a_sync_generator_may_keep_a_context_variable_set_between_two_items() -> None:
    variable = ContextVar("variable", default=0)

    def updates() -> Iterator[tuple[str, RoomUpdate]]:
        token = variable.set(1)
        for number in range(20):
            assert variable.get() == 1
            yield str(UUID(int=number)), UPDATE
        variable.reset(token)

    assert len(await collect(update_many(updates(), done, concurrency=5))) == 20


async def test_the_run_waits_for_its_workers_even_after_a_second_cancellation() -> None:
    ended: list[str] = []

    async def slow_to_end(room_id: str, update: RoomUpdate) -> CallResult[Room]:
        try:
            await asyncio.Event().wait()
        finally:
            for _ in range(10):
                await asyncio.sleep(0)
            ended.append(room_id)
        raise AssertionError

    updates = [(str(UUID(int=number)), UPDATE) for number in range(3)]
    task = asyncio.create_task(collect(update_many(updates, slow_to_end, concurrency=3)))
    await settle()
    task.cancel()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert tasks_left() == set()


async def test_every_result_is_yielded_even_if_the_client_is_closed_during_the_run() -> None:
    async with RoomsSimulator(rooms=30, latency=0.01) as sim:
        client = RoomsClient(sim.api_key, base_url=sim.url, retry=RetryPolicy(base_delay=0.001))
        results: list[UpdateResult] = []
        async for result in client.rooms.update_many(((room_id, UPDATE) for room_id in sim.room_ids), concurrency=5):
            results.append(result)
            if len(results) == 1:
                await client.close()
        assert len(results) == 30
        assert {result.status for result in results} <= {"updated", "failed", "uncertain", "skipped"}
        assert all(result.error is not None for result in results if result.status != "updated")
        assert counts(results)["skipped"] >= 20


# --- update_many without a server, with random runs ---


@given(
    rooms=st.lists(st.integers(0, 5), max_size=40),
    concurrency=st.integers(1, 8),
    outcomes=st.lists(st.sampled_from(["ok", "fail", "unknown", "auth", "unsent"]), min_size=1, max_size=40),
    stop_after=st.none() | st.integers(1, 5),
    delays=st.lists(st.integers(0, 4), min_size=1, max_size=20),
)
def test_random_runs_keep_every_guarantee(
    rooms: list[int], concurrency: int, outcomes: list[str], stop_after: int | None, delays: list[int]
) -> None:
    asyncio.run(play(rooms, concurrency, outcomes, stop_after, delays))


async def play(
    rooms: list[int], concurrency: int, outcomes: list[str], stop_after: int | None, delays: list[int]
) -> None:
    """Run updates with the given outcomes and delays. Check every result, and the order of the updates of each room."""
    updates = [
        (str(UUID(int=room)), RoomUpdate(unique_name=f"{number}"), outcomes[number % len(outcomes)])
        for number, room in enumerate(rooms)
    ]
    plan = {update.unique_name: outcome for _, update, outcome in updates}
    in_flight: set[str] = set()
    begun: list[tuple[str, int]] = []

    async def update_room(room_id: str, update: RoomUpdate) -> CallResult[Room]:
        assert room_id not in in_flight, "two updates of a room were in flight together"
        assert len(in_flight) < concurrency
        in_flight.add(room_id)
        number = int(str(update.unique_name))
        begun.append((room_id, number))
        for _ in range(delays[number % len(delays)]):
            await asyncio.sleep(0)
        in_flight.remove(room_id)
        error: AioroomsError
        match plan[update.unique_name]:
            case "ok":
                return answer(room_id)
            case "auth":
                error = AuthenticationError("401", status=401)
            case _:
                error = APIConnectionError("lost")
                error.uncertain = plan[update.unique_name] == "unknown"
                error.was_sent = plan[update.unique_name] != "unsent"
        error.attempts = 1
        raise error

    results = await collect(
        update_many(
            [(room_id, update) for room_id, update, _ in updates],
            update_room,
            concurrency=concurrency,
            max_failures=stop_after,
        )
    )
    numbers = [int(str(result.update.unique_name)) for result in results if result.update is not None]
    assert sorted(numbers) == list(range(len(rooms))), "an update does not have exactly one result"
    for room_id in {room_id for room_id, _ in begun}:
        order = [number for room, number in begun if room == room_id]
        assert order == sorted(order), "a room's updates lost their order"
    sent = {number for _, number in begun}
    for result in results:
        assert result.update is not None
        number = int(str(result.update.unique_name))
        expected = {"ok": "updated", "fail": "failed", "unknown": "uncertain"}.get(plan[f"{number}"], "skipped")
        assert result.status == (expected if number in sent else "skipped")
    skipped = len(rooms) - len(sent)
    failures = sum(plan[f"{number}"] in ("fail", "unknown", "unsent") for number in sent)
    if skipped:
        rejected = any(isinstance(result.error, AuthenticationError) for result in results)
        assert rejected or (stop_after is not None and failures >= stop_after)
    if stop_after is not None:
        assert failures <= stop_after + concurrency - 1
    assert tasks_left() == set()


async def test_the_deprecated_argument_stop_after_failures_works_and_warns() -> None:
    async with RoomsSimulator(rooms=3) as sim, RoomsClient(sim.api_key, base_url=sim.url) as client:
        bad = [("no id", UPDATE), *((room_id, UPDATE) for room_id in sim.room_ids)]
        with pytest.warns(DeprecationWarning, match="max_failures"):
            run = client.rooms.update_many(bad, concurrency=1, stop_after_failures=1)
        assert counts(await collect(run)) == {"failed": 1, "skipped": 3}


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with Python 3.12")
def test_an_eager_task_factory_changes_neither_the_order_nor_the_concurrency() -> None:
    pulled: list[int] = []
    sent: list[int] = []

    def updates() -> Iterator[tuple[str, RoomUpdate]]:
        for number in range(300):
            pulled.append(number)
            yield str(UUID(int=number % 7)), RoomUpdate(max_participants=2 + number % 40)

    async def one(room_id: str, update: RoomUpdate) -> CallResult[Room]:
        assert len(pulled) - len(sent) <= 3
        await asyncio.sleep(0)
        sent.append(len(sent))
        return answer(room_id, update.max_participants)

    async def main() -> None:
        asyncio.get_running_loop().set_task_factory(vars(asyncio)["eager_task_factory"])
        last: dict[str, int] = {}
        results = await collect(update_many(updates(), one, concurrency=3))
        assert len(results) == 300
        for result in results:
            assert result.room is not None
            last[result.room_id] = result.room.max_participants or 0
        assert last == {str(UUID(int=room)): 2 + max(n for n in range(300) if n % 7 == room) % 40 for room in range(7)}

    asyncio.run(main())
