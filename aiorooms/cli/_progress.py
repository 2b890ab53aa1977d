"""The progress bar on one line: rooms done, rate and learned rate limit, time left, failures, and the current wait.

`_bar_layout` decides what fits into the width of the terminal.
"""

import math
from collections.abc import Iterable
from enum import IntEnum, auto
from typing import IO, TYPE_CHECKING, cast

from rich.console import Console, RenderableType
from rich.progress import Progress, SpinnerColumn, Task, TextColumn
from rich.progress_bar import ProgressBar
from rich.table import Column, Table
from rich.text import Text

from .._text import counted
from ..bulk._units import clock, rate_per, time_left
from ._bar_layout import Form, Part, fit
from ._escaping import escape
from ._stats import GetSample, Sample
from ._stderr import Stderr

if TYPE_CHECKING:
    from ._notices import Notice
    from ._output import Reading

__all__ = ["Bar", "Count"]


def _console() -> Console:
    return Console(file=cast("IO[str]", Stderr()), highlight=False, markup=False)


class _Rank(IntEnum):
    """The parts of the line in the order in which they give way in a narrow terminal, the first one first.

    During a wait, the rate and the time left say little, so the notice has a higher rank.
    """

    LIMIT = auto()
    NO_FAILURES = auto()
    RATE = auto()
    TIME = auto()
    NOTICE = auto()
    FAILURES = auto()
    DONE = auto()
    PROBLEMS = auto()
    """The number of all failures, in place of one for each kind."""
    SHORT_NOTICE = auto()
    PERCENT = auto()


_SPINNER = 4
"""Columns of the spinner, the blanks, and the comma that `fit` does not count."""


class _OneLine(Progress):
    """A display of one line that is drawn again and again."""

    notice: "Notice | None" = None
    """What to show about the current wait."""


class Bar(_OneLine):
    """A progress bar on standard error. It moves while the `with` block runs, and stays visible afterwards."""

    def __init__(self, total: int, sample: GetSample) -> None:
        """`sample` says how far the run has come, each time the bar is drawn."""
        self._sample = sample
        super().__init__(
            console=_console(),
            # rich need not redirect the streams, because `write_above` writes the lines above the bar.
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self.add_task("", total=total)

    def get_renderables(self) -> Iterable[RenderableType]:
        """Update the task, and return what rich draws."""
        for task in self.task_ids:
            self.update(task, completed=self._sample().done)
        return super().get_renderables()

    def make_tasks_table(self, tasks: Iterable[Task]) -> Table:
        """Return the line, as a table of one row."""
        table = Table.grid(padding=(0, 1, 0, 0))
        for task in tasks:
            fitted = fit(self._parts(task), self.console.width)
            cells: list[RenderableType] = [Text(text, style) for text, style in fitted.parts]
            if fitted.bar:
                # rich's default colour is a red that looks like an error.
                bar = ProgressBar(
                    task.total, task.completed, width=fitted.bar, complete_style="cyan", finished_style="green"
                )
                cells.insert(0, bar)
            for _ in cells:
                table.add_column(no_wrap=True)
            table.add_row(*cells)
        return table

    def _parts(self, task: Task) -> list[Part]:
        sample = self._sample()
        total = task.total or 0.0
        percent = f"{math.floor(100 * task.completed / total) if total else 100} %"
        time = _time(task, sample.limit)
        if sample.phase:
            return [Part(((f"0/{total:,.0f}", _Rank.DONE),)), Part(((sample.phase, _Rank.NOTICE),), "cyan")]
        return [
            Part(((f"{task.completed:,.0f}/{total:,.0f}", _Rank.DONE), (percent, _Rank.PERCENT))),
            Part(_rate(task, sample), "cyan"),
            Part(((time, _Rank.TIME),) if time else ()),
            _failures(sample),
            _notice_part(self.notice),
        ]


def _failures(sample: Sample) -> Part:
    text = ", ".join(sample.failures())
    problems = sample.failed + sample.uncertain + sample.conflicts
    if not problems:
        return Part(((text, _Rank.NO_FAILURES),), "dim")
    style = "bold red" if sample.failed or sample.uncertain else "bold yellow"
    return Part(((text, _Rank.FAILURES), (counted(problems, "problem"), _Rank.PROBLEMS)), style)


def _notice_part(notice: "Notice | None") -> Part:
    if notice is None:
        return Part(())
    return Part(((escape(notice.text), _Rank.NOTICE), (escape(notice.short), _Rank.SHORT_NOTICE)), "yellow")


def _rate(task: Task, sample: Sample) -> tuple[Form, ...]:
    """Return the number of rooms per second over the last 30 seconds, and the rate limit if it is known."""
    # At the end, and while there are too few samples, show the mean rate since the start of the run.
    speed = None if task.finished else task.speed
    if speed is None and (seconds := task.elapsed):
        speed = (task.completed - sample.before) / seconds
    if speed is None:
        return ()
    short = (f"{rate_per(speed)}", _Rank.RATE)
    if sample.limit is None or task.finished:
        return (short,)
    return (f"{short[0]}, limit {rate_per(sample.limit)}", _Rank.LIMIT), short


def _time(task: Task, limit: float | None) -> str:
    if task.finished:
        return f"in {clock(task.finished_time or 0.0)}"
    left = time_left((task.total or 0.0) - task.completed, task.time_remaining, limit)
    return "" if left is None else f"{clock(left)} left"


class Count(_OneLine):
    """The number of rooms read and of URLs probed on standard error, shown only while the `with` block runs."""

    def __init__(self, reading: "Reading") -> None:
        self._reading = reading
        super().__init__(
            SpinnerColumn(),
            TextColumn("{task.description}", table_column=Column(no_wrap=True, overflow="ellipsis")),
            console=_console(),
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self.add_task("", total=None)

    def get_renderables(self) -> Iterable[RenderableType]:
        """Update the task, and return what rich draws."""
        for task in self.task_ids:
            self.update(task, description=self._text())
        return super().get_renderables()

    def _text(self) -> str:
        reading = self._reading
        count = Part(
            (
                (f"{counted(reading.rooms, 'room')} read{reading.more}", _Rank.DONE),
                (counted(reading.rooms, "room"), _Rank.PERCENT),
            )
        )
        fitted = fit([count, _notice_part(self.notice)], max(1, self.console.width - _SPINNER))
        return ", ".join(text for text, _ in fitted.parts)
