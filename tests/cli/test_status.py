"""`aiorooms status`: what it says about a run in each state, its exit codes, and that it leaves the run alone."""

import json
import re
import signal
import subprocess
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from aiorooms.bulk._line_checksum import sealed
from aiorooms.cli._status_text import as_planned
from aiorooms.simulator import RoomsSimulator

from .conftest import Invoke, Program, lines, planned, run, until

JOURNAL = "rooms.plan.journal"


def cut_after(what: str, *more: str) -> None:
    """Cut the journal after the last line of a kind, as a kill would, and append lines."""
    path = Path(JOURNAL)
    kept = path.read_bytes().splitlines(keepends=True)
    while not kept[-1].startswith(f'{{"{what}"'.encode()):
        kept.pop()
    path.write_bytes(b"".join([*kept, *(sealed(f"{line}\n".encode()) for line in more)]))


@pytest.mark.usefixtures("applied")
def test_a_complete_run_exits_with_0_and_needs_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TELNYX_API_KEY")
    result = run("status", JOURNAL)
    assert result.exit_code == 0
    first, *details = lines(result.stdout)
    assert first == "ended: all 20 rooms are as planned"
    text = "\n".join(details)
    assert re.search(
        r"plan +/.*/rooms.plan, made \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC from set max_participants=30", text
    )
    assert "server    http://127.0.0.1:" in text
    assert "outcomes  20 updated\n" in text
    assert re.search(r"run +1 \(apply\) began .* UTC, ended after .* s: done", text)
    assert "last line written at" in text
    assert "next" not in text
    assert result.stderr == ""


@pytest.mark.usefixtures("applied")
def test_json_is_one_object() -> None:
    result = run("status", JOURNAL, "--json")
    data: dict[str, Any] = json.loads(result.stdout)
    assert (data["state"], data["ended"], data["rooms"], data["done"], data["left"]) == ("ended", "done", 20, 20, 0)
    assert data["counts"]["updated"] == 20
    assert data["source"] == "set max_participants=30"
    assert data["outage"] is data["pause"] is data["seconds_left"] is None
    assert [one["run"] for one in data["runs"]] == [1]
    assert data["runs"][0]["began_at"].endswith("Z")


def test_rooms_that_failed_exit_with_1(invoke: Invoke, sim: RoomsSimulator) -> None:
    planned(invoke)
    for room_id in sim.room_ids[:3]:
        sim.remove_room(room_id)
    invoke("apply", "rooms.plan", "--yes")
    result = run("status", JOURNAL)
    assert result.exit_code == 1
    assert lines(result.stdout)[0] == "ended: 17 of 20 rooms are as planned"
    assert "17 updated, 3 failed" in result.stdout
    assert "next" not in result.stdout, "resume would do nothing"


@pytest.mark.usefixtures("applied")
@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ((), "killed: no end was recorded, and no command is writing the journal; 19 of 20 rooms done (95 %)"),
        (('{"pause":30.0,"reason":"retry_after","at":5.0e9}',), "would have lasted until 08:53:50 UTC: a 429"),
        (('{"pause":30.0,"reason":"later","at":5.0e9}',), ": later"),
        (('{"outage":"503 \\u001b[2J","at":5.0e9}',), r"503 \x1b[2J"),
    ],
    ids=["", "in a pause", "in a pause of an unknown kind", "in an outage"],
)
def test_a_killed_run_exits_with_1_and_says_how_to_go_on(more: tuple[str, ...], expected: str) -> None:
    ended = [line for line in Path(JOURNAL).read_text().splitlines() if line.startswith('{"end"')]
    path = Path(JOURNAL)
    path.write_text(path.read_text().replace(ended[-1] + "\n", ""))
    cut_after("end", *more)
    result = run("status", JOURNAL)
    assert result.exit_code == 1
    assert expected in result.stdout
    assert "1 in flight at the end" in result.stdout
    assert f"next      aiorooms resume {JOURNAL}" in result.stdout
    assert "(apply) began" in result.stdout
    assert "UTC, killed" in result.stdout


@contextmanager
def slow_run(invoke: Invoke, sim: RoomsSimulator, program: Program) -> "Generator[subprocess.Popen[str]]":
    """Run `apply` in another process until an update has ended. The run goes on until the latency is 0."""
    planned(invoke)
    sim.latency = 0.5
    with program("apply", "rooms.plan", "--yes", "--concurrency", "1") as process:
        until(lambda: Path(JOURNAL).exists() and b'"end"' in Path(JOURNAL).read_bytes(), "an update has ended")
        yield process


def test_a_running_run_exits_with_4_and_is_not_disturbed(invoke: Invoke, sim: RoomsSimulator, program: Program) -> None:
    with slow_run(invoke, sim, program) as process:
        results = [run("status", JOURNAL), run("status", JOURNAL, "--json")]
        assert [result.exit_code for result in results] == [4, 4]
        assert results[0].stdout.startswith("running: ")
        assert " in progress\n" in results[0].stdout
        assert json.loads(results[1].stdout)["state"] == "running"
        # Ctrl-C ends watching, and not the run.
        with program("status", JOURNAL, "--watch", "--every", "60") as watching:
            assert watching.stdout is not None
            assert watching.stdout.readline()
            watching.send_signal(signal.SIGINT)
            assert watching.wait(30) == 130
            assert watching.stderr is not None
            assert watching.stderr.read() == ""
        assert process.poll() is None
        sim.latency = 0
        assert process.wait(30) == 0
    assert run("status", JOURNAL).exit_code == 0


def test_watching_ends_with_the_run(invoke: Invoke, sim: RoomsSimulator, program: Program) -> None:
    watch = ("status", JOURNAL, "--watch", "--every", "0.1")
    with slow_run(invoke, sim, program), program(*watch) as text, program(*watch, "--json") as data:
        assert text.stdout is not None
        assert data.stdout is not None
        first, first_object = text.stdout.readline(), data.stdout.readline()
        sim.latency = 0
        rest, rest_objects = text.stdout.read(), data.stdout.read()
        assert (text.wait(30), data.wait(30)) == (0, 0)
    assert re.match(r"\d\d:\d\d:\d\d UTC running: \d+ of 20 rooms done", first)
    assert "\nended: all 20 rooms are as planned\n" in f"\n{rest}"
    states = [json.loads(line)["state"] for line in (first_object, *rest_objects.splitlines())]
    assert set(states[:-1]) == {"running"}
    assert states[-1] == "ended"


@pytest.mark.usefixtures("applied")
def test_a_closed_pipe_is_no_error(program: Program) -> None:
    with program("status", JOURNAL) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(30) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.journal"], "the journal 'none.journal' can't be read: No such file or directory"),
        (["."], "the journal '.' can't be read: Is a directory"),
        (["none.journal", "--every", "5"], "--every: it needs --watch"),
        (["none.journal", "--watch", "--every", "0"], "--every: "),
        ([], "missing argument 'JOURNAL'"),
    ],
)
def test_an_invalid_argument_is_one_line(invoke: Invoke, arguments: list[str], message: str) -> None:
    planned(invoke)
    result = run("status", *arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    (line,) = lines(result.stderr)
    assert line.startswith(f"aiorooms: {message}")


@pytest.mark.usefixtures("applied")
def test_damaged_lines_are_named_and_an_incomplete_one_is_not() -> None:
    with Path(JOURNAL).open("ab") as file:
        file.write(b'garbage\n{"end":"unfinis')
    assert "damaged   1 line of the journal" in run("status", JOURNAL).stdout


@pytest.mark.usefixtures("applied")
@pytest.mark.parametrize("columns", [40, 120])
@pytest.mark.parametrize("how", [(), ("--watch",)])
def test_on_a_terminal_the_state_stays_visible(
    on_terminal: Callable[..., tuple[int, str]], columns: int, how: tuple[str, ...]
) -> None:
    code, text = on_terminal("status", JOURNAL, *how, columns=columns)
    assert code == 0
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    assert "ended: all 20 rooms are as" in shown
    assert "\n  outcomes 20 updated" in shown
    if how:
        assert text.endswith("\x1b[?25h"), "the cursor stays hidden"


@pytest.mark.usefixtures("applied")
def test_a_plan_is_no_journal_but_has_one() -> None:
    result = run("status", "rooms.plan")
    assert (result.exit_code, result.stdout) == (2, "")
    hint = "use `aiorooms status rooms.plan.journal`"
    assert result.stderr == f"aiorooms: JOURNAL: 'rooms.plan' is a plan, not a journal; {hint}\n"


@pytest.mark.parametrize(
    ("number", "rooms", "text"),
    [
        (20, 20, "all 20 rooms are as planned"),
        (17, 2000, "17 of 2,000 rooms are as planned"),
        (1, 1, "1 of 1 room is as planned"),
        (0, 1, "0 of 1 room are as planned"),
    ],
)
def test_the_rooms_as_planned_are_counted(number: int, rooms: int, text: str) -> None:
    assert as_planned(number, rooms) == text
