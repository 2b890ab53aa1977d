"""The input of `update_many`, from which each worker pulls one item at a time.

If the input is a sync iterable, the workers pull items directly. If the iterable is slow, the event loop runs between
two items.

If the input is an async iterable, a single task pulls all items: the feeder. It pulls an item whenever a worker asks
for one. A single task is needed because an async generator may keep a timeout or a task group open between two items,
and both work only in the task that opened them.

If the run is stopped, no more items are pulled, and a feeder that waits for an item is cancelled. An item that was
pulled before still has its result.

If the input raises an exception, no more items are pulled. The caller first gets the results of the earlier items, and
then the exception. If the input is a generator, it is closed when the run ends.
"""

import asyncio
import contextvars
import time
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from typing import Final, cast

__all__ = ["END", "WOULD_BLOCK", "AsyncInput", "PlainInput"]

END: Final = object()
"""Returned instead of an item at the end of the input."""

WOULD_BLOCK: Final = object()
"""Returned by `next_nowait` if the caller must await `next` instead."""

_SLOW_PULL: Final = 0.001
"""A time in seconds. If a sync iterable takes longer than this to return an item, the event loop runs before the next
item is pulled.

Otherwise, workers that finish together would block the event loop, because each pulls its next item at once. Requests
in flight would then time out although their answers have arrived. Example: with 20 ms per item and a timeout of 0.3 s,
150 updates would take 219 attempts."""


class Input:
    """Hands the items of the input to the workers, one at a time, until the input is exhausted or the run fails."""

    def __init__(self) -> None:
        self.error: BaseException | None = None
        """The exception that ended the run early and is raised to the caller. It came from the input or an update."""
        self.aborted = False
        """Whether the generator of `update_many` has ended, so no further results are needed."""

    def fail(self, error: BaseException) -> None:
        """Hand out no more items. After all results, raise this error to the caller. Later errors are ignored."""
        if self.error is None:
            self.error = error

    def stop(self) -> None:
        """Pull no more items."""
        raise NotImplementedError

    def next_nowait(self) -> object:
        """Return the next item or `END`. Return `WOULD_BLOCK` if the caller must await `next` instead."""
        return WOULD_BLOCK

    async def next(self) -> object:
        """Wait for the next item and return it, or `END`."""
        raise NotImplementedError

    def close(self) -> None:
        """Close the input if it is a sync generator. The feeder closes an async generator."""


class PlainInput(Input):
    """A sync iterable. Pulling an item does not suspend the worker, so items are handed out in order."""

    def __init__(self, items: Iterator[object]) -> None:
        super().__init__()
        self._items = items
        self._is_stopped = False
        self._at_end = False
        self._slow = False
        self._pulling = asyncio.Lock()
        # All tasks pull in the same context, so a generator can set a context variable and reset it later.
        self._context = contextvars.copy_context()

    def stop(self) -> None:
        self._is_stopped = True  # not `_at_end`: the input itself may call this while an item is pulled

    def next_nowait(self) -> object:
        if self._slow:
            return WOULD_BLOCK
        if self._at_end or self._is_stopped or self.error is not None:
            return END
        began = time.monotonic()
        try:
            item = self._context.run(next, self._items, END)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001 - raised to the caller after all results
            self.fail(error)
            return END
        self._slow = time.monotonic() - began > _SLOW_PULL
        self._at_end = item is END
        return item

    async def next(self) -> object:
        async with self._pulling:
            await asyncio.sleep(0)
            self._slow = False
            return self.next_nowait()

    def close(self) -> None:
        items: object = self._items
        if isinstance(items, Generator):
            try:
                self._context.run(cast("Generator[object, object, object]", items).close)
            except Exception as error:  # noqa: BLE001 - raised to the caller, unless there is an earlier error
                self.fail(error)


class AsyncInput(Input):
    """An async iterable. One task, the feeder, pulls one item for each worker that asks."""

    def __init__(self, items: AsyncIterator[object]) -> None:
        super().__init__()
        self._items = items
        self._demand = asyncio.Semaphore(0)
        """The number of items that workers have asked for and the feeder has not pulled yet."""
        self._fed: asyncio.Queue[object] = asyncio.Queue()
        """Items that no worker has taken yet. `END` stays in the queue, so that every worker gets it."""
        self._feeder: asyncio.Task[None] | None = None
        self._is_stopped = False

    def feed(self) -> asyncio.Task[None]:
        """Start the feeder, and return its task."""
        self._feeder = asyncio.create_task(self._feed())
        return self._feeder

    def fail(self, error: BaseException) -> None:
        super().fail(error)
        if self._feeder is not None:
            self._feeder.cancel()

    def stop(self) -> None:
        self._is_stopped = True
        # If the input itself calls this, it is the feeder that runs, and it ends at its next step.
        if self._feeder is not None and self._feeder is not asyncio.current_task():
            self._feeder.cancel()

    async def next(self) -> object:
        self._demand.release()
        item = await self._fed.get()
        if item is END:
            self._fed.put_nowait(END)  # for the next worker
        return item

    async def _feed(self) -> None:
        try:
            try:
                while not self._is_stopped and (item := await self._pull()) is not END and self._is_wanted():
                    self._fed.put_nowait(item)
            finally:
                if (generator := self._generator()) is not None:
                    await generator.aclose()
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            if (self.aborted or self._is_stopped) and isinstance(error, asyncio.CancelledError):
                raise
            super().fail(error)
        finally:
            self._fed.put_nowait(END)

    async def _pull(self) -> object:
        try:
            await self._demand.acquire()
        except asyncio.CancelledError as error:
            generator = self._generator()
            if self._is_stopped or not self._is_wanted() or generator is None:
                raise
            # A timeout or a task group that the input keeps open has cancelled the feeder between two items. The
            # timeout or the task group can raise its own error only if the cancellation is thrown into the generator.
            try:
                return await generator.athrow(error)
            except StopAsyncIteration:
                return END
        return await anext(self._items, END)

    def _is_wanted(self) -> bool:
        return self.error is None and not self.aborted

    def _generator(self) -> AsyncGenerator[object, object] | None:
        items: object = self._items
        return cast("AsyncGenerator[object, object]", items) if isinstance(items, AsyncGenerator) else None
