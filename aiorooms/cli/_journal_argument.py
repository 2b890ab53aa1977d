"""Open the journal that a command was given. If a plan was given instead, name its journal."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from .._text import quoted
from ..errors import JournalError

__all__ = ["opened"]

T = TypeVar("T")


def opened(path: Path, open_journal: Callable[[Path], T]) -> T:
    """Return `open_journal(path)`. If `path` is no journal, but a journal lies beside it, the error names that one."""
    try:
        return open_journal(path)
    except JournalError as error:
        beside = Path(f"{path}.journal")
        if error.reason != "not_a_journal" or not beside.is_file():
            raise
        raise JournalError(error.message, hint=f"did you mean {quoted(str(beside))}?") from None
