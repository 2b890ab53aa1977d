"""The outcome of a room, and the signal that stops a run early."""

import attrs

from ..errors import AioroomsError
from ._journal_records import Ending

__all__ = ["Outcome", "StopSignal", "reason_of"]


@attrs.frozen(kw_only=True)
class Outcome:
    """The outcome of one planned room in this run."""

    room_id: str
    unique_name: str | None
    """The room's name when the plan was made."""
    status: Ending
    """`updated`, `failed`, `uncertain`, `skipped` or `conflict` (modified by someone else, not sent).

    `skipped` means that the update was not applied for a reason that is not the room's, as in `UpdateStatus`.
    """
    error: str | None = None
    """What went wrong, in one line; None if the room was updated."""
    failure: AioroomsError | None = attrs.field(default=None, eq=False, repr=False)
    """The exception behind `error`; None for an updated room and for a conflict."""
    attempts: int = 0
    """Number of attempts in this run."""
    found: bool = False
    """Whether this run sent no update because the room already had the wanted values."""
    note: str | None = None
    """Something to know about an updated room: someone else modified it after the plan was made, in other fields."""


class StopSignal:
    """The signal that stops a run early. It keeps the first reason."""

    def __init__(self, max_failures: int | None) -> None:
        self.reason: str | None = None
        self.error: AioroomsError | None = None
        """The error of this package that caused the stop, if there is one."""
        self.failures_left = max_failures

    def stop(self, reason: str | Exception) -> None:
        """Stop the run: no further update begins. Only the first call has an effect."""
        if self.reason is None:
            self.reason = reason_of(reason) if isinstance(reason, Exception) else str(reason)
            self.error = reason if isinstance(reason, AioroomsError) else None

    def count_failure(self, error: AioroomsError) -> None:
        """Count an update that failed, is uncertain or could not be sent. At the maximum number, stop the run."""
        if self.failures_left is not None:
            self.failures_left -= 1
            if self.failures_left == 0:
                self.stop(f"the maximum number of failures was reached; the last failure: {error.message}")


def reason_of(error: Exception) -> str:
    """Return why a run ended with an error. An unexpected error may have no message, so its type is part of it."""
    return str(error) if isinstance(error, AioroomsError) else repr(error)
