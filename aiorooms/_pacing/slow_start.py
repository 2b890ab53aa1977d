"""Slow start: an unknown limit is not met by all callers at once. Pure: times are handed in.

At first one request may be in flight. Each answer allows one more, so the number doubles in the time of one answer:
1, 2, 4, 8. Once as many may be in flight as there are connections the slow start is over for good. An answer that
does not come within half a second doubles the number too, so that one hanging request does not hold up all others.
"""

import math
from typing import Final

from .gate import Gate, Permit
from .headers import RateLimitInfo

__all__ = ["SlowStart"]

_WIDEN_AFTER: Final = 0.5
"""Seconds."""


class SlowStart(Gate):
    """Lets a growing number of requests be in flight, up to `max_in_flight`."""

    def __init__(self, max_in_flight: int) -> None:
        self._max_in_flight = max_in_flight
        self._width = 1.0
        """How many may be in flight; infinite once the slow start is over."""
        self._widen_at = math.inf

    @property
    def is_idle(self) -> bool:
        """Whether the slow start is over."""
        return self._width == math.inf

    def may_send_at(self, now: float, in_flight: int) -> float:
        """When one more may be in flight."""
        if in_flight < self._width:
            return now
        if now < self._widen_at:
            return self._widen_at
        self._width *= 2
        self._widen_at = now + _WIDEN_AFTER
        return now

    def sent(self, permit: Permit, in_flight: int) -> None:
        """Count on an answer within half a second, if no more may be in flight."""
        if in_flight + 1 >= self._width:
            self._widen_at = permit.sent_at + _WIDEN_AFTER

    def answered(self, permit: Permit, info: RateLimitInfo, now: float, in_flight: int) -> None:
        """Let one more be in flight."""
        self._widen()

    def lost(self, permit: Permit, now: float, in_flight: int) -> None:
        """Let one more be in flight."""
        self._widen()

    def _widen(self) -> None:
        self._width += 1
        if self._width >= self._max_in_flight:
            self._width = math.inf
