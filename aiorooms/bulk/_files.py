r"""Helpers for files: JSON lines, paths as text, and conversion of `OSError` to errors of this package.

A file name on Linux is any sequence of bytes, but JSON contains only Unicode. Python represents a byte that is not
UTF-8 as half of a surrogate pair, which can't be encoded. In a file, a path with such a byte is written as a file URI:
`/tmp/a\xff.plan` becomes `file:/tmp/a%FF.plan`. Any other path is written as it is.
"""

import errno
import os
import stat
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TypeAlias
from urllib.parse import quote_from_bytes, unquote_to_bytes

from .._http.json import dumps, loads
from .._text import quoted, timestamp
from ..errors import AioroomsError
from ..models._values import DecodeError, is_object

__all__ = [
    "JsonObject",
    "NotAFileError",
    "as_utf8",
    "check_is_file",
    "json_line",
    "json_object",
    "json_time",
    "kind_of_file",
    "os_errors_as",
    "os_reason",
    "path_of",
    "path_text",
    "quoted_path",
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


def as_utf8(text: str) -> str:
    """Return a text that UTF-8 can encode: bytes of a file name or an argument that are not UTF-8 are escaped."""
    return text.encode(errors="backslashreplace").decode()


_URI: Final = "file:"


def path_text(path: Path) -> str:
    """Return an absolute path as text that UTF-8 can encode. `path_of` is the inverse."""
    try:
        path_as_text = str(path)
        path_as_text.encode()
    except UnicodeEncodeError:
        return _URI + quote_from_bytes(os.fsencode(path))
    return path_as_text


def path_of(text: str) -> Path:
    """Return the path that `path_text` wrote."""
    # An absolute path begins with a slash or a drive, so it is never mistaken for a URI.
    return Path(os.fsdecode(unquote_to_bytes(text.removeprefix(_URI))) if text.startswith(_URI) else text)


def kind_of_file(mode: int) -> str | None:
    """Return what a file is, such as `a device`, or None for a regular file. `mode` is its `st_mode`."""
    if stat.S_ISREG(mode):
        return None
    kinds = {stat.S_IFDIR: "a directory", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "a device")


class NotAFileError(OSError):
    """A file is a pipe, a device or a socket."""

    def __init__(self, kind: str) -> None:
        super().__init__(errno.EINVAL, f"it is {kind}, not a regular file")


def check_is_file(mode: int) -> None:
    """Raise `IsADirectoryError` or `NotAFileError` if a file is not a regular file. `mode` is its `st_mode`."""
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if (kind := kind_of_file(mode)) is not None:
        raise NotAFileError(kind)


def os_reason(error: OSError) -> str:
    """Return the reason of an error, without the error number and the file name."""
    return error.strerror or str(error)


@contextmanager
def os_errors_as(error_of: Callable[[Path, str], AioroomsError], path: Path) -> Generator[None]:
    """Raise `error_of(path, reason)` instead of an `OSError` that the block raises.

    Errors of this package that are also OSErrors are not converted. The error is also raised for a path with a NUL
    character, which no file can have. Python itself would raise a `ValueError`.
    """
    if "\0" in str(path):
        raise error_of(path, "the path contains a NUL character")
    try:
        yield
    except OSError as error:
        if isinstance(error, AioroomsError):
            raise
        raise error_of(path, os_reason(error)) from None
