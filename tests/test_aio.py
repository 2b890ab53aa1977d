"""`finish` waits for a task even if its caller is cancelled."""

import asyncio
import threading

import pytest

from aiorooms._aio import finish


async def test_finish_waits_for_the_task_even_if_its_caller_is_cancelled() -> None:
    may_end = threading.Event()
    running = asyncio.create_task(asyncio.to_thread(may_end.wait, 30))
    waiting = asyncio.create_task(finish(running))
    for _ in range(3):
        await asyncio.sleep(0)
        waiting.cancel()
    await asyncio.sleep(0)
    assert not waiting.done()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert running.result() is True


async def test_finish_returns_the_result_or_raises_the_error_of_the_task() -> None:
    async def fail() -> None:
        raise OSError(28, "full")

    assert await finish(asyncio.create_task(asyncio.sleep(0, 5))) == 5
    with pytest.raises(OSError, match="full"):
        await finish(asyncio.create_task(fail()))
