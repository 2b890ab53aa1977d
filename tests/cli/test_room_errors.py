"""Errors of single rooms: a line for the first of each kind, and a line for all rooms with the same error."""

import asyncio
import json

from aiorooms import RoomsClient
from aiorooms.cli._many import TOTALS
from aiorooms.cli._room_errors import RoomErrors
from aiorooms.simulator import RoomsSimulator

from .conftest import Invoke, lines, planned

IDS = [f"{number:08x}-0000-4000-8000-000000000000" for number in range(60)]


def test_errors_that_differ_only_in_ids_and_attempts_are_of_one_kind() -> None:
    errors = RoomErrors()
    texts = ["404 room {} not found", "500 room {}: no, after {n} attempts", "500 room {}: yes"]
    shown = [
        errors.add(room_id, "failed", texts[number % 3].format(room_id, n=number))
        for number, room_id in enumerate(IDS[:20])
    ]
    assert shown == [True, True, True, *[False] * 17]
    assert list(errors.summary()) == [
        f"7 rooms failed: 404 room ... not found; for example {IDS[0]}, {IDS[3]}, {IDS[6]}",
        f"7 rooms failed: 500 room ...: no; for example {IDS[1]}, {IDS[4]}, {IDS[7]}",
        f"6 rooms failed: 500 room ...: yes; for example {IDS[2]}, {IDS[5]}, {IDS[8]}",
    ]


def test_a_single_error_of_a_kind_is_not_repeated() -> None:
    errors = RoomErrors()
    assert errors.add(IDS[0], "uncertain", "no answer")
    assert errors.add(IDS[1], "failed", "no answer"), "the same text with another status is another kind"
    assert list(errors.summary()) == []


def test_the_number_of_kinds_is_limited() -> None:
    errors = RoomErrors()
    shown = [errors.add(room_id, "failed", f"error {number}") for number, room_id in enumerate(IDS)]
    assert shown == [True] * 50 + [False] * 10
    assert list(errors.summary()) == ["10 rooms have other errors"]


def test_a_single_error_beyond_the_kinds_is_in_the_singular() -> None:
    errors = RoomErrors()
    for number, room_id in enumerate(IDS[:51]):
        errors.add(room_id, "failed", f"error {number}")
    assert list(errors.summary()) == ["1 room has another error"]


def test_apply_prints_equal_errors_once_and_its_totals_add_up(sim: RoomsSimulator, invoke: Invoke) -> None:
    planned(invoke)

    async def delete() -> None:
        async with RoomsClient(sim.api_key, base_url=sim.url) as client:
            for room_id in sim.room_ids[::2]:
                await client.rooms.delete(room_id)

    asyncio.run(delete())
    result = invoke("apply", "rooms.plan", "--yes", "--json", "--force")
    assert result.exit_code == 1
    first, group, *_ = lines(result.stderr)
    assert first.startswith("aiorooms: 404 room ")
    assert group.startswith("aiorooms: 10 rooms failed: 404 room ... not found (")
    assert sum(room_id in group for room_id in sim.room_ids) == 0
    totals = json.loads(lines(result.stdout)[-1])
    assert (totals["updated"], totals["failed"], totals["rooms"]) == (10, 10, 20)
    assert sum(totals[key] for key in TOTALS) == totals["rooms"]


def test_conflicts_that_differ_only_in_their_time_are_of_one_kind(sim: RoomsSimulator, invoke: Invoke) -> None:
    planned(invoke)
    for room_id in sim.room_ids[:15]:
        sim.change_room(room_id, max_participants=7)
    result = invoke("apply", "rooms.plan", "--yes")
    assert result.exit_code == 1
    conflicts = [line for line in lines(result.stderr) if "modified by someone else" in line]
    assert len(conflicts) == 2, conflicts
    assert conflicts[1].startswith(
        "aiorooms: 15 rooms are in conflict: room ... was modified by someone else after the plan was made"
        " (max_participants); for example "
    )
