"""Decode an input file as text, and detect its encoding and its format (CSV, JSON lines or JSON)."""

import codecs
import io
import json
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import BinaryIO, Final, TextIO

from .._problems import Problems
from .input_file import InputFile

__all__ = ["decoded", "lines_of"]


@contextmanager
def decoded(opened: InputFile, problems: Problems) -> Generator[tuple[TextIO, str]]:
    """Yield the text of a file and its format: `csv`, `jsonl` or `json`."""
    file = opened.file
    encoding = _encoding(file)
    text = io.TextIOWrapper(file, encoding, newline="")
    try:
        yield text, _format_of(opened.suffix, text)
    except UnicodeDecodeError as error:
        wrong = f"{_WRONG_ENCODING[encoding]}: {error.reason}; save it as UTF-8"
        problems.fail("bad_encoding", _first_undecodable_line(file, encoding), wrong)
    finally:
        text.detach()


def lines_of(text: TextIO, problems: Problems, longest: int) -> Iterator[str]:
    """Yield the lines of a file. A line with more than `longest` characters is a problem.

    A compressed file of a megabyte may contain a line of a gigabyte.
    """
    number = 0
    while line := text.readline(longest + 1):
        number += 1
        if len(line) > longest:
            problems.fail("bad_syntax", number, f"the line has more than {longest:,} characters")
        yield line


_WRONG_ENCODING: Final = {
    "utf-8-sig": "the file is not UTF-8",
    "utf-16": "the file begins with a UTF-16 byte order mark, but is not valid UTF-16",
}


def _encoding(file: BinaryIO) -> str:
    """Return the encoding that the file's byte order mark indicates, or UTF-8 if there is no such mark."""
    begin = file.read(3)
    file.seek(0)
    return "utf-16" if begin[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"


def _first_undecodable_line(file: BinaryIO, encoding: str) -> int | None:
    if encoding != "utf-8-sig":
        return None
    file.seek(0)
    number, decoder = 1, codecs.getincrementaldecoder("utf-8")()
    while piece := file.readline(_PIECE):
        try:
            decoder.decode(piece)
        except UnicodeDecodeError:
            return number
        number += piece.endswith(b"\n")
    return number


_PIECE: Final = 64 * 1024
"""Maximum number of bytes to read at once."""


_FORMATS: Final = {".csv": "csv", ".tsv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}


def _format_of(suffix: str, text: TextIO) -> str:
    """Return the format for a file's extension. For `.json` and unknown extensions, the content decides."""
    if (known := _FORMATS.get(suffix)) is not None:
        return known
    begin = text.read(_BEGIN)
    text.seek(0)
    if begin.lstrip().startswith("["):
        return "json"
    if begin.lstrip().startswith("{"):
        return "jsonl" if _is_object(begin.lstrip().partition("\n")[0]) else "json"
    return "json" if suffix == ".json" else "csv"


_BEGIN: Final = 1024 * 1024
"""Number of characters to read for guessing the format: more than an answer of the API with 250 rooms has."""


def _is_object(line: str) -> bool:
    """Return whether a line that begins with a brace is a whole object, as in JSON lines."""
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True
