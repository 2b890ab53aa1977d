"""Format values as text: any value as one printable line of limited length, and times in UTC. Read dates from text."""

import difflib
import re
from collections.abc import Iterable
from datetime import UTC, date, datetime
from typing import Final

__all__ = ["counted", "error_kind", "excerpt", "quoted", "read_day", "similar", "timestamp"]


def excerpt(text: str, max_length: int) -> str:
    """Return the text on one line, with `?` for unprintable characters, and `...` at the end if it was cut."""
    # Cut a very long text first, because processing a megabyte would be slow.
    line = " ".join(text[: 4 * max_length].split())
    line = "".join(char if char.isprintable() else "?" for char in line)
    return line if len(line) <= max_length and len(text) <= 4 * max_length else f"{line[: max_length - 3]}..."


def quoted(value: object) -> str:
    """Return the `repr` of a value, cut to 80 characters. A repr shows tabs, control characters and the type."""
    try:
        text = repr(value[:200]) if isinstance(value, str) else repr(value)
    except Exception:  # noqa: BLE001 - a `__repr__` may raise anything; the repr of a very long int raises ValueError
        text = f"<{type(value).__name__}>"
    return excerpt(text, 80)


def counted(number: int, noun: str) -> str:
    """Return a number and its noun, such as `1 room` or `2,000 rooms`."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


def similar(name: str, known: Iterable[str], otherwise: str) -> str:
    """Return `did you mean ...?` with the most similar known name, or `otherwise` if none is similar."""
    close = difflib.get_close_matches(name, list(known), 1)
    return f"did you mean {close[0]!r}?" if close else otherwise


def timestamp(time: datetime) -> str:
    """Return a time in UTC: `2021-04-12T22:29:42Z`, with microseconds if there are any."""
    utc = time if time.tzinfo is UTC else time.astimezone(UTC)
    return f"{utc.isoformat()[:-6]}Z"


_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)


def read_day(text: str) -> date:
    """Read a date such as 2024-05-31. Raises `ValueError`, with the reason, if the text is not a date."""
    try:
        # `fromisoformat` would also accept 20240531 and 2024-W22-5, which are probably typos.
        return date.fromisoformat(text if _DAY.fullmatch(text) else "")
    except ValueError:
        raise ValueError(f"{quoted(text)} is not a date; write it as YYYY-MM-DD") from None


def error_kind(message: str) -> str:
    """Return an error message without what differs between rooms.

    Ids become `...`, and the number of attempts, the request id and the time of a modification are omitted.
    """
    for pattern in (_ATTEMPTS, _REQUEST_ID, _TIME):
        message = re.sub(pattern, "", message)
    return re.sub(_ID, "...", message)


_ID: Final = r"(?i)[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_ATTEMPTS: Final = r", after \d+ attempts"
_REQUEST_ID: Final = r" \[request id [^\]]*\]"
_TIME: Final = r" at \d{4}-\d\d-\d\dT[\d:.]+Z,?"
