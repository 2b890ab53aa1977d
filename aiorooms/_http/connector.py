"""The connector of our own session. It tracks which connections were used before, and which received bytes while idle.

**Bytes on an idle connection.** If a server or proxy answers a request twice, the second answer may arrive when the
connection is idle. aiohttp would treat these bytes as the answer to the next request. So the connector closes the
connection instead of reusing it. Example: a proxy answers a PATCH of room A twice, and the second answer arrives 50 ms
after the first. The next request, for room B, is sent over another connection. aiohttp may write the body of a request
one iteration of the event loop after it got the connection. So a request with a body checks its connection again, just
before it is written (`Route.begin`).

**Shifted answers.** If a second answer arrives while the next request is in flight, aiohttp treats it as the answer to
that request, and treats the real answer as the answer to the request after it, and so on. The client notices if such an
answer is about another room or has other values. It then closes the connection (`close_connection`).

**Stale connections.** The server may close a keep-alive connection just before the client reuses it. The request then
gets no answer, although nothing is wrong with the server. If something is wrong, the server also drops new connections.
To distinguish the two cases, the `Route` of a request records whether its connection was used before.
"""

import asyncio
import select
from contextvars import ContextVar
from functools import partial
from typing import Any, Final, cast

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection

__all__ = ["Connector", "Route", "close_connection"]


class Route:
    """What is known about the connection of one request."""

    __slots__ = ("has_body", "is_reused", "protocol")

    def __init__(self, *, has_body: bool) -> None:
        self.has_body = has_body
        self.is_reused = False
        """Whether an earlier request used the same connection. False until the request has a connection."""
        self.protocol: _Protocol | None = None
        """The connection; None before the request has one, and in the user's session."""
        _route.set(self)

    def begin(self) -> None:
        """Begin to write a body. Raise ConnectionResetError if a reused connection was closed or received bytes."""
        protocol = self.protocol
        if protocol is None:
            return
        if self.is_reused and not protocol.is_clean():
            raise ConnectionResetError("the connection was closed, or received an answer, before the request was sent")
        protocol.in_use = True


_route: Final[ContextVar[Route]] = ContextVar("aiorooms_route")
"""The route of the request that is being sent in this context."""


class _Protocol(ResponseHandler):
    """One connection."""

    in_use = False
    """Whether the bytes that arrive may belong to a request."""
    was_used = False
    has_stray_bytes = False
    _poll: "select.poll | None" = None  # Windows has none

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if hasattr(select, "poll"):
            self._poll = select.poll()
            self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    def is_clean(self) -> bool:
        """Return whether the connection is open, and received nothing while idle, not even unread bytes."""
        if self.has_stray_bytes or self.transport is None:
            return False
        return self._poll is None or not self._poll.poll(0)

    def data_received(self, data: bytes) -> None:
        if data and not self.in_use:  # aiohttp itself calls this with b"" to resume reading
            self.has_stray_bytes = True
        super().data_received(data)


class Connector(aiohttp.TCPConnector):
    """Reuses only connections that have received nothing since their last answer."""

    def __init__(self, *, limit: int, keepalive_timeout: float | None) -> None:
        """Set the limits. If `keepalive_timeout` is None, each request gets a new connection."""
        options: dict[str, Any] = {"keepalive_timeout": keepalive_timeout}
        if keepalive_timeout is None:
            options = {"force_close": True}
        super().__init__(limit=limit, **options)  # pyright: ignore[reportUnknownMemberType]
        # aiohttp has no public way to set the protocol class. A test fails if this private attribute disappears.
        self._factory: Any = partial(_Protocol, loop=asyncio.get_running_loop())

    async def connect(self, *args: Any, **kwargs: Any) -> Connection:  # noqa: ANN401 - those of `BaseConnector`
        """Return a connection for a request."""
        route = _route.get(None)
        while True:
            connection = await super().connect(*args, **kwargs)
            protocol = cast("_Protocol", connection.protocol)
            # Accept a new connection even if it has unread bytes, or this loop might never end: a server that rejects
            # the client may send an answer before any request.
            has_body = route is not None and route.has_body
            # A request with a body makes the full check when it is written.
            if not protocol.was_used or (has_body and not protocol.has_stray_bytes) or protocol.is_clean():
                break
            connection.close()
        protocol.in_use = not has_body
        if route is not None:
            route.is_reused = protocol.was_used
            route.protocol = protocol
        protocol.was_used = True
        return connection

    def _release(self, key: Any, protocol: ResponseHandler, *, should_close: bool = False) -> None:  # noqa: ANN401
        protocol.in_use = False  # type: ignore[attr-defined] # pyright: ignore[reportAttributeAccessIssue]
        super()._release(key, protocol, should_close=should_close)


def close_connection(response: aiohttp.ClientResponse) -> None:
    """Close the connection on which an answer arrived, in any session, even if another request uses it by now."""
    # aiohttp has no public way to find the connection after the answer was read. A test fails if this one disappears.
    protocol = cast("ResponseHandler | None", getattr(response, "_protocol", None))
    # `protocol.close()` would leave a request that reads its answer from this connection waiting.
    if protocol is not None and protocol.transport is not None:
        protocol.transport.close()
