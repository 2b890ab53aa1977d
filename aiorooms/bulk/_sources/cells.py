"""Read the cells of a table: an empty cell leaves a field unchanged, and the word `null` clears it.

People and programs write the same value in several ways. These are accepted:

- `25`, ` 25 `, `25.0` and `25,0` for the number 25. pandas writes 25.0 if a cell of the column is empty.
- `true`, `yes`, `on` and `1`, and `false`, `no`, `off` and `0`, in any case.
- a name between apostrophes, which is a name whatever it looks like (`spreadsheets`).

Any other text stays as it is, and the check of the field rejects it. These texts are rejected here, because they could
pass as a name: `NULL`, `None`, `NaN`, `#REF!` and so on.
"""

import re
from collections.abc import Callable
from functools import partial
from typing import Final

from ..._text import quoted
from ...models._fields import FIELDS, read_bool
from .columns import CREATED_AT, ROOM_COLUMNS, UPDATED_AT
from .spreadsheets import is_error, is_no_name, name_of_cell

__all__ = ["CellError", "Reader", "reader_of"]

Reader = Callable[[str], object]
"""Reads a cell that is not blank. Raises `CellError`."""

_NUMBER: Final = re.compile(r"([+-]?[0-9]{1,9})(?:[.,]0{0,2})?", re.ASCII)
"""Not `20.000` or `20,000`, which may mean 20 or 20 thousand."""


class CellError(ValueError):
    """The text of a cell can't be any value of its field. The message says why."""


def reader_of(column: str) -> Reader | None:
    """Return the function that reads the cells of a column; None if the column is ignored."""
    if column in FIELDS:
        return partial(_READERS[FIELDS[column].kind], column)
    if column == "room":
        return _key
    return str.strip if column in (*ROOM_COLUMNS, UPDATED_AT, CREATED_AT) else None


def _name(column: str, text: str) -> object:
    cell = text.strip()
    if (name := name_of_cell(cell)) is not None:
        return name
    if cell == "null":
        return None
    _reject_formula(cell)
    if is_no_name(cell):
        why = "is an error of a spreadsheet" if is_error(cell) else "looks like a missing value"
        advice = "leave the cell empty to leave the name unchanged"
        if not is_error(cell):
            advice += f"; if it is really a name, write it between apostrophes, as '{cell}'"
        raise CellError(f"{quoted(cell)} {why}; {advice}")
    return cell


def _key(text: str) -> str:
    cell = text.strip()
    if (name := name_of_cell(cell)) is not None:
        return name
    _reject_formula(cell)
    return cell


def _reject_formula(cell: str) -> None:
    if cell.startswith("="):
        advice = "save the file with a spreadsheet that calculates it; if it is a name, write it between apostrophes"
        raise CellError(f"{quoted(cell)} is a formula; {advice}")


def _number(column: str, text: str) -> object:
    cell = text.strip()
    if (found := _NUMBER.fullmatch(cell)) is not None:
        return int(found[1])
    return _text(column, cell)


def _switch(column: str, text: str) -> object:
    cell = text.strip()
    if (value := read_bool(cell.removesuffix(".0"))) is not None:
        return value
    if _text(column, cell) is None:
        return None
    raise CellError(f"{quoted(cell)} is not true or false; write true, yes, on or 1, or false, no, off or 0")


def _url(column: str, text: str) -> object:
    cell = text.strip()
    return cell if cell.startswith("http") else _text(column, cell)


def _text(column: str, cell: str) -> str | None:
    """Return a cell, or None for `null`. Raises `CellError` for an error of a spreadsheet, and for words as `NULL`."""
    if cell == "null":
        return None
    _reject_formula(cell)
    if is_error(cell):
        raise CellError(f"{quoted(cell)} is an error of a spreadsheet; correct the cell, or leave it empty")
    if is_no_name(cell):
        advice = "leave the cell empty to leave the field unchanged"
        advice += ", or write null to clear it" if FIELDS[column].nullable else ""
        raise CellError(f"{quoted(cell)} looks like a missing value; {advice}")
    return cell


_READERS: Final[dict[str, Callable[[str, str], object]]] = {
    "text": _name,
    "number": _number,
    "switch": _switch,
    "url": _url,
}
