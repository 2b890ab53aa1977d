"""Changes that others make between plan, apply and rollback, on the command line."""

import json
import re
import signal
from pathlib import Path

import pytest

from aiorooms.simulator import RoomsSimulator

from .conftest import Invoke, lines, planned, signals_when


def test_a_change_of_another_field_is_a_note_in_the_totals(sim: RoomsSimulator, invoke: Invoke) -> None:
    planned(invoke)
    first, second, *_ = sim.room_ids
    sim.change_room(first, enable_recording=True)
    result = invoke("apply", "rooms.plan", "--yes")
    assert result.exit_code == 0
    assert lines(result.stderr)[:2] == [
        "20 updated, out of 20.",
        "1 updated room was modified by someone else after the plan was made, but not in a planned field.",
    ]
    assert invoke("plan", "--set", "max_participants=40", "--overwrite").exit_code == 0
    for room_id in (first, second):
        sim.change_room(room_id, enable_recording=False)
    result = invoke("apply", "rooms.plan", "--yes", "--json", "--journal", "b.journal")
    *events, totals = map(json.loads, lines(result.stdout))
    assert {event["room_id"] for event in events if event["note"] is not None} == {first, second}
    assert (totals["updated"], totals["noted"], totals["conflict"]) == (20, 2, 0)
    assert "2 updated rooms were modified by someone else" in result.stderr


def test_the_totals_have_the_time_in_which_changes_may_have_been_overwritten(invoke: Invoke) -> None:
    planned(invoke)
    shown = lines(invoke("apply", "rooms.plan", "--yes").stderr)[1]
    assert re.fullmatch(
        r"Changes that others made less than [0-9]+\.[0-9] s before an update may have been overwritten\.", shown
    )
    assert invoke("plan", "--set", "max_participants=40", "--overwrite").exit_code == 0
    result = invoke("apply", "rooms.plan", "--yes", "--json", "--journal", "b.journal")
    assert json.loads(lines(result.stdout)[-1])["overwrite_window"] > 0
    result = invoke("resume", "b.journal", "--yes", "--json")
    assert json.loads(lines(result.stdout)[-1])["overwrite_window"] is None
    assert "overwritten" not in result.stderr


def test_with_strict_a_change_of_another_field_is_a_conflict(sim: RoomsSimulator, invoke: Invoke) -> None:
    planned(invoke)
    sim.change_room(sim.room_ids[0], enable_recording=True)
    result = invoke("apply", "rooms.plan", "--yes", "--strict")
    assert result.exit_code == 1
    assert "19 updated, 1 in conflict, out of 20." in lines(result.stderr)
    assert lines(result.stderr)[-1].endswith("aiorooms resume rooms.plan.journal --force")
    assert sim.rooms[sim.room_ids[0]]["max_participants"] == 10


def test_the_command_that_continues_a_strict_run_is_strict_too(sim: RoomsSimulator, invoke: Invoke) -> None:
    planned(invoke)
    sim.change_room(sim.room_ids[-1], enable_recording=True)
    sim.latency = 0.3
    with signals_when(lambda: sim.stats.in_flight >= 5, signal.SIGINT):
        result = invoke("apply", "rooms.plan", "--yes", "--strict", "--concurrency", "5")
    assert lines(result.stderr)[-1] == "To continue: aiorooms resume rooms.plan.journal --strict"
    sim.latency = 0
    result = invoke("resume", "rooms.plan.journal", "--yes", "--strict")
    assert result.exit_code == 1
    assert sim.rooms[sim.room_ids[-1]]["max_participants"] == 10


@pytest.mark.parametrize("command", [("apply", "rooms.plan"), ("resume", "rooms.plan.journal")], ids=lambda one: one[0])
def test_force_and_strict_exclude_each_other(sim: RoomsSimulator, invoke: Invoke, command: tuple[str, str]) -> None:
    planned(invoke)
    result = invoke(*command, "--yes", "--force", "--strict")
    assert (result.exit_code, result.stderr) == (2, "aiorooms: give only one of --force and --strict\n")


def test_a_rollback_keeps_a_change_of_another_field_and_with_strict_it_is_a_conflict(
    sim: RoomsSimulator, invoke: Invoke
) -> None:
    planned(invoke)
    assert invoke("apply", "rooms.plan", "--yes").exit_code == 0
    sim.change_room(sim.room_ids[0], enable_recording=True)
    result = invoke("rollback", "rooms.plan.journal", "--strict")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"aiorooms: room {sim.room_ids[0]} was modified by someone else after the update\n")
    assert lines(result.stdout)[-1] == "19 rooms to change."
    result = invoke("rollback", "rooms.plan.journal", "--overwrite")
    assert (result.exit_code, lines(result.stdout)[-1]) == (0, "20 rooms to change.")
    note = "1 room of the plan was modified by someone else after the run, but not in a field that the run changed."
    assert lines(result.stderr)[0] == note
    result = invoke("rollback", "rooms.plan.journal", "--overwrite", "--json")
    assert json.loads(result.stdout) == {
        "plan": "back.plan",
        "rooms": 20,
        "unchanged": 0,
        "conflicts": 0,
        "noted": 1,
        "damaged_lines": [],
    }


def test_a_plan_from_an_old_export_says_how_many_rooms_were_modified_since(
    sim: RoomsSimulator, invoke: Invoke, folder: Path
) -> None:
    assert invoke("export", "rooms.csv").exit_code == 0
    assert invoke("plan", "rooms.csv", "--strict").exit_code == 0
    first = sim.room_ids[0]
    sim.change_room(first, max_participants=7)
    result = invoke("plan", "rooms.csv", "--overwrite")
    note = f"1 room was modified after rooms.csv was exported, and the plan may revert these changes: {first}."
    assert (result.exit_code, lines(result.stderr)[0]) == (0, note)
    for room_id in sim.room_ids[1:6]:
        sim.change_room(room_id, enable_recording=True)
    result = invoke("plan", "rooms.csv", "--overwrite")
    note = "6 rooms were modified after rooms.csv was exported, and the plan may revert these changes: "
    assert lines(result.stderr)[0] == f"{note}{', '.join(sim.room_ids[:3])} and others."
    totals = json.loads(invoke("plan", "rooms.csv", "--overwrite", "--json").stdout)
    assert (totals["rooms"], totals["outdated"], totals["outdated_rooms"]) == (6, 6, sim.room_ids[:3])
    (folder / "rooms.plan").unlink()
    result = invoke("plan", "rooms.csv", "--strict")
    assert result.exit_code == 2
    assert lines(result.stderr)[0].startswith(f"aiorooms: rooms.csv, line 2: room {first} was modified at 20")
    assert lines(result.stderr)[-1] == "aiorooms: 6 problems; nothing was changed"
    assert not (folder / "rooms.plan").exists()


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        (("rooms.csv", "--check"), "omit it or --check, which does not read the account"),
        (("--set", "max_participants=3"), "give a FILE too"),
    ],
)
def test_a_strict_plan_needs_a_file_and_the_account(
    sim: RoomsSimulator, invoke: Invoke, arguments: tuple[str, ...], advice: str
) -> None:
    result = invoke("plan", *arguments, "--strict")
    assert result.exit_code == 2
    assert result.stderr == f"aiorooms: --strict: {advice}\n"
