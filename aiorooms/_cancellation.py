"""Cancellation: telling whom it is meant for, and ending a task for good."""

import asyncio
from typing import Any

__all__ = ["end_task", "is_cancelled"]


def is_cancelled() -> bool:
    """Whether somebody cancelled the running task.

    A CancelledError can also come up because something that was awaited had been cancelled by others: aiohttp lets one
    out if its connector is closed while a name is being resolved. Then the task is still wanted.
    """
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def end_task(task: asyncio.Task[Any]) -> None:
    """Cancel a task and wait until it is gone, also if the caller is cancelled meanwhile. Its outcome is dropped."""
    task.cancel()
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
            task.cancel()
    if not task.cancelled():
        task.exception()  # looked at, so that nobody is warned of it
    if cancelled is not None:
        raise cancelled
