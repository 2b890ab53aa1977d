"""Text from outside, such as file names and values of options, reaches the terminal with control characters escaped."""

import errno
import json
import os
import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from aiorooms.cli import _run
from aiorooms.cli._escaping import command_line
from aiorooms.cli._json import dumps
from aiorooms.cli._stderr import confirm
from aiorooms.simulator import RoomsSimulator

from ..conftest import plan_file
from .conftest import Invoke

EVIL = "\x1b]0;title\x07\x1b[31m\x9b2J\u202e\x7f\r\nx"
SAFE = r"\x1b]0;title\x07\x1b[31m\x9b2J\u202e\x7f\r\nx"
"""The same text as a command shows it. A message that contains a Python literal shows it with one backslash more."""

FILE = EVIL + ".plan"
SET = ("--set", "max_participants=30")

OnTerminal = Callable[..., tuple[int, str]]


def is_clean(text: str) -> bool:
    """Return whether a text contains no control characters except line breaks, tabs and the colours of rich."""
    text = re.sub(r"\x1b\[[0-9;?]*[mKAhl]", "", text)
    return all(char.isprintable() or char in "\n\t\r" for char in text) and "31m" not in text.replace(r"\x1b[31m", "")


COMMANDS: dict[str, tuple[str, ...]] = {
    "show, no file": ("show", FILE),
    "apply, no file": ("apply", FILE, "--yes"),
    "resume, no file": ("resume", FILE),
    "verify, no file": ("verify", FILE),
    "rollback, no file": ("rollback", FILE),
    "report, no file": ("report", FILE),
    "plan, no file": ("plan", FILE),
    "plan, bad condition": ("plan", *SET, "--where", EVIL),
    "plan, bad condition with a name": ("plan", *SET, "--where", f"webhook_host={EVIL}"),
    "plan, bad recording": ("plan", *SET, "--where", f"recording={EVIL}"),
    "plan, bad edit": ("plan", "--set", EVIL),
    "plan, bad value": ("plan", "--set", f"max_participants={EVIL}"),
    "plan, bad rewrite": ("plan", "--rewrite-webhook-host", f"{EVIL}=x"),
    "plan, no folder": ("plan", *SET, "--out", f"no/{FILE}"),
    "export, no folder": ("export", f"no/{EVIL}.csv"),
    "export, unknown extension": ("export", FILE),
    "usage, unknown option": ("plan", f"--{EVIL}"),
    "usage, unknown command": (EVIL,),
    "usage, extra argument": ("show", "a", EVIL),
    "base url": ("list", "--base-url", EVIL),
    "number": ("list", "--page-size", EVIL),
    "room id": ("get", EVIL),
    "unique name": ("update", "a" * 8, "--unique-name", EVIL),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_an_error_shows_no_control_character(invoke: Invoke, on_terminal: OnTerminal, command: str) -> None:
    result = invoke(*COMMANDS[command])
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("aiorooms: ")
    assert is_clean(result.stderr)
    assert is_clean(on_terminal(*COMMANDS[command])[1])


def test_a_whole_round_with_files_of_that_name_shows_no_control_character(
    sim: RoomsSimulator, invoke: Invoke, on_terminal: OnTerminal, folder: Path
) -> None:
    sim.add_room(unique_name=EVIL.replace("\r\n", ""))
    steps = [
        ("export", f"{EVIL}.csv"),
        ("plan", f"{EVIL}.csv", "--check"),
        ("plan", *SET, "--where", f"name!={EVIL}", "--out", FILE),
        ("show", FILE),
        ("show", FILE, "--all"),
        ("apply", FILE, "--yes"),
        ("resume", f"{FILE}.journal", "--yes"),
        ("verify", FILE),
        ("report", f"{FILE}.journal"),
        ("rollback", f"{FILE}.journal", "--out", f"{EVIL}.back"),
    ]
    for step in steps:
        code, text = on_terminal(*step)
        assert code == 0, text
        assert is_clean(text), step
        if step[0] in ("export", "report", "rollback", "apply"):
            assert SAFE in text or r"\x1b]0;title\x07\x1b[31m\xc2\x9b2J\xe2\x80\xae\x7f\x0d\x0ax" in text
    for step in steps[3:5]:
        *_, totals = invoke(*step, "--json").stdout.splitlines()
        assert totals.isprintable()
        assert json.loads(totals)["plan"] == FILE


def test_a_question_shows_no_control_character(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def answer(text: str, *, err: bool) -> bool:
        asked.append(text)
        return err

    monkeypatch.setattr(click, "confirm", answer)
    assert confirm(f"Update {EVIL}?")
    assert asked == [f"Update {SAFE}?"]


def test_the_header_of_a_plan_shows_no_control_character(invoke: Invoke) -> None:
    with plan_file("a.plan", f"http://127.0.0.1:1/{EVIL}", EVIL) as plan:
        plan.finish(0)
    result = invoke("apply", "a.plan", "--yes")
    assert result.exit_code == 2
    assert f"was made for http://127.0.0.1:1/{SAFE}, not for" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_an_error_of_the_operating_system_shows_no_control_character(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise OSError(errno.EMFILE, EVIL, EVIL)

    monkeypatch.setattr(_run, "_loop_factory", fail)
    result = invoke("list")
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"aiorooms: the operating system reported an error: {SAFE} (")
    assert line.isprintable()


def test_json_stays_json() -> None:
    assert json.loads(dumps(EVIL)) == EVIL
    assert dumps(EVIL).isprintable()


@pytest.mark.parametrize("name", [EVIL, "a b", "it's", "\\x41", "\udcff\x1b'\\", "räum"], ids=ascii)
def test_a_command_to_copy_is_read_by_a_shell_as_the_same_words(name: str) -> None:
    line = command_line("resume", name)
    assert line.isprintable()
    words = subprocess.run(
        ["bash", "-c", f"printf '%s\\0' {line.removeprefix('aiorooms ')}"], capture_output=True, check=True
    ).stdout
    assert words == b"resume\0" + os.fsencode(name) + b"\0"
    if name.isprintable():
        assert line == shlex.join(["aiorooms", "resume", name])
