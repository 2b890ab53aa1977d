"""Checks of settings, so that a wrong one fails on the line where it was written."""

from collections.abc import Callable
from typing import TypeGuard, TypeVar

import attrs

from .errors import ClientSettingsError

__all__ = ["at_least", "check_at_least", "check_instance", "check_positive", "not_negative", "positive"]

T = TypeVar("T")


def check_at_least(minimum: int, name: str, value: object) -> None:
    """Accept a whole number that is `minimum` or above."""
    if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
        raise ClientSettingsError(f"{name} is {value!r}; give a whole number, {minimum} or above")


def check_positive(name: str, value: object) -> None:
    """Accept a number above 0."""
    if not (_is_number(value) and value > 0):
        raise ClientSettingsError(f"{name} is {value!r}; give a number above 0")


def check_instance(kind: type[object], name: str, value: object) -> None:
    """Accept an instance of that class."""
    if not isinstance(value, kind):
        raise ClientSettingsError(f"{name} is {value!r}; give {_article(kind.__name__)}")


def at_least(minimum: int) -> "Callable[[object, attrs.Attribute[int], int], None]":
    """Make an attrs validator that accepts a whole number, `minimum` or above."""

    def validate(instance: object, attribute: "attrs.Attribute[int]", value: int) -> None:
        check_at_least(minimum, _name(instance, attribute), value)

    return validate


def positive(instance: object, attribute: "attrs.Attribute[T]", value: T) -> None:
    """Accept a number above 0 (an attrs validator)."""
    check_positive(_name(instance, attribute), value)


def not_negative(instance: object, attribute: "attrs.Attribute[T]", value: T) -> None:
    """Accept a number that is 0 or above (an attrs validator)."""
    if not (_is_number(value) and value >= 0):
        raise ClientSettingsError(f"{_name(instance, attribute)} is {value!r}; give a number, 0 or above")


def _article(noun: str) -> str:
    return f"{'an' if noun[0] in 'AEIOUaeiou' else 'a'} {noun}"


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _name(instance: object, attribute: "attrs.Attribute[T]") -> str:
    return f"{type(instance).__name__}({attribute.name}=)"
