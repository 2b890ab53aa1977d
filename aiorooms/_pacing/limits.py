"""The limits that the server reports, and the operations to which they apply.

An operation is a method and a route, such as `PATCH /rooms/{room_id}`. At first, all operations have one scope: what
one answer reports applies to all of them. If the answers of two operations disagree (`disagreement`), each operation
gets a scope of its own, which begins with what its last answer reported. Then a used up limit for updates does not
delay reads. An operation that was never used before sends one request, and waits for its answer.

A pause that a 429 asks for applies to all operations, unless each has its own limits, and the 429 reports that one of
these is used up.

Example: the server allows 20 updates per second and 600 reads per minute. The first update reports `remaining: 19`, and
the first read `remaining: 599`. From now on updates and reads have scopes of their own. So 20 updates are sent per
second, no matter how many reads wait.
"""

from collections import Counter
from collections.abc import Callable
from typing import Final

from .disagreement import Disagreement
from .gate import Permit
from .headers import RateLimitInfo
from .pause import Pause
from .quota import Quota
from .scope import Scope

__all__ = ["Limits"]

_ALL: Final = ""
"""The key of the scope of all operations."""


class Limits:
    """Which scope applies to an operation. `in_flight` is the number of all other requests in flight."""

    def __init__(self, random: Callable[[], float]) -> None:
        self.pause = Pause()
        """A pause that applies to all operations."""
        self._random = random
        self._common: Scope | None = Scope(random, waits=False)
        """The scope of all operations; None if each has its own."""
        self._scopes: dict[str, Scope] = {_ALL: self._common}
        self._disagreement = Disagreement()
        self._in_flight: Counter[str] = Counter()

    @property
    def is_idle(self) -> bool:
        """Whether no limit was reported and there is no pause."""
        return self._common is not None and not self._common.quotas and self.pause.is_idle

    @property
    def is_common(self) -> bool:
        """Whether all operations are assumed to have the same limits."""
        return self._common is not None

    @property
    def paused_until(self) -> float:
        """When the last pause of any operation ends."""
        return max(self.pause.ends_at, *(scope.pause.ends_at for scope in self._scopes.values()))

    def is_pause_end(self, at: float) -> bool:
        """Whether a pause ends at this time."""
        return self.pause.ends_at == at or any(scope.pause.ends_at == at for scope in self._scopes.values())

    def tightest(self, in_flight: int) -> tuple[Quota, int] | None:
        """Return the limit with the fewest requests remaining, and their number; None if no limit was reported."""
        found: tuple[Quota, int] | None = None
        for name, scope in self._scopes.items():
            counted = in_flight if name == _ALL else self._in_flight[name]
            for quota in scope.quotas.values():
                if quota.is_ignored:
                    continue
                remaining = max(0, quota.available - counted)
                if found is None or remaining < found[1]:
                    found = quota, remaining
        return found

    def rate(self, operation: str | None) -> float | None:
        """Return the sustained rate of an operation, or the lowest one of all; None if unknown."""
        scopes = self._scopes.values() if operation is None else [self.scope(operation)]
        return min((rate for scope in scopes if (rate := scope.rate) is not None), default=None)

    def may_send_at(self, now: float, operation: str, in_flight: int) -> float:
        """Return when the next request of an operation may be sent; infinity if an answer must arrive first."""
        if self.pause.ends_at > now:
            return self.pause.ends_at
        return self.scope(operation).may_send_at(now, self.in_flight(operation, in_flight))

    def blocked_until(self, now: float, operation: str) -> float:
        """Return when the next request of an operation may be sent, if no answer can change it."""
        return max(self.pause.ends_at, self.scope(operation).blocked_until(now))

    def scope(self, operation: str) -> Scope:
        """Return the scope of an operation."""
        if self._common is not None:
            return self._common
        scope = self._scopes.get(operation)
        if scope is None:
            scope = self._scopes[operation] = Scope(self._random, waits=True)
        return scope

    def in_flight(self, operation: str, in_flight: int) -> int:
        """Return how many requests in flight count in the scope of an operation."""
        return in_flight if self._common is not None else self._in_flight[operation]

    def sent(self, permit: Permit, *, is_single: bool) -> None:
        """Record that a request is sent."""
        self._in_flight[permit.operation] += 1
        permit.is_counted = True
        self._disagreement.sent(permit)
        self.scope(permit.operation).sent(permit, is_single=is_single)

    def answered(self, permit: Permit, info: RateLimitInfo, now: float, in_flight: int) -> None:
        """Record that an answer arrived."""
        self._forget(permit)
        conclusion = self._disagreement.answered(permit, info, now)
        if conclusion == "separate":
            self._separate(now)
        elif conclusion == "common":
            self.pause.ends_at = self.paused_until  # a pause of one operation then applies to all
            self._common = Scope(self._random, waits=False)
            self._scopes = {_ALL: self._common}
        scope = self.scope(permit.operation)
        scope.answered(permit, info, now, self.in_flight(permit.operation, in_flight))
        is_own = self._common is None and info.is_used_up
        (scope.pause if is_own else self.pause).answered(permit, info, now, in_flight)

    def lost(self, permit: Permit, now: float, in_flight: int) -> None:
        """Record that no answer arrived."""
        self._forget(permit)
        self.scope(permit.operation).lost(permit, now, self.in_flight(permit.operation, in_flight))
        self.pause.lost(permit, now, in_flight)

    def _forget(self, permit: Permit) -> None:
        if permit.is_counted:
            self._in_flight[permit.operation] -= 1

    def _separate(self, now: float) -> None:
        """Give each operation a scope of its own."""
        self._common = None
        del self._scopes[_ALL]
        for operation in self._in_flight:
            scope = self._scopes[operation] = Scope(self._random, waits=False)
            answer = self._disagreement.by_operation.get(operation)
            if answer is not None:
                scope.learn(answer.reports.values(), now, now - answer.at)
