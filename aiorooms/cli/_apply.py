"""`aiorooms apply` and `aiorooms resume`: carry out a plan, and record each update in a journal."""

import math
from collections import Counter
from collections.abc import Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Final

import click
from click.core import ParameterSource

from .. import bulk
from .._text import counted
from ..bulk import BulkRun, Journal, Outcome, Plan
from ..bulk._damage import damage_of_journal
from ..bulk._files import quoted_path
from ..bulk._journal_records import RoomState
from ..bulk._preflight import check_new_run, check_plan, check_resumed_run
from ..client import RoomsClient
from ..errors import APIError, JournalError, PlanFileError
from ._breaker import Breaker
from ._bulk_options import BULK_SECTIONS, RunSettings, bulk_options, read_settings, reject_dry_run
from ._command import Command, Context
from ._distributed import SubmitSettings, apply_on, resume_on
from ._escaping import command_line
from ._exit_codes import OK
from ._json import JsonValue, dumps
from ._kinds import expect_journal, expect_plan
from ._many import TOTALS, ManyUpdates
from ._on import on_option, read_on, read_on_or_memory, unless_on
from ._options import CONNECTION_OPTIONS, FILE, make_two_clients, read_policy, value_option
from ._output import Output
from ._preflight import check, confirmed, missing_confirmation
from ._repeated import Repeated, keep_repeated
from ._review import rooms_text
from ._values import read_checksum
from ._watch import stats_option
from ._words import error_line, option_name

__all__ = ["apply", "resume"]


_approve_option: Final = value_option(
    "--approve",
    "SHA",
    read_checksum,
    "Confirm the plan with this checksum, as `aiorooms show` shows it, or at least its first 12 digits. Any other plan"
    " is rejected.  [default: ask]",
)

_NO_DRY_RUN: Final = "`aiorooms show PLAN` shows what the plan changes, and nothing was sent"


_WITH_WORKERS: Final = ("rate", "shared_pacing", "concurrency", "retries", "policy")
"""The options of `apply` that only `aiorooms worker` has, with `--on`."""

_RESUME_WITH_WORKERS: Final = (*_WITH_WORKERS, *CONNECTION_OPTIONS, "timeout")
"""The same for `resume`, which does not need the server then."""

_HERE_ONLY: Final = ("journal", "limit", "no_lock", "no_breaker", "stats")
"""The options of `apply` that have no meaning with `--on`."""

_RESUME_HERE_ONLY: Final = ("path", "approve", "limit", "no_lock", "no_breaker", "stats", "strict", "outage_patience")
"""The same for `resume`. A run on several machines keeps its `--strict` and its `--outage-patience`."""


def _check_on(ctx: Context) -> None:
    """Record a problem for each option that has no effect with `--on`."""
    if ctx.params["on"] is None:
        return
    is_new = ctx.command.name == "apply"
    here, with_workers = (_HERE_ONLY, _WITH_WORKERS) if is_new else (_RESUME_HERE_ONLY, _RESUME_WITH_WORKERS)
    for name in (*here, *with_workers):
        if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            where = "; give it to `aiorooms worker`" if name in with_workers else ""
            ctx.add_problem(f"it has no effect with --on{where}", option_name("plan" if name == "path" else name))


def _make_clients_unless_on(ctx: Context) -> None:
    """Create `client` and `probe_client`. With `--on`, they are None: the workers have the API key."""
    if ctx.params["on"] is None:
        make_two_clients(ctx)
        return
    for name in {*_RESUME_WITH_WORKERS} - {"concurrency"}:  # `read_settings` needs it
        del ctx.params[name]
    ctx.params |= {"client": None, "probe_client": None}


@click.command(
    cls=Command,
    steps=[
        reject_dry_run(_NO_DRY_RUN),
        read_on_or_memory,
        _check_on,
        expect_plan("path", "apply", from_stdin=False),
        keep_repeated,
        read_policy,
        make_two_clients,
        read_settings,
    ],
    sections=BULK_SECTIONS,
)
@click.argument("path", metavar="PLAN", type=FILE)
@click.option("--journal", metavar="FILE", type=FILE, help="Path of the new journal.  [default: PLAN.journal]")
@on_option("Let `aiorooms worker` on several machines apply the plan, through this Redis")
@_approve_option
@bulk_options
@stats_option
def apply(
    path: Path,
    journal: Path | None,
    on: str | None,
    approve: str | None,
    settings: RunSettings,
    no_breaker: bool,
    yes: bool,
    repeated: Repeated,
    client: RoomsClient,
    probe_client: RoomsClient,
    as_json: bool,
) -> int:
    """Carry out a plan, and record each update in a journal.

    If the run stops early, even because of a crash, `aiorooms resume` continues it from the journal. To undo a run,
    plan its reversal with `aiorooms rollback`. If someone else changed a planned field of a room after the plan was
    made, the room is reported as a conflict and is not updated. The webhook URL and the failover URL count as one
    field. If someone else changed only other fields, the room is updated, and the totals mention it. With --strict,
    any modification is a conflict. With --force, nothing is, and every room is updated.

    The plan, the journal and the API key are checked before the question. The run stops if many updates fail at its
    beginning, or 50 in a row. To try a plan with a few rooms first, use --limit. Rooms that need no update don't count.
    If nothing failed, the exit code is then 0, and `aiorooms resume` does the rest.

    \b
    Examples:
      aiorooms apply rooms.plan
      aiorooms apply rooms.plan --limit 100
      aiorooms apply rooms.plan --yes --rate 20 --max-failures 10
      aiorooms apply rooms.plan --approve 39695a0b12cd
      aiorooms apply rooms.plan --on redis://HOST:6379/0

    With --on, the command only submits the plan and shows how far its run is, with --json as `aiorooms status` does.
    Ctrl-C ends the display, and the run goes on. The journal is then written by `aiorooms journal`, and no run stops
    because of a share of failures, only because of --max-failures. `--on memory://` needs no Redis, and applies the
    plan in this process.

    After the first Ctrl-C, no new update starts, and updates in flight have 5 seconds to finish. After that time, or at
    a second Ctrl-C, updates still in flight are aborted. In all cases, `aiorooms resume` can continue the run.

    With --json, each outcome is one JSON object on its own line, with the keys room_id, status, error, attempts, found
    (the room already had the new values, so nothing was sent) and note (what someone else modified). The status is one
    of updated, failed, uncertain (the room may have been updated), conflict and skipped (not updated, because the run
    was stopped or the server could not be reached).

    The last line has the totals: rooms (in the plan), updated, updated_before (in earlier runs), already_right, failed,
    uncertain, conflict, skipped, not_begun and noted (outcomes with a note). Its other keys are journal,
    overwrite_window (in seconds), damaged_lines and stopped_by.
    """  # noqa: D301 - a backspace tells click to keep the line breaks
    journal_path = journal or Path(f"{path}.journal")
    out = Output(json=as_json)
    if on is not None:
        return _apply_on(path, on, approve, settings, yes=yes, client=client, probe_client=probe_client, out=out)
    found = check_new_run(client, path, journal_path, lock=settings["lock"])
    rooms = 0 if found.plan is None else _at_most(found.plan.rooms, settings["limit"])
    yes = yes or approve is not None
    problems = [*_other_checksum(found.plan, approve), *missing_confirmation(rooms, yes=yes)]
    plan = check(found, probe_client, problems, with_key=_needs_key_check(settings, yes=yes))
    if not confirmed(plan, f"Update {_rooms_of(rooms, plan)} at {client.base_url}?", rooms, out, yes=yes):
        return OK
    run = bulk.apply(client, plan, journal_path, **settings)
    return _Applying(client, run, journal_path, out, repeated, settings, Breaker(enabled=not no_breaker)).run()


@click.command(
    cls=Command,
    steps=[
        reject_dry_run(_NO_DRY_RUN),
        read_on,
        _check_on,
        unless_on(expect_journal("journal", "resume", from_stdin=False)),
        keep_repeated,
        read_policy,
        _make_clients_unless_on,
        read_settings,
    ],
    sections=BULK_SECTIONS,
)
@click.argument("journal", metavar="JOURNAL", type=FILE)
@on_option("Redis of a run on several machines", " Give the name of the run instead of JOURNAL.")
@click.option(
    "--plan",
    "path",
    metavar="PLAN",
    type=FILE,
    help="Path of the plan, if it was moved.  [default: the path in the journal, or beside the journal]",
)
@_approve_option
@click.option("--retry-failed", is_flag=True, help="Also retry failed updates.  [default: only unfinished ones]")
@bulk_options
@stats_option
def resume(
    journal: Path,
    on: str | None,
    path: Path | None,
    approve: str | None,
    retry_failed: bool,
    settings: RunSettings,
    no_breaker: bool,
    yes: bool,
    repeated: Repeated,
    client: RoomsClient | None,
    probe_client: RoomsClient | None,
    as_json: bool,
) -> int:
    """Continue a run that stopped early.

    Rooms that are already updated are not updated again. If it is uncertain whether an update was applied, for
    example because the run crashed, the room is read back. The update is then sent only if it was not applied.
    The journal, the plan and the API key are checked before the question.

    \b
    Examples:
      aiorooms resume rooms.plan.journal
      aiorooms resume rooms.plan.journal --limit 1000
      aiorooms resume rooms.plan.journal --retry-failed
      aiorooms resume 1b2c3d4e --on redis://HOST:6379/0

    With --on, no API key is needed, and no question is asked. The command shows how far the run is, until it has ended.
    Ctrl-C ends the display, and the run goes on. Of the options, --retry-failed, --force and --max-failures count.

    With --json, the output has the same keys as that of `aiorooms apply`.
    """  # noqa: D301 - a backspace tells click to keep the line breaks
    out = Output(json=as_json)
    if on is not None:
        return resume_on(
            str(journal), on, out, retry_failed=retry_failed, force=settings["force"],
            max_failures=settings["max_failures"],
        )  # fmt: skip
    assert client is not None  # `_make_clients_unless_on` has created them
    assert probe_client is not None
    found = check_resumed_run(client, journal, path, lock=settings["lock"])
    yes = yes or approve is not None
    with_key = _needs_key_check(settings, yes=yes)
    if found.problems or _other_checksum(found.plan, approve):
        check(found, probe_client, _other_checksum(found.plan, approve), with_key=with_key)
    run = bulk.resume(client, journal, plan=path, retry_failed=retry_failed, **settings)
    left = run.rooms_left()
    if left:
        rooms = _at_most(left, settings["limit"])
        check(found, probe_client, missing_confirmation(rooms, yes=yes), with_key=with_key)
        question = f"Continue with {_rooms_of(rooms, run.plan)} at {client.base_url}?"
        if not confirmed(run.plan, question, rooms, out, yes=yes):
            return OK
    breaker = Breaker(enabled=not no_breaker)
    return _Applying(client, run, journal, out, repeated, settings, breaker, plan=path).run()


def _apply_on(
    path: Path,
    on: str,
    approve: str | None,
    settings: RunSettings,
    *,
    yes: bool,
    client: RoomsClient,
    probe_client: RoomsClient,
    out: Output,
) -> int:
    """Submit a plan to the store `on`, after the same checks as for a run on this machine."""
    found = check_plan(client, path, lock=settings["lock"])
    rooms = 0 if found.plan is None else found.plan.rooms
    yes = yes or approve is not None
    problems = [*_other_checksum(found.plan, approve), *missing_confirmation(rooms, yes=yes)]
    plan = check(found, probe_client, problems, with_key=True)
    if not confirmed(plan, f"Update {_rooms_of(rooms, plan)} at {client.base_url}?", rooms, out, yes=yes):
        return OK
    submitted = SubmitSettings(
        force=settings["force"],
        strict=settings["strict"],
        max_failures=settings["max_failures"],
        outage_patience=settings["outage_patience"],
    )
    return apply_on(client, plan, on, out, submitted)


def _needs_key_check(settings: RunSettings, *, yes: bool) -> bool:
    """Return whether to check the key before the run.

    With --force and --yes, there is no question, and the first request of the run is an update, which can wait for the
    end of an outage.
    """
    return not (settings["force"] and yes)


def _at_most(rooms: int, limit: int | None) -> int:
    return rooms if limit is None else min(rooms, limit)


def _rooms_of(rooms: int, plan: Plan) -> str:
    """Return how many rooms of a plan a run updates."""
    return rooms_text(rooms) if rooms == plan.rooms else f"{rooms:,} of {rooms_text(plan.rooms)}"


def _other_checksum(plan: Plan | None, approved: str | None) -> tuple[str, ...]:
    """Return a problem if a plan is not the approved one."""
    if plan is None or approved is None or plan.sha256.startswith(approved):
        return ()
    text = f"--approve: the plan {quoted_path(plan.path)} has the checksum {plan.sha256}, not {approved}"
    return (f"{text}; review it with `{command_line('show', plan.path)}`",)


class _Applying(ManyUpdates):
    """Carries out a plan, and prints the commands to run next."""

    def __init__(
        self,
        client: RoomsClient,
        run: BulkRun,
        journal: Path,
        out: Output,
        repeated: Repeated,
        settings: RunSettings,
        breaker: Breaker,
        *,
        plan: Path | None = None,
    ) -> None:
        super().__init__(client, out, run.plan.rooms)
        self._run = run
        self._journal = journal
        self._repeated = repeated
        self._strict_option = ("--strict",) if settings["strict"] else ()
        self._limit = settings["limit"]
        self._breaker = breaker
        self._plan_option = () if plan is None else ("--plan", plan)
        self._noted = 0
        """Number of updated rooms that someone else modified after the plan was made, in other fields."""
        self._uncertain: set[str] = set()
        """Ids of the rooms that this run reported as uncertain."""
        self._listing_failed = False
        """Whether listing the rooms of the account failed, before the first update or after the last one."""
        self._ended = False
        """Whether `send` finished without being cancelled."""
        self._file_error: JournalError | PlanFileError | None = None
        """The error of the journal or the plan that ended the run after its first outcome."""
        self._notes_shown = False

    def stop(self, why: str) -> None:
        self._run.stop(why)

    def phase(self) -> str:
        compared = self._run.rooms_compared
        if compared is None:
            return ""
        return f"comparing with the plan, {counted(compared, 'modified room')} read"

    async def send(self) -> None:
        try:
            async with self.client, aclosing(self._run.outcomes()) as outcomes:
                async for outcome in outcomes:
                    self._show_notes()
                    self._report(outcome)
                    self.count(_total_of(outcome), before=self._run.settled)
                self.before = self._run.settled
        except APIError as error:
            self._listing_failed = True
            self.check_key(error)
            self.out.error(error_line(error))
        except (JournalError, PlanFileError) as error:
            if not self.counts:
                raise  # there are no outcomes to summarize
            self._file_error = error
        self._show_notes()
        self._ended = True

    def _show_notes(self) -> None:
        """Print, once, what the run found out about its files when it began."""
        if self._notes_shown:
            return
        self._notes_shown = True
        run = self._run
        if run.damaged_lines:
            damage = damage_of_journal(run.damaged_lines)
            rooms = "the rooms that damaged lines may concern"
            self.out.error(f"{damage}; {rooms} are compared with the account before their updates are sent")
        if run.unplanned:
            rooms = rooms_text(len(run.unplanned))
            text = f"the journal has lines about {rooms} outside the plan, which were ignored"
            self.out.error(f"{text}; check whether lines of another journal were added to it")
        if run.plan_lock_error is not None:
            text = f"the plan can't be locked: {run.plan_lock_error}"
            self.out.error(f"{text}; make sure that no other command applies it with another journal")

    def _report(self, outcome: Outcome) -> None:
        # A run that was stopped for another reason only drains.
        if (self._run.stopped_by is None or self._run.limit_reached) and (
            reason := self._breaker.add(outcome.status, found=outcome.found)
        ) is not None:
            self._run.stop(f"breaker: {reason}")
        if outcome.status == "uncertain":
            self._uncertain.add(outcome.room_id)
        self._noted += outcome.note is not None
        if self.out.json:
            self.write(_json_line(outcome))
        if outcome.error is None:
            return
        if outcome.status == "skipped" and self._run.stopped_by is not None and not self._run.limit_reached:
            self.check_key(outcome.failure)  # the error that stopped the run is printed with the totals
            return
        line = outcome.error if outcome.failure is None else error_line(outcome.failure)
        self.report(outcome.room_id, outcome.status, line, outcome.failure)

    def summarize(self) -> bool:
        out, run = self.out, self._run
        # If this run updated all rooms, the journal has nothing to add.
        states = self._states() if _updated(self.counts) < self.total else None
        counts = self._count_rooms(states)
        window = run.overwrite_window
        if out.json:
            self._write_interrupted(states or {})
            totals: dict[str, JsonValue] = {
                "journal": str(self._journal),
                "rooms": self.total,
                **{key: counts[key] for key in TOTALS},
                "noted": self._noted,
                "overwrite_window": None if window is None else round(window, 3),
                "damaged_lines": [*run.damaged_lines],
                "stopped_by": "interrupted" if self.interrupted else run.stopped_by,
            }
            self.write(dumps(totals))
        done = _updated(counts) + (counts["not_begun"] if run.limit_reached else 0)
        succeeded = done >= self.total and not self._listing_failed and self._file_error is None
        out.quiet &= succeeded
        for line in self.errors.summary():
            out.error(line)
        out.note(f"{self.totals(counts)}, out of {self.total:,}.")
        if self._noted:
            rooms = "1 updated room was" if self._noted == 1 else f"{self._noted:,} updated rooms were"
            out.note(f"{rooms} modified by someone else after the plan was made, but not in a planned field.")
        if window is not None:
            out.note(
                f"Changes that others made less than {math.ceil(window * 10) / 10:.1f} s before an update may have been"
                " overwritten."
            )
        if self._file_error is not None:
            out.error(error_line(self._file_error))
        elif self._breaker.reason is not None and not self.interrupted:
            out.error(f"stopped: {self._breaker.advice}")
        elif run.limit_reached and not self.interrupted:
            out.note(f"Stopped at the limit of {rooms_text(self._limit or 0)} (--limit).")
        elif run.stopped_by is not None and not self.interrupted:
            error = run.stop_error
            out.error(f"stopped: {run.stopped_by if error is None else error_line(error)}")
        if self.interrupted and not self._ended and counts["uncertain"]:
            out.error("the updates in flight were aborted and are uncertain; `aiorooms resume` reads their rooms back")
        if self._file_error is None or self._file_error.reason not in ("journal_removed", "journal_truncated"):
            self._show_next_commands(counts)
        return succeeded

    def _count_rooms(self, states: Mapping[str, RoomState] | None) -> Mapping[str, int]:
        """Return the number of rooms for each of the `TOTALS`, which add up to the number of rooms in the plan.

        The totals come from the states in the journal, because earlier runs have outcomes too. If `states` is None,
        only the outcomes of this run are known, and the rooms that earlier runs have settled are in no total.
        """
        counts = self.counts.copy()
        if states is None:
            counts["not_begun"] = max(0, self.total - counts.total() - self._run.settled)
            return counts
        ours = {key: counts[key] for key in ("updated", "already_right")}
        counts = Counter("uncertain" if state == "begun" else state for state in states.values())
        counts["updated_before"] = max(0, counts["updated"] - sum(ours.values()))
        counts["updated"], counts["already_right"] = ours["updated"], ours["already_right"]
        counts["not_begun"] = max(0, self.total - counts.total())
        return counts

    def _write_interrupted(self, states: Mapping[str, RoomState]) -> None:
        """Write a JSON line for each room whose update was in flight when a run was interrupted."""
        for room_id, state in states.items():
            if state == "begun" and room_id not in self._uncertain:
                outcome = Outcome(room_id=room_id, unique_name=None, status="uncertain", error=_INTERRUPTED)
                self.write(_json_line(outcome))

    def _states(self) -> Mapping[str, RoomState] | None:
        """Return the states of the planned rooms in the journal; None if the journal was lost, removed or damaged."""
        if isinstance(self._file_error, JournalError):
            return None
        try:
            states = Journal.open(self._journal).states()
        except JournalError as error:
            self._file_error = error  # the totals don't include earlier runs, so the reason must be shown
            return None
        return {room_id: state for room_id, state in states.items() if room_id not in self._run.unplanned}

    def _show_next_commands(self, counts: Mapping[str, int]) -> None:
        """Suggest the commands to run next."""
        out = self.out
        updated = _updated(counts)
        done = updated + counts["failed"] + counts["conflict"]
        if done < self.total:
            out.note(f"To continue: {self._resume(*self._strict_option)}")
            if self._breaker.reason is not None:
                out.note(f"To retry failed rooms too: {self._resume('--retry-failed', *self._strict_option)}")
        elif counts["failed"]:
            out.note(f"To retry failed rooms: {self._resume('--retry-failed', *self._strict_option)}")
        if counts["conflict"] and done == self.total:
            out.note(f"To change rooms that someone else modified: {self._resume('--force')}")
        # Scripts don't need the next two suggestions.
        if out.on_terminal and counts:
            out.note(f"To write a report: {command_line('report', self._journal)}")
            if updated or counts["uncertain"] or self._run.settled:
                rollback = command_line("rollback", self._journal, *self._repeated.server)
                out.note(f"To roll back: {rollback}")

    def _resume(self, *options: str) -> str:
        repeated = self._repeated
        return command_line("resume", self._journal, *options, *self._plan_option, *repeated.server, *repeated.policy)


_INTERRUPTED: Final = "the run was interrupted during this update; `aiorooms resume` reads the room back and continues"


def _total_of(outcome: Outcome) -> str:
    """Return which of the `TOTALS` an outcome belongs to."""
    return "already_right" if outcome.status == "updated" and outcome.found else outcome.status


def _updated(counts: Mapping[str, int]) -> int:
    """Return how many rooms have the planned values."""
    return counts["updated"] + counts["already_right"] + counts["updated_before"]


def _json_line(outcome: Outcome) -> str:
    return dumps(
        {
            "room_id": outcome.room_id,
            "status": outcome.status,
            "error": outcome.error,
            "attempts": outcome.attempts,
            "found": outcome.found,
            "note": outcome.note,
        }
    )
