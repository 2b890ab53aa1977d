"""What the server's own figures say may still be sent. Pure: times are handed in.

Each answer says how many requests remain (R) and when more will (the reset). From that two things are kept:

- **What may be in flight.** An answer tells how things stood when the server took *that* request, and whatever is in
  flight may come on top of it. So no more is in flight than the smallest R that was told since the last renewal: then
  all of it fits, whether R counted it or not, and late or mixed-up answers can't do harm.
- **When R grows again.** Until then a client that has used it up waits. What is known of that moment is `reset`, to
  within a second if it comes without fraction. Then the earliest moment that any answer since the last renewal named is
  taken: for a reset that is rounded up this is right to within the time between two answers. If the server refuses
  what is sent then, the reset was rounded down, and from then on a second is added.

At that moment one request is sent to see (a *probe*), unless the last two probes found at least half of the limit: then
a whole allowance is assumed. A sliding window and a token bucket, which give back bit by bit, are told by what the
probe finds: R grows by little. If such a one tells whole seconds only, the next request is sent a window after the
oldest of the last ones: then at least that one has been given back.

**A renewal** is there for certain if an answer tells more than was known when its request was sent. (More than is known
when the answer comes proves nothing: answers overtake each other.) Each turn therefore holds what was known when it was
given. What was sent before a renewal was seen may belong to either window: it counts if it can only be the new one.

**Others** may spend from the same allowance; `share` says which part of R is ours.
"""

import math
from collections import deque
from typing import Final, NamedTuple

from .headers import Report
from .share import Share

__all__ = ["Allowance", "Turn"]

_STUCK: Final = 1.0
"""Seconds after which a probe no longer waits for what is in flight."""

_FIRST_BACKOFF: Final = 0.01
_LONGEST_BACKOFF: Final = 5.0
"""Seconds to wait at the least after the first of several refusals in a row, doubled with each, and at the most; but
never more than half of a window, or who was unlucky once would miss its next beginning too."""


_ENOUGH_WHOLES: Final = 2

_FIRST_TRUST: Final = 8
_LONGEST_TRUST: Final = 256
"""Windows after which it is tried again whether resets are rounded down; doubled each time."""

_MOST_REMEMBERED: Final = 10_000
"""Times of requests that are kept, however high the limit is."""


class Turn(NamedTuple):
    """The turn of one attempt, with what was known when it was given."""

    sent_at: float
    told: int = 0
    """The smallest R since the last renewal."""
    renewals: int = 0


class Allowance:
    """What may be sent, learned from the figures in answers. Until the first of them nothing is known."""

    def __init__(self) -> None:
        self.limit: int | None = None
        """Requests per window, as told last; None while nothing is known."""
        self.remaining = 0
        """What may be in flight, by all processes together: what was told last, or is assumed."""
        self.window = 0.0
        """Seconds; the longest time to a reset that was told for this limit."""
        self.renews_at = math.inf
        """When to count on more; infinite while an answer has to come first."""
        self._share = Share()
        self._told = 0
        """The smallest R since the last renewal."""
        self._renewals = 0
        """How many there were so far, seen or assumed."""
        self._window_began = 0.0
        self._assumed = False
        """A renewal was assumed, and no answer has told yet whether it has come."""

        self._reset_at = math.inf
        """When this window ends, as it was told, not corrected: the earliest that was told, unless it's exact."""
        self._last_reset_at = math.inf
        """What the latest answer told."""
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

        self._refusals = 0
        """In a row."""
        self._refused_at = -math.inf
        """When the last of them came."""

    @property
    def is_known(self) -> bool:
        """Whether any answer has told anything."""
        return self.limit is not None

    @property
    def rate(self) -> float | None:
        """Requests per second that are let through in the long run; None if no reset was told."""
        return self.limit / self.window if self.limit is not None and self.window > 0 else None

    @property
    def _renews_whole(self) -> bool:
        return self._wholes >= _ENOUGH_WHOLES

    def turn(self, now: float) -> Turn:
        """Make a turn that is given now."""
        return Turn(now, self._told, self._renewals)

    def look(self, now: float, in_flight: int) -> int:
        """How many more may be sent now; if it's time for that, more is assumed to be there again.

        If it is 0, look again when an answer comes, or at `look_at`.
        """
        free = self._free(now, in_flight)
        if free <= 0 and now >= self.look_at(in_flight):
            self._assume_renewal(now, in_flight)
            free = self._free(now, in_flight)
        return max(0, free)

    def look_at(self, in_flight: int) -> float:
        """When to look again, if nothing may be sent now and no answer comes before."""
        return self.renews_at if self._renews_whole or in_flight == 0 else self.renews_at + _STUCK

    def exhausted_until(self, now: float) -> float:
        """Until when nothing may be sent even if nothing were in flight; `now` if that is not so, or not known."""
        exhausted = self._free(now, 0) <= 0 and now < self.renews_at < math.inf
        return self.renews_at if exhausted else now

    def answered(self, turn: Turn, now: float, report: Report, *, refused: bool) -> None:
        """Take in what an answer told."""
        # Without a word about the limit it is at least as high as what remains and the request itself.
        limit = report.limit or max(self.limit or 1, report.remaining + 1)
        if limit != self.limit:
            if turn.renewals != self._renewals:
                return  # it was sent before the present limit was heard of
            turn = self._take_limit(turn, now, report, limit)
        self._exact |= report.exact
        self.window = max(self.window, report.reset or 0.0)
        if not refused:
            self._refusals = 0
            if not self._exact:
                self._granted.append(now)
        elif turn.sent_at >= self._refused_at:
            # Those that were sent before are of the same mishap.
            self._refusals += 1
            self._refused_at = now
        more = report.remaining > turn.told or (turn.told == 0 and not refused)
        reset_at = now + (report.reset or 0.0)
        # What was sent just before a renewal was assumed can show as well that it has come.
        shows_it = self._assumed and more and not refused and turn.renewals == self._renewals - 1
        if turn.renewals == self._renewals or shows_it:
            if more:
                self._renew(turn, report)
                self._reset_at = reset_at
            else:
                self._spend(turn, report, refused=refused)
                self._reset_at = reset_at if self._exact else min(self._reset_at, reset_at)
        elif more or refused or self._trickles:
            self._spend(turn, report, refused=refused)
            self._reset_at = min(self._reset_at, reset_at)
        elif self.renews_at < math.inf:
            return  # nobody knows which window it belongs to
        else:
            self._reset_at = reset_at
        self._last_reset_at = reset_at
        self._set_renewal(now, reset_at, refused=refused)

    def lost(self, now: float, in_flight: int) -> None:
        """Take in that an answer did not come, or told nothing."""
        if self.renews_at == math.inf and in_flight == 0:
            # Nothing is left that could tell more.
            self.renews_at = now + self.window

    def _free(self, now: float, in_flight: int) -> int:
        if self._assumed and not self._renews_whole:
            return self.remaining - in_flight  # a probe
        passed = (now - self._window_began) / max(self.window, 1e-3)
        ours = self._share.of(
            self.remaining,
            told=self._told,
            limit=self.limit or 0,
            window_left=None if self._trickles else max(0.0, 1 - passed),
        )
        free = math.floor(ours + 0.5) - in_flight
        # Whoever wanted little so far can't tell by that what is there for him.
        # And if there is no moment to wait for, somebody has to ask.
        can_ask = in_flight == 0 and (self.remaining > 1 or self.renews_at == math.inf)
        return 1 if free <= 0 and can_ask else free

    def _take_limit(self, turn: Turn, now: float, report: Report, limit: int) -> Turn:
        """Begin anew with another limit; give the turn that the answer would have had if it had been known before.

        What was learned of rounding and of the kind of limiter holds on.
        """
        self.limit = limit
        self.window = 0.0
        self._share = Share()
        self._granted = deque(maxlen=min(limit, _MOST_REMEMBERED))
        self._renewals += 1
        self._begin_window(turn, report.remaining + 1)
        return Turn(now, report.remaining + 1, self._renewals)

    def _assume_renewal(self, now: float, in_flight: int) -> None:
        self.remaining = max((self.limit or 1) if self._renews_whole else 1, in_flight + 1)
        self.renews_at = math.inf
        self._renewals += 1
        self._assumed = True
        self._window_began = now

    def _renew(self, turn: Turn, report: Report) -> None:
        """Take in that there is more than there was."""
        limit = self.limit or 1
        little = limit / 4
        if self._assumed and not self._renews_whole and self._told < little:
            self._wholes = self._wholes + 1 if report.remaining >= limit // 2 else min(self._wholes, 0)
            self._trickles = report.remaining < little
        self._renewals += 1
        # Others may have spent some of it before us.
        self._begin_window(turn, limit if self._renews_whole else report.remaining + 1)
        self._told = self.remaining = report.remaining
        self._share.spent_by_us()
        self._doubt_rounding()

    def _doubt_rounding(self) -> None:
        """Try after some windows whether a reset is still too early: a refusal may have had another reason."""
        if self._rounded_down and not self._exact:
            self._windows_late += 1
            if self._windows_late >= self._windows_until_doubt:
                self._rounded_down = False
                self._windows_late = 0
                self._windows_until_doubt = min(2 * self._windows_until_doubt, _LONGEST_TRUST)
                self._wholes = 0  # so that one request is sent to see, and not all

    def _begin_window(self, turn: Turn, remaining: int) -> None:
        self._share.begin_window(self._told, remaining)
        if not self._assumed:
            self._window_began = turn.sent_at
        self._assumed = False
        self._told = self.remaining = remaining
        self._reset_at = math.inf

    def _spend(self, turn: Turn, report: Report, *, refused: bool) -> None:
        """Take in that there is no more than there was."""
        if not refused:
            self._share.spent_by_us()
        elif self._assumed:
            # If we came when we had been told to, that was too early.
            told = self._last_reset_at if self._trickles else self._reset_at
            self._rounded_down |= not self._exact and turn.sent_at >= told
            self._trickles = False
            self._wholes = -1 if self._renews_whole else min(self._wholes, 0)
        self._assumed = False
        self._told = self.remaining = min(self._told, report.remaining)

    def _set_renewal(self, now: float, reset_at: float, *, refused: bool) -> None:
        late = 1.0 if self._rounded_down and not self._exact else 0.0
        if refused and self._reset_at + late <= now:
            # That moment has passed, and it was the wrong one.
            self._reset_at = reset_at
        self.renews_at = self._reset_at + late
        if self._trickles and not self._exact and len(self._granted) == self._granted.maxlen:
            self.renews_at = min(self.renews_at, max(now, self._granted[0] + self.window + late))
        if self._refusals:
            backoff = min(_FIRST_BACKOFF * 2.0 ** min(self._refusals - 1, 32), _LONGEST_BACKOFF)
            if self.window > 0:
                backoff = min(backoff, self.window / 2)
            self.renews_at = max(self.renews_at, now + backoff)
