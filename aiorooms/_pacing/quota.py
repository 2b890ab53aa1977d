"""How many requests may be in flight under the limit that the server reports. Pure: the time is an argument.

Each answer reports how many requests remain (R) and when more become available (the reset). From these values the quota
derives two things:

- **How many may be in flight.** An answer reports R as it was when the server processed *that* request. The server may
  or may not have counted the requests in flight. So the number in flight never exceeds the smallest R reported since
  the last renewal. Then no request exceeds the limit in either case, and late or reordered answers do no harm.
- **When R grows again.** A client that has used up R waits for this moment, the *renewal*. The reset says when it is,
  but only to within a second if it has no fraction. In that case the quota uses the earliest moment that any answer has
  reported since the last renewal. If resets are rounded up, that moment is late by at most the time between two
  answers. If the server answers 429 to a request sent at that moment, the reset was rounded down, and from then on the
  quota adds a second.

At the renewal one request is sent alone, the *probe*. If two probes in a row find at least half of the limit available,
each later reset is assumed to renew the whole limit, and no probe is sent. If a probe finds less than a quarter of the
limit available, the limit refills gradually, like a sliding window or a token bucket. If such a server reports whole
seconds only, the next request is sent one window after the oldest of the last `limit` accepted requests: by then at
least one request is available again.

**A renewal** is certain if an answer reports a higher R than was known when its request was sent. (A higher R than is
known when the answer arrives proves nothing, because answers overtake each other.) So each permit stores what was known
when it was granted. A request that was sent before a renewal was noticed may belong to the old window or the new one.
Its R is ignored, unless the answer is a 429 or must belong to the new window.

**Other processes** may use the same limit; `share` says which part of R is ours.

Example: a limit of 100 per 10 s, which no other process uses. An answer reports R = 40 and a reset in 4 s while 10
requests are in flight: 30 more may be sent. Then R = 0 is reported, and nothing is sent until the reset. At that moment
a probe is sent, and its answer reports R = 99. After two such probes, all 100 requests may be sent at the next reset.
"""

import math
from collections import deque
from typing import Final

from .gate import Gate, Known, Permit
from .headers import RateLimitInfo, Report
from .share import Share

__all__ = ["Quota"]

_MAX_PROBE_DELAY: Final = 1.0
"""Seconds. After the reset, a probe waits at most this long for the requests in flight."""

_FIRST_BACKOFF: Final = 0.01
_MAX_BACKOFF: Final = 5.0
"""Seconds to wait after the first 429, doubled with each further one in a row up to the maximum. The wait is at most
half a window, so that a 429 wastes at most half of the next window."""

_FULL_RENEWALS_NEEDED: Final = 2
"""The number of probes in a row that must find a full renewal before one is assumed."""

_FIRST_RECHECK: Final = 8
_MAX_RECHECK: Final = 256
"""Number of windows after which it is checked again whether resets are rounded down; doubled each time."""

_MAX_REMEMBERED: Final = 10_000
"""Maximum number of accepted requests whose times are kept, even if the limit is higher."""


class Quota(Gate):
    """Keeps to the limit that answers report. Until the first report the gate is open."""

    def __init__(self) -> None:
        self.limit: int | None = None
        """Requests per window, as last reported; None before the first report."""
        self.remaining = 0
        """R, for all processes together: the smallest one reported since the last renewal, or the assumed one."""
        self.window = 0.0
        """Seconds; the longest reset that was reported for this limit."""
        self.renews_at = math.inf
        """When R is expected to grow; infinite if only an answer can show it."""
        self._share = Share()
        self._lowest = 0
        """The smallest R reported since the last renewal. An assumed renewal does not change it."""
        self._renewals = 0
        """The number of renewals so far, reported or assumed."""
        self._window_began = 0.0
        self._assumed = False
        """Whether the last renewal was assumed, and no answer has confirmed it yet."""

        self._reset_at = math.inf
        """The end of this window, without the added second: the last report if resets are exact, else the earliest."""
        self._last_reset_at = math.inf
        """The end of this window according to the last answer."""
        self._exact = False
        """Whether any reset had a fraction."""
        self._rounded_down = False
        """Whether a reported reset was too early. While this is set, a second is added to each reset."""
        self._windows_corrected = 0
        """The number of windows for which a second has been added."""
        self._windows_until_recheck = _FIRST_RECHECK
        """The value of `_windows_corrected` at which it is checked again whether resets are rounded down."""

        self._full_probes = 0
        """Probes in a row that found a full renewal; -1 after a full renewal was assumed wrongly."""
        self._is_gradual = False
        """Whether the last probe found that R grows gradually."""
        self._accepted_at: deque[float] = deque(maxlen=1)
        """The times at which the last requests, at most `limit`, were accepted; recorded while resets are not exact."""

        self._limited_streak = 0
        """The number of 429s in a row."""
        self._limited_at = -math.inf
        """When the last 429 of the streak arrived."""

    @property
    def is_known(self) -> bool:
        """Whether any answer has reported a limit."""
        return self.limit is not None

    @property
    def is_idle(self) -> bool:
        """Whether no answer has reported a limit."""
        return self.limit is None

    @property
    def rate(self) -> float | None:
        """The sustained rate in requests per second; None if no reset was reported."""
        return self.limit / self.window if self.limit is not None and self.window > 0 else None

    @property
    def _renews_fully(self) -> bool:
        return self._full_probes >= _FULL_RENEWALS_NEEDED

    def may_send_at(self, now: float, in_flight: int) -> float:
        """Return when the next request may be sent. If a renewal is due, assume that it has happened."""
        if self.limit is None or self._free(now, in_flight) > 0:
            return now
        if now >= self._probe_at(in_flight):
            self._assume_renewal(now, in_flight)
            if self._free(now, in_flight) > 0:
                return now
        return max(self._probe_at(in_flight), math.nextafter(now, math.inf))

    def blocked_until(self, now: float) -> float:
        """Return the time of the next renewal if no request could be sent even with none in flight."""
        exhausted = self.limit is not None and self._free(now, 0) <= 0 and now < self.renews_at < math.inf
        return self.renews_at if exhausted else -math.inf

    def sent(self, permit: Permit, in_flight: int) -> None:
        """Store in the permit what is known about the limit."""
        permit.known = Known(self._lowest, self._renewals)

    def answered(self, permit: Permit, info: RateLimitInfo, now: float, in_flight: int) -> None:
        """Record what an answer reports."""
        # If only 429s report the limit, it says nothing about accepted requests: `Probing` handles it.
        if info.report is not None and (self.is_known or not info.rate_limited):
            self._learn(permit, now, info.report, rate_limited=info.rate_limited)
        else:
            self.lost(permit, now, in_flight)

    def lost(self, permit: Permit, now: float, in_flight: int) -> None:
        """Record that no answer arrived, or that it reported no limit."""
        if self.limit is not None and self.renews_at == math.inf and in_flight == 0:
            # No request is in flight whose answer could report a renewal.
            self.renews_at = now + self.window

    def _probe_at(self, in_flight: int) -> float:
        return self.renews_at if self._renews_fully or in_flight == 0 else self.renews_at + _MAX_PROBE_DELAY

    def _learn(self, permit: Permit, now: float, report: Report, *, rate_limited: bool) -> None:
        # An unreported limit is at least as high as what remains plus this request.
        limit = report.limit or max(self.limit or 1, report.remaining + 1)
        if limit != self.limit:
            if permit.known.renewals != self._renewals:
                return  # the request was sent before the current limit was reported
            permit = self._change_limit(permit, now, report, limit)
        self._exact |= report.exact
        self.window = max(self.window, report.reset or 0.0)
        if not rate_limited:
            self._limited_streak = 0
            if not self._exact:
                self._accepted_at.append(now)
        elif permit.sent_at >= self._limited_at:
            # A 429 of a request that was sent before the last 429 arrived has the same cause as that one: not counted.
            self._limited_streak += 1
            self._limited_at = now
        more = report.remaining > permit.known.lowest or (permit.known.lowest == 0 and not rate_limited)
        reset_at = now + (report.reset or 0.0)
        # A request that was sent just before the assumed renewal can confirm it too.
        confirms_it = self._assumed and more and not rate_limited and permit.known.renewals == self._renewals - 1
        if permit.known.renewals == self._renewals or confirms_it:
            if more:
                self._renew(permit, report)
                self._reset_at = reset_at
            else:
                self._record_use(permit, report, rate_limited=rate_limited)
                self._reset_at = reset_at if self._exact else min(self._reset_at, reset_at)
        elif more or rate_limited or self._is_gradual:
            self._record_use(permit, report, rate_limited=rate_limited)
            self._reset_at = min(self._reset_at, reset_at)
        elif self.renews_at < math.inf:
            return  # the request may belong to either window
        else:
            self._reset_at = reset_at
        self._last_reset_at = reset_at
        self._set_renewal(now, reset_at, rate_limited=rate_limited)

    def _free(self, now: float, in_flight: int) -> int:
        if self._assumed and not self._renews_fully:
            return self.remaining - in_flight  # a probe
        passed = (now - self._window_began) / max(self.window, 1e-3)
        ours = self._share.of(
            self.remaining,
            lowest=self._lowest,
            limit=self.limit or 0,
            window_left=None if self._is_gradual else max(0.0, 1 - passed),
        )
        free = math.floor(ours + 0.5) - in_flight
        # With none in flight, one may be sent if R > 1, because low usage so far says nothing about our share, or if no
        # renewal is expected, because then only a request can show what remains.
        can_send_one = in_flight == 0 and (self.remaining > 1 or self.renews_at == math.inf)
        return 1 if free <= 0 and can_send_one else free

    def _change_limit(self, permit: Permit, now: float, report: Report, limit: int) -> Permit:
        """Start over with another limit. Return the permit that the request would have had if the limit had been known.

        What was learned about rounding and the kind of limiter is kept.
        """
        self.limit = limit
        self.window = 0.0
        self._share = Share()
        self._accepted_at = deque(maxlen=min(limit, _MAX_REMEMBERED))
        self._renewals += 1
        self._begin_window(permit, report.remaining + 1)
        return Permit(now, Known(report.remaining + 1, self._renewals))

    def _assume_renewal(self, now: float, in_flight: int) -> None:
        self.remaining = max((self.limit or 1) if self._renews_fully else 1, in_flight + 1)
        self.renews_at = math.inf
        self._renewals += 1
        self._assumed = True
        self._window_began = now

    def _renew(self, permit: Permit, report: Report) -> None:
        """Record a renewal, which an answer reports."""
        limit = self.limit or 1
        quarter = limit / 4
        if self._assumed and not self._renews_fully and self._lowest < quarter:
            self._full_probes = self._full_probes + 1 if report.remaining >= limit // 2 else min(self._full_probes, 0)
            self._is_gradual = report.remaining < quarter
        self._renewals += 1
        # If renewals are full, other processes have used what is missing.
        self._begin_window(permit, limit if self._renews_fully else report.remaining + 1)
        self._lowest = self.remaining = report.remaining
        self._share.used_by_us()
        self._recheck_rounding()

    def _recheck_rounding(self) -> None:
        """After enough windows, stop adding a second: requests of other processes may have caused the 429s."""
        if self._rounded_down and not self._exact:
            self._windows_corrected += 1
            if self._windows_corrected >= self._windows_until_recheck:
                self._rounded_down = False
                self._windows_corrected = 0
                self._windows_until_recheck = min(2 * self._windows_until_recheck, _MAX_RECHECK)
                self._full_probes = 0  # so that one probe is sent at the next reset, not the whole limit at once

    def _begin_window(self, permit: Permit, remaining: int) -> None:
        self._share.begin_window(self._lowest, remaining)
        if not self._assumed:
            self._window_began = permit.sent_at
        self._assumed = False
        self._lowest = self.remaining = remaining
        self._reset_at = math.inf

    def _record_use(self, permit: Permit, report: Report, *, rate_limited: bool) -> None:
        """Record an answer that reports no renewal."""
        if not rate_limited:
            self._share.used_by_us()
        elif self._assumed:
            # If the request was sent at the reported reset or later, the 429 shows that the reset was rounded down.
            reported_at = self._last_reset_at if self._is_gradual else self._reset_at
            self._rounded_down |= not self._exact and permit.sent_at >= reported_at
            self._is_gradual = False
            self._full_probes = -1 if self._renews_fully else min(self._full_probes, 0)
        self._assumed = False
        self._lowest = self.remaining = min(self._lowest, report.remaining)

    def _set_renewal(self, now: float, reset_at: float, *, rate_limited: bool) -> None:
        late = 1.0 if self._rounded_down and not self._exact else 0.0
        if rate_limited and self._reset_at + late <= now:
            # The expected reset has passed without a renewal.
            self._reset_at = reset_at
        self.renews_at = self._reset_at + late
        if self._is_gradual and not self._exact and len(self._accepted_at) == self._accepted_at.maxlen:
            self.renews_at = min(self.renews_at, max(now, self._accepted_at[0] + self.window + late))
        if self._limited_streak:
            backoff = min(_FIRST_BACKOFF * 2.0 ** min(self._limited_streak - 1, 32), _MAX_BACKOFF)
            if self.window > 0:
                backoff = min(backoff, self.window / 2)
            self.renews_at = max(self.renews_at, now + backoff)
