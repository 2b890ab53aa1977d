"""Apply a plan, or resume an earlier run: send the updates with `update_many`, and record each one in the journal.

A *run* is created by `apply` or `resume`, and has four steps. For example, a plan has 1,000 rooms. The process that
applies it is killed when 600 updates are finished and 50 more are in flight. Then `resume` creates a run with these
steps:

1. The run reads the 50 rooms back (`_earlier`). 30 of them have the wanted values, so their outcome is `updated`. The
   updates of the other 20 must be sent. If lines of the journal are damaged, the rooms that these lines may concern are
   compared with the account first.
2. The run lists the rooms that may have been modified since the plan was made (`_conflicts`). In 2 of the remaining 350
   rooms, someone else changed a planned field. They are *set aside*, which means that their updates are not sent.
3. The run sends the updates of 20 + 348 rooms (`_sending`). Meanwhile, it lists the modified rooms again (`_refresh`),
   and sets further rooms aside.
4. The run lists these rooms again (`_conflicts`). If one of the 2 rooms set aside does not have the wanted values now,
   its outcome is `conflict`.

The journal then has an outcome for each of the 1,000 rooms. If no outcome is `uncertain`, another `resume` sends
nothing.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, closing, suppress
from itertools import chain
from pathlib import Path
from typing import Final

import attrs

from .._aio import end_tasks
from .._checks import check_at_least, check_positive
from ..client import RoomsClient
from ..errors import AioroomsError, JournalError
from ..resources._update_many import UpdateRun
from ._checked_plan import CheckedPlan
from ._conflicts import Conflicts
from ._earlier import EarlierRuns, KeepPolicy, find_applied, read_back, unplanned_rooms
from ._journal import Journal
from ._journal_records import PacingRecord, PacingState, Stop, line_of, recordable
from ._journal_writer import JournalWriter, now
from ._outcomes import Outcome, StopSignal, reason_of
from ._plan import Plan
from ._plan_of_journal import plan_of
from ._plan_records import PlannedLine
from ._reading_steps import ReadingSteps
from ._recorder import Recorder
from ._refresh import Refresher
from ._run_events import record_events
from ._sending import InFlight, rooms_to_send

__all__ = ["OUTAGE_PATIENCE", "BulkRun", "apply", "resume"]

OUTAGE_PATIENCE: Final = 60.0
"""The default of `outage_patience` in seconds, as in `update_many`."""

_PACING_INTERVAL: Final = 1.0
"""Time between two records of the rate limit's state, in seconds."""


def apply(
    client: RoomsClient,
    plan: Plan,
    journal: str | Path,
    *,
    concurrency: int = 50,
    force: bool = False,
    strict: bool = False,
    max_failures: int | None = None,
    limit: int | None = None,
    outage_patience: float | None = OUTAGE_PATIENCE,
    lock: bool = True,
) -> "BulkRun":
    """Return a `BulkRun` that applies a plan. The run sends nothing until you iterate over its `outcomes`.

    The run creates the journal file at the path `journal`. A room is a conflict, and is not updated, if someone else
    changed a planned field after the plan was made, or the other webhook URL if one of the two is planned. With
    `strict`, any modification is a conflict. With `force`, which takes precedence, there are no conflicts, and all
    rooms are updated. After `max_failures` updates that failed, are uncertain or could not be sent, no further update
    begins.

    With `limit`, the run begins at most this many updates, and then ends with `limit_reached`; `resume` continues.
    Rooms that need no update, because they were modified by someone else or have the wanted values, don't count. When
    an outage has lasted `outage_patience` seconds, the run stops. None means that it does not wait for the end of an
    outage, as in `update_many`.

    While the run lasts, the journal and the plan are locked, so that no other run uses them. Pass `lock=False`
    only if their file system has no locks. Raises `PlanFileError` if the plan was made for another server.
    """
    _check_settings("apply", concurrency, max_failures, limit, outage_patience)
    plan.check_server(client)
    return BulkRun(
        client,
        plan,
        JournalWriter.create(journal, plan, lock=lock),
        concurrency=concurrency,
        max_failures=max_failures,
        limit=limit,
        outage_patience=outage_patience,
        strict=strict,
        keep_policy=KeepPolicy(force=force),
    )


def resume(
    client: RoomsClient,
    journal: str | Path,
    *,
    plan: str | Path | None = None,
    concurrency: int = 50,
    force: bool = False,
    strict: bool = False,
    retry_failed: bool = False,
    max_failures: int | None = None,
    limit: int | None = None,
    outage_patience: float | None = OUTAGE_PATIENCE,
    lock: bool = True,
) -> "BulkRun":
    """Return a `BulkRun` that continues the runs recorded in a journal. Successful updates are not repeated.

    If the plan file was moved, `plan` is its new path. With `retry_failed`, failed updates are sent again. `force` and
    `strict` have the same meaning as for `apply`; with `force`, the conflicts of earlier runs are updated too.
    `limit` counts the updates of this run only. `max_failures`, `outage_patience` and `lock` have the same meaning too.
    Damaged lines of the journal are skipped, and the rooms that these lines may concern are
    compared with the account before their update is sent. Raises `JournalError` if the journal can't be opened or
    belongs to another plan, and `PlanFileError` if the plan can't be opened or was made for another server.
    """
    _check_settings("resume", concurrency, max_failures, limit, outage_patience)
    read = Journal.open(journal)
    opened = plan_of(read, plan)
    opened.check_server(client)
    return BulkRun(
        client,
        opened,
        JournalWriter.reopen(read, opened, lock=lock),
        concurrency=concurrency,
        max_failures=max_failures,
        limit=limit,
        outage_patience=outage_patience,
        strict=strict,
        keep_policy=KeepPolicy(retry_failed=retry_failed, force=force),
        journal_before=read,
    )


def _check_settings(
    caller: str, concurrency: int, max_failures: int | None, limit: int | None, outage_patience: float | None
) -> None:
    check_at_least(1, f"{caller}(concurrency=)", concurrency)
    for name, number in (("max_failures", max_failures), ("limit", limit)):
        if number is not None:
            check_at_least(1, f"{caller}({name}=)", number)
    if outage_patience is not None:
        check_positive(f"{caller}(outage_patience=)", outage_patience)


class BulkRun:
    """One run of a plan, created by `apply` or `resume`. You can iterate over `outcomes()` only once."""

    def __init__(
        self,
        client: RoomsClient,
        plan: Plan,
        journal: AbstractAsyncContextManager[JournalWriter],
        *,
        concurrency: int,
        max_failures: int | None,
        limit: int | None,
        outage_patience: float | None,
        strict: bool,
        keep_policy: KeepPolicy,
        journal_before: Journal | None = None,
    ) -> None:
        self.plan = plan
        self.settled: int = 0
        """Number of rooms that keep their outcome from an earlier run; 0 until `outcomes` has read the journal."""
        self.damaged_lines: Sequence[int] = ()
        """The numbers of the damaged lines of the journal; empty until `outcomes` has read the journal."""
        self.unplanned: frozenset[str] = frozenset()
        """The ids of rooms in the journal that are not in the plan; empty until `outcomes` has read the journal.

        The run ignores these rooms. Probably lines of another journal were added to this one.
        """
        self.plan_lock_error: str | None = None
        """Why the plan file can't be locked; None if it is locked, or until `outcomes` has locked it.

        The run goes on without this lock, so another run can apply the plan with another journal at the same time.
        """
        self._client = client
        self._journal = journal
        self._concurrency = concurrency
        self._strict = strict
        self._keep_policy = keep_policy
        self._journal_before = journal_before
        self._outage_patience = outage_patience
        self._signal = StopSignal(max_failures, limit)
        self._conflicts: Conflicts | None = None
        self._reading = ReadingSteps()
        self._results: UpdateRun | None = None
        """The results of step 3; None in the other steps."""

    @property
    def stopped_by(self) -> str | None:
        """The reason why the run was stopped before the end of the plan; None if it was not stopped."""
        return self._signal.reason

    @property
    def stop_error(self) -> AioroomsError | None:
        """The error that stopped the run; None if it was not stopped, or not by an error."""
        return self._signal.error

    @property
    def limit_reached(self) -> bool:
        """Whether the run stopped because `limit` updates had begun and more were left."""
        return self._signal.limit_reached

    @property
    def rooms_compared(self) -> int | None:
        """Number of modified rooms read so far, while the run compares them with the plan; None at any other time."""
        conflicts = self._conflicts
        is_comparing = conflicts is not None and conflicts.compared and conflicts.listed_at is None
        return conflicts.compared if conflicts is not None and is_comparing else None

    @property
    def overwrite_window(self) -> float | None:
        """The longest time in seconds during which a change by someone else was not noticed before an update ended.

        Changes that others made to planned fields less than this time before an update may have been overwritten. The
        time begins with the last complete list of modified rooms before the update. None if no update has ended yet,
        and with `force`.
        """
        return None if self._conflicts is None else self._conflicts.window

    def stop(self, why: str) -> None:
        """Drain the run: begin no further attempt, and let attempts in flight finish.

        An update that waits for the rate limit, for a retry or for the end of an outage is `skipped`, because it was
        not applied, and `resume` sends it. Waits of steps that only read end at once. The journal records the first
        10,000 characters of `why`. Call it in the event loop of the client, such as from
        `loop.add_signal_handler(signal.SIGTERM, run.stop, "SIGTERM")`.
        """
        self._signal.stop(why)
        self._reading.stop()
        if self._results is not None:
            self._results.stop()

    def rooms_left(self) -> int:
        """Return how many rooms of the plan had no outcome to keep when `apply` or `resume` was called.

        The number does not change during the run. Raises `JournalError` if the journal can't be read, and
        `PlanFileError` if the plan can't be read or was modified since `Plan.open`.
        """
        if self._journal_before is None:
            return self.plan.rooms
        kept = [room_id for room_id, state in self._journal_before.states().items() if self._keep_policy.keeps(state)]
        with closing(self.plan.open_file()) as file:
            unplanned = unplanned_rooms(kept, self.plan.room_lines(file))
        return self.plan.rooms - len(kept) + len(unplanned)

    async def outcomes(self) -> AsyncGenerator[Outcome]:
        """Send the planned updates, and yield an `Outcome` for each room that this run handles.

        The run does not handle rooms that keep their outcome from an earlier run. If the run is stopped early, it does
        not handle the rooms that it has not reached. Closing the generator cancels the updates in flight; `resume`
        reads their rooms back. If the journal can't be written, was deleted or was truncated, or if the plan file is
        modified during the run, no further update begins, updates in flight finish, and then `JournalError` or
        `PlanFileError` is raised.

        Also raises `JournalError` if `apply` would overwrite another file, if another run is writing the journal, if
        the journal was replaced since `resume` was called, or if it can't be locked; `PlanFileError` if the plan was
        modified or replaced since `Plan.open`, or if another run is applying it with another journal; and `APIError` if
        the account can't be listed.
        """
        # The plan is checked again because the file may have been modified since `Plan.open`. The file then stays open,
        # so replacing it later has no effect. It is opened twice: updates are read from it in order, while rooms of the
        # account are looked up in any order.
        with closing(self.plan.open_file()) as file, closing(self.plan.open_file()) as lookup:
            plan = await asyncio.to_thread(CheckedPlan, self.plan, file)
            async with self._journal as journal, self._recorded(journal):
                self.damaged_lines = journal.before.damaged_lines
                self.plan_lock_error = journal.plan_lock_error
                recorder = Recorder(journal, self._signal)
                self._conflicts = conflicts = Conflicts(
                    self._client, plan, lookup, recorder, force=self._keep_policy.force, strict=self._strict
                )
                earlier = await asyncio.to_thread(EarlierRuns.read, journal.before, self._keep_policy, plan)
                self.unplanned = earlier.unplanned
                shared = _Shared(plan, recorder, conflicts, earlier)
                for step in (self._read_back, self._send, self._compare_set_aside):
                    async with aclosing(step(shared)) as outcomes:
                        async for outcome in outcomes:
                            yield outcome

    async def _read_back(self, shared: "_Shared") -> AsyncGenerator[Outcome]:
        """Yield the outcomes of the rooms that already have the wanted values, or can't be read back (step 1)."""
        earlier, conflicts, recorder = shared.earlier, shared.conflicts, shared.recorder
        # `apply` begins with an empty journal, so it has nothing to find.
        force = self._keep_policy.force and self._journal_before is not None
        finding = find_applied(earlier, shared.plan, conflicts, recorder, force=force)
        outcomes = await self._reading.run(finding) or []
        found = {outcome.room_id for outcome in outcomes}
        self.settled = len(earlier.settled - found)
        shared.excluded = earlier.excluded | found
        for outcome in outcomes:
            yield outcome
        outcomes, shared.read_back = await read_back(
            self._client,
            earlier.uncertain,
            conflicts,
            recorder,
            self._signal,
            self._reading,
            concurrency=self._concurrency,
        )
        for outcome in outcomes:
            yield outcome

    async def _send(self, shared: "_Shared") -> AsyncGenerator[Outcome]:
        """Find the conflicts (step 2), send the updates of all other rooms, and yield their outcomes (step 3)."""
        client, signal, conflicts, recorder = self._client, self._signal, shared.conflicts, shared.recorder
        if shared.read_back or len(shared.excluded) < self.plan.rooms:
            await self._reading.run(conflicts.find(shared.excluded, shared.read_back))
        refresher = Refresher(conflicts, signal)
        in_flight = InFlight(recorder, signal, conflicts, refresher, client.webhook_url_policy)
        sendable = (planned for planned in shared.read_back if not conflicts.set_aside(planned))
        rooms = chain(sendable, rooms_to_send(shared.plan, shared.excluded, conflicts))
        self._results = results = client.rooms.update_many(
            in_flight.updates(rooms),
            concurrency=self._concurrency,
            max_failures=signal.failures_left,
            outage_patience=self._outage_patience,
        )
        async with refresher.running(), aclosing(results):
            try:
                async for result in results:
                    yield in_flight.outcome(result)
                    for outcome in in_flight.invalid():
                        yield outcome
            finally:
                self._results = None
                in_flight.abort()
        for outcome in in_flight.invalid():
            yield outcome
        if recorder.write_error is not None:
            raise recorder.write_error

    async def _compare_set_aside(self, shared: "_Shared") -> AsyncGenerator[Outcome]:
        """Yield the outcomes of the rooms set aside, unless the run was stopped (step 4)."""
        if self._signal.reason is None:
            async with aclosing(shared.conflicts.compare_set_aside()) as compared:
                while (outcome := await self._reading.run(_next_of(compared))) is not None:
                    yield outcome

    @asynccontextmanager
    async def _recorded(self, journal: JournalWriter) -> AsyncGenerator[None]:
        """Record the state of the rate limit during the run, and how the run ended."""
        recording = asyncio.create_task(_record_pacing(self._client, journal))
        stop_events = record_events(self._client, journal)
        ended = "interrupted"
        try:
            yield
            ended = "done" if self.stopped_by is None else f"stopped: {self._stop_text()}"
        except Exception as error:
            ended = f"stopped: {reason_of(error)}"
            raise
        finally:
            stop_events()
            try:
                await end_tasks([recording])
            finally:  # even if the run is cancelled again
                with suppress(JournalError):
                    journal.write(line_of(Stop(stop=recordable(ended), at=now())))

    def _stop_text(self) -> str:
        """Return why the run was stopped, as the journal records it: the cause first, then the last failure."""
        error = self.stop_error
        if error is None or error.reason != "outage_patience":
            return str(self.stopped_by)
        patience = f"the server was unavailable for more than {self._outage_patience:g} s"
        return f"{patience}; the last failure: {error.message}"


@attrs.define(eq=False)
class _Shared:
    """What the steps of a run share."""

    plan: CheckedPlan
    recorder: Recorder
    conflicts: Conflicts
    earlier: EarlierRuns
    excluded: frozenset[str] = frozenset()
    """The ids of the rooms that step 3 skips; known after step 1."""
    read_back: Sequence[PlannedLine] = ()
    """The rooms that were read back and must be updated; known after step 1."""


async def _next_of(outcomes: AsyncGenerator[Outcome]) -> Outcome | None:
    return await anext(outcomes, None)


async def _record_pacing(client: RoomsClient, journal: JournalWriter) -> None:
    """Record the state of the rate limit once a second, for the report."""
    before = client.pacing.snapshot().rate_limited
    with suppress(JournalError):  # the error isn't lost: writing the next outcome raises it again
        while True:
            await asyncio.sleep(_PACING_INTERVAL)
            snapshot = client.pacing.snapshot()
            limit = None if snapshot.sustainable_rate is None else round(snapshot.sustainable_rate, 2)
            state = PacingState(refused=snapshot.rate_limited - before, limit=limit, rate=round(snapshot.rate, 2))
            journal.write(line_of(PacingRecord(pacing=state, at=now())))
