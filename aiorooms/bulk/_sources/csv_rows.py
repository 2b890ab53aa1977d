"""Read the rows of a CSV file as texts, with the number of the line on which each row begins.

The delimiter is the one that splits the header into the most known columns, or the one that a first line `sep=;` names,
as Excel writes it. Blank lines and comments are skipped. A comment is a line that begins with `#`. Below the header, a
name may begin with `#` too. So if the first column contains names, only `# ` begins a comment there.

A quote that is never closed makes a reader take the following lines for a part of the cell, up to the next quote. So
the problem is reported for the line where the quote opens:

    5  7b61621f-62e0-4aad-ab11-9fd19e272e73,"Support,20      <- reported
    6  8a3c1f7e-0d3b-4e58-9d0f-5b8b6a0c1d2e,Sales,20
    7  5c02d1aa-9f0e-4b7c-8a56-0d6b1f3e2c4d,"Lab",20         <- where the csv module notices it
"""

import csv
import re
from collections.abc import Iterator
from typing import Final, Self, TextIO

from .._problems import Problems
from .columns import COLUMNS, column_of
from .spreadsheets import is_error
from .text_file import lines_of

__all__ = ["read_csv"]

_DELIMITERS: Final = ",;\t|"

_LONGEST_LINE: Final = 1024 * 1024
"""Maximum number of characters of a line. A cell has at most 131,072, the limit of the csv module."""

_SEP: Final = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)


def read_csv(file: TextIO, problems: Problems) -> Iterator[tuple[int, list[str]]]:
    """Yield the header and the rows of a CSV file, each as a pair of the number of its first line and its cells."""
    lines = _Lines(lines_of(file, problems, _LONGEST_LINE))
    if (header := next(lines, None)) is None:
        return
    if (named := _SEP.fullmatch(header)) is not None:
        delimiter = named[1]
        lines.end_row()
    else:
        delimiter = _delimiter(header)
        lines.push_back(header)
    lines.delimiter = delimiter
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    try:
        for cells in reader:
            yield lines.first, cells
            lines.end_row()
            if not lines.has_header:
                lines.has_header = True
                lines.begins_with_name = column_of(cells[0] if cells else "") in ("room", "unique_name")
    except csv.Error as error:
        text = str(error)
        is_cut = "unexpected end" in text or "field larger" in text
        if lines.opened is not None and (is_cut or lines.number > lines.opened):
            problems.record("bad_syntax", lines.opened, None, "a quoted cell is not closed")
        else:
            problems.record("bad_syntax", lines.number, None, text)


class _Lines:
    """The lines of a file, without blank lines and comments between rows. Keeps where a row and a quote begin."""

    def __init__(self, lines: Iterator[str]) -> None:
        self.number = 0
        """The number of the last line that was read."""
        self.first = 1
        """The number of the line on which the current row begins."""
        self.opened: int | None = None
        """The number of the first line of the current row with a quote that this line does not close."""
        self.delimiter = ","
        self.has_header = False
        self.begins_with_name = False
        """Whether the first column contains names, which may begin with `#`."""
        self._lines = lines
        self._in_row = False
        self._in_quotes = False
        self._again: str | None = None

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        if (again := self._again) is not None:
            self._again = None
            return again
        while True:
            line = next(self._lines)
            self.number += 1
            if self._in_row or not (not line.strip() or self._is_comment(line)):
                break
        if not self._in_row:
            self._in_row, self.first, self.opened = True, self.number, None
        if line.count('"') % 2:
            if not self._in_quotes and self.opened is None:
                self.opened = self.number
            self._in_quotes = not self._in_quotes
        return line

    def push_back(self, line: str) -> None:
        """Return this line, the last one that was read, once more."""
        self._again = line

    def end_row(self) -> None:
        """Record that the next line begins a row."""
        self._in_row = self._in_quotes = False

    def _is_comment(self, line: str) -> bool:
        text = line.strip()
        if not text.startswith("#") or is_error(text.split(self.delimiter, 1)[0].strip('" ')):
            return False
        return not self.has_header or not self.begins_with_name or text[1:2] in ("", " ", "#")


def _delimiter(header: str) -> str:
    """Return the delimiter that splits the header into the most known columns."""

    def known(delimiter: str) -> int:
        return sum(column_of(name.strip().strip('"')) in COLUMNS for name in header.split(delimiter))

    return max(_DELIMITERS, key=known)
