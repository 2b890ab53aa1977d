"""What the limits that the server reports let through. Pure: times are handed in.

Each answer reports how many requests remain (R) and when more will (the reset). From that two things are kept:

- **What may be in flight.** An answer reports how things stood when the server took *that* request, and whatever is in
  flight may come on top of it. So no more is in flight than the smallest R reported since the last renewal. Then all of
  it fits, whether R counted it or not, and late or mixed-up answers do no harm.
- **When R grows again.** Until then a client that has used it up waits. The reset says when that is, to within a second
  if it comes without a fraction. Then the earliest moment that any answer since the last renewal named is taken: for
  a reset that is rounded up this is right to within the time between two answers. If the server answers 429 to what is
  sent then, the reset was rounded down, and from then on a second is added.

At that moment one request, the *probe*, is sent first, unless the last two probes found at least half of the limit:
then the whole limit is assumed to be there. A sliding window and a token bucket give back bit by bit; they are
recognised by what the probe finds, R having grown by little. If such a server reports whole seconds only, the next
request is sent a window after the oldest of the last ones: then at least that one has been given back.

**A renewal** is certain if an answer reports more than was known when its request was sent. (More than is known when
the answer comes proves nothing: answers overtake each other.) So each permit holds what was known when it was given.
What was sent before a renewal was seen may belong to either window: it counts if it can only be the new one.

**Others** may spend from the same limit; `share` says which part of R is ours.

Example: a limit of 100 per 10 s. An answer reports R = 40 and a reset in 4 s while 10 requests are in flight: 30 more
may be sent. Then R = 0 is reported, and nothing is sent until the reset. At that moment one request goes out; its
answer reports R = 99. After two such windows all 100 go out at the reset, without a probe.
"""

import math
from collections import deque
from typing import Final

from .gate import Gate, Known, Permit
from .headers import RateLimitInfo, Report
from .share import Share

__all__ = ["Quota"]

_STUCK: Final = 1.0
"""Seconds after which a probe no longer waits for what is in flight."""

_FIRST_BACKOFF: Final = 0.01
_LONGEST_BACKOFF: Final = 5.0
"""Minimum wait in seconds after the first of several 429s in a row, doubled with each, and its maximum; but never more
than half of a window, so that one 429 does not cost the beginning of the next window too."""


_ENOUGH_WHOLES: Final = 2

_FIRST_TRUST: Final = 8
_LONGEST_TRUST: Final = 256
"""Windows after which it is tried again whether resets are rounded down; doubled each time."""

_MOST_REMEMBERED: Final = 10_000
"""Times of requests that are kept, however high the limit is."""


class Quota(Gate):
    """What may be sent, learned from the figures in answers. Until the first of them nothing is known."""

    def __init__(self) -> None:
        self.limit: int | None = None
        """Requests per window, as reported last; None while nothing is known."""
        self.remaining = 0
        """What may be in flight, by all processes together: what was reported last, or is assumed."""
        self.window = 0.0
        """Seconds; the longest time to a reset that was reported for this limit."""
        self.renews_at = math.inf
        """When to count on more; infinite while an answer has to come first."""
        self._share = Share()
        self._lowest = 0
        """The smallest R since the last renewal."""
        self._renewals = 0
        """How many there were so far, seen or assumed."""
        self._window_began = 0.0
        self._assumed = False
        """A renewal was assumed, and no answer has shown yet whether it has come."""

        self._reset_at = math.inf
        """When this window ends, as reported, not corrected: the earliest that was reported, unless it is exact."""
        self._last_reset_at = math.inf
        """What the latest answer reported."""
        self._exact = False
        """Whether a reset ever came with a fraction."""
        self._rounded_down = False
        """Whether a reset was found to be too early."""
        self._windows_late = 0
        """Windows for which that has been taken for true by now, ..."""
        self._windows_until_doubt = _FIRST_TRUST
        """... and after how many it will be tried again."""

        self._wholes = 0
        """Probes in a row that found a whole allowance; less than 0 if that was assumed and was wrong."""
        self._trickles = False
        """Whether the last probe found that R grows by little."""
        self._granted: deque[float] = deque(maxlen=1)
        """When the last requests got through, at most as many as the limit; kept where resets are not exact."""

        self._limited_streak = 0
        """In a row."""
        self._limited_at = -math.inf
        """When the last of them came."""

    @property
    def is_known(self) -> bool:
        """Whether any answer has reported anything."""
        return self.limit is not None

    @property
    def is_idle(self) -> bool:
        """Whether no answer has reported anything."""
        return self.limit is None

    @property
    def rate(self) -> float | None:
        """Requests per second that are let through for long; None if no reset was reported."""
        return self.limit / self.window if self.limit is not None and self.window > 0 else None

    @property
    def _renews_whole(self) -> bool:
        return self._wholes >= _ENOUGH_WHOLES

    def may_send_at(self, now: float, in_flight: int) -> float:
        """When the next request may be sent. Once it is time for that, a renewal is assumed."""
        if self.limit is None or self._free(now, in_flight) > 0:
            return now
        if now >= self._ask_again_at(in_flight):
            self._assume_renewal(now, in_flight)
            if self._free(now, in_flight) > 0:
                return now
        return max(self._ask_again_at(in_flight), math.nextafter(now, math.inf))

    def blocked_until(self, now: float) -> float:
        """The renewal, if nothing may be sent even if nothing were in flight."""
        exhausted = self.limit is not None and self._free(now, 0) <= 0 and now < self.renews_at < math.inf
        return self.renews_at if exhausted else -math.inf

    def sent(self, permit: Permit, in_flight: int) -> None:
        """Write on the permit what is known."""
        permit.known = Known(self._lowest, self._renewals)

    def answered(self, permit: Permit, info: RateLimitInfo, now: float, in_flight: int) -> None:
        """Record what an answer reports."""
        # Figures that come with 429s only don't say how things stand otherwise.
        if info.report is not None and (self.is_known or not info.rate_limited):
            self._learn(permit, now, info.report, rate_limited=info.rate_limited)
        else:
            self.lost(permit, now, in_flight)

    def lost(self, permit: Permit, now: float, in_flight: int) -> None:
        """Record that an answer did not come, or reported nothing."""
        if self.limit is not None and self.renews_at == math.inf and in_flight == 0:
            # Nothing is left that could report more.
            self.renews_at = now + self.window

    def _ask_again_at(self, in_flight: int) -> float:
        return self.renews_at if self._renews_whole or in_flight == 0 else self.renews_at + _STUCK

    def _learn(self, permit: Permit, now: float, report: Report, *, rate_limited: bool) -> None:
        # Without a word about the limit it is at least as high as what remains and the request itself.
        limit = report.limit or max(self.limit or 1, report.remaining + 1)
        if limit != self.limit:
            if permit.known.renewals != self._renewals:
                return  # it was sent before the present limit was reported
            permit = self._take_limit(permit, now, report, limit)
        self._exact |= report.exact
        self.window = max(self.window, report.reset or 0.0)
        if not rate_limited:
            self._limited_streak = 0
            if not self._exact:
                self._granted.append(now)
        elif permit.sent_at >= self._limited_at:
            # Those that were sent before are of the same mishap.
            self._limited_streak += 1
            self._limited_at = now
        more = report.remaining > permit.known.lowest or (permit.known.lowest == 0 and not rate_limited)
        reset_at = now + (report.reset or 0.0)
        # What was sent just before a renewal was assumed can show as well that it has come.
        shows_it = self._assumed and more and not rate_limited and permit.known.renewals == self._renewals - 1
        if permit.known.renewals == self._renewals or shows_it:
            if more:
                self._renew(permit, report)
                self._reset_at = reset_at
            else:
                self._spend(permit, report, rate_limited=rate_limited)
                self._reset_at = reset_at if self._exact else min(self._reset_at, reset_at)
        elif more or rate_limited or self._trickles:
            self._spend(permit, report, rate_limited=rate_limited)
            self._reset_at = min(self._reset_at, reset_at)
        elif self.renews_at < math.inf:
            return  # nobody knows which window it belongs to
        else:
            self._reset_at = reset_at
        self._last_reset_at = reset_at
        self._set_renewal(now, reset_at, rate_limited=rate_limited)

    def _free(self, now: float, in_flight: int) -> int:
        if self._assumed and not self._renews_whole:
            return self.remaining - in_flight  # a probe
        passed = (now - self._window_began) / max(self.window, 1e-3)
        ours = self._share.of(
            self.remaining,
            lowest=self._lowest,
            limit=self.limit or 0,
            window_left=None if self._trickles else max(0.0, 1 - passed),
        )
        free = math.floor(ours + 0.5) - in_flight
        # Low usage so far says nothing about our share. And if there is no moment to wait for, a request has to ask.
        can_ask = in_flight == 0 and (self.remaining > 1 or self.renews_at == math.inf)
        return 1 if free <= 0 and can_ask else free

    def _take_limit(self, permit: Permit, now: float, report: Report, limit: int) -> Permit:
        """Begin anew with another limit; return the permit that the answer would have had if it had been known before.

        What was learned of rounding and of the kind of limiter holds on.
        """
        self.limit = limit
        self.window = 0.0
        self._share = Share()
        self._granted = deque(maxlen=min(limit, _MOST_REMEMBERED))
        self._renewals += 1
        self._begin_window(permit, report.remaining + 1)
        return Permit(now, Known(report.remaining + 1, self._renewals))

    def _assume_renewal(self, now: float, in_flight: int) -> None:
        self.remaining = max((self.limit or 1) if self._renews_whole else 1, in_flight + 1)
        self.renews_at = math.inf
        self._renewals += 1
        self._assumed = True
        self._window_began = now

    def _renew(self, permit: Permit, report: Report) -> None:
        """Record that there is more than there was."""
        limit = self.limit or 1
        little = limit / 4
        if self._assumed and not self._renews_whole and self._lowest < little:
            self._wholes = self._wholes + 1 if report.remaining >= limit // 2 else min(self._wholes, 0)
            self._trickles = report.remaining < little
        self._renewals += 1
        # Others may have spent some of it before us.
        self._begin_window(permit, limit if self._renews_whole else report.remaining + 1)
        self._lowest = self.remaining = report.remaining
        self._share.spent_by_us()
        self._doubt_rounding()

    def _doubt_rounding(self) -> None:
        """Try after some windows whether a reset is still too early: a 429 may have had another reason."""
        if self._rounded_down and not self._exact:
            self._windows_late += 1
            if self._windows_late >= self._windows_until_doubt:
                self._rounded_down = False
                self._windows_late = 0
                self._windows_until_doubt = min(2 * self._windows_until_doubt, _LONGEST_TRUST)
                self._wholes = 0  # so that one request is sent to see, and not all

    def _begin_window(self, permit: Permit, remaining: int) -> None:
        self._share.begin_window(self._lowest, remaining)
        if not self._assumed:
            self._window_began = permit.sent_at
        self._assumed = False
        self._lowest = self.remaining = remaining
        self._reset_at = math.inf

    def _spend(self, permit: Permit, report: Report, *, rate_limited: bool) -> None:
        """Record that there is no more than there was."""
        if not rate_limited:
            self._share.spent_by_us()
        elif self._assumed:
            # If we came when the server had said, that was too early.
            reported_at = self._last_reset_at if self._trickles else self._reset_at
            self._rounded_down |= not self._exact and permit.sent_at >= reported_at
            self._trickles = False
            self._wholes = -1 if self._renews_whole else min(self._wholes, 0)
        self._assumed = False
        self._lowest = self.remaining = min(self._lowest, report.remaining)

    def _set_renewal(self, now: float, reset_at: float, *, rate_limited: bool) -> None:
        late = 1.0 if self._rounded_down and not self._exact else 0.0
        if rate_limited and self._reset_at + late <= now:
            # That moment has passed, and it was the wrong one.
            self._reset_at = reset_at
        self.renews_at = self._reset_at + late
        if self._trickles and not self._exact and len(self._granted) == self._granted.maxlen:
            self.renews_at = min(self.renews_at, max(now, self._granted[0] + self.window + late))
        if self._limited_streak:
            backoff = min(_FIRST_BACKOFF * 2.0 ** min(self._limited_streak - 1, 32), _LONGEST_BACKOFF)
            if self.window > 0:
                backoff = min(backoff, self.window / 2)
            self.renews_at = max(self.renews_at, now + backoff)
