"""While a run sends updates, its plan and its journal may be edited, deleted, replaced or used by another run."""

import errno
import fcntl
import os
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from aiorooms.bulk import (
    BulkRun,
    Journal,
    JournalError,
    Outcome,
    Plan,
    PlanFileError,
    apply,
    plan_rollback,
    resume,
    verify,
)
from aiorooms.bulk import _journal_writer as module
from aiorooms.bulk._files import quoted_path
from aiorooms.bulk._journal_records import end_line
from aiorooms.bulk._line_checksum import sealed
from aiorooms.simulator import RoomsSimulator

from ..conftest import tasks_left
from .conftest import account, client_of, collect, counts, handwritten_journal, open_files, plan_of, states

# --- the plan is edited ---


def edit(path: Path) -> None:
    """Edit a plan in place: its inode stays the same."""
    content = path.read_bytes().replace(b'"after":{"max_participants":20}', b'"after":{"max_participants":30}')
    with path.open("r+b") as file:
        file.write(content)


async def until_error(run: BulkRun, after: int, change: Callable[[], object]) -> tuple[list[Outcome], Exception]:
    """Return the outcomes of a run and the error that ends it. Call `change` after a number of outcomes."""
    outcomes: list[Outcome] = []
    with pytest.raises((JournalError, PlanFileError)) as caught:
        async for outcome in run.outcomes():
            outcomes.append(outcome)
            if len(outcomes) == after:
                change()
    return outcomes, caught.value


async def test_no_value_that_was_edited_during_the_run_is_sent(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=200) as sim, client_of(sim) as client:
        plan, path = await plan_of(client, tmp_path), tmp_path / "a.journal"
        right = plan.path.read_bytes()
        run = apply(client, plan, path, concurrency=5)
        outcomes, error = await until_error(run, 20, lambda: edit(plan.path))
        assert str(error) == (
            f"the plan {quoted_path(plan.path)} was modified while it was applied; no further update was sent; "
            "restore the plan from a copy, then continue with resume()"
        )
        assert isinstance(error, PlanFileError)
        assert error.reason == "modified_plan"
        assert 20 <= len(outcomes) < 200
        assert {room["max_participants"] for room in account(sim).values()} == {10, 20}
        assert states(path) == {"updated": len(outcomes)}
        assert tasks_left() == set()
        with pytest.raises(PlanFileError, match="was modified after it was made"):
            resume(client, path)
        plan.path.write_bytes(right)
        await collect(resume(client, path))
        assert states(path) == {"updated": 200}


async def test_a_plan_that_becomes_shorter_during_the_run_stops_the_run(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=200) as sim, client_of(sim) as client:
        plan = await plan_of(client, tmp_path)
        run = apply(client, plan, tmp_path / "a.journal", concurrency=5)
        _, error = await until_error(run, 20, lambda: os.truncate(plan.path, 20_000))
        assert "was modified while it was applied" in str(error)
        assert sim.stats.by_method["PATCH"] < 200


async def test_a_plan_that_is_edited_during_the_read_backs_stops_the_run(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=100, latency=0.005) as sim, client_of(sim) as client:
        plan, path = await plan_of(client, tmp_path), tmp_path / "a.journal"
        await handwritten_journal(client, plan, path, sim.room_ids[:10])
        _, failed = sim.room_ids[:2]
        sim.remove_room(failed)
        _, error = await until_error(resume(client, path, concurrency=5), 1, lambda: edit(plan.path))
        assert "a.plan' was modified" in str(error)
        assert 30 not in {room["max_participants"] for room in account(sim).values()}


async def test_verify_reports_no_value_that_was_edited_meanwhile(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=600) as sim, client_of(sim) as client:
        plan = await plan_of(client, tmp_path)
        seen: list[object] = []
        with pytest.raises(PlanFileError, match="was modified or replaced after it was opened"):
            async for difference in verify(client, plan):
                seen.append(difference.wanted["max_participants"])
                if len(seen) == 10:
                    edit(plan.path)
        assert set(seen) == {20}


# --- the journal is removed ---


@pytest.fixture
def _quick_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SYNC_INTERVAL", 0.01)


def replace(path: Path) -> None:
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)


REMOVALS: dict[str, Callable[[Path], object]] = {
    "deleted": Path.unlink,
    "moved": lambda path: path.rename(path.with_name("moved.journal")),
    "replaced": replace,
    "replaced atomically": lambda path: path.with_name("a.plan").replace(path),
    "its folder moved": lambda path: path.parent.rename(path.parent.with_name("moved")),
}


@pytest.mark.usefixtures("_quick_checks")
@pytest.mark.parametrize("remove", REMOVALS.values(), ids=REMOVALS.keys())
async def test_a_run_whose_journal_is_removed_stops(tmp_path: Path, remove: Callable[[Path], object]) -> None:
    (tmp_path / "there").mkdir()
    async with RoomsSimulator(rooms=200, latency=0.02) as sim, client_of(sim) as client:
        plan, path = await plan_of(client, tmp_path / "there"), tmp_path / "there" / "a.journal"
        _, error = await until_error(apply(client, plan, path, concurrency=2), 5, lambda: remove(path))
        assert isinstance(error, JournalError)
        assert error.reason == "journal_removed"
        assert "a.journal' was deleted, moved or replaced during the run; no further update was sent" in str(error)
        assert sim.stats.by_method["PATCH"] < 200
        assert tasks_left() == set()


@pytest.mark.usefixtures("_quick_checks")
async def test_a_journal_that_was_moved_can_be_continued_at_its_new_path(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=100, latency=0.02) as sim, client_of(sim) as client:
        plan, path = await plan_of(client, tmp_path), tmp_path / "a.journal"
        moved = tmp_path / "moved.journal"
        await until_error(apply(client, plan, path, concurrency=2), 5, lambda: path.rename(moved))
        await collect(resume(client, moved))
        assert states(moved) == {"updated": 100}


async def test_a_journal_that_is_deleted_at_the_end_is_noticed(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=3) as sim, client_of(sim) as client:
        plan, path = await plan_of(client, tmp_path), tmp_path / "a.journal"
        outcomes, error = await until_error(apply(client, plan, path), 3, path.unlink)
        assert counts(outcomes) == {"updated": 3}
        assert "was deleted, moved or replaced" in str(error)


@pytest.mark.usefixtures("_quick_checks")
async def test_a_run_whose_journal_is_truncated_stops(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=200, latency=0.02) as sim, client_of(sim) as client:
        plan, path = await plan_of(client, tmp_path), tmp_path / "a.journal"
        run = apply(client, plan, path, concurrency=2)
        _, error = await until_error(run, 5, lambda: os.truncate(path, 0))
        assert isinstance(error, JournalError)
        assert str(error) == (
            f"the journal {quoted_path(path)} was truncated during the run; no further update was sent; apply the plan "
            "again with another journal: rooms that have their new values are not updated again"
        )
        assert error.reason == "journal_truncated"
        assert sim.stats.by_method["PATCH"] < 200
        assert tasks_left() == set()
        # As the message says.
        await collect(apply(client, plan, tmp_path / "b.journal"))
        assert states(tmp_path / "b.journal") == {"updated": 200}
        assert sim.stats.by_method["PATCH"] == 200


@pytest.mark.usefixtures("_quick_checks")
async def test_a_change_of_the_current_folder_does_not_stop_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    async with RoomsSimulator(rooms=30, latency=0.01) as sim, client_of(sim) as client:
        plan = await plan_of(client, tmp_path)
        outcomes = apply(client, plan, "a.journal", concurrency=2).outcomes()
        await anext(outcomes)
        os.chdir("elsewhere")
        rest = [outcome async for outcome in outcomes]
        assert len(rest) == 29
        assert states(tmp_path / "a.journal") == {"updated": 30}


async def test_a_journal_that_is_replaced_before_the_run_is_not_continued(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=3) as sim, client_of(sim) as client:
        plan, path, other = await plan_of(client, tmp_path), tmp_path / "a.journal", tmp_path / "b.journal"
        await handwritten_journal(client, plan, path, [])
        await handwritten_journal(client, plan, other, sim.room_ids, "updated")
        run, before = resume(client, path), other.read_bytes()
        other.replace(path)
        with pytest.raises(JournalError) as caught:
            await collect(run)
        assert str(caught.value) == (
            f"the journal {quoted_path(path)} was replaced after it was opened; call resume() again"
        )
        assert caught.value.reason == "replaced_journal"
        assert path.read_bytes() == before
        assert sim.stats.by_method["PATCH"] == 0
        assert await collect(resume(client, path)) == []


async def test_a_journal_that_is_replaced_while_the_run_begins_is_not_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with RoomsSimulator(rooms=3) as sim, client_of(sim) as client:
        plan, path = await plan_of(client, tmp_path), tmp_path / "a.journal"
        await handwritten_journal(client, plan, path, [])
        read, before = module._read_again, path.read_bytes()

        def replace_and_read(*args: Any) -> object:
            replace(path)
            return read(*args)

        monkeypatch.setattr(module, "_read_again", replace_and_read)
        with pytest.raises(JournalError, match="was replaced after it was opened"):
            await collect(resume(client, path))
        assert path.read_bytes() == before
        assert sim.stats.by_method["PATCH"] == 0


async def test_lines_that_another_run_wrote_before_the_lock_are_kept_on_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with RoomsSimulator(rooms=3) as sim, client_of(sim) as client:
        plan, path = await plan_of(client, tmp_path), tmp_path / "a.journal"
        await handwritten_journal(client, plan, path, [])
        lock, write = module._lock, os.write
        line = sealed(end_line(sim.room_ids[0], 1.0, "updated", attempts=1))

        def write_and_lock(journal: Path, descriptor: int) -> bool:
            os.pwrite(descriptor, line, os.fstat(descriptor).st_size)
            return lock(journal, descriptor)

        def full(descriptor: int, data: bytes) -> int:
            write(descriptor, data[:5])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(module, "_lock", write_and_lock)
        monkeypatch.setattr(os, "write", full)
        with pytest.raises(JournalError, match="can't be written any more: No space left on device; nothing was sent"):
            await collect(resume(client, path))
        monkeypatch.undo()
        assert states(path) == {"updated": 1}
        assert Journal.open(path).damaged_lines() == []


# --- a run that can't begin deletes only its own file ---


def fail_first_sync(monkeypatch: pytest.MonkeyPatch, before: Callable[[], object]) -> None:
    """Make the next sync to the disk fail, after a call of `before`. It is in a thread, so `before` may block."""
    fsync = os.fsync

    def fail(descriptor: int) -> None:
        monkeypatch.setattr(os, "fsync", fsync)
        before()
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fail)


async def test_a_file_that_replaced_the_new_journal_is_not_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with RoomsSimulator(rooms=3) as sim, client_of(sim) as client:
        plan, path = await plan_of(client, tmp_path), tmp_path / "a.journal"

        def replace_journal() -> None:
            path.rename(tmp_path / "moved.journal")
            path.write_text("notes")

        fail_first_sync(monkeypatch, replace_journal)
        with pytest.raises(JournalError, match="can't be written any more: Input/output error; nothing was sent"):
            await collect(apply(client, plan, path))
        assert path.read_text() == "notes"


async def test_a_file_of_the_same_name_in_another_folder_is_not_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    here.mkdir()
    elsewhere.mkdir()
    (elsewhere / "a.journal").write_text("notes")
    monkeypatch.chdir(here)
    async with RoomsSimulator(rooms=3) as sim, client_of(sim) as client:
        plan = await plan_of(client, tmp_path)
        with monkeypatch.context() as patch:
            fail_first_sync(patch, lambda: os.chdir(elsewhere))
            with pytest.raises(JournalError, match="Input/output error; nothing was sent"):
                await collect(apply(client, plan, "a.journal"))
        assert (elsewhere / "a.journal").read_text() == "notes"
        assert not (here / "a.journal").exists()


async def test_an_unused_journal_that_can_not_be_deleted_does_not_hide_the_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with RoomsSimulator(rooms=3) as sim, client_of(sim) as client:
        plan, path, files = await plan_of(client, tmp_path), tmp_path / "a.journal", open_files()

        def refuse(path: object, **options: object) -> None:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

        with monkeypatch.context() as patch:
            fail_first_sync(patch, lambda: patch.setattr(os, "unlink", refuse))
            with pytest.raises(JournalError, match="Input/output error; nothing was sent"):
                await collect(apply(client, plan, path))
        assert open_files() == files
        path.unlink()
        assert counts(await collect(apply(client, plan, path))) == {"updated": 3}


# --- locks ---


@asynccontextmanager
async def in_progress(run: BulkRun) -> AsyncGenerator[None]:
    """Wait for the first outcome of a run. Abort the run at the end of the block."""
    outcomes = run.outcomes()
    try:
        await anext(outcomes)
        yield
    finally:
        await outcomes.aclose()


async def test_a_plan_is_not_applied_with_two_journals_at_once(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=20, latency=0.01) as sim, client_of(sim) as client:
        plan, path, other = await plan_of(client, tmp_path), tmp_path / "a.journal", tmp_path / "b.journal"
        async with in_progress(apply(client, plan, other, concurrency=2)):
            pass
        async with in_progress(apply(client, plan, path, concurrency=2)):
            for run in (apply(client, plan, tmp_path / "c.journal"), resume(client, other)):
                with pytest.raises(PlanFileError) as caught:
                    await collect(run)
                assert "a.plan' is in use: another run applies it with another journal; wait until" in str(caught.value)
                assert caught.value.reason == "plan_in_use"
            assert not (tmp_path / "c.journal").exists()
        before = other.read_bytes()
        async with in_progress(apply(client, plan, tmp_path / "c.journal", concurrency=2, lock=False)):
            await collect(resume(client, path))
        assert states(path) == {"updated": 20}
        assert other.read_bytes() == before


def refusing(number: int, *, only_read: bool = False) -> Callable[[int, int], None]:
    """Return a `flock` that fails, or only for files that are not open for writing."""
    flock = fcntl.flock

    def refuse(descriptor: int, operation: int) -> None:
        if only_read and fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY:
            return flock(descriptor, operation)
        raise OSError(number, os.strerror(number))

    return refuse


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS], ids=errno.errorcode.get)
async def test_a_file_system_without_locks_is_not_a_journal_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    async with RoomsSimulator(rooms=3) as sim, client_of(sim) as client:
        plan, path = await plan_of(client, tmp_path), tmp_path / "a.journal"
        monkeypatch.setattr(fcntl, "flock", refusing(number))
        with pytest.raises(JournalError) as caught:
            await collect(apply(client, plan, path))
        assert f"a.journal' can't be locked: {os.strerror(number)}; its file system may have no" in str(caught.value)
        assert str(caught.value).endswith("pass lock=False")
        assert caught.value.reason == "no_locks"
        assert not path.exists()
        assert counts(await collect(apply(client, plan, path, lock=False))) == {"updated": 3}
        with pytest.raises(JournalError, match="can't be locked"):
            await collect(resume(client, path))
        assert await collect(resume(client, path, lock=False)) == []


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.EACCES], ids=errno.errorcode.get)
async def test_a_lock_that_is_held_is_a_journal_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    async with RoomsSimulator(rooms=3) as sim, client_of(sim) as client:
        plan = await plan_of(client, tmp_path)
        monkeypatch.setattr(fcntl, "flock", refusing(number))
        with pytest.raises(JournalError, match="is in use: another run is writing it"):
            await collect(apply(client, plan, tmp_path / "a.journal"))


async def test_a_plan_that_can_only_be_locked_for_writing_is_opened_for_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fcntl, "flock", refusing(errno.EBADF, only_read=True))
    async with RoomsSimulator(rooms=20, latency=0.01) as sim, client_of(sim) as client:
        plan = await plan_of(client, tmp_path)
        run = apply(client, plan, tmp_path / "a.journal", concurrency=2)
        async with in_progress(run):
            assert run.plan_lock_error is None
            with pytest.raises(PlanFileError, match="is in use"):
                await collect(apply(client, plan, tmp_path / "b.journal"))


async def test_a_plan_that_can_not_be_locked_is_applied_and_the_reason_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fcntl, "flock", refusing(errno.ENOLCK, only_read=True))
    async with RoomsSimulator(rooms=3) as sim, client_of(sim) as client:
        run = apply(client, await plan_of(client, tmp_path), tmp_path / "a.journal")
        assert counts(await collect(run)) == {"updated": 3}
        assert run.plan_lock_error == os.strerror(errno.ENOLCK)


# --- what is not a regular file ---


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_link_to_nothing(path: Path) -> None:
    path.symlink_to("nowhere")


def make_link_to_file(path: Path) -> None:
    path.with_name("target").write_bytes(b"")
    path.symlink_to("target")


def make_link_to_device(path: Path) -> None:
    path.symlink_to(os.devnull)


KINDS: dict[str, tuple[Callable[[Path], None], str, str]] = {
    "pipe": (make_pipe, "a pipe", "a pipe"),
    "device": (make_link_to_device, "a symbolic link", "a device"),
    "dangling link": (make_link_to_nothing, "a symbolic link", ""),
    "link to a file": (make_link_to_file, "a symbolic link", ""),
}
"""For each kind: how to make it, and what a new journal and an existing file are called if they are of this kind."""


@pytest.mark.parametrize("kind", KINDS)
async def test_a_new_journal_is_a_new_file(tmp_path: Path, kind: str) -> None:
    make, name, _ = KINDS[kind]
    async with RoomsSimulator(rooms=3) as sim, client_of(sim) as client:
        plan, path = await plan_of(client, tmp_path), tmp_path / "a.journal"
        make(path)
        sim.reset_stats()
        with pytest.raises(JournalError, match=rf"a.journal' is {name}, not a regular file; choose another path"):
            await collect(apply(client, plan, path))
        assert sim.stats.requests == 0
        assert not (tmp_path / "nowhere").exists()


async def test_a_path_that_no_file_can_have_is_not_a_journal(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=3) as sim, client_of(sim) as client:
        plan = await plan_of(client, tmp_path)
        with pytest.raises(JournalError, match="can't be written: the path contains a NUL character"):
            await collect(apply(client, plan, tmp_path / "a\0b"))
        assert sim.stats.by_method["PATCH"] == 0


async def test_a_device_is_not_a_journal(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=3) as sim, client_of(sim) as client:
        plan = await plan_of(client, tmp_path)
        sim.reset_stats()
        with pytest.raises(JournalError, match="'/dev/null' is a device, not a regular file"):
            await collect(apply(client, plan, os.devnull))
        assert sim.stats.requests == 0


@pytest.mark.parametrize("kind", [kind for kind in KINDS if KINDS[kind][2]])
def test_only_a_file_is_read_as_a_journal_or_a_plan(tmp_path: Path, kind: str) -> None:
    make, _, name = KINDS[kind]
    path = tmp_path / "a.file"
    make(path)
    with pytest.raises(JournalError, match=rf"the journal '.*a.file' can't be read: it is {name}, not a regular file"):
        Journal.open(path)
    with pytest.raises(PlanFileError, match=rf"the plan '.*a.file' can't be read: it is {name}, not a regular file"):
        Plan.open(path)


async def test_a_journal_that_became_a_pipe_is_not_continued(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=3) as sim, client_of(sim) as client:
        path = tmp_path / "a.journal"
        await collect(apply(client, await plan_of(client, tmp_path), path))
        run, journal = resume(client, path), Journal.open(path)
        path.unlink()
        os.mkfifo(path)
        with pytest.raises(JournalError, match="can't be written: it is a pipe, not a regular file"):
            await collect(run)
        with pytest.raises(JournalError, match="can't be read: it is a pipe, not a regular file"):
            journal.states()
        with pytest.raises(JournalError, match="can't be read: it is a pipe, not a regular file"):
            await plan_rollback(client, journal, tmp_path / "back.plan")


async def test_a_new_journal_can_be_read_only_by_its_owner(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        async with RoomsSimulator(rooms=1) as sim, client_of(sim) as client:
            await collect(apply(client, await plan_of(client, tmp_path), tmp_path / "a.journal"))
    finally:
        os.umask(before)
    assert (tmp_path / "a.journal").stat().st_mode & 0o777 == 0o600


async def test_a_journal_that_a_link_names_can_be_continued(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=10, latency=0.01) as sim, client_of(sim) as client:
        path, link = tmp_path / "a.journal", tmp_path / "link"
        async with in_progress(apply(client, await plan_of(client, tmp_path), path, concurrency=2)):
            pass
        link.symlink_to(path)
        await collect(resume(client, link))
        assert states(path) == {"updated": 10}
