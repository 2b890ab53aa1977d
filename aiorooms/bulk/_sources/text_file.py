"""Open an input file, and detect its encoding and its format (CSV, JSON lines or a JSON list)."""

import io
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final, TextIO

from .._existing_file import open_existing
from .._files import NotAFileError, os_reason
from .._problems import Problems

__all__ = ["open_text"]


@contextmanager
def open_text(path: Path, problems: Problems) -> Generator[tuple[TextIO, str]]:
    """Open a file as text. Yield the file and its format: `csv`, `jsonl` or `json`."""
    try:
        with open_existing(path) as file:
            encoding = _encoding(file)
            text = io.TextIOWrapper(file, encoding, newline="")
            try:
                yield text, _format_of(path, text)
            except UnicodeDecodeError as error:
                wrong = f"{_WRONG_ENCODING[encoding]}: {error.reason}; save it as UTF-8"
                problems.fail("bad_encoding", _first_undecodable_line(path, encoding), wrong)
    except NotAFileError:
        problems.fail("unreadable", None, "this is a pipe or a device; save its content as a file")
    except OSError as error:
        problems.fail("unreadable", None, f"the file can't be read: {os_reason(error)}")


_WRONG_ENCODING: Final = {
    "utf-8-sig": "the file is not UTF-8",
    "utf-16": "the file begins with a UTF-16 byte order mark, but is not valid UTF-16",
}


def _encoding(file: BinaryIO) -> str:
    """Return the encoding that the file's byte order mark indicates, or UTF-8 if there is no such mark."""
    begin = file.read(3)
    file.seek(0)
    return "utf-16" if begin[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"


def _first_undecodable_line(path: Path, encoding: str) -> int | None:
    if encoding != "utf-8-sig":
        return None
    with open_existing(path) as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return number
    return None


_FORMATS: Final = {".csv": "csv", ".tsv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json"}


def _format_of(path: Path, text: TextIO) -> str:
    """Return the format for the file's extension. For an unknown extension, guess it from the first character."""
    if (known := _FORMATS.get(path.suffix.lower())) is not None:
        return known
    begin = text.read(4096).lstrip()
    text.seek(0)
    return "json" if begin.startswith("[") else "jsonl" if begin.startswith("{") else "csv"
