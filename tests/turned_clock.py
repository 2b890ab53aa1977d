"""Clocks that are turned: that of a whole event loop, in which hours pass in no time, and one for a single object."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import attrs

from .conftest import settle

T = TypeVar("T")


class _Selector(selectors.SelectSelector):
    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout is None:
            raise AssertionError("everybody waits for something that never comes")
        if not ready and timeout:
            self.now += timeout
        return ready


class TurnedLoop(asyncio.SelectorEventLoop):
    """Never waits: when nobody has anything to do, its clock is turned to the next timer."""

    def __init__(self) -> None:
        self._turned = _Selector()
        super().__init__(self._turned)

    def time(self) -> float:
        return self._turned.now


def run_turned(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in a turned loop."""
    with asyncio.Runner(loop_factory=TurnedLoop) as runner:
        return runner.run(main)


def timers() -> int:
    """How many timers the running loop has."""
    scheduled: list[asyncio.TimerHandle] = vars(asyncio.get_running_loop())["_scheduled"]
    return sum(not timer.cancelled() for timer in scheduled)


@attrs.define
class Timer:
    at: float
    callback: Callable[[], None]
    cancelled: bool = False

    def cancel(self) -> None:
        self.cancelled = True


class Clock:
    """A clock that is turned by hand, and the timers set on it. With a `tick`, time passes with every look at it."""

    def __init__(self, tick: float = 0.0) -> None:
        self.now = 1000.0
        self.tick = tick
        self.timers: list[Timer] = []

    def __call__(self) -> float:
        self.now += self.tick
        return self.now

    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        timer = Timer(self.now + delay, callback)
        self.timers.append(timer)
        return timer

    @property
    def pending(self) -> list[Timer]:
        return [timer for timer in self.timers if not timer.cancelled]

    async def turn(self, seconds: float) -> None:
        end = self.now + seconds
        while due := [timer for timer in self.pending if timer.at <= end]:
            timer = min(due, key=lambda timer: timer.at)
            self.timers.remove(timer)
            self.now = max(self.now, timer.at)
            timer.callback()
            await settle()
        self.now = end
        await settle()
