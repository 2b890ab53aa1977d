"""Make one attempt over the aiohttp session: send a request, and return a `Success` or a `Failure`.

The answer is interpreted only after it has been read completely and its connection has been released.

A request with a body counts as sent as soon as aiohttp begins to write the body. An answer that arrives earlier belongs
to another request. Such an answer is ignored, and the attempt fails. The connector (see `connector`) prevents most of
these cases, because it does not reuse a connection that received bytes while it was idle.
"""

import asyncio
import warnings
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Final, Required, TypedDict, TypeVar

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from yarl import URL

from .._aio import finish, is_cancelled
from .._pacing import read_rate_limit
from ..errors import ClientStateError
from .aiohttp_errors import NO_REPLAY, REPLAYED, DisconnectedError, is_broken_handshake, is_disconnect, to_failure
from .body import ENCODINGS, BodyError, TooLargeError, read_body
from .call_settings import merge_headers
from .connector import Connector, Route, close_connection
from .deadlines import Deadline, Deadlines, TimeLimits
from .proxy import Proxy
from .request import Request
from .response import Failure, Received, Success, no_answer, not_sent, read_answer, too_large, unreadable
from .secret import ApiKey

__all__ = ["Exchange"]

T = TypeVar("T")

_KEEPALIVE: Final = 15.0
"""Seconds until the client closes an idle connection. Most servers and proxies keep idle connections for 60 s or more,
so usually the client closes first."""


_SWITCHING_PROTOCOLS: Final = int(HTTPStatus.SWITCHING_PROTOCOLS)  # an int, as `_NO_CONTENT` in `response`


class _Options(TypedDict, total=False):
    """The arguments of `ClientSession.request` besides method, URL and body."""

    allow_redirects: Required[bool]
    timeout: aiohttp.ClientTimeout
    headers: Mapping[str, str]
    raise_for_status: bool
    middlewares: tuple[aiohttp.ClientMiddlewareType, ...]
    proxy_headers: Mapping[str, str]


_MAX_ERROR: Final = 64 * 1024
"""Maximum number of bytes to read from an answer with an error status."""

_NO_REDIRECTS: Final[_Options] = {"allow_redirects": False}
"""Redirects are not followed, because they may lead to a server that the user did not choose."""


class Exchange:
    """The aiohttp session of one client, used within one event loop."""

    def __init__(
        self,
        *,
        key: ApiKey,
        base_url: str,
        limits: TimeLimits,
        max_connections: int,
        max_response_size: int,
        session: aiohttp.ClientSession | None,
        proxy: Proxy | None,
        user_agent: str,
    ) -> None:
        self.max_in_flight: int = _connections(max_connections, session)
        """The maximum number of requests that can have a connection at the same time."""
        self._key = key
        self._base_url = base_url
        self._base = URL(base_url)
        self._base_path = self._base.raw_path.rstrip("/")
        self._limits = limits
        self._max_connections = max_connections
        self._max_response_size = max_response_size
        self._proxy = proxy
        self._session = session
        self._owns_session = session is None
        self._auto_decompress = session is not None and session.auto_decompress
        self._fresh_session: aiohttp.ClientSession | None = None
        """A session that never reuses connections, for resends after a stale connection. Created when first needed."""
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
        """Whether we have created a session that is still open."""
        return self._owns_session and self._session is not None and not self._closed

    def open(self) -> aiohttp.ClientSession:
        """Return the session, and create it on the first call.

        Raises `ClientStateError` if the client or its session is closed or belongs to another event loop.
        """
        if self._closed:
            raise ClientStateError("the client is closed; create a new RoomsClient", reason="closed")
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise ClientStateError("no asyncio event loop is running; aiorooms needs asyncio, not trio") from None
        if self._loop is not loop:
            self._bind(loop)
        session = self._session
        if session is None:
            session = self._session = self._new_session(keepalive_timeout=_KEEPALIVE)
        elif not self._owns_session and session.closed:
            raise ClientStateError("the aiohttp session of the client (session=) is closed; pass an open one")
        return session

    def _new_session(self, *, keepalive_timeout: float | None) -> aiohttp.ClientSession:
        """Create a session. If `keepalive_timeout` is None, each of its requests gets a new connection."""
        _keep_read_buffers()
        return aiohttp.ClientSession(
            connector=Connector(limit=self._max_connections, keepalive_timeout=keepalive_timeout),
            # aiohttp would also send these headers to a proxy, the API key as `Proxy-Authorization`.
            headers=self._headers if self._proxy is None else None,
            timeout=self._limits.others,
            auto_decompress=False,  # `read_body` decompresses instead, because it enforces a size limit
            # The API needs no cookies.
            cookie_jar=aiohttp.DummyCookieJar(),
            proxy=None if self._proxy is None else self._proxy.url,
        )

    def _bind(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._loop is not None:
            raise ClientStateError("the client was first used in another event loop; create one client per event loop")
        if self._session is not None:
            # The `loop` property is deprecated, but in aiohttp 3 it is the only way to find the session's event loop.
            with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
                if self._session.loop is not loop:
                    raise ClientStateError("the aiohttp session of the client (session=) belongs to another event loop")
        self._loop = loop

    async def close(self) -> None:
        """Close the session if it is ours. Attempts in flight fail. A second call does nothing.

        The session is closed even if the caller is cancelled.
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
        """Return a text with the API key replaced."""
        return self._key.redact(text)

    # --- one attempt ---

    async def send(
        self,
        request: Request[T],
        limits: TimeLimits,
        headers: Mapping[str, str],
        *,
        fresh: bool,
        may_send: Callable[[], bool] | None = None,
    ) -> Success[T] | Failure:
        """Send a request once, over a new connection if `fresh`, and read the whole answer. Raises as `open` does.

        `headers` are added to those of the client. `may_send` is asked when there is a connection, because connecting
        takes time.
        """
        session = self._session_for(fresh=fresh)
        route = Route(has_body=request.body is not None)
        body = None
        if request.body is not None:
            body = _Body(request.body, content_type="application/json")
            body.route = route
            body.may_send = may_send
        response: aiohttp.ClientResponse | None = None
        try:
            with Deadline(self._deadlines, limits.total):
                # `async with` is not needed: nothing can fail between the two calls, and `read_body` closes the
                # connection if it fails.
                response = await session.request(
                    request.method, self._url(request), data=body, **self._options(request, limits, headers)
                )
                limit = self._max_size(request) if 200 <= response.status < 300 else _MAX_ERROR
                answer = await read_body(response, limit, auto_decompress=self._auto_decompress)
                if response.status == _SWITCHING_PROTOCOLS:
                    response.close()  # any other answer released its connection when it was read
        except asyncio.CancelledError:
            if is_cancelled():
                raise
            if body is not None and not body.begun:
                return not_sent(request, "the connection was closed by the client")
            return no_answer(request, "no answer: the connection was closed by the client")
        except (TooLargeError, BodyError, aiohttp.ClientError, OSError, ValueError, DisconnectedError) as error:
            if response is not None and body is not None and not body.begun:
                return self._answered_too_early(request)
            return self._failure(request, error, response, body, route)
        except (RuntimeError, AssertionError):
            # aiohttp raises them if the session was closed while a hook waited, or between two pieces of the body.
            if not session.closed:
                raise
            return no_answer(request, "no answer: the session was closed")
        self._had_answer = True
        if body is not None and not body.begun:
            return self._answered_too_early(request)
        outcome = read_answer(request, response.status, response.headers, answer, self._key)
        if isinstance(outcome, Failure) and 200 <= response.status < 300:
            close_connection(response)  # the answer may belong to another request, and the next one to this request
        return outcome

    def _failure(
        self,
        request: Request[T],
        error: Exception,
        response: aiohttp.ClientResponse | None,
        body: "_Body | None",
        route: Route,
    ) -> Success[T] | Failure:
        """Return the failure for an exception of an attempt. `response` is None if no answer arrived."""
        if response is not None and not 200 <= response.status < 300:
            # The status and the beginning of the body are enough to describe the error.
            beginning = error.beginning if isinstance(error, TooLargeError) else b""
            return read_answer(request, response.status, response.headers, beginning, self._key)
        if isinstance(error, TooLargeError):
            assert response is not None
            received = Received.of(response.status, response.headers, b"", self._key)
            return too_large(request, received, self._max_size(request), self._key)
        if isinstance(error, BodyError):
            assert response is not None
            message = f"{response.status} {request.subject}: the body of the answer can't be read: {error}"
            received = Received.of(response.status, response.headers, b"", self._key)
            rate_limit = read_rate_limit(response.headers, rate_limited=False)
            return unreadable(request, message, received=received, key=self._key, rate_limit=rate_limit)
        # In our own session, a request without a body is sent as soon as it has a connection. In the user's session, a
        # hook may have replaced the body, so assume that sending has begun.
        has_begun = route.protocol is not None if body is None else body.begun
        begun = has_begun or not self._owns_session
        failure = to_failure(request, error, begun=begun, key=self._key)
        if self._had_answer and is_broken_handshake(error):
            return failure._replace(retry=True)  # it worked before, so the server may be restarting
        # In the user's session, any connection after the first answer may be a reused one.
        reused = route.is_reused if self._owns_session else self._had_answer
        if response is None and reused and failure.retry and (is_disconnect(error) or not begun):
            return failure._replace(stale_connection=True)
        return failure

    def _max_size(self, request: Request[T]) -> int:
        return min(request.max_size, self._max_response_size)

    def _answered_too_early(self, request: Request[T]) -> Failure:
        reason = "an answer came before the request was sent"
        if self._owns_session:
            return not_sent(request, reason)._replace(stale_connection=True)
        # A hook in the user's session may have replaced our body, so the request may have been sent after all.
        return no_answer(request, reason)

    def _session_for(self, *, fresh: bool) -> aiohttp.ClientSession:
        session = self.open()
        if fresh and self._owns_session:
            # If one pooled connection is stale, others may be stale too, so use a session that does not reuse any.
            if self._fresh_session is None:
                self._fresh_session = self._new_session(keepalive_timeout=None)
            return self._fresh_session
        return session

    def _url(self, request: Request[T]) -> URL:
        if request.query:
            return URL(f"{self._base_url}{request.path}?{request.query}", encoded=True)
        # Building the URL without parsing it saves 3 us per update (4 %).
        return self._base.with_path(self._base_path + request.path, encoded=True)

    def _options(self, request: Request[T], limits: TimeLimits, headers: Mapping[str, str]) -> _Options:
        if self._owns_session and self._proxy is None:
            # The other options are the defaults of our session. Passing them again would cost 1.7 us per update (2 %).
            if limits is self._limits and request.method not in REPLAYED and not headers:
                return _NO_REDIRECTS
            middlewares = NO_REPLAY if request.method in REPLAYED else ()
            return {**_NO_REDIRECTS, "timeout": limits.others, "middlewares": middlewares, "headers": headers}
        # The user's session, or one with a proxy, has other defaults, so all options are passed.
        all_headers = merge_headers(self._headers, headers)
        if request.body is not None:
            all_headers["Content-Type"] = "application/json"
        options: _Options = {**_NO_REDIRECTS, "timeout": limits.others, "raise_for_status": False}
        if self._proxy is not None:
            options["proxy_headers"] = self._proxy.headers
            options["middlewares"] = NO_REPLAY if request.method in REPLAYED else ()
            if self._base.scheme == "http":  # there is no tunnel, so the proxy reads the headers of the request
                all_headers = {**all_headers, **self._proxy.headers}
        options["headers"] = all_headers
        return options


class _Body(aiohttp.BytesPayload):
    """The body of one attempt. `begun` says whether anything was sent: aiohttp sends the headers with the body."""

    begun = False

    route: Route

    may_send: Callable[[], bool] | None = None

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        if self.may_send is not None and not self.may_send():
            raise OSError("it may not be sent any more")
        self.route.begin()
        self.begun = True
        await super().write_with_length(writer, content_length)


def _keep_read_buffers() -> None:
    """Make glibc reuse the memory of asyncio's read buffers.

    asyncio's event loop allocates a buffer of 256 KiB for each read. At first, glibc requests each block of this size
    from the kernel and returns it as soon as it is freed. Once a larger block has been freed, glibc keeps blocks up to
    that size for reuse (see M_MMAP_THRESHOLD in mallopt(3)). This function frees such a larger block, which reduces the
    time per update from 110 to 95 us.
    """
    bytes(512 * 1024)


def _connections(wanted: int, session: aiohttp.ClientSession | None) -> int:
    """Return how many requests can have a connection at the same time. In aiohttp's settings, 0 means no limit."""
    connector = None if session is None else session.connector
    limits = (wanted,) if connector is None else (wanted, connector.limit, connector.limit_per_host)
    return min(limit for limit in limits if limit > 0)
