"""Outages in a bulk run: all updates stop, one asks now and then whether the server is back, and no room pays for it.

An update that fails because the server is gone, or answers 5xx to everyone, says nothing about its room. So a bulk run
records for all its updates together when it had a *successful contact*: an answer to anybody that says something about
a request, a rejection included. Three things follow:

- **After some failures in a row**, with no contact in between, the run assumes an outage. Callers then queue; the first
  of the queue sends, after a pause, and each pause is twice as long as the one before. With the first contact the queue
  dissolves.
- **An update that is out of attempts** fails only if there was a contact since its first attempt. If there was none, it
  tries on for as long as the run has patience, counted from the first attempt after the last contact. Once the patience
  is over, so is the run.
- **A few rooms that are answered 5xx** may be the cause themselves, if there are no others to compare with. Then the
  read-back that follows decides: if that is answered, it was the room, else it is an outage.

Example, with 50 workers and a patience of 60 s: the server dies at t = 100. The 50 updates in flight fail, which is
more than 20 in a row, so it is an outage. At 100.25 one of them is sent again and fails, then one at 100.75, at 101.75,
and from then on every 2 s. At t = 130 one is answered: all 50 go on, and none has failed. Had the server stayed away,
the run would have stopped at t = 160.

A single call has no such context: for it there is `NO_OUTAGE`, which never applies.
"""

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Final

from .._aio import sleep_unless

__all__ = ["NO_OUTAGE", "Outage"]

_FIRST_PAUSE: Final = 0.25
_LONGEST_PAUSE: Final = 2.0
"""Seconds before a probe; doubled after each that fails."""

_SEVERAL: Final = 5
"""Rooms; if that many are answered 5xx, and nobody else anything, it isn't the rooms."""

_FEWEST_FAILURES: Final = 4
_MOST_FAILURES: Final = 20
"""In a row; how many it takes for an outage. Two for each worker, but within these bounds."""


class Outage:
    """What one bulk run knows of whether the server is there. `clock` (seconds, monotonic) is there for tests."""

    def __init__(self, patience: float, concurrency: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.patience = patience
        self.is_on: bool = False
        """Whether the server is assumed to be out."""
        self.patience_is_over: bool = False
        """Whether the server has been out for too long to go on.

        It was out from the first attempt after the last contact to the last attempt. How long that one took says
        nothing: when a timeout is over, the server may long be back.
        """
        self.contacts: int = 0
        """Successful contacts so far."""
        self._clock = clock
        self._enough = min(max(2 * concurrency, _FEWEST_FAILURES), _MOST_FAILURES)
        self._failures = 0
        """In a row."""
        self._failed: set[str] = set()
        """What these were about; a few of them."""
        self._began_at = math.inf
        """When the first attempt after the last contact began."""
        self._out_until = -math.inf
        """When the last attempt began that had no contact."""
        self._queue = asyncio.Lock()
        self._pause = _FIRST_PAUSE

    @property
    def longest_wait(self) -> float:
        """Seconds; what a server in trouble asks for is followed up to that."""
        return self.patience / 10

    def keeps_trying(self, contacts_before: int, *, answered: bool) -> bool:
        """Whether an update that is out of attempts goes on.

        `contacts_before`: contacts before its first attempt. `answered`: the server was there, and answered the last of
        its attempts with an error.
        """
        if self.contacts > contacts_before or self.patience_is_over:
            return False
        return not answered or len(self._failed) >= _SEVERAL

    def begin(self) -> float:
        """Record that an attempt begins, and return the moment, for `failed`."""
        now = self._clock()
        if now < self._began_at:
            self._began_at = now
        return now

    @asynccontextmanager
    async def queue(self, closing: asyncio.Event) -> AsyncGenerator[None]:
        """Queue during an outage: one caller at a time enters, after a pause. Without an outage, enter at once.

        Once `closing` is set nobody pauses any more.
        """
        if self.is_on:
            async with self._queue:
                if self.is_on and not self.patience_is_over:
                    await sleep_unless(closing, self._pause)
                    self._pause = min(2 * self._pause, _LONGEST_PAUSE)
                    yield
                    return
        yield

    def contact(self) -> None:
        """Record a successful contact."""
        self.contacts += 1
        self._began_at = math.inf
        if self._failures:
            self._failures = 0
            self._failed.clear()
            self._pause = _FIRST_PAUSE
            self.is_on = self.patience_is_over = False

    def failed(self, subject: str, began_at: float) -> None:
        """Record that an attempt that began at that moment had no contact; `subject` is what it was about."""
        self._failures += 1
        self._out_until = max(self._out_until, began_at)
        if len(self._failed) < _SEVERAL:
            self._failed.add(subject)
        self.is_on = self._failures >= self._enough
        self.patience_is_over = self._out_until - self._began_at > self.patience


class _NoOutage(Outage):
    """For a call that is no part of a bulk run: it records nothing, and nothing follows."""

    def __init__(self) -> None:
        super().__init__(math.inf, 1)

    def keeps_trying(self, contacts_before: int, *, answered: bool) -> bool:
        return False

    def begin(self) -> float:
        return 0.0

    def contact(self) -> None:
        pass

    def failed(self, subject: str, began_at: float) -> None:
        pass


NO_OUTAGE: Final[Outage] = _NoOutage()
"""The outage that never applies."""
