"""Write times and durations for people: `2026-11-27 19:04:10 UTC`, `1 h 02 min`, `12 s`."""

from datetime import UTC, datetime

__all__ = ["clock_utc", "duration", "utc"]


def utc(at: float) -> str:
    """Return a Unix time as date and time in UTC."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"


def clock_utc(at: float) -> str:
    """Return a Unix time as time of day in UTC."""
    return f"{datetime.fromtimestamp(at, UTC):%H:%M:%S} UTC"


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
    days_text = f"{days:,} day{'s' * (days != 1)}"
    return f"{days_text} {hours:02} h" if hours else days_text
