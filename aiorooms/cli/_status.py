"""`aiorooms status`: the state of a run, read from its journal."""

import asyncio
import importlib
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from ..bulk._follow import Follower
from ..bulk._progress import Snapshot
from ._command import Command, Context
from ._escaping import escape
from ._exit_codes import FAILED, OK, RUNNING
from ._kinds import expect_journal
from ._options import FILE, json_option, value_option
from ._output import Output, OutputLostError, flush
from ._run import Interrupted, run
from ._status_text import headline, one_line, status_data, status_lines
from ._values import SHORTEST, read_duration

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["status"]

_ON_TERMINAL: Final = 1.0
_ELSEWHERE: Final = 10.0
"""Time between two readings, in seconds. In a log, a line each second would hide all others."""


def _check_every(ctx: Context) -> None:
    if ctx.params["every"] is not None and not ctx.params["watch"]:
        ctx.add_problem("it needs --watch", "--every")


@click.command(cls=Command, steps=[expect_journal("journal", "status", from_stdin=False), _check_every])
@click.argument("journal", metavar="JOURNAL", type=FILE)
@click.option("-w", "--watch", is_flag=True, help="Show the state until the run ends.  [default: show it once]")
@value_option(
    "--every",
    "TIME",
    read_duration(SHORTEST),
    "Time between two readings with --watch: 10, 500ms or 1m.  [default: 1s on a terminal, otherwise 10s]",
)
@json_option
def status(journal: Path, watch: bool, every: float | None, as_json: bool) -> int:
    """Show how far a run has come, from its journal.

    The run may be in progress in another terminal or under cron. Only the journal is read, and the run is not
    disturbed. No API key is needed.

    The exit code is 0 if the run has ended and all rooms are as planned, 1 if it has ended or was killed and some are
    not, and 4 if it is still running.

    \b
    Examples:
      aiorooms status rooms.plan.journal
      aiorooms status rooms.plan.journal --watch
      aiorooms status rooms.plan.journal --json | jq .counts
    """  # noqa: D301 - a backspace tells click to keep the line breaks
    out = Output(json=as_json)
    follower = Follower(journal)
    pause = every or (_ON_TERMINAL if out.on_terminal else _ELSEWHERE)
    try:
        with _display(out, watch=watch) as show:
            last = run(_follow(follower, show, pause if watch else None))
        flush()
    except Interrupted:
        raise Interrupted("" if watch else "interrupted") from None
    except OutputLostError as error:
        if not error.reader_closed or watch:
            raise
        last = follower.snapshot()
    return RUNNING if last.phase == "running" else OK if last.is_complete else FAILED


async def _follow(follower: Follower, show: "_Show", every: float | None) -> Snapshot:
    """Show the state, once or until the run is no longer in progress. Return the last one."""
    while True:
        # A journal of a million rooms takes some seconds, so it is read in steps, and a signal ends the command.
        while not await asyncio.to_thread(follower.step):
            show(follower, None)
        now = await asyncio.to_thread(follower.snapshot)
        show(follower, now)
        if every is None or now.phase != "running":
            return now
        await asyncio.sleep(every)


_Show = Callable[[Follower, Snapshot | None], None]
"""Shows a state; None while the journal is being read for the first time."""


@contextmanager
def _display(out: Output, *, watch: bool) -> Generator[_Show]:
    if out.on_terminal:
        out.load_styles()
        for module in ("rich.live", "rich.table"):
            importlib.import_module(module)  # here, because an import would block the event loop
    if watch and out.on_terminal:
        with _in_place() as show:
            yield show
        return

    def show_below(follower: Follower, now: Snapshot | None) -> None:
        if now is None:
            return
        if out.json:
            out.data(status_data(now, follower.journal))
        elif watch and now.phase == "running":
            out.line(escape(one_line(now, time.time())))
        elif out.on_terminal:
            out.draw(_drawn(follower, now))
        else:
            out.line(escape(headline(now)))
            for name, text in status_lines(now, follower.journal, time.time()):
                out.line(escape(f"  {name:<9} {text}"))
        flush()

    yield show_below


@contextmanager
def _in_place() -> Generator[_Show]:
    """Draw each state over the one before, on a terminal. The last one stays visible."""
    from rich.console import Console  # imported here, because only drawing needs rich
    from rich.live import Live
    from rich.text import Text

    console = Console(file=sys.stdout, highlight=False, markup=False, emoji=False)
    with Live(console=console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False) as live:

        def show(follower: Follower, now: Snapshot | None) -> None:
            if now is None:
                live.update(Text(f"reading the journal: {follower.fraction:.0%}", style="dim"), refresh=True)
            else:
                live.update(_drawn(follower, now), refresh=True)

        yield show


def _drawn(follower: Follower, now: Snapshot) -> "RenderableType":
    """Return the state for a terminal. A long text continues below its beginning."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    style = (
        "bold green" if now.is_complete else {"running": "bold cyan", "ended": "bold yellow"}.get(now.phase, "bold red")
    )
    details = Table.grid(padding=(0, 1, 0, 0))
    for name, text in status_lines(now, follower.journal, time.time()):
        details.add_row(Text(f"  {name}", style="dim"), Text(escape(text), overflow="fold"))
    return Group(Text(escape(headline(now)), style=style), details)
