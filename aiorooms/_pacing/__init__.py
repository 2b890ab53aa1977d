"""Who may send now.

Every attempt of every call of a client acquires a permit here before it is sent, and releases it with what its answer
said of the rate limit, once that is read. Callers queue, first come, first served: a single call waits behind the calls
that a bulk run has waiting, and behind no more. A caller that is cancelled while it waits leaves no trace; one that is
cancelled at the instant its permit comes hands it on to the next.

The idea: nothing is assumed of the server, everything is learned from its answers, and all calls of a client keep to
what one of them learned. Each cause of waiting is a *gate*, with one interface (`gate`) and a module of its own. The
pacer asks all gates alike:

- **Pause** (`pause`). When a 429 says how long to wait, all wait, instead of every call finding it out for itself.
- **Cap** (`cap`). The caller's own `Pacing(max_rate=)`, whatever the server says.
- **429s without figures** (`probing`). From them alone a rate is found that the server sustains.
- **Slow start** (`slow_start`). Before anything is known one request is sent, then 2, 4, 8 at a time.
- **Reported limits** (`quota`). The `x-ratelimit` headers of all answers, late and mixed-up ones too, say how many may
  be in flight so that none is rate limited, and when more may. Others with the same key get their part (`share`).

Besides, no more attempts are in flight than there are connections, so that none waits for one while its timeout runs.

Example: a limit of 100 requests per 10 s, 50 callers at once. The first is sent alone; its answer says `remaining: 99`.
Two are sent, then 4, 8, 16, and as answers come the number in flight stays below what remains. After 100 requests the
quota is closed until the reset, 3 s away. One timer is set for that moment, and then one request goes out first: its
answer says that 99 remain again.

A wait that would be longer than `Pacing.max_wait` is not waited for: all who would have to wait fail at once. A program
that silently sleeps for an hour looks like one that hangs.

All but the pacer is arithmetic on times that are handed in; the pacer has one queue and one timer.
"""

from .gate import Gate, Permit
from .headers import PLAIN, RateLimitInfo, read_rate_limit
from .pacer import Pacer, PacerClosedError, Pacing, PacingSnapshot, WaitTooLongError

__all__ = [
    "PLAIN",
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
