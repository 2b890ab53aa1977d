"""Open an input file of any kind, and find out by its first bytes what it is.

A text file, a workbook (`.xlsx`) and a file compressed with gzip can be read. For any other known kind, the problem
says what the file is and what to do. Standard input is copied into a temporary file first, because a file is read more
than once: to find its encoding, its header and, if there is a problem, the line of it.
"""

import gzip
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePath
from typing import BinaryIO, Final, NamedTuple, cast

from .._existing_file import open_existing
from .._files import NotAFileError, os_reason
from .._problems import Problems

__all__ = ["InputFile", "open_input"]


class InputFile(NamedTuple):
    """An input file that is open for reading."""

    file: BinaryIO
    """The uncompressed content. It can be read again after `seek(0)`."""
    suffix: str
    """The extension of the file's name in lower case, without `.gz`; empty for standard input."""
    is_workbook: bool


@contextmanager
def open_input(source: Path | BinaryIO, problems: Problems) -> Generator[InputFile]:
    """Open a file, or copy an open file such as standard input.

    Raises `BulkInputError` if the file can't be read or is of a kind that has no rows. Errors of reading in the block
    are converted too.
    """
    try:
        with ExitStack() as stack:
            path: PurePath = source if isinstance(source, Path) else PurePath()
            if isinstance(source, Path):
                file = stack.enter_context(open_existing(source))
            else:
                file = cast("BinaryIO", stack.enter_context(tempfile.TemporaryFile()))
                shutil.copyfileobj(source, file)
                file.seek(0)
            suffix = path.suffix.lower()
            if _begins_with(file, _GZIP):
                file = cast("BinaryIO", stack.enter_context(gzip.GzipFile(fileobj=file)))
                suffix = path.with_suffix("").suffix.lower() if suffix == ".gz" else suffix
            is_workbook = _begins_with(file, _ZIP) and _is_workbook(file, problems)
            for magic, what in _OTHERS.items():
                if _begins_with(file, magic):
                    problems.fail("unknown_format", None, f"this is {what}; save the rows as CSV or JSON lines")
            yield InputFile(file, suffix, is_workbook)
    except NotAFileError:
        problems.fail(
            "unreadable", None, "this is a pipe or a device; save its content as a file, or read it from standard input"
        )
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        problems.fail("unreadable", None, f"the gzip file is damaged: {error}")
    except OSError as error:
        problems.fail("unreadable", None, f"the file can't be read: {os_reason(error)}")


_GZIP: Final = b"\x1f\x8b"
_ZIP: Final = b"PK\x03\x04"

_OTHERS: Final = {
    b"\xd0\xcf\x11\xe0": "a workbook of an old Excel (.xls), or one with a password",
    b"%PDF": "a PDF document",
    b"PAR1": "a Parquet file",
    b"SQLite format 3": "an SQLite database",
    b"BZh": "a file compressed with bzip2",
    b"\xfd7zXZ": "a file compressed with xz",
    b"\x28\xb5\x2f\xfd": "a file compressed with Zstandard",
    b"7z\xbc\xaf": "a 7z archive",
    b"<!DOCTYPE": "an HTML page",
    b"<html": "an HTML page",
    b"<?xml": "an XML file",
}
"""The first bytes of files that are often taken for a table."""


def _begins_with(file: BinaryIO, magic: bytes) -> bool:
    begin = file.read(len(magic))
    file.seek(0)
    return begin == magic


def _is_workbook(file: BinaryIO, problems: Problems) -> bool:
    """Return True for a workbook. Any other zip archive is a problem."""
    try:
        with zipfile.ZipFile(file) as archive:
            names = set(archive.namelist())
            if "xl/workbook.xml" in names:
                return True
            kind = archive.read("mimetype")[:100] if "mimetype" in names else b""
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError) as error:
        problems.fail("unreadable", None, f"the workbook or zip archive is damaged: {error}")
    finally:
        file.seek(0)
    what = "a LibreOffice spreadsheet (.ods)" if b"spreadsheet" in kind else "a zip archive"
    advice = "save the sheet as CSV or .xlsx" if b"spreadsheet" in kind else "extract the file with the rows"
    return problems.fail("unknown_format", None, f"this is {what}; {advice}")
