"""Conflicts: rooms that someone else modified are not updated, except with `force`."""

from pathlib import Path

from aiorooms import RoomUpdate
from aiorooms.bulk import (
    Change,
    Journal,
    Outcome,
    Plan,
    PlannedUpdate,
    apply,
    make_plan,
    resume,
)
from aiorooms.bulk._plan_writer import new_plan
from aiorooms.simulator import RoomsSimulator

from .conftest import (
    FixedChanges,
    by_room,
    client_of,
    collect,
    counts,
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
        sim.change_room(changed, enable_recording=True)
        sim.change_room(same, max_participants=20)  # someone else has made the planned change
        sim.record = True
        outcomes = by_room(await collect(apply(client, plan, tmp_path / "a.journal")))
        assert counts([*outcomes.values()]) == {"conflict": 1, "updated": 4}
        error = outcomes[changed].error
        assert error is not None
        assert error.startswith(f"room {changed} was modified by someone else at 20")
        assert (outcomes[same].found, outcomes[same].attempts) == (True, 0)
        assert not {changed, same} & patches(sim).keys()
        assert read_backs(sim) == {}
        assert sim.rooms[changed]["max_participants"] == 10
        # `resume` sends the conflicting update only with `force`.
        assert await collect(resume(client, tmp_path / "a.journal")) == []
        assert counts(await collect(resume(client, tmp_path / "a.journal", force=True))) == {"updated": 1}
        assert sim.rooms[changed]["max_participants"] == 20


async def test_a_room_modified_while_the_plan_is_made_is_a_conflict(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=500) as sim, client_of(sim) as client:
        first, *_, last = sim.room_ids
        read = 0

        def on_room() -> None:
            nonlocal read
            read += 1
            if read == 2:
                sim.change_room(first, enable_recording=True)  # after this room was read
                sim.change_room(last, enable_recording=True)  # possibly before this room is read

        wanted = FixedChanges({room_id: Change(RoomUpdate(max_participants=20)) for room_id in (first, last)})
        await make_plan(client, wanted, tmp_path / "a.plan", on_room=on_room)
        outcomes = by_room(await collect(apply(client, Plan.open(tmp_path / "a.plan"), tmp_path / "a.journal")))
        assert outcomes[first].status == "conflict"


async def test_a_room_that_was_modified_and_then_deleted_is_a_conflict(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=5) as sim, client_of(sim) as client:
        plan = await plan_of(client, tmp_path)
        changed = sim.room_ids[0]
        sim.change_room(changed, enable_recording=True)
        outcomes: list[Outcome] = []
        async for outcome in apply(client, plan, tmp_path / "a.journal").outcomes():
            outcomes.append(outcome)
            if len(outcomes) == 1:
                sim.remove_room(changed)
        assert counts(outcomes) == {"updated": 4, "conflict": 1}
        assert str(by_room(outcomes)[changed].error).endswith("after the plan was made, and then deleted")


async def test_a_stopped_run_records_no_conflicts_and_the_next_run_does(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=20, latency=0.001) as sim, client_of(sim) as client:
        plan = await plan_of(client, tmp_path)
        changed = sim.room_ids[0]
        sim.change_room(changed, enable_recording=True)
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
        with new_plan(tmp_path / "a.plan", client.base_url, "a test") as writer:
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
