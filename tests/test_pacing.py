"""The pacer's queue, with a fake clock. No test here sleeps."""

import asyncio
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiorooms import ClientSettingsError, Pacing
from aiorooms._pacing import NO_INFO, Pacer, PacerClosedError, Permit, RateLimitInfo, WaitTooLongError

from .conftest import in_flight_and_waiting, settle
from .fake_clock import FakeClock


def make(*, max_in_flight: int = 2, max_wait: float = 300.0, tick: float = 0.0) -> tuple[Pacer, FakeClock]:
    clock = FakeClock(tick)
    pacer = Pacer(Pacing(max_wait=max_wait), max_in_flight=max_in_flight, clock=clock, call_later=clock.call_later)
    pacer._gates = []  # no slow start
    return pacer, clock


def pause(pacer: Pacer, seconds: float) -> None:
    """Report to the pacer a 429 that asks for a wait of `seconds`."""
    pacer._in_flight += 1
    pacer.release(PERMIT, RateLimitInfo(rate_limited=True, retry_after=seconds))


PERMIT = Permit(0.0)
"""A permit for calls of `release` in which the permit makes no difference."""


async def test_at_most_max_in_flight_permits_are_granted_at_once() -> None:
    pacer, _ = make(max_in_flight=2)
    tasks = [asyncio.create_task(pacer.acquire()) for _ in range(5)]
    await settle()
    assert in_flight_and_waiting(pacer) == (2, 3)
    pacer.release(PERMIT, NO_INFO)
    await settle()
    assert in_flight_and_waiting(pacer) == (2, 2)
    assert [task.done() for task in tasks] == [True, True, True, False, False]
    for task in tasks[3:]:
        task.cancel()
    await asyncio.wait(tasks)
    assert in_flight_and_waiting(pacer) == (2, 0)


async def test_callers_wait_until_a_pause_ends() -> None:
    pacer, clock = make()
    pause(pacer, 10)
    task = asyncio.create_task(pacer.acquire())
    await clock.advance(9.99)
    assert not task.done()
    await clock.advance(0.02)
    assert task.done()
    assert clock.pending == []


async def test_a_pause_is_never_shortened() -> None:
    pacer, clock = make()
    pause(pacer, 10)
    pause(pacer, 1)
    task = asyncio.create_task(pacer.acquire())
    await clock.advance(5)
    assert not task.done()
    pause(pacer, 20)
    await clock.advance(19)
    assert not task.done()
    await clock.advance(1)
    assert task.done()


async def test_a_success_during_a_pause_does_not_end_the_pause() -> None:
    pacer, clock = make()
    await pacer.acquire()
    pause(pacer, 10)
    task = asyncio.create_task(pacer.acquire())
    await settle()
    pacer.release(PERMIT, NO_INFO)
    await settle()
    assert not task.done()
    await clock.advance(10)
    assert task.done()


@pytest.mark.parametrize("early", [0.0, 0.001, 0.002, 0.003])
@pytest.mark.parametrize("tick", [0.0005, 0.001, 0.0015])
async def test_a_pause_that_ends_between_two_readings_of_the_clock_wakes_all_callers(early: float, tick: float) -> None:
    pacer, clock = make(tick=tick)
    pause(pacer, 1)
    first = asyncio.create_task(pacer.acquire())
    await settle()
    (timer,) = clock.pending
    clock.now = timer.at - early  # a timer may fire early by up to the resolution of the loop's clock
    clock.timers.clear()
    timer.callback()
    second = asyncio.create_task(pacer.acquire())
    await settle()
    for _ in range(9):
        await clock.advance(0.01)
    assert first.done()
    assert second.done()


async def test_one_timer_serves_all_waiting_callers() -> None:
    pacer, clock = make(max_in_flight=100)
    pause(pacer, 10)
    tasks = [asyncio.create_task(pacer.acquire()) for _ in range(100)]
    await settle()
    assert len(clock.pending) == 1
    await clock.advance(10)
    assert all(task.done() for task in tasks)


async def test_a_cancelled_caller_leaves_no_trace() -> None:
    pacer, clock = make()
    pause(pacer, 10)
    task = asyncio.create_task(pacer.acquire())
    await settle()
    task.cancel()
    await asyncio.wait([task])
    assert (in_flight_and_waiting(pacer), clock.pending) == ((0, 0), [])


async def test_any_number_of_callers_can_be_cancelled_in_any_order() -> None:
    pacer, _ = make(max_in_flight=1)
    await pacer.acquire()
    tasks = [asyncio.create_task(pacer.acquire()) for _ in range(2000)]
    await settle()
    for task in reversed(tasks[1:]):
        task.cancel()
    await asyncio.wait(tasks[1:])
    assert pacer.snapshot().waiting == 1
    pacer.release(PERMIT, NO_INFO)
    await settle()
    assert tasks[0].done()


async def test_a_permit_granted_just_before_a_cancellation_goes_to_the_next_caller() -> None:
    pacer, _ = make(max_in_flight=1)
    await pacer.acquire()
    first, second = asyncio.create_task(pacer.acquire()), asyncio.create_task(pacer.acquire())
    await settle()
    pacer.release(PERMIT, NO_INFO)  # grants the permit to the first caller ...
    first.cancel()  # ... which is cancelled before it runs again
    await settle()
    assert first.cancelled()
    assert second.done()
    assert not second.cancelled()
    assert in_flight_and_waiting(pacer) == (1, 0)


@pytest.mark.parametrize("paused_before", [True, False])
async def test_a_wait_longer_than_max_wait_raises_an_error_with_its_length(paused_before: bool) -> None:
    pacer, _ = make(max_wait=60)
    if paused_before:
        pause(pacer, 61)
        task = asyncio.create_task(pacer.acquire())
    else:
        pause(pacer, 10)
        task = asyncio.create_task(pacer.acquire())
        await settle()
        pause(pacer, 61)
    with pytest.raises(WaitTooLongError) as caught:
        await task
    assert caught.value.seconds == 61
    assert in_flight_and_waiting(pacer) == (0, 0)


async def test_a_caller_waits_if_the_rest_of_the_pause_is_within_max_wait() -> None:
    pacer, clock = make(max_wait=60)
    pause(pacer, 100)
    await clock.advance(41)
    task = asyncio.create_task(pacer.acquire())
    await clock.advance(58)
    assert not task.done()
    await clock.advance(1)
    assert task.done()
    assert task.exception() is None


async def test_closing_raises_an_error_in_all_waiting_callers() -> None:
    pacer, clock = make()
    pause(pacer, 10)
    task = asyncio.create_task(pacer.acquire())
    await settle()
    pacer.close()
    with pytest.raises(PacerClosedError):
        await task
    assert (pacer.snapshot().waiting, clock.pending) == (0, [])
    with pytest.raises(PacerClosedError):
        await pacer.acquire()


@pytest.mark.parametrize("max_wait", [0, -1, True, "5", float("nan")])
def test_an_invalid_max_wait_raises(max_wait: float) -> None:
    with pytest.raises(ValueError, match=r"Pacing\(max_wait=\) is .*; give a number above 0"):
        Pacing(max_wait=max_wait)


@pytest.mark.parametrize("max_rate", [0, -1, 1e-9, math.inf, math.nan, True, "5"])
def test_an_invalid_max_rate_raises(max_rate: float) -> None:
    with pytest.raises(ClientSettingsError, match=r"Pacing\(max_rate=\) is .*; give a"):
        Pacing(max_rate=max_rate)


@pytest.mark.parametrize("enabled", [1, None, "yes"])
def test_an_invalid_enabled_raises(enabled: bool) -> None:
    with pytest.raises(ClientSettingsError, match=r"Pacing\(enabled=\) is .*; give a bool"):
        Pacing(enabled=enabled)


events = st.lists(
    st.one_of(
        st.just(("acquire", 0.0)),
        st.just(("release", 0.0)),
        st.tuples(st.just("cancel"), st.floats(0, 0.999)),
        st.tuples(st.just("pause"), st.floats(0, 20)),
        st.tuples(st.just("advance"), st.floats(0, 15)),
    ),
    max_size=60,
)


@given(events=events, max_in_flight=st.integers(1, 4), tick=st.sampled_from([0.0, 0.001, 0.7]))
def test_no_caller_starves_or_is_overtaken_and_nothing_leaks(
    events: list[tuple[str, float]], max_in_flight: int, tick: float
) -> None:
    asyncio.run(play(events, max_in_flight, tick))


async def play(events: list[tuple[str, float]], max_in_flight: int, tick: float) -> None:
    """Apply random events to a pacer, and check its guarantees after each event and at the end."""
    pacer, clock = make(max_in_flight=max_in_flight, tick=tick)
    served: list[int] = []
    tasks: list[asyncio.Task[None]] = []
    resume_at = 0.0

    async def acquire(number: int) -> None:
        await pacer.acquire()
        assert clock.now >= resume_at - 1e-6, "a permit was granted during a pause"
        served.append(number)

    released = 0
    for event, value in events:
        if event == "acquire":
            tasks.append(asyncio.create_task(acquire(len(tasks))))
        elif event == "release" and pacer.snapshot().in_flight > 0 and len(served) > released:
            released += 1
            pacer.release(PERMIT, NO_INFO)
        elif event == "cancel" and tasks:
            tasks[int(value * len(tasks))].cancel()
        elif event == "pause":
            paused_at = clock.now  # read before the pause, because each later reading advances the clock
            pause(pacer, value)
            resume_at = max(resume_at, paused_at + value)
        elif event == "advance":
            await clock.advance(value)
        await settle()
        assert pacer.snapshot().in_flight <= max_in_flight
        assert pacer.snapshot().in_flight == len(served) - released, "a permit was lost or granted twice"
    await clock.advance(100)
    while len(served) > released:
        released += 1
        pacer.release(PERMIT, NO_INFO)
        await settle()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert served == sorted(served), "a caller was overtaken"
    assert all(task.cancelled() or number in served for number, task in enumerate(tasks)), "a caller starved"
    assert (in_flight_and_waiting(pacer), clock.pending) == ((0, 0), [])


def test_the_deprecated_attribute_refused_works_and_warns() -> None:
    pacer, _ = make()
    pause(pacer, 1)
    with pytest.warns(DeprecationWarning, match="rate_limited"):
        assert pacer.snapshot().refused == 1
