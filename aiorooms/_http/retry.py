"""Decide whether a failed attempt is retried, and when. No I/O.

Three kinds of failed attempts do not count against `max_attempts`:

- **A stale connection.** The server closed a keep-alive connection just before the client reused it. Servers do so in
  normal operation, so the request is sent again at once over a new connection.
- **An overtaken 429.** The request was rate limited, but the server has accepted other requests of this client since
  the request was sent. So this request only has to queue again.
- **An attempt that was not sent**, in a bulk run. For example, no connection could be opened. Such an attempt says
  nothing about the room, even if other requests were accepted meanwhile.

Attempts of the last two kinds are *exempt*. The number of attempts of each kind is limited, so no request is retried
forever. In a bulk run, failures that an outage may have caused do not count either (see `outage`).

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

__all__ = ["Again", "GiveUp", "RetryPolicy", "Tally", "backoff", "decide", "max_wait_hint"]

_MAX_STALE: Final = 3
"""Maximum number of stale connections in a row. In our own session, each resend uses a new connection, which can't be
stale. The user's session may reuse connections. Without a maximum, a server that resets every connection would receive
resends forever."""

_MAX_EXEMPT: Final = 25
"""Maximum number of exempt attempts in one call. Further ones count against `max_attempts`."""

_MAX_EXTRA: Final = 25
"""Maximum number of attempts that count, beyond `max_attempts`, in a bulk run. A room that is answered 503 and 429 in
turn would otherwise be tried forever: after each 429, the next 503 may again be the beginning of an outage."""


@attrs.frozen(kw_only=True)
class RetryPolicy:
    """The rules for retries. An invalid setting raises `ClientSettingsError`, which is also a `ValueError`.

    A request is sent again after 408, 429 and 5xx answers, connection failures, timeouts, and 2xx answers that are cut
    off or can't be read. A POST is sent again only if it can't have been carried out.

    The wait after the nth failed attempt that counts is random between 0 and `base_delay * 2 ** (n - 1)`, at most
    `max_delay` ("full jitter"). If a 429 asks for a wait, the client waits exactly that long. If a 408 or 5xx answer
    asks for a longer wait, the client waits that long, but in a bulk run at most a tenth of `outage_patience`.
    """

    max_attempts: int = attrs.field(default=4, validator=at_least(1))
    """Maximum number of attempts, 1 or above. The value 1 disables retries.

    Not counted are attempts over a connection that the server had just closed, and up to 25 attempts per call that were
    answered 429 while other requests of the client were accepted. In a bulk run, failures that say nothing about the
    room don't count: those of an outage, and a 429 while no request is accepted.
    """
    base_delay: float = attrs.field(default=0.5, validator=not_negative)
    """The longest wait before the second attempt in seconds, unless the server asks for a longer one."""
    max_delay: float = attrs.field(default=8.0, validator=not_negative)
    """The longest wait in seconds, unless the server asks for a longer one."""
    max_elapsed: float | None = attrs.field(default=None, validator=attrs.validators.optional(positive))
    """No attempt begins later than this many seconds after the beginning of the call. None means no limit.

    In `update_many`, the time of an update counts from its first permit, not from the queue.
    """


@attrs.define(eq=False)
class Tally:
    """Counts the attempts of one call."""

    attempts: int = 0
    """The number of attempts. Those over stale connections are not included."""
    counted: int = 0
    """The number of failed attempts that count against `max_attempts`."""
    exempt: int = 0
    """Number of attempts that don't count because other requests were accepted meanwhile, or because they were not
    sent; at most 25."""
    stale: int = 0
    """The number of stale connections in a row."""
    uncertain: bool = False
    """Whether the server may have carried out one of the attempts."""
    was_sent: bool = False
    """Whether one of the attempts was sent, at least in part."""

    def is_stale(self, failure: Failure) -> bool:
        """Return whether a failed attempt does not count because it used a stale connection."""
        return failure.stale_connection and self.stale < _MAX_STALE

    @property
    def tries(self) -> int:
        """The number of attempts that are not exempt."""
        return self.attempts - self.exempt

    def succeeded(self) -> None:
        """Record a successful attempt."""
        self.attempts += 1

    def failed(self, failure: Failure, *, exempt: bool, counts: bool = True) -> bool:
        """Record a failed attempt. Return True if its connection was stale: the request is then sent again at once.

        `exempt` says whether the failure is an overtaken 429, or an attempt of a bulk run that was not sent. `counts`
        is False if the failure does not count against `max_attempts` for another reason.
        """
        self.uncertain |= failure.uncertain
        self.was_sent |= failure.was_sent
        if self.is_stale(failure):
            self.stale += 1
            return True
        self.stale = 0
        self.attempts += 1
        if exempt and self.exempt < _MAX_EXEMPT:
            self.exempt += 1
        elif counts:
            self.counted += 1
        return False

    def leave_one(self, policy: "RetryPolicy") -> None:
        """Leave one attempt, so that the next failure that counts is the last one."""
        self.counted = max(self.counted, policy.max_attempts - 1)


class Again(NamedTuple):
    """Another attempt, after `wait` seconds."""

    wait: float


class GiveUp(NamedTuple):
    """No further attempt. If `max_wait` is the cause, `hint` and `reason` say so."""

    hint: str = ""
    reason: Reason | None = None
    is_out_of_time: bool = False
    """Whether the cause is that the wait would take longer than the time that is left."""


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

    All times are in seconds. `keeps_trying` allows 25 more counted attempts than `max_attempts`, because the request
    may not be the cause. `longest_wait` limits the wait after a failure without successful contact, `max_wait` limits
    the wait that a server may ask for, and `time_left` is the rest of the time budget. `random` is between 0 and 1.
    """
    if not failure.retry:
        return GiveUp()
    if tally.counted >= policy.max_attempts + (_MAX_EXTRA if keeps_trying else 0):
        return GiveUp()
    wait = backoff(policy, max(1, tally.tries), random)
    asked = failure.wait or 0.0
    # After a 429, the server knows when it will accept more, so waiting longer would waste capacity.
    wait = (asked or wait) if failure.rate_limited else max(wait, asked)
    if not failure.is_contact and longest_wait < math.inf:
        # In a bulk run, an update must not fail because of a long `Retry-After`, so the wait is shortened instead.
        wait = min(wait, longest_wait, max_wait)
    elif asked > max_wait:
        return GiveUp(max_wait_hint(f"the server asked the client to wait {asked:.0f} s,", max_wait), "max_wait")
    if wait > time_left:
        return GiveUp(is_out_of_time=True)
    return Again(wait)


def max_wait_hint(wait: str, max_wait: float) -> str:
    """Return the hint for a wait that is too long. `wait` is the beginning of the sentence, such as `that is`."""
    return f"{wait} longer than Pacing(max_wait={max_wait:g}) allows; try again later, or raise max_wait"


def backoff(policy: RetryPolicy, attempt: int, random: float) -> float:
    """Return the seconds to wait after failed attempt number `attempt`, counted from 1; `random` is between 0 and 1."""
    # The exponent is limited, because 2.0 ** 5000 raises OverflowError.
    return random * min(policy.max_delay, policy.base_delay * 2.0 ** min(attempt - 1, 32))
