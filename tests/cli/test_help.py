"""The help of all commands, and the errors for a wrong command or option."""

import re
import subprocess
import sys

import click
import pytest

import aiorooms
from aiorooms.cli._exit_codes import FAILED, INTERRUPTED, INVALID_INPUT, OK, RUNNING, UNAUTHORIZED
from aiorooms.cli._main import cli

from ..samples import ROOM_ID
from .conftest import lines, run

COMMANDS = [
    *("demo", "update", "get", "list"),
    *("plan", "show", "apply", "resume", "status", "verify", "rollback", "report", "export"),
    *("worker", "stop", "journal"),
    *("simulate", "completion"),
]
GROUPS = {"webhooks": ["audit", "listen", "probe", "replay"]}
"""The groups of commands, each with its commands."""
ALL = [*COMMANDS, *(f"{group} {command}" for group, commands in GROUPS.items() for command in commands)]


def test_the_help_shows_every_command_and_ends_with_environment_and_exit_codes() -> None:
    result = run("--help")
    assert result.exit_code == 0
    assert max(map(len, lines(result.stdout))) <= 80
    assert [line.split()[0] for line in lines(result.stdout.split("Commands:\n")[1].split("\n\n")[0])] == [
        *COMMANDS[:-2],
        *GROUPS,
        *COMMANDS[-2:],
    ]
    end = result.stdout.split("Environment:")[1]
    for named in ("TELNYX_API_KEY", "TELNYX_BASE_URL", "NO_COLOR", "Exit codes:"):
        assert named in end, f"{named} is missing"
    codes = [line.split()[0] for line in lines(end.split("Exit codes:\n")[1])]
    assert codes == [str(code) for code in (OK, FAILED, INVALID_INPUT, UNAUTHORIZED, RUNNING, INTERRUPTED)]


@pytest.mark.parametrize("group", GROUPS)
def test_the_help_of_a_group_shows_its_commands(group: str) -> None:
    result = run(group, "--help")
    assert result.exit_code == 0
    assert [line.split()[0] for line in lines(result.stdout.split("Commands:\n")[1])] == GROUPS[group]
    assert result.stdout.count(f"\n    aiorooms {group} ") >= 2, "there are fewer than two examples"


@pytest.mark.parametrize("command", ALL)
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_the_help_of_a_command_has_examples_and_fits_on_80_columns(command: str, option: str) -> None:
    result = run(*command.split(), option)
    assert result.exit_code == 0
    assert "Examples:\n    aiorooms " in result.stdout.replace("  Examples", "Examples")
    assert result.stdout.count(f"\n    aiorooms {command}") >= 2, "there are fewer than two examples"
    assert "--json" in result.stdout or command == "completion"
    for line in lines(result.stdout):
        assert len(line) <= 80, f"too long: {line}"


@pytest.mark.parametrize("command", [None, *COMMANDS])
def test_the_first_line_of_a_help_text_is_short(command: str | None) -> None:
    text = (cli if command is None else cli.commands[command]).help or ""
    first = lines(text.strip())[0]
    assert len(first) <= 60, f"{len(first)} characters: {first}"
    assert first.endswith(".")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_has_a_help_text_that_is_a_sentence(command: str) -> None:
    for parameter in cli.commands[command].params:
        if isinstance(parameter, click.Option):
            text = (parameter.help or "").split("  [")[0]
            assert text.endswith("."), f"{command} {parameter.opts}: {text!r}"


GENERAL = {"--json", "--verbose", "--quiet", "--stats", "--help"}
"""The options that belong in the last section. An option that is in no other section appears there too."""


@pytest.mark.parametrize(
    ("command", "first", "last"),
    [
        ("apply", "How far it goes", GENERAL),
        ("resume", "How far it goes", GENERAL),
        ("update", "New values", GENERAL | {"--policy"}),
        ("plan", "What changes", GENERAL | {"--all", "--detailed-exitcode"}),
    ],
)
def test_the_options_of_a_run_are_in_sections(command: str, first: str, last: set[str]) -> None:
    text = run(command, "--help").stdout
    blocks = [lines(block) for block in text.split("\n\n")]
    sections = [block for block in blocks if block[1:] and block[1].startswith("  -")]
    assert len(sections) > 4
    assert sections[0][0] == f"{first}:"
    assert all(re.fullmatch(r"[A-Z][A-Za-z ]+:", section[0]) for section in sections)
    in_last = " ".join(line.strip().split("  ")[0] for line in sections[-1] if line.startswith("  -"))
    assert {*re.findall(r"--[a-z-]+", in_last)} == last, "an option is in no section of its own"
    shown = [line.strip().split("  ")[0] for line in lines(text) if line.startswith("  -")]
    every = {
        name
        for parameter in cli.commands[command].params
        if isinstance(parameter, click.Option) and not parameter.hidden
        for name in (*parameter.opts, *parameter.secondary_opts)
        if "--" in name
    }
    assert {name for names in shown for name in re.findall(r"--[a-z-]+", names)} == every | {"--help"}
    columns = {len(line) - len(line.lstrip()) for line in lines(text) if line.startswith(" " * 20)}
    assert len(columns) == 1, "the sections are not aligned"


def test_every_example_in_the_help_has_valid_options() -> None:
    for name, command in cli.commands.items():
        known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        for line in lines(command.help or ""):
            if line.strip().startswith("aiorooms ") and f"aiorooms {name}" in line:
                used = {word for word in line.split() if word.startswith("--")}
                assert used <= known, f"{line.strip()}: the command has no {used - known}"


@pytest.mark.parametrize("group", [(), *((group,) for group in GROUPS)])
def test_without_a_command_the_help_is_shown_as_a_usage_error(group: tuple[str, ...]) -> None:
    result = run(*group)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "Commands:" in result.stderr


def test_version_is_printed() -> None:
    assert run("--version").stdout == f"aiorooms {aiorooms.__version__}\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["udpate"], "no such command 'udpate'; did you mean 'update'? See `aiorooms --help`"),
        (["update", "--max-participant", "3"], "did you mean '--max-participants'? See `aiorooms update --help`"),
        (["--frobnicate"], "no such option '--frobnicate'; see `aiorooms --help`"),
        (["--json", "list"], "the option --json belongs after the command, as in `aiorooms list --json`"),
        (["--timeout", "5", "get", ROOM_ID], "belongs after the command, as in `aiorooms get --timeout`"),
        (["--json"], "the option --json belongs after the command, as in `aiorooms demo --json`"),
        (["webhooks", "--json"], "belongs after the command, as in `aiorooms webhooks audit --json`"),
        (["get"], "missing argument 'ROOM_ID'; see `aiorooms get --help`"),
        (
            ["get", ROOM_ID, "b"],
            "got unexpected extra argument (b); see `aiorooms get --help`",
        ),
        (["update", "--max-participants"], "'--max-participants' requires an argument; see `aiorooms update --help`"),
        (["update", "--enable-recording=yes"], "does not take a value; see `aiorooms update --help`"),
        (["list", "--api-key=KEY_secret"], "set TELNYX_API_KEY instead of --api-key, because "),
        (["list", "--api-key", "KEY_secret"], "set TELNYX_API_KEY instead of --api-key, because "),
    ],
)
def test_a_usage_error_is_one_helpful_line(words: list[str], message: str) -> None:
    result = run(*words)
    assert result.exit_code == 2
    assert result.stdout == ""
    (line,) = lines(result.stderr)
    assert line.startswith("aiorooms: ")
    assert message in line
    assert "KEY_secret" not in line


def test_if_click_is_missing_the_command_says_how_to_install_it() -> None:
    code = "import sys; sys.modules['click'] = None; from aiorooms.cli import main; main()"
    ended = subprocess.run([sys.executable, "-c", code, "list"], capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr == "aiorooms: the command line needs click and rich; run pip install 'aiorooms[cli]'\n"
