"""Create a temporary folder, and remove it even if a signal arrives.

A signal may raise an exception at any line. `mkdtemp` would leave the folder behind if one arrived after it has created
the folder and before it has returned the name. So the name is chosen first.
"""

import atexit
import secrets
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

__all__ = ["temporary_folder"]


@contextmanager
def temporary_folder(prefix: str) -> Generator[Path]:
    """Yield a new folder whose name begins with `prefix`, and which only the user can read.

    At the end of the block, remove it with its content. Errors of the removal are ignored.
    """
    folder = Path(tempfile.gettempdir(), prefix + secrets.token_hex(8))
    remove = partial(shutil.rmtree, folder, ignore_errors=True)
    atexit.register(remove)  # a signal may interrupt the removal below
    try:
        folder.mkdir(mode=0o700)
        yield folder
    finally:
        remove()
        atexit.unregister(remove)
