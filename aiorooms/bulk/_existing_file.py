"""Open an existing regular file, without blocking.

Opening a named pipe waits for its other end, and reading `/dev/zero` never ends. The event loop would be blocked, so
that not even Ctrl-C would end the program. So a file is opened with `O_NONBLOCK`, and only a regular file is accepted.
"""

import errno
import os
from pathlib import Path
from typing import BinaryIO, Final

from ._files import NotAFileError, check_is_file

__all__ = ["BINARY", "NONBLOCK", "open_existing"]

# Windows has `O_BINARY`, and the other systems have `O_NONBLOCK`.
BINARY: Final[int] = getattr(os, "O_BINARY", 0)
NONBLOCK: Final[int] = getattr(os, "O_NONBLOCK", 0)


def open_existing(path: Path) -> BinaryIO:
    """Open a file for reading. Raises `OSError` if that fails or the path names anything but a regular file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | NONBLOCK | BINARY)
    except OSError as error:
        if error.errno == errno.ENXIO:  # "No such device or address", even if the path names a socket
            raise NotAFileError("a socket or a device") from None
        raise
    try:
        check_is_file(os.fstat(descriptor).st_mode)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise
