"""Whether a failed attempt is followed by another, and when. Pure: values in, values out.

Two kinds of failed attempts do not count against `max_attempts`:

- **A stale connection.** The server closed a keep-alive connection just before it was used again. That says nothing
  about the server, so the request is sent again at once over a new connection.
- **An overtaken 429.** Others got through meanwhile, so it is a matter of queueing and no reason to give up.

Both are bounded, so that nothing is retried for ever.

Example, with `RetryPolicy()`: an attempt is answered 503, the next after a random wait of up to 0.5 s is reset by the
server (up to 1 s), the next is a 429 with `Retry-After: 2` while others got through (2 s, not counted), the next is a
503 (up to 2 s), the next a 503: four counted, so the call ends with that 503.
"""

import math
from typing import Final, NamedTuple

import attrs

from .._checks import at_least, not_negative, positive
from ..errors import Reason
from .response import Failure

__all__ = ["Again", "GiveUp", "RetryPolicy", "Tally", "backoff", "decide"]

_MAX_STALE: Final = 3
"""Stale connections in a row. In a session of ours the first resend has a new connection, so there is no second; in one
that isn't, a server that resets every reused connection must not be hammered for ever."""

_MAX_OVERTAKEN: Final = 25
"""Overtaken 429s in one call."""


@attrs.frozen(kw_only=True)
class RetryPolicy:
    """When a failed attempt is followed by another. Raises `ClientSettingsError`, a `ValueError`, for a wrong setting.

    Sent again are: 408, 429 and 5xx answers, connection failures, timeouts, and 2xx answers that are cut off or can't
    be read; a POST only if it can't have been carried out. The wait before attempt n + 1 is random between 0 and
    `base_delay * 2 ** (n - 1)`, at most `max_delay` ("full jitter"), and at least as long as the server asks for;
    after a 429 it is exactly that.
    """

    max_attempts: int = attrs.field(default=4, validator=at_least(1))
    """Maximum number of attempts, 1 or more; 1 switches retries off."""
    base_delay: float = attrs.field(default=0.5, validator=not_negative)
    """Seconds; the longest wait before the second attempt."""
    max_delay: float = attrs.field(default=8.0, validator=not_negative)
    """Seconds; the longest wait that the client chooses by itself."""
    max_elapsed: float | None = attrs.field(default=None, validator=attrs.validators.optional(positive))
    """Seconds since the call began after which no further attempt is begun. None: no limit."""


@attrs.define
class Tally:
    """What became of the attempts of one call so far."""

    attempts: int = 0
    """Attempts that were sent, without those over stale connections."""
    counted: int = 0
    """Those of them that failed and count against `max_attempts`."""
    overtaken: int = 0
    stale: int = 0
    """Stale connections in a row, just now."""
    uncertain: bool = False
    """Whether one of the attempts may have been carried out."""

    def is_stale(self, failure: Failure) -> bool:
        """Whether a failed attempt went over a stale connection, and does not count."""
        return failure.stale_connection and self.stale < _MAX_STALE

    def succeeded(self) -> None:
        """Record an attempt that brought the value."""
        self.attempts += 1

    def failed(self, failure: Failure, *, overtaken: bool) -> bool:
        """Record a failed attempt; return whether it went over a stale connection, and is sent again at once.

        `overtaken`: others got through since it was sent.
        """
        self.uncertain |= failure.uncertain
        if self.is_stale(failure):
            self.stale += 1
            return True
        self.stale = 0
        self.attempts += 1
        if failure.rate_limited and overtaken and self.overtaken < _MAX_OVERTAKEN:
            self.overtaken += 1
        else:
            self.counted += 1
        return False

    def begin_again(self) -> None:
        """Count anew: the attempts so far say nothing about the request."""
        self.counted = self.overtaken = 0


class Again(NamedTuple):
    """Another attempt, after so many seconds."""

    wait: float


class GiveUp(NamedTuple):
    """No further attempt, and why."""

    hint: str = ""
    reason: Reason | None = None


def decide(
    policy: RetryPolicy,
    failure: Failure,
    tally: Tally,
    *,
    keeps_trying: bool,
    longest_wait: float,
    max_wait: float,
    time_left: float,
    random: float,
) -> Again | GiveUp:
    """Say what follows a failed attempt, which the tally has counted.

    `keeps_trying`: in an outage, attempts don't count. All times are in seconds: `longest_wait` bounds the wait if the
    server is out, `max_wait` the wait that a server may ask for, and `time_left` is what remains of `max_elapsed`.
    `random` is between 0 and 1.
    """
    if not failure.retry:
        return GiveUp()
    if tally.counted >= policy.max_attempts and not keeps_trying:
        return GiveUp()
    wait = backoff(policy, max(1, tally.counted), random)
    if failure.rate_limited:
        # The server knows when it will accept more; waiting longer than that wastes capacity.
        wait = failure.wait or wait
    elif failure.wait is not None:
        wait = max(wait, failure.wait)
    if not failure.is_contact and longest_wait < math.inf:
        # In an outage the run's patience is the limit, not `max_wait`: no update may fail for it.
        wait = min(wait, longest_wait, max_wait)
    if wait > max_wait:
        hint = f"the server asked to wait {wait:.0f} s, longer than Pacing(max_wait={max_wait:g}) allows"
        return GiveUp(f"{hint}; try again later, or raise max_wait", "max_wait")
    if wait > time_left:
        return GiveUp(f"RetryPolicy(max_elapsed={policy.max_elapsed:g}) allows no further attempt", "max_elapsed")
    return Again(wait)


def backoff(policy: RetryPolicy, attempt: int, random: float) -> float:
    """Seconds to wait after failed attempt number `attempt` (from 1); `random` is between 0 and 1."""
    # The exponent is bounded: 2 ** 5000 is an OverflowError.
    return random * min(policy.max_delay, policy.base_delay * 2.0 ** min(attempt - 1, 32))
