"""Read the rooms of an account from a file, for a rehearsal: `aiorooms simulate --from rooms.csv`.

The file is an export (CSV or JSON lines), a workbook, the output of `aiorooms list --json`, a JSON list of rooms, or an
answer of the API: an object with the list in `data`. A file may contain several answers, such as all pages of a list.

A room is read as the account has it. Its values are not checked against the rules for updates, because an account may
have rooms that break them: with 99 participants, or with a webhook URL without a scheme. Only the types are checked.
What a file lacks is the API's default, and a room without a name has none. For example, these lines of an export

    id,unique_name,max_participants,webhook_event_url,updated_at
    7b61621f-62e0-4aad-ab11-9fd19e272e73,lobby,99,hooks.example.com,2024-05-01T12:00:00Z
    c3860fa4-3c57-4ee5-8f34-8e7d5c2b6f2e,,many,,

give the room `lobby`, and a problem: in line 3, max_participants is not a whole number.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final, TypeAlias

import attrs

from .._text import quoted, similar, timestamp
from ..errors import InputProblem
from ..models import FIELD_NAMES, read_room_ref
from ..models._fields import FIELDS, read_bool
from ._problems import Problems, input_problem
from ._room_rows import Row, json_rows, table_rows
from ._sources.csv_rows import read_csv
from ._sources.input_file import open_input
from ._sources.spreadsheets import name_of_cell
from ._sources.text_file import decoded
from ._sources.workbook import read_workbook

__all__ = ["RoomFields", "read_rooms"]

RoomFields: TypeAlias = dict[str, str | int | bool | None]
"""A room as a JSON object: its id and its name, and the other writable fields and the times if the file has them."""

_ID_COLUMNS: Final = ("id", "room_id")
_TIMES: Final = ("created_at", "updated_at")
_COLUMNS: Final = (*_ID_COLUMNS, *FIELD_NAMES, *_TIMES, "active_session_id", "record_type", "sessions")


def read_rooms(source: Path | BinaryIO) -> list[RoomFields]:
    """Return the rooms in a file, or in an open one, such as `sys.stdin.buffer`. It may be compressed with gzip.

    Raises `BulkInputError` with the first 1,000 problems and the number of the others.
    """
    problems = Problems(str(source) if isinstance(source, Path) else "standard input")
    reader = _Reader(problems)
    with open_input(source, problems) as opened:
        if opened.is_workbook:
            reader.read_all(table_rows(read_workbook(opened.file, problems), problems), is_table=True)
        else:
            with decoded(opened, problems) as (text, kind):
                is_table = kind == "csv"
                rows = table_rows(read_csv(text, problems), problems) if is_table else json_rows(text, problems)
                reader.read_all(rows, is_table=is_table)
    if not reader.count and not problems.count:
        problems.record("empty", None, None, "there are no rooms; give an export, or an answer of the API")
    problems.raise_if_any()
    return reader.rooms


class _Reader:
    """Reads rooms from rows, and records problems."""

    def __init__(self, problems: Problems) -> None:
        self.count: int = 0
        """Number of rows, including those with problems."""
        self.rooms: list[RoomFields] = []
        self._problems = problems
        self._columns: dict[str, bool] = {}
        """For each column or key that was seen, whether it is known."""
        self._lines_of_ids: dict[str, int] = {}
        self._lines_of_names: dict[str, int] = {}

    def read_all(self, rows: Iterator[Row], *, is_table: bool) -> None:
        """Read rows. In a table, all values are texts."""
        for row in rows:
            self._read(row, is_table=is_table)

    def _read(self, row: Row, *, is_table: bool) -> None:
        self.count += 1
        line, values = row
        before = self._problems.count
        for name in values:
            if name not in self._columns:
                self._columns[name] = self._check_column(name, line, is_table=is_table)
        known = {name: value for name, value in values.items() if self._columns[name]}
        room = self._room_of(line, _values_of_cells(known) if is_table else known)
        if self._problems.count == before:
            self.rooms.append(room)

    def _check_column(self, name: str, line: int, *, is_table: bool) -> bool:
        """Return whether a column or key is known. Record a problem if it is a typo.

        Any unknown column of a table is one, but a new version of the API may add keys.
        """
        if name in _COLUMNS:
            return True
        hint = similar(name.strip().lower(), (*_ID_COLUMNS, *FIELD_NAMES), "" if not is_table else "remove it")
        if hint:
            self._problems.record("unknown_column", 1 if is_table else line, None, f"{quoted(name)} is unknown; {hint}")
        return False

    def _room_of(self, line: int, values: Mapping[str, object]) -> RoomFields:
        room_id, is_new = self._id_of(line, values)
        # An export has no value for an empty URL and an empty name.
        room: RoomFields = {"id": room_id, "unique_name": None, "webhook_event_url": ""}
        for name, value in values.items():
            if name in _TIMES or name in FIELDS:
                read = self._time_of(line, name, value) if name in _TIMES else self._field_of(line, name, value)
                if read is not None or value is None:
                    room[name] = read
        if is_new and isinstance(unique_name := room["unique_name"], str):
            self._check_unique(line, "unique_name", unique_name, self._lines_of_names)
        return room

    def _id_of(self, line: int, values: Mapping[str, object]) -> tuple[str, bool]:
        """Return the id of a room, and whether no other row has it. Record a problem if there is no valid one."""
        given = [values[name] for name in _ID_COLUMNS if values.get(name) not in (None, "")]
        if not given:
            self._problems.record("missing_room", line, None, "the id of the room is missing; give it as id")
            return "", True
        room_id, wrong = read_room_ref(given[0].strip() if isinstance(given[0], str) else given[0])
        room_id = room_id.lower()
        for problem in wrong:
            self._problems.add(attrs.evolve(input_problem(problem, self._problems.source, line), field="id"))
        return room_id, bool(wrong) or self._check_unique(line, "id", room_id, self._lines_of_ids)

    def _check_unique(self, line: int, field: str, value: str, lines: dict[str, int]) -> bool:
        """Return whether no earlier row has this value, or record a problem."""
        first = lines.get(value)
        if first is None:
            lines[value] = line
        elif field == "id":
            self._problems.record("duplicate_room", line, None, f"the room is already in line {first:,}")
        else:
            text = f"the room in line {first:,} has the name {quoted(value)} too; names are unique in an account"
            self._problems.record("duplicate_name", line, field, text)
        return first is None

    def _field_of(self, line: int, name: str, value: object) -> str | int | bool | None:
        """Return the value of a field. None means the default, or that the field has no value."""
        kind = FIELDS[name].kind
        if value is None or (name == "unique_name" and value == ""):
            return None
        word = value.strip() if isinstance(value, str) else None
        if kind == "number":
            if isinstance(value, int) and not isinstance(value, bool):
                return value
            if word is not None and (whole := _WHOLE.fullmatch(word)) is not None:
                return int(whole[1])
            wanted = "a whole number"
        elif kind == "switch":
            read = value if isinstance(value, bool) else None if word is None else read_bool(word)
            if read is not None:
                return read
            wanted = "true or false"
        elif isinstance(value, str):
            return value
        else:
            wanted = "text"
        if word != "" or kind not in ("number", "switch"):
            self._record(line, name, value, wanted)
        return None

    def _time_of(self, line: int, name: str, value: object) -> str | None:
        if value in (None, ""):
            return None
        if isinstance(value, str) and _TIME.match(value):
            with suppress(ValueError, OverflowError):
                time = datetime.fromisoformat(value.strip())
                return timestamp(time if time.tzinfo is not None else time.replace(tzinfo=UTC))
        self._record(line, name, value, "a time such as 2024-05-01T12:00:00Z; export the rooms again")
        return None

    def _record(self, line: int, name: str, value: object, wanted: str) -> None:
        text = f"{quoted(value)} is not {wanted}"
        self._problems.add(InputProblem(self._problems.source, line, name, text, code="wrong_type", value=value))


def _values_of_cells(cells: Mapping[str, object]) -> Mapping[str, object]:
    """Return the values of cells. The word `null` is no value, but a name may be written between apostrophes."""
    values: dict[str, object] = {}
    for name, cell in cells.items():
        text = str(cell).strip()
        quoted_name = name_of_cell(text) if name == "unique_name" else None
        values[name] = quoted_name or (None if text == "null" else text)
    return values


_WHOLE: Final = re.compile(r"([+-]?[0-9]{1,9})(?:[.,]0*)?", re.ASCII)
_TIME: Final = re.compile(r"\s*[0-9]{4}-[0-9]{2}-[0-9]{2}[T ]", re.ASCII | re.IGNORECASE)
