"""Plan files: what gets into one, and that nothing is taken for a plan that isn't one, or is not as it was made."""

import asyncio
import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import UUID

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiorooms import Room, RoomUpdate
from aiorooms.bulk import (
    BulkInputError,
    Change,
    Difference,
    InputProblem,
    Plan,
    PlanFileError,
    PlannedUpdate,
    make_plan,
    select,
    verify,
)
from aiorooms.bulk._index import LineIndex
from aiorooms.bulk._plan_records import PLANNED
from aiorooms.bulk._plan_writer import PlanWriter, new_plan
from aiorooms.bulk._planning import plan_room
from aiorooms.bulk._verify import plan_index
from aiorooms.simulator import RoomsSimulator

from .conftest import client_of, files_in, plan_of

ID = "7b61621f-62e0-4aad-ab11-9fd19e272e73"
URL = "https://hooks.example.com/rooms"


def room(**fields: Any) -> Room:
    return Room(id=ID, unique_name="one", **fields)


def planned(number: int = 0) -> PlannedUpdate:
    return PlannedUpdate(
        room_id=str(UUID(int=number)),
        unique_name=f"räum-{number}",
        updated_at=datetime(2024, 5, 1, 6, 7, 8, 9, tzinfo=UTC),
        before={"max_participants": 10},
        after={"max_participants": 20},
    )


def write_plan(path: Path, count: int = 3) -> Plan:
    with new_plan(path, "http://127.0.0.1:1/v2", "rooms.csv") as plan:
        for number in range(count):
            plan.add(planned(number))
        plan.finish(7)
    return Plan.open(path)


# --- what gets into a plan ---


async def test_a_plan_holds_what_really_changes(tmp_path: Path) -> None:
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


async def test_an_account_is_read_by_the_page_and_rooms_are_counted_as_they_come(tmp_path: Path) -> None:
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
            None,  # the server may normalise what it is sent
        ),
        (
            room(webhook_event_url="https://a.example.com/A"),
            RoomUpdate(webhook_event_url="https://a.example.com/a"),
            {"webhook_event_url": "https://a.example.com/a"},
        ),
        (room(), RoomUpdate(), None),
    ],
)
def test_only_what_differs_is_a_change(present: Room, update: RoomUpdate, after: object) -> None:
    change = plan_room(present, update)
    assert (None if change is None else change.after) == after
    if change is not None:
        assert change.before == {name: getattr(present, name) for name in change.after}


def test_a_room_that_never_had_a_url_has_not_changed_if_it_has_none_now() -> None:
    change = attrs.evolve(planned(), updated_at=None, before={"webhook_event_failover_url": ""})
    assert not change.has_changed(room(webhook_event_failover_url=None))
    assert not change.has_changed(room(webhook_event_failover_url=""))
    assert change.has_changed(room(webhook_event_failover_url=URL))


@attrs.frozen
class ByHand:
    """What somebody else may give to `make_plan`."""

    changes: dict[str, Change]
    missing: tuple[InputProblem, ...] = ()
    source: str = "rooms.csv"

    def change_of(self, room: Room) -> Change | None:
        return self.changes.get(room.id or "")

    def not_met(self) -> Iterator[InputProblem]:
        return iter(self.missing)


async def test_what_is_made_by_hand_can_be_planned_too(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=3) as sim, client_of(sim) as client:
        first, second, _ = sim.room_ids
        changes = {first: Change(RoomUpdate(unique_name="other"), 2), second: Change(RoomUpdate(), 3)}
        summary = await make_plan(client, ByHand(changes), tmp_path / "a.plan")
        assert (summary.rooms, summary.unchanged) == (1, 1)
        (one,) = Plan.open(tmp_path / "a.plan").updates()
        assert (one.before, one.after) == ({"unique_name": "room-000001"}, {"unique_name": "other"})


async def test_all_that_can_not_be_planned_is_said_at_once_and_no_file_is_left(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=1) as sim, client_of(sim) as client:
        (first,) = sim.room_ids
        second = sim.add_room(webhook_event_failover_url=URL)
        changes = {
            first: Change(RoomUpdate(webhook_event_failover_url="https://old.example.com/rooms"), 2),
            second: Change(RoomUpdate(webhook_event_url=URL), 3),
        }
        missing = (InputProblem("rooms.csv", 9, "room_id", "no such room"),)
        with pytest.raises(BulkInputError) as caught:
            await make_plan(client, ByHand(changes, missing), tmp_path / "a.plan")
        assert [(one.line, one.field) for one in caught.value.problems] == [
            (2, "webhook_event_failover_url"),
            (3, "webhook_event_url"),
            (9, "room_id"),
        ]
        assert "would have 'https://old.example.com/rooms' as webhook URL and as failover URL" in str(caught.value)
        assert files_in(tmp_path) == []


async def test_rooms_that_already_have_one_url_twice_can_be_changed_otherwise(tmp_path: Path) -> None:
    async with RoomsSimulator() as sim, client_of(sim) as client:
        sim.add_room(webhook_event_url=URL, webhook_event_failover_url=URL)
        assert (await plan_of(client, tmp_path)).rooms == 1


async def test_the_problems_of_all_selected_rooms_are_said_at_once(tmp_path: Path) -> None:
    async with RoomsSimulator() as sim, client_of(sim) as client:
        for number in range(3):
            sim.add_room(webhook_event_url=f"https://old.example.com/a b/{number}")
        with pytest.raises(BulkInputError) as caught:
            await make_plan(
                client, select(rewrite_webhook_host=["old.example.com=new.example.com"]), tmp_path / "a.plan"
            )
        assert [one.file for one in caught.value.problems] == [f"room {room_id}" for room_id in sim.room_ids]
        assert {one.field for one in caught.value.problems} == {"webhook_event_url"}


async def test_problems_without_number_are_counted(tmp_path: Path) -> None:
    async with RoomsSimulator() as sim, client_of(sim) as client:
        missing = tuple(InputProblem("rooms.csv", line, None, "no such room") for line in range(1500))
        with pytest.raises(BulkInputError) as caught:
            await make_plan(client, ByHand({}, missing), tmp_path / "a.plan")
        assert len(caught.value.problems) == 1001
        assert str(caught.value.problems[-1]) == "rooms.csv: 500 more problems are not shown"


async def test_a_list_that_fails_leaves_no_file(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=3) as sim, client_of(sim) as client:
        (tmp_path / "a.plan").write_text("the one before")
        sim.api_key = "another"
        with pytest.raises(Exception, match="401"):
            await plan_of(client, tmp_path)
        assert files_in(tmp_path) == ["a.plan"]
        assert (tmp_path / "a.plan").read_text() == "the one before"


# --- where it can't be written ---


@pytest.mark.parametrize(
    ("place", "reason"),
    [("no/such/folder/a.plan", "No such file or directory"), ("folder", "Is a directory"), ("file/a.plan", "Not a di")],
)
async def test_a_place_that_can_not_be_written_is_told_before_anything_is_read(
    tmp_path: Path, place: str, reason: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    async with RoomsSimulator(rooms=3) as sim, client_of(sim) as client:
        with pytest.raises(PlanFileError, match=rf"the plan '.*' can't be written: {reason}") as caught:
            await plan_of(client, tmp_path, name=place)
        assert "\n" not in str(caught.value)
        assert sim.stats.requests == 0
    assert files_in(tmp_path) == ["file", "folder"]


def test_a_full_disk_leaves_no_plan_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(BytesIO):
        def __init__(self, number: int, *_: object) -> None:
            super().__init__()
            os.close(number)

        def write(self, data: Any, /) -> int:
            if self.tell() > 1000:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(data)

    monkeypatch.setattr(os, "fdopen", Full)
    with pytest.raises(PlanFileError, match=r"the plan '.*' can't be written: No space left on device"):
        write_plan(tmp_path / "a.plan", 100)
    assert files_in(tmp_path) == []


def test_a_plan_may_be_read_by_whom_the_umask_lets(tmp_path: Path) -> None:
    mask = os.umask(0o027)
    try:
        write_plan(tmp_path / "a.plan")
    finally:
        os.umask(mask)
    assert (tmp_path / "a.plan").stat().st_mode & 0o777 == 0o640


# --- reading ---


def test_what_was_written_is_read(tmp_path: Path) -> None:
    plan = write_plan(tmp_path / "a.plan")
    assert [*plan.updates()] == [planned(number) for number in range(3)]
    assert (plan.rooms, plan.unchanged, plan.source) == (3, 7, "rooms.csv")
    assert UUID(plan.plan_id).version == 4
    assert datetime.fromisoformat(plan.created_at).tzinfo is not None
    first, *_, last = (json.loads(line) for line in (tmp_path / "a.plan").read_text(encoding="utf-8").splitlines())
    assert first["aiorooms_plan"] == 1
    latest = "2024-05-01T06:07:08.000009Z"
    assert last == {"rooms": 3, "unchanged": 7, "latest_update": latest, "sha256": plan.sha256}
    assert plan.latest_update == datetime.fromisoformat(latest)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not a plan; make_plan() writes one"),
        (b"room_id,max_participants\n", "is not a plan"),
        (b'{"aiorooms_journal":1}\n', "is not a plan"),
        (b"[1]\n", "is not a plan"),
        (b"\xff\xfe\x00\n", "is not a plan"),
        (b'{"aiorooms_plan":2}\n', "is of version 2, which takes a newer aiorooms"),
        (b'{"aiorooms_plan":"1"}\n', "is of version '1'"),
        (b'{"aiorooms_plan":1}\n', "is incomplete, its last line is missing; plan again"),
        (b'{"aiorooms_plan":1}\n{"rooms":0,"unchanged":0,"sha256":"x"}\n', "was changed after it was made"),
        (b'{"aiorooms_plan":1}\n{"sha256":"SUM"}\n', "was changed after it was made"),
        (b'{"aiorooms_plan":1}\n{"rooms":0,"unchanged":0,"sha256":"SUM"}\n', "was changed after it was made"),
    ],
)
def test_what_is_no_plan_is_refused_in_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.plan"
    path.write_bytes(content.replace(b"SUM", hashlib.sha256(content.split(b"\n")[0] + b"\n").hexdigest().encode()))
    with pytest.raises(PlanFileError) as caught:
        Plan.open(path)
    assert message in str(caught.value)
    assert "a.plan" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_directory_and_nothing_at_all_are_no_plans(tmp_path: Path) -> None:
    with pytest.raises(PlanFileError, match=r"the plan '.*' can't be read: Is a directory"):
        Plan.open(tmp_path)
    with pytest.raises(PlanFileError, match=r"the plan '.*a.plan' can't be read: No such file or directory"):
        Plan.open(tmp_path / "a.plan")


@given(data=st.data())
def test_a_plan_is_refused_if_one_byte_is_another(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.plan")
        write_plan(path)
        content = bytearray(path.read_bytes())
        last_line = content.rindex(b"\n", 0, -1) + 1
        # Half of the time in the last line, in which the checksum stands.
        place = data.draw(st.integers(0, len(content) - 1) | st.integers(last_line, len(content) - 1))
        byte = data.draw(st.integers(0, 255).filter(lambda byte: byte != content[place]))
        content[place] = byte
        path.write_bytes(content)
        with pytest.raises(PlanFileError):
            Plan.open(path)


@given(data=st.data())
def test_a_plan_is_refused_if_a_piece_is_missing_or_added(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.plan")
        write_plan(path)
        content = path.read_bytes()
        begin = data.draw(st.integers(0, len(content)))
        end = data.draw(st.integers(begin, len(content)))
        added = data.draw(st.binary(max_size=20) | st.just(content[begin:end] * 2))
        changed = content[:begin] + added + content[end:]
        if changed != content:
            path.write_bytes(changed)
            with pytest.raises(PlanFileError):
                Plan.open(path)


def test_a_plan_that_is_put_in_the_place_of_one_that_was_opened_is_not_used(tmp_path: Path) -> None:
    plan = write_plan(tmp_path / "a.plan")
    write_plan(tmp_path / "a.plan", 5)
    with closing(plan.open_file()) as file:
        for use in (lambda: plan_index(plan, file), lambda: list(plan.updates())):
            with pytest.raises(PlanFileError, match="was changed after it was opened; open it again"):
                use()


def test_a_plan_that_vanishes_is_told_in_one_line(tmp_path: Path) -> None:
    plan = write_plan(tmp_path / "a.plan")
    plan.path.unlink()
    for use in (plan.open_file, lambda: list(plan.updates())):
        with pytest.raises(PlanFileError, match=r"the plan '.*a.plan' can't be read: No such file or directory"):
            use()


# --- the index ---


@given(
    numbers=st.sets(st.integers(0, 2**128 - 1) | st.integers(0, 20), max_size=30),
    asked=st.lists(st.integers(0, 20) | st.integers(0, 2**128 - 1), max_size=30),
)
def test_the_index_finds_each_room_of_the_plan_once(numbers: set[int], asked: list[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.plan")
        with new_plan(path, "http://127.0.0.1:1/v2", "x") as writer:
            for number in sorted(numbers, key=hash):
                writer.add(planned(number))
            writer.finish(0)
        plan = Plan.open(path)
        with closing(plan.open_file()) as file:
            index = plan_index(plan, file)
            left = set(numbers)
            for number in [*asked, *numbers][: len(asked) + len(numbers) // 2]:
                room_id = str(UUID(int=number))
                line = index.take(room_id)
                assert (line is not None) == (number in left)
                assert (index.find(room_id) is not None) == (number in numbers)
                if line is not None:
                    assert PLANNED.read(line) == planned(number)
                left.discard(number)
            in_order = [str(UUID(int=number)) for number in sorted(numbers, key=hash) if number in left]
            assert [PLANNED.read(line).room_id for line in index.left()] == in_order
            assert index.take("not-a-uuid") is None
            assert [*index.twice()] == []


@given(keys=st.lists(st.sampled_from(["a", "b", "name a", "\ud800", "", "é"]), max_size=12))
def test_the_index_says_which_keys_stand_twice(keys: list[str]) -> None:
    index = LineIndex(BytesIO(b"".join(b"%d\n" % number for number in range(10, 10 + len(keys)))))
    for number, key in enumerate(keys):
        index.add(key, 3 * number)
    index.sort()
    first = {key: 3 * keys.index(key) for key in keys}
    expected = [(first[key], 3 * number) for number, key in enumerate(keys) if first[key] != 3 * number]
    assert sorted(index.twice(), key=lambda pair: pair[1]) == expected
    for key, place in first.items():
        assert index.find(key) == index.line_at(place)


def test_a_line_of_a_room_is_as_it_was_written() -> None:
    file = BytesIO()
    PlanWriter(file, "http://127.0.0.1:1/v2", "x").add(planned())
    assert PLANNED.read(file.getvalue().splitlines()[1]) == planned()


# --- verify ---


async def test_verify_gives_what_differs_from_the_plan(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=4) as sim, client_of(sim) as client:
        first, second, third, fourth = sim.room_ids
        plan = await plan_of(client, tmp_path, "max_participants=20", "enable_recording=on")
        sim.change_room(first, max_participants=20, enable_recording=True)
        sim.change_room(second, max_participants=20)
        sim.remove_room(third)
        found = {one.room_id: one async for one in verify(client, plan)}
        both = {"max_participants": 20, "enable_recording": True}
        assert found == {
            second: Difference(
                room_id=second,
                unique_name="room-000002",
                wanted={"enable_recording": True},
                found={"enable_recording": False},
            ),
            third: Difference(room_id=third, unique_name="room-000003", wanted=both, found=None),
            fourth: Difference(
                room_id=fourth,
                unique_name="room-000004",
                wanted=both,
                found={"max_participants": 10, "enable_recording": False},
            ),
        }


async def test_verify_does_not_compare_with_another_server(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=1) as sim, client_of(sim) as client, RoomsSimulator() as other:
        plan = await plan_of(client, tmp_path)
        async with client_of(other) as elsewhere:
            with pytest.raises(PlanFileError, match=r"was made for http://.*, not for http://"):
                await anext(verify(elsewhere, plan))
        assert other.stats.requests == 0


async def test_leaving_verify_early_leaves_nothing_open(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=3) as sim, client_of(sim) as client:
        differences = verify(client, await plan_of(client, tmp_path))
        await anext(differences)
        await differences.aclose()
        await asyncio.sleep(0)
