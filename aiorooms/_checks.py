"""Check the values of a request, and check settings.

For an invalid value of a request, a check returns a `Problem`, so that all problems can be reported together. For an
invalid setting, a check raises `ClientSettingsError` at once, so that the traceback shows the line that sets it.

A `Problem` and a `ClientSettingsError` both contain the data from which the command line creates its own messages.
Example: `None can't clear this field` in Python becomes `null can't clear this field` for a JSON file.
"""

import json
from collections.abc import Callable
from datetime import date, datetime
from typing import TypeGuard, TypeVar

import attrs

from ._text import excerpt, quoted
from ._unset import UNSET
from .errors import ClientSettingsError, Problem

__all__ = [
    "WrongTypeError",
    "at_least",
    "bool_problems",
    "check_at_least",
    "check_instance",
    "check_positive",
    "date_problems",
    "instance_of",
    "int_problems",
    "is_unicode",
    "name_problems",
    "not_negative",
    "not_nullable",
    "positive",
    "setting_error",
    "text_message",
    "wrong_type",
]

T = TypeVar("T")


# --- values of a request; UNSET is always valid ---


def name_problems(pointer: str, value: object) -> tuple[Problem, ...]:
    """Return the problems with a value of a name field.

    A valid name is a string that is not blank and can be encoded as UTF-8.
    """
    if value is UNSET:
        return ()
    if not isinstance(value, str):
        return _wrong_type(pointer, value, "a string")
    if not value.strip():
        message = f"{quoted(value)} is blank; give a name with at least one visible character"
        return (Problem(pointer, message, code="blank", value=value),)
    if not is_unicode(value):
        message = f"{quoted(value)} contains a lone surrogate, which can't be sent as UTF-8; remove it"
        return (Problem(pointer, message, code="not_unicode", value=value),)
    return ()


def int_problems(pointer: str, value: object, allowed: range, *, nullable: bool = False) -> tuple[Problem, ...]:
    """Return the problems with a value of an integer field.

    A whole number in the range is valid. None is valid if the field is nullable.
    """
    if value is UNSET or (value is None and nullable):
        return ()
    if not _is_int(value):
        return _wrong_type(pointer, value, "a whole number", nullable=nullable)
    if value in allowed:
        return ()
    limits = allowed[0], allowed[-1]
    message = f"{quoted(value)} is not in the range {limits[0]} to {limits[1]}"
    return (Problem(pointer, message, code="out_of_range", value=value, limits=limits, nullable=nullable),)


def bool_problems(pointer: str, value: object) -> tuple[Problem, ...]:
    """Return the problems with a value of a boolean field. True and False are valid, 1 and 0 are not."""
    return () if value is UNSET or isinstance(value, bool) else _wrong_type(pointer, value, "True or False")


def date_problems(pointer: str, value: object) -> tuple[Problem, ...]:
    """Return the problems with a value of a date field. A `datetime.date` is valid, a `datetime.datetime` is not."""
    # `datetime` is a subclass of `date`, but it is invalid here, because its time of day would be lost.
    if value is UNSET or (isinstance(value, date) and not isinstance(value, datetime)):
        return ()
    return _wrong_type(pointer, value, "a datetime.date")


def not_nullable(pointer: str, expected: str) -> Problem:
    """Return the problem that None was given for a field that can't be cleared."""
    message = f"None {_CAN_NOT_CLEAR.format(expected)}"
    return Problem(pointer, message, code="not_nullable", expected=expected)


def _wrong_type(pointer: str, value: object, expected: str, *, nullable: bool = False) -> tuple[Problem, ...]:
    if value is None:
        return (not_nullable(pointer, expected),)
    message = f"{quoted(value)} is {_article(type(value).__name__)}, not {expected}{' or None' * nullable}"
    return (Problem(pointer, message, code="wrong_type", value=value, expected=expected, nullable=nullable),)


_CAN_NOT_CLEAR = "can't clear this field; give {}, or omit the field to leave it unchanged"


def text_message(problem: Problem) -> str:
    """Return the message for a value that was given in a file or a command-line option.

    Files and options contain text or JSON, so the message says `null` and `true` instead of `None` and `True`.
    """
    expected = _TEXT_WORDS.get(problem.expected or "", problem.expected)
    if problem.code == "not_nullable":
        return f"null {_CAN_NOT_CLEAR.format(expected)}"
    if problem.code == "wrong_type" and expected is not None:
        wanted = f"{expected}{' or null' * problem.nullable}"
        # `problem.value` is None for a URL, because a URL may contain a password.
        return f"give {wanted}" if problem.value is None else f"{_as_json(problem.value)} is not {wanted}"
    # The message may end with the name of a policy setting, which is a Python argument.
    return problem.message.removesuffix(f" ({problem.setting})")


_TEXT_WORDS = {"True or False": "true or false", "a datetime.date": "a date such as 2026-04-25"}


def _as_json(value: object) -> str:
    if isinstance(value, str):
        return quoted(value)  # as in all other messages
    try:
        return excerpt(json.dumps(value, ensure_ascii=False), 80)
    except (TypeError, ValueError, RecursionError):
        return quoted(value)


# --- settings ---
#
# Settings are named as in the user's code: `max_connections` for an argument of `RoomsClient`, and, for example,
# `Pacing(max_rate=)` for all others.


class WrongTypeError(ClientSettingsError, TypeError):
    """A setting has the wrong type. The error is also a `TypeError`."""


def setting_error(name: str, wrong: str, hint: str, value: object = None) -> ClientSettingsError:
    """Return the error for a setting, from texts such as `max_rate`, `is 0` and `give a number above 0`."""
    return _error_of(ClientSettingsError, name, wrong, hint, value)


def check_at_least(minimum: int, name: str, value: object) -> None:
    """Raise `ClientSettingsError` unless the value is a whole number, `minimum` or above."""
    if not _is_int(value) or value < minimum:
        raise _is(name, value, f"a whole number, {minimum} or above")


def check_positive(name: str, value: object) -> None:
    """Raise `ClientSettingsError` unless the value is a number above 0."""
    if not (_is_number(value) and value > 0):
        raise _is(name, value, "a number above 0")


def check_instance(kind: type[object], name: str, value: object) -> None:
    """Raise `WrongTypeError` unless the value is an instance of `kind`."""
    if not isinstance(value, kind):
        raise wrong_type(name, value, _article(kind.__name__))


def wrong_type(name: str, value: object, expected: str) -> WrongTypeError:
    """Return the error for a setting of the wrong type."""
    return _error_of(WrongTypeError, name, f"is {quoted(value)}", f"give {expected}", value)


def at_least(minimum: int) -> "Callable[[object, attrs.Attribute[int], int], None]":
    """Return an attrs validator for a whole number, `minimum` or above."""

    def validate(instance: object, attribute: "attrs.Attribute[int]", value: int) -> None:
        check_at_least(minimum, _name(instance, attribute), value)

    return validate


def instance_of(kind: type[T]) -> "Callable[[object, attrs.Attribute[T], T], None]":
    """Return an attrs validator for an instance of `kind`."""

    def validate(instance: object, attribute: "attrs.Attribute[T]", value: T) -> None:
        check_instance(kind, _name(instance, attribute), value)

    return validate


def positive(instance: object, attribute: "attrs.Attribute[T]", value: T) -> None:
    """Raise `ClientSettingsError` unless the value is a number above 0 (an attrs validator)."""
    check_positive(_name(instance, attribute), value)


def not_negative(instance: object, attribute: "attrs.Attribute[T]", value: T) -> None:
    """Raise `ClientSettingsError` unless the value is a number, 0 or above (an attrs validator)."""
    if not (_is_number(value) and value >= 0):
        raise _is(_name(instance, attribute), value, "a number, 0 or above")


def _is(name: str, value: object, expected: str) -> ClientSettingsError:
    return setting_error(name, f"is {quoted(value)}", f"give {expected}", value)


E = TypeVar("E", bound=ClientSettingsError)


def _error_of(kind: type[E], name: str, wrong: str, hint: str, value: object) -> E:
    setting = name.rpartition("(")[2].removesuffix("=)")
    return kind(f"{name} {wrong}", setting=setting, wrong=wrong, value=value, hint=hint)


# --- helpers for values and settings ---


def _article(noun: str) -> str:
    return f"{'an' if noun[:1] in 'AEIOUaeiou' else 'a'} {noun}"


def _is_int(value: object) -> TypeGuard[int]:
    # bool is a subclass of int, but `max_participants=True` is a mistake.
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def is_unicode(text: str) -> bool:
    """Return whether UTF-8 can encode a text. It can't encode half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _name(instance: object, attribute: "attrs.Attribute[T]") -> str:
    return f"{type(instance).__name__}({attribute.name}=)"
