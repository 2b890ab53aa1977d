"""Read a journal: which updates of a plan were sent, and their outcomes.

A journal is an append-only file of JSON lines. A `begin` line is written before an update is sent, and an `end` line
when its outcome is known. If the process dies, the last line may be incomplete, and is then ignored. For example, a
plan has the rooms A to E, and the process is killed while `apply` writes the `begin` line of D:

    {"aiorooms_journal":1,"plan":"eb745684-455d-48d7-895b-1daf77cc356f",...,"rooms":5,...}
    {"run":1,...}
    {"begin":"A",...}
    {"begin":"B",...}
    {"end":"A",...,"status":"updated",...}
    {"begin":"C",...}
    {"end":"B",...,"status":"failed",...}
    {"begin":"D","at":1795684799.5

`resume` then does the following:

- A and B have an `end` line, so they keep their outcome. With `retry_failed`, the update of B is sent again.
- C has only a `begin` line, so its update may have been applied. `resume` reads C back, and sends the update if it was
  not applied.
- D and E have no complete line, so their updates were not sent. `resume` sends these updates.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, Final, Self

import attrs

from .._text import quoted
from ..errors import JournalError
from ._files import JsonObject, json_object, os_errors_as, path_of, quoted_path
from ._journal_records import HEADER, VERSION, Begin, End, JournalHeader, Record, RoomState, Run, record_of

__all__ = ["Journal", "first_line", "is_incomplete_header", "is_journal"]


@attrs.frozen(kw_only=True)
class Journal:
    """A journal file, whose header was read by `open`."""

    path: Path
    head: JournalHeader
    size: int
    """Number of bytes up to the end of the last complete line, when the journal was opened."""

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Open a journal, and read its header.

        Raises `JournalError` if the file can't be read, is not a journal, has an incomplete or damaged header, or has
        an unknown format version.
        """
        path = Path(path)
        with os_errors_as(_unreadable, path), path.open("rb") as file:
            first = file.readline(_LONGEST_HEADER)
            size = _complete_size(file)
        if is_incomplete_header(first):
            text = f"the journal {quoted_path(path)} was cut off before anything was sent"
            raise JournalError(text, hint="start again with apply()", reason="empty_journal")
        header = json_object(first)
        if header is None or "aiorooms_journal" not in header:
            text = f"{quoted_path(path)} is not a journal"
            raise JournalError(text, hint="give a file written by apply()", reason="not_a_journal")
        if (version := header["aiorooms_journal"]) != VERSION:
            text = f"the journal {quoted_path(path)} has format version {quoted(version)}, "
            text += f"but this aiorooms reads only {VERSION}"
            raise JournalError(text, hint="upgrade aiorooms", reason="newer_journal")
        try:
            return cls(path=path, head=HEADER.from_json(header), size=size)
        except ValueError:
            raise _damaged(path, 1) from None

    @property
    def header(self) -> JsonObject:
        """The first line of the journal, as JSON data."""
        return HEADER.to_json(self.head)

    @property
    def plan_id(self) -> str:
        """The id of the plan that was applied."""
        return self.head.plan

    @property
    def plan_file(self) -> Path:
        """The path of the plan file when `apply` was called."""
        return path_of(self.head.plan_file)

    @property
    def base_url(self) -> str:
        """The base URL of the API that the plan was made for."""
        return self.head.base_url

    def records(self) -> Iterator[JsonObject]:
        """Yield all complete lines after the header, as JSON data.

        Raises `JournalError` at the first damaged line.
        """
        for value, _ in self._read():
            yield value

    def entries(self) -> Iterator[Record]:
        """Yield all complete lines after the header as records. Lines of an unknown kind are skipped.

        Raises `JournalError` at the first damaged line.
        """
        for _, record in self._read():
            if record is not None:
                yield record

    def states(self) -> Mapping[str, RoomState]:
        """Return the state of each room in the journal: its last outcome, or `begun` if its last line is a `begin`."""
        return self.standing()[0]

    def runs(self) -> int:
        """Return the number of runs. `apply` writes run 1, and each `resume` writes the next one."""
        return self.standing()[1]

    def standing(self) -> tuple[Mapping[str, RoomState], int]:
        """Return the results of `states` and `runs` from one pass over the file."""
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
"""Maximum number of bytes to read as the header. If the file is not a journal, its first line may be very long."""


def first_line(path: Path) -> bytes:
    """Read the first line of a file. Raises `JournalError` if the file can't be read."""
    with os_errors_as(_unreadable, path), path.open("rb") as file:
        return file.readline(_LONGEST_HEADER)


def _unreadable(path: Path, reason: str) -> JournalError:
    return JournalError(f"the journal {quoted_path(path)} can't be read: {reason}", reason="unreadable")


def is_incomplete_header(first: bytes) -> bool:
    """Return whether a file with this first line is empty, or a journal with an incomplete header."""
    begin = first.rstrip(b"\0")  # after a crash of the machine, the file may end with NUL bytes
    return not first.endswith(b"\n") and len(first) < _LONGEST_HEADER and begin[: len(_BEGIN)] == _BEGIN[: len(begin)]


def is_journal(first: bytes) -> bool:
    """Return whether a file with this first line is a journal."""
    return first.startswith(_BEGIN)


_BEGIN: Final = b'{"aiorooms_journal":'


def _damaged(path: Path, line: int) -> JournalError:
    return JournalError(f"the journal {quoted_path(path)} is damaged at line {line:,}", reason="damaged_journal")


def _complete_size(file: BinaryIO) -> int:
    """Return the number of bytes up to the end of the last complete line."""
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
