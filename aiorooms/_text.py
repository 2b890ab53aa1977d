"""Values as text: those from outside on one printable line, cut to a length that is read, and moments in UTC."""

from datetime import UTC, datetime

__all__ = ["excerpt", "quoted", "timestamp"]


def excerpt(text: str, longest: int) -> str:
    """Give the text on one line, with `?` for what can't be printed and `...` where it was cut."""
    # What is far too long is cut first: a line of a megabyte need not be looked through.
    line = " ".join(text[: 4 * longest].split())
    line = "".join(char if char.isprintable() else "?" for char in line)
    return line if len(line) <= longest and len(text) <= 4 * longest else f"{line[: longest - 3]}..."


def quoted(value: object) -> str:
    """Give what was given as Python would write it, so that blanks, control characters and types can be seen."""
    try:
        text = repr(value[:200]) if isinstance(value, str) else repr(value)
    except Exception:  # noqa: BLE001 - anybody's `__repr__` may raise anything, and a number may be too long to write
        text = f"<{type(value).__name__}>"
    return excerpt(text, 80)


def timestamp(moment: datetime) -> str:
    """Write a moment in UTC: `2021-04-12T22:29:42Z`, with microseconds if there are any."""
    utc = moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    return f"{utc.isoformat()[:-6]}Z"
