"""Open an existing file of the user, without waiting for anything and without reading anything but a file.

Opening a named pipe waits for its other end, and reading `/dev/zero` never ends. The event loop would be blocked, so
that not even Ctrl-C would end the program. So a file is opened with `O_NONBLOCK`, and only a regular file is accepted.
"""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO, Final

from ._files import kind_of_file

__all__ = ["BINARY", "NONBLOCK", "NotAFileError", "check_is_file", "open_existing"]

# Windows has `O_BINARY`, and the other systems have `O_NONBLOCK`.
BINARY: Final[int] = getattr(os, "O_BINARY", 0)
NONBLOCK: Final[int] = getattr(os, "O_NONBLOCK", 0)


class NotAFileError(OSError):
    """The path names a pipe, a device or a socket."""

    def __init__(self, kind: str) -> None:
        super().__init__(errno.EINVAL, f"it is {kind}, not a regular file")


def open_existing(path: Path) -> BinaryIO:
    """Open a file for reading. Raises `OSError` if that fails or the path names anything but a regular file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | NONBLOCK | BINARY)
    except OSError as error:
        if error.errno == errno.ENXIO:  # "No such device or address", even if the path names a socket
            raise NotAFileError("a socket or a device") from None
        raise
    try:
        check_is_file(descriptor)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def check_is_file(descriptor: int) -> None:
    """Raise `NotAFileError` or `IsADirectoryError` if an open file is not a regular file."""
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if (kind := kind_of_file(mode)) is not None:
        raise NotAFileError(kind)
