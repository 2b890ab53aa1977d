"""Helpers for files: JSON lines, atomic writes, and conversion of `OSError` to errors of this package."""

import contextlib
import errno
import os
import tempfile
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final, TypeAlias

from .._http.json import dumps, loads
from .._text import quoted, timestamp
from ..errors import AioroomsError
from ..models._values import DecodeError, is_object

__all__ = [
    "JsonObject",
    "json_line",
    "json_object",
    "json_time",
    "os_errors_as",
    "os_reason",
    "quoted_path",
    "write_atomically",
]

JsonObject: TypeAlias = Mapping[str, object]


try:
    import orjson
except ImportError:

    def json_line(value: JsonObject) -> bytes:
        """Encode a value as a line of JSON, including the line break."""
        return dumps(value) + b"\n"

    def json_time(time: datetime) -> object:
        """Return a time as `json_line` accepts it. The line contains the same text as `timestamp` returns."""
        return timestamp(time)

else:
    # orjson encodes a time with 1,400 instructions; `timestamp` needs 13,700.
    _OPTIONS: Final = orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE

    def json_line(value: JsonObject) -> bytes:
        """Encode a value as a line of JSON, including the line break."""
        return orjson.dumps(value, option=_OPTIONS)

    def json_time(time: datetime) -> object:
        """Return a time as `json_line` accepts it. The line contains the same text as `timestamp` returns."""
        return time if time.tzinfo is UTC else time.astimezone(UTC)


def json_object(line: bytes) -> JsonObject | None:
    """Decode a line, and return None if it is not a JSON object."""
    try:
        value = loads(line)
    except DecodeError:
        return None
    return value if is_object(value) else None


_MAX_SHOWN: Final = 70
"""Longest path that a message shows completely, in characters."""


def quoted_path(path: Path) -> str:
    """Quote a path for a message. Cut a long path at the front, to keep the file name."""
    text = str(path)
    return quoted(text if len(text) <= _MAX_SHOWN else f"...{text[-_MAX_SHOWN:]}")


def os_reason(error: OSError) -> str:
    """Return the reason of an error, without the error number and the file name."""
    return error.strerror or str(error)


@contextmanager
def os_errors_as(error_of: Callable[[Path, str], AioroomsError], path: Path) -> Generator[None]:
    """Raise `error_of(path, reason)` instead of an `OSError` that the block raises.

    Errors of this package that are also OSErrors are not converted.
    """
    try:
        yield
    except OSError as error:
        if isinstance(error, AioroomsError):
            raise
        raise error_of(path, os_reason(error)) from None


@contextmanager
def write_atomically(path: Path) -> Generator[BinaryIO]:
    """Yield a temporary file in the folder of `path`. If the block succeeds, rename it to `path`. Raises `OSError`."""
    # Without this check, the error would only be raised by the rename, after the whole file has been written.
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    number, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(number, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        # Only the owner can read a file from mkstemp. Give the file the mode that `open` would have given it.
        mask = os.umask(0)
        os.umask(mask)
        Path(name).chmod(0o666 & ~mask)
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            Path(name).unlink()
        raise
