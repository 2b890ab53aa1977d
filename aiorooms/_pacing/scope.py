"""The limits that apply to the same operations: to all, or to one that has limits of its own.

An answer can report several limits, such as 10 per second and 1000 per hour. There is a quota for each, by the name of
the limit, and a request is sent when all of them are open. So the tighter one counts.

Some servers report only the limit with the fewest remaining requests. An accepted request has used the others too, so
each of them has one less. They still have at least as many as the reported one. If a limit is not reported after its
window has ended, it is ignored until the next report of it: it is not tight, or no longer exists.

If a 429 reports that one limit is used up, the request was counted by none of them.

Example: after 4 requests, the limit of 10 per second has 6 left, and the one of 50 per minute has 46. Only the first
one is reported. In the fifth second the limit per minute has 9 left, and now it is reported, and then used up. All
calls wait for the rest of the minute.
"""

import math
from collections.abc import Callable, Iterable
from copy import copy
from typing import Final

from .gate import Known, Permit
from .headers import RateLimitInfo, Report
from .needs import Needs
from .pause import Pause
from .quota import Quota

__all__ = ["Scope"]

_MAX_QUOTAS: Final = 8
"""Maximum number of limits. A server that reports ever new names does not fill the memory."""

_NOTHING: Final = Known()


class Scope:
    """What is known about the limits of some operations.

    The argument `in_flight` is the number of other requests in flight of these operations.
    """

    def __init__(self, random: Callable[[], float], *, waits: bool, is_common: bool = False) -> None:
        self.quotas: dict[str, Quota] = {}
        """By the name of the limit."""
        self.pause = Pause()
        """A pause that applies to these operations only."""
        self._random = random
        self._is_common = is_common
        """Whether the requests of several processes are recorded here (`shared`)."""
        self._waits = waits
        """Whether only one request is sent until its answer has arrived."""
        self._early = Needs()
        """The requests that were sent before any limit was reported."""
        self._accepted = 0
        """The number of accepted requests."""

    @property
    def rate(self) -> float | None:
        """The sustained rate in requests per second; None if no limit with a window was reported."""
        rates = [quota.rate for quota in self.quotas.values() if not quota.is_ignored]
        return min((rate for rate in rates if rate is not None), default=None)

    def may_send_at(self, now: float, in_flight: int) -> float:
        """Return when the next request may be sent; infinity if an answer must arrive first."""
        if self._waits and in_flight:
            return math.inf
        if self.pause.ends_at > now:
            return self.pause.ends_at
        for quota in self.quotas.values():
            if (at := quota.may_send_at(now, in_flight)) > now:
                return at
        return now

    def room(self, now: float, in_flight: int, *, is_bulk: bool) -> float:
        """Return how many requests may be sent at once when `may_send_at` allows one. At least 1."""
        if self._waits:
            return 1
        return min((quota.room(now, in_flight, is_bulk=is_bulk) for quota in self.quotas.values()), default=math.inf)

    def is_spread(self, now: float) -> bool:
        """Whether requests become due one after another."""
        return any(quota.is_spread(now) for quota in self.quotas.values())

    def reserved_until(self, now: float, in_flight: int, *, is_bulk: bool) -> float:
        """If what remains is reserved for other processes, return when to ask again; else `now` or earlier."""
        at = now
        for quota in self.quotas.values():
            at = max(at, quota.reserved_until(now, in_flight, is_bulk=is_bulk))
        return at

    def kept_until(self, now: float, in_flight: int) -> float:
        """If what remains is kept for single calls, return when a bulk run may send; else `now`."""
        at = now
        for quota in self.quotas.values():
            at = max(at, quota.kept_until(now, in_flight))
        return at

    def blocked_until(self, now: float) -> float:
        """Return when the next request may be sent, if no answer can change it."""
        return max(self.pause.ends_at, *(quota.blocked_until(now) for quota in self.quotas.values()), -math.inf)

    def sent(self, permit: Permit, *, is_single: bool, count: int = 1) -> None:
        """Record requests. Store in the permit what is known about each limit."""
        if not self.quotas:
            self._early.sent(-math.inf, is_single=is_single, count=count)
            return
        permit.known = {
            quota: quota.sent(permit.sent_at, is_single=is_single, count=count) for quota in self.quotas.values()
        }

    def answered(self, permit: Permit, info: RateLimitInfo, now: float, in_flight: int) -> None:
        """Record what an answer reports."""
        self._waits = False
        self._accepted += not info.rate_limited
        if not info.reports:
            self.lost(permit, now, in_flight)
            return
        is_used_up = info.report is not None and not info.report.remaining
        has_quota = False
        for report in info.reports:
            quota = self.quotas.get(report.name)
            if quota is None:
                # A limit that only 429s report says nothing about accepted requests. `Probing` handles this case.
                if info.rate_limited:
                    continue
                quota = self._add(report.name, self._accepted - 1)
            has_quota = True
            if info.rate_limited and report.remaining and is_used_up:
                quota.rejected()
            else:
                known = permit.known.get(quota, _NOTHING)
                quota.answered(permit.sent_at, known, report, now, in_flight, rate_limited=info.rate_limited)
        if not has_quota or len(self.quotas) > 1:
            self._record_unreported(permit, info, now, in_flight)

    def counted(self, at: float) -> None:
        """Count an answer from which nothing else is learned. It arrived at `at`."""
        self._accepted += 1
        for quota in self.quotas.values():
            quota.sharing.accepted(at)

    def learn(self, reports: Iterable[Report], now: float, age: float) -> None:
        """Learn from reports that another scope received `age` seconds ago."""
        for report in reports:
            reset = None if report.reset is None or report.reset < age else report.reset - age
            aged = report._replace(reset=reset)
            self._add(report.name, 0).answered(now, _NOTHING, aged, now, 0, rate_limited=False)

    def lost(self, permit: Permit, now: float, in_flight: int) -> None:
        """Record that no answer arrived, or that it reported no limit."""
        for quota in self.quotas.values():
            quota.lost(permit.sent_at, now, in_flight)

    def _add(self, name: str, used_before: int) -> Quota:
        if len(self.quotas) >= _MAX_QUOTAS:
            del self.quotas[next(iter(self.quotas))]
        quota = self.quotas[name] = Quota(self._random, copy(self._early), used_before, is_common=self._is_common)
        return quota

    def _record_unreported(self, permit: Permit, info: RateLimitInfo, now: float, in_flight: int) -> None:
        """Record an answer in the limits that it does not report."""
        reported = {report.name for report in info.reports}
        least = min(report.remaining for report in info.reports)
        for name in self.quotas.keys() - reported:
            quota = self.quotas[name]
            if info.rate_limited:
                quota.lost(permit.sent_at, now, in_flight)
            else:
                quota.unreported(now, least)
