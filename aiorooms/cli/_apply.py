"""`aiorooms apply` and `resume`: carry out a plan, with a journal that tells the truth after any crash."""

import sys
from collections import Counter
from collections.abc import Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Final

import click

from .. import bulk
from ..bulk import BulkRun, Journal, Outcome, Plan
from ..client import RoomsClient
from ..errors import APIError, JournalError
from ._command import Command, InvalidInputError
from ._exit_codes import OK
from ._json import JsonValue, dumps
from ._many import NOT_UPDATED, ManyUpdates
from ._options import FILE, bulk_options, make_client_and_keep_url
from ._output import Output, command_line
from ._words import error_line

__all__ = ["apply", "resume"]

_MAX_LINES: Final = 50
"""Lines about single rooms; all of them are in the journal."""


@click.command(cls=Command, steps=[make_client_and_keep_url])
@click.argument("path", metavar="PLAN", type=FILE)
@click.option("--journal", metavar="FILE", type=FILE, help="Where to write the journal.  [default: PLAN.journal]")
@bulk_options
def apply(
    path: Path,
    journal: Path | None,
    force: bool,
    max_failures: int | None,
    concurrency: int,
    yes: bool,
    base_url: str | None,
    client: RoomsClient,
    as_json: bool,
) -> int:
    """Carry out a plan.

    A journal records what is sent and how it ends, so the run may end at any moment, also by a crash: `aiorooms resume`
    goes on with it, and `aiorooms rollback` plans the way back. A room that was modified by someone else since the plan
    was made is a conflict, and is left unchanged.

    \b
    Examples:
      aiorooms apply rooms.plan
      aiorooms apply rooms.plan --yes --rate 20 --max-failures 10

    Ctrl-C once: begin no new update; those in flight have 5 seconds to end. Ctrl-C twice: stop now. The journal is
    right in both cases. With --json each outcome is an object on a line of its own; the last line has the totals.
    """  # noqa: D301 - click takes a backspace for "leave these lines as they are"
    plan = Plan.open(path)
    place = journal or Path(f"{path}.journal")
    out = Output(json=as_json)
    if not _confirmed(f"Update {plan.rooms:,} rooms at {client.base_url}?", plan.rooms, out, yes=yes):
        return OK
    run = bulk.apply(client, plan, place, concurrency=concurrency, force=force, max_failures=max_failures)
    return _Applying(client, run, place, out, base_url=base_url).run()


@click.command(cls=Command, steps=[make_client_and_keep_url])
@click.argument("journal", metavar="JOURNAL", type=FILE)
@click.option("--plan", "path", metavar="PLAN", type=FILE, help="Where the plan is, if it was moved.")
@click.option("--retry-failed", is_flag=True, help="Also send again what failed.")
@bulk_options
def resume(
    journal: Path,
    path: Path | None,
    retry_failed: bool,
    force: bool,
    max_failures: int | None,
    concurrency: int,
    yes: bool,
    base_url: str | None,
    client: RoomsClient,
    as_json: bool,
) -> int:
    """Go on with a plan that was not finished.

    What is done stays done. Rooms that were in flight when the last run ended are read first, and sent again only if
    they don't have the wanted values.

    \b
    Examples:
      aiorooms resume rooms.plan.journal
      aiorooms resume rooms.plan.journal --retry-failed
    """  # noqa: D301 - click takes a backspace for "leave these lines as they are"
    run = bulk.resume(
        client,
        journal,
        plan=path,
        concurrency=concurrency,
        force=force,
        retry_failed=retry_failed,
        max_failures=max_failures,
    )
    out = Output(json=as_json)
    left = 0 if yes else run.rooms_left()
    if not _confirmed(f"Go on with {left:,} of {run.plan.rooms:,} rooms at {client.base_url}?", left, out, yes=yes):
        return OK
    return _Applying(client, run, journal, out, base_url=base_url, plan=path).run()


def _confirmed(question: str, rooms: int, out: Output, *, yes: bool) -> bool:
    """Ask before more than one room is changed."""
    if yes or rooms <= 1:
        return True
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise InvalidInputError([f"{rooms:,} rooms would be changed, and there is no terminal to ask on; give --yes"])
    if click.confirm(question, err=True):
        return True
    out.note("Nothing was changed.")
    return False


class _Applying(ManyUpdates):
    """Carries out a plan, and says how to go on."""

    def __init__(
        self,
        client: RoomsClient,
        run: BulkRun,
        journal: Path,
        out: Output,
        *,
        base_url: str | None,
        plan: Path | None = None,
    ) -> None:
        super().__init__(client, out, run.plan.rooms)
        self._run = run
        self._journal = journal
        self._base_url = base_url
        self._plan_option = () if plan is None else ("--plan", plan)
        self._lines = 0
        """Lines about single rooms that were written."""
        self._uncertain: set[str] = set()
        """Rooms that were reported as uncertain."""
        self._failed = False
        """Whether the account could not be listed, before anything was sent or after all of it."""
        self._ended = False
        """Whether the run came to its end, and was not cancelled."""
        self._journal_error: JournalError | None = None

    def stop(self, why: str) -> None:
        self._run.stop(why)

    async def send(self) -> None:
        try:
            async with self.client, aclosing(self._run.outcomes()) as outcomes:
                async for outcome in outcomes:
                    self._report(outcome)
                    self.count(outcome.status, before=self._run.settled)
                self.show(self._run.settled)
        except APIError as error:
            self._failed = True
            self.should_report(error)
            self.out.error(error_line(error))
        except JournalError as error:
            if not self.counts:
                raise  # it could not even be begun
            self._journal_error = error
        self._ended = True

    def _report(self, outcome: Outcome) -> None:
        if outcome.status == "uncertain":
            self._uncertain.add(outcome.room_id)
        if self.out.json:
            self.write(_json_line(outcome))
        if outcome.error is None or outcome.status == "skipped" or not self.should_report(outcome.failure):
            return
        self._lines += 1
        if self._lines <= _MAX_LINES:
            self.out.error(outcome.error if outcome.failure is None else error_line(outcome.failure))
        elif self._lines == _MAX_LINES + 1:
            self.out.error("there are more; all are in the journal, and `aiorooms report` groups them by reason")

    def summarize(self) -> bool:
        out, run = self.out, self._run
        counts = self._count_states()
        before = max(0, counts["updated"] - self.counts["updated"])
        if out.json:
            numbers = {status: counts[status] for status in NOT_UPDATED}
            totals: dict[str, JsonValue] = {
                "journal": str(self._journal),
                "rooms": self.total,
                "updated": self.counts["updated"],
                "updated_before": before,
                **numbers,
                "stopped_by": "interrupted" if self.interrupted else run.stopped_by,
            }
            self.write(dumps(totals))
        out.note(f"{self.totals(counts, before=before)}, of {self.total:,}.")
        if self._journal_error is not None:
            out.error(error_line(self._journal_error))
        elif run.stopped_by is not None and not self.interrupted:
            error = run.stop_error
            out.error(f"stopped: {run.stopped_by if error is None else error_line(error)}")
        if self.interrupted and not self._ended:
            out.error("updates that were in flight have no outcome yet; a resume reads their rooms first")
        self._show_next_commands(counts)
        return counts["updated"] >= self.total and not self._failed and self._journal_error is None

    def _count_states(self) -> Mapping[str, int]:
        """Count the states of the rooms after this run and all before it."""
        standing = self.counts.copy()
        if standing["updated"] == self.total or self._journal_error is not None:
            return standing
        try:
            states = Journal.open(self._journal).states()
        except JournalError:
            return standing  # someone removed it; this run is what there is
        standing = Counter("uncertain" if state == "begun" else state for state in states.values())
        if self.out.json:
            for room_id, state in states.items():
                if state == "begun" and room_id not in self._uncertain:
                    self.write(
                        _json_line(
                            Outcome(room_id=room_id, unique_name=None, status="uncertain", error=_INTERRUPTED_ERROR)
                        )
                    )
        return standing

    def _show_next_commands(self, counts: Mapping[str, int]) -> None:
        """Show the commands that make sense now."""
        out = self.out
        done = counts["updated"] + counts["failed"] + counts["conflict"]
        if done < self.total:
            out.note(f"To go on: {self._resume()}")
        elif counts["failed"]:
            out.note(f"To try the failed ones again: {self._resume('--retry-failed')}")
        if counts["conflict"] and done == self.total:
            out.note(f"To also change what someone else modified: {self._resume('--force')}")
        # A program knows what it wants next.
        if out.on_terminal and counts:
            out.note(f"To see it as a page: {command_line('report', self._journal)}")
            if counts["updated"] or counts["uncertain"] or self._run.settled:
                back = command_line("rollback", self._journal, base_url=self._base_url)
                out.note(f"To take it back: {back}")

    def _resume(self, *options: str) -> str:
        return command_line("resume", self._journal, *options, *self._plan_option, base_url=self._base_url)


_INTERRUPTED: Final = "interrupted while it was in flight; `aiorooms resume` reads the room first"


def _json_line(outcome: Outcome) -> str:
    return dumps(
        {
            "room_id": outcome.room_id,
            "status": outcome.status,
            "error": outcome.error,
            "attempts": outcome.attempts,
            "found": outcome.found,
        }
    )
