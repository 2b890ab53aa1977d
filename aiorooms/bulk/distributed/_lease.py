"""The lease guard: a worker sends nothing for a batch that may belong to another worker.

The engine delivers a batch again if its lease has expired. A worker renews the lease every second. But it may be
suspended: the process is stopped, its machine sleeps, or its network hangs. When it goes on, it does not know yet that
another worker has its batch, and would send the rest of it.

So each attempt first asks the guard, which compares two times of this machine's own clock. For example, with a lease of
13 s:

- t = 100.0: the worker renews the lease. At t = 100.3, the store confirms it. The store can't have received it before
  t = 100.0, so no other worker gets the batch before t = 113.0.
- Until t = 111.5, attempts are sent. The margin of 1.5 s is for what is being sent then.
- t = 100.5: the worker is suspended, and goes on at t = 140. No attempt is sent any more.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from ._store import STORE_ERRORS

__all__ = ["MARGIN", "Lease", "LeaseLostError", "clock", "keep"]

MARGIN: Final = 1.5
"""Seconds before the end of the lease, from which nothing is sent."""

_RENEWAL: Final = 1.0
"""Seconds between two renewals of a lease."""


def clock() -> float:
    """Return a time in seconds that also passes while the machine sleeps, where the system has such a clock."""
    return time.clock_gettime(_BOOT) if _BOOT is not None else time.monotonic()


_BOOT: Final[int | None] = getattr(time, "CLOCK_BOOTTIME", None)


class LeaseLostError(TimeoutError):
    """Another worker has the task, or may have it. It is handled as an error of the store: the task stays queued."""

    def __init__(self, text: str = "the lease was lost") -> None:
        super().__init__(text)


class Lease:
    """The lease of one delivery. All times are in seconds."""

    def __init__(self, seconds: float, began: float, clock: Callable[[], float] = clock) -> None:
        """`began` is a time before the delivery."""
        self.seconds: float = seconds
        """How long the lease lasts after a renewal."""
        self._sendable = seconds - MARGIN
        self._clock = clock
        self._until = began + self._sendable

    def now(self) -> float:
        """Return the time of the lease's clock."""
        return self._clock()

    @property
    def is_held(self) -> bool:
        """Whether something may be sent now."""
        return self._clock() < self._until

    def renewed(self, began: float) -> None:
        """Record that the store has confirmed a renewal, which began at this time. An expired lease stays expired."""
        if self.is_held:
            self._until = max(self._until, began + self._sendable)

    def lose(self) -> None:
        """Record that another worker has the batch."""
        self._until = float("-inf")


async def keep(lease: Lease, renew: Callable[[], Awaitable[bool]], *, timeout: float) -> None:
    """Renew a lease every second, until it is lost. `renew` returns whether it still belongs to this worker.

    If a renewal fails or takes longer than `timeout` seconds, the next one may succeed; else the guard expires.
    """
    while lease.is_held:
        await asyncio.sleep(_RENEWAL)
        began = lease.now()
        with suppress(*STORE_ERRORS):
            async with asyncio.timeout(timeout):
                is_ours = await renew()
            if is_ours:
                lease.renewed(began)
            else:
                lease.lose()
