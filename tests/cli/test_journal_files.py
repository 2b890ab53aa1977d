"""What the commands say about a damaged journal, files that change during a run, locks, and paths that are no files."""

import contextlib
import errno
import fcntl
import json
import os
import threading
from collections.abc import Callable, Generator
from pathlib import Path
from typing import cast

import pytest

from aiorooms.bulk import Journal
from aiorooms.bulk import _journal_writer as module
from aiorooms.simulator import RoomsSimulator

from .conftest import KEY, Invoke, lines, planned

JOURNAL = "rooms.plan.journal"


@pytest.fixture(autouse=True)
def plan(invoke: Invoke) -> None:
    """Make the plan rooms.plan, which sets `max_participants` of 20 rooms to 30."""
    planned(invoke)


@contextlib.contextmanager
def act_when(ready: Callable[[], bool], act: Callable[[], object]) -> Generator[None]:
    """Call `act` in a thread as soon as `ready` returns True."""
    given_up = threading.Event()

    def wait() -> None:
        while not ready():
            if given_up.wait(0.002):
                return
        act()

    thread = threading.Thread(target=wait)
    thread.start()
    try:
        yield
    finally:
        given_up.set()
        thread.join()


def values(sim: RoomsSimulator) -> set[object]:
    """Return the values of `max_participants` of all rooms."""
    return {cast("object", room["max_participants"]) for room in sim.rooms.values()}


# --- damaged lines ---


def damage(*numbers: int) -> None:
    """Flip a bit in lines of the journal."""
    path = Path(JOURNAL)
    content = path.read_bytes().splitlines(keepends=True)
    for number in numbers:
        content[number - 1] = b"[" + content[number - 1][1:]
    path.write_bytes(b"".join(content))


def test_resume_names_the_damaged_lines_and_sends_nothing_twice(sim: RoomsSimulator, invoke: Invoke) -> None:
    assert invoke("apply", "rooms.plan", "--yes").exit_code == 0
    damage(4, 6)
    sim.reset_stats()
    result = invoke("resume", JOURNAL, "--yes")
    assert result.exit_code == 0, result.stderr
    assert lines(result.stderr)[0] == (
        "aiorooms: lines 4 and 6 of the journal are damaged; the rooms that damaged lines may concern are compared "
        "with the account before their updates are sent"
    )
    assert sim.stats.by_method["PATCH"] == 0
    result = invoke("resume", JOURNAL, "--yes", "--json")
    assert json.loads(lines(result.stdout)[-1])["damaged_lines"] == [4, 6]
    assert set(Journal.open(JOURNAL).states().values()) == {"updated"}


def test_report_names_the_damaged_lines(invoke: Invoke) -> None:
    assert invoke("apply", "rooms.plan", "--yes").exit_code == 0
    damage(4)
    result = invoke("report", JOURNAL)
    assert result.exit_code == 0
    text = "line 4 of the journal is damaged; the report does not count damaged lines"
    assert lines(result.stderr) == [f"aiorooms: {text}"]
    result = invoke("report", JOURNAL, "--overwrite", "--json")
    assert json.loads(result.stdout) == {"report": f"{JOURNAL}.html", "damaged_lines": [4]}


def test_rollback_names_the_damaged_lines_and_the_rooms_without_previous_values(invoke: Invoke, folder: Path) -> None:
    assert invoke("apply", "rooms.plan", "--yes").exit_code == 0
    hidden = json.loads(Path(JOURNAL).read_bytes().splitlines()[2])["begin"]
    damage(3)
    text = "line 3 of the journal is damaged, and may hide rooms that the plan does not roll back"
    result = invoke("rollback", JOURNAL)
    assert result.exit_code == 1
    assert lines(result.stdout)[-1] == "20 rooms to change."
    assert lines(result.stderr)[0] == f"aiorooms: {text}"
    (folder / "rooms.plan").rename(folder / "moved.plan")
    result = invoke("rollback", JOURNAL, "--overwrite", "--json")
    assert result.exit_code == 1
    first, second = lines(result.stderr)
    assert first.startswith(f"aiorooms: room {hidden}: a damaged line hides its previous values, and the plan '")
    assert second == f"aiorooms: {text}"
    totals = {"plan": "back.plan", "rooms": 19, "unchanged": 0, "conflicts": 1, "damaged_lines": [3]}
    assert json.loads(result.stdout).items() >= totals.items()


@pytest.mark.parametrize(
    "command",
    [("resume", JOURNAL, "--yes"), ("report", JOURNAL), ("rollback", JOURNAL)],
    ids=["resume", "report", "rollback"],
)
def test_a_damaged_header_is_an_error_that_says_what_to_do(invoke: Invoke, command: tuple[str, ...]) -> None:
    assert invoke("apply", "rooms.plan", "--yes").exit_code == 0
    content = Path(JOURNAL).read_bytes()
    Path(JOURNAL).write_bytes(content.replace(b'"rooms":20', b'"rooms":21', 1))
    result = invoke(*command)
    assert result.exit_code == 2
    assert result.stderr == (
        f"aiorooms: the journal '{JOURNAL}' is damaged at line 1, so its plan is unknown; restore it from a copy, or "
        "apply the plan again and give another file with --journal: rooms that have their new values are not updated "
        "again\n"
    )


# --- lines of another journal ---


def test_rooms_outside_the_plan_are_named_and_not_counted(sim: RoomsSimulator, invoke: Invoke) -> None:
    planned(invoke, "--set", "max_participants=31", "--where", "name=room-000001", "--out", "one.plan")
    assert invoke("apply", "rooms.plan", "--yes").exit_code == 0
    first, *_ = sim.room_ids
    sim.change_room(first, max_participants=40)
    assert invoke("apply", "one.plan", "--yes").exit_code == 1
    added = Path(JOURNAL).read_bytes().splitlines(keepends=True)[1:]
    with Path("one.plan.journal").open("ab") as file:
        file.writelines(line for line in added if first.encode() not in line)
    result = invoke("resume", "one.plan.journal", "--json")
    assert result.exit_code == 1
    assert lines(result.stderr)[0] == (
        "aiorooms: the journal has lines about 19 rooms outside the plan, which were ignored; check whether lines of "
        "another journal were added to it"
    )
    totals = {"rooms": 1, "updated": 0, "updated_before": 0, "conflict": 1, "not_begun": 0}
    assert json.loads(lines(result.stdout)[-1]).items() >= totals.items()


@pytest.mark.parametrize(
    "command",
    [("resume", JOURNAL, "--yes"), ("resume", JOURNAL), ("report", JOURNAL), ("rollback", JOURNAL)],
    ids=["resume --yes", "resume", "report", "rollback"],
)
def test_a_journal_that_contains_another_one_is_an_error_that_says_what_to_do(
    invoke: Invoke, command: tuple[str, ...]
) -> None:
    assert invoke("apply", "rooms.plan", "--yes").exit_code == 0
    content = Path(JOURNAL).read_bytes()
    Path(JOURNAL).write_bytes(content + content)
    result = invoke(*command)
    assert result.exit_code == 2
    number = content.count(b"\n") + 1
    assert result.stderr == (
        f"aiorooms: the journal '{JOURNAL}' contains another journal, which begins at line {number}; restore it from a "
        f"copy, or remove line {number} and all lines after it\n"
    )


# --- files that change during a run ---


def test_a_journal_that_is_deleted_stops_the_run(
    sim: RoomsSimulator, invoke: Invoke, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SYNC_INTERVAL", 0.01)
    sim.latency = 0.05
    with act_when(lambda: len(sim.stats.updates_applied) >= 3, (folder / JOURNAL).unlink):
        result = invoke("apply", "rooms.plan", "--yes", "--concurrency", "2")
    assert result.exit_code == 1
    assert lines(result.stderr)[-1] == (
        f"aiorooms: the journal '{JOURNAL}' was deleted, moved or replaced during the run; no further update was sent; "
        "if it was moved, continue with `aiorooms resume` and its new path; else apply the plan again"
    )
    assert len(sim.stats.updates_applied) < 20
    # As the message says.
    assert invoke("apply", "rooms.plan", "--yes").exit_code == 0
    assert values(sim) == {30}


def test_a_journal_that_is_truncated_stops_the_run(
    sim: RoomsSimulator, invoke: Invoke, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SYNC_INTERVAL", 0.01)
    sim.latency = 0.05
    with act_when(lambda: len(sim.stats.updates_applied) >= 3, lambda: os.truncate(folder / JOURNAL, 0)):
        result = invoke("apply", "rooms.plan", "--yes", "--concurrency", "2")
    assert result.exit_code == 1
    assert lines(result.stderr)[-1] == (
        f"aiorooms: the journal '{JOURNAL}' was truncated during the run; no further update was sent; apply the plan "
        "again and give another file with --journal: rooms that have their new values are not updated again"
    )
    # As the message says.
    assert invoke("apply", "rooms.plan", "--yes", "--journal", "b.journal").exit_code == 0
    assert values(sim) == {30}
    assert len(sim.stats.updates_applied) == 20


def test_a_plan_that_is_edited_stops_the_run(
    invoke: Invoke, folder: Path, use: Callable[[RoomsSimulator], None]
) -> None:
    plan = folder / "rooms.plan"
    with RoomsSimulator(rooms=200, api_key=KEY) as sim:
        use(sim)
        assert invoke("plan", "--set", "max_participants=30", "--overwrite").exit_code == 0
        right = plan.read_bytes()

        def edit() -> None:
            with plan.open("r+b") as file:
                file.write(right.replace(b'"after":{"max_participants":30}', b'"after":{"max_participants":31}'))

        sim.latency = 0.02
        with act_when(lambda: len(sim.stats.updates_applied) >= 3, edit):
            result = invoke("apply", "rooms.plan", "--yes", "--concurrency", "2")
        assert result.exit_code == 1
        assert values(sim) == {10, 30}
        text = "no further update was sent; restore the plan from a copy, then continue with `aiorooms resume`"
        assert lines(result.stderr)[-2:] == [
            f"aiorooms: the plan 'rooms.plan' was modified while it was applied; {text}",
            f"To continue: aiorooms resume {JOURNAL}",
        ]
        plan.write_bytes(right)
        assert invoke("resume", JOURNAL, "--yes").exit_code == 0
        assert values(sim) == {30}


# --- locks ---


def test_a_file_system_without_locks_is_told_with_the_way_out(
    sim: RoomsSimulator, invoke: Invoke, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    result = invoke("apply", "rooms.plan", "--yes")
    assert result.exit_code == 2
    assert result.stderr == (
        f"aiorooms: the journal '{JOURNAL}' can't be locked: No locks available; if no other command uses the journal "
        "and the plan, give --no-lock\n"
    )
    assert sim.stats.by_method["PATCH"] == 0
    assert invoke("apply", "rooms.plan", "--yes", "--no-lock").exit_code == 0
    assert invoke("resume", JOURNAL, "--yes", "--no-lock").exit_code == 0


def test_a_plan_that_can_not_be_locked_is_told(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    flock = fcntl.flock

    def refuse(descriptor: int, operation: int) -> None:
        if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", refuse)
    result = invoke("apply", "rooms.plan", "--yes")
    assert result.exit_code == 0
    assert lines(result.stderr)[0] == (
        "aiorooms: the plan can't be locked: No locks available; make sure that no other command applies it with "
        "another journal"
    )


def test_a_plan_is_not_applied_with_two_journals_at_once(sim: RoomsSimulator, invoke: Invoke, folder: Path) -> None:
    with (folder / "rooms.plan").open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        result = invoke("apply", "rooms.plan", "--yes")
        assert result.exit_code == 2
        text = "the plan 'rooms.plan' is in use: another run applies it with another journal"
        assert lines(result.stderr) == [f"aiorooms: {text}; wait until the other command has finished"]
        assert sim.stats.by_method["PATCH"] == 0
        assert not (folder / JOURNAL).exists()
    assert invoke("apply", "rooms.plan", "--yes").exit_code == 0


# --- what is not a regular file ---


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_link(path: Path) -> None:
    path.symlink_to("nowhere")


def make_zeros(path: Path) -> None:
    path.write_bytes(b"\0" * 50)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (make_pipe, "'it' is a pipe, not a regular file; give another file with --journal"),
        (make_link, "'it' is a symbolic link, not a regular file; give another"),
        (Path.mkdir, "the journal 'it' can't be written: Is a directory"),
        (Path.touch, "the file 'it' is empty or was cut off in its first line; delete it, and start"),
        (make_zeros, "the file 'it' is empty or was cut off in its first line"),
    ],
    ids=["pipe", "link", "folder", "empty", "zeros"],
)
def test_what_exists_is_not_a_new_journal(
    sim: RoomsSimulator, invoke: Invoke, folder: Path, make: Callable[[Path], None], message: str
) -> None:
    make(folder / "it")
    result = invoke("apply", "rooms.plan", "--yes", "--journal", "it")
    assert result.exit_code == 2
    (line,) = lines(result.stderr)
    assert line.startswith(f"aiorooms: {message}")
    assert sim.stats.by_method["PATCH"] == 0


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("show", "it"), "the plan 'it' can't be read: it is a pipe, not a regular file"),
        (("apply", "it", "--yes"), "the plan 'it' can't be read: it is a pipe, not a regular file"),
        (("verify", "it"), "the plan 'it' can't be read: it is a pipe, not a regular file"),
        (("resume", "it", "--yes"), "the journal 'it' can't be read: it is a pipe, not a regular file"),
        (("resume", JOURNAL, "--plan", "it", "--yes"), "the plan 'it' can't be read: it is a pipe, not a regular file"),
        (("report", "it"), "the journal 'it' can't be read: it is a pipe, not a regular file"),
        (("rollback", "it"), "the journal 'it' can't be read: it is a pipe, not a regular file"),
        (
            ("plan", "it", "--overwrite"),
            "it: this is a pipe or a device; save its content as a file, or read it from standard input",
        ),
    ],
    ids=["show", "apply", "verify", "resume", "resume --plan", "report", "rollback", "plan"],
)
def test_a_pipe_is_never_read(invoke: Invoke, folder: Path, command: tuple[str, ...], message: str) -> None:
    assert invoke("apply", "rooms.plan", "--yes").exit_code == 0
    os.mkfifo(folder / "it")
    result = invoke(*command)
    assert result.exit_code == 2
    assert lines(result.stderr) == [f"aiorooms: {message}"]
