"""Let signals wait while something is created that must be removed again.

The handler of a signal may raise an exception at any line: Python's own does for Ctrl-C, and those of the command line
do for SIGTERM and SIGHUP. Example: a temporary folder exists, but the `try` that removes it has not begun. An exception
here would leave the folder behind.
"""

import signal
import threading
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import Final

__all__ = ["SIGNALS", "signals_held"]

# Windows has no SIGHUP.
SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else []))
"""The signals that ask a program to end."""


@contextmanager
def signals_held() -> Generator[None]:
    """Call the handlers of `SIGNALS` at the end of the block, and not while it runs.

    The block belongs into the `try` that removes what it creates. It must be short, because Ctrl-C has no effect
    meanwhile. Signals without a handler end the program as always. In other threads than the main one, nothing is
    held, because handlers run in the main thread only.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers: dict[int, Callable[[int, FrameType | None], object]] = {}
    arrived: list[int] = []
    is_holding = True

    def hold(number: int, frame: FrameType | None) -> None:
        # A signal that comes while the handlers are restored may leave this function as the handler of another one.
        if is_holding:
            arrived.append(number)
        else:
            handlers[number](number, frame)

    try:
        for each in SIGNALS:
            handler = signal.getsignal(each)
            if callable(handler):
                handlers[each] = handler
                signal.signal(each, hold)
        yield
    finally:
        try:
            for number, handler in handlers.items():
                signal.signal(number, handler)
        finally:
            is_holding = False
            with ExitStack() as calls:  # each is called, even if another one raises an exception
                for number in reversed(arrived):
                    calls.callback(handlers[number], number, None)
