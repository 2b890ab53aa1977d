"""Report the events of one client to the log, to the function that the user has given, and to its watchers.

There may be a hundred thousand events of level DEBUG a minute, so they are created only if a listener, `on_event` or
the log wants them. A *watcher* wants only the few others: pauses, outages, long retries and the ends of runs. So a bulk
run can watch its client without making each of its requests slower.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from ._events import Event, OnEvent
from ._log import HTTP, ROOT, level_of_wait, log

__all__ = ["LOG_ONLY", "Telemetry", "listen"]


_LISTENERS: Final[list[OnEvent]] = []
"""Functions that are called with the events of all clients of the process."""


def listen(listener: OnEvent) -> Callable[[], None]:
    """Call a function with the events of all clients. Return a function that ends this."""
    _LISTENERS.append(listener)
    return lambda: _LISTENERS.remove(listener) if listener in _LISTENERS else None


class Telemetry:
    """Reports the events of one client."""

    __slots__ = ("_on_event", "_watchers")

    def __init__(self, on_event: OnEvent | None = None) -> None:
        self._on_event = on_event
        self._watchers: list[OnEvent] = []

    def watch(self, watcher: OnEvent) -> Callable[[], None]:
        """Call a function with the events of this client that are above level DEBUG. Return a function that ends this.

        If events of level DEBUG are created for others, the watcher is called with them too.
        """
        self._watchers.append(watcher)
        return lambda: self._watchers.remove(watcher) if watcher in self._watchers else None

    @property
    def wants_attempts(self) -> bool:
        """Whether anyone is interested in events of level DEBUG: attempts, ended calls, and updates that are certain.

        Otherwise these events are not even created, because there are many of them.
        """
        return self._on_event is not None or bool(_LISTENERS) or HTTP.isEnabledFor(logging.DEBUG)

    def wants_retry(self, delay: float) -> bool:
        """Whether anyone is interested in a retry after this delay."""
        return self._on_event is not None or bool(_LISTENERS) or HTTP.isEnabledFor(level_of_wait(delay))

    def emit(self, event: Event) -> None:
        """Log an event, and call all listeners, watchers and `on_event` with it.

        Nothing that they raise reaches the caller.
        """
        own = [] if self._on_event is None else [self._on_event]
        for report in (log, *_LISTENERS, *self._watchers, *own):
            try:
                report(event)
            # A function may also raise the CancelledError of a future that it asks for its result.
            except (Exception, asyncio.CancelledError):  # noqa: BLE001 - this is code of the user
                with suppress(Exception):
                    ROOT.exception("a listener raised an exception for %s", type(event).__name__)


LOG_ONLY: Final = Telemetry()
"""Reports events to the log only."""
