"""Apply and resume: a plan is sent with `update_many`, and a journal says at any moment what was sent and what not.

The account is listed while the plan is applied, some pages ahead of what is sent. So each room is compared with the
plan shortly before its update goes out, and that takes no request for each room. A room that somebody changed since the
plan was made is a conflict, and is left alone, unless the run is forced.

A resume begins with the rooms whose outcome nobody knows: those that were under way when the last run ended. Each is
read; if it has the wanted values, it is done, and else it is sent as if it had never been. All that have an outcome
keep it.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, suppress
from pathlib import Path
from typing import Final

import attrs

from .._cancellation import end_tasks
from .._settings import check_at_least
from .._text import quoted
from ..client import RoomsClient
from ..errors import (
    AioroomsError,
    APIError,
    AuthenticationError,
    ClientStateError,
    JournalError,
    NotFoundError,
    PermissionDeniedError,
    PlanFileError,
)
from ..models import Room, RoomPage, RoomUpdate, UpdateResult
from ._journal import Ending, Journal, JournalWriter, now
from ._plan import Plan, PlanIndex, PlannedUpdate, differing, read_planned, timestamp

__all__ = ["BulkRun", "Outcome", "apply", "resume"]

_PAGES_AHEAD: Final = 4
"""Pages of rooms that are read ahead of what is sent."""

_TICK: Final = 1.0
"""Seconds."""


@attrs.frozen(kw_only=True)
class Outcome:
    """How the update of one planned room ended in this run."""

    room_id: str
    unique_name: str | None
    """The room's name when the plan was made."""
    status: Ending
    """`updated`, `failed`, `uncertain`, `skipped` (not sent), or `conflict` (somebody changed it; not touched)."""
    error: str | None = None
    """One line, unless the room was updated."""
    attempts: int = 0
    found: bool = False
    """The room was found to have the wanted values, and nothing was sent."""


def apply(
    client: RoomsClient,
    plan: Plan,
    journal: str | Path,
    *,
    concurrency: int = 50,
    force: bool = False,
    max_failures: int | None = None,
) -> "BulkRun":
    """Make ready to apply a plan; the journal is a new file. Nothing is sent before `outcomes` is looped over.

    `force` sends also what somebody changed since the plan was made. After `max_failures` failures nothing more is
    begun. Raises `PlanFileError` if the plan is of another server than the client's.
    """
    _same_server(client, plan)
    return BulkRun(
        client, plan, JournalWriter.create(journal, plan), concurrency, force=force, max_failures=max_failures
    )


def resume(
    client: RoomsClient,
    journal: str | Path,
    *,
    plan: str | Path | None = None,
    concurrency: int = 50,
    force: bool = False,
    retry_failed: bool = False,
    max_failures: int | None = None,
) -> "BulkRun":
    """Make ready to go on with a journal. What is done stays done.

    `plan` says where the plan is now, if it was moved. `retry_failed` also sends what failed, `force` what was a
    conflict. Raises `JournalError` or `PlanFileError` if there is nothing to go on with.
    """
    check_at_least(1, "resume(concurrency=)", concurrency)
    read = Journal.open(journal)
    try:
        opened = Plan.open(plan or read.plan_file)
    except PlanFileError as error:
        if plan is None:
            error.hint = "the journal names it; if it was moved, say where it is with --plan"
        raise
    if (opened.plan_id, opened.sha256) != (read.plan_id, read.header["plan_sha256"]):
        raise JournalError(f"the journal {quoted(str(journal))} is of another plan than {quoted(str(opened.path))}")
    _same_server(client, opened)
    return BulkRun(
        client,
        opened,
        JournalWriter.go_on(read),
        concurrency,
        force=force,
        max_failures=max_failures,
        earlier=read,
        retry_failed=retry_failed,
    )


def _same_server(client: RoomsClient, plan: Plan) -> None:
    if client.base_url != plan.base_url:
        raise PlanFileError(
            f"the plan {quoted(str(plan.path))} was made for {plan.base_url}, not for {client.base_url}"
        )


class BulkRun:
    """One run over a plan, made by `apply` or `resume`. It can be looped over once."""

    def __init__(
        self,
        client: RoomsClient,
        plan: Plan,
        journal: AbstractAsyncContextManager[JournalWriter],
        concurrency: int,
        *,
        force: bool,
        max_failures: int | None,
        earlier: Journal | None = None,
        retry_failed: bool = False,
    ) -> None:
        self.plan = plan
        self.stopped_by: str | None = None
        """Why nothing more was begun before the end of the plan; None if that isn't so."""
        self.settled = 0
        """Rooms of the plan that had an outcome before this run."""
        self._client = client
        self._held_journal = journal
        self._concurrency = concurrency
        self._force = force
        self._failures_left = max_failures
        self._earlier = earlier
        self._retry_failed = retry_failed
        self._ready: deque[tuple[bytes, PlannedUpdate]] = deque()
        """What may be sent: the lines of the plan, and what they say."""
        self._pages: asyncio.Queue[RoomPage | Exception | None] = asyncio.Queue(_PAGES_AHEAD)
        """Pages of the account; in the end None, or what ended the list."""
        self._is_listed = False
        """Whether all rooms of the account were seen."""
        self._under_way: dict[str, PlannedUpdate] = {}
        self._aside: deque[Outcome] = deque()
        """Outcomes of rooms that need not be sent."""
        self._broken: JournalError | None = None

    def stop(self, why: str) -> None:
        """Begin no new update; what is under way is finished."""
        if self.stopped_by is None:
            self.stopped_by = why
        if self._pages.empty():
            self._pages.put_nowait(None)  # for whoever waits for a page

    async def outcomes(self) -> AsyncGenerator[Outcome]:
        """Send the plan, and give an `Outcome` for each room that got one in this run.

        Leaving early cancels what is under way; the journal says what that was, and `resume` looks at it. Raises
        `JournalError` if the journal can't be written any more: then nothing more is sent, and what is under way is
        finished before. Raises an `APIError` if the account can't be listed.
        """
        async with self._held_journal as journal:
            self._journal = journal
            self._index = index = await asyncio.to_thread(PlanIndex, self.plan)
            ticking = asyncio.create_task(self._tick())
            ended = "interrupted"
            try:
                for outcome in await self._settle_earlier():
                    yield outcome
                async with aclosing(self._send_all()) as outcomes:
                    async for outcome in outcomes:
                        yield outcome
                ended = "done" if self.stopped_by is None else f"stopped: {self.stopped_by}"
            except AioroomsError as error:
                if isinstance(error, JournalError):
                    error.hint = "nothing more was sent; `aiorooms resume` looks at what was under way"
                ended = f"stopped: {error}"
                raise
            finally:
                index.close()
                await end_tasks([ticking])
                with suppress(JournalError):
                    journal.write({"stop": ended, "at": now()})

    # --- what an earlier run left ---

    async def _settle_earlier(self) -> Sequence[Outcome]:
        if self._earlier is None:
            return ()
        unknown: list[bytes] = []
        # Read again, as only now nobody else writes it.
        for room_id, state in Journal.open(self._earlier.path).states().items():
            if state in ("begun", "uncertain"):
                if (line := self._index.take(room_id)) is not None:
                    unknown.append(line)
            elif not (
                state == "skipped"
                or (state == "failed" and self._retry_failed)
                or (state == "conflict" and self._force)
            ):
                self._index.take(room_id)
                self.settled += 1
        outcomes: list[Outcome] = []
        for begin in range(0, len(unknown), self._concurrency):
            if self.stopped_by is not None:
                break
            some = unknown[begin : begin + self._concurrency]
            async with asyncio.TaskGroup() as group:
                looks = [group.create_task(self._look(line)) for line in some]
            outcomes += [outcome for look in looks if (outcome := look.result()) is not None]
        return outcomes

    async def _look(self, line: bytes) -> Outcome | None:
        """Find out what became of a room that was under way; None if it is to be sent."""
        planned = read_planned(line)
        try:
            room = await self._client.rooms.retrieve(planned.room_id)
        except NotFoundError:
            return self._end(planned, "conflict", error=_gone(planned.room_id))
        except (APIError, ClientStateError) as error:
            if isinstance(error, (AuthenticationError, PermissionDeniedError, ClientStateError)):
                self.stop(str(error))
            # Its line says `begun` or `uncertain` as it did before: the next resume looks again.
            return Outcome(
                room_id=planned.room_id, unique_name=planned.unique_name, status="uncertain", error=str(error)
            )
        return self._compare(line, planned, room)

    def _compare(self, line: bytes, planned: PlannedUpdate, room: Room) -> Outcome | None:
        """Make a room ready to be sent, unless that isn't needed or somebody else has changed it."""
        if not differing(room, planned.after):
            return self._end(planned, "updated", found=True, updated_at=timestamp(room.updated_at))
        if planned.has_changed(room) and not self._force:
            return self._end(planned, "conflict", error=_changed(planned, room))
        self._ready.append((line, planned))
        return None

    # --- sending ---

    async def _send_all(self) -> AsyncGenerator[Outcome]:
        listing = asyncio.create_task(self._list())
        try:
            while self.stopped_by is None and (self._ready or (self._index.left_over and not self._is_listed)):
                if not self._ready:
                    self._take_page(await self._pages.get())
                    while self._aside:
                        yield self._aside.popleft()
                    continue
                # As long as pages come faster than they are used up, one `update_many` goes through them all.
                async with aclosing(self._send_ready()) as outcomes:
                    async for outcome in outcomes:
                        yield outcome
        finally:
            await end_tasks([listing])
        if self._broken is not None:
            raise self._broken
        if self.stopped_by is None:
            for line in self._index.left():
                planned = read_planned(line)
                yield self._end(planned, "conflict", error=_gone(planned.room_id))

    async def _list(self) -> None:
        try:
            async with aclosing(self._client.rooms.list().pages()) as listed:
                async for page in listed:
                    await self._pages.put(page)
        except Exception as error:  # noqa: BLE001 - raised where the page is taken
            await self._pages.put(error)
        else:
            await self._pages.put(None)

    def _take_page(self, page: "RoomPage | Exception | None") -> None:
        """Compare the rooms of a page with the plan."""
        if isinstance(page, Exception):
            raise page
        if page is None:
            self._is_listed = True
            return
        for room in page.rooms:
            if room.id is not None and (line := self._index.take(room.id)) is not None:
                planned = read_planned(line)
                if (outcome := self._compare(line, planned, room)) is not None:
                    self._aside.append(outcome)

    async def _send_ready(self) -> AsyncGenerator[Outcome]:
        results = self._client.rooms.update_many(
            self._items(), concurrency=self._concurrency, stop_after_failures=self._failures_left
        )
        async with aclosing(results):
            async for result in results:
                yield self._note(result)
                while self._aside:
                    yield self._aside.popleft()
        while self._aside:
            yield self._aside.popleft()

    def _items(self) -> Iterator[tuple[str, RoomUpdate]]:
        while self.stopped_by is None:
            if self._ready:
                line, planned = self._ready.popleft()
                update = planned.update(self._client.webhook_url_policy)
                self._journal.begin(line, planned.room_id)
                self._under_way[planned.room_id] = planned
                yield planned.room_id, update
            elif self._pages.empty():
                return
            else:
                self._take_page(self._pages.get_nowait())

    def _note(self, result: UpdateResult) -> Outcome:
        planned = self._under_way.pop(result.room_id)
        elapsed = round(result.elapsed, 4)
        if result.error is None:
            updated_at = None if result.room is None else timestamp(result.room.updated_at)
            return self._end(planned, "updated", attempts=result.attempts, elapsed=elapsed, updated_at=updated_at)
        text, kind = str(result.error), type(result.error).__name__
        if result.status == "skipped":
            self.stop(text)
        elif self._failures_left is not None:
            self._failures_left -= 1
            if not self._failures_left:
                self.stop(f"as many failures as are allowed, the last one: {text}")
        return self._end(planned, result.status, error=text, error_type=kind, attempts=result.attempts, elapsed=elapsed)

    def _end(
        self,
        planned: PlannedUpdate,
        status: Ending,
        *,
        error: str | None = None,
        attempts: int = 0,
        found: bool = False,
        **more: object,
    ) -> Outcome:
        """Write the outcome of a room into the journal, and give it."""
        record = {"attempts": attempts, "error": error, "found": found or None, **more}
        try:
            self._journal.end(planned.room_id, status, {k: value for k, value in record.items() if value is not None})
        except JournalError as broken:
            # The journal says that it was begun: `resume` looks at it. What is under way may still end.
            self._broken = broken
            self.stop(str(broken))
        return Outcome(
            room_id=planned.room_id,
            unique_name=planned.unique_name,
            status=status,
            error=error,
            attempts=attempts,
            found=found,
        )

    async def _tick(self) -> None:
        """Note once a second how things stand with the rate limit, for the report."""
        with suppress(JournalError):  # whoever writes next meets it too
            while True:
                await asyncio.sleep(_TICK)
                told = self._client.pacing.snapshot()
                limit = None if told.sustainable_rate is None else round(told.sustainable_rate, 2)
                figures = {"refused": told.refused, "limit": limit, "rate": round(told.rate, 2)}
                self._journal.write({"pacing": figures, "at": now()})


def _gone(room_id: str) -> str:
    return f"room {room_id} is not in the account any more"


def _changed(planned: PlannedUpdate, room: Room) -> str:
    when = "" if room.updated_at is None else f" ({timestamp(room.updated_at)})"
    return f"room {planned.room_id} was changed by somebody else since the plan was made{when}"
