"""A plain TCP server for tests that must control every byte of an answer, valid HTTP or not."""

import asyncio
import os
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any


class Peer:
    """The server side of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, received: list[bytes]) -> None:
        self._reader = reader
        self._writer = writer
        self._received = received

    async def read(self) -> bytes:
        """Read one request, head and body."""
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = 0
        for line in head.split(b"\r\n"):
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        request = head + await self._reader.readexactly(length)
        self._received.append(request)
        return request

    async def read_to_the_end(self) -> None:
        """Read until the client closes the connection."""
        await self._reader.read()

    def write(self, data: bytes) -> None:
        self._writer.write(data)

    def write_now(self, data: bytes) -> None:
        """Write to the socket itself. uvloop's transports write only after the callbacks of an iteration."""
        os.write(self._writer.get_extra_info("socket").fileno(), data)

    def answer(self, body: bytes) -> None:
        """Send a 200 answer with a JSON body."""
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        self.write(head % len(body) + body)

    def reset(self) -> None:
        self._writer.transport.abort()


@asynccontextmanager
async def raw_server(
    serve: Callable[[Peer], Awaitable[None]], *, address: str = "127.0.0.1", tls: ssl.SSLContext | None = None
) -> AsyncGenerator[tuple[str, list[bytes]]]:
    """Yield a server's base URL and received requests. The server calls `serve` for each connection, then closes it."""
    received: list[bytes] = []
    handlers: set[asyncio.Task[Any]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        handlers.add(task)
        try:
            await serve(Peer(reader, writer, received))
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            handlers.discard(task)

    server = await asyncio.start_server(handle, address, 0, ssl=tls)
    try:
        host = f"[{address}]" if ":" in address else address
        yield f"http://{host}:{server.sockets[0].getsockname()[1]}/v2", received
    finally:
        server.close()
        for task in handlers:
            task.cancel()
        await asyncio.gather(*handlers, return_exceptions=True)
        await server.wait_closed()
