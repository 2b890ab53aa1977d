"""Read changes from a CSV file, JSON lines or a JSON list. Every row is checked before anything is sent.

The column `room_id` (or `id`) contains the id of the room. Alternatively, the column `room` contains its id or its
current unique name. The other columns are the writable fields to change. In CSV, an empty cell leaves a field
unchanged, and the word `null` clears it. In JSON, an absent key or an empty string leaves a field unchanged, and null
clears it. The read-only columns of an export are ignored, so you can edit an export and make a plan from it. An unknown
column is reported as a problem.

Only `updated_at` is used: it tells `make_plan` which rooms were modified after the file was exported. For example, a
room is exported with `max_participants` 10. Then someone changes it to 20. A plan from the file changes it back to 10,
although the person who edited the file may not have wanted that. A row without `updated_at`, or with text that is not a
time with a time zone, is not compared.

All problems are reported together, with the file and, if they are known, the line and the field. The rows are kept in a
temporary file with an index by room, so a million rows need little memory.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Self, TextIO, cast

import attrs

from ..._checks import name_problems
from ..._http.json import dumps, loads
from ..._text import quoted
from ..._webhook_url import DEFAULT_POLICY, WebhookUrlPolicy, policy_of
from ...errors import BulkInputError, InputProblem, InvalidRequestError
from ...models import Room, RoomUpdate, read_room_ref
from ...models._fields import FIELDS, Values
from .._files import os_errors_as
from .._index import LineIndex
from .._planning import Change
from .._problems import Problems, input_problem
from .columns import ROOM_COLUMNS, UPDATED_AT, Cells
from .csv_rows import read_csv
from .json_rows import read_json, read_jsonl
from .text_file import open_text

__all__ = ["Rows", "read_rows"]


class _Row(NamedTuple):
    """A row in the temporary file. It has either the room's id or its name."""

    line: int
    room_id: str | None
    name: str | None
    fields: Values
    updated_at: str | None
    """The `updated_at` of the room when the file was exported."""


def _read_row(line: bytes) -> _Row:
    # Nobody else can write to the temporary file, so what is read needs no check.
    return _Row(*cast("tuple[Any, ...]", loads(line)))


class Rows:
    """The rows of a file, as the input for `make_plan`.

    The rows are kept in a temporary file. `close`, or the end of a `with` block, removes that file.
    """

    def __init__(self, source: str, webhook_url_policy: WebhookUrlPolicy) -> None:
        self.source = source
        self.count: int = 0
        """Number of valid rows, including rows that change nothing."""
        with os_errors_as(_no_temporary_file, Path(source)):
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 - `close` closes it
        self._rooms = LineIndex(self._file)
        self._has_names = False
        """Whether a row gives the name of its room instead of the id."""
        self._names = LineIndex(self._file)
        """An index of the rows that set a new name. The key is the new name."""
        self._policy = webhook_url_policy

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

    def change_of(self, room: Room) -> Change | None:
        """Return the change for a room; None if no row is for the room. Raises `BulkInputError` if two rows are."""
        keys = [room.id.lower()]
        if self._has_names and room.unique_name is not None:
            keys.append(_key_of_name(room.unique_name))
        found = sorted((_read_row(line) for key in keys if (line := self._rooms.find(key))), key=_line)
        if not found:
            return None
        if len(found) > 1:
            text = f"room {room.id} is also in line {found[0].line:,}; one line has its id, the other its name"
            raise BulkInputError([InputProblem(self.source, found[1].line, "room", text, code="duplicate_room")])
        (row,) = found
        update = RoomUpdate.from_dict(row.fields, webhook_url_policy=self._policy)
        return Change(update, row.line, updated_at=_time(row.updated_at or ""))

    def not_met(self) -> Iterator[InputProblem]:
        """Yield a problem for each row whose room is not in the account."""
        for row in map(_read_row, self._rooms.unmatched()):
            column, value = ("room_id", row.room_id) if row.name is None else ("room", row.name)
            wanted = f"the id {value}" if row.name is None else f"the name {quoted(value)}"
            text = f"the account has no room with {wanted}"
            yield InputProblem(self.source, row.line, column, text, code="room_not_found", value=value)

    def add(self, line: int, room_id: str | None, name: str | None, fields: Values, updated_at: str | None) -> None:
        """Add a row."""
        row = dumps((line, room_id, name, fields, updated_at)) + b"\n"
        with os_errors_as(_no_temporary_file, Path(self.source)):
            offset = self._file.tell()
            self._file.write(row)
        self._rooms.add(room_id or "" if name is None else _key_of_name(name), offset, row)
        self._has_names |= name is not None
        if isinstance(new_name := fields.get("unique_name"), str):
            self._names.add(new_name, offset, row)
        self.count += 1

    def check(self, problems: Problems) -> None:
        """Record a problem for each row whose room or new name is also in an earlier row.

        Call this once, after the last `add`. Raises `BulkInputError` if the temporary file can't be written.
        """
        with os_errors_as(_no_temporary_file, Path(self.source)):
            self._file.flush()
        self._rooms.sort()
        self._names.sort()
        duplicates: set[int] = set()
        for first, other in self._rooms.duplicates():
            duplicates.add(other)
            text = f"the room is already in line {self._row_at(first).line:,}"
            problems.record("duplicate_room", self._row_at(other).line, None, text)
        for first, other in self._names.duplicates():
            if other not in duplicates:
                row = self._row_at(other)
                name = quoted(row.fields["unique_name"])
                text = f"the room in line {self._row_at(first).line:,} also gets the name {name}; names must be unique"
                problems.record("duplicate_name", row.line, None, text)

    def _row_at(self, offset: int) -> _Row:
        return _read_row(self._rooms.line_at(offset))


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
    path: str | Path, *, webhook_url_policy: WebhookUrlPolicy = DEFAULT_POLICY, policy: WebhookUrlPolicy | None = None
) -> Rows:
    """Read a file, and check all of its rows.

    Raises `BulkInputError` if there are problems. The error contains the first 1,000, and the number of the others. A
    million rows take a minute, so call `read_rows` in a thread if an event loop is running. `policy` is the deprecated
    name of `webhook_url_policy`.
    """
    chosen = policy_of(webhook_url_policy, policy)
    rows = Rows(str(path), chosen)
    problems = Problems(str(path))
    try:
        with open_text(Path(path), problems) as (text, kind):
            for line, cells in _READERS[kind](text, problems):
                _check_row(rows, problems, line, cells, chosen)
        if not rows.count and not problems.count:
            problems.record("empty", None, None, "the file has no rows")
        rows.check(problems)
        problems.raise_if_any()
    except BaseException:
        rows.close()
        raise
    return rows


_READERS: Final[Mapping[str, Callable[[TextIO, Problems], Iterator[tuple[int, Cells]]]]] = {
    "csv": read_csv,
    "jsonl": read_jsonl,
    "json": read_json,
}


# --- the checks of a row ---


def _check_row(rows: Rows, problems: Problems, line: int, cells: Cells, policy: WebhookUrlPolicy) -> None:
    before = problems.count
    room_id, name = _read_room(problems, line, cells)
    fields = cast("Values", {key: value for key, value in cells.items() if key in FIELDS})
    try:
        RoomUpdate.from_dict(fields, webhook_url_policy=policy)
    except InvalidRequestError as error:
        for problem in error.problems:
            problems.add(input_problem(problem, rows.source, line))
        return
    if problems.count == before:
        updated_at = cells.get(UPDATED_AT)
        is_time = isinstance(updated_at, str) and _time(updated_at) is not None
        rows.add(line, room_id, name, fields, str(updated_at) if is_time else None)


def _read_room(problems: Problems, line: int, cells: Cells) -> tuple[str | None, str | None]:
    """Return the room of a row as `(id, None)` or `(None, name)`. If a problem was recorded, ignore the result."""
    given = [column for column in ROOM_COLUMNS if column in cells]
    if len(given) != 1:
        wrong = (
            f"{' and '.join(given)} are given; give only one of them"
            if given
            else "the room is missing; give room_id or room"
        )
        problems.record("missing_room" if not given else "duplicate_column", line, None, wrong)
        return None, None
    (column,) = given
    value = cells[column]
    room_id, wrong_id = read_room_ref(value)
    if not wrong_id:
        return room_id.lower(), None
    name = value if column == "room" and isinstance(value, str) else None
    for problem in wrong_id if name is None else name_problems("", name):
        problems.add(attrs.evolve(input_problem(problem, problems.source, line), field=column))
    return None, name
