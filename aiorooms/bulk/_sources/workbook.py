"""Read the rows of a workbook (`.xlsx`) as texts, with openpyxl (extra `excel`).

Only the first sheet with a value is read. A number becomes the text that a CSV file would contain: 25.0 becomes `25`. A
formula has the value that the program calculated when it saved the file. A program such as pandas calculates none: the
cell then contains the formula, which is no value of any field.
"""

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from typing import Any, BinaryIO, Final

from ..._text import excerpt
from .._problems import Problems

__all__ = ["read_workbook"]


def read_workbook(file: BinaryIO, problems: Problems) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of the first sheet that is not empty, each as a pair of its number and its cells."""
    try:
        from openpyxl import load_workbook  # type: ignore[import-untyped]  # openpyxl has no types
    except ImportError:
        advice = "install openpyxl with pip install 'aiorooms[excel]', or save the sheet as CSV"
        problems.fail("missing_extra", None, f"this is an Excel workbook; {advice}")
    try:
        sheets = load_workbook(file, read_only=True, data_only=True).worksheets
        formulas = load_workbook(file, read_only=True).worksheets
    except Exception as error:  # noqa: BLE001 - for a damaged workbook, openpyxl raises exceptions of many kinds
        problems.fail("unreadable", None, _unreadable(error))
    for sheet, other in zip(sheets, formulas, strict=True):
        is_empty = True
        for number, (row, texts) in enumerate(zip(_rows(sheet, problems), _rows(other, problems), strict=False), 1):
            if number > _MAX_ROWS:
                wrong = f"the workbook has more than {_MAX_ROWS:,} rows; save the sheet as CSV"
                problems.fail("unreadable", None, wrong)
            cells = [_text(text if value is None else value) for value, text in zip(row, texts, strict=False)]
            is_empty = is_empty and not any(cells)
            yield number, cells
        if not is_empty:
            return


def _rows(sheet: Any, problems: Problems) -> Iterator[tuple[object, ...]]:  # noqa: ANN401 - openpyxl has no types
    # A program may have written a wrong size of the sheet. Rows beyond it would be lost.
    sheet.reset_dimensions()
    rows = iter(sheet.iter_rows(values_only=True))
    while True:
        try:
            row: tuple[object, ...] | None = next(rows, None)
        except Exception as error:  # noqa: BLE001 - as above
            problems.fail("unreadable", None, _unreadable(error))
        if row is None:
            return
        yield row


def _unreadable(error: Exception) -> str:
    return f"the workbook can't be read: {excerpt(repr(error), _MAX_REASON)}; save the sheet as CSV"


_MAX_REASON: Final = 100

_MAX_ROWS: Final = 1_048_576
"""Number of rows in a sheet of Excel. A damaged workbook may have a row with a much larger number."""


def _text(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case float() if value.is_integer():
            return str(int(value))
        case datetime():
            # A name that became a date looks like one then, and is noticed (`spreadsheets.may_be_converted`).
            return value.isoformat(" ")
        case date() | time():
            return value.isoformat()
        case timedelta():  # such as 30:00, which is more than a day
            minutes, seconds = divmod(round(value.total_seconds()), 60)
            return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"
        case _:
            return str(value)
