"""A file that was exported earlier: rooms that were modified meanwhile are counted, and are problems with `strict`."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from aiorooms.bulk import BulkInputError, Plan, PlanSummary, export_rooms, make_plan, read_rows
from aiorooms.simulator import RoomsSimulator

from .conftest import client_of, files_in


async def outdated(sim: RoomsSimulator, path: Path, *, strict: bool = False) -> PlanSummary:
    async with client_of(sim) as client:
        with await asyncio.to_thread(read_rows, path) as rows:
            return await make_plan(client, rows, path.with_name("a.plan"), strict=strict)


async def exported(sim: RoomsSimulator, path: Path) -> Path:
    async with client_of(sim) as client:
        await export_rooms(client, path)
    return path


@pytest.mark.parametrize("form", ["csv", "jsonl"])
async def test_rooms_that_were_modified_after_the_export_are_counted(tmp_path: Path, form: str) -> None:
    async with RoomsSimulator(rooms=8) as sim:
        path = await exported(sim, tmp_path / f"a.{form}")
        summary = await outdated(sim, path, strict=True)
        assert (summary.rooms, summary.unchanged, summary.outdated, summary.outdated_rooms) == (0, 8, 0, [])
        for number, room_id in enumerate(sim.room_ids[2:7]):
            sim.change_room(room_id, max_participants=30 + number)
        summary = await outdated(sim, path)
        assert (summary.rooms, summary.unchanged, summary.outdated) == (5, 3, 5)
        assert summary.outdated_rooms == sim.room_ids[2:5]
        assert [planned.after for planned in Plan.open(tmp_path / "a.plan").updates()] == [{"max_participants": 10}] * 5


@pytest.mark.parametrize("form", ["csv", "jsonl"])
async def test_with_strict_each_modified_room_is_a_problem_with_its_line(tmp_path: Path, form: str) -> None:
    async with RoomsSimulator(rooms=5) as sim:
        path = await exported(sim, tmp_path / f"a.{form}")
        for room_id in (sim.room_ids[3], sim.room_ids[1]):
            sim.change_room(room_id, enable_recording=True)
        with pytest.raises(BulkInputError) as caught:
            await outdated(sim, path, strict=True)
        first = 2 if form == "csv" else 1
        assert [problem.line for problem in caught.value.problems] == [first + 1, first + 3]
        assert {problem.code for problem in caught.value.problems} == {"room_modified"}
        problem = caught.value.problems[0]
        at = sim.rooms[sim.room_ids[1]]["updated_at"]
        text = f"room {sim.room_ids[1]} was modified at {at}, after the file was exported; export the rooms again"
        assert problem.message == text
        assert files_in(tmp_path) == [path.name]


async def test_only_the_first_1000_modified_rooms_are_listed(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=1010) as sim:
        path = await exported(sim, tmp_path / "a.csv")
        for room_id in sim.room_ids:
            sim.change_room(room_id, enable_recording=True)
        with pytest.raises(BulkInputError) as caught:
            await outdated(sim, path, strict=True)
        assert len(caught.value.problems) == 1001
        assert caught.value.problems[-1].message == "10 more problems are not shown"


NOT_COMPARED: Sequence[object] = ["", "2024-01-01 00:01", "2024-01-01T00:01:00", "1/1/24 0:01", "null", "é", "\ud800"]


@pytest.mark.parametrize("time", [None, 5, True, [], *NOT_COMPARED], ids=repr)
async def test_a_row_without_a_time_with_a_time_zone_is_not_compared(tmp_path: Path, time: object) -> None:
    async with RoomsSimulator(rooms=1) as sim:
        row = {"id": sim.room_ids[0], "max_participants": 20, "updated_at": time}
        (tmp_path / "a.jsonl").write_text(json.dumps(row))
        summary = await outdated(sim, tmp_path / "a.jsonl", strict=True)
        assert (summary.rooms, summary.outdated) == (1, 0)


@pytest.mark.parametrize(
    ("time", "is_outdated"),
    [
        ("2024-01-01T00:01:00.500000Z", False),
        ("2024-01-01T02:01:00.5+02:00", False),
        ("2024-01-01T00:01:00Z", True),
        ("0001-01-01T00:00:00+05:00", True),
        ("9999-12-31T23:59:59-05:00", True),
    ],
)
async def test_times_are_compared_in_any_time_zone(tmp_path: Path, time: str, is_outdated: bool) -> None:
    async with RoomsSimulator() as sim:
        room_id = sim.add_room(updated_at="2024-01-01T00:01:00.500000Z")
        (tmp_path / "a.csv").write_text(f"id,max_participants,updated_at\n{room_id},20,{time}\n")
        summary = await outdated(sim, tmp_path / "a.csv")
        assert (summary.rooms, summary.outdated) == (1, is_outdated)
