"""Changes read from a file: CSV, JSON lines or a JSON list, every row checked before anything is sent.

A row names its room, by `room_id` (or `id`), or by `room`, which may also hold a unique name that a room of the account
has now; and it has any of the six fields of a room. In CSV an empty cell leaves a field alone and the word `null`
clears it; in JSON an absent key leaves it alone and null clears it. The columns that an export has beside these are
passed over, so that an export can be edited and planned; all others are problems.

All problems come out at once, each with file, line and field. What was read is kept in a temporary database on disk,
so that a million rows take little memory.
"""

import csv
import difflib
import io
import json
import re
import sqlite3
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, NoReturn, Self, TextIO, TypeAlias, cast

from ..._checks import name_problems
from ..._text import excerpt, quoted
from ..._webhook_url import DEFAULT_POLICY, WebhookUrlPolicy
from ...errors import BulkInputError, InputProblem, InvalidRequestError
from ...models import FIELD_NAMES, Room, RoomUpdate, read_room_ref
from .._files import why
from .._plan_file import Change

__all__ = ["Rows", "read_rows"]

_MOST_PROBLEMS: Final = 1000

_ROOM_COLUMNS: Final = ("room_id", "id", "room")

_PASSED_OVER: Final = ("created_at", "updated_at", "active_session_id", "record_type")
"""What an export has beside what can be changed."""

_READ: Final = (*_ROOM_COLUMNS, *FIELD_NAMES)

_COLUMNS: Final = (*_READ, *_PASSED_OVER)

_TRUTHS: Final = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}

_NUMBERS: Final = ("max_participants", "webhook_timeout_secs")

_Cells: TypeAlias = Mapping[str, object]
"""One row: what stands in each column, as JSON would hold it; what isn't there is left alone."""


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
    problems = _Problems(str(path))
    try:
        with _opened(Path(path), problems) as (text, kind):
            for line, cells in _READERS[kind](text, problems):
                _check_row(rows, problems, line, cells, policy)
        if not rows.count and not problems.count:
            problems.add(None, None, "there are no rows in it")
        problems.refuse()
    except BaseException:
        rows.close()
        raise
    return rows


class _Problems:
    """What is wrong with a file: the first of it, and how much there is."""

    def __init__(self, file: str) -> None:
        self.count: int = 0
        self._file = file
        self._kept: list[InputProblem] = []

    def add(self, line: int | None, field: str | None, message: str) -> None:
        self.count += 1
        if len(self._kept) < _MOST_PROBLEMS:
            self._kept.append(InputProblem(self._file, line, field, message))

    def refuse(self) -> None:
        """Raise `BulkInputError` if anything is wrong."""
        if more := self.count - len(self._kept):
            self._kept.append(InputProblem(self._file, None, None, f"there are {more:,} problems more"))
        if self._kept:
            raise BulkInputError(self._kept)

    def fail(self, line: int | None, message: str) -> NoReturn:
        """Give up reading."""
        self.add(line, None, message)
        self.refuse()
        raise AssertionError


# --- the checks of a row ---


def _check_row(rows: Rows, problems: _Problems, line: int, cells: _Cells, policy: WebhookUrlPolicy) -> None:
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


def _read_room(problems: _Problems, line: int, cells: _Cells) -> tuple[str | None, str | None]:
    """Give the id of the row's room, or its name."""
    given = [column for column in _ROOM_COLUMNS if column in cells]
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


def _unknown_column(name: str) -> str:
    close = difflib.get_close_matches(name.strip().lower(), _COLUMNS, 1)
    hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(_READ)}"
    return f"{quoted(name)} is not a column of a room; {hint}"


# --- the files ---


@contextmanager
def _opened(path: Path, problems: _Problems) -> Generator[tuple[TextIO, str]]:
    """Open a file as text, and say of which kind it is."""
    if path.exists() and not path.is_file() and not path.is_dir():
        problems.fail(
            None, "it is not a file, but a pipe or a device; save it as a file"
        )  # reading could wait for ever
    try:
        with path.open("rb") as file:
            encoding = _encoding(file)
            text = io.TextIOWrapper(file, encoding, newline="")
            try:
                yield text, _kind(path, text)
            except UnicodeDecodeError as error:
                problems.fail(
                    _line_that_is_not(path, encoding), f"{_NAMES[encoding]}: {error.reason}; save it as UTF-8"
                )
    except OSError as error:
        problems.fail(None, f"it can't be read: {why(error)}")


_NAMES: Final = {"utf-8-sig": "it is not UTF-8", "utf-16": "it is not UTF-16, although it begins so"}


def _encoding(file: BinaryIO) -> str:
    """Tell the encoding by the byte order mark; without one it is UTF-8."""
    begin = file.read(3)
    file.seek(0)
    return "utf-16" if begin[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"


def _line_that_is_not(path: Path, encoding: str) -> int | None:
    if encoding != "utf-8-sig":
        return None
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return number
    return None


_KINDS: Final = {".csv": "csv", ".tsv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json"}


def _kind(path: Path, text: TextIO) -> str:
    """Tell the kind by the name, or by how the file begins."""
    if (kind := _KINDS.get(path.suffix.lower())) is not None:
        return kind
    begin = text.read(4096).lstrip()
    text.seek(0)
    return "json" if begin.startswith("[") else "jsonl" if begin.startswith("{") else "csv"


# --- CSV ---


def _read_csv(text: TextIO, problems: _Problems) -> Iterator[tuple[int, _Cells]]:
    first = text.readline()
    if not first.strip():
        problems.fail(None, "it is empty, or its first line is")
    text.seek(0)
    reader = csv.reader(text, delimiter=_delimiter(first), strict=True)
    line = 1
    try:
        header = [name.strip() for name in next(reader)]
        is_readable = _check_header(problems, header)
        line = reader.line_num + 1
        for cells in reader:
            if cells:
                if len(cells) != len(header):
                    problems.add(line, None, f"there are {len(cells)} cells, and {len(header)} columns")
                elif "\0" in "".join(cells):
                    problems.add(line, None, "there is a NUL character in it")
                elif is_readable:
                    yield line, _cells_of(header, cells)
            line = reader.line_num + 1
    except csv.Error as error:
        half = "unexpected end" in str(error)
        problems.add(line if half else reader.line_num, None, "the quotes are not closed" if half else f"{error}")


def _delimiter(header: str) -> str:
    """Tell what stands between the columns: what makes the most of them known ones."""

    def known(delimiter: str) -> int:
        return sum(name.strip().strip('"') in _COLUMNS for name in header.split(delimiter))

    return max(",;\t", key=known)


def _check_header(problems: _Problems, header: Sequence[str]) -> bool:
    """See that all columns are known, and there once; give whether it makes sense to look at the rows."""
    for number, name in enumerate(header):
        if name not in _COLUMNS:
            problems.add(1, None, _unknown_column(name))
        elif name in header[:number]:
            problems.add(1, name, "the column is there twice")
    if has_room := any(name in _ROOM_COLUMNS for name in header):
        return has_room
    problems.add(1, None, "the column that names the room is missing: room_id, or room")
    return False


def _cells_of(header: Sequence[str], cells: Sequence[str]) -> _Cells:
    return {name: _cell(name, text) for name, text in zip(header, cells, strict=True) if text != "" and name in _READ}


def _cell(name: str, text: str) -> object:
    """Read a cell; what is no number or truth value where one belongs is left as it is, for the check."""
    if text == "null" and name in FIELD_NAMES:
        return None
    if name in _NUMBERS and _WHOLE.fullmatch(text):
        return int(text)
    if name == "enable_recording":
        return _TRUTHS.get(text.lower(), text)
    return text


_WHOLE: Final = re.compile("-?[0-9]{1,9}", re.ASCII)


# --- JSON ---


class _TwiceError(ValueError):
    """A key stands twice in an object."""


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    made = dict(pairs)
    if len(made) < len(pairs):
        keys = [key for key, _ in pairs]
        raise _TwiceError(f"{quoted(next(key for key in keys if keys.count(key) > 1))} stands there twice")
    return made


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_no_constant)


def _read_jsonl(text: TextIO, problems: _Problems) -> Iterator[tuple[int, _Cells]]:
    for number, line in enumerate(text, 1):
        if not line.strip():
            continue
        try:
            value: object = _DECODER.decode(line.strip())
        except (ValueError, RecursionError) as error:
            problems.add(number, None, _not_json(error))
            continue
        if (cells := _cells_of_object(problems, number, value)) is not None:
            yield number, cells


def _read_json(text: TextIO, problems: _Problems) -> Iterator[tuple[int, _Cells]]:
    """Read a list element by element: as a whole, a million rows would take a gigabyte."""
    scanner = _Scanner(text, problems)
    if not scanner.take("["):
        problems.fail(scanner.line, "it is not a list of objects; if each line is an object, name it .jsonl")
    if not scanner.take("]"):
        while True:
            line = scanner.next_line()
            if (cells := _cells_of_object(problems, line, scanner.value())) is not None:
                yield line, cells
            if scanner.take("]"):
                break
            if not scanner.take(","):
                problems.fail(scanner.line, "a comma or the end of the list is missing")
    if not scanner.at_end():
        problems.fail(scanner.line, "there is something behind the list")


class _Scanner:
    """Reads JSON piece by piece."""

    def __init__(self, text: TextIO, problems: _Problems) -> None:
        self.line = 1
        self._text = text
        self._problems = problems
        self._buffer = ""

    def at_end(self) -> bool:
        """Whether nothing is left but white space."""
        while not (rest := self._buffer.lstrip()):
            self._pass(len(self._buffer))
            self._buffer = self._text.read(_CHUNK)
            if not self._buffer:
                return True
        self._pass(len(self._buffer) - len(rest))
        return False

    def next_line(self) -> int:
        """Give the line on which the next piece begins."""
        self.at_end()
        return self.line

    def take(self, sign: str) -> bool:
        """Pass over a sign, if it is what comes next."""
        if self.at_end() or self._buffer[0] != sign:
            return False
        self._pass(1)
        return True

    def value(self) -> object:
        """Read a value."""
        self.at_end()
        while True:
            try:
                value, end = cast("tuple[object, int]", _DECODER.raw_decode(self._buffer))
            except (ValueError, RecursionError) as error:
                # It may only be that its end was not read yet. Twice as much each time, or a long one takes for ever.
                final = isinstance(error, (_TwiceError, RecursionError))
                more = "" if final else self._text.read(len(self._buffer) + _CHUNK)
                if not more:
                    self._problems.fail(self.line, _not_json(error))
                self._buffer += more
            else:
                self._pass(end)
                return value

    def _pass(self, count: int) -> None:
        self.line += self._buffer.count("\n", 0, count)
        self._buffer = self._buffer[count:]


_CHUNK: Final = 64 * 1024


def _not_json(error: Exception) -> str:
    if isinstance(error, _TwiceError):
        return str(error)
    if isinstance(error, json.JSONDecodeError):
        return f"it is not JSON: {error.msg} at character {error.pos + 1}"
    return "it is not JSON: too deeply nested" if isinstance(error, RecursionError) else f"it is not JSON: {error}"


def _cells_of_object(problems: _Problems, line: int, value: object) -> _Cells | None:
    if not isinstance(value, dict):
        problems.add(line, None, f"{excerpt(repr(value), 60)} is not an object with fields of a room")
        return None
    cells = cast("dict[str, object]", value)
    for key in cells:
        if key not in _COLUMNS:
            problems.add(line, None, _unknown_column(key))
    return {key: cell for key, cell in cells.items() if key in _READ and cell != ""}


_READERS: Final[Mapping[str, Callable[[TextIO, _Problems], Iterator[tuple[int, _Cells]]]]] = {
    "csv": _read_csv,
    "jsonl": _read_jsonl,
    "json": _read_json,
}
