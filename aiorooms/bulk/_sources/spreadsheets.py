"""Protect names in a CSV file from spreadsheet programs, and notice names that a program has changed.

Excel and LibreOffice read a cell `00123` as the number 123, `1-2` as a date and `=1+1` as a formula. When the file is
saved, the name is lost. They don't interpret a cell that begins with an apostrophe. So an export writes such a name
between apostrophes, and a reader of rows removes them:

    name         cell
    Support      Support
    00123        '00123'
    =1+1         '=1+1'
    null         'null'        without apostrophes, it would clear the name
    'quoted'     ''quoted''    because a name that begins with an apostrophe is written between apostrophes too

All other cells, such as `rock'n'roll` and `'tis`, are names as they are. A name that a person has typed with only the
first apostrophe, as in a spreadsheet (`'00123`), is read as `00123` too.
"""

import re
from decimal import Decimal, InvalidOperation
from typing import Final

__all__ = ["NO_NAMES", "cell_of_name", "is_error", "is_no_name", "may_be_converted", "name_of_cell"]

_ERRORS: Final = frozenset(
    ("#REF!", "#N/A", "#VALUE!", "#DIV/0!", "#NAME?", "#NUM!", "#NULL!", "#SPILL!", "#CALC!", "#GETTING_DATA", "#####")
)
"""What spreadsheets write into a cell whose formula failed, or which is too narrow."""

NO_NAMES: Final = frozenset(("null", "none", "nil", "nan", "n/a", "undefined", "<na>", "nat", "(null)", "\\n"))
"""Words that programs write for a missing value, in lower case."""

_MAX_WORD: Final = 20

_NUMERIC: Final = re.compile(r"[\d\s.,:/+\-%$€£()']*\d[\d\s.,:/+\-%$€£()'eE]*")
"""Digits with separators: a number, a date, a time, a fraction, a percentage or an amount of money."""

_MONTH: Final = (
    r"(?:jan|feb|mar|mär|apr|may|mai|jun|jul|aug|sep|sept|oct|okt|nov|dec|dez|january|february|march|april|june|july"
    r"|august|september|october|november|december)"
)
_WITH_MONTH: Final = re.compile(
    rf"(?:\d{{1,4}}[\s./-]*)?{_MONTH}\.?[\s./-]*\d{{0,4}}(?:[\s,./-]*\d{{1,4}})?", re.IGNORECASE
)
"""A date with the name of a month, such as `MARCH1`, `1-Mar` or `Sept 2024`."""

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
"""A cell that begins with one of these characters is a formula (OWASP, "CSV Injection")."""


def is_error(text: str) -> bool:
    """Return whether a cell is an error of a spreadsheet, such as `#REF!`."""
    return text[:1] in ("#", " ", "\t") and text.strip().upper() in _ERRORS


def is_no_name(name: str) -> bool:
    """Return whether a name is a word for a missing value, or an error of a spreadsheet."""
    # Most names are longer than any of these words.
    return (len(name) < _MAX_WORD and name.strip().lower() in NO_NAMES) or is_error(name)


def cell_of_name(name: str) -> str:
    """Return the cell of a CSV file for a name."""
    return f"'{name}'" if _needs_quotes(name) else name


def name_of_cell(cell: str) -> str | None:
    """Return the name that a cell contains between apostrophes; None for any other cell."""
    if not cell.startswith("'"):
        return None
    if len(cell) > 2 and cell.endswith("'") and _needs_quotes(cell[1:-1]):
        return cell[1:-1]
    return cell[1:] if not cell.endswith("'") and _needs_quotes(cell[1:]) else None


def _needs_quotes(name: str) -> bool:
    return (
        name.startswith(("'", "#", *_FORMULA))
        or name != name.strip()
        or is_no_name(name)
        or name.strip().lower() in ("true", "false")
        or _looks_converted(name)
    )


def _looks_converted(name: str) -> bool:
    return bool(_NUMERIC.fullmatch(name) or _WITH_MONTH.fullmatch(name))


def may_be_converted(before: str, after: str) -> bool:
    """Return whether a spreadsheet may have made the name `after` from the name `before`.

    For example, `123` from `00123`, `1.23E+11` from `123456789012`, or `2-Jan` from `1-2`.
    """
    if before == after:
        return False
    old, new = _number(before), _number(after)
    if old is not None and new is not None:
        # A spreadsheet has 15 digits, and may show fewer of them.
        return abs(old - new) <= abs(old) / 100
    if before.strip().lower() in ("true", "false"):
        return after.lower() == before.strip().lower()
    is_date = bool(_WITH_MONTH.fullmatch(before)) or (old is None and bool(_NUMERIC.fullmatch(before)))
    is_run = before.startswith(_FORMULA) and (is_error(after) or new is not None)
    return (is_date and _looks_converted(after)) or is_run


def _number(text: str) -> Decimal | None:
    try:
        number = Decimal(text.strip().replace(",", "."))
    except InvalidOperation:
        return None
    return number if number.is_finite() else None
