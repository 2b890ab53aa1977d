"""Standard input and output in place of a file: the path `-`.

A command whose argument is `-` works with a temporary file. Standard input is copied into it before the command begins,
because a plan or a journal is read more than once. A new file is copied from it to standard output when it is complete,
so that a command that fails writes nothing.
"""

import shutil
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from ._command import Context
from ._output import output_lost
from ._stderr import print_error
from ._temporary import temporary_folder

__all__ = [
    "input_path",
    "is_copy",
    "is_standard",
    "new_file_name",
    "output_path",
    "reject_two_outputs",
    "shown_path",
    "standard_input",
]

_PREFIX: Final = "aiorooms-"
_COPY: Final = "standard input"


def is_standard(path: object) -> bool:
    """Return whether a path stands for standard input or output."""
    return str(path) == "-"


def new_file_name(path: Path) -> str:
    """Return the name of a new file for a message."""
    return "standard output" if is_standard(path) else str(path)


def standard_input(what: str) -> BinaryIO:
    """Return standard input. If it is a terminal, ask for `what` first."""
    if sys.stdin.isatty():
        print_error(f"reading {what} from the terminal; press Ctrl-D to end")
    return sys.stdin.buffer


@contextmanager
def input_path(path: Path, what: str) -> Generator[Path]:
    """Yield a path to read: the path itself, or that of a copy of standard input. `what` is what it contains."""
    if not is_standard(path):
        yield path
        return
    with temporary_folder(_PREFIX) as folder:
        copied = folder / _COPY
        with copied.open("wb") as file:
            shutil.copyfileobj(standard_input(what), file)
        yield copied


def is_copy(path: Path) -> bool:
    """Return whether a path is that of a copy of standard input, which is removed at the end of the command."""
    return path.name == _COPY and path.parent.name.startswith(_PREFIX)


def shown_path(path: Path) -> str:
    """Return a path for the output: `standard input` for a copy of it."""
    return _COPY if is_copy(path) else str(path)


def reject_two_outputs(ctx: Context, parameter: str, name: str, what: str) -> None:
    """Record a problem if both a new file and JSON would go to standard output.

    `parameter` has the path of the file, which is called `name` in a problem. `what` is what the file contains.
    """
    if is_standard(ctx.params[parameter]) and ctx.params["as_json"]:
        ctx.add_problem(f"standard output would contain {what} and JSON; give a file, or omit --json", name)


@contextmanager
def output_path(path: Path) -> Generator[Path]:
    """Yield a path to write: the path itself, or that of a file whose content goes to standard output at the end.

    Raises `OutputLostError` if standard output can't be written.
    """
    if not is_standard(path):
        yield path
        return
    with temporary_folder(_PREFIX) as folder:
        new = folder / "standard output"
        yield new
        try:
            with new.open("rb") as file:
                sys.stdout.flush()
                shutil.copyfileobj(file, sys.stdout.buffer)
                sys.stdout.buffer.flush()
        except OSError as error:
            raise output_lost(error) from None
