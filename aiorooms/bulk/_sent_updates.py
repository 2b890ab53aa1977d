"""The updates that a journal says were sent, with about 50 bytes of memory per room.

A `begin` line has the old and the new values of a room. With two URLs, they need more than a kilobyte in memory. So
only the offset of the line is kept, and the line is read again when its room is compared with the account. For example,
the journal has these lines (see `_journal`):

    offset  line
       413  {"begin":"A",...}
       890  {"begin":"B",...}
      1367  {"end":"A",...,"status":"updated","updated_at":"2024-05-01T12:00:00Z",...}
      1502  {"end":"B",...,"status":"skipped",...}

A has the offset 413, its `updated_at`, and no flag. B was certainly not applied, so it is removed. Later, the list of
the account contains A. Its line at 413 is then read, and removed from what is left.

The file stays open, so replacing it has no effect. If a line that is read again is no longer the `begin` line of its
room, someone has modified the file meanwhile, and `JournalError` is raised.
"""

from array import array
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import BinaryIO, Final

import attrs

from ..errors import JournalError
from ..models import Room
from ..models._fields import Values, differing, other_url
from ._files import os_reason, quoted_path
from ._journal import Journal, begin_at, unreadable
from ._journal_records import Begin, End, JournalLine
from ._plan_records import contested_fields
from ._room_table import RoomTable

__all__ = ["SentUpdate", "SentUpdates", "modified_journal"]


@attrs.frozen
class SentUpdate:
    """An update that was sent."""

    room_id: str
    before: Values
    after: Values
    pair: Values
    """See `PlannedUpdate.pair`."""
    updated_at: datetime | None
    """The room's `updated_at` after the update; None if the update was not confirmed."""
    failed: bool
    """Whether the update failed. Even then, the server may have applied a timed-out attempt later."""

    def is_modified(self, room: Room) -> bool:
        """Return whether the room was modified after the update.

        False if the update was not confirmed, or if the answer has no `updated_at`.
        """
        return self.updated_at not in (None, room.updated_at) and room.updated_at is not None

    def conflict(self, room: Room, *, strict: bool) -> str | None:
        """Return why the changes of someone else prevent the rollback of a room; None if they don't."""
        lacks_pair = other_url(self.after) is not None and not self.pair
        if strict or lacks_pair:
            fields, is_conflict = "", bool(differing(room, self.after)) or self.is_modified(room)
        else:
            contested = contested_fields(room, self.before, self.after, self.pair)
            fields, is_conflict = f" ({', '.join(contested)})", bool(contested)
        return f"room {room.id} was modified by someone else after the update{fields}" if is_conflict else None


_SENT: Final = 1
"""Whether the update may have been sent. A room without this flag is not among the sent updates."""
_FAILED: Final = 2
"""See `SentUpdate.failed`."""
_IN_FLIGHT: Final = 4
"""Whether the last `begin` line has no `end` line yet."""
_WAS_SENT: Final = 8
"""Whether an attempt was sent, or may have been sent, before the last `begin` line."""


class SentUpdates:
    """The updates that were sent, by room. Add all lines of the journal, then take the updates."""

    def __init__(self, journal: Journal, file: BinaryIO) -> None:
        """`file` is the file of the journal. It must stay open, and nobody else may read from it."""
        self._journal = journal
        self._file = file
        self._rooms = RoomTable()
        # The following have one value for each room in `_rooms`.
        self._begins = array("q")
        """The offset of the first `begin` line since the room was last removed."""
        self._times = array("q")
        """`SentUpdate.updated_at`, as `_number_of` returns it."""
        self._flags = bytearray()

    def __contains__(self, room_id: object) -> bool:
        return isinstance(room_id, str) and self._find(room_id) is not None

    def add(self, line: JournalLine) -> bool:
        """Add a line of the journal. All lines must be added, in their order.

        Return False if it is an `end` line of a room that is not among the sent updates.
        """
        record = line.record
        if isinstance(record, Begin):
            self._begin(record.begin, line.offset)
        elif isinstance(record, End):
            number = self._find(record.end)
            if number is None:
                return False
            self._end(number, record)
        return True

    def take(self, room_id: str) -> SentUpdate | None:
        """Remove and return the update of a room; None if none was sent, or if it was taken before.

        Raises `JournalError` if the file can't be read, or was modified meanwhile.
        """
        number = self._find(room_id)
        if number is None:
            return None
        update = self._take(number)
        if update.room_id != room_id:
            raise modified_journal(self._journal)
        return update

    def take_rest(self) -> Iterator[SentUpdate]:
        """Remove and yield the updates that were not taken, in the order of the journal. Errors are those of `take`."""
        numbers = [number for number, flags in enumerate(self._flags) if flags & _SENT]
        for number in sorted(numbers, key=self._begins.__getitem__):
            update = self._take(number)
            if self._rooms.find(update.room_id) != number:
                raise modified_journal(self._journal)
            yield update

    def _find(self, room_id: str) -> int | None:
        number = self._rooms.find(room_id)
        return number if number is not None and self._flags[number] & _SENT else None

    def _begin(self, room_id: str, offset: int) -> None:
        number = self._rooms.add(room_id)
        if number == len(self._flags):
            self._begins.append(offset)
            self._times.append(_NO_TIME)
            self._flags.append(_SENT | _IN_FLIGHT)
        elif (flags := self._flags[number]) & _SENT:
            self._flags[number] |= _IN_FLIGHT | (_WAS_SENT if flags & _IN_FLIGHT else 0)
        else:  # it was removed
            self._begins[number] = offset
            self._times[number] = _NO_TIME
            self._flags[number] = _SENT | _IN_FLIGHT

    def _end(self, number: int, end: End) -> None:
        flags = self._flags[number] & ~_IN_FLIGHT
        if end.status == "skipped":
            # If nothing was sent before either, the update was certainly never applied.
            self._flags[number] = flags if flags & _WAS_SENT else 0
            return
        flags = flags & ~_FAILED | (_FAILED if end.status == "failed" else 0)
        self._flags[number] = flags | (_WAS_SENT if end.attempts > 0 else 0)
        if end.updated_at is not None:
            self._times[number] = _number_of(end.updated_at)

    def _take(self, number: int) -> SentUpdate:
        flags, self._flags[number] = self._flags[number], 0
        try:
            begin = begin_at(self._journal, self._file, self._begins[number])
        except OSError as error:  # `os_errors_as` would take longer than reading the line
            raise unreadable(self._journal.path, os_reason(error)) from None
        if begin is None:
            raise modified_journal(self._journal)
        return SentUpdate(*begin, _time_of(self._times[number]), failed=bool(flags & _FAILED))


def modified_journal(journal: Journal) -> JournalError:
    """Return the error for a journal that was modified, not only continued, after its lines were read."""
    text = f"the journal {quoted_path(journal.path)} was modified while the rollback was planned"
    return JournalError(text, hint="no plan was written; plan the rollback again", reason="replaced_journal")


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)

_NO_TIME: Final = -(2**63)
"""Stands for None. No `datetime` is that early."""


def _number_of(time: datetime) -> int:
    """Return a time as microseconds since 1970, which is exact."""
    return (time - _EPOCH) // _MICROSECOND


def _time_of(number: int) -> datetime | None:
    return None if number == _NO_TIME else _EPOCH + number * _MICROSECOND
