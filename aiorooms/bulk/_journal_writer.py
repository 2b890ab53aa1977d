"""Writing a journal: a line before a room is sent, and a line when its outcome is known.

A write goes to the system at once, which keeps it if the process dies. Against a crash of the machine the file is
synced to the disk once a second, in a thread. A line that can't be written, as the disk is full, ends the run: nothing
is sent that the journal doesn't know of.

One process at a time writes a journal: it holds a lock on the file, which the system releases when it dies.
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
from ._files import named, why
from ._journal import Journal, first_line, is_journal, is_unbegun
from ._journal_records import JournalHeader, Record, RoomState, Run, line_of
from ._plan import Plan

__all__ = ["JournalWriter", "now"]

_SYNC_EVERY: Final = 1.0
"""Seconds."""


def now() -> float:
    """Return the Unix time in seconds, to the millisecond."""
    return round(time.time(), 3)


class JournalWriter:
    """Writes the journal of one run. `write` raises `JournalError` if a line can't be written."""

    def __init__(self, path: Path, number: int) -> None:
        self.path = path
        self.states_before: Mapping[str, RoomState] = {}
        """How things stood with each room when this run began."""
        self._number = number
        self._size = os.fstat(number).st_size
        self._synced = self._size
        """So many bytes are on the disk."""
        self._broken: OSError | None = None
        self._has_begun = False
        """The run stands in the journal, so that it can be resumed."""

    @classmethod
    @asynccontextmanager
    async def create(cls, path: str | Path, plan: Plan) -> AsyncGenerator[Self]:
        """Begin the journal of a plan. Raises `JournalError` if there is something at that place already."""
        path = Path(path)
        async with cls._held(path, _open(path, os.O_CREAT)) as writer:
            # Only now nobody else can begin it.
            first = first_line(path)
            if not is_unbegun(first):
                raise _occupied(path, first)
            writer.cut(0)
            header = JournalHeader(
                plan=plan.plan_id,
                plan_file=str(plan.path.absolute()),
                plan_sha256=plan.sha256,
                base_url=plan.base_url,
                rooms=plan.rooms,
                at=now(),
            )
            try:
                writer.write(header)
                writer.begin_run(1)
            except JournalError:
                path.unlink(missing_ok=True)
                raise
            yield writer

    @classmethod
    @asynccontextmanager
    async def go_on(cls, journal: Journal) -> AsyncGenerator[Self]:
        """Continue a journal after its last whole line."""
        async with cls._held(journal.path, _open(journal.path)) as writer:
            # Only now nobody else writes: what was read before may have been of a run that still went on.
            journal = Journal.open(journal.path)
            writer.states_before, runs = await asyncio.to_thread(journal.standing)
            writer.cut(journal.size)
            writer.begin_run(runs + 1)
            yield writer

    @classmethod
    @asynccontextmanager
    async def _held(cls, path: Path, number: int) -> AsyncGenerator[Self]:
        try:
            _lock(path, number)
            writer = cls(path, number)
            syncing = asyncio.create_task(writer._sync_now_and_then())
            try:
                yield writer
            finally:
                await end_tasks([syncing])
                await writer._sync()
            writer._check()
        finally:
            os.close(number)

    def write(self, record: Record | JournalHeader) -> None:
        """Add a line."""
        self._write(line_of(record))

    def begin_run(self, run: int) -> None:
        """Add the line of this run; from now on it can be resumed."""
        self.write(Run(run=run, at=now()))
        self._has_begun = True

    def cut(self, size: int) -> None:
        """Drop what is behind the last whole line."""
        if size < self._size:
            try:
                os.ftruncate(self._number, size)
            except OSError as error:
                raise _unwritable(self.path, error) from None
            self._size = size

    def _check(self) -> None:
        """Raise `JournalError` if a line could not be written, or synced."""
        if self._broken is None:
            return
        text = f"the journal {named(self.path)} can't be written any more: {why(self._broken)}"
        if not self._has_begun:
            raise JournalError(text, hint="nothing was sent", reason="unwritable")
        hint = "nothing more was sent; resume() reads back what was in flight"
        raise JournalError(text, hint=hint, reason="journal_lost")

    def _write(self, line: bytes) -> None:
        self._check()
        try:
            written = os.write(self._number, line)
            if written < len(line):
                # The disk is all but full: the next write tells so.
                written += os.write(self._number, line[written:])
            if written < len(line):
                raise OSError(0, "the line was written in part only")  # noqa: TRY301 - the same end as the others
        except OSError as error:
            self._broken = error
            # What there is of the line would stand in the way of what may yet be written.
            with contextlib.suppress(OSError):
                os.ftruncate(self._number, self._size)
        self._check()
        self._size += len(line)

    async def _sync_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(_SYNC_EVERY)
            await self._sync()

    async def _sync(self) -> None:
        if (size := self._size) != self._synced:
            try:
                # The file must not be closed under the thread: its lock would outlive the run, and its number may
                # belong to another file by then.
                await finish(asyncio.create_task(asyncio.to_thread(os.fsync, self._number)))
                self._synced = size
            except OSError as error:
                self._broken = error


_BINARY: Final[int] = getattr(os, "O_BINARY", 0)


def _open(path: Path, flags: int = 0) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_APPEND | _BINARY | flags, 0o644)
    except OSError as error:
        raise _unwritable(path, error) from None


def _unwritable(path: Path, error: OSError) -> JournalError:
    return JournalError(f"the journal {named(path)} can't be written: {why(error)}", reason="unwritable")


def _occupied(path: Path, first: bytes) -> JournalError:
    if is_journal(first):
        hint = "resume() continues it, or choose another path"
        return JournalError(f"there is a journal {named(path)} already", hint=hint, reason="journal_exists")
    return JournalError(f"there is a file {named(path)} already", hint="choose another path", reason="file_exists")


def _lock(path: Path, number: int) -> None:
    if sys.platform == "win32":
        return  # there nothing keeps two processes apart
    import fcntl

    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        text = f"the journal {named(path)} is in use: another apply or resume is writing it"
        raise JournalError(text, reason="journal_in_use") from None
