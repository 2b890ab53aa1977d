"""Calculate which part of a reported limit is ours if other processes use the limit too.

Other processes may send with the same key. What remains of the limit (R, see `quota`) and what we have used ourselves
show how much the others have used. If every process sent as much as R allows, most requests would be rate limited when
R gets close to 0. So each process keeps to its own part, which it calculates without communicating with the others:

- **Part.** Our part of R corresponds to our fraction of recent requests. The current window counts fully, the previous
  one counts half, the one before that a quarter, and so on. If the others send less, our part grows.
- **Half of the part.** As long as there may be other processes, we use only half of our part. The others may have about
  as many requests in flight as we do, and R does not include these yet.
- **Reserve.** If the limit has windows, we keep a reserve for the other processes: what they will probably use in the
  rest of the window. The reserve is their fraction of the whole limit, times the fraction of the window that is
  left, minus what they have used in this window.

The limit is still fully used, because the reserve shrinks with time, and the part is recalculated after each answer.

Example: the limit is 100. In the last window we used 60, and the others used 40. Early in the current window R is 90,
because we and the others have used 5 each. Our part is about 60 % of 90, and half of our part is 27. The reserve is
40 - 5 = 35, which leaves 90 - 35 = 55. The smaller number applies, so 27 requests may be in flight.
"""

from typing import Final

__all__ = ["Share"]

_ALONE: Final = 0.9
"""If we use at least this fraction of the limit, we assume that no other process uses it."""


class Share:
    """How much of the reported limit was used, by us and by all processes."""

    def __init__(self) -> None:
        self._began_with = 0
        """How much of the limit remained at the beginning of the current window."""
        self._ours = 0
        """How much we have used in the current window."""
        self._earlier_ours = 0.0
        """What we used in earlier windows. Each window counts half as much as the next one."""
        self._earlier_all = 0.0
        """What all processes together used in earlier windows. Each window counts half as much as the next one."""

    def begin_window(self, lowest: int, remaining: int) -> None:
        """Begin a window with R = `remaining`. `lowest` is the smallest R reported in the previous window."""
        self._earlier_ours = (self._earlier_ours + self._ours) / 2
        self._earlier_all = (self._earlier_all + self._began_with - lowest) / 2
        self._began_with, self._ours = remaining, 0

    def used_by_us(self) -> None:
        """Record that one of our requests was accepted."""
        self._ours += 1

    def of(self, remaining: int, *, lowest: int, limit: int, window_left: float | None) -> float:
        """Return how much of `remaining` is ours.

        `lowest` is the smallest R reported in the current window. `window_left` is the fraction of the window that is
        left, from 0 to 1, or None if the limit has no windows.
        """
        used = self._began_with - lowest
        part = min(1.0, (self._earlier_ours + self._ours + 1) / max(1.0, self._earlier_all + used + 1))
        ours = remaining * part
        if self._earlier_all <= 0 or part < _ALONE:
            ours /= 2
        if self._earlier_all > 0 and window_left is not None:
            reserve = (1 - self._earlier_ours / self._earlier_all) * limit * window_left
            ours = min(ours, remaining - reserve + (used - self._ours))
        return ours
