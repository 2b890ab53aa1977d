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
import select
import shlex
import stat
import sys
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from errno import EPIPE
from functools import cached_property
from io import TextIOBase, TextIOWrapper
from typing import TYPE_CHECKING, BinaryIO, Final, TextIO, cast

import click

from .._text import counted, timestamp
from ._json import JsonValue, dumps
from ._notices import Notice
from ._stats import GetSample, Sample

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from ._progress import Bar, Count

__all__ = [
    "MAX_ROOM_LINES",
    "QUIET",
    "Output",
    "OutputLostError",
    "Stderr",
    "can_draw",
    "command_line",
    "configure_stdout",
    "confirm",
    "current_sample",
    "end_ctrl_c_line",
    "escape",
    "field_text",
    "flush",
    "is_display_on",
    "is_quiet",
    "load_drawing",
    "output_lost",
    "print_error",
    "print_problems",
    "print_some_problems",
    "show_notice",
    "write_above",
    "write_progress",
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

    def sample(self) -> Sample:
        """Return how far it has come now, for the lines of `--stats`."""
        return Sample(done=self.rooms, more=self.more)

    @property
    def more(self) -> str:
        """What was done besides reading rooms, as text that begins with a comma; empty for nothing."""
        probes = self.probes
        return f", {counted(probes, 'webhook URL')} probed" if probes else ""

    rooms = 0
    """Number of rooms read so far."""
    probes = 0
    """Number of webhook URLs probed so far."""

    def add_room(self) -> None:
        """Count one more room."""
        self.rooms += 1

    def add_rooms(self, number: int) -> None:
        """Count several rooms more."""
        self.rooms += number

    def add_probe(self) -> None:
        """Count one more webhook URL."""
        self.probes += 1


class Output:
    """The output of one command."""

    def __init__(self, *, json: bool) -> None:
        self.json = json
        """Whether standard output is JSON."""
        self.quiet = is_quiet()
        """Whether notes, bars and lines about the progress are left out: `--quiet`."""
        self.on_terminal = sys.stdout.isatty() and not json
        """Whether standard output is a terminal, and is not JSON."""

    def line(self, text: str) -> None:
        """Write a line to standard output, which may contain tabs between columns.

        If that fails, this call or the next `flush` raises `OutputLostError`.
        """
        self._write(text if text.isprintable() else "\t".join(map(escape, text.split("\t"))))

    def _write(self, text: str) -> None:
        _erase_notice()
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
        """Write a line that is not a result: to standard output if `on_terminal` is true, else to standard error.

        If `quiet` is true, do nothing.
        """
        if self.quiet:
            return
        if self.on_terminal:
            self.line(text)
        else:
            self.aside(text)

    def aside(self, text: str) -> None:
        """Write a line to standard error, because standard output is a file. If `quiet` is true, do nothing."""
        if not self.quiet:
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
    def progress(self, total: int, sample: GetSample) -> Generator[None]:
        """Show a progress bar while the block runs. The bar and the lines of `--stats` are about `sample`.

        There is no bar if there are 10 rooms or fewer, if standard error is not a terminal, if standard output is a
        pipe, or if `quiet` is true. The bar calls `sample` in a thread of its own.
        """
        with ExitStack() as stack:
            stack.enter_context(_measured(sample))
            if self.quiet or total <= MAX_ROOM_LINES or not can_draw():
                yield
                return
            from ._progress import Bar

            bar = stack.enter_context(Bar(total, sample))
            stack.enter_context(_on_screen(bar))
            yield

    @contextmanager
    def reading(self, *, writes_results: bool = False) -> "Generator[Reading]":
        """Count what is read while the block runs. Yield the numbers to count up, which the lines of `--stats` show.

        They are also shown live, unless standard error is not a terminal, standard output is a pipe, or `quiet` is
        true. With `writes_results`, they are not shown on a terminal to which the command writes results meanwhile.
        """
        reading = Reading()
        with ExitStack() as stack:
            stack.enter_context(_measured(reading.sample))
            if not self.quiet and can_draw() and not (writes_results and sys.stdout.isatty()):
                from ._progress import Count

                count = stack.enter_context(Count(reading))
                stack.enter_context(_on_screen(count))
            yield reading


QUIET: Final = "aiorooms.cli.quiet"
"""The name of `--quiet` in the `meta` of the context."""


def is_quiet() -> bool:
    """Return whether `--quiet` was given to the running command."""
    context = click.get_current_context(silent=True)
    return context is not None and bool(context.meta.get(QUIET))


_samples: Final[list[GetSample]] = []


@contextmanager
def _measured(sample: GetSample) -> Generator[None]:
    _samples.append(sample)
    try:
        yield
    finally:
        _samples.remove(sample)


def current_sample() -> GetSample | None:
    """Return the function that says how far the running command has come; None if it has no figures."""
    return _samples[-1] if _samples else None


_displays: Final["list[Bar | Count]"] = []
"""The progress bars on standard error. Lines are written above the last one."""


def is_display_on() -> bool:
    """Return whether a progress bar is on the screen."""
    return bool(_displays)


@contextmanager
def _on_screen(display: "Bar | Count") -> Generator[None]:
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
        _erase_notice()
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


def _erase_notice() -> None:
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
    return sys.stderr.isatty() and os.environ.get("TERM") not in ("dumb", "unknown") and not _is_pipe(sys.stdout)


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
        _erase_notice()
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
    """Return whether the stream is a pipe."""
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
