"""The option --limit tries a plan with a few rooms. The options for retries and outages limit how long a run waits."""

import json
from pathlib import Path

import pytest

from aiorooms.bulk import Journal
from aiorooms.simulator import RoomsSimulator

from .conftest import Invoke, lines, planned, without_window

JOURNAL = "rooms.plan.journal"


def test_a_canary_succeeds_and_says_how_to_go_on(sim: RoomsSimulator, invoke: Invoke) -> None:
    planned(invoke)
    result = invoke("apply", "rooms.plan", "--yes", "--limit", "3", "--strict")
    assert result.exit_code == 0
    assert without_window(result.stderr) == [
        "3 updated, 17 not begun, out of 20.",
        "Stopped at the limit of 3 rooms (--limit).",
        f"To continue: aiorooms resume {JOURNAL} --strict",
    ]
    assert sum(room["max_participants"] == 30 for room in sim.rooms.values()) == 3
    result = invoke("resume", JOURNAL, "--yes", "--limit", "1")
    assert result.exit_code == 0
    assert "Stopped at the limit of 1 room (--limit)." in lines(result.stderr)
    result = invoke("resume", JOURNAL, "--yes", "--limit", "16")
    assert result.exit_code == 0
    assert without_window(result.stderr) == ["16 updated, 4 updated in earlier runs, out of 20."]
    assert all(room["max_participants"] == 30 for room in sim.rooms.values())


def test_the_json_says_that_the_limit_was_reached(invoke: Invoke) -> None:
    planned(invoke)
    result = invoke("apply", "rooms.plan", "--yes", "--limit", "3", "--json")
    *outcomes, totals = map(json.loads, lines(result.stdout))
    assert [outcome["status"] for outcome in outcomes] == ["updated"] * 3
    assert (totals["updated"], totals["not_begun"], totals["stopped_by"]) == (3, 17, "limit reached: 3 rooms begun")


def test_a_canary_with_a_failure_fails(sim: RoomsSimulator, invoke: Invoke) -> None:
    planned(invoke)
    sim.remove_room(sim.room_ids[0])
    result = invoke("apply", "rooms.plan", "--yes", "--limit", "3")
    assert result.exit_code == 1
    assert "2 updated, 1 failed, 17 not begun, out of 20." in lines(result.stderr)
    assert invoke("resume", JOURNAL, "--yes", "--limit", "3").exit_code == 1, "the room of the first run still failed"


def test_a_canary_with_a_rejected_key_exits_with_3(sim: RoomsSimulator, invoke: Invoke) -> None:
    planned(invoke)
    sim.api_key = "another"
    result = invoke("apply", "rooms.plan", "--yes", "--force", "--limit", "3")
    assert result.exit_code == 3
    assert "limit" not in result.stderr


def test_a_limit_of_one_room_needs_no_confirmation(sim: RoomsSimulator, invoke: Invoke) -> None:
    planned(invoke)
    assert invoke("apply", "rooms.plan", "--limit", "2").exit_code == 2
    assert not Path(JOURNAL).exists()
    assert invoke("apply", "rooms.plan", "--limit", "1").exit_code == 0
    assert [*Journal.open(JOURNAL).states().values()] == ["updated"]


def test_without_patience_and_retries_an_update_is_sent_once(sim: RoomsSimulator, invoke: Invoke) -> None:
    option = ("--outage-patience", "off", "--retries", "0")
    planned(invoke, "--set", "max_participants=30", "--where", "name=room-000001")
    sim.script("503", method="PATCH")
    result = invoke("apply", "rooms.plan", "--json", *option)
    outcome, totals = map(json.loads, lines(result.stdout))
    assert (result.exit_code, outcome["attempts"], totals["updated"]) == (1, 1, 0)
    sim.script("503", method="PATCH")
    (only,) = map(json.loads, lines(invoke("update", sim.room_ids[0], "--enable-recording", "--json", *option).stdout))
    assert only["attempts"] == 1
    sim.script("503", method="PATCH")
    assert invoke("resume", JOURNAL, "--retry-failed", "--yes").exit_code == 0, "the default has retries"


@pytest.mark.parametrize("command", ["apply", "update"])
def test_a_run_stops_when_its_patience_is_over(sim: RoomsSimulator, invoke: Invoke, command: str) -> None:
    planned(invoke)
    sim.refuse_connections("503")
    patience = ("--outage-patience", "100ms", "--json")
    if command == "apply":
        result = invoke("apply", "rooms.plan", "--yes", "--force", *patience)
    else:
        result = invoke("update", *sim.room_ids, "--enable-recording", *patience)
    assert result.exit_code == 1
    assert "the server was unavailable, or rate limited every request, for too long" in result.stderr
