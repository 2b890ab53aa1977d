"""The time that a call has: `RetryPolicy.max_elapsed`, and the deadline of the call.

After `max_elapsed`, no further attempt begins. The deadline also cuts off an attempt in flight, and leaves no time for
a read-back.

Example, with `max_elapsed=5` and `deadline=6`, and attempts that time out after 4 s: the first attempt ends at t = 4,
and the second one begins at 4.3. At t = 6 it is cut off. Without the deadline, it would end at 8.3, and no third
attempt would begin.
"""

import time
from collections.abc import Callable

from ..errors import Reason
from .deadlines import TimeLimits

__all__ = ["Budget"]


class Budget:
    """The time of one call. It does not count until `start` is called."""

    __slots__ = ("_clock", "_deadline", "_latest_start", "_max_elapsed", "ends_at")

    def __init__(
        self,
        max_elapsed: float | None,
        deadline: float | None,
        *,
        ends_at: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_elapsed = max_elapsed
        self._deadline = deadline
        self._latest_start: float | None = None
        """Time on the clock after which no further attempt begins; None means no limit."""
        self.ends_at: float | None = ends_at
        """When the deadline expires, on the clock; None if there is none, or if the time does not count yet.

        A read-back has the `ends_at` of its call."""
        self._clock = clock

    def start(self) -> None:
        """Begin to count the time."""
        if self._max_elapsed is None and self._deadline is None:
            return
        now = self._clock()
        if self._max_elapsed is not None:
            self._latest_start = now + self._max_elapsed
        if self._deadline is not None and self.ends_at is None:
            self.ends_at = now + self._deadline

    @property
    def left(self) -> float | None:
        """The number of seconds in which another attempt may begin. None means no limit."""
        if self.ends_at is None:
            return None if self._latest_start is None else self._latest_start - self._clock()
        end = self.ends_at if self._latest_start is None else min(self.ends_at, self._latest_start)
        return end - self._clock()

    @property
    def is_over(self) -> bool:
        """Whether it is too late for another attempt to begin."""
        left = self.left
        return left is not None and left <= 0

    @property
    def is_past_deadline(self) -> bool:
        """Whether the deadline has expired."""
        return self.ends_at is not None and self.ends_at <= self._clock()

    def shorten(self, limits: TimeLimits) -> TimeLimits:
        """Return the time limits of an attempt that begins now, shortened to the deadline."""
        if self.ends_at is None:
            return limits
        left = max(0.0, self.ends_at - self._clock())
        return limits._replace(total=left if limits.total is None else min(left, limits.total))

    @property
    def expired_setting(self) -> tuple[str, Reason]:
        """The setting that ends the call first, for error messages, and its code."""
        if self.ends_at is not None and (self._latest_start is None or self.ends_at <= self._latest_start):
            return f"deadline={self._deadline:g}", "deadline"
        return f"RetryPolicy(max_elapsed={self._max_elapsed:g})", "max_elapsed"
