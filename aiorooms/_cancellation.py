"""Cancellation: telling whom it is meant for, and ending tasks for good."""

import asyncio
from collections.abc import Collection
from typing import Any

__all__ = ["end_tasks", "is_cancelled"]


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
