"""Standard output that can't be written, and text that can't be displayed."""

import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import pytest

from aiorooms.cli import main
from aiorooms.cli._escaping import escape, field_text
from aiorooms.cli._output import Output, configure_stdout
from aiorooms.cli._stderr import write_progress
from aiorooms.simulator import RoomsSimulator

from .conftest import Invoke, lines

Into = Callable[..., tuple[int, str]]


@pytest.fixture
def closed_pipe() -> Iterator[IO[str]]:
    """Yield the writing end of a pipe whose reading end is closed."""
    theirs, ours = os.pipe()
    os.close(theirs)
    with os.fdopen(ours, "w", buffering=1) as file:
        yield file


@pytest.fixture
def full() -> Iterator[IO[str]]:
    """Yield /dev/full, which fails like a file on a full disk."""
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    with Path("/dev/full").open("w", buffering=1) as file:
        yield file


@pytest.mark.parametrize("command", [["list"], ["list", "--json"], ["demo", "--rooms", "5"]])
def test_a_closed_pipe_is_not_an_error(invoke: Invoke, into: Into, closed_pipe: IO[str], command: list[str]) -> None:
    code, errors = into(closed_pipe, *command)
    assert errors == ""
    assert code == 0


@pytest.mark.parametrize("command", [["list"], ["demo", "--rooms", "5"], ["--help"]])
def test_a_full_disk_is_a_one_line_error(invoke: Invoke, into: Into, full: IO[str], command: list[str]) -> None:
    code, errors = into(full, *command)
    assert code == 1
    assert lines(errors) == ["aiorooms: can't write to standard output: No space left on device"]


def test_an_update_stops_if_its_output_can_not_be_written(
    sim: RoomsSimulator, invoke: Invoke, into: Into, closed_pipe: IO[str]
) -> None:
    code, errors = into(closed_pipe, "update", *sim.room_ids, "--max-participants", "20", "--concurrency", "1")
    assert code == 1
    summary, reason = lines(errors)
    applied = sim.stats.updates_applied.total()
    assert 1 <= applied < 20
    assert summary.startswith(f"{applied} updated, {20 - applied} skipped in ")
    assert reason == "aiorooms: stopped: can't write to standard output: Broken pipe"


def test_a_line_about_the_progress_does_not_wait_for_the_reader_of_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs, ours = os.pipe()
    with os.fdopen(theirs, "rb") as reader, os.fdopen(ours, "w") as stderr:
        monkeypatch.setattr(sys, "stderr", stderr)
        for number in range(3000):  # of 100 characters each, far more than the pipe takes
            write_progress(f"{number:099}")
        read = os.read(reader.fileno(), 1_000_000)
        assert 10_000 < len(read) < 300_000
        write_progress("the reader is back")
        assert os.read(reader.fileno(), 100) == b"the reader is back\n"


def test_an_error_that_cannot_be_written_is_ignored(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs, ours = os.pipe()
    os.close(theirs)
    with os.fdopen(ours, "w") as closed_pipe, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", closed_pipe)
        patch.setattr(sys, "argv", ["aiorooms", "get", "lobby"])
        with pytest.raises(SystemExit) as ended:
            main()
    assert ended.value.code == 2


def test_the_command_works_if_all_standard_streams_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    monkeypatch.setattr(sys, "argv", ["aiorooms", "--version"])
    with pytest.raises(SystemExit) as ended:
        main()
    opened: list[IO[str]] = [sys.stdin, sys.stdout, sys.stderr]
    for stream in opened:
        stream.close()
    assert ended.value.code == 0


@pytest.mark.parametrize("absent", ["click", "rich"])
def test_a_missing_package_is_reported_with_the_command_to_install_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], absent: str
) -> None:
    monkeypatch.setitem(sys.modules, absent, None)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert (
        capsys.readouterr().err == "aiorooms: the command line needs click and rich; run pip install 'aiorooms[cli]'\n"
    )


def test_characters_that_the_encoding_lacks_are_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    configure_stdout()
    Output(json=False).line("Konferenz \u00fcber \u4f1a")
    sys.stdout.flush()
    assert written.getvalue() == b"Konferenz \\xfcber \\u4f1a\n"


def test_list_works_in_a_locale_without_unicode(sim: RoomsSimulator, invoke: Invoke) -> None:
    sim.add_room(unique_name="\u4f1a\u8b70")
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "aiorooms", "list", "--unique-name", "\u4f1a\u8b70"]
    ended = subprocess.run(command, capture_output=True, env=environment, check=False)
    assert ended.returncode == 0, ended.stderr
    assert b"\\u4f1a\\u8b70" in ended.stdout


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (True, "true"),
        (False, "false"),
        (0, "0"),
        ("", ""),
        ("caf\u00e9 \u4f1a\u8b70", "caf\u00e9 \u4f1a\u8b70"),
        ("a\tb\r\nc", r"a\tb\r\nc"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("\u202e\ud800\x85", r"\u202e\ud800\x85"),
        (datetime(2021, 4, 12, 22, 29, 42, tzinfo=UTC), "2021-04-12T22:29:42Z"),
    ],
)
def test_a_field_is_text_with_control_characters_escaped(value: object, text: str) -> None:
    assert field_text(value) == text
    assert escape(text) == text
