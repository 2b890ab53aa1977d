"""Outages in a bulk run: whether a failure is the room's or the server's, and who may send during an outage.

If the server can't be reached, or answers every request with 5xx, a failed update says nothing about its room. So no
room fails because of an outage that is shorter than the run's patience (`outage_patience`, in seconds).

A *successful contact*, or contact for short, is a readable answer other than 408 or 5xx. So a rejection such as 422 is
a contact. A contact shows only that the server was available after the attempt began. For example, the server crashes
at t = 100.00, and an answer to an attempt that began at 99.95 is processed at 100.02. This contact says nothing about
the attempts that fail from 100.00 on. Four rules follow:

- **A failure is confirmed** if there was a contact since the update's previous failure, by an attempt that began after
  it. So the server was available in between, and the same update failed again. An update fails only if its last failure
  is confirmed, and only confirmed failures and the first one count against `max_attempts`.
- **A probe confirms failures** that nothing else confirms, because hardly any other update is in flight. Before the
  last attempt, such an update sends a *probe*: a request that is not about its room. If the server answers it, the next
  failure is the last one. No probe is sent if five rooms or more have failed since the last contact, because the cause
  is then probably the server.
- **After several failures in a row**, the run assumes an outage. A contact ends the row if its attempt began after the
  first of these failures. During an outage callers queue, and the first in the queue sends a request after a pause.
  Each pause is twice as long as the previous one, up to 2 s. At the first contact, all callers in the queue continue,
  and the pacer lets them send as slowly as a new client.
- **Patience** is measured from the first attempt after the last contact. When it is over, the run stops. Time in which
  nothing was in flight counts only up to the longest wait of the run itself. The rest has other causes, such as a slow
  input, `max_rate` or a pause that the server announced.

A server that answers every request with 429 is available, but no update makes progress. So the run also stops if no
request was accepted for longer than its patience. Pauses that the server announces do not count.

Example, with 50 workers and a patience of 60 s: the server crashes at t = 100. The 50 updates in flight fail, and after
20 failures in a row the run assumes an outage. At t = 100.25 one update is sent again and fails at once. Further
updates are sent at 100.75, at 101.75, and then every 2 s. The update at t = 129.75 succeeds, so all 50 updates
continue, and no room has failed. If the server had stayed down, the first failure after t = 160, at 161.75, would have
stopped the run.

Calls outside a bulk run use `NO_OUTAGE`, which never assumes an outage, and with which every failure is confirmed.
"""

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Final, NamedTuple

from .._aio import sleep_unless
from ..errors import Reason
from .request import Request

__all__ = ["NO_OUTAGE", "Failures", "Outage", "Stop"]

_FIRST_PAUSE: Final = 0.25
_MAX_PAUSE: Final = 2.0
"""The first and the longest pause before an update is sent during an outage, in seconds. Each pause is twice as long
as the previous one."""

_SEVERAL: Final = 5
"""If at least this many rooms have failed since the last contact, the cause is assumed to be the server."""

_MIN_FAILURES: Final = 4
_MAX_FAILURES: Final = 20
"""The number of failures in a row after which an outage is assumed is two per worker, but within these limits."""


class Stop(NamedTuple):
    """Why a run sends nothing more."""

    text: str
    reason: Reason


class Outage:
    """The outage state that all updates of one bulk run share. Tests replace `clock`, which returns seconds."""

    def __init__(
        self,
        patience: float,
        concurrency: int,
        *,
        probe: Request[object] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.patience = patience
        self.probe = probe
        """The request that shows whether the server is available. None outside a bulk run: then no probe is sent."""
        self.is_in_run: bool = True
        """Whether this is the state of a bulk run."""
        self.is_on: bool = False
        """Whether an outage is assumed."""
        self.stopped_by: Stop | None = None
        """Why the run sends nothing more: the user has stopped it, or the server was unavailable, or rate limited every
        request, for longer than the patience. Never cleared.

        An outage is measured from the beginning of the first attempt after the last contact to the beginning of the
        last failed attempt. The duration of that attempt does not count, because the server may be available again by
        the time the attempt times out.
        """
        self.may_send: Callable[[], bool] | None = None
        """Asked before each attempt. If it returns False, the run is stopped."""
        self.lasted: float = 0.0
        """Duration of the last outage in seconds, from when it was assumed."""
        self._assumed_at = 0.0
        self._clock = clock
        self._threshold = min(max(2 * concurrency, _MIN_FAILURES), _MAX_FAILURES)
        self._failures = 0
        """The number of failures in a row."""
        self._failed: set[str] = set()
        """The distinct subjects of the failures in a row, such as `room 7b61...`. At most `_SEVERAL` are kept."""
        self._in_flight = 0
        self._ended_at = -math.inf
        """The end of the last attempt."""
        self._began_at = math.inf
        """The beginning of the first attempt after the last contact, moved forward by the time that does not count."""
        self._first_failed_at = math.inf
        """The end of the first of the failures in a row."""
        self._last_failed_at = -math.inf
        """The beginning of the last attempt without contact."""
        self._contact_at = -math.inf
        """The beginning of the last attempt with a contact."""
        self._limited_since = math.inf
        """The beginning of the first attempt that was rate limited since a request was accepted, moved forward by the
        duration of the pauses that the server has announced, even if the last one is not over yet."""
        self._paused_until = -math.inf
        """The end of the last pause that the server has announced."""
        self._queue = asyncio.Lock()
        self._pause = _FIRST_PAUSE
        self._waiting: set[asyncio.Timeout] = set()
        """The timeouts of the callers that wait for a permit or for their next attempt."""

    @classmethod
    def of_run(cls, patience: float | None, concurrency: int, *, probe: Request[object]) -> "Outage":
        """Return the state of a new run. If `patience` is None, it never assumes an outage."""
        return _NoOutage() if patience is None else cls(patience, concurrency, probe=probe)

    @property
    def longest_wait(self) -> float:
        """The longest wait after a failure without contact, in seconds. A `Retry-After` can't make it longer."""
        return self.patience / 10

    @property
    def unavailable_for(self) -> float:
        """Seconds since the first attempt after the last contact began, without the time that does not count."""
        return max(0.0, self._clock() - self._began_at)

    @property
    def rooms_may_be_the_cause(self) -> bool:
        """Whether so few rooms have failed since the last contact that the rooms themselves may be the cause."""
        return len(self._failed) < _SEVERAL

    def had_contact_since(self, moment: float) -> bool:
        """Return whether an attempt that began after `moment` had a contact."""
        return self._contact_at > moment

    def begin(self) -> float:
        """Record that an attempt begins. Return the current time, which the methods below take as `began_at`.

        Call `end` when the attempt has ended.
        """
        now = self._clock()
        if not self._in_flight and self._failures:
            own_wait = max(self.longest_wait, self._pause if self.is_on else 0.0)
            self._began_at += max(0.0, now - self._ended_at - own_wait)
        self._in_flight += 1
        if now < self._began_at:
            self._began_at = now
        return now

    def end(self) -> None:
        """Record that an attempt has ended, however it ended."""
        self._in_flight -= 1
        self._ended_at = self._clock()

    @asynccontextmanager
    async def queue(self, closing: asyncio.Event, time_left: float | None = None) -> AsyncGenerator[bool]:
        """During an outage, let callers enter one at a time, each after a pause. Otherwise let them enter at once.

        Yield False if the caller could not enter within `time_left` seconds. Setting `closing`, or stopping the
        run, ends the current pause, and there are no further pauses.
        """
        async with AsyncExitStack() as stack:
            in_time = True
            try:
                async with asyncio.timeout(time_left) as limit:
                    with self.ending(limit):
                        await stack.enter_async_context(self._queue)
                        if self.is_on and self.stopped_by is None:
                            await sleep_unless(closing, self._pause)
                            self._pause = min(2 * self._pause, _MAX_PAUSE)
                        else:
                            await stack.aclose()  # all callers enter at once
            except TimeoutError:
                in_time = self.stopped_by is not None  # if the run was stopped, the caller finds out by itself
            yield in_time

    def contact(self, began_at: float) -> bool:
        """Record a contact other than a 429, of an attempt that began at `began_at`. Return whether it ended an outage.

        Do not call this for a 429: see `rate_limited`.
        """
        self._limited_since = math.inf
        return self._contact(began_at)

    def _contact(self, began_at: float) -> bool:
        if began_at > self._contact_at:
            self._contact_at = began_at
        # An answer to an earlier attempt does not show that the server is available again. The answer to a later one
        # does, even if other attempts that began still later have failed: these may have been faster than the answer.
        if self._failures and began_at <= self._first_failed_at:
            return False
        self._began_at = math.inf
        was_on = self.is_on
        if was_on:
            self.lasted = self._clock() - self._assumed_at
        if self._failures:
            self._failures = 0
            self._failed.clear()
            self._pause = _FIRST_PAUSE
            self.is_on = False
        return was_on

    def failed(self, subject: str, began_at: float) -> float:
        """Record an attempt without contact, for a subject such as `room 7b61...`. Return the current time."""
        now = self._clock()
        if not self._failures:
            self._first_failed_at = now
        self._failures += 1
        self._last_failed_at = max(self._last_failed_at, began_at)
        if len(self._failed) < _SEVERAL:
            self._failed.add(subject)
        if not self.is_on and self._failures >= self._threshold:
            self.is_on, self._assumed_at = True, now
        if self._last_failed_at - self._began_at > self.patience:
            self._lose_patience(f"the server has been unavailable for more than {self.patience:g} s")
        return now

    def rate_limited(self, began_at: float, wait: float | None) -> bool:
        """Record a 429 to an attempt that began at `began_at`. Return whether it ended an outage.

        `wait` is the pause that the 429 announced, in seconds.
        """
        now = self._clock()
        pause_left = max(0.0, self._paused_until - now)
        # A 429 to an attempt that began earlier may arrive later. It must not undo the pauses that were announced.
        if self._limited_since == math.inf:
            self._limited_since = began_at + pause_left
        limited_for = now - self._limited_since + pause_left
        if wait is not None and wait > pause_left:
            self._limited_since += wait - pause_left
            self._paused_until = now + wait
        if limited_for > self.patience:
            text = f"the server has rate limited every request for more than {self.patience:g} s"
            self._lose_patience(f"{text}, besides the pauses that it announced")
        return self._contact(began_at)

    def stop(self) -> None:
        """Stop the run: no further attempt begins, and waits end at once."""
        self._stop(Stop("the run was stopped", "stopped"))

    def _lose_patience(self, why: str) -> None:
        self._stop(Stop(f"{why} (outage_patience)", "outage_patience"))

    def _stop(self, stop: Stop) -> None:
        if self.stopped_by is None:
            self.stopped_by = stop
            for timeout in self._waiting:
                if not timeout.expired():  # rescheduling an expired timeout raises RuntimeError
                    timeout.reschedule(-math.inf)

    @contextmanager
    def ending(self, timeout: asyncio.Timeout) -> Generator[None]:
        """End a timeout at once if the run is stopped while the block runs, or was stopped before."""
        if self.stopped_by is not None:
            timeout.reschedule(-math.inf)
        self._waiting.add(timeout)
        try:
            yield
        finally:
            self._waiting.discard(timeout)


class _NoOutage(Outage):
    """Records nothing, and never assumes an outage."""

    def __init__(self) -> None:
        super().__init__(math.inf, 1)
        self.is_in_run = False

    def begin(self) -> float:
        return 0.0

    def end(self) -> None:
        pass

    def contact(self, began_at: float) -> bool:
        return False

    def failed(self, subject: str, began_at: float) -> float:
        return 0.0

    def rate_limited(self, began_at: float, wait: float | None) -> bool:
        return False


NO_OUTAGE: Final[Outage] = _NoOutage()
"""The outage state of all calls outside a bulk run. It never assumes an outage."""


class Failures:
    """The failures of one request since its last contact."""

    __slots__ = ("_failed_at", "_outage", "is_confirmed")

    def __init__(self, outage: Outage) -> None:
        self.is_confirmed = not outage.is_in_run
        """Whether the last failure is confirmed."""
        self._outage = outage
        self._failed_at: float | None = None

    def add(self, subject: str, began_at: float) -> bool:
        """Record an attempt without contact. Return whether it counts against `max_attempts`."""
        is_first, had_contact = self._failed_at is None, self.has_contact()
        self._failed_at = self._outage.failed(subject, began_at)
        if not self._outage.is_in_run:
            return True
        self.is_confirmed = had_contact
        return self.is_confirmed or is_first

    def has_contact(self) -> bool:
        """Return whether there was a contact since the last failure, by an attempt that began after it."""
        return self._failed_at is not None and self._outage.had_contact_since(self._failed_at)
