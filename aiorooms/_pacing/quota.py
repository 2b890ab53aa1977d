"""The quota: how many requests may be in flight under the limit that the server reports.

Each answer reports how many requests remain (R) and when more become available (the reset). R grows at a *renewal*. The
quota calculates two things:

- **How many requests may be in flight.** An answer reports R as it was when the server processed that request. It is
  not known whether the server has counted the requests that are in flight now. So the quota assumes that the server
  has not, and the number in flight never exceeds the smallest R reported since the last renewal. This rule is safe even
  if answers arrive late or out of order.
- **When the next renewal is.** A client that has used up R waits for it. If the reset is a whole number of seconds, it
  may have been rounded. Then the quota uses the earliest time that any answer has reported since the last renewal. If
  resets are rounded up, this time is late by at most the time between two answers. If a request sent at this time is
  answered 429, the quota concludes that resets are rounded down, and adds a second to each later reset.

At the time of the renewal, one request is sent alone, the *probe*. If two probes in a row find at least half of the
limit available, the quota assumes that every reset renews the whole limit, and sends no more probes. If a probe finds
less than a quarter of the limit available, the limit refills gradually, like a sliding window or a token bucket.

**Detecting a renewal.** If an answer reports a higher R than was known when its request was sent, there was a renewal.
The answer is not compared with the R that is known when it arrives, because answers may arrive out of order. Instead,
each permit stores the R that was known when the permit was granted. If a request was sent before a renewal was noticed,
the R in its answer may be that of the old window or the new one. Such an R is ignored, unless the answer is a 429, the
limit refills gradually, or R is so high that it must be that of the new window.

**Other processes** may use the same limit. If they do, and if the limit refills gradually, the module `sharing` decides
when requests are sent, and all of the above applies only to what `snapshot` shows.

Example: the limit is 100 requests per 10 s, and no other process uses it. An answer reports R = 40 and a reset in 4 s
while 10 requests are in flight, so 30 more may be sent. Then R = 0 is reported, and nothing is sent until the reset. At
that time a probe is sent, and its answer reports R = 99. After two such probes, all 100 requests may be sent at the
next reset.
"""

import math
from collections.abc import Callable
from typing import Final

from .gate import Known
from .headers import Report
from .needs import LEAVE_NONE, Needs
from .sharing import Sharing

__all__ = ["Quota"]

_MAX_PROBE_DELAY: Final = 1.0
"""Seconds. After the reset, a probe waits at most this long for the requests in flight."""

_MIN_RECHECK: Final = 0.01
"""Seconds after which is asked again at the earliest whether other processes may need the last requests."""

_FIRST_BACKOFF: Final = 0.01
_MAX_BACKOFF: Final = 5.0
"""The wait after the first 429, and the longest wait, in seconds. Each further 429 in a row doubles the wait.

The wait is never longer than half a window, so that a 429 wastes at most half of the next window.
"""

_FULL_RENEWALS_NEEDED: Final = 2
"""The number of probes in a row that must find a full renewal before one is assumed."""

_FIRST_RECHECK: Final = 8
_MAX_RECHECK: Final = 256
"""The first and the largest number of windows after which the quota checks again whether resets are rounded down.

The number doubles after each check.
"""

_MIN_GRADUAL: Final = 4
"""Smaller limits don't show whether they refill gradually, because a probe alone uses a quarter of them."""


class Quota:
    """Keeps to one limit that answers report. Until the first report it is open.

    The argument `in_flight` is the number of other requests in flight that the limit counts.
    """

    def __init__(
        self, random: Callable[[], float], needs: Needs, used_before: int = 0, *, is_common: bool = False
    ) -> None:
        self.needs = needs
        """How many permits single calls need."""
        self.sharing = Sharing(random, used_before, is_common=is_common)
        """Decides when requests are sent if other processes use the limit too."""
        self.limit: int | None = None
        """Requests per window, as last reported; None before the first report."""
        self.remaining = 0
        """R: the smallest value reported since the last renewal. An assumed renewal sets it to an assumed value."""
        self.window = 0.0
        """The reported window, or else the longest reset that was reported for this limit, in seconds."""
        self.renews_at = math.inf
        """When the next renewal is expected; infinite if only an answer can show it."""
        self._has_renewed = False
        """Whether an answer has reported a renewal of this limit."""
        self._lowest = 0
        """The smallest R reported since the last reported renewal."""
        self._renewals = 0
        """The number of renewals so far, reported or assumed. A change of the limit counts too."""
        self.window_began = 0.0
        """When the current window began, as far as answers show it."""
        self._assumed = False
        """Whether the last renewal was assumed, and no answer has confirmed it yet."""

        self._reset_at = math.inf
        """When this window ends: the last reported time if resets are exact, else the earliest.

        The second that is added if resets are rounded down is not included.
        """
        self._exact = False
        """Whether any reported reset had a fractional part."""
        self._rounded_down = False
        """Whether a reported reset was too early. While this is True, a second is added to each reset."""
        self._windows_corrected = 0
        """The number of windows for which a second has been added."""
        self._windows_until_recheck = _FIRST_RECHECK
        """The value of `_windows_corrected` at which the quota checks again whether resets are rounded down."""

        self._full_probes = 0
        """The number of probes in a row that found a full renewal; -1 after a full renewal was wrongly assumed."""

        self._unreported = 0
        """The number of requests accepted since the last report of this limit."""
        self._is_ignored = False
        """Whether the limit was not reported after its window had ended."""
        self._limited_streak = 0
        """The number of 429s in a row."""
        self._limited_at = -math.inf
        """The arrival time of the last 429 that was counted."""

    @property
    def is_ignored(self) -> bool:
        """Whether the limit was not reported after its window had ended."""
        return self._is_ignored

    @property
    def is_learning(self) -> bool:
        """Whether the next answer can allow more requests: in the first window, and until a probe is answered."""
        return not self._has_renewed or (self._assumed and not self._renews_fully)

    @property
    def available(self) -> int:
        """How many requests remain, less those that were accepted since the last report."""
        return self.remaining - self._unreported

    @property
    def rate(self) -> float | None:
        """The sustained rate in requests per second; None if no reset was reported."""
        return self.limit / self.window if self.limit is not None and self.window > 0 else None

    @property
    def _is_gradual(self) -> bool:
        return self.sharing.renewals.kind == "gradual"

    @property
    def _renews_fully(self) -> bool:
        return self._full_probes >= _FULL_RENEWALS_NEEDED

    def left(self, now: float) -> float:
        """Return the fraction of the window that is left, from 0 to 1."""
        # Resets that are rounded down don't show the length of a window, but this does.
        return min(1.0, max(0.0, self.renews_at - now) / max(self.renews_at - self.window_began, 1e-3))

    def may_send_at(self, now: float, in_flight: int) -> float:
        """Return when the next request may be sent. If a renewal is due, assume that it has happened."""
        if self.limit is None or self._is_ignored:
            return now
        if self.sharing.knows_all(now):
            return self.sharing.free_at(now, in_flight)
        if self.sharing.is_shared(now):
            return self.sharing.due_at(now)
        if self._free(now, in_flight) > 0:
            return now
        if now >= self._probe_at(in_flight):
            self._assume_renewal(now, in_flight)
            if self._free(now, in_flight) > 0:
                return now
        return max(self._probe_at(in_flight), math.nextafter(now, math.inf))

    def room(self, now: float, in_flight: int, *, is_bulk: bool) -> float:
        """Return how many requests may be sent at once when `may_send_at` allows one. At least 1."""
        if self.limit is None or self._is_ignored:
            return math.inf
        if self.sharing.knows_all(now):
            return max(1, self.sharing.free(now, in_flight))
        if self.sharing.is_shared(now):
            return 1
        free = self._free(now, in_flight)
        return max(1, free - self._kept(now, free) if is_bulk else free)

    def is_spread(self, now: float) -> bool:
        """Whether requests become due one after another, and not all at a renewal."""
        sharing = self.sharing
        return self.limit is not None and not self._is_ignored and (sharing.knows_all(now) or sharing.is_shared(now))

    def reserved_until(self, now: float, in_flight: int, *, is_bulk: bool) -> float:
        """If what remains is reserved for other processes, return when to ask again; else `now` or earlier."""
        sharing, left = self.sharing, self.available - in_flight
        if self.limit is None or self._is_ignored or self._assumed or sharing.is_shared(now):
            return now
        if not 0 < left <= sharing.reserve(now, is_bulk=is_bulk):
            return now
        return max(sharing.released_at(left), now + _MIN_RECHECK)

    def kept_until(self, now: float, in_flight: int) -> float:
        """If what remains is kept for single calls, return when a bulk run may send; else `now`."""
        free = self._free(now, in_flight)
        kept = self._kept(now, free)
        if not kept or free > kept:
            return now
        if self._assumed:
            return math.inf if in_flight else now  # the next answer shows when the window ends
        # Later, single calls need less.
        length = self.renews_at - self.window_began
        return now + max((self.renews_at - LEAVE_NONE * length - now) / kept, _MIN_RECHECK)

    def blocked_until(self, now: float) -> float:
        """Return when the next request may be sent, if no answer can change it; else -infinity."""
        if self.limit is None or self._is_ignored:
            return -math.inf
        if self.sharing.knows_all(now):
            free_at = self.sharing.free_at(now, 0)
            return free_at if free_at < math.inf else -math.inf
        exhausted = not self._is_gradual and self._free(now, 0) <= 0 and now < self.renews_at < math.inf
        renews_at = self.renews_at if exhausted else -math.inf
        return max(self.sharing.due_at(now), renews_at) if self.sharing.is_shared(now) else renews_at

    @property
    def known(self) -> Known:
        """What is known about the limit."""
        return Known(self._lowest, self._renewals, self.sharing.remaining, self.sharing.reported_at)

    def sent(self, now: float, *, is_single: bool, count: int = 1) -> Known:
        """Record that requests are sent, and return what was known about the limit."""
        self.needs.sent(self.window_began, is_single=is_single, count=count)
        known = self.known
        self.sharing.sent(now, count)
        return known

    def answered(
        self, sent_at: float, known: Known, report: Report, now: float, in_flight: int, *, rate_limited: bool
    ) -> None:
        """Record what an answer reports. `known` is what `sent` returned."""
        self._unreported, self._is_ignored = 0, False
        if self._learn(sent_at, known, now, report, rate_limited=rate_limited):
            self.sharing.answered(sent_at, known, report, now, in_flight, rate_limited=rate_limited)

    def unreported(self, now: float, least: int) -> None:
        """Record that a request was accepted whose answer reports another limit. At least `least` requests remain."""
        self._is_ignored |= self._assumed or now >= self.renews_at
        self._unreported = min(self._unreported + 1, max(0, self.remaining - least))

    def rejected(self) -> None:
        """Record that a request was not counted, because another limit was used up."""
        self.sharing.rejected()

    def lost(self, sent_at: float, now: float, in_flight: int) -> None:
        """Record that no answer arrived, or that it reported no limit."""
        self.sharing.lost(sent_at)
        if self.limit is not None and self.renews_at == math.inf and in_flight == 0:
            # No request is in flight whose answer could report a renewal.
            self.renews_at = now + self.window

    def _kept(self, now: float, free: int) -> int:
        """Return how many of the `free` requests are kept for single calls."""
        if self.limit is None or self._is_ignored or self._is_gradual:
            return 0
        if self._assumed:
            # A probe needs no permits that could be kept.
            return self.needs.kept(self.window_began, free, 1.0) if self._renews_fully else 0
        return self.needs.kept(self.window_began, free, self.left(now)) if now < self.renews_at < math.inf else 0

    def _probe_at(self, in_flight: int) -> float:
        return self.renews_at if self._renews_fully or in_flight == 0 else self.renews_at + _MAX_PROBE_DELAY

    def _learn(self, sent_at: float, known: Known, now: float, report: Report, *, rate_limited: bool) -> bool:
        """Learn from a report. Return whether it is one of the current limit."""
        # If the answer reports no limit, the limit is at least what remains plus this request.
        limit = report.limit or max(self.limit or 1, report.remaining + 1)
        if limit != self.limit:
            if known.renewals != self._renewals:
                return False  # the request was sent before the current limit was reported
            self.sharing.start_over(limit, now)
            known = self._change_limit(sent_at, report, limit)
            sent_at = now
        self._exact |= report.exact
        self.window = max(self.window, report.window or report.reset or 0.0)
        if not rate_limited:
            self._limited_streak = 0
        elif sent_at >= self._limited_at:
            # A 429 is not counted if its request was sent before the last 429 arrived: both have the same cause.
            self._limited_streak += 1
            self._limited_at = now
        more = report.remaining > known.lowest or (known.lowest == 0 and not rate_limited)
        reset_at = now + (report.reset or 0.0)
        if report.reset is None and report.window is not None:
            # The next renewal is expected one window after the last one.
            reset_at = max(now, self.sharing.renewals.ends_at)
        # A request that was sent just before an assumed renewal can confirm the renewal too.
        confirms_it = self._assumed and more and not rate_limited and known.renewals == self._renewals - 1
        if known.renewals == self._renewals or confirms_it:
            if more:
                self._renew(sent_at, report)
                self._reset_at = reset_at
            else:
                self._record_use(sent_at, report, rate_limited=rate_limited)
                self._reset_at = reset_at if self._exact else min(self._reset_at, reset_at)
        elif more or rate_limited or self._is_gradual:
            self._record_use(sent_at, report, rate_limited=rate_limited)
            self._reset_at = min(self._reset_at, reset_at)
        elif self.renews_at < math.inf:
            return True  # the request may belong to either window
        else:
            self._reset_at = reset_at
        self._set_renewal(now, reset_at, rate_limited=rate_limited)
        return True

    def _free(self, now: float, in_flight: int) -> int:
        if self._assumed and not self._renews_fully:
            return self.remaining - in_flight  # a probe
        # In the first window, other processes may have about as many requests in flight, which R does not include yet.
        ours = self.remaining if self._has_renewed else self.remaining / 2
        free = math.floor(ours + 0.5) - self._unreported - in_flight
        # If no request is in flight, one may be sent in two cases: if R > 1, because our share may seem to be 0 only
        # because we have used little so far; and if the time of the next renewal is unknown, because only an answer can
        # show what remains.
        can_send_one = in_flight == 0 and (self.remaining > 1 or self.renews_at == math.inf)
        return 1 if free <= 0 and can_send_one else free

    def _change_limit(self, sent_at: float, report: Report, limit: int) -> Known:
        """Start over with another limit. Return what would have been known when the request was sent.

        What was learned about the rounding of resets and about the kind of renewal is kept.
        """
        self.limit = limit
        self.window = 0.0
        self._has_renewed = False
        self._renewals += 1
        self._begin_window(sent_at, report.remaining + 1)
        return Known(report.remaining + 1, self._renewals)

    def _assume_renewal(self, now: float, in_flight: int) -> None:
        self.remaining = max((self.limit or 1) if self._renews_fully else 1, in_flight + 1)
        self.renews_at = math.inf
        self._renewals += 1
        self._unreported = 0
        self._assumed = True
        self.window_began = now

    def _renew(self, sent_at: float, report: Report) -> None:
        """Record a renewal that an answer reports."""
        limit = self.limit or 1
        quarter = limit / 4
        if self._assumed and not self._renews_fully and self._lowest < quarter:
            is_full = report.remaining >= limit // 2
            self._full_probes = self._full_probes + 1 if is_full else min(self._full_probes, 0)
            if self._full_probes == _FULL_RENEWALS_NEEDED:
                self.sharing.renewals.conclude("windows")
            elif report.remaining < quarter and limit >= _MIN_GRADUAL:
                self.sharing.renewals.conclude("gradual")
        self._renewals += 1
        # If each renewal renews the whole limit, other processes have used the requests that are missing from it.
        self._begin_window(sent_at, limit if self._renews_fully else report.remaining + 1)
        self._lowest = self.remaining = report.remaining
        self._has_renewed = True
        self._recheck_rounding()

    def _recheck_rounding(self) -> None:
        """After enough windows, stop adding a second to resets, because other processes may have caused the 429s."""
        if self._rounded_down and not self._exact:
            self._windows_corrected += 1
            if self._windows_corrected >= self._windows_until_recheck:
                self._rounded_down = False
                self._windows_corrected = 0
                self._windows_until_recheck = min(2 * self._windows_until_recheck, _MAX_RECHECK)
                self._full_probes = 0  # so that a probe is sent at the next reset, before any other request

    def _begin_window(self, sent_at: float, remaining: int) -> None:
        if not self._assumed:
            self.window_began = sent_at
        self._assumed = False
        self._lowest = self.remaining = remaining
        self._reset_at = math.inf

    def _record_use(self, sent_at: float, report: Report, *, rate_limited: bool) -> None:
        """Record an answer that reports no renewal."""
        if rate_limited and self._assumed:
            # If the request was sent at the reported reset or later, the 429 shows that the reset was rounded down.
            self._rounded_down |= not self._exact and sent_at >= self._reset_at
            self._full_probes = -1 if self._renews_fully else min(self._full_probes, 0)
        self._assumed = False
        self._lowest = self.remaining = min(self._lowest, report.remaining)

    def _set_renewal(self, now: float, reset_at: float, *, rate_limited: bool) -> None:
        late = 1.0 if self._rounded_down and not self._exact else 0.0
        if rate_limited and self._reset_at + late <= now:
            # The expected reset has passed without a renewal.
            self._reset_at = reset_at
        self.renews_at = self._reset_at + late
        if self._limited_streak:
            backoff = min(_FIRST_BACKOFF * 2.0 ** min(self._limited_streak - 1, 32), _MAX_BACKOFF)
            if self.window > 0:
                backoff = min(backoff, self.window / 2)
            self.renews_at = max(self.renews_at, now + backoff)
