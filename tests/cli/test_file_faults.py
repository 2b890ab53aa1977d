"""Each file operation of each command fails in turn: one clear line, and nothing is lost.

The operations on files below the test's folder are counted while a command runs. The command is then run once for each
number n, with the n-th operation failing as it can fail on a real system, until it needs fewer than n operations.

For example, `export` opens a temporary file, writes, syncs and closes it, and renames it. In the run whose rename fails
with "No space left on device", the old file must be unchanged, and the temporary file must be gone.
"""

import asyncio
import errno
import fcntl
import io
import os
import shutil
import threading
from collections.abc import Callable, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
from click.testing import Result

from aiorooms import RoomsClient
from aiorooms.bulk import Plan
from aiorooms.bulk import apply as apply_plan
from aiorooms.simulator import RoomsSimulator

from .conftest import KEY, lines, run

CODES: Final[Mapping[str, tuple[int, ...]]] = {
    "open": (errno.EACCES, errno.EMFILE, errno.EROFS, errno.ENOSPC, errno.EIO),
    "read": (errno.EIO,),
    "write": (errno.ENOSPC, errno.EIO),
    "truncate": (errno.EIO, errno.EPERM),
    "fsync": (errno.EIO, errno.ENOSPC),
    "close": (errno.EIO,),
    "rename": (errno.EACCES, errno.EBUSY, errno.ENOSPC, errno.EPERM, errno.EIO, errno.EROFS, errno.EXDEV),
    "mode": (errno.EPERM, errno.EIO, errno.EROFS),
    "unlink": (errno.EACCES, errno.EROFS, errno.EIO),
    "stat": (errno.EACCES, errno.EIO),
    "lock": (errno.ENOLCK, errno.EOPNOTSUPP),
}
"""How each kind of operation can fail."""

BY_PATH: Final = {
    "open": "open",
    "stat": "stat",
    "lstat": "stat",
    "unlink": "unlink",
    "remove": "unlink",
    "link": "rename",
    "rename": "rename",
    "replace": "rename",
    "chmod": "mode",
}
"""The functions of `os` that take a path, and the kind of each."""

BY_NUMBER: Final = {
    "write": "write",
    "fsync": "fsync",
    "fstat": "stat",
    "fchmod": "mode",
    "fchown": "mode",
    "ftruncate": "truncate",
    "close": "close",
}
"""The functions of `os` that take a file descriptor, and the kind of each."""


class FileFaults:
    """Counts the operations on files below a folder, and makes the n-th one fail."""

    def __init__(self, folder: Path, fail_at: int) -> None:
        self.failed: str | None = None
        """The kind of the operation that failed, and its error."""
        self.message = ""
        self._prefix = f"{folder}/"
        self._fail_at = fail_at
        self._count = 0
        self._paths: dict[int, str] = {}
        self._lock = threading.Lock()

    def install(self, patch: pytest.MonkeyPatch) -> None:
        """Replace the functions of `os`, `io` and `fcntl` until the patch is undone."""
        for name, kind in BY_PATH.items():
            patch.setattr(os, name, self._by_path(kind, getattr(os, name)))
        for name, kind in BY_NUMBER.items():
            patch.setattr(os, name, self._by_number(kind, getattr(os, name)))
        patch.setattr(fcntl, "flock", self._by_number("lock", fcntl.flock))
        patch.setattr(io, "open", self._io_open(io.open))

    def count(self, kind: str, path: str) -> None:
        """Count an operation, and raise `OSError` if it is the n-th one."""
        with self._lock:
            self._count += 1
            if self._count != self._fail_at:
                return
        codes = CODES[kind]
        code = codes[self._fail_at % len(codes)]
        self.failed, self.message = f"{kind} {errno.errorcode[code]}", os.strerror(code)
        raise OSError(code, self.message, path)

    def _is_below(self, path: Any) -> str | None:
        if isinstance(path, int):
            return self._paths.get(path)
        text = os.fsdecode(path)
        text = text if text.startswith("/") else self._prefix + text
        return text if f"{text}/".startswith(self._prefix) else None

    def _by_path(self, kind: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: Any, *args: Any, **more: Any) -> Any:
            below = self._is_below(path)
            if below is not None:
                self.count(kind, below)
            result = real(path, *args, **more)
            if kind == "open" and below is not None:
                self._paths[result] = below
            return result

        return call

    def _by_number(self, kind: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(number: int, *args: Any) -> Any:
            below = self._paths.get(number)
            if kind == "close":  # a file is closed even if that fails
                self._paths.pop(number, None)
                real(number)
            if below is not None:
                self.count(kind, below)
            return None if kind == "close" else real(number, *args)

        return call

    def _io_open(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def open_file(file: Any, mode: str = "r", buffering: int = -1, *args: Any, **more: Any) -> Any:
            below = self._is_below(file)
            if below is None or "b" not in mode:
                return real(file, mode, buffering, *args, **more)
            opener = more.get("opener")
            if opener is None and not isinstance(file, int):
                self.count("open", below)
            raw = FaultyFile(file, mode, more.get("closefd", True), opener)
            raw.faults, raw.path = self, below
            self._paths[raw.fileno()] = below
            if "+" in mode:
                return io.BufferedRandom(raw)
            return io.BufferedReader(raw) if "r" in mode else io.BufferedWriter(raw)

        return open_file

    def forget(self, number: int) -> None:
        """Forget a file descriptor that is closed."""
        self._paths.pop(number, None)


class FaultyFile(io.FileIO):
    """A file whose operations are counted."""

    faults: FileFaults
    path: str

    def write(self, data: Any, /) -> Any:
        self.faults.count("write", self.path)
        return super().write(data)

    def readinto(self, buffer: Any, /) -> Any:
        self.faults.count("read", self.path)
        return super().readinto(buffer)

    def readall(self) -> Any:
        self.faults.count("read", self.path)
        return super().readall()

    def truncate(self, size: int | None = None, /) -> int:
        self.faults.count("truncate", self.path)
        return super().truncate(size)

    def close(self) -> None:
        if not self.closed:
            self.faults.forget(self.fileno())
            super().close()
            self.faults.count("close", self.path)


# -- The commands

Check = Callable[[RoomsSimulator, Result], None]


class Case(NamedTuple):
    """A command whose file operations fail in turn."""

    command: tuple[str, ...]
    prepare: Callable[[RoomsSimulator, int], None]
    """Prepares the folder for run n."""
    new_file: str | None = None
    """The file that the command writes."""
    is_whole: Callable[[Path], bool] = lambda _: True
    """Whether the new file is complete."""
    applies: bool = False
    """Whether the command changes rooms."""


OLD: Final = b"old content\n"


def succeed(*command: str) -> None:
    result = run(*command)
    assert result.exit_code == 0, result.output


def value(number: int) -> int:
    """Return a value of `max_participants` that no room has before run n."""
    return 5 + number % 40


def nothing(sim: RoomsSimulator, number: int) -> None:
    pass


def old_file(name: str) -> Callable[[RoomsSimulator, int], None]:
    def prepare(sim: RoomsSimulator, number: int) -> None:
        Path(name).write_bytes(OLD)

    return prepare


def csv(sim: RoomsSimulator, number: int) -> None:
    Path("rooms.csv").write_text("room,max_participants\n" + "".join(f"{room},49\n" for room in sim.room_ids))


def planned(sim: RoomsSimulator, number: int) -> None:
    succeed("plan", "--set", f"max_participants={value(number)}")


def applied(sim: RoomsSimulator, number: int) -> None:
    planned(sim, number)
    succeed("apply", "rooms.plan", "--yes")


def applied_with(name: str) -> Callable[[RoomsSimulator, int], None]:
    def prepare(sim: RoomsSimulator, number: int) -> None:
        applied(sim, number)
        Path(name).write_bytes(OLD)

    return prepare


def applied_in_part(sim: RoomsSimulator, number: int) -> None:
    planned(sim, number)

    async def begin() -> None:
        async with RoomsClient(KEY, base_url=sim.url) as client:
            a_run = apply_plan(client, Plan.open("rooms.plan"), "rooms.plan.journal", concurrency=1)
            async with aclosing(a_run.outcomes()) as outcomes:
                async for _ in outcomes:
                    a_run.stop("for the test")

    asyncio.run(begin())


def is_plan(path: Path) -> bool:
    return Plan.open(path).rooms == ROOMS


def is_export(path: Path) -> bool:
    return len(path.read_text().splitlines()) == ROOMS + 1


def is_report(path: Path) -> bool:
    return path.read_text().endswith("</html>\n")


ROOMS: Final = 3

CASES: Final[Mapping[str, Case]] = {
    "export": Case(("export", "a.csv"), nothing, "a.csv", is_export),
    "export over a file": Case(("export", "a.csv", "--overwrite"), old_file("a.csv"), "a.csv", is_export),
    "plan from CSV": Case(("plan", "rooms.csv", "--out", "a.plan"), csv, "a.plan", is_plan),
    "plan from a selection": Case(
        ("plan", "--set", "max_participants=49", "--out", "a.plan", "--overwrite"),
        old_file("a.plan"),
        "a.plan",
        is_plan,
    ),
    "show": Case(("show", "rooms.plan", "--all"), planned),
    "apply": Case(("apply", "rooms.plan", "--yes"), planned, applies=True),
    "resume": Case(("resume", "rooms.plan.journal", "--yes"), applied_in_part, applies=True),
    "verify": Case(("verify", "rooms.plan"), applied),
    "rollback": Case(
        ("rollback", "rooms.plan.journal", "--out", "a.plan", "--overwrite"), applied_with("a.plan"), "a.plan", is_plan
    ),
    "report": Case(
        ("report", "rooms.plan.journal", "--out", "a.html", "--overwrite"), applied_with("a.html"), "a.html", is_report
    ),
}


@pytest.fixture
def sim(use: Callable[[RoomsSimulator], None]) -> Any:
    with RoomsSimulator(rooms=ROOMS, api_key=KEY) as simulator:
        use(simulator)
        yield simulator


@pytest.mark.parametrize("name", CASES)
def test_if_any_file_operation_fails_there_is_one_clear_line_and_nothing_is_lost(
    sim: RoomsSimulator, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = CASES[name]
    number = 0
    seen: set[str] = set()
    while True:
        number += 1
        folder = tmp_path / str(number)
        (folder / "temporary").mkdir(parents=True)
        monkeypatch.chdir(folder)
        case.prepare(sim, number)
        faults = FileFaults(folder, number)
        with monkeypatch.context() as patch:
            patch.setattr("tempfile.tempdir", str(folder / "temporary"))
            faults.install(patch)
            result = run(*case.command)
        where = f"operation {number}, {faults.failed}: {result.output}"
        check_lines(result, faults, where)
        check_files(case, folder, result, faults, where)
        if case.applies:
            check_rooms(sim, number, where)
        if faults.failed is None:
            break
        seen.add(faults.failed.split()[0])
        shutil.rmtree(folder)
    assert number > 4
    assert seen >= {"open", "close", "write" if case.new_file or case.applies else "read"}


def check_lines(result: Result, faults: FileFaults, where: str) -> None:
    # If only the plan can't be locked, the run goes on, and says so.
    errors = [
        line
        for line in lines(result.stderr)
        if line.startswith("aiorooms: ") and (result.exit_code or "can't be locked" not in line)
    ]
    assert len(errors) == (result.exit_code != 0), where
    assert "Traceback" not in result.output, where
    assert "Errno" not in result.output, where
    for line in errors:
        assert faults.message in line, where
    if faults.failed is None:
        assert result.exit_code == 0, where


def check_files(case: Case, folder: Path, result: Result, faults: FileFaults, where: str) -> None:
    assert (faults.failed or "").startswith("unlink") or not [*folder.rglob("*.tmp")], where
    if case.new_file is None:
        return
    path = folder / case.new_file
    if result.exit_code == 0:
        assert case.is_whole(path), where
    elif path.exists():
        assert path.read_bytes() == OLD or case.is_whole(path), where
    else:
        assert "--overwrite" not in case.command, where


def check_rooms(sim: RoomsSimulator, number: int, where: str) -> None:
    """Bring the run to its end as the messages suggest, and check that every room has the planned value."""
    journal = Path("rooms.plan.journal")
    if journal.exists() and run("resume", str(journal), "--yes").exit_code == 2:
        journal.unlink()
    if not journal.exists():
        succeed("apply", "rooms.plan", "--yes")
    assert run("verify", "rooms.plan").exit_code == 0, where
    assert all(room["max_participants"] == value(number) for room in sim.rooms.values()), where
