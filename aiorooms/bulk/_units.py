"""Write times, durations and rates for people: `2026-11-27 19:04:10 UTC`, `1 h 02 min`, `12 s`, `98/s`.

A duration has the form that suits its place. For example, 90 s are `1 min 30 s` in a sentence and `1:30` in a progress
bar, where the text must be short. The rest of a wait is rounded up to whole seconds, because a wait that is not over is
not `0 s`. The time that a request took is `87 ms` or `1.2 s`.
"""

import math
from datetime import UTC, datetime
from typing import Final

from .._text import counted

__all__ = [
    "clock",
    "clock_utc",
    "duration",
    "latency",
    "rate_per",
    "rate_text",
    "recorded_utc",
    "time_left",
    "utc",
    "whole_seconds",
]

_SLOW: Final = 10
"""Per second. A lower rate has a decimal."""


def utc(at: float) -> str:
    """Return a Unix time as date and time in UTC."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"


def clock_utc(at: float) -> str:
    """Return a Unix time as time of day in UTC."""
    return f"{datetime.fromtimestamp(at, UTC):%H:%M:%S} UTC"


def recorded_utc(time: str) -> str:
    """Return a time from a file as date and time in UTC, or the text itself if it is not a time."""
    try:
        return utc(datetime.fromisoformat(time).timestamp())
    except (ValueError, OverflowError):
        return time


def duration(seconds: float) -> str:
    """Return a duration with its one or two largest units, such as `3 days 04 h`, `5 min 07 s` or `0.4 s`."""
    if seconds < 9.95:
        return f"{max(seconds, 0.0):.1f} s" if round(seconds, 1) % 1 else f"{max(round(seconds), 0)} s"
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    if not hours:
        return f"{minutes} min {rest:02} s" if rest else f"{minutes} min"
    days, hours = divmod(hours, 24)
    if not days:
        return f"{hours} h {minutes:02} min" if minutes else f"{hours} h"
    days_text = counted(days, "day")
    return f"{days_text} {hours:02} h" if hours else days_text


def clock(seconds: float) -> str:
    """Return a duration as minutes and seconds, with hours if there are any, such as `1:02:03`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def whole_seconds(seconds: float) -> str:
    """Return the rest of a wait in seconds, rounded up, such as `1,200 s`."""
    return f"{max(1, math.ceil(seconds - 0.001)):,} s"


def latency(seconds: float) -> str:
    """Return how long a request or an update took, such as `87 ms` or `1.2 s`."""
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else duration(seconds)


def rate_text(rate: float) -> str:
    """Return a rate with one decimal if it is low."""
    return f"{rate:,.0f}" if rate >= _SLOW or not round(rate, 1) % 1 else f"{rate:.1f}"


def rate_per(rate: float) -> str:
    """Return a rate, given per second, with its unit: `98/s`, `10/min` or `2.5/h`."""
    if not rate or rate >= _SLOWEST:
        return f"{rate_text(rate)}/s"
    return f"{rate_text(60 * rate)}/min" if 60 * rate >= 1 else f"{rate_text(3600 * rate)}/h"


_SLOWEST: Final = 0.05
"""A lower rate would be 0.0 per second."""


def time_left(left: float, at_this_speed: float | None, limit: float | None) -> float | None:
    """Return the estimated time left in seconds, at the measured speed or at the rate limit, whichever is slower.

    `left` is the number of rooms that are left, and `at_this_speed` the estimate at the measured speed. `limit` is the
    rate limit in requests per second. Return None if both the speed and the limit are unknown.

    Requests are sent in a burst at the beginning of each window, so the measured speed may be far above the limit. For
    example, 900 rooms are left, the limit is 100 requests/s, and the measured speed is 900 rooms/s. The result is
    900 / 100 = 9 s, not 900 / 900 = 1 s.
    """
    if limit is None:
        return at_this_speed
    return max(left / limit, at_this_speed or 0.0)
