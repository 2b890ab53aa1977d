"""Rows of a CSV file."""

import csv
import re
from collections.abc import Iterator, Sequence
from typing import Final, TextIO

from ...models import FIELD_NAMES
from .columns import COLUMNS, READ, ROOM_COLUMNS, Cells, unknown_column
from .problems import Problems

__all__ = ["read_csv"]

_TRUTHS: Final = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}

_NUMBERS: Final = ("max_participants", "webhook_timeout_secs")


def read_csv(text: TextIO, problems: Problems) -> Iterator[tuple[int, Cells]]:
    """Read the rows of a CSV file, with the line on which each begins."""
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
        return sum(name.strip().strip('"') in COLUMNS for name in header.split(delimiter))

    return max(",;\t", key=known)


def _check_header(problems: Problems, header: Sequence[str]) -> bool:
    """See that all columns are known, and there once; give whether it makes sense to look at the rows."""
    for number, name in enumerate(header):
        if name not in COLUMNS:
            problems.add(1, None, unknown_column(name))
        elif name in header[:number]:
            problems.add(1, name, "the column is there twice")
    if has_room := any(name in ROOM_COLUMNS for name in header):
        return has_room
    problems.add(1, None, "the column that names the room is missing: room_id, or room")
    return False


def _cells_of(header: Sequence[str], cells: Sequence[str]) -> Cells:
    return {name: _cell(name, text) for name, text in zip(header, cells, strict=True) if text != "" and name in READ}


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
