"""The one interface of everything that can hold a request up.

The pacer knows nothing of rate limits. It asks each gate the same question, "when may a request be sent?", and tells
each gate the same events: a request was sent, an answer came, no answer came. A cause of waiting that comes later,
such as a limit shared between machines, is one more gate.

Example: a cap of 2 requests per second and a reported limit with nothing remaining until t = 8. At t = 5.0 the cap
says 5.2, so the pacer sets a timer for 5.2. Then the cap is open and the reported limit says 8, so the timer moves
to 8. At t = 8 both are open, and the first caller of the queue gets its permit.
"""

import math
from typing import NamedTuple

from .headers import RateLimitInfo

__all__ = ["Gate", "Known", "Permit"]


class Known(NamedTuple):
    """What was known of the reported limit when a permit was given."""

    lowest: int = 0
    """The smallest `remaining` reported since the last renewal."""
    renewals: int = 0


_NOTHING = Known()


class Permit:
    """Permission to send one attempt, and what was known when it was given."""

    __slots__ = ("known", "sent_at")

    def __init__(self, sent_at: float, known: Known = _NOTHING) -> None:
        self.sent_at: float = sent_at
        self.known: Known = known
        """Set by the gate of the reported limit."""


class Gate:
    """Something that can hold requests up. Times are seconds on the pacer's monotonic clock, handed in.

    `in_flight` is the number of requests that were sent and not answered, the one in question not included.
    """

    @property
    def is_idle(self) -> bool:
        """Whether the gate is open, and stays open until it hears of a rate-limited or reporting answer."""
        return False

    @property
    def rate(self) -> float | None:
        """Requests per second that go through for long; None if the gate knows no rate."""
        return None

    def may_send_at(self, now: float, in_flight: int) -> float:
        """When the next request may be sent: `now` or earlier, later, or infinity if an answer has to come first.

        A time that is later is when to ask again, not a promise.
        """
        raise NotImplementedError

    def blocked_until(self, now: float) -> float:
        """Until when the server lets nothing through, as far as it said; `now` or earlier if it lets something through.

        What is further away than `Pacing.max_wait` is not waited for.
        """
        return -math.inf

    def sent(self, permit: Permit, in_flight: int) -> None:
        """Record that a request is sent."""

    def answered(self, permit: Permit, info: RateLimitInfo, now: float, in_flight: int) -> None:
        """Record that an answer came."""

    def lost(self, permit: Permit, now: float, in_flight: int) -> None:
        """Record that no answer came."""
