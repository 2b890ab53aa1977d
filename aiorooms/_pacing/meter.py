"""Measure the rate of requests over the last few seconds.

Example: 10 requests per second are sent from t = 0 on. At t = 5 the meter has counted 31 requests since t = 2. The
first of them, at t = 2, marks the start of the interval. So the rate is (31 - 1) / 3 s = 10 per second.
"""

import math
from typing import Final

__all__ = ["Meter"]

_PERIOD: Final = 2.0
"""Seconds. The rate is measured over the current period and the previous one."""


class Meter:
    """Counts requests in two periods, the current one and the previous one."""

    def __init__(self) -> None:
        self._since = -math.inf
        self._count = 0
        self._previous_since = -math.inf
        self._previous_count = 0

    def sent(self, now: float, count: int = 1) -> None:
        """Count requests."""
        if now - self._since >= _PERIOD:
            self._roll(now)
        self._count += count

    def recent(self, now: float) -> tuple[float, int]:
        """Return the start of the measured interval, and the number of requests sent since then."""
        if now - self._since >= 2 * _PERIOD:
            return now, 0
        if self._previous_count:
            return self._previous_since, self._previous_count + self._count
        return self._since, self._count

    def rate(self, now: float) -> float:
        """Return the average rate of the last few seconds, in requests per second."""
        since, count = self.recent(now)
        # The first request marks the start of the interval, so it is not counted.
        return (count - 1) / (now - since) if count > 1 and now > since else 0.0

    def _roll(self, now: float) -> None:
        continued = now - self._since < 2 * _PERIOD
        self._previous_since, self._previous_count = (self._since, self._count) if continued else (now, 0)
        self._since, self._count = now, 0
