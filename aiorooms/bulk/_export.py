"""Export all rooms of the account to a file, in the format that `read_rows` reads.

You can edit an export and make a plan from it. A plan from an unedited export has no changes if the account has not
changed. A field without a value is omitted, or is an empty cell in a CSV file, so a plan leaves it unchanged. In a CSV
file, a name that a spreadsheet would convert, such as `00123`, is written between apostrophes (see `spreadsheets`).
"""

import csv
import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Literal

from .._text import quoted, timestamp
from ..client import RoomsClient
from ..errors import BulkInputError, InputProblem
from ..models import FIELD_NAMES, Room
from ._files import json_line
from ._new_file import write_atomically_async
from ._sources.spreadsheets import cell_of_name

__all__ = ["Format", "export_rooms", "format_of"]

_COLUMNS: Final = ("id", *FIELD_NAMES, "created_at", "updated_at", "active_session_id")

Format = Literal["csv", "jsonl"]


async def export_rooms(
    client: RoomsClient, path: str | Path, *, form: Format | None = None, on_room: Callable[[], None] | None = None
) -> int:
    """Write all rooms of the account to a file atomically, and return their number.

    If `form` is None, the file's extension selects the format: `.csv`, `.jsonl` or `.ndjson`. `on_room` is called after
    each room is written. Raises `BulkInputError` if the extension is unknown or the file can't be written, and
    `APIError` if the account can't be listed.
    """
    path = Path(path)
    line = _LINES[form or format_of(path)]
    count = 0
    async with write_atomically_async(path, _unwritable) as file:
        if line is _csv_line:
            file.write(_csv_row(_COLUMNS))
        async for room in client.rooms.list():
            file.write(line(room))
            count += 1
            if on_room is not None:
                on_room()
    return count


def _unwritable(path: Path, reason: str) -> BulkInputError:
    text = f"the file can't be written: {reason}"
    return BulkInputError([InputProblem(str(path), None, None, text, code="unwritable")])


def format_of(path: Path) -> Format:
    """Return the format for a file's extension. Raises `BulkInputError` if the extension is unknown."""
    match path.suffix.lower():
        case ".csv":
            return "csv"
        case ".jsonl" | ".ndjson":
            return "jsonl"
        case suffix:
            text = f"the extension {quoted(suffix)} is unknown; name the file .csv or .jsonl, or give the format"
            raise BulkInputError([InputProblem(str(path), None, None, text, code="unknown_format", value=suffix)])


def _values(room: Room) -> dict[str, str | int | bool]:
    """Return the values of a room by column, without empty values."""
    values: dict[str, str | int | bool] = {}
    for column in _COLUMNS:
        value = getattr(room, column)
        if column in ("created_at", "updated_at"):
            value = None if value is None else timestamp(value)
        if value is not None and value != "":
            values[column] = value
    return values


def _jsonl_line(room: Room) -> bytes:
    return json_line(_values(room))


def _csv_line(room: Room) -> bytes:
    values = _values(room)
    return _csv_row([_cell(column, values.get(column)) for column in _COLUMNS])


def _cell(column: str, value: str | int | bool | None) -> str:
    if value is None:
        return ""
    if column == "unique_name":
        return cell_of_name(str(value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _csv_row(cells: list[str] | tuple[str, ...]) -> bytes:
    written = io.StringIO()
    # RFC 4180 requires `\r\n`. With `\n`, the csv module would not quote a cell that contains a carriage return.
    csv.writer(written, lineterminator="\r\n").writerow(cells)
    return written.getvalue().encode()


_LINES: Final[Mapping[Format, Callable[[Room], bytes]]] = {"csv": _csv_line, "jsonl": _jsonl_line}
