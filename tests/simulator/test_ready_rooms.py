"""A simulator with rooms that are given as JSON objects: the values are kept, and names stay unique."""

from collections.abc import Mapping
from typing import Any

import aiohttp
import pytest

from aiorooms.simulator import RoomsSimulator

A, B = (f"7b61621f-62e0-4aad-ab11-9fd19e272e7{number}" for number in range(2))


def test_the_rooms_of_a_simulator_can_be_given_to_another_one() -> None:
    sim = RoomsSimulator(rooms=200, webhooks="mixed", seed=3)
    room_id = sim.add_room(max_participants=99, unique_name="\ud800")
    sim.add_session(room_id, participants=["a"])
    again = RoomsSimulator(rooms=sim.rooms.values())
    own: dict[str, Any] = {"active_session_id": None, "sessions": []}
    assert [*again.rooms.values()] == [{**room, **own} for room in sim.rooms.values()]


def test_a_field_that_is_missing_has_the_default_of_a_new_room() -> None:
    given = RoomsSimulator(rooms=({"id": A.upper(), "created_at": "2024-05-01T12:00:00Z"}, {}))
    added = RoomsSimulator()
    added.add_room(id=A, created_at="2024-05-01T12:00:00Z")
    assert given.rooms[A] == added.rooms[A]
    other = given.rooms[given.room_ids[1]]
    assert other["unique_name"] == other["id"]
    assert other["created_at"] == other["updated_at"] != ""


@pytest.mark.parametrize(
    ("rooms", "problem"),
    [
        ([{"id": A}, {"id": A.upper()}], f"the room id {A} is already taken"),
        ([{"unique_name": "a"}, {"unique_name": "a"}], "the room name 'a' is already taken"),
        ([{}, {"max_participant": 3, "a": 1}], "room 2: not fields of a room: a, max_participant"),
        ([{"id": 7}], "room 1: id must be text, not 7"),
        ([{"updated_at": None}], "room 1: updated_at must be text, not None"),
    ],
)
def test_rooms_that_no_account_can_have_are_an_error(rooms: list[Mapping[str, Any]], problem: str) -> None:
    with pytest.raises(ValueError, match=f"^{problem}$"):
        RoomsSimulator(rooms=rooms)


def test_a_room_that_loses_its_name_holds_no_other_name() -> None:
    sim = RoomsSimulator(rooms=2)
    one, two = sim.room_ids
    sim.change_room(one, unique_name=None)
    sim.change_room(two, unique_name="")
    assert sim.add_room(unique_name="None") != one
    sim.change_room(one, unique_name="lobby")
    assert [room["unique_name"] for room in sim.rooms.values()] == ["lobby", "", "None"]


async def test_several_rooms_without_a_name_can_be_listed_renamed_and_deleted() -> None:
    unnamed: list[Mapping[str, Any]] = [{"id": A, "unique_name": None}, {"id": B, "unique_name": ""}]
    headers = {"Authorization": "Bearer KEY_simulated"}
    async with RoomsSimulator(rooms=unnamed) as sim, aiohttp.ClientSession(headers=headers) as session:
        async with session.get(f"{sim.url}/rooms") as answer:
            assert [room["unique_name"] for room in (await answer.json())["data"]] == [None, ""]
        async with session.patch(f"{sim.url}/rooms/{A}", json={"unique_name": "a"}) as answer:
            assert (await answer.json())["data"]["unique_name"] == "a"
        async with session.patch(f"{sim.url}/rooms/{B}", json={"unique_name": "a"}) as answer:
            assert answer.status == 422
        for room_id in (A, B):
            async with session.delete(f"{sim.url}/rooms/{room_id}") as answer:
                assert answer.status == 204
        assert sim.room_ids == []
        assert sim.add_room(unique_name="a") in sim.rooms
