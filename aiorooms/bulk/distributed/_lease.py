"""The lease guard: a worker sends nothing for a batch that may belong to another worker.

The engine delivers a batch again if its lease was not renewed for the redelivery time. A worker renews the lease every
second. But it may be suspended: the process is stopped, its machine sleeps, or its network hangs. When it goes on, it
does not know yet that another worker has its batch, and would send the rest of it.

So each attempt first asks the guard, which compares two times of this machine's own clock. For example, with 15 s:

- t = 100.0: the worker renews the lease. At t = 100.3, the store confirms it. The store can't have received it before
  t = 100.0, so no other worker gets the batch before t = 115.0.
- Until t = 113.5, attempts are sent. The margin of 1.5 s is for what is being sent then.
- t = 100.5: the worker is suspended, and goes on at t = 140. No attempt is sent any more.
"""

import time
from collections.abc import Callable
from typing import Final

__all__ = ["MARGIN", "Lease", "clock"]

MARGIN: Final = 1.5
"""Seconds before the end of the lease, from which nothing is sent."""


def clock() -> float:
    """Return a time in seconds that also passes while the machine sleeps, where the system has such a clock."""
    return time.clock_gettime(_BOOT) if _BOOT is not None else time.monotonic()


_BOOT: Final[int | None] = getattr(time, "CLOCK_BOOTTIME", None)


class Lease:
    """The lease of one delivery. All times are in seconds."""

    def __init__(self, seconds: float, began: float, clock: Callable[[], float] = clock) -> None:
        """`began` is a time before the delivery."""
        self._seconds = seconds - MARGIN
        self._clock = clock
        self._until = began + self._seconds

    @property
    def is_held(self) -> bool:
        """Whether something may be sent now."""
        return self._clock() < self._until

    def renewed(self, began: float) -> None:
        """Record that the store has confirmed a renewal, which began at this time. An expired lease stays expired."""
        if self.is_held:
            self._until = max(self._until, began + self._seconds)

    def lose(self) -> None:
        """Record that another worker has the batch."""
        self._until = float("-inf")
