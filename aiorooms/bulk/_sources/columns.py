"""The columns of an input file: the columns of a table, or the keys of JSON objects."""

from collections.abc import Mapping
from typing import Final, TypeAlias

from ..._text import quoted, similar
from ...models import FIELD_NAMES
from .._problems import Problems

__all__ = ["COLUMNS", "CREATED_AT", "INPUT_COLUMNS", "ROOM_COLUMNS", "UPDATED_AT", "Cells", "Columns", "column_of"]

ROOM_COLUMNS: Final = ("room_id", "id", "room")

_IGNORED: Final = ("active_session_id", "sessions", "record_type")
"""Columns that are ignored: the read-only fields of a room, except the times."""

UPDATED_AT: Final = "updated_at"
"""The column that tells whether a room was modified after the file was exported."""

CREATED_AT: Final = "created_at"
"""The column that only a whole room needs. It is ignored in a file with changes."""

INPUT_COLUMNS: Final = (*ROOM_COLUMNS, *FIELD_NAMES)

COLUMNS: Final = (*INPUT_COLUMNS, UPDATED_AT, CREATED_AT, *_IGNORED)


Cells: TypeAlias = Mapping[str, object]
"""The values of one row by column, as JSON values. If a column is missing, its field is left unchanged."""


def column_of(name: str) -> str:
    """Return the column that a name in a file means. `Room ID` and `room-id` mean `room_id`."""
    return name if name in COLUMNS else "_".join(name.strip().lower().replace("-", " ").replace("_", " ").split())


class Columns:
    """The columns that a file may have, and what to do about others."""

    def __init__(self, problems: Problems, *, ignore_unknown: bool = False, are_rooms: bool = False) -> None:
        """With `are_rooms`, the rows are whole rooms, not changes: an empty text in JSON is a value of its field."""
        self.are_rooms = are_rooms
        self.ignored: dict[str, None] = {}
        """The unknown columns that were ignored, in the order of the file."""
        self._known: dict[str, str | None] = {}
        """The result of `read` for the names so far."""
        self._problems = problems
        self._ignore_unknown = ignore_unknown

    def read(self, name: str, line: int) -> str | None:
        """Return the column that a name means; None if it is unknown, which is a problem unless it is ignored.

        A name that is almost that of a known column is a problem in any case: probably it is mistyped. A problem is
        recorded once for each name.
        """
        if name in self._known:
            return self._known[name]
        column = column_of(name)
        if not name.strip():
            self._record_unnamed(line)
            return None
        if len(self._known) < _MAX_NAMES:
            self._known[name] = column if column in COLUMNS else None
        if column in COLUMNS:
            return column
        hint = _NAME_HINT if column in ("name", "room_name") else similar(column, COLUMNS, "")
        if self._ignore_unknown and not hint:
            if len(self.ignored) < _MAX_NAMES:
                self.ignored[name] = None
            return None
        hint = hint or f"the known columns are {', '.join(INPUT_COLUMNS)}"
        self._problems.record("unknown_column", line, None, f"{quoted(name)} is not a known column; {hint}", name)
        return None

    def _record_unnamed(self, line: int) -> None:
        """Record, once, that a cell has a value in a column without a name."""
        self._known[""] = None
        if self._ignore_unknown:
            self.ignored[""] = None
            return
        text = "a column has no name, but a cell of it has a value; pandas writes such a column for its index"
        self._problems.record("unknown_column", line, None, f"{text}, unless index=False is given")


_NAME_HINT: Final = "write unique_name for a new name, or room for the room's present one"

_MAX_NAMES: Final = 1000
"""Maximum number of different names to keep. A file of JSON objects may have a new key in each line."""
