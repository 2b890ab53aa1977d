"""Say on standard error how a command goes while it runs: `--stats` and `--quiet`.

A command with a client has a `Watch`, which `make_client` creates. While the command's coroutine runs, the watch
receives the rare events of the client, such as pauses and outages, and wakes up twice a second.

- **On a terminal**, the notice about the current wait is in the progress bar, or on a line of its own that disappears
  when the wait is over. `--stats` also writes lines above it. Without a bar, the line also says that the first answer
  takes long.
- **Without a terminal**, in cron, CI or a pipe, a line is written when an outage or a long pause begins and ends, and
  every 10 s with the number of rooms, for the commands that count rooms. All these lines begin with the time in UTC.
- **With `-v`**, the log already has a line for most events, so the watch does not write a second one.
- **With `-q`**, nothing of this is written.

`_notices` decides what to say, and `_stats` makes the lines with numbers.
"""

import asyncio
import math
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Final, TypeVar

import click

from .._aio import end_tasks
from ..client import RoomsClient, awaits_first_answer, telemetry_of
from ..telemetry import Event
from ..telemetry._log import is_logged as has_log_line
from ._command import Context, Value
from ._escaping import escape
from ._notices import Notice, Notices
from ._output import QUIET, current_sample
from ._stats import GetSample, Stats, stamp
from ._stderr import can_draw, is_display_on, load_drawing, show_notice, write_progress
from ._values import read_duration

__all__ = ["Watch", "current_watch", "quiet_option", "stats_option", "watch"]

T = TypeVar("T")

_WATCH: Final = "aiorooms.cli.watch"
_INTERVAL: Final = "aiorooms.cli.stats"
"""The names of the watch and of `--stats` in the `meta` of the context."""

_DEFAULT_INTERVAL: Final = 10.0
_MIN_INTERVAL: Final = 0.1
_MAX_INTERVAL: Final = 86_400.0
"""Seconds between two lines of `--stats`; both limits are inclusive."""

_TICK: Final = 0.5
"""Seconds between two checks whether there is something to write."""

_FIRST_WAIT: Final = 3.0
"""Seconds. If the first answer takes longer, a terminal says so."""

_SHORTEST_PAUSE: Final = 5.0
"""Seconds. A shorter pause is not announced by a command that counts rooms."""

_SHORTEST_PAUSE_OF_A_CALL: Final = 2.0
"""Seconds. The same for a command that does not, such as `get`, because it ends sooner."""


def _keep(name: str) -> Callable[[click.Context, click.Parameter, object], None]:
    def callback(ctx: click.Context, _: click.Parameter, value: object) -> None:
        ctx.meta[name] = value

    return callback


quiet_option: Final = click.option(
    "-q",
    "--quiet",
    is_flag=True,
    expose_value=False,
    callback=_keep(QUIET),
    help="Write only results and errors: no bar, no totals of a success, no lines about waits.  [default: these too]",
)
stats_option: Final = click.option(
    "--stats",
    metavar="INTERVAL",
    type=Value(read_duration(_MIN_INTERVAL, _MAX_INTERVAL, off=math.inf, advice="give off for no lines")),
    expose_value=False,
    callback=_keep(_INTERVAL),
    help="Write a line with the progress to standard error every INTERVAL: 10, 10s, 500ms, 1m or off."
    "  [default: off on a terminal, else 10s]",
)


def watch(ctx: Context, *, is_verbose: bool, is_logged: bool) -> None:
    """Create the watch of a command with the clients among its parameters. Without a client, it has no watch.

    `is_verbose` is true with `-v`, and `is_logged` if log lines are written.
    """
    is_quiet, interval = bool(ctx.meta.get(QUIET)), ctx.meta.get(_INTERVAL)
    if is_quiet and is_verbose:
        ctx.add_problem("give only one of -q and -v")
    if is_quiet and interval is not None:
        ctx.add_problem("give only one of -q and --stats")
    clients = [value for value in ctx.params.values() if isinstance(value, RoomsClient)]
    if clients and not is_quiet:
        draws = can_draw()
        default = math.inf if draws else _DEFAULT_INTERVAL
        ctx.meta[_WATCH] = Watch(clients, default if interval is None else interval, draws=draws, is_logged=is_logged)


def current_watch() -> "Watch | None":
    """Return the watch of the running command; None if it has none."""
    context = click.get_current_context(silent=True)
    return None if context is None else context.meta.get(_WATCH)


class Watch:
    """Says how one command goes."""

    def __init__(self, clients: Sequence[RoomsClient], interval: float, *, draws: bool, is_logged: bool) -> None:
        """Write a line with numbers every `interval` seconds, and draw notices if `draws` is true.

        `is_logged` says whether log lines are written to standard error too.
        """
        self._clients = clients
        self._interval = interval
        self._draws = draws
        self._is_logged = is_logged
        self._notices = Notices()
        self._sample: GetSample | None = None
        self._stats: Stats | None = None
        self._next_at = math.inf
        self._done = 0
        self._began = 0.0
        if draws:
            load_drawing()

    async def beside(self, command: Coroutine[None, None, T]) -> T:
        """Await a command, and say how it goes meanwhile."""
        counts = current_sample() is not None
        shortest = _SHORTEST_PAUSE if counts else _SHORTEST_PAUSE_OF_A_CALL
        self._notices = Notices(shortest=shortest, ends=counts)
        self._begin(current_sample())
        ticking = asyncio.create_task(self._tick_forever())
        with ExitStack() as watching:
            for client in self._clients:
                watching.callback(telemetry_of(client).watch(self._on_event))
            try:
                return await command
            finally:
                await end_tasks([ticking])
                self._show(None)

    def _begin(self, sample: GetSample | None) -> None:
        """Begin to count."""
        self._sample = sample
        self._began = now = time.monotonic()
        if sample is not None:
            first = sample()
            self._stats, self._next_at, self._done = Stats(first, now), now + self._interval, first.done

    async def _tick_forever(self) -> None:
        while True:
            await asyncio.sleep(min(_TICK, self._interval))
            self._tick()

    def _tick(self) -> None:
        now = time.monotonic()
        self._write(self._notices.tick(now))
        if self._sample is not None and self._stats is not None:
            sample = self._sample()
            if sample.done != self._done:
                self._done = sample.done
                self._notices.progressed()
            if now >= self._next_at:
                self._next_at += self._interval
                if self._next_at <= now:  # the loop was busy
                    self._next_at = now + self._interval
                notice = self._notices.notice(now)
                line = self._stats.line(sample, now, datetime.now(UTC), is_waiting=notice is not None)
                write_progress(escape(line if notice is None else f"{line}, {notice.text}"))
        self._show(now)

    def _on_event(self, event: Event) -> None:
        now = time.monotonic()
        line = self._notices.record(event, now, datetime.now(UTC))
        if not (self._is_logged and has_log_line(event)):
            self._write(line)
        self._show(now)

    def _write(self, line: str | None) -> None:
        if line is not None and not self._draws:
            write_progress(escape(f"{stamp(datetime.now(UTC))} {line}"))

    def _show(self, now: float | None) -> None:
        if self._draws:
            show_notice(None if now is None else self._notices.notice(now) or self._first_wait(now))

    def _first_wait(self, now: float) -> Notice | None:
        """Return a notice if the first answer takes long, and there is no bar that moves."""
        seconds = now - self._began
        if seconds < _FIRST_WAIT or is_display_on() or not any(map(awaits_first_answer, self._clients)):
            return None
        return Notice(f"waiting for an answer for {seconds:.0f} s", f"waiting {seconds:.0f} s")
