"""What all readers of input files share: the rows of a file, the room of a row, and the values that a room can have.

`plan` reads changes from a file (`rows`), and `simulate --from` reads whole rooms (`room_file`). Both accept the same
files, and report the same problems with the same words.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, Final, TextIO

import attrs

from ..._checks import is_unicode, name_problems
from ...errors import InputCode, InputProblem
from ...models import read_room_ref
from ...models._fields import FIELDS, Values
from .._problems import Problems, input_problem
from .columns import ROOM_COLUMNS, Cells, Columns
from .csv_rows import read_csv
from .input_file import open_input
from .json_rows import read_json, read_jsonl
from .table import read_table
from .text_file import decoded
from .workbook import read_workbook

__all__ = ["STANDARD_INPUT", "is_possible", "read_cells", "read_room"]

STANDARD_INPUT: Final = "standard input"
"""The name of an open file in problems."""


def read_cells(source: Path | BinaryIO, problems: Problems, columns: Columns) -> Iterator[tuple[int, Cells, bool]]:
    """Yield each row as its line number, its values, and whether they come from a table."""
    with open_input(source, problems) as opened:
        if opened.is_workbook:
            for line, cells in read_table(read_workbook(opened.file, problems), problems, columns):
                yield line, cells, True
            return
        with decoded(opened, problems) as (text, kind):
            for line, cells in _READERS[kind](text, problems, columns):
                yield line, cells, kind == "csv"


def _read_csv(text: TextIO, problems: Problems, columns: Columns) -> Iterator[tuple[int, Cells]]:
    return read_table(read_csv(text, problems), problems, columns)


_READERS: Final[Mapping[str, Callable[[TextIO, Problems, Columns], Iterator[tuple[int, Cells]]]]] = {
    "csv": _read_csv,
    "jsonl": read_jsonl,
    "json": read_json,
}


def read_room(source: str, line: int, cells: Cells) -> tuple[str | None, str | None, list[InputProblem]]:
    """Return the room of a row as its id and None, or as None and its name, with the problems of it."""
    given = [column for column in ROOM_COLUMNS if column in cells]
    if len(given) != 1:
        wrong = (
            f"{' and '.join(given)} are given; give only one of them"
            if given
            else "the room is missing; give room_id or room"
        )
        code: InputCode = "duplicate_column" if given else "missing_room"
        return None, None, [InputProblem(source, line, None, wrong, code=code)]
    (column,) = given
    value = cells[column]
    room_id, wrong_id = read_room_ref(value)
    if not wrong_id:
        return room_id.lower(), None, []
    name = value if column == "room" and isinstance(value, str) else None
    found = wrong_id if name is None else name_problems("", name)
    return None, name, [attrs.evolve(input_problem(problem, source, line), field=column) for problem in found]


def is_possible(fields: Values, problem: InputProblem) -> bool:
    """Return whether a room could have the value that a problem is about: it has the right type, and can be encoded."""
    if problem.field is None or (value := fields.get(problem.field)) is None:
        return True
    if isinstance(value, str) and not is_unicode(value):
        return False  # half of a surrogate pair
    if type(value) is int and abs(value) > _MAX_NUMBER:
        return False
    kinds = {"text": str, "url": str, "number": int, "switch": bool}
    return type(value) is kinds[FIELDS[problem.field].kind]


_MAX_NUMBER: Final = 2**53
"""Largest number that every JSON library can encode and decode without loss."""
