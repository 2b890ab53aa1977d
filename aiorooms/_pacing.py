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
from collections import deque
from collections.abc import Callable
from contextlib import suppress
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
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._resume_at = 0.0
        """The end of the present pause on `clock`; only ever raised. 0 where there never was a pause."""
        self._resume_timer: _Handle | None = None

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
        if not self._waiters and self._may_send():
            self._in_flight += 1
            return
        self._refuse_long_pause()
        turn = asyncio.get_running_loop().create_future()
        self._waiters.append(turn)
        self._set_timer()
        try:
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
        resume_at = self._clock() + seconds
        if resume_at <= self._resume_at:
            return
        self._resume_at = resume_at
        if seconds > self._max_wait:
            self._refuse_waiters(lambda: self._too_long(seconds))
        self._set_timer()

    def close(self, reason: Callable[[], Exception]) -> None:
        """Raise `reason()` in everyone who waits."""
        self._refuse_waiters(reason)
        self._cancel_timer()

    def _may_send(self) -> bool:
        # Most clients are never paused, and don't pay for a look at the clock.
        return self._in_flight < self._max_in_flight and (not self._resume_at or self._clock() >= self._resume_at)

    def _give_turns(self) -> None:
        while self._waiters and self._may_send():
            turn = self._waiters.popleft()
            if not turn.done():
                self._in_flight += 1
                turn.set_result(None)

    def _forget(self, turn: asyncio.Future[None]) -> None:
        # It may be out already, when turns were given or refused.
        with suppress(ValueError):
            self._waiters.remove(turn)
        if not self._waiters:
            self._cancel_timer()

    def _refuse_waiters(self, reason: Callable[[], Exception]) -> None:
        waiters, self._waiters = self._waiters, deque()
        for turn in waiters:
            if not turn.done():
                turn.set_exception(reason())

    def _set_timer(self) -> None:
        """Have the waiters looked at when the pause ends."""
        if self._resume_timer is None and self._waiters and (left := self._resume_at - self._clock()) > 0:
            self._resume_timer = self._call_later(left, self._on_timer)

    def _on_timer(self) -> None:
        self._resume_timer = None
        self._give_turns()
        # The pause may have been moved meanwhile, or the timer may be early by the clock's resolution.
        self._set_timer()

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
