"""The input of `update_many`: workers pull from it, one item at a time each.

Workers pull from a plain iterable themselves; if it is slow, the event loop runs between two items. An async one may
hold timeouts and task groups open between two items, which belong to one task: so a feeder pulls from it, an item for
each worker that asks for one. An input that raises ends the pulling; the results of what was pulled before come out
first, then the error. An input that is a generator is closed in the end.
"""

import asyncio
import contextvars
import time
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from typing import Final, cast

__all__ = ["END", "LATER", "AsyncInput", "PlainInput"]

END: Final = object()
"""Stands for an item after the last."""

LATER: Final = object()
"""Stands for an item that has to be waited for."""

_SLOW_PULL: Final = 0.001
"""Seconds. After an item of a plain input that took longer, the loop runs before the next one. Without that, workers
that end together pull one after another, and what is in flight runs into its timeout although it was answered: 219
attempts for 150 updates were seen, with 20 ms an item and a timeout of 0.3 s."""


class Input:
    """Gives the items of the input to the workers, one at a time, until it is at its end or the run fails."""

    def __init__(self) -> None:
        self.error: BaseException | None = None
        """What ended the run early and is the caller's: an error of the input, or one that is none of ours."""
        self.leaving = False
        """Nobody takes results any more."""

    def fail(self, error: BaseException) -> None:
        """Give no more items, and raise this to the caller when all results are out."""
        if self.error is None:
            self.error = error

    def next_now(self) -> object:
        """Give the next item or `END`, or `LATER` if that takes waiting: then `next` gives it."""
        return LATER

    async def next(self) -> object:
        """Give the next item, or `END`."""
        raise NotImplementedError

    def close(self) -> None:
        """Close an input that is a plain generator: whoever begins to iterate over one ends it too."""


class PlainInput(Input):
    """A plain iterable. Nothing suspends between the pull and the return, so workers get the items in their order."""

    def __init__(self, items: Iterator[object]) -> None:
        super().__init__()
        self._items = items
        self._at_end = False
        self._slow = False
        self._pulling = asyncio.Lock()
        # All items are pulled in one context, though by many tasks: a generator may set variables and reset them.
        self._context = contextvars.copy_context()

    def next_now(self) -> object:
        if self._slow:
            return LATER
        if self._at_end or self.error is not None:
            return END
        began = time.monotonic()
        try:
            item = self._context.run(next, self._items, END)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001 - raised to the caller when all results are out
            self.fail(error)
            return END
        self._slow = time.monotonic() - began > _SLOW_PULL
        self._at_end = item is END
        return item

    async def next(self) -> object:
        async with self._pulling:
            await asyncio.sleep(0)
            self._slow = False
            return self.next_now()

    def close(self) -> None:
        items: object = self._items
        if isinstance(items, Generator):
            try:
                self._context.run(cast("Generator[object, object, object]", items).close)
            except Exception as error:  # noqa: BLE001 - raised to the caller, unless there is an earlier one
                self.fail(error)


class AsyncInput(Input):
    """An async iterable, pulled from by one task, the feeder, an item for each worker that asks for one."""

    def __init__(self, items: AsyncIterator[object]) -> None:
        super().__init__()
        self._items = items
        self._wanted = asyncio.Semaphore(0)
        """The items that workers have asked for."""
        self._fed: asyncio.Queue[object] = asyncio.Queue()
        """From the feeder to the workers; `END` stays in it."""
        self._feeder: asyncio.Task[None] | None = None

    def feed(self) -> asyncio.Task[None]:
        """Start the feeder."""
        self._feeder = asyncio.create_task(self._feed())
        return self._feeder

    def fail(self, error: BaseException) -> None:
        super().fail(error)
        if self._feeder is not None:
            self._feeder.cancel()

    async def next(self) -> object:
        self._wanted.release()
        item = await self._fed.get()
        if item is END:
            self._fed.put_nowait(END)  # for the next worker
        return item

    async def _feed(self) -> None:
        try:
            try:
                while (item := await self._pull()) is not END and self.error is None and not self.leaving:
                    self._fed.put_nowait(item)
            finally:
                if (generator := self._generator()) is not None:
                    await generator.aclose()
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            if self.leaving and isinstance(error, asyncio.CancelledError):
                raise
            super().fail(error)
        finally:
            self._fed.put_nowait(END)

    async def _pull(self) -> object:
        try:
            await self._wanted.acquire()
        except asyncio.CancelledError as error:
            generator = self._generator()
            if self.leaving or self.error is not None or generator is None:
                raise
            # A timeout or a task group that the input holds open has struck between two items.
            # Only if the cancellation is thrown into it does it become a TimeoutError or an ExceptionGroup.
            try:
                return await generator.athrow(error)
            except StopAsyncIteration:
                return END
        return await anext(self._items, END)

    def _generator(self) -> AsyncGenerator[object, object] | None:
        items: object = self._items
        return cast("AsyncGenerator[object, object]", items) if isinstance(items, AsyncGenerator) else None
