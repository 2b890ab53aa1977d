"""One request, and the ways to answer it on its connection.

Answers are written directly to the transport, because a fault may send half a head, two answers, or none. aiohttp only
receives `result`, which writes nothing, and says whether to keep the connection open.
"""

import socket
import struct

import attrs
from aiohttp import HttpVersion11, web

from ._answers import Answer
from ._routes import Target
from ._stats import Stats
from ._waits import Waits
from ._wire import CommonLines, serialize

_SLOW_PIECES = 10
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER on, for 0 seconds: a close then sends an RST


class _AlreadySent(web.StreamResponse):
    """A response that writes nothing, and tells aiohttp whether to keep the connection open."""

    def __init__(self, *, keep_alive: bool) -> None:
        super().__init__()
        self._open = keep_alive

    @property
    def keep_alive(self) -> bool:
        return self._open

    async def prepare(self, request: web.BaseRequest) -> None:
        """Write nothing: the head is already written."""

    async def write_eof(self, data: bytes = b"") -> None:
        """Write nothing: the body is already written."""


_OPEN = _AlreadySent(keep_alive=True)
CLOSED = _AlreadySent(keep_alive=False)


@attrs.frozen
class Shared:
    """The state that all requests of one simulator share."""

    stats: Stats
    waits: Waits
    lines: CommonLines
    stale: set[web.RequestHandler] = attrs.Factory(set[web.RequestHandler])
    """Connections to close when the next request arrives on them."""


@attrs.define
class Incoming:
    """One request. Its connection is closed afterwards, unless the answer keeps it open."""

    request: web.BaseRequest
    shared: Shared
    method: str
    query: str
    target: Target | None
    """The operations and ids of the path, or None if the API has no such path."""
    room_id: str | None
    """The room id in the path, in lower case and not validated. None if the path has no room id."""
    body: bytes = b""
    limit_lines: str = ""
    """The header lines that report the rate limit."""
    result: web.StreamResponse = CLOSED
    """The response that aiohttp receives."""

    @property
    def is_last(self) -> bool:
        """Whether the client wants the connection closed after the answer, or uses HTTP/1.0."""
        return not self.request.keep_alive or self.request.version < HttpVersion11

    def next_lines(self) -> str:
        """Return the common header lines (request id, rate limit, date), with the values for the next answer."""
        return self.shared.lines.of_next_answer(self.limit_lines)

    def send(self, answer: Answer) -> None:
        """Send a complete answer."""
        self._close_if_last(answer)
        data = serialize(answer, self.next_lines(), with_body=self.method != "HEAD")
        self.write(data, status=answer.status, keep_open=not answer.close)

    async def send_slowly(self, answer: Answer, seconds: float) -> None:
        """Send a complete answer in small pieces, over `seconds`."""
        self._close_if_last(answer)
        data = serialize(answer, self.next_lines())
        self.shared.stats.by_status[answer.status] += 1
        size = -(-len(data) // _SLOW_PIECES)
        for start in range(0, len(data), size):
            self.write(data[start : start + size], status=None, keep_open=not answer.close)
            if not await self.wait(seconds / _SLOW_PIECES):
                self.result = CLOSED
                return

    def write(self, data: bytes, *, status: int | None, keep_open: bool) -> None:
        """Write bytes, and count them as an answer with this status unless `status` is None."""
        if status is not None:
            self.shared.stats.by_status[status] += 1
        self.result = CLOSED
        transport = self.request.transport
        if transport is not None and not transport.is_closing():
            transport.write(data)
            self.result = _OPEN if keep_open else CLOSED

    def reset(self) -> None:
        """Close the connection with an RST."""
        transport = self.request.protocol.transport
        if transport is not None:
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            transport.abort()

    def close_at_next_request(self) -> None:
        """Close the connection when the next request arrives on it."""
        if self.request.protocol.transport is not None:
            self.shared.stale.add(self.request.protocol)

    async def wait(self, seconds: float) -> bool:
        """Wait for `seconds`, and return True. If the answer is no longer needed, return False early."""
        return await self.shared.waits.wait(seconds, self.request.protocol)

    def _close_if_last(self, answer: Answer) -> None:
        if self.is_last:
            answer.close = True
