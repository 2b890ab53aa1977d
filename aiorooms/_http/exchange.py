"""The aiohttp session, one attempt, and the loop of attempts. All I/O of the client is here.

An attempt takes its turn from the pacer, sends, reads the whole answer, and gives connection and turn back. Only then
is the answer looked at, and only then is there any waiting: nothing is held open meanwhile.

A keep-alive connection may have been closed by the server just before it is used again. Then no answer comes, and
that says nothing about the server: the request is sent again at once, over a new connection, and it doesn't count as an
attempt. To tell such a stale connection from a server that hangs up on everyone, every new socket is noted in the
context of the request that it was made for; a request that was hung up on without a new socket had a connection that
was used before.
"""

import asyncio
import os
import random
import socket
import time
import warnings
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from http import HTTPStatus
from typing import Final, NamedTuple, Required, TypeAlias, TypedDict, TypeVar, overload

import aiohttp
import attrs
from aiohttp.abc import AbstractStreamWriter
from yarl import URL

from .._aio import is_cancelled, sleep_unless
from .._checks import check_positive
from .._pacing import Pacer, Pacing, PacingSnapshot, Turn
from ..errors import (
    AioroomsError,
    APIConnectionError,
    APIError,
    APIResponseError,
    APIStatusError,
    APITimeoutError,
    ClientStateError,
    RateLimitError,
)
from .deadlines import Deadline, Deadlines
from .outage import Outage
from .response import (
    Answer,
    Failure,
    Request,
    RetryPolicy,
    backoff,
    is_sign_of_life,
    no_answer,
    not_sent,
    read_answer,
    redact,
    unreadable,
)

__all__ = ["Timeout", "Transport", "client_timeout"]

T = TypeVar("T")

Timeout: TypeAlias = float | aiohttp.ClientTimeout
"""Seconds for one attempt, all of it, or aiohttp's own finer settings."""


@overload
def client_timeout(timeout: Timeout) -> aiohttp.ClientTimeout: ...
@overload
def client_timeout(timeout: Timeout | None) -> aiohttp.ClientTimeout | None: ...
def client_timeout(timeout: Timeout | None) -> aiohttp.ClientTimeout | None:
    """Give the timeout as aiohttp knows it. Raises `ClientSettingsError` unless it is above 0."""
    if timeout is None or isinstance(timeout, aiohttp.ClientTimeout):
        return timeout
    check_positive("timeout", timeout)
    return aiohttp.ClientTimeout(total=timeout)


class _Limits(NamedTuple):
    """A timeout, cut in two."""

    total: float | None
    """Seconds for an attempt, all of it; for that our own deadline is set.

    aiohttp's loses a cancellation that comes at the same moment: it enters one timer twice, and each takes one
    cancellation for its own.
    """
    others: aiohttp.ClientTimeout
    """The limits that are left to aiohttp."""

    @classmethod
    def of(cls, timeout: aiohttp.ClientTimeout) -> "_Limits":
        return cls(timeout.total or None, attrs.evolve(timeout, total=None))


_MAX_STALE: Final = 3
"""Uncounted resends in a row over stale connections. In a session of ours the first of them has a new connection, so
there is no second; in one that isn't, a server that resets every reused connection must not be hammered for ever."""

_MOST_OVERTAKEN: Final = 25
"""Uncounted attempts that were refused while others got through, in one call, so that nothing is retried for ever."""

_KEEPALIVE: Final = 15.0
"""Seconds that an idle connection is kept. Shorter than servers and proxies keep theirs (commonly 60 s and more), so
that it is we who close it."""


class _Options(TypedDict, total=False):
    """What aiohttp is told with a request besides method, URL and body."""

    allow_redirects: Required[bool]
    timeout: aiohttp.ClientTimeout
    headers: Mapping[str, str]
    raise_for_status: bool
    middlewares: tuple[aiohttp.ClientMiddlewareType, ...]


_NO_REDIRECTS: Final[_Options] = {"allow_redirects": False}
"""What follows a redirect could end anywhere."""


class Transport:
    """Sends the requests of one client, within one event loop."""

    def __init__(
        self,
        *,
        api_key: str,
        base_url: str,
        timeout: aiohttp.ClientTimeout,
        retry: RetryPolicy,
        pacing: Pacing,
        max_connections: int,
        session: aiohttp.ClientSession | None,
        user_agent: str,
        random: Callable[[], float] = random.random,
    ) -> None:
        self._random = random
        self._api_key = api_key
        self._base_url = base_url
        self._base = URL(base_url)
        self._base_path = self._base.raw_path.rstrip("/")
        self._limits = _Limits.of(timeout)
        self._retry = retry
        self._max_wait = pacing.max_wait
        self._paces = pacing.enabled
        self._max_connections = max_connections
        self._session = session
        self._owns_session = session is None
        self._fresh_session: aiohttp.ClientSession | None = None
        """For what is sent again after a stale connection, made when it is needed."""
        self._had_answer = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False
        self._closing = asyncio.Event()
        """Set by `close`, for those who wait before their next attempt."""
        self._pacer = Pacer(pacing, max_in_flight=_connections(max_connections, session))
        self._headers: Mapping[str, str] = {
            "Authorization": f"Bearer {api_key}",
            "Accept": "application/json",
            "User-Agent": user_agent,
        }
        self._deadlines = Deadlines()

    def pacing_snapshot(self) -> PacingSnapshot:
        """How things stand with the rate limit."""
        return self._pacer.snapshot()

    @property
    def is_open(self) -> bool:
        """Whether there is a session that this transport has to close."""
        return self._owns_session and self._session is not None and not self._closed

    def open(self) -> aiohttp.ClientSession:
        """Give the session, made at the first call. Raises `ClientStateError` if it can't be used here."""
        if self._closed:
            raise ClientStateError("the client is closed; make a new RoomsClient")
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._bind(loop)
        session = self._session
        if session is None:
            session = self._session = self._new_session(keepalive_timeout=_KEEPALIVE)
        elif not self._owns_session and session.closed:
            raise ClientStateError("the aiohttp session that the client was given is closed")
        return session

    def _new_session(self, *, keepalive_timeout: float | None) -> aiohttp.ClientSession:
        """Make a session; with no `keepalive_timeout` each of its requests has a connection of its own."""
        _keep_read_buffers()
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=self._max_connections,
                keepalive_timeout=keepalive_timeout,
                force_close=keepalive_timeout is None,
                socket_factory=_new_socket,
            ),
            headers=self._headers,
            timeout=self._limits.others,
            # Answers set no cookies that we'd want to send back.
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    def _bind(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._loop is not None:
            raise ClientStateError(
                "the client is used from another event loop than the one it was first used in; make one client per loop"
            )
        if self._session is not None:
            # `loop` is deprecated, but aiohttp before 4 has no other way to ask.
            with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
                if self._session.loop is not loop:
                    raise ClientStateError("the aiohttp session that the client was given is of another event loop")
        self._loop = loop

    async def close(self) -> None:
        """Close the session if it is ours. What is still under way ends with an error. May be called twice."""
        if self._closed:
            return
        self._closed = True
        self._pacer.close(lambda: ClientStateError("the client was closed before this was sent"))
        self._closing.set()
        self._deadlines.close()
        for session in (self._session if self._owns_session else None, self._fresh_session):
            if session is not None:
                await session.close()

    async def send(
        self,
        request: Request[T],
        *,
        timeout: Timeout | None = None,
        retry: RetryPolicy | None = None,
        outage: Outage | None = None,
    ) -> Answer[T]:
        """Send until there is an answer that counts, or no more attempt is allowed.

        `outage` is what a bulk run knows of the server. Raises an `AioroomsError` with the attempts made; its
        `uncertain` is set if any of them may have been carried out.
        """
        policy = retry or self._retry
        tries = _Tries(None if policy.max_elapsed is None else time.monotonic() + policy.max_elapsed)
        limits = self._limits if timeout is None else _Limits.of(client_timeout(timeout))
        try:
            while True:
                if outage is not None and outage.is_on:
                    async with outage.line(self._closing):
                        outcome = await self._attempt(request, policy, limits, tries, outage)
                else:
                    outcome = await self._attempt(request, policy, limits, tries, outage)
                if not isinstance(outcome, Failure):
                    return Answer(outcome, tries.sent)
                if not outcome.stale_connection:
                    await self._before_next(policy, outcome, tries, outage)
        except AioroomsError as error:
            error.attempts = tries.sent
            error.uncertain = tries.maybe_applied
            raise

    async def _attempt(
        self,
        request: Request[T],
        policy: RetryPolicy,
        limits: _Limits,
        tries: "_Tries",
        outage: Outage | None,
    ) -> T | Failure:
        """Take a turn, send once, and give the turn back."""
        if outage is not None and outage.patience_is_over:
            error = APIConnectionError(f"{request.subject}: not sent") if tries.failure is None else tries.failure.error
            raise _out_of_patience(error, outage)
        turn = self._pacer.acquire_now() or await self._turn(request, policy, tries)
        began_at = 0.0 if outage is None else outage.begin()
        if tries.signs_before is None and outage is not None:
            tries.signs_before = outage.signs_of_life
        tries.granted_before = self._pacer.granted
        tries.headers = None
        refused = False
        try:
            outcome = await self._exchange(self._session_for(tries), request, limits, tries)
            refused = isinstance(outcome, Failure) and outcome.refused
        finally:
            self._pacer.release(turn, tries.headers, refused=refused)
        if isinstance(outcome, Failure):
            tries.failure = outcome
            tries.maybe_applied |= outcome.maybe_applied
            tries.sent += not outcome.stale_connection
            tries.stale = tries.stale + 1 if outcome.stale_connection else 0
        else:
            tries.sent += 1
        if outage is not None:
            if not isinstance(outcome, Failure) or is_sign_of_life(outcome.error):
                outage.alive()
            elif not outcome.stale_connection:
                outage.failed(request.subject, began_at)
        return outcome

    def _session_for(self, tries: "_Tries") -> aiohttp.ClientSession:
        session = self.open()
        if tries.stale and self._owns_session:
            # If one connection of a pool is stale others may be as well.
            if self._fresh_session is None:
                self._fresh_session = self._new_session(keepalive_timeout=None)
            return self._fresh_session
        return session

    async def _turn(self, request: Request[T], policy: RetryPolicy, tries: "_Tries") -> Turn:
        """Wait for a turn, no longer than `max_elapsed` allows."""
        self.open()  # raises if no turn would ever come
        try:
            if tries.give_up_at is None:
                return await self._pacer.acquire()
            async with asyncio.timeout(tries.give_up_at - time.monotonic()):
                return await self._pacer.acquire()
        except RateLimitError as error:
            error.args = (f"{request.subject}: {error.message}",)
            raise
        except TimeoutError:
            late = APITimeoutError(f"{request.subject}: not sent") if tries.failure is None else tries.failure.error
            late.hint = f"its turn did not come within RetryPolicy(max_elapsed={policy.max_elapsed:g})"
            raise late from None

    async def _before_next(self, policy: RetryPolicy, failure: Failure, tries: "_Tries", outage: Outage | None) -> None:
        """Wait until the next attempt may begin, or raise the failure's error if there is to be none."""
        if not failure.retry:
            raise failure.error
        if failure.refused and self._pacer.granted > tries.granted_before and tries.overtaken < _MOST_OVERTAKEN:
            # Others got through meanwhile: it's a matter of taking turns, and no reason to give up.
            tries.overtaken += 1
        else:
            tries.failed += 1
        if tries.failed >= policy.max_attempts and not _keeps_trying(failure, tries, outage):
            raise failure.error if outage is None else _out_of_patience(failure.error, outage)
        wait = backoff(policy, max(1, tries.failed), self._random())
        if failure.refused:
            # The server knows when it will take more; waiting longer than that wastes allowance.
            wait = failure.wait or wait
        elif failure.wait is not None:
            wait = max(wait, failure.wait)
        if outage is not None and not is_sign_of_life(failure.error):
            wait = min(wait, outage.longest_wait)
        if wait > self._max_wait:
            failure.error.hint = (
                f"the server asked to wait {wait:.0f} s, longer than Pacing(max_wait={self._max_wait:g}) allows; "
                "try again later, or raise max_wait"
            )
            raise failure.error
        if tries.give_up_at is not None and time.monotonic() + wait > tries.give_up_at:
            failure.error.hint = f"RetryPolicy(max_elapsed={policy.max_elapsed:g}) allows no further attempt"
            raise failure.error
        # After a refusal it's the pacer that waits, and in an outage it's the line.
        if (failure.refused and self._paces) or (outage is not None and outage.is_on):
            return
        # Closing the client ends this; then it is the next attempt that finds out.
        await sleep_unless(self._closing, wait)

    def _url(self, request: Request[T]) -> URL:
        """Where a request goes."""
        if request.query:
            return URL(f"{self._base_url}{request.path}?{request.query}", encoded=True)
        # No parsing: 3 us less, 4 % of an update.
        return self._base.with_path(self._base_path + request.path, encoded=True)

    def _options(self, request: Request[T], limits: _Limits) -> _Options:
        if self._owns_session:
            # A session of ours has the rest by itself. To hand it over each time takes 1.7 us, 2 % of an update.
            if limits is self._limits and request.method not in _REPLAYED:
                return _NO_REDIRECTS
            middlewares = _NO_REPLAY if request.method in _REPLAYED else ()
            return {**_NO_REDIRECTS, "timeout": limits.others, "middlewares": middlewares}
        # Users' sessions have defaults of their own.
        headers = self._headers if request.body is None else {**self._headers, "Content-Type": "application/json"}
        return {**_NO_REDIRECTS, "timeout": limits.others, "headers": headers, "raise_for_status": False}

    async def _exchange(
        self, session: aiohttp.ClientSession, request: Request[T], limits: _Limits, tries: "_Tries"
    ) -> T | Failure:
        """Send once and read the whole answer; note its header, and give what it means."""
        new_sockets: list[object] = []
        _new_sockets.set(new_sockets)
        body = None if request.body is None else _Body(request.body, content_type="application/json")
        response: aiohttp.ClientResponse | None = None
        try:
            with Deadline(self._deadlines, limits.total):
                # No `async with`: nothing suspends between the two lines, and `read` closes what it could not read.
                response = await session.request(
                    request.method, self._url(request), data=body, **self._options(request, limits)
                )
                answer = await response.read()
                if response.status == HTTPStatus.SWITCHING_PROTOCOLS:
                    response.close()  # all others have given their connection back
        except asyncio.CancelledError:
            if is_cancelled():
                raise
            if body is not None and not body.begun:
                return not_sent(request, "the connection was closed on our side")
            return no_answer(request, "no answer: the connection was closed on our side")
        except (aiohttp.ClientError, OSError, ValueError, _HungUpError) as error:
            if response is not None and not 200 <= response.status < 300:
                # A refusal is one, also if the rest of it got lost.
                tries.headers = response.headers
                return read_answer(request, response.status, response.headers, b"", secret=self._api_key)
            # A hook in a session that isn't ours may have put another body in the place of this one. Without a body
            # there is no telling either; but then nothing is changed, or it is a DELETE.
            begun = body is None or body.begun or not self._owns_session
            failure = _lost(request, error, begun=begun, secret=self._api_key)
            hung_up = response is None and isinstance(error, (_HungUpError, *_DISCONNECTED))
            could_connect = not isinstance(error, aiohttp.ClientConnectorError)
            # Nothing can be noted in a session that isn't ours: there, any connection may have been used before.
            reused = not new_sockets if self._owns_session else self._had_answer
            if hung_up and could_connect and reused and failure.retry and tries.stale < _MAX_STALE:
                failure = attrs.evolve(failure, stale_connection=True)
            return failure
        self._had_answer = True
        tries.headers = response.headers
        return read_answer(request, response.status, response.headers, answer, secret=self._api_key)


@attrs.define
class _Tries:
    """What became of the attempts of one call so far."""

    give_up_at: float | None
    """When `max_elapsed` is over."""
    sent: int = 0
    """Attempts that were sent, but for those over stale connections."""
    failed: int = 0
    """Those of them that count against `max_attempts`."""
    overtaken: int = 0
    """Those that were refused while others got through, and don't count."""
    stale: int = 0
    """Stale connections in a row, just now."""
    maybe_applied: bool = False
    failure: Failure | None = None
    """The last one."""
    headers: Mapping[str, str] | None = None
    """The header of the last answer; None if there was none."""
    signs_before: int | None = None
    """How many signs of life there had been when the first attempt began."""
    granted_before: int = 0
    """The pacer's `granted` when the last attempt was sent."""


def _keeps_trying(failure: Failure, tries: _Tries, outage: Outage | None) -> bool:
    """Whether a call that is out of attempts goes on, as the server may be out."""
    if outage is None or is_sign_of_life(failure.error) or tries.signs_before is None:
        return False
    return outage.keeps_trying(
        tries.signs_before, reached=isinstance(failure.error, (APIStatusError, APIResponseError))
    )


def _out_of_patience(error: APIError, outage: Outage) -> APIError:
    """Say in the error that the run's patience is at its end, if it is."""
    if outage.patience_is_over:
        error.hint = f"the server has been out for more than {outage.patience:g} s (outage_patience)"
    return error


class _Body(aiohttp.BytesPayload):
    """The body of one attempt. It tells whether the request has begun to go out: head and body go together."""

    begun = False

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        self.begun = True
        await super().write_with_length(writer, content_length)


def _keep_read_buffers() -> None:
    """Have glibc take asyncio's read buffers from memory that is there.

    asyncio's loop makes a buffer of 256 KiB for each read. glibc asks the kernel for anything so large, and gives it
    back at once, until something larger was freed: then it keeps memory of that size (mallopt(3), M_MMAP_THRESHOLD).
    Without this an update takes 110 us instead of 95, unless something else happened to free so much before.
    """
    bytes(512 * 1024)


def _connections(wanted: int, session: aiohttp.ClientSession | None) -> int:
    """How many requests can have a connection at a time. In aiohttp, 0 means any number."""
    connector = None if session is None else session.connector
    limits = (wanted,) if connector is None else (wanted, connector.limit, connector.limit_per_host)
    return min(limit for limit in limits if limit > 0)


# --- stale connections ---

_new_sockets: ContextVar[list[object]] = ContextVar("aiorooms_new_sockets")
"""The sockets that were made for the request that is being sent in this context."""


def _new_socket(address: "tuple[int, int, int, str, tuple[object, ...]]") -> socket.socket:
    family, kind, protocol, _, _ = address
    made = socket.socket(family, kind, protocol)
    _new_sockets.get([]).append(made)
    return made


_DISCONNECTED: Final = (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, aiohttp.ClientConnectionResetError)


_REPLAYED: Final = ("GET", "DELETE")
"""The methods that aiohttp sends again by itself, once and without telling, if the server hangs up.

If a DELETE was carried out before, the second one is answered by 404, which must not look like "there is no such room".
And if the session was closed meanwhile, the second one is an AssertionError."""


class _HungUpError(Exception):
    """Carries the server's hanging up past aiohttp, so that it is for us to send again."""


async def _no_replay(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    try:
        return await send(request)
    except aiohttp.ClientConnectorError:
        raise
    except _DISCONNECTED as error:
        raise _HungUpError(str(error)) from error


_NO_REPLAY: Final = (_no_replay,)


# --- what went wrong ---


def _lost(request: Request[T], error: Exception, *, begun: bool, secret: str) -> Failure:
    """Say what an exception of aiohttp means for the request, of which something went out if it was `begun`.

    None of them goes further than this. They aren't chained to ours either: some hold the request's headers, and so the
    API key.
    """
    cause = error.__cause__ if isinstance(error, _HungUpError) and error.__cause__ is not None else error
    reason = redact(f"{type(cause).__name__}: {cause}", secret)
    match cause:
        case aiohttp.ClientSSLError() | aiohttp.ServerFingerprintMismatch():
            return not_sent(request, reason, retry=False)
        case aiohttp.ConnectionTimeoutError():
            return not_sent(request, reason, timed_out=True)
        case aiohttp.ClientConnectorError(host=host, port=port, os_error=refusal):
            # asyncio's own texts repeat the address; the numbers of getaddrinfo are below 0.
            number = refusal.errno or 0
            why = os.strerror(number) if number > 0 else refusal.strerror or str(refusal)
            return not_sent(request, f"can't connect to {host}:{port}: {why}")
        case aiohttp.ClientHttpProxyError():
            return not_sent(request, reason)
        case TimeoutError() if not begun:
            return not_sent(request, "no connection within the timeout", timed_out=True)
        case ValueError() if not begun or request.read_only:
            return not_sent(request, reason, retry=False)
        case _ if not begun:
            return not_sent(request, reason)
        case aiohttp.ServerDisconnectedError():
            return no_answer(request, "the server disconnected without an answer")
        case TimeoutError():
            return no_answer(request, "no answer within the timeout", timed_out=True)
        case aiohttp.ClientPayloadError():
            return no_answer(request, f"the answer was cut off: {reason}")
        case aiohttp.ClientResponseError():
            # What follows the first line are the bytes that came.
            why = cause.message.partition("\n")[0]
            return unreadable(request, f"{request.subject}: the answer is not HTTP: {why}", secret=secret)
        case _:
            return no_answer(request, f"no answer: {reason}")
