"""A file of rows as text: its encoding, and whether it is CSV, JSON lines or a JSON list."""

import io
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final, TextIO

from .._files import os_reason
from .._problems import Problems

__all__ = ["opened"]


@contextmanager
def opened(path: Path, problems: Problems) -> Generator[tuple[TextIO, str]]:
    """Open a file as text, and say of which kind it is."""
    if path.exists() and not path.is_file() and not path.is_dir():
        # Reading could wait for ever.
        problems.fail("unreadable", None, "it is not a file, but a pipe or a device; save it as a file")
    try:
        with path.open("rb") as file:
            encoding = _encoding(file)
            opened_text = io.TextIOWrapper(file, encoding, newline="")
            try:
                yield opened_text, _kind(path, opened_text)
            except UnicodeDecodeError as error:
                line, text = _line_that_is_not(path, encoding), f"{_NAMES[encoding]}: {error.reason}; save it as UTF-8"
                problems.fail("bad_encoding", line, text)
    except OSError as error:
        problems.fail("unreadable", None, f"it can't be read: {os_reason(error)}")


_NAMES: Final = {"utf-8-sig": "it is not UTF-8", "utf-16": "it is not UTF-16, although it begins so"}


def _encoding(file: BinaryIO) -> str:
    """Tell the encoding by the byte order mark; without one it is UTF-8."""
    begin = file.read(3)
    file.seek(0)
    return "utf-16" if begin[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"


def _line_that_is_not(path: Path, encoding: str) -> int | None:
    if encoding != "utf-8-sig":
        return None
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return number
    return None


_KINDS: Final = {".csv": "csv", ".tsv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json"}


def _kind(path: Path, text: TextIO) -> str:
    """Tell the kind by the name, or by how the file begins."""
    if (kind := _KINDS.get(path.suffix.lower())) is not None:
        return kind
    begin = text.read(4096).lstrip()
    text.seek(0)
    return "json" if begin.startswith("[") else "jsonl" if begin.startswith("{") else "csv"
