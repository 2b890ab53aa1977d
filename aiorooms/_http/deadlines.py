"""The time limits of attempts: as `asyncio.timeout` sets them, for many at a time, with one timer for all.

A timer of its own costs each attempt some 6 us, a tenth of the whole update, and hardly any of them is ever needed. So
one timer is set for the deadline that comes first. By the time it is due nearly every attempt that ran then is done; it
cancels those that are late, and is set for the next deadline. Example: 50 attempts begin at t = 0 with 30 s each. One
timer is set for t = 30. At t = 30 all 50 are done, others run, the first of which began at 29.9: the timer is set for
59.9.
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
"""Seconds for one attempt, all of it, or aiohttp's own finer settings."""


@overload
def client_timeout(timeout: Timeout) -> aiohttp.ClientTimeout: ...
@overload
def client_timeout(timeout: Timeout | None) -> aiohttp.ClientTimeout | None: ...
def client_timeout(timeout: Timeout | None) -> aiohttp.ClientTimeout | None:
    """Return the timeout as aiohttp knows it. Raises `ClientSettingsError` unless it is above 0."""
    if timeout is None or isinstance(timeout, aiohttp.ClientTimeout):
        return timeout
    check_positive("timeout", timeout)
    return aiohttp.ClientTimeout(total=timeout)


class TimeLimits(NamedTuple):
    """A timeout, cut in two."""

    total: float | None
    """Seconds for a whole attempt; our own deadline keeps it.

    aiohttp's loses a cancellation that comes at the same moment: it enters one timer twice, and each takes one
    cancellation for its own.
    """
    others: aiohttp.ClientTimeout
    """The limits that are left to aiohttp."""

    @classmethod
    def of(cls, timeout: aiohttp.ClientTimeout) -> "TimeLimits":
        """Cut a timeout."""
        return cls(timeout.total or None, attrs.evolve(timeout, total=None))


class Deadlines:
    """The deadlines that are running in one event loop."""

    def __init__(self) -> None:
        self.running: set[Deadline] = set()
        self.is_closed: bool = False
        self._timer: asyncio.TimerHandle | None = None
        self.timer_at = math.inf
        """On the clock of the loop."""

    def close(self) -> None:
        """Leave no timer behind once nothing runs any more."""
        self.is_closed = True
        if not self.running:
            self.cancel_timer()

    def cancel_timer(self) -> None:
        """Set no timer."""
        self.timer_at = math.inf
        if self._timer is not None:
            self._timer.cancel()

    def set_timer(self, at: float, loop: asyncio.AbstractEventLoop) -> None:
        """Set the timer, in place of the one that is set."""
        self.cancel_timer()
        self.timer_at = at
        self._timer = loop.call_at(at, self._on_timer, loop) if at < math.inf else None

    def _on_timer(self, loop: asyncio.AbstractEventLoop) -> None:
        # The loop calls a timer that is due within the resolution of its clock, so it may be early by that.
        now = max(loop.time(), self.timer_at)
        next_at = math.inf
        for deadline in self.running:
            if deadline.at <= now:
                deadline.strike()
            elif deadline.at < next_at:
                next_at = deadline.at
        self.set_timer(next_at, loop)


class Deadline:
    """A context manager that raises TimeoutError if what is in it takes longer than `seconds`. None: no limit.

    Its rules for cancellations are those of `asyncio.timeout`.
    """

    __slots__ = ("_all", "_cancelling", "_seconds", "_struck", "_task", "at")

    def __init__(self, all_of_them: Deadlines, seconds: float | None) -> None:
        self._all = all_of_them
        self._seconds = seconds
        self._struck = False
        self.at = math.inf
        """On the clock of the loop; infinite once it has struck."""

    def __enter__(self) -> None:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        assert task is not None
        self._task = task
        self._cancelling = task.cancelling()
        if self._seconds is not None:
            self.at = loop.time() + self._seconds
        self._all.running.add(self)
        if self.at < self._all.timer_at:
            self._all.set_timer(self.at, loop)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._all.running.remove(self)
        if self._all.is_closed and not self._all.running:
            self._all.cancel_timer()
        # If somebody else has cancelled the task as well, it is for them to know.
        if self._struck and self._task.uncancel() <= self._cancelling and isinstance(error, asyncio.CancelledError):
            raise TimeoutError from error

    def strike(self) -> None:
        """Cancel the task."""
        self._struck = True
        self.at = math.inf
        self._task.cancel()
