"""Deliveries and their events as text and as JSON. No I/O.

A line of text has the time, the type of the event, marks in parentheses, and fields as `name=value`. A value with other
characters than those of ids, numbers and URLs is quoted, so no text from outside can look like another field.

Example: a participant whose context is `x reason=kicked` is shown as
`2026-03-02T04:47:29Z participant.left room=0ccc... participant=9a1f... context="x reason=kicked" duration=235s`.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Final, TypeAlias, cast

import attrs

from .._text import timestamp
from ._escaping import escape
from ._json import JsonValue
from ._recordings import Pairs

if TYPE_CHECKING:
    from ..webhooks import Event

__all__ = ["TOLERANCE", "Part", "Seen", "data_of", "event_data", "is_success", "parts_of", "reason_text", "short_type"]

Part: TypeAlias = str | tuple[str, str]
"""A part of a line: text, or text and its style."""

TOLERANCE: Final = 300
"""How many seconds a timestamp may be in the past or in the future. The default of `WebhookVerifier`."""

_PREFIX: Final = "video.room."

_FIELDS: Final = {
    "room_id": "room",
    "participant_id": "participant",
    "context": "context",
    "duration_secs": "duration",
    "ended_reason": "reason",
    "left_reason": "reason",
    "recording_id": "recording",
    "composition_id": "composition",
    "type": "type",
    "resolution": "resolution",
    "size_mb": "size",
    "download_url": "download",
}
"""The fields of payloads that a line shows, in this order, each with its name in the line."""
_UNITS: Final = {"duration_secs": "s", "size_mb": "MB"}
_MAX_LENGTH: Final = {"download_url": 2000}
_MAX_TEXT: Final = 200
"""Maximum length of all other values, in characters."""

_PLAIN: Final = re.compile(r"[A-Za-z0-9._~:/?#@!$&*+,;=%-]+", re.ASCII)
_SECONDS: Final = re.compile(r"[0-9]{1,12}", re.ASCII)

_MAX_DEPTH: Final = 100

_REASONS: Final = {
    "missing_header": "it has no signature (the headers telnyx-signature-ed25519 and telnyx-timestamp)",
    "duplicate_header": "it has the header of the signature or of the timestamp more than once",
    "malformed_header": "the signature or the timestamp is malformed",
    "wrong_signature": "the signature is wrong (another key, or the body was changed)",
    "not_an_event": "the body is not a JSON object",
    "not_post": "a webhook is a POST",
    "compressed": "the body is compressed, which the API never does",
    "too_large": "the body is too large (more than 256 KiB)",
    "slow_body": "the body did not arrive within 10 s",
    "broken_body": "the body is malformed, or the connection was closed before its end",
    "busy": "too many deliveries are in progress",
}


@attrs.frozen(kw_only=True)
class Seen:
    """What is known about one delivery, as far as it is shown."""

    received_at: datetime
    path: str
    event: "Event | None"
    """None if the delivery was rejected."""
    verified: bool | None
    """False if it was rejected; None if there is no key, so that nothing is verified."""
    reason: str | None = None
    """The code of the reason why it was rejected."""
    why: str | None = None
    """The reason in words."""
    repeated: bool = False
    forward_status: int | None = None
    forward_error: str | None = None


def short_type(event_type: str | None) -> str:
    """Return the type without `video.room.`."""
    return "unknown" if event_type is None else event_type.removeprefix(_PREFIX) or "unknown"


def is_success(status: int | None) -> bool:
    """Return whether a status is 2xx."""
    return status is not None and status // 100 == 2


def parts_of(seen: Seen) -> Iterator[Part]:
    """Yield the parts of the line of a delivery that was not rejected. All text from outside is escaped."""
    event = seen.event
    yield timestamp(seen.received_at.replace(microsecond=0)), "dim"
    yield f" {_value(short_type(None if event is None else event.event_type), _MAX_TEXT)}", "cyan"
    marks = [*["repeated"] * seen.repeated, *["not verified"] * (seen.verified is None)]
    if marks:
        yield f" ({', '.join(marks)})", "yellow"
    if event is not None:
        yield from _fields(event)
    if seen.forward_status is not None or seen.forward_error is not None:
        yield " forward=", "dim"
        yield str(seen.forward_status or "failed"), "green" if is_success(seen.forward_status) else "red"


def _fields(event: "Event") -> Iterator[Part]:
    if isinstance(event.payload, Mapping):
        values = event.payload
        rest = {name: value for name, value in values.items() if name not in _FIELDS}
        unreadable = [*event.unreadable]
    else:
        values = {name: getattr(event.payload, name, None) for name in _FIELDS}
        rest = {}
        unreadable = [*event.unreadable, *event.payload.unreadable]
    for name, shown in _FIELDS.items():
        value = values.get(name)
        if isinstance(value, (str, int, float)) and value != "":
            text = f"{value:g}" if isinstance(value, float) else str(value)
            yield f" {shown}=", "dim"
            yield _value(text + _UNITS.get(name, ""), _MAX_LENGTH.get(name, _MAX_TEXT))
    if rest:
        yield " payload=", "dim"
        yield _value(json.dumps(_plain(rest)), _MAX_TEXT)
    if unreadable:
        yield " unreadable=", "dim"
        yield _value(",".join(unreadable), _MAX_TEXT), "yellow"


def _value(text: str, max_length: int) -> str:
    cut = text if len(text) <= max_length else f"{text[: max_length - 3]}..."
    return cut if _PLAIN.fullmatch(cut) else escape(json.dumps(cut, ensure_ascii=False))


def event_data(event: "Event") -> dict[str, JsonValue]:
    """Return an event as JSON data."""
    payload = event.payload
    return {**_attributes(event), "payload": _plain(payload) if isinstance(payload, Mapping) else _attributes(payload)}


def _attributes(value: attrs.AttrsInstance) -> dict[str, JsonValue]:
    """Return the attributes of an object, which are not objects themselves. `attrs.asdict` would recurse into them."""
    names = [field.name for field in attrs.fields(type(value))]
    return {name: _plain(getattr(value, name)) for name in names if name != "payload"}


def _plain(value: object) -> JsonValue:
    """Return a value as JSON data; None if it is too deep for an encoder, or contains NaN or Infinity."""
    if isinstance(value, datetime):
        return timestamp(value)
    left = [(value, 0)]
    while left:
        one, depth = left.pop()
        if depth > _MAX_DEPTH or (isinstance(one, float) and not math.isfinite(one)):
            return None
        if isinstance(one, Mapping):
            left += [(part, depth + 1) for part in cast("Mapping[str, object]", one).values()]
        elif isinstance(one, list):
            left += [(part, depth + 1) for part in cast("list[object]", one)]
    return cast("JsonValue", value)


def data_of(seen: Seen) -> dict[str, JsonValue]:
    """Return a delivery as JSON data."""
    return {
        "received_at": timestamp(seen.received_at),
        "path": seen.path,
        "verified": seen.verified,
        "reason": seen.reason,
        "repeated": seen.repeated,
        "event": None if seen.event is None else event_data(seen.event),
        "forward_status": seen.forward_status,
        "forward_error": seen.forward_error,
    }


def reason_text(reason: str | None, headers: Pairs, now: float) -> str:
    """Return why a delivery was rejected, in words. `now` is when it was received, in Unix seconds."""
    if reason in ("too_old", "in_the_future"):
        stamps = [value for name, value in headers if name.lower() == "telnyx-timestamp" and _SECONDS.fullmatch(value)]
        age = now - int(stamps[0]) if stamps else 0.0
        beyond = max(1, math.ceil(abs(age) - TOLERANCE))
        what = "too old" if reason == "too_old" else "too far in the future"
        return f"it is {what} by {beyond:,} s (the tolerance is {TOLERANCE} s); check the clock of this machine"
    return _REASONS.get(reason or "", "it could not be verified")
