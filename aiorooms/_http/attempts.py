"""The retry loop: attempts, the waits between them, outages, and the read-back after an uncertain outcome.

A read-back is a GET that shows whether the server carried out an update. Until a call ends, failures are returned as
values: an attempt returns a `Success` or a `Failure` (see `exchange`), and `decide` returns the next step (see
`retry`). The exception for the caller is created only once, when the call ends.

    permit -> attempt -> success .............................. return the value
                      -> failure, may be retried .............. wait, try again
                      -> failure, nothing was changed ......... raise the error
                      -> failure, uncertain -> read-back:
                         -> the change was applied ............ return the value
                         -> the change was not applied ........ raise the error
                         -> still uncertain ................... raise the error with `uncertain` set

A waiting call occupies no permit and no connection, because both are released after each attempt. In a bulk run, the
update may not be the cause of its failures: then it is tried more often (see `outage`).

Example: the connection is reset in all four attempts of an update, and the server may have carried out any of them. So
the client reads the room. If the room has the requested values, the call succeeds after 4 attempts. If not, the last
reset is raised as an `APIConnectionError`. If the read-back is reset as well, the error has `uncertain` set.
"""

import asyncio
import copy
import itertools
import math
import random
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from typing import Final, Generic, NamedTuple, NoReturn, Self, TypedDict, TypeVar

import aiohttp
import attrs
from yarl import URL

from .._aio import sleep_unless
from .._pacing import Pacer, PacerClosedError, Pacing, Permit, Priority, Wait, WaitTooLongError
from .._text import excerpt
from ..errors import (
    AioroomsError,
    APIConnectionError,
    APITimeoutError,
    ClientStateError,
    RateLimitError,
    RateLimitTimeoutError,
    Reason,
)
from ..telemetry import AttemptEnded, AttemptStarted, CallEnded, OutageBegan, OutageEnded, RetryScheduled
from ..telemetry._telemetry import Telemetry
from .budget import Budget
from .call_settings import CallSettings
from .exchange import Exchange
from .outage import NO_OUTAGE, Failures, Outage, Stop
from .request import Confirmed, NotApplied, Request, Unconfirmed, Verdict
from .response import Failure, Received, Success
from .retry import Again, RetryPolicy, Tally, decide, max_wait_hint
from .secret import ApiKey, hide_frames

__all__ = ["SINGLE", "Answer", "Role", "Sender"]

T = TypeVar("T")
R = TypeVar("R")

_MAX_HINT: Final = 500
"""The maximum length of a read-back's hint in an error message, in characters."""

_ONCE = RetryPolicy(max_attempts=1)

_NO_FURTHER_ATTEMPT: Final = "allows no further attempt"

_NUMBERS: Final = itertools.count(1)
"""The numbers of the calls of all clients."""


class Role(NamedTuple):
    """What a call is part of."""

    priority: Priority = "normal"
    is_in_run: bool = False
    """Whether the call is one update of a bulk run. Then `max_elapsed` counts from its first permit, because the
    position in the queue is the run's own doing."""


SINGLE: Final = Role()
"""A single call."""


class Answer(NamedTuple, Generic[T]):
    """The result of a call."""

    value: T
    attempts: int
    """Number of attempts, without those of a read-back."""
    received: Received
    """The answer that `value` was read from. It may be that of a read-back."""


class Sender:
    """Sends the requests of one client, within one event loop."""

    def __init__(
        self,
        *,
        key: ApiKey,
        base_url: str,
        settings: CallSettings,
        pacing: Pacing,
        max_connections: int,
        max_response_size: int,
        session: aiohttp.ClientSession | None,
        proxy: URL | None,
        user_agent: str,
        telemetry: Telemetry,
    ) -> None:
        self.telemetry = telemetry
        self.settings = settings
        self.pacing = pacing
        self.exchange: Exchange = Exchange(
            key=key,
            base_url=base_url,
            limits=settings.limits,
            max_connections=max_connections,
            max_response_size=max_response_size,
            session=session,
            proxy=proxy,
            user_agent=user_agent,
        )
        self.pacer: Pacer = Pacer(pacing, max_in_flight=self.exchange.max_in_flight, emit=telemetry.emit)
        self.closing: asyncio.Event = asyncio.Event()
        """Set by `close`, to wake the calls that are waiting for their next attempt."""

    @property
    def is_open(self) -> bool:
        """Whether the client has created a session that is still open."""
        return self.exchange.is_open

    def open(self) -> None:
        """Open the session. Raises `ClientStateError` if the client is closed or belongs to another event loop."""
        self.exchange.open()

    async def close(self) -> None:
        """Make all waiting calls raise `ClientStateError`, and close the client's own session. Can be called again."""
        self.pacer.close()
        self.closing.set()
        await self.exchange.close()

    def with_settings(self, settings: CallSettings) -> Self:
        """Return a sender with other settings, over the same connections and with the same pacing."""
        sender = copy.copy(self)
        sender.settings = settings
        return sender

    def send(
        self,
        request: Request[T],
        settings: CallSettings | None = None,
        *,
        outage: Outage = NO_OUTAGE,
        role: Role = SINGLE,
    ) -> Coroutine[None, None, Answer[T]]:
        """Send a request, retry it if needed, and return its answer.

        `settings` defaults to those of the client, and `outage` is the outage state that all updates of a bulk run
        share. Raises an `AioroomsError` with the number of attempts. The error has `uncertain` set if the server may
        have carried out an attempt, and no read-back showed whether it did.
        """
        return _Call(self, request, settings or self.settings, outage, role).run()


class _End(NamedTuple):
    """The reason why a call makes no further attempt, and the data for the error if the call raises one."""

    make_error: Callable[..., AioroomsError]
    hint: str = ""
    reason: Reason | None = None
    not_found: Received | None = None
    """The answer, if it is a 404."""
    can_read_back: bool = True


class _Identity(TypedDict):
    """The fields of `CallEvent`."""

    call: int
    method: str
    route: str
    path: str


class _Call(Generic[T]):
    """One call, from its first attempt to the value it returns or the error it raises."""

    __slots__ = (
        "_accepted_before", "_budget", "_failures", "_is_watched", "_keeps_trying", "_number", "_outage", "_policy",
        "_probe_after", "_request", "_role", "_sender", "_sent", "_settings", "_status", "_tally",
    )  # fmt: skip

    def __init__(
        self,
        sender: Sender,
        request: Request[T],
        settings: CallSettings,
        outage: Outage,
        role: Role,
        *,
        ends_at: float | None = None,
    ) -> None:
        """`ends_at` is when the deadline expires if this call is a part of another one; None if it is none."""
        self._sender = sender
        self._request = request
        self._settings = settings
        self._policy = policy = settings.retry
        self._budget = Budget(policy.max_elapsed, settings.deadline, ends_at=ends_at)
        self._outage = outage
        self._tally = Tally()
        self._role = role
        if not role.is_in_run:
            self._budget.start()
        self._failures: Failures | None = None
        """The failures since the last successful contact; None before the first failure."""
        self._accepted_before = 0
        """The number of the client's requests that the server had accepted when the last attempt began."""
        self._probe_after = max(1, policy.max_attempts - 1)
        """The number of tries after which a probe may be sent."""
        self._number = next(_NUMBERS)
        self._is_watched = sender.telemetry.wants_attempts
        """Whether attempts are reported. Decided once, so that each report of a call is complete."""
        self._status: int | None = None
        """The HTTP status of the last attempt; None if no readable answer arrived."""
        self._sent = 0
        """The number of attempts, including those over stale connections; 0 if attempts are not reported."""
        self._keeps_trying = False
        """Whether the call continues although no attempts are left, because its request may not be the cause."""

    async def run(self) -> Answer[T]:
        """Make as many attempts as needed and allowed. Return the answer, or raise the error."""
        return await self._reported(self._run())

    async def _reported(self, coroutine: Coroutine[None, None, R]) -> R:
        """Await a coroutine that is the whole call, and report its end."""
        if not self._is_watched:
            return await coroutine
        began_at, error_name = time.monotonic(), None
        try:
            return await coroutine
        except BaseException as error:
            error_name = type(error).__name__
            raise
        finally:
            self._report_call_ended(began_at, error_name)

    async def _run(self) -> Answer[T]:
        last: Failure | None = None
        while True:
            try:
                outcome = await self._queue_and_attempt(last)
            except ClientStateError as error:
                outcome = _End(partial(ClientStateError, error.message), reason=error.reason, can_read_back=False)
            if isinstance(outcome, Success):
                return Answer(outcome.value, self._tally.attempts, outcome.received)
            if isinstance(outcome, Failure):
                last = outcome
                if self._tally.stale or self._is_revised(last):
                    continue
                after = self._after(last)
                if isinstance(after, Again):
                    self._report_retry(last, after.wait)
                    await self._wait(last, after.wait)
                    await self._probe(last)
                    continue
                outcome = after
            end = await self._read_back(outcome)
            if isinstance(end, Answer):
                return end
            self._raise(outcome, end)

    # --- an attempt ---

    async def _queue_and_attempt(self, last: Failure | None) -> Success[T] | Failure | _End:
        if not self._outage.is_on:
            return await self._attempt(last)
        async with self._outage.queue(self._sender.closing, self._budget.left) as in_time:
            return await self._attempt(last) if in_time else self._out_of_time(last)

    async def _attempt(self, last: Failure | None) -> Success[T] | Failure | _End:
        """Acquire a permit, send once, and release the permit. `last` is the previous failure, if any."""
        sender, outage = self._sender, self._outage
        if outage.stopped_by is not None:
            return self._stopped(outage.stopped_by, last)
        # The wait or a probe may have taken longer than it should, for example on a busy machine.
        if last is not None and self._budget.is_over:
            return self._out_of_time(last, _NO_FURTHER_ATTEMPT)
        queued_at = time.monotonic() if self._is_watched else 0.0
        permit = sender.pacer.acquire_now(self._role.priority, self._request.operation) or await self._permit(last)
        if isinstance(permit, _End):
            return permit
        if last is None and self._role.is_in_run:
            self._budget.start()
        if self._budget.is_past_deadline:
            sender.pacer.release(permit, None)
            return self._out_of_time(last)
        began_at = outage.begin()
        self._accepted_before = sender.pacer.accepted
        rate_limit = None
        sent_at: float | None = None
        self._status = None
        try:
            if self._is_watched:
                sender.exchange.open()  # raises if the client is closed, so that no attempt is reported
                sent_at = self._report_started(queued_at)
            limits = self._budget.limits(self._settings.limits)
            outcome = await sender.exchange.send(
                self._request, limits, self._settings.headers, fresh=self._tally.stale > 0
            )
            rate_limit = outcome.rate_limit
        except BaseException as error:
            hide_frames(error)
            if sent_at is not None:
                self._report_ended(sent_at, None, error)
            raise
        finally:
            outage.end()
            sender.pacer.release(permit, rate_limit)
        self._status = outcome.status
        if sent_at is not None:
            self._report_ended(sent_at, outcome, None)
        if isinstance(outcome, Success):
            self._tally.succeeded()
            has_ended = outage.contact(began_at)
        else:
            has_ended = self._record_failure(outcome, began_at)
        if has_ended:
            sender.pacer.start_slowly()
            sender.telemetry.emit(OutageEnded(seconds=outage.lasted))
        return outcome

    def _record_failure(self, failure: Failure, began_at: float) -> bool:
        """Record a failed attempt, which began at `began_at`. Return whether it ended an outage."""
        tally, outage, pacer = self._tally, self._outage, self._sender.pacer
        was_on = outage.is_on
        exempt, counts, keeps_trying, has_ended = False, True, False, False
        if failure.rate_limited:
            has_ended = outage.rate_limited(began_at, failure.wait)
            exempt = pacer.accepted > self._accepted_before
            # In a bulk run, a 429 says nothing about the room while no request is accepted.
            counts = exempt or not outage.is_in_run
            keeps_trying = not counts
        elif failure.is_contact:
            has_ended = outage.contact(began_at)
        elif failure.out_of_sockets and pacer.narrow():
            counts, keeps_trying = False, True
        elif not tally.is_stale(failure):
            failures = self._failures = self._failures or Failures(outage)
            counts = failures.add(self._request.subject, began_at)
            keeps_trying = not failures.is_confirmed
            # An attempt that was not sent says nothing about the room, even if others were sent meanwhile.
            exempt = outage.is_in_run and counts and not failure.was_sent
        if failure.is_contact:
            self._failures = None  # they were not in a row
        if outage.is_on and not was_on:
            self._sender.telemetry.emit(OutageBegan(reason=failure.make_error().message))
        self._keeps_trying = keeps_trying
        tally.failed(failure, exempt=exempt, counts=counts)
        return has_ended

    async def _permit(self, last: Failure | None) -> Permit | _End:
        """Wait for a permit, but not longer than the time budget allows."""
        sender, subject = self._sender, self._request.subject
        sender.exchange.open()  # raises if the client is closed or belongs to another event loop
        try:
            async with asyncio.timeout(self._budget.left) as limit:
                with self._outage.ending(limit):
                    return await sender.pacer.acquire(self._role.priority, self._request.operation)
        except PacerClosedError:
            error = partial(ClientStateError, f"{subject}: not sent: the client was closed")
            return _End(error, reason="closed", can_read_back=False)
        except WaitTooLongError as error:
            wait = error.seconds
            message = f"{subject}: not sent: the server accepts no requests for another {wait:.0f} s (rate limit)"
            hint = max_wait_hint("that is", sender.pacing.max_wait)
            return _End(partial(RateLimitError, message, status=429, retry_after=wait), hint, "max_wait")
        except TimeoutError:
            if self._outage.stopped_by is not None:
                return self._stopped(self._outage.stopped_by, last)
            expected = None if last is not None else sender.pacer.expected_wait(self._request.operation)
            return self._out_of_time(last) if expected is None else self._too_late(expected)

    # --- after a failed attempt ---

    def _is_revised(self, failure: Failure) -> bool:
        """Replace a rejected request with its revised version, if there is one. Return whether it was replaced."""
        revise = self._request.revise
        revised = None if revise is None or failure.status is None else revise(failure.status, failure.errors)
        if revised is None:
            return False
        self._request = revised
        return True

    def _after(self, failure: Failure) -> Again | _End:
        outage, budget = self._outage, self._budget
        if budget.is_past_deadline and failure.received is None:
            return self._out_of_time(failure, "expired")
        time_left = budget.left
        after = decide(
            self._policy,
            failure,
            self._tally,
            keeps_trying=self._keeps_trying and outage.stopped_by is None,
            longest_wait=outage.longest_wait,
            max_wait=self._sender.pacing.max_wait,
            time_left=math.inf if time_left is None else time_left,
            random=random.random(),  # noqa: S311 - jitter, no secret
        )
        if isinstance(after, Again):
            return after
        if after.is_out_of_time:
            return self._out_of_time(failure, _NO_FURTHER_ATTEMPT)
        if failure.retry and not after.hint and outage.stopped_by is not None:
            return self._stopped(outage.stopped_by, failure)
        # For example, TLS fails. No other request can be sent either.
        reason: Reason | None = after.reason if failure.retry or failure.was_sent else "cannot_send"
        not_found = failure.received if failure.status == HTTPStatus.NOT_FOUND else None
        return _End(failure.make_error, after.hint, reason, not_found)

    async def _probe(self, failure: Failure) -> None:
        """If nothing shows whether the server or the room is the cause, send a request that is not about the room."""
        outage, failures = self._outage, self._failures
        if outage.probe is None or failures is None or failures.has_contact():
            return
        if self._tally.tries < self._probe_after or not failure.was_sent or not outage.rooms_may_be_the_cause:
            return
        self._probe_after = self._tally.tries + max(1, self._policy.max_attempts - 1)
        left = self._budget.left
        if left is not None and left <= 0:
            return
        settings = attrs.evolve(self._settings, retry=RetryPolicy(max_attempts=1, max_elapsed=left))
        role = self._role._replace(is_in_run=False)
        probe = _Call(self._sender, outage.probe, settings, outage, role, ends_at=self._budget.ends_at)
        with suppress(ClientStateError):  # the next attempt raises it again
            await probe._reported(probe._queue_and_attempt(None))
        if failures.has_contact():
            self._tally.leave_one(self._policy)

    def _stopped(self, stop: Stop, last: Failure | None) -> _End:
        kind = AioroomsError if stop.reason == "stopped" else APIConnectionError
        error = partial(kind, f"{self._request.subject}: not sent") if last is None else last.make_error
        return _End(error, stop.text, stop.reason)

    def _out_of_time(self, last: Failure | None, why: str = "expired while the call was queued") -> _End:
        error = partial(APITimeoutError, f"{self._request.subject}: not sent") if last is None else last.make_error
        limit, reason = self._budget.limit
        return _End(error, f"{limit} {why}", reason)

    def _too_late(self, wait: Wait) -> _End:
        """Return the end of a single call that the rate limit has kept waiting for too long."""
        figures = [] if wait.rate is None else [f"{wait.rate:,.3g} requests/s"]
        if wait.waiting:
            figures.append(f"{wait.waiting:,} more calls are waiting")
        more = f" ({', '.join(figures)})" if figures else ""
        message = f"{self._request.subject}: not sent: the rate limit allowed no request in time{more}"
        limit, reason = self._budget.limit
        hint = f"retry in {max(0.1, wait.seconds):.1f} s; {limit} expired while the call was queued"
        make_error = partial(RateLimitTimeoutError, message, status=429, retry_after=wait.seconds)
        return _End(make_error, hint, reason)

    async def _wait(self, failure: Failure, seconds: float) -> None:
        # After a 429 that makes other calls wait too, the call waits in the pacer's queue. During an outage, it waits
        # in the queue of `Outage`.
        pacer, operation = self._sender.pacer, self._request.operation
        is_queued = failure.rate_limited and self._sender.pacing.enabled and not pacer.is_open(operation)
        if not is_queued and not self._outage.is_on:
            # If the client is closed or the run is stopped, the sleep ends early and the next attempt raises.
            with suppress(TimeoutError):
                async with asyncio.timeout(None) as limit:
                    with self._outage.ending(limit):
                        await sleep_unless(self._sender.closing, seconds)

    # --- what is reported ---

    def _identity(self) -> "_Identity":
        """Return the fields that all events of this call have in common."""
        request = self._request
        return {"call": self._number, "method": request.method, "route": request.route, "path": request.path}

    def _report_started(self, queued_at: float) -> float:
        """Report that an attempt is sent now. Return the time."""
        now = time.monotonic()
        self._sent += 1
        event = AttemptStarted(
            **self._identity(),
            attempt=self._sent,
            waited=now - queued_at,
        )
        self._sender.telemetry.emit(event)
        return now

    def _report_ended(self, sent_at: float, outcome: Success[T] | Failure | None, error: BaseException | None) -> None:
        """Report the outcome of an attempt, or the exception that ended it."""
        if isinstance(outcome, Failure):
            error = outcome.make_error()
        event = AttemptEnded(
            **self._identity(),
            attempt=self._sent,
            status=None if outcome is None else outcome.status,
            error=None if error is None else type(error).__name__,
            duration=time.monotonic() - sent_at,
            request_id=None if outcome is None or outcome.received is None else outcome.received.request_id,
        )
        self._sender.telemetry.emit(event)

    def _report_call_ended(self, began_at: float, error: str | None) -> None:
        event = CallEnded(
            **self._identity(),
            attempts=self._sent,
            status=self._status,
            error=error,
            elapsed=time.monotonic() - began_at,
        )
        self._sender.telemetry.emit(event)

    def _report_retry(self, failure: Failure, delay: float) -> None:
        telemetry = self._sender.telemetry
        if telemetry.wants_retry(delay) and not self._sender.closing.is_set():
            event = RetryScheduled(
                **self._identity(),
                attempt=max(self._sent, self._tally.attempts),
                status=failure.status,
                reason=failure.make_error().message,
                delay=delay,
            )
            telemetry.emit(event)

    # --- the end of the call ---

    async def _read_back(self, end: _End) -> Answer[T] | NotApplied | Unconfirmed:
        """Find out whether the request was carried out, with a read-back if needed. If it was, return the answer."""
        if not self._tally.uncertain:
            return NotApplied()
        if self._request.read_back is None or not end.can_read_back or self._budget.is_past_deadline:
            return Unconfirmed()
        read_back = self._request.read_back()
        if end.not_found is not None:
            return self._judged(read_back.not_found, end.not_found)
        # A call that was stopped by a setting such as `max_elapsed` does not wait for the end of an outage.
        may_wait = end.reason is None and not self._budget.is_over
        outage = self._outage if may_wait else NO_OUTAGE
        settings = attrs.evolve(self._settings, retry=self._read_back_policy(end))
        role = self._role._replace(is_in_run=False)
        call = _Call(self._sender, read_back.request, settings, outage, role, ends_at=self._budget.ends_at)
        try:
            answer = await call.run()
        except AioroomsError:
            return Unconfirmed()
        return self._judged(answer.value, answer.received)

    def _judged(self, verdict: Verdict[T], received: Received) -> Answer[T] | NotApplied | Unconfirmed:
        if isinstance(verdict, Confirmed):
            return Answer(verdict.value, self._tally.attempts, received)
        # The hint contains values from the server, which may echo the API key.
        return attrs.evolve(verdict, hint=excerpt(self._sender.exchange.redacted(verdict.hint), _MAX_HINT))

    def _read_back_policy(self, end: _End) -> RetryPolicy:
        """Return the retry policy of the read-back: the attempts and the time that the request has left.

        The read-back has at least one attempt. It may have more if the call ended with an answer that is not retried.
        """
        left = self._policy.max_attempts - self._tally.counted
        seconds = self._budget.left
        if end.reason is not None or (seconds is not None and seconds <= 0):
            return _ONCE
        if left <= 1 and not self._outage.is_in_run:
            return _ONCE
        # In a bulk run, even a single attempt may be repeated because of an outage, so the time must be limited.
        return attrs.evolve(self._policy, max_attempts=max(1, left), max_elapsed=seconds)

    def _raise(self, end: _End, verdict: NotApplied | Unconfirmed) -> NoReturn:
        hint = "; ".join(filter(None, (verdict.hint, end.hint)))
        uncertain = isinstance(verdict, Unconfirmed)
        # The reason stays even if the read-back has a hint: it shows that the room is not the cause.
        error = end.make_error(attempts=self._tally.attempts, uncertain=uncertain, hint=hint, reason=end.reason)
        error.was_sent = self._tally.was_sent
        raise error
