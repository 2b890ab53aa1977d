"""Recognize plans and journals by their first bytes.

An operator may give a journal to `apply`, or a plan to `resume`. The beginning of the file shows what it is, so that
the error can name the right command. For example, a file that begins with `{"aiorooms_journal":2,` is a journal, even
if the rest of it is damaged or of a newer version.
"""

import re
from pathlib import Path
from typing import Final, Literal, TypeAlias

from ._existing_file import open_existing

__all__ = ["InputKind", "kind_of_bytes", "kind_of_input"]

InputKind: TypeAlias = Literal["plan", "journal"]

_HEAD: Final = 256
"""Number of bytes to read. The key is in the first 30, but a program that formats JSON may add blanks."""

# A file of another program may begin with a byte order mark.
_BEGIN: Final = re.compile(rb'(?:\xef\xbb\xbf)?\s*\{\s*"aiorooms_(plan|journal)"\s*:')


def kind_of_input(path: str | Path) -> InputKind | None:
    """Return whether a file is a plan or a journal; None if it is neither, is no regular file or can't be read."""
    try:
        with open_existing(Path(path)) as file:
            return kind_of_bytes(file.read(_HEAD))
    except (OSError, ValueError):  # a path with a NUL character is a ValueError
        return None


def kind_of_bytes(head: bytes) -> InputKind | None:
    """Return whether a file with these first bytes is a plan or a journal; None if it is neither."""
    found = _BEGIN.match(head)
    if found is None:
        return None
    return "plan" if found[1] == b"plan" else "journal"
