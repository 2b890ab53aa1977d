"""`apply` and `resume` with a limit: at most this many updates begin, and `resume` goes on with the rest."""

import itertools
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiorooms import AuthenticationError, ClientSettingsError, WebhookUrlPolicy
from aiorooms.bulk import Journal, apply, resume
from aiorooms.bulk._outcomes import StopSignal
from aiorooms.simulator import RoomsSimulator

from .conftest import PERSISTENT, client_of, collect, counts, patches, plan_of, rooms_to_change, states, write_plan

JOURNAL = "a.journal"


def stops(path: Path) -> list[object]:
    return [record["stop"] for record in Journal.open(path).records() if "stop" in record]


@pytest.mark.parametrize(("limit", "concurrency"), [(1, 50), (7, 3), (19, 50)])
async def test_a_run_begins_as_many_updates_as_the_limit_and_resume_does_the_rest(
    tmp_path: Path, limit: int, concurrency: int
) -> None:
    async with RoomsSimulator(rooms=20) as sim, client_of(sim) as client:
        plan, path = await plan_of(client, tmp_path), tmp_path / JOURNAL
        sim.record = True
        run = apply(client, plan, path, limit=limit, concurrency=concurrency)
        assert counts(await collect(run)) == {"updated": limit}
        assert (patches(sim).total(), states(path)) == (limit, {"updated": limit})
        assert run.limit_reached
        assert run.stop_error is None
        reason = f"limit reached: {limit} room{'s' * (limit > 1)} begun"
        assert (run.stopped_by, stops(path)) == (reason, [f"stopped: {reason}"])
        again = resume(client, path)
        assert again.rooms_left() == 20 - limit
        assert counts(await collect(again)) == {"updated": 20 - limit}
        assert (again.limit_reached, again.stopped_by) == (False, None)
        assert set(patches(sim).values()) == {1}
        assert rooms_to_change(plan, sim) == set()


async def test_a_plan_is_applied_in_steps(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=10) as sim, client_of(sim) as client:
        plan, path = await plan_of(client, tmp_path), tmp_path / JOURNAL
        reached: list[bool] = []
        for step in itertools.count():
            run = apply(client, plan, path, limit=4) if step == 0 else resume(client, path, limit=4)
            await collect(run)
            reached.append(run.limit_reached)
            if not run.limit_reached:
                break
        assert reached == [True, True, False], "the last step had only 2 rooms left"
        assert rooms_to_change(plan, sim) == set()


@pytest.mark.parametrize("limit", [10, 11, 1_000_000])
async def test_a_limit_that_is_not_below_the_number_of_rooms_stops_nothing(tmp_path: Path, limit: int) -> None:
    async with RoomsSimulator(rooms=10) as sim, client_of(sim) as client:
        plan = await plan_of(client, tmp_path)
        run = apply(client, plan, tmp_path / JOURNAL, limit=limit)
        assert counts(await collect(run)) == {"updated": 10}
        assert (run.limit_reached, run.stopped_by) == (False, None)
        assert stops(tmp_path / JOURNAL) == ["done"]


async def test_rooms_that_need_no_update_do_not_count(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=10) as sim, client_of(sim) as client:
        plan, path = await plan_of(client, tmp_path), tmp_path / JOURNAL
        for room_id, value in zip(sim.room_ids, (20, 20, 7), strict=False):
            sim.change_room(room_id, max_participants=value)
        sim.record = True
        run = apply(client, plan, path, limit=4)
        assert counts(await collect(run)) == {"updated": 4}
        assert patches(sim).total() == 4
        assert patches(sim).keys().isdisjoint(sim.room_ids[:3])
        assert counts(await collect(resume(client, path))) == {"updated": 5, "conflict": 1}


async def test_an_update_that_fails_before_it_is_sent_counts(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=10) as sim, client_of(sim) as client:
        plan = await plan_of(client, tmp_path, "webhook_event_url=https://new.example.com")
        strict = client.with_options(webhook_url_policy=WebhookUrlPolicy(allowed_hosts=["other.example.com"]))
        run = apply(strict, plan, tmp_path / JOURNAL, limit=3)
        assert counts(await collect(run)) == {"failed": 3}
        assert run.limit_reached


async def test_rooms_that_are_read_back_are_sent_within_the_limit(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=6) as sim, client_of(sim) as client:
        plan, path = await plan_of(client, tmp_path), tmp_path / JOURNAL
        run = apply(client, plan, path, concurrency=2, limit=2)
        await collect(run)
        journal = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join(line for line in journal if not line.startswith(b'{"end"')))
        for room_id in plan_rooms(journal):
            sim.change_room(room_id, max_participants=10)  # as if the updates in flight had been lost
        sim.record = True
        assert counts(await collect(resume(client, path, limit=1, force=True))) == {"updated": 1}
        assert patches(sim).total() == 1


def plan_rooms(journal: list[bytes]) -> list[str]:
    return [line.split(b'"')[3].decode() for line in journal if line.startswith(b'{"begin"')]


async def test_an_error_after_the_limit_is_the_reason_of_the_stop(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=6) as sim, client_of(sim) as client:
        plan = await plan_of(client, tmp_path)
        run = apply(client, plan, tmp_path / JOURNAL, limit=2, force=True)
        sim.api_key = "another"
        assert counts(await collect(run)).keys() == {"skipped"}
        assert isinstance(run.stop_error, AuthenticationError)
        assert not run.limit_reached


@given(limit=st.integers(1, 20), rooms=st.integers(0, 40))
def test_a_signal_lets_as_many_rooms_begin_as_the_limit(limit: int, rooms: int) -> None:
    signal = StopSignal(None, limit)
    assert [signal.may_begin() for _ in range(rooms)] == [number < limit for number in range(rooms)]
    assert signal.limit_reached is (rooms > limit) is (signal.reason is not None)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"limit": 0}, "limit="),
        ({"limit": -1}, "limit="),
        ({"outage_patience": 0}, "outage_patience="),
        ({"outage_patience": -5.0}, "outage_patience="),
    ],
)
async def test_an_invalid_setting_is_an_error(tmp_path: Path, setting: dict[str, Any], message: str) -> None:
    plan = write_plan(tmp_path / "a.plan")
    async with RoomsSimulator() as sim, client_of(sim) as client:
        with pytest.raises(ClientSettingsError, match=rf"apply\({message}"):
            apply(client, plan, tmp_path / JOURNAL, **setting)
        with pytest.raises(ClientSettingsError, match=rf"resume\({message}"):
            resume(client, tmp_path / JOURNAL, **setting)


async def test_without_patience_updates_fail_when_they_have_no_attempts_left(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=30) as sim, client_of(sim) as client:
        plan, path = await plan_of(client, tmp_path), tmp_path / JOURNAL
        sim.refuse_connections("503")
        run = apply(client, plan, path, outage_patience=None, force=True)
        outcomes = await collect(run)
        assert {one.status for one in outcomes} <= {"failed", "uncertain"}
        assert {one.attempts for one in outcomes} == {PERSISTENT.max_attempts}
        assert run.stopped_by is None


async def test_a_run_stops_when_its_patience_is_over(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=30) as sim, client_of(sim) as client:
        plan, path = await plan_of(client, tmp_path), tmp_path / JOURNAL
        sim.refuse_connections("503")
        run = apply(client, plan, path, outage_patience=0.2, force=True)
        await collect(run)
        assert run.stop_error is not None
        assert run.stop_error.reason == "outage_patience"
        (stop,) = stops(path)
        assert str(stop).startswith("stopped: the server was unavailable for more than 0.2 s; the last failure: ")
