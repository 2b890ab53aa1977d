"""The outcome of a room, and the signal that stops a run early."""

import asyncio
import math
from collections.abc import Coroutine
from typing import TypeVar

import attrs

from ..errors import AioroomsError
from ._journal_records import Ending

__all__ = ["Outcome", "StopSignal", "reason_of"]

T = TypeVar("T")


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
        self._reading: set[asyncio.Timeout] = set()
        """The timeouts of the steps that only read. `end_reading` lets them expire."""
        self._reading_ended = False

    def stop(self, reason: str | Exception) -> None:
        """Stop the run: no further update begins. Only the first call has an effect."""
        if self.reason is None:
            self.reason = reason_of(reason) if isinstance(reason, Exception) else str(reason)
            self.error = reason if isinstance(reason, AioroomsError) else None

    def end_reading(self) -> None:
        """End the steps that only read, even if they wait for the rate limit or a retry. Call it after `stop`."""
        self._reading_ended = True
        for timeout in self._reading:
            if not timeout.expired():  # rescheduling an expired timeout raises RuntimeError
                timeout.reschedule(-math.inf)

    async def unless_stopped(self, step: Coroutine[None, None, T]) -> T | None:
        """Return the result of a step that only reads; None if `end_reading` ends it early."""
        if self._reading_ended:
            step.close()
            return None
        timeout = asyncio.timeout(None)
        try:
            async with timeout:
                self._reading.add(timeout)
                return await step
        except TimeoutError:
            if not timeout.expired():
                raise
            return None
        finally:
            self._reading.discard(timeout)

    def count_failure(self, error: AioroomsError) -> None:
        """Count an update that failed, is uncertain or could not be sent. At the maximum number, stop the run."""
        if self.failures_left is not None:
            self.failures_left -= 1
            if self.failures_left == 0:
                self.stop(f"the maximum number of failures was reached; the last failure: {error.message}")


def reason_of(error: Exception) -> str:
    """Return why a run ended with an error. An unexpected error may have no message, so its type is part of it."""
    return str(error) if isinstance(error, AioroomsError) else repr(error)
