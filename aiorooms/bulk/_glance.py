"""Read a line of a journal only as far as the state of its run needs: kind, room, time and outcome.

Nearly all lines of a journal are `begin` and `end` lines. A `begin` line has the old and new values of its room, which
the state doesn't need. Such a line is not decoded: its checksum shows that this package wrote it, so the room's id is
the text between the first quotes. On average, a line takes 2.4 microseconds instead of 5.9, so the state of a million
rooms is known after 5 s instead of 12.
"""

from typing import Final, NamedTuple, TypeAlias

from ._files import json_object
from ._journal import read_line
from ._journal_records import Begin, End, Ending, JournalLine, Record
from ._line_checksum import is_sealed

__all__ = ["RoomBegin", "RoomEnd", "Seen", "glance", "seen_in"]


class RoomBegin(NamedTuple):
    """A `begin` line."""

    room_id: str
    at: float


class RoomEnd(NamedTuple):
    """An `end` line."""

    room_id: str
    at: float
    status: Ending
    attempts: int
    found: bool


Seen: TypeAlias = RoomBegin | RoomEnd | Record | None
"""What a line says; None if it is damaged or of an unknown kind. `Begin` and `End` are never among the records."""


def glance(number: int, text: bytes, *, needs_checksum: bool) -> tuple[Seen, bool]:
    """Return what a line says, and whether it is damaged."""
    if text.startswith(_BEGIN) and is_sealed(text) and (begin := _begin(text)) is not None:
        return begin, False
    if text.startswith(_END) and is_sealed(text) and (end := _end(text)) is not None:
        return end, False
    line: JournalLine = read_line(number, text, needs_checksum=needs_checksum)
    return seen_in(line.record), line.is_damaged


def seen_in(record: Record | None) -> Seen:
    """Return what a record says."""
    if isinstance(record, Begin):
        return RoomBegin(record.begin, record.at)
    if isinstance(record, End):
        return RoomEnd(record.end, record.at, record.status, record.attempts, record.found)
    return record


_BEGIN: Final = b'{"begin":"'
_END: Final = b'{"end":"'
_AT: Final = b'","at":'
_STATUSES: Final = frozenset(("updated", "failed", "uncertain", "skipped", "conflict"))


def _begin(text: bytes) -> RoomBegin | None:
    """Read a line as `begin_line` writes it. Return None for any other line."""
    room_id, key, rest = text[len(_BEGIN) :].partition(_AT)
    if not key or b"\\" in room_id or b'"' in room_id:
        return None
    try:
        return RoomBegin(room_id.decode(), float(rest[: rest.index(b",")]))
    except ValueError:
        return None


def _end(text: bytes) -> RoomEnd | None:
    """Read a line as `end_line` writes it. Return None for any other line."""
    value = json_object(text)
    if value is None:
        return None
    room_id, at, status = value.get("end"), value.get("at"), value.get("status")
    attempts, found = value.get("attempts", 0), value.get("found", False)
    if type(room_id) is not str or type(at) is not float or type(attempts) is not int or type(found) is not bool:
        return None
    if not isinstance(status, str) or status not in _STATUSES:
        return None
    return RoomEnd(room_id, at, status, attempts, found)  # type: ignore[arg-type]  # checked above
