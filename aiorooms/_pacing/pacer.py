"""The queue of those who wait for a turn, and what holds it up. The idea is told in the package's own docstring."""

import asyncio
import math
import random
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

import attrs

from .._checks import check_instance, positive
from ..errors import ClientSettingsError, RateLimitError
from .cap import Cap
from .headers import Report, read_report, retry_after
from .meter import Meter
from .probing import Refusals
from .quota import Allowance, Turn

__all__ = ["Pacer", "Pacing", "PacingSnapshot"]


_LEAST_RATE: Final = 1e-6


def _switch(instance: object, attribute: "attrs.Attribute[bool]", value: bool) -> None:
    check_instance(bool, f"Pacing({attribute.name}=)", value)


@attrs.frozen(kw_only=True)
class Pacing:
    """How a client keeps to the rate limit. Raises `ClientSettingsError`, a `ValueError`, for a wrong setting."""

    enabled: bool = attrs.field(default=True, validator=_switch)
    """Whether anything is learned and waited for together. If not, each call waits by itself when it is refused."""
    max_rate: float | None = attrs.field(default=None, validator=attrs.validators.optional(positive))
    """Requests per second that are not exceeded whatever the server allows, evenly spread. None: no such cap."""
    max_wait: float = attrs.field(default=300.0, validator=positive)
    """Seconds. A server that asks to wait longer is not waited for: the call raises `RateLimitError`."""

    def __attrs_post_init__(self) -> None:
        if self.max_rate is not None and not _LEAST_RATE <= self.max_rate < math.inf:
            raise ClientSettingsError(
                f"Pacing(max_rate=) is {self.max_rate!r}; give a finite number, {_LEAST_RATE:g} or above, or None"
            )


@attrs.frozen(kw_only=True)
class PacingSnapshot:
    """How things stand with the rate limit at this moment: `client.pacing.snapshot()`."""

    limit: int | None
    """Requests per window, as the server told last; None if it told nothing yet."""
    remaining: int | None
    """Further requests that may be sent until `resets_in` is over, by all who share the key; None if not told yet."""
    resets_in: float | None
    """Seconds until more may be sent; None if the server told nothing, or an answer has to come first."""
    sustainable_rate: float | None
    """Requests per second that server and cap allow in the long run, as far as is known; None if nothing is."""
    rate: float
    """Requests per second that were sent in the last seconds."""
    paused_until: datetime | None
    """When the present pause ends, in UTC; None if there is none."""
    in_flight: int
    """Attempts that have been sent, and whose answer has not been read yet."""
    waiting: int
    """Attempts that wait for their turn."""
    refused: int
    """Attempts that the server refused (429), all together."""


class _Handle(Protocol):
    def cancel(self) -> None: ...


def _call_later(delay: float, callback: Callable[[], None]) -> _Handle:
    return asyncio.get_running_loop().call_later(delay, callback)


_WIDEN_AFTER: Final = 0.5
"""Seconds. If the first answers don't come, more are sent all the same: one that hangs must not hold up all others."""

_LONGEST_TIMER: Final = 60.0
"""Seconds; a timer is set anew after so long."""


class Pacer:
    """Gives turns to the attempts of one client.

    `clock` (seconds, monotonic), `call_later` and `random` (between 0 and 1) are there for tests.
    """

    def __init__(
        self,
        pacing: Pacing,
        *,
        max_in_flight: int,
        clock: Callable[[], float] = time.monotonic,
        call_later: Callable[[float, Callable[[], None]], _Handle] = _call_later,
        random: Callable[[], float] = random.random,
    ) -> None:
        self.granted = 0
        """Attempts that the server did not refuse, whatever else became of them."""
        self.refused = 0
        """Attempts that it did refuse."""
        self._enabled = pacing.enabled
        self._max_wait = pacing.max_wait
        self._max_in_flight = max_in_flight
        self._clock = clock
        self._call_later = call_later
        self._in_flight = 0
        # In the order of their coming. Whoever is cancelled is taken out of the middle, 20,000 at a time perhaps.
        self._waiters: OrderedDict[asyncio.Future[Turn], None] = OrderedDict()
        self._timer: _Handle | None = None
        self._timer_at = math.inf
        self._closed: Callable[[], Exception] | None = None

        self._resume_at = 0.0
        """The end of the present pause on `clock`, only ever raised."""
        self._allowance = Allowance()
        self._refusals = Refusals(random)
        self._cap = None if pacing.max_rate is None else Cap(pacing.max_rate)
        self._max_rate = pacing.max_rate
        self._width = 1.0 if pacing.enabled else math.inf
        """How many may be in flight in the slow start; infinite when that is over."""
        self._widen_at = math.inf
        self._meter = Meter()
        self._unlimited = not pacing.enabled and self._cap is None
        """Nothing but the connections limits anything: then nobody looks at the clock twice, or at anything else."""

    @property
    def in_flight(self) -> int:
        """How many attempts have a turn now."""
        return self._in_flight

    @property
    def waiting(self) -> int:
        """How many attempts wait for a turn now."""
        return len(self._waiters)

    def acquire_now(self) -> Turn | None:
        """Give a turn if there is no need to wait for one; it is to be given back with `release`."""
        if self._waiters or self._in_flight >= self._max_in_flight:
            return None
        now = self._clock()
        if self._unlimited:
            self._in_flight += 1
            self._meter.sent(now)
            return Turn(now)
        return self._take(now) if self._open_or_wait_until(now) <= now else None

    async def acquire(self) -> Turn:
        """Wait for a turn; it is to be given back with `release`.

        Raises `RateLimitError` if the wait would be longer than `Pacing.max_wait`.
        """
        if (free := self.acquire_now()) is not None:
            return free
        if self._closed is not None:
            raise self._closed()
        self._refuse_long_wait(self._clock())
        turn: asyncio.Future[Turn] = asyncio.get_running_loop().create_future()
        self._waiters[turn] = None
        self._give_turns()
        try:
            if turn.done():
                # Others may have got their turn with this one: let those who came first go first.
                await asyncio.sleep(0)
            return await turn
        except BaseException:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                # The turn came at the same instant as the cancellation: it goes to the next.
                self.release(turn.result())
            else:
                self._forget(turn)
            raise

    def release(
        self,
        turn: Turn,
        headers: Mapping[str, str] | None = None,
        *,
        refused: bool = False,
    ) -> None:
        """Give a turn back, with the header of the answer if there was one.

        `refused`: the server said "too many requests" (429).
        """
        self._in_flight -= 1
        if self._enabled:
            report = None if headers is None else read_report(headers)
            if report is not None or refused or not self._unlimited:
                self._learn(turn, headers, report, refused=refused)
        if refused:
            self.refused += 1
        elif headers is not None:
            self.granted += 1
        if self._waiters:
            self._give_turns()

    def snapshot(self) -> PacingSnapshot:
        """Tell how things stand at this moment."""
        now = self._clock()
        allowance = self._allowance
        resets_in = max(0.0, allowance.renews_at - now) if allowance.is_known else math.inf
        return PacingSnapshot(
            limit=allowance.limit,
            remaining=max(0, allowance.remaining - self._in_flight) if allowance.is_known else None,
            resets_in=resets_in if resets_in < math.inf else None,
            sustainable_rate=self._sustainable_rate(),
            rate=self._meter.rate(now),
            paused_until=datetime.now(UTC) + timedelta(seconds=left) if (left := self._resume_at - now) > 0 else None,
            in_flight=self._in_flight,
            waiting=len(self._waiters),
            refused=self.refused,
        )

    def close(self, reason: Callable[[], Exception]) -> None:
        """Raise `reason()` in everyone who waits, or would have to."""
        self._closed = reason
        self._refuse_waiters(reason)

    # --- what is known ---

    def _learn(self, turn: Turn, headers: Mapping[str, str] | None, report: Report | None, *, refused: bool) -> None:
        now = self._clock()
        if self._width < math.inf:
            self._width += 1
            if self._width >= self._max_in_flight:
                self._width = math.inf
        wait = retry_after(headers) if refused and headers is not None else None
        if wait:
            self._pause(now, wait)
        # Figures that come with refusals only don't tell how things stand otherwise.
        if report is not None and (self._allowance.is_known or not refused):
            self._allowance.answered(turn, now, report, refused=refused)
        elif self._allowance.is_known:
            self._allowance.lost(now, self._in_flight)
        # A refusal although something remains, or without a word about it, is none that the figures could have told of.
        if refused and not (self._allowance.is_known and report is not None and report.remaining == 0):
            if wait is None and report is not None:
                wait = report.reset or None  # 0 may have been rounded down
            since, sent = self._meter.lately(now)
            self._refusals.refused(turn.sent_at, now, wait, (since, max(0, sent - self._in_flight - 1)))
        elif headers is not None and not refused:
            self._refusals.granted(turn.sent_at, now)
        else:
            self._refusals.lost(turn.sent_at)
        self._unlimited = (
            self._width == math.inf
            and self._cap is None
            and self._resume_at <= now
            and not self._allowance.is_known
            and not self._refusals.is_known
        )
        self._refuse_long_wait_of_waiters(now)

    def _pause(self, now: float, seconds: float) -> None:
        """Let nobody send for so long from now on. A shorter pause than the present one changes nothing."""
        self._resume_at = max(self._resume_at, now + seconds)

    def _open_or_wait_until(self, now: float) -> float:
        """When the next turn may be given: `now` or before, later, or infinite if an answer has to come first."""
        at = self._resume_at
        if self._cap is not None:
            at = max(at, self._cap.may_send_at())
        at = max(at, self._refusals.may_send_at())
        if at > now:
            return at
        if self._in_flight >= self._width:
            if now < self._widen_at:
                return self._widen_at
            self._width *= 2
            self._widen_at = now + _WIDEN_AFTER
        if self._allowance.is_known and self._allowance.look(now, self._in_flight) <= 0:
            return max(self._allowance.look_at(self._in_flight), math.nextafter(now, math.inf))
        return at

    def _sustainable_rate(self) -> float | None:
        rates = [self._max_rate, self._allowance.rate, self._refusals.rate]
        return min((rate for rate in rates if rate is not None), default=None)

    # --- turns ---

    def _take(self, now: float) -> Turn:
        """Give a turn."""
        self._in_flight += 1
        if self._width < math.inf and self._in_flight >= self._width:
            self._widen_at = now + _WIDEN_AFTER
        if self._cap is not None:
            self._cap.sent(now)
        self._refusals.sent(now)
        self._meter.sent(now)
        return self._allowance.turn(now)

    def _give_turns(self) -> None:
        """Give a turn to all who may have one now. Where something holds them up, come back when that may be over.

        One look at the clock decides which of the two it is. With two, a pause that ends between them would be over for
        the one and not for the other, and nobody would come back.
        """
        now = self._clock()
        while self._waiters and self._in_flight < self._max_in_flight:
            opens_at = self._open_or_wait_until(now)
            if opens_at > now:
                self._come_back_at(opens_at, now)
                return
            turn, _ = self._waiters.popitem(last=False)
            if not turn.done():
                turn.set_result(self._take(now))
        if not self._waiters:
            self._cancel_timer()

    def _come_back_at(self, at: float, now: float) -> None:
        if at == self._timer_at:
            return
        self._cancel_timer()
        if at < math.inf:
            self._timer_at = at
            self._timer = self._call_later(min(at - now, _LONGEST_TIMER), self._on_timer)

    def _on_timer(self) -> None:
        # What held them up may have moved meanwhile, or the timer may be early: then another one is set.
        self._timer = None
        self._timer_at = math.inf
        self._give_turns()

    def _forget(self, turn: "asyncio.Future[Turn]") -> None:
        # It may be out already, when turns were given or refused.
        self._waiters.pop(turn, None)
        if not self._waiters:
            self._cancel_timer()

    def _cancel_timer(self) -> None:
        self._timer_at = math.inf
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # --- waits that are too long ---

    def _refuse_waiters(self, reason: Callable[[], Exception]) -> None:
        waiters, self._waiters = self._waiters, OrderedDict()
        for turn in waiters:
            if not turn.done():
                turn.set_exception(reason())
        self._cancel_timer()

    def _ordered_wait(self, now: float) -> float:
        """Seconds for which the server lets nobody send, as far as it has said."""
        at = self._resume_at
        if (refused_until := self._refusals.may_send_at()) < math.inf:
            at = max(at, refused_until)
        if self._allowance.is_known:
            at = max(at, self._allowance.exhausted_until(now))
        return at - now

    def _refuse_long_wait(self, now: float) -> None:
        if (wait := self._ordered_wait(now)) > self._max_wait:
            raise self._too_long(wait)

    def _refuse_long_wait_of_waiters(self, now: float) -> None:
        if self._waiters and (wait := self._ordered_wait(now)) > self._max_wait:
            self._refuse_waiters(lambda: self._too_long(wait))

    def _too_long(self, seconds: float) -> RateLimitError:
        return RateLimitError(
            f"not sent: the rate limit lets nothing through for another {seconds:.0f} s, longer than "
            f"Pacing(max_wait={self._max_wait:g}) allows; try again later, or raise max_wait",
            status=429,
            retry_after=seconds,
        )
