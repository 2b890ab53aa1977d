"""A command line is checked as a whole: all problems are reported together, and nothing is sent."""

from collections.abc import Callable
from datetime import date
from pathlib import Path

import click
import pytest

from aiorooms import _text
from aiorooms.cli import _values
from aiorooms.cli._command import Command, Context, InvalidInputError, Value
from aiorooms.cli._main import cli
from aiorooms.simulator import RoomsSimulator

from ..samples import ROOM_ID
from .conftest import Invoke, lines, run


def problems(stderr: str) -> list[str]:
    """Return the names of the invalid parameters, in the order in which they are reported."""
    *messages, total = lines(stderr)
    assert total == f"aiorooms: {len(messages)} problems; nothing was changed"
    return [line.removeprefix("aiorooms: ").split(": ")[0].split(" ")[0] for line in messages]


def test_invalid_options_arguments_and_settings_are_reported_together(
    sim: RoomsSimulator, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TELNYX_API_KEY")
    result = invoke(
        *["update", "--timeout", "soon", "--concurrency", "5000", "lobby", "--max-participants", "1"],
        *["--base-url", "ftp://x", ROOM_ID, "hall"],
    )
    assert result.exit_code == 2
    assert result.stdout == ""
    assert problems(result.stderr) == [
        *["ROOM_ID", "ROOM_ID", "--max-participants", "--concurrency", "--timeout"],
        *["TELNYX_API_KEY", "--base-url"],
    ]
    assert sim.stats.requests == 0


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["get", "--timeout", "-1"], ["--timeout", "missing"]),
        (["get", "lobby", "hall", "--timeout", "-1"], ["ROOM_ID", "--timeout", "got"]),
        (["plan", "--check", "--timeout", "-1"], ["--check", "--timeout"]),
        (["plan", "--where", "x", "--set", "y", "--timeout", "0"], ["--where", "--set", "--timeout"]),
        (["export", "there", "--format", "xml", "--timeout", "0"], ["FILE", "--format", "--timeout"]),
        (["apply", "x", "--rate", "0", "--max-failures", "no"], ["--max-failures", "--rate"]),
        (["rollback", "x", "--out", "there", "--timeout", "x"], ["--out", "--timeout"]),
    ],
)
def test_problems_of_combined_parameters_are_reported_with_other_problems(
    invoke: Invoke, folder: Path, words: list[str], names: list[str]
) -> None:
    (folder / "there").write_text("x")
    result = invoke(*words)
    assert result.exit_code == 2
    assert problems(result.stderr) == names


def test_a_usage_error_points_to_the_help() -> None:
    assert run("get").stderr == "aiorooms: missing argument 'ROOM_ID'; see `aiorooms get --help`\n"


def test_an_invalid_value_does_not_hide_the_help() -> None:
    assert run("list", "--page-size", "x", "--help").exit_code == 0


def test_the_steps_run_in_order_and_set_the_arguments_of_the_function() -> None:
    def double(ctx: Context) -> None:
        ctx.params["number"] = 2 * (ctx.params["number"] or 0)

    def name(ctx: Context) -> None:
        ctx.params["name"] = f"n{ctx.params.pop('number')}"

    @click.command(cls=Command, steps=[double, name])
    @click.option("--number", type=Value(_values.whole_number(1, 9)), default="4")
    def command(name: str) -> str:
        return name

    assert command.main([], standalone_mode=False) == "n8"
    assert command.main(["--number", "3"], standalone_mode=False) == "n6"
    with pytest.raises(InvalidInputError, match="--number: 10 is not in the range 1 to 9"):
        command.main(["--number", "10"], standalone_mode=False)


def test_shell_completion_runs_no_steps() -> None:
    context = cli.commands["update"].make_context("update", ["-"], resilient_parsing=True)
    assert context.params["given"] == ("-",)


def test_a_default_is_parsed_like_a_given_value() -> None:
    assert cli.commands["demo"].make_context("demo", []).params["faults"] == 0.05


@pytest.mark.parametrize(
    ("read", "text", "value"),
    [
        (_values.whole_number(0, 9), "+7", 7),
        (_values.read_duration(0.001), "0.5", 0.5),
        (_values.read_duration(0), "0", 0.0),
        (_values.read_rate, "0.001", 0.001),
        (_values.read_share, "5%", 0.05),
        (_values.read_share, "0.05", 0.05),
        (_values.read_share, "100%", 1.0),
        (_values.one_of(["csv", "jsonl"]), "csv", "csv"),
        (_text.read_day, "2024-02-29", date(2024, 2, 29)),
        (_values.read_name, " a ", " a "),
        (_values.read_room_id, ROOM_ID, ROOM_ID),
        (_values.read_api_key, "KEY_1", "KEY_1"),
        (_values.read_rate_limit, "none", None),
    ],
)
def test_a_valid_value_is_parsed(read: Callable[[str], object], text: str, value: object) -> None:
    assert read(text) == value


@pytest.mark.parametrize(
    ("read", "text", "message"),
    [
        (_values.whole_number(0, 9), "1.0", "'1.0' is not a whole number from 0 to 9"),
        (_values.whole_number(0, 9), "\u0664", "is not a whole number"),
        (_values.whole_number(0, 9), "10", "10 is not in the range 0 to 9"),
        (_values.whole_number(0, 9), "9" * 5000, "is not a whole number"),
        (_values.read_duration(0.001), "0", "'0' is less than 0.001 s"),
        (_values.read_duration(0.001), "nan", "'nan' is not a time such as 10"),
        (_values.read_duration(0), "-0.1", "'-0.1' is not a time such as 10"),
        (_values.read_rate, "0.0001", "'0.0001' is less than 0.001 requests per second"),
        (_values.read_share, "101%", "'101%' is not a share from 0 to 1"),
        (_values.read_share, "%", "'%' is not a share from 0 to 1"),
        (_values.read_share, "five%", "'five%' is not a share from 0 to 1"),
        (_values.one_of(["a", "b", "c"]), "d", "'d' is not one of a, b, c"),
        (_text.read_day, "20240229", "'20240229' is not a date; write it as YYYY-MM-DD"),
        (_text.read_day, "2023-02-29", "'2023-02-29' is not a date"),
        (_values.read_name, " ", "the name is blank"),
        (_values.read_room_id, "lobby", "'lobby' is not a UUID"),
        (_values.read_api_key, "a b", "a key consists of printable ASCII characters"),
        (_values.read_rate_limit, "fast", "'fast' is not a rate limit"),
    ],
)
def test_an_invalid_value_is_an_error_with_a_short_message(
    read: Callable[[str], object], text: str, message: str
) -> None:
    with pytest.raises(ValueError, match="^") as raised:
        read(text)
    assert message in str(raised.value)
    assert len(str(raised.value)) < 200


def test_the_short_help_option_exists_even_in_a_context_without_settings() -> None:
    probe = Command("probe", callback=lambda: None)
    probe.make_context("probe", [])
    assert "-h" in [name for parameter in probe.get_params(Context(probe)) for name in parameter.opts]
