"""Deadlines behave as `asyncio.timeout` does, and share one timer."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiorooms._http.deadlines import Deadline, Deadlines

from .fake_clock import run_with_fake_clock, timers


def cancelling() -> int:
    task = asyncio.current_task()
    assert task is not None
    return task.cancelling()


def test_a_body_that_takes_too_long_is_cancelled_on_time() -> None:
    async def main() -> float:
        with pytest.raises(TimeoutError), Deadline(Deadlines(), 10):
            await asyncio.sleep(1000)
        assert cancelling() == 0
        return asyncio.get_running_loop().time()

    assert run_with_fake_clock(main()) == pytest.approx(10, abs=0.01)


def test_a_body_that_ends_in_time_is_not_cancelled() -> None:
    async def main() -> None:
        deadlines = Deadlines()
        for _ in range(5):
            with Deadline(deadlines, 10):
                await asyncio.sleep(9)
        await asyncio.sleep(100)
        assert not deadlines.running

    run_with_fake_clock(main())


def test_without_a_limit_nothing_is_cancelled_and_no_timer_is_set() -> None:
    async def main() -> None:
        with Deadline(Deadlines(), None):
            assert timers() == 0
            await asyncio.sleep(1e6)

    run_with_fake_clock(main())


def test_one_timer_serves_all_deadlines_and_closing_cancels_it() -> None:
    async def main() -> None:
        deadlines = Deadlines()

        async def one() -> None:
            with Deadline(deadlines, 10):
                await wake.wait()

        wake = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for _ in range(100):
                group.create_task(one())
            await asyncio.sleep(0)
            assert timers() == 1
            wake.set()
        deadlines.close()
        assert timers() == 0

    run_with_fake_clock(main())


def test_closing_does_not_lift_running_deadlines() -> None:
    async def main() -> None:
        deadlines = Deadlines()
        with pytest.raises(TimeoutError), Deadline(deadlines, 10):
            await asyncio.sleep(5)
            deadlines.close()
            assert timers() == 1
            await asyncio.sleep(1000)
        assert timers() == 0, "the last deadline left a timer behind"
        with Deadline(deadlines, 20):
            await asyncio.sleep(5)
        assert timers() == 0

    run_with_fake_clock(main())


def test_a_cancellation_from_outside_at_the_same_moment_stays_a_cancellation() -> None:
    async def main() -> None:
        async def slow() -> None:
            with Deadline(Deadlines(), 10):
                await asyncio.sleep(1000)

        task = asyncio.create_task(slow())
        asyncio.get_running_loop().call_later(10, task.cancel)
        await asyncio.wait([task])
        assert task.cancelled(), "the cancellation was taken for a timeout"

    run_with_fake_clock(main())


def test_another_error_of_the_body_is_not_hidden() -> None:
    async def main() -> None:
        with pytest.raises(KeyError), Deadline(Deadlines(), 10):
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError:
                raise KeyError("mine") from None
        assert cancelling() == 0

    run_with_fake_clock(main())


Limits = list[tuple[float, float | None, float]]


async def how_each_ends(
    limits: Limits, limit: Callable[[float | None], AbstractAsyncContextManager[Any]]
) -> list[tuple[str, float]]:
    """Start each after a pause, let it run, and return how and when it ended."""

    async def one(pause: float, seconds: float | None, takes: float) -> tuple[str, float]:
        await asyncio.sleep(pause)
        try:
            async with limit(seconds):
                await asyncio.sleep(takes)
        except TimeoutError:
            outcome = "late"
        else:
            outcome = "done"
        return outcome, round(asyncio.get_running_loop().time(), 3)

    return await asyncio.gather(*(one(*given) for given in limits))


times = st.integers(0, 40).map(lambda quarters: quarters / 4)


@given(st.lists(st.tuples(times, st.none() | times.map(lambda time: time + 0.1), times.map(lambda time: time + 0.05))))
def test_many_deadlines_end_as_with_asyncio_timeout(limits: Limits) -> None:
    deadlines = Deadlines()

    @asynccontextmanager
    async def ours(seconds: float | None) -> AsyncGenerator[None]:
        with Deadline(deadlines, seconds):
            yield

    assert run_with_fake_clock(how_each_ends(limits, ours)) == run_with_fake_clock(
        how_each_ends(limits, asyncio.timeout)
    )
    assert not deadlines.running
