"""Slow start: a new client does not know the limit, so it begins with one request in flight, and then allows more.

The number of requests that may be in flight is the *width*. Each answer increases it by 1, so it doubles with each
round trip. If no answer arrives for half a second, the width doubles too, so that one hanging request does not hold up
all others. When the width reaches the number of connections, slow start is over. It begins again only at the end of an
outage, because a server that was just restarted may not handle all requests at once.

Example: there are 100 connections, and 50 workers that send one request after another. Each answer takes 0.1 s. At
t = 0 one request is sent, at t = 0.1 s two, then 4, 8, 16, 32, and at t = 0.6 s each worker has a request in flight. At
t = 0.7 s the 50 answers raise the width to 100, and slow start is over.
"""

import math
from typing import Final

from .gate import Gate, Permit
from .headers import RateLimitInfo

__all__ = ["SlowStart"]

_WIDEN_AFTER: Final = 0.5
"""Seconds without an answer after which the width doubles."""

_CAREFUL: Final = 1 / 16
"""What an answer adds to the width from `careful_from` on: all requests in flight may exceed an unknown limit."""


class SlowStart(Gate):
    """Allows a growing number of requests in flight, up to `max_in_flight`."""

    def __init__(self, max_in_flight: int, *, careful_from: float = math.inf) -> None:
        """From the width `careful_from` on, an answer increases the width only by a sixteenth."""
        self._max_in_flight = max_in_flight
        self._careful_from = careful_from
        self._width = 1.0
        """The maximum number of requests in flight; infinite when slow start is over."""
        self._widen_at = math.inf

    @property
    def is_idle(self) -> bool:
        """Whether slow start is over."""
        return self._width == math.inf

    def begin_again(self, now: float) -> None:
        """Begin slow start again."""
        self._width = 1.0
        self._widen_at = now + _WIDEN_AFTER

    def may_send_at(self, now: float, in_flight: int) -> float:
        """Return when one more request may be in flight. If no answer has arrived for too long, double the width."""
        if in_flight < self._width:
            return now
        if now < self._widen_at:
            return self._widen_at
        self._width *= 2
        self._widen_at = now + _WIDEN_AFTER
        return now

    def room(self, in_flight: int) -> float:
        """Return how many more requests may be in flight. At least 1."""
        return self._width if self._width == math.inf else max(1, math.floor(self._width) - in_flight)

    def sent(self, permit: Permit, in_flight: int) -> None:
        """If this request reaches the width, set the time at which the width doubles unless an answer arrives."""
        if in_flight + 1 >= self._width:
            self._widen_at = permit.sent_at + _WIDEN_AFTER

    def answered(self, permit: Permit, info: RateLimitInfo, now: float, in_flight: int) -> None:
        """Allow one more request in flight."""
        self._widen()

    def lost(self, permit: Permit, now: float, in_flight: int) -> None:
        """Allow one more request in flight."""
        self._widen()

    def _widen(self) -> None:
        self._width += 1 if self._width < self._careful_from else _CAREFUL
        if self._width >= self._max_in_flight:
            self._width = math.inf
