"""The rules for the writable fields of a room.

The rules follow the API's documentation. They are deliberately independent of the client's own checks. Choices where
the documentation is silent:

- Unknown keys and read-only keys, such as `id` and `sessions`, are ignored, as in most JSON APIs.
- Integers must be JSON integers, not `10.0` or `true`, and booleans must be JSON booleans.
- A name is case-sensitive, and must contain a character that is not a blank.
- A webhook URL starts with `http://` or `https://`, and contains a host. It must not contain blanks or control
  characters, or be longer than 2000 characters. An empty string is not a URL. The code for an invalid URL is 10003.
- `null` is accepted for the failover URL and the timeout, and stored as null. With `rejects_null`, null is rejected,
  an empty string clears the failover URL, and the timeout can't be cleared.
"""

import re
from collections.abc import Callable, Mapping
from typing import TypeAlias

from .._answers import BAD_REQUEST, INVALID_URL, JsonValue

Problem: TypeAlias = tuple[str, str]
"""The code and the text of an error about a field."""

_MAX_URL_LENGTH = 2000
_MAX_PORT = 65535
_URL = re.compile(
    r"https?://"
    r"(?:[^\x00-\x20\x7f\s/?#@]*@)?"  # user and password
    r"(?:\[[0-9a-f:.]+\]|\w[^\x00-\x20\x7f\s/?#@:\[\]\\]*)"  # host
    r"(?::(\d{1,5}))?"  # port
    r"(?:[/?#][^\x00-\x20\x7f\s]*)?",
    re.IGNORECASE,
)


def check_field(name: str, value: JsonValue, *, rejects_null: bool) -> Problem | None:
    """Return the problem with the value of a writable field, or None."""
    if value is None:
        return (BAD_REQUEST, "can't be null") if rejects_null or name not in _NULLABLE else None
    if rejects_null and name == "webhook_event_failover_url" and value == "":
        return None
    return _CHECKS[name](value)


def _check_name(value: JsonValue) -> Problem | None:
    if not isinstance(value, str):
        return BAD_REQUEST, "must be a string"
    return None if value.strip() else (BAD_REQUEST, "can't be blank")


def _check_boolean(value: JsonValue) -> Problem | None:
    return None if isinstance(value, bool) else (BAD_REQUEST, "must be a boolean")


def _check_participants(value: JsonValue) -> Problem | None:
    return _check_integer(value, 2, 50)


def _check_timeout(value: JsonValue) -> Problem | None:
    return _check_integer(value, 0, 30)


def _check_integer(value: JsonValue, low: int, high: int) -> Problem | None:
    if isinstance(value, bool) or not isinstance(value, int):
        return BAD_REQUEST, "must be an integer"
    return None if low <= value <= high else (BAD_REQUEST, f"must be between {low} and {high}")


def _check_url(value: JsonValue) -> Problem | None:
    if not isinstance(value, str):
        return INVALID_URL, "must be a string"
    if len(value) > _MAX_URL_LENGTH:
        return INVALID_URL, f"can't be longer than {_MAX_URL_LENGTH} characters"
    match = _URL.fullmatch(value)
    if match is None:
        return INVALID_URL, "is not a valid URL; it must include a scheme, such as 'https', and a host"
    if match[1] is not None and int(match[1]) > _MAX_PORT:
        return INVALID_URL, "has a port that is out of range"
    return None


_NULLABLE = {"webhook_event_failover_url", "webhook_timeout_secs"}
_CHECKS: Mapping[str, Callable[[JsonValue], Problem | None]] = {
    "unique_name": _check_name,
    "max_participants": _check_participants,
    "enable_recording": _check_boolean,
    "webhook_event_url": _check_url,
    "webhook_event_failover_url": _check_url,
    "webhook_timeout_secs": _check_timeout,
}
