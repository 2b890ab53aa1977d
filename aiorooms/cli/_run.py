"""Running a command's coroutine: on uvloop where it is installed, and with a Ctrl-C that asks before it insists.

The first Ctrl-C, or SIGTERM, asks a command to begin nothing new. What is under way then has `GRACE` seconds to end,
so that nothing is left in doubt. After that, or at the second signal, the coroutine is cancelled. A command that can't
be asked is cancelled at once. From the second signal on the system's own handling is back, so that a third one kills.
"""

import asyncio
import importlib
import signal
import threading
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager
from importlib.util import find_spec
from types import FrameType
from typing import Any

__all__ = ["GRACE", "run"]

GRACE = 5.0
"""Seconds that what is under way has after the first signal."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def run(command: Callable[[], Coroutine[Any, Any, None]], *, on_stop: Callable[[], None] | None = None) -> bool:
    """Run the coroutine to its end, and tell whether a signal came meanwhile.

    `on_stop` is called in the loop at the first signal.
    """
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        stop = Stop(runner.get_loop(), on_stop)
        with stop.listening():
            try:
                runner.run(stop.supervise(command))
            except asyncio.CancelledError:
                if not stop.asked:
                    raise
    return stop.asked


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if find_spec("uvloop") is None:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = importlib.import_module("uvloop").new_event_loop
    return factory


class Stop:
    """What the signals have asked for so far."""

    def __init__(self, loop: asyncio.AbstractEventLoop, on_stop: Callable[[], None] | None) -> None:
        self.asked = False
        self._loop = loop
        self._on_stop = on_stop
        self._task: asyncio.Task[None] | None = None

    async def supervise(self, command: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._task = asyncio.current_task()
        if self.asked and self._on_stop is None:
            raise asyncio.CancelledError
        await command()

    @contextmanager
    def listening(self) -> Generator[None]:
        """Take the signals, and give them back in the end. Only the main thread gets any."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._on_signal) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            for each in _SIGNALS:
                signal.signal(each, signal.SIG_DFL)
        # A signal handler runs between any two steps; the loop does the rest in its own time.
        self._loop.call_soon_threadsafe(self._stop)

    def _stop(self) -> None:
        again, self.asked = self.asked, True
        if again or self._on_stop is None:
            self._cancel()
        else:
            self._on_stop()
            self._loop.call_later(GRACE, self._cancel)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()
