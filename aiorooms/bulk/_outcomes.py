"""How rooms end: what the caller gets, what is written into the journal, and when nothing more is begun."""

from datetime import datetime
from typing import Self

import attrs

from ..errors import AioroomsError, JournalError
from ._journal_records import Begin, End, Ending
from ._journal_writer import JournalWriter, now
from ._plan_records import PlannedUpdate

__all__ = ["Ledger", "Outcome", "StopSignal"]


@attrs.frozen(kw_only=True)
class Outcome:
    """How the update of one planned room ended in this run."""

    room_id: str
    unique_name: str | None
    """The room's name when the plan was made."""
    status: Ending
    """`updated`, `failed`, `uncertain`, `skipped` (not sent), or `conflict` (modified by someone else; not touched)."""
    error: str | None = None
    """One line, unless the room was updated."""
    error_type: str | None = None
    """The class of the error, such as `NotFoundError`; None if there is none, and for a conflict."""
    failure: AioroomsError | None = attrs.field(default=None, eq=False, repr=False)
    """The error itself, for programs that word it themselves."""
    attempts: int = 0
    found: bool = False
    """The room was found to have the wanted values, and nothing was sent."""

    @classmethod
    def uncertain(cls, room_id: str, unique_name: str | None, error: AioroomsError) -> Self:
        """Make the outcome of a room that could not be read back."""
        return cls(
            room_id=room_id,
            unique_name=unique_name,
            status="uncertain",
            error=str(error),
            error_type=type(error).__name__,
            failure=error,
        )


class StopSignal:
    """Says whether nothing more is begun, and why; the first reason stays."""

    def __init__(self, max_failures: int | None) -> None:
        self.why: str | None = None
        self.error: AioroomsError | None = None
        """The error behind it, if that is one."""
        self.failures_left = max_failures

    def stop(self, why: str | AioroomsError) -> None:
        """Begin nothing more."""
        if self.why is None:
            self.why = str(why)
            self.error = why if isinstance(why, AioroomsError) else None

    def count_failure(self, error: AioroomsError) -> None:
        """Count a failure; after the last one that is allowed nothing more is begun."""
        if self.failures_left is not None:
            self.failures_left -= 1
            if self.failures_left == 0:
                self.stop(f"as many failures as are allowed, the last one: {error.message}")


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
        kind = None if failure is None else type(failure).__name__
        record = End(
            end=room_id,
            at=now(),
            status=status,
            attempts=attempts,
            elapsed=None if elapsed is None else round(elapsed, 4),
            updated_at=updated_at,
            error=text,
            error_type=kind,
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
            error_type=kind,
            failure=failure,
            attempts=attempts,
            found=found,
        )
