"""`aiorooms apply` and `resume`: a plan is carried out, with a journal that a crash can't spoil."""

import sys
from collections import Counter
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from .. import bulk
from ..bulk import BulkRun, Ending, Journal, Outcome, Plan
from ..client import RoomsClient
from ..errors import APIError, AuthenticationError, JournalError, PermissionDeniedError
from ._json import JsonValue
from ._options import Reader, api_options
from ._output import Output, OutputLostError, command_line, flush
from ._run import GRACE, run
from ._status import FAILED, INTERRUPTED, OK, UNAUTHORIZED

if TYPE_CHECKING:
    from ._progress import Bar

__all__ = ["apply", "resume"]

Command = TypeVar("Command", bound=Callable[..., Any])

_PATH: Final = click.Path(path_type=Path)

_MOST_CONCURRENT: Final = 1000

_MOST_TOLD: Final = 50
"""Lines about single rooms; all of them are in the journal."""

_NOT_UPDATED: Final[dict[Ending, str]] = {
    "failed": "failed",
    "uncertain": "of unknown outcome",
    "conflict": "left alone, as somebody else changed them",
    "skipped": "not sent",
}


def _run_options(command: Command) -> Command:
    """Add what `apply` and `resume` share."""
    options = (
        click.option("--force", is_flag=True, help="Also change rooms that somebody else has changed meanwhile."),
        click.option("--max-failures", metavar="N", help="Begin no new update after so many failures."),
        click.option(
            "--concurrency",
            metavar="N",
            default="50",
            show_default=True,
            help="Updates to have under way at a time, 1 to 1000.",
        ),
        click.option("--rate", metavar="N", help="Requests per second at the most, whatever the server allows."),
        click.option("--yes", is_flag=True, help="Don't ask before more than one room is changed."),
    )
    for option in reversed(options):
        command = option(command)
    return api_options(command)


@click.command()
@click.argument("path", metavar="PLAN", type=_PATH)
@click.option(
    "--journal",
    metavar="FILE",
    type=_PATH,
    help="Where the journal goes.  [default: PLAN.journal]",
)
@_run_options
def apply(
    path: Path,
    journal: Path | None,
    force: bool,
    max_failures: str | None,
    concurrency: str,
    rate: str | None,
    yes: bool,
    base_url: str | None,
    timeout: str | None,
    as_json: bool,
) -> int:
    """Carry out a plan.

    What is sent, and how it ended, is written into a journal, so that the run may end at any moment, also by a crash:
    `aiorooms resume` goes on with it, and `aiorooms rollback` plans the way back. A room that somebody else changed
    since the plan was made is left alone.

    \b
    Examples:
      aiorooms apply rooms.plan
      aiorooms apply rooms.plan --yes --rate 20 --max-failures 10

    Ctrl-C once: no new updates are begun, those under way have 5 seconds to end. Ctrl-C twice: stop now. The journal is
    right in any case. With --json each outcome is an object on a line of its own, and the last line has the totals.
    """  # noqa: D301 - click takes a backspace for "leave these lines as they are"
    reader = Reader()
    client, at_a_time, failures = _read(reader, concurrency, max_failures, rate, base_url, timeout)
    plan = Plan.open(path)
    place = journal or Path(f"{path}.journal")
    out = Output(json=as_json)
    if not _agreed(f"Update {plan.rooms:,} rooms at {client.base_url}?", plan.rooms, out, yes=yes):
        return OK
    made = bulk.apply(client, plan, place, concurrency=at_a_time, force=force, max_failures=failures)
    return _Apply(client, made, place, out, base_url=base_url).run()


@click.command()
@click.argument("journal", metavar="JOURNAL", type=_PATH)
@click.option("--plan", "path", metavar="PLAN", type=_PATH, help="Where the plan is, if it was moved.")
@click.option("--retry-failed", is_flag=True, help="Also send again what failed.")
@_run_options
def resume(
    journal: Path,
    path: Path | None,
    retry_failed: bool,
    force: bool,
    max_failures: str | None,
    concurrency: str,
    rate: str | None,
    yes: bool,
    base_url: str | None,
    timeout: str | None,
    as_json: bool,
) -> int:
    """Go on with a plan that was not carried out to its end.

    What is done stays done. Rooms that were under way when the last run ended are read first, and sent again only if
    they don't have the wanted values.

    \b
    Examples:
      aiorooms resume rooms.plan.journal
      aiorooms resume rooms.plan.journal --retry-failed
    """  # noqa: D301 - click takes a backspace for "leave these lines as they are"
    reader = Reader()
    client, at_a_time, failures = _read(reader, concurrency, max_failures, rate, base_url, timeout)
    made = bulk.resume(
        client,
        journal,
        plan=path,
        concurrency=at_a_time,
        force=force,
        retry_failed=retry_failed,
        max_failures=failures,
    )
    out = Output(json=as_json)
    left = 0 if yes else made.rooms_left()
    if not _agreed(f"Go on with {left:,} of {made.plan.rooms:,} rooms at {client.base_url}?", left, out, yes=yes):
        return OK
    return _Apply(client, made, journal, out, base_url=base_url, plan=path).run()


def _read(
    reader: Reader,
    concurrency: str,
    max_failures: str | None,
    rate: str | None,
    base_url: str | None,
    timeout: str | None,
) -> tuple[RoomsClient, int, int | None]:
    """Read the options that `apply` and `resume` share."""
    at_a_time = reader.whole_number("--concurrency", concurrency, range(1, _MOST_CONCURRENT + 1)) or 1
    failures = reader.whole_number("--max-failures", max_failures, range(1, 1_000_001))
    cap = reader.rate("--rate", rate)
    client = reader.client(base_url, timeout, max_connections=at_a_time, max_rate=cap)
    reader.refuse()
    assert client is not None
    return client, at_a_time, failures


def _agreed(question: str, rooms: int, out: Output, *, yes: bool) -> bool:
    """Ask before more than one room is changed."""
    if yes or rooms <= 1:
        return True
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        reader = Reader()
        reader.wrong(f"{rooms:,} rooms would be changed, and there is no terminal to ask on; give --yes")
        reader.refuse()
    if click.confirm(question, err=True):
        return True
    out.note("Nothing was changed.")
    return False


class _Apply:
    """Carries out a plan, and tells of it."""

    def __init__(
        self,
        client: RoomsClient,
        bulk_run: BulkRun,
        journal: Path,
        out: Output,
        *,
        base_url: str | None,
        plan: Path | None = None,
    ) -> None:
        self._client = client
        self._run = bulk_run
        self._journal = journal
        self._out = out
        self._counts: Counter[Ending] = Counter()
        self._told = 0
        self._uncertain: set[str] = set()
        """Rooms of which it was told that their outcome is not known."""
        self._unauthorized = False
        self._failed = False
        """Something that is no room's outcome went wrong."""
        self._ended = False
        """The run came to its end, and was not cut off."""
        self._lost_journal: JournalError | None = None
        self._lost: OutputLostError | None = None
        self._base_url = base_url
        self._plan_option = () if plan is None else ("--plan", plan)

    def run(self) -> int:
        """Do it, and give the exit code."""
        with self._out.progress(self._run.plan.rooms) as bar:
            interrupted = run(lambda: self._send(bar), on_stop=self._on_stop)
        return self._sum_up(interrupted=interrupted)

    def _on_stop(self) -> None:
        self._run.stop("interrupted")
        self._out.complain(f"stopping: what is under way has {GRACE:g} s to end; Ctrl-C again stops now")

    async def _send(self, bar: "Bar | None") -> None:
        if bar is not None:
            bar.pacing = self._client.pacing.snapshot
        try:
            async with self._client, aclosing(self._run.outcomes()) as outcomes:
                async for outcome in outcomes:
                    self._counts[outcome.status] += 1
                    self._tell(outcome)
                    self._show(bar, outcome)
                self._show(bar, None)
                self._ended = True
        except APIError as error:
            # The account could not be listed, before anything was sent or after all of it.
            self._ended = self._failed = True
            self._unauthorized |= isinstance(error, (AuthenticationError, PermissionDeniedError))
            self._out.complain(str(error))
        except JournalError as error:
            if not self._counts:
                raise  # it could not even be begun
            self._ended = True
            self._lost_journal = error

    def _show(self, bar: "Bar | None", outcome: Outcome | None) -> None:
        if bar is None:
            return
        bar.before = self._run.settled
        bar.done = self._run.settled + self._counts.total()
        if outcome is not None:
            bar.failed += outcome.status in ("failed", "uncertain")
            bar.conflicts += outcome.status == "conflict"

    def _write(self, value: JsonValue) -> None:
        if self._lost is None:
            try:
                self._out.data(value)
                flush()
            except OutputLostError as error:
                # Going on would change rooms that nobody hears of. What is under way may end, and the journal tells.
                self._lost = error
                self._run.stop(str(error))

    def _tell(self, outcome: Outcome) -> None:
        if outcome.status == "uncertain":
            self._uncertain.add(outcome.room_id)
        if self._out.json:
            self._write(_data(outcome))
        if outcome.error is None or outcome.status == "skipped":
            return
        if outcome.error.startswith(("401 ", "403 ")):
            # All that were in flight meet it, and one line is enough.
            if self._unauthorized:
                return
            self._unauthorized = True
        self._told += 1
        if self._told <= _MOST_TOLD:
            self._out.complain(outcome.error)
        elif self._told == _MOST_TOLD + 1:
            self._out.complain("there are more; all are in the journal, and `aiorooms report` shows them by reason")

    def _standing(self) -> Counter[Ending]:
        """Count how things stand with the rooms after this run and all before it."""
        standing = self._counts.copy()
        if standing["updated"] == self._run.plan.rooms or self._lost_journal is not None:
            return standing
        try:
            states = Journal.open(self._journal).states()
        except JournalError:
            return standing  # somebody took it away; what is known of this run is told
        standing.clear()
        for room_id, state in states.items():
            standing["uncertain" if state == "begun" else state] += 1
            if state == "begun" and self._out.json and room_id not in self._uncertain:
                self._write(_data(Outcome(room_id=room_id, unique_name=None, status="uncertain", error=_CUT_OFF)))
        return standing

    def _sum_up(self, *, interrupted: bool) -> int:
        out = self._out
        total = self._run.plan.rooms
        counts = self._standing()
        before = max(0, counts["updated"] - self._counts["updated"])
        done = counts["updated"] + counts["failed"] + counts["conflict"]
        if out.json:
            totals: dict[str, JsonValue] = {
                "updated": self._counts["updated"],
                "updated_before": before,
                **{status: counts[status] for status in _NOT_UPDATED},
            }
            stopped = "interrupted" if interrupted else self._run.stopped_by
            self._write({"journal": str(self._journal), "rooms": total, **totals, "stopped_by": stopped})
        told = [f"{self._counts['updated']:,} updated{f' ({before:,} before)' * bool(before)}"]
        told += [f"{counts[status]:,} {name}" for status, name in _NOT_UPDATED.items() if counts[status]]
        out.note(f"{'interrupted: ' * interrupted}{', '.join(told)}, of {total:,}.")
        if self._lost_journal is not None:
            out.complain(str(self._lost_journal))
        elif self._run.stopped_by is not None and not interrupted:
            out.complain(f"stopped: {self._run.stopped_by}")
        if interrupted and not self._ended:
            out.complain("what was under way has no outcome yet; a resume looks at it first")
        if done < total:
            out.note(f"To go on: {self._resume()}")
        elif counts["failed"]:
            out.note(f"To try the failed ones again: {self._resume('--retry-failed')}")
        if counts["conflict"] and done == total:
            out.note(f"To change also what somebody else changed: {self._resume('--force')}")
        # A program knows what it wants next.
        if out.on_terminal and counts:
            out.note(f"To see it as a page: {command_line('report', self._journal)}")
            if counts["updated"] or counts["uncertain"] or self._run.settled:
                back = command_line("rollback", self._journal, base_url=self._base_url)
                out.note(f"To take it back: {back}")
        if interrupted:
            return INTERRUPTED
        if self._unauthorized:
            return UNAUTHORIZED
        lost = self._failed or self._lost_journal is not None or self._lost is not None
        return FAILED if lost or counts["updated"] < total else OK

    def _resume(self, *options: str) -> str:
        return command_line("resume", self._journal, *options, *self._plan_option, base_url=self._base_url)


_CUT_OFF: Final = "cut off while it was being updated; a resume looks at the room"


def _data(outcome: Outcome) -> dict[str, JsonValue]:
    return {
        "room_id": outcome.room_id,
        "status": outcome.status,
        "error": outcome.error,
        "attempts": outcome.attempts,
        "found": outcome.found,
    }
