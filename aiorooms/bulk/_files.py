"""Files of JSON lines: reading them line by line, and writing one that is there whole or not at all."""

import contextlib
import errno
import os
import tempfile
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final, TypeAlias

from .._http.json import dumps, loads
from .._text import quoted
from ..errors import AioroomsError
from ..models._converter import DecodeError, is_object

__all__ = ["JsonObject", "json_line", "json_object", "named", "os_errors_as", "why", "written_whole"]

JsonObject: TypeAlias = Mapping[str, object]


def json_line(value: JsonObject) -> bytes:
    """A line of JSON, with its end."""
    return dumps(value) + b"\n"


def json_object(line: bytes) -> JsonObject | None:
    """Read a line; None if it is no JSON object."""
    try:
        value = loads(line)
    except DecodeError:
        return None
    return value if is_object(value) else None


_LONGEST_SHOWN: Final = 70


def named(path: Path) -> str:
    """The path as it stands in a message. Of a long one the end is shown, where the name of the file is."""
    text = str(path)
    return quoted(text if len(text) <= _LONGEST_SHOWN else f"...{text[-_LONGEST_SHOWN:]}")


def why(error: OSError) -> str:
    """The reason alone, without the number and the name of the file."""
    return error.strerror or str(error)


@contextmanager
def os_errors_as(error_of: Callable[[Path, str], AioroomsError], path: Path) -> Generator[None]:
    """Turn an `OSError` of the block into what `error_of` makes of the path and the reason.

    Some of the client's errors are OSErrors too; they pass.
    """
    try:
        yield
    except OSError as error:
        if isinstance(error, AioroomsError):
            raise
        raise error_of(path, why(error)) from None


@contextmanager
def written_whole(path: Path) -> Generator[BinaryIO]:
    """Write a file beside its place, and put it there when the block ends well. Raises `OSError`."""
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))  # else it would be met at the very end
    number, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(number, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        # mkstemp lets nobody else read; a file of the user's is as their umask says.
        mask = os.umask(0)
        os.umask(mask)
        Path(name).chmod(0o666 & ~mask)
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            Path(name).unlink()
        raise
