"""Telling whether a CancelledError is meant for the task that it comes up in."""

import asyncio

__all__ = ["is_cancelled"]


def is_cancelled() -> bool:
    """Whether somebody cancelled the running task.

    A CancelledError can also come up because something that was awaited had been cancelled by others: aiohttp lets one
    out if its connector is closed while a name is being resolved. Then the task is still wanted.
    """
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
