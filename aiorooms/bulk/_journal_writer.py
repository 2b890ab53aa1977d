"""Write a journal: one line before an update is sent, and one when its outcome is known.

Each line is written with one unbuffered write, so it is not lost if the process dies. A thread syncs the file to the
disk once a second, so at most the lines of the last second are lost if the machine crashes. If a line can't be written,
for example because the disk is full, the run stops. No update is sent without its `begin` line.

Only one process at a time can write a journal, because the writer locks the file. The operating system releases the
lock when the process dies. On Windows the file is not locked.
"""

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, Self

from .._aio import end_tasks, finish
from ..errors import JournalError
from ._files import os_reason, path_text, quoted_path
from ._journal import Journal, first_line, is_incomplete_header, is_journal
from ._journal_records import JournalHeader, RoomState, Run, line_of
from ._plan import Plan

__all__ = ["JournalWriter", "now"]

_SYNC_INTERVAL: Final = 1.0
"""Time between two syncs, in seconds."""


def now() -> float:
    """Return the Unix time in seconds, cut to the millisecond."""
    # This takes a third of the time of `round(time.time(), 3)`.
    return time.time_ns() // 1_000_000 / 1000


class JournalWriter:
    """Writes the journal of one run."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.states_before: Mapping[str, RoomState] = {}
        """The state of each room when this run began."""
        self._descriptor = descriptor
        self._size = os.fstat(descriptor).st_size
        self._synced = self._size
        """Number of bytes that were synced to the disk."""
        self._write_error: OSError | None = None
        self._is_resumable = False
        """Whether the header and the `run` line of this run have been written."""

    @classmethod
    @asynccontextmanager
    async def create(cls, path: str | Path, plan: Plan) -> AsyncGenerator[Self]:
        """Create the journal of a plan. A file that is empty, or has only an incomplete header, is overwritten.

        Raises `JournalError` if `path` is any other existing file.
        """
        path = Path(path)
        async with cls._locked(path, _open(path, os.O_CREAT)) as writer:
            # Check under the lock, because another process may have written the header before the file was locked.
            first = first_line(path)
            if not is_incomplete_header(first):
                raise _already_exists(path, first)
            writer.truncate(0)
            header = JournalHeader(
                plan=plan.plan_id,
                plan_file=path_text(plan.path.absolute()),
                plan_sha256=plan.sha256,
                base_url=plan.base_url,
                rooms=plan.rooms,
                at=now(),
            )
            try:
                writer.write(line_of(header))
                writer.begin_run(1)
            except JournalError:
                path.unlink(missing_ok=True)
                raise
            yield writer

    @classmethod
    @asynccontextmanager
    async def reopen(cls, journal: Journal) -> AsyncGenerator[Self]:
        """Open a journal for appending, after its last complete line."""
        async with cls._locked(journal.path, _open(journal.path)) as writer:
            # Read again under the lock, because another run may have written lines before the file was locked.
            journal = Journal.open(journal.path)
            writer.states_before, runs = await asyncio.to_thread(journal.standing)
            writer.truncate(journal.size)
            writer.begin_run(runs + 1)
            yield writer

    @classmethod
    @asynccontextmanager
    async def _locked(cls, path: Path, descriptor: int) -> AsyncGenerator[Self]:
        try:
            _lock(path, descriptor)
            writer = cls(path, descriptor)
            syncing = asyncio.create_task(writer._sync_periodically())
            try:
                yield writer
            finally:
                await end_tasks([syncing])
                await writer._sync()
            writer._check()
        finally:
            os.close(descriptor)

    def begin_run(self, run: int) -> None:
        """Append the `run` line, which makes the run resumable."""
        self.write(line_of(Run(run=run, at=now())))
        self._is_resumable = True

    def truncate(self, size: int) -> None:
        """Truncate the file to `size` bytes. A file that is not longer stays unchanged."""
        if size < self._size:
            try:
                os.ftruncate(self._descriptor, size)
            except OSError as error:
                raise _unwritable(self.path, error) from None
            self._size = size

    def _check(self) -> None:
        """Raise `JournalError` if a line could not be written or synced."""
        if self._write_error is None:
            return
        text = f"the journal {quoted_path(self.path)} can't be written any more: {os_reason(self._write_error)}"
        if not self._is_resumable:
            raise JournalError(text, hint="nothing was sent", reason="unwritable")
        hint = "no further update was sent; resume() reads back the rooms whose update was in flight"
        raise JournalError(text, hint=hint, reason="journal_lost")

    def write(self, line: bytes) -> None:
        """Append a line. Raises `JournalError` if it can't be written."""
        self._check()
        try:
            written = os.write(self._descriptor, line)
            if written < len(line):
                # Probably the disk is full. If so, the next write raises an error that says so.
                written += os.write(self._descriptor, line[written:])
            if written < len(line):
                raise OSError(0, "only part of the line was written")  # noqa: TRY301 - handled like other errors
        except OSError as error:
            self._write_error = error
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
        if (size := self._size) != self._synced:
            try:
                # The file must stay open until the thread is done. If it were closed earlier, the lock would outlive
                # the run, and the thread could sync another file that was opened with the same descriptor.
                await finish(asyncio.create_task(asyncio.to_thread(os.fsync, self._descriptor)))
                self._synced = size
            except OSError as error:
                self._write_error = error


_BINARY: Final[int] = getattr(os, "O_BINARY", 0)


def _open(path: Path, flags: int = 0) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_APPEND | _BINARY | flags, 0o644)
    except OSError as error:
        raise _unwritable(path, error) from None


def _unwritable(path: Path, error: OSError) -> JournalError:
    return JournalError(f"the journal {quoted_path(path)} can't be written: {os_reason(error)}", reason="unwritable")


def _already_exists(path: Path, first: bytes) -> JournalError:
    if is_journal(first):
        hint = "continue it with resume(), or choose another path"
        return JournalError(f"the journal {quoted_path(path)} already exists", hint=hint, reason="journal_exists")
    text = f"the file {quoted_path(path)} already exists"
    return JournalError(text, hint="choose another path", reason="file_exists")


def _lock(path: Path, descriptor: int) -> None:
    if sys.platform == "win32":
        return
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        text = f"the journal {quoted_path(path)} is in use: another run is writing it"
        raise JournalError(text, reason="journal_in_use") from None
