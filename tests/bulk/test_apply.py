"""`apply`: no room gets more than one outcome. If the run fails or is stopped, `resume` can finish it."""

import asyncio
import os
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from aiorooms import AuthenticationError, ClientSettingsError, NotFoundError, RoomsClient, RoomUpdate, WebhookUrlPolicy
from aiorooms._aio import end_tasks
from aiorooms.bulk import (
    Change,
    Journal,
    Outcome,
    Plan,
    PlanFileError,
    _apply,
    _journal_writer,
    apply,
    make_plan,
    resume,
    verify,
)
from aiorooms.bulk._apply import BulkRun
from aiorooms.simulator import RoomsSimulator

from ..conftest import settle, tasks_left, times
from .conftest import (
    PERSISTENT,
    FixedChanges,
    account,
    by_room,
    client_of,
    collect,
    counts,
    interrupted,
    open_files,
    patches,
    plan_of,
    read_backs,
    rooms_to_change,
    states,
    write_plan,
)


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
        assert rooms_to_change(plan, sim) == set()
        assert read_backs(sim) == {}
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


async def test_applying_an_empty_plan_sends_no_update(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=3) as sim, client_of(sim) as client:
        plan = await plan_of(client, tmp_path, "max_participants=10")
        assert await collect(apply(client, plan, tmp_path / "a.journal")) == []
        assert sim.stats.by_method["PATCH"] == 0


async def test_every_room_gets_its_own_values(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=250) as sim, client_of(sim) as client:
        changes = {
            room_id: Change(
                RoomUpdate(webhook_event_url=f"https://new.example.com/{number % 120}")
                if number % 3
                else RoomUpdate(unique_name=f'a ,"after":{{"max_participants":50}} {number}')
            )
            for number, room_id in enumerate(sim.room_ids)
        }
        await make_plan(client, FixedChanges(changes), tmp_path / "a.plan")
        assert counts(await collect(apply(client, Plan.open(tmp_path / "a.plan"), tmp_path / "a.journal"))) == {
            "updated": 250
        }
        for room_id, change in changes.items():
            for name, value in change.update.to_dict().items():
                assert sim.rooms[room_id][name] == value


@pytest.mark.parametrize("force", [False, True])
async def test_the_update_of_a_deleted_room_fails(tmp_path: Path, force: bool) -> None:
    async with RoomsSimulator(rooms=5) as sim, client_of(sim) as client:
        plan = await plan_of(client, tmp_path)
        gone = sim.room_ids[2]
        sim.remove_room(gone)
        outcomes = by_room(await collect(apply(client, plan, tmp_path / "a.journal", force=force)))
        assert counts([*outcomes.values()]) == {"failed": 1, "updated": 4}
        assert str(outcomes[gone].error).startswith(f"404 room {gone} not found")
        assert isinstance(outcomes[gone].failure, NotFoundError)


async def test_a_rejected_update_fails_and_is_sent_again_with_retry_failed(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=3) as sim, client_of(sim) as client:
        first, second, third = sim.room_ids
        changes = {first: Change(RoomUpdate(unique_name="taken")), third: Change(RoomUpdate(unique_name="new"))}
        await make_plan(client, FixedChanges(changes), tmp_path / "a.plan")
        sim.change_room(second, unique_name="taken")  # meanwhile, so the plan could not know it
        path = tmp_path / "a.journal"
        outcomes = by_room(await collect(apply(client, Plan.open(tmp_path / "a.plan"), path)))
        assert counts([*outcomes.values()]) == {"failed": 1, "updated": 1}
        assert "has already been taken" in str(outcomes[first].error)
        sim.change_room(second, unique_name="another")
        sim.record = True
        assert await collect(resume(client, path)) == []
        assert sim.recorded == []
        again = resume(client, path, retry_failed=True)
        assert counts(await collect(again)) == {"updated": 1}
        assert again.settled == 1
        assert patches(sim) == {first: 1}
        assert sim.rooms[first]["unique_name"] == "taken"
        assert states(path) == {"updated": 2}


async def test_if_the_client_rejects_a_url_only_the_update_of_its_room_fails(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=4) as sim, client_of(sim) as client:
        changes = {
            room_id: Change(RoomUpdate(webhook_event_url=f"{scheme}://new.example.com/"))
            for room_id, scheme in zip(sim.room_ids, ("http", "https", "http", "https"), strict=True)
        }
        await make_plan(client, FixedChanges(changes), tmp_path / "a.plan")
        policy = WebhookUrlPolicy(schemes=("https",))
        async with RoomsClient(sim.api_key, base_url=sim.url, webhook_url_policy=policy) as careful:
            plan, path = Plan.open(tmp_path / "a.plan"), tmp_path / "a.journal"
            outcomes = await collect(apply(careful, plan, path))
            assert counts(outcomes) == {"updated": 2, "failed": 2}
            assert all("'http'" in str(one.error) for one in outcomes if one.status == "failed")
            assert counts(await collect(resume(careful, path, retry_failed=True, max_failures=1))) == {"failed": 1}
        assert counts(await collect(resume(client, path, retry_failed=True))) == {"updated": 2}


async def test_no_new_updates_start_after_max_failures(tmp_path: Path) -> None:
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


async def test_a_wrong_api_key_stops_the_run_and_resume_finishes_it(tmp_path: Path) -> None:
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
        assert set(counts(outcomes)) == {"updated", "skipped"}
        assert len(outcomes) <= 20
        assert sum(states(path).values()) <= 20
        sim.api_key = key
        await collect(resume(client, path))
        assert states(path) == {"updated": 60}


async def test_no_update_is_sent_if_the_account_can_not_be_listed(tmp_path: Path) -> None:
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
async def test_no_room_fails_because_of_a_short_outage(tmp_path: Path, how: Any) -> None:
    async with RoomsSimulator(rooms=60, latency=0.001) as sim, client_of(sim) as client:
        plan = await plan_of(client, tmp_path)
        outcomes: list[Outcome] = []
        async for outcome in apply(client, plan, tmp_path / "a.journal", concurrency=5).outcomes():
            outcomes.append(outcome)
            if len(outcomes) == 20:
                sim.refuse_connections(how)
                asyncio.get_running_loop().call_later(0.1, sim.accept_connections)
        assert counts(outcomes) == {"updated": 60}
        assert rooms_to_change(plan, sim) == set()


async def test_the_journal_records_the_state_of_the_rate_limit_periodically(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aiorooms.bulk._apply._PACING_INTERVAL", 0.02)
    async with RoomsSimulator(rooms=40, latency=0.005) as sim, client_of(sim) as client:
        await collect(apply(client, await plan_of(client, tmp_path), tmp_path / "a.journal", concurrency=2))
    states = [record["pacing"] for record in Journal.open(tmp_path / "a.journal").records() if "pacing" in record]
    assert len(states) >= 2
    assert all(isinstance(one, dict) and one.keys() == {"refused", "limit", "rate"} for one in states)


async def test_after_stop_no_new_updates_start_and_those_in_flight_finish(tmp_path: Path) -> None:
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
        assert read_backs(sim) == {}


async def test_a_run_that_is_stopped_before_it_begins_sends_no_update(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=10) as sim, client_of(sim) as client:
        run = apply(client, await plan_of(client, tmp_path), tmp_path / "a.journal")
        run.stop("never mind")
        assert await collect(run) == []
        assert sim.stats.by_method["PATCH"] == 0


async def test_closing_the_outcomes_early_leaves_no_tasks_and_no_open_files(tmp_path: Path) -> None:
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


async def test_a_run_that_is_cancelled_again_while_it_ends_records_that_it_was_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    fsync = os.fsync

    def counted(descriptor: int) -> None:
        fsync(descriptor)
        synced.append(os.fstat(descriptor).st_size)

    async def cancelled_meanwhile(tasks: Collection[asyncio.Task[Any]]) -> None:
        task.cancel()
        await end_tasks(tasks)

    async with RoomsSimulator(rooms=20, latency=0.01) as sim, client_of(sim) as client:
        plan, path = await plan_of(client, tmp_path), tmp_path / "a.journal"
        task = asyncio.create_task(collect(apply(client, plan, path, concurrency=2)))
        while not sim.stats.updates_applied:
            await asyncio.sleep(0.001)
        monkeypatch.setattr(os, "fsync", counted)
        for module in (_apply, _journal_writer):
            monkeypatch.setattr(module, "end_tasks", cancelled_meanwhile)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        monkeypatch.undo()
        *_, last = Journal.open(path).records()
        assert last["stop"] == "interrupted"
        assert synced[-1:] == [path.stat().st_size]
        await collect(resume(client, path))
        assert states(path) == {"updated": 20}
    assert tasks_left() == set()


async def test_a_run_that_is_cancelled_twice_can_be_resumed(tmp_path: Path) -> None:
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
        assert rooms_to_change(plan, sim) == set()


async def test_the_journal_does_not_count_429s_from_before_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_apply, "_PACING_INTERVAL", 0.001)
    async with RoomsSimulator(rooms=20, latency=0.02) as sim, client_of(sim) as client:
        plan = await plan_of(client, tmp_path)
        client._sender.pacer.rate_limited = 7
        await collect(apply(client, plan, tmp_path / "a.journal", concurrency=2))
    states = [record["pacing"] for record in Journal.open(tmp_path / "a.journal").records() if "pacing" in record]
    assert states
    assert all("'refused': 0," in str(state) for state in states)


async def test_settings_are_checked_before_a_journal_is_created(tmp_path: Path) -> None:
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


async def test_a_plan_for_another_server_is_an_error(tmp_path: Path) -> None:
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


async def test_a_plan_that_was_replaced_before_the_run_is_an_error(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=5) as sim, client_of(sim) as client:
        plan = await plan_of(client, tmp_path)
        await plan_of(client, tmp_path, "max_participants=30")
        run = apply(client, plan, tmp_path / "a.journal")
        with pytest.raises(PlanFileError, match="was modified or replaced after it was opened"):
            await collect(run)
        assert sim.stats.by_method["PATCH"] == 0
    assert tasks_left() == set()


async def test_replacing_the_plan_during_the_run_does_not_affect_the_run(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=100, latency=0.001) as sim, client_of(sim) as client:
        plan = await plan_of(client, tmp_path)
        outcomes: list[Outcome] = []
        async for outcome in apply(client, plan, tmp_path / "a.journal", concurrency=5).outcomes():
            outcomes.append(outcome)
            if len(outcomes) == 10:
                write_plan(plan.path, 200)
        assert counts(outcomes) == {"updated": 100}
        assert {fields["max_participants"] for fields in account(sim).values()} == {20}


async def test_a_run_whose_client_is_closed_stops_and_can_be_resumed(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=30, latency=0.005) as sim:
        client = RoomsClient(sim.api_key, base_url=sim.url, retry=PERSISTENT)
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
