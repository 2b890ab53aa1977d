"""How many requests the simulator lets through, and what it says about it.

A `RateLimit` is the rule as a test writes it. A `Limiter` counts requests against a rule and a clock that is handed
in. What is told to the client (rounding, which headers, Retry-After) is kept apart from the counting, because real
gateways mix the two freely.

The window is fixed: time is cut into windows of equal length from the moment the limiter was made, each lets through
`limit` requests, and what was not used is lost. The first window of a client is therefore usually a part of one.
"""

import math
import re
from collections.abc import Callable
from email.utils import formatdate
from typing import Literal, Protocol

import attrs
from attrs.validators import in_

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
    """How many requests are let through per window, and how the client is told.

    `RateLimit(100)` is 100 requests in each second. Requests over it get a 429 with code 10011 and change nothing.
    """

    limit: int = attrs.field(default=100, validator=_check_limit)
    """Requests per window, at least 1."""
    window: float = attrs.field(default=1.0, validator=_check_window)
    """Length of a window in seconds, more than 0."""
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
    """Requests that are left in this window."""
    reset: float
    """Seconds until the window resets, not rounded."""


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
    _window: float
    _clock: Callable[[], float]
    _origin: float = attrs.field(init=False)
    _current: int = attrs.field(init=False, default=0)
    _used: int = attrs.field(init=False, default=0)

    def __attrs_post_init__(self) -> None:
        self._origin = self._clock()

    def take(self) -> Verdict:
        """Count one request and say whether it may pass."""
        reset = self._turn()
        if self._used >= self._limit:
            return Verdict(False, 0, reset)
        self._used += 1
        return Verdict(True, self._limit - self._used, reset)

    def peek(self) -> Verdict:
        """Say how things stand; nothing was asked, so the verdict refuses nothing."""
        reset = self._turn()
        return Verdict(True, self._limit - self._used, reset)

    def _turn(self) -> float:
        """Move to the window that the clock shows; return the seconds that are left of it."""
        passed = self._clock() - self._origin
        current = int(passed // self._window)
        if current != self._current:
            self._current = current
            self._used = 0
        return max(0.0, (current + 1) * self._window - passed)


def make_limiter(rule: RateLimit, clock: Callable[[], float]) -> Limiter:
    """Make the limiter of a rule; `clock` gives seconds and never goes back."""
    return FixedWindow(rule.limit, rule.window, clock)


def limit_headers(rule: RateLimit, verdict: Verdict, wall_time: float) -> list[tuple[str, str]]:
    """Say what an answer tells of the limit; `wall_time` is Unix seconds, for Retry-After as a date."""
    fields: list[tuple[str, str]] = []
    seconds = round(verdict.reset, 6)  # so that a rest of floating-point arithmetic is not rounded up to a second
    if rule.headers:
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
        if rule.retry_after == "seconds":
            fields.append(("Retry-After", str(math.ceil(seconds))))
        elif rule.retry_after == "date":
            fields.append(("Retry-After", formatdate(math.ceil(wall_time + seconds), usegmt=True)))
        elif rule.retry_after == "ms":
            fields.append(("retry-after-ms", str(math.ceil(seconds * 1000))))
    return fields
