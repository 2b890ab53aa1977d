"""The columns of an input file: the columns of a CSV file, or the keys of JSON objects."""

from collections.abc import Mapping
from typing import Final, TypeAlias

from ..._text import quoted, similar
from ...models import FIELD_NAMES

__all__ = ["COLUMNS", "INPUT_COLUMNS", "ROOM_COLUMNS", "UPDATED_AT", "Cells", "unknown_column"]

ROOM_COLUMNS: Final = ("room_id", "id", "room")

_IGNORED: Final = ("created_at", "active_session_id", "record_type")
"""Columns that are ignored: the read-only fields of a room, except `UPDATED_AT`."""

UPDATED_AT: Final = "updated_at"
"""The column that tells whether a room was modified after the file was exported."""

INPUT_COLUMNS: Final = (*ROOM_COLUMNS, *FIELD_NAMES)

COLUMNS: Final = (*INPUT_COLUMNS, UPDATED_AT, *_IGNORED)


Cells: TypeAlias = Mapping[str, object]
"""The values of one row by column, as JSON values. If a column is missing, its field is left unchanged."""


def unknown_column(name: str) -> str:
    """Return the message for an unknown column, with the most similar known column if there is one."""
    hint = similar(name.strip().lower(), COLUMNS, f"the known columns are {', '.join(INPUT_COLUMNS)}")
    return f"{quoted(name)} is not a known column; {hint}"
