"""The port and the connections behind it: opening, closing, and leaving nothing behind.

aiohttp reads the requests (`aiohttp.web.Server`); this module owns the listening socket. A stop is prompt: it ends all
waits of requests, drops all connections, and then waits until their tasks are done.

While connections are refused the port stays bound to a socket that does not listen. So no other program can take it,
and the kernel refuses a client that tries to connect at once.
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
_LAST_TURNS = 3  # turns of the loop in which transports close their sockets
_ACCEPT_PAUSE = 0.05


class _Connections(web.Server):
    """aiohttp's server, which tells when a connection has gone."""

    def __init__(
        self,
        handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
        gone: Callable[[web.RequestHandler], None],
    ) -> None:
        # No lingering: bodies are always read, and a stop must not wait for one that never comes.
        super().__init__(handler, access_log=None, keepalive_timeout=3600.0, lingering_time=0.0)
        self._gone = gone

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        super().connection_lost(handler, exc)
        self._gone(handler)

    def drop(self) -> None:
        """Close every connection without an answer."""
        for connection in self.connections:
            if connection.transport is not None:
                connection.transport.abort()
            connection.force_close()


class _Port:
    """A listening socket, and the task that accepts connections on it.

    Not an `asyncio.Server`: that one loses a connection that was accepted in the turn of the loop in which it is
    closed, and so leaves a socket open. Nothing is cancelled here while it holds a socket.
    """

    def __init__(self, listening: socket.socket, connections: _Connections) -> None:
        self._socket = listening
        self._connections = connections
        self._open = True
        self._idle = True
        self.task = asyncio.get_running_loop().create_task(self._accept())

    def close(self) -> None:
        """Close the port at once; `task` ends soon after."""
        loop = asyncio.get_running_loop()
        self._open = False
        with contextlib.suppress(NotImplementedError):  # a proactor has no readers
            loop.remove_reader(self._socket)
        self._socket.close()
        loop.call_soon(self._cancel_if_idle)  # a turn later, when the task has taken what was accepted already

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
            except OSError:  # the client has gone again, or there are too many open files; neither is for ever
                await asyncio.sleep(_ACCEPT_PAUSE)
                continue
            self._idle = False
            transport, _ = await loop.connect_accepted_socket(self._connections, accepted)
            if not self._is_open():
                transport.abort()


class Listener:
    """Listens on one port and hands requests to a handler."""

    def __init__(
        self,
        handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
        gone: Callable[[web.RequestHandler], None],
        waits: Waits,
    ) -> None:
        """Make a closed one; `gone` is called with each connection that was lost, `waits` are those of the handler."""
        self._handler = handler
        self._gone = gone
        self._waits = waits
        self._family = socket.AF_INET
        self._address: tuple[Any, ...] = ()
        self._port: _Port | None = None
        self._reserved: socket.socket | None = None  # holds the port while connections are refused
        self._ending: list[asyncio.Task[None]] = []
        self._connections: _Connections | None = None

    async def start(self, host: str, port: int) -> int:
        """Open the port and return its number; an OSError that names the address if that can't be done."""
        try:
            self._family, self._address = await _look_up(host, port)
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
        """Close the port and all connections, and wait until nothing is left of them."""
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
        turns = 0
        while turns < _LAST_TURNS or connections.connections:
            connections.drop()
            await asyncio.sleep(0)
            turns += 1

    def refuse(self) -> None:
        """Close the port and drop all connections, at once. Does nothing if it is closed already."""
        if self._connections is not None and self._port is not None:
            self._close_port()
            self._reserved = self._bind(listen=False)
            self._connections.drop()

    def accept(self) -> None:
        """Open the port again. Does nothing if it is open; connections are taken from the moment this returns."""
        reserved, self._reserved = self._reserved, None
        if self._connections is not None and reserved is not None:
            reserved.listen(_BACKLOG)
            self._port = _Port(reserved, self._connections)

    def _lost(self, connection: web.RequestHandler) -> None:
        self._waits.lost(connection)
        self._gone(connection)

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


async def _look_up(host: str, port: int) -> tuple[socket.AddressFamily, tuple[Any, ...]]:
    try:  # an address needs no look-up, and so no thread
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return found[0][0], found[0][4]
