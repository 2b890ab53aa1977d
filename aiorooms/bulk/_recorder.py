"""Write the `begin` and `end` lines of rooms to the journal."""

from datetime import datetime

from ..errors import AioroomsError, JournalError
from ._journal_records import Ending, begin_line, end_line
from ._journal_writer import JournalWriter, now
from ._outcomes import Outcome, StopSignal

__all__ = ["Recorder"]


class Recorder:
    """Writes the `begin` and `end` lines of a run, and returns an `Outcome` for each `end` line.

    If an `end` line can't be written, the run is drained: no further update begins, and updates in flight finish. The
    journal then contains only the `begin` lines of those updates, so `resume` reads their rooms back.
    """

    def __init__(self, journal: JournalWriter, signal: StopSignal) -> None:
        self.write_error: JournalError | None = None
        """The error from the last `end` line that could not be written; None if all lines were written."""
        self._journal = journal
        self._signal = signal

    def begin(self, plan_line: bytes) -> None:
        """Write the `begin` line of an update before it is sent. Raises `JournalError` if it can't be written.

        `plan_line` is the room's line of the plan.
        """
        self._journal.write(begin_line(plan_line, now()))

    def end(
        self,
        room_id: str,
        unique_name: str | None,
        status: Ending,
        *,
        error: AioroomsError | str | None = None,
        attempts: int = 0,
        elapsed: float | None = None,
        updated_at: datetime | None = None,
        found: bool = False,
    ) -> Outcome:
        """Write the `end` line of a room, and return its outcome."""
        text = None if error is None else str(error)
        failure = error if isinstance(error, AioroomsError) else None
        error_type = None if failure is None else type(failure).__name__
        line = end_line(
            room_id,
            now(),
            status,
            attempts=attempts,
            elapsed=elapsed,
            updated_at=updated_at,
            error=text,
            error_type=error_type,
            found=found,
        )
        try:
            self._journal.write(line)
        except JournalError as write_error:
            self.write_error = write_error
            self._signal.stop(write_error)
        return Outcome(
            room_id=room_id,
            unique_name=unique_name,
            status=status,
            error=text,
            failure=failure,
            attempts=attempts,
            found=found,
        )
