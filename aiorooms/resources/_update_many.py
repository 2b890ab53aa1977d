"""The implementation of `update_many`: many concurrent updates, each with exactly one result.

A fixed number of workers pull items from the input, each worker one item at a time. So neither the number of tasks nor
the memory grows with the length of the input. The workers put results into a queue, from which the generator yields
them in order of completion. If the caller is slow, the workers stop pulling.

- **One update per room at a time.** A worker that pulls an update for a room waits until all earlier updates of that
  room are finished. So the updates of a room keep their order.
- **Draining.** The run sends no more updates after an error that every update would get (such as 401 or 403), or after
  the caller's maximum number of failures. Updates in flight finish, and the rest of the input is reported as `skipped`.
  So is the update that got such an error, because the error says nothing about its room.
- **Stopping.** After `UpdateRun.stop()`, no further attempt begins, and no more items are pulled. Attempts in flight
  end, and an update that may have been applied is read back. An update that was not applied is `skipped`.
- **Unexpected exceptions.** An update may raise an exception that is not an `AioroomsError`, for example from a hook in
  the user's session. Then no more items are pulled. The caller first gets the results of the updates in flight, and
  then the exception.
- **Aborting.** The generator owns the workers. If the generator is closed, cancelled or dropped early, it cancels the
  workers and waits until they have finished.

Example, with `concurrency=3` and five pairs for the rooms A, B, A, C, D: workers 1, 2 and 3 pull A, B and the second A.
Worker 3 waits for worker 1, because A has an update in flight. Worker 2 finishes first, so the result of B is yielded,
and worker 2 pulls C. When worker 1 finishes the first A, worker 3 sends the second A, and worker 1 pulls D.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Coroutine, Iterable, Mapping
from types import TracebackType
from typing import Self, TypeAlias, TypeGuard, cast

from .._aio import end_tasks, is_cancelled
from .._http.attempts import CallResult
from .._text import quoted
from ..errors import AioroomsError, InvalidRequestError, Problem
from ..models import NotUpdated, Room, RoomRef, RoomUpdate, Updated, UpdateOutcome, read_room_ref
from ..telemetry import RunStopped
from ..telemetry._telemetry import LOG_ONLY, Telemetry
from ._reports import report_error, report_result
from ._statuses import ends_run, status_of
from ._update_many_input import END, WOULD_BLOCK, AsyncInput, PlainInput

__all__ = ["UpdateRoom", "UpdateRun", "Updates", "update_many"]

Updates: TypeAlias = Iterable[tuple[RoomRef, RoomUpdate]] | AsyncIterable[tuple[RoomRef, RoomUpdate]]
"""The input of `update_many`: any number of (room, update) pairs, from an iterable or an async iterable."""

UpdateRoom: TypeAlias = Callable[[str, RoomUpdate], Awaitable[CallResult[Room]]]
"""Updates the room with the given id. Raises an `AioroomsError` if the update is invalid or fails."""


def update_many(
    updates: Updates,
    update_room: UpdateRoom,
    *,
    concurrency: int,
    stop_sending: Callable[[], None] = lambda: None,
    max_failures: int | None = None,
    telemetry: Telemetry = LOG_ONLY,
) -> "UpdateRun":
    """Update all rooms of the input, `concurrency` at a time, and yield the results in order of completion.

    `stop_sending` ends the waits of all updates, so that no further attempt begins.

    Raises `TypeError` if `updates` is not iterable, or is a mapping or a str.
    """
    if isinstance(updates, Mapping):
        raise TypeError("update_many(updates=) is a mapping; give its .items()")
    if isinstance(updates, str) or not isinstance(cast("object", updates), (Iterable, AsyncIterable)):
        raise TypeError(f"update_many(updates=) is {quoted(updates)}; give an iterable of (room id, RoomUpdate) pairs")
    source = AsyncInput(aiter(updates)) if isinstance(updates, AsyncIterable) else PlainInput(iter(updates))
    return UpdateRun(_Run(source, update_room, stop_sending, concurrency, max_failures, telemetry))


class UpdateRun(AsyncGenerator[UpdateOutcome]):
    """The results of an `update_many`, as an async generator.

    `stop` drains the run, and every update that was read from the input still has its result. To abort the run, leave
    `async with client.rooms.update_many(...) as run:`, or await `aclose()`. Both cancel the updates in flight.
    """

    def __init__(self, run: "_Run") -> None:
        self._run = run
        self._results = _results(run)

    def stop(self) -> None:
        """Drain the run: begin no further attempt, and let attempts in flight finish.

        Keep iterating to get the results. An update that may have been applied is read back. If the read-back confirms
        it, it is `updated`. If the read-back can't show the outcome, it is `uncertain`. An update that was not applied,
        because it was not sent or had no further attempt, is `skipped`. The rest of the input is not read, and has no
        results.

        Call it in the event loop of the client, such as from `loop.add_signal_handler(signal.SIGTERM, run.stop)`.
        Further calls do nothing.
        """
        self._run.stop()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def __aiter__(self) -> Self:
        return self

    def __anext__(self) -> Coroutine[None, None, UpdateOutcome]:
        """Return the next result. Raises what the input raised, after all results."""
        return self._results.__anext__()

    def asend(self, value: None) -> Coroutine[None, None, UpdateOutcome]:
        """Return the next result, as `anext` does."""
        return self._results.asend(value)

    def athrow(
        self,
        error: BaseException | type[BaseException],
        value: object = None,
        traceback: TracebackType | None = None,
        /,
    ) -> Coroutine[None, None, UpdateOutcome]:
        """Raise an exception where the generator is suspended, which ends the run."""
        if value is None and traceback is None:
            return self._results.athrow(cast("type[BaseException]", error))
        return self._results.athrow(cast("type[BaseException]", error), value, traceback)

    def aclose(self) -> Coroutine[None, None, None]:
        """End the run, and cancel the updates in flight."""
        return self._results.aclose()


async def _results(run: "_Run") -> AsyncGenerator[UpdateOutcome]:
    run.start()
    try:
        while (result := await run.next_result()) is not None:
            yield result
    finally:
        run.source.aborted = True
        try:
            await end_tasks(run.tasks)
        finally:
            run.source.close()
        # Cancellation takes precedence over input errors.
        if run.source.error is not None and not is_cancelled():
            raise run.source.error


class _Run:
    """The state that the workers of one `update_many` share."""

    def __init__(
        self,
        source: PlainInput | AsyncInput,
        update_room: UpdateRoom,
        stop_sending: Callable[[], None],
        concurrency: int,
        max_failures: int | None,
        telemetry: Telemetry,
    ) -> None:
        self.source = source
        self._stop_sending = stop_sending
        self._telemetry = telemetry
        self._update_room = update_room
        self._concurrency = concurrency
        self._failures_left = max_failures
        self._stopped_by: AioroomsError | None = None
        self._waiting: dict[str, tuple[asyncio.Event, ...]] = {}
        """For each room with an unfinished update, the events that start the updates behind it, in order."""
        self.tasks: list[asyncio.Task[None]] = []
        """All tasks of the run. The generator cancels those that are still running when it ends."""
        self._working = concurrency
        """The number of workers that are still running."""
        # The deque is unbounded, so adding a result or the final None never waits. Workers stop pulling while the deque
        # contains `concurrency` results or more, so it never contains more than twice that number.
        self._results: deque[UpdateOutcome | None] = deque()
        self._has_result = asyncio.Event()
        self._has_space = asyncio.Event()

    def start(self) -> None:
        """Start the workers, and the feeder if the input is async."""
        if isinstance(self.source, AsyncInput):
            self.tasks.append(self.source.feed())
        for _ in range(self._concurrency):
            worker = asyncio.create_task(self._worker())
            worker.add_done_callback(self._worker_is_done)
            self.tasks.append(worker)

    def stop(self) -> None:
        """Pull no more items, and begin no further attempt. Do nothing if the run has ended."""
        if not self._working:
            return
        self.source.stop()
        self._stop_sending()
        self._stop_because(AioroomsError("not sent: the run was stopped", reason="stopped"))

    async def next_result(self) -> UpdateOutcome | None:
        """Wait for the next result and return it. None means that there are no more results."""
        if not self._results:
            self._has_result.clear()
            await self._has_result.wait()
        result = self._results.popleft()
        if len(self._results) == self._concurrency - 1:
            self._has_space.set()
        return result

    def _put_result(self, result: UpdateOutcome | None) -> None:
        self._results.append(result)
        self._has_result.set()
        if len(self._results) == self._concurrency:
            self._has_space.clear()

    def _worker_is_done(self, worker: "asyncio.Task[None]") -> None:
        if worker.cancelled():
            if not self.source.aborted:
                self.source.fail(RuntimeError("a worker task of update_many was cancelled from outside"))
        elif (error := worker.exception()) is not None:
            # An exception from a hook in the user's session, or a bug.
            self.source.fail(error)
        self._working -= 1
        if not self._working:
            self._put_result(None)

    async def _worker(self) -> None:
        source = self.source
        while not source.aborted:
            if len(self._results) >= self._concurrency:
                await self._has_space.wait()
            item = source.next_nowait()
            if item is WOULD_BLOCK:
                item = await source.next()
            # Nothing is awaited between here and `_join_queue`. So the updates of a room keep their order.
            if item is END:
                return
            began = time.monotonic()
            try:
                result = await self._outcome(item)
            except BaseException as error:
                report_error(self._telemetry, _read_pair(item)[0], error, time.monotonic() - began)
                raise
            report_result(self._telemetry, result)
            self._put_result(result)

    async def _outcome(self, item: object) -> UpdateOutcome:
        began = time.monotonic()
        room_id, update, problems = _read_pair(item)
        if self._stopped_by is None and problems:
            error = InvalidRequestError(problems)
            self._record_failure(error)
            return NotUpdated(room_id=room_id, update=update, status="failed", error=error)
        room = room_id.lower()
        start = self._join_queue(room)
        try:
            if start is not None:
                await start.wait()
            if self._stopped_by is not None:
                return NotUpdated(
                    room_id=room_id,
                    update=update,
                    status="skipped",
                    error=self._stopped_by,
                    elapsed=time.monotonic() - began,
                )
            assert update is not None  # it is None only if there are problems, which were handled above
            answer = await self._update_room(room_id, update)
        except AioroomsError as error:
            self._record_failure(error)
            return NotUpdated(
                room_id=room_id,
                update=update,
                status=status_of(error),
                error=error,
                attempts=error.attempts,
                elapsed=time.monotonic() - began,
                request_id=error.request_id,
            )
        finally:
            self._leave_queue(room, start)
        return Updated(
            room_id=room_id,
            update=update,
            room=answer.value,
            attempts=answer.attempts,
            elapsed=time.monotonic() - began,
            request_id=answer.received.request_id,
        )

    def _join_queue(self, room: str) -> asyncio.Event | None:
        """Return the event that the update must wait for; None if it can start at once."""
        waiting = self._waiting.get(room)
        if waiting is None:
            self._waiting[room] = ()
            return None
        start = asyncio.Event()
        self._waiting[room] = (*waiting, start)
        return start

    def _leave_queue(self, room: str, start: asyncio.Event | None) -> None:
        """Start the next update of the room, unless this one was cancelled while it was queued."""
        waiting = self._waiting[room]
        if start in waiting:
            self._waiting[room] = tuple(other for other in waiting if other is not start)
        elif waiting:
            waiting[0].set()
            self._waiting[room] = waiting[1:]
        else:
            del self._waiting[room]

    def _record_failure(self, error: AioroomsError) -> None:
        if self._failures_left is not None:
            self._failures_left -= 1
        if ends_run(error) or self._failures_left == 0:
            self._stop_because(error)

    def _stop_because(self, error: AioroomsError) -> None:
        if self._stopped_by is None:
            self._stopped_by = error
            self._telemetry.emit(RunStopped(reason=str(error)))


def _read_pair(item: object) -> tuple[str, RoomUpdate | None, tuple[Problem, ...]]:
    """Return the room id, the update (None if it is not a `RoomUpdate`), and the problems of an item of the input."""
    if not _is_tuple(item) or len(item) != 2:
        shown = quoted(item)
        return shown, None, (Problem("", f"{shown} is not a tuple of a room (or its id) and a RoomUpdate"),)
    room, update = item
    room_id, problems = read_room_ref(room)
    if isinstance(update, RoomUpdate):
        return room_id, update, problems
    wrong = Problem("", f"{quoted(update)} is not a RoomUpdate; RoomUpdate.from_dict() creates one from JSON data")
    return room_id, None, (*problems, wrong)


def _is_tuple(item: object) -> TypeGuard[tuple[object, ...]]:
    return isinstance(item, tuple)
