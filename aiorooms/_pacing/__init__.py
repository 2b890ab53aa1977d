"""Pacing: when each request may be sent.

Every attempt acquires a permit here before it is sent. Once its answer is read, it releases the permit and passes on
what the answer reports about the rate limit. Callers queue, first come, first served: a single call waits behind the
calls that a bulk run has queued so far, and behind no later ones. A caller that is cancelled while it waits leaves no
trace; one that is cancelled just as it gets its permit passes it on to the next caller.

No limit is assumed. The pacer learns from the server's answers, and all calls of the client keep to what one of them
learned. Each reason to wait is a *gate*: a class in a module of its own, with one interface (`gate`). A request is sent
when all gates are open:

- **Pause** (`pause`). A 429 that says how long to wait pauses all calls, not only the one that it answers.
- **Cap** (`cap`). The caller's own `Pacing(max_rate=)`, whatever the server allows.
- **Probing** (`probing`). If the server reports no limit, the rate that it sustains is found from its 429s alone.
- **Slow start** (`slow_start`). While nothing is known, one request is in flight at first, then 2, 4, 8.
- **Quota** (`quota`). The `x-ratelimit` headers of all answers, also of late and reordered ones, determine how many
  requests may be in flight without being rate limited, and when more may be sent. Other processes with the same key
  get their share (`share`).

In addition, no more requests are in flight than there are connections: a request that had to wait for a connection
would use up its timeout.

Example: the limit is 100 requests per 10 s, and 50 callers arrive at once. The first request is sent alone; its answer
reports `remaining: 99`. Then 2 are in flight, then 4, 8, 16, but never more than remain. After 100 requests the quota
is closed until the reset, which is 3 s away. One timer is set for that moment. Then one request is sent alone, and its
answer reports again that 99 remain.

A wait longer than `Pacing.max_wait` fails at once, for all calls that would have to wait: a program that silently
sleeps for an hour looks like one that hangs.

Gates only calculate, and the current time is an argument. Only the pacer has a queue and a timer.
"""

from .gate import Gate, Permit
from .headers import NO_INFO, RateLimitInfo, read_rate_limit
from .pacer import Pacer, PacerClosedError, Pacing, PacingSnapshot, WaitTooLongError

__all__ = [
    "NO_INFO",
    "Gate",
    "Pacer",
    "PacerClosedError",
    "Pacing",
    "PacingSnapshot",
    "Permit",
    "RateLimitInfo",
    "WaitTooLongError",
    "read_rate_limit",
]
