"""The listening socket and its connections, and how they are closed.

This module owns the listening socket, and `aiohttp.web.Server` reads the requests. A stop does not wait for answers: it
ends all waits inside requests, drops all connections, and then waits until the tasks of the connections are done.

While connections are refused, the port stays bound to a socket that does not listen. No other program can use the port,
and the kernel refuses every connection immediately.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from ._waits import Waits

_BACKLOG = 1024
_CLOSING_ITERATIONS = 3  # iterations of the event loop that transports need to close their sockets
_ACCEPT_PAUSE = 0.05  # seconds


class _Connections(web.Server):
    """An aiohttp server that also calls `on_lost` for each connection that is lost."""

    def __init__(
        self,
        handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
        on_lost: Callable[[web.RequestHandler], None],
    ) -> None:
        # Lingering is off: bodies are always read, and a stop must not wait for a body that never arrives.
        super().__init__(handler, access_log=None, keepalive_timeout=3600.0, lingering_time=0.0)
        self._on_lost = on_lost

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        super().connection_lost(handler, exc)
        self._on_lost(handler)

    def drop(self) -> None:
        """Close every connection without an answer."""
        for connection in self.connections:
            if connection.transport is not None:
                connection.transport.abort()
            connection.force_close()


class _Port:
    """A listening socket, and the task that accepts connections on it.

    An `asyncio.Server` would leak a connection if it accepted one and were closed in the same loop iteration. This
    class does not: it never cancels its task while the task owns an accepted socket.
    """

    def __init__(self, listening: socket.socket, connections: _Connections) -> None:
        self._socket = listening
        self._connections = connections
        self._open = True
        self._idle = True
        self.task = asyncio.get_running_loop().create_task(self._accept())

    def close(self) -> None:
        """Close the port immediately. `task` finishes soon after."""
        loop = asyncio.get_running_loop()
        self._open = False
        with contextlib.suppress(NotImplementedError):  # a proactor event loop has no readers
            loop.remove_reader(self._socket)
        self._socket.close()
        loop.call_soon(self._cancel_if_idle)  # not now: the task may be about to receive an accepted socket

    def _is_open(self) -> bool:
        return self._open

    def _cancel_if_idle(self) -> None:
        if self._idle:
            self.task.cancel()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while self._is_open():
            self._idle = True
            try:
                accepted, _ = await loop.sock_accept(self._socket)
            except OSError:  # the client has disconnected, or too many files are open; both are temporary
                await asyncio.sleep(_ACCEPT_PAUSE)
                continue
            self._idle = False
            transport, _ = await loop.connect_accepted_socket(self._connections, accepted)
            if not self._is_open():
                transport.abort()


class Listener:
    """Listens on one port and passes requests to a handler."""

    def __init__(
        self,
        handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
        on_lost: Callable[[web.RequestHandler], None],
        waits: Waits,
    ) -> None:
        """Start closed. `on_lost` is called with each lost connection. `waits` are the waits inside the handler."""
        self._handler = handler
        self._on_lost = on_lost
        self._waits = waits
        self._family = socket.AF_INET
        self._address: tuple[Any, ...] = ()
        self._port: _Port | None = None
        self._reserved: socket.socket | None = None  # keeps the port bound while connections are refused
        self._ending: list[asyncio.Task[None]] = []
        self._connections: _Connections | None = None

    async def start(self, host: str, port: int) -> int:
        """Open the port and return its number. Raise OSError, which names the address, if that fails."""
        try:
            self._family, self._address = await _resolve(host, port)
            bound = self._bind(listen=True)
        except OSError as error:
            text = f"the simulator can't listen on {host} port {port}: {error.strerror or error}"
            raise OSError(error.errno, text) from error
        self._address = (self._address[0], bound.getsockname()[1], *self._address[2:])
        self._connections = _Connections(self._handler, self._lost)
        self._waits.open()
        self._port = _Port(bound, self._connections)
        return int(self._address[1])

    async def stop(self) -> None:
        """Close the port and all connections, and wait until they are closed."""
        connections, self._connections = self._connections, None
        if connections is None:
            return
        self._close_port()
        if self._reserved is not None:
            self._reserved.close()
            self._reserved = None
        self._waits.close()
        ending, self._ending = self._ending, []
        if ending:
            await asyncio.wait(ending)
        iterations = 0
        while iterations < _CLOSING_ITERATIONS or connections.connections:
            connections.drop()
            await asyncio.sleep(0)
            iterations += 1

    @property
    def refuses(self) -> bool:
        """Whether connections are refused since `refuse()`."""
        return self._reserved is not None

    def refuse(self) -> None:
        """Refuse new connections and drop all others immediately. Do nothing if the port is not open."""
        if self._connections is not None and self._port is not None:
            self._close_port()
            self._reserved = self._bind(listen=False)
            self._connections.drop()

    def accept(self) -> None:
        """Open the port again, and accept connections at once. Do nothing if the port is already open."""
        reserved, self._reserved = self._reserved, None
        if self._connections is not None and reserved is not None:
            reserved.listen(_BACKLOG)
            self._port = _Port(reserved, self._connections)

    def _lost(self, connection: web.RequestHandler) -> None:
        self._waits.lost(connection)
        self._on_lost(connection)

    def _close_port(self) -> None:
        port, self._port = self._port, None
        if port is not None:
            port.close()
            self._ending.append(port.task)

    def _bind(self, *, listen: bool) -> socket.socket:
        bound = socket.socket(self._family, socket.SOCK_STREAM)
        try:
            if os.name == "posix":
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.setblocking(False)
            bound.bind(self._address)
            if listen:
                bound.listen(_BACKLOG)
        except OSError:
            bound.close()
            raise
        return bound


async def _resolve(host: str, port: int) -> tuple[socket.AddressFamily, tuple[Any, ...]]:
    try:  # an IP address needs no DNS query, so no thread is started
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return found[0][0], found[0][4]
