"""How far the runs of a journal have come, summed up line by line. Pure: it reads no file and no clock.

`Progress` takes the lines of a journal in their order, and can be asked at any moment. For example, the lines say that
run 1 updated 600 rooms, and that the updates of 50 more were in flight when it was killed. Run 2 has read 20 of these
50 back. Then 620 rooms are `updated`, 30 are `begun`, and the other 350 of 1,000 are not begun.

A room that is `updated` stays so, because no run sends its update again. So only its number is kept, and the state of
each other room. A million rooms then need little memory, unless most of them fail.

The rate is the number of updates that ended within some seconds before a moment. Their times are kept by the second,
for one minute.
"""

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from typing import Final, Literal, TypeAlias

import attrs

from ._glance import RoomBegin, RoomEnd, Seen
from ._journal_records import OutageBegin, OutageEnd, PacingRecord, Pause, RoomState, Run, Stop
from ._units import time_left

__all__ = ["FRESH", "Phase", "Progress", "RunProgress", "Snapshot"]

Phase: TypeAlias = Literal["running", "ended", "killed"]
"""The state of a journal's last run. `killed` means that no end was recorded, and no process writes the journal."""

FRESH: Final = 5.0
"""Seconds. A run writes a line at least once a second. If locks can't tell whether it is in progress, it is assumed to
be while its last line is not older than this."""

_NOW: Final = 5
_MINUTE: Final = 60
_SETTLED: Final = ("failed", "conflict")
_MAX_RUNS: Final = 1000


@attrs.define
class RunProgress:
    """One run."""

    number: int
    began_at: float
    """Unix time in seconds."""
    locked: bool | None
    ended_at: float | None = None
    ended: str | None = None
    """How it ended, as in `Stop.stop`; None if no end was recorded."""


@attrs.frozen
class Snapshot:
    """What can be said about a journal at one moment."""

    phase: Phase
    rooms: int
    """Number of rooms in the plan."""
    counts: Mapping[str, int]
    """Number of rooms by state: `updated`, `failed`, `uncertain`, `conflict`, `skipped`, `begun` and `not_begun`."""
    already_right: int
    """How many of the updated rooms already had the wanted values, so that no update was sent."""
    left: int
    """Number of rooms that the run has still to do; if it has ended, that a `resume` would do."""
    rate_now: float | None
    """Updates per second over the last 5 seconds; None unless the run is in progress."""
    rate_minute: float | None
    """Updates per second over the last minute, or since the run began; None unless the run is in progress."""
    limit: float | None
    """The sustained rate that the rate limit allows, in requests per second; None if unknown."""
    rate_limited: int
    """Number of rate-limited requests in the last run."""
    seconds_left: float | None
    """Expected time left, in seconds; None if unknown."""
    pause: Pause | None
    """The pause in progress, or in which the run was killed."""
    outage: OutageBegin | None
    """The outage in progress, or in which the run was killed."""
    runs: Sequence[RunProgress]
    """The last 1,000 runs."""
    last_at: float
    """When the last line was written, as Unix time in seconds."""
    damaged: int
    """Number of damaged lines, which are not in the other numbers."""

    @property
    def is_complete(self) -> bool:
        """Whether the last run has ended, and all rooms of the plan are updated."""
        return self.phase == "ended" and self.counts["updated"] >= self.rooms

    @property
    def done(self) -> int:
        """Number of rooms with an outcome."""
        return self.rooms - self.left


class Progress:
    """The sum of the lines of a journal."""

    def __init__(self, rooms: int, at: float) -> None:
        """`rooms` is the number of rooms in the plan, and `at` the time of the header."""
        self._rooms = rooms
        self._updated = 0
        self._found = 0
        self._others: dict[str, tuple[RoomState, int]] = {}
        """The state of each room that is not updated, and the number of the run that wrote it."""
        self._counts: Counter[str] = Counter()
        """The number of rooms in `_others`, by state."""
        self._redo = 0
        """The number of rooms in `_others` that an earlier run left uncertain, begun or skipped."""
        self._runs: deque[RunProgress] = deque(maxlen=_MAX_RUNS)
        self._run = 0
        self._seconds: deque[list[int]] = deque(maxlen=_MINUTE + 1)
        """For each of the last seconds in which an update ended: the second, and how many."""
        self._limit: float | None = None
        self._rate_limited = 0
        self._pause: Pause | None = None
        self._outage: OutageBegin | None = None
        self._last_at = at
        self._damaged = 0

    def add(self, seen: Seen, *, is_damaged: bool = False) -> None:
        """Add a line."""
        self._damaged += is_damaged
        if seen is None:
            return
        match seen:
            case RoomBegin(room_id=room_id):
                self._set(room_id, "begun")
            case RoomEnd():
                self._end(seen)
            case Run():
                self._begin_run(seen)
            case Stop():
                self._end_run(seen)
            case PacingRecord():
                self._limit, self._rate_limited = seen.pacing.limit, seen.pacing.refused
            case Pause():
                self._pause = seen if seen.holds_up else None
            case OutageBegin():
                self._outage = seen
            case OutageEnd():
                self._outage = None
            case _:
                pass
        self._last_at = max(self._last_at, seen.at)

    def _end(self, end: RoomEnd) -> None:
        if end.attempts:
            second = int(end.at)
            if self._seconds and self._seconds[-1][0] == second:
                self._seconds[-1][1] += 1
            else:
                self._seconds.append([second, 1])
        if end.status != "updated":
            self._set(end.room_id, end.status)
            return
        self._forget(end.room_id)
        self._updated += 1
        self._found += end.found

    def _set(self, room_id: str, state: RoomState) -> None:
        self._forget(room_id)
        self._others[room_id] = state, self._run
        self._counts[state] += 1

    def _forget(self, room_id: str) -> None:
        before = self._others.pop(room_id, None)
        if before is not None:
            state, run = before
            self._counts[state] -= 1
            self._redo -= run != self._run and state not in _SETTLED

    def _begin_run(self, run: Run) -> None:
        self._run += 1
        self._redo = sum(self._counts[state] for state in self._counts if state not in _SETTLED)
        self._runs.append(RunProgress(run.run, run.at, run.locked))
        self._seconds.clear()
        self._limit, self._rate_limited, self._pause, self._outage = None, 0, None, None

    def _end_run(self, stop: Stop) -> None:
        if self._runs:
            self._runs[-1].ended, self._runs[-1].ended_at = stop.stop, stop.at
        self._pause = self._outage = None

    # --- what can be said ---

    def phase(self, now: float, *, is_locked: bool | None) -> Phase:
        """Return the state of the last run. `is_locked` says whether a run holds the lock; None if that is unknown."""
        last = self._runs[-1] if self._runs else None
        if last is not None and last.ended is not None:
            return "ended"
        if is_locked:
            return "running"
        if is_locked is None or (last is not None and last.locked is False):
            return "running" if now - self._last_at <= FRESH else "killed"
        return "killed"

    def snapshot(self, now: float, *, is_locked: bool | None) -> Snapshot:
        """Return what can be said at the Unix time `now`. `is_locked` is that of `phase`."""
        phase = self.phase(now, is_locked=is_locked)
        is_running = phase == "running"
        counts: dict[str, int] = {"updated": min(self._updated, self._rooms)}
        counts |= {state: self._counts[state] for state in ("failed", "uncertain", "conflict", "skipped", "begun")}
        counts["not_begun"] = max(0, self._rooms - sum(counts.values()))
        left = counts["not_begun"] + (self._redo + self._in_flight() if is_running else self._unsettled())
        # A pause is over when its time is, even if nothing says so.
        moment = now if is_running else self._last_at
        pause = self._pause if self._pause is not None and moment < self._pause.at + self._pause.pause else None
        rate_now, rate_minute = (self._rate(now, _NOW), self._rate(now, _MINUTE)) if is_running else (None, None)
        return Snapshot(
            phase=phase,
            rooms=self._rooms,
            counts=counts,
            already_right=self._found,
            left=min(left, self._rooms),
            rate_now=rate_now,
            rate_minute=rate_minute,
            limit=self._limit,
            rate_limited=self._rate_limited,
            seconds_left=self._seconds_left(left, rate_minute),
            pause=pause,
            outage=self._outage,
            runs=[attrs.evolve(run) for run in self._runs],
            last_at=self._last_at,
            damaged=self._damaged,
        )

    def _unsettled(self) -> int:
        return sum(self._counts[state] for state in self._counts if state not in _SETTLED)

    def _seconds_left(self, left: int, rate: float | None) -> float | None:
        """Return the expected time left. During an outage, or while nothing is updated, it can't be known."""
        if self._outage is not None or not left or not rate:
            return None
        return time_left(left, left / rate, self._limit or None)

    def _in_flight(self) -> int:
        """Return the number of rooms that the current run has begun, and that have no outcome yet."""
        return sum(1 for state, run in self._others.values() if state == "begun" and run == self._run)

    def _rate(self, now: float, seconds: int) -> float | None:
        if not self._runs:
            return None
        lasted = min(float(seconds), now - self._runs[-1].began_at)
        if lasted < 1:
            return None
        return sum(count * _share(second, now - lasted, now) for second, count in self._seconds) / lasted


def _share(second: int, since: float, now: float) -> float:
    """Return which part of a second, as far as it has passed, lies after `since`."""
    end = min(second + 1.0, now)
    if end <= second:  # the second has just begun, or the clock of this machine is slow
        return 1.0
    return max(0.0, end - max(float(second), since)) / (end - second)
