"""Names between rooms: names that are taken, chains, swaps, and two rooms that want one name."""

import asyncio
import tempfile
from collections.abc import Mapping
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiorooms import Room, RoomUpdate
from aiorooms.bulk import BulkInputError, Plan, PlanFileError, apply, computed, make_plan, read_rows
from aiorooms.bulk._planning import plan_room
from aiorooms.bulk._room_names import RoomNames
from aiorooms.simulator import RoomsSimulator

from .conftest import client_of, collect, counts, files_in


def room_id(number: int) -> str:
    return str(UUID(int=number))


def find(present: Mapping[int, str], wanted: Mapping[int, str]) -> tuple[dict[int, str | None], list[int]]:
    """Return the codes of the problems by room, and the rooms whose names can change."""
    with RoomNames(is_needed=True) as names:
        for number, name in present.items():
            room = Room(id=room_id(number), unique_name=name)
            names.add_room(room)
            planned = plan_room(room, RoomUpdate(unique_name=wanted.get(number, name)))
            if planned is not None:
                names.add_rename(planned, number)
        problems = [*names.problems("rooms.csv")]
        left = [UUID(one.room_id).int for one in names.renames()]
    return {one.line or 0: one.code for one in problems}, left


@pytest.mark.parametrize(
    ("wanted", "codes", "left"),
    [
        ({1: "x", 2: "y"}, {}, [1, 2]),
        ({1: "b"}, {1: "name_taken"}, []),
        ({1: "b", 3: "x"}, {1: "name_taken"}, [3]),
        ({1: "b", 2: "x"}, {1: "name_chain"}, [2]),
        ({1: "b", 2: "c", 3: "x"}, {1: "name_chain", 2: "name_chain"}, [3]),
        ({1: "b", 2: "c"}, {1: "name_chain", 2: "name_taken"}, []),
        ({1: "b", 2: "a"}, {1: "name_swap", 2: "name_swap"}, []),
        ({1: "b", 2: "c", 3: "a", 4: "x"}, {1: "name_swap", 2: "name_swap", 3: "name_swap"}, [4]),
    ],
)
def test_the_problems_of_a_room_and_what_is_left(
    wanted: Mapping[int, str], codes: Mapping[int, str], left: list[int]
) -> None:
    found, others = find({1: "a", 2: "b", 3: "c", 4: "d"}, wanted)
    assert (found, others) == (codes, left)


def test_two_rooms_can_not_get_the_same_name() -> None:
    found, left = find({1: "a", 2: "b", 3: "c"}, {1: "x", 2: "x", 3: "y"})
    assert list(found.values()) == ["duplicate_name"]
    assert len(left) == 2
    assert 3 in left


def test_names_that_look_the_same_count_as_one() -> None:
    composed, decomposed = "Zo\u00eb", "Zoe\u0308"
    assert find({1: "a", 2: composed}, {1: decomposed}) == ({1: "name_taken"}, [])
    assert find({1: composed}, {1: decomposed}) == ({}, [1])


names_of_rooms = st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=8, unique=True)


@given(names_of_rooms, st.lists(st.sampled_from("abcdefghxyz"), min_size=8, max_size=8))
def test_what_is_left_can_be_applied_in_any_order(present: list[str], targets: list[str]) -> None:
    now = dict(enumerate(present, 1))
    wanted = dict(zip(now, targets, strict=False))
    found, left = find(now, wanted)
    new = [wanted[number] for number in left]
    assert len(set(new)) == len(new)
    for number in left:  # no other room has the new name, whether it was renamed before or not
        assert all(name != wanted[number] for other, name in now.items() if other != number)
    # Whatever is not left has a problem, or is unchanged.
    assert set(found) | set(left) == {number for number in now if wanted[number] != now[number]}


@given(names_of_rooms, st.permutations("abcdefgh"))
def test_every_circle_is_a_swap(present: list[str], targets: list[str]) -> None:
    now = dict(enumerate("abcdefgh", 1))
    found, left = find(now, dict(zip(now, targets, strict=True)))
    assert left == []
    assert set(found.values()) <= {"name_swap"}


def test_without_need_no_name_is_kept() -> None:
    with RoomNames(is_needed=False) as names:
        names.add_room(Room(id=room_id(1), unique_name="a"))
        assert len(names._holders) == 0
        assert [*names.problems("x")] == []
        assert [*names.renames()] == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("length", [1, 3_000], ids=["at the end", "while it is written"])
async def test_a_full_disk_is_reported_and_no_plan_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    path = tmp_path / "rooms.csv"
    async with RoomsSimulator(rooms=5) as sim, client_of(sim) as client:
        names = (f"{room},{'x' * length}{number}" for number, room in enumerate(sim.room_ids))
        path.write_text("\n".join(("id,unique_name", *names)))
        with await asyncio.to_thread(read_rows, path) as rows:
            monkeypatch.setattr(tempfile, "TemporaryFile", lambda: Path("/dev/full").open("r+b"))  # noqa: SIM115 - make_plan closes it
            with pytest.raises(PlanFileError, match=r"can't be kept in a temporary file: No space left.* set TMPDIR"):
                await make_plan(client, rows, tmp_path / "a.plan")
    assert files_in(tmp_path) == ["rooms.csv"]


async def test_the_problems_of_a_file_name_both_rooms_and_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "rooms.csv"
    async with RoomsSimulator(rooms=5) as sim, client_of(sim) as client:
        a, b, c, d, e = sim.room_ids
        for room, name in zip(sim.room_ids, "abcde", strict=True):
            sim.change_room(room, unique_name=name)
        path.write_text(f"id,unique_name\n{a},e\n{b},x\n{c},d\n{d},c\n")
        with await asyncio.to_thread(read_rows, path) as rows, pytest.raises(BulkInputError) as caught:
            await make_plan(client, rows, tmp_path / "a.plan")
        assert [(one.line, one.code) for one in caught.value.problems] == [
            (2, "name_taken"), (4, "name_swap"), (5, "name_swap"),
        ]  # fmt: skip
        taken, *swaps = (one.message for one in caught.value.problems)
        assert taken == (
            f"room {a} would get the name 'e', but room {e} has it; "
            "choose another name, or first give that room another one"
        )
        advice = "make two plans: one that gives all rooms that exchange names temporary ones, and then this one"
        assert swaps == [
            f"room {one} would get the name '{name}', but room {other} (line {line}) has it, and gets the name '{old}'"
            f" in the same plan; {advice}"
            for one, name, other, line, old in ((c, "d", d, 5, "c"), (d, "c", c, 4, "d"))
        ]
        path.write_text(f"id,unique_name\n{a},b\n{b},x\n")
        with await asyncio.to_thread(read_rows, path) as rows, pytest.raises(BulkInputError) as caught:
            await make_plan(client, rows, tmp_path / "a.plan")
        (problem,) = caught.value.problems
        assert problem.message == (
            f"room {a} would get the name 'b', but room {b} (line 3) has it, and gets the name 'x' in the same plan; "
            f"make two plans: one that gives room {b} its new name, and then this one"
        )


async def test_a_chain_ends_with_the_two_plans_that_the_problem_advises(tmp_path: Path) -> None:
    path = tmp_path / "rooms.csv"
    async with RoomsSimulator(rooms=2) as sim, client_of(sim) as client:
        a, b = sim.room_ids
        for room, name in zip(sim.room_ids, "ab", strict=True):
            sim.change_room(room, unique_name=name)
        path.write_text(f"id,unique_name\n{a},b\n{b},x\n")
        for number in (1, 2):
            with await asyncio.to_thread(read_rows, path) as rows:
                summary = await make_plan(client, rows, tmp_path / f"{number}.plan", skip_invalid=True)
            assert (summary.rooms, summary.invalid) == (1, 2 - number)
            plan = Plan.open(tmp_path / f"{number}.plan")
            assert counts(await collect(apply(client, plan, tmp_path / f"{number}.journal"))) == {"updated": 1}
        assert [sim.rooms[room]["unique_name"] for room in (a, b)] == ["b", "x"]


async def test_names_that_a_function_computes_are_compared_too(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=3) as sim, client_of(sim) as client:
        wanted = computed(lambda room: RoomUpdate(unique_name="room-000002"))
        with pytest.raises(BulkInputError) as caught:
            await make_plan(client, wanted, tmp_path / "a.plan")
        assert {one.code for one in caught.value.problems} == {"duplicate_name", "name_taken"}
