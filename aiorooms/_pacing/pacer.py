"""The queue of callers that wait for a permit, and its one timer. The package's docstring has the idea."""

import asyncio
import math
import random
import time
import warnings
from collections import OrderedDict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

import attrs

from .._checks import instance_of, positive, setting_error
from .cap import Cap
from .gate import Gate, Permit
from .headers import PLAIN, RateLimitInfo
from .meter import Meter
from .pause import Pause
from .probing import Probing
from .quota import Quota
from .slow_start import SlowStart

__all__ = ["Pacer", "PacerClosedError", "Pacing", "PacingSnapshot", "WaitTooLongError"]


_LEAST_RATE: Final = 1e-6


@attrs.frozen(kw_only=True)
class Pacing:
    """How a client keeps to the rate limit. Raises `ClientSettingsError`, a `ValueError`, for a wrong setting."""

    enabled: bool = attrs.field(default=True, validator=instance_of(bool))
    """Whether calls learn from each other's answers and wait together. If not, each waits by itself after a 429."""
    max_rate: float | None = attrs.field(default=None, validator=attrs.validators.optional(positive))
    """Requests per second that are never exceeded, whatever the server allows, evenly spread. None: no such cap."""
    max_wait: float = attrs.field(default=300.0, validator=positive)
    """Seconds. A server that asks to wait longer is not waited for: the call raises `RateLimitError`."""

    def __attrs_post_init__(self) -> None:
        if self.max_rate is not None and not _LEAST_RATE <= self.max_rate < math.inf:
            hint = f"give a finite number, {_LEAST_RATE:g} or above, or None"
            raise setting_error("Pacing(max_rate=)", f"is {self.max_rate!r}", hint, self.max_rate)


@attrs.frozen(kw_only=True)
class PacingSnapshot:
    """How things stand with the rate limit at this moment: `client.pacing.snapshot()`."""

    limit: int | None
    """Requests per window, as the server reported last; None if it reported nothing yet."""
    remaining: int | None
    """Further requests that may be sent until `resets_in` is over, by all that share the key; None if not reported."""
    resets_in: float | None
    """Seconds until more may be sent; None if the server reported nothing, or an answer has to come first."""
    sustainable_rate: float | None
    """Requests per second that server and cap are known to sustain; None if nothing is known."""
    rate: float
    """Requests per second that were sent in the last seconds."""
    paused_until: datetime | None
    """When the present pause ends, in UTC; None if there is none."""
    in_flight: int
    """Attempts that have been sent, and whose answer has not been read yet."""
    waiting: int
    """Attempts that wait for a permit."""
    rate_limited: int
    """Attempts that were answered with a 429, since the client was made."""

    @property
    def refused(self) -> int:
        """The old name of `rate_limited`."""
        warnings.warn("PacingSnapshot.refused is called `rate_limited` now", DeprecationWarning, stacklevel=2)
        return self.rate_limited


class _Handle(Protocol):
    def cancel(self) -> None: ...


def _call_later(delay: float, callback: Callable[[], None]) -> _Handle:
    return asyncio.get_running_loop().call_later(delay, callback)


_LONGEST_TIMER: Final = 60.0
"""Seconds; a timer is set anew after so long."""


class PacerClosedError(Exception):
    """No permit is given any more."""


class WaitTooLongError(Exception):
    """The server lets nothing through for longer than `Pacing.max_wait`."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


class Pacer:
    """Gives permits to the attempts of one client.

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
        self.passed: int = 0
        """Attempts that were answered, and not with a 429."""
        self.rate_limited: int = 0
        """Attempts that were answered with a 429."""
        self._max_wait = pacing.max_wait
        self._max_in_flight = max_in_flight
        self._clock = clock
        self._call_later = call_later
        self._in_flight = 0
        # In the order of arrival. A cancelled caller leaves from the middle, 20,000 at a time perhaps.
        self._waiters: OrderedDict[asyncio.Future[Permit], None] = OrderedDict()
        self._timer: _Handle | None = None
        self._timer_at = math.inf
        self._is_closed = False

        self._meter = Meter()
        self._pause = Pause()
        self._quota = Quota()
        cap = [] if pacing.max_rate is None else [Cap(pacing.max_rate)]
        learned = [self._pause, *cap, Probing(self._meter, random), SlowStart(max_in_flight), self._quota]
        self._gates: Sequence[Gate] = learned if pacing.enabled else cap
        """Asked in this order. The first that is closed decides, so the quota assumes a renewal only if it is used."""
        self._all_idle = not self._gates
        """Nothing but the connections limits anything: then no gate is asked, which saves 3 us an update."""

    def acquire_now(self) -> Permit | None:
        """Give a permit if there is no need to wait for one; it is to be given back with `release`."""
        if self._waiters or self._in_flight >= self._max_in_flight:
            return None
        now = self._clock()
        return self._give(now) if self._all_idle or self._may_send_at(now) <= now else None

    async def acquire(self) -> Permit:
        """Wait for a permit; it is to be given back with `release`.

        Raises `WaitTooLongError` if the wait would be longer than `Pacing.max_wait`, and `PacerClosedError`.
        """
        if (free := self.acquire_now()) is not None:
            return free
        if self._is_closed:
            raise PacerClosedError
        if (wait := self._blocked_for(self._clock())) > self._max_wait:
            raise WaitTooLongError(wait)
        permit: asyncio.Future[Permit] = asyncio.get_running_loop().create_future()
        self._waiters[permit] = None
        self._give_permits()
        try:
            if permit.done():
                # Others may have got their permit with this one: let those who came first go first.
                await asyncio.sleep(0)
            return await permit
        except BaseException:
            if permit.done() and not permit.cancelled() and permit.exception() is None:
                # The permit came at the same instant as the cancellation: it goes to the next.
                self.release(permit.result(), None)
            else:
                self._leave(permit)
            raise

    def release(self, permit: Permit, info: RateLimitInfo | None) -> None:
        """Give a permit back, with what the answer says of the rate limit; None if no answer came."""
        self._in_flight -= 1
        if info is None:
            if not self._all_idle:
                self._learn(permit, None)
        else:
            if info is not PLAIN or not self._all_idle:
                self._learn(permit, info)
            if info.rate_limited:
                self.rate_limited += 1
            else:
                self.passed += 1
        if self._waiters:
            self._give_permits()

    def snapshot(self) -> PacingSnapshot:
        """Tell how things stand at this moment."""
        now = self._clock()
        quota = self._quota
        resets_in = max(0.0, quota.renews_at - now) if quota.is_known else math.inf
        paused_for = self._pause.ends_at - now
        return PacingSnapshot(
            limit=quota.limit,
            remaining=max(0, quota.remaining - self._in_flight) if quota.is_known else None,
            resets_in=resets_in if resets_in < math.inf else None,
            sustainable_rate=min((rate for gate in self._gates if (rate := gate.rate) is not None), default=None),
            rate=self._meter.rate(now),
            paused_until=datetime.now(UTC) + timedelta(seconds=paused_for) if paused_for > 0 else None,
            in_flight=self._in_flight,
            waiting=len(self._waiters),
            rate_limited=self.rate_limited,
        )

    def close(self) -> None:
        """Raise `PacerClosedError` in every caller that waits, or would have to."""
        self._is_closed = True
        self._fail_waiters(PacerClosedError)

    # --- the gates ---

    def _may_send_at(self, now: float) -> float:
        """When the next permit may be given: `now` or before, later, or infinite if an answer has to come first."""
        for gate in self._gates:
            if (at := gate.may_send_at(now, self._in_flight)) > now:
                return at
        return now

    def _give(self, now: float) -> Permit:
        permit = Permit(now)
        if not self._all_idle:
            for gate in self._gates:
                gate.sent(permit, self._in_flight)
        self._in_flight += 1
        self._meter.sent(now)
        return permit

    def _learn(self, permit: Permit, info: RateLimitInfo | None) -> None:
        now = self._clock()
        for gate in self._gates:
            if info is None:
                gate.lost(permit, now, self._in_flight)
            else:
                gate.answered(permit, info, now, self._in_flight)
        self._all_idle = all(gate.is_idle for gate in self._gates)
        if self._waiters and (wait := self._blocked_for(now)) > self._max_wait:
            self._fail_waiters(lambda: WaitTooLongError(wait))

    def _blocked_for(self, now: float) -> float:
        """Seconds for which the server lets nothing through, as far as it has said."""
        return max((gate.blocked_until(now) for gate in self._gates), default=now) - now

    # --- the queue ---

    def _give_permits(self) -> None:
        """Give a permit to all callers that may have one now. Where a gate is closed, set a timer to ask again.

        The clock is read once for both decisions. If it were read twice, a pause that ends in between would be over for
        the one and not for the other, and nobody would set a timer.
        """
        now = self._clock()
        while self._waiters and self._in_flight < self._max_in_flight:
            opens_at = self._may_send_at(now)
            if opens_at > now:
                self._set_timer(opens_at, now)
                return
            permit, _ = self._waiters.popitem(last=False)
            if not permit.done():
                permit.set_result(self._give(now))
        if not self._waiters:
            self._cancel_timer()

    def _set_timer(self, at: float, now: float) -> None:
        if at == self._timer_at:
            return
        self._cancel_timer()
        if at < math.inf:
            self._timer_at = at
            self._timer = self._call_later(min(at - now, _LONGEST_TIMER), self._on_timer)

    def _on_timer(self) -> None:
        # A gate may have moved meanwhile, or the timer may be early: then another one is set.
        self._timer = None
        self._timer_at = math.inf
        self._give_permits()

    def _leave(self, permit: "asyncio.Future[Permit]") -> None:
        # It may have left already, when permits were given or all waiters failed.
        self._waiters.pop(permit, None)
        if not self._waiters:
            self._cancel_timer()

    def _cancel_timer(self) -> None:
        self._timer_at = math.inf
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _fail_waiters(self, make_error: Callable[[], Exception]) -> None:
        waiters, self._waiters = self._waiters, OrderedDict()
        for permit in waiters:
            if not permit.done():
                permit.set_exception(make_error())
        self._cancel_timer()
