"""Who may send now.

Every attempt of every call of a client takes a turn here before it is sent and gives it back, with what its answer
told, when that is read. Turns are given first come, first served, whoever asks: a single call waits behind those that
a bulk run has waiting, and behind no more. A caller that is cancelled while it waits leaves no trace; one that is
cancelled at the instant its turn comes hands the turn on to the next.

The idea: nothing is assumed of the server, everything is learned from its answers, and as soon as something is known
all calls of the client keep to it together. What can make a call wait for its turn, each in a module of its own:

- **The connections** (`pacer`). No more attempts are in flight than there are connections, so that none waits for one
  while its timeout runs.
- **Slow start** (`pacer`). Before anything is known one request is sent. Then, with each answer, one more may be in
  flight: so their number doubles in the time of one answer, and an unknown limit isn't met by all at once.
- **The server's figures** (`allowance`). From the `x-ratelimit` fields of all answers, late and mixed-up ones too, it
  is known what may be in flight so that nothing is refused, and when more may. Others with the same key get their part
  (`share`).
- **Refusals without figures** (`refusals`). From them alone a rate is found that the server bears.
- **A pause** (`pacer`). When the server refuses and says how long to wait, that holds for all alike: the first refusal
  pauses everyone once, instead of every call finding it out for itself. The pause is a point of time on a monotonic
  clock that is only ever moved later, so nothing that happens meanwhile can lift it.
- **The caller's own cap** (`cap`), which holds whatever the server says.

A wait that would be longer than `Pacing.max_wait` is refused instead, at once and for all who would have to wait for
it: a program that silently sleeps for an hour looks like one that hangs.

All but the pacer itself is arithmetic on times that are handed in; the pacer has one queue and one timer.
"""

from .headers import reset_after, retry_after
from .pacer import Pacer, Pacing, PacingSnapshot
from .quota import Turn

__all__ = ["Pacer", "Pacing", "PacingSnapshot", "Turn", "reset_after", "retry_after"]
