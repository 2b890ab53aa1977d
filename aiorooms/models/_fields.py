"""The six writable fields of a room: how a value is read from text, and when a room has the value that was asked for.

Whoever knows fields by name asks here, so that a file, an option and a read-back can't disagree.
"""

import re
from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

import attrs

from .._webhook_url import same_url
from .rooms import Room

__all__ = ["FIELDS", "Field", "Values", "differing", "has_value", "read_bool", "read_value"]

Values: TypeAlias = Mapping[str, str | int | bool | None]
"""Writable fields and their values."""


@attrs.frozen
class Field:
    """What there is to know of a writable field."""

    kind: Literal["text", "number", "switch", "url"]
    nullable: bool = False
    """Whether null clears it."""


FIELDS: Final[Mapping[str, Field]] = {
    "unique_name": Field("text"),
    "max_participants": Field("number"),
    "enable_recording": Field("switch"),
    "webhook_event_url": Field("url"),
    "webhook_event_failover_url": Field("url", nullable=True),
    "webhook_timeout_secs": Field("number", nullable=True),
}


# --- reading ---


_TRUE: Final = ("true", "yes", "on", "1")
_FALSE: Final = ("false", "no", "off", "0")
_NUMBER: Final = re.compile("-?[0-9]{1,9}", re.ASCII)


def read_value(name: str, text: str) -> object:
    """Read the value of a field as a file or an option holds it; the word `null` is None.

    What is no number, or no true or false, where one belongs comes back as it is: the check of the field rejects it.
    """
    if text == "null":
        return None
    kind = FIELDS[name].kind
    if kind == "number" and _NUMBER.fullmatch(text):
        return int(text)
    if kind == "switch" and (value := read_bool(text)) is not None:
        return value
    return text


def read_bool(text: str) -> bool | None:
    """Read `true`, `yes`, `on` or `1`, or their opposites, in any case; None for anything else."""
    word = text.lower()
    return True if word in _TRUE else False if word in _FALSE else None


# --- comparing ---


def differing(room: Room, wanted: Values) -> Values:
    """Return those of the wanted values that the room doesn't have."""
    return {name: value for name, value in wanted.items() if not has_value(name, getattr(room, name), value)}


def has_value(name: str, present: object, wanted: object) -> bool:
    """Whether a field with the value `present` is as wanted, however the server writes it.

    The server may normalise a URL, and writes "no URL" as an empty string or as null.
    """
    if present == wanted:
        return True
    if FIELDS[name].kind != "url":
        return False
    if present in _NO_URL or wanted in _NO_URL:
        return present in _NO_URL and wanted in _NO_URL
    return isinstance(present, str) and isinstance(wanted, str) and same_url(present, wanted)


_NO_URL: Final = (None, "")
