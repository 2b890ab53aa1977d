"""The cap: a maximum rate that the caller sets, and that is never exceeded.

Example: with `max_rate=10` a request is due every 100 ms. If a timer fires 15 ms late, the next request is still due on
schedule, 85 ms later. In addition, there is always at least 1.005 s between a request and the tenth one after it. So
late timers never lead to more than 10 requests in a second.
"""

import math
from collections import deque
from typing import Final

from .gate import Gate, Permit

__all__ = ["Cap"]

_MAX_REMEMBERED: Final = 1000

_MARGIN: Final = 1.005
"""A factor for the minimum time. In the example above, it makes 1.005 s of the 1 s for ten requests.

Latency varies, so without this factor the server could receive one request too many in a second.
"""

_CATCH_UP: Final = 0.02
"""Seconds. If a request is late by less than this, the schedule stays the same. So late timers don't lower the rate."""


class Cap(Gate):
    """Spreads requests evenly. It never allows more than `rate` requests, rounded up, in any second.

    If `rate` is below 1, it never allows more than one request in 1 / `rate` seconds.
    """

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._interval = 1 / rate
        count = min(max(1, math.floor(rate)), _MAX_REMEMBERED)
        self._period = count / rate * _MARGIN
        self._sent: deque[float] = deque(maxlen=count)
        self._due_at = -math.inf

    @property
    def rate(self) -> float:
        """The cap, in requests per second."""
        return self._rate

    def may_send_at(self, now: float, in_flight: int) -> float:
        """Return when the next request may be sent."""
        if len(self._sent) < (self._sent.maxlen or 1):
            return self._due_at
        return max(self._due_at, self._sent[0] + self._period)

    def sent(self, permit: Permit, in_flight: int) -> None:
        """Record that a request is sent."""
        now = permit.sent_at
        self._sent.append(now)
        self._due_at = (self._due_at if now - self._due_at < _CATCH_UP else now) + self._interval
