"""Check that a new file does not replace the journal that it is made from."""

from pathlib import Path

from ..errors import JournalError
from ._files import quoted_path
from ._journal import Journal

__all__ = ["check_output"]


def check_output(path: str | Path, journal: Journal, kind: str) -> None:
    """Raise `JournalError` if `path` is the journal itself. `kind` is what is written, such as `report`."""
    path = Path(path)
    try:
        is_journal = path.samefile(journal.path)
    except (OSError, ValueError):
        return  # there is no such file; or else writing it fails too, and reports the reason
    if is_journal:
        text = f"the {kind} would overwrite the journal {quoted_path(path)}"
        raise JournalError(text, hint="choose another path", reason="overwrites_journal")
