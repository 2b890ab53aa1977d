"""The lines of a journal: a header, then records of runs, updates and the state of the rate limit.

Format version 2 adds a checksum to each line (`_line_checksum`). Otherwise it equals version 1, so journals of both
versions can be read and continued. A run that continues a journal of version 1 writes its lines with checksums.

Readers ignore unknown keys and unknown kinds of records. So an older aiorooms can read and continue a journal with the
kinds and keys that were added later: pauses, outages, `source`, `plan_created_at` and `locked`.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple, TypeAlias, cast

import attrs

from ..models._fields import Values
from ._files import JsonObject, as_utf8, json_line, json_time
from ._records import Codec, file_converter

__all__ = [
    "HEADER",
    "READABLE",
    "VERSION",
    "Begin",
    "End",
    "Ending",
    "JournalHeader",
    "JournalLine",
    "OutageBegin",
    "OutageEnd",
    "PacingRecord",
    "PacingState",
    "Pause",
    "Record",
    "RoomState",
    "Run",
    "Stop",
    "begin_line",
    "end_line",
    "line_of",
    "record_of",
    "recordable",
]

VERSION: Final = 2
"""The format version of new journals."""

READABLE: Final = (1, 2)
"""The format versions that can be read."""

Ending: TypeAlias = Literal["updated", "failed", "uncertain", "skipped", "conflict"]
"""The outcome of a room.

`skipped` means that the update was not applied for a reason that is not the room's, as in `UpdateStatus`. `conflict`
means that the update was not sent, because someone else had modified the room.
"""

RoomState: TypeAlias = Ending | Literal["begun"]


@attrs.frozen(kw_only=True)
class JournalHeader:
    """The first line of a journal."""

    version: int = VERSION
    plan: str
    """The plan's id."""
    plan_file: str
    plan_sha256: str
    base_url: str
    rooms: int
    """Number of rooms in the plan."""
    at: float
    """Unix time in seconds. `at` has this meaning in all records."""
    source: str | None = None
    """The file or the selection that the plan was made from; None if an older aiorooms wrote the journal."""
    plan_created_at: str | None = None
    """When the plan was made; None if an older aiorooms wrote the journal."""


@attrs.frozen(kw_only=True)
class Run:
    """Written when a run begins. `apply` writes run 1, and the first `resume` writes run 2."""

    run: int
    at: float
    locked: bool | None = None
    """Whether the run locks the journal; None if an older aiorooms wrote the line."""


@attrs.frozen(kw_only=True)
class Begin:
    """The `begin` line of a room, as read. `begin_line` writes it before the update is sent."""

    begin: str
    """The room's id."""
    at: float
    unique_name: str | None = None
    updated_at: datetime | None = None
    before: Values
    after: Values
    pair: Values = attrs.Factory(dict[str, str | int | bool | None])
    """See `PlannedUpdate.pair`. It is empty if the journal belongs to a plan in format 1."""


@attrs.frozen(kw_only=True)
class End:
    """The `end` line of a room, as read. `end_line` writes it when the outcome is known."""

    end: str
    """The room's id."""
    at: float
    status: Ending
    attempts: int = 0
    elapsed: float | None = None
    """Duration of the update in seconds, including waits."""
    updated_at: datetime | None = None
    """The room's `updated_at` after the update; None if the update was not confirmed."""
    error: str | None = None
    error_type: str | None = None
    found: bool = False
    """Whether this run sent no update because the room already had the wanted values."""


@attrs.frozen(kw_only=True)
class PacingState:
    """The state of the rate limit."""

    refused: int
    """Number of rate-limited requests in this run. The key `refused` is part of the file format."""
    limit: float | None
    """Sustained rate, in requests per second; None if unknown."""
    rate: float
    """Current rate, in requests per second."""


@attrs.frozen(kw_only=True)
class PacingRecord:
    """Written once a second, with the state of the rate limit."""

    pacing: PacingState
    at: float


_MIN_LIMIT_PAUSE: Final = 5.0
"""Shortest pause that holds a run up if the reported limit is used up, in seconds. Shorter ones keep to the limit."""


@attrs.frozen(kw_only=True)
class Pause:
    """Written when the rate limit lets no update be sent for a second or longer. There is no line for its end."""

    pause: float
    """The expected length, in seconds. A longer pause that replaces this one has a line of its own."""
    reason: str
    """Why, as in `RateLimitPaused.reason`. A later aiorooms may write other reasons."""
    at: float

    @property
    def holds_up(self) -> bool:
        """Whether it is more than the rhythm of a limit per second, or of a maximum rate that the user has set."""
        return self.reason != "max_rate" and (self.reason != "limit" or self.pause >= _MIN_LIMIT_PAUSE)


@attrs.frozen(kw_only=True)
class OutageBegin:
    """Written when the run assumes that the server is unavailable."""

    outage: str
    """The last failure, in one line."""
    at: float


@attrs.frozen(kw_only=True)
class OutageEnd:
    """Written when the server is available again. An outage also ends with its run."""

    outage_end: float
    """Duration of the outage, in seconds."""
    at: float


@attrs.frozen(kw_only=True)
class Stop:
    """Written when a run ends."""

    stop: str
    """How the run ended: `done`, `interrupted`, or `stopped: ` and the reason."""
    at: float


Record: TypeAlias = Run | Begin | End | PacingRecord | Pause | OutageBegin | OutageEnd | Stop


class JournalLine(NamedTuple):
    """A line of a journal, as read."""

    number: int
    """The number of the line. The header is line 1."""
    value: JsonObject | None
    """The line as JSON data; None if it is damaged."""
    record: Record | None
    """The line as a record; None if it is damaged or of an unknown kind."""
    offset: int = 0
    """Number of bytes before the line in the file."""

    @property
    def is_damaged(self) -> bool:
        """Whether the line can't be read, or its checksum is wrong."""
        return self.value is None


HEADER: Final = Codec(JournalHeader, omit=("source", "plan_created_at"), version="aiorooms_journal")

_KINDS: Final[Mapping[str, Codec[Any]]] = {
    "begin": Codec(Begin),
    "end": Codec(End),
    "run": Codec(Run, omit=("locked",)),
    "pacing": Codec(PacingRecord),
    "pause": Codec(Pause),
    "outage": Codec(OutageBegin),
    "outage_end": Codec(OutageEnd),
    "stop": Codec(Stop),
}
"""The codec of each kind of record. Each kind has a key that no other kind has, such as `begin`."""

_CODECS: Final = {codec.record_class: codec for codec in (HEADER, *_KINDS.values())}

_PACING_STATE: Final = Codec(PacingState)
file_converter.register_structure_hook(PacingState, lambda value, _: _PACING_STATE.from_json(value))


def line_of(record: JournalHeader | Run | PacingRecord | Pause | OutageBegin | OutageEnd | Stop) -> bytes:
    """Encode a record as a line."""
    codec: Codec[Any] = _CODECS[type(record)]
    return codec.line(record)


# Most lines are `begin` and `end` lines, so these functions encode them without creating a record. The writer of the
# journal adds the checksum.


def begin_line(plan_line: bytes, at: float) -> bytes:
    """Return the `begin` line of a room: the room's line of the plan, with `begin` for `room_id`, and with `at`.

    Raises `ValueError` if `plan_line` is not a line that a plan contains.
    """
    # In JSON, a quote in a string is escaped. So this text is a key, not a part of the room's id.
    room_id, key, rest = plan_line.partition(b',"unique_name":')
    if not key or not room_id.startswith(_ROOM_ID):
        raise ValueError("it is not a line of a plan")
    return b'{"begin":%s,"at":%.3f%s%s' % (room_id[len(_ROOM_ID) :], at, key, rest)


_ROOM_ID: Final = b'{"room_id":'


def end_line(
    room_id: str,
    at: float,
    status: Ending,
    *,
    attempts: int = 0,
    elapsed: float | None = None,
    updated_at: datetime | None = None,
    error: str | None = None,
    error_type: str | None = None,
    found: bool = False,
) -> bytes:
    """Return the `end` line of a room. Omit the keys whose value is the default of `End`."""
    line: dict[str, object] = {"end": room_id, "at": at, "status": status}
    if attempts:
        line["attempts"] = attempts
    if elapsed is not None:
        line["elapsed"] = round(elapsed, 4)
    if updated_at is not None:
        line["updated_at"] = json_time(updated_at)
    if error is not None:
        line["error"] = recordable(error)
    if error_type is not None:
        line["error_type"] = error_type
    if found:
        line["found"] = True
    return json_line(line)


def recordable(text: str) -> str:
    """Return a text of any origin as a line may contain it: it can be encoded, and a very long text is cut."""
    return as_utf8(text if len(text) <= _MAX_TEXT else f"{text[: _MAX_TEXT - 3]}...")


_MAX_TEXT: Final = 10_000
"""Longest reason or error in a line, in characters: many times longer than any that this package creates."""


def record_of(value: JsonObject) -> Record | None:
    """Return a record from JSON data, or None if its kind is unknown. Raises `ValueError` if it is malformed."""
    for kind, codec in _KINDS.items():
        if kind in value:
            return cast("Record", codec.from_json(value))
    return None
