"""Read a journal: which updates of a plan were sent, and their outcomes.

A journal is an append-only file of JSON lines. A `begin` line is written before an update is sent, and an `end` line
when its outcome is known. If the process dies, the last line may be incomplete, and is then ignored. For example, a
plan has the rooms A to E, and the process is killed while `apply` writes the `begin` line of D:

    {"aiorooms_journal":2,"plan":"eb745684-455d-48d7-895b-1daf77cc356f",...,"rooms":5,...,"crc":"c1f1ce18"}
    {"run":1,...,"crc":"1c91eec5"}
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

A line is damaged if its checksum is wrong or it is no record, for example because a bit was flipped on the disk.
Damaged lines are skipped, and `damaged_lines` names them. What they may hide is read back from the account, not
guessed: `_standing` has an example. Only a damaged header is an error, because without it the plan is unknown. A second
header is an error too: another journal was appended (`cat a.journal >> b.journal`), so the lines after it are not about
this plan.

Lines of format version 1 have no checksum, so damage is noticed there only if the line is no record any more. If a run
of this version continues such a journal, its own lines have checksums and are checked.
"""

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple, cast

import attrs

from .._text import quoted
from ..errors import JournalError
from ..models._fields import Values
from ..resources._bodies import MAX_LIST
from ._existing_file import open_existing
from ._files import JsonObject, json_object, os_errors_as, path_of, quoted_path
from ._journal_records import HEADER, READABLE, Begin, JournalHeader, JournalLine, Record, RoomState, Run, record_of
from ._line_checksum import KEY, is_sealed
from ._standing import standing_of

__all__ = [
    "START",
    "Journal",
    "Place",
    "RawLine",
    "begin_at",
    "complete_size",
    "first_line",
    "is_incomplete_header",
    "is_journal",
    "journal_lines",
    "line_at",
    "lines_of_file",
    "raw_lines",
    "read_journal",
    "read_line",
    "unreadable",
]


@attrs.frozen(kw_only=True)
class Journal:
    """A journal file, whose header was read by `open`."""

    path: Path
    head: JournalHeader
    size: int
    """Number of bytes up to the end of the last complete line, when the journal was opened."""

    @staticmethod
    def open(path: str | Path) -> "Journal":
        """Open a journal, and read its header.

        Raises `JournalError` if the file can't be read, is not a regular file or not a journal, has an incomplete or
        damaged header, or has an unknown format version.
        """
        path = Path(path)
        with os_errors_as(unreadable, path), open_existing(path) as file:
            return read_journal(path, file)

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
        """Yield all complete lines after the header, as JSON data without the checksum. Damaged lines are skipped."""
        for line in journal_lines(self):
            if line.value is not None:
                yield {key: value for key, value in line.value.items() if key != KEY}

    def entries(self) -> Iterator[Record]:
        """Yield all complete lines after the header as records. Damaged lines and unknown kinds are skipped."""
        for line in journal_lines(self):
            if line.record is not None:
                yield line.record

    def states(self) -> Mapping[str, RoomState]:
        """Return the state of each room in the journal: its last outcome, or `begun` if its last line is a `begin`.

        Damaged lines are skipped, so the last line about a room may be missing.
        """
        return standing_of(journal_lines(self)).states

    def runs(self) -> int:
        """Return the number of runs. `apply` writes run 1, and each `resume` writes the next one."""
        return standing_of(journal_lines(self)).runs

    def standing(self) -> tuple[Mapping[str, RoomState], int]:
        """Return the results of `states` and `runs` from one pass over the file."""
        standing = standing_of(journal_lines(self))
        return standing.states, standing.runs

    def damaged_lines(self) -> Sequence[int]:
        """Return the numbers of the damaged lines. The header is line 1.

        A damaged line may hide the outcome of a room, or that its update was sent. `resume` finds that out from the
        account.
        """
        return standing_of(journal_lines(self)).damaged_lines


def read_journal(path: Path, file: BinaryIO) -> Journal:
    """Read the header of an open journal. Raises `JournalError` as `Journal.open` does, and `OSError`."""
    first = file.readline(_LONGEST_HEADER)
    if is_incomplete_header(first):
        text = f"the journal {quoted_path(path)} is empty or was cut off in its first line"
        raise JournalError(text, hint="delete it, and start again with apply()", reason="empty_journal")
    header = json_object(first)
    if header is None or "aiorooms_journal" not in header:
        if is_journal(first):
            raise _damaged_header(path)
        text = f"{quoted_path(path)} is not a journal"
        raise JournalError(text, hint="give a file written by apply()", reason="not_a_journal")
    if KEY in header and not is_sealed(first):
        raise _damaged_header(path)
    if (version := header["aiorooms_journal"]) not in READABLE:
        text = f"the journal {quoted_path(path)} has format version {quoted(version)}, "
        text += f"but this aiorooms reads only {' and '.join(map(str, READABLE))}"
        raise JournalError(text, hint="upgrade aiorooms", reason="newer_journal")
    try:
        head = HEADER.from_json(header)
    except ValueError:
        raise _damaged_header(path) from None
    if head.version > 1 and KEY not in header:
        raise _damaged_header(path)
    return Journal(path=path, head=head, size=complete_size(file))


def journal_lines(journal: Journal) -> Iterator[JournalLine]:
    """Yield the lines that were complete when the journal was opened, without the header.

    All methods of `Journal` that read the lines use this function, so they raise `JournalError` if the file can't be
    read or contains another journal.
    """
    with os_errors_as(unreadable, journal.path), open_existing(journal.path) as file:
        yield from lines_of_file(journal, file)


def lines_of_file(journal: Journal, file: BinaryIO) -> Iterator[JournalLine]:
    """Yield the lines as `journal_lines` does, from a file that is already open. Also raises `OSError`."""
    needs_checksum = journal.head.version > 1
    for number, offset, _, text in raw_lines(journal.path, file, START, journal.size):
        line = read_line(number, text, needs_checksum=needs_checksum, offset=offset)
        if isinstance(line.record, Run) and journal.head.version == 1:
            # All lines of a run are written by the same version of aiorooms.
            needs_checksum = is_sealed(text)
        yield line


def line_at(journal: Journal, file: BinaryIO, offset: int) -> JournalLine:
    """Read the line at an offset again, without its number. It is damaged if it was modified by someone else.

    Raises `OSError` if the file can't be read.
    """
    return read_line(0, _text_at(file, offset), needs_checksum=journal.head.version > 1, offset=offset)


def begin_at(journal: Journal, file: BinaryIO, offset: int) -> tuple[str, Values, Values, Values] | None:
    """Read the `begin` line at an offset again, and return its room id, `before`, `after` and `pair`.

    Return None if the line was modified by someone else. Raises `OSError` if the file can't be read.
    """
    text = _text_at(file, offset)
    if is_sealed(text):
        # The line is as it was written, and its values were checked when it was read for the first time. Checking them
        # again would take twice as long.
        value = cast("Mapping[str, Any]", json_object(text) or {})
        if "begin" in value:
            return value["begin"], value["before"], value["after"], value.get("pair", {})
        return None
    record = read_line(0, text, needs_checksum=journal.head.version > 1, offset=offset).record
    return (record.begin, record.before, record.after, record.pair) if isinstance(record, Begin) else None


def _text_at(file: BinaryIO, offset: int) -> bytes:
    file.seek(offset)
    return file.readline(_LONGEST_LINE + _PIECE)


def read_line(number: int, text: bytes, *, needs_checksum: bool, offset: int = 0) -> JournalLine:
    """Read a line. Without a checksum, it is damaged if `needs_checksum` is true."""
    has_checksum = is_sealed(text)
    value = json_object(text) if has_checksum or not needs_checksum else None
    if value is not None and (has_checksum or KEY not in value):
        with contextlib.suppress(ValueError):
            return JournalLine(number, value, record_of(value), offset)
    return JournalLine(number, None, None, offset)


class Place(NamedTuple):
    """A place in a journal, at the beginning of a line."""

    offset: int
    """Number of bytes before this place."""
    number: int
    """Number of lines before this place."""


class RawLine(NamedTuple):
    """A line of a journal, before it is read."""

    number: int
    offset: int
    """Where it begins."""
    after: Place
    """The place after it."""
    text: bytes


START: Final = Place(0, 0)


def raw_lines(path: Path, file: BinaryIO, after: Place, size: int) -> Iterator[RawLine]:
    """Yield each complete line after a place, without the header.

    `size` is the end of the last complete line. A line that can't be one of a journal may be cut. Raises `JournalError`
    at a second header.
    """
    file.seek(after.offset)
    read, number = after
    if after == START:
        read += len(file.readline(_LONGEST_HEADER))
        number += 1
    while read < size and (piece := file.readline(_PIECE)):
        number += 1
        offset = read
        read += len(piece)
        line = [piece]
        while not piece.endswith(b"\n") and read < size and (piece := file.readline(_PIECE)):
            read += len(piece)
            # After a crash of the machine, the file may contain gigabytes of NUL bytes, which no line contains.
            if b"\0" not in line[-1] and len(line) * _PIECE < _LONGEST_LINE:
                line.append(piece)
        text = b"".join(line)
        if is_journal(text):
            raise _joined(path, number)
        yield RawLine(number, offset, Place(read, number), text)


_PIECE: Final = 1024 * 1024
"""Maximum number of bytes to read at once."""

_LONGEST_LINE: Final = 2 * MAX_LIST
"""Maximum number of bytes of a line.

A `begin` line has the values of a room, which come from a page of a list, and it may contain its name twice. In JSON,
this package never writes a value with more bytes than the server.
"""

_LONGEST_HEADER: Final = 64 * 1024
"""Maximum number of bytes to read as the header. If the file is not a journal, its first line may be very long."""


def first_line(path: Path) -> bytes:
    """Read the first line of a file. Raises `JournalError` if the file can't be read."""
    with os_errors_as(unreadable, path), open_existing(path) as file:
        return file.readline(_LONGEST_HEADER)


def unreadable(path: Path, reason: str) -> JournalError:
    """Return the error for a journal that can't be read, for `os_errors_as`."""
    return JournalError(f"the journal {quoted_path(path)} can't be read: {reason}", reason="unreadable")


def is_incomplete_header(first: bytes) -> bool:
    """Return whether a file with this first line is empty, or a journal with an incomplete header."""
    begin = first.rstrip(b"\0")  # after a crash of the machine, the file may end with NUL bytes
    return not first.endswith(b"\n") and len(first) < _LONGEST_HEADER and begin[: len(_BEGIN)] == _BEGIN[: len(begin)]


def is_journal(first: bytes) -> bool:
    """Return whether a file with this first line is a journal."""
    return first.startswith(_BEGIN)


_BEGIN: Final = b'{"aiorooms_journal":'


def _damaged_header(path: Path) -> JournalError:
    hint = "restore it from a copy, or apply the plan again with another journal: rooms that have their new values are "
    hint += "not updated again"
    text = f"the journal {quoted_path(path)} is damaged at line 1, so its plan is unknown"
    return JournalError(text, hint=hint, reason="damaged_journal")


def _joined(path: Path, number: int) -> JournalError:
    text = f"the journal {quoted_path(path)} contains another journal, which begins at line {number:,}"
    hint = f"restore it from a copy, or remove line {number:,} and all lines after it"
    return JournalError(text, hint=hint, reason="joined_journals")


def complete_size(file: BinaryIO) -> int:
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
