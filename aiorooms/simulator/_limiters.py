"""How many requests the simulator lets through, and what it says about it.

A `RateLimit` is the rule as a test writes it. A `Limiter` counts requests against a rule and a clock that is handed
in. What is told to the client (rounding, which headers, Retry-After) is kept apart from the counting, because real
gateways mix the two freely.

There are three kinds:

| kind | what is let through |
|---|---|
| `fixed` | `limit` requests in each window; windows of equal length follow one another from the start of the limiter |
| `sliding` | `limit` requests in any `window` seconds, wherever one begins to count |
| `bucket` | what is in a bucket of `limit` tokens, full at first, into which `limit` flow evenly in `window` seconds |

With `fixed`, what was not used is lost, and a client usually begins in the middle of a window. Only requests that are
let through are counted, by all three.

Time is counted in whole nanoseconds, so that no rounding lets a request through too early or too late.
"""

import math
import re
from collections import deque
from collections.abc import Callable
from email.utils import formatdate
from fractions import Fraction
from typing import Literal, Protocol

import attrs
from attrs.validators import in_

_SECOND = 1_000_000_000
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_RULE = re.compile(r"(\d{1,9})\s*/\s*(\d{0,9}(?:\.\d{1,6})?)\s*(ms|s|m|h)", re.ASCII)


def _check_limit(_instance: "RateLimit", _attribute: "attrs.Attribute[int]", value: int) -> None:
    if value < 1:
        raise ValueError(f"a rate limit lets through at least 1 request per window, not {value}")


def _check_window(_instance: "RateLimit", _attribute: "attrs.Attribute[float]", value: float) -> None:
    if not 0 < value < math.inf:
        raise ValueError(f"a window lasts more than 0 seconds, not {value}")


@attrs.frozen
class RateLimit:
    """How many requests are let through per window, how they are counted, and how the client is told.

    `RateLimit(100)` is 100 requests in each second. Requests over it get a 429 with code 10011 and change nothing.
    With `headers=False` nothing is told before a request is refused, and then only what `retry_after` says.
    """

    limit: int = attrs.field(default=100, validator=_check_limit)
    """Requests per window, at least 1; the size of a bucket."""
    window: float = attrs.field(default=1.0, validator=_check_window)
    """Length of a window in seconds, more than 0; the time in which an empty bucket gets full."""
    reset_rounding: Literal["fractional", "up", "down"] = attrs.field(
        default="up", validator=in_(("fractional", "up", "down"))
    )
    """How the seconds in `x-ratelimit-reset` are rounded. With `down` a client that trusts it comes back too early."""
    headers: bool = True
    """Whether answers carry `x-ratelimit-limit`, `-remaining` and `-reset`."""
    retry_after: Literal["none", "seconds", "date", "ms"] = attrs.field(
        default="none", validator=in_(("none", "seconds", "date", "ms"))
    )
    """What a 429 says: nothing, Retry-After in whole seconds or as a date (both rounded up), or `retry-after-ms`."""
    kind: Literal["fixed", "sliding", "bucket"] = attrs.field(
        default="fixed", kw_only=True, validator=in_(("fixed", "sliding", "bucket"))
    )
    """How requests are counted: in windows one after the other, over the last `window` seconds, or as a bucket.

    `x-ratelimit-reset` is when the window ends (`fixed`), when the oldest request that counts leaves it (`sliding`) or
    when the bucket is full (`bucket`). A bucket of several tokens lets the next request through earlier, as
    `retry_after` tells.
    """

    @classmethod
    def parse(cls, text: str) -> "RateLimit":
        """Read `100/1s`, `100/s`, `20/1m`, `5/250ms` or `1000/h`; anything else is a ValueError."""
        match = _RULE.fullmatch(text.strip())
        if match is None:
            raise ValueError(f"{text!r} is not a rate limit; write requests/window, such as '100/1s' or '20/1m'")
        limit, length, unit = match.groups()
        return cls(limit=int(limit), window=float(length or 1) * _UNITS[unit])


@attrs.frozen
class Verdict:
    """What a limiter says of one request."""

    allowed: bool
    remaining: int
    """Requests that would be let through now, after this one."""
    reset: float
    """Seconds until the window ends, the oldest request leaves it or the bucket is full, not rounded."""
    retry: float
    """Seconds until the next request is let through, not rounded; 0 exactly if some remain."""


class Limiter(Protocol):
    """Counts requests against a rule."""

    def take(self) -> Verdict:
        """Count one request and say whether it may pass."""
        ...

    def peek(self) -> Verdict:
        """Say how things stand; nothing was asked, so the verdict refuses nothing."""
        ...


@attrs.define
class FixedWindow:
    """The limiter with windows of equal length, one after the other."""

    _limit: int
    _window: int
    _clock: Callable[[], int]
    _origin: int = attrs.field(init=False)
    _current: int = attrs.field(init=False, default=0)
    _used: int = attrs.field(init=False, default=0)

    def __attrs_post_init__(self) -> None:
        self._origin = self._clock()

    def take(self) -> Verdict:
        """Count one request and say whether it may pass."""
        left = self._advance()
        allowed = self._used < self._limit
        self._used += allowed
        return self._verdict(allowed, left)

    def peek(self) -> Verdict:
        """Say how things stand; nothing was asked, so the verdict refuses nothing."""
        return self._verdict(True, self._advance())

    def _advance(self) -> int:
        """Move to the window that the clock shows; return what is left of it."""
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
    """The limiter that looks back over one window from each request."""

    _limit: int
    _window: int
    _clock: Callable[[], int]
    _passed: deque[int] = attrs.field(init=False, factory=deque[int])
    """When the requests that still count were let through."""

    def take(self) -> Verdict:
        """Count one request and say whether it may pass."""
        now = self._advance()
        allowed = len(self._passed) < self._limit
        if allowed:
            self._passed.append(now)
        return self._verdict(allowed, now)

    def peek(self) -> Verdict:
        """Say how things stand; nothing was asked, so the verdict refuses nothing."""
        return self._verdict(True, self._advance())

    def _advance(self) -> int:
        """Forget what has left the window; return the time."""
        now = self._clock()
        while self._passed and self._passed[0] + self._window <= now:
            self._passed.popleft()
        return now

    def _verdict(self, allowed: bool, now: int) -> Verdict:
        remaining = self._limit - len(self._passed)
        reset = (self._passed[0] + self._window - now) / _SECOND if self._passed else 0.0
        return Verdict(allowed, remaining, reset, 0.0 if remaining else reset)


@attrs.define
class TokenBucket:
    """The limiter with a bucket that each request takes a token from, and that refills evenly.

    A token is `_window` drops, and `_limit` drops flow in each nanosecond: all of it whole numbers.
    """

    _limit: int
    _window: int
    _clock: Callable[[], int]
    _drops: int = attrs.field(init=False)
    _time: int = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._drops = self._limit * self._window
        self._time = self._clock()

    def take(self) -> Verdict:
        """Count one request and say whether it may pass."""
        self._refill()
        allowed = self._drops >= self._window
        if allowed:
            self._drops -= self._window
        return self._verdict(allowed)

    def peek(self) -> Verdict:
        """Say how things stand; nothing was asked, so the verdict refuses nothing."""
        self._refill()
        return self._verdict(True)

    def _refill(self) -> None:
        now = self._clock()
        self._drops = min(self._limit * self._window, self._drops + (now - self._time) * self._limit)
        self._time = now

    def _verdict(self, allowed: bool) -> Verdict:
        remaining = self._drops // self._window
        retry = 0.0 if remaining else self._until(self._window)
        return Verdict(allowed, remaining, self._until(self._limit * self._window), retry)

    def _until(self, drops: int) -> float:
        """Give the seconds until so much is in the bucket, up to the end of the nanosecond."""
        return -((self._drops - drops) // self._limit) / _SECOND


def make_limiter(rule: RateLimit, clock: Callable[[], int]) -> Limiter:
    """Make the limiter of a rule; `clock` gives nanoseconds and never goes back."""
    window = max(1, round(Fraction(rule.window) * _SECOND))
    if rule.kind == "sliding":
        return SlidingWindow(rule.limit, window, clock)
    if rule.kind == "bucket":
        return TokenBucket(rule.limit, window, clock)
    return FixedWindow(rule.limit, window, clock)


def limit_headers(rule: RateLimit, verdict: Verdict, wall_time: float) -> list[tuple[str, str]]:
    """Say what an answer tells of the limit; `wall_time` is Unix seconds, for Retry-After as a date."""
    fields: list[tuple[str, str]] = []
    if rule.headers:
        seconds = round(verdict.reset, 6)  # so that a rest of floating-point arithmetic is not rounded up to a second
        fields.append(("x-ratelimit-limit", str(rule.limit)))
        fields.append(("x-ratelimit-remaining", str(verdict.remaining)))
        if rule.reset_rounding == "up":
            reset = str(math.ceil(seconds))
        elif rule.reset_rounding == "down":
            reset = str(math.floor(seconds))
        else:
            reset = f"{seconds:.6f}"
        fields.append(("x-ratelimit-reset", reset))
    if not verdict.allowed:
        seconds = round(verdict.retry, 6)
        if rule.retry_after == "seconds":
            fields.append(("Retry-After", str(math.ceil(seconds))))
        elif rule.retry_after == "date":
            fields.append(("Retry-After", formatdate(math.ceil(wall_time + seconds), usegmt=True)))
        elif rule.retry_after == "ms":
            fields.append(("retry-after-ms", str(math.ceil(seconds * 1000))))
    return fields
