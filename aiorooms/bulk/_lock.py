"""Lock a file, so that only one run at a time uses it.

The lock is `flock`, which the operating system releases when the process ends, even if it is killed. The lock belongs
to the open file, so a second run in the same process can't have it either. Windows has no `flock`, so no file is locked
there.

Not every file system has locks. Then `flock` fails with another error than for a file that is locked. On NFS, an
exclusive lock needs a file that is open for writing, so the plan file is opened again for writing in that case. It is
not written.

`is_locked` asks whether a run holds the lock. It takes a *shared* lock for a moment, so any number of commands can ask
at the same time. A run that begins in that moment can't have its own, exclusive lock. But it can have a shared one too,
which shows that no other run holds the file (`is_only_asked`), so it tries again.
"""

import contextlib
import errno
import os
import sys
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from ..errors import PlanFileError
from ._existing_file import BINARY, NONBLOCK, open_existing
from ._files import os_reason, quoted_path
from ._plan import Plan

__all__ = ["hold_lock", "is_locked", "is_only_asked", "plan_in_use", "plan_locked", "try_lock"]

_TRIES: Final = 200
"""Maximum number of further tries to lock a plan while a command asks for its lock, which takes microseconds."""

_LOCKED: Final = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)


def try_lock(descriptor: int) -> bool:
    """Lock an open file. Return False if another run holds the lock. Raises `OSError` if the file can't be locked."""
    if sys.platform == "win32":
        return True
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _LOCKED:
            return False
        raise
    return True


@contextmanager
def hold_lock(file: BinaryIO, path: Path) -> Generator[bool]:
    """Lock a file that is open for reading, while the block runs. Yield False if another run holds the lock.

    Raises `OSError` before the block runs, if the file can't be locked.
    """
    with contextlib.ExitStack() as stack:
        descriptor = file.fileno()
        try:
            has_lock = try_lock(descriptor)
        except OSError as error:
            if error.errno != errno.EBADF:
                raise
            descriptor = os.open(path, os.O_RDWR | NONBLOCK | BINARY)
            stack.callback(os.close, descriptor)
            has_lock = try_lock(descriptor)
        for _ in range(_TRIES):
            if has_lock or not is_only_asked(descriptor):
                break
            has_lock = try_lock(descriptor)
        yield has_lock


@contextmanager
def plan_locked(plan: Plan, *, lock: bool) -> Generator[str | None]:
    """Lock a plan file while the block runs. Yield None, or the reason why the file can't be locked.

    If `lock` is false, don't lock it. Raises `PlanFileError` if another run holds the lock, or if the file can't be
    opened.
    """
    reason = None
    with contextlib.ExitStack() as stack:
        if lock:
            file = stack.enter_context(closing(plan.open_file()))
            try:
                has_lock = stack.enter_context(hold_lock(file, plan.path))
            except OSError as error:
                reason = os_reason(error)
            else:
                if not has_lock:
                    raise plan_in_use(plan)
        yield reason


def plan_in_use(plan: Plan) -> PlanFileError:
    """Return the error for a plan whose lock another run holds."""
    text = f"the plan {quoted_path(plan.path)} is in use: another run applies it with another journal"
    return PlanFileError(text, hint="wait until that run has ended", reason="plan_in_use")


def is_only_asked(descriptor: int) -> bool:
    """Return whether `try_lock` has failed only because a command asked for the lock, and no run holds it."""
    if sys.platform == "win32":
        return False
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    except OSError:
        return False
    return True


def is_locked(path: Path) -> bool | None:
    """Return whether a run holds the lock on a file. If that can't be found out, return None."""
    if sys.platform == "win32":
        return None
    import fcntl

    try:
        with open_existing(path) as file:
            try:
                fcntl.flock(file.fileno(), fcntl.LOCK_SH | fcntl.LOCK_NB)  # closing the file releases it
            except OSError as error:
                return True if error.errno in _LOCKED else None
    except OSError:
        return None
    return False
