"""The progress bar: rooms done, rate and learned rate limit, time left, and rooms that could not be updated."""

from collections.abc import Callable, Iterable, Mapping
from typing import IO, TYPE_CHECKING, cast

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn
from rich.table import Column
from rich.text import Text

from ._output import Stderr

if TYPE_CHECKING:
    from .._pacing import PacingSnapshot
    from ._output import Reading

__all__ = ["Bar", "Count", "time_left"]


def _console() -> Console:
    return Console(file=cast("IO[str]", Stderr()), highlight=False, markup=False)


class _Rate(ProgressColumn):
    """The number of rooms per second over the last 30 seconds, and the rate limit if it is known."""

    def render(self, task: Task) -> Text:
        # At the end, and while there are too few samples, show the mean rate since the start of the run.
        speed = None if task.finished else task.speed
        if speed is None and (seconds := task.elapsed):
            before: int = task.fields["before"]
            speed = (task.completed - before) / seconds
        pacing: PacingSnapshot | None = task.fields["pacing"]
        text = "" if speed is None else f"{speed:,.0f}/s"
        if text and pacing is not None and pacing.sustainable_rate is not None and not task.finished:
            text += f", limit {pacing.sustainable_rate:,.0f}/s"
        return Text(text, style="cyan", justify="right")


class _TimeLeft(ProgressColumn):
    def render(self, task: Task) -> Text:
        if task.finished:
            return Text(f"in {_clock(task.finished_time or 0.0)}")
        left = time_left(task.total or 0.0, task.completed, task.time_remaining, task.fields["pacing"])
        return Text("" if left is None else f"eta {_clock(left)}")


def time_left(
    total: float, completed: float, at_this_speed: float | None, pacing: "PacingSnapshot | None"
) -> float | None:
    """Return the estimated time left in seconds, at the measured speed or at the rate limit, whichever is slower.

    `at_this_speed` is the estimate at the measured speed. Return None if both the speed and the limit are unknown.

    Requests are sent in a burst at the beginning of each window, so the measured speed may be far above the limit. For
    example, 900 rooms are left, the limit is 100 requests/s, and the measured speed is 900 rooms/s. The result is
    900 / 100 = 9 s, not 900 / 900 = 1 s.
    """
    if pacing is None or pacing.sustainable_rate is None:
        return at_this_speed
    at_the_limit = (total - completed) / pacing.sustainable_rate
    return max(at_the_limit, at_this_speed or 0.0)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class _Failures(ProgressColumn):
    def render(self, task: Task) -> Text:
        failed: int = task.fields["failed"]
        uncertain: int = task.fields["uncertain"]
        conflicts: int = task.fields["conflicts"]
        text = Text(f"{failed:,} failed", style="bold red" if failed else "dim")
        if uncertain:
            text.append(f", {uncertain:,} uncertain", style="bold red")
        if conflicts:
            text.append(f", {conflicts:,} in conflict", style="bold yellow")
        return text


class Bar(Progress):
    """A progress bar on standard error. It moves while the `with` block runs, and stays visible afterwards."""

    def __init__(self, total: int) -> None:
        self.done = 0
        """Number of rooms with an outcome, including earlier runs."""
        self.before = 0
        """Number of rooms with an outcome from earlier runs. These rooms don't count towards the speed."""
        self.failed = 0
        self.uncertain = 0
        self.conflicts = 0
        self.pacing: Callable[[], PacingSnapshot] | None = None
        """A function that returns the state of the rate limit, or None while there is no client."""
        super().__init__(
            # rich's default colour is a red that looks like an error.
            BarColumn(bar_width=None, complete_style="cyan", finished_style="green"),
            TextColumn("{task.completed:,.0f}/{task.total:,.0f}"),
            _Rate(),
            _TimeLeft(),
            _Failures(Column(no_wrap=True)),
            console=_console(),
            expand=True,
            # rich need not redirect the streams, because `write_above` writes the lines above the bar.
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self.add_task("", total=total, before=0, failed=0, uncertain=0, conflicts=0, pacing=None)

    def get_renderables(self) -> Iterable[RenderableType]:
        """Update the task, and return what rich draws."""
        for task in self.task_ids:
            pacing = None if self.pacing is None else self.pacing()
            self.update(
                task,
                completed=self.done,
                before=self.before,
                failed=self.failed,
                uncertain=self.uncertain,
                conflicts=self.conflicts,
                pacing=pacing,
            )
        return super().get_renderables()

    def show(self, counts: Mapping[str, int], before: int = 0) -> None:
        """Set the number of outcomes by status. `before` is the number of outcomes from earlier runs."""
        self.before = before
        self.done = before + sum(counts.values())
        self.failed = counts["failed"]
        self.uncertain = counts["uncertain"]
        self.conflicts = counts["conflict"]


class Count(Progress):
    """The number of rooms read and of URLs probed on standard error, shown only while the `with` block runs."""

    def __init__(self, reading: "Reading") -> None:
        self._reading = reading
        super().__init__(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            console=_console(),
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self.add_task("", total=None)

    def get_renderables(self) -> Iterable[RenderableType]:
        """Update the task, and return what rich draws."""
        probes = self._reading.probes
        probed = f", {probes:,} webhook URL{'s' * (probes != 1)} probed" if probes else ""
        for task in self.task_ids:
            self.update(task, description=f"{self._reading.rooms:,} rooms read{probed}")
        return super().get_renderables()
