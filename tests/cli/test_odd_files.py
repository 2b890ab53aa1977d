"""Files and paths that can't be used: each command reports one line, before anything is sent."""

import errno
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest

from aiorooms import RoomsClient
from aiorooms.cli import _options, _run
from aiorooms.simulator import RoomsSimulator

from .conftest import Invoke, lines

SET = ("--set", "max_participants=30")


def check_one_line(invoke: Invoke, sim: RoomsSimulator, *arguments: str, code: int = 2) -> str:
    """Run a command that must fail before it sends anything, and return its only line on standard error."""
    sent = sim.stats.requests
    result = invoke(*arguments)
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    (line,) = lines(result.stderr)
    assert line.startswith("aiorooms: ")
    assert line.isprintable()
    assert sim.stats.requests == sent
    return line


# -- Files to write

NEW_FILES = {
    "plan": ("plan", *SET, "--out"),
    "export": ("export", "--format", "csv"),
    "rollback": ("rollback", "rooms.plan.journal", "--out"),
    "report": ("report", "rooms.plan.journal", "--out"),
}

NOT_REGULAR = {"pipe": "a pipe", "/dev/null": "a device", "/dev/full": "a device", "subfolder": "a directory"}


@pytest.mark.parametrize("target", NOT_REGULAR)
@pytest.mark.parametrize("command", NEW_FILES)
def test_a_file_that_is_not_regular_is_never_overwritten(
    invoke: Invoke, sim: RoomsSimulator, folder: Path, applied: None, command: str, target: str
) -> None:
    os.mkfifo(folder / "pipe")
    (folder / "subfolder").mkdir()
    (folder / "link").symlink_to(target)
    for path in (target, "link"):
        before = (folder / path).stat().st_mode
        for options in ((), ("--overwrite",)):
            line = check_one_line(invoke, sim, *NEW_FILES[command], path, *options)
            assert line.endswith(f"'{path}' is {NOT_REGULAR[target]}; give another file")
        assert (folder / path).stat().st_mode == before


@pytest.mark.parametrize("command", NEW_FILES)
def test_a_new_file_is_private_and_a_replaced_one_keeps_its_mode(
    invoke: Invoke, folder: Path, applied: None, command: str
) -> None:
    assert invoke(*NEW_FILES[command], "a").exit_code == 0
    assert (folder / "a").stat().st_mode & 0o777 == 0o600
    (folder / "a").chmod(0o644)
    (folder / "link").symlink_to("a")
    assert invoke(*NEW_FILES[command], "link", "--overwrite").exit_code == 0
    assert (folder / "a").stat().st_mode & 0o777 == 0o644
    assert (folder / "link").is_symlink()


# -- Paths

WITH_A_PATH = {
    **NEW_FILES,
    "plan FILE": ("plan", "--out", "new.plan"),
    "show": ("show",),
    "apply": ("apply", "--yes"),
    "apply --journal": ("apply", "rooms.plan", "--yes", "--journal"),
    "resume": ("resume", "--yes"),
    "resume --plan": ("resume", "rooms.plan.journal", "--yes", "--plan"),
    "verify": ("verify",),
    "rollback JOURNAL": ("rollback", "--out", "b.plan"),
    "report JOURNAL": ("report",),
}


@pytest.mark.parametrize("command", WITH_A_PATH)
def test_a_path_with_a_nul_character_is_a_one_line_error(
    invoke: Invoke, sim: RoomsSimulator, applied: None, command: str
) -> None:
    line = check_one_line(invoke, sim, *WITH_A_PATH[command], "a\0b")
    assert line.endswith(r"'a\x00b' contains a NUL character")


# -- Errors of the operating system


class Full(tempfile.SpooledTemporaryFile[bytes]):
    """A temporary file on a full disk. The first bytes still fit into a buffer."""

    def write(self, s: Any) -> int:
        if self.tell() > 100:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(s)


class FullAtLast(tempfile.SpooledTemporaryFile[bytes]):
    """A temporary file on a full disk. All bytes fit into a buffer."""

    def flush(self) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("file", [Full, FullAtLast])
@pytest.mark.parametrize("options", [(), ("--check",)], ids=["plan", "check"])
def test_a_full_place_for_temporary_files_is_reported_as_such(
    invoke: Invoke, sim: RoomsSimulator, monkeypatch: pytest.MonkeyPatch, file: type[Any], options: tuple[str, ...]
) -> None:
    assert invoke("export", "rooms.csv").exit_code == 0
    monkeypatch.setattr(tempfile, "TemporaryFile", file)
    line = check_one_line(invoke, sim, "plan", "rooms.csv", *options)
    assert line == (
        "aiorooms: rooms.csv: the rows can't be kept in a temporary file: No space left on device; "
        "set TMPDIR to a folder with free space"
    )


def test_without_a_place_for_temporary_files_the_error_names_the_places(
    invoke: Invoke, sim: RoomsSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def candidates() -> list[str]:
        return ["/no/such/folder"]

    assert invoke("export", "rooms.csv").exit_code == 0
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", candidates)
    line = check_one_line(invoke, sim, "plan", "rooms.csv")
    assert line.startswith("aiorooms: rooms.csv: the rows can't be kept in a temporary file: No usable temporary direc")
    assert "/no/such/folder" in line


ANY_COMMAND = {
    "list": ("list",),
    "get": ("get", "7b61621f-62e0-4aad-ab11-9fd19e272e73"),
    "plan": ("plan", *SET, "--out", "new.plan"),
    "verify": ("verify", "rooms.plan"),
    "export": ("export", "rooms.csv"),
    "rollback": ("rollback", "rooms.plan.journal"),
    "simulate": ("simulate", "--port", "0"),
}


@pytest.mark.parametrize("command", ANY_COMMAND)
def test_only_an_error_of_standard_output_is_called_that(
    invoke: Invoke, sim: RoomsSimulator, monkeypatch: pytest.MonkeyPatch, applied: None, command: str
) -> None:
    def no_descriptor() -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(_run, "_loop_factory", no_descriptor)
    line = check_one_line(invoke, sim, *ANY_COMMAND[command], code=1)
    assert line == "aiorooms: the operating system reported an error: Too many open files"


def test_an_error_while_the_options_are_checked_is_not_called_one_of_standard_output(
    invoke: Invoke, sim: RoomsSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(*_: object, **__: object) -> RoomsClient:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "/root/.netrc")

    monkeypatch.setattr(_options, "RoomsClient", denied)
    line = check_one_line(invoke, sim, "list", code=1)
    assert line == "aiorooms: the operating system reported an error: Permission denied ('/root/.netrc')"
