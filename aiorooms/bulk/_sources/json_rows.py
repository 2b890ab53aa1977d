"""Read the rows of a JSON lines file, a JSON list or a saved answer of the API.

An answer of the API is an object with the rooms in `data`: `{"data": [{"id": "7b61...", ...}], "meta": {...}}`. It may
also be one line of a JSON lines file, as if the answers for all pages were appended to one file.
"""

import json
import re
from collections.abc import Iterator
from typing import Final, NoReturn, TextIO, cast

from ..._text import excerpt, quoted
from ...models._fields import FIELDS
from ...resources._bodies import MAX_LIST
from .._problems import Problems
from .columns import CREATED_AT, INPUT_COLUMNS, ROOM_COLUMNS, UPDATED_AT, Cells, Columns, column_of
from .text_file import lines_of

__all__ = ["read_json", "read_jsonl"]


class _DuplicateKeyError(ValueError):
    """A key occurs twice in an object."""

    def __init__(self, key: str) -> None:
        super().__init__(f"the key {quoted(key)} occurs twice")
        self.key = key


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    made = dict(pairs)
    if len(made) < len(pairs):
        keys = [key for key, _ in pairs]
        raise _DuplicateKeyError(next(key for key in keys if keys.count(key) > 1))
    return made


def _reject_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not allowed")


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_reject_constant)
_LENIENT_DECODER: Final = json.JSONDecoder(parse_constant=_reject_constant)


def read_jsonl(text: TextIO, problems: Problems, columns: Columns) -> Iterator[tuple[int, Cells]]:
    """Yield the objects of a file with one object per line, each as a pair of the line number and the object."""
    for number, line in enumerate(lines_of(text, problems, _LONGEST), 1):
        if not line.strip():
            continue
        try:
            value: object = _DECODER.decode(line.strip())
        except (ValueError, RecursionError) as error:
            problems.record("bad_syntax", number, None, _not_json(error))
            continue
        for one in _rooms_of_answer(value):
            if (cells := _cells_of_object(problems, columns, number, one)) is not None:
                yield number, cells


def _rooms_of_answer(value: object) -> list[object]:
    """Return the rooms of an answer of the API. Any other value is returned as the only element."""
    if not isinstance(value, dict):
        return [value]
    answer = cast("dict[str, object]", value)
    if "data" not in answer or not answer.keys().isdisjoint(ROOM_COLUMNS):
        return [value]
    data = answer["data"]
    return cast("list[object]", data) if isinstance(data, list) else [data]


def read_json(text: TextIO, problems: Problems, columns: Columns) -> Iterator[tuple[int, Cells]]:
    """Yield the objects of lists and answers, each as a pair of the number of its first line and the object.

    A file may contain several lists, answers and rooms, one after another, such as the answers for all pages. The
    objects are read one by one, because loading a million rows at once would need a gigabyte of memory.
    """
    scanner = _Scanner(text, problems)
    is_first = True
    while is_first or not scanner.at_end():
        if scanner.accept("["):
            values = _elements(scanner, problems)
        elif scanner.is_next("{"):
            values = _answer(scanner, problems)
        elif is_first:
            wrong = "the file is not a JSON list of objects; if each line is an object, name the file .jsonl"
            problems.fail("bad_syntax", scanner.line, wrong)
        else:
            problems.fail("bad_syntax", scanner.line, "there is more text after the end")
        is_first = False
        for line, value in values:
            if value is not _SKIPPED and (cells := _cells_of_object(problems, columns, line, value)) is not None:
                yield line, cells


def _elements(scanner: "_Scanner", problems: Problems) -> Iterator[tuple[int, object]]:
    """Yield the elements of a list after its bracket, each with the number of its first line."""
    if scanner.accept("]"):
        return
    while True:
        line = scanner.next_line()
        yield line, scanner.value()
        if scanner.accept("]"):
            return
        if not scanner.accept(","):
            problems.fail("bad_syntax", scanner.line, "a comma or the end of the list (]) is missing")


def _answer(scanner: "_Scanner", problems: Problems) -> Iterator[tuple[int, object]]:
    """Yield the rooms in the key `data` of an object. An object without this key may be a room itself."""
    first = scanner.next_line()
    scanner.accept("{")
    members: dict[str, object] = {}
    has_data = False
    while not scanner.accept("}"):
        at = scanner.next_line()
        key = scanner.value()
        if not isinstance(key, str) or not scanner.accept(":"):
            problems.fail("bad_syntax", scanner.line, "a key and a colon are missing")
        if key in members:
            problems.record("bad_syntax", at, None, f"the key {quoted(key)} occurs twice")
        line = scanner.next_line()
        if key != "data":
            members[key] = scanner.value()
        else:
            has_data = True
            if scanner.accept("["):
                yield from _elements(scanner, problems)
            else:
                yield line, scanner.value()
        if not scanner.accept(",") and not scanner.is_next("}"):
            problems.fail("bad_syntax", scanner.line, "a comma or the end of the object (}) is missing")
    if not has_data:
        if not any(column_of(key) in ROOM_COLUMNS for key in members):
            wrong = (
                "the object has no rooms in data; give a list of objects, or an object on each line of a .jsonl file"
            )
            problems.fail("bad_syntax", first, wrong)
        yield first, _SKIPPED if _SKIPPED in members.values() else members


_SKIPPED: Final = object()
"""Stands for an object with a key twice, which was recorded as a problem."""


class _Scanner:
    """Parses JSON from a file, one value or character at a time."""

    def __init__(self, text: TextIO, problems: Problems) -> None:
        self.line = 1
        self._text = text
        self._problems = problems
        self._buffer = ""

    def at_end(self) -> bool:
        """Skip white space, and return whether the file ends after it."""
        while not (rest := self._buffer.lstrip()):
            self._advance(len(self._buffer))
            self._buffer = self._text.read(_CHUNK)
            if not self._buffer:
                return True
        self._advance(len(self._buffer) - len(rest))
        return False

    def next_line(self) -> int:
        """Skip white space, and return the current line number."""
        self.at_end()
        return self.line

    def accept(self, char: str) -> bool:
        """Skip white space. If the next character is `char`, consume it and return True; else return False."""
        if not self.is_next(char):
            return False
        self._advance(1)
        return True

    def is_next(self, char: str) -> bool:
        """Skip white space, and return whether the next character is `char`."""
        return not self.at_end() and self._buffer[0] == char

    def value(self) -> object:
        """Parse a value. If it has a key twice, record the problem and return `_SKIPPED`."""
        self.at_end()
        while True:
            duplicate: _DuplicateKeyError | None = None
            try:
                try:
                    value, end = _raw_decode(_DECODER, self._buffer)
                except _DuplicateKeyError as error:
                    duplicate = error
                    value, end = _raw_decode(_LENIENT_DECODER, self._buffer)
            except (ValueError, RecursionError) as error:
                # The end of the value may not be in the buffer yet. Each attempt parses from the start of the value. So
                # the buffer is doubled, because adding chunks of a fixed size would take quadratic time.
                if len(self._buffer) > _LONGEST:
                    self._problems.fail("bad_syntax", self.line, f"a value has more than {_LONGEST:,} characters")
                more = "" if isinstance(error, RecursionError) else self._text.read(len(self._buffer) + _CHUNK)
                if not more:
                    self._problems.fail("bad_syntax", self.line, _not_json(error))
                self._buffer += more
                continue
            if duplicate is not None:
                line = self.line + self._buffer.count("\n", 0, _second(duplicate.key, self._buffer[:end]))
                self._problems.record("bad_syntax", line, None, str(duplicate))
            self._advance(end)
            return value if duplicate is None else _SKIPPED

    def _advance(self, count: int) -> None:
        self.line += self._buffer.count("\n", 0, count)
        self._buffer = self._buffer[count:]


_CHUNK: Final = 64 * 1024

_LONGEST: Final = MAX_LIST
"""Maximum number of characters of a line, or of a value in a list. A line may be an answer of the API."""


def _raw_decode(decoder: json.JSONDecoder, text: str) -> tuple[object, int]:
    return cast("tuple[object, int]", decoder.raw_decode(text))


def _second(key: str, text: str) -> int:
    """Return the offset of the second occurrence of a key in the text of an object; 0 if it can't be found."""
    found = [*re.finditer(re.escape(json.dumps(key, ensure_ascii=False)) + r"\s*:", text)]
    return found[1].start() if len(found) > 1 else 0


def _not_json(error: Exception) -> str:
    if isinstance(error, _DuplicateKeyError):
        return str(error)
    if isinstance(error, json.JSONDecodeError):
        return f"invalid JSON: {error.msg} at character {error.pos + 1}"
    return "invalid JSON: too deeply nested" if isinstance(error, RecursionError) else f"invalid JSON: {error}"


def _cells_of_object(problems: Problems, columns: Columns, line: int, value: object) -> Cells | None:
    if not isinstance(value, dict):
        text = f"expected a JSON object with keys such as room_id, got {excerpt(repr(value), 60)}"
        problems.record("bad_syntax", line, None, text)
        return None
    cells: dict[str, object] = {}
    for key, cell in cast("dict[str, object]", value).items():
        column = columns.read(key, line)
        if column is None or column not in (*INPUT_COLUMNS, UPDATED_AT, CREATED_AT):
            continue
        if cell == "" and not (columns.are_rooms and column in FIELDS):
            continue
        if column in cells:
            problems.record("duplicate_column", line, column, "the key occurs twice, in two spellings")
            return None
        cells[column] = _whole(cell) if column in FIELDS and FIELDS[column].kind == "number" else cell
    return cells


def _whole(value: object) -> object:
    """Return 25 for 25.0, which pandas writes if another row of the column has no value."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
