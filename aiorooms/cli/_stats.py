"""How far a command has come, as a line of text: `--stats`. No I/O.

Example of a run of 20,000 updates, 120 s after its start, and of a command that only reads:

    2026-11-27T12:03:10Z 11,200/20,000 rooms (56.0 %), 98/s, limit 100/s, 1:30 left, 3 failed
    2026-11-27T12:03:10Z 11,200 rooms read, 240/s

The rate is that of the last 30 s, or of the time since the last line if that is longer. The time left is estimated at
this rate, or at the rate limit if that is slower.
"""

from collections import deque
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Final, TypeAlias

import attrs

from .._text import counted
from ..bulk._units import clock, rate_per, time_left

if TYPE_CHECKING:
    from .._pacing import PacingSnapshot

__all__ = ["GetSample", "Sample", "Stats", "stamp"]

_WINDOW: Final = 30.0
"""Seconds over which the rate is measured."""

_MANY: Final = 1000
"""From this number of rooms on, the percentage has a decimal. Otherwise it would not change for a long time."""


@attrs.frozen(kw_only=True)
class Sample:
    """How far a command has come at one moment."""

    done: int
    """Number of rooms that have an outcome, or were read."""
    before: int = 0
    """How many of these have their outcome from an earlier run."""
    total: int | None = None
    """Number of rooms of the run; None for a command that only reads."""
    phase: str = ""
    """What a run does before its first update, as text."""
    more: str = ""
    """More that was done, as text."""
    failed: int = 0
    uncertain: int = 0
    conflicts: int = 0
    pacing: "PacingSnapshot | None" = None
    """The state of the rate limit; None if it is not shown."""

    @property
    def limit(self) -> float | None:
        """The rate limit in requests per second; None if it is unknown or not shown."""
        return None if self.pacing is None else self.pacing.sustainable_rate

    def failures(self) -> list[str]:
        """Return the number of failed rooms, and the other problems if there are any, as text."""
        kinds = {"failed": self.failed, "uncertain": self.uncertain, "in conflict": self.conflicts}
        return [f"{number:,} {kind}" for kind, number in kinds.items() if number or kind == "failed"]


GetSample: TypeAlias = Callable[[], Sample]
"""Returns how far a command has come now."""


class Stats:
    """Makes the lines of one command. Times are seconds on a monotonic clock."""

    def __init__(self, first: Sample, now: float) -> None:
        self._samples = deque([(now, first.done)])

    def line(self, sample: Sample, now: float, at: datetime, *, is_waiting: bool = False) -> str:
        """Return the line for a sample that was taken `now`, at the time `at` in UTC.

        During a wait, such as an outage, the line has no time left, because nobody knows when it ends.
        """
        while len(self._samples) > 1 and self._samples[1][0] <= now - _WINDOW:
            self._samples.popleft()
        then, done = self._samples[0]
        rate = (sample.done - done) / (now - then) if now > then else 0.0
        self._samples.append((now, sample.done))
        parts = (
            _reading(sample, rate) if sample.total is None else _run(sample, sample.total, rate, is_waiting=is_waiting)
        )
        return f"{stamp(at)} {', '.join(parts)}"


def _reading(sample: Sample, rate: float) -> list[str]:
    return [f"{counted(sample.done, 'room')} read{sample.more}", f"{rate_per(rate)}"]


def _run(sample: Sample, total: int, rate: float, *, is_waiting: bool) -> list[str]:
    share = 100 * sample.done / total if total else 100.0
    decimals = 1 if total >= _MANY else 0
    # Rounded down, so that 100 % means that all is done.
    percent = f"{int(share * 10**decimals) / 10**decimals:.{decimals}f} %"
    parts = [f"{sample.done:,}/{counted(total, 'room')} ({percent})"]
    if sample.phase:
        return [*parts, sample.phase]
    parts.append(rate_per(rate))
    if sample.limit is not None:
        parts.append(f"limit {rate_per(sample.limit)}")
    at_this_rate = (total - sample.done) / rate if rate else None
    left = time_left(total - sample.done, at_this_rate, sample.limit)
    if left is not None and not is_waiting:
        parts.append(f"{clock(left)} left")
    return parts + sample.failures()


def stamp(at: datetime) -> str:
    """Return a time in UTC as the lines begin with it."""
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"
