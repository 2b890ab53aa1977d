"""Pacing: decide when each request may be sent.

Every attempt acquires a permit before it is sent. When the attempt is over, it releases the permit, and reports what
the answer, if any, says about the rate limit. Callers with the same priority queue in the order of their arrival
(`waiting`). Single calls don't stand behind the updates of a bulk run: they have a queue of their own, and both queues
take turns (`pacer`). If the limit has windows, a bulk run also leaves some permits to single calls (`needs`). A caller
that is cancelled while it waits is removed from its queue. If it is cancelled just as it gets a permit, the permit is
passed on to the next caller.

At first, the pacer assumes no limit. It learns the limits from the server's answers, and what it learns from one answer
applies to all calls of the client, as long as the server has no limits for single operations. Each reason to wait is a
class in its own module. Most have the same interface, and are called *gates* (`gate`). A request is sent when all of
these are open:

- **Cap** (`cap`). The pacer never exceeds the maximum rate that the caller sets with `Pacing(max_rate=)`.
- **Probing** (`probing`). If the server reports no limit, the pacer finds the sustained rate from 429s alone. 429s that
  don't depend on the rate delay only their own requests.
- **Slow start** (`slow_start`). A new client doesn't know the limit. So it sends one request alone, then 2, 4, 8 etc.
  The same happens at the end of an outage.
- **Sockets** (`sockets`). If the process runs out of file descriptors or ports, fewer requests are in flight.
- **Pause** (`pause`). If a 429 says how long to wait, all calls wait, not only the call that received it.
- **Quota** (`quota`). If the server reports a limit in its headers (`headers`), the pacer calculates how many requests
  may be in flight without being rate limited, and when more may be sent. The calculation allows for answers that arrive
  late or out of order. If other processes use the same key, each one keeps to a rate that leaves the others as much as
  it takes itself (`sharing`, which needs to know how the limit is renewed: `renewals`).

There is a quota for each reported limit, such as one per second and one per hour (`scope`). If the answers of two
operations disagree, the operations have limits of their own (`disagreement`, `limits`).

In addition, the number of requests in flight never exceeds the number of connections. Otherwise a request could spend
its whole timeout waiting for a connection.

Example: the limit is 100 requests per 10 s, and 50 workers start. Each worker sends one request after another. The
first request is sent alone, and its answer reports `remaining: 99`. Then 2 are in flight, then 4, 8, 16, but in this
first window of 10 s never more than half of what remains, because other processes may use the limit too. After 100
requests the quota is closed until the reset, which is 3 s away, and one timer is set for that moment. At the reset one
request is sent alone, and its answer reports `remaining: 99` again.

Example with two processes: the limit is 100 requests per window of 1 s, and process A is alone. In each window it sends
96 requests at once, and the last 4 over the rest of the window. At t = 4.3 process B starts. It finds what A has left,
and gets 3 requests. So more is missing from the limit than A has used, and A knows that others are there. From then on,
A sends at a rate at which the remaining requests last until the end of the window. B does not know yet that the limit
has windows. It takes a part of what remains at any moment, and gets 56 requests of the next window, while A gets 41.
Then B knows the windows too, and they are shared 46 to 52, 47 to 50 and 49 to 49. Four windows after B's last request
A sends 96 requests at once again. If the server reports no limit, both processes get the same 429s and lower their
rates by a fifth, which takes more from the one with the higher rate. So they meet in the middle too (`probing`).

Processes can also share a limit through a store (`shared`). They then report what the server answers to one account,
and get their permits from it. The account replaces the reported limits, pauses and `probing`. The cap, slow start and
sockets remain those of each process.

If the server reports a wait that is longer than `Pacing.max_wait`, all calls that need a permit fail immediately.
Otherwise a program could sleep silently for an hour, and would seem to hang.

All of these only calculate: they get the current time as an argument, and never wait. Only the pacer has a timer, and
only `shared.link` does I/O, in a task of its own.
"""

from .gate import Gate, Permit
from .headers import NO_INFO, RateLimitInfo, read_rate_limit
from .pacer import Pacer, PacerClosedError, Pacing, PacingSnapshot, Wait, WaitTooLongError
from .shared.settings import RedisPacing
from .waiting import Priority

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
    "RedisPacing",
    "Wait",
    "WaitTooLongError",
    "read_rate_limit",
]
