r"""Output: results go to standard output, errors and progress bars to standard error.

Notes, such as totals, also go to standard output if it is a terminal that doesn't show JSON. Otherwise they go to
standard error. Only a terminal gets colours. rich draws tables, colours and progress bars. All other lines are written
directly.

All text passes through this module, which escapes unprintable characters. A room's name, a file name or a message of
the operating system must neither break a line nor control the terminal. For example, a file named ESC[2J.plan is shown
as `\x1b[2J.plan`, and does not clear the screen. Only tabs between columns and the colours that rich adds are written
as they are. In a command to copy, the word becomes `$'\x1b[2J.plan'`, which a shell reads as the same bytes.
"""

import importlib
import os
import re
import shlex
import stat
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from datetime import datetime
from errno import EPIPE
from functools import cached_property
from io import TextIOBase, TextIOWrapper
from typing import TYPE_CHECKING, BinaryIO, Final, TextIO, cast

import click

from .._text import timestamp
from ._json import JsonValue, dumps

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.progress import Progress

    from ._progress import Bar

__all__ = [
    "MAX_ROOM_LINES",
    "Output",
    "OutputLostError",
    "Stderr",
    "command_line",
    "configure_stdout",
    "confirm",
    "end_ctrl_c_line",
    "escape",
    "field_text",
    "flush",
    "output_lost",
    "print_error",
    "print_problems",
    "write_above",
    "write_stderr",
]

MAX_ROOM_LINES: Final = 10
"""On a terminal, up to 10 rooms get one line each; more rooms get a progress bar."""


class OutputLostError(Exception):
    """Standard output can't be written any more: its reader closed the pipe, or the disk is full."""

    def __init__(self, error: OSError) -> None:
        super().__init__(f"can't write to standard output: {error.strerror or error}")
        self.reader_closed = error.errno == EPIPE
        """Whether the reader closed the pipe, as `head` does."""


def escape(text: str) -> str:
    """Escape unprintable characters, including tabs and line breaks."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


_COLOUR: Final = re.compile(r"(\x1b\[[0-9;]*m)")


def _escape_drawn(line: str) -> str:
    """Escape a line that rich has drawn, but keep its colours."""
    return "".join(part if _COLOUR.fullmatch(part) else escape(part) for part in _COLOUR.split(line))


def field_text(value: object) -> str:
    """Return the value of a field as text, in the API's format. None becomes an empty string."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case datetime():
            return timestamp(value)
        case _:
            return escape(str(value))


def command_line(*words: object) -> str:
    """Return a command of aiorooms to copy into a shell."""
    return " ".join(map(_shell_word, ("aiorooms", *map(str, words))))


def _shell_word(word: str) -> str:
    if word.isprintable():
        return shlex.quote(word)
    return f"$'{''.join(map(_in_shell, word))}'"


def _in_shell(char: str) -> str:
    """Return a character as it is written between `$'` and `'`."""
    if not char.isprintable():
        return "".join(f"\\x{byte:02x}" for byte in os.fsencode(char))
    return f"\\{char}" if char in "\\'" else char


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
    for problem in problems[:_MAX_PROBLEMS]:
        print_error(str(problem))
    if (count := len(problems)) > 1:
        hidden = f" ({count - _MAX_PROBLEMS:,} not shown)" * (count > _MAX_PROBLEMS)
        print_error(f"{count:,} problems{hidden}; nothing was changed")


def end_ctrl_c_line() -> None:
    """Start a new line after the ^C that the terminal shows."""
    if sys.stderr.isatty():
        write_stderr("\n")


def configure_stdout() -> None:
    """Configure standard output to escape characters that its encoding lacks, instead of raising an error."""
    stdout: TextIO = sys.stdout
    if isinstance(stdout, TextIOWrapper):
        cast("TextIOWrapper[BinaryIO]", stdout).reconfigure(errors="backslashreplace")


def flush() -> None:
    """Flush standard output. Raise `OutputLostError` if that fails."""
    try:
        sys.stdout.flush()
    except OSError as error:
        raise output_lost(error) from None


def output_lost(error: OSError) -> OutputLostError:
    """Discard all further output after this error, and return the exception to raise."""
    _discard(sys.stdout)
    return OutputLostError(error)


class Reading:
    """How far reading the account has come."""

    rooms = 0
    """Number of rooms read so far."""
    probes = 0
    """Number of webhook URLs probed so far."""

    def add_room(self) -> None:
        """Count one more room."""
        self.rooms += 1

    def add_probe(self) -> None:
        """Count one more webhook URL."""
        self.probes += 1


class Output:
    """The output of one command."""

    def __init__(self, *, json: bool) -> None:
        self.json = json
        """Whether standard output is JSON."""
        self.on_terminal = sys.stdout.isatty() and not json
        """Whether standard output is a terminal, and is not JSON."""

    def line(self, text: str) -> None:
        """Write a line to standard output, which may contain tabs between columns.

        If that fails, this call or the next `flush` raises `OutputLostError`.
        """
        self._write(text if text.isprintable() else "\t".join(map(escape, text.split("\t"))))

    def _write(self, text: str) -> None:
        try:
            sys.stdout.write(text + "\n")
        except OSError as error:
            raise output_lost(error) from None

    def change(self, name: str, before: str, after: str) -> None:
        """Write the old and the new value of a field, in colour on a terminal."""
        self.styled(f"  {name}: ", (escape(before), "red"), " -> ", (escape(after), "green"))

    def styled(self, *parts: str | tuple[str, str]) -> None:
        """Write a line of parts: text, or text and its style, which only a terminal shows.

        All text from outside must have been escaped, because a colour in it would be kept.
        """
        if not self.on_terminal:
            self.line("".join(part if isinstance(part, str) else part[0] for part in parts))
            return
        from rich.text import Text  # imported here, because only drawing needs rich

        with self._console.capture() as drawn:
            self._console.print(Text.assemble(*parts), soft_wrap=True)
        self._write(_escape_drawn(drawn.get().removesuffix("\n")))

    def load_styles(self) -> None:
        """Import what `styled` needs. Called before an event loop runs, which the import would block."""
        if self.on_terminal:
            importlib.import_module("rich.text")
            with self._console.capture():
                self._console.print("")

    def data(self, value: JsonValue) -> None:
        """Write a line of JSON to standard output."""
        self.line(dumps(value))

    def note(self, text: str) -> None:
        """Write a line that is not a result: to standard output if `on_terminal` is true, else to standard error."""
        if self.on_terminal:
            self.line(text)
        else:
            write_stderr(escape(text) + "\n")

    def error(self, text: str) -> None:
        """Write one line to standard error, above the progress bar if there is one."""
        write_above(escape(f"aiorooms: {text}"))

    def draw(self, *parts: "RenderableType") -> None:
        """Draw on standard output with rich. On a terminal, use colours and the terminal's width.

        `field_text` must have escaped all text from outside, because a colour in it would be kept.
        """
        with self._console.capture() as drawn:
            self._console.print(*parts)
        # rich pads each line with blanks. A file or a pipe should not contain these blanks.
        for line in drawn.get().removesuffix("\n").split("\n"):
            self._write(_escape_drawn(line.rstrip(" ")))

    @property
    def width(self) -> int:
        """Number of columns to draw in."""
        return self._console.width

    @cached_property
    def _console(self) -> "Console":
        from rich.console import Console  # imported here, because only drawing needs rich

        return Console(file=sys.stdout, highlight=False, markup=False, emoji=False)

    @contextmanager
    def progress(self, total: int) -> "Generator[Bar | None]":
        """Show a progress bar while the block runs, and yield it.

        Yield None if there are 10 rooms or fewer, if standard error is not a terminal, or if standard output is a pipe.
        """
        if total <= MAX_ROOM_LINES or not (sys.stderr.isatty() and not _is_pipe(sys.stdout)):
            yield None
            return
        from ._progress import Bar

        with Bar(total) as bar, _on_screen(bar):
            yield bar

    @contextmanager
    def reading(self) -> "Generator[Reading]":
        """Show how far reading the account has come while the block runs. Yield the numbers to count up.

        Nothing is shown if standard error is not a terminal, or if standard output is a pipe.
        """
        reading = Reading()
        if not sys.stderr.isatty() or _is_pipe(sys.stdout):
            yield reading
            return
        from ._progress import Count

        with Count(reading) as count, _on_screen(count):
            yield reading


_displays: Final["list[Progress]"] = []
"""The progress bars on standard error. Lines are written above the last one."""


@contextmanager
def _on_screen(display: "Progress") -> Generator[None]:
    _displays.append(display)
    try:
        yield
    finally:
        _displays.remove(display)


def write_above(line: str) -> None:
    """Write an escaped line to standard error, above the progress bar if there is one."""
    if _displays:
        _displays[-1].console.print(line, soft_wrap=True)
    else:
        write_stderr(line + "\n")


def write_stderr(text: str) -> None:
    """Write text to standard error as it is. If that fails, there is nowhere left to report the failure."""
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except OSError:
        _discard(sys.stderr)


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


def _is_pipe(stream: TextIO) -> bool:
    """Return whether the stream is a pipe. The reader of a pipe, such as `less`, may draw over a progress bar."""
    try:
        return stat.S_ISFIFO(os.fstat(stream.fileno()).st_mode)
    except OSError:
        return False


def _discard(stream: TextIO) -> None:
    """Redirect the stream to /dev/null, so that the interpreter reports no error when it flushes the stream at exit."""
    try:
        number = stream.fileno()
    except OSError:
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, number)
    os.close(nowhere)
