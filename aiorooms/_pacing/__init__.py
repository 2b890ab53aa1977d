"""Pacing: when each request may be sent.

Every attempt acquires a permit here before it is sent. When its answer has been read, it releases the permit and passes
on what the answer reports about the rate limit. Callers queue, first come, first served: a single call waits for the
calls that a bulk run has already queued, but not for later ones. A caller that is cancelled while it waits is removed
from the queue. If it is cancelled just as it gets a permit, the permit is passed on to the next caller.

No limit is assumed. The pacer learns the limit from the server's answers, and what it learns from one answer applies to
all calls of the client. Each reason to wait is a *gate*, a class in its own module; all gates have the same interface
(`gate`). A request is sent when all gates are open:

- **Pause** (`pause`). A 429 that says how long to wait pauses all calls, not only the one that it answers.
- **Cap** (`cap`). The caller's own limit, `Pacing(max_rate=)`, holds even if the server allows more.
- **Probing** (`probing`). If the server reports no limit, the rate that it sustains is found from its 429s alone.
- **Slow start** (`slow_start`). While the limit is unknown, one request is in flight at first, then 2, 4, 8.
- **Quota** (`quota`). The `x-ratelimit` headers determine how many requests may be in flight without being rate
  limited, and when more may be sent. Late and reordered answers do no harm. Other processes with the same key get their
  share (`share`).

In addition, the number of requests in flight never exceeds the number of connections: a request that waited for a
connection would use up its timeout.

Example: the limit is 100 requests per 10 s, and 50 workers start. Each worker sends one request after another. The
first request is sent alone; its answer reports `remaining: 99`. Then 2 are in flight, then 4, 8, 16, but in this window
never more than half of what remains, because other processes may use the limit too. After 100 requests the quota is
closed until the reset, which is 3 s away, and one timer is set for that moment. At the reset one request is sent alone,
and its answer reports `remaining: 99` again.

If the wait would be longer than `Pacing.max_wait`, all calls that need a permit fail at once, because a program that
silently sleeps for an hour would seem to hang.

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
