"""Planning: which rooms and fields a plan contains, and which problems are reported."""

from datetime import datetime
from pathlib import Path
from typing import Any

import attrs
import pytest

from aiorooms import Room, RoomUpdate
from aiorooms.bulk import (
    BulkInputError,
    Change,
    InputProblem,
    Plan,
    apply,
    make_plan,
    select,
)
from aiorooms.bulk._planning import plan_room
from aiorooms.simulator import RoomsSimulator

from ..samples import ROOM_ID
from .conftest import (
    FixedChanges,
    client_of,
    collect,
    counts,
    files_in,
    odd_answers,
    odd_lists,
    plan_of,
    planned,
    read_backs,
)

URL = "https://hooks.example.com/rooms"


def room(**fields: Any) -> Room:
    return Room(id=ROOM_ID, unique_name="one", **fields)


async def test_a_plan_contains_only_rooms_and_fields_that_change(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=3) as sim, client_of(sim) as client:
        first, second, third = sim.room_ids
        sim.change_room(second, max_participants=20)
        sim.change_room(third, webhook_event_failover_url=None)
        wanted = select(set_fields=["max_participants=20", "webhook_event_failover_url=null"])
        summary = await make_plan(client, wanted, tmp_path / "a.plan")
        plan = Plan.open(tmp_path / "a.plan")
        assert (summary.plan_id, summary.rooms, summary.unchanged) == (plan.plan_id, 2, 1)
        assert (plan.rooms, plan.unchanged, plan.base_url) == (2, 1, sim.url)
        assert plan.source == "set max_participants=20, set webhook_event_failover_url=null"
        one, other = plan.updates()
        assert (one.room_id, one.unique_name, other.room_id) == (first, "room-000001", third)
        assert (one.before, one.after) == ({"max_participants": 10}, {"max_participants": 20})
        assert one.updated_at == datetime.fromisoformat(str(sim.rooms[first]["updated_at"]))
        assert sim.stats.by_method == {"GET": 1}


async def test_the_account_is_read_in_pages_and_on_room_is_called_for_each_room(tmp_path: Path) -> None:
    read: list[None] = []
    async with RoomsSimulator(rooms=600) as sim, client_of(sim) as client:
        wanted = select(where=["name=room-0005*"], set_fields=["enable_recording=on"])
        summary = await make_plan(client, wanted, tmp_path / "a.plan", on_room=lambda: read.append(None))
        assert (summary.rooms, len(read)) == (100, 600)
        assert sim.stats.requests == 3


@pytest.mark.parametrize(
    ("present", "update", "after"),
    [
        (room(max_participants=10), RoomUpdate(max_participants=10), None),
        (room(max_participants=10), RoomUpdate(max_participants=11), {"max_participants": 11}),
        (room(webhook_event_failover_url=""), RoomUpdate(webhook_event_failover_url=None), None),
        (room(webhook_event_failover_url=None), RoomUpdate(webhook_event_failover_url=None), None),
        (
            room(webhook_event_failover_url=URL),
            RoomUpdate(webhook_event_failover_url=None),
            {"webhook_event_failover_url": None},
        ),
        (room(webhook_timeout_secs=0), RoomUpdate(webhook_timeout_secs=None), {"webhook_timeout_secs": None}),
        (room(enable_recording=None), RoomUpdate(enable_recording=False), {"enable_recording": False}),
        (
            room(webhook_event_url="https://A.example.com"),
            RoomUpdate(webhook_event_url="https://a.example.com/"),
            None,  # the server may have normalised the URL
        ),
        (
            room(webhook_event_url="https://a.example.com/A"),
            RoomUpdate(webhook_event_url="https://a.example.com/a"),
            {"webhook_event_url": "https://a.example.com/a"},
        ),
        (room(), RoomUpdate(), None),
    ],
)
def test_only_fields_that_differ_are_planned(present: Room, update: RoomUpdate, after: object) -> None:
    change = plan_room(present, update)
    assert (None if change is None else change.after) == after
    if change is not None:
        assert change.before == {name: getattr(present, name) for name in change.after}


def test_an_empty_url_and_a_null_url_are_equal() -> None:
    change = attrs.evolve(planned(), updated_at=None, before={"webhook_event_failover_url": ""})
    assert not change.has_changed(room(webhook_event_failover_url=None))
    assert not change.has_changed(room(webhook_event_failover_url=""))
    assert change.has_changed(room(webhook_event_failover_url=URL))


async def test_make_plan_accepts_any_object_that_implements_wanted(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=3) as sim, client_of(sim) as client:
        first, second, _ = sim.room_ids
        changes = {first: Change(RoomUpdate(unique_name="other"), 2), second: Change(RoomUpdate(), 3)}
        summary = await make_plan(client, FixedChanges(changes), tmp_path / "a.plan")
        assert (summary.rooms, summary.unchanged) == (1, 1)
        (one,) = Plan.open(tmp_path / "a.plan").updates()
        assert (one.before, one.after) == ({"unique_name": "room-000001"}, {"unique_name": "other"})


async def test_all_problems_are_reported_together_and_no_file_is_left(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=1) as sim, client_of(sim) as client:
        (first,) = sim.room_ids
        second = sim.add_room(webhook_event_failover_url=URL)
        changes = {
            first: Change(RoomUpdate(webhook_event_failover_url="https://old.example.com/rooms"), 2),
            second: Change(RoomUpdate(webhook_event_url=URL), 3),
        }
        missing = (InputProblem("rooms.csv", 9, "room_id", "no such room"),)
        with pytest.raises(BulkInputError) as caught:
            await make_plan(client, FixedChanges(changes, missing), tmp_path / "a.plan")
        assert [(one.line, one.field) for one in caught.value.problems] == [
            (2, "webhook_event_failover_url"),
            (3, "webhook_event_url"),
            (9, "room_id"),
        ]
        assert "would have 'https://old.example.com/rooms' as webhook URL and as failover URL" in str(caught.value)
        assert files_in(tmp_path) == []


async def test_other_fields_of_a_room_with_equal_urls_can_be_changed(tmp_path: Path) -> None:
    async with RoomsSimulator() as sim, client_of(sim) as client:
        sim.add_room(webhook_event_url=URL, webhook_event_failover_url=URL)
        assert (await plan_of(client, tmp_path)).rooms == 1


async def test_the_problems_of_all_selected_rooms_are_reported_together(tmp_path: Path) -> None:
    async with RoomsSimulator() as sim, client_of(sim) as client:
        for number in range(3):
            sim.add_room(webhook_event_url=f"https://old.example.com/a b/{number}")
        with pytest.raises(BulkInputError) as caught:
            await make_plan(
                client, select(rewrite_webhook_host=["old.example.com=new.example.com"]), tmp_path / "a.plan"
            )
        assert [one.file for one in caught.value.problems] == [f"room {room_id}" for room_id in sim.room_ids]
        assert {one.field for one in caught.value.problems} == {"webhook_event_url"}


async def test_problems_after_the_first_1000_are_only_counted(tmp_path: Path) -> None:
    async with RoomsSimulator() as sim, client_of(sim) as client:
        missing = tuple(InputProblem("rooms.csv", line, None, "no such room") for line in range(1500))
        with pytest.raises(BulkInputError) as caught:
            await make_plan(client, FixedChanges({}, missing), tmp_path / "a.plan")
        assert len(caught.value.problems) == 1001
        assert str(caught.value.problems[-1]) == "rooms.csv: 500 more problems are not shown"


async def test_an_existing_plan_is_kept_if_the_account_can_not_be_listed(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=3) as sim, client_of(sim) as client:
        (tmp_path / "a.plan").write_text("the one before")
        sim.api_key = "another"
        with pytest.raises(Exception, match="401"):
            await plan_of(client, tmp_path)
        assert files_in(tmp_path) == ["a.plan"]
        assert (tmp_path / "a.plan").read_text() == "the one before"


# -- Values that can't be read

FAILOVER = "https://failover.example.com/rooms"

UNREADABLE = {
    "a field that changes": ({"max_participants": "10"}, ("max_participants=20",)),
    "a missing field that changes": ({"max_participants": None}, ("max_participants=20",)),
    "the other URL": ({"webhook_event_failover_url": 5}, (f"webhook_event_url={URL}",)),
    "the time of the last modification": ({"updated_at": "yesterday"}, ("max_participants=20",)),
}


@pytest.mark.parametrize(("odd", "edits"), UNREADABLE.values(), ids=UNREADABLE)
async def test_a_room_whose_values_in_the_list_can_not_be_read_is_read_again(
    tmp_path: Path, odd: dict[str, Any], edits: tuple[str, ...]
) -> None:
    async with RoomsSimulator(rooms=3) as sim, client_of(sim) as client:
        for room_id in sim.room_ids:
            sim.change_room(room_id, webhook_event_failover_url=FAILOVER)
        expected = [*(await plan_of(client, tmp_path, *edits)).updates()]
        sim.record = True
        with odd_lists(sim, sim.room_ids[:1], **odd):
            plan = await plan_of(client, tmp_path, *edits)
        assert [*plan.updates()] == expected
        assert read_backs(sim) == {sim.room_ids[0]: 1}
        assert counts(await collect(apply(client, plan, tmp_path / "a.journal"))) == {"updated": 3}


async def test_a_url_in_the_list_that_can_not_be_read_is_rewritten_too(tmp_path: Path) -> None:
    wanted = select(rewrite_webhook_host=["old.example.com=new.example.com"])
    async with RoomsSimulator(rooms=2) as sim, client_of(sim) as client:
        with odd_lists(sim, sim.room_ids, webhook_event_url=5):
            assert (await make_plan(client, wanted, tmp_path / "a.plan")).rooms == 2
        with odd_answers(sim, webhook_event_url=5), pytest.raises(BulkInputError) as caught:
            await make_plan(client, wanted, tmp_path / "b.plan")
        assert [str(problem) for problem in caught.value.problems] == [
            f"room {room_id}, webhook_event_url: the server's answer has no readable webhook_event_url; try again later"
            for room_id in sim.room_ids
        ]
    assert files_in(tmp_path) == ["a.plan"]


@pytest.mark.parametrize("edit", [f"webhook_event_failover_url={FAILOVER}", f"webhook_event_url={URL}"])
async def test_an_old_value_that_can_never_be_read_is_a_problem_that_names_the_field(tmp_path: Path, edit: str) -> None:
    async with RoomsSimulator(rooms=101) as sim, client_of(sim) as client:
        sim.record = True
        with odd_answers(sim, webhook_event_failover_url=5), pytest.raises(BulkInputError) as caught:
            await plan_of(client, tmp_path, edit)
        assert len(caught.value.problems) == 101
        assert read_backs(sim).total() == 100, "the rooms are read again and again in vain"
        problem, room_id = caught.value.problems[0], sim.room_ids[0]
        assert (problem.code, problem.field) == ("room_unreadable", "webhook_event_failover_url")
        name = "webhook_event_failover_url"
        assert problem.message == f"room {room_id}: the server's answer has no readable {name}; try again later"
        # The other fields can still be changed.
        with odd_answers(sim, webhook_event_failover_url=5):
            assert (await plan_of(client, tmp_path, "max_participants=20")).rooms == 101
    assert files_in(tmp_path) == ["a.plan"]


async def test_a_room_that_was_deleted_before_it_is_read_again_is_not_planned(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=3) as sim, client_of(sim) as client:
        with odd_lists(sim, sim.room_ids[1:2], max_participants="10"):
            gone = sim.room_ids[1]

            def remove() -> None:
                if gone in sim.rooms:
                    sim.remove_room(gone)

            wanted = select(set_fields=["max_participants=20"])
            assert (await make_plan(client, wanted, tmp_path / "a.plan", on_room=remove)).rooms == 2
