"""Where text goes: results on standard output, everything else on standard error; plain unless it is a terminal.

Text from the server is shown with its control characters escaped, so that a room's name can neither break a line nor
control the terminal. Lines are written as they are; rich draws only what is laid out for a screen.
"""

import os
import shlex
import stat
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from datetime import datetime
from errno import EPIPE
from functools import cached_property
from io import TextIOWrapper
from typing import TYPE_CHECKING, BinaryIO, Final, TextIO, cast

from .._text import timestamp
from ._json import JsonValue, dumps

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from ._progress import Bar

__all__ = [
    "MAX_ROOM_LINES",
    "Output",
    "OutputLostError",
    "command_line",
    "configure_stdout",
    "end_ctrl_c_line",
    "escape",
    "field_text",
    "flush",
    "output_lost",
    "print_error",
    "print_problems",
]

MAX_ROOM_LINES: Final = 10
"""Up to 10 rooms get a line each on a terminal, and no progress bar."""


class OutputLostError(Exception):
    """Standard output can't be written any more: its reader has closed it, or the disk is full."""

    def __init__(self, error: OSError) -> None:
        super().__init__(f"standard output can't be written any more: {error.strerror or error}")
        self.reader_closed = error.errno == EPIPE
        """Whether the reader has closed it, as `head` does when it has enough."""


def escape(text: str) -> str:
    """Escape what can't be printed, tabs and line ends included."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def field_text(value: object) -> str:
    """Return a field as text: empty for None, the rest as the API writes it."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case datetime():
            return timestamp(value)
        case _:
            return escape(str(value))


def command_line(*words: object, base_url: str | None = None) -> str:
    """Return a command that can be copied into a shell, for the same server as this one."""
    more = () if base_url is None else ("--base-url", base_url)
    return shlex.join(["aiorooms", *map(str, words), *more])


def print_error(text: str) -> None:
    """Write one line about something that went wrong."""
    _write_stderr(f"aiorooms: {text}")


_MAX_PROBLEMS: Final = 50
"""Lines about bad input; a wrong file can have a million problems."""


def print_problems(problems: Sequence[object]) -> None:
    """Write one line about each of the first 50 problems, and how many there are."""
    for problem in problems[:_MAX_PROBLEMS]:
        print_error(str(problem))
    if (count := len(problems)) > 1:
        more = f", of which {count - _MAX_PROBLEMS:,} are not shown" * (count > _MAX_PROBLEMS)
        print_error(f"{count:,} problems{more}; nothing was sent")


def end_ctrl_c_line() -> None:
    """After a Ctrl-C, leave the line on which the terminal shows ^C."""
    if sys.stderr.isatty():
        _write_stderr("")


def configure_stdout() -> None:
    """Escape characters that the terminal's encoding lacks, instead of failing."""
    stdout: TextIO = sys.stdout
    if isinstance(stdout, TextIOWrapper):
        cast("TextIOWrapper[BinaryIO]", stdout).reconfigure(errors="backslashreplace")


def flush() -> None:
    """Write what is still buffered. Raises `OutputLostError`."""
    try:
        sys.stdout.flush()
    except OSError as error:
        raise output_lost(error) from None


def output_lost(error: OSError) -> OutputLostError:
    """Give up standard output after this error, and return what to raise."""
    _discard(sys.stdout)
    return OutputLostError(error)


class Output:
    """What one command writes."""

    def __init__(self, *, json: bool) -> None:
        self.json = json
        """Whether standard output is for a machine."""
        self.on_terminal = sys.stdout.isatty() and not json
        """Whether standard output is for people."""
        self._bar: Bar | None = None

    def line(self, text: str) -> None:
        """Write a line on standard output. Raises `OutputLostError`, here or at the next `flush`."""
        try:
            sys.stdout.write(text + "\n")
        except OSError as error:
            raise output_lost(error) from None

    def change(self, name: str, before: str, after: str) -> None:
        """Write how a field changes, in colour on a terminal."""
        if not self.on_terminal:
            self.line(f"  {name}: {before} -> {after}")
            return
        from rich.text import Text  # late: what is not drawn needs no rich

        parts = (f"  {name}: ", (before, "red"), " -> ", (after, "green"))
        with self._console.capture() as drawn:
            self._console.print(Text.assemble(*parts), soft_wrap=True)
        self.line(drawn.get().removesuffix("\n"))

    def data(self, value: JsonValue) -> None:
        """Write a line of JSON on standard output."""
        self.line(dumps(value))

    def note(self, text: str) -> None:
        """Write a line for people: on a terminal to standard output, else to standard error."""
        if self.on_terminal:
            self.line(text)
        else:
            _write_stderr(text)

    def error(self, text: str) -> None:
        """Write one line about something that went wrong; above the progress bar, if there is one."""
        if self._bar is None:
            print_error(text)
        else:
            self._bar.above(f"aiorooms: {text}")

    def draw(self, *parts: "RenderableType") -> None:
        """Lay something out on standard output, in colour and to its width if that is a terminal."""
        with self._console.capture() as drawn:
            self._console.print(*parts)
        # rich pads lines with blanks, which would be in the way if this is not a screen.
        self.line("\n".join(line.rstrip(" ") for line in drawn.get().removesuffix("\n").split("\n")))

    @property
    def width(self) -> int:
        """Columns to draw in."""
        return self._console.width

    @cached_property
    def _console(self) -> "Console":
        from rich.console import Console  # late: what is not drawn needs no rich

        return Console(file=sys.stdout, highlight=False, markup=False)

    @contextmanager
    def progress(self, total: int) -> "Generator[Bar | None]":
        """Show a progress bar while the block runs, if standard error is a terminal and rooms are many."""
        if total <= MAX_ROOM_LINES or not (sys.stderr.isatty() and not _is_pipe(sys.stdout)):
            yield None
            return
        from ._progress import Bar

        with Bar(total) as self._bar:
            try:
                yield self._bar
            finally:
                self._bar = None

    @contextmanager
    def reading(self) -> Generator[Callable[[], None]]:
        """Count the rooms that are read while the block runs, if standard error is a terminal."""
        if not sys.stderr.isatty() or _is_pipe(sys.stdout):
            yield lambda: None
            return
        from ._progress import Count

        with Count() as count:
            yield count.add


def _write_stderr(text: str) -> None:
    # If standard error is lost too, there is nowhere to write.
    try:
        sys.stderr.write(text + "\n")
        sys.stderr.flush()
    except OSError:
        _discard(sys.stderr)


def _is_pipe(stream: TextIO) -> bool:
    """Whether another program reads this, which may itself write on the terminal, into the progress bar."""
    try:
        return stat.S_ISFIFO(os.fstat(stream.fileno()).st_mode)
    except OSError:
        return False


def _discard(stream: TextIO) -> None:
    """Drop what is still buffered, or the interpreter would print_error about it at its end."""
    try:
        number = stream.fileno()
    except OSError:
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, number)
    os.close(nowhere)
