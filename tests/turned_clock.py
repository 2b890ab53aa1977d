"""An event loop whose clock is turned: what waits for time is due at once, and hours pass in no time."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

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
