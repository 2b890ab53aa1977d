"""Rows of JSON lines, or of a JSON list, which is read element by element."""

import json
from collections.abc import Iterator
from typing import Final, NoReturn, TextIO, cast

from ..._text import excerpt, quoted
from .._problems import Problems
from .columns import COLUMNS, READ, Cells, unknown_column

__all__ = ["read_json", "read_jsonl"]


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


def read_jsonl(text: TextIO, problems: Problems) -> Iterator[tuple[int, Cells]]:
    """Read an object from each line."""
    for number, line in enumerate(text, 1):
        if not line.strip():
            continue
        try:
            value: object = _DECODER.decode(line.strip())
        except (ValueError, RecursionError) as error:
            problems.note("bad_syntax", number, None, _not_json(error))
            continue
        if (cells := _cells_of_object(problems, number, value)) is not None:
            yield number, cells


def read_json(text: TextIO, problems: Problems) -> Iterator[tuple[int, Cells]]:
    """Read a list element by element: as a whole, a million rows would take a gigabyte."""
    scanner = _Scanner(text, problems)
    if not scanner.take("["):
        wrong = "it is not a list of objects; if each line is an object, name it .jsonl"
        problems.fail("bad_syntax", scanner.line, wrong)
    if not scanner.take("]"):
        while True:
            line = scanner.next_line()
            if (cells := _cells_of_object(problems, line, scanner.value())) is not None:
                yield line, cells
            if scanner.take("]"):
                break
            if not scanner.take(","):
                problems.fail("bad_syntax", scanner.line, "a comma or the end of the list is missing")
    if not scanner.at_end():
        problems.fail("bad_syntax", scanner.line, "there is something behind the list")


class _Scanner:
    """Reads JSON piece by piece."""

    def __init__(self, text: TextIO, problems: Problems) -> None:
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
                    self._problems.fail("bad_syntax", self.line, _not_json(error))
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


def _cells_of_object(problems: Problems, line: int, value: object) -> Cells | None:
    if not isinstance(value, dict):
        problems.note("bad_syntax", line, None, f"{excerpt(repr(value), 60)} is not an object with fields of a room")
        return None
    cells = cast("dict[str, object]", value)
    for key in cells:
        if key not in COLUMNS:
            problems.note("unknown_column", line, None, unknown_column(key), key)
    return {key: cell for key, cell in cells.items() if key in READ and cell != ""}
