"""A temporary folder that is removed at the end, whenever a signal comes."""

import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from .._signals import signals_held

__all__ = ["temporary_folder"]


@contextmanager
def temporary_folder(prefix: str) -> Generator[Path]:
    """Yield a new folder whose name begins with `prefix`. At the end of the block, remove it with its content."""
    # A `TemporaryDirectory` also removes itself at the end of the program.
    folder: tempfile.TemporaryDirectory[str] | None = None
    try:
        with signals_held():
            folder = tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True)
        yield Path(folder.name)
    finally:
        with signals_held():
            if folder is not None:
                folder.cleanup()
