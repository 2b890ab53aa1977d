"""What the server's own figures say may still be sent. Pure: times are handed in.

Each answer says how many requests remain (R) and when more will (the reset). From that two things are kept:

- **What may be in flight.** An answer tells how things stood when the server took *that* request, and whatever is in
  flight may come on top of it. So no more is in flight than the smallest R that was told since the last renewal: then
  all of it fits, whether R counted it or not, and late or mixed-up answers can't do harm.
- **When R grows again.** Until then a client that has used it up waits. What is known of that moment is `reset`, to
  within a second if it comes without fraction. Then the earliest moment that any answer since the last renewal named is
  taken: for a reset that is rounded up this is right to within the time between two answers. If the server refuses
  what is sent then, the reset was rounded down, and from then on a second is added.

At that moment one request is sent to see (a *probe*), unless the last window was seen to begin with a whole allowance
at once: then a whole allowance is assumed. A sliding window and a token bucket, which give back bit by bit, are told by
what the probe finds: R grows by little. If such a one tells whole seconds only, the next request is sent a window after
the oldest of the last ones: then at least that one has been given back.

**A renewal** is there for certain if an answer tells more than was known when its request was sent. (More than is known
when the answer comes proves nothing: answers overtake each other.) Each turn therefore holds what was known when it was
given. What was sent before a renewal was seen may belong to either window: it counts if it can only be the new one.

**Others** may spend from the same allowance: other processes with the same key. R shows what they spent. If all of them
sent as much as R allows, most of it would be refused when R comes to its end. So each takes only a part of R, as large
as its part of what was spent lately. That needs no word between them, and it leaves nothing unused: whoever wants more
gets it when the others want less.
"""

import math
from collections import deque
from typing import Final, NamedTuple

from .headers import Report

__all__ = ["Allowance", "Turn"]

_STUCK: Final = 1.0
"""Seconds after which a probe no longer waits for what is in flight."""

_FIRST_BACKOFF: Final = 0.01
_LONGEST_BACKOFF: Final = 5.0
"""Seconds to wait at the least after the first of several refusals in a row, doubled with each, and at the most."""


_ENOUGH_WHOLES: Final = 2

_ALONE: Final = 0.9
"""Who spent at least such a part of all that was spent is taken to be alone."""


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
        self._told = 0
        """The smallest R since the last renewal."""
        self._renewals = 0
        self._reset_at = math.inf
        """When this window ends, as it was told, not corrected: the earliest that was told, unless it's exact."""
        self._last_reset_at = math.inf
        """What the latest answer told."""
        self._exact = False
        self._rounded_down = False
        self._granted: deque[float] = deque(maxlen=1)
        """When the last requests got through, at most as many as the limit."""
        self._wholes = 0
        """Probes in a row that found a whole allowance; less than 0 if that was assumed and was wrong."""
        self._trickles = False
        self._assumed = False
        """A renewal was assumed, and no answer has told yet whether it has come."""
        self._refusals = 0
        """In a row."""
        self._refused_at = -math.inf
        self._window_began = 0.0
        self._began_with = 0
        """What R was when the present window was first heard of, and what we have sent in it since."""
        self._ours = 0
        self._earlier_ours = 0.0
        self._earlier_all = 0.0
        """What was spent in earlier windows, by us and by all; the longer ago, the less it counts."""

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

    def room(self, now: float, in_flight: int) -> int:
        """How many more may be sent now. If it is 0, look again when an answer comes, or at `look_at`."""
        room = self._room(now, in_flight)
        if room <= 0 and now >= self.look_at(in_flight):
            self._assume_renewal(now, in_flight)
            room = self._room(now, in_flight)
        return max(0, room)

    def look_at(self, in_flight: int) -> float:
        """When to look again, if nothing may be sent now and no answer comes before."""
        return self.renews_at if self._renews_whole or in_flight == 0 else self.renews_at + _STUCK

    def exhausted_until(self, now: float) -> float:
        """Until when nothing may be sent even if nothing were in flight; `now` if that is not so, or not known."""
        exhausted = self._room(now, 0) <= 0 and now < self.renews_at < math.inf
        return self.renews_at if exhausted else now

    def answered(self, turn: Turn, now: float, report: Report, *, refused: bool) -> None:
        """Take in what an answer told."""
        if report.limit != self.limit:
            if turn.renewals != self._renewals:
                return  # it was sent before the present limit was heard of
            # What was learned of rounding and of the kind of limiter holds on.
            self.limit = report.limit
            self.window = 0.0
            self._granted = deque(maxlen=report.limit)
            self._earlier_ours = self._earlier_all = 0.0
            self._begin_window(report, refused=refused)
            self._window_began = turn.sent_at
            self._renewals += 1
            turn = Turn(now, report.remaining + 1, self._renewals)
            self._ours = 0  # it is counted below
        self._exact |= report.exact
        self.window = max(self.window, report.reset or 0.0)
        if not refused:
            self._refusals = 0
        elif turn.sent_at >= self._refused_at:
            # Those that were sent before are of the same mishap.
            self._refusals += 1
            self._refused_at = now
        if not refused:
            self._granted.append(now)
        more = report.remaining > turn.told or (turn.told == 0 and not refused)
        reset_at = now + (report.reset or 0.0)
        if turn.renewals == self._renewals:
            if more:
                if not self._assumed:
                    self._window_began = turn.sent_at
                self._renewed(report)
                self._reset_at = reset_at
            else:
                self._spent(turn, report, refused=refused)
                self._reset_at = reset_at if self._exact else min(self._reset_at, reset_at)
        elif more or refused or self._trickles:
            self._spent(turn, report, refused=refused)
            self._reset_at = min(self._reset_at, reset_at)
        elif self.renews_at < math.inf:
            # Nobody knows which window it belongs to.
            return
        else:
            self._reset_at = reset_at
        self._last_reset_at = reset_at
        self._set_renewal(now, reset_at, refused=refused)

    def lost(self, now: float, in_flight: int) -> None:
        """Take in that an answer did not come, or told nothing."""
        if self.renews_at == math.inf and in_flight == 0:
            # Nothing is left that could tell more.
            self.renews_at = now + self.window

    def _room(self, now: float, in_flight: int) -> int:
        if self._assumed and not self._renews_whole:
            return self.remaining - in_flight
        spent = self._began_with - self._told
        part = min(1.0, (self._earlier_ours + self._ours + 1) / max(1.0, self._earlier_all + spent + 1))
        ours = self.remaining * part
        if self._earlier_all <= 0 or part < _ALONE:
            # Others may be there. What they have in flight, nobody has told yet.
            ours /= 2
        if self._earlier_all > 0 and not self._trickles:
            # What others are likely to want in the rest of the window is left to them.
            left = 1 - min(1.0, (now - self._window_began) / max(self.window, 1e-3))
            others = (1 - self._earlier_ours / self._earlier_all) * (self.limit or 0) * left - (spent - self._ours)
            ours = min(ours, self.remaining - others)
        room = math.floor(ours + 0.5) - in_flight
        # Whoever wanted little so far can't tell by that what is there for him.
        return 1 if room <= 0 and in_flight == 0 and self.remaining > 1 else room

    def _assume_renewal(self, now: float, in_flight: int) -> None:
        self.remaining = max((self.limit or 1) if self._renews_whole else 1, in_flight + 1)
        self.renews_at = math.inf
        self._renewals += 1
        self._assumed = True
        self._window_began = now

    def _renewed(self, report: Report) -> None:
        little = report.limit / 4
        if self._assumed and not self._renews_whole and self._told < little:
            self._wholes = self._wholes + 1 if report.remaining >= report.limit // 2 else min(self._wholes, 0)
            self._trickles = report.remaining < little
        self._earlier_ours = (self._earlier_ours + self._ours) / 2
        self._earlier_all = (self._earlier_all + self._began_with - self._told) / 2
        self._renewals += 1
        self._begin_window(report, refused=False)
        if self._renews_whole:
            # Others may have spent some of it before us.
            self._began_with = report.limit

    def _begin_window(self, report: Report, *, refused: bool) -> None:
        self._assumed = False
        self._told = self.remaining = report.remaining
        self._ours = 0 if refused else 1
        self._began_with = report.remaining + self._ours
        self._reset_at = math.inf

    def _spent(self, turn: Turn, report: Report, *, refused: bool) -> None:
        if self._assumed and refused:
            # If we came when we had been told to, that was too early.
            told = self._last_reset_at if self._trickles else self._reset_at
            self._rounded_down |= not self._exact and turn.sent_at >= told
            self._trickles = False
            self._wholes = -1 if self._renews_whole else min(self._wholes, 0)
        self._assumed = False
        self._ours += not refused
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
            self.renews_at = max(self.renews_at, now + backoff)
