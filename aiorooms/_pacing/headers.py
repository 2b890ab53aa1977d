"""What the header of an answer says of the rate limit, and how long it asks to wait.

Functions over a mapping. They look at the clock only where a point of time is named and the answer has no `Date`.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Final, NamedTuple

__all__ = ["PLAIN", "RateLimitInfo", "Report", "read_rate_limit", "reset_after", "retry_after"]


class Report(NamedTuple):
    """What one answer said of the rate limit, as things stood when the server took the request."""

    limit: int
    """Requests that the server lets through in a window; 0 if it didn't say."""
    remaining: int
    """Requests that it will still let through, by whomever they are sent."""
    reset: float | None = None
    """Seconds until it lets more through; None if it didn't say."""
    exact: bool = False
    """Whether `reset` has a fraction. If not, it may have been rounded up or down."""


class RateLimitInfo(NamedTuple):
    """What an answer means for the rate limit; its headers are read once, for all who ask."""

    rate_limited: bool = False
    """Whether the answer is a 429."""
    retry_after: float | None = None
    """Seconds that a 429 asks to wait, without the reset of a window; None if it doesn't."""
    report: Report | None = None


PLAIN: Final = RateLimitInfo()
"""An answer that says nothing of a rate limit."""


def read_rate_limit(headers: Mapping[str, str], *, rate_limited: bool) -> RateLimitInfo:
    """Read what the headers of an answer say of the rate limit."""
    report = _read_report(headers)
    if rate_limited:
        return RateLimitInfo(rate_limited=True, retry_after=retry_after(headers), report=report)
    return PLAIN if report is None else RateLimitInfo(report=report)


def _read_report(headers: Mapping[str, str]) -> Report | None:
    """Read `x-ratelimit-remaining`, and with it `x-ratelimit-limit` and `x-ratelimit-reset`; None if it isn't there."""
    text = headers.get("x-ratelimit-remaining")
    if text is None:
        return None
    remaining = _seconds(text)
    if remaining is None:
        return None
    limit = int(_seconds(headers.get("x-ratelimit-limit")) or 0)
    reset = reset_after(headers)
    return Report(
        limit=max(limit, int(remaining)) if limit else 0,
        remaining=int(remaining),
        reset=reset,
        exact=reset is not None and reset != int(reset),
    )


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the server asks to wait, from `retry-after-ms` or `Retry-After` (RFC 9110, 10.2.3).

    A date is compared with the answer's own `Date`, so that a wrong clock on either side changes nothing. What makes
    no sense is None; a time that has passed is 0.
    """
    milliseconds = _seconds(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    value = headers.get("retry-after")
    if value is None:
        return None
    seconds = _seconds(value)
    if seconds is not None:
        return seconds
    until = _date(value)
    if until is None:
        return None
    now = _date(headers.get("date")) or datetime.now(UTC)
    return max(0.0, (until - now).total_seconds())


def reset_after(headers: Mapping[str, str]) -> float | None:
    """Seconds until the window of the rate limit resets, from `x-ratelimit-reset`; None if that makes no sense.

    The API gives seconds from now. Other gateways give the time itself, in seconds or milliseconds since 1970; whatever
    is more than three years off is taken for that.
    """
    value = _seconds(headers.get("x-ratelimit-reset"))
    if value is None or value < _EPOCH:
        return value
    seconds = value if value < 1000 * _EPOCH else value / 1000
    now = _date(headers.get("date")) or datetime.now(UTC)
    # The `Date` of an answer is in whole seconds: nothing finer can be said.
    return max(0.0, float(round(seconds - now.timestamp())))


_EPOCH: Final = 1e8

_NUMBER = re.compile(r"\s*[+-]?[0-9]{1,15}(\.[0-9]{0,15})?\s*", re.ASCII)


# A limit, and what remains of it, come again and again: 1 us less for an answer, of 2.
@lru_cache(maxsize=1024)
def _seconds(value: str | None) -> float | None:
    """A plain decimal number, at least 0; None for anything else (also `inf`, `nan` and `1e400`)."""
    return max(0.0, float(value)) if value is not None and _NUMBER.fullmatch(value) else None


def _date(value: str | None) -> datetime | None:
    if value is None:
        return None
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, OverflowError, TypeError, IndexError):
        return None
    # "-0000" gives a date without an offset; HTTP dates are in UTC.
    return date if date.tzinfo is not None else date.replace(tzinfo=UTC)
