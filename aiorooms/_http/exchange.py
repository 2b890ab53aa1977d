"""The aiohttp session, and one attempt over it: send a request, and return a `Success` or a `Failure`.

The whole answer is read, and the connection released, before the answer is interpreted.

A request with a body counts as sent as soon as aiohttp begins to write it. An answer that arrives earlier belongs to
another request; it is ignored, and the attempt fails. The connector (`connector`) prevents most such answers: it
doesn't reuse a connection that received bytes while it was idle.
"""

import asyncio
import warnings
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final, Required, TypedDict, TypeVar

import aiohttp
import attrs
from aiohttp.abc import AbstractStreamWriter
from yarl import URL

from .._aio import finish, is_cancelled
from .._pacing import read_rate_limit
from ..errors import ClientStateError
from .aiohttp_errors import NO_REPLAY, REPLAYED, DisconnectedError, is_disconnect, to_failure
from .body import ENCODINGS, BodyError, TooLargeError, read_body
from .connector import Connector, Route
from .deadlines import Deadline, Deadlines, TimeLimits
from .request import Request
from .response import Failure, Success, no_answer, not_sent, read_answer, too_large, unreadable
from .secret import ApiKey

__all__ = ["Exchange"]

T = TypeVar("T")

_KEEPALIVE: Final = 15.0
"""Seconds until the client closes an idle connection. Servers and proxies usually wait 60 s or more, so the client
closes it first."""


class _Options(TypedDict, total=False):
    """The arguments of a request besides method, URL and body."""

    allow_redirects: Required[bool]
    timeout: aiohttp.ClientTimeout
    headers: Mapping[str, str]
    raise_for_status: bool
    middlewares: tuple[aiohttp.ClientMiddlewareType, ...]


_MAX_ERROR: Final = 64 * 1024
"""Maximum number of bytes that are read of an answer with an error status."""

_NO_REDIRECTS: Final[_Options] = {"allow_redirects": False}
"""Redirects are not followed, because they could lead to any server."""


class Exchange:
    """The session of one client, within one event loop."""

    def __init__(
        self,
        *,
        key: ApiKey,
        base_url: str,
        limits: TimeLimits,
        max_connections: int,
        max_response_size: int,
        session: aiohttp.ClientSession | None,
        user_agent: str,
    ) -> None:
        self.max_in_flight: int = _connections(max_connections, session)
        """The maximum number of requests that have a connection at a time."""
        self._key = key
        self._base_url = base_url
        self._base = URL(base_url)
        self._base_path = self._base.raw_path.rstrip("/")
        self._limits = limits
        self._max_connections = max_connections
        self._max_response_size = max_response_size
        self._session = session
        self._owns_session = session is None
        self._fresh_session: aiohttp.ClientSession | None = None
        """For requests that are sent again after a stale connection; created when it is needed."""
        self._had_answer = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False
        self._headers: Mapping[str, str] = {
            "Authorization": key.authorization,
            "Accept": "application/json",
            "Accept-Encoding": ENCODINGS,
            "User-Agent": user_agent,
        }
        self._deadlines = Deadlines()

    # --- the session ---

    @property
    def is_open(self) -> bool:
        """Whether our own session is open and must still be closed."""
        return self._owns_session and self._session is not None and not self._closed

    def open(self) -> aiohttp.ClientSession:
        """Return the session, created at the first call. Raises `ClientStateError` if the client can't be used here."""
        if self._closed:
            raise ClientStateError("the client is closed; create a new RoomsClient", reason="closed")
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._bind(loop)
        session = self._session
        if session is None:
            session = self._session = self._new_session(keepalive_timeout=_KEEPALIVE)
        elif not self._owns_session and session.closed:
            raise ClientStateError("the aiohttp session of the client (session=) is closed; pass an open one")
        return session

    def _new_session(self, *, keepalive_timeout: float | None) -> aiohttp.ClientSession:
        """Create a session; without `keepalive_timeout` each of its requests has a connection of its own."""
        _keep_read_buffers()
        return aiohttp.ClientSession(
            connector=Connector(limit=self._max_connections, keepalive_timeout=keepalive_timeout),
            headers=self._headers,
            timeout=self._limits.others,
            auto_decompress=False,  # `read_body` does it, in pieces and up to a limit
            # The API needs no cookies.
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    def _bind(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._loop is not None:
            raise ClientStateError("the client was first used in another event loop; create one client per event loop")
        if self._session is not None:
            # `loop` is deprecated, but aiohttp before 4 has no other way to find out.
            with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
                if self._session.loop is not loop:
                    raise ClientStateError("the aiohttp session of the client (session=) belongs to another event loop")
        self._loop = loop

    async def close(self) -> None:
        """Close the session if it is ours. Attempts in flight end with an error. May be called twice.

        If the caller is cancelled, everything is closed nevertheless.
        """
        if self._closed:
            return
        self._closed = True
        self._deadlines.close()
        await finish(asyncio.create_task(self._close_sessions()))

    async def _close_sessions(self) -> None:
        for session in (self._session if self._owns_session else None, self._fresh_session):
            if session is not None:
                await session.close()

    def redacted(self, text: str) -> str:
        """Return a text without the API key."""
        return self._key.redact(text)

    # --- one attempt ---

    async def send(self, request: Request[T], limits: TimeLimits, *, fresh: bool) -> Success[T] | Failure:
        """Send once, over a new connection if `fresh`, and read the whole answer. Raises `ClientStateError`."""
        session = self._session_for(fresh=fresh)
        route = Route()
        body = None if request.body is None else _Body(request.body, content_type="application/json")
        response: aiohttp.ClientResponse | None = None
        try:
            with Deadline(self._deadlines, limits.total):
                # No `async with`: nothing suspends between the two calls, and `read` closes the connection if it fails.
                response = await session.request(
                    request.method, self._url(request), data=body, **self._options(request, limits)
                )
                answer = await self._read(request, response)
                if response.status == HTTPStatus.SWITCHING_PROTOCOLS:
                    response.close()  # any other answer released its connection when it was read
        except asyncio.CancelledError:
            if is_cancelled():
                raise
            if body is not None and not body.begun:
                return not_sent(request, "the connection was closed by the client")
            return no_answer(request, "no answer: the connection was closed by the client")
        except TooLargeError:
            assert response is not None
            return too_large(request, response.status, response.headers, self._max_size(request))
        except BodyError as error:
            assert response is not None
            message = f"{response.status} {request.subject}: the body of the answer can't be read: {error}"
            rate_limit = read_rate_limit(response.headers, rate_limited=False)
            return unreadable(request, message, status=response.status, key=self._key, rate_limit=rate_limit)
        except (aiohttp.ClientError, OSError, ValueError, DisconnectedError) as error:
            if response is not None and not 200 <= response.status < 300:
                # The status says enough, even if the rest of the answer was lost.
                return read_answer(request, response.status, response.headers, b"", self._key)
            # Only our own body records whether sending has begun. Without a body, or in the user's session, where a
            # hook may have replaced the body, assume that it has begun.
            begun = body is None or body.begun or not self._owns_session
            failure = to_failure(request, error, begun=begun, key=self._key)
            # In the user's session, any connection may be a reused one after the first answer.
            reused = route.is_reused if self._owns_session else self._had_answer
            if response is None and reused and failure.retry and is_disconnect(error):
                return attrs.evolve(failure, stale_connection=True)
            return failure
        self._had_answer = True
        if body is not None and not body.begun:
            return self._answered_too_early(request)
        return read_answer(request, response.status, response.headers, answer, self._key)

    async def _read(self, request: Request[T], response: aiohttp.ClientResponse) -> bytes:
        is_success = 200 <= response.status < 300
        limit = self._max_size(request) if is_success else _MAX_ERROR
        auto_decompress = not self._owns_session and self.open().auto_decompress
        try:
            return await read_body(response, limit, auto_decompress=auto_decompress)
        except TooLargeError as error:
            if is_success:
                raise
            return error.beginning  # enough of the answer to describe the error
        except BodyError:
            if is_success:
                raise
            return b""  # the status says enough

    def _max_size(self, request: Request[T]) -> int:
        return min(request.max_size, self._max_response_size)

    def _answered_too_early(self, request: Request[T]) -> Failure:
        reason = "an answer came before the request was sent"
        if self._owns_session:
            return attrs.evolve(not_sent(request, reason), stale_connection=True)
        # A hook in the user's session may have replaced our body, so the request may have been sent nevertheless.
        return no_answer(request, reason)

    def _session_for(self, *, fresh: bool) -> aiohttp.ClientSession:
        session = self.open()
        if fresh and self._owns_session:
            # If one connection of a pool is stale, others may be as well.
            if self._fresh_session is None:
                self._fresh_session = self._new_session(keepalive_timeout=None)
            return self._fresh_session
        return session

    def _url(self, request: Request[T]) -> URL:
        if request.query:
            return URL(f"{self._base_url}{request.path}?{request.query}", encoded=True)
        # Building the URL without parsing saves 3 us, 4 % of an update.
        return self._base.with_path(self._base_path + request.path, encoded=True)

    def _options(self, request: Request[T], limits: TimeLimits) -> _Options:
        if self._owns_session:
            # Our session has the other options as defaults. Passing them costs 1.7 us, 2 % of an update.
            if limits is self._limits and request.method not in REPLAYED:
                return _NO_REDIRECTS
            middlewares = NO_REPLAY if request.method in REPLAYED else ()
            return {**_NO_REDIRECTS, "timeout": limits.others, "middlewares": middlewares}
        # The user's session has other defaults, so all options are passed.
        headers = self._headers if request.body is None else {**self._headers, "Content-Type": "application/json"}
        return {**_NO_REDIRECTS, "timeout": limits.others, "headers": headers, "raise_for_status": False}


class _Body(aiohttp.BytesPayload):
    """The body of one attempt, which records whether sending has begun: aiohttp sends the head with it."""

    begun = False

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        self.begun = True
        await super().write_with_length(writer, content_length)


def _keep_read_buffers() -> None:
    """Make glibc reuse the memory of asyncio's read buffers.

    asyncio's loop allocates a buffer of 256 KiB for each read. glibc requests such large blocks from the kernel and
    returns them at once. After a larger block has been freed, glibc keeps blocks up to that size for reuse (mallopt(3),
    M_MMAP_THRESHOLD). If no such block has been freed, an update takes 110 us instead of 95.
    """
    bytes(512 * 1024)


def _connections(wanted: int, session: aiohttp.ClientSession | None) -> int:
    """Return the maximum number of requests that have a connection at a time. In aiohttp, 0 means no limit."""
    connector = None if session is None else session.connector
    limits = (wanted,) if connector is None else (wanted, connector.limit, connector.limit_per_host)
    return min(limit for limit in limits if limit > 0)
