"""Changes read from a file: CSV, JSON lines or a JSON list, every row checked before anything is sent.

A row names its room, by `room_id` (or `id`), or by `room`, which may also hold a unique name that a room of the account
has now; and it has any of the six fields of a room. In CSV an empty cell leaves a field alone and the word `null`
clears it; in JSON an absent key leaves it alone and null clears it. The columns that an export has beside these are
passed over, so that an export can be edited and planned; all others are problems.

All problems come out at once, each with file, line and field. What was read is kept in a temporary database on disk,
so that a million rows take little memory.
"""

import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TextIO

from ..._checks import name_problems
from ..._text import quoted
from ..._webhook_url import DEFAULT_POLICY, WebhookUrlPolicy
from ...errors import BulkInputError, InputProblem, InvalidRequestError
from ...models import FIELD_NAMES, Room, RoomUpdate, read_room_ref
from .._planning import Change
from .columns import ROOM_COLUMNS, Cells
from .csv_rows import read_csv
from .json_rows import read_json, read_jsonl
from .problems import Problems
from .text_file import opened

__all__ = ["Rows", "read_rows"]


class Rows:
    """The rows of a file. It is what `make_plan` takes; a context manager that takes its database away."""

    def __init__(self, source: str, policy: WebhookUrlPolicy) -> None:
        self.source = source
        self.count: int = 0
        """Rows, those included that change nothing."""
        # A name of "" makes a database in a temporary file, which sqlite3 deletes when it is closed.
        self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._database.executescript(
            "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;"
            "CREATE TABLE rows"
            " (number INTEGER PRIMARY KEY, line INT, room_id TEXT UNIQUE, name TEXT UNIQUE, fields TEXT);"
            "CREATE TABLE new_names (name TEXT PRIMARY KEY, line INT) WITHOUT ROWID;"
            "BEGIN"
        )
        self._policy = policy
        self._met = bytearray()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Take the database away."""
        self._database.close()

    def change_of(self, room: Room) -> Change | None:
        """Say what is wanted of a room; None if no row is about it. Raises `BulkInputError` if two are."""
        found = self._database.execute(
            "SELECT number, line, fields FROM rows WHERE room_id = ?"
            " UNION SELECT number, line, fields FROM rows WHERE name = ?",
            (None if room.id is None else room.id.lower(), room.unique_name),
        ).fetchall()
        if not found:
            return None
        for number, _, _ in found:
            self._met[number] = 1
        if len(found) > 1:
            text = f"room {room.id} stands in line {found[0][1]:,} too, once by its id and once by its name"
            raise BulkInputError([InputProblem(self.source, found[1][1], "room", text)])
        _, line, fields = found[0]
        return Change(RoomUpdate.from_dict(json.loads(fields), webhook_url_policy=self._policy), line)

    def not_met(self) -> Iterator[InputProblem]:
        """Say which rows are about rooms that the account doesn't have."""
        for number, line, room_id, name in self._database.execute("SELECT number, line, room_id, name FROM rows"):
            if not self._met[number]:
                named = f"no room has the id {room_id}" if name is None else f"no room is called {quoted(name)}"
                yield InputProblem(self.source, line, "room_id" if name is None else "room", f"{named} in the account")

    def add(self, line: int, room_id: str | None, name: str | None, fields: Mapping[str, object]) -> str | None:
        """Keep a row; give what is wrong if its room stood in a row before, or another room is to get its name."""
        column, value = ("room_id", room_id) if name is None else ("name", name)
        try:
            self._database.execute(
                "INSERT INTO rows VALUES (?, ?, ?, ?, ?)", (self.count, line, room_id, name, json.dumps(fields))
            )
        except sqlite3.IntegrityError:
            ((first,),) = self._database.execute(f"SELECT line FROM rows WHERE {column} = ?", (value,))  # noqa: S608 - two words of ours
            return f"the room stands in line {first:,} already"
        self.count += 1
        self._met.append(0)
        if (new_name := fields.get("unique_name")) is not None:
            try:
                self._database.execute("INSERT INTO new_names VALUES (?, ?)", (new_name, line))
            except sqlite3.IntegrityError:
                ((first,),) = self._database.execute("SELECT line FROM new_names WHERE name = ?", (new_name,))
                return f"the room of line {first:,} is to be called {quoted(new_name)} too; names are unique"
        return None


def read_rows(path: str | Path, *, policy: WebhookUrlPolicy = DEFAULT_POLICY) -> Rows:
    """Read and check a file. Raises `BulkInputError` with all problems, of which at most a thousand are kept.

    A million rows take a minute: within an event loop it should be called in a thread.
    """
    rows = Rows(str(path), policy)
    problems = Problems(str(path))
    try:
        with opened(Path(path), problems) as (text, kind):
            for line, cells in _READERS[kind](text, problems):
                _check_row(rows, problems, line, cells, policy)
        if not rows.count and not problems.count:
            problems.add(None, None, "there are no rows in it")
        problems.refuse()
    except BaseException:
        rows.close()
        raise
    return rows


def _check_row(rows: Rows, problems: Problems, line: int, cells: Cells, policy: WebhookUrlPolicy) -> None:
    before = problems.count
    room_id, name = _read_room(problems, line, cells)
    fields = {key: value for key, value in cells.items() if key in FIELD_NAMES}
    try:
        update = RoomUpdate.from_dict(fields, webhook_url_policy=policy)
    except InvalidRequestError as error:
        for problem in error.problems:
            problems.add(line, problem.pointer[1:] or None, _in_words_of_a_file(problem.message))
        return
    if problems.count == before and (wrong := rows.add(line, room_id, name, update.to_dict())):
        problems.add(line, None, wrong)


def _read_room(problems: Problems, line: int, cells: Cells) -> tuple[str | None, str | None]:
    """Give the id of the row's room, or its name."""
    given = [column for column in ROOM_COLUMNS if column in cells]
    if len(given) != 1:
        wrong = (
            f"{' and '.join(given)} are both given; one is enough"
            if given
            else "the room is missing: give room_id, or room"
        )
        problems.add(line, None, wrong)
        return None, None
    (column,) = given
    value = cells[column]
    room_id, wrong_id = read_room_ref(value)
    if not wrong_id:
        return room_id.lower(), None
    if column == "room" and isinstance(value, str):
        for problem in name_problems("/room", value):
            problems.add(line, column, problem.message)
        return None, value
    problems.add(line, column, wrong_id[0].message)
    return None, None


def _in_words_of_a_file(message: str) -> str:
    return message.replace("None can't clear", "null can't clear").replace(" or None", " or null")


_READERS: Final[Mapping[str, Callable[[TextIO, Problems], Iterator[tuple[int, Cells]]]]] = {
    "csv": read_csv,
    "jsonl": read_jsonl,
    "json": read_json,
}
