"""The journal of an apply, as it is read: what was begun, before it was sent, and how it ended.

It is a file of JSON lines to which lines are only ever added, each written at once. So whatever ends the process, and
wherever, the file tells the truth except for one line at its end that may be torn, and that is dropped:

- no `begin` for a room: nothing was sent;
- a `begin` and no `end`: it may have been sent, so a read-back has to say;
- a `begin` and an `end`: that is how it ended.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, Final, Self

import attrs

from .._text import quoted
from ..errors import JournalError
from ._files import JsonObject, json_object, named, os_errors_as
from ._journal_records import HEADER, VERSION, Begin, End, JournalHeader, Record, RoomState, Run, record_of

__all__ = ["Journal", "first_line", "is_journal", "is_unbegun"]


@attrs.frozen(kw_only=True)
class Journal:
    """A journal file, for reading."""

    path: Path
    head: JournalHeader
    size: int
    """Bytes up to the end of the last whole line."""

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Read the header. Raises `JournalError` unless it is a journal that this version knows."""
        path = Path(path)
        with os_errors_as(_unreadable, path), path.open("rb") as file:
            first = file.readline(_LONGEST_HEADER)
            size = _whole_lines(file)
        if is_unbegun(first):
            text = f"the journal {named(path)} was cut off before anything was sent"
            raise JournalError(text, hint="apply() begins it anew", reason="empty_journal")
        header = json_object(first)
        if header is None or "aiorooms_journal" not in header:
            raise JournalError(f"{named(path)} is not a journal", hint="apply() writes one", reason="not_a_journal")
        if (version := header["aiorooms_journal"]) != VERSION:
            text = f"the journal {named(path)} is of version {quoted(version)}, which takes a newer aiorooms"
            raise JournalError(text, reason="newer_journal")
        try:
            return cls(path=path, head=HEADER.from_json(header), size=size)
        except ValueError:
            raise _damaged(path, 1) from None

    @property
    def header(self) -> JsonObject:
        """The first line, as JSON data."""
        return HEADER.to_json(self.head)

    @property
    def plan_id(self) -> str:
        """The plan that it belongs to."""
        return self.head.plan

    @property
    def plan_file(self) -> Path:
        """Where that plan was."""
        return Path(self.head.plan_file)

    @property
    def base_url(self) -> str:
        """Of the account that was changed."""
        return self.head.base_url

    def records(self) -> Iterator[JsonObject]:
        """Give all lines after the header, as JSON data, except a torn one at the end.

        Raises `JournalError` at one that is damaged.
        """
        for value, _ in self._read():
            yield value

    def entries(self) -> Iterator[Record]:
        """Give the records that this version knows. Raises `JournalError` as `records` does."""
        for _, record in self._read():
            if record is not None:
                yield record

    def states(self) -> Mapping[str, RoomState]:
        """Return how things stand with each room that the journal names."""
        return self.standing()[0]

    def runs(self) -> int:
        """Return the number of runs, the first one included."""
        return self.standing()[1]

    def standing(self) -> tuple[Mapping[str, RoomState], int]:
        """Return `states` and `runs`, which takes reading the file once."""
        states: dict[str, RoomState] = {}
        runs = 0
        for record in self.entries():
            match record:
                case Begin():
                    states[record.begin] = "begun"
                case End():
                    states[record.end] = record.status
                case Run():
                    runs += 1
                case _:
                    pass
        return states, runs

    def _read(self) -> Iterator[tuple[JsonObject, Record | None]]:
        with os_errors_as(_unreadable, self.path), self.path.open("rb") as file:
            read = len(file.readline())
            number = 1
            while read < self.size:
                number += 1
                line = file.readline()
                read += len(line)
                value = json_object(line)
                if value is None:
                    raise _damaged(self.path, number)
                try:
                    record = record_of(value)
                except ValueError:
                    raise _damaged(self.path, number) from None
                yield value, record


_LONGEST_HEADER: Final = 64 * 1024
"""Bytes; so that a file without line ends is not read as a whole."""


def first_line(path: Path) -> bytes:
    """Read the first line of what may be a journal. Raises `JournalError` if it can't be read."""
    with os_errors_as(_unreadable, path), path.open("rb") as file:
        return file.readline(_LONGEST_HEADER)


def _unreadable(path: Path, reason: str) -> JournalError:
    return JournalError(f"the journal {named(path)} can't be read: {reason}", reason="unreadable")


def is_unbegun(first: bytes) -> bool:
    """Whether this is all that there is of a journal whose first line was not written whole."""
    begin = first.rstrip(b"\0")  # a file system may leave zeros where the machine died
    return not first.endswith(b"\n") and len(first) < _LONGEST_HEADER and begin[: len(_BEGIN)] == _BEGIN[: len(begin)]


def is_journal(first: bytes) -> bool:
    """Whether a file with this first line is a journal."""
    return first.startswith(_BEGIN)


_BEGIN: Final = b'{"aiorooms_journal":'


def _damaged(path: Path, line: int) -> JournalError:
    return JournalError(f"the journal {named(path)} is damaged at line {line:,}", reason="damaged_journal")


def _whole_lines(file: BinaryIO) -> int:
    """Return the number of bytes up to the end of the last whole line."""
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
