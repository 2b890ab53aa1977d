"""The interface of a gate: one reason why a request may have to wait.

The pacer contains no rules about rate limits. It asks each gate the same question, "When may a request be sent?", and
reports the same events to each gate: a request was sent, its answer arrived, or no answer arrived. To support another
reason to wait, add another gate.

Example: there is a cap of 2 requests per second, and the quota is used up until t = 8. At t = 5.0 the cap returns 5.2,
so the pacer sets a timer for 5.2. At t = 5.2 the cap is open, but the quota returns 8, so the pacer sets a timer for 8.
At t = 8 both gates are open, and the first caller in the queue gets its permit.
"""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from .headers import RateLimitInfo

if TYPE_CHECKING:
    from .disagreement import Answer

__all__ = ["Gate", "Known", "Permit"]


class Known(NamedTuple):
    """What was known about one reported limit when a permit was granted."""

    lowest: int = 0
    """The smallest `remaining` reported since the last reported renewal (see `quota`)."""
    renewals: int = 0
    """The number of renewals, reported or assumed, before the permit was granted."""
    remaining: int | None = None
    """The last reported `remaining` (see `renewals`)."""
    at: float = 0.0
    """When the server reported it."""


_NOTHING: Final[Mapping[object, Known]] = MappingProxyType({})


class Permit:
    """Permission to send one attempt. It stores what was known about the limits when it was granted."""

    __slots__ = ("before", "is_counted", "known", "lease", "operation", "sent_at")

    def __init__(self, sent_at: float, operation: str = "") -> None:
        self.sent_at: float = sent_at
        self.operation: str = operation
        """The method and the route, such as `PATCH /rooms/{room_id}`."""
        self.known: Mapping[object, Known] = _NOTHING
        """What was known about each reported limit, by its `Quota`. Set by `Scope`."""
        self.before: Answer | None = None
        """The last answer that had arrived, if several operations are used. Set by `Disagreement`."""
        self.is_counted: bool = False
        """Whether the attempt is counted among those in flight of its operation. Set by `Limits`."""
        self.lease: object = None
        """The lease that the permit belongs to, if clients share the limit. Set by `SharedGate`."""


class Gate:
    """One reason why requests may have to wait. Times are seconds on the pacer's monotonic clock.

    The argument `in_flight` is the number of other requests that were sent and not answered yet.
    """

    @property
    def is_idle(self) -> bool:
        """Whether the gate is open, and will stay open until an answer is a 429 or reports a limit."""
        return False

    @property
    def rate(self) -> float | None:
        """The sustained rate in requests per second; None if it is unknown to this gate."""
        return None

    def may_send_at(self, now: float, in_flight: int) -> float:
        """Return when the next request may be sent. `now` or earlier means immediately.

        When the returned time has come, the gate must be asked again, because it may still be closed. Infinity means
        that an answer must arrive first.
        """
        raise NotImplementedError

    def blocked_until(self, now: float) -> float:
        """Return when the server is expected to accept requests again; `now` or earlier if it already does.

        If the returned time is more than `Pacing.max_wait` away, calls fail instead of waiting.
        """
        return -math.inf

    def sent(self, permit: Permit, in_flight: int) -> None:
        """Record that a request is sent."""

    def answered(self, permit: Permit, info: RateLimitInfo, now: float, in_flight: int) -> None:
        """Record that an answer arrived."""

    def lost(self, permit: Permit, now: float, in_flight: int) -> None:
        """Record that no answer arrived."""
