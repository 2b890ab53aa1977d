"""Find the rooms in a file: the rows of a table, or the objects of JSON in any of its usual forms.

JSON is one object per line, a list of objects, or answers of the API, one after another. In an answer, the list is the
value of `data`. For example, these two files contain the same rooms, A in line 1 and B in line 2:

    {"id":"A",...}            {"data":[{"id":"A",...},
    {"id":"B",...}                     {"id":"B",...}],"meta":{"total_pages":1,...}}

If each line is an object, a line with a syntax error is one problem, and the other lines are read. Any other JSON is
read up to the first syntax error.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Final, TextIO, TypeAlias, cast

from .._text import excerpt
from ..models._values import is_object
from ._problems import Problems
from ._sources.columns import column_of

__all__ = ["Row", "json_rows", "table_rows"]

Row: TypeAlias = tuple[int, Mapping[str, object]]
"""The number of a row's first line, and its values by column or key."""


# --- tables ---


def table_rows(rows: Iterator[tuple[int, Sequence[str]]], problems: Problems) -> Iterator[Row]:
    """Yield the rows of a table by column. `rows` yields the header and the rows as texts, with their line numbers.

    Rows without any value are skipped. A short row lacks its last columns.
    """
    names: list[str] | None = None
    for line, cells in rows:
        if not any(map(str.strip, cells)):
            continue
        if names is None:
            names = [column_of(cell) if cell.strip() else "" for cell in cells]
        elif any(map(str.strip, cells[len(names) :])):
            problems.record("bad_syntax", line, None, f"expected {len(names)} cells as in the header, got {len(cells)}")
        else:
            yield line, {name: cell for name, cell in zip(names, cells, strict=False) if name}


# --- JSON ---


def json_rows(text: TextIO, problems: Problems) -> Iterator[Row]:
    """Yield the objects in a JSON file."""
    lines = enumerate(text, 1)
    begin = [(number, line) for number, line in islice(lines, _BEGIN_LINES) if line.strip()]
    if _is_one_per_line([line for _, line in begin]):
        for number, line in chain(begin, lines):
            yield from _row_of_line(number, line, problems)
    else:
        text.seek(0)
        yield from _Scanner(text.read(), problems).rows()


_BEGIN_LINES: Final = 10
"""Number of lines that show whether each line is an object."""


def _is_one_per_line(lines: Sequence[str]) -> bool:
    """Return whether at least half of the lines are JSON objects."""
    return 2 * sum(is_object(_decoded(line)) for line in lines) >= len(lines)


def _decoded(line: str) -> object:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _row_of_line(number: int, line: str, problems: Problems) -> Iterator[Row]:
    if not line.strip():
        return
    try:
        value: object = json.loads(line)
    except (ValueError, RecursionError) as error:
        problems.record("bad_syntax", number, None, _not_json(error))
        return
    yield from _rows_of(number, value, problems)


def _rows_of(line: int, value: object, problems: Problems) -> Iterator[Row]:
    """Yield a room, or the rooms of an answer."""
    if not is_object(value):
        problems.record("bad_syntax", line, None, f"expected a room as a JSON object, got {excerpt(repr(value), 60)}")
    elif isinstance(rooms := value.get("data"), list):
        for room in cast("list[object]", rooms):
            yield from _rows_of(line, room, problems)
    else:
        yield line, value


class _Scanner:
    """Reads JSON values from a text, one after another, and counts the lines."""

    def __init__(self, text: str, problems: Problems) -> None:
        self._text = text
        self._problems = problems
        self._at = 0
        self._line = 1
        self._decode = json.JSONDecoder().raw_decode

    def rows(self) -> Iterator[Row]:
        """Yield all rooms."""
        while self._next():
            if self._accept("["):
                yield from self._elements()
            elif (answer := _ANSWER.match(self._text, self._at)) is not None:
                self._move(answer.end())
                yield from self._elements()
                self._skip_members()
            else:
                yield from _rows_of(self._line, self._value(), self._problems)

    def _elements(self) -> Iterator[Row]:
        """Yield the rooms of a list, after its bracket."""
        if self._accept("]"):
            return
        while True:
            self._next()
            yield from _rows_of(self._line, self._value(), self._problems)
            if self._accept("]"):
                return
            self._expect(",", "a comma or the end of the list (])")

    def _skip_members(self) -> None:
        """Skip the rest of an object, after the value of a member."""
        while not self._accept("}"):
            self._expect(",", "a comma or the end of the object (})")
            self._value()
            self._expect(":", "a colon (:)")
            self._value()

    def _value(self) -> object:
        self._next()
        try:
            value, end = cast("tuple[object, int]", self._decode(self._text, self._at))
        except (ValueError, RecursionError) as error:
            self._problems.fail("bad_syntax", self._line, _not_json(error))
        self._move(end)
        return value

    def _next(self) -> bool:
        """Skip white space, and return whether the text goes on."""
        blank = _BLANK.match(self._text, self._at)
        assert blank is not None  # it also matches an empty text
        self._move(blank.end())
        return self._at < len(self._text)

    def _accept(self, char: str) -> bool:
        found = self._next() and self._text[self._at] == char
        if found:
            self._move(self._at + 1)
        return found

    def _expect(self, char: str, what: str) -> None:
        if not self._accept(char):
            self._problems.fail("bad_syntax", self._line, f"{what} is missing")

    def _move(self, to: int) -> None:
        self._line += self._text.count("\n", self._at, to)
        self._at = to


_BLANK: Final = re.compile(r"[ \t\r\n]*")
_ANSWER: Final = re.compile(r'\{\s*"data"\s*:\s*\[')
"""The begin of an answer of the API that contains a list."""


def _not_json(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"invalid JSON: {error.msg}"
    return "invalid JSON: too deeply nested" if isinstance(error, RecursionError) else f"invalid JSON: {error}"
