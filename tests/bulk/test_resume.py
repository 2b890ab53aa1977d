"""`resume`: rooms that were in flight are read back, and updated rooms are not sent again."""

import asyncio
import random
from collections.abc import Callable
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any

import pytest

from aiorooms import AuthenticationError, InternalServerError
from aiorooms.bulk import (
    Journal,
    JournalError,
    PlanFileError,
    apply,
    plan_rollback,
    resume,
)
from aiorooms.bulk._files import quoted_path
from aiorooms.simulator import Faults, RoomsSimulator

from ..conftest import tasks_left, times
from .conftest import (
    HARMLESS,
    account,
    append_lines,
    append_uncertain_room,
    by_room,
    client_of,
    collect,
    counts,
    handwritten_journal,
    interrupted,
    odd_answers,
    patches,
    plan_of,
    read_backs,
    rooms_to_change,
    states,
)


async def test_resume_reads_back_only_rooms_that_were_in_flight(tmp_path: Path) -> None:
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
        assert read_backs(sim) == dict.fromkeys(begun, 1)
        assert patches(sim) == dict.fromkeys(set(sim.room_ids) - applied, 1)
        assert {room_id for room_id, one in outcomes.items() if one.found} == applied & begun
        assert outcomes.keys() == set(sim.room_ids) - done
        assert states(path) == {"updated": 100}


async def test_resuming_a_finished_run_sends_nothing(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=20) as sim, client_of(sim) as client:
        path = tmp_path / "a.journal"
        await collect(apply(client, await plan_of(client, tmp_path), path))
        sim.record = True
        run = resume(client, path, retry_failed=True)
        assert await collect(run) == []
        assert run.settled == 20
        assert sim.recorded == []
        assert Journal.open(path).runs() == 2


async def test_a_read_back_that_hangs_does_not_delay_the_others(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=20) as sim, client_of(sim, timeout=0.5) as client:
        plan = await plan_of(client, tmp_path)
        path = tmp_path / "a.journal"
        await handwritten_journal(client, plan, path, sim.room_ids)
        sim.script("stall_before", room_id=sim.room_ids[0])
        sim.record = True
        outcomes = await collect(resume(client, path, concurrency=2))
        assert len(outcomes) == 20
        asked = [one.path.rpartition("/")[2] for one in sim.recorded if one.method == "GET" and "?" not in one.path]
        again = len(asked) - 1 - asked[::-1].index(sim.room_ids[0])
        assert len(set(asked[:again])) == 20, "the other read-backs waited for the one that hung"


async def test_a_room_that_was_read_back_is_sent_only_if_it_has_not_changed(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=10) as sim, client_of(sim) as client:
        plan, path = await plan_of(client, tmp_path), tmp_path / "a.journal"
        unsent, done, changed, gone, uncertain = sim.room_ids[:5]
        await handwritten_journal(client, plan, path, [unsent, done, changed, gone])
        await append_uncertain_room(path, uncertain)
        sim.change_room(done, max_participants=20)
        sim.change_room(changed, max_participants=30)
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
        assert read_backs(sim) == dict.fromkeys([unsent, done, changed, gone, uncertain], 1)
        assert patches(sim) == dict.fromkeys({unsent, uncertain, *sim.room_ids[4:]}, 1)
        assert states(path) == {"updated": 8, "conflict": 1, "failed": 1}


async def test_a_room_that_can_not_be_read_back_stays_uncertain_and_is_not_sent(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=3) as sim, client_of(sim) as client:
        plan, path = await plan_of(client, tmp_path), tmp_path / "a.journal"
        unknown = sim.room_ids[0]
        await handwritten_journal(client, plan, path, [unknown])
        sim.script(*times("500", 8), room_id=unknown, method="GET")
        sim.record = True
        outcomes = by_room(await collect(resume(client, path)))
        assert outcomes[unknown].status == "uncertain"
        assert isinstance(outcomes[unknown].failure, InternalServerError)
        assert unknown not in patches(sim)
        assert states(path) == {"begun": 1, "updated": 2}
        assert counts(await collect(resume(client, path))) == {"updated": 1}
        assert states(path) == {"updated": 3}


async def test_a_run_that_is_stopped_during_its_read_backs_sends_no_update(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=20, latency=0.01) as sim, client_of(sim) as client:
        plan, path = await plan_of(client, tmp_path), tmp_path / "a.journal"
        await handwritten_journal(client, plan, path, sim.room_ids[:10])
        sim.record = True
        run = resume(client, path, concurrency=2)

        async def stop_soon() -> None:
            while not read_backs(sim):
                await asyncio.sleep(0)
            run.stop("Ctrl-C")

        stopping = asyncio.create_task(stop_soon())
        assert await collect(run) == []
        await stopping
        assert 1 <= len(read_backs(sim)) <= 4
        assert patches(sim) == {}
        assert states(path) == {"begun": 10}
        await collect(resume(client, path))
        assert states(path) == {"updated": 20}


async def test_a_wrong_api_key_during_the_read_backs_stops_the_run(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=20) as sim, client_of(sim) as client:
        plan, path = await plan_of(client, tmp_path), tmp_path / "a.journal"
        await handwritten_journal(client, plan, path, sim.room_ids[:10])
        key, sim.api_key = sim.api_key, "another"
        sim.record = True
        run = resume(client, path, concurrency=2)
        with suppress(AuthenticationError):
            await collect(run)
        assert "401" in str(run.stopped_by)
        assert len(read_backs(sim)) <= 2
        assert patches(sim) == {}
        sim.api_key = key
        await collect(resume(client, path))
        assert states(path) == {"updated": 20}


@pytest.mark.parametrize("end", ["failed", "conflict", "skipped", "updated"])
@pytest.mark.parametrize("options", [{}, {"retry_failed": True}, {"force": True}])
async def test_only_skipped_rooms_are_sent_again_unless_an_option_includes_others(
    tmp_path: Path, end: str, options: dict[str, Any]
) -> None:
    async with RoomsSimulator(rooms=3) as sim, client_of(sim) as client:
        plan, path = await plan_of(client, tmp_path), tmp_path / "a.journal"
        room_id = sim.room_ids[1]
        await handwritten_journal(client, plan, path, [room_id], end)
        sent = end == "skipped" or (end, options) in [("failed", {"retry_failed": True}), ("conflict", {"force": True})]
        sim.record = True
        run = resume(client, path, **options)
        assert counts(await collect(run)) == {"updated": 3 if sent else 2}
        assert (room_id in patches(sim)) == sent
        assert run.settled == (0 if sent else 1)


async def test_many_interrupted_runs_update_every_room_once(tmp_path: Path) -> None:
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
        assert rooms_to_change(plan, sim) == set()
    assert tasks_left() == set()


async def test_a_journal_and_a_plan_that_do_not_belong_together_are_an_error(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=2) as sim, client_of(sim) as client:
        plan = await plan_of(client, tmp_path)
        await collect(apply(client, plan, tmp_path / "a.journal"))
        other = await plan_of(client, tmp_path, "max_participants=30", name="b.plan")
        text = r"the journal '.*a.journal' doesn't belong to the plan '.*b.plan'; pass the plan of this .* with plan=$"
        with pytest.raises(JournalError, match=text):
            resume(client, tmp_path / "a.journal", plan=other.path)


async def test_a_plan_that_was_moved_has_to_be_passed_to_resume(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=2) as sim, client_of(sim) as client:
        plan, path = await plan_of(client, tmp_path), tmp_path / "a.journal"
        await handwritten_journal(client, plan, path, [])
        plan.path.rename(tmp_path / "moved.plan")
        with pytest.raises(PlanFileError, match=r"a.plan' can't be read: No such file or directory; .* with plan=$"):
            resume(client, path)
        assert counts(await collect(resume(client, path, plan=tmp_path / "moved.plan"))) == {"updated": 2}


async def test_a_read_back_accepts_a_url_that_the_server_normalised(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=2) as sim, client_of(sim) as client:
        plan = await plan_of(client, tmp_path, "webhook_event_url=https://X.example.com/h")
        await handwritten_journal(client, plan, tmp_path / "a.journal", sim.room_ids[:1])
        sim.change_room(sim.room_ids[0], webhook_event_url="https://x.example.com/h")
        outcomes = by_room(await collect(resume(client, tmp_path / "a.journal")))
        assert (outcomes[sim.room_ids[0]].status, outcomes[sim.room_ids[0]].found) == ("updated", True)


async def test_a_missing_plan_and_an_edited_plan_have_different_errors(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=2) as sim, client_of(sim) as client:
        plan, path = await plan_of(client, tmp_path), tmp_path / "a.journal"
        await handwritten_journal(client, plan, path, [])
        plan.path.write_bytes(plan.path.read_bytes().replace(b":20}", b":30}"))
        with pytest.raises(PlanFileError) as caught:
            resume(client, path)
        hint = "edit the input of make_plan() instead, and make a new plan"
        assert (caught.value.reason, caught.value.hint) == ("edited_plan", hint)
        plan.path.unlink()
        with pytest.raises(PlanFileError) as caught:
            resume(client, path)
        assert caught.value.reason == "plan_missing"
        with pytest.raises(PlanFileError) as caught:
            resume(client, path, plan=tmp_path / "another.plan")
        assert caught.value.reason == "unreadable"


@pytest.mark.parametrize("odd", ["many", None], ids=["unreadable", "missing"])
async def test_an_answer_without_a_readable_planned_field_is_not_taken_for_a_change_by_someone_else(
    tmp_path: Path, odd: str | None
) -> None:
    async with RoomsSimulator(rooms=3) as sim, client_of(sim) as client:
        plan, path = await plan_of(client, tmp_path), tmp_path / "a.journal"
        room_id = sim.room_ids[0]
        await handwritten_journal(client, plan, path, [room_id])
        with odd_answers(sim, max_participants=odd):
            run = resume(client, path)
            async with aclosing(run.outcomes()) as outcomes:
                first = await anext(outcomes)
                run.stop("enough")
        assert (first.room_id, first.status) == (room_id, "uncertain")
        assert "no readable max_participants" in str(first.error)
        await collect(resume(client, path))
        assert states(path) == {"updated": 3}


# --- lines of another journal ---


async def test_a_journal_that_contains_another_one_is_an_error(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=4) as sim, client_of(sim) as client:
        plan, path, other = await plan_of(client, tmp_path), tmp_path / "a.journal", tmp_path / "b.journal"
        await handwritten_journal(client, plan, path, [])
        await handwritten_journal(client, plan, other, sim.room_ids, "updated")
        path.write_bytes(path.read_bytes() + other.read_bytes())
        before, journal = path.read_bytes(), Journal.open(path)
        run = resume(client, path)
        uses: list[Callable[[], object]] = [journal.states, journal.damaged_lines, run.rooms_left]
        for use in uses:
            with pytest.raises(JournalError) as caught:
                use()
            text = f"the journal {quoted_path(path)} contains another journal, which begins at line 4; "
            assert str(caught.value) == text + "restore it from a copy, or remove line 4 and all lines after it"
            assert caught.value.reason == "joined_journals"
        with pytest.raises(JournalError, match="contains another journal"):
            await collect(run)
        with pytest.raises(JournalError, match="contains another journal"):
            await plan_rollback(client, journal, tmp_path / "back.plan")
        assert sim.stats.by_method["PATCH"] == 0
        assert path.read_bytes() == before
        path.write_bytes(b"".join(before.splitlines(keepends=True)[:3]))  # as the message says
        await collect(resume(client, path))
        assert states(path) == {"updated": 4}


async def test_a_damaged_first_line_of_another_journal_is_an_error_too(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=2) as sim, client_of(sim) as client:
        plan, path = await plan_of(client, tmp_path), tmp_path / "a.journal"
        await handwritten_journal(client, plan, path, [])
        path.write_bytes(path.read_bytes() + path.read_bytes().replace(b'"rooms":2', b'"rooms":3', 1))
        with pytest.raises(JournalError, match="contains another journal, which begins at line 4"):
            Journal.open(path).runs()


@pytest.mark.parametrize("force", [False, True], ids=["", "force"])
async def test_only_the_rooms_of_the_plan_count(tmp_path: Path, force: bool) -> None:
    async with RoomsSimulator(rooms=6) as sim, client_of(sim) as client:
        plan, path = await plan_of(client, tmp_path, where=("name=room-000001",)), tmp_path / "a.journal"
        planned, *others = sim.room_ids
        await handwritten_journal(client, plan, path, [])
        for number, state in enumerate(["updated", "failed", "conflict", "uncertain"]):
            append_lines(path, f'{{"end":"{others[number]}","at":1.0,"status":"{state}","attempts":1}}')
        append_lines(path, f'{{"begin":"{others[4]}","at":1.0,"before":{{}},"after":{{}}}}')
        sim.change_room(planned, max_participants=30)
        sim.record = True
        run = resume(client, path, force=force)
        assert run.rooms_left() == 1
        (outcome,) = await collect(run)
        assert (outcome.room_id, outcome.status) == (planned, "updated" if force else "conflict")
        assert run.settled == 0
        assert run.unplanned == {*others}
        assert patches(sim) == ({planned: 1} if force else {})
        assert read_backs(sim) == {}
