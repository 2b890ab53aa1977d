"""Outages in a bulk run: all updates wait while one request at a time probes the server.

If the server can't be reached, or answers every request with 5xx, a failed update says nothing about its room. So no
room fails because of an outage that is shorter than the run's patience (`outage_patience`, in seconds).

A run counts the *successful contacts* of all its updates. A successful contact, or contact for short, is a readable
answer other than 408 or 5xx. So a rejection such as 422 is a contact. Three rules use contacts:

- **After several failures in a row**, without a contact in between, the run assumes an outage. Callers then queue, and
  the first in the queue sends a request after a pause. Each pause is twice as long as the previous one, up to 2 s. At
  the first contact, all callers in the queue continue.
- **An update with no attempts left** fails if there was a contact since its first attempt. Otherwise it keeps trying
  until the run's patience is over, and then the run stops. Patience is measured from the first attempt after the last
  contact.
- **If the last attempt of an update got a 5xx, and fewer than five rooms have failed since the last contact**, the
  rooms themselves may be the cause. So the client reads the room back. If the read-back is a contact, the room is
  assumed to be the cause, and the update fails or succeeds according to the read-back. If not, the cause is an outage,
  and the update keeps trying.

Example, with 50 workers and a patience of 60 s: the server crashes at t = 100. The 50 updates in flight fail, and after
20 failures in a row the run assumes an outage. At t = 100.25 one update is sent again and fails at once. Further
updates are sent at 100.75, at 101.75, and then every 2 s. The update at t = 129.75 succeeds, so all 50 updates
continue, and no room has failed. If the server had stayed down, the first failure after t = 160, at 161.75, would have
stopped the run.

Calls outside a bulk run use `NO_OUTAGE`, which never assumes an outage.
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
"""The first and the longest pause before a probe, in seconds. The pause doubles after each failed probe."""

_SEVERAL: Final = 5
"""If at least this many rooms have failed since the last contact, the cause is assumed to be the server."""

_MIN_FAILURES: Final = 4
_MAX_FAILURES: Final = 20
"""The number of failures in a row after which an outage is assumed is two per worker, but within these limits."""


class Outage:
    """The outage state that all updates of one bulk run share. Tests replace `clock`, which returns seconds."""

    def __init__(self, patience: float, concurrency: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.patience = patience
        self.is_on: bool = False
        """Whether an outage is assumed."""
        self.patience_is_over: bool = False
        """Whether the outage has been too long for the run to continue.

        The outage is measured from the beginning of the first attempt after the last contact to the beginning of the
        last failed attempt. The duration of that attempt does not count, because the server may be available again by
        the time the attempt times out.
        """
        self.contacts: int = 0
        """The number of successful contacts so far."""
        self._clock = clock
        self._threshold = min(max(2 * concurrency, _MIN_FAILURES), _MAX_FAILURES)
        self._failures = 0
        """The number of failures in a row."""
        self._failed: set[str] = set()
        """The distinct subjects of the failures in a row, such as `room 7b61...`. At most `_SEVERAL` are kept."""
        self._began_at = math.inf
        """The beginning of the first attempt after the last contact."""
        self._last_failed_at = -math.inf
        """The beginning of the last attempt without contact."""
        self._queue = asyncio.Lock()
        self._pause = _FIRST_PAUSE

    @property
    def longest_wait(self) -> float:
        """The longest wait after a failure without contact, in seconds. A `Retry-After` can't make it longer."""
        return self.patience / 10

    def keeps_trying(self, contacts_before: int, *, answered: bool) -> bool:
        """Return whether an update with no attempts left keeps trying.

        `contacts_before` is the value of `contacts` before the first attempt of the update. `answered` says whether the
        server answered the last attempt of the update with an error.
        """
        if self.contacts > contacts_before or self.patience_is_over:
            return False
        return not answered or len(self._failed) >= _SEVERAL

    def begin(self) -> float:
        """Record that an attempt begins. Return the current time, which `failed` takes as `began_at`."""
        now = self._clock()
        if now < self._began_at:
            self._began_at = now
        return now

    @asynccontextmanager
    async def queue(self, closing: asyncio.Event) -> AsyncGenerator[None]:
        """During an outage, let callers enter one at a time, each after a pause. Otherwise let them enter at once.

        Setting `closing` ends the current pause, and there are no further pauses.
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
        """Record an attempt without contact, for a subject such as `room 7b61...`. It began at `began_at`."""
        self._failures += 1
        self._last_failed_at = max(self._last_failed_at, began_at)
        if len(self._failed) < _SEVERAL:
            self._failed.add(subject)
        self.is_on = self._failures >= self._threshold
        self.patience_is_over = self._last_failed_at - self._began_at > self.patience


class _NoOutage(Outage):
    """Records nothing, and never assumes an outage."""

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
"""The outage state of all calls outside a bulk run. It never assumes an outage."""
