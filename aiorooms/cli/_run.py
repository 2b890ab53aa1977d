"""Run a command's coroutine, on uvloop if it is installed, and handle Ctrl-C, SIGTERM and SIGHUP.

The first signal calls `on_stop`, after which the command starts no new updates. Updates in flight have `GRACE` seconds
to finish, because the outcome of an aborted update is uncertain. After that time, or at the second signal, the
coroutine is cancelled. Without `on_stop`, the coroutine is cancelled at the first signal. The second signal also
restores the system's default handlers, so a third signal kills the process.

Outside `run`, for example at a question or while standard input is copied, `signals_interrupt` makes SIGTERM and SIGHUP
do what Ctrl-C does: raise `KeyboardInterrupt`. So temporary files are removed, and the exit code is the same.

A signal that was ignored when the program began stays ignored. `nohup` ignores SIGHUP, so that the command goes on when
the terminal is closed, and a shell script ignores SIGINT in its background jobs, so that a Ctrl-C for the script does
not reach them.
"""

import asyncio
import importlib
import signal
import threading
from collections.abc import Callable, Coroutine, Generator
from contextlib import closing, contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

from ._watch import current_watch

__all__ = ["GRACE", "Interrupted", "interrupted_before", "run", "signals_interrupt"]

T = TypeVar("T")

GRACE = 5.0
"""Time for updates in flight to finish after the first signal, in seconds."""

# Windows has no SIGHUP.
_SIGNALS = (signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else []))


class Interrupted(Exception):  # noqa: N818 - it is not an error
    """A signal stopped the command. `.line` is the message to print, or empty if one has already been printed."""

    def __init__(self, line: str = "interrupted") -> None:
        super().__init__(line)
        self.line = line


def interrupted_before(path: Path, what: str) -> Callable[[], str]:
    """Return a function that says whether an interrupted command had written its file. Call this before the command.

    The signal may come when the file has just been written. `what` is what the command writes, such as `plan`.
    """
    before = _state(path)
    return lambda: f"interrupted; {'no' if _state(path) == before else 'the'} {what} was written"


def _state(path: Path) -> tuple[int, ...] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


@contextmanager
def signals_interrupt() -> Generator[None]:
    """Raise `KeyboardInterrupt` at SIGTERM and SIGHUP while the block runs, unless they are ignored or handled."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    changed = [number for number in _SIGNALS if signal.getsignal(number) is signal.SIG_DFL]
    for number in changed:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number in changed:
            signal.signal(number, signal.SIG_DFL)


def run(
    command: Coroutine[Any, Any, T],
    *,
    on_stop: Callable[[], None] | None = None,
    interrupted: Callable[[], str] | None = None,
    grace: float | None = None,
) -> T:
    """Run the coroutine and return its value. After a signal, raise `Interrupted`, with the message of `interrupted`.

    `on_stop` is called in the event loop at the first signal. If it is None, the first signal cancels the coroutine.
    `grace` is the time until the coroutine is cancelled then, in seconds; None means `GRACE`.
    """
    # If there is no file descriptor left for an event loop, the coroutine never begins and must be closed.
    watch = current_watch()
    watched = command if watch is None else watch.beside(command)
    with closing(command), closing(watched), asyncio.Runner(loop_factory=_loop_factory()) as runner:
        loop = runner.get_loop()
        handler = SignalHandler(loop, on_stop, grace)
        with handler.listening():
            task = loop.create_task(watched)
            handler.task = task
            try:
                value = loop.run_until_complete(task)
            except asyncio.CancelledError:
                if not handler.signaled:
                    raise
                raise _interruption(interrupted) from None
    if handler.signaled:
        raise _interruption(interrupted)
    return value


def _interruption(interrupted: Callable[[], str] | None) -> Interrupted:
    return Interrupted() if interrupted is None else Interrupted(interrupted())


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if find_spec("uvloop") is None:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = importlib.import_module("uvloop").new_event_loop
    return factory


class SignalHandler:
    """Handles `_SIGNALS` while a command runs."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, on_stop: Callable[[], None] | None, grace: float | None = None
    ) -> None:
        self.signaled = False
        self.task: asyncio.Task[Any] | None = None
        """The task to cancel. It is set before the loop runs."""
        self._loop = loop
        self._on_stop = on_stop
        self._grace = grace
        self._received = False
        """Whether a signal has arrived, which the loop may not know yet."""
        self._handled: dict[signal.Signals, object] = {}
        """The signals that were not ignored, and their earlier handlers."""

    @contextmanager
    def listening(self) -> Generator[None]:
        """Handle the signals while the block runs, but only in the main thread, because Python requires that."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.getsignal(number) for number in _SIGNALS}
        before = {number: handler for number, handler in before.items() if handler is not signal.SIG_IGN}
        self._handled = {**before}
        for number in before:
            # A signal can arrive after Python has looked for signals and before the loop waits. Only a loop that has
            # a handler of its own is woken by it. On Windows, loops have none.
            with suppress(NotImplementedError):
                self._loop.add_signal_handler(number, _do_nothing)
            signal.signal(number, self._on_signal)
        try:
            yield
        finally:
            for number, handler in before.items():
                with suppress(NotImplementedError):
                    self._loop.remove_signal_handler(number)
                signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        # `signaled` would not do: if the loop is blocked, for example by a pipe that nobody reads, it is never set.
        again, self._received = self._received, True
        if again:
            for each in self._handled:
                signal.signal(each, signal.SIG_DFL)
        # A signal handler can interrupt any code, so the rest runs in the event loop.
        self._loop.call_soon_threadsafe(self._handle)

    def _handle(self) -> None:
        again, self.signaled = self.signaled, True
        if again or self._on_stop is None:
            self._cancel()
        else:
            self._on_stop()
            self._loop.call_later(GRACE if self._grace is None else self._grace, self._cancel)

    def _cancel(self) -> None:
        if self.task is not None:
            self.task.cancel()


def _do_nothing() -> None: ...
