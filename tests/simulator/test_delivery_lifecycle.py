"""Deliveries end when the simulator stops, and can be waited for from everywhere."""

import asyncio
import gc
from collections.abc import Iterator

import pytest
import uvloop

from aiorooms.simulator import Deliveries, RoomsSimulator, _deliverer

from .calling import until
from .receivers import outcomes, receiver, room_with
from .test_failover import always, never


def other_tasks() -> set["asyncio.Task[object]"]:
    return asyncio.all_tasks() - {asyncio.current_task()}


@pytest.mark.parametrize("loop_factory", [None, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_a_stop_while_delivering_leaves_no_task_or_socket(loop_factory: None) -> None:
    async def run() -> None:
        before = other_tasks()
        deliveries = Deliveries(backoff=600)
        sim = RoomsSimulator(deliveries=deliveries)
        async with receiver(never) as slow, receiver(always(500)) as broken:
            await sim.start()
            waiting = asyncio.create_task(sim.delivered())
            sim.join(room_with(sim, slow.url))
            sim.start_session(room_with(sim, broken.url))
            await until(lambda: slow.received and sim.delivery_log)
            await sim.stop()
            await waiting
            assert sorted(outcomes(sim)) == sorted([(broken.url, "bad_status", 1), (slow.url, "stopped", 1)])
            sim.start_session(room_with(sim, slow.url))
        assert other_tasks() == before

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(run())
    gc.collect()  # warns about any socket or transport that is still open


async def test_a_stop_drops_an_event_that_is_held_back() -> None:
    async with receiver() as hooks:
        async with RoomsSimulator(deliveries=Deliveries(reorder=1)) as sim:
            sim.start_session(room_with(sim, hooks.url))
        assert outcomes(sim) == [(hooks.url, "stopped", 1)]
        assert hooks.received == []
        async with sim:  # the simulator delivers again after a restart
            sim.deliveries = Deliveries()
            sim.start_session(sim.room_ids[0])
            await sim.delivered()
        assert hooks.types == ["session.ended", "session.started"]


async def test_too_many_events_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_deliverer, "_MAX_PENDING", 2)
    async with RoomsSimulator() as sim, receiver() as hooks:
        room_id = room_with(sim, hooks.url)
        sim.join(room_id)
        sim.end_session(room_id)
        await sim.delivered()
        assert hooks.types == ["session.started", "participant.joined"]
        assert sim.stats.events == {"delivered": 2, "dropped": 2}


async def test_the_number_of_attempts_in_flight_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_deliverer, "_MAX_IN_FLIGHT", 3)
    async with RoomsSimulator(latency=0.01) as sim:
        for _ in range(20):
            sim.start_session(room_with(sim, sim.receiver_url))
        await sim.delivered()
        assert sim.stats.events == {"delivered": 20}
        assert 1 < sim.stats.peak_in_flight <= 3


@pytest.fixture
def in_thread() -> Iterator[RoomsSimulator]:
    with RoomsSimulator() as sim:
        yield sim


def test_code_without_an_event_loop_can_wait(in_thread: RoomsSimulator) -> None:
    sim = in_thread
    sim.join(room_with(sim, sim.receiver_url))
    sim.wait_until_delivered()
    assert [attempt.event_type for attempt in sim.delivery_log] == [
        "video.room.session.started",
        "video.room.participant.joined",
    ]
    sim.outage = "hang"
    sim.join(room_with(sim, sim.receiver_url))
    with pytest.raises(TimeoutError):
        sim.wait_until_delivered(timeout=0.01)


async def test_code_in_another_event_loop_can_wait(in_thread: RoomsSimulator) -> None:
    async with receiver() as hooks:
        in_thread.join(room_with(in_thread, hooks.url))
        await in_thread.delivered()
        assert hooks.types == ["session.started", "participant.joined"]


async def test_a_wait_that_would_block_the_loop_of_the_simulator_raises() -> None:
    async with RoomsSimulator() as sim:
        with pytest.raises(RuntimeError, match=r"use `await sim.delivered\(\)`"):
            sim.wait_until_delivered()
