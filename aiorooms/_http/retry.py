"""Whether a failed attempt is followed by another, and when. Pure: values in, values out.

Two kinds of failed attempts do not count against `max_attempts`:

- **A stale connection.** The server closed a keep-alive connection just before it was used again. That says nothing
  about the server, so the request is sent again at once over a new connection.
- **An overtaken 429.** The server accepted other requests since this one was sent, so this one only has to queue again.

The number of each is limited, so that no request is retried forever.

Example, with `RetryPolicy()`, which allows four attempts:

    attempt 1: 503 .................................................. wait 0 to 0.5 s
    attempt 2: connection reset ..................................... wait 0 to 1 s
    attempt 3: 429, `Retry-After: 2`, overtaken ..................... wait 2 s, does not count
    attempt 4: 503 .................................................. wait 0 to 2 s
    attempt 5: 503, the fourth that counts .......................... the call ends with this 503
"""

import math
from typing import Final, NamedTuple

import attrs

from .._checks import at_least, not_negative, positive
from ..errors import Reason
from .response import Failure

__all__ = ["Again", "GiveUp", "RetryPolicy", "Tally", "backoff", "decide"]

_MAX_STALE: Final = 3
"""Maximum number of stale connections in a row. In our own session each resend uses a new connection, which can't be
stale. The user's session may reuse connections, and a server that resets them all must not be hammered forever."""

_MAX_OVERTAKEN: Final = 25
"""Maximum number of overtaken 429s in one call. Further ones count."""


@attrs.frozen(kw_only=True)
class RetryPolicy:
    """When a failed attempt is followed by another. An invalid setting raises `ClientSettingsError`, a `ValueError`.

    A request is sent again after 408, 429 and 5xx answers, connection failures, timeouts, and 2xx answers that are cut
    off or can't be read. A POST is sent again only if it can't have been carried out. The wait before attempt n + 1 is
    random between 0 and `base_delay * 2 ** (n - 1)`, at most `max_delay` ("full jitter"), but never shorter than the
    server asks for. If a 429 asks for a wait, the wait is exactly that.
    """

    max_attempts: int = attrs.field(default=4, validator=at_least(1))
    """Maximum number of attempts, 1 or above; 1 switches retries off."""
    base_delay: float = attrs.field(default=0.5, validator=not_negative)
    """The longest wait before the second attempt, in seconds."""
    max_delay: float = attrs.field(default=8.0, validator=not_negative)
    """The longest wait that the client chooses by itself, in seconds."""
    max_elapsed: float | None = attrs.field(default=None, validator=attrs.validators.optional(positive))
    """No attempt begins later than this many seconds after the beginning of the call. None: no limit."""


@attrs.define
class Tally:
    """The attempts of one call so far."""

    attempts: int = 0
    """The number of attempts. Those over stale connections are not included."""
    counted: int = 0
    """The number of failed attempts that count against `max_attempts`."""
    overtaken: int = 0
    """The number of overtaken 429s."""
    stale: int = 0
    """The number of stale connections in a row."""
    uncertain: bool = False
    """Whether the server may have carried out one of the attempts."""

    def is_stale(self, failure: Failure) -> bool:
        """Return whether a failed attempt used a stale connection, and does not count."""
        return failure.stale_connection and self.stale < _MAX_STALE

    def succeeded(self) -> None:
        """Record a successful attempt."""
        self.attempts += 1

    def failed(self, failure: Failure, *, overtaken: bool) -> bool:
        """Record a failed attempt. If it used a stale connection, return True: the request is sent again at once.

        `overtaken` says whether other requests were accepted since the attempt was sent.
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
        """Count from 0 again, because failures during an outage say nothing about the request."""
        self.counted = self.overtaken = 0


class Again(NamedTuple):
    """Another attempt, after `wait` seconds."""

    wait: float


class GiveUp(NamedTuple):
    """No further attempt. `hint` and `reason` name the setting that forbids one, if any."""

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
    """Return the next step after a failed attempt, which the tally has already recorded.

    With `keeps_trying`, `max_attempts` is ignored because of an outage. Times are in seconds: `longest_wait` limits the
    wait after a failure without contact, `max_wait` limits the wait that a server may ask for, and `time_left` is what
    remains of `max_elapsed`. `random` is between 0 and 1.
    """
    if not failure.retry:
        return GiveUp()
    if tally.counted >= policy.max_attempts and not keeps_trying:
        return GiveUp()
    wait = backoff(policy, max(1, tally.counted), random)
    if failure.rate_limited:
        # The server knows when it will accept more, so waiting longer would waste capacity.
        wait = failure.wait or wait
    elif failure.wait is not None:
        wait = max(wait, failure.wait)
    if not failure.is_contact and longest_wait < math.inf:
        # In a bulk run no update may fail because of a long `Retry-After`: shorten the wait instead.
        wait = min(wait, longest_wait, max_wait)
    if wait > max_wait:
        hint = f"the server asked to wait {wait:.0f} s, longer than Pacing(max_wait={max_wait:g}) allows"
        return GiveUp(f"{hint}; try again later, or raise max_wait", "max_wait")
    if wait > time_left:
        return GiveUp(f"RetryPolicy(max_elapsed={policy.max_elapsed:g}) allows no further attempt", "max_elapsed")
    return Again(wait)


def backoff(policy: RetryPolicy, attempt: int, random: float) -> float:
    """Return the seconds to wait after failed attempt number `attempt`, counted from 1; `random` is between 0 and 1."""
    # The exponent is bounded: 2 ** 5000 is an OverflowError.
    return random * min(policy.max_delay, policy.base_delay * 2.0 ** min(attempt - 1, 32))
