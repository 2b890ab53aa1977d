"""Which part of a reported limit is ours, where others may spend from it too. Pure arithmetic.

Other processes may use the same key. What remains (R, see `quota`) shows what they spent. If all of them sent as much
as R allows, most of it would be rate limited when R comes to its end. So each keeps to its own part, found without a
word between them:

- **Part.** The fraction of R that is ours is our fraction of what was spent lately: in this window, and in earlier ones
  with less weight the older they are. A process that wants more gets it as the others want less.
- **Half of it** while others may be there. R says how things stood when the server took a request. What others had in
  flight then comes on top of it, and is about as much again.
- **Reserve.** Where there are windows, what the others are likely to want in the rest of it is left to them: their
  part of the whole limit, less with the time that has passed, and less what they have spent in it already.

Nothing stays unused: as R goes down and the window gets older, the rest is given out bit by bit.

Example: a limit of 100, of which we spent 60 and others 40 in the last window. Early in this one R is 90, we spent 5 of
10. Our part is about 60 % of 90, half of that is 27, and all 27 may be in flight.
"""

from typing import Final

__all__ = ["Share"]

_ALONE: Final = 0.9
"""A process that spent at least this part of all that was spent is taken to be alone."""


class Share:
    """What was spent from an allowance, by us and by all."""

    def __init__(self) -> None:
        self._began_with = 0
        """What R was at the beginning of the present window."""
        self._ours = 0
        """What we have spent in it."""
        self._earlier_ours = 0.0
        self._earlier_all = 0.0
        """What we and all have spent in earlier windows; the longer ago, the less it counts."""

    def begin_window(self, lowest: int, remaining: int) -> None:
        """Begin a window with that much remaining; `lowest` is what remained of the one before."""
        self._earlier_ours = (self._earlier_ours + self._ours) / 2
        self._earlier_all = (self._earlier_all + self._began_with - lowest) / 2
        self._began_with, self._ours = remaining, 0

    def spent_by_us(self) -> None:
        """Record that a request of ours got through."""
        self._ours += 1

    def of(self, remaining: int, *, lowest: int, limit: int, window_left: float | None) -> float:
        """How much of `remaining` is ours.

        `lowest` is what remained of the present window when it was reported last. `window_left` is the part of the
        window that is still to come, 0 to 1; None if the limiter knows no windows.
        """
        spent = self._began_with - lowest
        part = min(1.0, (self._earlier_ours + self._ours + 1) / max(1.0, self._earlier_all + spent + 1))
        ours = remaining * part
        if self._earlier_all <= 0 or part < _ALONE:
            ours /= 2
        if self._earlier_all > 0 and window_left is not None:
            wanted = (1 - self._earlier_ours / self._earlier_all) * limit * window_left
            ours = min(ours, remaining - wanted + (spent - self._ours))
        return ours
