"""Read changes from a CSV file, a workbook, JSON lines or a JSON list. Every row is checked before anything is sent.

The column `room_id` (or `id`) contains the id of the room. Alternatively, the column `room` contains its id or its
current unique name. The other columns are the writable fields to change. In a table, an empty cell leaves a field
unchanged, and the word `null` clears it (`cells`). In JSON, an absent key or an empty string leaves a field unchanged,
and null clears it. The read-only columns of an export are ignored, so you can edit an export and make a plan from it.
An unknown column is reported as a problem.

Only `updated_at` is used: it tells `make_plan` which rooms were modified after the file was exported. For example, a
room is exported with `max_participants` 10. Then someone changes it to 20. A plan from the file changes it back to 10,
although the person who edited the file may not have wanted that. A row without `updated_at`, or with text that is not a
time with a time zone, is not compared.

A room may already have a value that breaks a rule, such as 99 participants from a time when the API had other rules. An
export then contains this value too. With `defer_values`, a value that a room could have is judged only if it changes
the room: 99 is accepted for a room that has it, and is a problem for any other room. A value of the wrong type, such as
`many`, is a problem in any case, because no room has it.

All problems are reported together, with the file and, if they are known, the line and the field. The rows are kept in a
temporary file with an index by room, so a million rows need little memory.
"""

import tempfile
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, NamedTuple, Self, cast

from ..._http.json import dumps, loads
from ..._text import quoted
from ..._webhook_url import DEFAULT_POLICY, WebhookUrlPolicy, policy_of
from ...errors import BulkInputError, InputProblem, InvalidRequestError
from ...models import Room, RoomUpdate
from ...models._fields import FIELDS, Values, differing
from .._files import os_errors_as
from .._index import LineIndex
from .._planning import Change, LeftOutError
from .._problems import Problems, input_problem
from .columns import UPDATED_AT, Cells, Columns
from .conditions import Condition, read_conditions
from .input_rows import STANDARD_INPUT, is_possible, read_cells, read_room
from .spreadsheets import is_no_name, may_be_converted

__all__ = ["Rows", "read_rows"]


class _Row(NamedTuple):
    """A row in the temporary file. It has either the room's id or its name."""

    line: int
    room_id: str | None
    name: str | None
    fields: Values
    updated_at: str | None
    """The `updated_at` of the room when the file was exported."""
    is_deferred: bool
    """Whether a value breaks a rule, so that it is valid only for a room that has this value already."""
    odd_name: bool
    """Whether the new name looks like a missing value, which makes it such a value."""


def _read_row(line: bytes) -> _Row:
    # Nobody else can write to the temporary file, so what is read needs no check.
    return _Row(*cast("tuple[Any, ...]", loads(line)))


class Rows:
    """The rows of a file, as the input for `make_plan`.

    The rows are kept in a temporary file. `close`, or the end of a `with` block, removes that file.
    """

    def __init__(self, source: str, webhook_url_policy: WebhookUrlPolicy, conditions: Sequence[Condition] = ()) -> None:
        self.source = source
        self.count: int = 0
        """Number of rows in use, including rows that change nothing."""
        self.ignored_columns: Sequence[str] = ()
        """The unknown columns of the file, if `ignore_unknown_columns` was given."""
        self._path = Path(source)
        with os_errors_as(_no_temporary_file, self._path):
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 - `close` closes it
        self._rooms = LineIndex(self._file)
        self._has_names = False
        """Whether a row gives the name of its room instead of the id."""
        self._names = LineIndex(self._file)
        """An index of the rows that set a new name. The key is the new name."""
        self._alike: dict[str, str | None] = {}
        """The names of rooms in the file that are not ASCII, in Unicode's form NFC, and a room that looks the same."""
        self._conditions = conditions
        self._policy = webhook_url_policy
        self.left_out: Problems = Problems(source)
        """The problems of rows that were left out, with `skip_invalid`. Read by `make_plan`."""
        self._skipped = LineIndex(self._file)
        """The rooms of these rows."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Remove the temporary file."""
        with suppress(OSError):  # an error could only come from data that nobody needs any more
            self._file.close()

    @property
    def renames(self) -> bool:
        """Whether a row sets a name."""
        return bool(len(self._names))

    def change_of(self, room: Room) -> Change | None:
        """Return the change for a room; None if no row is for the room, or if the room does not meet `where`.

        Raises `BulkInputError` if two rows are for the room, or if a value that changes is invalid.
        """
        keys = [room.id.lower()]
        if self._has_names and room.unique_name is not None:
            keys.append(_key_of_name(room.unique_name))
        found = sorted((_read_row(line) for key in keys if (line := self._rooms.find(key))), key=_line)
        if not found:
            if any(key in self._skipped for key in keys):
                raise LeftOutError
            self._find_alike(room)
            return None
        if not all(condition(room) for condition in self._conditions):
            return None
        if len(found) > 1:
            text = f"room {room.id} is also in line {found[0].line:,}; one line has its id, the other its name"
            raise BulkInputError([InputProblem(self.source, found[1].line, "room", text, code="duplicate_room")])
        (row,) = found
        fields = differing(room, row.fields) if row.is_deferred else row.fields
        if row.is_deferred and (problems := self.problems_of(row.line, fields, odd_name=row.odd_name)):
            raise BulkInputError(problems)
        update = RoomUpdate.from_dict(fields, webhook_url_policy=self._policy)
        return Change(update, row.line, updated_at=_time(row.updated_at or ""), warning=_warning(room, row))

    def problems_of(self, line: int, fields: Values, *, odd_name: bool) -> list[InputProblem]:
        """Return the problems of values, as if no room had them. With `odd_name`, the name is one of them."""
        name = fields.get("unique_name")
        problems = [_not_a_name(self.source, line, name)] if odd_name and isinstance(name, str) else []
        try:
            RoomUpdate.from_dict(fields, webhook_url_policy=self._policy)
        except InvalidRequestError as error:
            problems += [input_problem(problem, self.source, line) for problem in error.problems]
        return problems

    def not_met(self) -> Iterator[InputProblem]:
        """Yield a problem for each row whose room is not in the account."""
        for row in map(_read_row, self._rooms.unmatched()):
            column, value = ("room_id", row.room_id) if row.name is None else ("room", row.name)
            wanted = f"the id {value}" if row.name is None else f"the name {quoted(value)}"
            text = f"the account has no room with {wanted}"
            if row.name is not None and (alike := self._alike.get(_nfc(row.name))) is not None:
                text += f"; the name of room {alike} looks the same, but has other Unicode characters; give the id"
            yield InputProblem(self.source, row.line, column, text, code="room_not_found", value=value)

    def _find_alike(self, room: Room) -> None:
        name = room.unique_name
        if self._alike and name is not None and not name.isascii() and (key := _nfc(name)) in self._alike:
            self._alike[key] = room.id

    def leave_out(self, room_id: str | None, name: str | None) -> None:
        """Remember the room of a row that is left out, so that it does not count as a room without a row."""
        if room_id is not None or name is not None:
            self._skipped.add(room_id or "" if name is None else _key_of_name(name), 0, b"")

    def add(self, row: _Row) -> None:
        """Add a row."""
        line = dumps(tuple(row)) + b"\n"
        with os_errors_as(_no_temporary_file, self._path):
            offset = self._file.tell()
            self._file.write(line)
        name = row.name
        self._rooms.add(row.room_id or "" if name is None else _key_of_name(name), offset, line)
        if name is not None:
            self._has_names = True
            if not name.isascii() and len(self._alike) < _MAX_ALIKE:
                self._alike[_nfc(name)] = None
        if isinstance(new_name := row.fields.get("unique_name"), str):
            self._names.add(new_name, offset, line)
        self.count += 1

    def check(self, problems: Problems) -> None:
        """Record a problem for each row whose room or new name is also in an earlier row.

        Call this once, after the last `add`. Raises `BulkInputError` if the temporary file can't be written.
        """
        with os_errors_as(_no_temporary_file, self._path):
            self._file.flush()
        self._rooms.sort()
        self._names.sort()
        self._skipped.sort()
        duplicates: set[int] = set()
        for first, other in self._rooms.duplicates():
            duplicates.add(other)
            text = f"the room is already in line {self._row_at(first).line:,}"
            problems.record("duplicate_room", self._row_at(other).line, None, text)
        for first, other in self._names.duplicates():
            if other not in duplicates:
                row, one = self._row_at(other), self._row_at(first)
                name = quoted(row.fields["unique_name"])
                text = f"{_room_of(one)} in line {one.line:,} and {_room_of(row)} both get the name {name}"
                problems.record("duplicate_name", row.line, None, f"{text}; names must be unique")

    def _row_at(self, offset: int) -> _Row:
        return _read_row(self._rooms.line_at(offset))


def _room_of(row: _Row) -> str:
    return f"room {row.room_id}" if row.name is None else f"room {quoted(row.name)}"


_MAX_ALIKE: Final = 10_000
"""Maximum number of names to compare by their look. Without a comparison, a problem only lacks a hint."""


def _nfc(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _warning(room: Room, row: _Row) -> str | None:
    """Return what may be wrong with the new name of a room; None if it looks intended."""
    before, after = room.unique_name, row.fields.get("unique_name")
    if before is None or not isinstance(after, str) or before == after:
        return None
    where = f"line {row.line:,}: room {room.id} gets the name {quoted(after)} instead of {quoted(before)}"
    if may_be_converted(before, after):
        return f"{where}; a spreadsheet may have converted it"
    return f"{where}, which looks the same, but has other Unicode characters" if _nfc(before) == _nfc(after) else None


def _not_a_name(source: str, line: int, name: str) -> InputProblem:
    text = f"{quoted(name)} looks like a missing value; rooms.update() can set such a name"
    return InputProblem(source, line, "unique_name", text, code="not_a_name", value=name)


def _time(text: str) -> datetime | None:
    """Return a time with a time zone, or None for any other text, which a spreadsheet may have made of a time."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return None if time.tzinfo is None else time


def _no_temporary_file(source: Path, reason: str) -> BulkInputError:
    text = f"the rows can't be kept in a temporary file: {reason}; set TMPDIR to a folder with free space"
    return BulkInputError([InputProblem(str(source), None, None, text, code="unwritable")])


def _line(row: _Row) -> int:
    return row.line


def _key_of_name(name: str) -> str:
    return f"name {name}"  # an id contains no space, so this key differs from every id


def read_rows(
    path: str | Path | BinaryIO,
    *,
    where: Sequence[str | Condition] = (),
    ignore_unknown_columns: bool = False,
    defer_values: bool = False,
    skip_invalid: bool = False,
    webhook_url_policy: WebhookUrlPolicy = DEFAULT_POLICY,
    policy: WebhookUrlPolicy | None = None,
) -> Rows:
    """Read a file, and check all of its rows.

    `path` is a file, which may be compressed with gzip, or an open binary file, such as `sys.stdin.buffer`. A workbook
    (`.xlsx`) needs the extra `excel`. Rows for rooms that don't meet the conditions `where` change nothing; the
    conditions are those of `select`. With `ignore_unknown_columns`, unknown columns are ignored, unless their name is
    almost that of a known column. With `defer_values`, a value that breaks a rule, such as 99 participants, is a
    problem only if it changes a room: `make_plan` reports it then. With `skip_invalid`, invalid rows are left out, and
    `make_plan` reports them.

    Raises `BulkInputError` if there are problems. The error contains the first 1,000, and the number of the others. A
    million rows take a minute, so call `read_rows` in a thread if an event loop is running. `policy` is the deprecated
    name of `webhook_url_policy`.
    """
    chosen = policy_of(webhook_url_policy, policy)
    source, name = (Path(path), str(path)) if isinstance(path, (str, Path)) else (path, STANDARD_INPUT)
    problems = Problems(name, skip_rows=skip_invalid)
    conditions = read_conditions(where, problems)
    rows = Rows(name, chosen, conditions)
    try:
        columns = Columns(problems, ignore_unknown=ignore_unknown_columns)
        for line, cells, is_table in read_cells(source, problems, columns):
            _check_row(rows, problems, line, cells, is_table=is_table, defer_values=defer_values)
        rows.ignored_columns = [*columns.ignored]
        if problems.skipped is not None:
            rows.left_out = problems.skipped
        if not rows.count and not problems.count and not (problems.skipped and problems.skipped.count):
            problems.record("empty", None, None, "the file has no rows")
        rows.check(problems)
        problems.raise_if_any()
    except BaseException:
        rows.close()
        raise
    return rows


# --- the checks of a row ---


def _check_row(rows: Rows, problems: Problems, line: int, cells: Cells, *, is_table: bool, defer_values: bool) -> None:
    fields = cast("Values", {key: value for key, value in cells.items() if key in FIELDS})
    room_id, name, wrong = read_room(rows.source, line, cells)
    new_name = fields.get("unique_name")
    odd_name = not is_table and isinstance(new_name, str) and is_no_name(new_name)  # `cells` checks those of a table
    deferred = rows.problems_of(line, fields, odd_name=odd_name)
    if not (defer_values and all(is_possible(fields, problem) for problem in deferred)):
        wrong, deferred = wrong + deferred, []
    was_bad = problems.bad_row == line
    if was_bad and all(problem.code == "missing_room" for problem in wrong):
        wrong = []  # the cell with the room is the bad one
    problems.add_of_row(*wrong)
    if wrong or was_bad:
        rows.leave_out(room_id, name)
        return
    updated_at = cells.get(UPDATED_AT)
    is_time = isinstance(updated_at, str) and _time(updated_at) is not None
    time = str(updated_at) if is_time else None
    rows.add(_Row(line, room_id, name, fields, time, bool(deferred), odd_name))
