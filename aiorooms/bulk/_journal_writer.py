"""Write a journal: one line before an update is sent, and one when its outcome is known.

Each line is written with one unbuffered write, so it is not lost if the process dies. A thread syncs the file to the
disk once a second, so at most the lines of the last second are lost if the machine crashes. The lines before the first
update, the header and the `run` line, are synced before anything is sent. If a line can't be written, for example
because the disk is full, the run stops. No update is sent without its `begin` line. The thread also notices if the file
was deleted, moved, replaced or truncated. The run then stops too, because its lines would be lost.

Only one process at a time can write a journal, and only one journal at a time can be written for a plan. The writer
locks both files (`_lock`). Without the second lock, two runs could apply the same plan with two journals, and neither
journal would contain the updates of the other run.

A new journal is always a new file: an existing file, even an empty one, a symbolic link, a pipe and a device are
errors. It can be read only by its owner, because webhook URLs may contain secrets.
"""

import asyncio
import contextlib
import errno
import os
import stat
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, Self

from .._aio import end_tasks, finish
from ..errors import JournalError
from ._existing_file import BINARY, NONBLOCK, open_existing
from ._files import check_is_file, kind_of_file, os_errors_as, os_reason, path_text, quoted_path
from ._journal import Journal, first_line, is_incomplete_header, is_journal, lines_of_file, read_journal, unreadable
from ._journal_records import JournalHeader, Run, Stop, line_of, recordable
from ._line_checksum import sealed
from ._lock import is_locked, is_only_asked, plan_locked, try_lock
from ._plan import Plan
from ._standing import Standing, standing_of

__all__ = ["JournalWriter", "check_appendable", "check_creatable", "now", "unwritable_journal"]

_SYNC_INTERVAL: Final = 1.0
"""Time between two syncs, in seconds."""

_LOCK_PAUSES: Final = (0.002, 0.01, 0.05, 0.25)
"""Pauses before locking the file is tried again, in seconds. A command that asks for the lock holds it for some
microseconds, but it may be suspended meanwhile."""

_MAX_SOURCE: Final = 1000
"""Longest source of the plan in the header, in characters. The header of a journal must stay short."""


def now() -> float:
    """Return the Unix time in seconds, cut to the millisecond."""
    # This takes a third of the time of `round(time.time(), 3)`.
    return time.time_ns() // 1_000_000 / 1000


class JournalWriter:
    """Writes the journal of one run."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.before = Standing()
        """The content of the journal when this run began."""
        self.plan_lock_error: str | None = None
        """Why the plan file could not be locked; None if it is locked or should not be locked."""
        self._descriptor = descriptor
        self._absolute_path = path.absolute()  # the process may change its current folder during the run
        self._size = 0
        """Number of bytes up to the end of the last complete line."""
        self._synced = 0
        """Number of bytes that were synced to the disk."""
        self._failure: Exception | None = None
        """Why no line can be written any more."""
        self._is_resumable = False
        """Whether the header and the `run` line of this run have been written and synced."""

    @classmethod
    @asynccontextmanager
    async def create(cls, path: str | Path, plan: Plan, *, lock: bool = True) -> AsyncGenerator[Self]:
        """Create the journal of a plan.

        Raises `JournalError` if `path` exists or can't be written, and `PlanFileError` if another run is applying the
        plan. If `lock` is false, neither the journal nor the plan is locked.
        """
        path = Path(path)
        async with cls._opened(path, _create(path), lock=lock, is_new=True) as writer:
            with plan_locked(plan, lock=lock) as writer.plan_lock_error:
                header = JournalHeader(
                    plan=plan.plan_id,
                    plan_file=path_text(plan.path.absolute()),
                    plan_sha256=plan.sha256,
                    base_url=plan.base_url,
                    rooms=plan.rooms,
                    at=now(),
                    source=recordable(plan.source[:_MAX_SOURCE]),
                    plan_created_at=recordable(plan.created_at[:_MAX_SOURCE]),
                )
                writer.write(line_of(header))
                await writer.begin_run(1, locked=lock)
                yield writer

    @classmethod
    @asynccontextmanager
    async def reopen(cls, journal: Journal, plan: Plan, *, lock: bool = True) -> AsyncGenerator[Self]:
        """Open a journal for appending, after its last complete line.

        The errors are those of `create`. Raises `JournalError` too if the file is no longer the journal that was read.
        """
        async with cls._opened(journal.path, _reopen(journal.path), lock=lock) as writer:
            with plan_locked(plan, lock=lock) as writer.plan_lock_error:
                await writer.read_again(journal)
                await writer.begin_run(writer.before.runs + 1, locked=lock)
                yield writer

    @classmethod
    @asynccontextmanager
    async def _opened(cls, path: Path, descriptor: int, *, lock: bool, is_new: bool = False) -> AsyncGenerator[Self]:
        """Lock the file, sync it periodically, and close it. A new file in which no run began is deleted."""
        try:
            with os_errors_as(unwritable_journal, path):
                writer = cls(path, descriptor)
        except JournalError:
            os.close(descriptor)
            raise
        try:
            if lock:
                await _lock_soon(path, descriptor)
            # Before the file was locked, another run may have written lines.
            writer._size = writer._synced = os.fstat(descriptor).st_size
            syncing = asyncio.create_task(writer._sync_periodically())
            try:
                yield writer
            finally:
                try:
                    await end_tasks([syncing])
                finally:  # even if the run is cancelled again
                    await writer._sync()
            writer._check()
        finally:
            writer._close(is_new=is_new)

    async def read_again(self, journal: Journal) -> None:
        """Read the lines of earlier runs, and cut off what follows the last complete line.

        Raises `JournalError` if the file can't be read or is no longer the journal that was read before.
        """
        locked = os.fstat(self._descriptor)
        size, self.before = await asyncio.to_thread(_read_again, journal, self._absolute_path, locked)
        self.truncate(size)

    async def begin_run(self, run: int, *, locked: bool) -> None:
        """Append the `run` line, which makes the run resumable, and sync it. Raises `JournalError` if that fails."""
        self.write(line_of(Run(run=run, at=now(), locked=locked)))
        try:
            await self._sync()
        except asyncio.CancelledError:
            # The run ends before it has begun. Without this line, it would look as if it had been killed.
            with contextlib.suppress(JournalError):
                self.write(line_of(Stop(stop="interrupted", at=now())))
            raise
        self._check()
        self._is_resumable = True

    def _close(self, *, is_new: bool) -> None:
        try:
            # If the file can't be deleted, the error that ended the run says more than that.
            with contextlib.suppress(OSError):
                path = self._absolute_path
                if is_new and not self._is_resumable and os.path.samestat(os.fstat(self._descriptor), path.lstat()):
                    path.unlink()
        finally:
            os.close(self._descriptor)

    def truncate(self, size: int) -> None:
        """Truncate the file to `size` bytes. A file that is not longer stays unchanged."""
        if size < self._size:
            with os_errors_as(unwritable_journal, self.path):
                os.ftruncate(self._descriptor, size)
            self._size = size

    def _check(self) -> None:
        """Raise `JournalError` if a line could not be written or synced, or if the file was removed."""
        if self._failure is None:
            return
        if isinstance(self._failure, _RemovedError):
            text = f"the journal {quoted_path(self.path)} was deleted, moved or replaced during the run"
            hint = "no further update was sent; if it was moved, continue with resume() and its new path; else apply "
            hint += "the plan again"
            raise JournalError(text, hint=hint, reason="journal_removed")
        if isinstance(self._failure, _TruncatedError):
            text = f"the journal {quoted_path(self.path)} was truncated during the run"
            hint = "no further update was sent; apply the plan again with another journal: rooms that have their new "
            hint += "values are not updated again"
            raise JournalError(text, hint=hint, reason="journal_truncated")
        reason = os_reason(self._failure) if isinstance(self._failure, OSError) else repr(self._failure)
        text = f"the journal {quoted_path(self.path)} can't be written any more: {reason}"
        if not self._is_resumable:
            raise JournalError(text, hint="nothing was sent", reason="unwritable")
        hint = "no further update was sent; resume() reads back the rooms whose update was in flight"
        raise JournalError(text, hint=hint, reason="journal_lost")

    def write(self, line: bytes) -> None:
        """Append a line with its checksum. Raises `JournalError` if it can't be written."""
        self._check()
        line = sealed(line)
        try:
            written = os.write(self._descriptor, line)
            if written < len(line):
                # Probably the disk is full. If so, the next write raises an error that says so.
                written += os.write(self._descriptor, line[written:])
            if written < len(line):
                raise OSError(0, "only part of the line was written")  # noqa: TRY301 - handled like other errors
        except OSError as error:
            self._failure = error
            # Remove the partial line, so that the journal ends with a complete line.
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, self._size)
        self._check()
        self._size += len(line)

    async def _sync_periodically(self) -> None:
        while True:
            await asyncio.sleep(_SYNC_INTERVAL)
            await self._sync()

    async def _sync(self) -> None:
        """Sync new lines to the disk, and check that the file is still at its path and whole, in a thread."""
        size = self._size
        try:
            # The file must stay open until the thread is done. If it were closed earlier, the lock would outlive
            # the run, and the thread could sync another file that was opened with the same descriptor.
            found = await finish(
                asyncio.create_task(asyncio.to_thread(self._sync_file, has_new_lines=size != self._synced))
            )
            # Meanwhile, this run may have removed an incomplete line, but no complete one.
            if found < min(size, self._size):
                self._failure = self._failure or _TruncatedError()
            self._synced = size
        except Exception as error:  # noqa: BLE001 - without syncs, the run must not go on
            self._failure = self._failure or error

    def _sync_file(self, *, has_new_lines: bool) -> int:
        """Sync the file, check that it is still at its path, and return its size."""
        if has_new_lines:
            os.fsync(self._descriptor)
            if self._synced == 0:
                _sync_folder(self._absolute_path.parent)
        ours = os.fstat(self._descriptor)
        try:
            there = self._absolute_path.stat()
        except (FileNotFoundError, NotADirectoryError):
            raise _RemovedError from None
        except OSError:
            return ours.st_size  # the folder can't be read, but the file can still be written
        if not os.path.samestat(ours, there):
            raise _RemovedError
        return ours.st_size


class _RemovedError(OSError):
    """The journal is no longer at its path."""


class _TruncatedError(OSError):
    """The journal is shorter than what was written."""


def check_creatable(path: Path) -> None:
    """Raise `JournalError` if a new journal can't be created at a path. Nothing is written.

    Whether the new file could be locked is not checked, because that needs the file.
    """
    with os_errors_as(unwritable_journal, path):
        with contextlib.suppress(FileNotFoundError):
            path.lstat()
            raise _already_exists(path)
        folder = path.absolute().parent
        folder.stat()
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def check_appendable(path: Path, *, lock: bool) -> None:
    """Raise `JournalError` if a journal can't be written, or if another run is writing it. Nothing is written."""
    descriptor = _reopen(path)
    try:
        if lock:
            _lock(path, descriptor)
    finally:
        os.close(descriptor)


def _create(path: Path) -> int:
    # With O_EXCL, a symbolic link is not followed, and a pipe is not opened.
    with os_errors_as(unwritable_journal, path):
        try:
            return os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | BINARY, 0o600)
        except FileExistsError:
            raise _already_exists(path) from None


def _reopen(path: Path) -> int:
    with os_errors_as(unwritable_journal, path):
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | NONBLOCK | BINARY)
        try:
            check_is_file(os.fstat(descriptor).st_mode)
        except BaseException:
            os.close(descriptor)
            raise
    return descriptor


def _read_again(journal: Journal, path: Path, locked: os.stat_result) -> tuple[int, Standing]:
    """Read a journal again when it is locked, because another run may have written lines before that.

    Returns the size of its complete lines, and its content. Raises `JournalError` if the file at `path` is not the
    locked one, or has another header than `journal`.
    """
    # The file is opened again, and not read through the descriptor of the writer. If the run is cancelled meanwhile,
    # this thread goes on while the descriptor is closed.
    with os_errors_as(unreadable, path), open_existing(path) as file:
        if not os.path.samestat(os.fstat(file.fileno()), locked):
            raise _replaced(journal.path)
        again = read_journal(journal.path, file)
        if again.head != journal.head:
            raise _replaced(journal.path)
        return again.size, standing_of(lines_of_file(again, file))


def _replaced(path: Path) -> JournalError:
    text = f"the journal {quoted_path(path)} was replaced after it was opened"
    return JournalError(text, hint="call resume() again", reason="replaced_journal")


def _sync_folder(folder: Path) -> None:
    """Sync the entry of a new file to the disk. Not every system can do that."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def unwritable_journal(path: Path, reason: str) -> JournalError:
    """Return the error for a journal that can't be written, for `os_errors_as`."""
    return JournalError(f"the journal {quoted_path(path)} can't be written: {reason}", reason="unwritable")


def _already_exists(path: Path) -> JournalError:
    """Return the error for a new journal whose path exists. Raises `OSError` if the path can't be examined."""
    mode = path.lstat().st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    kind = "a symbolic link" if stat.S_ISLNK(mode) else kind_of_file(mode)
    if kind is not None:
        text = f"{quoted_path(path)} is {kind}, not a regular file"
        return JournalError(text, hint="choose another path", reason="file_exists")
    if is_locked(path):
        return _in_use(path)
    try:
        first = first_line(path)
    except JournalError as error:
        return error
    if is_incomplete_header(first):
        text = f"the file {quoted_path(path)} is empty or was cut off in its first line"
        return JournalError(text, hint="delete it, and start again with apply()", reason="empty_journal")
    if is_journal(first):
        hint = "continue it with resume(), or choose another path"
        return JournalError(f"the journal {quoted_path(path)} already exists", hint=hint, reason="journal_exists")
    text = f"the file {quoted_path(path)} already exists"
    return JournalError(text, hint="choose another path", reason="file_exists")


def _in_use(path: Path) -> JournalError:
    text = f"the journal {quoted_path(path)} is in use: another run is writing it"
    return JournalError(text, hint="wait until that run has ended", reason="journal_in_use")


def _lock(path: Path, descriptor: int) -> bool:
    """Lock the journal. Return False if a command is only asking for the lock at this moment, so that no run holds it.

    Raises `JournalError` if another run holds the lock, or if the file can't be locked.
    """
    try:
        has_lock = try_lock(descriptor)
    except OSError as error:
        text = f"the journal {quoted_path(path)} can't be locked: {os_reason(error)}"
        hint = "its file system may have no locks; if no other run uses the journal and the plan, pass lock=False"
        raise JournalError(text, hint=hint, reason="no_locks") from None
    if not has_lock and not is_only_asked(descriptor):
        raise _in_use(path)
    return has_lock


async def _lock_soon(path: Path, descriptor: int) -> None:
    """Lock the journal. If a command is asking for the lock, try again some times."""
    for pause in _LOCK_PAUSES:
        if _lock(path, descriptor):
            return
        await asyncio.sleep(pause)
    if not _lock(path, descriptor):
        raise _in_use(path)
