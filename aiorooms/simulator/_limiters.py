"""The rate limit: which requests are allowed.

A `RateLimit` is the rule that a test defines. A `Limiter` counts requests, and decides which of them the rule allows.
You can combine any way to count requests with any way to report the limit (`_limit_headers`), because real gateways
differ in both. `_limit_sets` combines several limits.

| kind | requests allowed |
|---|---|
| `fixed` | `limit` in each window; the first window starts when the limiter is created, and windows don't overlap |
| `sliding` | `limit` in any period of `window` seconds |
| `bucket` | one for each token; the bucket starts with `limit` tokens, and refills evenly within `window` seconds |

Example: five requests are sent, and the limit is 2 requests in 10 seconds.

| sent at | 0 s | 4 s | 9 s | 10 s | 11 s |
|---|---|---|---|---|---|
| `fixed` | allowed | allowed | 429 | allowed | allowed |
| `sliding` | allowed | allowed | 429 | allowed | 429 |
| `bucket` | allowed | allowed | allowed | allowed | 429 |

A request that gets a 429 is not counted. With `fixed`, unused requests of a window don't carry over to the next window.
Since the first window starts before the first request, that request usually arrives in the middle of a window. All
kinds count time in whole nanoseconds, so no rounding error allows a request too early or too late.
"""

import math
import re
from collections import deque
from collections.abc import Callable
from fractions import Fraction
from typing import Literal, Protocol, TypeAlias, get_args

import attrs
from attrs.validators import in_

_SECOND = 1_000_000_000
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
PERIODS = {"second": 1.0, "minute": 60.0, "hour": 3600.0, "day": 86_400.0}
"""The windows that the style `kong` can report, in seconds."""
_RULE = re.compile(r"(\d{1,9})\s*/\s*(\d{0,9}(?:\.\d{1,6})?)\s*(ms|s|m|h)", re.ASCII)


def _check_limit(_instance: "RateLimit", _attribute: "attrs.Attribute[int]", value: int) -> None:
    if value < 1:
        raise ValueError(f"a rate limit must allow at least 1 request per window, not {value}")


def _check_window(_instance: "RateLimit", _attribute: "attrs.Attribute[float]", value: float) -> None:
    if not 0 < value < math.inf:
        raise ValueError(f"the window of a rate limit must be finite and more than 0 seconds, not {value}")


Style: TypeAlias = Literal["x-ratelimit", "ietf-fields", "ietf-dictionary", "ietf-policy", "kong"]


@attrs.frozen
class RateLimit:
    """The number of requests allowed per window, how they are counted, and what the answers report.

    `RateLimit(100)` allows 100 requests in each second. Requests over the limit get a 429 with code 10011 and change
    nothing. With `headers=False`, the only rate limit header is the one that `retry_after` adds to a 429.
    """

    limit: int = attrs.field(default=100, validator=_check_limit)
    """Number of requests per window, at least 1. For a bucket, its size in tokens."""
    window: float = attrs.field(default=1.0, validator=_check_window)
    """Length of a window in seconds, more than 0. For a bucket, the time in which an empty bucket becomes full."""
    reset_rounding: Literal["fractional", "up", "down"] = attrs.field(
        default="up", validator=in_(("fractional", "up", "down"))
    )
    """How the reset is rounded: to microseconds, or up or down to whole seconds.

    With `down`, a client that relies on the reset retries too early.
    """
    headers: bool = True
    """Whether answers have headers that report the limit. `style` selects which."""
    retry_after: Literal["none", "seconds", "date", "ms"] = attrs.field(
        default="none", validator=in_(("none", "seconds", "date", "ms"))
    )
    """Header of a 429: none, Retry-After in whole seconds or as a date, or `retry-after-ms` (all rounded up)."""
    kind: Literal["fixed", "sliding", "bucket"] = attrs.field(
        default="fixed", kw_only=True, validator=in_(("fixed", "sliding", "bucket"))
    )
    """How requests are counted: in fixed windows, over the last `window` seconds, or with a token bucket.

    The reported reset is the time until the window ends (`fixed`), until the oldest counted request leaves the window
    (`sliding`) or until the bucket is full (`bucket`). An empty bucket allows the next request earlier: as soon as it
    contains one token. The header that `retry_after` selects reports the time until the next request is allowed.
    """

    style: Style = attrs.field(default="x-ratelimit", kw_only=True, validator=in_(get_args(Style)))
    """The headers that report the limit. Drafts are versions of draft-ietf-httpapi-ratelimit-headers.

    | style | headers |
    |---|---|
    | `x-ratelimit` | `x-ratelimit-limit`, `-remaining` and `-reset` |
    | `ietf-fields` | `ratelimit-limit`, `-remaining` and `-reset`, `ratelimit-policy: 10;w=1` (draft 06) |
    | `ietf-dictionary` | `ratelimit: limit=10, remaining=9, reset=1`, `ratelimit-policy: 10;w=1` (draft 07) |
    | `ietf-policy` | `ratelimit: "10-in-1s";r=9;t=1`, `ratelimit-policy: "10-in-1s";q=10;w=1` (draft 10) |
    | `kong` | `x-ratelimit-limit-second`, `x-ratelimit-remaining-second`, and the first three of `ietf-fields` |

    If there are several limits, the fields of `x-ratelimit` are lists, such as `9, 990`. `ietf-fields`,
    `ietf-dictionary` and the last three fields of `kong` report only the limit with the fewest remaining requests.
    `kong` needs a window of one second, minute, hour or day.
    """
    reset: Literal["seconds", "unix", "date", "none"] = attrs.field(
        default="seconds", kw_only=True, validator=in_(("seconds", "unix", "date", "none"))
    )
    """The reset in the headers: seconds from now, a Unix time, an HTTP date, or no reset at all.

    Only `x-ratelimit` and `ietf-fields` can report a time or a date. A date has whole seconds. With `kong` and `none`,
    the fields that `ietf-fields` has too are omitted, as in old versions of Kong.
    """

    def __attrs_post_init__(self) -> None:
        problems: list[str] = []
        if self.style == "kong" and self.window not in PERIODS.values():
            problems.append(f"style 'kong' needs a window of 1, 60, 3600 or 86400 seconds, not {self.window:g}")
        if self.reset in ("unix", "date") and self.style not in ("x-ratelimit", "ietf-fields"):
            problems.append(f"style {self.style!r} can't report a reset of {self.reset!r}; choose 'seconds' or 'none'")
        if self.reset == "date" and self.reset_rounding == "fractional":
            problems.append("a reset of 'date' has whole seconds; choose a reset_rounding of 'up' or 'down'")
        if problems:
            raise ValueError("; ".join(problems))

    @classmethod
    def parse(cls, text: str) -> "RateLimit":
        """Read a limit such as `100/1s`, `100/s`, `20/1m` or `5/250ms`. Raise ValueError if the text is not a limit."""
        match = _RULE.fullmatch(text.strip())
        if match is None:
            raise ValueError(f"{text!r} is not a rate limit; write requests/window, such as '100/1s' or '20/1m'")
        limit, length, unit = match.groups()
        return cls(limit=int(limit), window=float(length or 1) * _UNITS[unit])


@attrs.frozen
class Verdict:
    """A limiter's decision on one request."""

    allowed: bool
    remaining: int
    """Number of further requests that would be allowed at this moment."""
    reset: float
    """Seconds until the fixed window ends, the oldest request leaves the sliding window, or the bucket is full.

    Not rounded.
    """
    retry: float
    """Seconds until the next request is allowed. Not rounded, and exactly 0 if `remaining` is more than 0."""


class Limiter(Protocol):
    """Counts requests, and decides whether a rule allows them."""

    def take(self) -> Verdict:
        """Decide on one request, and count it if it is allowed."""
        ...

    def peek(self) -> Verdict:
        """Return the current state without counting a request. `allowed` is always true."""
        ...


@attrs.define
class FixedWindow:
    """The limiter with consecutive windows of equal length."""

    _limit: int
    _window: int
    _clock: Callable[[], int]
    _origin: int = attrs.field(init=False)
    _current: int = attrs.field(init=False, default=0)
    _used: int = attrs.field(init=False, default=0)

    def __attrs_post_init__(self) -> None:
        self._origin = self._clock()

    def take(self) -> Verdict:
        """Decide on one request, and count it if it is allowed."""
        left = self._advance()
        allowed = self._used < self._limit
        self._used += allowed
        return self._verdict(allowed, left)

    def peek(self) -> Verdict:
        """Return the current state without counting a request. `allowed` is always true."""
        return self._verdict(True, self._advance())

    def _advance(self) -> int:
        """Move to the current window, and return the number of nanoseconds left in it."""
        current, passed = divmod(self._clock() - self._origin, self._window)
        if current != self._current:
            self._current = current
            self._used = 0
        return self._window - passed

    def _verdict(self, allowed: bool, left: int) -> Verdict:
        remaining = self._limit - self._used
        reset = left / _SECOND
        return Verdict(allowed, remaining, reset, 0.0 if remaining else reset)


@attrs.define
class SlidingWindow:
    """The limiter that counts the requests of the last `window` nanoseconds."""

    _limit: int
    _window: int
    _clock: Callable[[], int]
    _allowed: deque[int] = attrs.field(init=False, factory=deque[int])
    """The times of the allowed requests that are still in the window."""

    def take(self) -> Verdict:
        """Decide on one request, and count it if it is allowed."""
        now = self._advance()
        allowed = len(self._allowed) < self._limit
        if allowed:
            self._allowed.append(now)
        return self._verdict(allowed, now)

    def peek(self) -> Verdict:
        """Return the current state without counting a request. `allowed` is always true."""
        return self._verdict(True, self._advance())

    def _advance(self) -> int:
        """Remove the requests that have left the window, and return the current time."""
        now = self._clock()
        while self._allowed and self._allowed[0] + self._window <= now:
            self._allowed.popleft()
        return now

    def _verdict(self, allowed: bool, now: int) -> Verdict:
        remaining = self._limit - len(self._allowed)
        reset = (self._allowed[0] + self._window - now) / _SECOND if self._allowed else 0.0
        return Verdict(allowed, remaining, reset, 0.0 if remaining else reset)


@attrs.define
class TokenBucket:
    """The limiter with a token bucket: each request uses one token, and the bucket refills evenly.

    The level is an integer, for exact arithmetic: one token is `_window` units, and the bucket gains `_limit` units in
    each nanosecond.
    """

    _limit: int
    _window: int
    _clock: Callable[[], int]
    _level: int = attrs.field(init=False)
    _time: int = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._level = self._limit * self._window
        self._time = self._clock()

    def take(self) -> Verdict:
        """Decide on one request, and count it if it is allowed."""
        self._refill()
        allowed = self._level >= self._window
        if allowed:
            self._level -= self._window
        return self._verdict(allowed)

    def peek(self) -> Verdict:
        """Return the current state without counting a request. `allowed` is always true."""
        self._refill()
        return self._verdict(True)

    def _refill(self) -> None:
        now = self._clock()
        self._level = min(self._limit * self._window, self._level + (now - self._time) * self._limit)
        self._time = now

    def _verdict(self, allowed: bool) -> Verdict:
        remaining = self._level // self._window
        retry = 0.0 if remaining else self._until(self._window)
        return Verdict(allowed, remaining, self._until(self._limit * self._window), retry)

    def _until(self, level: int) -> float:
        """Return the seconds until the bucket has this level, rounded up to a nanosecond."""
        return -((self._level - level) // self._limit) / _SECOND


def make_limiter(rule: RateLimit, clock: Callable[[], int]) -> Limiter:
    """Return a limiter for a rule. `clock` returns nanoseconds, and never goes backwards."""
    window = max(1, round(Fraction(rule.window) * _SECOND))
    if rule.kind == "sliding":
        return SlidingWindow(rule.limit, window, clock)
    if rule.kind == "bucket":
        return TokenBucket(rule.limit, window, clock)
    return FixedWindow(rule.limit, window, clock)
