"""Read the rate limit and the requested wait from the headers of an answer.

The functions use the local clock only if a header contains a point in time and the answer has no `Date`.

Example: `x-ratelimit-limit: 100`, `x-ratelimit-remaining: 40` and `x-ratelimit-reset: 4` mean that the server still
accepts 40 of 100 requests now, and more in 4 s. The reset is not `exact`, because 4 may be a rounded number. A reset of
4.25 would be exact.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Final, NamedTuple

__all__ = ["NO_INFO", "RateLimitInfo", "Report", "read_rate_limit", "reset_after", "retry_after"]


class Report(NamedTuple):
    """The `x-ratelimit` headers of one answer: the state when the server processed the request."""

    limit: int
    """Requests per window; 0 if not reported."""
    remaining: int
    """Requests that the server still accepts, from all processes with the same key together."""
    reset: float | None = None
    """Seconds until the server accepts more; None if not reported."""
    exact: bool = False
    """Whether `reset` has a fractional part. A whole number may have been rounded up or down."""


class RateLimitInfo(NamedTuple):
    """What an answer says about the rate limit, for the pacer and for the error that the caller gets."""

    rate_limited: bool = False
    """Whether the answer is a 429."""
    retry_after: float | None = None
    """The wait that a 429 asks for in `Retry-After` or `retry-after-ms`, in seconds; None if it asks for none."""
    report: Report | None = None


NO_INFO: Final = RateLimitInfo()
"""An answer without any information about a rate limit."""


def read_rate_limit(headers: Mapping[str, str], *, rate_limited: bool) -> RateLimitInfo:
    """Return what the headers of an answer say about the rate limit."""
    report = _read_report(headers)
    if rate_limited:
        return RateLimitInfo(rate_limited=True, retry_after=retry_after(headers), report=report)
    return NO_INFO if report is None else RateLimitInfo(report=report)


def _read_report(headers: Mapping[str, str]) -> Report | None:
    """Return the reported limit; None if `x-ratelimit-remaining` is missing or unreadable."""
    text = headers.get("x-ratelimit-remaining")
    if text is None:
        return None
    remaining = _count(text)
    if remaining is None:
        return None
    limit = _count(headers.get("x-ratelimit-limit")) or 0
    reset = reset_after(headers)
    return Report(
        limit=max(limit, remaining) if limit else 0,
        remaining=remaining,
        reset=reset,
        exact=reset is not None and reset != int(reset),
    )


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return how many seconds the server asks to wait, from `retry-after-ms` or `Retry-After` (RFC 9110, 10.2.3).

    A date is compared with the answer's own `Date`, so the two machines' clocks may differ. Return None if both headers
    are missing or unreadable, and 0 for a time that has passed.
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return _seconds(milliseconds / 1000)
    value = headers.get("retry-after")
    if value is None:
        return None
    seconds = _number(value)
    if seconds is not None:
        return _seconds(seconds)
    until = _date(value)
    if until is None:
        return None
    now = _date(headers.get("date")) or datetime.now(UTC)
    return _seconds((until - now).total_seconds())


def reset_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds until the rate limit resets, from `x-ratelimit-reset`; None if missing or unreadable.

    The API sends seconds from now. Other servers send a Unix time in seconds or milliseconds. A value that would be
    more than three years from now is read as a Unix time.
    """
    value = _number(headers.get("x-ratelimit-reset"))
    if value is None:
        return None
    if value < _MIN_UNIX_TIME:
        return min(value, _MAX_SECONDS)
    seconds = value if value < 1000 * _MIN_UNIX_TIME else value / 1000
    now = _date(headers.get("date")) or datetime.now(UTC)
    # `Date` has whole seconds, so a fraction of the difference would be meaningless.
    return _seconds(float(round(seconds - now.timestamp())))


def _seconds(value: float) -> float:
    """Clamp a wait to the range 0 to `_MAX_SECONDS`. Adding a much larger number to a `datetime` would overflow."""
    return min(max(0.0, value), _MAX_SECONDS)


_MAX_SECONDS: Final = 366 * 86_400.0

_MAX_COUNT: Final = 1e9
"""Maximum request count. Larger counts in a header are reduced to this number."""

_MIN_UNIX_TIME: Final = 1e8
"""Values of at least this number are Unix times. Smaller values are seconds from now."""

_NUMBER = re.compile(r"\s*[+-]?[0-9]{1,40}(\.[0-9]{0,15})?\s*", re.ASCII)


# Cached because the same numbers recur. The cache saves half of the 2 us that reading the headers takes.
@lru_cache(maxsize=1024)
def _number(value: str | None) -> float | None:
    """Parse a plain decimal number. Return 0 if it is negative, and None for other text, such as `inf` or `1e400`."""
    return max(0.0, float(value)) if value is not None and _NUMBER.fullmatch(value) else None


@lru_cache(maxsize=1024)
def _count(value: str | None) -> int | None:
    """Parse a number of requests. Return at most `_MAX_COUNT`, and None if there is no number."""
    number = _number(value)
    return None if number is None else int(min(number, _MAX_COUNT))


def _date(value: str | None) -> datetime | None:
    if value is None:
        return None
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, OverflowError, TypeError, IndexError):
        return None
    # A date with the zone "-0000" is parsed without an offset. HTTP dates are in UTC.
    return date if date.tzinfo is not None else date.replace(tzinfo=UTC)
