"""Time limits of attempts, which behave like `asyncio.timeout` but share one timer.

A timer for each attempt would cost 6 us of the 90 us that an update takes, and hardly any timer would ever fire. So
there is only one timer, set for the earliest deadline. When it fires, it cancels the attempts whose deadline has
passed, and is set for the next deadline.

Example: 50 attempts with a timeout of 30 s begin at t = 0, and the timer is set for t = 30. When it fires, all 50 are
finished, and other attempts are running. The earliest of these began at t = 29.9, so the timer is set for t = 59.9.
"""

import asyncio
import math
from types import TracebackType
from typing import NamedTuple, TypeAlias, overload

import aiohttp
import attrs

from .._checks import check_positive

__all__ = ["Deadline", "Deadlines", "TimeLimits", "Timeout", "client_timeout"]

Timeout: TypeAlias = float | aiohttp.ClientTimeout
"""Seconds for one whole attempt, or aiohttp's more detailed settings."""


@overload
def client_timeout(timeout: Timeout) -> aiohttp.ClientTimeout: ...
@overload
def client_timeout(timeout: Timeout | None) -> aiohttp.ClientTimeout | None: ...
def client_timeout(timeout: Timeout | None) -> aiohttp.ClientTimeout | None:
    """Convert a timeout to an `aiohttp.ClientTimeout`. Raises `ClientSettingsError` if it is invalid."""
    if timeout is None or isinstance(timeout, aiohttp.ClientTimeout):
        return timeout
    check_positive("timeout", timeout)
    return aiohttp.ClientTimeout(total=timeout)


class TimeLimits(NamedTuple):
    """A timeout, split into the part that we enforce and the part that aiohttp enforces."""

    total: float | None
    """Seconds for a whole attempt, enforced by our own `Deadline`.

    aiohttp's own total timeout can swallow a cancellation that reaches the task just as the timeout expires. The reason
    is that aiohttp enters the same timer context twice, and each entry consumes one cancellation.
    """
    others: aiohttp.ClientTimeout
    """The limits that aiohttp enforces."""

    @classmethod
    def of(cls, timeout: aiohttp.ClientTimeout) -> "TimeLimits":
        """Split a timeout."""
        return cls(timeout.total or None, attrs.evolve(timeout, total=None))


class Deadlines:
    """The running deadlines of one event loop, and the timer that they share."""

    def __init__(self) -> None:
        self.running: set[Deadline] = set()
        self.is_closed: bool = False
        self._timer: asyncio.TimerHandle | None = None
        self.timer_at = math.inf
        """When the timer fires, in seconds on the clock of the loop; infinite if no timer is set."""

    def close(self) -> None:
        """Cancel the timer as soon as no deadline is running."""
        self.is_closed = True
        if not self.running:
            self.cancel_timer()

    def cancel_timer(self) -> None:
        """Cancel the timer, if one is set."""
        self.timer_at = math.inf
        if self._timer is not None:
            self._timer.cancel()

    def set_timer(self, at: float, loop: asyncio.AbstractEventLoop) -> None:
        """Replace the timer with one that fires at `at`. If `at` is infinite, set no timer."""
        self.cancel_timer()
        self.timer_at = at
        self._timer = loop.call_at(at, self._on_timer, loop) if at < math.inf else None

    def _on_timer(self, loop: asyncio.AbstractEventLoop) -> None:
        # The loop may fire a timer slightly early, by up to the resolution of its clock.
        now = max(loop.time(), self.timer_at)
        next_at = math.inf
        for deadline in self.running:
            if deadline.at <= now:
                deadline.expire()
            elif deadline.at < next_at:
                next_at = deadline.at
        self.set_timer(next_at, loop)


class Deadline:
    """A context manager that raises TimeoutError if its body takes longer than `seconds`. None means no limit.

    Cancellations from outside are handled as in `asyncio.timeout`.
    """

    __slots__ = ("_cancelling", "_deadlines", "_expired", "_seconds", "_task", "at")

    def __init__(self, deadlines: Deadlines, seconds: float | None) -> None:
        self._deadlines = deadlines
        self._seconds = seconds
        self._expired = False
        self.at = math.inf
        """When the deadline expires, in seconds on the clock of the loop. Infinite without a limit, or once expired."""

    def __enter__(self) -> None:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        assert task is not None
        self._task = task
        self._cancelling = task.cancelling()
        if self._seconds is not None:
            self.at = loop.time() + self._seconds
        self._deadlines.running.add(self)
        if self.at < self._deadlines.timer_at:
            self._deadlines.set_timer(self.at, loop)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._deadlines.running.remove(self)
        if self._deadlines.is_closed and not self._deadlines.running:
            self._deadlines.cancel_timer()
        # If the task was also cancelled from outside, the CancelledError propagates.
        if self._expired and self._task.uncancel() <= self._cancelling and isinstance(error, asyncio.CancelledError):
            raise TimeoutError from error

    def expire(self) -> None:
        """Cancel the task."""
        self._expired = True
        self.at = math.inf
        self._task.cancel()
