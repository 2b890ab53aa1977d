"""Apply and resume against the simulator: every room gets its outcome, once, whatever happens in between."""

import asyncio
import random
from collections.abc import Callable
from contextlib import aclosing, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from aiorooms import AuthenticationError, ClientSettingsError, RoomsClient, RoomUpdate, WebhookUrlPolicy
from aiorooms.bulk import (
    Change,
    Journal,
    JournalError,
    Outcome,
    Plan,
    PlanFileError,
    _apply,
    apply,
    make_plan,
    resume,
    verify,
)
from aiorooms.bulk._apply import BulkRun
from aiorooms.simulator import FaultKind, Faults, RoomsSimulator
from aiorooms.simulator._faults import ALL

from ..conftest import settle, tasks_left, times
from .conftest import QUICK, account, client_of, collect, counts, looks, open_files, patches, plan_of, states
from .test_plan import ByHand, write_plan

HARMLESS: list[FaultKind] = [kind for kind in ALL if "stall" not in kind and kind != "slow"]
"""Faults that take no time."""


def wanted_by(plan: Plan, sim: RoomsSimulator) -> set[str]:
    """The rooms that are not as the plan wants them."""
    rooms = sim.rooms
    return {
        one.room_id
        for one in plan.updates()
        if one.room_id in rooms and any(rooms[one.room_id][name] != value for name, value in one.after.items())
    }


def by_room(outcomes: list[Outcome]) -> dict[str, Outcome]:
    assert len({outcome.room_id for outcome in outcomes}) == len(outcomes)
    return {outcome.room_id: outcome for outcome in outcomes}


# --- apply ---


@pytest.mark.parametrize("concurrency", [1, 7, 50])
async def test_every_room_of_the_plan_is_updated_once(tmp_path: Path, concurrency: int) -> None:
    async with RoomsSimulator(rooms=300) as sim, client_of(sim) as client:
        plan = await plan_of(client, tmp_path, where=("name=room-0002*",))
        sim.record = True
        run = apply(client, plan, tmp_path / "a.journal", concurrency=concurrency)
        outcomes = by_room(await collect(run))
        assert {(one.status, one.error, one.attempts, one.found) for one in outcomes.values()} == {
            ("updated", None, 1, False)
        }
        assert len(outcomes) == 100
        assert patches(sim) == dict.fromkeys(outcomes, 1)
        assert {one.unique_name for one in outcomes.values()} == {f"room-{number:06d}" for number in range(200, 300)}
        assert wanted_by(plan, sim) == set()
        assert looks(sim) == {}
        assert (run.stopped_by, run.settled) == (None, 0)
        records = [*Journal.open(tmp_path / "a.journal").records()]
        assert records[-1]["stop"] == "done"
        sent = {str(record["begin"]): record for record in records if "begin" in record}
        ended = {str(record["end"]): record for record in records if "end" in record}
        assert sent.keys() == ended.keys() == outcomes.keys()
        for room_id, record in ended.items():
            assert record["updated_at"] == sim.rooms[room_id]["updated_at"]
            assert sent[room_id]["before"] == {"max_participants": 10}
        assert [one async for one in verify(client, plan)] == []
    assert tasks_left() == set()


async def test_an_empty_plan_is_applied_at_once(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=3) as sim, client_of(sim) as client:
        plan = await plan_of(client, tmp_path, "max_participants=10")
        assert await collect(apply(client, plan, tmp_path / "a.journal")) == []
        assert sim.stats.by_method["PATCH"] == 0


async def test_a_room_that_somebody_changed_since_is_a_conflict_and_not_touched(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=5) as sim, client_of(sim) as client:
        changed, same, *_ = sim.room_ids
        plan = await plan_of(client, tmp_path)
        sim.change_room(changed, enable_recording=True)
        sim.change_room(same, max_participants=20)  # somebody did what we would have done
        sim.record = True
        outcomes = by_room(await collect(apply(client, plan, tmp_path / "a.journal")))
        assert counts([*outcomes.values()]) == {"conflict": 1, "updated": 4}
        error = outcomes[changed].error
        assert error is not None
        assert error.startswith(f"room {changed} was changed by somebody else since the plan was made (20")
        assert (outcomes[same].found, outcomes[same].attempts) == (True, 0)
        assert not {changed, same} & patches(sim).keys()
        assert looks(sim) == {}
        assert sim.rooms[changed]["max_participants"] == 10
        # It is not sent by a resume either, unless that is forced.
        assert await collect(resume(client, tmp_path / "a.journal")) == []
        assert counts(await collect(resume(client, tmp_path / "a.journal", force=True))) == {"updated": 1}
        assert sim.rooms[changed]["max_participants"] == 20


async def test_a_change_that_was_made_while_the_plan_was_made_is_a_conflict_too(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=500) as sim, client_of(sim) as client:
        first, *_, last = sim.room_ids
        read = 0

        def on_room() -> None:
            nonlocal read
            read += 1
            if read == 2:
                sim.change_room(first, enable_recording=True)  # after it was read
                sim.change_room(last, enable_recording=True)  # before it is read, if its page isn't under way yet

        wanted = ByHand({room_id: Change(RoomUpdate(max_participants=20)) for room_id in (first, last)})
        await make_plan(client, wanted, tmp_path / "a.plan", on_room=on_room)
        outcomes = by_room(await collect(apply(client, Plan.open(tmp_path / "a.plan"), tmp_path / "a.journal")))
        assert outcomes[first].status == "conflict"


async def test_a_room_that_was_changed_and_then_removed_is_a_conflict(tmp_path: Path) -> None:
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
        assert str(by_room(outcomes)[changed].error).endswith("since the plan was made, and is gone")


async def test_a_run_that_was_stopped_leaves_its_conflicts_to_the_next(tmp_path: Path) -> None:
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


async def test_many_rooms_of_different_kinds_each_get_what_is_theirs(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=250) as sim, client_of(sim) as client:
        changes = {
            room_id: Change(
                RoomUpdate(webhook_event_url=f"https://new.example.com/{number % 120}")
                if number % 3
                else RoomUpdate(unique_name=f'a ,"after":{{"max_participants":50}} {number}')
            )
            for number, room_id in enumerate(sim.room_ids)
        }
        await make_plan(client, ByHand(changes), tmp_path / "a.plan")
        assert counts(await collect(apply(client, Plan.open(tmp_path / "a.plan"), tmp_path / "a.journal"))) == {
            "updated": 250
        }
        for room_id, change in changes.items():
            for name, value in change.update.to_dict().items():
                assert sim.rooms[room_id][name] == value


async def test_force_sends_what_somebody_changed_too(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=5) as sim, client_of(sim) as client:
        plan = await plan_of(client, tmp_path)
        sim.change_room(sim.room_ids[0], max_participants=33)
        assert counts(await collect(apply(client, plan, tmp_path / "a.journal", force=True))) == {"updated": 5}
        assert wanted_by(plan, sim) == set()


@pytest.mark.parametrize("force", [False, True])
async def test_a_room_that_is_gone_is_told(tmp_path: Path, force: bool) -> None:
    async with RoomsSimulator(rooms=5) as sim, client_of(sim) as client:
        plan = await plan_of(client, tmp_path)
        gone = sim.room_ids[2]
        sim.remove_room(gone)
        outcomes = by_room(await collect(apply(client, plan, tmp_path / "a.journal", force=force)))
        assert counts([*outcomes.values()]) == {"failed": 1, "updated": 4}
        assert str(outcomes[gone].error).startswith(f"404 room {gone} not found")
        assert outcomes[gone].error_type == "NotFoundError"


async def test_what_the_server_refuses_has_failed_and_is_sent_again_if_asked_for(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=3) as sim, client_of(sim) as client:
        first, second, third = sim.room_ids
        changes = {first: Change(RoomUpdate(unique_name="room-000002")), third: Change(RoomUpdate(unique_name="new"))}
        await make_plan(client, ByHand(changes), tmp_path / "a.plan")
        path = tmp_path / "a.journal"
        outcomes = by_room(await collect(apply(client, Plan.open(tmp_path / "a.plan"), path)))
        assert counts([*outcomes.values()]) == {"failed": 1, "updated": 1}
        assert "has already been taken" in str(outcomes[first].error)
        sim.change_room(second, unique_name="another")
        sim.record = True
        assert await collect(resume(client, path)) == []
        assert sim.recorded == [] or not patches(sim)
        again = resume(client, path, retry_failed=True)
        assert counts(await collect(again)) == {"updated": 1}
        assert again.settled == 1
        assert patches(sim) == {first: 1}
        assert sim.rooms[first]["unique_name"] == "room-000002"
        assert states(path) == {"updated": 2}


async def test_an_update_that_the_client_would_not_send_fails_alone(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=4) as sim, client_of(sim) as client:
        changes = {
            room_id: Change(RoomUpdate(webhook_event_url=f"{scheme}://new.example.com/"))
            for room_id, scheme in zip(sim.room_ids, ("http", "https", "http", "https"), strict=True)
        }
        await make_plan(client, ByHand(changes), tmp_path / "a.plan")
        policy = WebhookUrlPolicy(schemes=("https",))
        async with RoomsClient(sim.api_key, base_url=sim.url, webhook_url_policy=policy) as careful:
            plan, path = Plan.open(tmp_path / "a.plan"), tmp_path / "a.journal"
            outcomes = await collect(apply(careful, plan, path))
            assert counts(outcomes) == {"updated": 2, "failed": 2}
            assert all("'http'" in str(one.error) for one in outcomes if one.status == "failed")
            assert counts(await collect(resume(careful, path, retry_failed=True, max_failures=1))) == {"failed": 1}
        assert counts(await collect(resume(client, path, retry_failed=True))) == {"updated": 2}


async def test_after_so_many_failures_nothing_more_is_begun(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=100, latency=0.001) as sim, client_of(sim) as client:
        plan = await plan_of(client, tmp_path)
        for room_id in sim.room_ids[::2]:
            sim.remove_room(room_id)
        run = apply(client, plan, tmp_path / "a.journal", concurrency=4, max_failures=3)
        outcomes = await collect(run)
        assert 3 <= counts(outcomes)["failed"] <= 6
        assert len(outcomes) <= 20
        assert run.stopped_by is not None
        assert "404" in run.stopped_by
        assert str([*Journal.open(tmp_path / "a.journal").records()][-1]["stop"]).startswith("stopped: ")
        rest = await collect(resume(client, tmp_path / "a.journal"))
        assert states(tmp_path / "a.journal") == {"failed": 50, "updated": 50}
        assert len(rest) + len(outcomes) - counts(outcomes).get("skipped", 0) == 100


async def test_a_wrong_key_ends_the_run_and_nothing_is_lost(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=60, latency=0.001) as sim, client_of(sim) as client:
        plan = await plan_of(client, tmp_path)
        key, sim.api_key = sim.api_key, "another"
        path = tmp_path / "a.journal"
        with pytest.raises(AuthenticationError):
            await collect(apply(client, plan, path, concurrency=3))
        assert sim.stats.by_method["PATCH"] == 0
        sim.api_key = key
        outcomes: list[Outcome] = []
        async for outcome in resume(client, path, concurrency=3).outcomes():
            outcomes.append(outcome)
            if len(outcomes) == 10:
                sim.api_key = "another"
        assert 1 <= counts(outcomes)["failed"] <= 3
        assert len(outcomes) <= 20
        assert sum(states(path).values()) <= 20
        sim.api_key = key
        await collect(resume(client, path, retry_failed=True))
        assert states(path) == {"updated": 60}


async def test_a_list_that_fails_ends_the_run_before_anything_is_sent(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=5) as sim, client_of(sim) as client:
        plan = await plan_of(client, tmp_path)
        sim.script(*times("500", 8), method="GET")
        with pytest.raises(Exception, match="list of rooms"):
            await collect(apply(client, plan, tmp_path / "a.journal"))
        assert sim.stats.by_method["PATCH"] == 0
        assert str([*Journal.open(tmp_path / "a.journal").records()][-1]["stop"]).startswith(
            "stopped: 500 list of rooms"
        )
        assert counts(await collect(resume(client, tmp_path / "a.journal"))) == {"updated": 5}
    assert tasks_left() == set()


@pytest.mark.parametrize("how", ["closed", "503", "reset"])
async def test_an_outage_in_the_middle_is_waited_for(tmp_path: Path, how: Any) -> None:
    async with RoomsSimulator(rooms=60, latency=0.001) as sim, client_of(sim) as client:
        plan = await plan_of(client, tmp_path)
        outcomes: list[Outcome] = []
        async for outcome in apply(client, plan, tmp_path / "a.journal", concurrency=5).outcomes():
            outcomes.append(outcome)
            if len(outcomes) == 20:
                sim.refuse_connections(how)
                asyncio.get_running_loop().call_later(0.1, sim.accept_connections)
        assert counts(outcomes) == {"updated": 60}
        assert wanted_by(plan, sim) == set()


async def test_the_rate_limit_is_told_of_once_in_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aiorooms.bulk._apply._TICK", 0.02)
    async with RoomsSimulator(rooms=40, latency=0.005) as sim, client_of(sim) as client:
        await collect(apply(client, await plan_of(client, tmp_path), tmp_path / "a.journal", concurrency=2))
    told = [record["pacing"] for record in Journal.open(tmp_path / "a.journal").records() if "pacing" in record]
    assert len(told) >= 2
    assert all(isinstance(one, dict) and one.keys() == {"refused", "limit", "rate"} for one in told)


# --- stopping ---


async def test_stop_begins_nothing_more_and_finishes_what_is_under_way(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=100, latency=0.005) as sim, client_of(sim) as client:
        plan = await plan_of(client, tmp_path)
        path = tmp_path / "a.journal"
        sim.record = True
        run = apply(client, plan, path, concurrency=5)
        outcomes: list[Outcome] = []
        async for outcome in run.outcomes():
            outcomes.append(outcome)
            if len(outcomes) == 10:
                run.stop("interrupted by Ctrl-C")
                run.stop("again")
        assert counts(outcomes) == {"updated": len(outcomes)}
        assert 10 <= len(outcomes) <= 20
        assert run.stopped_by == "interrupted by Ctrl-C"
        assert states(path) == {"updated": len(outcomes)}
        assert [*Journal.open(path).records()][-1]["stop"] == "stopped: interrupted by Ctrl-C"
        first = patches(sim)
        assert len(first) == len(outcomes)
        assert len(await collect(resume(client, path))) == 100 - len(outcomes)
        assert patches(sim) == dict.fromkeys(sim.room_ids, 1)
        assert looks(sim) == {}


async def test_stopping_before_the_beginning_sends_nothing(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=10) as sim, client_of(sim) as client:
        run = apply(client, await plan_of(client, tmp_path), tmp_path / "a.journal")
        run.stop("never mind")
        assert await collect(run) == []
        assert sim.stats.by_method["PATCH"] == 0


async def interrupted(sim: RoomsSimulator, client: RoomsClient, plan: Plan, path: Path, after: int = 10) -> set[str]:
    """Apply a part of the plan and leave; give the rooms that were under way."""
    async with aclosing(apply(client, plan, path, concurrency=5).outcomes()) as outcomes:
        for _ in range(after):
            await anext(outcomes)
    return {room_id for room_id, state in Journal.open(path).states().items() if state == "begun"}


async def test_leaving_early_leaves_nothing_behind_but_the_journal(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=100, latency=0.005) as sim:
        async with client_of(sim) as client:
            plan = await plan_of(client, tmp_path)
            files = open_files()
            await collect(apply(client, plan, tmp_path / "warm.journal", max_failures=1))
            for room_id in sim.room_ids:
                sim.change_room(room_id, max_participants=10)
            plan = await plan_of(client, tmp_path)
            begun = await interrupted(sim, client, plan, tmp_path / "a.journal")
            assert begun
            await settle()
            assert tasks_left() == set()
            assert [*Journal.open(tmp_path / "a.journal").records()][-1]["stop"] == "interrupted"
        async with asyncio.timeout(5):
            while sim.stats.in_flight:
                await asyncio.sleep(0.001)
        await settle()
        assert open_files() <= files


async def test_cancelling_twice_ends_at_once_and_loses_nothing(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=50, latency=0.01) as sim, client_of(sim) as client:
        plan = await plan_of(client, tmp_path)
        path = tmp_path / "a.journal"
        task = asyncio.create_task(collect(apply(client, plan, path, concurrency=5)))
        while len(sim.stats.updates_applied) < 12:
            await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert tasks_left() == set()
        applied = {room_id for room_id, fields in account(sim).items() if fields["max_participants"] == 20}
        assert applied <= Journal.open(path).states().keys()
        await collect(resume(client, path))
        assert states(path) == {"updated": 50}
        assert wanted_by(plan, sim) == set()


# --- resume ---


async def test_resume_looks_at_what_was_under_way_and_at_nothing_else(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=100, latency=0.005) as sim, client_of(sim) as client:
        plan = await plan_of(client, tmp_path)
        path = tmp_path / "a.journal"
        begun = await interrupted(sim, client, plan, path)
        done = set(Journal.open(path).states()) - begun
        async with asyncio.timeout(5):
            while sim.stats.in_flight:
                await asyncio.sleep(0.001)
        applied = {room_id for room_id, fields in account(sim).items() if fields["max_participants"] == 20}
        sim.record = True
        run = resume(client, path)
        outcomes = by_room(await collect(run))
        assert run.settled == len(done)
        assert looks(sim) == dict.fromkeys(begun, 1)
        assert patches(sim) == dict.fromkeys(set(sim.room_ids) - applied, 1)
        assert {room_id for room_id, one in outcomes.items() if one.found} == applied & begun
        assert outcomes.keys() == set(sim.room_ids) - done
        assert states(path) == {"updated": 100}


async def test_resuming_what_is_done_does_nothing(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=20) as sim, client_of(sim) as client:
        path = tmp_path / "a.journal"
        await collect(apply(client, await plan_of(client, tmp_path), path))
        sim.record = True
        run = resume(client, path, retry_failed=True)
        assert await collect(run) == []
        assert run.settled == 20
        assert sim.recorded == []
        assert Journal.open(path).runs() == 2


async def test_what_a_client_met_before_a_run_is_no_refusal_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_apply, "_TICK", 0.001)
    async with RoomsSimulator(rooms=20, latency=0.02) as sim, client_of(sim) as client:
        plan = await plan_of(client, tmp_path)
        client._transport._pacer.refused = 7
        await collect(apply(client, plan, tmp_path / "a.journal", concurrency=2))
    told = [record["pacing"] for record in Journal.open(tmp_path / "a.journal").records() if "pacing" in record]
    assert told
    assert all("'refused': 0," in str(figures) for figures in told)


async def test_one_look_that_hangs_holds_up_no_other(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=20) as sim, client_of(sim, timeout=0.5) as client:
        plan = await plan_of(client, tmp_path)
        path = tmp_path / "a.journal"
        await begun_by_hand(client, plan, path, sim.room_ids)
        sim.script("stall_before", room_id=sim.room_ids[0])
        sim.record = True
        outcomes = await collect(resume(client, path, concurrency=2))
        assert len(outcomes) == 20
        asked = [one.path.rpartition("/")[2] for one in sim.recorded if one.method == "GET" and "?" not in one.path]
        again = len(asked) - 1 - asked[::-1].index(sim.room_ids[0])
        assert len(set(asked[:again])) == 20, "the others waited for the one that hangs"


def edited(path: Path, *lines: str) -> None:
    with path.open("a") as file:
        file.writelines(line + "\n" for line in lines)


async def begun_by_hand(client: RoomsClient, plan: Plan, path: Path, rooms: list[str], *ends: str) -> None:
    """A journal in which rooms were begun, though nothing was sent, or ended in some way."""
    run = apply(client, plan, path)
    run.stop("by hand")
    await collect(run)
    for room_id in rooms:
        edited(path, f'{{"begin":"{room_id}","at":1.0,"before":{{}},"after":{{}}}}')
        for end in ends:
            edited(path, f'{{"end":"{room_id}","at":1.0,"status":"{end}","attempts":1}}')


async def test_what_was_under_way_is_sent_if_it_never_arrived(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=10) as sim, client_of(sim) as client:
        plan, path = await plan_of(client, tmp_path), tmp_path / "a.journal"
        unsent, done, changed, gone, uncertain = sim.room_ids[:5]
        await begun_by_hand(client, plan, path, [unsent, done, changed, gone])
        await begun_by_hand_uncertain(path, uncertain)
        sim.change_room(done, max_participants=20)
        sim.change_room(changed, enable_recording=True)
        sim.remove_room(gone)
        sim.record = True
        outcomes = by_room(await collect(resume(client, path)))
        assert {room_id: outcomes[room_id].status for room_id in (unsent, done, changed, gone, uncertain)} == {
            unsent: "updated",
            done: "updated",
            changed: "conflict",
            gone: "failed",
            uncertain: "updated",
        }
        assert looks(sim) == dict.fromkeys([unsent, done, changed, gone, uncertain], 1)
        assert patches(sim) == dict.fromkeys({unsent, uncertain, *sim.room_ids[4:]}, 1)
        assert states(path) == {"updated": 8, "conflict": 1, "failed": 1}


async def begun_by_hand_uncertain(path: Path, room_id: str) -> None:
    edited(
        path,
        f'{{"begin":"{room_id}","at":1.0,"before":{{}},"after":{{}}}}',
        f'{{"end":"{room_id}","at":1.0,"status":"uncertain","attempts":4}}',
    )


async def test_what_can_not_be_looked_at_stays_unknown_and_is_not_sent(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=3) as sim, client_of(sim) as client:
        plan, path = await plan_of(client, tmp_path), tmp_path / "a.journal"
        unknown = sim.room_ids[0]
        await begun_by_hand(client, plan, path, [unknown])
        sim.script(*times("500", 8), room_id=unknown, method="GET")
        sim.record = True
        outcomes = by_room(await collect(resume(client, path)))
        assert (outcomes[unknown].status, outcomes[unknown].error_type) == ("uncertain", "InternalServerError")
        assert unknown not in patches(sim)
        assert states(path) == {"begun": 1, "updated": 2}
        assert counts(await collect(resume(client, path))) == {"updated": 1}
        assert states(path) == {"updated": 3}


async def test_stopping_while_rooms_are_looked_at_sends_nothing(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=20, latency=0.01) as sim, client_of(sim) as client:
        plan, path = await plan_of(client, tmp_path), tmp_path / "a.journal"
        await begun_by_hand(client, plan, path, sim.room_ids[:10])
        sim.record = True
        run = resume(client, path, concurrency=2)
        asyncio.get_running_loop().call_later(0.025, run.stop, "Ctrl-C")
        assert await collect(run) == []
        assert 2 <= len(looks(sim)) <= 8
        assert patches(sim) == {}
        assert states(path) == {"begun": 10}
        await collect(resume(client, path))
        assert states(path) == {"updated": 20}


async def test_a_wrong_key_while_looking_ends_the_run(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=20) as sim, client_of(sim) as client:
        plan, path = await plan_of(client, tmp_path), tmp_path / "a.journal"
        await begun_by_hand(client, plan, path, sim.room_ids[:10])
        key, sim.api_key = sim.api_key, "another"
        sim.record = True
        run = resume(client, path, concurrency=2)
        with suppress(AuthenticationError):
            await collect(run)
        assert "401" in str(run.stopped_by)
        assert len(looks(sim)) <= 2
        assert patches(sim) == {}
        sim.api_key = key
        await collect(resume(client, path))
        assert states(path) == {"updated": 20}


@pytest.mark.parametrize("end", ["failed", "conflict", "skipped", "updated"])
@pytest.mark.parametrize("options", [{}, {"retry_failed": True}, {"force": True}])
async def test_what_has_an_outcome_keeps_it_unless_asked_otherwise(
    tmp_path: Path, end: str, options: dict[str, Any]
) -> None:
    async with RoomsSimulator(rooms=3) as sim, client_of(sim) as client:
        plan, path = await plan_of(client, tmp_path), tmp_path / "a.journal"
        room_id = sim.room_ids[1]
        await begun_by_hand(client, plan, path, [room_id], end)
        sent = end == "skipped" or (end, options) in [("failed", {"retry_failed": True}), ("conflict", {"force": True})]
        sim.record = True
        run = resume(client, path, **options)
        assert counts(await collect(run)) == {"updated": 3 if sent else 2}
        assert (room_id in patches(sim)) == sent
        assert run.settled == (0 if sent else 1)


async def test_many_interrupted_runs_come_to_one_whole(tmp_path: Path) -> None:
    chance = random.Random(5)
    faults = Faults(0.2, kinds=HARMLESS)
    async with RoomsSimulator(rooms=150, latency=(0, 0.004), seed=3) as sim, client_of(sim) as client:
        plan, path = await plan_of(client, tmp_path), tmp_path / "a.journal"
        sim.faults = faults
        sim.record = True
        done: set[str] = set()
        for number in range(12):
            run = resume(client, path, concurrency=10) if number else apply(client, plan, path, concurrency=10)
            sim.recorded.clear()
            async with aclosing(run.outcomes()) as outcomes:
                with suppress(StopAsyncIteration):
                    for _ in range(chance.randint(0, 20)):
                        await anext(outcomes)
            assert not done & patches(sim).keys()
            done = {room_id for room_id, state in Journal.open(path).states().items() if state == "updated"}
        sim.faults = None
        await collect(resume(client, path))
        assert states(path) == {"updated": 150}
        assert wanted_by(plan, sim) == set()
    assert tasks_left() == set()


# --- what can't be begun ---


async def test_settings_are_checked_before_anything_is_made(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=1) as sim, client_of(sim) as client:
        plan = await plan_of(client, tmp_path)
        await collect(apply(client, plan, tmp_path / "a.journal"))
        begin: list[tuple[str, Callable[..., BulkRun]]] = [
            ("apply", partial(apply, client, plan, tmp_path / "b.journal")),
            ("resume", partial(resume, client, tmp_path / "a.journal")),
        ]
        for name, how in begin:
            for setting in ("concurrency", "max_failures"):
                with pytest.raises(ClientSettingsError, match=rf"{name}\({setting}=\) is 0; give a whole number, 1"):
                    how(**{setting: 0})
        assert not (tmp_path / "b.journal").exists()


async def test_a_plan_for_another_server_is_refused(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=2) as sim, client_of(sim) as client, RoomsSimulator(rooms=2) as other:
        plan = await plan_of(client, tmp_path)
        await collect(apply(client, plan, tmp_path / "a.journal"))
        async with client_of(other) as elsewhere:
            with pytest.raises(PlanFileError, match=rf"was made for {sim.url}, not for {other.url}"):
                apply(elsewhere, plan, tmp_path / "b.journal")
            with pytest.raises(PlanFileError, match=rf"was made for {sim.url}, not for {other.url}"):
                resume(elsewhere, tmp_path / "a.journal")
        assert other.stats.requests == 0
        assert not (tmp_path / "b.journal").exists()


async def test_a_journal_of_another_plan_is_refused(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=2) as sim, client_of(sim) as client:
        plan = await plan_of(client, tmp_path)
        await collect(apply(client, plan, tmp_path / "a.journal"))
        other = await plan_of(client, tmp_path, "max_participants=30", name="b.plan")
        with pytest.raises(JournalError, match=r"the journal '.*a.journal' is of another plan than '.*b.plan'$"):
            resume(client, tmp_path / "a.journal", plan=other.path)


async def test_a_plan_that_was_moved_is_asked_for(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=2) as sim, client_of(sim) as client:
        plan, path = await plan_of(client, tmp_path), tmp_path / "a.journal"
        await begun_by_hand(client, plan, path, [])
        plan.path.rename(tmp_path / "moved.plan")
        with pytest.raises(PlanFileError, match=r"a.plan' can't be read: No such file or directory; .* with --plan$"):
            resume(client, path)
        assert counts(await collect(resume(client, path, plan=tmp_path / "moved.plan"))) == {"updated": 2}


async def test_a_plan_that_was_replaced_since_it_was_shown_is_not_sent(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=5) as sim, client_of(sim) as client:
        plan = await plan_of(client, tmp_path)
        await plan_of(client, tmp_path, "max_participants=30")
        run = apply(client, plan, tmp_path / "a.journal")
        with pytest.raises(PlanFileError, match="was changed after it was opened"):
            await collect(run)
        assert sim.stats.by_method["PATCH"] == 0
    assert tasks_left() == set()


async def test_a_plan_that_is_replaced_in_the_middle_does_no_harm(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=100, latency=0.001) as sim, client_of(sim) as client:
        plan = await plan_of(client, tmp_path)
        outcomes: list[Outcome] = []
        async for outcome in apply(client, plan, tmp_path / "a.journal", concurrency=5).outcomes():
            outcomes.append(outcome)
            if len(outcomes) == 10:
                write_plan(plan.path, 200)
        assert counts(outcomes) == {"updated": 100}
        assert {fields["max_participants"] for fields in account(sim).values()} == {20}


async def test_a_client_that_is_closed_says_so(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=30, latency=0.005) as sim:
        client = RoomsClient(sim.api_key, base_url=sim.url, retry=QUICK)
        plan, path = await plan_of(client, tmp_path), tmp_path / "a.journal"
        outcomes: list[Outcome] = []
        async for outcome in apply(client, plan, path, concurrency=3).outcomes():
            outcomes.append(outcome)
            if len(outcomes) == 5:
                await client.close()
        assert len(outcomes) < 30
        async with client_of(sim) as again:
            await collect(resume(again, path, retry_failed=True))
        assert states(path) == {"updated": 30}
