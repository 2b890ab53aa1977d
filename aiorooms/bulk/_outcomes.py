"""The outcome of a room, and the signal that stops a run early."""

from typing import Final

import attrs

from .._text import counted
from ..errors import AioroomsError
from ._journal_records import Ending

__all__ = ["OUTCOME_WORDS", "Outcome", "StopSignal", "reason_of"]

OUTCOME_WORDS: Final = {
    "updated": "updated",
    "updated_before": "updated in earlier runs",
    "already_right": "already as planned",
    "failed": "failed",
    "uncertain": "uncertain",
    "conflict": "in conflict",
    "skipped": "skipped",
    "begun": "in flight",
    "not_begun": "not begun",
}
"""What became of a room, in words: for each status of an outcome, and for rooms without an outcome."""


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

    def __init__(self, max_failures: int | None, limit: int | None = None) -> None:
        self.reason: str | None = None
        self.error: AioroomsError | None = None
        """The error of this package that caused the stop, if there is one."""
        self.failures_left = max_failures
        self.limit_reached: bool = False
        """Whether the limit caused the stop."""
        self._limit = limit
        self._left = limit

    def stop(self, reason: str | Exception) -> None:
        """Stop the run: no further update begins. Only the first call has an effect.

        A limit is no obstacle, so a reason that comes after it replaces it. For example, the server rejects the API key
        while the last updates before the limit are in flight.
        """
        if self.reason is None or self.limit_reached:
            self.limit_reached = False
            self.reason = reason_of(reason) if isinstance(reason, Exception) else str(reason)
            self.error = reason if isinstance(reason, AioroomsError) else None

    def may_begin(self) -> bool:
        """Return whether another room may begin, and count it. The room after the limit stops the run.

        For example, with a limit of 100, the first 100 calls return True. Call 101 stops the run. So a run that has
        exactly 100 rooms is not stopped.
        """
        if self.reason is not None:
            return False
        if self._left is not None:
            if self._left == 0:
                self.stop(f"limit reached: {counted(self._limit or 0, 'room')} begun")
                self.limit_reached = True
                return False
            self._left -= 1
        return True

    def count_failure(self, error: AioroomsError) -> None:
        """Count an update that failed, is uncertain or could not be sent. At the maximum number, stop the run."""
        if self.failures_left is not None:
            self.failures_left -= 1
            if self.failures_left == 0:
                self.stop(f"the maximum number of failures was reached; the last failure: {error.message}")


def reason_of(error: Exception) -> str:
    """Return why a run ended with an error. An unexpected error may have no message, so its type is part of it."""
    return str(error) if isinstance(error, AioroomsError) else repr(error)
