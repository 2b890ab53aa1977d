"""Apply and resume: a plan is sent with `update_many`, and a journal says at any moment what was sent and what not.

A run has these steps: read back what earlier runs left in flight (`_earlier`), find what was modified by someone else
(`_conflicts`), send the rest (`_sending`), and settle the conflicts. Every begin and every outcome goes through the
ledger (`_ledger`) into the journal.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, closing, suppress
from itertools import chain
from pathlib import Path
from typing import Final

from .._aio import end_tasks
from .._checks import check_at_least
from ..client import RoomsClient
from ..errors import AioroomsError, JournalError, PlanFileError
from ._conflicts import Conflicts
from ._earlier import Earlier, Kept, read_back
from ._files import named
from ._journal import Journal
from ._journal_records import PacingRecord, PacingState, Stop
from ._journal_writer import JournalWriter, now
from ._ledger import Ledger
from ._outcomes import Outcome, StopSignal
from ._plan import Plan
from ._sending import InFlight, rooms_to_send

__all__ = ["BulkRun", "apply", "resume"]

_TICK: Final = 1.0
"""Seconds between two records of the rate limit."""


def apply(
    client: RoomsClient,
    plan: Plan,
    journal: str | Path,
    *,
    concurrency: int = 50,
    force: bool = False,
    max_failures: int | None = None,
) -> "BulkRun":
    """Prepare to apply a plan; the journal is a new file. Nothing is sent before `outcomes` is looped over.

    `force` sends also what was modified by someone else since the plan was made. After `max_failures` failures nothing
    more is begun. Raises `PlanFileError` if the plan is of another server than the client's.
    """
    _check_settings("apply", concurrency, max_failures)
    plan.check_server(client)
    return BulkRun(
        client,
        plan,
        JournalWriter.create(journal, plan),
        concurrency=concurrency,
        max_failures=max_failures,
        kept=Kept(force=force),
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
    """Prepare to continue a journal. What is done stays done.

    `plan` says where the plan is now, if it was moved. `retry_failed` also sends what failed, `force` what was a
    conflict. Raises `JournalError` or `PlanFileError` if there is nothing to continue.
    """
    _check_settings("resume", concurrency, max_failures)
    read = Journal.open(journal)
    opened = _plan_of(read, plan)
    opened.check_server(client)
    return BulkRun(
        client,
        opened,
        JournalWriter.go_on(read),
        concurrency=concurrency,
        max_failures=max_failures,
        kept=Kept(retry_failed=retry_failed, force=force),
        journal_before=read,
    )


def _plan_of(journal: Journal, path: str | Path | None) -> Plan:
    """Open the plan of a journal, at the place that the journal names or at another one."""
    try:
        plan = Plan.open(path or journal.plan_file)
    except PlanFileError as error:
        if path is not None or error.reason != "unreadable":
            raise
        hint = "the journal names it; if it was moved, say where it is with plan="
        raise PlanFileError(error.message, hint=hint, reason="plan_missing") from None
    if (plan.plan_id, plan.sha256) != (journal.plan_id, journal.head.plan_sha256):
        text = f"the journal {named(journal.path)} is of another plan than {named(plan.path)}"
        raise JournalError(text, reason="other_plan")
    return plan


def _check_settings(caller: str, concurrency: int, max_failures: int | None) -> None:
    check_at_least(1, f"{caller}(concurrency=)", concurrency)
    if max_failures is not None:
        check_at_least(1, f"{caller}(max_failures=)", max_failures)


class BulkRun:
    """One run over a plan, made by `apply` or `resume`. It can be looped over once."""

    def __init__(
        self,
        client: RoomsClient,
        plan: Plan,
        journal: AbstractAsyncContextManager[JournalWriter],
        *,
        concurrency: int,
        max_failures: int | None,
        kept: Kept,
        journal_before: Journal | None = None,
    ) -> None:
        self.plan = plan
        self.settled: int = 0
        """Rooms of the plan that had an outcome before this run."""
        self._client = client
        self._journal = journal
        self._concurrency = concurrency
        self._kept = kept
        self._journal_before = journal_before
        self._signal = StopSignal(max_failures)

    @property
    def stopped_by(self) -> str | None:
        """Why nothing more was begun before the end of the plan; None if that isn't so."""
        return self._signal.why

    @property
    def stop_error(self) -> AioroomsError | None:
        """The error that stopped the run, if one did."""
        return self._signal.error

    def stop(self, why: str) -> None:
        """Begin no new update; what is in flight is finished."""
        self._signal.stop(why)

    def rooms_left(self) -> int:
        """Return how many rooms have no outcome yet that they keep. Raises `JournalError` if the journal is damaged."""
        states = () if self._journal_before is None else self._journal_before.states().values()
        return self.plan.rooms - sum(map(self._kept.keeps, states))

    async def outcomes(self) -> AsyncGenerator[Outcome]:
        """Send the plan, and give an `Outcome` for each room that got one in this run.

        Leaving early cancels what is in flight; the journal says what that was, and `resume` reads it back. Raises
        `JournalError` if the journal can't be written any more: then nothing more is sent, and what is in flight is
        finished before. Raises an `APIError` if the account can't be listed.
        """
        signal, client = self._signal, self._client
        async with self._journal as journal, self._recorded(journal):
            ledger = Ledger(journal, signal)
            conflicts = Conflicts(client, self.plan, ledger, force=self._kept.force)
            in_flight = InFlight(ledger, signal, client.webhook_url_policy)
            # Held open, so that another plan in its place does no harm; and checked, as one may be there already.
            with closing(self.plan.open_file()) as file:
                await asyncio.to_thread(self.plan.check, file)
                earlier = await asyncio.to_thread(Earlier.read, journal.states_before, self._kept, self.plan, file)
                self.settled = len(earlier.settled)
                found, again = await read_back(
                    client, earlier.uncertain, conflicts, ledger, signal, concurrency=self._concurrency
                )
                for outcome in found:
                    yield outcome
                if len(earlier.passed_over) < self.plan.rooms:
                    await conflicts.find(earlier.passed_over)
                rooms = chain(again, rooms_to_send(file, self.plan, earlier.passed_over, conflicts))
                results = client.rooms.update_many(
                    in_flight.updates(rooms), concurrency=self._concurrency, max_failures=signal.failures_left
                )
                async with aclosing(results):
                    async for result in results:
                        yield in_flight.outcome(result)
                        for outcome in in_flight.invalid():
                            yield outcome
            for outcome in in_flight.invalid():
                yield outcome
            if ledger.lost is not None:
                raise ledger.lost
            if signal.why is None:
                async with aclosing(conflicts.settle()) as settled:
                    async for outcome in settled:
                        yield outcome

    @asynccontextmanager
    async def _recorded(self, journal: JournalWriter) -> AsyncGenerator[None]:
        """Record the rate limit while the run goes on, and how it ended."""
        ticking = asyncio.create_task(_record_pacing(self._client, journal))
        ended = "interrupted"
        try:
            yield
            ended = "done" if self.stopped_by is None else f"stopped: {self.stopped_by}"
        except AioroomsError as error:
            ended = f"stopped: {error}"
            raise
        finally:
            await end_tasks([ticking])
            with suppress(JournalError):
                journal.write(Stop(stop=ended, at=now()))


async def _record_pacing(client: RoomsClient, journal: JournalWriter) -> None:
    """Write once a second how the run stands with the rate limit, for the report."""
    before = client.pacing.snapshot().rate_limited
    with suppress(JournalError):  # the next outcome meets it too
        while True:
            await asyncio.sleep(_TICK)
            snapshot = client.pacing.snapshot()
            limit = None if snapshot.sustainable_rate is None else round(snapshot.sustainable_rate, 2)
            state = PacingState(refused=snapshot.rate_limited - before, limit=limit, rate=round(snapshot.rate, 2))
            journal.write(PacingRecord(pacing=state, at=now()))
