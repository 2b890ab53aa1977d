"""How many requests were sent lately. Pure: times are handed in."""

import math
from typing import Final

__all__ = ["Meter"]

_PERIOD: Final = 2.0
"""Seconds; a rate is taken over one to two of these."""


class Meter:
    """Counts requests in two periods, the present one and the one before it."""

    def __init__(self) -> None:
        self._since = -math.inf
        self._count = 0
        self._before_since = -math.inf
        self._before_count = 0

    def sent(self, now: float) -> None:
        """Count one."""
        if now - self._since >= _PERIOD:
            self._roll(now)
        self._count += 1

    def lately(self, now: float) -> tuple[float, int]:
        """Since when the requests of the last seconds were counted, and how many there were."""
        if now - self._since >= 2 * _PERIOD:
            return now, 0
        if self._before_count:
            return self._before_since, self._before_count + self._count
        return self._since, self._count

    def rate(self, now: float) -> float:
        """Requests per second in the last seconds."""
        since, count = self.lately(now)
        # The first of them is the beginning of the time that the others took.
        return (count - 1) / (now - since) if count > 1 and now > since else 0.0

    def _roll(self, now: float) -> None:
        continued = now - self._since < 2 * _PERIOD
        self._before_since, self._before_count = (self._since, self._count) if continued else (now, 0)
        self._since, self._count = now, 0
