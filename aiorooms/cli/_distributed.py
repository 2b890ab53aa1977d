"""Runs on several machines: submit, watch, stop and resume them, and pull their journals.

Nothing of `aiorooms.bulk.distributed` is imported at the top, because pydocket takes half a second to import.
"""

import asyncio
import importlib
import logging
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypedDict

import click

from .._aio import end_tasks
from .._text import counted
from ..bulk import Plan
from ..client import RoomsClient
from ..errors import DistributedRunError
from ._command import Command
from ._escaping import command_line, escape
from ._exit_codes import FAILED, OK, RUNNING, UNAUTHORIZED
from ._json import JsonValue
from ._on import on_option, read_on
from ._options import FILE, json_option
from ._output import Output, flush
from ._run import Interrupted, run
from ._status_text import headline, run_data, run_lines
from ._stderr import write_stderr
from ._view import Show, View, showing
from ._words import error_line

if TYPE_CHECKING:
    from ..bulk.distributed import RunStatus

__all__ = ["apply_on", "journal", "list_all", "resume_on", "stop", "watch_run"]


class SubmitSettings(TypedDict):
    """The arguments of `submit` that `aiorooms apply` has options for."""

    force: bool
    strict: bool
    max_failures: int | None
    outage_patience: float | None


class _Lines(logging.Handler):
    """Writes each record as one line, or shows it in place of the state of a run."""

    show: Show | None = None

    def emit(self, record: logging.LogRecord) -> None:
        if self.show is None:
            write_stderr(escape(f"aiorooms: {record.getMessage()}") + "\n")
        else:
            self.show(record.getMessage())


_LINES: Final = _Lines()


def load() -> None:
    """Import what the commands need, and write its warnings as lines. An import in the event loop would block it."""
    importlib.import_module("aiorooms.bulk.distributed")
    logging.getLogger("aiorooms.distributed").addHandler(_LINES)
    logging.getLogger("docket").addHandler(logging.NullHandler())  # it repeats what we report, over many lines


# --- watching ---


def watch_run(name: str, on: str, out: Output, every: float | None) -> int:
    """Show the state of a run, once or until it has ended. Return the exit code."""
    load()
    try:
        with showing(out, watch=every is not None) as show:
            last = run(_watch(name, on, show, every, on_terminal=out.on_terminal))
        flush()
    except Interrupted:
        raise Interrupted("" if every is not None else "interrupted") from None
    return _code(last)


def _code(status: "RunStatus | None") -> int:
    if status is None or not status.has_ended:
        return RUNNING
    if re.match(r"40[13]\b", status.stop):
        return UNAUTHORIZED
    return OK if status.snapshot.is_complete else FAILED


async def _watch(name: str, on: str, show: Show, every: float | None, *, on_terminal: bool) -> "RunStatus | None":
    from ..bulk.distributed import DistributedRun

    status: RunStatus | None = None
    async with DistributedRun(name, on) as found:
        if every is None:
            status = await found.status()
            show(_view(status, on))
            return status
        # On a terminal, a line in between would be drawn over.
        _LINES.show = show if on_terminal else None
        try:
            async for status in found.watch(every):
                show(_view(status, on))
        finally:
            _LINES.show = None
    return status


def _view(status: "RunStatus", on: str) -> View:
    now = status.snapshot
    lines = [
        ("plan", f"{status.plan_file} from {status.source}"),
        ("server", status.base_url),
        *run_lines(now, now.last_at),
        ("workers", _workers(status)),
    ]
    if (window := status.overwrite_window) is not None:
        lines.append(("window", f"changes by others less than {math.ceil(window * 10) / 10:.1f} s before an update"))
    lines += [("next", line) for line in _next(status, on)]
    return View(now, lines, _data(status))


def _data(status: "RunStatus") -> dict[str, JsonValue]:
    return {
        "run": status.run,
        "phase": status.phase,
        "plan": status.plan_file,
        "source": status.source,
        "base_url": status.base_url,
        "workers": status.workers,
        "overwrite_window": None if status.overwrite_window is None else round(status.overwrite_window, 3),
        **run_data(status.snapshot),
    }


def _workers(status: "RunStatus") -> str:
    if status.has_ended:
        return str(status.workers)
    missing = "" if status.workers else f"; start one with `{command_line('worker', '--on', 'URL')}`"
    return f"{status.workers}, {_doing(status)}{missing}"


def _doing(status: "RunStatus") -> str:
    return {
        "queued": "waiting for a worker",
        "comparing": "comparing the rooms with the plan",
        "sending": "sending",
        "ending": "comparing the rooms that were set aside",
        "stopping": "stopping; updates in flight finish",
    }.get(status.phase, status.phase)


def _next(status: "RunStatus", on: str) -> Sequence[str]:
    url = shown_url(on)
    if not status.has_ended:
        return [command_line("stop", status.run, "--on", url)]
    lines = [command_line("journal", status.run, "--on", url, "--out", f"{status.run}.journal")]
    if status.snapshot.left:
        lines.insert(0, command_line("resume", status.run, "--on", url))
    return lines


def shown_url(on: str) -> str:
    """Return a URL as a command shows it: one that may contain a password is replaced."""
    return "env" if "@" in on else on


def list_all(on: str, out: Output) -> int:
    """Show the state of each run in a store, one per line."""
    load()
    from ..bulk.distributed import list_runs

    states = run(list_runs(on))
    if out.json:
        out.data(
            [
                {"run": name, "error": state.message} if isinstance(state, DistributedRunError) else _data(state)
                for name, state in states.items()
            ]
        )
        return OK
    for name, state in states.items():
        text = error_line(state) if isinstance(state, DistributedRunError) else _summary(state)
        out.line(escape(f"{name}  {text}"))
    if not states:
        out.note("There are no runs.")
    return OK


def _summary(status: "RunStatus") -> str:
    doing = "" if status.has_ended else f"; {_doing(status)}"
    return f"{headline(status.snapshot)}{doing}; {status.plan_file}"


# --- submitting and resuming ---


def apply_on(client: RoomsClient, plan: Plan, on: str, out: Output, settings: "SubmitSettings") -> int:
    """Submit a plan, and watch its run. Ctrl-C ends the watching only. `memory://` is applied in this process."""
    load()
    if on.startswith("memory:"):
        return run(_apply_in_memory(client, plan, on, out, settings))

    async def send() -> str:
        from ..bulk.distributed import submit

        async with client:
            return await submit(client, plan, on, **settings)

    name = run(send())
    out.note(f"Submitted {counted(plan.rooms, 'room')} as run {name}.")
    return _watch_submitted(name, on, out)


async def _apply_in_memory(client: RoomsClient, plan: Plan, on: str, out: Output, settings: "SubmitSettings") -> int:
    """Submit a plan, apply it with a worker in this process, and write its journal beside the plan."""
    from ..bulk.distributed import DistributedRun, Worker, submit

    async with client:
        name = await submit(client, plan, on, **settings)
        worker = Worker(client, on)
        working = asyncio.create_task(worker.run())
        try:
            with showing(out, watch=True) as show:
                last = await _watch(name, on, show, 1.0, on_terminal=out.on_terminal)
            async with DistributedRun(name, on) as found:
                await found.pull_journal(Path(f"{plan.path}.journal"))
        finally:
            worker.stop()
            await end_tasks([working])
    return _code(last)


def resume_on(name: str, on: str, out: Output, *, retry_failed: bool, force: bool, max_failures: int | None) -> int:
    """Resume a run, and watch it. Ctrl-C ends the watching only."""
    load()
    from ..bulk.distributed import DistributedRun

    async def resume() -> bool:
        async with DistributedRun(name, on) as found:
            return await found.resume(retry_failed=retry_failed, force=force, max_failures=max_failures)

    if not run(resume()):
        out.note("Nothing is left to do.")
        return watch_run(name, on, out, None)
    return _watch_submitted(name, on, out)


def _watch_submitted(name: str, on: str, out: Output) -> int:
    from ._view import ELSEWHERE, ON_TERMINAL

    try:
        return watch_run(name, on, out, ON_TERMINAL if out.on_terminal else ELSEWHERE)
    except Interrupted:
        url = shown_url(on)
        out.note(f"The run goes on. To watch it again: {command_line('status', name, '--on', url, '--watch')}")
        out.note(f"To stop it: {command_line('stop', name, '--on', url)}")
        raise


# --- commands ---


@click.command(cls=Command, steps=[read_on])
@click.argument("name", metavar="RUN")
@on_option("Redis with the run", required=True)
@json_option
def stop(name: str, on: str, as_json: bool) -> int:
    """Stop a run on several machines.

    No further update begins. Updates in flight finish, and `aiorooms resume RUN --on URL` continues the run. No API key
    is needed.

    \b
    Examples:
      aiorooms stop 1b2c3d4e --on redis://HOST:6379/0
      aiorooms stop 1b2c3d4e --on env
    """  # noqa: D301 - a backspace tells click to keep the line breaks
    out = Output(json=as_json)
    load()

    async def work() -> bool:
        from ..bulk.distributed import DistributedRun

        async with DistributedRun(name, on) as found:
            return await found.stop("by `aiorooms stop`")

    stopped = run(work())
    if out.json:
        out.data({"run": name, "stopped": stopped})
    else:
        out.note(
            f"The run {name} is stopping. Updates in flight finish."
            if stopped
            else f"The run {name} has ended already."
        )
    return OK


@click.command(cls=Command, steps=[read_on])
@click.argument("name", metavar="RUN")
@on_option("Redis with the run", required=True)
@click.option("--out", "path", metavar="FILE", type=FILE, help="Path of the new journal.  [default: RUN.journal]")
@json_option
def journal(name: str, on: str, path: Path | None, as_json: bool) -> int:
    """Write the journal of a run on several machines.

    The file is an ordinary journal, so `aiorooms report`, `rollback` and `verify` read it. No API key is needed. If the
    run is still in progress, the journal ends where the run is now.

    \b
    Examples:
      aiorooms journal 1b2c3d4e --on redis://HOST:6379/0
      aiorooms journal 1b2c3d4e --on env --out tonight.journal
    """  # noqa: D301 - a backspace tells click to keep the line breaks
    out = Output(json=as_json)
    target = path or Path(f"{name}.journal")
    load()

    async def work() -> None:
        from ..bulk.distributed import DistributedRun

        async with DistributedRun(name, on) as found:
            await found.pull_journal(target)

    run(work())
    if out.json:
        out.data({"run": name, "journal": str(target)})
    else:
        out.note(f"Wrote {target}.")
        out.note(f"To write a report: {command_line('report', target)}")
        out.note(f"To roll back: {command_line('rollback', target)}")
    return OK
