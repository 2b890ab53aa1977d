"""Outages in a bulk run: all updates wait while single requests probe the server.

If an update fails because the server can't be reached, or because the server answers all requests with 5xx, the failure
says nothing about the room. So no room fails because of an outage shorter than the patience of the run. A run counts
the *successful contacts* of all its updates: answers that say something about the request itself. A rejection is a
contact, a 5xx is not. Three rules use contacts:

- **After several failures in a row**, without a contact in between, the run assumes an outage. Callers then queue. The
  first in the queue sends after a pause, and each pause is twice as long as the one before, up to 2 s. At the first
  contact all callers in the queue continue.
- **An update without attempts left** fails if there was a contact since its first attempt. Otherwise it keeps trying
  until the patience of the run is over, and then the run stops. Patience is counted from the first attempt after the
  last contact.
- **If the last attempt of an update was answered 5xx, and fewer than five rooms have failed since the last contact**,
  the cause may be the rooms themselves. Then the read-back decides: if it is answered, the room is the cause; if not,
  the cause is an outage.

Example, with 50 workers and a patience of 60 s: the server crashes at t = 100. The 50 updates in flight fail, and at
the 20th failure in a row the run assumes an outage. At t = 100.25 one update is sent again and fails at once. The next
ones follow at 100.75, at 101.75, and then every 2 s. The one at t = 129.75 is answered: all 50 updates continue, and no
room has failed. If the server had stayed down, the first failure after t = 160, at 161.75, would have stopped the run.

Calls outside of a bulk run use `NO_OUTAGE`, which never assumes an outage.
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
_MAX_PAUSE: Final = 2.0
"""Seconds before a probe; doubled after each probe that fails."""

_SEVERAL: Final = 5
"""If at least this many rooms have failed since the last contact, the server is the cause, not the rooms."""

_MIN_FAILURES: Final = 4
_MAX_FAILURES: Final = 20
"""An outage is assumed after two failures in a row for each worker, but not fewer or more than these numbers."""


class Outage:
    """The state of the server, as one bulk run sees it. `clock` (seconds, monotonic) is replaced in tests."""

    def __init__(self, patience: float, concurrency: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.patience = patience
        self.is_on: bool = False
        """Whether an outage is assumed."""
        self.patience_is_over: bool = False
        """Whether the outage has been too long for the run to continue.

        The outage is measured from the beginning of the first attempt after the last contact to the beginning of the
        last attempt. The duration of the last attempt does not count: when it times out, the server may already be
        back.
        """
        self.contacts: int = 0
        """The number of successful contacts so far."""
        self._clock = clock
        self._threshold = min(max(2 * concurrency, _MIN_FAILURES), _MAX_FAILURES)
        self._failures = 0
        """The number of failures in a row."""
        self._failed: set[str] = set()
        """The different subjects of these failures, such as `room 7b61...`, at most `_SEVERAL`."""
        self._began_at = math.inf
        """When the first attempt after the last contact began."""
        self._last_failed_at = -math.inf
        """When the last attempt without a contact began."""
        self._queue = asyncio.Lock()
        self._pause = _FIRST_PAUSE

    @property
    def longest_wait(self) -> float:
        """The longest wait after an attempt without contact, in seconds, even if a 408 or 5xx answer asks for more."""
        return self.patience / 10

    def keeps_trying(self, contacts_before: int, *, answered: bool) -> bool:
        """Return whether an update without attempts left keeps trying.

        `contacts_before` is the value of `contacts` before the first attempt of the update. `answered` says whether the
        server answered its last attempt with an error.
        """
        if self.contacts > contacts_before or self.patience_is_over:
            return False
        return not answered or len(self._failed) >= _SEVERAL

    def begin(self) -> float:
        """Record that an attempt begins. Return the time, to be passed to `failed`."""
        now = self._clock()
        if now < self._began_at:
            self._began_at = now
        return now

    @asynccontextmanager
    async def queue(self, closing: asyncio.Event) -> AsyncGenerator[None]:
        """Queue during an outage: one caller at a time enters, after a pause. Without an outage, enter at once.

        When `closing` is set, the pause ends, and there are no more pauses.
        """
        if self.is_on:
            async with self._queue:
                if self.is_on and not self.patience_is_over:
                    await sleep_unless(closing, self._pause)
                    self._pause = min(2 * self._pause, _MAX_PAUSE)
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
        """Record that an attempt for `subject`, which began at `began_at`, led to no contact."""
        self._failures += 1
        self._last_failed_at = max(self._last_failed_at, began_at)
        if len(self._failed) < _SEVERAL:
            self._failed.add(subject)
        self.is_on = self._failures >= self._threshold
        self.patience_is_over = self._last_failed_at - self._began_at > self.patience


class _NoOutage(Outage):
    """For calls outside of a bulk run: records nothing, and never assumes an outage."""

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
"""For calls outside of a bulk run: never assumes an outage."""
