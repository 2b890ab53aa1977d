"""All rooms of the account in a file, in the format that a plan is read from.

So an export can be edited and planned; and one that wasn't edited changes nothing. What a room doesn't have is left
out, which is read as "leave it alone"; so is a name that would be read as something else: the word `null` in CSV, or
nothing but blanks.
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
from ._files import json_line, os_errors_as, write_atomically

__all__ = ["export_rooms", "format_of"]

_COLUMNS: Final = ("id", *FIELD_NAMES, "created_at", "updated_at", "active_session_id")

Format = Literal["csv", "jsonl"]


async def export_rooms(
    client: RoomsClient, path: str | Path, *, form: Format | None = None, on_room: Callable[[], None] | None = None
) -> int:
    """Write all rooms into a file, which is there whole or not at all; give how many there are.

    Without `form` the name of the file tells: `.csv` or `.jsonl`. `on_room` is called for each room. Raises
    `BulkInputError` if the file can't be written, or what listing the account raises.
    """
    path = Path(path)
    line = _LINES[form or format_of(path)]
    count = 0
    with os_errors_as(_unwritable, path), write_atomically(path) as file:
        if line is _csv_line:
            file.write(_csv_row(_COLUMNS))
        async for room in client.rooms.list():
            file.write(line(room))
            count += 1
            if on_room is not None:
                on_room()
    return count


def _unwritable(path: Path, reason: str) -> BulkInputError:
    return BulkInputError([InputProblem(str(path), None, None, f"it can't be written: {reason}", code="unwritable")])


def format_of(path: Path) -> Format:
    """Tell the format by the name. Raises `BulkInputError` if that doesn't tell."""
    match path.suffix.lower():
        case ".csv":
            return "csv"
        case ".jsonl" | ".ndjson":
            return "jsonl"
        case suffix:
            text = f"the ending {quoted(suffix)} tells no format; name it .csv or .jsonl, or give the format"
            raise BulkInputError([InputProblem(str(path), None, None, text, code="unknown_format", value=suffix)])


def _values(room: Room) -> dict[str, str | int | bool]:
    """Give what a room has."""
    values: dict[str, str | int | bool] = {}
    for column in _COLUMNS:
        value = getattr(room, column)
        if column in ("created_at", "updated_at"):
            value = None if value is None else timestamp(value)
        if value is not None and (value != "" and (column != "unique_name" or str(value).strip())):
            values[column] = value
    return values


def _jsonl_line(room: Room) -> bytes:
    return json_line(_values(room))


def _csv_line(room: Room) -> bytes:
    values = _values(room)
    return _csv_row([_cell(values.get(column)) for column in _COLUMNS])


def _cell(value: str | int | bool | None) -> str:
    if value is None or value == "null":
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _csv_row(cells: list[str] | tuple[str, ...]) -> bytes:
    written = io.StringIO()
    # The line end of RFC 4180; with another one a carriage return in a cell would not be quoted.
    csv.writer(written, lineterminator="\r\n").writerow(cells)
    return written.getvalue().encode()


_LINES: Final[Mapping[Format, Callable[[Room], bytes]]] = {"csv": _csv_line, "jsonl": _jsonl_line}
