"""The events of rooms as frozen attrs classes, and how they are read from the body of a webhook.

Real events are odd: timestamps with a space or without a zone, published samples whose `event_type` belongs to another
event, new fields, and wrong values. No odd field loses an event. A value that can't be read is None, and is kept in
`unreadable`; a field that a class doesn't have is kept in `extra`. The `event_type` alone decides the class.

Example: `{"data": {"event_type": "video.room.session.ended", "id": "6b61...", "occurred_at": "yesterday", "payload":
{"room_id": "0ccc...", "duration_secs": 235, "mood": "good"}}}` is a `SessionEnded` without `occurred_at`. Its
`unreadable` is `{"occurred_at": "yesterday"}`, and the `extra` of its payload is `{"mood": "good"}`.
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias, cast, get_args

import attrs

from ..errors import WebhookVerificationError
from ..models._values import is_object, load_converter

__all__ = [
    "EVENT_CLASSES",
    "CompositionCompleted",
    "CompositionCompletedPayload",
    "Event",
    "ParticipantJoined",
    "ParticipantJoinedPayload",
    "ParticipantLeft",
    "ParticipantLeftPayload",
    "RecordingCompleted",
    "RecordingCompletedPayload",
    "RecordingStarted",
    "RecordingStartedPayload",
    "RoomEvent",
    "SessionEnded",
    "SessionEndedPayload",
    "SessionStarted",
    "SessionStartedPayload",
    "UnknownEvent",
    "event_key",
    "parse_unverified_event",
]

_NOTHING: Final[Mapping[str, object]] = {}

_HIDDEN: Any = attrs.field(default=_NOTHING, eq=False, repr=False)

_MAX_CONTEXT: Final = 64 * 1024
"""Maximum length of a context that is read as JSON, in characters."""


class _HasContext:
    """A payload with the context that the participant's client has given."""

    __slots__ = ()

    context: str | None

    @property
    def context_data(self) -> object:
        """The context as decoded JSON, which it often is; None if it is not JSON, or longer than 65,536 characters."""
        if self.context is None or len(self.context) > _MAX_CONTEXT:
            return None
        try:
            return json.loads(self.context)
        except (ValueError, RecursionError):
            return None


@attrs.frozen(kw_only=True)
class SessionStartedPayload:
    """The payload of `SessionStarted`."""

    room_id: str | None = None
    session_id: str | None = None
    unreadable: Mapping[str, object] = _HIDDEN
    """The raw values of fields that could not be read. The attributes with these names are None."""
    extra: Mapping[str, object] = _HIDDEN
    """The raw values of fields that this class doesn't have."""


@attrs.frozen(kw_only=True)
class SessionEndedPayload:
    """The payload of `SessionEnded`."""

    room_id: str | None = None
    session_id: str | None = None
    duration_secs: int | None = None
    """Duration of the session, in seconds."""
    ended_reason: str | None = None
    """Why the session ended, as free text, such as `stale`."""
    unreadable: Mapping[str, object] = _HIDDEN
    """See `SessionStartedPayload`."""
    extra: Mapping[str, object] = _HIDDEN
    """See `SessionStartedPayload`."""


@attrs.frozen(kw_only=True)
class ParticipantJoinedPayload(_HasContext):
    """The payload of `ParticipantJoined`."""

    room_id: str | None = None
    session_id: str | None = None
    participant_id: str | None = None
    context: str | None = None
    """The context that the participant's client has given. See `context_data` if it is JSON."""
    unreadable: Mapping[str, object] = _HIDDEN
    """See `SessionStartedPayload`."""
    extra: Mapping[str, object] = _HIDDEN
    """See `SessionStartedPayload`."""


@attrs.frozen(kw_only=True)
class ParticipantLeftPayload(_HasContext):
    """The payload of `ParticipantLeft`."""

    room_id: str | None = None
    session_id: str | None = None
    participant_id: str | None = None
    context: str | None = None
    """The context that the participant's client has given. See `context_data` if it is JSON."""
    duration_secs: int | None = None
    """How long the participant was in the session, in seconds."""
    left_reason: str | None = None
    """Why the participant left, as free text, such as `kicked`."""
    unreadable: Mapping[str, object] = _HIDDEN
    """See `SessionStartedPayload`."""
    extra: Mapping[str, object] = _HIDDEN
    """See `SessionStartedPayload`."""


@attrs.frozen(kw_only=True)
class RecordingStartedPayload:
    """The payload of `RecordingStarted`."""

    room_id: str | None = None
    session_id: str | None = None
    participant_id: str | None = None
    recording_id: str | None = None
    type: str | None = None
    """`audio` or `video`."""
    unreadable: Mapping[str, object] = _HIDDEN
    """See `SessionStartedPayload`."""
    extra: Mapping[str, object] = _HIDDEN
    """See `SessionStartedPayload`."""


@attrs.frozen(kw_only=True)
class RecordingCompletedPayload:
    """The payload of `RecordingCompleted`."""

    room_id: str | None = None
    session_id: str | None = None
    participant_id: str | None = None
    recording_id: str | None = None
    type: str | None = None
    """`audio` or `video`."""
    size_mb: float | None = None
    """Size in megabytes."""
    download_url: str | None = None
    """The URL of the recording, which expires. A fresh one comes with the recording itself."""
    codec: str | None = None
    duration_secs: int | None = None
    """Duration in seconds."""
    unreadable: Mapping[str, object] = _HIDDEN
    """See `SessionStartedPayload`."""
    extra: Mapping[str, object] = _HIDDEN
    """See `SessionStartedPayload`."""


@attrs.frozen(kw_only=True)
class CompositionCompletedPayload:
    """The payload of `CompositionCompleted`."""

    room_id: str | None = None
    session_id: str | None = None
    composition_id: str | None = None
    download_url: str | None = None
    """The URL of the composition, which expires."""
    duration_secs: int | None = None
    """Duration in seconds."""
    format: str | None = None
    """The file format, such as `mp4`."""
    resolution: str | None = None
    """Width and height, such as `1280x720`."""
    size_mb: float | None = None
    """Size in megabytes."""
    unreadable: Mapping[str, object] = _HIDDEN
    """See `SessionStartedPayload`."""
    extra: Mapping[str, object] = _HIDDEN
    """See `SessionStartedPayload`."""


@attrs.frozen(kw_only=True)
class RoomEvent:
    """The base of all events."""

    id: str | None = None
    """The id of the event. A repeated delivery has the same id."""
    occurred_at: datetime | None = None
    """When the event occurred, as an aware datetime. Events arrive in any order."""
    attempt: int | None = None
    """Number of this attempt to deliver the event, if the sender reports it."""
    delivered_to: str | None = None
    """The URL to which the event was delivered, if the sender reports it."""
    record_type: str | None = None
    unreadable: Mapping[str, object] = _HIDDEN
    """The raw values of fields that could not be read. The attributes with these names are None.

    If the payload could not be read, it is here, and the attributes of `payload` are None."""
    extra: Mapping[str, object] = _HIDDEN
    """The raw values of fields that this class doesn't have."""


@attrs.frozen(kw_only=True)
class SessionStarted(RoomEvent):
    """A session of a room has started."""

    event_type: Literal["video.room.session.started"] = "video.room.session.started"
    payload: SessionStartedPayload = SessionStartedPayload()


@attrs.frozen(kw_only=True)
class SessionEnded(RoomEvent):
    """A session of a room has ended."""

    event_type: Literal["video.room.session.ended"] = "video.room.session.ended"
    payload: SessionEndedPayload = SessionEndedPayload()


@attrs.frozen(kw_only=True)
class ParticipantJoined(RoomEvent):
    """A participant has joined a session."""

    event_type: Literal["video.room.participant.joined"] = "video.room.participant.joined"
    payload: ParticipantJoinedPayload = ParticipantJoinedPayload()


@attrs.frozen(kw_only=True)
class ParticipantLeft(RoomEvent):
    """A participant has left a session."""

    event_type: Literal["video.room.participant.left"] = "video.room.participant.left"
    payload: ParticipantLeftPayload = ParticipantLeftPayload()


@attrs.frozen(kw_only=True)
class RecordingStarted(RoomEvent):
    """The recording of a participant has started."""

    event_type: Literal["video.room.recording.started"] = "video.room.recording.started"
    payload: RecordingStartedPayload = RecordingStartedPayload()


@attrs.frozen(kw_only=True)
class RecordingCompleted(RoomEvent):
    """The recording of a participant is complete."""

    event_type: Literal["video.room.recording.completed"] = "video.room.recording.completed"
    payload: RecordingCompletedPayload = RecordingCompletedPayload()


@attrs.frozen(kw_only=True)
class CompositionCompleted(RoomEvent):
    """A composition of recordings is complete."""

    event_type: Literal["video.room.composition.completed"] = "video.room.composition.completed"
    payload: CompositionCompletedPayload = CompositionCompletedPayload()


@attrs.frozen(kw_only=True)
class UnknownEvent(RoomEvent):
    """An event of another type, such as one that was added later."""

    event_type: str | None = None
    """None if the event has no type, or if it is not text."""
    payload: Mapping[str, object] = _NOTHING
    """The decoded payload; empty if there is none."""


_Known: TypeAlias = (
    SessionStarted
    | SessionEnded
    | ParticipantJoined
    | ParticipantLeft
    | RecordingStarted
    | RecordingCompleted
    | CompositionCompleted
)

Event: TypeAlias = _Known | UnknownEvent
"""Any event."""

EVENT_CLASSES: Final[Mapping[str, type[_Known]]] = {
    attrs.fields(kind).event_type.default: kind for kind in get_args(_Known)
}
"""The class of each known event, by its `event_type`."""


def parse_unverified_event(body: bytes | str) -> Event:
    """Return the event in the body of a webhook, with or without its envelope. The body is not verified.

    Raises `WebhookVerificationError` if the body is not a JSON object.
    """
    data, meta = _decode(body)
    return _event(data, meta)


def event_key(event: Event, body: bytes) -> str:
    """Return a text by which a repeated delivery of an event is recognized: its id, or the hash of its data.

    The hash does not include the `meta`, which counts the attempts.
    """
    if event.id and len(event.id) <= _MAX_KEY and event.id.isprintable():
        return event.id
    data, _ = _decode(body)
    number = data.get("id")
    if isinstance(number, int) and not isinstance(number, bool):
        return f"number:{number}"[:_MAX_KEY]
    return f"sha256:{hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()}"


_MAX_KEY: Final = 200
"""Maximum length of an id that is used as a key, in characters."""

_MAX_DIGITS: Final = 4000
"""Python reads no whole number with more than 4,300 digits."""


def _decode(body: bytes | str) -> tuple[Mapping[str, object], Mapping[str, object]]:
    """Return the data and the meta of an event. Raises `WebhookVerificationError` if the body is not a JSON object."""
    try:
        decoded: object = json.loads(body)
    except RecursionError:
        decoded = None
    except ValueError:
        decoded = _loads_with_long_numbers(body)
    if not is_object(decoded):
        raise WebhookVerificationError(reason="not_an_event")
    data = decoded.get("data")
    if not is_object(data):
        return decoded, {}
    meta = decoded.get("meta")
    return data, meta if is_object(meta) else {}


def _loads_with_long_numbers(body: bytes | str) -> object:
    """Decode JSON, in which a very long number stays a text. Return None if it is not JSON."""
    try:
        return json.loads(body, parse_int=lambda digits: int(digits) if len(digits) <= _MAX_DIGITS else digits)
    except (ValueError, RecursionError):
        return None


@attrs.frozen(kw_only=True)
class _Envelope(RoomEvent):
    """The fields that all events have, without the payload."""

    event_type: str | None = None


def _event(data: Mapping[str, object], meta: Mapping[str, object]) -> Event:
    known = {name: meta[name] for name in ("attempt", "delivered_to") if name in meta}
    payload = data.get("payload")
    rest = {name: value for name, value in data.items() if name not in ("payload", "attempt", "delivered_to")}
    envelope = cast("_Envelope", _structure(_Envelope)({**rest, **known}, _Envelope))
    kind = EVENT_CLASSES.get(envelope.event_type or "")
    fields: dict[str, Any] = {
        name: getattr(envelope, name)
        for name in ("id", "occurred_at", "record_type", "attempt", "delivered_to", "unreadable", "extra")
    }
    if payload is not None and not is_object(payload):
        fields["unreadable"] = {**envelope.unreadable, "payload": payload}
    content: Mapping[str, object] = payload if is_object(payload) else {}
    if kind is None:
        return UnknownEvent(**fields, event_type=envelope.event_type, payload=content)
    payload_class = cast("type[Any]", attrs.fields(kind).payload.type)
    return kind(**fields, payload=_structure(payload_class)(content, payload_class))


def _structure(kind: type[Any]) -> Any:  # noqa: ANN401 - cattrs' own type
    return load_converter().get_structure_hook(kind)
