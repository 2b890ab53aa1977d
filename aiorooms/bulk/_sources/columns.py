"""The columns that a file of rows may have."""

import difflib
from collections.abc import Mapping
from typing import Final, TypeAlias

from ..._text import quoted
from ...models import FIELD_NAMES

__all__ = ["COLUMNS", "READ", "ROOM_COLUMNS", "Cells", "unknown_column"]

ROOM_COLUMNS: Final = ("room_id", "id", "room")

_PASSED_OVER: Final = ("created_at", "updated_at", "active_session_id", "record_type")
"""What an export has beside what can be changed."""

READ: Final = (*ROOM_COLUMNS, *FIELD_NAMES)

COLUMNS: Final = (*READ, *_PASSED_OVER)


Cells: TypeAlias = Mapping[str, object]
"""One row: what stands in each column, as JSON would hold it; what isn't there is left alone."""


def unknown_column(name: str) -> str:
    """Say that a name is none of the columns, and which may be meant."""
    close = difflib.get_close_matches(name.strip().lower(), COLUMNS, 1)
    hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(READ)}"
    return f"{quoted(name)} is not a column of a room; {hint}"
