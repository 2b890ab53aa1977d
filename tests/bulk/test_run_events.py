"""A run records its pauses and outages, and an older aiorooms can still read and continue its journal."""

from collections.abc import Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from aiorooms import RoomsClient
from aiorooms.bulk import Journal, apply, resume
from aiorooms.bulk import _journal_records as records
from aiorooms.bulk._journal_records import OutageBegin, OutageEnd, Pause
from aiorooms.bulk._run_events import record_events
from aiorooms.client import telemetry_of
from aiorooms.simulator import FaultKind, RateLimit, RoomsSimulator
from aiorooms.telemetry import Event, OutageBegan, OutageEnded, RateLimitPaused, RunStopped

from .conftest import append_lines, client_of, collect, counts, plan_of, states

EVENTS: list[tuple[Event, Mapping[str, object]]] = [
    (RateLimitPaused(seconds=30.0, reason="retry_after", waiting=4), {"pause": 30.0, "reason": "retry_after"}),
    (RateLimitPaused(seconds=float("inf"), reason="limit", waiting=1), {"pause": 10_000_000.0, "reason": "limit"}),
    (RateLimitPaused(seconds=-0.5, reason="probing", waiting=1), {"pause": 0.0, "reason": "probing"}),
    (OutageBegan(reason="503 \udcff"), {"outage": "503 \\udcff"}),
    (OutageBegan(reason="x" * 20_000), {"outage": "x" * 9_997 + "..."}),
    (OutageEnded(seconds=12.34567), {"outage_end": 12.346}),
]


@pytest.mark.parametrize(("event", "line"), EVENTS, ids=range(len(EVENTS)))
async def test_a_pause_and_an_outage_are_one_line_each(
    tmp_path: Path, event: Event, line: Mapping[str, object]
) -> None:
    async with RoomsSimulator(rooms=2) as sim, client_of(sim) as client, client_of(sim) as other:
        run = apply(client, await plan_of(client, tmp_path), tmp_path / "a.journal")
        async with aclosing(run.outcomes()) as outcomes:
            await anext(outcomes)
            telemetry_of(other).emit(event)  # another client's events are not recorded
            telemetry_of(client.with_options(deadline=5)).emit(event)
        await collect(resume(client, tmp_path / "a.journal"))
        telemetry_of(client).emit(event)  # the run has ended
        found = [
            record
            for record in Journal.open(tmp_path / "a.journal").records()
            if {"pause", "outage", "outage_end"} & record.keys()
        ]
        assert [{key: value for key, value in record.items() if key != "at"} for record in found] == [line]


async def test_watching_a_client_creates_no_events_of_attempts(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("WARNING", "aiorooms")  # events that are logged are created too
    async with RoomsSimulator(rooms=1) as sim, client_of(sim) as client:
        seen: list[Event] = []
        telemetry = telemetry_of(client)
        end = telemetry.watch(seen.append)
        assert not telemetry.wants_attempts
        assert not telemetry.wants_retry(1.0, is_in_run=True)
        await client.rooms.update(sim.room_ids[0], max_participants=20)
        assert seen == []
        telemetry.emit(RunStopped(reason="x"))
        end()
        end()
        telemetry.emit(RunStopped(reason="y"))
        assert seen == [RunStopped(reason="x")]


async def test_a_pause_that_the_server_asks_for_is_in_the_journal(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=2) as sim, client_of(sim) as client:
        plan = await plan_of(client, tmp_path)
        sim.rate_limit = RateLimit(limit=1, window=1.2)
        await collect(apply(client, plan, tmp_path / "a.journal"))
        pauses = [one for one in Journal.open(tmp_path / "a.journal").entries() if isinstance(one, Pause)]
        assert pauses
        assert all(one.pause >= 1 for one in pauses)


async def test_an_outage_is_in_the_journal_with_its_end(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=20) as sim, client_of(sim) as client:
        plan = await plan_of(client, tmp_path)
        async with aclosing(apply(client, plan, tmp_path / "a.journal", concurrency=2).outcomes()) as outcomes:
            await anext(outcomes)
            failures: list[FaultKind] = ["503"] * 5
            sim.script(*failures)
            rest = [outcome async for outcome in outcomes]
        assert counts(rest) == {"updated": 19}
        kinds = [*Journal.open(tmp_path / "a.journal").entries()]
        begun = [one for one in kinds if isinstance(one, OutageBegin)]
        ended = [one for one in kinds if isinstance(one, OutageEnd)]
        assert len(begun) == len(ended) == 1
        assert "503" in begun[0].outage
        assert 0 <= ended[0].outage_end <= ended[0].at - begun[0].at + 0.1


async def test_an_older_aiorooms_reads_and_continues_the_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with RoomsSimulator(rooms=3) as sim, client_of(sim) as client:
        path = tmp_path / "a.journal"
        await collect(apply(client, await plan_of(client, tmp_path), path))
        append_lines(
            path, '{"pause":30.0,"reason":"later","at":1.0}', '{"outage":"503","at":2.0}', '{"outage_end":1.0,"at":3.0}'
        )
        known: dict[str, Any] = {
            kind: codec for kind, codec in records._KINDS.items() if kind in ("begin", "end", "run", "pacing", "stop")
        }
        monkeypatch.setattr(records, "_KINDS", known)
        assert states(path) == {"updated": 3}
        assert Journal.open(path).damaged_lines() == []
        assert not [one for one in Journal.open(path).entries() if isinstance(one, (Pause, OutageBegin, OutageEnd))]
        assert await collect(resume(client, path)) == []


async def test_a_full_disk_while_a_pause_is_recorded_is_no_error_of_the_listener(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from aiorooms.bulk._journal_writer import JournalWriter
    from aiorooms.errors import JournalError

    async with RoomsSimulator(rooms=1) as sim, client_of(sim) as client:
        plan = await plan_of(client, tmp_path)

        async def write() -> None:
            async with JournalWriter.create(tmp_path / "a.journal", plan) as journal:
                end = record_events(client, journal)
                journal._failure = OSError(28, "No space left on device")
                telemetry_of(client).emit(OutageEnded(seconds=1.0))
                end()

        with pytest.raises(JournalError, match="No space left"):
            await write()
        assert "a listener raised" not in caplog.text


def test_views_share_what_reports_their_events() -> None:
    client = RoomsClient("KEY0123")
    assert telemetry_of(client.with_options(deadline=1)) is telemetry_of(client)
