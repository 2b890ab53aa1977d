"""The command demo: a killed, resumed and rolled back change, with faults, on a terminal and after Ctrl-C."""

import asyncio
import json
import math
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from rich.cells import cell_len

from aiorooms.bulk import Journal, Plan
from aiorooms.bulk._journal_records import Begin, End, Record, Run, Stop
from aiorooms.cli import _demo, _demo_steps
from aiorooms.cli._demo_figures import Figures, percentile
from aiorooms.simulator import RoomsSimulator

from .conftest import lines, run, running, signals_when, until
from .test_read import without_colour

CALM = ["--rate-limit", "none", "--faults", "0"]

pytestmark = pytest.mark.timeout(120)  # each demo starts seven processes, one after another


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder in which the demo makes its temporary folder."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def demo_json(*options: str) -> dict[str, Any]:
    result = run("demo", "--json", *options)
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    (line,) = lines(result.stdout)
    data: dict[str, Any] = json.loads(line)
    return data


def test_the_json_has_all_totals_and_they_agree_with_the_simulator(started: list[RoomsSimulator]) -> None:
    data = demo_json("--rooms", "200", "--rate-limit", "200/1s", "--faults", "10%", "--seed", "5")
    assert list(data) == [
        *["rooms", "updated", "failed", "uncertain", "skipped", "verified", "retried", "refused", "broken"],
        *["requests", "applied", "seconds", "updates_per_second", "latency", "restored", "killed", "before_kill"],
        *["in_flight", "found", "commands", "failure", "seed", "folder"],
    ]
    (sim,) = started
    assert (data["rooms"], data["updated"], data["verified"], data["restored"], data["seed"]) == (200, 200, 200, 200, 5)
    assert (data["failed"], data["uncertain"], data["skipped"], data["failure"], data["folder"]) == (
        0,
        0,
        0,
        None,
        None,
    )
    assert (data["requests"], data["refused"]) == (sim.stats.requests, sim.stats.refused)
    assert data["broken"] == sim.stats.faults.total() > 10
    assert data["applied"] == sim.stats.updates_applied.total() >= 400
    assert set(sim.stats.updates_applied) == set(sim.rooms)
    assert [room["webhook_event_url"] for room in sim.rooms.values()] == [
        f"https://old.example.com/rooms/{number}/events" for number in range(1, 201)
    ]
    assert 0 < data["retried"] <= data["refused"] + data["broken"]
    assert math.isclose(data["updates_per_second"], 200 / data["seconds"], rel_tol=0.01)
    assert 0 < data["latency"]["p50"] <= data["latency"]["p95"] <= data["latency"]["p99"]
    assert data["killed"] is True
    assert data["in_flight"] > 0
    assert data["before_kill"] + data["in_flight"] <= 200
    assert 0 <= data["found"] <= data["in_flight"]
    assert [command["words"][1] for command in data["commands"]] == [
        *["plan", "apply", "resume", "verify", "rollback", "apply", "verify"]
    ]
    assert [command["exit_code"] for command in data["commands"]] == [0, -signal.SIGKILL, 0, 0, 0, 0, 0]


def test_a_run_of_one_room_is_killed_in_the_middle() -> None:
    data = demo_json("--rooms", "1", *CALM)
    assert (data["killed"], data["updated"], data["verified"], data["restored"]) == (True, 1, 1, 1)
    assert data["in_flight"] >= 1


def test_the_demo_succeeds_with_a_fault_rate_of_50_percent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_demo, "_STALL", 0.05)
    data = demo_json("--rooms", "40", "--rate-limit", "none", "--faults", "50%")
    assert data["updated"] == data["verified"] == data["restored"] == 40
    assert data["retried"] > 10


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, Path]:
    """Return the result of a demo without a terminal, and the folder in which it was started, with its files.

    The demo runs once for all tests, in an environment with settings of the user that it must ignore.
    """
    folder = tmp_path_factory.mktemp("kept")
    (folder / "temporary").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(tempfile, "tempdir", str(folder / "temporary"))
        patch.setenv("TELNYX_API_KEY", "not a key")
        patch.setenv("TELNYX_BASE_URL", "not a URL")
        patch.setenv("http_proxy", "http://127.0.0.1:1")
        patch.setenv("AIOROOMS_LOG", "debug")
        return run("demo", "--rooms", "30", *CALM, "--keep", "my files/demo"), folder


def test_without_a_terminal_the_demo_writes_plain_text(kept: tuple[Result, Path]) -> None:
    result, _ = kept
    assert result.exit_code == 0, result.output
    assert "debug" not in result.stdout.lower(), "the setting of the user for the log was used"
    assert result.stderr == "", "a bar was shown without a terminal"
    assert "\x1b" not in result.stdout
    written = lines(result.stdout)
    assert [line for line in written if line.startswith("$ ")] == [
        "$ aiorooms plan --rewrite-webhook-host old.example.com=new.example.com",
        "$ aiorooms apply rooms.plan --yes",
        "$ aiorooms resume rooms.plan.journal --yes",
        "$ aiorooms verify rooms.plan",
        "$ aiorooms rollback rooms.plan.journal",
        "$ aiorooms apply back.plan --yes",
        "$ aiorooms verify back.plan",
        "$ aiorooms report rooms.plan.journal --out report.html",
    ]
    assert [line.partition(":")[0] for line in written if re.match(r"\d\. ", line)] == [
        *["1. Plan", "2. Apply, and a crash", "3. Resume", "4. Verify", "5. Roll back", "6. Verify again", "7. Report"]
    ]
    assert written.count("All 30 rooms are as planned.") == 2
    assert "  webhook_event_url (host): new.example.com -> old.example.com" in written
    rows = [line.split() for line in written if line.startswith("  ")]
    for label in (["updated", "30"], ["failed", "0"], ["retried"], ["rate", "limited", "0"], ["time"], ["updates/s"]):
        assert any(words[: len(label)] == label for words in rows), f"{label} is not in the table"
    for share in ("p50", "p95", "p99"):
        assert any(words[:2] == ["latency", share] for words in rows), f"{share} is not in the table"
    assert "Verified: all 30 rooms had the new URLs, and have all their old values again." in written
    assert written[-1] == "  aiorooms simulate --from rooms.csv --rate-limit 100/1s"
    ours = [line for line in written if not line.startswith("Changes that others made")]
    assert all(line == line.rstrip() and len(line) <= 80 for line in ours)


@pytest.mark.parametrize(("columns", "has_colours"), [(80, True), (120, False)])
def test_on_a_terminal_the_demo_shows_bars_and_colours(
    on_terminal: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch, columns: int, has_colours: bool
) -> None:
    if not has_colours:
        monkeypatch.setenv("NO_COLOR", "1")
    code, text = on_terminal("demo", "--rooms", "100", *CALM, columns=columns)
    assert code == 0
    assert ("\x1b[3" in text) == has_colours
    assert text.count("100/100") >= 2, "no bars were shown"
    assert re.search(r"/s in \d+:\d\d", "".join(without_colour(text))), "the bar lacks the rate or the time"
    assert text.rfind("\x1b[?25h") > text.rfind("\x1b[?25l"), "the cursor was left hidden"
    assert "Killed. The server had applied " in text
    for line in without_colour(text):
        if not line.startswith("Changes that others made"):
            assert cell_len(line.rsplit("\r", 1)[-1]) <= columns, f"wider than the screen: {line}"


def test_keep_leaves_the_files_in_a_new_folder(kept: tuple[Result, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    result, folder = kept
    monkeypatch.chdir(folder)
    files = folder / "my files" / "demo"
    names = ["back.plan", "back.plan.journal", "report.html", "rooms.plan", "rooms.plan.journal"]
    assert sorted(path.name for path in files.iterdir()) == names
    assert (Plan.open(files / "rooms.plan").rooms, Journal.open(files / "rooms.plan.journal").runs()) == (30, 2)
    assert "  aiorooms show 'my files/demo/rooms.plan'" in lines(result.stdout)
    assert run("show", "my files/demo/rooms.plan").exit_code == 0
    assert [*(folder / "temporary").iterdir()] == []
    again = run("demo", "--keep", "my files/demo", "--rooms", "0")
    assert again.exit_code == 2
    assert lines(again.stderr) == [
        "aiorooms: --rooms: 0 is not in the range 1 to 1000000",
        "aiorooms: --keep: the folder 'my files/demo' is not empty; give a new one",
        "aiorooms: 2 problems; nothing was changed",
    ]


@pytest.mark.parametrize("path", ["file", "file/below"])
def test_keep_needs_a_folder(folder: Path, path: str) -> None:
    (folder / "file").touch()
    result = run("demo", "--keep", path)
    assert (result.exit_code, lines(result.stderr)) == (
        2,
        [f"aiorooms: --keep: {path!r} is not a folder; give a new one"],
    )


# --- what goes wrong ---


def test_a_command_that_fails_ends_the_demo(monkeypatch: pytest.MonkeyPatch, temporary: Path) -> None:
    make = RoomsSimulator.__init__

    def with_another_key(sim: RoomsSimulator, **options: Any) -> None:
        make(sim, **options)
        monkeypatch.setattr(RoomsSimulator, "api_key", "KEY_unknown")  # what the commands get

    monkeypatch.setattr(RoomsSimulator, "__init__", with_another_key)
    result = run("demo", "--rooms", "3", *CALM)
    assert result.exit_code == 1
    assert "Not verified: step 1 failed: `aiorooms plan` ended with exit code 3." in lines(result.stdout)
    data = json.loads(run("demo", "--rooms", "3", *CALM, "--json").stdout)
    assert data["failure"] == "step 1 failed: `aiorooms plan` ended with exit code 3"
    assert (data["updated"], data["verified"], data["skipped"]) == (0, 0, 3)
    assert [*temporary.iterdir()] == []


def change_before(
    monkeypatch: pytest.MonkeyPatch, started: list[RoomsSimulator], command: str, plan: str, **fields: Any
) -> None:
    """Change the first room when the demo has run the commands before this one."""
    run_command = _demo_steps.Commands.run

    async def change_and_run(commands: _demo_steps.Commands, *words: str, **options: Any) -> _demo_steps.EndedCommand:
        if words[:2] == (command, plan):
            started[0].change_room(started[0].room_ids[0], **fields)
        return await run_command(commands, *words, **options)

    monkeypatch.setattr(_demo_steps.Commands, "run", change_and_run)


@pytest.mark.parametrize(
    ("command", "plan", "fields", "failure"),
    [
        ("verify", "rooms.plan", {"webhook_event_url": "https://a.example.com"}, "step 4 failed: `aiorooms verify` "),
        ("rollback", "rooms.plan.journal", {"webhook_event_url": "https://a.example.com"}, "step 5 failed: "),
        (
            "verify",
            "rooms.plan",
            {"max_participants": 40},
            "1 of 10 rooms did not get the new URLs, and 1 ",
        ),
        (
            "verify",
            "back.plan",
            {"max_participants": 40},
            "0 of 10 rooms did not get the new URLs, and 1 ",
        ),
    ],
)
def test_a_room_with_other_values_is_reported(
    monkeypatch: pytest.MonkeyPatch,
    started: list[RoomsSimulator],
    command: str,
    plan: str,
    fields: dict[str, Any],
    failure: str,
) -> None:
    change_before(monkeypatch, started, command, plan, **fields)
    result = run("demo", "--rooms", "10", *CALM)
    assert result.exit_code == 1
    assert f"Not verified: {failure}" in result.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("method", ["GET", "PATCH"])
def test_a_signal_is_reported_in_one_line_and_leaves_nothing(
    started: list[RoomsSimulator],
    temporary: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
    method: str,
) -> None:
    pids: list[int] = []
    create = asyncio.create_subprocess_exec

    async def create_and_record(*words: Any, **options: Any) -> Any:
        process = await create(*words, **options)
        pids.append(process.pid)
        return process

    monkeypatch.setattr(asyncio, "create_subprocess_exec", create_and_record)
    with signals_when(lambda: bool(started) and started[0].stats.by_method[method] > 0, number):
        result = run("demo", "--rooms", "200", "--rate-limit", "20/1s")
    assert result.exit_code == 130
    (line,) = lines(result.stderr)
    assert re.fullmatch(r"aiorooms: interrupted in step [12] of 6; its files were removed", line)
    assert [*temporary.iterdir()] == []
    assert pids
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_ctrl_c_on_a_terminal_does_not_reach_the_commands(folder: Path) -> None:
    # The terminal sends Ctrl-C to all processes of its group. A command that got it would wait for its updates.
    command = [sys.executable, "-m", "aiorooms", "demo", "--rooms", "300", "--rate-limit", "20/1s", "--keep", "kept"]
    with running(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True) as process:
        until(lambda: (folder / "kept" / "rooms.plan.journal").exists(), "the run has begun")
        os.killpg(process.pid, signal.SIGINT)
        out, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "stopping" not in out
    assert errors == "aiorooms: interrupted in step 2 of 7; its files are in kept\n"


def test_invalid_options_are_reported_together() -> None:
    result = run("demo", "--rooms", "0", "--faults", "101%", "--rate-limit", "fast", "--seed", "-1")
    assert result.exit_code == 2
    assert [line.split(": ")[1] for line in lines(result.stderr)[:-1]] == [
        *["--rooms", "--rate-limit", "--faults", "--seed"]
    ]
    assert result.stdout == ""


# --- pure parts ---


def end(room_id: str, at: float, status: Any = "updated", **values: Any) -> End:
    return End(end=room_id, at=at, status=status, **values)


def begin(room_id: str, at: float) -> Begin:
    return Begin(begin=room_id, at=at, before={}, after={})


KILLED: list[Record] = [
    Run(run=1, at=1.0),
    begin("A", 1.0),
    begin("B", 1.5),
    begin("C", 1.5),
    end("A", 2.0, attempts=2, elapsed=0.5),
    Run(run=2, at=10.0),
    end("B", 11.0, found=True),
    begin("C", 11.0),
    end("C", 13.0, attempts=1, elapsed=0.25),
    begin("D", 13.0),
    end("D", 14.0, "failed", attempts=3, elapsed=9.0),
    Stop(stop="done", at=14.5),
]

JOURNALS: dict[str, tuple[Sequence[Record], tuple[dict[str, int], int, float, list[float], int, int, int]]] = {
    "empty": ([], ({}, 0, 0.0, [], 0, 0, 0)),
    "killed at once": (KILLED[:1], ({}, 0, 0.0, [], 0, 0, 0)),
    "killed": (KILLED[:5], ({"updated": 1, "begun": 2}, 1, 1.0, [0.5], 1, 2, 0)),
    "resumed": (KILLED, ({"updated": 3, "failed": 1}, 2, 5.5, [0.25, 0.5], 1, 2, 1)),
}


@pytest.mark.parametrize(("entries", "wanted"), JOURNALS.values(), ids=JOURNALS)
def test_the_figures_are_those_of_the_journal(entries: Sequence[Record], wanted: tuple[Any, ...]) -> None:
    found = Figures.of(entries, 4)
    killed = (found.before_kill, found.in_flight, found.found)
    assert (dict(found.states), found.retried, found.seconds, found.latencies, *killed) == wanted


@pytest.mark.parametrize(
    ("count", "share", "value"),
    [(0, 50, 0), (1, 50, 1), (1, 99, 1), (2, 50, 1), (100, 50, 50), (100, 99, 99), (2000, 95, 1900)],
)
def test_percentiles_are_computed_by_nearest_rank(count: int, share: int, value: int) -> None:
    assert percentile([float(n) for n in range(1, count + 1)], share) == value


@pytest.mark.parametrize(
    "words",
    [
        ["aiorooms", "verify", "rooms.plan"],
        ["aiorooms", "plan", *["--set", "webhook_event_url=https://new.example.com/a?b=c&d"] * 3, "it's", "a b"],
        ["aiorooms", "plan", "x" * 100, "y"],
    ],
)
def test_a_wrapped_command_is_one_command_for_a_shell(words: list[str]) -> None:
    written = _demo_steps.wrapped(words)
    assert all(len(line) <= max(80, max(map(len, words)) + 6) for line in written)
    script = "printf '%s\\n' " + "\n".join(written).removeprefix("$ ")
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    assert lines(done.stdout) == words
