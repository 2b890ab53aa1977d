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

import os
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Final, Literal, Self, TypeAlias, cast, get_args

import attrs

from .._text import quoted
from ..errors import JournalError
from ..models._converter import is_object
from ._files import JsonObject, json_object, named, why

__all__ = ["BEGIN", "LONGEST_HEADER", "VERSION", "Ending", "Journal", "RoomState", "is_unbegun", "opened"]

VERSION: Final = 1


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
        with opened(path) as file:
            first = file.readline(LONGEST_HEADER)
            size = _whole_lines(file)
        if is_unbegun(first):
            raise JournalError(
                f"the journal {named(path)} was cut off before anything was sent; `aiorooms apply` begins it anew"
            )
        header = json_object(first)
        if header is None or "aiorooms_journal" not in header:
            raise JournalError(f"{named(path)} is not a journal; `aiorooms apply` writes one")
        if (version := header["aiorooms_journal"]) != VERSION:
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
        with opened(self.path) as file:
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


LONGEST_HEADER: Final = 64 * 1024
"""Bytes; so that a file without line ends is not read as a whole."""


@contextmanager
def opened(path: Path) -> Generator[BinaryIO]:
    """Open a journal to be read. Raises `JournalError` if that, or the reading, can't be done."""
    try:
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise JournalError(f"the journal {named(path)} can't be read: {why(error)}") from None


def is_unbegun(first: bytes) -> bool:
    """Whether this is all that there is of a journal of which not even the first line was written whole."""
    begin = first.rstrip(b"\0")  # a file system may leave zeros where the machine died
    return not first.endswith(b"\n") and len(first) < LONGEST_HEADER and begin[: len(BEGIN)] == BEGIN[: len(begin)]


BEGIN: Final = b'{"aiorooms_journal":'


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
