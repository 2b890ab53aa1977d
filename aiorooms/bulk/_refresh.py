"""List the modified rooms again and again while a run sends its updates.

A long run must notice what others change meanwhile. It can't read each room before its update, because this would
double the number of requests. So it lists the rooms that were updated recently, 250 per page, as often as a budget
allows: the pages are at most 5 % of the requests that the run has sent. (A page that must be retried counts once.) It
reads at most 5 pages per second, because reading a page takes as much CPU time as several updates.

The list contains the rooms that the run itself has updated, so it becomes longer during the run. For example, a run
sends 20 updates per second, and nobody else changes rooms:

- After 1,000 updates, the list has 4 pages. 80 requests allow 4 pages, so the run lists the rooms every 4 s.
- After 20,000 updates, the list has 80 pages, and the run lists the rooms every 80 s.

Others may still change a room between the last list and the update, without being noticed. The run measures this
*window* for each update, from the beginning of the last list that was complete before the update began, until the
update ended. The beginning counts because a room may be changed just after its page was read. The end counts because
an update may wait for a permit, and may be retried.

If a list fails, the run continues without it: what was read is used, the pages still count, and the window grows until
a later list is complete. Any other error stops the run.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Final

from .._aio import end_tasks
from ..errors import APIError, ClientStateError
from ..models import UpdateResult
from ..resources._pages import gated
from ._conflicts import Conflicts
from ._outcomes import StopSignal

__all__ = ["RefreshBudget", "Refresher"]

PAGE_SIZE: Final = 250
"""Number of rooms per page."""

REQUESTS_PER_PAGE: Final = 20
"""Number of requests that a run must send for each page that it reads: pages are at most 5 % of the requests."""

PAGES_PER_SECOND: Final = 5
"""Maximum number of pages per second, over the whole run."""

PAGES_AT_ONCE: Final = 10
"""Number of pages that a run may read before `PAGES_PER_SECOND` limits it, so that short runs are checked too."""


class RefreshBudget:
    """Decides when a run may begin the next list, and when it may request each page. All times are in seconds."""

    def __init__(self, rooms: int, began: float) -> None:
        """`rooms` is the number of rooms that the list would have now. `began` is the time when the run began."""
        self.requests: int = 0
        """Number of requests for updates."""
        self.pages: int = 0
        """Number of pages that were requested."""
        self._rooms = rooms
        self._began = began
        self._updated = 0
        """Number of updates since the current or last list began."""

    def count_update(self, attempts: int, updates: int = 1) -> None:
        """Count updates that took this number of requests. Their rooms will be in the next list."""
        self.requests += attempts
        self._updated += updates

    def count_pages(self, count: int = 1) -> None:
        """Count requests for a page."""
        self.pages += count

    def begin_list(self) -> None:
        """Record that a list begins."""
        self._rooms += self._updated
        self._updated = 0

    def end_list(self, rooms: int) -> None:
        """Record that a list is complete, and had this number of rooms."""
        self._rooms = rooms

    def may_begin(self, now: float) -> bool:
        """Return whether the next list may begin: the budget covers all pages that it is expected to have."""
        return self.pages + max(1, -(-(self._rooms + self._updated) // PAGE_SIZE)) <= self._allowed(now)

    def may_request(self, now: float) -> bool:
        """Return whether a page may be requested. A list may turn out longer than expected, and then has to wait."""
        return self.pages + 1 <= self._allowed(now)

    def _allowed(self, now: float) -> float:
        return min(self.requests // REQUESTS_PER_PAGE, PAGES_AT_ONCE + PAGES_PER_SECOND * (now - self._began))


class Refresher:
    """Lists the modified rooms for the conflicts of one run, as often as the budget allows."""

    def __init__(self, conflicts: Conflicts, signal: StopSignal) -> None:
        self._conflicts = conflicts
        self._signal = signal
        self._budget = RefreshBudget(0, time.monotonic())
        self._may: Callable[[float], bool] | None = None
        """The condition that the task waits for; None if it does not wait."""
        self._is_met = asyncio.Event()

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """List the rooms in a task while the block runs. Raise an error that stopped the run after the block."""
        if self._conflicts.listed_at is None:
            yield  # with `force`, nothing is listed
            return
        self._budget = RefreshBudget(self._conflicts.recent, time.monotonic())
        task = asyncio.create_task(self._list_repeatedly())
        try:
            yield
        finally:
            await end_tasks([task])
        if not task.cancelled():
            task.result()

    def count(self, result: UpdateResult) -> None:
        """Count the requests of an update that has ended."""
        if result.attempts:
            self._budget.count_update(result.attempts)
            # Waking the task for every update would cost more than this check.
            if self._may is not None and self._may(time.monotonic()):
                self._may = None
                self._is_met.set()

    async def _list_repeatedly(self) -> None:
        budget = self._budget
        while True:
            await self._until(budget.may_begin)
            began = time.monotonic()
            budget.begin_list()
            count = 0
            try:
                async with aclosing(gated(self._conflicts.recent_rooms(), self._permit)) as rooms:
                    async for room in rooms:
                        count += 1
                        self._conflicts.compare_listed(room)
            except (APIError, ClientStateError) as error:
                budget.count_pages(max(0, error.attempts - 1))  # the first attempt was counted by `_permit`
            except Exception as error:
                # The plan was modified, or something unexpected happened. Without lists, updates would overwrite what
                # others change.
                self._signal.stop(error)
                raise
            else:
                budget.end_list(count)
                self._conflicts.end_list(began)

    async def _permit(self) -> None:
        """Wait until a page may be requested."""
        await self._until(self._budget.may_request)
        self._budget.count_pages()

    async def _until(self, may: Callable[[float], bool]) -> None:
        while not may(time.monotonic()):
            self._may = may
            self._is_met.clear()
            await self._is_met.wait()
