"""Writing a journal."""

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, Self

from .._aio import end_tasks
from ..errors import JournalError
from ._files import JsonObject, json_line, named, why
from ._journal import BEGIN, LONGEST_HEADER, VERSION, Ending, Journal, is_unbegun, opened
from ._plan import Plan
from ._plan_records import AFTER_ID

__all__ = ["JournalWriter", "now"]

_SYNC_EVERY: Final = 1.0
"""Seconds."""


class JournalWriter:
    """Writes the journal of one run. Each method raises `JournalError` if the line can't be written."""

    def __init__(self, path: Path, number: int) -> None:
        self.path = path
        self._number = number
        self._size = os.fstat(number).st_size
        self._synced = self._size
        """So many bytes are on the disk."""
        self._broken: str | None = None

    @classmethod
    @asynccontextmanager
    async def create(cls, path: str | Path, plan: Plan) -> AsyncGenerator[Self]:
        """Begin the journal of a plan. Raises `JournalError` if there is something at that place already."""
        path = Path(path)
        async with cls._held(path, _open(path, os.O_CREAT)) as writer:
            # Only now nobody else can begin it.
            with opened(path) as file:
                first = file.readline(LONGEST_HEADER)
            if not is_unbegun(first):
                raise JournalError(
                    f"there is a journal {named(path)} already; `aiorooms resume` goes on with it, "
                    "or give another place with --journal"
                    if first.startswith(BEGIN)
                    else f"there is a file {named(path)} already; give another place with --journal"
                )
            writer.cut(0)
            header = {
                "aiorooms_journal": VERSION,
                "plan": plan.plan_id,
                "plan_file": str(plan.path.absolute()),
                "plan_sha256": plan.sha256,
                "base_url": plan.base_url,
                "rooms": plan.rooms,
                "at": now(),
            }
            try:
                writer.write(header)
                writer.write({"run": 1, "at": now()})
            except JournalError as error:
                error.hint = "nothing was sent"
                path.unlink(missing_ok=True)
                raise
            yield writer

    @classmethod
    @asynccontextmanager
    async def go_on(cls, journal: Journal) -> AsyncGenerator[Self]:
        """Go on with a journal, after its last whole line."""
        async with cls._held(journal.path, _open(journal.path)) as writer:
            # Only now nobody else writes: what was read before may have been of a run that still went on.
            journal = Journal.open(journal.path)
            runs = await asyncio.to_thread(journal.runs)
            writer.cut(journal.size)
            try:
                writer.write({"run": runs + 1, "at": now()})
            except JournalError as error:
                error.hint = "nothing was sent"
                raise
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
            if writer._broken is not None:
                raise JournalError(writer._broken)
        finally:
            os.close(number)

    def begin(self, planned: bytes, room_id: str) -> None:
        """Note that a room is about to be updated; `planned` is its line of the plan."""
        # The line is spliced, not read and written again: it was checked with the plan.
        self._write(b'{"begin":"%s","at":%.3f,' % (room_id.encode(), now()) + planned[AFTER_ID:])

    def end(self, room_id: str, status: Ending, more: JsonObject) -> None:
        """Note how the update of a room ended."""
        self.write({"end": room_id, "at": now(), "status": status, **more})

    def updated(self, room_id: str, attempts: int, elapsed: float, updated_at: str | None) -> None:
        """Note that a room was updated. It is the commonest line, and put together without a detour."""
        at = b"" if updated_at is None else b',"updated_at":"%s"' % updated_at.encode()
        self._write(
            b'{"end":"%s","at":%.3f,"status":"updated","attempts":%d,"elapsed":%.4f%s}\n'
            % (room_id.encode(), now(), attempts, elapsed, at)
        )

    def write(self, record: JsonObject) -> None:
        """Add a line."""
        self._write(json_line(record))

    def cut(self, size: int) -> None:
        """Drop what is behind the last whole line."""
        if size < self._size:
            try:
                os.ftruncate(self._number, size)
            except OSError as error:
                raise JournalError(f"the journal {named(self.path)} can't be written: {why(error)}") from None
            self._size = size

    def _write(self, line: bytes) -> None:
        if self._broken is not None:
            raise JournalError(self._broken)
        try:
            written = os.write(self._number, line)
            if written < len(line):
                # The disk is all but full: the next write tells so.
                written += os.write(self._number, line[written:])
            if written < len(line):
                raise OSError(0, "the line was written in part only")  # noqa: TRY301 - the same end as the others
        except OSError as error:
            self._broken = f"the journal {named(self.path)} can't be written any more: {why(error)}"
            # What there is of the line would stand in the way of what may yet be written.
            with contextlib.suppress(OSError):
                os.ftruncate(self._number, self._size)
            raise JournalError(self._broken) from None
        self._size += len(line)

    async def _sync_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(_SYNC_EVERY)
            await self._sync()

    async def _sync(self) -> None:
        if (size := self._size) != self._synced:
            try:
                await asyncio.to_thread(os.fsync, self._number)
                self._synced = size
            except OSError as error:
                self._broken = f"the journal {named(self.path)} can't be written any more: {why(error)}"


_BINARY: Final[int] = getattr(os, "O_BINARY", 0)


now: Final = time.time
"""Unix time, in seconds."""


def _open(path: Path, flags: int = 0) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_APPEND | _BINARY | flags, 0o644)
    except OSError as error:
        raise JournalError(f"the journal {named(path)} can't be written: {why(error)}") from None


def _lock(path: Path, number: int) -> None:
    if sys.platform == "win32":
        return  # there nothing keeps two processes apart
    import fcntl

    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise JournalError(f"the journal {named(path)} is in use: another apply or resume is writing it") from None
