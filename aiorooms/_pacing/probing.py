"""The rate that a server sustains which reports no figures, found from its 429s alone. Pure: times are handed in.

- **The first 429** stops everyone, for as long as the server asks, or else for a moment that doubles with each further
  429. Then a single request, the *probe*, is sent. When it gets through, the number of requests that got through since
  the beginning, divided by the time, is a rate that the server has sustained. Sending goes on at that rate.
- **From then on** requests are spread evenly. While more is queued than the rate lets through, the rate grows gently,
  until the next 429. Then it falls to the average of what got through since the last one, and by a tenth at least. So
  it stays close to what the server sustains, and finds out when that grows.
- **429s of requests that were sent before everyone stopped** belong to the same episode and say nothing new.

Example: 80 requests got through in 2 s, then one is answered 429. Everyone stops for 0.2 s, a probe gets through, and
sending goes on at 80 / 2.2 = 36 requests per second. Far from the rate of the last 429 it grows by 10 % a second, near
to it by 1 %. A 429 at 50 per second, after an average of 44, sets it to 44.
"""

import math
from collections.abc import Callable
from typing import Final

from .gate import Gate, Permit
from .headers import RateLimitInfo
from .meter import Meter

__all__ = ["Probing"]

_FIRST_PAUSE: Final = 0.2
_LONGEST_PAUSE: Final = 8.0
"""Seconds."""

_QUICK_GROWTH: Final = 0.10
_GENTLE_GROWTH: Final = 0.01
"""Growth per second, far from the rate of the last 429 and near to it."""

_NEAR: Final = (0.85, 1.15)
"""Which parts of the rate of the last 429 are near to it."""

_STEP_BACK: Final = 0.9
_LEAST_RATE: Final = 0.01
"""Requests per second; no rate is lower."""

_FEW: Final = 10
"""Requests that got through; fewer say nothing of a rate, and the first guess then grows quickly."""

_IDLE: Final = 2.0
"""Seconds between two requests; if none of them was held up, the time does not count for an average."""


class Probing(Gate):
    """Lets through what a server sustains that answers 429 without figures.

    `meter` counts what was sent before the first 429; `random` returns numbers between 0 and 1.
    """

    def __init__(self, meter: Meter, random: Callable[[], float]) -> None:
        self._meter = meter
        self._random = random
        self._rate: float | None = None
        self._limited_rate = math.inf
        """The rate at the last 429; infinite if there was none since a rate is known."""
        self._is_guess = False
        """Whether the rate comes from few requests."""
        self._next_at = 0.0
        self._stopped_at = -math.inf
        """When the last episode of 429s began or was continued."""
        self._streak = 0
        """429s in the present episode, probes included; 0 outside of one."""
        self._probe_sent_at: float | None = None
        self._since = 0.0
        self._passed = 0
        """Requests that got through since `_since`."""
        self._sent_at = 0.0
        """When the last request was sent."""
        self._is_bound = False
        """Whether it was held up by the rate."""
        self._has_figures = False
        """Whether the server reports figures with answers that are no 429."""

    @property
    def is_idle(self) -> bool:
        """Whether the server has never answered 429 without figures."""
        return self._rate is None and not self._streak

    @property
    def rate(self) -> float | None:
        """Requests per second; None as long as there was no 429."""
        return self._rate

    def may_send_at(self, now: float, in_flight: int) -> float:
        """When the next request may be sent; infinite while a probe has to be answered first."""
        return math.inf if self._probe_sent_at is not None else self._next_at

    def blocked_until(self, now: float) -> float:
        """The end of the stop after a 429; unknown while a probe is in flight."""
        return -math.inf if self._probe_sent_at is not None else self._next_at

    def sent(self, permit: Permit, in_flight: int) -> None:
        """Record that a request is sent."""
        now = permit.sent_at
        if self._streak:
            self._probe_sent_at = now
        elif self._rate is not None:
            interval = 1 / self._rate
            self._is_bound = now < self._next_at + interval
            if not self._is_bound and now - self._sent_at > _IDLE:
                self._since += now - self._sent_at
            # A timer that was late is made up for, but not more than that.
            self._next_at = max(self._next_at, now - interval) + interval
        self._sent_at = now

    def answered(self, permit: Permit, info: RateLimitInfo, now: float, in_flight: int) -> None:
        """Record that an answer came."""
        report = info.report
        if not info.rate_limited:
            self._has_figures |= report is not None
            self._got_through(permit.sent_at, now)
        elif self._has_figures and report is not None and report.remaining == 0:
            self.lost(permit, now, in_flight)  # the figures could have predicted this 429: it is the quota's
        else:
            wait = info.retry_after
            if wait is None and report is not None:
                wait = report.reset or None  # 0 may have been rounded down
            self._limited(permit.sent_at, now, wait, in_flight)

    def lost(self, permit: Permit, now: float, in_flight: int) -> None:
        """Record that no answer came."""
        if permit.sent_at == self._probe_sent_at:
            self._probe_sent_at = None

    def _got_through(self, sent_at: float, now: float) -> None:
        self._passed += 1
        if self._streak:
            if sent_at >= self._stopped_at:
                self._resume(now)
        elif self._rate is not None and self._is_bound:
            low, high = _NEAR
            is_near = low < self._rate / self._limited_rate < high
            # This much at each request makes that much a second.
            growth = (_GENTLE_GROWTH if is_near else _QUICK_GROWTH) / self._rate
            self._rate *= 2.0 if self._is_guess else 1 + min(1.0, growth)

    def _limited(self, sent_at: float, now: float, wait: float | None, in_flight: int) -> None:
        """Record a 429 that figures could not have predicted; `wait`: the seconds that the server asks for, if any."""
        if sent_at == self._probe_sent_at:
            self._probe_sent_at = None
        if sent_at < self._stopped_at:
            return
        if self.is_idle:
            self._since, sent = self._meter.lately(now)
            self._passed = max(0, sent - in_flight - 1)
        self._stopped_at = now
        self._streak += 1
        if not wait:
            # `Retry-After: 0` is ignored after repeated 429s. And not all processes that share a key should come back
            # at the same moment.
            wait = min(_FIRST_PAUSE * 2.0 ** min(self._streak - 1, 32), _LONGEST_PAUSE) * (0.75 + self._random() / 2)
            if self._rate is not None:
                # The rate was nearly right.
                wait = min(wait, 2.0 ** min(self._streak, 32) / self._rate)
        self._next_at = max(self._next_at, now + wait)

    def _resume(self, now: float) -> None:
        sustained = self._passed / max(now - self._since, 1e-3)
        if self._rate is None:
            self._is_guess = self._passed < _FEW
            self._rate = max(sustained, 1.0 if self._is_guess else _LEAST_RATE)
        else:
            self._is_guess = False
            self._limited_rate = self._rate
            # If less was sent than the rate allows, what got through says nothing.
            floor = max(sustained, self._rate / 2) if self._is_bound else self._rate
            self._rate = max(_LEAST_RATE, min(self._rate * _STEP_BACK, floor))
        self._streak = 0
        self._probe_sent_at = None
        self._since, self._passed = now, 0
        self._next_at = now + 1 / self._rate
