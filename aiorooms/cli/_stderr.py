"""Standard error: errors and problems, progress bars, and the notice about the current wait.

A terminal shows one progress bar or one notice at a time, which is erased before anything else is written. All other
lines are written above it.
"""

import importlib
import os
import select
import stat
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from io import TextIOBase
from typing import TYPE_CHECKING, Final, TextIO

import click

from ._escaping import escape
from ._notices import Notice

if TYPE_CHECKING:
    from ._progress import Bar, Count

__all__ = [
    "Stderr",
    "can_draw",
    "confirm",
    "discard",
    "end_ctrl_c_line",
    "erase_notice",
    "is_display_on",
    "load_drawing",
    "on_screen",
    "print_error",
    "print_problems",
    "print_some_problems",
    "show_notice",
    "write_above",
    "write_progress",
    "write_stderr",
]


def confirm(question: str) -> bool:
    """Ask a question on standard error, and return whether the answer is yes."""
    return click.confirm(escape(question), err=True)


def print_error(text: str) -> None:
    """Write one line to standard error."""
    write_stderr(escape(f"aiorooms: {text}") + "\n")


_MAX_PROBLEMS: Final = 50
"""Maximum number of problems to print. A file in the wrong format can cause a million problems."""


def print_problems(problems: Sequence[object]) -> None:
    """Write the first 50 problems, one on each line. If there are several, end with a line that says how many."""
    print_some_problems(problems)
    if (count := len(problems)) > 1:
        hidden = f" ({count - _MAX_PROBLEMS:,} not shown)" * (count > _MAX_PROBLEMS)
        print_error(f"{count:,} problems{hidden}; nothing was changed")


def print_some_problems(problems: Sequence[object]) -> None:
    """Write the first 50 problems, one on each line."""
    for problem in problems[:_MAX_PROBLEMS]:
        print_error(str(problem))


def end_ctrl_c_line() -> None:
    """Start a new line after the ^C that the terminal shows."""
    if sys.stderr.isatty():
        write_stderr("\n")


_displays: Final["list[Bar | Count]"] = []
"""The progress bars on standard error. Lines are written above the last one."""


def is_display_on() -> bool:
    """Return whether a progress bar is on the screen."""
    return bool(_displays)


@contextmanager
def on_screen(display: "Bar | Count") -> Generator[None]:
    _displays.append(display)
    try:
        yield
    finally:
        _displays.remove(display)


_notice_on_screen = False
"""Whether the cursor is on a line with a notice, which must be erased before anything else is written."""


def show_notice(notice: Notice | None) -> None:
    """Show a notice in the progress bar, or on a line of its own if there is no bar. None removes it.

    Call this only if `can_draw` returns True.
    """
    if _displays:
        _displays[-1].notice = notice
    elif notice is None:
        erase_notice()
    else:
        _draw_notice(notice)


def _draw_notice(notice: Notice) -> None:
    global _notice_on_screen
    from rich.cells import cell_len, set_cell_size  # imported before, by `load_drawing`

    # A text in the last column would make some terminals begin a new line.
    width = _width_of_stderr() - 1
    texts = [escape(notice.text), escape(notice.short)]
    text = next((text for text in texts if cell_len(text) <= width), set_cell_size(texts[1], max(0, width)))
    write_stderr(f"{_ERASE_LINE}{text}")
    _notice_on_screen = True


def erase_notice() -> None:
    global _notice_on_screen
    if _notice_on_screen:
        _notice_on_screen = False
        write_stderr(_ERASE_LINE)


_ERASE_LINE: Final = "\r\x1b[2K"


def load_drawing() -> None:
    """Import what `show_notice` needs. Called before an event loop runs, which the import would block."""
    importlib.import_module("rich.cells")


def _width_of_stderr() -> int:
    columns = os.environ.get("COLUMNS", "")
    if columns.isdecimal() and int(columns):
        return int(columns)
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or 80
    except OSError:
        return 80


def can_draw() -> bool:
    """Return whether standard error is a terminal on which a line can be drawn again and again.

    The reader of standard output, such as `less`, may draw on the same terminal, so it must not be a pipe.
    """
    return sys.stderr.isatty() and os.environ.get("TERM") not in ("dumb", "unknown") and not is_pipe(sys.stdout)


def write_above(line: str) -> None:
    """Write an escaped line to standard error, above the progress bar if there is one."""
    if _displays:
        _displays[-1].console.print(line, soft_wrap=True)
    else:
        write_stderr(line + "\n")


def write_progress(line: str) -> None:
    """Write an escaped line above the progress bar, or omit it if that would block, because nobody reads the pipe.

    A supervisor may start a run of many hours and read its standard error only at the end. The lines about the progress
    would fill the pipe, and the run would then stand still.
    """
    if not _would_block(sys.stderr):
        write_above(line)


def _would_block(stream: TextIO) -> bool:
    try:
        return not select.select([], [stream.fileno()], [], 0)[1]
    except (OSError, ValueError):  # it is no file of the system, or Windows can't tell
        return False


def write_stderr(text: str) -> None:
    """Write text to standard error as it is. If that fails, there is nowhere left to report the failure."""
    if text != _ERASE_LINE:
        erase_notice()
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except OSError:
        discard(sys.stderr)


class Stderr(TextIOBase):
    """Standard error as a file for rich, which writes with `write_stderr`. A closed terminal raises no error."""

    def write(self, text: str, /) -> int:
        """Write text as it is."""
        write_stderr(text)
        return len(text)

    def isatty(self) -> bool:
        """Return whether standard error is a terminal."""
        return sys.stderr.isatty()

    def fileno(self) -> int:
        """Return the number of the file descriptor."""
        return sys.stderr.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The encoding of standard error."""
        return sys.stderr.encoding


def is_pipe(stream: TextIO) -> bool:
    """Return whether the stream is a pipe."""
    try:
        return stat.S_ISFIFO(os.fstat(stream.fileno()).st_mode)
    except OSError:
        return False


def discard(stream: TextIO) -> None:
    """Redirect the stream to /dev/null, so that the interpreter reports no error when it flushes the stream at exit."""
    try:
        number = stream.fileno()
    except OSError:
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, number)
    os.close(nowhere)
