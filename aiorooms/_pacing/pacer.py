"""The pacer: the queues of callers that wait for a permit, and their timer. The package's docstring explains pacing.

There is a queue for each priority. Within a queue, callers are served in the order of their arrival. If callers wait in
both, the queues take turns, so a single call gets the next permit or the one after it, and a flood of single calls
leaves a bulk run half of the permits. If an operation has limits of its own (`limits`) and these are used up, its
callers wait, and those of other operations get permits before them.
"""

import asyncio
import math
import random
import time
import warnings
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final, NamedTuple, Protocol

import attrs

from .._checks import instance_of, positive, setting_error
from ..telemetry import PauseReason, RateLimitPaused, SharedPacingChanged
from .cap import Cap
from .gate import Gate, Permit
from .headers import NO_INFO, RateLimitInfo
from .limits import Limits
from .meter import Meter
from .probing import Probing
from .shared.account import Overview
from .shared.gate import SharedGate
from .shared.link import Link
from .shared.settings import RedisPacing
from .shared.store import Store
from .shared.takeover import Takeover
from .slow_start import SlowStart
from .sockets import Sockets
from .waiting import PRIORITIES, Priority, Waiter, Waiting

__all__ = ["Pacer", "PacerClosedError", "Pacing", "PacingSnapshot", "Priority", "Wait", "WaitTooLongError"]

_MIN_RATE: Final = 1e-6


@attrs.frozen(kw_only=True)
class Pacing:
    """How a client keeps to the rate limit. Raises `ClientSettingsError`, a `ValueError`, for an invalid setting."""

    enabled: bool = attrs.field(default=True, validator=instance_of(bool))
    """Whether calls share what their answers report about the limit. If False, a 429 delays only its own call.

    `max_rate` applies in both cases.
    """
    max_rate: float | None = attrs.field(default=None, validator=attrs.validators.optional(positive))
    """Maximum requests per second, spread evenly, even if the server allows more. None means no maximum."""
    max_wait: float = attrs.field(default=300.0, validator=positive)
    """Maximum wait that the server may ask for, in seconds, inclusive. Beyond that, calls raise `RateLimitError`."""
    shared: RedisPacing | None = attrs.field(
        default=None, validator=attrs.validators.optional(instance_of(RedisPacing))
    )
    """Where to share the limit with other processes and machines. None means that each process paces itself."""

    def __attrs_post_init__(self) -> None:
        if self.max_rate is not None and not _MIN_RATE <= self.max_rate < math.inf:
            hint = f"give a finite number, {_MIN_RATE:g} or above, or None"
            raise setting_error("Pacing(max_rate=)", f"is {self.max_rate!r}", hint, self.max_rate)
        if self.shared is not None and not self.enabled:
            raise setting_error("Pacing(shared=)", "can't be combined with enabled=False", "omit one of them")


@attrs.frozen(kw_only=True)
class PacingSnapshot:
    """The state of the rate limit at one moment, from `client.pacing.snapshot()`."""

    limit: int | None
    """Requests per window, as last reported; None if no limit was reported yet.

    If several limits are reported, this is the one with the fewest remaining requests.
    """
    remaining: int | None
    """Requests that all processes with the same key may still send until the reset; None if no limit was reported."""
    resets_in: float | None
    """Seconds until more requests may be sent; None if no reset was reported, or if an answer must arrive first."""
    sustainable_rate: float | None
    """The highest rate that both the server and `max_rate` allow, in requests per second; None if unknown."""
    rate: float
    """Requests sent per second, averaged over the last 2 to 4 seconds."""
    paused_until: datetime | None
    """When the current pause ends, in UTC; None if there is no pause."""
    in_flight: int
    """Number of attempts that were sent but not yet answered."""
    waiting: int
    """Number of attempts that wait for a permit."""
    rate_limited: int
    """Number of attempts that were answered with a 429 since the client was created."""
    is_shared: bool = False
    """Whether the client shares the limit with others now, through the store of `Pacing(shared=)`.

    If not, although `shared` is set, the store can't be used, no call was made yet, or the client is closed.
    """
    clients: int = 1
    """Number of clients that share the limit through the store, including this one. A killed one counts for 30 s."""

    @property
    def refused(self) -> int:
        """The deprecated name of `rate_limited`."""
        warnings.warn("PacingSnapshot.refused is deprecated; use rate_limited", DeprecationWarning, stacklevel=2)
        return self.rate_limited


class _Handle(Protocol):
    def cancel(self) -> None: ...


def _call_later(delay: float, callback: Callable[[], None]) -> _Handle:
    return asyncio.get_running_loop().call_later(delay, callback)


_MAX_RESERVED: Final[dict[Priority, float]] = {"normal": 3.0, "low": 60.0}
"""How long a caller waits at most for permits that other processes may need, in seconds."""

_CALM: Final = 3
"""If nobody waits and fewer attempts are in flight, a caller gets even a permit that others may need."""

_MIN_PAUSE: Final = 1.0
_SAME: Final = 0.05
"""Seconds. Shorter waits are not reported, and neither is one whose end hardly differs from the last reported one."""

_CALM_AFTER: Final = 0.1
"""Seconds. When many answers arrive at once, their callers are missing for a moment, before they send again."""

_HARDLY: Final = 0.05
"""Seconds. A 429 after which the next request may be sent so soon delays only its own call."""

_MAX_TIMER: Final = 60.0
"""Maximum duration of a timer, in seconds. For a longer wait, several timers are set in turn."""


class PacerClosedError(Exception):
    """The pacer is closed and grants no more permits."""


class WaitTooLongError(Exception):
    """The server reports a wait that is longer than `Pacing.max_wait`."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


class Wait(NamedTuple):
    """Why a call with normal priority has to wait for the rate limit, and for how long."""

    seconds: float
    """The expected wait, in seconds."""
    rate: float | None
    """The sustained rate in requests per second; None if it is unknown."""
    waiting: int
    """Number of attempts that wait for a permit."""


class _Next(NamedTuple):
    priority: Priority
    operation: str


class Pacer:
    """Grants permits to the attempts of one client.

    The limit is shared with other clients through `store`. `emit` is called with each wait of a second or longer, and
    when sharing begins or ends. Tests replace `clock` (monotonic, in seconds), `call_later` and `random` (0 to 1).
    """

    def __init__(
        self,
        pacing: Pacing,
        *,
        max_in_flight: int,
        clock: Callable[[], float] = time.monotonic,
        call_later: Callable[[float, Callable[[], None]], _Handle] = _call_later,
        random: Callable[[], float] = random.random,
        emit: Callable[[RateLimitPaused | SharedPacingChanged], None] | None = None,
        store: Store | None = None,
    ) -> None:
        self.accepted: int = 0
        """Number of attempts that were answered, but not with a 429."""
        self.rate_limited: int = 0
        """Number of attempts that were answered with a 429."""
        self._emit = emit
        self._announced_until = -math.inf
        """The end of the last wait that was reported."""
        self._max_wait = pacing.max_wait
        self._max_in_flight = max_in_flight
        self._clock = clock
        self._call_later = call_later
        self._in_flight = 0
        self._queue = Waiting()
        self._low_is_next = False
        """Whether the next permit is for a caller with low priority, because the last one was not."""
        self._most = 0
        """The largest number of attempts in flight and callers waiting, since a caller waits."""
        self._busy_at = -math.inf
        """When more than half of that number were in flight or waiting the last time."""
        self._timer: _Handle | None = None
        self._timer_at = math.inf
        self._is_closed = False

        self._meter = Meter()
        self._limits = Limits(random) if pacing.enabled else None
        self._slow_start = SlowStart(max_in_flight) if pacing.enabled else None
        self._sockets = Sockets(max_in_flight)
        always = [self._sockets, *([] if pacing.max_rate is None else [Cap(pacing.max_rate)])]
        learned = [] if self._slow_start is None else [Probing(self._meter, random), self._slow_start]
        self._takeover = None if store is None else Takeover()
        self._gates: Sequence[Gate] = [*always, *([] if self._takeover is None else [self._takeover]), *learned]
        """The gates, which are asked in this order up to the first closed one.

        The limits are asked last, when all gates are open, because asking a quota can make it assume a renewal.
        """
        self._gates_if_shared = [gate for gate in self._gates if not isinstance(gate, Probing | Takeover)]
        """The gates that are asked if the limit is shared: those that protect this process and the server."""
        self._wants_when_freed = False
        """Whether more callers wait than may send at once, so that permits are wanted when an attempt has ended."""
        self._shared: SharedGate | None = None
        self._link: Link | None = None
        self._overview: Overview | None = None
        """What was known of the limit when permits came from the store; None if they don't."""
        if store is not None:
            self._shared = SharedGate(random)
            self._link = Link(
                store,
                self._shared,
                waiting=self._wanted,
                since=lambda want: self._waits_since(*want) or -math.inf,
                changed=self._on_shared_change,
                announce=self._announce_shared,
                clock=clock,
                random=random,
            )
        self._all_idle = self._are_all_idle()
        """Whether all gates stay open until the next 429, reported limit or notice of the store.

        Not asking them saves 3 us per update, and 9 us if the limit is shared.
        """

    def acquire_now(self, priority: Priority = "normal", operation: str = "") -> Permit | None:
        """Return a permit if one can be granted now, else None. The caller must `release` it.

        `operation` is the method and the route, such as `PATCH /rooms/{room_id}`.
        """
        if self._in_flight >= self._max_in_flight or (self._queue and self._comes_after_others(priority, operation)):
            return None
        now = self._clock()
        if not self._all_idle and self.may_send_at(now, priority, operation) > now:
            return None
        if priority == "normal":
            self._low_is_next = self._queue.has("low")
        return self._grant(now, priority, operation)

    async def acquire(self, priority: Priority = "normal", operation: str = "") -> Permit:
        """Wait for a permit and return it. The caller must `release` it.

        Raises `WaitTooLongError` if the server will accept no request for longer than `Pacing.max_wait`. After
        `close`, raises `PacerClosedError` instead of waiting.
        """
        if (free := self.acquire_now(priority, operation)) is not None:
            return free
        if self._is_closed:
            raise PacerClosedError
        now = self._clock()
        if (wait := self._blocked_for(now, operation)) > self._max_wait:
            raise WaitTooLongError(wait)
        permit: Waiter = asyncio.get_running_loop().create_future()
        self._most = max(self._most if self._queue else 0, self._in_flight + self._waiting + 1)
        self._queue.add(permit, priority, operation, now)
        if len(self._queue) == 1 or not self._is_dry:
            self._grant_permits()
        if self._link is not None:
            if not self._is_known_to_others(priority, operation):
                # A caller that could not send anyway has time.
                self._link.wake(for_caller=(priority, operation) in self._wanted())
            elif len(self._queue) == 1:
                self._link.wake()
        try:
            if permit.done():
                # `_grant_permits` may have granted permits to earlier callers too. Let them run first.
                await asyncio.sleep(0)
            return await permit
        except BaseException:
            if permit.done() and not permit.cancelled() and permit.exception() is None:
                # The permit was granted just before the cancellation: pass it on to the next caller.
                self.release(permit.result(), None)
            else:
                # The caller has already left the queue if all waiting callers failed.
                self._queue.remove(permit, priority, operation)
                if not self._queue:
                    self._cancel_timer()
            raise

    def release(self, permit: Permit, info: RateLimitInfo | None) -> None:
        """Release a permit. `info` is what the answer says about the rate limit; None if no answer arrived."""
        self._in_flight -= 1
        if permit.is_counted or not self._all_idle or (info is not None and info is not NO_INFO):
            self._learn(permit, info)
        elif self._shared is not None:
            # Nothing was learned, so no exchange is due because of it.
            self._shared.ended(permit, info, self._clock())
        if info is not None:
            if info.rate_limited:
                self.rate_limited += 1
            else:
                self.accepted += 1
        if self._queue:
            if self._link is not None and self._wants_when_freed:
                self._link.wake()
            if not self._is_dry:
                self._grant_permits()

    def expected_wait(self, operation: str = "") -> Wait | None:
        """Return how long a new call with normal priority would wait for the rate limit; None if for another reason."""
        now = self._clock()
        rate = self._rate(operation)
        blocked = max(0.0, self._blocked_for(now, operation))
        if rate is None and not blocked:
            return None
        others: list[Gate | None] = [self._sockets, self._slow_start]
        if self._in_flight >= self._max_in_flight or any(
            gate is not None and gate.may_send_at(now, self._in_flight) > now for gate in others
        ):
            return None  # the requests in flight are the reason
        normal, low = map(self._queue.count, PRIORITIES)
        ahead = normal + min(low, normal + 1)
        seconds = blocked + (0.0 if rate is None else (ahead + 1) / rate)
        return Wait(seconds, rate, self._waiting)

    def is_open(self, operation: str = "") -> bool:
        """Whether the rate limit makes a call with normal priority wait for hardly any time."""
        now = self._clock()
        return self._all_idle or self.may_send_at(now, "normal", operation) <= now + _HARDLY

    def start_slowly(self) -> None:
        """Begin slow start again, because the server has just become available. Without pacing, do nothing."""
        if self._slow_start is not None:
            self._slow_start.begin_again(self._clock())
            self._all_idle = False

    def narrow(self) -> bool:
        """Allow no more requests in flight than now, because the system has granted no further socket.

        Return whether any request is in flight. If not, other parts of the program use all sockets.
        """
        if not self._in_flight:
            return False
        self._sockets.narrow(self._clock(), self._in_flight)
        self._all_idle = False
        return True

    def snapshot(self) -> PacingSnapshot:
        """Return the current state."""
        now = self._clock()
        overview, shift = (None, 0.0) if self._link is None else (self._link.overview, self._link.shift)
        if overview is not None:
            limit, remaining, renews_at = overview.limit, overview.remaining, overview.renews_at - shift
            paused_until = overview.paused_until - shift
        else:
            tightest = None if self._limits is None else self._limits.tightest(self._in_flight)
            quota, remaining = (None, None) if tightest is None else tightest
            limit, renews_at = (None, math.inf) if quota is None else (quota.limit, quota.renews_at)
            paused_until = 0.0 if self._limits is None else self._limits.paused_until
        paused_for = paused_until - now
        return PacingSnapshot(
            limit=limit,
            remaining=remaining,
            resets_in=max(0.0, renews_at - now) if renews_at < math.inf else None,
            sustainable_rate=self._rate(None),
            rate=self._meter.rate(now),
            paused_until=datetime.now(UTC) + timedelta(seconds=paused_for) if paused_for > 0 else None,
            in_flight=self._in_flight,
            waiting=self._waiting,
            rate_limited=self.rate_limited,
            is_shared=overview is not None,
            clients=1 if overview is None else overview.clients,
        )

    def close(self) -> None:
        """Raise `PacerClosedError` in all waiting callers, and in all later callers that would have to wait."""
        self._is_closed = True
        self._fail(self._queue.pop_all(), PacerClosedError)

    async def leave(self) -> None:
        """Return all permits to the other clients. The pacer must be closed."""
        if self._link is not None:
            await self._link.close()

    # --- the gates ---

    def may_send_at(self, now: float, priority: Priority, operation: str = "") -> float:
        """Return when the next permit may be granted; infinity if an answer must arrive first."""
        if (shared := self._shared_if_used) is not None:
            for gate in self._gates_if_shared:
                if (at := gate.may_send_at(now, self._in_flight)) > now:
                    return at
            return shared.may_send_at(now, operation)
        for gate in self._gates:
            if (at := gate.may_send_at(now, self._in_flight)) > now:
                return at
        limits = self._limits
        if limits is None:
            return now
        if (at := limits.may_send_at(now, operation, self._in_flight)) > now:
            return at
        scope, in_flight = limits.scope(operation), limits.in_flight(operation, self._in_flight)
        calm_at = self._calm_at(now)
        is_calm = calm_at <= now
        # A single call beside a bulk run gets what the bulk run leaves to others.
        if not is_calm and (priority == "low" or not self._queue.has("low")):
            reserved_until = scope.reserved_until(now, in_flight, is_bulk=priority == "low")
            if reserved_until > now:
                since = self._waits_since(priority, operation)
                latest = (now if since is None else since) + _MAX_RESERVED[priority]
                if latest > now:
                    return min(reserved_until, calm_at, latest)
        if priority == "normal" or (self._queue and is_calm):
            return now
        kept_until = scope.kept_until(now, in_flight)
        return min(kept_until, calm_at) if self._queue else kept_until

    @property
    def _shared_if_used(self) -> SharedGate | None:
        shared = self._shared
        return shared if shared is not None and shared.is_used else None

    def _wanted(self) -> dict[tuple[Priority, str], int]:
        """Return for how many callers permits are wanted: no more than may send at once.

        Also find out whether more are wanted when an attempt ends.
        """
        counts = self._queue.counts()
        if not counts or self._shared is None:
            return counts
        now = self._clock()
        room: float = self._max_in_flight - self._in_flight
        if self._slow_start is not None:
            room = min(room, self._slow_start.room(self._in_flight))
        if any(gate.may_send_at(now, self._in_flight) > now for gate in self._gates_if_shared):
            room = min(room, 1)
        self._wants_when_freed = room - self._shared.unused < sum(counts.values())
        wanted: dict[tuple[Priority, str], int] = {}
        for want, count in counts.items():
            if room > 0:
                wanted[want] = min(count, int(room))
                room -= count
        return wanted

    def _is_known_to_others(self, priority: Priority, operation: str) -> bool:
        return self._shared is not None and self._shared.knows((priority, operation))

    @property
    def _is_dry(self) -> bool:
        """Whether only an exchange with other clients can bring permits, so that asking the gates again is useless."""
        return self._shared is not None and self._shared.is_dry

    def _on_shared_change(self) -> None:
        """Grant permits that have arrived, or that are granted without the store from now on."""
        before, self._overview = self._overview, None if self._link is None else self._link.overview
        if before is not None and self._overview is None and self._takeover is not None:
            rate = before.rate or before.limit  # if the window is unknown, it is about a second
            if rate:
                self._takeover.begin(self._clock(), rate / before.clients)
        self._all_idle = self._are_all_idle()
        if self._queue:
            self._fail_if_blocked(self._clock())
            self._grant_permits()

    def _announce_shared(self, is_shared: bool, why: str) -> None:
        if self._emit is not None:
            self._emit(SharedPacingChanged(is_shared=is_shared, why=why))

    @property
    def _waiting(self) -> int:
        return len(self._queue)

    def _calm_at(self, now: float) -> float:
        """Return the time from which callers get all permits, even those that others may need; infinity if unknown.

        Few callers are left, or hardly any came. Otherwise the last calls of a bulk run could wait for the next window.
        This also records that many are in flight or waiting.
        """
        if not self._queue:
            return now if self._in_flight < _CALM else math.inf
        if self._in_flight + self._waiting > self._most / 2:
            self._busy_at = now
            return math.inf
        return self._busy_at + _CALM_AFTER

    def _waits_since(self, priority: Priority, operation: str) -> float | None:
        return self._queue.since(priority, operation)

    def _comes_after_others(self, priority: Priority, operation: str) -> bool:
        """Whether callers wait that get a permit before a new one."""
        only = None if self._limits is None or self._limits.is_common else operation
        if self._queue.has("normal", only):
            return True
        return self._queue.has("low", only) and (priority == "low" or self._low_is_next)

    def _rate(self, operation: str | None) -> float | None:
        """Return the sustained rate of an operation, or the lowest one of all."""
        overview = None if self._link is None else self._link.overview
        if overview is not None:
            rates = [overview.rate, *(gate.rate for gate in self._gates_if_shared)]
            return min((rate for rate in rates if rate is not None), default=None)
        rates = [gate.rate for gate in self._gates]
        if self._limits is not None:
            rates.append(self._limits.rate(operation))
        return min((rate for rate in rates if rate is not None), default=None)

    def _are_all_idle(self) -> bool:
        if self._shared is not None and not self._shared.is_open(self._clock()):
            return False
        if self._limits is not None and not self._limits.is_idle:
            return False
        # The takeover counts only when the store is lost, and then the shared gate is not open.
        return all(gate.is_idle for gate in self._gates if gate is not self._takeover)

    def _grant(self, now: float, priority: Priority, operation: str) -> Permit:
        permit = Permit(now, operation)
        if not self._all_idle:
            if self._limits is not None:
                self._limits.sent(permit, is_single=priority == "normal")
            for gate in self._gates:
                gate.sent(permit, self._in_flight)
        if self._shared is not None:
            self._shared.sent(permit)
        self._in_flight += 1
        self._meter.sent(now)
        return permit

    def _learn(self, permit: Permit, info: RateLimitInfo | None) -> None:
        now = self._clock()
        was_common = self._limits is None or self._limits.is_common
        for gate in self._gates:
            if info is None:
                gate.lost(permit, now, self._in_flight)
            else:
                gate.answered(permit, info, now, self._in_flight)
        if self._limits is not None:
            if info is None:
                self._limits.lost(permit, now, self._in_flight)
            else:
                self._limits.answered(permit, info, now, self._in_flight)
            if self._shared is not None and self._link is not None:
                if was_common != self._limits.is_common:
                    self._shared.found_out(is_separate=was_common)
                if self._shared.ended(permit, info, now):
                    self._link.wake()
        self._all_idle = self._are_all_idle()
        # If the limit is shared, only the other clients' notices can block callers (`_on_shared_change`).
        if self._queue and self._shared_if_used is None:
            self._fail_if_blocked(now)

    def _fail_if_blocked(self, now: float) -> None:
        for operation in {name for priority in PRIORITIES for name in self._queue.operations(priority)}:
            if (wait := self._blocked_for(now, operation)) > self._max_wait:
                self._fail(self._queue.pop_all(operation), partial(WaitTooLongError, wait))

    def _blocked_for(self, now: float, operation: str) -> float:
        """Return the number of seconds until the server accepts requests again, according to the gates."""
        if (shared := self._shared_if_used) is not None:
            return shared.blocked_until(now, operation) - now
        blocked_until = max((gate.blocked_until(now) for gate in self._gates), default=now)
        if self._limits is not None:
            blocked_until = max(blocked_until, self._limits.blocked_until(now, operation))
        return blocked_until - now

    # --- the queue ---

    def _grant_permits(self) -> None:
        """Grant a permit to each caller that can get one now. If none can, set a timer to ask again.

        The clock is read only once, so that the gates and the timer use the same time.
        """
        now = self._clock()
        while self._queue and self._in_flight < self._max_in_flight:
            chosen = self._choose(now)
            if not isinstance(chosen, _Next):
                self._set_timer(chosen, now)
                if self._shared is not None and self._link is not None and self._shared.is_dry:
                    self._link.wake()
                return
            permit = self._queue.pop(*chosen)
            if not permit.done():
                self._low_is_next = chosen.priority != "low"
                permit.set_result(self._grant(now, *chosen))
        if not self._queue:
            self._cancel_timer()

    def _choose(self, now: float) -> "_Next | float":
        """Return who gets the next permit, or the time at which to ask again."""
        opens_at = math.inf
        for priority in reversed(PRIORITIES) if self._low_is_next else PRIORITIES:
            for operation in self._queue.operations(priority):
                at = self.may_send_at(now, priority, operation)
                if at <= now:
                    return _Next(priority, operation)
                opens_at = min(opens_at, at)
        return opens_at

    def _set_timer(self, at: float, now: float) -> None:
        if at == self._timer_at:
            return
        self._cancel_timer()
        if at < math.inf:
            self._timer_at = at
            self._timer = self._call_later(min(at - now, _MAX_TIMER), self._on_timer)
        if _MIN_PAUSE <= at - now < math.inf and at > self._announced_until + _SAME:
            self._announced_until = at
            reason = self._reason(at, now)
            if self._emit is not None and reason is not None:
                self._emit(RateLimitPaused(seconds=at - now, reason=reason, waiting=len(self._queue)))

    def _reason(self, at: float, now: float) -> PauseReason | None:
        """Return why callers wait until `at`; None if the rate limit is not the reason."""
        if self._limits is not None and self._limits.is_pause_end(at):
            return "retry_after"
        closed = next((gate for gate in self._gates if gate.may_send_at(now, self._in_flight) == at), None)
        if closed is None:
            return "limit"
        return "max_rate" if isinstance(closed, Cap) else "probing" if isinstance(closed, Probing) else None

    def _on_timer(self) -> None:
        # If a gate is still closed, or the timer fired too early, this sets another timer.
        self._timer = None
        self._timer_at = math.inf
        self._grant_permits()

    def _cancel_timer(self) -> None:
        self._timer_at = math.inf
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _fail(self, waiters: Sequence[Waiter], make_error: Callable[[], Exception]) -> None:
        for permit in waiters:
            if not permit.done():
                permit.set_exception(make_error())
        if not self._queue:
            self._cancel_timer()
