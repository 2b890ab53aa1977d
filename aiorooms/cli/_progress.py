"""The progress bar: done of total, rate, time left, failures so far."""

from collections.abc import Iterable

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

__all__ = ["Bar"]


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        # The speed of the last seconds; over all where it's done, or there was too little to tell.
        speed = None if task.finished else task.speed
        if speed is None and (seconds := task.elapsed):
            speed = task.completed / seconds
        return Text("" if speed is None else f"{speed:,.0f}/s", style="cyan", justify="right")


class _TimeLeft(ProgressColumn):
    def render(self, task: Task) -> Text:
        if task.finished:
            return Text(f"in {_clock(task.finished_time or 0.0)}")
        return Text("" if task.time_remaining is None else f"eta {_clock(task.time_remaining)}")


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class _Failures(ProgressColumn):
    def render(self, task: Task) -> Text:
        failed: int = task.fields["failed"]
        return Text(f"{failed:,} failed", style="bold red" if failed else "dim")


class Bar(Progress):
    """A bar on standard error, there while its `with` block runs."""

    def __init__(self, total: int) -> None:
        self.done = 0
        """To be set at each outcome; it is looked at whenever the bar is drawn."""
        self.failed = 0
        super().__init__(
            # The default colour is one that looks like trouble.
            BarColumn(bar_width=None, complete_style="cyan", finished_style="green"),
            TextColumn("{task.completed:,.0f}/{task.total:,.0f}"),
            _Rate(),
            _TimeLeft(),
            _Failures(),
            console=Console(stderr=True, highlight=False, markup=False),
            expand=True,
            # Whoever writes meanwhile does it through `above`.
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self.add_task("", total=total, failed=0)

    def get_renderables(self) -> Iterable[RenderableType]:
        """Give what is drawn."""
        for task in self.task_ids:
            self.update(task, completed=self.done, failed=self.failed)
        return super().get_renderables()

    def above(self, line: str) -> None:
        """Write a line above the bar."""
        self.console.print(line, soft_wrap=True)
