"""`-v` and `-vv`: log lines on standard error, also above a progress bar."""

import logging
import re
from collections.abc import Callable

import pytest

from aiorooms.simulator import RoomsSimulator

from .conftest import Invoke, lines, planned

LEVELS: list[tuple[list[str], str | None, set[str]]] = [
    ([], None, set()),
    (["-v"], None, {"INFO"}),
    (["-vv"], None, {"INFO", "DEBUG"}),
    (["--verbose", "--verbose"], None, {"INFO", "DEBUG"}),
    ([], "debug", {"INFO", "DEBUG"}),
    (["-v"], "debug", {"INFO"}),
]


@pytest.mark.parametrize(("words", "variable", "found"), LEVELS)
def test_each_level_has_its_lines(
    words: list[str],
    variable: str | None,
    found: set[str],
    sim: RoomsSimulator,
    invoke: Invoke,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if variable is not None:
        monkeypatch.setenv("AIOROOMS_LOG", variable)
    sim.script("503")
    result = invoke("update", sim.room_ids[0], "--max-participants", "20", *words)
    assert result.exit_code == 0
    written = lines(result.stderr)
    assert {line.split()[2] for line in written} == found
    assert len(written) == len(set(written)), "no line is written twice"
    if found:
        assert any("retry in" in line and "503" in line for line in written)
    assert sim.api_key not in result.stderr


def test_unprintable_characters_are_escaped(
    sim: RoomsSimulator, invoke: Invoke, capsys: pytest.CaptureFixture[str]
) -> None:
    invoke("list", "-v")
    logging.getLogger("aiorooms.http").warning("\x1b[2J")
    assert capsys.readouterr().err.endswith("aiorooms.http: \\x1b[2J\n")


def test_lines_are_written_above_the_bar(
    sim: RoomsSimulator, invoke: Invoke, on_terminal: Callable[..., tuple[int, str]]
) -> None:
    planned(invoke)
    sim.script("503", method="PATCH")
    code, text = on_terminal("apply", "rooms.plan", "--yes", "-v", columns=100)
    assert code == 0
    # A line begins where the bar was erased, and ends with a line break, below which the bar is drawn again.
    (line,) = re.findall(r"\x1b\[2K(?:\x1b\[1A\x1b\[2K)*(\d{4}-[^\n]*retry in[^\n]*)\n", text)
    assert "INFO aiorooms.http: PATCH /rooms/" in line
    assert "20/20" in text


def test_a_wrong_level_in_the_environment_is_reported_once(
    sim: RoomsSimulator, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIOROOMS_LOG", "loud")
    result = invoke("list")
    assert result.exit_code == 2
    assert len(lines(result.stderr)) == 1
    assert "AIOROOMS_LOG is 'loud'" in result.stderr
