"""Decide what to say about waits: outages, pauses of the rate limit, and retries of a single call. No I/O.

A *notice* is what a terminal shows while a wait lasts, such as `rate limited, resumes in 18 s`. It counts. A *line* is
written once, where nothing can count: to a log file, a pipe or the mail of cron.

- **An outage** is always announced, and so is its end. Only a run of several updates has outages.
- **A pause** is announced if it lasts for `shortest` seconds or longer. A limit with short windows pauses the run again
  and again, so a pause that is nothing special is announced at most once in ten minutes. Special are a 429 that asks
  for 5 s or more, and any other pause of 30 s or more. A pause because of `--rate` is not announced, because the user
  asked for it.
- **A retry** is announced if its call has lasted for 2 s, or will wait for 2 s. Many calls may be retried at the same
  time, so there is one announcement in 2 s.

Example: at t = 0 a 429 asks a run for a pause of 18 s. The line is `rate limited, resumes in 18 s (a 429 asked for a
pause)`. The notice at t = 0 is `rate limited, resumes in 18 s`, and at t = 5.5 it is `rate limited, resumes in 13 s`.
At t = 18 there is the line `sending again after a pause of 18 s`, and no notice.
"""

import math
from datetime import datetime, timedelta
from typing import Final, NamedTuple

import attrs

from ..bulk._units import whole_seconds
from ..telemetry import (
    Event,
    OutageBegan,
    OutageEnded,
    PauseReason,
    RateLimitPaused,
    RetryScheduled,
    RunStopped,
    SharedPacingChanged,
)
from ..telemetry._events import PAUSE_WORDS

__all__ = ["Notice", "Notices"]

SHORTEST_NOTICE: Final = 2.0
"""Seconds. There is no notice about a shorter pause, because nobody could read it."""

_LONG: Final[dict[PauseReason, float]] = {"retry_after": 5.0, "limit": 30.0, "probing": 30.0, "max_rate": math.inf}
"""Seconds. A pause that lasts at least this long is always announced."""

_REPEAT: Final = 600.0
"""Seconds. Other pauses are announced at most once in this time."""

_SAME: Final = 1.0
"""Seconds. A pause that is reported again, and whose end differs by less, is the same."""

_SLOW: Final = 2.0
"""Seconds. A retry is announced if its call has lasted, or will wait, this long."""


class Notice(NamedTuple):
    """What a terminal shows while a wait lasts."""

    text: str
    short: str
    """The same for a narrow terminal."""


@attrs.frozen
class _Outage:
    since: float
    what: str
    short: str
    patience: float

    def notice(self, now: float) -> Notice:
        lasted = now - self.since
        end = f"gives up at {self.patience:g} s" if lasted < self.patience else "giving up"
        return Notice(f"{self.what} for {lasted:,.0f} s, {end}", f"{self.short} {lasted:,.0f} s")


@attrs.define
class _Pause:
    began: float
    until: float
    is_announced: bool

    def notice(self, now: float) -> Notice:
        left = whole_seconds(self.until - now)
        return Notice(f"rate limited, resumes in {left}", f"paused {left}")


@attrs.frozen
class _Retry:
    text: str
    attempt: int
    """The number of the next attempt."""
    until: float

    def notice(self, now: float) -> Notice:
        left = self.until - now
        if left <= 0:
            return Notice(f"{self.text}; waiting for attempt {self.attempt}", f"attempt {self.attempt}")
        return Notice(
            f"{self.text}; trying again in {whole_seconds(left)} (attempt {self.attempt})",
            f"retry in {whole_seconds(left)}",
        )


class Notices:
    """The notices and lines of one command. Times are seconds on a monotonic clock."""

    def __init__(self, *, shortest: float = 5.0, ends: bool = True) -> None:
        """`shortest` is that of the announced pauses, and `ends` says whether the end of a pause is announced too."""
        self._shortest = shortest
        self._ends = ends
        self._outage: _Outage | None = None
        self._pause: _Pause | None = None
        self._retry: _Retry | None = None
        self._announced_at = -math.inf
        """When a pause was announced that is nothing special, or a retry."""
        self._retry_at = -math.inf
        self._is_shared: bool | None = None

    def record(self, event: Event, now: float, at: datetime) -> str | None:
        """Record an event that happens `now`, at the time `at` in UTC. Return the line to write, if any."""
        match event:
            case OutageBegan():
                return self._outage_began(event, now, at)
            case OutageEnded():
                return self._outage_ended(event, now)
            case RateLimitPaused():
                return self._paused(event.seconds, event.reason, now)
            case RetryScheduled(status=429):
                return self._paused(event.delay, "retry_after", now)
            case RetryScheduled():
                return self._retried(event, now)
            case SharedPacingChanged():
                return self._sharing_changed(event)
            case RunStopped():
                self._outage = self._pause = self._retry = None
                return None
            case _:
                return None

    def _sharing_changed(self, event: SharedPacingChanged) -> str | None:
        was_shared, self._is_shared = self._is_shared, event.is_shared
        if not event.is_shared:
            return f"the rate limit can't be shared, so this process paces itself: the store fails ({event.why})"
        return "the rate limit is shared now" if was_shared is False else None

    def progressed(self) -> None:
        """Record that an answer has arrived, so that no call is being retried."""
        self._retry = None

    def tick(self, now: float) -> str | None:
        """Return the line about the pause that is over now, if any."""
        pause = self._pause
        if pause is None or now < pause.until:
            return None
        self._pause = None
        if not (pause.is_announced and self._ends):
            return None
        return f"sending again after a pause of {whole_seconds(pause.until - pause.began)}"

    def notice(self, now: float) -> Notice | None:
        """Return what to show now."""
        if self._outage is not None:
            return self._outage.notice(now)
        pause = self._pause
        if pause is not None and now < pause.until and pause.until - pause.began >= SHORTEST_NOTICE:
            return pause.notice(now)
        return None if self._retry is None else self._retry.notice(now)

    def _outage_began(self, event: OutageBegan, now: float, at: datetime) -> str:
        what = "server not answering" if event.status is None else f"server answering {event.status}"
        patience = math.inf if event.patience is None else event.patience
        short = "no answer" if event.status is None else f"answer {event.status}"
        self._outage = _Outage(now - event.unavailable_for, what, short, patience)
        since = f"{at - timedelta(seconds=event.unavailable_for):%H:%M:%S} UTC"
        end = "" if patience == math.inf else f"; the run gives up after {patience:g} s"
        return f"{what} since {since}{end} ({event.reason})"

    def _outage_ended(self, event: OutageEnded, now: float) -> str:
        seconds = event.seconds if self._outage is None else now - self._outage.since
        self._outage = None
        return f"the server answers again after {whole_seconds(seconds)}"

    def _paused(self, seconds: float, reason: PauseReason, now: float) -> str | None:
        until = now + seconds
        before = self._pause
        if reason == "max_rate" or (before is not None and until <= before.until + _SAME):
            return None
        is_special = seconds >= _LONG[reason]
        is_announced = seconds >= self._shortest and (is_special or now >= self._announced_at + _REPEAT)
        began, was_announced = (now, False) if before is None else (before.began, before.is_announced)
        self._pause = _Pause(began, until, is_announced or was_announced)
        if not is_announced:
            return None
        if not is_special:
            self._announced_at = now
        return f"rate limited, resumes in {whole_seconds(seconds)} ({PAUSE_WORDS[reason]})"

    def _retried(self, event: RetryScheduled, now: float) -> str | None:
        if max(event.delay, event.elapsed) < _SLOW or now < self._retry_at + _SLOW:
            return None
        self._retry_at = now
        self._retry = retry = _Retry(event.reason, event.attempt + 1, now + event.delay)
        return f"{retry.text}; trying again in {whole_seconds(event.delay)} (attempt {retry.attempt})"
