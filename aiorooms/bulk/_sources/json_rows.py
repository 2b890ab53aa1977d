"""Read the rows of a JSON lines file or a JSON list. The elements of a list are read one by one."""

import json
from collections.abc import Iterator
from typing import Final, NoReturn, TextIO, cast

from ..._text import excerpt, quoted
from .._problems import Problems
from .columns import COLUMNS, INPUT_COLUMNS, UPDATED_AT, Cells, unknown_column

__all__ = ["read_json", "read_jsonl"]


class _DuplicateKeyError(ValueError):
    """A key occurs twice in an object."""


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    made = dict(pairs)
    if len(made) < len(pairs):
        keys = [key for key, _ in pairs]
        raise _DuplicateKeyError(f"the key {quoted(next(key for key in keys if keys.count(key) > 1))} occurs twice")
    return made


def _reject_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not allowed")


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_reject_constant)


def read_jsonl(text: TextIO, problems: Problems) -> Iterator[tuple[int, Cells]]:
    """Yield the objects of a file with one object per line, each as a pair of the line number and the object."""
    for number, line in enumerate(text, 1):
        if not line.strip():
            continue
        try:
            value: object = _DECODER.decode(line.strip())
        except (ValueError, RecursionError) as error:
            problems.record("bad_syntax", number, None, _not_json(error))
            continue
        if (cells := _cells_of_object(problems, number, value)) is not None:
            yield number, cells


def read_json(text: TextIO, problems: Problems) -> Iterator[tuple[int, Cells]]:
    """Yield the objects of a list, each as a pair of the number of its first line and the object.

    The objects are read one by one, because loading a million rows at once would need a gigabyte of memory.
    """
    scanner = _Scanner(text, problems)
    if not scanner.accept("["):
        wrong = "the file is not a JSON list of objects; if each line is an object, name the file .jsonl"
        problems.fail("bad_syntax", scanner.line, wrong)
    if not scanner.accept("]"):
        while True:
            line = scanner.next_line()
            if (cells := _cells_of_object(problems, line, scanner.value())) is not None:
                yield line, cells
            if scanner.accept("]"):
                break
            if not scanner.accept(","):
                problems.fail("bad_syntax", scanner.line, "a comma or the end of the list (]) is missing")
    if not scanner.at_end():
        problems.fail("bad_syntax", scanner.line, "there is more text after the list")


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
        if self.at_end() or self._buffer[0] != char:
            return False
        self._advance(1)
        return True

    def value(self) -> object:
        """Parse a value."""
        self.at_end()
        while True:
            try:
                value, end = cast("tuple[object, int]", _DECODER.raw_decode(self._buffer))
            except (ValueError, RecursionError) as error:
                # The end of the value may not be in the buffer yet. Each attempt parses from the start of the value. So
                # the buffer is doubled, because adding chunks of a fixed size would take quadratic time.
                final = isinstance(error, (_DuplicateKeyError, RecursionError))
                more = "" if final else self._text.read(len(self._buffer) + _CHUNK)
                if not more:
                    self._problems.fail("bad_syntax", self.line, _not_json(error))
                self._buffer += more
            else:
                self._advance(end)
                return value

    def _advance(self, count: int) -> None:
        self.line += self._buffer.count("\n", 0, count)
        self._buffer = self._buffer[count:]


_CHUNK: Final = 64 * 1024


def _not_json(error: Exception) -> str:
    if isinstance(error, _DuplicateKeyError):
        return str(error)
    if isinstance(error, json.JSONDecodeError):
        return f"invalid JSON: {error.msg} at character {error.pos + 1}"
    return "invalid JSON: too deeply nested" if isinstance(error, RecursionError) else f"invalid JSON: {error}"


def _cells_of_object(problems: Problems, line: int, value: object) -> Cells | None:
    if not isinstance(value, dict):
        text = f"expected a JSON object with keys such as room_id, got {excerpt(repr(value), 60)}"
        problems.record("bad_syntax", line, None, text)
        return None
    cells = cast("dict[str, object]", value)
    for key in cells:
        if key not in COLUMNS:
            problems.record("unknown_column", line, None, unknown_column(key), key)
    return {key: cell for key, cell in cells.items() if (key in INPUT_COLUMNS or key == UPDATED_AT) and cell != ""}
