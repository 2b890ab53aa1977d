"""Output: results go to standard output, errors and progress bars to standard error (`_stderr`).

Notes, such as totals, also go to standard output if it is a terminal that doesn't show JSON. Otherwise they go to
standard error. Only a terminal gets colours. rich draws tables, colours and progress bars. All other lines are written
directly. All text is escaped (`_escaping`).
"""

import importlib
import sys
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from errno import EPIPE
from functools import cached_property
from io import TextIOWrapper
from typing import TYPE_CHECKING, BinaryIO, Final, TextIO, cast

import click

from .._text import counted
from ._escaping import escape, escape_drawn
from ._json import JsonValue, dumps
from ._stats import GetSample, Sample
from ._stderr import can_draw, discard, erase_notice, on_screen, write_above, write_stderr

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

__all__ = [
    "MAX_ROOM_LINES",
    "QUIET",
    "Output",
    "OutputLostError",
    "Reading",
    "configure_stdout",
    "current_sample",
    "flush",
    "is_quiet",
    "output_lost",
]

MAX_ROOM_LINES: Final = 10
"""On a terminal, up to 10 rooms get one line each; more rooms get a progress bar."""


class OutputLostError(Exception):
    """Standard output can't be written any more: its reader closed the pipe, or the disk is full."""

    def __init__(self, error: OSError) -> None:
        super().__init__(f"can't write to standard output: {error.strerror or error}")
        self.reader_closed = error.errno == EPIPE
        """Whether the reader closed the pipe, as `head` does."""


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
    discard(sys.stdout)
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
        erase_notice()
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
        self._write(escape_drawn(drawn.get().removesuffix("\n")))

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
            self._write(escape_drawn(line.rstrip(" ")))

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
            stack.enter_context(on_screen(bar))
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
                stack.enter_context(on_screen(count))
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
