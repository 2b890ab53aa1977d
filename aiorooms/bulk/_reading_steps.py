"""End the steps of a run that only read the account, as soon as the run is stopped.

Such a step may wait for minutes, because a 429 has asked for a pause or because a request is sent again. It changes
nothing, so it can be cancelled at any time. Steps that send updates end by themselves (`UpdateRun.stop`).
"""

import asyncio
import math
from collections.abc import Coroutine
from typing import TypeVar

__all__ = ["ReadingSteps"]

T = TypeVar("T")


class ReadingSteps:
    """The steps of one run that only read."""

    def __init__(self) -> None:
        self._is_stopped = False
        self._running: set[asyncio.Timeout] = set()
        """The timeouts of the steps that are running. `stop` lets them expire."""

    def stop(self) -> None:
        """End the running steps, and begin none."""
        self._is_stopped = True
        for timeout in self._running:
            if not timeout.expired():  # rescheduling an expired timeout raises RuntimeError
                timeout.reschedule(-math.inf)

    async def run(self, step: Coroutine[None, None, T]) -> T | None:
        """Return the result of a step; None if `stop` ends it early."""
        if self._is_stopped:
            step.close()
            return None
        timeout = asyncio.timeout(None)
        try:
            async with timeout:
                self._running.add(timeout)
                return await step
        except TimeoutError:
            if not timeout.expired():
                raise
            return None
        finally:
            self._running.discard(timeout)
