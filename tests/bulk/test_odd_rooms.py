"""Rooms that break a rule already: unchanged values are not judged, and rooms that can't be changed are left out."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest

from aiorooms import Room
from aiorooms.bulk import BulkInputError, Plan, export_rooms, make_plan, read_rows, select
from aiorooms.simulator import RoomsSimulator

from ..samples import ROOM_ID
from .conftest import client_of

ODD: Mapping[str, str | int] = {
    "max_participants": 99,
    "webhook_event_url": "hooks.example.com/rooms",
    "webhook_event_failover_url": "https://me:secret@hooks.example.com/",
    "webhook_timeout_secs": 45,
}
"""Values that the API may have accepted once, and that no update can set."""


@pytest.mark.parametrize("name", ["rooms.csv", "rooms.jsonl"])
async def test_an_unedited_export_of_odd_rooms_makes_an_empty_plan(tmp_path: Path, name: str) -> None:
    async with RoomsSimulator(rooms=3) as sim, client_of(sim) as client:
        for field, value in ODD.items():
            sim.change_room(sim.room_ids[0], **{field: value})
        same = "https://hooks.example.com/same"
        sim.change_room(sim.room_ids[1], webhook_event_url=same, webhook_event_failover_url=same)
        sim.change_room(sim.room_ids[2], unique_name="null")
        await export_rooms(client, tmp_path / name)
        with await asyncio.to_thread(read_rows, tmp_path / name, defer_values=True) as rows:
            summary = await make_plan(client, rows, tmp_path / "a.plan")
    assert (summary.rooms, summary.unchanged, summary.not_concerned) == (0, 3, 0)


@pytest.mark.parametrize(("field", "value"), ODD.items())
async def test_only_the_values_that_change_are_judged(tmp_path: Path, field: str, value: str | int) -> None:
    path = tmp_path / "rooms.csv"
    async with RoomsSimulator(rooms=2) as sim, client_of(sim) as client:
        one, two = sim.room_ids
        sim.change_room(one, **{field: value})
        path.write_text(f"id,{field},unique_name\n{one},{value},new\n{two},{value},other\n")
        with pytest.raises(BulkInputError) as caught:
            await asyncio.to_thread(read_rows, path)
        assert [(problem.line, problem.field) for problem in caught.value.problems] == [(2, field), (3, field)]
        with await asyncio.to_thread(read_rows, path, defer_values=True) as rows:
            with pytest.raises(BulkInputError) as caught:
                await make_plan(client, rows, tmp_path / "a.plan")
        (problem,) = caught.value.problems
        assert (problem.line, problem.field) == (3, field)
        with await asyncio.to_thread(read_rows, path, defer_values=True) as rows:
            summary = await make_plan(client, rows, tmp_path / "a.plan", skip_invalid=True)
        assert (summary.rooms, summary.invalid) == (1, 1)
        assert [one.line for one in summary.invalid_problems] == [3]
        plan = Plan.open(tmp_path / "a.plan")
        assert [(one.room_id, one.after) for one in plan.updates()] == [(one, {"unique_name": "new"})]
        assert (plan.not_concerned, plan.invalid) == (0, 1)


def test_without_deferring_every_value_is_judged(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"id,max_participants\n{ROOM_ID},99\n")
    with pytest.raises(BulkInputError, match="99 is not in the range"):
        read_rows(path)


def test_a_value_that_no_room_can_have_is_a_problem_in_any_case(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(f'{{"id": "{ROOM_ID}", "max_participants": "99", "enable_recording": "maybe"}}')
    with pytest.raises(BulkInputError) as caught:
        read_rows(path, defer_values=True)
    assert [one.field for one in caught.value.problems] == ["max_participants", "enable_recording"]


@pytest.mark.parametrize("field", ["unique_name", "webhook_event_url"])
def test_half_of_a_surrogate_pair_is_a_problem_in_any_case(tmp_path: Path, field: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(f'{{"id": "{ROOM_ID}", "{field}": "https://a.example/\\ud800"}}')
    with pytest.raises(BulkInputError, match=field):
        read_rows(path, defer_values=True)


@pytest.mark.parametrize("number", ["18446744073709551616", "-1" + "0" * 30, "1e300"])
def test_a_number_that_no_room_can_have_is_a_problem_in_any_case(tmp_path: Path, number: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(f'{{"id": "{ROOM_ID}", "max_participants": {number}}}')
    with pytest.raises(BulkInputError, match="is not in the range 2 to 50"):
        read_rows(path, defer_values=True)


def test_a_name_that_looks_like_a_missing_value_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(f'{{"id": "{ROOM_ID}", "unique_name": "None"}}')
    with read_rows(path, defer_values=True) as rows:
        change = rows.change_of(Room(id=ROOM_ID, unique_name="None"))
        assert change is not None
        assert change.update.to_dict() == {}
        with pytest.raises(BulkInputError, match=r"line 1, unique_name: 'None' looks like a missing value"):
            rows.change_of(Room(id=ROOM_ID, unique_name="Support"))


async def test_rooms_that_a_rewrite_can_not_change_are_left_out(tmp_path: Path) -> None:
    wanted = select(rewrite_webhook_host=["hooks.example.com=new.example.com"])
    async with RoomsSimulator(rooms=5) as sim, client_of(sim) as client:
        for room_id in sim.room_ids:
            sim.change_room(room_id, webhook_event_url="https://hooks.example.com/x", webhook_event_failover_url=None)
        sim.change_room(sim.room_ids[1], webhook_event_url="https://me:secret@hooks.example.com/x")
        sim.change_room(sim.room_ids[3], webhook_event_url="hooks.example.com/x")
        with pytest.raises(BulkInputError) as caught:
            await make_plan(client, wanted, tmp_path / "a.plan")
        assert [one.file for one in caught.value.problems] == [f"room {sim.room_ids[i]}" for i in (1, 3)]
        summary = await make_plan(client, wanted, tmp_path / "a.plan", skip_invalid=True)
    assert (summary.rooms, summary.unchanged, summary.not_concerned, summary.invalid) == (3, 0, 0, 2)
    assert "secret" not in str(summary)


async def test_rows_of_rooms_that_do_not_exist_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    async with RoomsSimulator(rooms=1) as sim, client_of(sim) as client:
        path.write_text(f"id,max_participants\n{sim.room_ids[0]},20\n{ROOM_ID},20\nx,20\n")
        with await asyncio.to_thread(read_rows, path, skip_invalid=True) as rows:
            summary = await make_plan(client, rows, tmp_path / "a.plan", skip_invalid=True)
    assert (summary.rooms, summary.invalid) == (1, 2)
    assert [(one.line, one.code) for one in summary.invalid_problems] == [(3, "room_not_found"), (4, "not_a_uuid")]


async def test_all_problems_of_rooms_that_were_left_out_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    async with RoomsSimulator(rooms=1) as sim, client_of(sim) as client:
        path.write_text(f"id,max_participants\n{sim.room_ids[0]},20\n" + "x,20\n" * 1500)
        with await asyncio.to_thread(read_rows, path, skip_invalid=True) as rows:
            summary = await make_plan(client, rows, tmp_path / "a.plan", skip_invalid=True)
    assert summary.invalid == 1500
    assert len(summary.invalid_problems) == 1001
    assert str(summary.invalid_problems[-1]).endswith("500 more problems are not shown")


async def test_a_name_that_a_spreadsheet_may_have_converted_is_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    async with RoomsSimulator(rooms=3) as sim, client_of(sim) as client:
        one, two, three = sim.room_ids
        sim.change_room(one, unique_name="00123")
        sim.change_room(two, unique_name="Zo\u0065\u0308")
        path.write_text(f"id,unique_name\n{one},123\n{two},Zo\u00eb\n{three},new\n")
        with await asyncio.to_thread(read_rows, path) as rows:
            summary = await make_plan(client, rows, tmp_path / "a.plan")
    assert (summary.rooms, summary.warnings) == (3, 2)
    looks_the_same = "which looks the same, but has other Unicode characters"
    assert summary.first_warnings == [
        f"line 2: room {one} gets the name '123' instead of '00123'; a spreadsheet may have converted it",
        f"line 3: room {two} gets the name 'Zo\u00eb' instead of 'Zo\u0065\u0308', {looks_the_same}",
    ]


def test_a_room_is_not_found_by_a_name_that_only_looks_the_same(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("room,max_participants\nZo\u00eb,20\n")
    with read_rows(path) as rows:
        assert rows.change_of(Room(id=ROOM_ID, unique_name="Zo\u0065\u0308")) is None
        (problem,) = rows.not_met()
    assert problem.message == (
        f"the account has no room with the name 'Zo\u00eb'; the name of room {ROOM_ID} looks the same, but has other "
        "Unicode characters; give the id"
    )


@pytest.mark.parametrize(
    ("old", "message"),
    [
        ("hoks.example.com", "no room has the host 'hoks.example.com'; did you mean hooks.example.com (3 rooms)?"),
        ("old.test", "no room has the host 'old.test'; the most frequent hosts are hooks.example.com (3 rooms)"),
    ],
)
async def test_a_rewrite_of_a_host_that_no_room_has_is_a_problem(tmp_path: Path, old: str, message: str) -> None:
    async with RoomsSimulator(rooms=3) as sim, client_of(sim) as client:
        for room_id in sim.room_ids:
            sim.change_room(room_id, webhook_event_url="https://hooks.example.com/x", webhook_event_failover_url=None)
        for skip in (False, True):
            with pytest.raises(BulkInputError) as caught:
                wanted = select(rewrite_webhook_host=[f"{old}=new.example.com"])
                await make_plan(client, wanted, tmp_path / "a.plan", skip_invalid=skip)
            assert [str(one) for one in caught.value.problems] == [f"rewrite_webhook_host: {message}"]
        wanted = select(where=["name=none"], rewrite_webhook_host=["hooks.example.com=new.example.com"])
        with pytest.raises(BulkInputError, match="no room that meets the conditions .* 3 rooms of the account have"):
            await make_plan(client, wanted, tmp_path / "a.plan")


async def test_a_rewrite_that_was_applied_already_makes_an_empty_plan(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=3) as sim, client_of(sim) as client:
        for room_id, host in zip(sim.room_ids, ("new", "new", "other"), strict=True):
            url = f"https://{host}.example.com/x"
            sim.change_room(room_id, webhook_event_url=url, webhook_event_failover_url=None)
        wanted = select(rewrite_webhook_host=["old.example.com=new.example.com"])
        summary = await make_plan(client, wanted, tmp_path / "a.plan")
    assert (summary.rooms, summary.unchanged, summary.not_concerned) == (0, 2, 1)
    (warning,) = summary.first_warnings
    assert warning == (
        "no selected room has the host 'old.example.com', but some have new.example.com already; "
        "did you mean new.example.com (2 rooms), other.example.com (1 room)?"
    )


@pytest.mark.parametrize("new", ["new host", "new..example.com", "https://", "new.example.com:99999", "-x.example.com"])
def test_a_bad_new_host_is_one_problem(new: str) -> None:
    with pytest.raises(BulkInputError) as caught:
        select(rewrite_webhook_host=[f"old.example.com={new}"])
    assert len(caught.value.problems) == 1


async def test_conditions_select_rows_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    async with RoomsSimulator(rooms=4) as sim, client_of(sim) as client:
        path.write_text("id,max_participants\n" + "".join(f"{room_id},20\n" for room_id in sim.room_ids))
        with await asyncio.to_thread(read_rows, path, where=["name!=room-000002", f"id!={sim.room_ids[0]}"]) as rows:
            summary = await make_plan(client, rows, tmp_path / "a.plan")
    assert (summary.rooms, summary.not_concerned) == (2, 2)
    with pytest.raises(BulkInputError, match="^where: 'nam=x' is not a condition"):
        await asyncio.to_thread(read_rows, path, where=["nam=x"])


async def test_the_totals_of_a_plan_add_up_to_the_account(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    async with RoomsSimulator(rooms=12) as sim, client_of(sim) as client:
        rooms = sim.room_ids
        for number, room_id in enumerate(rooms):
            sim.change_room(room_id, max_participants=20 if number < 3 else 10)
        sim.change_room(rooms[11], unique_name="taken")
        rows = [f"{room_id},20,on," for room_id in rooms[:6]]
        rows += [f"{rooms[6]},many,maybe,", f"{rooms[7]},99,on,", f"{rooms[8]},20,on,taken", f"{rooms[9]},20,x,NULL"]
        path.write_text("id,max_participants,enable_recording,unique_name\n" + "\n".join(rows) + "\n")
        for room_id in rooms[:3]:
            sim.change_room(room_id, enable_recording=True)
        with await asyncio.to_thread(read_rows, path, defer_values=True, skip_invalid=True) as read:
            summary = await make_plan(client, read, tmp_path / "a.plan", skip_invalid=True)
    assert (summary.rooms, summary.unchanged, summary.not_concerned, summary.invalid) == (3, 3, 2, 4)
    assert sorted(one.line or 0 for one in summary.invalid_problems) == [8, 8, 9, 10, 11, 11]
