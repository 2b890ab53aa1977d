"""Several rate limits at once, and limits for single operations.

A request must be allowed by all limits that apply to it. If one of them does not allow it, it counts in none.

Example: with `{"PATCH": ["10/1s", "1000/1h"], "GET /rooms": "2/1s", "*": "100/1s"}`, a PATCH is counted by the first
two limits, a list of rooms by the third, and a GET of one room by the last. A request is counted by the limits of one
key only: by those of its operation, else of its method, else of `*`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import attrs

from ._limit_headers import State
from ._limiters import Limiter, RateLimit
from ._routes import ROUTES, Target

RateLimits: TypeAlias = RateLimit | tuple[RateLimit, ...] | Mapping[str, RateLimit | tuple[RateLimit, ...]]
"""One limit, several limits that all apply, or both by operation or method."""

OneOrMore: TypeAlias = RateLimit | str | Sequence[RateLimit | str]
GivenRateLimits: TypeAlias = OneOrMore | Mapping[str, OneOrMore | None]
"""Limits as a test gives them: each may be text such as `100/1s`."""

ALL_REQUESTS = "*"

_BASE = "/v2"

_KEYS = (
    ALL_REQUESTS,
    *dict.fromkeys(route.method for route in ROUTES),
    *(f"{route.method} {route.path.removeprefix(_BASE)}" for route in ROUTES),
)
"""The keys of a mapping: all requests, methods and operations."""


def read_rate_limits(given: GivenRateLimits | None) -> RateLimits | None:
    """Return limits without text. Raise ValueError with all problems."""
    problems: list[str] = []
    if isinstance(given, Mapping):
        by_key: dict[str, RateLimit | tuple[RateLimit, ...]] = {}
        for key, limits in given.items():
            name = _known_key(key)
            if name is None:
                problems.append(f"{key!r} is not an operation or method; choose from {', '.join(_KEYS)}")
            found: list[str] = []
            by_key[name or key] = () if limits is None else _read(limits, found)
            problems += [f"{key}: {problem}" for problem in found]
        result: RateLimits | None = by_key or None
    else:
        result = None if given is None else (_read(given, problems) or None)
    if problems:
        raise ValueError("; ".join(problems))
    return result


def _read(given: OneOrMore, problems: list[str]) -> RateLimit | tuple[RateLimit, ...]:
    if isinstance(given, str | RateLimit):
        return _read_one(given, problems) or ()
    limits = tuple(limit for one in given if (limit := _read_one(one, problems)) is not None)
    styles = [limit.style for limit in limits if limit.headers]
    if styles.count("x-ratelimit") > 1 and any(one.style == "x-ratelimit" and one.reset == "date" for one in limits):
        problems.append("several limits of style 'x-ratelimit' are lists, and a list can't contain a reset of 'date'")
    if len({limit.window for limit in limits if limit.style == "kong"}) < styles.count("kong"):
        problems.append("limits of style 'kong' must have different windows")
    return limits


def _read_one(given: RateLimit | str, problems: list[str]) -> RateLimit | None:
    try:
        return RateLimit.parse(given) if isinstance(given, str) else given
    except ValueError as error:
        problems.append(str(error))
        return None


def _known_key(key: str) -> str | None:
    """Return the key in the spelling of `_KEYS`; None if it is unknown."""
    method, _, path = key.strip().partition(" ")
    name = f"{method.upper()} {path.strip()}".strip()
    return name if name in _KEYS else None


@attrs.frozen
class LimitSet:
    """Limits that must all allow a request."""

    rules: tuple[RateLimit, ...]
    limiters: tuple[Limiter, ...]

    def take(self) -> list[State]:
        """Decide on one request, and count it if all limits allow it."""
        if len(self.rules) == 1:  # nearly always, and the benchmarks measure the client, not the simulator
            return [(self.rules[0], self.limiters[0].take())]
        states = self.peek()
        if not all(verdict.remaining for _, verdict in states):
            return [(rule, attrs.evolve(verdict, allowed=verdict.remaining > 0)) for rule, verdict in states]
        # Time passes between the two steps, but a limit that allows a request now also allows it later.
        return [(rule, limiter.take()) for rule, limiter in zip(self.rules, self.limiters, strict=True)]

    def peek(self) -> list[State]:
        """Return the current state without counting a request."""
        return [(rule, limiter.peek()) for rule, limiter in zip(self.rules, self.limiters, strict=True)]


@attrs.frozen
class LimitSets:
    """The limits of all operations, by key."""

    by_key: Mapping[str, LimitSet]

    @classmethod
    def of(cls, limits: RateLimits | None, make: Callable[[RateLimit], Limiter]) -> "LimitSets":
        """Create a limiter for each rule."""
        by_key = limits if isinstance(limits, Mapping) else {} if limits is None else {ALL_REQUESTS: limits}
        sets: dict[str, LimitSet] = {}
        for key, some in by_key.items():
            rules = (some,) if isinstance(some, RateLimit) else some
            sets[key] = LimitSet(rules, tuple(make(rule) for rule in rules))
        return cls(sets)

    def find(self, method: str, target: Target | None) -> LimitSet | None:
        """Return the limits of a request, or None if there are none."""
        if len(self.by_key) > 1 or ALL_REQUESTS not in self.by_key:
            path = "" if target is None else target.path.removeprefix(_BASE)
            for key in (f"{method} {path}", method):
                if key in self.by_key:
                    return self.by_key[key]
        return self.by_key.get(ALL_REQUESTS)
