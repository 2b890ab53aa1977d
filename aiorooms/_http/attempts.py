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
import math
import random
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from typing import Final, Generic, NamedTuple, Self, TypeVar

import aiohttp
import attrs

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
from ..telemetry import OutageBegan, OutageEnded
from ..telemetry._telemetry import Telemetry
from .budget import Budget
from .call_reports import CallReports
from .call_settings import CallSettings
from .exchange import Exchange
from .outage import NO_OUTAGE, Failures, Outage, Stop
from .proxy import Proxy
from .request import Confirmed, NotApplied, Request, Unconfirmed, Verdict
from .response import Failure, Received, Success
from .retry import Again, RetryPolicy, Tally, decide, max_wait_hint
from .secret import ApiKey, hide_frames

__all__ = ["SINGLE", "CallResult", "Role", "Sender"]

T = TypeVar("T")

_MAX_HINT: Final = 500
"""The maximum length of a read-back's hint in an error message, in characters."""

_ONCE = RetryPolicy(max_attempts=1)

_NO_FURTHER_ATTEMPT: Final = "allows no further attempt"


class Role(NamedTuple):
    """What a call is part of."""

    priority: Priority = "normal"
    is_in_run: bool = False
    """Whether the call is one update of a bulk run. Then `max_elapsed` counts from its first permit, because the
    position in the queue is the run's own doing."""


SINGLE: Final = Role()
"""A single call."""


class CallResult(NamedTuple, Generic[T]):
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
        proxy: Proxy | None,
        user_agent: str,
        telemetry: Telemetry,
    ) -> None:
        self.telemetry = telemetry
        self.settings: CallSettings = settings
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
        self.account: str = key.digest(base_url)
        """Identifies the API key and the base URL."""
        store = None if pacing.shared is None else pacing.shared.store(self.account)
        self.pacer: Pacer = Pacer(pacing, max_in_flight=self.exchange.max_in_flight, emit=telemetry.emit, store=store)
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
        try:
            await self.exchange.close()
        finally:
            await self.pacer.leave()

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
    ) -> Coroutine[None, None, CallResult[T]]:
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


class _Call(Generic[T]):
    """One call, from its first attempt to the value it returns or the error it raises."""

    __slots__ = (
        "_accepted_before", "_budget", "_failures", "_keeps_trying", "_outage", "_policy", "_probe_after", "_reports",
        "_request", "_role", "_sender", "_settings", "_tally",
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
        """`ends_at` is when the deadline of the enclosing call expires; None if there is no enclosing call."""
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
        self._reports = CallReports(sender.telemetry, request)
        self._keeps_trying = False
        """Whether the call continues although no attempts are left, because its request may not be the cause."""

    async def run(self) -> CallResult[T]:
        """Make as many attempts as needed and allowed. Return the answer, or raise the error."""
        return await self._reports.until_end(self._run())

    async def _run(self) -> CallResult[T]:
        last: Failure | None = None
        while True:
            try:
                outcome = await self._queue_and_attempt(last)
            except ClientStateError as error:
                outcome = _End(partial(ClientStateError, error.message), reason=error.reason, can_read_back=False)
            if isinstance(outcome, Success):
                return CallResult(outcome.value, self._tally.attempts, outcome.received)
            if isinstance(outcome, _End):
                return await self._end(outcome)
            last = outcome
            if self._tally.stale or self._is_revised(last):
                continue
            after = self._after(last)
            if isinstance(after, _End):
                return await self._end(after)
            if not self._sender.closing.is_set():
                self._reports.retry(last, after.wait, self._tally.attempts, is_in_run=self._outage.is_in_run)
            await self._wait(last, after.wait)
            await self._probe(last)

    async def _end(self, end: _End) -> CallResult[T]:
        """Return the result if a read-back confirms the request, or raise the error."""
        result = await self._read_back(end)
        if isinstance(result, CallResult):
            return result
        raise self._error(end, result)

    # --- an attempt ---

    async def _queue_and_attempt(self, last: Failure | None) -> Success[T] | Failure | _End:
        if not self._outage.is_on:
            return await self._attempt(last)
        async with self._outage.queue(self._sender.closing, self._budget.left) as in_time:
            return await self._attempt(last) if in_time else self._out_of_time(last)

    async def _attempt(self, last: Failure | None) -> Success[T] | Failure | _End:
        """Acquire a permit, send once, and release the permit. `last` is the previous failure, if any."""
        sender, outage, reports = self._sender, self._outage, self._reports
        if outage.stopped_by is not None:
            return self._stopped(outage.stopped_by, last)
        # The wait or a probe may have taken longer than it should, for example on a busy machine.
        if last is not None and self._budget.is_over:
            return self._out_of_time(last, _NO_FURTHER_ATTEMPT)
        queued_at = time.monotonic() if reports.wants_attempts else 0.0
        permit = sender.pacer.acquire_now(self._role.priority, self._request.operation) or await self._permit(last)
        if isinstance(permit, _End):
            return permit
        if last is None and self._role.is_in_run:
            self._budget.start()
        if outage.may_send is not None and not outage.may_send():
            outage.stop()
        if self._budget.is_past_deadline or outage.stopped_by is not None:
            sender.pacer.release(permit, None)
            return self._out_of_time(last) if outage.stopped_by is None else self._stopped(outage.stopped_by, last)
        began_at = outage.begin()
        self._accepted_before = sender.pacer.accepted
        rate_limit = None
        sent_at: float | None = None
        try:
            if reports.wants_attempts:
                sender.exchange.open()  # raises if the client is closed, so that no attempt is reported
                sent_at = reports.attempt_started(queued_at)
            limits = self._budget.shorten(self._settings.limits)
            outcome = await sender.exchange.send(
                self._request, limits, self._settings.headers, fresh=self._tally.stale > 0, may_send=outage.may_send
            )
            rate_limit = outcome.rate_limit
        except BaseException as error:
            hide_frames(error)
            if sent_at is not None:
                reports.attempt_ended(sent_at, None, error)
            raise
        finally:
            outage.end()
            sender.pacer.release(permit, rate_limit)
        if sent_at is not None:
            reports.attempt_ended(sent_at, outcome)
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
            event = OutageBegan(
                reason=failure.make_error().message,
                status=failure.status,
                unavailable_for=outage.unavailable_for,
                patience=outage.patience,
            )
            self._sender.telemetry.emit(event)
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
            return after if outage.stopped_by is None else self._stopped(outage.stopped_by, failure)
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
            await probe._reports.until_end(probe._queue_and_attempt(None))
        if failures.has_contact():
            self._tally.leave_one(self._policy)

    def _stopped(self, stop: Stop, last: Failure | None) -> _End:
        kind = AioroomsError if stop.reason == "stopped" else APIConnectionError
        error = partial(kind, f"{self._request.subject}: not sent") if last is None else last.make_error
        return _End(error, stop.text, stop.reason)

    def _out_of_time(self, last: Failure | None, why: str = "expired while the call was queued") -> _End:
        error = partial(APITimeoutError, f"{self._request.subject}: not sent") if last is None else last.make_error
        limit, reason = self._budget.expired_setting
        return _End(error, f"{limit} {why}", reason)

    def _too_late(self, wait: Wait) -> _End:
        """Return the end of a single call that the rate limit has kept waiting for too long."""
        figures = [] if wait.rate is None else [f"{wait.rate:,.3g} requests/s"]
        if wait.waiting:
            figures.append(f"{wait.waiting:,} more calls are waiting")
        more = f" ({', '.join(figures)})" if figures else ""
        message = f"{self._request.subject}: not sent: the rate limit allowed no request in time{more}"
        limit, reason = self._budget.expired_setting
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

    # --- the end of the call ---

    async def _read_back(self, end: _End) -> CallResult[T] | NotApplied | Unconfirmed:
        """Find out whether the request was carried out, with a read-back if needed. If it was, return the answer."""
        if not self._tally.uncertain:
            return NotApplied()
        if self._request.read_back is None or not end.can_read_back or self._budget.is_past_deadline:
            return Unconfirmed()
        read_back = self._request.read_back()
        if end.not_found is not None:
            return self._judged(read_back.not_found, end.not_found)
        # A call that was stopped by a setting such as `max_elapsed` does not wait for the end of an outage.
        may_wait = end.reason is None and not self._budget.is_over and self._outage.stopped_by is None
        outages = (self._outage, NO_OUTAGE) if may_wait else (NO_OUTAGE,)
        policy = self._read_back_policy(end)
        for outage in outages:
            settings = attrs.evolve(self._settings, retry=policy)
            role = self._role._replace(is_in_run=False)
            call = _Call(self._sender, read_back.request, settings, outage, role, ends_at=self._budget.ends_at)
            try:
                answer = await call.run()
            except AioroomsError as error:
                # If the run is stopped during the read-back, the room is still read once.
                if error.reason != "stopped":
                    return Unconfirmed()
                policy = _ONCE
            else:
                return self._judged(answer.value, answer.received)
        return Unconfirmed()

    def _judged(self, verdict: Verdict[T], received: Received) -> CallResult[T] | NotApplied | Unconfirmed:
        if isinstance(verdict, Confirmed):
            return CallResult(verdict.value, self._tally.attempts, received)
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

    def _error(self, end: _End, verdict: NotApplied | Unconfirmed) -> AioroomsError:
        hint = "; ".join(filter(None, (verdict.hint, end.hint)))
        uncertain = isinstance(verdict, Unconfirmed)
        # The reason stays even if the read-back has a hint: it shows that the room is not the cause.
        error = end.make_error(attempts=self._tally.attempts, uncertain=uncertain, hint=hint, reason=end.reason)
        error.was_sent = self._tally.was_sent
        return error
