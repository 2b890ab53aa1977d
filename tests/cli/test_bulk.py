"""The commands plan, show, apply, resume, verify, rollback, report and export."""

import asyncio
import itertools
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aiorooms import RoomsClient
from aiorooms.bulk import _hosts
from aiorooms.cli._many import TOTALS
from aiorooms.simulator import RoomsSimulator

from .conftest import KEY, Invoke, lines, planned, run, signals_when, without_window

NEW = "new.example.com"
SET = ("--set", "max_participants=3")


def host_of(sim: RoomsSimulator) -> str:
    url = next(iter(sim.rooms.values()))["webhook_event_url"]
    return str(url).split("/")[2]


def fields(sim: RoomsSimulator) -> dict[str, dict[str, Any]]:
    return {room_id: {**room, "updated_at": None} for room_id, room in sim.rooms.items()}


async def delete(sim: RoomsSimulator, room_id: str) -> None:
    async with RoomsClient(sim.api_key, base_url=sim.url) as client:
        await client.rooms.delete(room_id)


def test_plan_apply_verify_resume_rollback_and_report(sim: RoomsSimulator, invoke: Invoke, folder: Path) -> None:
    before, host = fields(sim), host_of(sim)
    result = invoke("plan", "--rewrite-webhook-host", f"{host}={NEW}", "--set", "max_participants=30")
    assert result.exit_code == 0
    first, *changes = lines(result.stdout.split("\n\n")[0])
    assert first.startswith("20 rooms, such as room-000001 (")
    assert changes == ["  max_participants: 10 -> 30", f"  webhook_event_url (host): {host} -> {NEW}"]
    assert lines(result.stdout)[-1] == "20 rooms to change."
    assert result.stderr == "To apply the plan: aiorooms apply rooms.plan\n"
    assert fields(sim) == before, "planning changed a room"
    header, _, rest = invoke("show", "rooms.plan").stdout.partition("A rollback could bring back all rooms.\n\n")
    assert header.startswith("Plan:      rooms.plan\n")
    assert rest == result.stdout
    *_, rest = invoke("show", "rooms.plan", "--all").stdout.partition("A rollback could bring back all rooms.\n\n")
    assert len(lines(rest)) == 20 * 4 + 1

    assert invoke("verify", "rooms.plan").exit_code == 1
    result = invoke("apply", "rooms.plan", "--yes")
    assert (result.exit_code, result.stdout) == (0, "")
    assert without_window(result.stderr) == ["20 updated, out of 20."]
    assert all(room["max_participants"] == 30 and NEW in str(room["webhook_event_url"]) for room in sim.rooms.values())
    assert invoke("verify", "rooms.plan").exit_code == 0

    result = invoke("resume", "rooms.plan.journal", "--yes")
    assert (result.exit_code, result.stderr) == (0, "0 updated, 20 updated in earlier runs, out of 20.\n")

    sim.change_room(sim.room_ids[0], max_participants=7)
    result = invoke("rollback", "rooms.plan.journal")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"aiorooms: room {sim.room_ids[0]} was modified by someone else")
    assert invoke("apply", "back.plan", "--yes").exit_code == 0
    after = fields(sim)
    assert {room_id for room_id in before if before[room_id] != after[room_id]} == {sim.room_ids[0]}

    result = invoke("report", "rooms.plan.journal", "--out", "a.html")
    assert (result.exit_code, result.stdout) == (0, "Wrote the report to a.html.\n")
    assert "<b>20</b>updated<" in (folder / "a.html").read_text()


def test_a_file_is_exported_checked_and_planned(sim: RoomsSimulator, invoke: Invoke, folder: Path) -> None:
    assert invoke("export", "rooms.csv").stdout == "Wrote 20 rooms to rooms.csv.\n"
    assert run("plan", "rooms.csv", "--check").stdout == "rooms.csv: 20 rows, no problems.\n"
    result = invoke("plan", "rooms.csv", "--detailed-exitcode")
    assert (result.exit_code, result.stdout) == (0, "0 rooms to change, 20 already as planned.\n")
    (folder / "few.csv").write_text(f"room,max_participants\nroom-000002,12\n{sim.room_ids[3]},13\n")
    result = invoke("plan", "few.csv", "--detailed-exitcode", "--overwrite", "--json")
    assert result.exit_code == 2
    totals = json.loads(result.stdout)
    assert (totals["rooms"], totals["unchanged"], totals["source"]) == (2, 0, "few.csv")
    result = invoke("apply", "rooms.plan", "--yes", "--json")
    *events, last = map(json.loads, lines(result.stdout))
    assert {event["room_id"] for event in events} == {sim.room_ids[1], sim.room_ids[3]}
    assert (last["updated"], last["rooms"], last["stopped_by"]) == (2, 2, None)
    assert sim.rooms[sim.room_ids[1]]["max_participants"] == 12
    named = re.findall(r"\w+", run("apply", "--help").stdout)
    assert {*events[0], *last} <= {*named}, "the help does not name a key of the JSON"


def test_all_problems_of_a_file_are_reported_and_no_plan_is_written(
    sim: RoomsSimulator, invoke: Invoke, folder: Path
) -> None:
    (folder / "a.csv").write_text(f"room,max_participants\nroom-000002,1\n{sim.room_ids[3]},99\n")
    for options in ((), ("--check",)):
        result = invoke("plan", "a.csv", *options)
        assert result.exit_code == 2
        assert lines(result.stderr) == [
            "aiorooms: a.csv, line 2, max_participants: 1 is not in the range 2 to 50",
            "aiorooms: a.csv, line 3, max_participants: 99 is not in the range 2 to 50",
            "aiorooms: 2 problems; nothing was changed",
        ]
    assert invoke("plan", "a.csv", "--detailed-exitcode").exit_code == 1
    (folder / "b.csv").write_text("room,max_participants\nnobody,5\n")
    result = invoke("plan", "b.csv")
    assert result.stderr == "aiorooms: b.csv, line 2, room: the account has no room with the name 'nobody'\n"
    assert not (folder / "rooms.plan").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("plan", "--overwrite"),
            "give either FILE, or at least one of --set and --rewrite-webhook-host; see `aiorooms plan --help`",
        ),
        (("plan", "--check"), "--check: give a FILE too"),
        (
            ("plan", "--set", "max_particpants=3", "--overwrite"),
            "--set: 'max_particpants=3' is not FIELD=VALUE",
        ),
        (
            ("plan", "--where", "colour=red", "--set", "max_participants=3", "--overwrite"),
            "--where: 'colour=red' is not a condition",
        ),
        (("plan", *SET, "--out", "there"), "--out: 'there' already exists"),
        (("plan", *SET, "--out", "x" * 300), f"the plan '...{'x' * 30}"),
        (("plan", "none.csv", "--overwrite"), "none.csv: the file can't be read: No such file or directory"),
        (("show", "none.plan"), "the plan 'none.plan' can't be read: No such file or directory"),
        (("show", "there"), "'there' is not a plan; create one with `aiorooms plan`"),
        (("apply", "there"), "'there' is not a plan"),
        (("apply", "rooms.plan"), "20 rooms would change; without a terminal, confirm with --yes"),
        (("apply", "rooms.plan", "--yes", "--rate", "0"), "--rate: '0' is less than 0.001 requests per second"),
        (
            ("apply", "rooms.plan", "--yes", "--journal", "there"),
            "the file 'there' already exists; give another file",
        ),
        (("apply", "rooms.plan", "--yes", "--base-url", "http://127.0.0.1:1/v2"), "the plan 'rooms.plan' was made for"),
        (("resume", "there"), "'there' is not a journal; `aiorooms apply` creates one"),
        (("rollback", "there"), "'there' is not a journal"),
        (("report", "there"), "'there' is not a journal"),
        (("export", "there"), "FILE: 'there' already exists"),
        (("export", "rooms.txt"), "rooms.txt: the extension '.txt' is unknown"),
        (("export", "rooms.csv", "--format", "xml"), "--format: 'xml' is not one of csv, jsonl"),
    ],
)
def test_invalid_input_is_a_one_line_error_and_changes_nothing(
    sim: RoomsSimulator, invoke: Invoke, folder: Path, arguments: tuple[str, ...], message: str
) -> None:
    (folder / "there").write_text("x")
    planned(invoke)
    before = fields(sim)
    result = invoke(*arguments)
    assert result.exit_code == 2, result.output
    assert lines(result.stderr)[0].startswith(f"aiorooms: {message}")
    assert len(lines(result.stderr)) == 1
    assert fields(sim) == before


@pytest.mark.parametrize(
    "arguments",
    [
        ("report", "rooms.plan.journal", "--out", "rooms.plan.journal", "--overwrite"),
        ("rollback", "rooms.plan.journal", "--out", "rooms.plan.journal", "--overwrite"),
        ("plan", "rooms.csv", "--out", "./rooms.csv", "--overwrite"),
    ],
)
def test_the_input_file_is_never_overwritten(invoke: Invoke, folder: Path, arguments: tuple[str, ...]) -> None:
    planned(invoke)
    assert invoke("apply", "rooms.plan", "--yes").exit_code == 0
    assert invoke("export", "rooms.csv").exit_code == 0
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert result.stderr.endswith("is also the input; give another file\n")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_failures_and_conflicts_are_reported_and_the_run_can_be_resumed(sim: RoomsSimulator, invoke: Invoke) -> None:
    planned(invoke)
    gone, changed, *_ = sim.room_ids
    asyncio.run(delete(sim, gone))
    sim.change_room(changed, max_participants=7)
    result = invoke("apply", "rooms.plan", "--yes")
    assert result.exit_code == 1
    errors = without_window(result.stderr)
    assert any(line.startswith(f"aiorooms: 404 room {gone} not found") for line in errors)
    assert any(line.startswith(f"aiorooms: room {changed} was modified by someone else at") for line in errors)
    assert errors[-3] == "18 updated, 1 failed, 1 in conflict, out of 20."
    assert errors[-2] == "To retry failed rooms: aiorooms resume rooms.plan.journal --retry-failed"
    assert errors[-1] == "To change rooms that someone else modified: aiorooms resume rooms.plan.journal --force"
    assert sim.rooms[changed]["max_participants"] == 7
    result = invoke("resume", "rooms.plan.journal", "--yes", "--force")
    assert result.exit_code == 1, "a room that failed in an earlier run counts as failed, so the exit code must be 1"
    assert lines(result.stderr)[0] == "1 updated, 18 updated in earlier runs, 1 failed, out of 20."
    assert sim.rooms[changed]["max_participants"] == 30


def test_a_wrong_key_stops_the_run(invoke: Invoke, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planned(invoke)
    monkeypatch.setenv("TELNYX_API_KEY", "KEY_wrong")
    result = invoke("apply", "rooms.plan", "--yes")
    assert result.exit_code == 3
    assert "401" in result.stderr
    assert not (folder / "rooms.plan.journal").exists(), "the key is checked before the run begins"
    result = invoke("apply", "rooms.plan", "--yes", "--force")  # without a question and without a list of rooms
    assert result.exit_code == 3
    assert "401" in result.stderr
    assert "To continue: aiorooms resume rooms.plan.journal" in result.stderr


def test_ctrl_c_drains_updates_in_flight_and_shows_how_to_continue(sim: RoomsSimulator, invoke: Invoke) -> None:
    planned(invoke)
    sim.latency = 0.3
    with signals_when(lambda: sim.stats.in_flight >= 5, signal.SIGINT):
        result = invoke("apply", "rooms.plan", "--yes", "--concurrency", "5")
    assert result.exit_code == 130
    errors = lines(result.stderr)
    assert errors[0] == "aiorooms: stopping: waiting up to 5 s for 5 requests in flight; press Ctrl-C again to abort"
    assert errors[-1] == "To continue: aiorooms resume rooms.plan.journal"
    sim.latency = 0
    assert invoke("resume", "rooms.plan.journal", "--yes").exit_code == 0
    assert all(room["max_participants"] == 30 for room in sim.rooms.values())


@pytest.mark.parametrize(("answer", "code", "expected"), [("y", 0, 30), ("n", 0, 10), ("", 0, 10)])
def test_apply_asks_for_confirmation_and_shows_a_bar_on_a_terminal(
    sim: RoomsSimulator, invoke: Invoke, folder: Path, answer: str, code: int, expected: int
) -> None:
    planned(invoke)
    ours, theirs = os.openpty()
    environment = {**os.environ, "TELNYX_API_KEY": KEY, "TELNYX_BASE_URL": sim.url, "TERM": "xterm-256color"}
    command = [sys.executable, "-m", "aiorooms", "apply", "rooms.plan"]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, cwd=folder) as process:
        os.close(theirs)
        os.write(ours, f"{answer}\n".encode())
        shown = b""
        try:
            while piece := os.read(ours, 65536):
                shown += piece
        except OSError:
            pass  # on Linux, reading raises an OSError when the terminal is closed
        assert process.wait(10) == code, shown
    os.close(ours)
    assert b"Update 20 rooms at http://127.0.0.1:" in shown
    assert (b"20/20" in shown) is (answer == "y")
    assert (b"Nothing was changed." in shown) is (answer != "y")
    assert all(room["max_participants"] == expected for room in sim.rooms.values())


def test_show_uses_colours_on_a_terminal(invoke: Invoke, on_terminal: Callable[..., tuple[int, str]]) -> None:
    planned(invoke)
    code, text = on_terminal("show", "rooms.plan")
    assert code == 0
    assert "\x1b[31m10\x1b[0m -> \x1b[32m30\x1b[0m" in text


@pytest.mark.usefixtures("short_slow_start")
def test_aborted_updates_are_counted_as_uncertain(sim: RoomsSimulator, invoke: Invoke) -> None:
    planned(invoke)
    sim.latency = 60
    with signals_when(lambda: sim.stats.in_flight >= 5, signal.SIGINT, signal.SIGINT):
        result = invoke("apply", "rooms.plan", "--yes", "--json", "--force", "--concurrency", "5")
    assert result.exit_code == 130
    *events, totals = map(json.loads, lines(result.stdout))
    assert [event["status"] for event in events] == ["uncertain"] * 5
    assert (totals["uncertain"], totals["not_begun"], totals["stopped_by"]) == (5, 15, "interrupted")
    assert sum(totals[key] for key in TOTALS) == totals["rooms"] == 20
    assert "interrupted: 0 updated, 5 uncertain, 15 not begun, out of 20." in lines(result.stderr)


def test_many_different_changes_fit_on_one_screen(sim: RoomsSimulator, invoke: Invoke, folder: Path) -> None:
    rows = [f"{room_id},name-{n},{2 + n},false,{n}\n" for n, room_id in enumerate(sim.room_ids)]
    head = "room,unique_name,max_participants,enable_recording,webhook_timeout_secs\n"
    (folder / "a.csv").write_text(head + "".join(rows))
    shown = lines(invoke("plan", "a.csv").stdout)
    assert len(shown) < 50
    assert "rooms with other changes; --all shows each room" in shown[-3]


ORIGINS = [
    "https://a.io",
    "https://b.io:80",
    "http://http",
    "http://b.io",
    "https://u@a.io",
    "https://[::1",
    "/a",
    "http://[::1]:80",
]
PATHS = ["", "/", "/a.io", "/b.io", "?u=/a.io", "#", "//a.io/://b.io/"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("other", PATHS)
def test_two_urls_are_shortened_to_their_hosts_only_if_nothing_else_differs(path: str, other: str) -> None:
    for before, after in itertools.product([*ORIGINS, "https://b\t.io"], repeat=2):
        shown = _hosts.changed_hosts(before + path, after + other)
        assert shown == _hosts._changed_hosts(before + path, after + other)
        if shown is not None:
            assert (before + path).replace(*shown, 1) == after + other
