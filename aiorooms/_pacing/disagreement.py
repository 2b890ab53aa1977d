"""Find out whether operations have limits of their own, from answers that disagree.

At first, all operations are assumed to have the same limits. A server may also count updates and reads separately, and
does not say so. Then the answers of two operations disagree. Only answers that are certainly in order are compared: the
request of the later one was sent after the earlier one had arrived. There are three signs of separate limits:

- **The limit.** An answer of another operation reports another limit (or window) with the same name. The server may
  also have changed a common limit. Then the next answer of the first operation reports the new limit too, and the
  limits are taken for common ones again.
- **What remains.** Between two answers of one operation, an answer of another one reports much more than both, and the
  difference is more than twice what we have sent in between. This must happen 3 times in a row, because once it can
  have another cause: a new window that others use up quickly.
- **The names.** After 5 accepted answers each, two operations have never reported a limit with the same name. For
  example, only updates report a limit at all.

Two operations may also share one limit and have another of their own, with the same names. If answers then report only
the limit with the fewest remaining requests, the last sign does not show, and all limits apply to both operations.

Wrong signs do little harm. If two operations that share a limit are treated as if each had its own, each looks like
another process to the other, and they share it fairly (`sharing`).

Example: an update reports 19 of 20, then a read reports 599 of 600. So both have limits of their own. The next update
reports 18 of 20, which confirms it. If it reported 598 of 600, the limit would have been raised for both.
"""

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple, TypeAlias

from .gate import Permit
from .headers import NO_INFO, RateLimitInfo, Report

__all__ = ["Answer", "Conclusion", "Disagreement"]

Conclusion: TypeAlias = Literal["separate", "common"]
"""Whether each operation has limits of its own, or all have the same."""

_MUCH: Final = 1 / 4
_MUCH_NEEDED: Final = 3
"""A difference of this fraction of the limit is a sign, if it is seen this many times in a row."""

_ENOUGH: Final = 5
"""The number of accepted answers that show which limits an operation reports."""


class Answer(NamedTuple):
    """An answer that reported limits."""

    operation: str
    at: float
    """When it arrived."""
    sent: int
    """The number of requests sent until then."""
    reports: Mapping[str, Report]
    """By name."""
    before: "Answer | None" = None
    """The last answer when the request was sent, if it was one of another operation."""


class _Doubt(NamedTuple):
    """Another limit that may be a new common limit."""

    operation: str
    """The operation whose next answer shows it."""
    at: float
    """When the other limit was reported."""
    reports: Mapping[str, Report]


class Disagreement:
    """Compares the answers of operations. Until there are two operations, this costs hardly any time."""

    def __init__(self) -> None:
        self.latest: Answer | None = None
        """The last answer, since a second operation was seen. Each permit stores it when it is granted."""
        self.by_operation: dict[str, Answer] = {}
        """The last answer of each operation that reports limits, since a second operation was seen."""
        self._only: str | None = None
        """The operation of all requests so far; None after a second one was seen."""
        self._last_info, self._last_at = NO_INFO, 0.0
        """The last answer while there was only one operation."""
        self._sent = 0
        self._is_separate = False
        self._doubt: _Doubt | None = None
        self._signs = 0
        self._accepted: dict[str, int] = {}
        self._names: dict[str, set[str]] = {}
        """The names of the limits that each operation has reported."""

    def sent(self, permit: Permit) -> None:
        """Record that a request is sent."""
        operation = permit.operation
        if self._only == operation:
            return
        if self._only is not None:
            self.latest = Answer(self._only, self._last_at, 0, _by_name(self._last_info))
            self.by_operation[self._only] = self.latest
            self._only = None
        elif not self._sent and self.latest is None:
            self._only = operation
            return
        self._sent += 1
        permit.before = self.latest

    def answered(self, permit: Permit, info: RateLimitInfo, now: float) -> Conclusion | None:
        """Record an answer. Return what it shows, if this is not known yet."""
        if self._only is not None:
            # Requests of a second operation may have been sent when no limit was known, and were not recorded.
            if permit.operation == self._only:
                self._last_info, self._last_at = info, now
            return None
        operation = permit.operation
        reports = _by_name(info)
        if not info.rate_limited:
            self._accepted[operation] = self._accepted.get(operation, 0) + 1
            self._names.setdefault(operation, set()).update(reports)
        else:
            # What only 429s report says nothing about accepted requests.
            known = self._names.get(operation, set())
            reports = {name: report for name, report in reports.items() if name in known}
        if not reports:
            return self._conclude_from_names(operation)
        before: Answer | None = permit.before
        second = before if before is not None and before.operation != operation else None
        answer = Answer(operation, now, self._sent, reports, second and second._replace(before=None))
        self.latest = self.by_operation[operation] = answer
        if self._is_separate:
            return self._check_doubt(permit, reports)
        if second is not None:
            if _differ(second.reports, reports):
                self._is_separate = True
                self._doubt = _Doubt(second.operation, now, reports)
                return "separate"
            if second.before is not None and second.before.operation == operation:
                self._compare_remaining(second.before, second, answer)
                if self._signs >= _MUCH_NEEDED:
                    self._is_separate = True
                    return "separate"
        return self._conclude_from_names(operation)

    def _conclude_from_names(self, operation: str) -> Conclusion | None:
        """Conclude from operations that have never reported a limit with the same name."""
        if self._is_separate or self._accepted.get(operation, 0) < _ENOUGH:
            return None
        names = self._names[operation]
        for other, others in self._names.items():
            if other != operation and self._accepted[other] >= _ENOUGH and names != others and names.isdisjoint(others):
                self._is_separate = True
                return "separate"
        return None

    def _check_doubt(self, permit: Permit, reports: Mapping[str, Report]) -> Conclusion | None:
        doubt = self._doubt
        if doubt is None or permit.operation != doubt.operation or permit.sent_at < doubt.at:
            return None
        if reports.keys().isdisjoint(doubt.reports):
            return None
        self._doubt = None
        if _differ(doubt.reports, reports):
            return None
        self._is_separate = False
        return "common"

    def _compare_remaining(self, first: Answer, second: Answer, third: Answer) -> None:
        signs: list[bool] = []
        for name in first.reports.keys() & second.reports.keys() & third.reports.keys():
            one, other, again = first.reports[name], second.reports[name], third.reports[name]
            gap = other.remaining - max(one.remaining, again.remaining)
            if gap > _MUCH * one.limit + 2 * (third.sent - first.sent):
                signs.append(True)
            elif again.remaining <= other.remaining <= one.remaining:
                signs.append(False)
        if any(signs):
            self._signs += 1
        elif signs:
            self._signs = 0


def _by_name(info: RateLimitInfo) -> Mapping[str, Report]:
    return {report.name: report for report in info.reports}


def _differ(some: Mapping[str, Report], others: Mapping[str, Report]) -> bool:
    """Whether any limit is reported differently."""
    return any(
        _are_different(some[name].limit, others[name].limit) or _are_different(some[name].window, others[name].window)
        for name in some.keys() & others.keys()
    )


def _are_different(one: float | None, other: float | None) -> bool:
    """Whether two numbers differ. 0 and None are not reported, and so differ from nothing."""
    return bool(one and other and one != other)
