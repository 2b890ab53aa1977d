"""Repeated, reordered and unusual events."""

from collections import Counter
from datetime import datetime
from typing import Any

import pytest

from aiorooms.simulator import Deliveries, RoomsSimulator, _deliverer

from .calling import until
from .receivers import Receiver, receiver, room_with


async def deliver(deliveries: Deliveries, hooks: Receiver, *, joins: int = 3, seed: int = 0) -> RoomsSimulator:
    """Deliver the events of a session with this number of participants."""
    async with RoomsSimulator(deliveries=deliveries, seed=seed) as sim:
        session_id = sim.start_session(room_with(sim, hooks.url))
        for number in range(joins):
            sim.join(session_id, context=str(number))
        await sim.delivered()
    return sim


async def test_repeated_events_have_the_same_id() -> None:
    async with receiver() as hooks:
        sim = await deliver(Deliveries(repeat=1), hooks)
        ids = Counter(event.data["id"] for event in hooks.received)
        assert [*ids.values()] == [2, 2, 2, 2]
        assert sim.stats.events == {"delivered": 4}, "a repetition is not another event"


async def test_a_reordered_event_comes_after_the_next_one() -> None:
    async with receiver() as hooks:
        await deliver(Deliveries(reorder=1), hooks)
        contexts = [event.data["payload"].get("context", "started") for event in hooks.received]
        assert contexts == ["0", "started", "2", "1"]


async def test_a_reordered_event_without_a_next_one_is_sent() -> None:
    async with receiver() as hooks:
        await deliver(Deliveries(reorder=1), hooks, joins=0)
        assert hooks.types == ["session.started"]


async def test_a_reordered_event_waits_only_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_deliverer, "_HOLD_SECONDS", 0.001)
    async with RoomsSimulator(deliveries=Deliveries(reorder=1)) as sim, receiver() as hooks:
        sim.start_session(room_with(sim, hooks.url))
        await until(lambda: hooks.received)


async def test_events_have_every_quirk() -> None:
    async with receiver() as hooks:
        await deliver(Deliveries(quirks=1), hooks, joins=30)
    bare = [event.json for event in hooks.received if "data" not in event.json]
    times = [event.data["occurred_at"] for event in hooks.received if "data" in event.json]
    assert {event["record_type"] for event in bare} == {"event"}
    assert {len(time) for time in times} == {27, 26}
    assert all(time[10] == " " for time in times)
    assert all(datetime.fromisoformat(time) for time in times)


async def test_the_same_seed_makes_the_same_oddities() -> None:
    runs: list[list[Any]] = []
    for seed in (1, 1, 2):
        async with receiver() as hooks:
            await deliver(Deliveries(reorder=0.5, quirks=0.5), hooks, joins=20, seed=seed)
            events = [event.json for event in hooks.received]
            runs.append([("data" in event, event.get("data", event)["payload"].get("context")) for event in events])
    assert runs[0] == runs[1] != runs[2]


async def test_the_settings_can_be_changed_while_the_simulator_runs() -> None:
    async with RoomsSimulator() as sim, receiver() as hooks:
        session_id = sim.start_session(room_with(sim, hooks.url))
        sim.deliveries = Deliveries(repeat=1)
        assert sim.deliveries.repeat == 1
        sim.join(session_id)
        await sim.delivered()
        assert sorted(hooks.types) == ["participant.joined", "participant.joined", "session.started"]
