"""Rows of a CSV file: an empty cell leaves a field unchanged, and the word `null` clears it."""

import csv
from collections.abc import Iterator, Sequence
from typing import TextIO

from ...models._fields import FIELDS, read_value
from .._problems import Problems
from .columns import COLUMNS, READ, ROOM_COLUMNS, Cells, unknown_column

__all__ = ["read_csv"]


def read_csv(text: TextIO, problems: Problems) -> Iterator[tuple[int, Cells]]:
    """Read the rows of a CSV file, with the line on which each begins."""
    first = text.readline()
    if not first.strip():
        problems.fail("empty", None, "it is empty, or its first line is")
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
                    problems.note("bad_syntax", line, None, f"there are {len(cells)} cells, and {len(header)} columns")
                elif "\0" in "".join(cells):
                    problems.note("bad_syntax", line, None, "there is a NUL character in it")
                elif is_readable:
                    yield line, _cells_of(header, cells)
            line = reader.line_num + 1
    except csv.Error as error:
        half = "unexpected end" in str(error)
        wrong = "the quotes are not closed" if half else f"{error}"
        problems.note("bad_syntax", line if half else reader.line_num, None, wrong)


def _delimiter(header: str) -> str:
    """Tell what stands between the columns: what makes the most of them known ones."""

    def known(delimiter: str) -> int:
        return sum(name.strip().strip('"') in COLUMNS for name in header.split(delimiter))

    return max(",;\t", key=known)


def _check_header(problems: Problems, header: Sequence[str]) -> bool:
    """Check that all columns are known and there once; return whether the rows can be read."""
    for number, name in enumerate(header):
        if name not in COLUMNS:
            problems.note("unknown_column", 1, None, unknown_column(name), name)
        elif name in header[:number]:
            problems.note("duplicate_column", 1, name, "the column is there twice")
    if has_room := any(name in ROOM_COLUMNS for name in header):
        return has_room
    problems.note("missing_column", 1, None, "the column that names the room is missing: room_id, or room")
    return False


def _cells_of(header: Sequence[str], cells: Sequence[str]) -> Cells:
    return {name: _cell(name, text) for name, text in zip(header, cells, strict=True) if text != "" and name in READ}


def _cell(name: str, text: str) -> object:
    return read_value(name, text) if name in FIELDS else text
