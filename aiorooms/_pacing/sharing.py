"""Share a reported limit with other processes: fairly without communicating, or by counting if they communicate.

Other processes may send with the same key. Each one sees what remains of the limit (R), which all of them change, and
what it has used itself. If every process sent as much as R allows, most requests would be rate limited when R gets
close to 0, and the process that sends first would leave nothing to the others. So each process sends at a rate that it
calculates, request by request. The rate depends on R in the same way in every process, and on the *part* that the
process has used lately, but less than proportionally. So a process that has more than the others loses some of it.

**Windows.** R must last until the end of the window. A process alone would send R / time left. Several processes send
the square root of their parts times that: together too much at first, but R falls, and their rates with it, so that it
lasts. If 90 % and 10 % of the requests were theirs, the roots are 0.95 and 0.32, which is 75 % and 25 %. In the next
window it is 63 % and 37 %. Between two answers, R is assumed to fall as it does if all others do the same.

**Gradual limits.** Each process keeps the rate that it had in the last window, but gives back a fraction of it, and
takes from what remains, which is the same for all. A process that sends much gives back much, and all take the same.
If R gets small, all slow down.

**Alone.** A process that has used all that is missing from R is alone. With windows, it may then send at any rate
(`quota`), except for a small *reserve*: 4 % of the window, of which it uses the last part at the end. A new process
finds something left, and what it uses shows everyone that others are there. They are expected for 4 windows after the
last sign of them, but for long windows only a minute longer than one. Single calls beside a bulk run may use the
reserve too.

**Counting.** If processes communicate (`shared`), all their requests are recorded here. A limit that is not known to
have windows then needs no rate. It is assumed to make each request available again one window later, and what it allows
is counted (`free`). There are two counts, and the smaller one applies: the limit, less what was accepted in the last
window and what is in flight; and R, plus what has become available since, less what was sent since. If more is missing
from R than was recorded, programs that don't communicate use the limit too, and the rates above apply (`_find_others`).

A long window may allow more than that. If R was reported while nothing else was in flight, nobody but us lowers it. So
R, less what was sent since, is *certain*, whatever the counts are. If requests were in flight together, their answers
may arrive in any order: after 98, 96 and 97, the *least* of them is what remains.

Example: a limit of 100 per 10 s is used up at t = 9 s. The server begins a new window at t = 10 s. At this reset one
request is sent, and its answer reports 99. By the counts nothing is available until t = 19 s, but 99 requests are
certain, and are sent. R has risen by 99 without old requests that explain it, which shows that the limit has windows.

Example without communication: the limit is 100 requests per window of 1 s. In the last window, A used 75 of them and B
used 25. At the beginning of this window R is 100, so A sends sqrt(0.75) * 100 / 1 s = 87 requests per second, and B
sends 50. In the middle R is 39, and they send 67 and 39 per second. At the end A has used 63 and B has used 37. In the
next windows it is 57 to 43 and 53 to 47. The package's docstring tells how B gets in.
"""

import math
from collections.abc import Callable
from typing import Final

from .gate import Known
from .headers import Report
from .renewals import Renewals
from .times import Times

__all__ = ["Sharing"]

_QUIET_WINDOWS: Final = 4
_QUIET: Final = 60.0
"""The number of windows for which other processes are expected after the last sign of them.

At most one window and `_QUIET` seconds.
"""

_RESERVE: Final = 0.04
"""The fraction of a window that a process leaves to others if it seems to be alone."""

_MIN_PART: Final = 1 / 16
"""The smallest part of the recent requests that a process is assumed to have sent, so that a new one can begin."""

_MAX_MARGIN: Final = 3
_MARGIN: Final = 0.06
"""What a window leaves unused, because requests of others are in flight: at most this number and this fraction of it.

It is multiplied by the part of the others.
"""

_MIN_LEFT: Final = 0.02
_OVERDUE: Final = 0.1
"""The smallest fraction of a window that is assumed to be left, and the one if the window should have ended."""

_LEAST: Final = 0.3
_LEAST_OVERDUE: Final = 1.5
"""The number of requests per window that are sent even if nothing seems to remain.

The second number applies if the window should have ended. The end must be found before the others have used the new
window.
"""

_MAX_HALVINGS: Final = 6
"""The number of 429s in a row that halve the rate after the expected end of a window."""

_GIVE_BACK: Final = 0.15
_GIVE_BACK_ALL_BELOW: Final = 0.9
"""The fraction of its rate that a process gives back per window, if its part is below the second number. Else less."""

_TAKE: Final = 1 / 16
_TAKE_IN_WINDOW: Final = 8.0
"""How much of R is taken: 1/16 of it per round trip, but at most the second number per window.

More would let R swing, because answers come late. The second number is multiplied by the root of the part.
"""

_TARGET: Final = 2.0
_TARGET_FRACTION: Final = 0.05
"""What a gradual limit should have left: this number, or this fraction of the limit if that is less.

It is multiplied by the root of the part, so that a new process begins before the others slow down.
"""

_PROBE: Final = 0.04
_SLOW_PROBE: Final = 0.25
_PROBE_RATE: Final = 0.2
"""The fraction of the limit's rate at which requests are sent if nothing remains. Each 429 halves it, up to 3 times.

If this is less than `_PROBE_RATE` per second, the second fraction applies, up to that rate.
"""

_MIN_RESET: Final = 2.0
"""Seconds. If a gradual limit is used up and the reset is at least this far away, a request is sent at the reset."""

_MODEST: Final = 1 / 16
_MIN_MODEST: Final = 5
"""What a process may send at any rate while half of the window remains: this fraction of it, or at least this number.

Otherwise a process that sends little would have to wait in a long window.
"""

_SAVED: Final = 1 / 8
"""The fraction of R for which a process saves up, if it sends less than it may."""

_DOUBTS: Final = 3
"""The number of 429s in a row after which a limit is no longer assumed to have windows, if all requests are counted."""

_GROUPS: Final = 64
"""The number of groups of times (`times`) per window that several processes store."""

_TOLERATED: Final = 0.02
"""The fraction of a gradual limit that may be missing without a sign of others, because the times are not exact."""

_MISSING: Final = 0.5
"""Seconds for which more must be missing than is recorded, at least, before others are expected. Also half a window."""

_MAX_REMEMBERED: Final = 10_000
"""Maximum number of accepted requests whose times are stored, even if the limit is higher."""

_MAX_COUNTED: Final = 1_000_000_000
"""The same if the requests of several processes are counted."""


class Sharing:
    """What is known about the use of one limit by this process and others.

    `random` returns numbers from 0 to 1. `used_before` is the number of requests sent before the first report.
    `is_common` means that the requests of several processes are recorded here (`shared`), perhaps of all.
    """

    def __init__(self, random: Callable[[], float], used_before: int = 0, *, is_common: bool = False) -> None:
        self._is_common = is_common
        # The requests of several processes are counted in a few groups, so that their number does not matter.
        most = _MAX_COUNTED if is_common else _MAX_REMEMBERED
        self.renewals = Renewals()
        self.remaining: int | None = None
        """R of the last answer; None before the first one."""
        self._random = random
        self._limit = 0
        self._at = -math.inf
        """When the server processed the request of the last answer: half a round trip before it arrived."""
        self._round_trip = 0.0
        """The average time from a request to its answer, in seconds."""
        self._accepted = Times(most)
        """When the server accepted our last requests: those of the last window, and perhaps older ones."""
        self._returned = Times(most)
        """When requests became one window old, after the last answer. A sliding window makes them available again."""
        self._sent = Times(most)
        """When requests were sent that R does not include yet."""
        self._lost = Times(100)
        """When the last requests without an answer were sent."""
        self._since = -math.inf
        """When the current limit was reported first."""
        self._limited_streak = 0
        """The number of 429s in a row."""
        self._part = 1.0
        """The part of the recent requests that we sent, averaged over half a window."""
        self._part_at = 0.0
        self._certain = 0
        """What certainly remains: R as reported when nothing else was in flight, less what was sent since."""
        self._is_rounded_down = False
        """Whether a request was rate limited one window after an earlier one, because resets are rounded down."""
        self._missing_since = math.inf
        """Since when more is missing from R than is recorded; infinite if it is not."""
        self._least = math.inf
        """The smallest R reported since something has been in flight."""
        self._used = 0
        """How many requests we have used in this window, or could have used."""
        self._may_probe_at = math.inf
        """When a request is sent whatever the rate, because nothing remained and the server reported this reset."""
        self._used_before = used_before
        self._others_until = -math.inf
        """Until when other processes are expected."""
        self._rate = 0.0
        """The current rate in requests per second."""
        self._credit = 1.0
        """The rate, summed up since the last request was due. If it reaches `_due`, the next request is due."""
        self._credit_at = 0.0
        self._due = 1.0
        """Random, so that processes don't send at the same moments."""

    def is_shared(self, now: float) -> bool:
        """Whether requests are sent at the rate that `due_at` keeps. A gradual limit is always treated so."""
        return self.renewals.kind == "gradual" or now < self._others_until

    def knows_all(self, now: float) -> bool:
        """Whether all requests that the limit counts are recorded here. `free` then returns how many may be sent.

        A limit that is known to have windows needs no such count.
        """
        has_window = self.renewals.window > 0 or self.renewals.resets_at < math.inf
        return self._is_common and has_window and self.renewals.kind != "windows" and now >= self._others_until

    def free(self, now: float, in_flight: int) -> int:
        """Return how many requests the limit allows now, if `knows_all`.

        A limit with windows allows at least as many as one that makes each request available again one window later.
        """
        window = self._window
        if self._may_probe_at <= now:
            return 1  # the reported reset has come
        self._forget_old(now, window)
        # Permits may be granted in advance, so requests may have been moved to `_returned` before their time.
        early = self._returned.count_after(now)
        by_count = self._limit - len(self._accepted) - early - in_flight
        remaining = self.remaining or 0
        self._sent.drop_until(now - window)
        by_report = remaining + self._returned.count_between(self._at, now) - len(self._sent)
        # For short windows the counts are good enough, and safer if answers arrive late.
        free = max(min(by_count, by_report), self._certain if window >= _MIN_RESET else 0)
        if not remaining and not self.renewals.is_exact and window >= _MIN_RESET:
            # The window may be longer than it seems: by a second, or because it had begun before the first request.
            return 1 if free > 0 and not in_flight else 0
        # If nothing is in flight, no answer will show more, unless one is sent.
        return 1 if free <= 0 < by_count and not in_flight else free

    def free_at(self, now: float, in_flight: int) -> float:
        """Return when `free` may allow the next request; infinity if an answer must arrive first."""
        if self.free(now, in_flight) > 0:
            return now
        at = self._returned.first_after(now)
        if self._accepted:
            at = min(at, self._accepted.first + self._window)
        return max(min(at, self._may_probe_at), math.nextafter(now, math.inf))

    @property
    def _window(self) -> float:
        """The time after which a gradual limit makes a request available again."""
        renewals = self.renewals
        if renewals.is_exact and renewals.window:
            return renewals.window
        # If resets are rounded down, up to 1 s is missing from the longest one.
        return max(renewals.window, 1.0) + (1.0 if self._is_rounded_down else 0.0)

    @property
    def reported_at(self) -> float:
        """When the server reported `remaining`."""
        return self._at

    def reserve(self, now: float, *, is_bulk: bool) -> int:
        """Return how many requests of the current window must be left to others, if they seem not to be there.

        A bulk run leaves them even before the kind of the limit is known, because single calls of the same client may
        need them.
        """
        if self.renewals.kind == "gradual" or (self.renewals.kind is None and not is_bulk):
            return 0
        left = (self.renewals.ends_at - now) / self.renewals.period
        return math.floor(_RESERVE * self._limit * min(1.0, max(0.0, left)) + 0.5)

    def released_at(self, remaining: int) -> float:
        """Return when the reserve is less than `remaining`."""
        return self.renewals.ends_at - self.renewals.period * (remaining - 0.5) / (_RESERVE * self._limit)

    def due_at(self, now: float) -> float:
        """Return when the next request is due."""
        self._advance(now)
        if self._may_probe_at <= now:
            self._may_probe_at = math.inf
            self._credit = max(self._credit, self._due)
        if self._credit >= self._due - 1e-9 or self._is_modest():
            return now
        at = now + (self._due - self._credit) / self._rate
        changes_at = min(self._rate_changes_at(now), self._may_probe_at)
        return max(min(at, changes_at), now + 1e-3)

    def sent(self, now: float, count: int = 1) -> None:
        """Record that requests are sent."""
        self._sent.add(now, count)
        self._used += count
        self._certain = max(0, self._certain - count)
        if self._may_probe_at <= now and self._is_common:
            self._may_probe_at = math.inf
        if self._limit and self.is_shared(now):
            self._advance(now)
            self._credit = max(0.0, self._credit - self._due)
            self._due = 0.5 + self._random()
        else:
            self._credit_at = now

    def start_over(self, limit: int, now: float) -> None:
        """Forget what was learned about another limit, except for the kind."""
        self._limit = limit
        self._at = -math.inf
        self._since = now
        self._used = limit
        self._may_probe_at = math.inf
        self._certain, self._least = 0, math.inf
        self._missing_since = math.inf
        self.remaining = None
        self.renewals = Renewals(limit, self.renewals.kind)
        for times in (self._accepted, self._returned, self._sent):
            times.clear()

    def answered(
        self, sent_at: float, known: Known, report: Report, now: float, in_flight: int, *, rate_limited: bool
    ) -> None:
        """Record an answer. `in_flight` is the number of other requests in flight."""
        trip = now - sent_at
        self._round_trip += (trip - self._round_trip) * 0.1 if self._round_trip else trip
        at = now - trip / 2
        # What was known about another limit says nothing about this one.
        known = known if known.at >= self._since else Known()
        if rate_limited:
            self._limited_streak += 1
            self._used -= 1
            if self._is_common and self._limited_streak >= _DOUBTS:
                self.renewals.kind = None  # it has no windows
            if self.knows_all(now) and not self.renewals.is_exact and self._window >= _MIN_RESET:
                self._is_rounded_down = True
            if report.remaining == 0:
                self._credit, self._credit_at = min(self._credit, 0.0), now
        else:
            self._limited_streak = 0
            # The request was processed before its answer arrived, so that it is certainly one window old later.
            self._accepted.add(now if self._is_common else at)
        # Several requests may have been in flight together, and their order is not known. The last one left the least.
        self._least = min(self._least, report.remaining)
        self._certain = 0
        if not in_flight:
            self._certain, self._least = int(self._least), math.inf
        if at < self._at:
            return  # a later answer has arrived already
        renewals = self.renewals
        if renewals.answered(
            at,
            report,
            sent_at=sent_at,
            now=now,
            known=known,
            round_trip=self._round_trip,
            unexplained=self._unexplained(report.remaining, at) if self._is_common else None,
        ):
            # All requests that are in flight, or were answered or lost since, may have been used in this window.
            answered = self._accepted.count_after(known.at)
            self._used = max(1, answered) + in_flight + self._lost.count_after(known.at)
            if self._is_common:
                self._used = self._limit - report.remaining + in_flight
        elif at - self._at > renewals.period:
            self._used = 1 + in_flight + self._used_before
            self._used_before = 0
        self.remaining, self._at = report.remaining, at
        is_far = report.remaining == 0 and report.reset is not None and report.reset >= _MIN_RESET
        self._may_probe_at = renewals.resets_at if is_far and renewals.kind != "windows" else math.inf
        self._sent.drop_until(at - self._round_trip / 2)
        if not self._is_common:
            self._returned.drop_until(at)
        # A process that has just started sees what was used before. This shows others only if nothing remains.
        is_comparable = renewals.renewed_at > -math.inf or report.remaining == 0
        is_counted = renewals.kind == "windows" if self._is_common else renewals.kind != "gradual"
        if is_counted and is_comparable and self._limit - report.remaining > self._used:
            period = renewals.period
            self._others_until = now + min(_QUIET_WINDOWS * period, period + _QUIET)
        elif self._is_common:
            self._find_others(at, now, in_flight)

    def accepted(self, at: float) -> None:
        """Record an answer that shows nothing else, and arrived at `at`."""
        self._accepted.add(at)

    def unsent(self, count: int) -> None:
        """Record that requests were not sent after all."""
        self._used -= count
        self._sent.drop_last(count)

    def _unexplained(self, remaining: int, at: float) -> int:
        """Return by how much more R has risen since the last answer than a gradual limit explains."""
        # Short windows are used as well if they are treated as gradual limits.
        if self.remaining is None or self._window < _MIN_RESET:
            return 0
        margin, window = self._margin, self._window
        self._forget_old(at + margin, window)
        by_sliding_window = self._returned.count_between(self._at - margin, at + margin)
        by_bucket = math.ceil(self._limit * (at - self._at + margin) / window)
        return remaining - self.remaining - max(by_sliding_window, by_bucket)

    @property
    def _margin(self) -> float:
        """How exactly it is known when a request becomes available again, in seconds."""
        return self._round_trip + self._window / _GROUPS

    def _find_others(self, at: float, now: float, in_flight: int) -> None:
        """Find out whether more is missing from a gradual limit than is recorded here."""
        window = self._window
        for times in (self._accepted, self._returned, self._sent):
            times.resolution = window / _GROUPS
        if self.renewals.kind != "windows":
            margin = self._margin
            ours = in_flight + len(self._accepted) + self._returned.count_after(at - margin)
            if self._limit - (self.remaining or 0) <= ours + _TOLERATED * self._limit + 1:
                self._missing_since = math.inf
            elif self._limited_streak or at >= self._missing_since + max(_MISSING, window / 2):
                self._others_until = now + min(_QUIET_WINDOWS * window, window + _QUIET)
            else:
                # Without a 429 there is time: some of our processes may report a little later what they have sent.
                self._missing_since = min(self._missing_since, at)

    def rejected(self) -> None:
        """Record that a request was not counted, because another limit was used up."""
        self._used -= 1

    def lost(self, sent_at: float) -> None:
        """Record that no answer arrived. The request may have been used."""
        self._lost.add(sent_at)
        if self._is_common:
            self._accepted.add(sent_at)

    def _is_modest(self) -> bool:
        """Whether we have sent so little in the last window that we need not wait, because much remains."""
        renewals = self.renewals
        if renewals.kind != "windows" or not self.remaining or self.remaining < self._limit / 2:
            return False
        return len(self._accepted) + len(self._sent) < max(_MIN_MODEST, _MODEST * self._limit)

    def _advance(self, now: float) -> None:
        # A process that sends little saves up for a few requests at once.
        most = self._due + max(1.0, (self.remaining or 0) * _SAVED)
        self._credit = min(self._credit + (now - self._credit_at) * self._rate, most)
        self._credit_at = now
        in_windows = self.renewals.kind == "windows"
        self._rate = self._rate_in_windows(now) if in_windows else self._rate_of_gradual(now)

    def _rate_changes_at(self, now: float) -> float:
        """Return when the rate changes although no answer arrives."""
        if self.renewals.kind == "windows":
            ends_at = self.renewals.ends_at
            return ends_at if ends_at > now else math.inf
        return self._accepted.first + max(self.renewals.window, 1.0) if self._accepted else math.inf

    # --- the rates ---

    def _rate_in_windows(self, now: float) -> float:
        """Return the rate that lets R last until the end of the window."""
        renewals, limit, period = self.renewals, self._limit, self.renewals.period
        self._forget_old(now, period)
        part = min(1.0, max(_MIN_PART, (len(self._accepted) + 1) / (limit + 1)))
        root = math.sqrt(part)
        ends_at = renewals.ends_at
        left = (ends_at - now) / period
        remaining = float(self.remaining or 0)
        if left > 0:
            left_before = max(left, (ends_at - self._at) / period)
            remaining *= (left / left_before) ** (1 / root)
            left = max(left, _MIN_LEFT)
            least = _LEAST
        else:
            remaining = limit * max(0.0, 1 + left) ** (1 / root) if renewals.is_end_sure else 0
            left = max(1 + left, _OVERDUE)
            probe = max(_PROBE, part / 2) * limit * 0.5 ** min(self._limited_streak, _MAX_HALVINGS)
            least = max(probe, _LEAST_OVERDUE)
        remaining -= min(_MAX_MARGIN, _MARGIN * limit) * (1 - part)
        return max(root * max(0.0, remaining) / left, least) / period

    def _rate_of_gradual(self, now: float) -> float:
        """Return the rate of the last window, less what we give back, plus what we take from R."""
        window = max(self.renewals.window, 1.0)
        self._forget_old(now, window)
        limit, remaining = self._limit, self.remaining or 0
        expected = remaining + len(self._returned) - len(self._sent)
        answered_in = window - min(window, self._round_trip) / 2  # requests in flight are not counted yet
        own_rate = len(self._accepted) / answered_in
        own = own_rate * (self.renewals.window or 1.0)
        part = (own + 1) / (max(own, limit - remaining) + 1)
        self._part += (part - self._part) * min(1.0, 2 * (now - self._part_at) / window)
        self._part_at = now
        part = max(self._part, _MIN_PART)
        root = math.sqrt(part)
        target = min(_TARGET, _TARGET_FRACTION * limit) * root
        kept = 1 - _GIVE_BACK * min(1.0, (1 - part) / (1 - _GIVE_BACK_ALL_BELOW))
        quick = _TAKE / max(self._round_trip, 1e-3)
        taken = min(quick, _TAKE_IN_WINDOW * root / window) * max(0.0, expected - target)
        taken += quick * max(0.0, expected - limit / 2)
        rate = own_rate * kept * min(1.0, max(0.0, expected) / target) + taken
        full = limit / window
        probe = max(_PROBE * full, min(_SLOW_PROBE * full, _PROBE_RATE)) * 0.5 ** min(self._limited_streak, 3)
        return max(rate, probe, 1 / window)

    def _forget_old(self, now: float, window: float) -> None:
        """Move requests that were accepted more than a window ago to `_returned`."""
        for at, count in self._accepted.drop_until(now - window):
            self._returned.add(at + window, count)
        # An answer may seem to come from the future, because clocks differ.
        self._returned.drop_until(min(self._at, now) - self._margin if self._is_common else self._at)
