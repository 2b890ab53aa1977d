"""Write a file whole or not at all.

The content goes to a temporary file in the same folder, which is renamed when it is complete. If the disk is full at
row 900,000 of an export, the file that was there before is unchanged, and nothing else is left.

Only the owner may read a new file (mode 0600), because a webhook URL may contain a token. A file that is replaced keeps
its owner and its mode. If `rooms.plan` is a symbolic link to `/srv/plans/a.plan`, the file in `/srv/plans` is replaced,
and the link stays. A directory, a device, a pipe or a socket is rejected before anything is written.

A file that was not there at the beginning is never replaced. For example, an export to `o.csv` takes ten minutes, and
another program creates `o.csv` meanwhile. The export then fails, and leaves both files. Its new file gets its name with
a hard link, because that fails if the name is taken. Some file systems have no hard links. On these, the name is
checked just before the rename, so another program has only a moment to create a file that is then replaced.

Some files can't be replaced by a rename. For example, in a container started with `docker run -v a.plan:/work/a.plan`,
the file is a mount point, and the rename fails with EBUSY. On other file systems, a mode or an owner can't be set. The
complete temporary file is then copied into the existing file, which keeps its owner and its mode anyway. If this copy
fails too, the existing file may be damaged.

In these two cases, a name that is taken and a copy that fails, the content is complete, but does not have its name. So
the temporary file is kept, and the error names it.
"""

import asyncio
import errno
import os
import secrets
import shutil
import stat
import sys
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final, TypeAlias

from .._aio import finish
from ..errors import AioroomsError
from ._existing_file import BINARY
from ._files import check_is_file, os_errors_as, os_reason, quoted_path

__all__ = ["NewFile", "write_atomically", "write_atomically_async"]

_ErrorOf: TypeAlias = Callable[[Path, str], AioroomsError]
"""Returns the error for a path that can't be written, for this reason."""

_PRIVATE: Final = 0o600

_NOT_PERMITTED: Final = frozenset(
    {errno.EPERM, errno.EACCES, errno.EBUSY, errno.EXDEV, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP}
)
"""Errors that say that the system call does not work for this file.

After any other error, such as EIO, a copy would probably fail too, and damage the existing file.
"""


@contextmanager
def write_atomically(path: Path, error_of: _ErrorOf) -> Generator["NewFile"]:
    """Yield a new file. If the block succeeds, give it the name `path`; otherwise remove it.

    Raises `error_of(path, reason)` if the file can't be written. Errors of the block itself are not converted.
    """
    file = NewFile(path, error_of)
    try:
        file.open()
        yield file
        file.sync()
        if not file.rename():
            file.copy()
    except BaseException:
        file.discard()
        raise


@asynccontextmanager
async def write_atomically_async(path: Path, error_of: _ErrorOf) -> AsyncGenerator["NewFile"]:
    """Do the same as `write_atomically`, but sync a large file without blocking the event loop for seconds.

    A task that is cancelled waits for the sync, and then removes the temporary file. During a copy, it
    waits for the end of the copy, and the file has its new content.
    """
    file = NewFile(path, error_of)
    try:
        file.open()
        yield file
        await finish(asyncio.create_task(asyncio.to_thread(file.sync)))
        if not file.rename():
            await finish(asyncio.create_task(asyncio.to_thread(file.copy)))
    except BaseException:
        file.discard()
        raise


class NewFile:
    """A temporary file that replaces `path` when it is finished.

    Its name is known before it exists, so that `discard` removes it even if a signal interrupts `open`.
    """

    def __init__(self, path: Path, error_of: _ErrorOf) -> None:
        self._path = path
        self._error_of = error_of
        with os_errors_as(error_of, path):
            self._before: os.stat_result | None = None
            with suppress(FileNotFoundError):
                self._before = path.stat()
                check_is_file(self._before.st_mode)
            self._target = Path(os.path.realpath(path))
            # The start of the name is enough. The whole name could make the name of the temporary file too long.
            name = f".{path.name[:40]}.{secrets.token_hex(8)}.tmp"
            self._temporary: Path | None = self._target.with_name(name)
        self._file: BinaryIO | None = None
        self._may_rename = False

    def open(self) -> None:
        """Create the temporary file."""
        assert self._temporary is not None
        with os_errors_as(self._error_of, self._path):
            number = os.open(self._temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | BINARY, _PRIVATE)
            self._file = os.fdopen(number, "wb")

    def write(self, data: bytes) -> None:
        """Append data."""
        assert self._file is not None
        # `os_errors_as` would cost more than the write, which only fills a buffer.
        try:
            self._file.write(data)
        except OSError as error:
            raise self._error_of(self._path, os_reason(error)) from None

    def sync(self) -> None:
        """Write the content to the disk, set the owner and the mode, and close the file."""
        assert self._file is not None
        with os_errors_as(self._error_of, self._path):
            self._file.flush()
            os.fsync(self._file.fileno())
            self._may_rename = self._set_owner_and_mode(self._file.fileno())
            self._file.close()

    def rename(self) -> bool:
        """Give the synced file its name. Return False if this file can't be replaced by a rename."""
        assert self._temporary is not None
        if not self._may_rename:
            return False
        with os_errors_as(self._error_of, self._path):
            try:
                self._rename(self._temporary)
            except FileExistsError as error:
                raise self._kept(error) from None
            except OSError as error:
                if error.errno not in _NOT_PERMITTED:
                    raise
                return False
        self._temporary = None
        return True

    def copy(self) -> None:
        """Copy the synced file into the existing file, or into a new file if there is none."""
        with os_errors_as(self._error_of, self._path):
            self._copy()

    def discard(self) -> None:
        """Close and remove the temporary file, unless it was renamed, or is the only complete copy of the content."""
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
        self._unlink()

    def _set_owner_and_mode(self, number: int) -> bool:
        """Give the temporary file the owner and the mode of the file that it replaces. Return whether it has both."""
        # On Windows, a file has neither.
        if self._before is None or sys.platform == "win32":
            return True
        before = self._before
        try:
            now = os.fstat(number)
            if (now.st_uid, now.st_gid) != (before.st_uid, before.st_gid):
                os.fchown(number, before.st_uid, before.st_gid)
            os.fchmod(number, stat.S_IMODE(before.st_mode))
        except OSError as error:
            if error.errno not in _NOT_PERMITTED:
                raise
            return False
        return True

    def _rename(self, temporary: Path) -> None:
        """Rename the temporary file. Raises `FileExistsError` if the file was created after the beginning."""
        if self._before is not None:
            temporary.replace(self._target)
            return
        try:
            os.link(temporary, self._target)
        except FileExistsError:
            raise
        except OSError:  # this file system has no hard links
            if os.path.lexists(self._target):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from None
            temporary.replace(self._target)
        else:
            with suppress(OSError):
                temporary.unlink()

    def _copy(self) -> None:
        assert self._temporary is not None
        new = 0 if self._before is not None else os.O_CREAT | os.O_EXCL
        is_open = False
        try:
            number = os.open(self._target, os.O_WRONLY | BINARY | new, _PRIVATE)
            is_open = True
            with os.fdopen(number, "wb") as target, self._temporary.open("rb") as content:
                shutil.copyfileobj(content, target)
                target.truncate()
                target.flush()
                os.fsync(number)
        except BaseException as error:
            if new and is_open:
                with suppress(OSError):
                    self._target.unlink()
            if not new or isinstance(error, FileExistsError):
                raise self._kept(error) from None
            raise
        self._unlink()

    def _kept(self, error: BaseException) -> BaseException:
        """Keep the temporary file. Return the error to raise, which names this file if it is an `OSError`."""
        assert self._temporary is not None
        kept, self._temporary = self._temporary, None
        if not isinstance(error, OSError):
            return error
        reason = "another program created it meanwhile" if isinstance(error, FileExistsError) else os_reason(error)
        return OSError(error.errno, f"{reason}; its complete new content is in {quoted_path(kept)}")

    def _unlink(self) -> None:
        if self._temporary is not None:
            with suppress(OSError):
                self._temporary.unlink()
            self._temporary = None
