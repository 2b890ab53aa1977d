"""Who may send now.

Every attempt of every call of a client takes a turn here before it is sent and gives it back when its answer is
read. Two things make a call wait for its turn:

- **As many attempts are in flight as there are connections.** So no attempt waits for a connection while its
  timeout runs.
- **A pause.** When the server refuses a request (429) and says how long to wait, that holds for all calls alike: the
  first refusal pauses everyone once, instead of every call finding it out for itself. The pause is a point of time on
  a monotonic clock that is only ever moved later, so nothing that happens meanwhile can lift it.

Turns are given first come, first served. A caller that is cancelled while it waits leaves no trace; one that is
cancelled at the instant its turn comes hands the turn on to the next.

A wait that would be longer than `Pacing.max_wait` is refused instead, at once and for all who would have to wait for
it: a program that silently sleeps for an hour looks like one that hangs.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

import attrs

from ._settings import positive
from .errors import RateLimitError

__all__ = ["Pacer", "Pacing"]


@attrs.frozen(kw_only=True)
class Pacing:
    """How a client waits for the server's rate limit. Raises `ValueError` for a setting out of range."""

    max_wait: float = attrs.field(default=300.0, validator=positive)
    """Seconds. A server that asks to wait longer is not waited for: the call raises `RateLimitError`."""


class _Handle(Protocol):
    def cancel(self) -> None: ...


def _call_later(delay: float, callback: Callable[[], None]) -> _Handle:
    return asyncio.get_running_loop().call_later(delay, callback)


class Pacer:
    """Gives turns to the attempts of one client. `clock` (seconds, monotonic) and `call_later` are there for tests."""

    def __init__(
        self,
        pacing: Pacing,
        *,
        max_in_flight: int,
        clock: Callable[[], float] = time.monotonic,
        call_later: Callable[[float, Callable[[], None]], _Handle] = _call_later,
    ) -> None:
        self._max_wait = pacing.max_wait
        self._max_in_flight = max_in_flight
        self._clock = clock
        self._call_later = call_later
        self._in_flight = 0
        # In the order of their coming. Whoever is cancelled is taken out of the middle, 20,000 at a time perhaps.
        self._waiters: OrderedDict[asyncio.Future[None], None] = OrderedDict()
        self._resume_at = 0.0
        """The end of the present pause on `clock`, only ever raised; 0 where there is none."""
        self._resume_timer: _Handle | None = None
        self._closed: Callable[[], Exception] | None = None

    @property
    def in_flight(self) -> int:
        """How many attempts have a turn now."""
        return self._in_flight

    @property
    def waiting(self) -> int:
        """How many attempts wait for a turn now."""
        return len(self._waiters)

    async def acquire(self) -> None:
        """Wait for a turn. Raises `RateLimitError` if the wait would be longer than `Pacing.max_wait`."""
        # Most clients are never paused, and don't pay for a look at the clock.
        if not self._resume_at and not self._waiters and self._in_flight < self._max_in_flight:
            self._in_flight += 1
            return
        if self._closed is not None:
            raise self._closed()
        self._refuse_long_pause()
        turn = asyncio.get_running_loop().create_future()
        self._waiters[turn] = None
        self._give_turns()
        try:
            if turn.done():
                # Others may have got their turn with this one: let those who came first go first.
                await asyncio.sleep(0)
            await turn
        except BaseException:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                # The turn came at the same instant as the cancellation: it goes to the next.
                self.release()
            else:
                self._forget(turn)
            raise

    def release(self) -> None:
        """Give a turn back."""
        self._in_flight -= 1
        self._give_turns()

    def pause(self, seconds: float) -> None:
        """Let nobody send for so long from now on. A shorter pause than the present one changes nothing."""
        self._resume_at = max(self._resume_at, self._clock() + seconds)
        if seconds > self._max_wait:
            self._refuse_waiters(lambda: self._too_long(seconds))

    def close(self, reason: Callable[[], Exception]) -> None:
        """Raise `reason()` in everyone who waits, or would have to."""
        self._closed = reason
        self._refuse_waiters(reason)
        self._cancel_timer()

    def _give_turns(self) -> None:
        """Give a turn to all who may have one now. Where a pause holds them up, come back at its end.

        One look at the clock decides which of the two it is. With two, a pause that ends between them would be over for
        the one and not for the other, and nobody would come back.
        """
        while self._waiters and self._in_flight < self._max_in_flight:
            left = self._resume_at - self._clock()
            if left > 0:
                if self._resume_timer is None:
                    self._resume_timer = self._call_later(left, self._on_timer)
                return
            self._resume_at = 0.0
            turn, _ = self._waiters.popitem(last=False)
            if not turn.done():
                self._in_flight += 1
                turn.set_result(None)

    def _on_timer(self) -> None:
        # The pause may have been moved meanwhile, or the timer may be early: then another one is set.
        self._resume_timer = None
        self._give_turns()

    def _forget(self, turn: asyncio.Future[None]) -> None:
        # It may be out already, when turns were given or refused.
        self._waiters.pop(turn, None)
        if not self._waiters:
            self._cancel_timer()

    def _refuse_waiters(self, reason: Callable[[], Exception]) -> None:
        waiters, self._waiters = self._waiters, OrderedDict()
        for turn in waiters:
            if not turn.done():
                turn.set_exception(reason())

    def _cancel_timer(self) -> None:
        if self._resume_timer is not None:
            self._resume_timer.cancel()
            self._resume_timer = None

    def _refuse_long_pause(self) -> None:
        if self._resume_at and (left := self._resume_at - self._clock()) > self._max_wait:
            raise self._too_long(left)

    def _too_long(self, seconds: float) -> RateLimitError:
        return RateLimitError(
            f"not sent: the server asked for a pause of {seconds:.0f} s more, which is longer than "
            f"Pacing(max_wait={self._max_wait:g}) allows; try again later, or raise max_wait",
            status=429,
            retry_after=seconds,
        )
