"""The engine of `update_many`: many updates at a time, each with exactly one outcome.

A fixed set of workers pulls from the input, one item at a time each, so that neither tasks nor memory grow with its
length. What a worker brings out goes into a bounded queue, from which the caller's loop takes it in the order of
completion; when the caller is slow the workers wait, and so does the input.

- **Pulling** is done under a lock, one worker at a time. A slow input so holds up those that pull, never a result
  that is on its way. An input that raises ends the pulling; what was pulled before comes out first, then the error.
- **One room, one update at a time.** A worker that pulls an update for a room that has one in flight waits behind it,
  holding just this one item. So the updates of a room keep their order.
- **Stopping.** After an error that every later update would meet too (401, 403), or after the number of failures that
  the caller allows, nothing more is sent; the rest of the input comes out as `skipped`.
- **Leaving.** The generator owns its workers. When it is closed, cancelled or dropped in the middle it cancels them
  and waits until they are gone. An input that is a generator is closed too.
"""

import asyncio
import functools
import time
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Generator,
    Iterable,
    Iterator,
)
from typing import Final, TypeAlias, TypeGuard, cast

from ._cancellation import is_cancelled
from ._protocol import Answer
from ._settings import check_at_least
from ._text import quoted
from .errors import (
    AioroomsError,
    AuthenticationError,
    ClientStateError,
    InvalidRequestError,
    PermissionDeniedError,
    Problem,
    RateLimitError,
)
from .models import Room, RoomRef, RoomUpdate, UpdateResult, read_room_ref

__all__ = ["UpdateRoom", "Updates", "update_many"]

Updates: TypeAlias = Iterable[tuple[RoomRef, RoomUpdate]] | AsyncIterable[tuple[RoomRef, RoomUpdate]]

UpdateRoom: TypeAlias = Callable[[str, RoomUpdate], Awaitable[Answer[Room]]]
"""Updates the room of that id. Raises `AioroomsError`, `InvalidRequestError` if nothing was sent."""

_STOPPING: Final = (AuthenticationError, PermissionDeniedError, ClientStateError)
"""What every later update would meet too."""

_SLOW_PULL: Final = 0.001
"""Seconds. An input that blocks the loop for longer at each item lets the loop run between two items."""


def update_many(
    updates: Updates, update_room: UpdateRoom, *, concurrency: int, stop_after_failures: int | None
) -> AsyncGenerator[UpdateResult]:
    """Update all rooms of the input, `concurrency` at a time; give results in the order of completion.

    Raises `ValueError` for a number below 1, and `TypeError` if `updates` can't be iterated over.
    """
    check_at_least(1, "update_many(concurrency=)", concurrency)
    if stop_after_failures is not None:
        check_at_least(1, "update_many(stop_after_failures=)", stop_after_failures)
    items = aiter(updates) if isinstance(updates, AsyncIterable) else iter(updates)
    return _results(_Run(items, update_room, concurrency, stop_after_failures))


async def _results(run: "_Run") -> AsyncGenerator[UpdateResult]:
    workers = asyncio.create_task(run.work())
    try:
        while (result := await run.results.get()) is not None:
            yield result
        await workers
    finally:
        workers.cancel()
        await asyncio.wait([workers])
        await run.close_input()
    if run.input_error is not None:
        raise run.input_error


class _Run:
    """The state that the workers of one `update_many` share."""

    def __init__(
        self,
        items: Iterator[object] | AsyncIterator[object],
        update_room: UpdateRoom,
        concurrency: int,
        stop_after_failures: int | None,
    ) -> None:
        self.results: asyncio.Queue[UpdateResult | None] = asyncio.Queue(maxsize=concurrency)
        """None comes last."""
        self.input_error: BaseException | None = None
        self._items = items
        self._update_room = update_room
        self._concurrency = concurrency
        self._failures_left = stop_after_failures
        self._pulling = asyncio.Lock()
        self._exhausted = False
        self._stopped_by: AioroomsError | None = None
        self._last: dict[str, asyncio.Event] = {}
        """For each room that has updates in hand, what is set when the last of them is done."""

    async def work(self) -> None:
        """Have all workers do their work, then end the results. Raises what a worker raised: a bug of ours."""
        bug: ExceptionGroup[Exception] | None = None
        try:
            async with asyncio.TaskGroup() as workers:
                for _ in range(self._concurrency):
                    workers.create_task(self._worker())
        except ExceptionGroup as group:
            bug = group
        # Not in a `finally`: after a cancellation nobody takes results any more, and this would wait for ever.
        await self.results.put(None)
        if bug is not None:
            raise bug

    async def close_input(self) -> None:
        """Close an input that is a generator: whoever begins to iterate over one ends it too."""
        items: object = self._items
        if isinstance(items, AsyncGenerator):
            await cast("AsyncGenerator[object, object]", items).aclose()
        elif isinstance(items, Generator):
            cast("Generator[object, object, object]", items).close()

    async def _worker(self) -> None:
        try:
            await self._work_on()
        except asyncio.CancelledError:
            if not is_cancelled():
                # A TaskGroup would take this for a worker that has done its work.
                raise RuntimeError("a worker was cancelled by nobody") from None
            raise

    async def _work_on(self) -> None:
        while True:
            async with self._pulling:
                item = await self._pull()
            if item is _END:
                return
            # Nothing suspends between the pull and the place in its room's line, so the order of the input is kept.
            await self.results.put(await self._outcome(item))

    async def _pull(self) -> object:
        if self._exhausted:
            return _END
        began = time.monotonic()
        try:
            if isinstance(self._items, AsyncIterator):
                item = await anext(self._items, _END)
            else:
                item = next(self._items, _END)
                if time.monotonic() - began > _SLOW_PULL:
                    await asyncio.sleep(0)
        except BaseException as error:
            # It's the caller's own, and is raised to him when all results are out; but not if it is us who are stopped.
            if isinstance(error, (KeyboardInterrupt, SystemExit)) or is_cancelled():
                raise
            self.input_error = error
            item = _END
        self._exhausted = item is _END
        return item

    async def _outcome(self, item: object) -> UpdateResult:
        began = time.monotonic()
        room_id, update, problems = _read_pair(item)
        result = functools.partial(UpdateResult, room_id=room_id, update=update)
        if self._stopped_by is None and problems:
            error = InvalidRequestError(problems)
            self._count_failure(error)
            return result(status="failed", error=error)
        # The updates of a room form a line: each waits for the one before it.
        room = room_id.lower()
        earlier, done = self._last.get(room), asyncio.Event()
        self._last[room] = done
        try:
            if earlier is not None:
                await earlier.wait()
            if self._stopped_by is not None:
                return result(status="skipped", error=self._stopped_by, elapsed=time.monotonic() - began)
            assert update is not None  # or there would be problems
            answer = await self._update_room(room_id, update)
        except AioroomsError as error:
            self._count_failure(error)
            return result(
                status="uncertain" if error.outcome_unknown else "failed",
                error=error,
                attempts=error.attempts,
                elapsed=time.monotonic() - began,
            )
        finally:
            done.set()
            # After a cancellation a later one of the line may have cleaned up before this one.
            if self._last.get(room) is done:
                del self._last[room]
        return result(status="updated", room=answer.value, attempts=answer.attempts, elapsed=time.monotonic() - began)

    def _count_failure(self, error: AioroomsError) -> None:
        if self._failures_left is not None:
            self._failures_left -= 1
        # A RateLimitError without an attempt: the pause is too long to wait for, for the others too.
        hopeless = isinstance(error, _STOPPING) or (isinstance(error, RateLimitError) and not error.attempts)
        if self._stopped_by is None and (hopeless or self._failures_left == 0):
            self._stopped_by = error


_END: Final = object()
"""Stands for an item after the last."""


def _read_pair(item: object) -> tuple[str, RoomUpdate | None, tuple[Problem, ...]]:
    """Take an item apart: the room's id as text, the update, and what is wrong if they aren't there."""
    if not _is_pair(item):
        shown = quoted(item)
        return shown, None, (Problem("", f"{shown} is not a tuple of a room id and a RoomUpdate"),)
    room, update = item
    room_id, problems = read_room_ref(room)
    if isinstance(update, RoomUpdate):
        return room_id, update, problems
    wrong = Problem("", f"{quoted(update)} is not a RoomUpdate; RoomUpdate.from_dict() makes one from JSON data")
    return room_id, None, (*problems, wrong)


def _is_pair(item: object) -> TypeGuard[tuple[object, object]]:
    return isinstance(item, tuple) and len(cast("tuple[object, ...]", item)) == 2
