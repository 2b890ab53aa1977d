"""Find out how a reported limit is renewed: all at once, or request by request.

- **Windows.** A fixed window renews the whole limit at its end. What remains (R) only falls, until it jumps.
- **Gradual.** A sliding window or a token bucket makes requests available one by one. R falls and rises all the time.

Both kinds need another arithmetic if several processes share the limit (`sharing`). The server doesn't say which kind
it has, so the kind is concluded from these signs:

- **Rises.** If an answer reports a higher R than was known when its request was sent, R rose in between. Two rises by
  at least half of the limit show windows. Several small rises within less than one window show a gradual limit.
- **The end of the reset.** With windows, all answers of a window report the same moment for the reset. With a gradual
  limit, this moment moves on while requests are sent. This is visible only if resets have fractions of a second.

If the limit has windows, the next renewal must be known well. Resets that are rounded to whole seconds don't show it: a
window of one second always reports a reset of 1, or always of 0. So the end of a window is expected one window after
its beginning, which lies between the last answer of the old window and the first one of the new window. These limits
get closer with each renewal that answers show. The length of a window is the longest reset, or one second more if
resets are rounded down to 0, but not longer than answers of two renewals allow.

Example: resets are rounded up, and windows of 1 s end at 10.0, 11.0 etc. An answer from 9.9 reports R = 2 and a reset
of 1, so the window may end at once. Too early is better than too late, because the next answer corrects it: the end is
expected at 9.92. An answer from 10.2 reports R = 90. So a window began between 9.9 and 10.2, and the next one is
expected at 10.92. But an answer from 10.95 reports R = 4: the window goes on, and its end is expected at 10.97. An
answer from 11.05 reports R = 95, so this window began between 10.95 and 11.05. The next one is expected at 11.97.
"""

import math
from typing import Final, Literal, NamedTuple, TypeAlias

from .gate import Known
from .headers import Report

__all__ = ["Anchor", "Kind", "Renewals"]

Kind: TypeAlias = Literal["windows", "gradual"]

_BIG: Final = 1 / 2
_SMALL: Final = 1 / 4
"""Fractions of the limit: rises of at least `_BIG` show windows, those below `_SMALL` show a gradual limit."""

_BIG_RISES_NEEDED: Final = 2
_SMALL_RISES_NEEDED: Final = 3
"""How many rises show the kind. A second small rise is enough if the length of the window is certain."""

_BIG_RISES_AGAINST: Final = 3
"""How many big rises in a row show that a limit was wrongly taken for a gradual one."""

_CLOSE: Final = 0.7
"""Two rises that are closer to each other than this fraction of a window can't both be renewals of windows."""

_TOLERANCE: Final = 0.05
"""A renewal is expected to be late by no more than this fraction of a window."""

_USED: Final = 0.05
"""The fraction of the limit that must have been used between two answers whose ends show windows."""

_LONG: Final = 10.0
"""Seconds. A rounded reset shows the end of a window of at least this length well enough."""

_FORGET: Final = 1.05
"""The factor by which a renewal raises the longest window that earlier answers allow, in case they misled."""

_EXTENSION: Final = 0.02
"""If the window has not ended when expected, its end is expected this fraction of a window later."""


class Anchor(NamedTuple):
    """An answer with which a later one is compared."""

    at: float
    """When the server processed the request."""
    resets_at: float
    """The end of the reset."""
    remaining: int
    """R."""


class Renewals:
    """What is known about the renewals of one limit. All times are those at which the server processed a request."""

    def __init__(self, limit: int = 0, kind: Kind | None = None) -> None:
        self.kind: Kind | None = kind
        """How the limit is renewed; None if unknown."""
        self.window = 0.0
        """The longest reset that was reported, in seconds."""
        self.is_exact = False
        """Whether any reset had a fraction of a second."""
        self.renewed_at = -math.inf
        """When an answer showed a renewal of a window the last time; -infinity if none did."""
        self._limit = limit
        self._at = -math.inf
        """When the server processed the last request that was answered."""
        self.resets_at = math.inf
        """The end of the reset of the last answer; infinite if it reported none."""
        self._is_rounded_down = False
        """Whether a reset of 0 was reported although requests were used."""

        self._rise_seen_at = -math.inf
        """When the answer with the last rise arrived."""
        self._big_rises = 0
        """The number of big rises in a row."""
        self._small_rises = 0
        """The number of small rises that were too close to each other for windows."""
        self._before_small_rise: float | None = None
        """When the last request before the last small rise was processed."""
        self._anchor: Anchor | None = None
        """An earlier answer with which the end of the reset is compared."""
        self._vote: Kind | None = None
        """The kind that the last comparison showed."""

        self._began_at = -math.inf
        """When the current window began, approximately."""
        self._before_renewal = -math.inf
        """When the last request before the last renewal was processed."""
        self._longest = math.inf
        """The longest window that answers of two renewals allow, in seconds."""
        self._expected = 0
        """The number of renewals in a row that were as expected."""

    @property
    def period(self) -> float:
        """The length of a window in seconds, at least approximately."""
        if self.is_exact:
            return self.window or 1.0
        return max(1e-3, min(self.window + 1 if self._is_rounded_down else self.window or 1.0, self._longest))

    @property
    def ends_at(self) -> float:
        """When the current window ends, at least approximately."""
        is_reported = self.is_exact and self.resets_at < math.inf
        return self.resets_at if is_reported else self._began_at + self.period

    @property
    def is_end_sure(self) -> bool:
        """Whether the window ends at `ends_at`, as the last ones did."""
        return self.is_exact or self._expected >= 2

    def conclude(self, kind: Kind) -> None:
        """Set the kind, unless it is known already."""
        self.kind = self.kind or kind

    def answered(
        self,
        at: float,
        report: Report,
        *,
        sent_at: float,
        now: float,
        known: Known,
        round_trip: float,
        unexplained: int | None = None,
    ) -> bool:
        """Record an answer, and return whether it shows a renewal of a window.

        The request was processed at `at`, which is later than that of all earlier answers. `known` tells which R was
        known when the request was sent. If all requests are counted, `unexplained` is how many more remain than a
        gradual limit explains.
        """
        reset = report.window or report.reset
        self.is_exact |= report.exact
        if reset is not None:
            self.window = max(self.window, reset)
            self._is_rounded_down |= report.reset == 0 and report.remaining < self._limit
        is_renewed = False
        if unexplained is not None:
            if unexplained >= _BIG * self._limit and sent_at >= self._rise_seen_at:
                self._rise_seen_at = now
                self._learn_kind(unexplained, at, self._at)
                is_renewed = self.kind == "windows"
                if is_renewed:
                    self._renew(at, self._at, is_big=True)
        elif known.remaining is not None and report.remaining > known.remaining and sent_at >= self._rise_seen_at:
            self._rise_seen_at = now
            self._learn_kind(report.remaining - known.remaining, at, known.at)
            is_renewed = self.kind != "gradual"
            if is_renewed:
                self._renew(at, known.at, is_big=report.remaining - known.remaining >= _BIG * self._limit)
        elif self.kind != "gradual" and not self.is_exact:
            self._expect_end(at, now, report.reset)
        if report.reset is not None and self.is_exact and unexplained is None:
            self._compare_ends(Anchor(at, now + report.reset, report.remaining), round_trip)
        self.resets_at = math.inf if report.reset is None else now + report.reset
        self._at = at
        return is_renewed

    def _expect_end(self, at: float, now: float, reset: float | None) -> None:
        """Correct the expected end of the window, if an answer shows that it has not ended yet, or when it ends."""
        if reset is not None and (self._began_at == -math.inf or self.window >= _LONG):
            earliest, latest = now + reset - 1 - self.period, now + reset + 1 - self.period
            self._began_at = min(latest, max(earliest, self._began_at))
        if at >= self.ends_at:
            self._expected = 0
            self._began_at = at - (1 - _EXTENSION) * self.period

    def _learn_kind(self, rise: int, at: float, before: float) -> None:
        """Learn from a rise of R between `before` and `at`."""
        if rise >= _BIG * self._limit:
            self._big_rises += 1
            self._small_rises, self._before_small_rise = 0, None
            if self.kind is None and self._big_rises >= _BIG_RISES_NEEDED:
                self.kind = "windows"
            elif self.kind == "gradual" and self._big_rises >= _BIG_RISES_AGAINST:
                self.kind, self._big_rises = None, 0
            return
        if self.kind != "windows":
            self._big_rises = 0
        if self._before_small_rise is not None and rise < _SMALL * self._limit:
            apart = at - self._before_small_rise
            if apart < _CLOSE * (self.window if self.is_exact else self.window - 1):
                self._small_rises = _SMALL_RISES_NEEDED
            elif apart < _CLOSE * (self.window if self.is_exact else max(self.window, 1.0)):
                self._small_rises += 1
            elif self._small_rises:
                self._small_rises -= 1
            if self._small_rises >= _SMALL_RISES_NEEDED:
                self.kind = "gradual"
        self._before_small_rise = before

    def _renew(self, at: float, before: float, *, is_big: bool) -> None:
        """Record that a window ended between `before` and `at`."""
        if self.renewed_at > -math.inf and is_big:
            self._longest = min(self._longest * _FORGET, at - self._before_renewal)
        expected_at = at if self._began_at == -math.inf else self._began_at + self.period
        is_expected = self._at <= expected_at + _TOLERANCE * self.period
        self._expected = self._expected + 1 if is_expected else 0
        self._began_at = max(self._at, min(expected_at, at))
        self._before_renewal = before
        self.renewed_at = at

    def _compare_ends(self, latest: Anchor, round_trip: float) -> None:
        """Compare the end of the reset with an earlier one, but not with one of another window."""
        if self._anchor is None:
            self._anchor = latest
            return
        passed, moved = latest.at - self._anchor.at, latest.resets_at - self._anchor.resets_at
        if passed < max(0.1 * self.window, 4 * round_trip, 0.02):
            return  # the varying latency would decide
        used = self._anchor.remaining - latest.remaining
        self._anchor = latest
        if max(passed, moved) > self.window / 2:
            return
        if abs(moved) <= 0.2 * passed + 0.001:
            # If nothing is used, the end does not move with a token bucket either.
            vote: Kind | None = "windows" if used >= _USED * self._limit else None
        else:
            vote = "gradual" if 0.3 * passed <= moved <= 2 * passed else None
        if vote is not None:
            if vote == self._vote:
                self.kind = vote
            self._vote = vote
