"""Use unexplained 429s to find the rate that the server sustains.

A 429 is *explained* if answers other than 429s report a limit, and the 429 itself says that the limit is used up.
`Quota` handles such a 429. All other 429s are handled here. Some are *strays*: a gateway answers one request in a
hundred with 429, whatever the rate. They delay only their own requests. So the first question is whether 429s depend
on our rate:

- **Suspicion.** Each 429 adds 1 to the suspicion, and each accepted request subtracts a little more than strays would
  add on average. Calls are stopped when the suspicion exceeds a threshold. How frequent strays are is measured when no
  limit can be the cause: over the first 60 answers, and while the rate is below a twentieth of the rate that once went
  well. If the 429s contradict what the server reports, as more requests remain, only a majority of 429s counts.
- **Repetition.** If a request is sent after a 429 and is answered 429 too, and none was accepted in between, all calls
  are stopped, unless strays are frequent. The first 429 of a caller that sends one request after another stops it too,
  so that it does not use up its attempts. For the same reason, a stop after repetitions is longer.
- **The first stop** lasts for as long as the server asks, or for about 0.2 s if it does not ask for a wait. Then a
  single request is sent, the *probe*. If the probe is answered 429 too, all calls stop again, each time for twice as
  long, up to about 8 s. When a probe is accepted, sending resumes. The first rate is the number of requests accepted in
  the last few seconds, divided by the time since the first of them.
- **After that**, requests are spread evenly. As long as the rate delays requests, it is raised slowly. At the next
  stop, it is lowered by a fifth.
- **A 429 of a request that was sent before the stop** has the same cause as the stop, and is ignored.
- **A client that starts while the limit is used up** gets 429s first. They look unexplained, because no accepted answer
  has reported the limit yet. If all of them report the same limit as used up, and an accepted answer reports it later,
  it explains them, and what was learned from them is forgotten.

Other processes may use the same limit. All of them are stopped by the same 429s, and then lower their rates by the same
factor, but the lower rates grow by a larger factor. So the rates become equal, no matter which process came first.

Example: 80 requests are accepted in 2 s, then several in a row are answered 429. All calls stop for 0.2 s. A probe is
accepted, and sending resumes at 81 / 2.2 = 37 requests per second. The rate grows by 4 per second. At 50 requests per
second calls are stopped again, and the rate falls to 40.

Example: two processes send 90 and 10 requests per second, and the server sustains 100. They are stopped, and resume
with 72 and 8. Until the next stop, they grow to 88 and 14. After ten stops, they have reached 66 and 36.
"""

import math
from collections.abc import Callable
from typing import Final

from .gate import Gate, Permit
from .headers import RateLimitInfo, Report
from .meter import Meter

__all__ = ["Probing"]

_FIRST_PAUSE: Final = 0.2
_MAX_PAUSE: Final = 8.0
"""Duration of the first and of the longest stop in seconds, if the server does not ask for a wait.

Each stop is randomly made up to 25 % shorter or longer.
"""

_GROWTH: Final = 0.7
"""The rate grows by this number times its square root per second. So it grows by 7 % per second from 100 on."""

_GUESS_GROWTH: Final = 1.0
"""A rate that is only a guess grows by this number for each accepted request."""

_DECREASE: Final = 0.8
_COMMON_GROWTH: Final = 0.15
_COMMON_FIRST_GROWTH: Final = 1.4
_COMMON_DECREASE: Final = 0.93
"""The same numbers if the gate is common to all processes. There is only one rate, so it changes less.

`_COMMON_FIRST_GROWTH` applies until the rate is lowered for the first time, because the first rate is too low: it is
the average of a burst and a stop.
"""

_MIN_RATE: Final = 0.01
"""Requests per second."""

_MIN_SAMPLE: Final = 10
"""Minimum number of accepted requests for measuring a rate. A rate from fewer requests is a guess, and grows faster."""

_IDLE: Final = 2.0
"""Seconds. A longer gap between two requests does not count in the average rate, unless this gate caused the gap."""

_SUSPICIOUS: Final = 2.0
_PER_STRAY: Final = 60.0
"""The suspicion that stops calls, and how much more it is if all 429s are strays: 6 more for 10 % of strays."""

_CLEARED: Final = 0.05
"""What an accepted request subtracts from the suspicion if there are no strays. If there are, twice their odds more."""

_MAJORITY: Final = 0.7
_MAJORITY_SUSPICIOUS: Final = 6.0
"""The same two numbers for 429s that are probably strays: the rate is unknown, or the server reports the contrary."""

_UNLIKELY: Final = 0.02
"""If strays repeat themselves with a smaller probability, they are not strays."""

_FIRST_ANSWERS: Final = 60
"""The number of answers over which strays are measured at first.

If the second half has many more 429s, the first half counts, because a used up limit shows only in the second one.
Before a third half has been answered, only a majority of 429s stops calls.
"""

_MAX_STRAYS: Final = 0.5
_MEMORY: Final = 100
"""The number of answers over which fractions of 429s are averaged later."""

_MARGIN: Final = 0.03
"""How much more the fraction of strays may be than the fraction of 429s lately, because that varies."""

_LOW: Final = 1 / 20
"""The fraction of the peak rate below which 429s are taken for strays."""

_MAX_REPORTED: Final = 200

_FORGET: Final = 0.9
"""The factor by which the peak rate is lowered at each stop."""


class Probing(Gate):
    """After the first suspicious 429s, keeps to the rate that the server sustains.

    `meter` counts all requests, so it shows how many were sent before. `random` returns numbers from 0 to 1.
    `is_common` means that this gate is common to several processes (`shared`).
    """

    def __init__(self, meter: Meter, random: Callable[[], float], *, is_common: bool = False) -> None:
        self._is_common = is_common
        self._meter = meter
        self._random = random
        self._rate: float | None = None
        self._is_guess = False
        """Whether the rate was measured from too few requests."""
        self._next_at = 0.0
        self._stopped_at = -math.inf
        """When calls were stopped the last time."""
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
        self._reported: set[tuple[str, str]] = set()
        """Operations, and the names of the limits that accepted answers to them have reported. At most `_MAX_REPORTED`.

        If only 429s report a limit, nobody knows how many requests remain before the next one.
        """
        self._premature: set[str] = set()
        """The name of the limit that all 429s so far reported as used up, if no accepted answer has reported it yet."""
        self._remaining = 0
        """What the last accepted answer reported."""

        self._limited_at = math.inf
        """When the last 429 arrived; infinite if a request was accepted since."""
        self._repetitions = 0
        """The number of requests since then that were sent after a 429 and were answered 429 too."""
        self._suspicion = 0.0
        self._majority_suspicion = 0.0
        """The same, but growing only if most answers are 429s."""
        self._strays = 0.0
        """The fraction of requests that are answered 429 whatever the rate."""
        self._limited = 0.0
        """The fraction of 429s lately. Before the first rate is known, the fraction in the current half."""
        self._has_begun = False
        """Whether an unexplained 429 has arrived."""
        self._answers = 0
        """The number of answers before the first rate was known."""
        self._first_half = 0.0
        """The fraction of 429s among the first half of the first answers."""
        self._peak = 0.0
        """The highest rate after a stop, slowly forgotten. The first rate doesn't count, because it may be a burst."""

    @property
    def is_idle(self) -> bool:
        """Whether no unexplained 429 has arrived yet."""
        return not self._has_begun

    @property
    def rate(self) -> float | None:
        """The sustained rate in requests per second; None until a probe was accepted."""
        return self._rate

    @property
    def is_stopped(self) -> bool:
        """Whether calls are stopped, so that the next request is a probe."""
        return self._streak > 0

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
            if self._premature and not self._premature.isdisjoint(one.name for one in info.reports):
                self._forget()
            if report is not None:
                self._remaining = report.remaining
                if len(self._reported) < _MAX_REPORTED:
                    self._reported.update((permit.operation, one.name) for one in info.reports)
            self._record_accepted(permit.sent_at, now)
        elif report is None or report.remaining > 0 or (permit.operation, report.name) not in self._reported:
            if not self._reported and not self._has_begun and report is not None and report.remaining == 0:
                self._premature = {report.name}
            elif report is None or report.remaining > 0 or report.name not in self._premature:
                self._premature = set()
            self._record_unexplained(permit.sent_at, info, now, in_flight)
        else:
            self.lost(permit, now, in_flight)  # the reported limit explains this 429: `Quota` handles it

    def lost(self, permit: Permit, now: float, in_flight: int) -> None:
        """Record that no answer arrived."""
        if permit.sent_at == self._probe_sent_at:
            self._probe_sent_at = None

    def _forget(self) -> None:
        """Forget all 429s, because a reported limit explains them."""
        self._premature = set()
        self._has_begun = False
        self._rate, self._streak, self._probe_sent_at = None, 0, None
        self._next_at = self._suspicion = self._majority_suspicion = 0.0
        self._limited_at, self._repetitions = math.inf, 0
        self._strays = self._limited = 0.0
        self._answers = 0

    def _record_accepted(self, sent_at: float, now: float) -> None:
        if self.is_idle:
            return
        self._accepted += 1
        self._limited_at = math.inf
        self._repetitions = 0
        odds = self._strays / (1 - self._strays)
        self._suspicion = max(0.0, self._suspicion - _CLEARED - 2 * odds)
        self._majority_suspicion = max(0.0, self._majority_suspicion - _MAJORITY)
        self._measure_strays(0, sent_at)
        if self._streak:
            if sent_at >= self._stopped_at:
                self._resume(now)
        elif self._rate is not None and self._is_throttled:
            growth = _GUESS_GROWTH if self._is_guess else self._growth / math.sqrt(self._rate)
            self._rate += min(self._rate, growth)

    @property
    def _growth(self) -> float:
        if not self._is_common:
            return _GROWTH
        return _COMMON_GROWTH if self._peak else _COMMON_FIRST_GROWTH

    def _record_unexplained(self, sent_at: float, info: RateLimitInfo, now: float, in_flight: int) -> None:
        if sent_at == self._probe_sent_at:
            self._probe_sent_at = None
        if sent_at < self._stopped_at:
            return
        self._repetitions += sent_at >= self._limited_at
        self._limited_at = now
        if not self._has_begun:
            self._has_begun = True
            self._since, sent = self._meter.recent(now)
            self._accepted = max(0, sent - in_flight - 1)
            self._answers = min(self._accepted, _FIRST_ANSWERS)
        self._suspicion += 1
        self._majority_suspicion += 1
        self._measure_strays(1, sent_at)
        report = info.report
        asks_for_pause = info.retry_after or (report is not None and report.remaining == 0 and report.reset)
        is_alone = self._rate is None and not in_flight
        if not self._streak and not asks_for_pause and not is_alone and self._is_tolerable(report):
            return
        self._stopped_at = now
        self._streak = self._streak + 1 if self._streak else 1 + self._repetitions
        self._next_at = max(self._next_at, now + self._pause(info.retry_after, report))

    def _is_tolerable(self, report: Report | None) -> bool:
        """Whether the 429s so far are probably strays. `report` is the report of the last one."""
        if self._majority_suspicion >= _MAJORITY_SUSPICIOUS:
            return False
        if self._repetitions and self._strays**self._repetitions < _UNLIKELY:
            return False
        if self._reported and (self._remaining if report is None else report.remaining) > 0:
            return True
        if self._rate is None and self._answers < 1.5 * _FIRST_ANSWERS:
            return True
        return self._suspicion < _SUSPICIOUS + _PER_STRAY * self._strays

    def _measure_strays(self, limited: int, sent_at: float) -> None:
        if self._streak or sent_at < self._stopped_at:
            return
        if self._rate is None:
            self._answers += 1
            self._limited += limited * 2 / _FIRST_ANSWERS
            if self._answers == _FIRST_ANSWERS // 2:
                self._first_half, self._limited = self._limited, 0.0
            elif self._answers == _FIRST_ANSWERS:
                both = (self._first_half + self._limited) / 2
                # Two standard deviations of the difference, if 429s come at random.
                usual = 2 * math.sqrt(both * (1 - both) * 4 / _FIRST_ANSWERS)
                is_used_up = self._limited > self._first_half + usual
                self._strays = min(_MAX_STRAYS, self._first_half if is_used_up else both)
                self._suspicion = 0.0
            return
        self._limited += (limited - self._limited) / _MEMORY
        if self._rate < _LOW * self._peak:
            self._strays = min(_MAX_STRAYS, self._strays + (limited - self._strays) / _MEMORY)
        else:
            self._strays = min(self._strays, self._limited + _MARGIN)

    def _pause(self, retry_after: float | None, report: Report | None) -> float:
        """Return how long calls are stopped, in seconds."""
        if retry_after:
            return retry_after
        if report is not None and report.remaining == 0 and report.reset:
            # With rounded resets, calls would resume at the same moment of each window, when it is used up already.
            return report.reset if report.exact else report.reset - self._random() * min(1.0, report.reset)
        # `Retry-After: 0` is ignored. With jitter, processes that share a key don't all resume at the same time.
        pause = min(_FIRST_PAUSE * 2.0 ** min(self._streak - 1, 32), _MAX_PAUSE) * (0.75 + self._random() / 2)
        # If the rate is roughly known, a pause of a few intervals is enough.
        return pause if self._rate is None else min(pause, 2.0 ** min(self._streak, 32) / self._rate)

    def _resume(self, now: float) -> None:
        sustained = self._accepted / max(now - self._since, 1e-3)
        if self._rate is None:
            self._is_guess = self._accepted < _MIN_SAMPLE
            self._rate = max(sustained, 1.0 if self._is_guess else _MIN_RATE)
            self._limited = self._strays
        else:
            self._is_guess = False
            # If fewer requests were sent than the rate allows, their average says nothing about the server.
            most = max(2 * sustained, self._rate / 2) if self._is_throttled else self._rate
            self._rate = max(_MIN_RATE, (_COMMON_DECREASE if self._is_common else _DECREASE) * min(self._rate, most))
            self._peak = max(_FORGET * self._peak, self._rate)
        self._streak = 0
        self._suspicion = self._majority_suspicion = 0.0
        self._probe_sent_at = None
        self._since, self._accepted = now, 0
        self._next_at = now + 1 / self._rate
