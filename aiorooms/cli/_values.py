"""Parse values from the command line. Each function returns the value, or raises `ValueError` with the problem.

The functions have no side effects. The class `Value` records the problems, with the names of the options.
"""

import math
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, TypeVar

from .._checks import text_message
from .._text import quoted
from .._webhook_url import LENIENT_POLICY, check_webhook_url
from ..bulk._units import duration
from ..models import read_room_ref

if TYPE_CHECKING:
    from ..simulator import RateLimit

__all__ = [
    "SHORTEST",
    "one_of",
    "read_api_key",
    "read_checksum",
    "read_duration",
    "read_host",
    "read_name",
    "read_patience",
    "read_rate",
    "read_rate_limit",
    "read_room_id",
    "read_share",
    "read_speed",
    "read_url",
    "whole_number",
]

Word = TypeVar("Word", bound=str)

_MIN_RATE: Final = 0.001
_WHOLE: Final = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)


def whole_number(lowest: int, highest: int) -> Callable[[str], int]:
    """Return a function that reads a whole number from `lowest` to `highest`, both inclusive."""

    def read(text: str) -> int:
        if not _WHOLE.fullmatch(text):
            raise ValueError(f"{quoted(text)} is not a whole number from {lowest} to {highest}")
        if not lowest <= (value := int(text)) <= highest:
            raise ValueError(f"{value} is not in the range {lowest} to {highest}")
        return value

    return read


_UNITS: Final = {
    **dict.fromkeys(("ms",), 0.001),
    **dict.fromkeys(("", "s", "sec", "secs", "second", "seconds"), 1.0),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hour", "hours"), 3600.0),
}
"""The units of time, in seconds."""

_AMOUNT: Final = re.compile(r"([0-9.]*(?:e[+-]?[0-9]+)?)\s*([a-z]*)", re.ASCII | re.IGNORECASE)


def _seconds(text: str) -> float:
    """Return the seconds of a duration such as `90`, `90s`, `1.5m` or `1h`, or NaN."""
    found = _AMOUNT.fullmatch(text.strip())
    if found is None or (unit := _UNITS.get(found[2].lower())) is None:
        return math.nan
    return _float(found[1]) * unit


SHORTEST: Final = 0.001
"""Seconds. The shortest time limit, which is more than 0."""


def read_duration(
    lowest: float, highest: float = math.inf, *, off: float | None = None, advice: str = ""
) -> Callable[[str], float]:
    """Return a function that reads a duration such as `10`, `10s`, `500ms`, `5m` or `1h`, as seconds.

    `lowest` and `highest` are inclusive. The word `off` becomes the value `off`, if that is given. `advice` is appended
    to the error if the duration is out of range.
    """

    def read(text: str) -> float:
        if off is not None and text.strip().lower() == "off":
            return off
        value = _seconds(text)
        if not math.isfinite(value):
            raise ValueError(
                f"{quoted(text)} is not a time such as 10, 10s, 500ms or 5m{', or off' * (off is not None)}"
            )
        if not lowest <= value <= highest:
            limit = f"less than {lowest:g} s" if value < lowest else f"more than {duration(highest)}"
            raise ValueError(f"{quoted(text)} is {limit}{advice and f'; {advice}'}")
        return value

    return read


_read_patience: Final = read_duration(SHORTEST, off=0.0, advice="give off if the run must not wait")


def read_patience(text: str) -> float:
    """Read a duration such as `90`, `90s` or `5m`. The word `off` becomes 0, which means: don't wait."""
    if text.strip().lower() == "none":  # no patience, or a patience without end?
        raise ValueError("'none' can be read in two ways; give off not to wait, or a long time such as 24h")
    return _read_patience(text)


def read_rate(text: str) -> float:
    """Read a number of requests per second, 0.001 or more. `600/m` means 600 per minute."""
    number, slash, per = text.partition("/")
    per = per.strip()
    # The unit may have a number of its own, as in the rate limit of a simulator: `100/1s`.
    seconds = _seconds(per if per[:1].isdigit() else f"1{per}") if slash else 1.0
    value = _float(number.strip()) / seconds if seconds > 0 and (per or not slash) else math.nan
    if not math.isfinite(value):
        raise ValueError(f"{quoted(text)} is not a number of requests per second, such as 10, 10/s or 600/m")
    if value < _MIN_RATE:
        raise ValueError(f"{quoted(text)} is less than {_MIN_RATE:g} requests per second")
    return value


_CHECKSUM: Final = re.compile(r"[0-9a-f]{12,64}", re.ASCII)


def read_checksum(text: str) -> str:
    """Read the SHA-256 of a plan, or its first 12 digits or more."""
    digits = text.strip().lower()
    if not _CHECKSUM.fullmatch(digits):
        raise ValueError(
            f"{quoted(text)} is not a checksum of 12 to 64 hexadecimal digits, as `aiorooms show` shows it"
        )
    return digits


def read_share(text: str) -> float:
    """Read a share from 0 to 1, or a percentage such as `5%`."""
    wanted = "a share from 0 to 1, such as 0.05 or 5%"
    value = _float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    if not 0 <= value <= 1:  # NaN is rejected too
        raise ValueError(f"{quoted(text)} is not {wanted}")
    return value


def read_speed(text: str) -> float:
    """Read how many times as fast as recorded to replay, 0 or more."""
    value = _number(text, "a number, such as 1 or 0.5")
    if value < 0:
        raise ValueError(f"{quoted(text)} is negative; give 0 or more")
    return value


def one_of(allowed: Sequence[Word]) -> Callable[[str], Word]:
    """Return a function that reads one of the allowed words."""

    def read(text: str) -> Word:
        for word in allowed:
            if word == text:
                return word
        raise ValueError(f"{quoted(text)} is not one of {', '.join(allowed)}")

    return read


def read_name(text: str) -> str:
    """Read the unique name to filter a list of rooms by."""
    if not text.strip():
        raise ValueError("the name is blank; omit the option to list rooms with any name")
    return text


def read_room_id(text: str) -> str:
    """Read a room id."""
    read_id, problems = read_room_ref(text)
    if problems:
        raise ValueError("; ".join(map(text_message, problems)))
    return read_id


def read_api_key(text: str) -> str:
    """Read the API key that a simulator accepts."""
    if not (text and text.isascii() and text.isprintable() and " " not in text):
        raise ValueError("a key consists of printable ASCII characters without spaces")
    return text


def read_host(text: str) -> str:
    """Read an address or a name of this machine, to listen on."""
    try:
        ascii_host = text.encode("idna").decode()
    except UnicodeError:
        ascii_host = ""
    if not (ascii_host and ascii_host.isprintable()) or set(ascii_host) & set(" /[]@?#"):
        raise ValueError(f"{quoted(text)} is not an address or a name, such as 127.0.0.1 or 0.0.0.0")
    return ascii_host


def read_url(text: str) -> str:
    """Read the URL of a receiver of webhooks."""
    if not text:
        raise ValueError("is empty; give a URL")
    if problems := check_webhook_url(text, LENIENT_POLICY):
        raise ValueError("; ".join(map(text_message, problems)))
    return text


def read_rate_limit(text: str) -> "RateLimit | None":
    """Read a rate limit such as `100/1s`; `none` means no limit."""
    if text == "none":
        return None
    from ..simulator import RateLimit  # imported here, because most commands don't need it

    return RateLimit.parse(text)


def _number(text: str, wanted: str) -> float:
    value = _float(text)
    if not math.isfinite(value):
        raise ValueError(f"{quoted(text)} is not {wanted}")
    return value


def _float(text: str) -> float:
    """Return the number that a text represents, or NaN."""
    try:
        return float(text)
    except ValueError:
        return math.nan
