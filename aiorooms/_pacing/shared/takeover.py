"""The first moments without the store: a client that has lost it keeps to its part of the limit.

The client doesn't know what the others have just sent, so by itself it would use permits that are theirs. Most often,
it joins again at once. So for a short time it sends a few requests, and then no more than its part of the sustained
rate. After that it paces itself, with what it learns from its own answers.

Example: 40 clients share 100 requests per second, and one of them loses the store. It may send 2 requests at once, and
another one after 0.4 s. But after 0.2 s the gate is open again, because calls must not wait for the store for longer.
"""

import math
from typing import Final

from ..gate import Gate, Permit

__all__ = ["Takeover"]

_LENGTH: Final = 0.2
"""Seconds for which the client keeps to its part."""

_AT_ONCE: Final = 2
"""The number of requests that it may send at once, so that a single call does not wait."""


class Takeover(Gate):
    """Open, except for a short time after `begin`."""

    def __init__(self) -> None:
        self._ends_at = -math.inf
        self._interval = 0.0
        self._due_at = -math.inf

    def begin(self, now: float, rate: float) -> None:
        """Keep to a rate in requests per second for a short time from now on."""
        self._ends_at = now + _LENGTH
        self._interval = 1 / rate
        self._due_at = now - (_AT_ONCE - 1) * self._interval

    def may_send_at(self, now: float, in_flight: int) -> float:
        """Return when the next request may be sent."""
        return min(self._due_at, self._ends_at)

    def sent(self, permit: Permit, in_flight: int) -> None:
        """Record that a request is sent."""
        if permit.sent_at < self._ends_at:
            self._due_at = max(self._due_at, permit.sent_at - (_AT_ONCE - 1) * self._interval) + self._interval
