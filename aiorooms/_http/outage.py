"""Outages in a bulk run: everyone stops, one asks now and then whether the server is back, and no room pays for it.

An update that fails because the server is gone, or answers 5xx to everyone, says nothing about its room. So a bulk run
notes for all its updates together whether the server is alive: it is if it answers anybody with anything that makes
sense, be it a refusal. Two things follow from that:

- **After some failures in a row**, with no sign of life in between, the run takes it for an outage. Who wants to send
  then waits in a line; the first of the line sends, after a pause, and if that fails too the next pause is longer. With
  the first sign of life the line dissolves.
- **An update that is out of attempts** fails only if there was a sign of life since its first attempt. If there was
  none, it tries on for as long as the run has patience, counted from the last sign of life. When the patience is at
  its end, so is the run.
- **A few rooms that are answered 5xx** may themselves be the matter, if nobody else is there to tell. Then the look at
  the room that follows decides: if that is answered, it was the room, else it is an outage.
"""

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Final

from .._aio import sleep_unless

__all__ = ["Outage"]

_FIRST_PAUSE: Final = 0.25
_LONGEST_PAUSE: Final = 2.0
"""Seconds before a probe; doubled after each that fails."""

_SEVERAL: Final = 5
"""Rooms; if so many are answered 5xx, and nobody else anything, it isn't the rooms."""

_FEWEST_FAILURES: Final = 4
_MOST_FAILURES: Final = 20
"""In a row; how many it takes for an outage. Two for each worker, but in these bounds."""


class Outage:
    """What one bulk run knows of whether the server is alive. `clock` (seconds, monotonic) is there for tests."""

    def __init__(self, patience: float, concurrency: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.patience = patience
        self.is_on: bool = False
        """Whether the server is taken to be out."""
        self.patience_is_over: bool = False
        """Whether the server has been out for too long to go on.

        It was out from the first attempt since the last sign of life to the last one. How long that one took says
        nothing: when a timeout is over, the server may long be back.
        """
        self.signs_of_life: int = 0
        """How many there have been."""
        self._clock = clock
        self._enough = min(max(2 * concurrency, _FEWEST_FAILURES), _MOST_FAILURES)
        self._failures = 0
        """In a row."""
        self._failed: set[str] = set()
        """What these were about; a few of them."""
        self._began_at = math.inf
        """When the first attempt since the last sign of life began."""
        self._out_until = -math.inf
        """When the last attempt began that met no sign of life."""
        self._line = asyncio.Lock()
        self._pause = _FIRST_PAUSE

    @property
    def longest_wait(self) -> float:
        """Seconds; what a server in trouble asks for is followed up to that."""
        return self.patience / 10

    def keeps_trying(self, signs_before: int, *, reached: bool) -> bool:
        """Whether an update that is out of attempts goes on.

        `signs_before`: how many signs of life there had been when it began. `reached`: the server was there, and
        answered the last of its attempts with an error.
        """
        if self.signs_of_life > signs_before or self.patience_is_over:
            return False
        return not reached or len(self._failed) >= _SEVERAL

    def begin(self) -> float:
        """Take in that an attempt begins, and give the moment, for `failed`."""
        now = self._clock()
        if now < self._began_at:
            self._began_at = now
        return now

    @asynccontextmanager
    async def line(self, closing: asyncio.Event) -> AsyncGenerator[None]:
        """Stand in line during an outage: one at a time comes in, after a pause. Without one, come in at once.

        When `closing` is set nobody pauses any more.
        """
        if self.is_on:
            async with self._line:
                if self.is_on and not self.patience_is_over:
                    await sleep_unless(closing, self._pause)
                    self._pause = min(2 * self._pause, _LONGEST_PAUSE)
                    yield
                    return
        yield

    def alive(self) -> None:
        """Take in a sign of life."""
        self.signs_of_life += 1
        self._began_at = math.inf
        if self._failures:
            self._failures = 0
            self._failed.clear()
            self._pause = _FIRST_PAUSE
            self.is_on = self.patience_is_over = False

    def failed(self, subject: str, began_at: float) -> None:
        """Take in that an attempt that began at that moment met no sign of life; `subject` is what it was about."""
        self._failures += 1
        self._out_until = max(self._out_until, began_at)
        if len(self._failed) < _SEVERAL:
            self._failed.add(subject)
        self.is_on = self._failures >= self._enough
        self.patience_is_over = self._out_until - self._began_at > self.patience
