"""Report one call as events: its attempts, its retries and its end."""

import itertools
import time
from collections.abc import Coroutine
from typing import Any, Final, TypedDict, TypeVar

from ..telemetry import AttemptEnded, AttemptStarted, CallEnded, RetryScheduled
from ..telemetry._telemetry import Telemetry
from .request import Request
from .response import Failure, Success

__all__ = ["CallReports"]

T = TypeVar("T")

_NUMBERS: Final = itertools.count(1)
"""The numbers of the calls of all clients."""


class _Identity(TypedDict):
    """The fields of `CallEvent`."""

    call: int
    method: str
    route: str
    path: str


class CallReports:
    """Reports one call to the log and to those who listen."""

    __slots__ = ("_began_at", "_number", "_request", "_sent", "_status", "_telemetry", "wants_attempts")

    def __init__(self, telemetry: Telemetry, request: Request[Any]) -> None:
        self._telemetry = telemetry
        self._request = request
        self._number = next(_NUMBERS)
        self._began_at = time.monotonic()
        self.wants_attempts = telemetry.wants_attempts
        """Whether attempts are reported. Decided once, so that each report of a call is complete."""
        self._status: int | None = None
        """The HTTP status of the last attempt; None if no readable answer arrived."""
        self._sent = 0
        """The number of attempts, including those over stale connections; 0 if attempts are not reported."""

    async def until_end(self, coroutine: Coroutine[None, None, T]) -> T:
        """Await a coroutine that is the whole call, and report its end."""
        if not self.wants_attempts:
            return await coroutine
        error_name = None
        try:
            return await coroutine
        except BaseException as error:
            error_name = type(error).__name__
            raise
        finally:
            elapsed = time.monotonic() - self._began_at
            event = CallEnded(
                **self._identity(), attempts=self._sent, status=self._status, error=error_name, elapsed=elapsed
            )
            self._telemetry.emit(event)

    def attempt_started(self, queued_at: float) -> float:
        """Report that an attempt is sent now. Return the time."""
        now = time.monotonic()
        self._sent += 1
        self._status = None
        self._telemetry.emit(AttemptStarted(**self._identity(), attempt=self._sent, waited=now - queued_at))
        return now

    def attempt_ended(
        self, sent_at: float, outcome: Success[T] | Failure | None, error: BaseException | None = None
    ) -> None:
        """Report the outcome of an attempt, or the exception that ended it."""
        received = None
        if outcome is not None:
            self._status, received = outcome.status, outcome.received
        if isinstance(outcome, Failure):
            error = outcome.make_error()
        event = AttemptEnded(
            **self._identity(),
            attempt=self._sent,
            status=self._status,
            error=None if error is None else type(error).__name__,
            duration=time.monotonic() - sent_at,
            request_id=None if received is None else received.request_id,
        )
        self._telemetry.emit(event)

    def retry(self, failure: Failure, delay: float, attempts: int, *, is_in_run: bool) -> None:
        """Report that another attempt follows after `delay` seconds. `attempts` were made before.

        `is_in_run` says whether the outage state of a bulk run decides about the retry.
        """
        if self._telemetry.wants_retry(delay, is_in_run=is_in_run):
            event = RetryScheduled(
                **self._identity(),
                attempt=max(self._sent, attempts),
                status=failure.status,
                reason=failure.make_error().message,
                delay=delay,
                elapsed=time.monotonic() - self._began_at,
            )
            self._telemetry.emit(event)

    def _identity(self) -> _Identity:
        """Return the fields that all events of this call have in common."""
        request = self._request
        return {"call": self._number, "method": request.method, "route": request.route, "path": request.path}
