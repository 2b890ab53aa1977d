"""Report the events of one client to the log and to the function that the user has given."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from ._events import Event, OnEvent
from ._log import HTTP, ROOT, level_of_wait, log

__all__ = ["LOG_ONLY", "Telemetry", "listen", "watch"]


_LISTENERS: Final[list[OnEvent]] = []
"""Functions that are called with the events of all clients of the process."""


def listen(listener: OnEvent) -> Callable[[], None]:
    """Call a function with the events of all clients. Return a function that ends this."""
    _LISTENERS.append(listener)
    return lambda: _LISTENERS.remove(listener) if listener in _LISTENERS else None


_WATCHERS: Final[list[OnEvent]] = []
"""Functions that are called with the rare events of all clients of the process."""


def watch(watcher: OnEvent) -> Callable[[], None]:
    """Call a function with the rare events of all clients: pauses, outages, stopped runs, and retries of single calls.

    In contrast to `listen`, the events of attempts and the retries of a bulk run are not created for it, so the updates
    of a run cost the same with and without it. If they are created for another listener, it is called with these too.
    Return a function that ends this.
    """
    _WATCHERS.append(watcher)
    return lambda: _WATCHERS.remove(watcher) if watcher in _WATCHERS else None


class Telemetry:
    """Reports the events of one client."""

    __slots__ = ("_on_event",)

    def __init__(self, on_event: OnEvent | None = None) -> None:
        self._on_event = on_event

    @property
    def wants_attempts(self) -> bool:
        """Whether anyone is interested in events of level DEBUG: attempts, ended calls, and updates that are certain.

        Otherwise these events are not even created, because there are many of them.
        """
        return self._on_event is not None or bool(_LISTENERS) or HTTP.isEnabledFor(logging.DEBUG)

    def wants_retry(self, delay: float, *, is_in_run: bool) -> bool:
        """Whether anyone is interested in a retry after this delay. `is_in_run` says whether a bulk run retries."""
        if self._on_event is not None or _LISTENERS or (_WATCHERS and not is_in_run):
            return True
        return HTTP.isEnabledFor(level_of_wait(delay))

    def emit(self, event: Event) -> None:
        """Log an event, and call all listeners and `on_event` with it. Nothing that they raise reaches the caller."""
        for report in (log, *_WATCHERS, *_LISTENERS, *([] if self._on_event is None else [self._on_event])):
            try:
                report(event)
            # A function may also raise the CancelledError of a future that it asks for its result.
            except (Exception, asyncio.CancelledError):  # noqa: BLE001 - this is code of the user
                with suppress(Exception):
                    ROOT.exception("a listener raised an exception for %s", type(event).__name__)


LOG_ONLY: Final = Telemetry()
"""Reports events to the log only."""
