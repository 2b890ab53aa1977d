"""The journal of an apply: what was begun, before it is sent, and how it ended, when that is known.

It is a file of JSON lines to which lines are only ever added, each written at once. So whatever ends the process, and
wherever, the file tells the truth but for one line at its end that may be torn, and that is dropped:

- no `begin` for a room: nothing was sent;
- a `begin` and no `end`: it may have been sent, so somebody has to look;
- a `begin` and an `end`: that is how it ended.

A write goes to the system at once, which keeps it if the process dies. Against the machine's dying the file is synced
to the disk once a second, in a thread. A line that can't be written, as the disk is full, ends the run: nothing is
sent that the journal doesn't know of.

One process at a time writes a journal: it holds a lock on the file, which the system takes back when it dies.
"""

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import AsyncGenerator, Generator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Final, Literal, Self, TypeAlias, cast, get_args

import attrs

from .._aio import end_tasks
from .._text import quoted
from ..errors import JournalError
from ..models._converter import is_object
from ._files import JsonObject, json_line, json_object, named, why
from ._plan_file import AFTER_ID, Plan

__all__ = ["Ending", "Journal", "JournalWriter", "RoomState"]

_VERSION: Final = 1

_SYNC_EVERY: Final = 1.0
"""Seconds."""

Ending: TypeAlias = Literal["updated", "failed", "uncertain", "skipped", "conflict"]
"""How a room's update ended; `skipped` was not sent, `conflict` was not touched as somebody changed the room."""

RoomState: TypeAlias = Ending | Literal["begun"]


@attrs.frozen(kw_only=True)
class Journal:
    """A journal file, to be read."""

    path: Path
    header: JsonObject
    size: int
    """Bytes up to the end of the last whole line."""

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Read the header. Raises `JournalError` unless it is a journal that this version knows."""
        path = Path(path)
        with _opened(path) as file:
            first = file.readline(_LONGEST_HEADER)
            size = _whole_lines(file)
        if _is_unbegun(first):
            raise JournalError(
                f"the journal {named(path)} was cut off before anything was sent; `aiorooms apply` begins it anew"
            )
        header = json_object(first)
        if header is None or "aiorooms_journal" not in header:
            raise JournalError(f"{named(path)} is not a journal; `aiorooms apply` writes one")
        if (version := header["aiorooms_journal"]) != _VERSION:
            raise JournalError(
                f"the journal {named(path)} is of version {quoted(version)}, which takes a newer aiorooms"
            )
        if not all(isinstance(header.get(name), str) for name in ("plan", "plan_file", "plan_sha256", "base_url")):
            raise _damaged(path, 1)
        return cls(path=path, header=header, size=size)

    @property
    def plan_id(self) -> str:
        """The plan that it belongs to."""
        return str(self.header["plan"])

    @property
    def plan_file(self) -> Path:
        """Where that plan was."""
        return Path(str(self.header["plan_file"]))

    @property
    def base_url(self) -> str:
        """Of the account that was changed."""
        return str(self.header["base_url"])

    def records(self) -> Iterator[JsonObject]:
        """Give all lines after the header but a torn one at the end. Raises `JournalError` at one that is damaged."""
        with _opened(self.path) as file:
            read = len(file.readline())
            number = 1
            while read < self.size:
                number += 1
                line = file.readline()
                read += len(line)
                record = json_object(line)
                if record is None or not _is_sound(record):
                    raise _damaged(self.path, number)
                yield record

    def states(self) -> Mapping[str, RoomState]:
        """Give how things stand with each room of which the journal tells."""
        states: dict[str, RoomState] = {}
        for record in self.records():
            if isinstance(room_id := record.get("begin"), str):
                states[room_id] = "begun"
            elif isinstance(room_id := record.get("end"), str):
                states[room_id] = cast("Ending", record["status"])
        return states

    def runs(self) -> int:
        """How often it was gone on with, the first run included."""
        return sum("run" in record for record in self.records())


_LONGEST_HEADER: Final = 64 * 1024
"""Bytes; so that a file without line ends is not read as a whole."""


@contextmanager
def _opened(path: Path) -> Generator[BinaryIO]:
    """Open a journal to be read. Raises `JournalError` if that, or the reading, can't be done."""
    try:
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise JournalError(f"the journal {named(path)} can't be read: {why(error)}") from None


def _is_unbegun(first: bytes) -> bool:
    """Whether this is all that there is of a journal of which not even the first line was written whole."""
    begin = first.rstrip(b"\0")  # a file system may leave zeros where the machine died
    return not first.endswith(b"\n") and len(first) < _LONGEST_HEADER and begin[: len(_BEGIN)] == _BEGIN[: len(begin)]


_BEGIN: Final = b'{"aiorooms_journal":'


def _damaged(path: Path, line: int) -> JournalError:
    return JournalError(f"the journal {named(path)} is damaged at line {line:,}")


def _is_sound(record: JsonObject) -> bool:
    """Whether a record has what is needed of it. There may be records that this version doesn't know."""
    if "begin" in record:
        return isinstance(record["begin"], str) and is_object(record.get("before")) and is_object(record.get("after"))
    if "end" in record:
        is_known = isinstance(record["end"], str) and record.get("status") in _ENDINGS
        return is_known and _is_moment(record.get("updated_at"))
    return True


def _is_moment(value: object) -> bool:
    if isinstance(value, str):
        try:
            return datetime.fromisoformat(value).tzinfo is not None
        except ValueError:
            return False
    return value is None


_ENDINGS: Final = get_args(Ending)


def _whole_lines(file: BinaryIO) -> int:
    """Give the bytes up to the end of the last whole line."""
    end = file.seek(0, os.SEEK_END)
    while end:
        begin = max(0, end - _BLOCK)
        file.seek(begin)
        block = file.read(end - begin)
        if (newline := block.rfind(b"\n")) >= 0:
            return begin + newline + 1
        end = begin
    return 0


_BLOCK: Final = 64 * 1024


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
            with _opened(path) as file:
                first = file.readline(_LONGEST_HEADER)
            if not _is_unbegun(first):
                raise JournalError(
                    f"there is a journal {named(path)} already; `aiorooms resume` goes on with it, "
                    "or give another place with --journal"
                    if first.startswith(_BEGIN)
                    else f"there is a file {named(path)} already; give another place with --journal"
                )
            writer.cut(0)
            header = {
                "aiorooms_journal": _VERSION,
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
