"""Every begin before its room is sent, and every outcome once it is known, goes through here into the journal."""

from datetime import datetime

from ..errors import AioroomsError, JournalError
from ._journal_records import Begin, End, Ending
from ._journal_writer import JournalWriter, now
from ._outcomes import Outcome, StopSignal
from ._plan_records import PlannedUpdate

__all__ = ["Ledger"]


class Ledger:
    """Writes begins and outcomes into the journal, and gives the outcomes to the caller.

    If the outcome of a room can't be written, nothing more is begun, and what is in flight may still end. The journal
    says that the room was begun, so a resume reads it back.
    """

    def __init__(self, journal: JournalWriter, signal: StopSignal) -> None:
        self.lost: JournalError | None = None
        """Why an outcome could not be written."""
        self._journal = journal
        self._signal = signal

    def begin(self, planned: PlannedUpdate) -> None:
        """Write that a room is about to be sent. Raises `JournalError`."""
        self._journal.write(
            Begin(
                begin=planned.room_id,
                at=now(),
                unique_name=planned.unique_name,
                updated_at=planned.updated_at,
                before=planned.before,
                after=planned.after,
            )
        )

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
        """Write the outcome of a room, and return it."""
        text = None if error is None else str(error)
        failure = error if isinstance(error, AioroomsError) else None
        record = End(
            end=room_id,
            at=now(),
            status=status,
            attempts=attempts,
            elapsed=None if elapsed is None else round(elapsed, 4),
            updated_at=updated_at,
            error=text,
            error_type=None if failure is None else type(failure).__name__,
            found=found,
        )
        try:
            self._journal.write(record)
        except JournalError as lost:
            self.lost = lost
            self._signal.stop(lost)
        return Outcome(
            room_id=room_id,
            unique_name=unique_name,
            status=status,
            error=text,
            failure=failure,
            attempts=attempts,
            found=found,
        )
