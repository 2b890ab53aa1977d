"""The six writable fields of a room: their rules, how to read a value from text, and how to compare values.

`FIELDS` is the only list of these fields: requests, input files, command-line options and read-backs all use it. Type
checkers need the names as attributes of `RoomUpdate` and as keys of `RoomFields` too. A test checks that they match.
"""

import re
from collections.abc import Callable, Container, Iterable, Mapping
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

from .._checks import bool_problems, int_problems, name_problems
from .._webhook_url import same_url
from ..errors import Problem

if TYPE_CHECKING:
    from .rooms import Room

__all__ = [
    "CHECKS",
    "FIELDS",
    "FIELD_NAMES",
    "MAX_PARTICIPANTS",
    "WEBHOOK_TIMEOUT_SECS",
    "Field",
    "Values",
    "differing",
    "has_field",
    "has_fields",
    "has_value",
    "other_url",
    "read_bool",
    "read_value",
    "unreadable_fields",
]

MAX_PARTICIPANTS: Final = range(2, 51)
"""The valid values of `max_participants`, 2 to 50 inclusive (API reference, "Update a room")."""

WEBHOOK_TIMEOUT_SECS: Final = range(31)
"""The valid values of `webhook_timeout_secs` in seconds, 0 to 30 inclusive (API reference, "Update a room")."""

Values: TypeAlias = Mapping[str, str | int | bool | None]
"""Writable fields and their values."""


# --- the table ---


class Field(NamedTuple):
    """The rules of a writable field."""

    kind: Literal["text", "number", "switch", "url"]
    allowed: range = range(0)
    """The valid values, if `kind` is "number"."""
    nullable: bool = False
    """Whether null clears the field."""


FIELDS: Final[Mapping[str, Field]] = {
    "unique_name": Field("text"),
    "max_participants": Field("number", MAX_PARTICIPANTS),
    "enable_recording": Field("switch"),
    "webhook_event_url": Field("url"),
    "webhook_event_failover_url": Field("url", nullable=True),
    "webhook_timeout_secs": Field("number", WEBHOOK_TIMEOUT_SECS, nullable=True),
}

FIELD_NAMES: Final = tuple(FIELDS)
"""The names of the six fields, in the order of the API's reference page."""

_Check: TypeAlias = Callable[[object], tuple[Problem, ...]]


def _check_of(name: str, field: Field) -> _Check | None:
    pointer = f"/{name}"
    match field.kind:
        case "text":
            return lambda value: name_problems(pointer, value)
        case "number":
            allowed, nullable = field.allowed, field.nullable
            # Most values are valid. Skipping the call for those saves 5 % of the time to create an update.
            return lambda value: (
                ()
                if type(value) is int and value in allowed
                else int_problems(pointer, value, allowed, nullable=nullable)
            )
        case "switch":
            return lambda value: bool_problems(pointer, value)
        case "url":
            return None


CHECKS: Final[tuple[tuple[str, _Check], ...]] = tuple(
    (name, check) for name, field in FIELDS.items() if (check := _check_of(name, field)) is not None
)
"""The names and checks of the fields, without the two URLs, which `check_webhook_urls` checks together."""


# --- reading ---


_TRUE: Final = ("true", "yes", "on", "1")
_FALSE: Final = ("false", "no", "off", "0")
_NUMBER: Final = re.compile("-?[0-9]{1,9}", re.ASCII)


def read_value(name: str, text: str) -> object:
    """Convert the text of a file or an option to the value of a field. The word `null` becomes None.

    Text that can't be converted, such as `many` for a number, is returned unchanged. The field's check then rejects it.
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
    """Return True for `true`, `yes`, `on` or `1`, False for `false`, `no`, `off` or `0`, else None. Case is ignored."""
    word = text.lower()
    return True if word in _TRUE else False if word in _FALSE else None


# --- comparing ---


def differing(room: "Room", wanted: Values) -> Values:
    """Return the wanted values that differ from the room's current values. A value that can't be read differs too."""
    return {name: value for name, value in wanted.items() if not has_field(room, name, value)}


def has_fields(room: "Room", wanted: Values) -> bool:
    """Return whether no value differs, as `differing` does, but stop at the first one that does."""
    # The first field of most rooms differs. Then this takes a tenth of the time of `differing` with five fields.
    for name, value in wanted.items():  # noqa: SIM110 - `all` takes twice as long
        if not has_field(room, name, value):
            return False
    return True


def has_field(room: "Room", name: str, wanted: object) -> bool:
    """Return whether the room's current value of a field can be read, and is equivalent to the wanted one."""
    return name not in room.unreadable and has_value(name, getattr(room, name), wanted)


def unreadable_fields(room: "Room", *groups: Iterable[str]) -> tuple[str, ...]:
    """Return the fields in `groups` that the server's answer lacks, or whose value can't be read.

    Such an answer shows neither that an update was applied nor that someone else modified the room. A URL that is null
    or missing is not one of them, because it means that there is none.
    """
    return tuple(name for group in groups for name in group if _is_unreadable(room, name))


def _is_unreadable(room: "Room", name: str) -> bool:
    field = FIELDS[name]
    is_missing = getattr(room, name) is None and not field.nullable and field.kind != "url"
    return is_missing or name in room.unreadable


def has_value(name: str, present: object, wanted: object) -> bool:
    """Return whether the current value of a field (`present`) is equivalent to the wanted one.

    The two may differ in form: the server may normalize a URL, and it returns either "" or null if there is no URL.
    """
    if present == wanted:
        return True
    if FIELDS[name].kind != "url":
        return False
    if present in _NO_URL or wanted in _NO_URL:
        return present in _NO_URL and wanted in _NO_URL
    return isinstance(present, str) and isinstance(wanted, str) and same_url(present, wanted)


_NO_URL: Final = (None, "")


_URLS: Final = ("webhook_event_url", "webhook_event_failover_url")


def other_url(fields: Container[str]) -> str | None:
    """Return the name of the other webhook URL if exactly one of the two is in `fields`, else None."""
    given = [name for name in _URLS if name in fields]
    return None if len(given) != 1 else _URLS[1 - _URLS.index(given[0])]
