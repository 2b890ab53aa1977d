"""Read the rooms of an account from a file, for a rehearsal: `aiorooms simulate --from rooms.csv`.

The file is an export (CSV or JSON lines), a workbook, the output of `aiorooms list --json`, a JSON list of rooms, or an
answer of the API: an object with the list in `data`. A file may contain several answers, such as all pages of a list.

A room is read as the account has it. Its values are not checked against the rules for updates, because an account may
have rooms that break them: with 99 participants, or with a webhook URL without a scheme. Only the types are checked.
Apart from that, a file is read as `plan` reads it (`input_rows`).

What a file lacks is the API's default, and a room without a name has none. For example, these lines of an export

    id,unique_name,max_participants,webhook_event_url,updated_at
    7b61621f-62e0-4aad-ab11-9fd19e272e73,lobby,99,hooks.example.com,2024-05-01T12:00:00Z
    c3860fa4-3c57-4ee5-8f34-8e7d5c2b6f2e,,many,,

give the room `lobby`, and a problem: in line 3, max_participants is not a whole number.
"""

import re
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final, TypeAlias, cast

from ..._text import quoted, timestamp
from ..._webhook_url import DEFAULT_POLICY
from ...errors import InputProblem, InvalidRequestError
from ...models import RoomUpdate
from ...models._fields import FIELDS, Values
from .._problems import Problems, input_problem
from .columns import CREATED_AT, UPDATED_AT, Cells, Columns
from .input_rows import STANDARD_INPUT, is_possible, read_cells, read_room

__all__ = ["RoomFields", "read_rooms"]

RoomFields: TypeAlias = dict[str, str | int | bool | None]
"""A room as a JSON object: its id and its name, and the other writable fields and the times if the file has them."""


def read_rooms(source: Path | BinaryIO) -> list[RoomFields]:
    """Return the rooms in a file, or in an open one, such as `sys.stdin.buffer`. It may be compressed with gzip.

    Raises `BulkInputError` with the first 1,000 problems and the number of the others.
    """
    problems = Problems(str(source) if isinstance(source, Path) else STANDARD_INPUT)
    reader = _Reader(problems)
    # A new version of the API may add keys. So unknown ones are ignored, unless they look mistyped.
    for line, cells, _ in read_cells(source, problems, Columns(problems, ignore_unknown=True, are_rooms=True)):
        reader.read(line, cells)
    if not reader.rooms and not problems.count:
        problems.record("empty", None, None, "there are no rooms; give an export, or an answer of the API")
    problems.raise_if_any()
    return reader.rooms


class _Reader:
    """Reads rooms from rows, and records problems."""

    def __init__(self, problems: Problems) -> None:
        self.rooms: list[RoomFields] = []
        self._problems = problems
        self._lines_of_ids: dict[str, int] = {}
        self._lines_of_names: dict[str, int] = {}

    def read(self, line: int, cells: Cells) -> None:
        """Read a row."""
        before, was_bad = self._problems.count, self._problems.bad_row == line
        room_id, _, wrong = read_room(self._problems.source, line, cells)
        if room_id is None and not wrong:
            text = "the id of the room is missing; a name is not enough"
            wrong = [InputProblem(self._problems.source, line, None, text, code="missing_room")]
        if not (was_bad and all(problem.code == "missing_room" for problem in wrong)):
            self._problems.add(*wrong)  # otherwise the cell with the room is the bad one
        is_new = room_id is None or self._check_unique(line, "id", room_id, self._lines_of_ids)
        # An export has no value for an empty URL and an empty name.
        room: RoomFields = {"id": room_id, "unique_name": None, "webhook_event_url": ""}
        room.update(self._fields_of(line, cells))
        for column in (CREATED_AT, UPDATED_AT):
            if (time := self._time_of(line, column, cells.get(column))) is not None:
                room[column] = time
        if is_new and isinstance(unique_name := room["unique_name"], str):
            self._check_unique(line, "unique_name", unique_name, self._lines_of_names)
        if self._problems.count == before:
            self.rooms.append(room)

    def _fields_of(self, line: int, cells: Cells) -> Values:
        """Return the values of the writable fields. Only a value that no room can have is a problem."""
        fields = cast("Values", {name: value for name, value in cells.items() if name in FIELDS})
        try:
            RoomUpdate.from_dict(fields, webhook_url_policy=DEFAULT_POLICY)
        except InvalidRequestError as error:
            found = [input_problem(problem, self._problems.source, line) for problem in error.problems]
            self._problems.add(*(problem for problem in found if not is_possible(fields, problem)))
        return {name: None if name == "unique_name" and value == "" else value for name, value in fields.items()}

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

    def _time_of(self, line: int, name: str, value: object) -> str | None:
        if value is None:
            return None
        if isinstance(value, str) and _TIME.match(value):
            with suppress(ValueError, OverflowError):
                time = datetime.fromisoformat(value.strip())
                return timestamp(time if time.tzinfo is not None else time.replace(tzinfo=UTC))
        text = f"{quoted(value)} is not a time such as 2024-05-01T12:00:00Z; export the rooms again"
        self._problems.add(InputProblem(self._problems.source, line, name, text, code="wrong_type", value=value))
        return None


_TIME: Final = re.compile(r"\s*[0-9]{4}-[0-9]{2}-[0-9]{2}[T ]", re.ASCII | re.IGNORECASE)
