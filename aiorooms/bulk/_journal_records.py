"""What stands in the lines of a journal: a header, then records of what began, what ended, and how the run goes."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias, cast

import attrs

from ..models._fields import Values
from ._files import JsonObject
from ._records import Codec, file_converter

__all__ = [
    "HEADER",
    "VERSION",
    "Begin",
    "End",
    "Ending",
    "JournalHeader",
    "PacingRecord",
    "PacingState",
    "Record",
    "RoomState",
    "Run",
    "Stop",
    "line_of",
    "record_of",
]

VERSION: Final = 1

Ending: TypeAlias = Literal["updated", "failed", "uncertain", "skipped", "conflict"]
"""How a room's update ended: `skipped` was not sent, `conflict` was modified by someone else and not touched."""

RoomState: TypeAlias = Ending | Literal["begun"]


@attrs.frozen(kw_only=True)
class JournalHeader:
    """The first line."""

    version: int = VERSION
    plan: str
    """The plan's id."""
    plan_file: str
    plan_sha256: str
    base_url: str
    rooms: int
    """Rooms of the plan."""
    at: float
    """Unix time, in seconds, as in all records."""


@attrs.frozen(kw_only=True)
class Run:
    """A run over the plan begins: the apply is the first, each resume one more."""

    run: int
    at: float


@attrs.frozen(kw_only=True)
class Begin:
    """A room is about to be updated."""

    begin: str
    """The room's id."""
    at: float
    unique_name: str | None = None
    updated_at: datetime | None = None
    before: Values
    after: Values


@attrs.frozen(kw_only=True)
class End:
    """The update of a room has its outcome."""

    end: str
    """The room's id."""
    at: float
    status: Ending
    attempts: int = 0
    elapsed: float | None = None
    """Seconds from dequeue to outcome."""
    updated_at: datetime | None = None
    """The room's own, after the update."""
    error: str | None = None
    error_type: str | None = None
    found: bool = False
    """The room had the wanted values already, and nothing was sent."""


@attrs.frozen(kw_only=True)
class PacingState:
    """How the run stands with the rate limit."""

    refused: int
    """Requests of this run that were rate limited."""
    limit: float | None
    """Sustained rate, in requests per second."""
    rate: float
    """Requests per second that are sent now."""


@attrs.frozen(kw_only=True)
class PacingRecord:
    """The rate limit, once a second."""

    pacing: PacingState
    at: float


@attrs.frozen(kw_only=True)
class Stop:
    """A run has ended."""

    stop: str
    """`done`, or why it ended before."""
    at: float


Record: TypeAlias = Run | Begin | End | PacingRecord | Stop

HEADER: Final = Codec(JournalHeader, version="aiorooms_journal")

_KINDS: Final[Mapping[str, Codec[Any]]] = {
    "begin": Codec(Begin),
    "end": Codec(End, omit_if_default=True),
    "run": Codec(Run),
    "pacing": Codec(PacingRecord),
    "stop": Codec(Stop),
}
"""By the name of the field that no other kind of record has."""

_CODECS: Final = {codec.record_class: codec for codec in (HEADER, *_KINDS.values())}

_PACING_STATE: Final = Codec(PacingState)
file_converter.register_structure_hook(PacingState, lambda value, _: _PACING_STATE.from_json(value))


def line_of(record: Record | JournalHeader) -> bytes:
    """Write a record as a line."""
    codec: Codec[Any] = _CODECS[type(record)]
    return codec.line(record)


def record_of(value: JsonObject) -> Record | None:
    """Make a record from JSON data; None for a kind that this version doesn't know. Raises `ValueError`."""
    for kind, codec in _KINDS.items():
        if kind in value:
            return cast("Record", codec.from_json(value))
    return None
