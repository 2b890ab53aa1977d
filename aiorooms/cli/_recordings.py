"""Recordings of deliveries: a JSON line for each one, which `webhooks listen` writes and `webhooks replay` reads.

A line has the keys `received_at`, `path`, `headers` (a list of pairs, in their order) and `body` (in base64, because a
signature is valid only for the exact bytes). A recording may contain what only its owner should see, so a new file has
mode 0600.

Example: a listener is killed while it writes line 7. `replay` reports line 7 as damaged, and sends the six others. The
next listener that records to this file ends the damaged line first, so its own first delivery is line 8.
"""

import base64
import binascii
import json
import os
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Final, Self, TypeAlias, cast

import attrs

from .._text import timestamp
from ..bulk._files import kind_of_file

__all__ = ["Damaged", "Delivery", "Pairs", "Recorder", "event_type_of", "read_line", "read_recording", "to_line"]

Pairs: TypeAlias = Sequence[tuple[str, str]]
"""Headers in their order."""

_MAX_LINE: Final = 4 * 1024 * 1024
"""Maximum length of a line in bytes. A listener accepts bodies of up to 256 KiB, so its lines are shorter."""


@attrs.frozen
class Delivery:
    """One delivery as it was received."""

    received_at: datetime
    path: str
    """The path of the URL, with its query."""
    headers: Pairs
    body: bytes
    """The raw body."""


@attrs.frozen
class Damaged:
    """A line that is not a delivery."""

    problem: str


def to_line(delivery: Delivery) -> bytes:
    """Return the line of a delivery, without a line break."""
    record = {
        "received_at": timestamp(delivery.received_at),
        "path": delivery.path,
        "headers": [[name, value] for name, value in delivery.headers],
        "body": base64.b64encode(delivery.body).decode(),
    }
    return json.dumps(record).encode()


def read_line(line: bytes) -> Delivery | Damaged:
    """Return the delivery of a line, or what is wrong with the line."""
    try:
        decoded: object = json.loads(line)
    except (ValueError, RecursionError):
        return Damaged("is not JSON")
    if not isinstance(decoded, dict):
        return Damaged("is not a JSON object")
    record = cast("dict[str, object]", decoded)
    received_at, path, headers, body = (record.get(name) for name in ("received_at", "path", "headers", "body"))
    if (time := _time(received_at)) is None:
        return Damaged("has no valid received_at")
    if not isinstance(path, str):
        return Damaged("has no valid path")
    if (pairs := _pairs(headers)) is None:
        return Damaged("has no valid headers")
    if (raw := _bytes(body)) is None:
        return Damaged("has no valid body")
    return Delivery(time, path, pairs, raw)


def _time(value: object) -> datetime | None:
    try:
        time = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return None if time is None or time.tzinfo is None else time


def _pairs(value: object) -> Pairs | None:
    if not isinstance(value, list):
        return None
    pairs: list[tuple[str, str]] = []
    for pair in cast("list[object]", value):
        match pair:
            case [str() as name, str() as text]:
                pairs.append((name, text))
            case _:
                return None
    return pairs


def _bytes(value: object) -> bytes | None:
    try:
        return base64.b64decode(value, validate=True) if isinstance(value, str) else None
    except (binascii.Error, ValueError):
        return None


def read_recording(file: BinaryIO) -> Iterator[tuple[int, Delivery | Damaged]]:
    """Yield each line's number and its delivery, or what is wrong with it. Blank lines are skipped."""
    number = 0
    while line := file.readline(_MAX_LINE + 1):
        number += 1
        if len(line) > _MAX_LINE:
            while line and not line.endswith(b"\n"):
                line = file.readline(_MAX_LINE)
            yield number, Damaged(f"is longer than {_MAX_LINE:,} bytes")
        elif line.strip():
            yield number, read_line(line)


def event_type_of(body: bytes) -> str | None:
    """Return the type of the event in a body, with or without its envelope; None if there is none."""
    try:
        decoded: object = json.loads(body)
    except (ValueError, RecursionError):
        return None
    match decoded:
        case {"data": {"event_type": str() as event_type}} | {"event_type": str() as event_type}:
            return event_type
        case _:
            return None


class Recorder:
    """Appends deliveries to a file. Each line is written at once, without a buffer."""

    def __init__(self, file: int) -> None:
        self._file = file

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open the file, and create it with mode 0600. Raises `OSError`, or `ValueError` if it is not a recording."""
        if path.exists():
            if (kind := kind_of_file(path.stat().st_mode)) is not None:
                raise ValueError(f"is {kind}; give a regular file")
            with path.open("rb") as file:
                first = next(read_recording(file), None)
            if first is not None and isinstance(first[1], Damaged):
                raise ValueError("is not a recording; give another file")
        recorder = cls(os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o600))
        recorder._end_line()
        return recorder

    def _end_line(self) -> None:
        """End the last line if it has no line break, because the listener was killed or the disk was full."""
        if (size := os.fstat(self._file).st_size) > 0:
            os.lseek(self._file, size - 1, os.SEEK_SET)
            if os.read(self._file, 1) != b"\n":
                os.write(self._file, b"\n")

    def add(self, delivery: Delivery) -> None:
        """Append a delivery. Raises `OSError`. The next delivery begins a new line anyway."""
        self._end_line()
        left = memoryview(to_line(delivery) + b"\n")
        while left:
            left = left[os.write(self._file, left) :]

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)
