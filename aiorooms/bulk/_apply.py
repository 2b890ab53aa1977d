"""Apply and resume: a plan is sent with `update_many`, and a journal says at any moment what was sent and what not.

A room that somebody changed since the plan was made is a conflict, and is left alone, unless the run is forced.
Whatever changed since has a later `updated_at` than any room of the plan, and the API lists rooms by the day of that:
so before anything is sent, the rooms that were updated on the plan's last day or later are listed, mostly a few. Those
of them that are in the plan with another `updated_at` are set aside. In the end they are listed once more: one that
has the wanted values by now is done, the others are conflicts. What is changed while the run goes on is not seen.

A resume begins with the rooms whose outcome nobody knows: those that were under way when the last run ended. Each is
read; if it has the wanted values, it is done, and else it is sent as if it had never been. All that have an outcome
keep it.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, suppress
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Final, TypedDict, cast

import attrs

from .._aio import end_tasks
from .._settings import check_at_least
from ..client import RoomsClient
from ..errors import (
    AioroomsError,
    APIError,
    AuthenticationError,
    ClientStateError,
    InvalidRequestError,
    JournalError,
    NotFoundError,
    PermissionDeniedError,
    PlanFileError,
)
from ..models import Room, RoomFields, RoomUpdate, UpdateResult
from ..models._converter import loads
from ..resources._pages import RoomList
from ._files import named
from ._journal import Ending, Journal, JournalWriter, RoomState, now
from ._plan_file import Plan, PlannedUpdate, differing, read_planned, timestamp

__all__ = ["BulkRun", "Outcome", "apply", "resume"]

_TICK: Final = 1.0
"""Seconds."""

_MOST_MADE: Final = 100
"""Updates that are kept, as other rooms may get the same."""


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
    error_type: str | None = None
    """The class of the error, such as `NotFoundError`; None if there is none, and for a conflict."""
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
    _check_settings("apply", concurrency, max_failures)
    plan.check_server(client)
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
    _check_settings("resume", concurrency, max_failures)
    read = Journal.open(journal)
    try:
        opened = Plan.open(plan or read.plan_file)
    except PlanFileError as error:
        if plan is None:
            error.hint = "the journal names it; if it was moved, say where it is with --plan"
        raise
    if (opened.plan_id, opened.sha256) != (read.plan_id, read.header["plan_sha256"]):
        raise JournalError(f"the journal {named(read.path)} is of another plan than {named(opened.path)}")
    opened.check_server(client)
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


def _check_settings(caller: str, concurrency: int, max_failures: int | None) -> None:
    check_at_least(1, f"{caller}(concurrency=)", concurrency)
    if max_failures is not None:
        check_at_least(1, f"{caller}(max_failures=)", max_failures)


class _PlanLine(TypedDict):
    """A line of a plan, as it stands there."""

    room_id: str
    unique_name: str | None
    updated_at: str | None
    after: RoomFields


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
        self.settled: int = 0
        """Rooms of the plan that had an outcome before this run."""
        self._client = client
        self._held_journal = journal
        self._concurrency = concurrency
        self._force = force
        self._failures_left = max_failures
        self._earlier = earlier
        self._retry_failed = retry_failed
        self._passed_over: set[str] = set()
        """Rooms of the plan that have their outcome, or are taken care of apart from the others."""
        self._again: list[bytes] = []
        """Lines of the plan whose rooms were under way before, and are to be sent."""
        self._seen: dict[str, datetime | None] = {}
        """When the rooms were updated that were listed in the beginning."""
        self._suspects: dict[str, bytes] = {}
        """Rooms that changed since the plan was made, with their lines of it."""
        self._under_way: dict[str, str | None] = {}
        """The rooms that were begun and have no outcome yet, with their names."""
        self._refused: deque[Outcome] = deque()
        """Outcomes of rooms whose update was refused before anything was sent."""
        self._broken: JournalError | None = None

    def stop(self, why: str) -> None:
        """Begin no new update; what is under way is finished."""
        if self.stopped_by is None:
            self.stopped_by = why

    def rooms_left(self) -> int:
        """Give how many rooms have no outcome yet that they keep. Raises `JournalError` if the journal is damaged."""
        states = () if self._earlier is None else self._earlier.states().values()
        return self.plan.rooms - sum(map(self._keeps, states))

    async def outcomes(self) -> AsyncGenerator[Outcome]:
        """Send the plan, and give an `Outcome` for each room that got one in this run.

        Leaving early cancels what is under way; the journal says what that was, and `resume` looks at it. Raises
        `JournalError` if the journal can't be written any more: then nothing more is sent, and what is under way is
        finished before. Raises an `APIError` if the account can't be listed.
        """
        async with self._held_journal as journal:
            self._journal = journal
            ticking = asyncio.create_task(self._tick())
            ended = "interrupted"
            file: BinaryIO | None = None
            try:
                # Held open, so that another plan in its place does no harm; and read, as one may be there already.
                file = self.plan.open_file()
                await asyncio.to_thread(self.plan.check, file)
                for outcome in await self._settle_earlier(file):
                    yield outcome
                if not self._force and len(self._passed_over) < self.plan.rooms:
                    await self._list_changed()
                results = self._client.rooms.update_many(
                    self._items(file), concurrency=self._concurrency, stop_after_failures=self._failures_left
                )
                async with aclosing(results):
                    async for result in results:
                        yield self._note(result)
                        while self._refused:
                            yield self._refused.popleft()
                while self._refused:
                    yield self._refused.popleft()
                if self._broken is not None:
                    raise self._broken
                for outcome in await self._settle_suspects():
                    yield outcome
                ended = "done" if self.stopped_by is None else f"stopped: {self.stopped_by}"
            except AioroomsError as error:
                if isinstance(error, JournalError):
                    error.hint = "nothing more was sent; `aiorooms resume` looks at what was under way"
                ended = f"stopped: {error}"
                raise
            finally:
                if file is not None:
                    file.close()
                await end_tasks([ticking])
                with suppress(JournalError):
                    journal.write({"stop": ended, "at": now()})

    # --- what an earlier run left ---

    async def _settle_earlier(self, file: BinaryIO) -> Sequence[Outcome]:
        """Look at what was under way when the last run ended; give what that settles."""
        if self._earlier is None:
            return ()
        unknown = iter(await asyncio.to_thread(self._read_earlier, file))
        outcomes: list[Outcome] = []

        async def work() -> None:
            for line in unknown:
                if self.stopped_by is not None:
                    return
                if (outcome := await self._look(line)) is not None:
                    outcomes.append(outcome)

        async with asyncio.TaskGroup() as group:
            for _ in range(self._concurrency):
                group.create_task(work())
        return outcomes

    def _read_earlier(self, file: BinaryIO) -> list[bytes]:
        """Give the lines of the rooms of which the journal doesn't know the outcome."""
        assert self._earlier is not None
        # Opened again, as only now nobody else writes it.
        unknown: set[str] = set()
        for room_id, state in Journal.open(self._earlier.path).states().items():
            if state in ("begun", "uncertain"):
                unknown.add(room_id)
            elif self._keeps(state):
                self._passed_over.add(room_id)
                self.settled += 1
        self._passed_over |= unknown
        if not unknown:
            return []
        lines = self.plan.lines(file)
        next(lines)
        return [line for line in lines if read_planned(line).room_id in unknown]

    def _keeps(self, state: RoomState) -> bool:
        """Whether a room keeps the outcome that an earlier run gave it."""
        if state == "failed":
            return not self._retry_failed
        if state == "conflict":
            return not self._force
        return state == "updated"

    async def _look(self, line: bytes) -> Outcome | None:
        """Find out what became of a room that was under way; None if it is to be sent."""
        planned = read_planned(line)
        room_id, name = planned.room_id, planned.unique_name
        try:
            room = await self._client.rooms.retrieve(room_id)
        except NotFoundError as error:
            return self._end(room_id, name, "failed", error=str(error), error_type=type(error).__name__)
        except (APIError, ClientStateError) as error:
            if isinstance(error, (AuthenticationError, PermissionDeniedError, ClientStateError)):
                self.stop(str(error))
            # Its line says `begun` or `uncertain` as it did before: the next resume looks again.
            return Outcome(
                room_id=room_id, unique_name=name, status="uncertain", error=str(error), error_type=type(error).__name__
            )
        if (outcome := self._compare(planned, room)) is None:
            self._again.append(line)
        return outcome

    def _compare(self, planned: PlannedUpdate, room: Room) -> Outcome | None:
        """Give the outcome of a room that has the wanted values already, or is a conflict; None if it is neither."""
        if not differing(room, planned.after):
            at = timestamp(room.updated_at)
            return self._end(planned.room_id, planned.unique_name, "updated", found=True, updated_at=at)
        if planned.has_changed(room) and not self._force:
            return self._end(planned.room_id, planned.unique_name, "conflict", error=_changed(room))
        return None

    # --- what somebody else changed ---

    async def _list_changed(self) -> None:
        """Note when the rooms were updated that may have changed since the plan was made."""
        async for room in self._changed_rooms():
            if room.id is not None and room.id not in self._passed_over:
                self._seen[room.id] = room.updated_at

    def _changed_rooms(self) -> RoomList:
        latest = self.plan.latest_update
        if latest is None:
            return self._client.rooms.list()
        # A day more, should the server's days be of another time zone.
        return self._client.rooms.list(date_updated_at_gte=latest.astimezone(UTC).date() - timedelta(days=1))

    async def _settle_suspects(self) -> Sequence[Outcome]:
        """Compare the rooms that were set aside with the plan."""
        if not self._suspects or self.stopped_by is not None:
            return ()
        outcomes: list[Outcome] = []
        async for room in self._changed_rooms():
            if room.id is not None and (line := self._suspects.pop(room.id, None)) is not None:
                planned = read_planned(line)
                outcome = self._compare(planned, room)
                # Who changed it may have changed it back: then it is for the next resume.
                if outcome is not None:
                    outcomes.append(outcome)
        for line in self._suspects.values():
            planned = read_planned(line)
            text = f"room {planned.room_id} was changed by somebody else since the plan was made, and is gone"
            outcomes.append(self._end(planned.room_id, planned.unique_name, "conflict", error=text))
        return outcomes

    # --- sending ---

    def _items(self, file: BinaryIO) -> Iterator[tuple[str, RoomUpdate]]:
        policy = self._client.webhook_url_policy
        made: dict[bytes, RoomUpdate] = {}
        for line, planned in self._to_send(file):
            if self.stopped_by is not None:
                return
            room_id, name = planned["room_id"], planned["unique_name"]
            # Many rooms get the same, and to check that again takes as long as all else that is done here.
            after = line[line.rindex(b',"after":') :]
            update = made.get(after)
            try:
                if update is None:
                    update = RoomUpdate(**planned["after"], webhook_url_policy=policy)
                    if len(made) == _MOST_MADE:
                        made.clear()
                    made[after] = update
            except InvalidRequestError as error:
                # The plan was made under another policy for webhook URLs.
                self._count_failure(str(error))
                outcome = self._end(room_id, name, "failed", error=str(error), error_type=type(error).__name__)
                self._refused.append(outcome)
                continue
            self._journal.begin(line, room_id)
            self._under_way[room_id] = name
            yield room_id, update

    def _to_send(self, file: BinaryIO) -> "Iterator[tuple[bytes, _PlanLine]]":
        for line in self._again:
            yield line, cast("_PlanLine", loads(line))
        file.seek(0)
        file.readline()
        for line in islice(file, self.plan.rooms):  # which were checked already
            planned = cast("_PlanLine", loads(line))
            room_id = planned["room_id"]
            if room_id not in self._passed_over and not (room_id in self._seen and self._is_suspect(line, planned)):
                yield line, planned

    def _is_suspect(self, line: bytes, planned: "_PlanLine") -> bool:
        """Set a room aside if it was updated since the plan was made."""
        room_id, planned_at = planned["room_id"], planned["updated_at"]
        seen_at = self._seen[room_id]
        if planned_at is not None and seen_at == datetime.fromisoformat(planned_at):
            return False
        self._suspects[room_id] = line
        return True

    def _note(self, result: UpdateResult) -> Outcome:
        name = self._under_way.pop(result.room_id)
        if result.error is None:
            at = None if result.room is None else timestamp(result.room.updated_at)
            try:
                self._journal.updated(result.room_id, result.attempts, result.elapsed, at)
            except JournalError as broken:
                self._break(broken)
            return Outcome(room_id=result.room_id, unique_name=name, status="updated", attempts=result.attempts)
        text, kind = str(result.error), type(result.error).__name__
        if result.status == "skipped":
            self.stop(text)
        else:
            self._count_failure(text)
        return self._end(
            result.room_id,
            name,
            result.status,
            error=text,
            error_type=kind,
            attempts=result.attempts,
            elapsed=round(result.elapsed, 4),
        )

    def _count_failure(self, text: str) -> None:
        if self._failures_left is not None:
            self._failures_left -= 1
            if self._failures_left == 0:
                self.stop(f"as many failures as are allowed, the last one: {text}")

    def _end(
        self,
        room_id: str,
        unique_name: str | None,
        status: Ending,
        *,
        error: str | None = None,
        error_type: str | None = None,
        attempts: int = 0,
        elapsed: float | None = None,
        updated_at: str | None = None,
        found: bool = False,
    ) -> Outcome:
        """Write the outcome of a room into the journal, and give it."""
        more: dict[str, object] = {"attempts": attempts}
        if elapsed is not None:
            more["elapsed"] = elapsed
        if updated_at is not None:
            more["updated_at"] = updated_at
        if error is not None:
            more["error"] = error
        if error_type is not None:
            more["error_type"] = error_type
        if found:
            more["found"] = True
        try:
            self._journal.end(room_id, status, more)
        except JournalError as broken:
            self._break(broken)
        return Outcome(
            room_id=room_id,
            unique_name=unique_name,
            status=status,
            error=error,
            error_type=error_type,
            attempts=attempts,
            found=found,
        )

    def _break(self, broken: JournalError) -> None:
        """Begin nothing more, as the outcome of a room can't be written into the journal.

        The journal says that it was begun: `resume` looks at it. What is under way may still end.
        """
        self._broken = broken
        self.stop(str(broken))

    async def _tick(self) -> None:
        """Note once a second how things stand with the rate limit, for the report."""
        refused_before = self._client.pacing.snapshot().refused
        with suppress(JournalError):  # whoever writes next meets it too
            while True:
                await asyncio.sleep(_TICK)
                told = self._client.pacing.snapshot()
                limit = None if told.sustainable_rate is None else round(told.sustainable_rate, 2)
                figures = {"refused": told.refused - refused_before, "limit": limit, "rate": round(told.rate, 2)}
                self._journal.write({"pacing": figures, "at": now()})


def _changed(room: Room) -> str:
    when = "" if room.updated_at is None else f" ({timestamp(room.updated_at)})"
    return f"room {room.id} was changed by somebody else since the plan was made{when}"
