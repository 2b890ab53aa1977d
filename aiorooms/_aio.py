"""Ending what waits: whom a cancellation is meant for, tasks that end for good, and a sleep that can be ended."""

import asyncio
import contextlib
from collections.abc import Collection
from typing import Any, TypeVar

__all__ = ["end_tasks", "finish", "is_cancelled", "sleep_unless"]

T = TypeVar("T")


def is_cancelled() -> bool:
    """Whether somebody cancelled the running task.

    A CancelledError can also come up because something that was awaited had been cancelled by others: aiohttp lets one
    out if its connector is closed while a name is being resolved. Then the task is still wanted.
    """
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def end_tasks(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait until all are gone, also if the caller is cancelled meanwhile. Their outcome is dropped.

    Each further cancellation of the caller is one for them too: what they do at their end may be slow.
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
            task.exception()  # looked at, so that nobody is warned of it
    if cancelled is not None:
        raise cancelled


async def finish(task: asyncio.Task[T]) -> T:
    """Wait for a task that must not be left alone, also if the caller is cancelled meanwhile; then that is raised."""
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        if not task.cancelled():
            task.exception()  # looked at, so that nobody is warned of it
        raise cancelled
    return task.result()


async def sleep_unless(event: asyncio.Event, seconds: float) -> None:
    """Sleep for so long, or until the event is set."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
