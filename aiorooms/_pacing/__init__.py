"""Pacing: decide when each request may be sent.

Every attempt acquires a permit before it is sent. When the attempt is over, it releases the permit, and reports what
the answer, if any, says about the rate limit. Callers with the same priority queue in the order of their arrival.
Single calls don't stand behind the updates of a bulk run: they have a queue of their own, and both queues take turns
(module `pacer`). If the limit has windows, a bulk run also leaves some permits to single calls (module `needs`). A
caller that is cancelled while it waits is removed from its queue. If it is cancelled just as it gets a permit, the
permit is passed on to the next caller.

At first, the pacer assumes no limit. It learns the limit from the server's answers, and what it learns from one answer
applies to all calls of the client. Each reason to wait is a *gate*: a class in its own module, with the interface in
`gate`. A request is sent when all of these gates are open:

- **Pause** (`pause`). If a 429 says how long to wait, all calls wait, not only the call that received it.
- **Cap** (`cap`). The pacer never exceeds the maximum rate that the caller sets with `Pacing(max_rate=)`.
- **Probing** (`probing`). If the server reports no limit, the pacer finds the sustained rate from 429s alone.
- **Slow start** (`slow_start`). A new client doesn't know the limit. So it sends one request alone, then 2, 4, 8 etc.
  The same happens at the end of an outage.
- **Sockets** (`sockets`). If the process runs out of file descriptors or ports, fewer requests are in flight.
- **Quota** (`quota`). If the server reports a limit in `x-ratelimit` headers, the pacer calculates how many requests
  may be in flight without being rate limited, and when more may be sent. The calculation allows for answers that arrive
  late or out of order, and for other processes that use the same key (`share`).

In addition, the number of requests in flight never exceeds the number of connections. Otherwise a request could spend
its whole timeout waiting for a connection.

Example: the limit is 100 requests per 10 s, and 50 workers start. Each worker sends one request after another. The
first request is sent alone, and its answer reports `remaining: 99`. Then 2 are in flight, then 4, 8, 16, but in this
first window of 10 s never more than half of what remains, because other processes may use the limit too. After 100
requests the quota is closed until the reset, which is 3 s away, and one timer is set for that moment. At the reset one
request is sent alone, and its answer reports `remaining: 99` again.

If the server reports a wait that is longer than `Pacing.max_wait`, all calls that need a permit fail immediately.
Otherwise a program could sleep silently for an hour, and would seem to hang.

Gates only calculate: they get the current time as an argument, and never wait. Only the pacer has a queue and a timer.
"""

from .gate import Gate, Permit
from .headers import NO_INFO, RateLimitInfo, read_rate_limit
from .pacer import Pacer, PacerClosedError, Pacing, PacingSnapshot, Priority, Wait, WaitTooLongError

__all__ = [
    "NO_INFO",
    "Gate",
    "Pacer",
    "PacerClosedError",
    "Pacing",
    "PacingSnapshot",
    "Permit",
    "Priority",
    "RateLimitInfo",
    "Wait",
    "WaitTooLongError",
    "read_rate_limit",
]
