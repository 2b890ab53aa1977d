"""Read the rows of a table: a header with the names of the columns, then one row for each room.

The table comes from a CSV file or a workbook. Rows are read as people and spreadsheets write them: rows without any
value are skipped, empty cells at the end of a row may be missing or too many, and the names of columns may be written
as `Room ID`.
"""

from collections.abc import Iterator, Sequence

from ...errors import InputProblem
from .._problems import Problems
from .cells import CellError, Reader, reader_of
from .columns import ROOM_COLUMNS, Cells, Columns

__all__ = ["read_table"]


def read_table(
    rows: Iterator[tuple[int, Sequence[str]]], problems: Problems, columns: Columns
) -> Iterator[tuple[int, Cells]]:
    """Yield the rows of a table after its header, each as a pair of its line number and its values.

    `rows` yields the header and the rows as texts. A row with an unreadable cell is yielded without this cell, and
    `problems.bad_row` is its line.
    """
    table: _Table | None = None
    for line, cells in rows:
        if not any(map(str.strip, cells)):
            continue
        if table is None:
            table = _Table(problems, columns, line, cells)
        elif (values := table.read(line, cells)) is not None:
            yield line, values
    if table is None and not problems.count:
        problems.fail("empty", None, "the file is empty, or has only blank lines")


class _Table:
    """A table whose header was read."""

    def __init__(self, problems: Problems, columns: Columns, line: int, header: Sequence[str]) -> None:
        self._problems = problems
        self._columns = columns
        self._has_unnamed_end = not header[-1].strip()
        self._width = max(number for number, name in enumerate(header, 1) if name.strip())
        self._readers: list[tuple[str, Reader | None]] = []
        known: set[str] = set()
        for name in header[: self._width]:
            column = columns.read(name, line) if name.strip() else None
            if column is not None and column in known:
                problems.record("duplicate_column", line, column, "the column occurs twice")
            known.add(column or "")
            self._readers.append((column or name, None if column is None else reader_of(column)))
        self._has_room = not known.isdisjoint(ROOM_COLUMNS)
        if not self._has_room:
            text = "a column for the room is missing; add room_id or room"
            if columns.are_rooms:
                text = "a column for the id is missing; add id, or export the rooms again"
            elif "unique_name" in known:
                text += ", or rename unique_name to room if it contains the present names of the rooms"
            problems.record("missing_column", line, None, text)

    def read(self, line: int, cells: Sequence[str]) -> Cells | None:
        """Return the values of a row; None if no column names the room."""
        source = self._problems.source
        problems: list[InputProblem] = []
        values: dict[str, object] = {}
        for (column, reader), text in zip(self._readers, cells, strict=False):
            if not text or text.isspace():
                continue
            if reader is not None:
                try:
                    values[column] = reader(text)
                except CellError as error:
                    problems.append(InputProblem(source, line, column, str(error), code="bad_cell", value=text))
            elif not column.strip():
                self._columns.read("", line)
        if len(cells) > self._width and any(text and not text.isspace() for text in cells[self._width :]):
            if self._has_unnamed_end:
                self._columns.read("", line)
            else:
                wrong = f"expected {self._width} cells as in the header, got {len(cells)}"
                problems.append(InputProblem(source, line, None, wrong, code="bad_syntax"))
        elif "\0" in "".join(cells):
            problems.append(InputProblem(source, line, None, "the row contains a NUL character", code="bad_syntax"))
        self._problems.add_of_row(*problems)
        return values if self._has_room else None
