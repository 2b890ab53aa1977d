"""Helpers that end tasks and close sources, and a sleep that an event can interrupt.

Example: `end_tasks` cancels 50 workers. If its caller is cancelled when 10 workers have finished, `end_tasks` cancels
the other 40 again, waits for them, and only then raises CancelledError.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection
from typing import Any, TypeVar

__all__ = ["close", "end_tasks", "finish", "is_cancelled", "sleep_unless"]

T = TypeVar("T")


def is_cancelled() -> bool:
    """Return whether the running task was cancelled.

    A CancelledError can also come from an awaited future that was cancelled elsewhere: aiohttp raises one if its
    connector is closed during a DNS lookup. In that case the task itself was not cancelled.
    """
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def end_tasks(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Cancel tasks, and wait until all have finished. Ignore their results and exceptions.

    If the caller is cancelled while it waits, the tasks are cancelled again, because their cleanup may be slow.
    CancelledError is raised in the caller only after all tasks have finished.
    """
    cancelled: asyncio.CancelledError | None = None
    while left := [task for task in tasks if not task.done()]:
        for task in left:
            task.cancel()
        try:
            await asyncio.wait(left)
        except asyncio.CancelledError as error:
            cancelled = error
    for task in tasks:
        if not task.cancelled():
            task.exception()  # asyncio would warn about an exception that was never retrieved
    if cancelled is not None:
        raise cancelled


async def close(source: object) -> None:
    """Close the source of an iteration that was stopped early, so that none of its requests stays in flight.

    A source without a method `aclose`, such as the iterator of a list, needs no closing.
    """
    aclose: Callable[[], Awaitable[object]] | None = getattr(source, "aclose", None)
    if aclose is not None:
        await aclose()


async def finish(task: asyncio.Task[T]) -> T:
    """Wait for a task and return its result. If the caller is cancelled, still wait, and then raise CancelledError."""
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        if not task.cancelled():
            task.exception()  # asyncio would warn about an exception that was never retrieved
        raise cancelled
    return task.result()


async def sleep_unless(event: asyncio.Event, seconds: float) -> None:
    """Sleep for `seconds`, or until the event is set."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
