"""Read the rows of a CSV file. An empty cell leaves a field unchanged, and the word `null` clears it."""

import csv
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TextIO, TypeAlias

from ...models._fields import FIELDS, read_value
from .._problems import Problems
from .columns import COLUMNS, ROOM_COLUMNS, UPDATED_AT, Cells, unknown_column

__all__ = ["read_csv"]


def read_csv(file: TextIO, problems: Problems) -> Iterator[tuple[int, Cells]]:
    """Yield the rows of a CSV file, each as a pair of the number of its first line and the values."""
    first = file.readline()
    if not first.strip():
        problems.fail("empty", None, "the file or its first line is empty")
    file.seek(0)
    reader = csv.reader(file, delimiter=_delimiter(first), strict=True)
    line = 1
    try:
        header = [name.strip() for name in next(reader)]
        is_readable = _check_header(problems, header)
        readers = [_reader_of(name) for name in header]
        line = reader.line_num + 1
        for cells in reader:
            if cells:
                if len(cells) != len(header):
                    text = f"expected {len(header)} cells as in the header, got {len(cells)}"
                    problems.record("bad_syntax", line, None, text)
                elif "\0" in "".join(cells):
                    problems.record("bad_syntax", line, None, "the row contains a NUL character")
                elif is_readable:
                    yield line, _cells_of(header, readers, cells)
            line = reader.line_num + 1
    except csv.Error as error:
        unclosed = "unexpected end" in str(error)
        wrong = "a quoted cell is not closed" if unclosed else f"{error}"
        problems.record("bad_syntax", line if unclosed else reader.line_num, None, wrong)


def _delimiter(header: str) -> str:
    """Return the delimiter that splits the header into the most known columns."""

    def known(delimiter: str) -> int:
        return sum(name.strip().strip('"') in COLUMNS for name in header.split(delimiter))

    return max(",;\t", key=known)


def _check_header(problems: Problems, header: Sequence[str]) -> bool:
    """Record unknown and duplicate columns, and a missing room column. Return whether there is a room column."""
    for number, name in enumerate(header):
        if name not in COLUMNS:
            problems.record("unknown_column", 1, None, unknown_column(name), name)
        elif name in header[:number]:
            problems.record("duplicate_column", 1, name, "the column occurs twice")
    if has_room := any(name in ROOM_COLUMNS for name in header):
        return has_room
    problems.record("missing_column", 1, None, "a column for the room is missing; add room_id or room")
    return False


_Reader: TypeAlias = Callable[[str], object]


def _reader_of(name: str) -> _Reader | None:
    """Return the function that reads the cells of a column; None if the column is ignored."""
    if name in FIELDS:
        return partial(read_value, name)
    return str if name in ROOM_COLUMNS or name == UPDATED_AT else None


def _cells_of(header: Sequence[str], readers: Sequence[_Reader | None], cells: Sequence[str]) -> Cells:
    return {
        name: read(text)
        for name, read, text in zip(header, readers, cells, strict=True)
        if text != "" and read is not None
    }
