"""Export: the exported file can be edited, and a plan can be made from it."""

import asyncio
import json
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aiorooms import Room, RoomsClient
from aiorooms.bulk import BulkInputError, Plan, export_rooms, make_plan, read_rows
from aiorooms.bulk._export import _COLUMNS, _csv_line, _csv_row, _jsonl_line
from aiorooms.models._fields import differing
from aiorooms.simulator import RoomsSimulator

urls = st.sampled_from(
    [
        "",
        "hooks.example.com/x",
        "https://me:secret@a.example/",
        "https://a.example/x",
        "https://b.example/y?z=1,2",
        None,
    ]
)

ODD_NAMES = (
    *("null", "None", "NaN", "=1+1", "+1", "-1", "@x", "00123", "1e5", "'x", "'1'", "#N/A", "# x", "1-2", "March 1"),
    *("TRUE", '"', " a ", "  ", "a\nb", "a\r\nb", ";", "\ufeff", "x\ty"),
)
"""Names that a spreadsheet converts, or that a reader could take for something else."""


rooms = st.builds(
    Room,
    id=st.uuids().map(str),
    unique_name=st.text(st.characters(codec="utf-8", exclude_characters="\0")) | st.sampled_from([*ODD_NAMES, None]),
    max_participants=st.integers(0, 99) | st.none(),
    enable_recording=st.booleans() | st.none(),
    webhook_event_url=urls,
    webhook_event_failover_url=urls,
    webhook_timeout_secs=st.integers(0, 30) | st.none(),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
@given(
    st.lists(rooms, min_size=1, max_size=8, unique_by=(lambda room: room.id, lambda room: room.unique_name or room.id)),
    st.sampled_from(["csv", "jsonl"]),
)
def test_a_plan_from_an_unedited_export_changes_nothing(
    tmp_path: Path, account: list[Room], form: Literal["csv", "jsonl"]
) -> None:
    path = tmp_path / f"a.{form}"
    lines = [_csv_row(_COLUMNS), *map(_csv_line, account)] if form == "csv" else map(_jsonl_line, account)
    path.write_bytes(b"".join(lines))
    with read_rows(path, defer_values=True) as rows:
        for room in account:
            change = rows.change_of(room)
            assert change is not None
            assert differing(room, change.update.to_dict()) == {}
        assert list(rows.not_met()) == []


@pytest.mark.parametrize("name", ["rooms.csv", "rooms.jsonl"])
async def test_a_whole_account_is_exported_and_an_edit_of_the_file_is_planned(tmp_path: Path, name: str) -> None:
    async with RoomsSimulator(rooms=600) as sim, RoomsClient(sim.api_key, base_url=sim.url) as client:
        read: list[None] = []
        assert await export_rooms(client, tmp_path / name, on_room=lambda: read.append(None)) == 600 == len(read)
        text = (tmp_path / name).read_bytes().decode()
        with await asyncio.to_thread(read_rows, tmp_path / name) as rows:
            assert rows.count == 600
            summary = await make_plan(client, rows, tmp_path / "plan")
            assert (summary.rooms, summary.unchanged) == (0, 600)
        (tmp_path / name).write_bytes(text.replace("room-000007", "seven").encode())
        with await asyncio.to_thread(read_rows, tmp_path / name) as rows:
            await make_plan(client, rows, tmp_path / "plan")
        (planned,) = Plan.open(tmp_path / "plan").updates()
        assert (planned.before, planned.after) == ({"unique_name": "room-000007"}, {"unique_name": "seven"})
    if name.endswith("jsonl"):
        assert None not in json.loads(text.splitlines()[0]).values()


async def test_a_path_that_can_not_be_written_or_has_an_unknown_extension_is_an_error(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=1) as sim, RoomsClient(sim.api_key, base_url=sim.url) as client:
        with pytest.raises(BulkInputError, match=r"rooms\.txt: the extension '\.txt' is unknown; name the file"):
            await export_rooms(client, tmp_path / "rooms.txt")
        with pytest.raises(BulkInputError, match="the file can't be written: No such file or directory"):
            await export_rooms(client, tmp_path / "none" / "rooms.csv")
        left = [*tmp_path.glob("*")]  # noqa: ASYNC240 - no other task is running
    assert left == []
