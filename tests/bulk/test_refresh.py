"""During a run, the modified rooms are listed again, and what others change meanwhile is not overwritten."""

import asyncio
from contextlib import aclosing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiorooms import Room
from aiorooms.bulk import Journal, Outcome, PlanFileError, apply, resume
from aiorooms.bulk._checked_plan import CheckedPlan
from aiorooms.bulk._conflicts import Conflicts
from aiorooms.bulk._lookup import PlanLookup
from aiorooms.bulk._refresh import PAGES_AT_ONCE, PAGES_PER_SECOND, REQUESTS_PER_PAGE, RefreshBudget
from aiorooms.simulator import RoomsSimulator

from ..conftest import tasks_left, times
from .conftest import (
    account,
    by_room,
    client_of,
    collect,
    counts,
    interrupted,
    patches,
    plan_of,
    states,
    write_plan,
)

# --- the budget ---


def budget_of(*, rooms: int, updates: int, attempts: int, pages: int) -> RefreshBudget:
    budget = RefreshBudget(rooms, 100.0)
    for _ in range(updates):
        budget.count_update(attempts)
    budget.count_pages(pages)
    return budget


@pytest.mark.parametrize(
    ("budget", "seconds", "may_begin", "may_request"),
    [
        pytest.param(budget_of(rooms=0, updates=0, attempts=1, pages=0), 9, False, False, id="nothing was sent"),
        pytest.param(budget_of(rooms=0, updates=19, attempts=1, pages=0), 9, False, False, id="almost one page"),
        pytest.param(budget_of(rooms=0, updates=20, attempts=1, pages=0), 9, True, True, id="one page"),
        pytest.param(budget_of(rooms=0, updates=10, attempts=2, pages=0), 9, True, True, id="attempts count"),
        pytest.param(budget_of(rooms=0, updates=20, attempts=1, pages=1), 9, False, False, id="no page is left"),
        pytest.param(budget_of(rooms=230, updates=20, attempts=1, pages=0), 9, True, True, id="250 rooms are one page"),
        pytest.param(budget_of(rooms=231, updates=20, attempts=1, pages=0), 9, False, True, id="251 rooms are two"),
        pytest.param(budget_of(rooms=0, updates=1000, attempts=1, pages=46), 99, True, True, id="4 pages of 1,000"),
        pytest.param(budget_of(rooms=0, updates=1000, attempts=1, pages=47), 99, False, True, id="3 left, 4 needed"),
        pytest.param(budget_of(rooms=0, updates=1000, attempts=1, pages=10), 0, False, False, id="10 pages at once"),
        pytest.param(budget_of(rooms=0, updates=1000, attempts=1, pages=10), 1, True, True, id="5 pages a second"),
    ],
)
def test_a_list_begins_when_the_budget_covers_its_pages(
    budget: RefreshBudget, seconds: float, may_begin: bool, may_request: bool
) -> None:
    assert budget.may_begin(100.0 + seconds) == may_begin
    assert budget.may_request(100.0 + seconds) == may_request


def test_the_pages_of_a_list_that_failed_still_count() -> None:
    budget = budget_of(rooms=500, updates=60, attempts=1, pages=0)
    assert budget.may_begin(200.0)
    budget.begin_list()
    budget.count_pages(2)
    assert not budget.may_begin(200.0)
    for _ in range(60):
        budget.count_update(1)
    assert budget.may_begin(200.0)
    budget.begin_list()
    budget.count_pages(1)
    budget.end_list(10)  # the list was shorter than expected
    for _ in range(20):
        budget.count_update(1)
    assert budget.may_begin(200.0)


@given(
    rooms=st.integers(0, 2000),
    steps=st.lists(st.tuples(st.integers(0, 60), st.integers(1, 3), st.integers(0, 20), st.floats(0, 2)), max_size=30),
)
def test_pages_are_never_more_than_five_percent_of_the_requests(
    rooms: int, steps: list[tuple[int, int, int, float]]
) -> None:
    budget, now = RefreshBudget(rooms, 0.0), 0.0
    for updates, attempts, pages, seconds in steps:
        now += seconds
        for _ in range(updates):
            budget.count_update(attempts)
        if not budget.may_begin(now):
            continue
        assert budget.may_request(now)
        budget.begin_list()
        while pages and budget.may_request(now):  # the list is of any length, and may stop in the middle
            budget.count_pages()
            pages -= 1
        if not pages:
            budget.end_list(pages * 250)
        assert budget.pages * REQUESTS_PER_PAGE <= budget.requests
        assert budget.pages <= PAGES_AT_ONCE + PAGES_PER_SECOND * now


# --- runs ---


def assert_lists_are_at_most_five_percent(sim: RoomsSimulator) -> None:
    """Check that at any instant, the lists after the first update were at most 5 % of the updates before them."""
    kinds = [one.method for one in sim.recorded if one.method == "PATCH" or "/rooms/" not in one.path]
    first, last = kinds.index("PATCH"), len(kinds) - kinds[::-1].index("PATCH")
    updates = pages = 0
    for kind in kinds[first:last]:
        updates += kind == "PATCH"
        pages += kind == "GET"
        assert pages * 20 <= updates
    assert pages, "the rooms were not listed again"


async def test_what_someone_changes_during_a_run_is_not_overwritten(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=400) as sim, client_of(sim) as client:
        plan = await plan_of(client, tmp_path)
        changed, other, same, back, gone = sim.room_ids[-5:]
        sim.record = True
        run = apply(client, plan, tmp_path / "a.journal", concurrency=4)
        found: list[Outcome] = []
        async for outcome in run.outcomes():
            found.append(outcome)
            if len(found) == 50:
                sim.change_room(back, max_participants=40)
            elif len(found) == 100:
                sim.change_room(changed, max_participants=30)
                sim.change_room(other, enable_recording=True)
                sim.change_room(same, max_participants=20)
                sim.change_room(gone, max_participants=30)
            elif len(found) == 150:
                sim.change_room(back, max_participants=10)
            elif len(found) == 380:
                sim.remove_room(gone)
        outcomes = by_room(found)
        assert counts(found) == {"updated": 398, "conflict": 2}
        assert (outcomes[changed].status, outcomes[gone].status) == ("conflict", "conflict")
        assert account(sim)[changed]["max_participants"] == 30
        assert {room_id for room_id, outcome in outcomes.items() if outcome.note is not None} == {other, back}
        assert {room_id for room_id, outcome in outcomes.items() if outcome.found} == {same}
        assert not {changed, same, gone} & patches(sim).keys()
        assert_lists_are_at_most_five_percent(sim)
        assert run.overwrite_window is not None
        assert run.overwrite_window > 0
    assert tasks_left() == set()


async def test_strict_applies_during_a_run_too(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=200) as sim, client_of(sim) as client:
        plan = await plan_of(client, tmp_path)
        changed = sim.room_ids[-1]
        run = apply(client, plan, tmp_path / "a.journal", concurrency=4, strict=True)
        found: list[Outcome] = []
        async for outcome in run.outcomes():
            found.append(outcome)
            if len(found) == 50:
                sim.change_room(changed, enable_recording=True)
        assert counts(found) == {"updated": 199, "conflict": 1}
        assert account(sim)[changed]["max_participants"] == 10


async def test_what_a_run_and_earlier_runs_updated_does_not_look_like_a_change_by_someone_else(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=300, latency=0.002) as sim, client_of(sim) as client:
        plan, path = await plan_of(client, tmp_path), tmp_path / "a.journal"
        begun = await interrupted(sim, client, plan, path, after=60)
        changed = sim.room_ids[-1]
        sim.record = True
        found: list[Outcome] = []
        async for outcome in resume(client, path, concurrency=5).outcomes():
            found.append(outcome)
            if len(found) == 50:
                sim.change_room(changed, max_participants=30)
        outcomes = by_room(found)
        assert begun <= outcomes.keys()
        assert {one.note for one in found} == {None}
        assert outcomes[changed].status == "conflict"
        assert states(path) == {"updated": 299, "conflict": 1}
        assert_lists_are_at_most_five_percent(sim)


async def test_a_room_that_was_read_back_and_is_changed_before_its_update_is_a_conflict(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=100) as sim, client_of(sim) as client:
        plan, path = await plan_of(client, tmp_path), tmp_path / "a.journal"
        async with aclosing(apply(client, plan, path).outcomes()) as outcomes:
            await anext(outcomes)
        begun = [room_id for room_id, state in Journal.open(path).states().items() if state == "begun"]
        unsent = [room_id for room_id in begun if account(sim)[room_id]["max_participants"] == 10]
        assert unsent
        listed = asyncio.Event()

        async def change_after_the_read_backs() -> None:
            while sim.stats.by_method["GET"] < before + len(begun):
                await asyncio.sleep(0)
            sim.change_room(unsent[-1], max_participants=30)
            listed.set()

        before = sim.stats.by_method["GET"]
        changing = asyncio.create_task(change_after_the_read_backs())
        found = by_room(await collect(resume(client, path)))
        await changing
        assert listed.is_set()
        assert found[unsent[-1]].status == "conflict"


async def test_a_list_that_fails_during_a_run_loses_no_outcome_and_widens_the_window(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=200) as sim, client_of(sim) as client:
        plan = await plan_of(client, tmp_path)
        run = apply(client, plan, tmp_path / "a.journal", concurrency=4)
        found: list[Outcome] = []
        async for outcome in run.outcomes():
            if not found:
                sim.script(*times("500", 200), method="GET")
            found.append(outcome)
        assert counts(found) == {"updated": 200}
        assert run.stopped_by is None
        assert run.overwrite_window is not None
    assert tasks_left() == set()


async def test_an_unexpected_error_of_a_list_stops_the_run_and_is_raised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with RoomsSimulator(rooms=400) as sim, client_of(sim) as client:
        plan, path = await plan_of(client, tmp_path), tmp_path / "a.journal"
        run = apply(client, plan, path, concurrency=4)
        found: list[Outcome] = []

        def fail(conflicts: Conflicts, room: Room) -> None:
            raise RuntimeError("a bug")

        with pytest.raises(RuntimeError, match="a bug"):
            async for outcome in run.outcomes():
                if not found:
                    monkeypatch.setattr(Conflicts, "compare_listed", fail)
                found.append(outcome)
        assert sim.stats.by_method["PATCH"] == len(found) < 400
        assert (run.stopped_by, run.stop_error) == ("RuntimeError('a bug')", None)
        *_, last = Journal.open(path).records()
        assert last["stop"] == "stopped: RuntimeError('a bug')"
    assert tasks_left() == set()


async def test_a_run_that_is_cancelled_during_a_list_leaves_no_task(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=200) as sim, client_of(sim) as client:
        plan = await plan_of(client, tmp_path)
        sim.record = True
        run = apply(client, plan, tmp_path / "a.journal", concurrency=4)
        async with aclosing(run.outcomes()) as outcomes:
            async for _ in outcomes:
                if sim.recorded[0].method == "GET":
                    sim.script(*times("stall_before", 20), method="GET")
                    sim.recorded.clear()
                if any(one.method == "GET" for one in sim.recorded):
                    break
        assert run.overwrite_window is not None
    assert tasks_left() == set()


async def test_a_forced_run_lists_nothing_and_has_no_window(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=100) as sim, client_of(sim) as client:
        plan = await plan_of(client, tmp_path)
        sim.record = True
        run = apply(client, plan, tmp_path / "a.journal", force=True)
        assert run.overwrite_window is None
        assert counts(await collect(run)) == {"updated": 100}
        assert {one.method for one in sim.recorded} == {"PATCH"}
        assert run.overwrite_window is None


async def test_a_plan_that_is_edited_in_place_is_noticed_when_a_room_is_looked_up(tmp_path: Path) -> None:
    plan = write_plan(tmp_path / "a.plan", 300)
    first, second, *_, last = plan.updates()
    with plan.open_file() as file, plan.open_file() as other:
        lookup = await PlanLookup.of(CheckedPlan(plan, other), file)
        start = file.seek(0) + len(file.readline())
        assert lookup.find(first.room_id.upper()) == first
        assert lookup.find(first.room_id, begin=start) == first
        assert lookup.find(first.room_id, begin=start + 1) is None
        assert lookup.find(second.room_id, begin=start + 1) == second
        assert lookup.find("no such room") is None
        plan.path.write_bytes(b"x" * plan.path.stat().st_size)
        with pytest.raises(PlanFileError, match="was modified while it was applied"):
            lookup.find(last.room_id)


async def test_a_plan_that_changes_between_its_check_and_the_first_list_is_an_error(tmp_path: Path) -> None:
    plan = write_plan(tmp_path / "a.plan", 300)
    content = plan.path.read_bytes()
    with plan.open_file() as file:
        checked = CheckedPlan(plan, file)
        copy = tmp_path / "copy.plan"
        copy.write_bytes(content)
        copy.replace(plan.path)
        with plan.open_file() as other, pytest.raises(PlanFileError, match="was modified or replaced after it was op"):
            await PlanLookup.of(checked, other)
    with plan.open_file() as file, plan.open_file() as other:
        checked = CheckedPlan(plan, file)
        plan.path.write_bytes(content.replace(b'"max_participants":20', b'"max_participants":30'))
        with pytest.raises(PlanFileError, match="was modified while it was applied"):
            await PlanLookup.of(checked, other)
