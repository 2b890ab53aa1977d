"""`finish` waits for a task even if its caller is cancelled, and `close` closes any source that can be closed."""

import asyncio
import threading
from collections.abc import AsyncGenerator

import pytest

from aiorooms._aio import close, finish


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


class Numbers:
    """An async iterator that is no generator."""

    closed = False

    def __aiter__(self) -> "Numbers":
        return self

    async def __anext__(self) -> int:
        return 1

    async def aclose(self) -> None:
        self.closed = True


async def test_close_closes_generators_and_other_iterators_and_ignores_the_rest() -> None:
    ended: list[str] = []

    async def generator() -> AsyncGenerator[int]:
        try:
            yield 1
        finally:
            ended.append("generator")

    numbers, generating = Numbers(), generator()
    assert (await anext(numbers), await anext(generating)) == (1, 1)
    await close(numbers)
    await close(generating)
    assert (numbers.closed, ended) == (True, ["generator"])
    for source in (iter([1]), None):
        await close(source)
