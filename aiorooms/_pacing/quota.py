"""How many requests may be in flight under the limit that the server reports. Pure: the time is an argument.

Each answer reports how many requests remain (R) and when more will (the reset). From that two things are derived:

- **How many may be in flight.** An answer reports R as it was when the server processed *that* request; R may or may
  not count the requests in flight. So no more are in flight than the smallest R reported since the last renewal. Then
  none of them exceeds the limit in either case, and late or reordered answers do no harm.
- **When R grows again.** This is a *renewal*; until then a client that has used up R waits. The reset says when, but
  only to within a second if it has no fraction. In that case the earliest moment is used that any answer has reported
  since the last renewal: if resets are rounded up, it is right to within the time between two answers. If the server
  answers 429 to a request sent at that moment, the reset was rounded down, and from then on a second is added.

At that moment one request is sent alone, the *probe*. Once two probes in a row have found at least half of the limit,
the whole limit is assumed to be available at each reset, without a probe. Sliding windows and token buckets refill
gradually; they are recognized by a probe that finds less than a quarter of the limit. If such a server reports whole
seconds only, the next request is sent one window after the oldest of the last accepted requests: by then at least that
one is available again.

**A renewal** is certain if an answer reports more than was known when its request was sent. (More than is known when
the answer comes proves nothing, as answers overtake each other.) So each permit stores what was known when it was
granted. A request that was sent before a renewal was noticed may belong to either window: its answer counts only if it
must belong to the new one.

**Other processes** may use the same limit; `share` says which part of R is ours.

Example: a limit of 100 per 10 s. An answer reports R = 40 and a reset in 4 s while 10 requests are in flight: 30 more
may be sent. Then R = 0 is reported, and nothing is sent until the reset. At that moment a probe is sent, and its answer
reports R = 99. After two such windows all 100 requests are sent at the reset, without a probe.
"""

import math
from collections import deque
from typing import Final

from .gate import Gate, Known, Permit
from .headers import RateLimitInfo, Report
from .share import Share

__all__ = ["Quota"]

_MAX_PROBE_DELAY: Final = 1.0
"""Seconds after the reset for which a probe waits for the requests in flight."""

_FIRST_BACKOFF: Final = 0.01
_MAX_BACKOFF: Final = 5.0
"""Seconds to wait after the first 429, doubled with each further one in a row up to the maximum. Never more than half a
window, so that one 429 does not cost the beginning of the next window too."""

_FULL_RENEWALS_NEEDED: Final = 2
"""Probes in a row that must find a full renewal before one is assumed."""

_FIRST_RECHECK: Final = 8
_MAX_RECHECK: Final = 256
"""Windows until it is checked again whether resets are rounded down; doubled each time."""

_MAX_REMEMBERED: Final = 10_000
"""The number of accepted requests whose times are kept, however high the limit is."""


class Quota(Gate):
    """Keeps to the limit that answers report. Until the first report nothing is known, and the gate is open."""

    def __init__(self) -> None:
        self.limit: int | None = None
        """Requests per window, as reported last; None before the first report."""
        self.remaining = 0
        """R: requests that may be in flight, from all processes together, as reported last or assumed."""
        self.window = 0.0
        """Seconds; the longest reset that was reported for this limit."""
        self.renews_at = math.inf
        """When R is expected to grow; infinite while only an answer can tell."""
        self._share = Share()
        self._lowest = 0
        """The smallest R since the last renewal."""
        self._renewals = 0
        """The number of renewals so far, seen or assumed."""
        self._window_began = 0.0
        self._assumed = False
        """Whether the last renewal was assumed, and no answer has confirmed it yet."""

        self._reset_at = math.inf
        """When this window ends, without the added second: the earliest report, or the last one if resets are exact."""
        self._last_reset_at = math.inf
        """When it ends by the last answer alone."""
        self._exact = False
        """Whether any reset had a fraction."""
        self._rounded_down = False
        """Whether a reset turned out to be too early, so that a second is added."""
        self._windows_corrected = 0
        """The number of windows for which a second has been added."""
        self._windows_until_recheck = _FIRST_RECHECK
        """The number after which it is checked again whether that is right."""

        self._full_probes = 0
        """Probes in a row that found a full renewal; -1 after a full renewal was assumed wrongly."""
        self._is_gradual = False
        """Whether the last probe found that R grows gradually."""
        self._accepted_at: deque[float] = deque(maxlen=1)
        """When the last requests were accepted, up to `limit` of them; recorded while resets are not exact."""

        self._limited_streak = 0
        """The number of 429s in a row."""
        self._limited_at = -math.inf
        """When the last of them came."""

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
        """Return when the next request may be sent; assume a renewal once it is due."""
        if self.limit is None or self._free(now, in_flight) > 0:
            return now
        if now >= self._probe_at(in_flight):
            self._assume_renewal(now, in_flight)
            if self._free(now, in_flight) > 0:
                return now
        return max(self._probe_at(in_flight), math.nextafter(now, math.inf))

    def blocked_until(self, now: float) -> float:
        """Return the next renewal if no request could be sent even if none were in flight."""
        exhausted = self.limit is not None and self._free(now, 0) <= 0 and now < self.renews_at < math.inf
        return self.renews_at if exhausted else -math.inf

    def sent(self, permit: Permit, in_flight: int) -> None:
        """Record in the permit what is known."""
        permit.known = Known(self._lowest, self._renewals)

    def answered(self, permit: Permit, info: RateLimitInfo, now: float, in_flight: int) -> None:
        """Record what an answer reports."""
        # A limit that is reported with 429s only says nothing about accepted requests: `Probing` handles it.
        if info.report is not None and (self.is_known or not info.rate_limited):
            self._learn(permit, now, info.report, rate_limited=info.rate_limited)
        else:
            self.lost(permit, now, in_flight)

    def lost(self, permit: Permit, now: float, in_flight: int) -> None:
        """Record that no answer came, or that it reported no limit."""
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
                return  # sent before the current limit was reported
            permit = self._change_limit(permit, now, report, limit)
        self._exact |= report.exact
        self.window = max(self.window, report.reset or 0.0)
        if not rate_limited:
            self._limited_streak = 0
            if not self._exact:
                self._accepted_at.append(now)
        elif permit.sent_at >= self._limited_at:
            # 429s of requests that were sent before the last 429 are not counted: the cause is the same.
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
            return  # it may belong to either window
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
        # If none is in flight, one may be sent: low usage so far says nothing about our share, and without a reset to
        # wait for, only a request can find out.
        can_send_one = in_flight == 0 and (self.remaining > 1 or self.renews_at == math.inf)
        return 1 if free <= 0 and can_send_one else free

    def _change_limit(self, permit: Permit, now: float, report: Report, limit: int) -> Permit:
        """Start over with another limit; return the permit that the request would have had if it had been known before.

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
        """Record a renewal: more remains than before."""
        limit = self.limit or 1
        quarter = limit / 4
        if self._assumed and not self._renews_fully and self._lowest < quarter:
            self._full_probes = self._full_probes + 1 if report.remaining >= limit // 2 else min(self._full_probes, 0)
            self._is_gradual = report.remaining < quarter
        self._renewals += 1
        # Others may have used some of it before us.
        self._begin_window(permit, limit if self._renews_fully else report.remaining + 1)
        self._lowest = self.remaining = report.remaining
        self._share.used_by_us()
        self._recheck_rounding()

    def _recheck_rounding(self) -> None:
        """Stop adding a second after some windows, as the 429 may have had another cause."""
        if self._rounded_down and not self._exact:
            self._windows_corrected += 1
            if self._windows_corrected >= self._windows_until_recheck:
                self._rounded_down = False
                self._windows_corrected = 0
                self._windows_until_recheck = min(2 * self._windows_until_recheck, _MAX_RECHECK)
                self._full_probes = 0  # so that a probe is sent, and not all requests

    def _begin_window(self, permit: Permit, remaining: int) -> None:
        self._share.begin_window(self._lowest, remaining)
        if not self._assumed:
            self._window_began = permit.sent_at
        self._assumed = False
        self._lowest = self.remaining = remaining
        self._reset_at = math.inf

    def _record_use(self, permit: Permit, report: Report, *, rate_limited: bool) -> None:
        """Record that no more remains than before."""
        if not rate_limited:
            self._share.used_by_us()
        elif self._assumed:
            # If the request was sent at the reported reset, that was too early: the reset was rounded down.
            reported_at = self._last_reset_at if self._is_gradual else self._reset_at
            self._rounded_down |= not self._exact and permit.sent_at >= reported_at
            self._is_gradual = False
            self._full_probes = -1 if self._renews_fully else min(self._full_probes, 0)
        self._assumed = False
        self._lowest = self.remaining = min(self._lowest, report.remaining)

    def _set_renewal(self, now: float, reset_at: float, *, rate_limited: bool) -> None:
        late = 1.0 if self._rounded_down and not self._exact else 0.0
        if rate_limited and self._reset_at + late <= now:
            # The reset that was expected has passed without a renewal.
            self._reset_at = reset_at
        self.renews_at = self._reset_at + late
        if self._is_gradual and not self._exact and len(self._accepted_at) == self._accepted_at.maxlen:
            self.renews_at = min(self.renews_at, max(now, self._accepted_at[0] + self.window + late))
        if self._limited_streak:
            backoff = min(_FIRST_BACKOFF * 2.0 ** min(self._limited_streak - 1, 32), _MAX_BACKOFF)
            if self.window > 0:
                backoff = min(backoff, self.window / 2)
            self.renews_at = max(self.renews_at, now + backoff)
