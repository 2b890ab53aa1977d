"""The path - in place of a file: standard input and standard output."""

import json
from pathlib import Path

import pytest

from aiorooms.bulk import Journal, Plan
from aiorooms.simulator import RoomsSimulator

from .conftest import Invoke, lines, planned, run


@pytest.mark.usefixtures("applied")
@pytest.mark.parametrize(
    ("command", "file"),
    [
        ("show", "rooms.plan"),
        ("verify", "rooms.plan"),
        ("report", "rooms.plan.journal"),
        ("rollback", "rooms.plan.journal"),
    ],
)
def test_a_plan_or_a_journal_comes_from_standard_input(
    sim: RoomsSimulator, invoke: Invoke, folder: Path, command: str, file: str
) -> None:
    options = ("--out", "new") if command in ("report", "rollback") else ()
    before = {path.name for path in folder.iterdir()}
    result = invoke(command, "-", *options, stdin=(folder / file).read_bytes())
    assert result.exit_code == 0, result.stderr
    assert {path.name for path in folder.iterdir()} - before == ({"new"} if options else set())
    if command == "show":
        assert "20 rooms to change" in result.stdout
        assert "aiorooms apply" not in result.stdout + result.stderr
    if command == "rollback":
        assert Plan.open(folder / "new").rooms == 20


@pytest.mark.usefixtures("applied")
def test_a_rollback_plan_and_a_report_go_to_standard_output(sim: RoomsSimulator, invoke: Invoke, folder: Path) -> None:
    result = invoke("rollback", "rooms.plan.journal", "-o", "-")
    assert (result.exit_code, result.stderr) == (0, "20 rooms to change.\n")
    (folder / "back.plan").write_bytes(result.stdout_bytes)
    assert Plan.open(folder / "back.plan").rooms == 20
    page = invoke("report", "-", "-o", "-", stdin=(folder / "rooms.plan.journal").read_bytes())
    assert (page.exit_code, page.stderr) == (0, "")
    assert page.stdout.startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("apply", "-"), "PLAN: save a plan to a file first; apply, resume and status need a file that stays"),
        (("resume", "-"), "JOURNAL: save a journal to a file first; apply, resume and status need a file that stays"),
        (("status", "-"), "JOURNAL: save a journal to a file first; apply, resume and status need a file that stays"),
        (("report", "-"), "--out: give a file, or - for standard output, because the journal has no name"),
        (("rollback", "x", "--out", "-", "--json"), "--out: standard output would contain the plan and JSON"),
    ],
)
def test_what_standard_input_and_output_can_not_do_is_one_line(
    invoke: Invoke, arguments: tuple[str, ...], message: str
) -> None:
    result = invoke(*arguments, stdin=b"")
    assert result.exit_code == 2
    assert lines(result.stderr)[0].startswith(f"aiorooms: {message}")


@pytest.mark.parametrize(("command", "what"), [("show", "plan"), ("verify", "plan"), ("rollback", "journal")])
def test_standard_input_of_another_kind_is_one_line(invoke: Invoke, command: str, what: str) -> None:
    result = invoke(command, "-", stdin=b"x\n")
    assert result.exit_code == 2
    (line,) = lines(result.stderr)
    assert f"standard input is not a {what}" in line


def test_commands_can_be_piped_into_each_other(sim: RoomsSimulator, invoke: Invoke, folder: Path) -> None:
    planned(invoke)
    assert invoke("apply", "rooms.plan", "--yes", "--limit", "5").exit_code == 0
    exported = run("export", "-").stdout_bytes
    plan = run("plan", "-", "--out", "-", stdin=exported)
    assert plan.stderr == "0 rooms to change, 20 already as planned.\n"
    shown = json.loads(run("show", "-", "--json", stdin=plan.stdout_bytes).stdout)
    assert (shown["rooms"], shown["unchanged"]) == (0, 20)
    assert Journal.open(folder / "rooms.plan.journal").runs() == 1


@pytest.mark.usefixtures("applied")
@pytest.mark.parametrize(
    ("command", "file"), [("show", "rooms.plan.journal"), ("verify", "rooms.plan.journal"), ("report", "rooms.plan")]
)
def test_no_message_shows_the_path_of_a_copy(invoke: Invoke, folder: Path, command: str, file: str) -> None:
    options = ("--out", "new") if command == "report" else ()
    for data in ((folder / file).read_bytes(), b"x\n", b""):
        result = invoke(command, "-", *options, stdin=data)
        assert result.exit_code == 2
        assert "standard input" in result.stderr
        assert "aiorooms-" not in result.output
        assert "aiorooms report" not in result.stderr
    shown = invoke("show", "-", stdin=(folder / "rooms.plan").read_bytes())
    assert lines(shown.stdout)[0].split() == ["Plan:", "standard", "input"]
    assert (
        json.loads(invoke("show", "-", "--json", stdin=(folder / "rooms.plan").read_bytes()).stdout)["plan"]
        == "standard input"
    )


def test_quiet_commands_write_nothing_beside_the_file(sim: RoomsSimulator, invoke: Invoke) -> None:
    for arguments in (("export", "-"), ("plan", "--set", "max_participants=30", "--out", "-")):
        result = invoke(*arguments, "-q")
        assert (result.exit_code, result.stderr) == (0, "")
        assert result.stdout
