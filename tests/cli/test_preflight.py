"""apply and resume check plan, server, journal and key before they ask, and report all problems together."""

import fcntl
import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from aiorooms.bulk import Plan
from aiorooms.simulator import RoomsSimulator

from .conftest import Invoke, Start, lines, planned, signals_when, without_window

JOURNAL = "rooms.plan.journal"


@contextmanager
def locked(path: str) -> Generator[None]:
    with Path(path).open("rb+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def revoke(sim: RoomsSimulator) -> None:
    sim.api_key = "another"


@pytest.fixture
def begun(invoke: Invoke) -> None:
    """Make a plan, and apply it to 2 of its 20 rooms."""
    planned(invoke)
    assert invoke("apply", "rooms.plan", "--yes", "--limit", "2").exit_code == 0


@pytest.mark.parametrize("options", [(), ("--yes",), ("--approve", "0" * 12)])
def test_apply_reports_all_problems_together(sim: RoomsSimulator, invoke: Invoke, options: tuple[str, ...]) -> None:
    planned(invoke)
    Path(JOURNAL).write_text("x")
    revoke(sim)
    with locked("rooms.plan"):
        result = invoke("apply", "rooms.plan", *options)
    assert result.exit_code == 2
    shown = lines(result.stderr)
    assert shown[0].startswith("aiorooms: the plan 'rooms.plan' is in use")
    assert shown[1].startswith("aiorooms: the file 'rooms.plan.journal' already exists; give another file with --jour")
    assert shown[2].startswith("aiorooms: 401 list of rooms")
    assert len(shown) == (4 if options == ("--yes",) else 5)
    assert shown[-1] == f"aiorooms: {len(shown) - 1} problems; nothing was changed"
    assert sim.stats.by_method["PATCH"] == 0
    assert Path(JOURNAL).read_text() == "x"


def test_the_key_is_not_sent_to_a_server_that_the_plan_is_not_for(sim: RoomsSimulator, invoke: Invoke) -> None:
    planned(invoke)
    with RoomsSimulator(rooms=1) as other:
        result = invoke("apply", "rooms.plan", "--yes", "--base-url", other.url)
        assert result.exit_code == 2
        (line,) = lines(result.stderr)
        assert line.startswith(f"aiorooms: the plan 'rooms.plan' was made for {sim.url}, not for {other.url}")
        assert other.stats.by_method.total() == 0


@pytest.mark.usefixtures("begun")
def test_resume_reports_all_problems_together(sim: RoomsSimulator, invoke: Invoke) -> None:
    Path("rooms.plan").unlink()
    revoke(sim)
    with locked(JOURNAL):
        result = invoke("resume", JOURNAL)
    assert result.exit_code == 2
    in_use, missing, key, count = lines(result.stderr)
    assert in_use.startswith("aiorooms: the journal 'rooms.plan.journal' is in use")
    assert missing.startswith("aiorooms: the plan '")
    assert missing.endswith("give its new path with --plan, or put it beside the journal")
    assert key.startswith("aiorooms: 401")
    assert count == "aiorooms: 3 problems; nothing was changed"


@pytest.mark.usefixtures("begun")
@pytest.mark.parametrize("command", [("apply", "rooms.plan", "--journal", "b.journal"), ("resume", JOURNAL)])
def test_a_revoked_key_exits_with_3_and_nothing_begins(
    sim: RoomsSimulator, invoke: Invoke, folder: Path, command: tuple[str, ...]
) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    revoke(sim)
    result = invoke(*command, "--yes")
    assert result.exit_code == 3
    assert len(lines(result.stderr)) == 1
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.usefixtures("begun")
def test_a_server_that_is_gone_is_reported_before_the_run_begins(
    sim: RoomsSimulator, invoke: Invoke, folder: Path
) -> None:
    sim.refuse_connections()
    result = invoke("apply", "rooms.plan", "--yes", "--journal", "b.journal")
    assert result.exit_code == 1
    assert len(lines(result.stderr)) == 1
    assert not (folder / "b.journal").exists()


@pytest.mark.usefixtures("applied")
def test_a_finished_run_needs_no_key(sim: RoomsSimulator, invoke: Invoke) -> None:
    revoke(sim)
    assert invoke("resume", JOURNAL).exit_code == 0


def problem_of_the_journal(sim: RoomsSimulator) -> str:
    Path("new.journal").write_text("x")
    return "the file 'new.journal' already exists"


def problem_of_the_key(sim: RoomsSimulator) -> str:
    revoke(sim)
    return "401 list of rooms"


def problem_of_the_plan(sim: RoomsSimulator) -> str:
    Path("rooms.plan").write_bytes(Path("rooms.plan").read_bytes().replace(b":30}", b":40}"))
    return "was modified after it was made"


@pytest.mark.parametrize("spoil", [problem_of_the_journal, problem_of_the_key, problem_of_the_plan])
def test_nothing_is_asked_in_a_terminal_if_the_run_can_not_begin(
    sim: RoomsSimulator,
    invoke: Invoke,
    in_terminal: Start,
    spoil: Callable[[RoomsSimulator], str],
) -> None:
    planned(invoke)
    message = spoil(sim)
    with in_terminal("apply", "rooms.plan", "--journal", "new.journal") as session:
        code = session.end()
    assert message in session.text
    assert "[y/N]" not in session.text
    assert code == (3 if spoil is problem_of_the_key else 2)
    assert sim.stats.by_method["PATCH"] == 0


@pytest.mark.usefixtures("begun")
@pytest.mark.parametrize("command", ["apply", "resume"])
def test_the_question_comes_after_two_lines_about_the_plan(
    sim: RoomsSimulator,
    in_terminal: Start,
    command: str,
) -> None:
    checksum = Plan.open("rooms.plan").sha256[:12]
    arguments = ("rooms.plan", "--journal", "b.journal", "--limit", "3") if command == "apply" else (JOURNAL,)
    with in_terminal(command, *arguments) as session:
        session.wait_for("[y/N]")
        *_, first, second, question = lines(session.text)
        session.press("n\n")
        assert session.end() == 0
    assert first.startswith(f"Plan {checksum}, made 20")
    assert first.endswith(": max_participants of 20 rooms (10 -> 30)")
    assert second == "A rollback could bring back all rooms."
    wanted = {"apply": "Update 3 of 20 rooms at", "resume": "Continue with 18 of 20 rooms at"}
    assert question.startswith(wanted[command])
    assert "Nothing was changed." in session.text
    assert not Path("b.journal").exists()


def test_ctrl_c_while_the_key_is_checked_begins_nothing(sim: RoomsSimulator, invoke: Invoke, folder: Path) -> None:
    planned(invoke)
    sim.latency = 60
    with signals_when(lambda: sim.stats.in_flight == 1, signal.SIGINT):
        result = invoke("apply", "rooms.plan", "--yes")
    assert (result.exit_code, result.stderr) == (130, "aiorooms: interrupted\n")
    assert not (folder / JOURNAL).exists()


@pytest.mark.usefixtures("begun")
def test_a_plan_and_a_journal_that_were_copied_together_are_used_together(
    sim: RoomsSimulator, invoke: Invoke, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (copy := folder / "copy").mkdir()
    for name in ("rooms.plan", JOURNAL):
        Path(name).rename(copy / name)
    assert invoke("resume", f"copy/{JOURNAL}", "--yes", "--limit", "5").exit_code == 0
    monkeypatch.chdir(copy)
    result = invoke("resume", JOURNAL, "--yes")
    assert without_window(result.stderr) == ["13 updated, 7 updated in earlier runs, out of 20."]
    assert invoke("rollback", JOURNAL).exit_code == 0
    assert Plan.open("back.plan").rooms == 20


@pytest.mark.usefixtures("begun")
def test_another_plan_at_the_recorded_path_does_not_matter(sim: RoomsSimulator, invoke: Invoke, folder: Path) -> None:
    (folder / "copy").mkdir()
    Path("rooms.plan").rename("copy/rooms.plan")
    Path(JOURNAL).rename(f"copy/{JOURNAL}")
    planned(invoke, "--set", "max_participants=40")
    assert invoke("resume", f"copy/{JOURNAL}", "--yes").exit_code == 0
    assert all(room["max_participants"] == 30 for room in sim.rooms.values())


def test_y_is_yes(sim: RoomsSimulator, invoke: Invoke) -> None:
    planned(invoke)
    assert invoke("apply", "rooms.plan", "-y", "--limit", "5").exit_code == 0
    assert invoke("resume", JOURNAL, "-y").exit_code == 0
    assert all(room["max_participants"] == 30 for room in sim.rooms.values())
