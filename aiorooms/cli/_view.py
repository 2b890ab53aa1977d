"""Show the state of a run: once, again and again in one place of a terminal, or line by line in a log."""

import importlib
import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TypeAlias

import attrs

from ..bulk._progress import Snapshot
from ._escaping import escape
from ._json import JsonValue
from ._output import Output, flush
from ._status_text import headline, one_line

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["ELSEWHERE", "ON_TERMINAL", "Show", "View", "showing"]

ON_TERMINAL: Final = 1.0
ELSEWHERE: Final = 10.0
"""Time between two views, in seconds. In a log, a line each second would hide all others."""


@attrs.frozen
class View:
    """The state of a run at one moment, as it is shown."""

    now: Snapshot
    details: Sequence[tuple[str, str]]
    """Pairs of a short name and a text."""
    data: dict[str, JsonValue]
    """The state as JSON data."""


Show: TypeAlias = Callable[[View | str], None]
"""Shows a state, or a text while there is no state yet."""


@contextmanager
def showing(out: Output, *, watch: bool) -> Generator[Show]:
    """Yield a function that shows a state."""
    if out.on_terminal:
        out.load_styles()
        for module in ("rich.live", "rich.table"):
            importlib.import_module(module)  # here, because an import would block the event loop
    if watch and out.on_terminal:
        with _in_place() as show:
            yield show
        return

    def show_below(view: View | str) -> None:
        if isinstance(view, str):
            return
        if out.json:
            out.data(view.data)
        elif watch and view.now.phase == "running":
            out.line(escape(one_line(view.now, time.time())))
        elif out.on_terminal:
            out.draw(_drawn(view))
        else:
            out.line(escape(headline(view.now)))
            for name, text in view.details:
                out.line(escape(f"  {name:<9} {text}"))
        flush()

    yield show_below


@contextmanager
def _in_place() -> Generator[Show]:
    """Draw each state over the one before, on a terminal. The last one stays visible."""
    from rich.console import Console  # imported here, because only drawing needs rich
    from rich.live import Live
    from rich.text import Text

    console = Console(file=sys.stdout, highlight=False, markup=False, emoji=False)
    with Live(console=console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False) as live:

        def show(view: View | str) -> None:
            live.update(Text(view, style="dim") if isinstance(view, str) else _drawn(view), refresh=True)

        yield show


def _drawn(view: View) -> "RenderableType":
    """Return the state for a terminal. A long text continues below its beginning."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    now = view.now
    style = (
        "bold green" if now.is_complete else {"running": "bold cyan", "ended": "bold yellow"}.get(now.phase, "bold red")
    )
    details = Table.grid(padding=(0, 1, 0, 0))
    for name, text in view.details:
        details.add_row(Text(f"  {name}", style="dim"), Text(escape(text), overflow="fold"))
    return Group(Text(escape(headline(now)), style=style), details)
