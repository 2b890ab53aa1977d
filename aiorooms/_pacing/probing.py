"""Use unexplained 429s to find the rate that the server sustains.

A 429 is *explained* if answers other than 429s report a limit, and the 429 itself says that the limit is used up.
`Quota` handles such a 429. All other 429s are handled here:

- **The first 429** stops all calls for as long as the server asks, or for about 0.2 s if it does not ask for a wait.
  Then a single request is sent, the *probe*. If the probe is answered 429 too, all calls stop again, each time for
  twice as long, up to about 8 s. When a probe is accepted, sending resumes. The first rate is the number of requests
  accepted in the last few seconds, divided by the time since the first of them.
- **After that**, requests are spread evenly. As long as the rate delays requests, it is raised slowly. The next 429
  stops all calls again. When sending resumes, the rate is lowered to the average rate of accepted requests since the
  previous time that sending resumed, but by at least a tenth, and by at most a half. So the rate stays close to what
  the server sustains, and grows if the server sustains more.
- **A 429 of a request that was sent before the stop** has the same cause as the stop, and is ignored.

Example: 80 requests are accepted in 2 s, then one is answered 429. All calls stop for 0.2 s. A probe is accepted, and
sending resumes at 81 / 2.2 = 37 requests per second. The rate grows by 10 % per second, but only by 1 % per second
while it is close to the rate at the last 429. The next 429 arrives at a rate of 50. Since sending resumed, an average
of 44 requests per second were accepted, so the rate falls to 44.
"""

import math
from collections.abc import Callable
from typing import Final

from .gate import Gate, Permit
from .headers import RateLimitInfo
from .meter import Meter

__all__ = ["Probing"]

_FIRST_PAUSE: Final = 0.2
_MAX_PAUSE: Final = 8.0
"""Duration of the first and of the longest stop in seconds, if the server does not ask for a wait.

Each stop is randomly made up to 25 % shorter or longer.
"""

_FAST_GROWTH: Final = 0.10
_SLOW_GROWTH: Final = 0.01
"""Growth of the rate per second: slow if the rate is close to the rate at the last 429, else fast."""

_CLOSE: Final = (0.85, 1.15)
"""A rate is close to the rate at the last 429 if the ratio of the two is between these numbers."""

_DECREASE: Final = 0.9
_MIN_RATE: Final = 0.01
"""Requests per second."""

_MIN_SAMPLE: Final = 10
"""Minimum number of accepted requests for measuring a rate. A rate from fewer requests is a guess, and grows faster."""

_IDLE: Final = 2.0
"""Seconds. A longer gap between two requests does not count in the average rate, unless this gate caused the gap."""


class Probing(Gate):
    """After the first unexplained 429, keeps to the rate that the server sustains.

    `meter` counts all requests, so it shows how many were sent before that 429. `random` returns numbers from 0 to 1.
    """

    def __init__(self, meter: Meter, random: Callable[[], float]) -> None:
        self._meter = meter
        self._random = random
        self._rate: float | None = None
        self._limited_rate = math.inf
        """The rate at the last 429; infinite if no 429 arrived since the rate became known."""
        self._is_guess = False
        """Whether the rate was measured from too few requests."""
        self._next_at = 0.0
        self._stopped_at = -math.inf
        """The arrival time of the last 429 that was not ignored."""
        self._streak = 0
        """The number of 429s since calls were stopped, including answers to probes; 0 if calls are not stopped."""
        self._probe_sent_at: float | None = None
        self._since = 0.0
        self._accepted = 0
        """Number of requests accepted since `_since`."""
        self._sent_at = 0.0
        """When the last request was sent."""
        self._is_throttled = False
        """Whether the rate delayed the last request."""
        self._reports_limit = False
        """Whether any answer other than a 429 has reported a limit."""

    @property
    def is_idle(self) -> bool:
        """Whether no unexplained 429 has arrived yet."""
        return self._rate is None and not self._streak

    @property
    def rate(self) -> float | None:
        """The sustained rate in requests per second; None until a probe was accepted."""
        return self._rate

    def may_send_at(self, now: float, in_flight: int) -> float:
        """Return when the next request may be sent; infinity while a probe is in flight."""
        return math.inf if self._probe_sent_at is not None else self._next_at

    def blocked_until(self, now: float) -> float:
        """Return when the next request may be sent; -infinity while a probe is in flight, because calls then wait."""
        return -math.inf if self._probe_sent_at is not None else self._next_at

    def sent(self, permit: Permit, in_flight: int) -> None:
        """Record that a request is sent."""
        now = permit.sent_at
        if self._streak:
            self._probe_sent_at = now
        elif self._rate is not None:
            interval = 1 / self._rate
            self._is_throttled = now < self._next_at + interval
            if not self._is_throttled and now - self._sent_at > _IDLE:
                self._since += now - self._sent_at
            # If a timer fired late, the following requests catch up by at most one interval.
            self._next_at = max(self._next_at, now - interval) + interval
        self._sent_at = now

    def answered(self, permit: Permit, info: RateLimitInfo, now: float, in_flight: int) -> None:
        """Record that an answer arrived."""
        report = info.report
        if not info.rate_limited:
            self._reports_limit |= report is not None
            self._record_accepted(permit.sent_at, now)
        elif self._reports_limit and report is not None and report.remaining == 0:
            self.lost(permit, now, in_flight)  # the reported limit explains this 429: `Quota` handles it
        else:
            wait = info.retry_after
            if wait is None and report is not None:
                wait = report.reset or None  # 0 may have been rounded down
            self._record_unexplained(permit.sent_at, now, wait, in_flight)

    def lost(self, permit: Permit, now: float, in_flight: int) -> None:
        """Record that no answer arrived."""
        if permit.sent_at == self._probe_sent_at:
            self._probe_sent_at = None

    def _record_accepted(self, sent_at: float, now: float) -> None:
        self._accepted += 1
        if self._streak:
            if sent_at >= self._stopped_at:
                self._resume(now)
        elif self._rate is not None and self._is_throttled:
            low, high = _CLOSE
            is_close = low < self._rate / self._limited_rate < high
            # Divide the growth per second by the number of requests per second.
            growth = (_SLOW_GROWTH if is_close else _FAST_GROWTH) / self._rate
            self._rate *= 2.0 if self._is_guess else 1 + min(1.0, growth)

    def _record_unexplained(self, sent_at: float, now: float, wait: float | None, in_flight: int) -> None:
        """Record an unexplained 429. `wait` is how many seconds the server asks to wait, if any."""
        if sent_at == self._probe_sent_at:
            self._probe_sent_at = None
        if sent_at < self._stopped_at:
            return
        if self.is_idle:
            self._since, sent = self._meter.recent(now)
            self._accepted = max(0, sent - in_flight - 1)
        self._stopped_at = now
        self._streak += 1
        if not wait:
            # `Retry-After: 0` is ignored. With jitter, processes that share a key don't all resume at the same time.
            wait = min(_FIRST_PAUSE * 2.0 ** min(self._streak - 1, 32), _MAX_PAUSE) * (0.75 + self._random() / 2)
            if self._rate is not None:
                # The rate is roughly known, so a wait of a few intervals is enough.
                wait = min(wait, 2.0 ** min(self._streak, 32) / self._rate)
        self._next_at = max(self._next_at, now + wait)

    def _resume(self, now: float) -> None:
        sustained = self._accepted / max(now - self._since, 1e-3)
        if self._rate is None:
            self._is_guess = self._accepted < _MIN_SAMPLE
            self._rate = max(sustained, 1.0 if self._is_guess else _MIN_RATE)
        else:
            self._is_guess = False
            self._limited_rate = self._rate
            # If fewer requests were sent than the rate allows, their average says nothing about the server.
            floor = max(sustained, self._rate / 2) if self._is_throttled else self._rate
            self._rate = max(_MIN_RATE, min(self._rate * _DECREASE, floor))
        self._streak = 0
        self._probe_sent_at = None
        self._since, self._accepted = now, 0
        self._next_at = now + 1 / self._rate
