"""A pause that a 429 asked for. It applies to all calls.

No later answer can shorten the pause. Example: at t = 100 a 429 says `Retry-After: 10`, and at t = 101 another one says
`Retry-After: 5`. The pause ends at t = 110, not at t = 106. At t = 102 a request that was sent before the pause
succeeds. The pause still ends at t = 110.
"""

from .gate import Gate, Permit
from .headers import RateLimitInfo

__all__ = ["Pause"]


class Pause(Gate):
    """A gate that is closed for as long as a 429 asked the client to wait."""

    def __init__(self) -> None:
        self.ends_at = 0.0
        """When the last pause ends or ended."""
        self._is_idle = True

    @property
    def is_idle(self) -> bool:
        """Whether there was no pause when the last answer arrived."""
        return self._is_idle

    def may_send_at(self, now: float, in_flight: int) -> float:
        """Return the end of the pause."""
        return self.ends_at

    def blocked_until(self, now: float) -> float:
        """Return the end of the pause."""
        return self.ends_at

    def answered(self, permit: Permit, info: RateLimitInfo, now: float, in_flight: int) -> None:
        """If a 429 asks for a wait, begin a pause, or extend the current pause to the end of that wait."""
        if info.rate_limited and info.retry_after:
            self.ends_at = max(self.ends_at, now + info.retry_after)
        self._is_idle = self.ends_at <= now

    def lost(self, permit: Permit, now: float, in_flight: int) -> None:
        """Check whether the pause is over."""
        self._is_idle = self.ends_at <= now
