"""Record what happens to the rooms of a batch, in the store.

The log of a batch has the lines of a journal, without their checksums. Only the `begin` lines are shorter: one line
names the places of up to 50 rooms, because the store has their lines of the plan anyway. For example,

    {"begin":[0,1,2],"at":1764300000.123}
    {"end":"7b61...","at":1764300000.305,"status":"updated","attempts":1,"elapsed":0.18}

Outcomes are collected. They are recorded with the next beginning, when there are 25 of them, or after a second. If the
store can't be reached, the change is made again with the same number, until the store answers or the lease has expired.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Final

import attrs

from ...client import RoomsClient
from .._files import json_line
from .._journal_records import end_line
from .._journal_writer import now
from .._outcomes import Outcome
from ._batches import ASIDE, BEGUN, FOUND, LETTERS, NOT_BEGUN
from ._lease import Lease, LeaseLostError
from ._store import STORE_ERRORS, Change, Fence, RunStore

__all__ = ["TIMEOUT", "BatchRecorder", "Ended", "RateLimited", "ended_line"]

_MAX_COLLECTED: Final = 25
"""Number of outcomes that are recorded at once."""

_PAUSES: Final = (0.05, 0.1, 0.2, 0.5)
"""Pauses before a change is made again, in seconds. The last one is repeated."""

TIMEOUT: Final = 2.0
"""Seconds after which a call of the store has failed."""


@attrs.frozen(kw_only=True)
class Ended:
    """A room with an outcome."""

    place: int
    letter: str
    line: bytes
    attempts: int
    failure: str | None
    """The error, if it counts for the maximum number of failures; else None."""

    @classmethod
    def of(cls, place: int, outcome: Outcome, line: bytes) -> "Ended":
        """Return the end of a room with an outcome. `line` is its `end` line."""
        letter = FOUND if outcome.found else LETTERS[outcome.status]
        failure = outcome.error if outcome.status in ("failed", "uncertain", "skipped") else None
        return cls(place=place, letter=letter, line=line, attempts=outcome.attempts, failure=failure)


class RateLimited:
    """The 429s that a worker has not reported yet."""

    def __init__(self, total: int) -> None:
        """`total` is the number of 429s of the client so far."""
        self._reported = total

    def since_last(self, total: int) -> int:
        """Return the number of 429s since the last call."""
        new, self._reported = total - self._reported, total
        return new


class BatchRecorder:
    """Records one delivery of a batch."""

    def __init__(
        self,
        store: RunStore,
        number: int,
        epoch: str,
        lease: Lease,
        client: RoomsClient,
        listed_at: str,
        rate_limited: RateLimited,
    ) -> None:
        """`rate_limited` is that of the worker, whose deliveries share one client."""
        self.stop: str = ""
        """Why the run is stopped, according to the last answer of the store; empty if it is not."""
        self.on_stop: Callable[[], None] = lambda: None
        """Called once when the run is stopped."""
        self._store = store
        self._number = number
        self._fence = Fence(False, epoch)
        self._lease = lease
        self._client = client
        self._listed_at = listed_at
        self._changes = 0
        self._unconfirmed: Change | None = None
        """The last change, if the store has not confirmed it. If its caller was cancelled, the next one repeats it."""
        self._ended: list[Ended] = []
        self._lock = asyncio.Lock()
        """One change at a time, because one with a smaller number than the last one is taken for a repetition."""
        self._rate_limited = rate_limited

    async def begin(self, places: Sequence[int]) -> None:
        """Record the outcomes that are collected, and that the updates of these rooms begin.

        Raises `LeaseLostError` and `Fenced`, as all methods that record something.
        """
        async with self._lock:
            await self._repeat()
            await self._record(self._collected(begun=places))

    async def take_back(self, places: Sequence[int]) -> None:
        """Record that the updates of these rooms did not begin after all, because the run was stopped before."""
        if places and self._lease.is_held:
            await self._append(Change(letters=[(place, NOT_BEGUN) for place in places]))

    async def set_aside(self, places: Sequence[int]) -> None:
        """Record that these rooms are set aside."""
        if places:
            await self._append(Change(letters=[(place, ASIDE) for place in places]))

    async def end(self, ended: Ended, stop: str = "") -> None:
        """Record an outcome, soon; at once if it stops the run."""
        self._ended.append(ended)
        if stop or len(self._ended) >= _MAX_COLLECTED:
            await self.flush(stop)

    async def flush(self, stop: str = "") -> None:
        """Record the outcomes that are collected."""
        # Another flush may be in progress, and this one must not return before it has ended.
        async with self._lock:
            await self._repeat()
            if self._ended or stop:
                await self._record(self._collected(stop=stop))

    async def look_for_stop(self) -> None:
        """Ask the store whether the run is stopped. If the store does not answer, do nothing."""
        with suppress(*STORE_ERRORS):
            async with asyncio.timeout(TIMEOUT):
                self._note_stop(await self._store.stop_reason())

    def _collected(self, *, begun: Sequence[int] = (), stop: str = "") -> Change:
        """Return the change that records the outcomes that are collected, and then the rooms that begin."""
        ended, self._ended = self._ended, []
        snapshot = self._client.pacing.snapshot()
        failures = [one.failure for one in ended if one.failure is not None]
        lines = [one.line for one in ended]
        if begun:
            lines.append(json_line({"begin": [*begun], "at": now()}))
        return Change(
            letters=[*((one.place, one.letter) for one in ended), *((place, BEGUN) for place in begun)],
            body=b"".join(lines),
            stop=stop,
            failures=len(failures),
            last_failure=failures[-1] if failures else "",
            attempts=sum(one.attempts for one in ended),
            rate_limited=self._rate_limited.since_last(snapshot.rate_limited),
            limit="" if snapshot.sustainable_rate is None else f"{snapshot.sustainable_rate:.2f}",
            listed_at=self._listed_at if any(one.attempts for one in ended) else "",
        )

    async def _append(self, change: Change) -> None:
        async with self._lock:
            await self._repeat()
            await self._record(change)

    async def _record(self, change: Change) -> None:
        self._changes += 1
        self._unconfirmed = change
        await self._repeat()

    async def _repeat(self) -> None:
        """Make the change that the store has not confirmed, until it does or the lease has expired."""
        change = self._unconfirmed
        if change is None:
            return
        tries = 0
        while True:
            try:
                async with asyncio.timeout(TIMEOUT):
                    stop = await self._store.append(self._number, self._fence, self._changes, change)
            except STORE_ERRORS as error:
                if not self._lease.is_held:
                    raise LeaseLostError from error
                await asyncio.sleep(_PAUSES[min(tries, len(_PAUSES) - 1)])
                tries += 1
            else:
                break
        self._unconfirmed = None
        self._note_stop(stop)

    def _note_stop(self, stop: str) -> None:
        if stop and not self.stop:
            self.stop = stop
            self.on_stop()


def ended_line(outcome: Outcome, *, elapsed: float | None = None, updated_at: datetime | None = None) -> bytes:
    """Return the `end` line of an outcome."""
    return end_line(
        outcome.room_id,
        now(),
        outcome.status,
        attempts=outcome.attempts,
        elapsed=elapsed,
        updated_at=updated_at,
        error=outcome.error,
        error_type=None if outcome.failure is None else type(outcome.failure).__name__,
        found=outcome.found,
    )
