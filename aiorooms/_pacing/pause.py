"""A pause that the server asked for with a 429: it holds for all calls alike. Pure: times are handed in.

The end of the pause is a point of time that is only ever moved later, so nothing that happens meanwhile can lift it.
Example: at t = 100 a 429 says `Retry-After: 10`, at t = 101 a slower one says 5. The pause ends at 110, not at 106, and
a success at t = 102, of a request that was sent before, changes nothing.
"""

from .gate import Gate, Permit
from .headers import RateLimitInfo

__all__ = ["Pause"]


class Pause(Gate):
    """Closed until the wait is over that a 429 asked for."""

    def __init__(self) -> None:
        self.ends_at = 0.0
        """The end of the latest pause."""
        self._is_idle = True

    @property
    def is_idle(self) -> bool:
        """Whether there is no pause now, as of the last answer."""
        return self._is_idle

    def may_send_at(self, now: float, in_flight: int) -> float:
        """The end of the pause."""
        return self.ends_at

    def blocked_until(self, now: float) -> float:
        """The end of the pause."""
        return self.ends_at

    def answered(self, permit: Permit, info: RateLimitInfo, now: float, in_flight: int) -> None:
        """Begin a pause if the server asks for one that ends later than the present one."""
        if info.rate_limited and info.retry_after:
            self.ends_at = max(self.ends_at, now + info.retry_after)
        self._is_idle = self.ends_at <= now

    def lost(self, permit: Permit, now: float, in_flight: int) -> None:
        """See whether the pause is over."""
        self._is_idle = self.ends_at <= now
