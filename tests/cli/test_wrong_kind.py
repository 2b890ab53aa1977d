"""A journal where a plan belongs, a plan where a journal belongs, and --dry-run: the right command is named."""

from pathlib import Path

import pytest

from aiorooms.simulator import RoomsSimulator

from .conftest import Invoke, lines, planned

PLAN, JOURNAL = "rooms.plan", "rooms.plan.journal"


@pytest.mark.usefixtures("applied")
@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("apply", JOURNAL), f"PLAN: '{JOURNAL}' is a journal, not a plan; continue its run with `aiorooms resume"),
        (("apply", JOURNAL, "--yes"), f"PLAN: '{JOURNAL}' is a journal, not a plan; continue its run"),
        (("show", JOURNAL), f"PLAN: '{JOURNAL}' is a journal, not a plan; `aiorooms report {JOURNAL}` shows its runs"),
        (("verify", JOURNAL), f"PLAN: '{JOURNAL}' is a journal, not a plan; give the plan that `aiorooms apply` was"),
        (("resume", PLAN), f"JOURNAL: '{PLAN}' is a plan, not a journal; use `aiorooms resume {JOURNAL}`"),
        (("rollback", PLAN), f"JOURNAL: '{PLAN}' is a plan, not a journal; use `aiorooms rollback {JOURNAL}`"),
        (("report", PLAN), f"JOURNAL: '{PLAN}' is a plan, not a journal; use `aiorooms report {JOURNAL}`"),
        (("plan", PLAN), f"FILE: '{PLAN}' is a plan; use `aiorooms apply {PLAN}`"),
        (("plan", PLAN, "--overwrite"), f"FILE: '{PLAN}' is a plan; use `aiorooms apply {PLAN}`"),
        (("plan", JOURNAL, "--check"), f"FILE: '{JOURNAL}' is a journal; use `aiorooms resume {JOURNAL}`"),
    ],
)
def test_the_command_that_was_meant_is_named(
    invoke: Invoke, folder: Path, command: tuple[str, ...], message: str
) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    result = invoke(*command)
    assert result.exit_code == 2
    (line,) = lines(result.stderr)
    assert line.startswith(f"aiorooms: {message}")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize(
    ("command", "hint"),
    [
        ("resume", "apply it with `aiorooms apply 'my rooms.plan'`"),
        ("report", "give the journal that `aiorooms apply 'my rooms.plan'` writes"),
        ("rollback", "give the journal that `aiorooms apply 'my rooms.plan'` writes"),
    ],
)
def test_a_plan_that_was_never_applied_has_no_journal(invoke: Invoke, command: str, hint: str) -> None:
    planned(invoke, "--set", "max_participants=30", "--out", "my rooms.plan")
    assert lines(invoke(command, "my rooms.plan").stderr) == [
        f"aiorooms: JOURNAL: 'my rooms.plan' is a plan, not a journal; {hint}"
    ]


def test_all_problems_of_a_command_are_still_reported_together(invoke: Invoke) -> None:
    planned(invoke)
    result = invoke("resume", PLAN, "--dry-run", "--rate", "fast", "--force", "--strict")
    wrong_file, rate, dry_run, both, count = lines(result.stderr)
    assert "is a plan, not a journal" in wrong_file
    assert rate.startswith("aiorooms: --rate: 'fast' is not")
    assert "--dry-run: there is no dry run" in dry_run
    assert both == "aiorooms: give only one of --force and --strict"
    assert count == "aiorooms: 4 problems; nothing was changed"


@pytest.mark.usefixtures("applied")
@pytest.mark.parametrize(("command", "option"), [(("apply", PLAN), "--dry-run"), (("resume", JOURNAL), "-n")])
def test_the_dry_run_of_a_run_is_its_plan(
    sim: RoomsSimulator, invoke: Invoke, command: tuple[str, ...], option: str
) -> None:
    sent = sim.stats.by_method.total()
    result = invoke(*command, option, "--yes")
    assert result.exit_code == 2
    (line,) = lines(result.stderr)
    assert line.startswith("aiorooms: --dry-run: there is no dry run of this command; `aiorooms show PLAN` shows what")
    assert line.endswith("and nothing was sent")
    assert sim.stats.by_method.total() == sent


def test_the_dry_run_of_an_update_is_a_plan(sim: RoomsSimulator, invoke: Invoke) -> None:
    result = invoke("update", *sim.room_ids, "--enable-recording", "--dry-run")
    assert result.exit_code == 2
    (line,) = lines(result.stderr)
    assert line.startswith("aiorooms: --dry-run: there is no dry run of this command; `aiorooms plan` and `aiorooms sh")
    assert sim.stats.by_method.total() == 0
