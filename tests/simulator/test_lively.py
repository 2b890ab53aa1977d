"""Sessions that start and end at random."""

import asyncio

import pytest

from aiorooms.simulator import RoomsSimulator
from aiorooms.simulator._lively import Lively, choose_step

from .calling import until
from .receivers import receiver, room_with


async def test_sessions_live_by_themselves_in_rooms_with_a_receiver_on_this_machine() -> None:
    before = asyncio.all_tasks()
    async with receiver() as hooks:
        async with RoomsSimulator(rooms=50, lively=1000) as sim:
            room_id = room_with(sim, hooks.url, enable_recording=True)
            await until(lambda: {"session.ended", "composition.completed"} <= {*hooks.types})
        assert sim.lively == 1000
        assert {event.data["payload"]["room_id"] for event in hooks.received} >= {room_id}
    assert asyncio.all_tasks() == before


def test_the_steps_make_sense_and_memory_is_bounded() -> None:
    sim = RoomsSimulator(rooms=3)
    lively = Lively(sim._account, sim._meetings, 0)
    for _ in range(2000):
        lively.step()
    rooms = [*sim._account.rooms.values()]
    assert all(1 < len(room.sessions) <= 11 for room in rooms)
    assert len(sim._account.sessions) == sum(len(room.sessions) for room in rooms)
    participants = [person for session in sim._account.sessions.values() for person in session.participants]
    assert {person.id for person in participants} == {*sim._account.participants}
    sim.remove_room(rooms[0].id)
    lively.step()


def test_without_rooms_nothing_happens() -> None:
    sim = RoomsSimulator()
    Lively(sim._account, sim._meetings, 0).step()
    assert not sim._account.sessions


@pytest.mark.parametrize(
    ("number", "state", "step"),
    [
        (0.9, (0, 0), "start"),
        (0.1, (1, 1), "start"),
        (0.1, (20, 1), "join"),
        (0.5, (1, 4), "join"),
        (0.5, (1, 5), "leave"),
        (0.8, (1, 2), "leave"),
        (0.8, (1, 1), "end"),
        (0.95, (1, 3), "end"),
        (0.5, (1, 0), "end"),
    ],
)
def test_the_next_step(number: float, state: tuple[int, int], step: str) -> None:
    sessions, present = state
    assert choose_step(number, sessions=sessions, present=present, seats=5) == step


@pytest.mark.parametrize("rate", [-1, 1001, float("nan")])
def test_an_invalid_rate_raises(rate: float) -> None:
    with pytest.raises(ValueError, match="lively must be a number of steps per second from 0 to 1000"):
        RoomsSimulator(lively=rate)
