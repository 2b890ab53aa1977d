"""A rate that the caller has set, obeyed exactly. Pure: times are handed in."""

import math
from collections import deque
from typing import Final

from .gate import Gate, Permit

__all__ = ["Cap"]

_MOST_REMEMBERED: Final = 1000

_MARGIN: Final = 1.005
"""The way to the server isn't always equally long: without a margin it would see one too many now and then."""

_CATCH_UP: Final = 0.02
"""Seconds; timers may be late by this, and the rate is still reached."""


class Cap(Gate):
    """Spreads requests evenly, `rate` a second, and never more than that in any second.

    A request that is late because a timer was late moves those after it closer together. So that this can't add up to
    more than the rate, the times of the requests of the last second are kept: the next one has to be a second later
    than the one that is `rate` before it. For a rate below 1 the same holds for single requests and 1 / `rate` seconds.
    """

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._interval = 1 / rate
        count = min(max(1, math.floor(rate)), _MOST_REMEMBERED)
        self._period = count / rate * _MARGIN
        self._sent: deque[float] = deque(maxlen=count)
        self._due_at = -math.inf

    @property
    def rate(self) -> float:
        """The cap itself."""
        return self._rate

    def may_send_at(self, now: float, in_flight: int) -> float:
        """When the next request may be sent."""
        if len(self._sent) < (self._sent.maxlen or 1):
            return self._due_at
        return max(self._due_at, self._sent[0] + self._period)

    def sent(self, permit: Permit, in_flight: int) -> None:
        """Record that a request is sent."""
        now = permit.sent_at
        self._sent.append(now)
        self._due_at = (self._due_at if now - self._due_at < _CATCH_UP else now) + self._interval
