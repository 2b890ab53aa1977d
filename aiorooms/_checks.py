"""Checks of single values: each gives the problems of one, `UNSET` having none."""

from collections.abc import Iterator
from datetime import date, datetime

from ._text import quoted
from ._unset import UNSET
from .errors import Problem

__all__ = ["bool_problems", "date_problems", "int_problems", "name_problems", "wrong_type"]


def name_problems(pointer: str, value: object) -> Iterator[Problem]:
    """Want a text that is not empty or blank, and that UTF-8 can hold."""
    if value is UNSET:
        return
    if not isinstance(value, str):
        yield Problem(pointer, wrong_type(value, "a text"))
    elif not value.strip():
        yield Problem(pointer, f"{quoted(value)} is empty or only blanks; give a name that can be seen")
    elif not _is_unicode(value):
        yield Problem(pointer, f"{quoted(value)} holds half of a surrogate pair and can't be sent as UTF-8")


def int_problems(pointer: str, value: object, allowed: range, *, nullable: bool = False) -> Iterator[Problem]:
    """Want a whole number in the range, or None if the field is nullable."""
    if value is UNSET or (value is None and nullable):
        return
    # bool is a subclass of int, but True participants are a mistake.
    if not isinstance(value, int) or isinstance(value, bool):
        yield Problem(pointer, wrong_type(value, "a whole number", nullable=nullable))
    elif value not in allowed:
        yield Problem(pointer, f"{quoted(value)} is not in the range {allowed[0]} to {allowed[-1]}")


def bool_problems(pointer: str, value: object) -> Iterator[Problem]:
    """Want True or False, not 1 or 0."""
    if value is not UNSET and not isinstance(value, bool):
        yield Problem(pointer, wrong_type(value, "True or False"))


def date_problems(pointer: str, value: object) -> Iterator[Problem]:
    """Want a day."""
    # A datetime is a date to Python, but its time would be dropped.
    if value is not UNSET and (not isinstance(value, date) or isinstance(value, datetime)):
        yield Problem(pointer, wrong_type(value, "a datetime.date"))


def wrong_type(value: object, wanted: str, *, nullable: bool = False) -> str:
    """Say that a value is of a wrong type, and what would be right."""
    if value is None:
        return f"None can't clear this field; give {wanted}, or leave it out to keep what is there"
    return f"{quoted(value)} is {_article(type(value).__name__)}, not {wanted}{' or None' * nullable}"


def _article(noun: str) -> str:
    return f"{'an' if noun[:1] in 'aeiou' else 'a'} {noun}"


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
