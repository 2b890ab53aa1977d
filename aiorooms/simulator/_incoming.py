"""One request, and every way to send something back on its connection.

The bytes are written past aiohttp, because a fault may send half a head, two answers, or none. aiohttp only learns
from `result` that the answer is sent already, and whether the connection stays open.
"""

import socket
import struct

import attrs
from aiohttp import HttpVersion11, web

from ._answers import Answer
from ._routes import Target
from ._stats import Stats
from ._waits import Waits
from ._wire import CommonLines, whole

_SLOW_PIECES = 10
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER on, for 0 seconds: the close becomes an RST


class _Sent(web.StreamResponse):
    """Tells aiohttp that the answer is on its way already, and whether the connection stays open."""

    def __init__(self, *, keep_alive: bool) -> None:
        super().__init__()
        self._open = keep_alive

    @property
    def keep_alive(self) -> bool:
        return self._open

    async def prepare(self, request: web.BaseRequest) -> None:
        """Write nothing: the head is written already."""

    async def write_eof(self, data: bytes = b"") -> None:
        """Write nothing: the body is written already."""


_OPEN = _Sent(keep_alive=True)
CLOSED = _Sent(keep_alive=False)


@attrs.frozen
class Shared:
    """What all requests of one simulator share."""

    stats: Stats
    waits: Waits
    lines: CommonLines
    stale: set[web.RequestHandler] = attrs.Factory(set[web.RequestHandler])
    """Connections that are closed when the next request is sent on them."""


@attrs.define
class Incoming:
    """One request. Unless something is sent that keeps the connection open, it is closed."""

    request: web.BaseRequest
    shared: Shared
    method: str
    query: str
    target: Target | None
    """What the path names; None if the API has no such path."""
    room_id: str | None
    """The id of the room that the path names, in lower case and not checked, or None."""
    body: bytes = b""
    limit_lines: str = ""
    """The header lines on the rate limit."""
    result: web.StreamResponse = CLOSED
    """What aiohttp gets as the answer."""

    @property
    def is_last(self) -> bool:
        """Whether the client wants the connection closed after the answer."""
        return not self.request.keep_alive or self.request.version < HttpVersion11

    def next_lines(self) -> str:
        """Return the header lines that every answer has."""
        return self.shared.lines.of_next_answer(self.limit_lines)

    def send(self, answer: Answer) -> None:
        """Send an answer as it should be."""
        self._close_if_last(answer)
        data = whole(answer, self.next_lines(), with_body=self.method != "HEAD")
        self.write(data, status=answer.status, keep_open=not answer.close)

    async def send_slowly(self, answer: Answer, seconds: float) -> None:
        """Send an answer in small pieces."""
        self._close_if_last(answer)
        data = whole(answer, self.next_lines())
        self.shared.stats.by_status[answer.status] += 1
        size = -(-len(data) // _SLOW_PIECES)
        for start in range(0, len(data), size):
            self.write(data[start : start + size], status=None, keep_open=not answer.close)
            if not await self.wait(seconds / _SLOW_PIECES):
                self.result = CLOSED
                return

    def write(self, data: bytes, *, status: int | None, keep_open: bool) -> None:
        """Write bytes; `status` is the one to count, None if they hold no status line."""
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
        """Have the connection closed when the next request is sent on it."""
        if self.request.protocol.transport is not None:
            self.shared.stale.add(self.request.protocol)

    async def wait(self, seconds: float) -> bool:
        """Wait, and return whether the answer is still wanted."""
        return await self.shared.waits.wait(seconds, self.request.protocol)

    def _close_if_last(self, answer: Answer) -> None:
        if self.is_last:
            answer.close = True
