"""Read a journal while another process writes it, without disturbing that process.

A `Follower` reads only the lines that are new since it last read, so watching a journal of a million rooms costs as
much as the lines of the last second. It begins again at the first line if the file is another one, is shorter than what
was read, or has other bytes before that place than those that were read. A run that continues a journal cuts off an
incomplete last line. This is none of these cases, because only complete lines are read.

Whether a run is in progress is known from its lock (`_lock.is_locked`). The order matters. If no run holds the lock,
and the journal is read *afterwards* and has no `stop` line, then the run was killed, because a run writes this line
before it releases the lock. Another run may have begun in between, so the lock is asked for once more before this is
said.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Final

from ._existing_file import open_existing
from ._files import os_errors_as
from ._glance import glance
from ._journal import START, Journal, Place, complete_size, raw_lines, read_journal, unreadable
from ._journal_records import Run
from ._line_checksum import is_sealed
from ._lock import is_locked
from ._progress import Progress, Snapshot

__all__ = ["Follower"]

_TAIL: Final = 256
"""How many bytes before the place are compared. The checksum of a line is among them."""

_STEP: Final = 20_000
"""Number of lines to read in one step, so that reading a long journal can be stopped."""


class Follower:
    """Follows one journal."""

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        """Read the header. Raises `JournalError` as `Journal.open` does. Tests replace `clock`, the Unix time."""
        self.journal: Journal = Journal.open(path)
        self.fraction: float = 0.0
        """How much of the journal was read, from 0 to 1."""
        self._path = path
        self._clock = clock
        self._begin_again()

    def _begin_again(self) -> None:
        self._progress = Progress(self.journal.head.rooms, self.journal.head.at)
        self._place: Place = START
        self._tail = b""
        self._file_id: tuple[int, int] | None = None
        self._needs_checksum = self.journal.head.version > 1

    def step(self) -> bool:
        """Read at most 20,000 new lines. Return whether there are no more. Raises `JournalError` if that fails."""
        with os_errors_as(unreadable, self._path), open_existing(self._path) as file:
            self._find_place(file)
            size = complete_size(file)
            count = 0
            for number, _, place, text in raw_lines(self._path, file, self._place, size):
                self._add(number, text)
                self._place = place
                count += 1
                if count >= _STEP:
                    break
            self._keep_tail(file)
            self.fraction = 1.0 if not size else min(1.0, self._place.offset / size)
            return count < _STEP

    def snapshot(self) -> Snapshot:
        """Return what the lines that were read say about this moment. Call this when `step` has returned True."""
        held = is_locked(self._path)
        while True:
            before = self._place
            while not self.step():
                pass
            snapshot = self._progress.snapshot(self._clock(), is_locked=held)
            if snapshot.phase != "killed" or held is None:
                return snapshot
            held = is_locked(self._path)
            if not held and self._place == before:
                return snapshot

    def _find_place(self, file: BinaryIO) -> None:
        """Begin again if the file is not the one that was read before."""
        status = os.fstat(file.fileno())
        found = status.st_dev, status.st_ino
        if found == self._file_id and self._has_tail(file):
            return
        file.seek(0)
        self.journal = read_journal(self._path, file)
        self._begin_again()
        self._file_id = found

    def _has_tail(self, file: BinaryIO) -> bool:
        file.seek(max(0, self._place.offset - len(self._tail)))
        return file.read(len(self._tail)) == self._tail

    def _keep_tail(self, file: BinaryIO) -> None:
        # If no line was read, the beginning of the header is compared. A new file may have the number of a deleted one.
        length = min(_TAIL, self._place.offset) or _TAIL
        file.seek(max(0, self._place.offset - length))
        self._tail = file.read(length)

    def _add(self, number: int, text: bytes) -> None:
        seen, is_damaged = glance(number, text, needs_checksum=self._needs_checksum)
        if isinstance(seen, Run) and self.journal.head.version == 1:
            # All lines of a run are written by the same version of aiorooms.
            self._needs_checksum = is_sealed(text)
        self._progress.add(seen, is_damaged=is_damaged)
