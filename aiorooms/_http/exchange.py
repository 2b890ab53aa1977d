"""The aiohttp session, and one attempt over it: send a request, and return a `Success` or a `Failure`.

The whole answer is read, and the connection released, before the answer is interpreted.

**Stale connections.** The server may close a keep-alive connection just before it is used again. Then no answer comes,
and that says nothing about the server. To distinguish this from a server that disconnects every client, each new socket
is recorded in the context of the request that it was opened for. If a request gets no answer and no socket was opened
for it, its connection was reused. Example: 50 connections are idle while the server restarts. The next request gets no
answer and opened no socket, so it is sent again at once over a new connection.
"""

import asyncio
import socket
import warnings
from collections.abc import Mapping
from contextvars import ContextVar
from http import HTTPStatus
from typing import Final, Required, TypedDict, TypeVar

import aiohttp
import attrs
from aiohttp.abc import AbstractStreamWriter
from yarl import URL

from .._aio import is_cancelled
from ..errors import ClientStateError
from .aiohttp_errors import NO_REPLAY, REPLAYED, DisconnectedError, is_disconnect, to_failure
from .deadlines import Deadline, Deadlines, TimeLimits
from .request import Request
from .response import Failure, Success, no_answer, not_sent, read_answer

__all__ = ["Exchange"]

T = TypeVar("T")

_KEEPALIVE: Final = 15.0
"""Seconds that an idle connection is kept: less than servers and proxies keep theirs (usually 60 s or more), so that
the client closes it first."""


class _Options(TypedDict, total=False):
    """The arguments of a request besides method, URL and body."""

    allow_redirects: Required[bool]
    timeout: aiohttp.ClientTimeout
    headers: Mapping[str, str]
    raise_for_status: bool
    middlewares: tuple[aiohttp.ClientMiddlewareType, ...]


_NO_REDIRECTS: Final[_Options] = {"allow_redirects": False}
"""A redirect could lead anywhere."""


class Exchange:
    """The session of one client, within one event loop."""

    def __init__(
        self,
        *,
        api_key: str,
        base_url: str,
        limits: TimeLimits,
        max_connections: int,
        session: aiohttp.ClientSession | None,
        user_agent: str,
    ) -> None:
        self.max_in_flight: int = _connections(max_connections, session)
        """The maximum number of requests that have a connection at a time."""
        self._api_key = api_key
        self._base_url = base_url
        self._base = URL(base_url)
        self._base_path = self._base.raw_path.rstrip("/")
        self._limits = limits
        self._max_connections = max_connections
        self._session = session
        self._owns_session = session is None
        self._fresh_session: aiohttp.ClientSession | None = None
        """For requests that are sent again after a stale connection; created when it is needed."""
        self._had_answer = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False
        self._headers: Mapping[str, str] = {
            "Authorization": f"Bearer {api_key}",
            "Accept": "application/json",
            "User-Agent": user_agent,
        }
        self._deadlines = Deadlines()

    # --- the session ---

    @property
    def is_open(self) -> bool:
        """Whether a session is open that has to be closed here."""
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
            connector=aiohttp.TCPConnector(
                limit=self._max_connections,
                keepalive_timeout=keepalive_timeout,
                force_close=keepalive_timeout is None,
                socket_factory=_new_socket,
            ),
            headers=self._headers,
            timeout=self._limits.others,
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
        """Close the session if it is ours. Attempts in flight end with an error. May be called twice."""
        if self._closed:
            return
        self._closed = True
        self._deadlines.close()
        for session in (self._session if self._owns_session else None, self._fresh_session):
            if session is not None:
                await session.close()

    # --- one attempt ---

    async def send(self, request: Request[T], limits: TimeLimits, *, fresh: bool) -> Success[T] | Failure:
        """Send once and read the whole answer; `fresh`: over a new connection. Raises `ClientStateError`."""
        session = self._session_for(fresh=fresh)
        new_sockets: list[object] = []
        _new_sockets.set(new_sockets)
        body = None if request.body is None else _Body(request.body, content_type="application/json")
        response: aiohttp.ClientResponse | None = None
        try:
            with Deadline(self._deadlines, limits.total):
                # No `async with`: nothing suspends between the two calls, and `read` closes the connection if it fails.
                response = await session.request(
                    request.method, self._url(request), data=body, **self._options(request, limits)
                )
                answer = await response.read()
                if response.status == HTTPStatus.SWITCHING_PROTOCOLS:
                    response.close()  # all other answers have released their connection
        except asyncio.CancelledError:
            if is_cancelled():
                raise
            if body is not None and not body.begun:
                return not_sent(request, "the connection was closed by the client")
            return no_answer(request, "no answer: the connection was closed by the client")
        except (aiohttp.ClientError, OSError, ValueError, DisconnectedError) as error:
            if response is not None and not 200 <= response.status < 300:
                # The status says enough, even if the rest of the answer was lost.
                return read_answer(request, response.status, response.headers, b"", secret=self._api_key)
            # Whether sending has begun is known for our own body only: a hook in the user's session may have replaced
            # it. A request without a body changes nothing, or is a DELETE.
            begun = body is None or body.begun or not self._owns_session
            failure = to_failure(request, error, begun=begun, secret=self._api_key)
            # In the user's session no sockets are recorded: there, any connection may have been used before.
            reused = not new_sockets if self._owns_session else self._had_answer
            if response is None and reused and failure.retry and is_disconnect(error):
                return attrs.evolve(failure, stale_connection=True)
            return failure
        self._had_answer = True
        return read_answer(request, response.status, response.headers, answer, secret=self._api_key)

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
        # Not parsed, which saves 3 us, 4 % of an update.
        return self._base.with_path(self._base_path + request.path, encoded=True)

    def _options(self, request: Request[T], limits: TimeLimits) -> _Options:
        if self._owns_session:
            # Our session has the rest as defaults. Passing it each time costs 1.7 us, 2 % of an update.
            if limits is self._limits and request.method not in REPLAYED:
                return _NO_REDIRECTS
            middlewares = NO_REPLAY if request.method in REPLAYED else ()
            return {**_NO_REDIRECTS, "timeout": limits.others, "middlewares": middlewares}
        # The user's session has defaults of its own.
        headers = self._headers if request.body is None else {**self._headers, "Content-Type": "application/json"}
        return {**_NO_REDIRECTS, "timeout": limits.others, "headers": headers, "raise_for_status": False}


class _Body(aiohttp.BytesPayload):
    """The body of one attempt, which records whether sending has begun: head and body are sent together."""

    begun = False

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        self.begun = True
        await super().write_with_length(writer, content_length)


def _keep_read_buffers() -> None:
    """Make glibc reuse the memory of asyncio's read buffers.

    asyncio's loop allocates a buffer of 256 KiB for each read. glibc requests such large blocks from the kernel and
    returns them at once, until a larger block has been freed: then it keeps blocks of that size (mallopt(3),
    M_MMAP_THRESHOLD). Without this an update takes 110 us instead of 95, unless something else freed a block as large.
    """
    bytes(512 * 1024)


def _connections(wanted: int, session: aiohttp.ClientSession | None) -> int:
    """Return the maximum number of requests that have a connection at a time. In aiohttp, 0 means no limit."""
    connector = None if session is None else session.connector
    limits = (wanted,) if connector is None else (wanted, connector.limit, connector.limit_per_host)
    return min(limit for limit in limits if limit > 0)


_new_sockets: ContextVar[list[object]] = ContextVar("aiorooms_new_sockets")
"""The sockets opened for the request that is being sent in this context."""


def _new_socket(address: "tuple[int, int, int, str, tuple[object, ...]]") -> socket.socket:
    family, kind, protocol, _, _ = address
    new = socket.socket(family, kind, protocol)
    _new_sockets.get([]).append(new)
    return new
