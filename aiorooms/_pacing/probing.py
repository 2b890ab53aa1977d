"""The rate that a server bears which tells no figures, found from its refusals alone. Pure: times are handed in.

- **At the first refusal** everyone stops, for as long as the server asks or else for a moment that is doubled with each
  further refusal. Then a single request is sent to see (a *probe*). When one gets through, the number of requests that
  got through since the beginning, divided by the time, is a rate that the server has borne; on with that.
- **From then on** requests are spread evenly. While there is more to send than the rate lets through, the rate grows,
  gently, until the next refusal; then it goes back to what got through on average since the last one, and by a tenth
  at least. So it stays close to what the server bears, and finds out when it bears more.
- **Refusals of requests that were sent before everyone stopped** are of the same episode and tell nothing new.
"""

import math
from collections.abc import Callable
from typing import Final

__all__ = ["Refusals"]

_FIRST_PAUSE: Final = 0.2
_LONGEST_PAUSE: Final = 8.0

_QUICK_GROWTH: Final = 0.10
_GENTLE_GROWTH: Final = 0.01
"""A second; far from the rate that was refused last, and near to it."""

_NEAR: Final = (0.85, 1.15)
"""Which parts of the rate that was refused last are near to it."""

_STEP_BACK: Final = 0.9
_LEAST_RATE: Final = 0.01
"""Requests per second; no rate is less."""


_FEW: Final = 10
"""Requests that got through; from fewer no rate can be told, and the first guess is grown quickly."""

_IDLE: Final = 2.0
"""Seconds between two requests; if nobody had to wait for them, they don't count for an average."""


class Refusals:
    """What may be sent to a server that refuses without figures. `random` is between 0 and 1."""

    def __init__(self, random: Callable[[], float]) -> None:
        self.rate: float | None = None
        """Requests per second; None as long as nothing was refused."""
        self._random = random
        self._refused_rate = math.inf
        """The rate at which a request was refused last; infinite if none was since there is a rate."""
        self._is_guess = False
        """Whether the rate comes from few requests."""
        self._next_at = 0.0
        self._stopped_at = -math.inf
        """When the last episode of refusals began or was gone on with."""
        self._streak = 0
        """Refusals in the present episode, probes and all; 0 outside of one."""
        self._probe_sent_at: float | None = None
        self._since = 0.0
        self._granted = 0
        """Requests that got through since `_since`."""
        self._sent_at = 0.0
        """When the last request was sent."""
        self._is_bound = False
        """Whether it had to wait for the rate."""

    @property
    def is_known(self) -> bool:
        """Whether the server has ever refused without figures."""
        return self.rate is not None or self._streak > 0

    def may_send_at(self) -> float:
        """When the next request may be sent; infinite while a probe has to be answered first."""
        return math.inf if self._probe_sent_at is not None else self._next_at

    def sent(self, now: float) -> None:
        """Take in that a request is sent."""
        if self._streak:
            self._probe_sent_at = now
        elif self.rate is not None:
            interval = 1 / self.rate
            self._is_bound = now < self._next_at + interval
            if not self._is_bound and now - self._sent_at > _IDLE:
                self._since += now - self._sent_at
            # A timer that was late is made up for, but not more than that.
            self._next_at = max(self._next_at, now - interval) + interval
        self._sent_at = now

    def granted(self, sent_at: float, now: float) -> None:
        """Take in that a request got through."""
        self._granted += 1
        if self._streak:
            if sent_at < self._stopped_at:
                return
            self._resume(now)
        elif self.rate is not None and self._is_bound:
            low, high = _NEAR
            is_near = low < self.rate / self._refused_rate < high
            # So much at each request makes so much a second.
            growth = (_GENTLE_GROWTH if is_near else _QUICK_GROWTH) / self.rate
            self.rate *= 2.0 if self._is_guess else 1 + min(1.0, growth)

    def lost(self, sent_at: float) -> None:
        """Take in that an answer did not come."""
        if sent_at == self._probe_sent_at:
            self._probe_sent_at = None

    def refused(self, sent_at: float, now: float, wait: float | None, lately: tuple[float, int]) -> None:
        """Take in a refusal; `wait`: the seconds that the server asks for, if it does.

        `lately` is since when requests were counted, and how many of them were not refused.
        """
        self.lost(sent_at)
        if sent_at < self._stopped_at:
            return
        if not self.is_known:
            self._since, self._granted = lately
        self._stopped_at = now
        self._streak += 1
        if not wait:
            # Who asks for no wait at all and refuses again is not taken by his word.
            # And not all processes that share a key should come back at the same moment.
            wait = min(_FIRST_PAUSE * 2.0 ** min(self._streak - 1, 32), _LONGEST_PAUSE) * (0.75 + self._random() / 2)
            if self.rate is not None:
                # The rate was right but for a little.
                wait = min(wait, 2.0 ** min(self._streak, 32) / self.rate)
        self._next_at = max(self._next_at, now + wait)

    def _resume(self, now: float) -> None:
        borne = self._granted / max(now - self._since, 1e-3)
        if self.rate is None:
            self._is_guess = self._granted < _FEW
            self.rate = max(borne, 1.0 if self._is_guess else _LEAST_RATE)
        else:
            self._is_guess = False
            self._refused_rate = self.rate
            # Who sent less than the rate allows can't tell by what got through.
            floor = max(borne, self.rate / 2) if self._is_bound else self.rate
            self.rate = max(_LEAST_RATE, min(self.rate * _STEP_BACK, floor))
        self._streak = 0
        self._probe_sent_at = None
        self._since, self._granted = now, 0
        self._next_at = now + 1 / self.rate
