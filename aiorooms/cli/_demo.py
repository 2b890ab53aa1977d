"""`aiorooms demo`: plan, apply, a kill, resume, verify and rollback, without an account, key or network.

The simulator runs in this process. Each command of the demo is a real one, in a process of its own (`_demo_steps`), so
the demo shows what a user would see. Only the kill is made by the demo: as soon as the simulator has received a part of
the updates, the process that sends them gets SIGKILL. At that moment, the updates that arrived last are unanswered,
because the simulator answers each request with a delay that is longer than the time between two checks.

The demo doesn't rely on what the commands say. It compares the rooms of the simulator with what they were before.
"""

import asyncio
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from .._text import counted
from ..bulk import Journal
from ..bulk._units import latency
from ._command import Command, Context, InvalidInputError
from ._demo_distributed import DistributedStory
from ._demo_figures import Figures, percentile
from ._demo_steps import Commands
from ._escaping import command_line
from ._exit_codes import FAILED, OK
from ._json import JsonValue
from ._options import FILE, MAX_ROOMS, json_option, seed_option, value_option
from ._output import Output, flush
from ._run import Interrupted, run
from ._temporary import temporary_folder
from ._values import read_rate_limit, read_share, whole_number

if TYPE_CHECKING:
    from ..simulator import RateLimit, RoomsSimulator

__all__ = ["demo"]

_OLD_HOST: Final = "old.example.com"
_NEW_HOST: Final = "new.example.com"
_REWRITE: Final = ("--rewrite-webhook-host", f"{_OLD_HOST}={_NEW_HOST}")

_PLAN: Final = "rooms.plan"
_JOURNAL: Final = "rooms.plan.journal"
_BACK: Final = "back.plan"
_REPORT: Final = "report.html"

_KILL_AFTER: Final = 0.4
"""Share of the updates after which the first run is killed."""

_LATENCY: Final = (0.02, 0.04)
"""Delay of each answer, in seconds, as over the internet. It must be longer than the time between two checks."""

_FAULTY_ATTEMPTS: Final = 2
"""For each method and room, only the first 2 requests can get a fault, because real faults are temporary too."""

_STALL: Final = 0.5
"""Duration of a stall in seconds. The simulator's default of 30 seconds would make the demo too long."""


def _check_keep(ctx: Context) -> None:
    """Record a problem if the folder of `--keep` exists and is not empty."""
    keep: Path | None = ctx.params["keep"]
    if keep is None:
        return
    try:
        if any(keep.iterdir()):
            ctx.add_problem(f"the folder {str(keep)!r} is not empty; give a new one", "--keep")
    except FileNotFoundError:
        pass
    except NotADirectoryError:
        ctx.add_problem(f"{str(keep)!r} is not a folder; give a new one", "--keep")


@click.command(cls=Command, steps=[_check_keep])
@value_option("--rooms", "N", whole_number(1, MAX_ROOMS), "Number of rooms, 1 to 1000000.", default="2000")
@value_option(
    "--rate-limit",
    "N/WINDOW",
    read_rate_limit,
    "Rate limit of the server, in requests per window (ms, s, m or h), or none.",
    to="limit",
    default="500/1s",
)
@value_option(
    "--faults",
    "SHARE",
    read_share,
    "Share of requests to break, 0 to 1 or 0% to 100%. Only the first two updates and the first two reads of a room"
    " can be broken.",
    default="5%",
)
@seed_option("Seed of the faults, 0 to 999999999. Another seed breaks different requests.")
@click.option(
    "--keep",
    metavar="DIR",
    type=FILE,
    help="Keep the plans, the journals and a report in this new folder.  [default: remove all files]",
)
@click.option(
    "--distributed",
    is_flag=True,
    help="Show a run on several machines instead: three workers apply the plan through Redis, and one is killed.",
)
@json_option
def demo(
    rooms: int,
    limit: "RateLimit | None",
    faults: float,
    seed: int,
    keep: Path | None,
    distributed: bool,
    as_json: bool,
) -> int:
    """See plan, apply, a crash, resume, verify and rollback.

    You need no account, key or network: a simulated Telnyx server starts inside this program. By default, it has 2,000
    rooms and a rate limit, and breaks some requests: it resets the connection, answers with a 5xx or garbage, or
    carries out an update and loses the answer.

    The demo runs the commands that you would type, each in its own process. It plans to move all rooms to other webhook
    and failover URLs, and applies the plan. In the middle, it kills that process. It resumes the run, verifies all
    rooms, rolls the change back, and verifies again. The exit code is 0 only if all rooms had the new values, and then
    the old ones.

    \b
    Examples:
      aiorooms demo
      aiorooms demo --keep files
      aiorooms demo --faults 50%
      aiorooms demo --distributed
      aiorooms demo --rooms 10000 --rate-limit none --json

    With --json, the command writes one object at the end. These keys are about the change: rooms, updated, failed,
    uncertain, skipped, verified (rooms with the new URLs on the server), retried (updates that took more than one
    attempt), seconds, updates_per_second, latency (in seconds), killed, before_kill (rooms with an outcome when the
    process was killed), in_flight (updates that had begun by then, without an outcome) and found (of these, applied and
    not sent again). restored is the number of rooms with their old values at the end. refused (429s), broken, requests
    and applied (updates) are counts of the server. commands has the words, exit_code and seconds of each command.
    failure says what went wrong, or is null. seed and folder (with --keep) are the options. With --distributed, the
    keys are rooms, updated, killed, requests, failure, seed and folder.
    """  # noqa: D301 - a backspace tells click to keep the line breaks
    from ..simulator import Faults, RoomsSimulator  # imported here, because most commands don't need it

    simulator = RoomsSimulator(
        rooms=_rooms(rooms),
        rate_limit=limit,
        faults=Faults(rate=faults, first_tries=_FAULTY_ATTEMPTS, stall_seconds=_STALL),
        latency=_LATENCY,
        seed=seed,
    )
    out = Output(json=as_json)
    out.load_styles()
    if distributed:
        return _distributed(simulator, out, keep, seed)
    if not as_json:
        limited = "no rate limit" if limit is None else f"at most {limit.limit:,} requests in {limit.window:g} s"
        out.styled((f"Moving {rooms:,} rooms to other webhook and failover URLs, and back.", "bold"))
        out.line(f"The server is simulated: {limited}, and a fault rate of {faults * 100:g}%.")
        flush()
    with _folder(keep) as folder:
        story = _Story(simulator, out, folder, has_report=keep is not None)
        try:
            run(story.run())
        except Interrupted:
            files = "its files were removed" if keep is None else f"its files are in {keep}"
            raise Interrupted(f"interrupted in step {story.step} of {story.steps}; {files}") from None
    if as_json:
        out.data({**_data(story), "seed": seed, "folder": None if keep is None else str(keep)})
    else:
        _show(story, out)
        _show_next(out, keep)
    return OK if story.succeeded else FAILED


def _distributed(simulator: "RoomsSimulator", out: Output, keep: Path | None, seed: int) -> int:
    """Show a run on several machines."""
    if find_spec("docket") is None:
        raise InvalidInputError(["--distributed: it needs pydocket; install it: pip install 'aiorooms[distributed]'"])
    with _folder(keep) as folder, temporary_folder("aiorooms-") as redis_folder:
        story = DistributedStory(simulator, out, folder, redis_folder)
        try:
            run(story.run())
        except Interrupted:
            raise Interrupted("interrupted; the workers were ended") from None
    rooms, stats = len(simulator.rooms), simulator.stats
    if out.json:
        out.data(
            {
                "rooms": rooms,
                "updated": story.updated,
                "killed": story.is_killed,
                "requests": stats.requests,
                "failure": story.failure,
                "seed": seed,
                "folder": None if keep is None else str(keep),
            }
        )
    else:
        out.line("")
        done = f"{story.updated:,} of {counted(rooms, 'room')} have the planned values"
        killed = ", although a worker was killed" if story.is_killed else ""
        out.styled((f"{done}{killed}.", "bold green" if story.succeeded else "bold red"))
        if story.failure is not None:
            out.error(story.failure)
    return OK if story.succeeded else FAILED


def _rooms(count: int) -> Iterator[dict[str, str]]:
    """Yield rooms, each with URLs of its own."""
    for number in range(1, count + 1):
        time = f"2024-01-{1 + number % 28:02}T{number // 28 % 24:02}:{number // 672 % 60:02}:00Z"
        url = f"https://{_OLD_HOST}/rooms/{number}"
        yield {
            "unique_name": f"room-{number:06}",
            "created_at": time,
            "updated_at": time,
            "webhook_event_url": f"{url}/events",
            "webhook_event_failover_url": f"{url}/failover",
        }


@contextmanager
def _folder(keep: Path | None) -> Generator[Path]:
    """Yield a folder: a temporary one, which is removed at the end, or the one to keep."""
    if keep is not None:
        keep.mkdir(mode=0o700, parents=True, exist_ok=True)
        yield keep.absolute()
        return
    with temporary_folder("aiorooms-demo-") as folder:
        yield folder


class _FailedError(Exception):
    """A command of the demo ended with another exit code than it should have."""


class _Story:
    """The steps of the demo, and what they achieved."""

    def __init__(self, simulator: "RoomsSimulator", out: Output, folder: Path, *, has_report: bool) -> None:
        self.simulator = simulator
        self.rooms: int = len(simulator.rooms)
        self.step = 0
        """The number of the current step, counted from 1."""
        self.steps = 6 + has_report
        self.killed = False
        self.verified = 0
        """Number of rooms that had both new URLs on the server, and no other change, after the run was resumed."""
        self.restored = 0
        """Number of rooms that had all their old values on the server at the end."""
        self.failure: str | None = None
        """Why the demo did not come to its end; None if it did."""
        self.figures: Figures | None = None
        """The measurements of the change; None if it has no journal."""
        self.commands: Commands | None = None
        self._out = out
        self._folder = folder
        self._has_report = has_report
        self._before: Mapping[str, Mapping[str, object]] = {}

    @property
    def succeeded(self) -> bool:
        """Whether all rooms had the new values, and then the old ones, and every command succeeded."""
        return self.failure is None and self.verified == self.restored == self.rooms

    async def run(self) -> None:
        """Start the simulator, and run all steps."""
        simulator = self.simulator
        async with simulator:
            self.commands = Commands(self._out, self._folder, simulator.url, simulator.api_key)
            self._before = self._account()
            try:
                await self._change(self.commands)
                await self._roll_back(self.commands)
                if self._has_report:
                    self._begin("Report", "a page about the change, to open in a browser.")
                    await self.commands.run("report", _JOURNAL, "--out", _REPORT)
            except _FailedError as error:
                self.failure = str(error)
        await asyncio.to_thread(self._measure)

    def _measure(self) -> None:
        """Set `figures` from the journal, if there is one, and compare them with the simulator."""
        path = self._folder / _JOURNAL
        if not path.exists():
            return
        self.figures = figures = Figures.of(Journal.open(path).entries(), self.rooms)
        if self.succeeded and figures.states["updated"] != self.rooms:
            self.failure = f"only {figures.states['updated']:,} of {self.rooms:,} rooms are updated in the journal"

    async def _change(self, commands: Commands) -> None:
        received, target = self._received, max(1, int(self.rooms * _KILL_AFTER))
        self._begin("Plan", "read and check all rooms, and write the changes to a file.")
        await self._succeed(commands, "plan", *_REWRITE)
        self._begin("Apply, and a crash", f"`kill -9` after {target:,} of {self.rooms:,} updates.")
        before = received()
        ended = await commands.run("apply", _PLAN, "--yes", kill_when=lambda: received() - before >= target)
        self.killed = ended.exit_code < 0
        if self.killed:
            self._line(f"Killed. The server had applied {len(self.simulator.stats.updates_applied):,} updates.")
        elif ended.exit_code:
            raise self._failed("apply", ended.exit_code)
        self._begin("Resume", "read back what was in flight, and update the rooms that are left.")
        await self._succeed(commands, "resume", _JOURNAL, "--yes")
        self._begin("Verify", "compare every room on the server with the plan.")
        await self._succeed(commands, "verify", _PLAN)
        self.verified = sum(
            room == {**self._before[room_id], **_moved(self._before[room_id])}
            for room_id, room in self._account().items()
        )

    async def _roll_back(self, commands: Commands) -> None:
        self._begin("Roll back", "make a plan that restores the old values, and apply it.")
        await self._succeed(commands, "rollback", _JOURNAL)
        await self._succeed(commands, "apply", _BACK, "--yes")
        self._begin("Verify again", "every room has its old values.")
        await self._succeed(commands, "verify", _BACK)
        self.restored = sum(room == self._before[room_id] for room_id, room in self._account().items())

    def _begin(self, title: str, text: str) -> None:
        self.step += 1
        if not self._out.json:
            self._out.line("")
            self._out.styled((f"{self.step}. {title}: ", "bold"), text)

    def _line(self, text: str) -> None:
        if not self._out.json:
            self._out.line(text)

    async def _succeed(self, commands: Commands, *words: str) -> None:
        ended = await commands.run(*words)
        if ended.exit_code:
            raise self._failed(words[0], ended.exit_code)

    def _failed(self, command: str, exit_code: int) -> _FailedError:
        return _FailedError(f"step {self.step} failed: `aiorooms {command}` ended with exit code {exit_code}")

    def _received(self) -> int:
        return self.simulator.stats.by_method["PATCH"]

    def _account(self) -> Mapping[str, Mapping[str, object]]:
        """Return the rooms of the simulator without their times."""
        return {
            room_id: {name: value for name, value in room.items() if name != "updated_at"}
            for room_id, room in self.simulator.rooms.items()
        }


def _moved(room: Mapping[str, object]) -> dict[str, object]:
    """Return the URLs that a room should have after the change."""
    names = ("webhook_event_url", "webhook_event_failover_url")
    return {name: str(room[name]).replace(_OLD_HOST, _NEW_HOST, 1) for name in names}


def _data(story: _Story) -> dict[str, JsonValue]:
    stats = story.simulator.stats
    figures = Figures.of((), 0) if story.figures is None else story.figures
    states = figures.states
    ended = [] if story.commands is None else story.commands.ended
    commands: list[JsonValue] = [
        {"words": ["aiorooms", *one.words], "exit_code": one.exit_code, "seconds": round(one.seconds, 3)}
        for one in ended
    ]
    return {
        "rooms": story.rooms,
        "updated": states["updated"],
        "failed": states["failed"],
        "uncertain": states["uncertain"] + states["begun"],
        "skipped": story.rooms - states.total() + states["skipped"],
        "verified": story.verified,
        "retried": figures.retried,
        "refused": stats.refused,
        "broken": stats.faults.total(),
        "requests": stats.requests,
        "applied": stats.updates_applied.total(),
        "seconds": round(figures.seconds, 3),
        "updates_per_second": round(figures.updates_per_second, 1),
        "latency": {f"p{share}": round(percentile(figures.latencies, share), 6) for share in (50, 95, 99)},
        "restored": story.restored,
        "killed": story.killed,
        "before_kill": figures.before_kill,
        "in_flight": figures.in_flight,
        "found": figures.found,
        "commands": commands,
        "failure": story.failure,
    }


def _show(story: _Story, out: Output) -> None:
    out.line("")
    if story.figures is not None:
        _draw_figures(story, story.figures, out)
    if story.succeeded:
        text = f"Verified: all {story.rooms:,} rooms had the new URLs, and have all their old values again."
        out.styled((text, "bold green"))
        return
    new, old = story.rooms - story.verified, story.rooms - story.restored
    why = f"{new:,} of {story.rooms:,} rooms did not get the new URLs, and {old:,} don't have their old values"
    out.styled((f"Not verified: {why if story.failure is None else story.failure}.", "bold red"))


def _draw_figures(story: _Story, figures: Figures, out: Output) -> None:
    from rich.table import Table  # imported here, because only drawing needs rich
    from rich.text import Text

    stats, states = story.simulator.stats, figures.states
    table = Table.grid(padding=(0, 0, 0, 2), pad_edge=True)
    table.add_column()
    table.add_column(justify="right", style="bold")
    table.add_column(style="dim")
    table.add_row("updated", Text(f"{states['updated']:,}", style="green"), "in the two runs of the change")
    for name in ("failed", "uncertain", "skipped"):
        if name == "failed" or states[name]:
            table.add_row(name, Text(f"{states[name]:,}", style="red" if states[name] else "green"))
    if story.killed:
        table.add_row("before the kill", f"{figures.before_kill:,}", "updates with an outcome")
        table.add_row("in flight then", f"{figures.in_flight:,}", "updates without an outcome")
        table.add_row("found applied", f"{figures.found:,}", "of these, and not sent again")
    table.add_row("retried", f"{figures.retried:,}", "updates that took more than one attempt")
    table.add_row("rate limited", f"{stats.refused:,}", "requests over the rate limit (429)")
    table.add_row("broken", f"{stats.faults.total():,}", f"of {stats.requests:,} requests, by a fault")
    table.add_row("time", f"{figures.seconds:.1f} s")
    table.add_row("updates/s", f"{figures.updates_per_second:,.0f}")
    notes = ("from dequeue to outcome,", "including waits for the rate limit and for retries", "")
    for share, note in zip((50, 95, 99), notes, strict=True):
        table.add_row(f"latency p{share}", latency(percentile(figures.latencies, share)), note)
    out.draw(table)
    out.line("")


def _show_next(out: Output, keep: Path | None) -> None:
    out.line("")
    if keep is None:
        out.line("Next: look at the plan, the journal and a report of the demo:")
        out.line(f"  {command_line('demo', '--keep', 'files')}")
    else:
        out.line("Next: look at the files of the demo:")
        out.line(f"  {command_line('show', keep / _PLAN)}")
        out.line(f"  {command_line('report', keep / _JOURNAL)}")
    out.line("Rehearse with your own rooms:")
    out.line(f"  {command_line('export', 'rooms.csv')}")
    out.line(f"  {command_line('simulate', '--from', 'rooms.csv', '--rate-limit', '100/1s')}")
