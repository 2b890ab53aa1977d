"""Which part of a reported limit is ours if other processes use it too. Pure arithmetic.

Other processes may send with the same key. What remains of the limit (R, see `quota`) shows how much they have used. If
every process sent as much as R allows, most requests would be rate limited when R gets close to 0. So each process
keeps to its own part, which it finds without communicating with the others:

- **Part.** Our part of R is our fraction of recent use. This window counts in full, and each earlier window counts half
  as much as the one after it. If the others use less, our part grows.
- **Half of the part.** While there may be other processes, only half of our part is used. R does not yet count their
  requests in flight, which may be about as many as ours.
- **Reserve.** If the limit has windows, we leave what the other processes will probably use in the rest of the window:
  their fraction of the whole limit, times the fraction of the window that is left, minus what they have used in this
  window.

No part of the limit stays unused: as R shrinks and time passes, the rest becomes available step by step.

Example: a limit of 100, of which we used 60 and the others 40 in the last window. Early in this window R is 90: we used
5, and the others used 5. Our part is about 60 % of 90, and half of our part is 27. The reserve is 40 - 5 = 35, which
leaves 90 - 35 = 55. The smaller number is the limit: 27 requests may be in flight.
"""

from typing import Final

__all__ = ["Share"]

_ALONE: Final = 0.9
"""A process with at least this fraction of all use is assumed to be alone."""


class Share:
    """How much of the reported limit was used, by us and by all processes."""

    def __init__(self) -> None:
        self._began_with = 0
        """R at the beginning of the current window."""
        self._ours = 0
        """How much we have used in the current window."""
        self._earlier_ours = 0.0
        self._earlier_all = 0.0
        """Use by us and by all processes in earlier windows. Each window counts half as much as the one after it."""

    def begin_window(self, lowest: int, remaining: int) -> None:
        """Begin a window with `remaining`; `lowest` is what remained of the previous window."""
        self._earlier_ours = (self._earlier_ours + self._ours) / 2
        self._earlier_all = (self._earlier_all + self._began_with - lowest) / 2
        self._began_with, self._ours = remaining, 0

    def used_by_us(self) -> None:
        """Record that one of our requests was accepted."""
        self._ours += 1

    def of(self, remaining: int, *, lowest: int, limit: int, window_left: float | None) -> float:
        """Return how much of `remaining` is ours.

        `lowest` is the smallest R reported in the current window. `window_left` is the fraction of the window that is
        left, 0 to 1; None if the limit has no windows.
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
