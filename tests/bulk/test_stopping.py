"""`BulkRun.stop`: updates and steps that wait end at once, and only an attempt in flight may end as uncertain."""

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from typing import Literal

import pytest

from aiorooms import Pacing, RetryPolicy, RoomsClient
from aiorooms.bulk import BulkRun, Journal, Outcome, apply, resume
from aiorooms.simulator import RoomsSimulator, ScriptedAnswer

from .conftest import client_of, collect, counts, patches, plan_of, read_backs, states

FOREVER = 200
"""Seconds, below `Pacing(max_wait=)`. A test that waits so long fails by its timeout."""

RATE_LIMITED = ScriptedAnswer(status=429, headers={"Retry-After": str(FOREVER)}, body={"errors": []})


async def stopped_when(run: BulkRun, ready: Callable[[], bool]) -> list[Outcome]:
    """Collect the outcomes of a run, and stop it as soon as `ready` returns True."""
    collecting = asyncio.create_task(collect(run))
    while not ready():
        assert not collecting.done(), "the run ended too early"
        await asyncio.sleep(0.002)
    run.stop("Ctrl-C")
    return await collecting


async def finish(sim: RoomsSimulator, folder: Path, rooms: int) -> None:
    """Resume the run with another client, and check that each room was updated exactly once and none was read back."""
    sim.record = True
    async with client_of(sim) as client:
        assert counts(await collect(resume(client, folder / "a.journal"))) == {"updated": rooms}
    assert set(patches(sim).values()) == {1}
    assert read_backs(sim) == {}
    assert states(folder / "a.journal") == {"updated": 20}


async def test_updates_that_wait_after_a_429_are_skipped_at_once(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=20) as sim:
        async with client_of(sim) as client:
            plan = await plan_of(client, tmp_path)
            sim.script(RATE_LIMITED, method="PATCH")
            run = apply(client, plan, tmp_path / "a.journal", concurrency=5)
            outcomes = await stopped_when(
                run, lambda: client.pacing.snapshot().waiting == 5 and not client.pacing.snapshot().in_flight
            )
        totals = counts(outcomes)
        updated = totals.pop("updated", 0)  # sent at the same time as the update that got the 429
        assert totals == {"skipped": 5}
        assert updated < 5
        assert any(outcome.attempts for outcome in outcomes if outcome.status == "skipped"), "no update got a 429"
        assert states(tmp_path / "a.journal")["skipped"] == 5
        assert [*Journal.open(tmp_path / "a.journal").records()][-1]["stop"] == "stopped: Ctrl-C"
        await finish(sim, tmp_path, 20 - updated)


async def test_updates_that_wait_for_a_permit_are_skipped_at_once(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=20) as sim:
        async with client_of(sim) as client:
            plan = await plan_of(client, tmp_path)
        async with RoomsClient(sim.api_key, base_url=sim.url, pacing=Pacing(max_rate=1 / FOREVER)) as slow:
            run = apply(slow, plan, tmp_path / "a.journal", concurrency=5, force=True)
            outcomes = await stopped_when(run, lambda: slow.pacing.snapshot().waiting >= 4)
        totals = Counter(outcome.status for outcome in outcomes)
        assert totals["updated"] <= 1
        assert totals["skipped"] >= 4
        assert totals.total() == totals["updated"] + totals["skipped"]
        assert all(not outcome.attempts for outcome in outcomes if outcome.status == "skipped")
        await finish(sim, tmp_path, 20 - totals["updated"])


@pytest.mark.parametrize("how", ["closed", "503"])
async def test_updates_that_wait_for_the_end_of_an_outage_are_skipped_at_once(
    tmp_path: Path, how: Literal["closed", "503"]
) -> None:
    began: list[str] = []
    quick = RetryPolicy(base_delay=0.001, max_delay=0.001)
    async with RoomsSimulator(rooms=20) as sim:
        async with client_of(sim) as client:
            plan = await plan_of(client, tmp_path)
        async with RoomsClient(
            sim.api_key, base_url=sim.url, retry=quick, on_event=lambda event: began.append(type(event).__name__)
        ) as client:
            run = apply(client, plan, tmp_path / "a.journal", concurrency=5, force=True)
            sim.refuse_connections(how)
            outcomes = await stopped_when(run, lambda: "OutageBegan" in began)
        assert counts(outcomes) in ({"skipped": 5}, {"uncertain": 5}, {"skipped": 4, "uncertain": 1})
        if how == "closed":
            assert counts(outcomes) == {"skipped": 5}, "an update that was never sent is not uncertain"
            sim.accept_connections()
            await finish(sim, tmp_path, 20)


async def test_an_update_in_flight_that_is_aborted_stays_uncertain(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=20) as sim, client_of(sim) as client:
        plan = await plan_of(client, tmp_path)
        sim.latency = 1000
        run = apply(client, plan, tmp_path / "a.journal", concurrency=1, force=True)
        collecting = asyncio.create_task(collect(run))
        while not sim.stats.in_flight:
            await asyncio.sleep(0.002)
        run.stop("Ctrl-C")
        await asyncio.sleep(0)
        collecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await collecting
    assert states(tmp_path / "a.journal") == {"begun": 1}


async def test_a_stop_ends_the_step_that_lists_the_account(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=20) as sim:
        async with client_of(sim) as client:
            plan = await plan_of(client, tmp_path)
            sim.script(RATE_LIMITED, method="GET")
            before = sim.stats.requests
            run = apply(client, plan, tmp_path / "a.journal")
            assert await stopped_when(run, lambda: sim.stats.requests > before) == []
            assert sim.stats.by_method["PATCH"] == 0
        assert states(tmp_path / "a.journal") == {}
        await finish(sim, tmp_path, 20)


async def test_a_stop_ends_the_step_that_reads_rooms_back(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=20) as sim:
        path = tmp_path / "a.journal"
        async with client_of(sim) as client:
            plan = await plan_of(client, tmp_path)
            sim.latency = 1000
            run = apply(client, plan, path, concurrency=1, force=True)
            async with aclosing(run.outcomes()) as outcomes:
                first = asyncio.ensure_future(anext(outcomes))
                while not sim.stats.in_flight:
                    await asyncio.sleep(0.002)
                first.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await first
        sim.latency = 0
        assert states(path) == {"begun": 1}
        async with client_of(sim) as client:
            (begun,) = Journal.open(path).states()
            sim.script(RATE_LIMITED, room_id=begun, method="GET")
            run = resume(client, path)
            before = sim.stats.requests
            assert await stopped_when(run, lambda: sim.stats.requests > before) == []
        assert states(path) == {"begun": 1}, "a room that was not read back keeps its state"
        async with client_of(sim) as client:
            assert counts(await collect(resume(client, path))) == {"updated": 20}


async def test_a_stop_ends_the_step_that_compares_the_rooms_set_aside(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=20) as sim, client_of(sim) as client:
        plan = await plan_of(client, tmp_path)
        sim.change_room(sim.room_ids[0], max_participants=30)
        run = apply(client, plan, tmp_path / "a.journal")
        outcomes: list[Outcome] = []
        async with aclosing(run.outcomes()) as results:
            while len(outcomes) < 19:
                outcomes.append(await anext(results))
            sim.script(RATE_LIMITED, method="GET")
            last = asyncio.ensure_future(anext(results, None))
            while not client.pacing.snapshot().rate_limited:
                await asyncio.sleep(0.002)
            run.stop("Ctrl-C")
            assert await asyncio.wait_for(last, 10) is None
        assert len(outcomes) == states(tmp_path / "a.journal")["updated"] == 19
        assert [*Journal.open(tmp_path / "a.journal").records()][-1]["stop"] == "stopped: Ctrl-C"


async def test_a_stop_twice_or_after_the_end_does_nothing(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=20) as sim, client_of(sim) as client:
        run = apply(client, await plan_of(client, tmp_path), tmp_path / "a.journal")
        assert counts(await collect(run)) == {"updated": 20}
        run.stop("Ctrl-C")
        run.stop("Ctrl-C")
        assert [*Journal.open(tmp_path / "a.journal").records()][-1]["stop"] == "done"
