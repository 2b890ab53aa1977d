"""Deadlines behave like `asyncio.timeout`, but share one timer."""

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


def test_a_body_that_exceeds_its_deadline_is_cancelled_on_time() -> None:
    async def main() -> float:
        with pytest.raises(TimeoutError), Deadline(Deadlines(), 10):
            await asyncio.sleep(1000)
        assert cancelling() == 0
        return asyncio.get_running_loop().time()

    assert run_with_fake_clock(main()) == pytest.approx(10, abs=0.01)


def test_a_body_that_finishes_in_time_is_not_cancelled() -> None:
    async def main() -> None:
        deadlines = Deadlines()
        for _ in range(5):
            with Deadline(deadlines, 10):
                await asyncio.sleep(9)
        await asyncio.sleep(100)
        assert not deadlines.running

    run_with_fake_clock(main())


def test_a_deadline_of_none_cancels_nothing_and_sets_no_timer() -> None:
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


def test_running_deadlines_still_apply_after_closing() -> None:
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


def test_a_cancellation_at_the_moment_of_the_deadline_does_not_become_a_timeout() -> None:
    async def main() -> None:
        async def slow() -> None:
            with Deadline(Deadlines(), 10):
                await asyncio.sleep(1000)

        task = asyncio.create_task(slow())
        asyncio.get_running_loop().call_later(10, task.cancel)
        await asyncio.wait([task])
        assert task.cancelled(), "the cancellation became a timeout"

    run_with_fake_clock(main())


def test_an_error_that_the_body_raises_when_cancelled_is_not_replaced_by_a_timeout() -> None:
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
    """Run a body for each (pause before the start, limit, duration) in seconds. Return how and when each body ended."""

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
def test_random_deadlines_have_the_same_results_as_asyncio_timeout(limits: Limits) -> None:
    deadlines = Deadlines()

    @asynccontextmanager
    async def ours(seconds: float | None) -> AsyncGenerator[None]:
        with Deadline(deadlines, seconds):
            yield

    assert run_with_fake_clock(how_each_ends(limits, ours)) == run_with_fake_clock(
        how_each_ends(limits, asyncio.timeout)
    )
    assert not deadlines.running
