"""Conflicts: rooms whose planned fields someone else changed are not updated, except with `force`."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiorooms import Room, RoomUpdate
from aiorooms.bulk import (
    Change,
    Journal,
    Outcome,
    Plan,
    PlannedUpdate,
    apply,
    make_plan,
    resume,
    select,
)
from aiorooms.bulk._plan_records import TOTALS, Checksum, contested_fields
from aiorooms.models._fields import differing, has_fields
from aiorooms.simulator import FaultKind, RoomsSimulator

from ..conftest import plan_file, tasks_left
from .conftest import (
    FixedChanges,
    account,
    by_room,
    client_of,
    collect,
    counts,
    handwritten_journal,
    in_format_1,
    odd_answers,
    odd_lists,
    patches,
    plan_of,
    read_backs,
    rooms_to_change,
    states,
)


async def test_a_room_modified_after_the_plan_was_made_is_a_conflict_and_is_not_updated(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=5) as sim, client_of(sim) as client:
        changed, same, *_ = sim.room_ids
        plan = await plan_of(client, tmp_path)
        sim.change_room(changed, max_participants=30)
        sim.change_room(same, max_participants=20)  # someone else has made the planned change
        sim.record = True
        outcomes = by_room(await collect(apply(client, plan, tmp_path / "a.journal")))
        assert counts([*outcomes.values()]) == {"conflict": 1, "updated": 4}
        error = outcomes[changed].error
        assert error is not None
        assert error.startswith(f"room {changed} was modified by someone else at 20")
        assert error.endswith("Z, after the plan was made (max_participants)")
        assert (outcomes[same].found, outcomes[same].attempts) == (True, 0)
        assert not {changed, same} & patches(sim).keys()
        assert read_backs(sim) == {}
        assert sim.rooms[changed]["max_participants"] == 30
        # `resume` sends the conflicting update only with `force`.
        assert await collect(resume(client, tmp_path / "a.journal")) == []
        assert counts(await collect(resume(client, tmp_path / "a.journal", force=True))) == {"updated": 1}
        assert sim.rooms[changed]["max_participants"] == 20


URL, OTHER, FAILOVER = (f"https://{name}.example.com/rooms" for name in ("new", "other", "failover"))

MODIFICATIONS: Mapping[str, tuple[Sequence[str], Mapping[str, Any], str]] = {
    "a planned field": (["max_participants=20"], {"max_participants": 30}, "conflict"),
    "one of two planned fields": (
        ["max_participants=20", "webhook_timeout_secs=5"],
        {"webhook_timeout_secs": 6},
        "conflict",
    ),
    "a planned field that had no value": (["webhook_timeout_secs=5"], {"webhook_timeout_secs": 6}, "conflict"),
    "a planned URL": ([f"webhook_event_url={URL}"], {"webhook_event_url": OTHER}, "conflict"),
    "the failover URL, if the webhook URL is planned": (
        [f"webhook_event_url={URL}"],
        {"webhook_event_failover_url": OTHER},
        "conflict",
    ),
    "the webhook URL, if the failover URL is planned": (
        [f"webhook_event_failover_url={FAILOVER}"],
        {"webhook_event_url": OTHER},
        "conflict",
    ),
    "the failover URL, if both URLs are planned": (
        [f"webhook_event_url={URL}", f"webhook_event_failover_url={FAILOVER}"],
        {"webhook_event_failover_url": OTHER},
        "conflict",
    ),
    "another field": (["max_participants=20"], {"enable_recording": True}, "noted"),
    "another field, if a URL is planned": ([f"webhook_event_url={URL}"], {"max_participants": 30}, "noted"),
    "a URL, if no URL is planned": (["max_participants=20"], {"webhook_event_url": OTHER}, "noted"),
    "the spelling of a planned URL": (
        [f"webhook_event_url={URL}"],
        {"webhook_event_url": "HTTPS://OLD.example.com:443/rooms"},
        "noted",
    ),
    "the spelling of no failover URL": (
        [f"webhook_event_url={URL}"],
        {"webhook_event_failover_url": None},
        "noted",
    ),
    "one of two planned fields, to its planned value": (
        ["max_participants=20", "webhook_timeout_secs=5"],
        {"max_participants": 20},
        "noted",
    ),
    "nothing but updated_at": (["max_participants=20"], {"max_participants": 10}, "noted"),
    "all planned fields, to their planned values": (
        ["max_participants=20", f"webhook_event_url={URL}"],
        {"max_participants": 20, "webhook_event_url": URL},
        "wanted",
    ),
    "the planned field to its planned value, and another field": (
        ["max_participants=20"],
        {"max_participants": 20, "enable_recording": True},
        "wanted",
    ),
}
"""What is planned, what someone else changes after that, and what a run finds."""


@pytest.mark.parametrize("rule", ["fields", "strict", "format 1", "force"])
@pytest.mark.parametrize("is_read_back", [False, True], ids=["listed", "read back"])
@pytest.mark.parametrize("modification", MODIFICATIONS)
async def test_a_modification_is_a_conflict_if_the_update_would_overwrite_it(
    tmp_path: Path, modification: str, is_read_back: bool, rule: str
) -> None:
    planned, modified, finding = MODIFICATIONS[modification]
    async with RoomsSimulator(rooms=3) as sim, client_of(sim) as client:
        plan, path = await plan_of(client, tmp_path, *planned), tmp_path / "a.journal"
        if rule == "format 1":
            plan = in_format_1(plan)
        room_id, *others = sim.room_ids
        sim.change_room(room_id, **modified)
        before = account(sim)[room_id]
        force, strict = rule == "force", rule == "strict"
        if is_read_back:
            await handwritten_journal(client, plan, path, [room_id])
            run = resume(client, path, force=force, strict=strict)
        else:
            run = apply(client, plan, path, force=force, strict=strict)
        sim.record = True
        outcomes = by_room(await collect(run))
        assert {outcomes[other].status for other in others} == {"updated"}
        assert {outcomes[other].note for other in others} == {None}
        outcome = outcomes[room_id]
        expected = "conflict" if finding == "noted" and rule in ("strict", "format 1") else finding
        if rule == "force":
            # Without a list, an update that changes nothing is sent. A room that is read back is compared anyway.
            expected = "wanted" if finding == "wanted" and is_read_back else "forced"
        assert outcome.status == ("conflict" if expected == "conflict" else "updated")
        assert outcome.found == (expected == "wanted")
        assert (outcome.note is not None) == (expected == "noted")
        assert (room_id in patches(sim)) == (expected in ("noted", "forced"))
        if expected == "conflict":
            assert account(sim)[room_id] == before
        else:
            assert room_id not in rooms_to_change(plan, sim)
            assert all(account(sim)[room_id][name] == before[name] for name in before.keys() - names_of(planned))
        if expected == "noted":
            assert str(outcome.note).startswith(f"room {room_id} was modified by someone else at 20")


NUMBERS: st.SearchStrategy[int | None] = st.none() | st.integers(10, 12)
URLS: st.SearchStrategy[str | None] = st.sampled_from([None, "", "https://x.io", "https://X.io/", "https://y.io/"])
SOME_VALUES: st.SearchStrategy[Any] = st.fixed_dictionaries(
    {}, optional={"max_participants": NUMBERS, "webhook_event_url": URLS, "webhook_event_failover_url": URLS}
)


@given(
    values=st.lists(SOME_VALUES, min_size=4, max_size=4),
    unreadable=st.sets(st.sampled_from(["max_participants", "webhook_event_url"])),
)
def test_a_field_is_contested_if_it_has_neither_its_old_nor_its_new_value(
    values: list[dict[str, Any]], unreadable: set[str]
) -> None:
    present, before, after, pair = values
    readable: dict[str, Any] = {name: value for name, value in present.items() if name not in unreadable}
    room = Room(id="r", **readable, unreadable=dict.fromkeys(unreadable, "x"))
    neither = [name for name in differing(room, before) if name in differing(room, after)]
    assert contested_fields(room, before, after, pair) == (*neither, *differing(room, pair))
    assert has_fields(room, after) == (not differing(room, after))


def names_of(planned: Sequence[str]) -> set[str]:
    return {text.partition("=")[0] for text in planned}


async def test_a_conflict_names_the_fields_and_a_strict_conflict_does_not(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=1) as sim, client_of(sim) as client:
        plan = await plan_of(client, tmp_path, "max_participants=20", f"webhook_event_url={URL}")
        sim.change_room(sim.room_ids[0], max_participants=30, webhook_event_failover_url=OTHER)
        (conflict,) = await collect(apply(client, plan, tmp_path / "a.journal"))
        assert str(conflict.error).endswith("after the plan was made (max_participants, webhook_event_failover_url)")
        (conflict,) = await collect(apply(client, plan, tmp_path / "b.journal", strict=True))
        assert str(conflict.error).endswith("after the plan was made")


async def test_only_planned_rooms_are_read_with_a_get_if_the_list_has_a_wrong_value(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=3) as sim, client_of(sim) as client:
        planned, wrong, unplanned = sim.room_ids
        await make_plan(client, select(where=["name!=room-000003"], set_fields=["max_participants=20"]), tmp_path / "p")
        for room_id in (wrong, unplanned):
            sim.change_room(room_id, max_participants="10")
        sim.record = True
        failures: list[FaultKind] = ["500"] * 10
        sim.script(*failures, room_id=wrong)  # the GET fails, and the run goes on without it
        results = await collect(apply(client, Plan.open(tmp_path / "p"), tmp_path / "j"))
        assert [(one.room_id, one.status) for one in results] == [(planned, "updated")]
        read = {request.path.rpartition("/")[2] for request in sim.recorded if request.method == "GET"}
        assert unplanned not in read
        assert wrong in read
        assert tasks_left() == set()


@pytest.mark.parametrize("updated_at", ["yesterday", None], ids=["unreadable", "missing"])
async def test_an_answer_without_updated_at_shows_no_modification(tmp_path: Path, updated_at: str | None) -> None:
    async with RoomsSimulator(rooms=2) as sim, client_of(sim) as client:
        plan = await plan_of(client, tmp_path)
        with odd_answers(sim, updated_at=updated_at):
            outcomes = await collect(apply(client, plan, tmp_path / "a.journal", strict=True))
        assert [(one.status, one.note) for one in outcomes] == [("updated", None)] * 2
        plan, path = await plan_of(client, tmp_path, "max_participants=30"), tmp_path / "b.journal"
        with odd_answers(sim, updated_at=updated_at):
            assert {one.note for one in await collect(apply(client, plan, path))} == {None}


async def test_without_updated_at_a_changed_value_is_a_strict_conflict(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=2) as sim, client_of(sim) as client:
        plan = await plan_of(client, tmp_path, f"webhook_event_url={URL}")
        for room_id, field in zip(sim.room_ids, ("webhook_event_url", "webhook_event_failover_url"), strict=True):
            sim.change_room(room_id, **{field: OTHER})
        with odd_answers(sim, updated_at=None):
            outcomes = await collect(apply(client, plan, tmp_path / "a.journal", strict=True))
        assert counts(outcomes) == {"conflict": 2}


async def test_a_plan_is_compared_with_the_list_although_the_list_has_another_order_and_other_rooms(
    tmp_path: Path,
) -> None:
    async with RoomsSimulator(rooms=30) as sim, client_of(sim) as client:
        rooms = sim.room_ids
        changes = {room_id: Change(RoomUpdate(unique_name=f'"room_id":"{room_id}" ä')) for room_id in rooms[:20]}
        await make_plan(client, FixedChanges(changes), tmp_path / "a.plan")
        header, *lines, totals = (tmp_path / "a.plan").read_bytes().splitlines(keepends=True)
        checksum = Checksum()
        for line in (header, *lines[::-1]):
            checksum.add(line)
        sealed = TOTALS.line(checksum.seal(TOTALS.read(totals)))
        (tmp_path / "a.plan").write_bytes(b"".join((header, *lines[::-1], sealed)))
        for room_id in rooms[::3]:
            sim.change_room(room_id, unique_name=f"theirs {room_id}")
        outcomes = by_room(await collect(apply(client, Plan.open(tmp_path / "a.plan"), tmp_path / "a.journal")))
        assert {room_id for room_id, one in outcomes.items() if one.status == "conflict"} == set(rooms[:20:3])
        assert {room_id for room_id, one in outcomes.items() if one.status == "updated"} == set(rooms[:20]) - set(
            rooms[::3]
        )


async def test_a_room_modified_while_the_plan_is_made_is_a_conflict(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=500) as sim, client_of(sim) as client:
        first, *_, last = sim.room_ids
        read = 0

        def on_room() -> None:
            nonlocal read
            read += 1
            if read == 2:
                sim.change_room(first, max_participants=30)  # after this room was read
                sim.change_room(last, max_participants=30)  # possibly before this room is read

        wanted = FixedChanges({room_id: Change(RoomUpdate(max_participants=20)) for room_id in (first, last)})
        await make_plan(client, wanted, tmp_path / "a.plan", on_room=on_room)
        outcomes = by_room(await collect(apply(client, Plan.open(tmp_path / "a.plan"), tmp_path / "a.journal")))
        assert outcomes[first].status == "conflict"


async def test_a_room_with_an_updated_at_in_the_far_future_does_not_hide_the_changes_of_others(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=3) as sim, client_of(sim) as client:
        changed = sim.room_ids[0]
        sim.add_room(updated_at="9999-12-31T23:59:59.999999Z")
        plan = await plan_of(client, tmp_path)
        sim.change_room(changed, max_participants=30)
        outcomes = by_room(await collect(apply(client, plan, tmp_path / "a.journal")))
        assert {room_id for room_id, one in outcomes.items() if one.status == "conflict"} == {changed}


async def test_a_room_that_was_modified_and_then_deleted_is_a_conflict(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=5) as sim, client_of(sim) as client:
        plan = await plan_of(client, tmp_path)
        changed = sim.room_ids[0]
        sim.change_room(changed, max_participants=30)
        outcomes: list[Outcome] = []
        async for outcome in apply(client, plan, tmp_path / "a.journal").outcomes():
            outcomes.append(outcome)
            if len(outcomes) == 1:
                sim.remove_room(changed)
        assert counts(outcomes) == {"updated": 4, "conflict": 1}
        assert str(by_room(outcomes)[changed].error).endswith("after the plan was made, and then deleted")


@pytest.mark.parametrize(("value", "status"), [(20, "updated"), (30, "conflict"), (10, None)])
async def test_a_room_set_aside_that_the_last_list_lacks_is_read_before_it_counts_as_deleted(
    tmp_path: Path, value: int, status: str | None
) -> None:
    async with RoomsSimulator(rooms=5) as sim, client_of(sim) as client:
        plan = await plan_of(client, tmp_path)
        changed = sim.room_ids[0]
        sim.change_room(changed, max_participants=30)
        run = apply(client, plan, tmp_path / "a.journal").outcomes()
        outcomes = [await anext(run)]
        sim.change_room(changed, max_participants=value)
        with odd_lists(sim, [changed]):
            outcomes += [outcome async for outcome in run]
        found = by_room(outcomes).get(changed)
        assert (None if found is None else found.status) == status
        assert Journal.open(tmp_path / "a.journal").states().get(changed) == status
        assert "deleted" not in str(None if found is None else found.error)


async def test_a_stopped_run_records_no_conflicts_and_the_next_run_does(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=20, latency=0.001) as sim, client_of(sim) as client:
        plan = await plan_of(client, tmp_path)
        changed = sim.room_ids[0]
        sim.change_room(changed, max_participants=30)
        run = apply(client, plan, tmp_path / "a.journal", concurrency=2)
        async for _ in run.outcomes():
            run.stop("Ctrl-C")
        assert changed not in Journal.open(tmp_path / "a.journal").states()
        outcomes = by_room(await collect(resume(client, tmp_path / "a.journal")))
        assert outcomes[changed].status == "conflict"
        assert states(tmp_path / "a.journal") == {"updated": 19, "conflict": 1}


async def test_with_force_modified_rooms_are_updated_too(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=5) as sim, client_of(sim) as client:
        plan = await plan_of(client, tmp_path)
        sim.change_room(sim.room_ids[0], max_participants=33)
        assert counts(await collect(apply(client, plan, tmp_path / "a.journal", force=True))) == {"updated": 5}
        assert rooms_to_change(plan, sim) == set()


async def test_rooms_planned_without_updated_at_are_compared_by_their_values(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=3) as sim, client_of(sim) as client:
        modified, *others = sim.room_ids
        with plan_file(tmp_path / "a.plan", client.base_url, "a test") as writer:
            for room_id in sim.room_ids:
                planned = PlannedUpdate(
                    room_id=room_id,
                    unique_name=None,
                    updated_at=None,
                    before={"max_participants": 10},
                    after={"max_participants": 20},
                )
                writer.add(planned)
            writer.finish(unchanged=0)
        sim.change_room(modified, max_participants=11)
        outcomes = by_room(await collect(apply(client, Plan.open(tmp_path / "a.plan"), tmp_path / "a.journal")))
        assert outcomes[modified].status == "conflict"
        assert {outcomes[room_id].status for room_id in others} == {"updated"}
        assert [room["max_participants"] for room in sim.rooms.values()] == [11, 20, 20]


async def test_a_planned_field_that_can_not_be_read_is_neither_a_conflict_nor_right(tmp_path: Path) -> None:
    """Here the plan clears the failover URL. A value that can't be read must not be taken for no URL."""
    async with RoomsSimulator(rooms=2) as sim, client_of(sim) as client:
        room_id = sim.room_ids[0]
        for one in sim.room_ids:
            sim.change_room(one, webhook_event_failover_url="https://failover.example.com")
        plan, path = await plan_of(client, tmp_path, "webhook_event_failover_url=null"), tmp_path / "a.journal"
        sim.change_room(room_id, max_participants=7)
        sim.record = True
        with odd_answers(sim, webhook_event_failover_url=5):
            await collect(apply(client, plan, path))
        assert room_id not in Journal.open(path).states(), "the room has an outcome"
        assert patches(sim)[room_id] == 0
        await collect(resume(client, path))
        assert states(path) == {"updated": 2}


async def test_a_run_says_how_many_rooms_it_has_compared(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=600) as sim, client_of(sim) as client:
        run = apply(client, await plan_of(client, tmp_path), tmp_path / "a.journal", limit=1)

        def compared() -> int | None:
            return run.rooms_compared

        assert compared() is None
        sim.latency = 0.05
        task = asyncio.create_task(collect(run))
        while compared() is None:
            assert not task.done(), "the run has read three pages without a word"
            await asyncio.sleep(0.005)
        assert compared() in range(1, 601)
        await task
        assert compared() is None
