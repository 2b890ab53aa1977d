"""The waits inside requests, which end early when the answer is no longer needed."""

import asyncio

from aiohttp import web


class Waits:
    """The waits of all requests of one simulator."""

    def __init__(self) -> None:
        """Start closed: waits end immediately until `open` is called."""
        self._open = False
        self._all: set[asyncio.Future[bool]] = set()
        self._by_connection: dict[web.RequestHandler, asyncio.Future[bool]] = {}

    def open(self) -> None:
        """Allow requests to wait."""
        self._open = True

    def close(self) -> None:
        """End all waits. Waits that start later end immediately."""
        self._open = False
        for future in self._all:
            _finish(future, False)

    def release(self) -> None:
        """End all waits that were started with a connection."""
        for future in self._by_connection.values():
            _finish(future, False)

    def lost(self, connection: web.RequestHandler) -> None:
        """End the wait of a request whose client has disconnected."""
        future = self._by_connection.get(connection)
        if future is not None:
            _finish(future, False)

    async def wait(self, seconds: float, connection: web.RequestHandler | None = None) -> bool:
        """Wait for `seconds`, and return whether they have passed.

        The wait ends early if the simulator stops. A wait with a connection also ends early if the client disconnects
        or `release` is called, because the answer is then no longer needed.
        """
        if not self._open or (connection is not None and connection.transport is None):
            return False
        loop = asyncio.get_running_loop()
        future: asyncio.Future[bool] = loop.create_future()
        timer = loop.call_later(seconds, _finish, future, True)
        self._all.add(future)
        if connection is not None:
            self._by_connection[connection] = future
        try:
            return await future
        finally:
            timer.cancel()
            self._all.discard(future)
            if connection is not None:
                self._by_connection.pop(connection, None)


def _finish(future: "asyncio.Future[bool]", result: bool) -> None:
    if not future.done():
        future.set_result(result)
