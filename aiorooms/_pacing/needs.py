"""How many permits single calls need, so that a bulk run leaves these permits to them.

A bulk run uses all of a window as fast as it can. A single call that comes later would have to wait for the next
window. So the bulk run leaves as many permits as single calls needed in the rest of the last window, plus one. Single
calls are left no more than their half of the window, so a flood of them does not stop the bulk run. If no single call
was sent in the last 10 windows, nothing is left, because a script without single calls would lose a permit in each. But
4 % of a window are left for a while, for other processes and the first single calls (`sharing`).

Example: the limit is 100 requests per 5 s, and 10 single calls were sent in the last window. At the beginning of a
window, the bulk run leaves 11 permits, and sends 89 requests. In the middle of the window it leaves 6, so it sends 5
more if no single call came meanwhile.
"""

import math
from typing import Final

__all__ = ["LEAVE_NONE", "Needs"]


_LATELY: Final = 10
"""Nothing is left after this number of windows without a single call."""

LEAVE_NONE: Final = 0.1
"""Below this fraction of a window nothing is left, because permits that nobody uses in this window are lost."""


class Needs:
    """Counts requests in the current window, and single calls in the previous one. `window` is when a window began."""

    def __init__(self) -> None:
        self._window: float = -math.inf
        self._single = 0
        self._bulk = 0
        self._previous = 0
        self._quiet = _LATELY
        """The number of windows since the last one with a single call."""

    def sent(self, window: float, *, is_single: bool, count: int = 1) -> None:
        """Count requests."""
        self._advance(window)
        if is_single:
            self._single += count
            self._quiet = 0
        else:
            self._bulk += count

    def kept(self, window: float, free: int, left: float) -> int:
        """Return how many of the `free` permits to leave. `left` is the fraction of the window that is left, 0 to 1."""
        self._advance(window)
        if left < LEAVE_NONE or self._quiet >= _LATELY:
            return 0
        half = (free + self._single + self._bulk) // 2
        return min(math.ceil(self._previous * left) + 1, max(0, half - self._single))

    def _advance(self, window: float) -> None:
        if window != self._window:
            self._window, self._previous = window, self._single
            self._quiet += 1
            self._single = self._bulk = 0
