"""`aiorooms status`: the state of a run, read from its journal, or from its store."""

import asyncio
import time
from pathlib import Path

import click

from ..bulk._follow import Follower
from ..bulk._progress import Snapshot
from ._command import Command, Context
from ._exit_codes import FAILED, OK, RUNNING
from ._kinds import expect_journal
from ._on import on_option, read_on, unless_on
from ._options import FILE, json_option, value_option
from ._output import Output, OutputLostError, flush
from ._run import Interrupted, run
from ._status_text import status_data, status_lines
from ._values import SHORTEST, read_duration
from ._view import ELSEWHERE, ON_TERMINAL, Show, View, showing

__all__ = ["status"]


def _check_every(ctx: Context) -> None:
    if ctx.params["every"] is not None and not ctx.params["watch"]:
        ctx.add_problem("it needs --watch", "--every")
    if ctx.params["watch"] and ctx.params["on"] is not None and ctx.params["journal"] is None:
        ctx.add_problem("it needs the name of a run", "--watch")


def _need_journal(ctx: Context) -> None:
    if ctx.params["journal"] is None:
        ctx.add_problem("missing argument 'JOURNAL'; or give --on to list the runs of a Redis")


@click.command(
    cls=Command,
    steps=[
        read_on,
        unless_on(_need_journal),
        unless_on(expect_journal("journal", "status", from_stdin=False)),
        _check_every,
    ],
)
@click.argument("journal", metavar="[JOURNAL]", type=FILE, required=False)
@click.option("-w", "--watch", is_flag=True, help="Show the state until the run ends.  [default: show it once]")
@value_option(
    "--every",
    "TIME",
    read_duration(SHORTEST),
    "Time between two readings with --watch: 10, 500ms or 1m.  [default: 1s on a terminal, otherwise 10s]",
)
@on_option(
    "Redis of runs on several machines",
    " Give the name of a run instead of JOURNAL; without one, the newest 100 runs are listed.",
)
@json_option
def status(journal: Path | None, watch: bool, every: float | None, on: str | None, as_json: bool) -> int:
    """Show how far a run has come.

    The run may be in progress in another terminal or under cron. Only the journal is read, and the run is not
    disturbed. No API key is needed. A run on several machines has no journal yet: give its name, and its Redis with
    --on.

    The exit code is 0 if the run has ended and all rooms are as planned, 1 if it has ended or was killed and some are
    not, and 4 if it is still running. With --on, it is 3 if the server rejected the API key.

    \b
    Examples:
      aiorooms status rooms.plan.journal
      aiorooms status rooms.plan.journal --watch
      aiorooms status rooms.plan.journal --json | jq .counts
      aiorooms status 1b2c3d4e --on redis://HOST:6379/0 --watch
      aiorooms status --on redis://HOST:6379/0
    """  # noqa: D301 - a backspace tells click to keep the line breaks
    out = Output(json=as_json)
    pause = every or (ON_TERMINAL if out.on_terminal else ELSEWHERE)
    if on is not None:
        from ._distributed import list_all, watch_run  # pydocket takes half a second to import

        return list_all(on, out) if journal is None else watch_run(str(journal), on, out, pause if watch else None)
    assert journal is not None  # `_need_journal` has checked it
    follower = Follower(journal)
    try:
        with showing(out, watch=watch) as show:
            last = run(_follow(follower, show, pause if watch else None))
        flush()
    except Interrupted:
        raise Interrupted("" if watch else "interrupted") from None
    except OutputLostError as error:
        if not error.reader_closed or watch:
            raise
        last = follower.snapshot()
    return RUNNING if last.phase == "running" else OK if last.is_complete else FAILED


async def _follow(follower: Follower, show: Show, every: float | None) -> Snapshot:
    """Show the state, once or until the run is no longer in progress. Return the last one."""
    while True:
        # A journal of a million rooms takes some seconds, so it is read in steps, and a signal ends the command.
        while not await asyncio.to_thread(follower.step):
            show(f"reading the journal: {follower.fraction:.0%}")
        now = await asyncio.to_thread(follower.snapshot)
        show(View(now, status_lines(now, follower.journal, time.time()), status_data(now, follower.journal)))
        if every is None or now.phase != "running":
            return now
        await asyncio.sleep(every)
