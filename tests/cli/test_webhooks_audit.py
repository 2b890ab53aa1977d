"""`aiorooms webhooks audit`: findings as a table, lines or JSON, plans that fix them, and policies from files."""

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from aiorooms.bulk import Plan
from aiorooms.simulator import RoomsSimulator

from .conftest import KEY, Invoke, Program, lines, planned, run

AUDIT = ("webhooks", "audit")
FIX = ("--fix-https", "--fix-failover", "https://backup.example.net/x", "--fix-timeout", "5")
KINDS = {
    "http": 1, "no_failover": 1, "failover_same_host": 1, "private_host": 1, "special_use_host": 1, "credentials": 1,
    "rejected_url": 2, "timeout_unset": 1, "timeout_zero": 1, "failover_without_url": 1, "unusual": 1,
    "unreadable": 1,
}  # fmt: skip
"""The findings in a simulated account with mixed webhooks, per 100 rooms."""


@pytest.fixture
def mixed(use: Callable[[RoomsSimulator], None]) -> Iterator[RoomsSimulator]:
    with RoomsSimulator(rooms=100, api_key=KEY, webhooks="mixed") as simulator:
        use(simulator)
        yield simulator


@pytest.mark.usefixtures("mixed")
def test_each_finding_is_a_line_of_json_and_the_totals_are_the_last_line() -> None:
    result = run(*AUDIT, "--json")
    assert result.exit_code == 1
    *findings, totals = map(json.loads, lines(result.stdout))
    assert len(findings) == 13
    assert {name: sum(one["kind"] == name for one in findings) for name in KINDS} == KINDS
    assert totals["findings"] == KINDS
    assert totals["rooms"] == 100
    assert totals["rooms_with_other_hosts"] == 0
    assert totals["hosts"]["hooks.example.com"] == 95
    assert all(one["room_id"] and one["unique_name"] and one["message"] for one in findings)
    assert result.stderr == ""


def test_without_a_terminal_each_finding_is_a_line(mixed: RoomsSimulator) -> None:
    result = run(*AUDIT)
    assert result.exit_code == 1
    first, *_ = rows = lines(result.stdout)
    assert len(rows) == 13
    assert first.split("\t")[:5] == ["warning", "http", mixed.room_ids[0], "room-000001", "webhook_event_url"]
    assert lines(result.stderr) == ["100 rooms, 13 findings."]
    assert "secret" not in result.output


@pytest.mark.usefixtures("mixed")
@pytest.mark.parametrize("columns", [60, 120])
def test_on_a_terminal_the_findings_are_grouped(on_terminal: Callable[..., tuple[int, str]], columns: int) -> None:
    code, text = on_terminal(*AUDIT, columns=columns)
    assert code == 1
    assert "room-000007" in text
    assert "rejected_url" in text
    assert ("events are sent without encryption" in text) is (columns == 120)
    assert text.rstrip().endswith("100 rooms, 13 findings.")


@pytest.mark.usefixtures("mixed")
def test_on_a_narrow_terminal_the_names_are_below_the_kinds(on_terminal: Callable[..., tuple[int, str]]) -> None:
    code, text = on_terminal(*AUDIT, columns=30)
    assert code == 1
    rows = [line.split() for line in lines(re.sub(r"\x1b\[[0-9;]*m", "", text))]
    below = rows.index(["http", "1"]) + 1
    assert rows[below] == ["room-000001"]
    below = rows.index(["rejected_url", "2"]) + 1
    assert rows[below : below + 2] == [["room-000007"], ["room-000008"]]
    assert lines(text)[-1] == "100 rooms, 13 findings."


@pytest.mark.usefixtures("invoke")
def test_on_a_narrow_terminal_a_long_name_keeps_its_indent(
    sim: RoomsSimulator, on_terminal: Callable[..., tuple[int, str]]
) -> None:
    name = "".join(map(str, range(100, 130)))
    sim.change_room(sim.room_ids[0], unique_name=name, webhook_event_url="http://hooks.example.com/")
    ignored = [word for kind in ("timeout_unset", "no_failover", "unusual") for word in ("--ignore", kind)]
    code, text = on_terminal(*AUDIT, *ignored, columns=40)
    assert code == 1
    text = re.sub(r"\x1b\[[0-9;]*m", "", text)
    shown = [line for line in lines(text) if line.strip() and line.strip() in name]
    assert "".join(map(str.strip, shown)) == name
    assert len(shown) > 2
    assert all(line.startswith("  ") and line[2] != " " and len(line) <= 40 for line in shown)


def test_a_name_like_an_emoji_is_shown_as_it_is(
    sim: RoomsSimulator, use: Callable[[RoomsSimulator], None], on_terminal: Callable[..., tuple[int, str]]
) -> None:
    use(sim)
    sim.change_room(sim.room_ids[0], unique_name=":bug:", webhook_event_url="http://hooks.example.com/")
    assert ":bug:" in on_terminal(*AUDIT, "--ignore", "timeout_unset", "--ignore", "no_failover")[1]


def test_if_the_reader_closes_the_pipe_the_plan_is_written_and_the_exit_code_is_1(program: Program) -> None:
    with program(*AUDIT, "--json", "--fix-plan", "h.plan", *FIX) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(20) == 1
    assert Plan.open("h.plan").rooms == 20


@pytest.mark.usefixtures("mixed")
def test_lines_that_are_lost_early_do_not_stop_the_plan(into: Callable[..., tuple[int, str]]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w", buffering=1) as file:  # the first line raises
        code, errors = into(file, *AUDIT, "--fix-plan", "h.plan", *FIX)
    assert code == 1
    assert lines(errors) == ["h.plan fixes 5 rooms. To apply it: aiorooms apply h.plan"]
    assert Plan.open("h.plan").rooms == 5


@pytest.mark.usefixtures("mixed")
def test_a_full_disk_is_reported_after_the_plan_is_written(into: Callable[..., tuple[int, str]]) -> None:
    with Path("/dev/full").open("w") as file:
        code, errors = into(file, *AUDIT, "--fix-plan", "h.plan", *FIX)
    assert code == 1
    assert "aiorooms: can't write to standard output: No space left on device" in lines(errors)
    assert Plan.open("h.plan").rooms == 5


def test_the_lines_of_the_help_fit_80_columns() -> None:
    text = run(*AUDIT, "--help").stdout
    assert "jq -r 'select(.kind).room_id'" in text
    assert [line for line in lines(text) if len(line) > 80] == []


def test_an_account_without_findings_has_exit_code_0(sim: RoomsSimulator, invoke: Invoke) -> None:
    result = invoke(*AUDIT, "--ignore", "no_failover", "--ignore", "timeout_unset")
    assert (result.exit_code, result.stdout) == (0, "")
    assert lines(result.stderr) == ["20 rooms, 0 findings."]
    assert sim.stats.by_method["PATCH"] == 0


@pytest.mark.usefixtures("mixed")
def test_a_plan_fixes_what_can_be_fixed_by_rule() -> None:
    result = run(*AUDIT, "--fix-plan", "fixes.plan", *FIX)
    assert result.exit_code == 1
    assert lines(result.stderr)[-1] == "fixes.plan fixes 5 rooms. To apply it: aiorooms apply fixes.plan"
    assert Plan.open("fixes.plan").rooms == 5
    assert run("apply", "fixes.plan", "--yes").exit_code == 0
    result = run(*AUDIT, "--json")
    left = json.loads(lines(result.stdout)[-1])["findings"]
    fixed = {"http", "no_failover", "failover_same_host", "timeout_unset", "timeout_zero"}
    assert {kind for kind in left if kind != "unusual"} == set(KINDS) - fixed - {"unusual"}
    result = run(*AUDIT, "--fix-plan", "more.plan", *FIX)
    assert lines(result.stderr)[-1] == "more.plan is empty: these options fix no room."
    assert json.loads(lines(run(*AUDIT, "--fix-plan", "c.plan", *FIX, "--json").stdout)[-1])["fixed_by_plan"] == 0


def test_wrong_options_are_reported_together_and_nothing_is_read(sim: RoomsSimulator, invoke: Invoke) -> None:
    Path("policy.toml").write_text("schemes = []\nallow_private_hosts = 1\n")
    result = invoke(*AUDIT, "--ignore", "htp", "--fix-https", "--policy", "policy.toml")
    assert result.exit_code == 2
    found = lines(result.stderr)
    assert found[0].startswith("aiorooms: --policy: 'policy.toml': schemes is empty")
    assert found[1].startswith("aiorooms: --policy: 'policy.toml': allow_private_hosts is 1; give true or false")
    assert "--ignore: 'htp' is not one of rejected_url, " in found[2]
    assert found[3] == "aiorooms: --fix-https: give --fix-plan too, with the path of the new plan"
    result = invoke(*AUDIT, "--fix-plan", "a.plan")
    assert "--fix-plan: give at least one of --fix-https, --fix-failover, --fix-timeout" in result.stderr
    for more in ((), ("--fix-plan", "a.plan"), ("--fix-plan", "a.plan", "--fix-https")):
        result = invoke(*AUDIT, "--fix-failover", "", *more)
        assert (result.exit_code, lines(result.stderr)) == (2, ["aiorooms: --fix-failover: is empty; give a URL"])
    Path("a.plan").write_text("x")
    result = invoke(*AUDIT, "--fix-plan", "a.plan", "--fix-https")
    assert "already exists; give another file, or --overwrite" in result.stderr
    assert sim.stats.requests == 0


TOO = "give --fix-plan too, with the path of the new plan"
BACKUP = "'backup' does not begin with 'https://' or 'http://'; give a full URL"
RANGE = "31 is not in the range 1 to 30"
NUL = "'a\\x00' contains a NUL character"


@pytest.mark.parametrize(
    ("options", "problems"),
    [
        (("--fix-plan", "a.plan", "--fix-failover", "backup", "--fix-timeout", "31"), [
            f"--fix-failover: {BACKUP}", f"--fix-timeout: {RANGE}",
        ]),
        (("--fix-plan", "a.plan", "--fix-failover", "backup"), [f"--fix-failover: {BACKUP}"]),
        (("--fix-plan", "a.plan", "--fix-timeout", "31"), [f"--fix-timeout: {RANGE}"]),
        (("--fix-plan", "a.plan", "--fix-failover", "", "--fix-timeout", "31"), [
            "--fix-failover: is empty; give a URL", f"--fix-timeout: {RANGE}",
        ]),
        (("--fix-failover", "backup"), [f"--fix-failover: {TOO}", f"--fix-failover: {BACKUP}"]),
        (("--overwrite",), [f"--overwrite: {TOO}"]),
        (("--fix-https", "--overwrite"), [f"--fix-https: {TOO}", f"--overwrite: {TOO}"]),
        (("--fix-plan", "a\0", "--fix-https", "--overwrite"), [f"--fix-plan: {NUL}"]),
    ],
)  # fmt: skip
def test_all_problems_of_the_fixes_are_reported_together(
    sim: RoomsSimulator, invoke: Invoke, options: tuple[str, ...], problems: list[str]
) -> None:
    result = invoke(*AUDIT, *options)
    assert result.exit_code == 2
    found = [line.removeprefix("aiorooms: ") for line in lines(result.stderr)]
    assert found == [*problems, *[f"{len(problems)} problems; nothing was changed"] * (len(problems) > 1)]
    assert sim.stats.requests == 0


def test_a_policy_that_can_not_be_read_causes_no_problem_of_a_url(invoke: Invoke) -> None:
    result = invoke(
        *AUDIT, "--policy", "missing", "--fix-plan", "a.plan", "--fix-failover", "ftp://backup.example.com/"
    )
    assert result.exit_code == 2
    (problem,) = lines(result.stderr)
    assert problem.startswith("aiorooms: --policy: ")


STRICT = 'schemes = ["https"]\nallowed_hosts = ["hooks.example.com"]\n'


@pytest.mark.usefixtures("mixed")
def test_the_policy_of_a_file_decides_which_urls_are_rejected() -> None:
    Path("policy.toml").write_text(STRICT)
    *findings, _ = map(json.loads, lines(run(*AUDIT, "--policy", "policy.toml", "--json").stdout))
    rejected = [one for one in findings if one["kind"] == "rejected_url"]
    assert sum(one["field"] == "webhook_event_failover_url" for one in rejected) == 98


def test_update_plan_and_apply_hold_to_the_policy_of_a_file(sim: RoomsSimulator, invoke: Invoke) -> None:
    Path("policy.toml").write_text(STRICT)
    bad = "http://hooks.example.com/"
    result = invoke("update", sim.room_ids[0], "--webhook-event-url", bad, "--policy", "policy.toml")
    assert result.exit_code == 2
    assert "--webhook-event-url: 'http://hooks.example.com/' has the scheme 'http'" in result.stderr
    result = invoke("plan", "--set", f"webhook_event_url={bad}", "--policy", "policy.toml")
    assert result.exit_code == 2
    assert "has the scheme 'http'" in result.stderr
    Path("rooms.csv").write_text(f"room_id,webhook_event_url\n{sim.room_ids[0]},{bad}\n")
    for check in ((), ("--check",)):
        result = invoke("plan", "rooms.csv", *check, "--policy", "policy.toml")
        assert result.exit_code == 2
        assert "has the scheme 'http'" in result.stderr
    assert sim.stats.by_method["PATCH"] == 0
    planned(invoke, "--set", f"webhook_event_url={bad}")
    result = invoke("apply", "rooms.plan", "--yes", "--policy", "policy.toml")
    assert result.exit_code == 1
    assert "20 failed" in result.stderr
    assert sim.stats.by_method["PATCH"] == 0
    assert invoke("update", sim.room_ids[0], "--webhook-event-url", bad).exit_code == 0
