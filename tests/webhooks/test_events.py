"""Events: the seven classes, odd values that lose no event, and unknown events."""

import json
from datetime import UTC, datetime
from typing import Any, assert_never

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiorooms.webhooks import (
    CompositionCompleted,
    Event,
    ParticipantJoined,
    ParticipantLeft,
    RecordingCompleted,
    RecordingStarted,
    SessionEnded,
    SessionStarted,
    UnknownEvent,
    WebhookVerificationError,
    parse_unverified_event,
)
from aiorooms.webhooks._events import EVENT_CLASSES

from .signing import event_body

PAYLOADS: dict[str, dict[str, Any]] = {
    "video.room.session.started": {},
    "video.room.session.ended": {"duration_secs": 235, "ended_reason": "stale"},
    "video.room.participant.joined": {"participant_id": "p-1", "context": "Alice"},
    "video.room.participant.left": {
        "participant_id": "p-1", "context": "Alice", "duration_secs": 34, "left_reason": "kick",
    },
    "video.room.recording.started": {"participant_id": "p-1", "recording_id": "c-1", "type": "audio"},
    "video.room.recording.completed": {
        "participant_id": "p-1", "recording_id": "c-1", "type": "audio", "size_mb": 5.6, "duration_secs": 3660,
        "download_url": "https://www.example.com", "codec": "opus",
    },
    "video.room.composition.completed": {
        "composition_id": "o-1", "download_url": "https://www.example.com", "duration_secs": 53, "format": "mp4",
        "resolution": "1280x720", "size_mb": 2.6,
    },
}  # fmt: skip


@pytest.mark.parametrize("envelope", [True, False])
@pytest.mark.parametrize("event_type", PAYLOADS)
def test_each_event_has_its_class_and_all_its_fields(event_type: str, envelope: bool) -> None:
    event = parse_unverified_event(event_body(event_type, envelope=envelope, **PAYLOADS[event_type]))
    assert type(event) is EVENT_CLASSES[event_type]
    assert event.event_type == event_type
    assert event.id == "e-1"
    assert event.occurred_at == datetime(2026, 3, 2, 4, 47, 29, 980874, UTC)
    assert (event.attempt, event.delivered_to) == ((1, "https://hooks.example.com/") if envelope else (None, None))
    payload = {"room_id": "r-1", "session_id": "s-1", **PAYLOADS[event_type]}
    assert attrs.asdict(event.payload, filter=lambda field, _: field.name not in ("unreadable", "extra")) == payload  # pyright: ignore[reportArgumentType]
    assert (event.unreadable, event.extra) == ({}, {})


def test_the_union_can_be_matched() -> None:
    def describe(event: Event) -> str:
        match event:
            case SessionStarted() | SessionEnded():
                return "session"
            case ParticipantJoined() | ParticipantLeft():
                return f"participant {event.payload.context}"
            case RecordingStarted() | RecordingCompleted() | CompositionCompleted():
                return "recording"
            case UnknownEvent():
                return "unknown"
            case _:
                assert_never(event)

    left = parse_unverified_event(event_body("video.room.participant.left", context="Bob"))
    assert describe(left) == "participant Bob"
    assert describe(parse_unverified_event(event_body("video.room.mood.changed"))) == "unknown"


@pytest.mark.parametrize(
    ("data", "event_type"),
    [
        ({"event_type": "video.room.mood.changed", "payload": {"mood": "good"}}, "video.room.mood.changed"),
        ({"event_type": None, "payload": {"mood": "good"}}, None),
        ({"event_type": 7, "payload": {"mood": "good"}}, None),
        ({"payload": {"mood": "good"}}, None),
    ],
)
def test_an_event_of_another_type_is_unknown_and_keeps_its_payload(
    data: dict[str, object], event_type: str | None
) -> None:
    event = parse_unverified_event(json.dumps({"data": {"id": "e-1", **data}}))
    assert isinstance(event, UnknownEvent)
    assert (event.event_type, event.id, event.payload) == (event_type, "e-1", {"mood": "good"})


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2022-03-02 04:47:29.980874Z", datetime(2022, 3, 2, 4, 47, 29, 980874, UTC)),
        ("2022-03-02 04:47:29", datetime(2022, 3, 2, 4, 47, 29, tzinfo=UTC)),
        ("2022-03-02T05:47:29+01:00", datetime(2022, 3, 2, 4, 47, 29, tzinfo=UTC)),
    ],
)
def test_odd_timestamps_are_read(text: str, moment: datetime) -> None:
    event = parse_unverified_event(json.dumps({"event_type": "video.room.session.started", "occurred_at": text}))
    assert event.occurred_at == moment


def test_a_value_that_can_not_be_read_is_none_and_named() -> None:
    body = {
        "data": {
            "event_type": "video.room.session.ended", "id": 7, "occurred_at": "yesterday", "shape": "round",
            "payload": {"room_id": "r-1", "duration_secs": "long", "ended_reason": None, "mood": "good"},
        },
        "meta": {"attempt": "first", "delivered_to": 5, "more": 1},
    }  # fmt: skip
    event = parse_unverified_event(json.dumps(body))
    assert isinstance(event, SessionEnded)
    assert (event.id, event.occurred_at, event.attempt, event.delivered_to) == (None, None, None, None)
    assert event.unreadable == {"id": 7, "occurred_at": "yesterday", "attempt": "first", "delivered_to": 5}
    assert event.extra == {"shape": "round"}
    assert (event.payload.room_id, event.payload.duration_secs) == ("r-1", None)
    assert event.payload.unreadable == {"duration_secs": "long"}
    assert event.payload.extra == {"mood": "good"}


@pytest.mark.parametrize("payload", [7, "text", [1]])
def test_a_payload_that_is_no_object_is_named(payload: object) -> None:
    event = parse_unverified_event(json.dumps({"event_type": "video.room.session.started", "payload": payload}))
    assert isinstance(event, SessionStarted)
    assert event.unreadable == {"payload": payload}
    assert event.payload.room_id is None


def test_a_very_long_number_loses_no_event() -> None:
    body = '{"data": {"event_type": "video.room.session.ended", "id": "e-1", "payload": {"duration_secs": ' + "9" * 5000
    event = parse_unverified_event(body + ', "room_id": "r-1"}}}')
    assert isinstance(event, SessionEnded)
    assert (event.id, event.payload.room_id, event.payload.duration_secs) == ("e-1", "r-1", None)
    assert "duration_secs" in event.payload.unreadable


def test_the_type_decides_even_if_the_payload_is_that_of_another_event() -> None:
    """Published samples of `participant.left` say `session.started`."""
    event = parse_unverified_event(event_body("video.room.session.started", participant_id="p-1", left_reason="kick"))
    assert isinstance(event, SessionStarted)
    assert event.payload.extra == {"participant_id": "p-1", "left_reason": "kick"}


@pytest.mark.parametrize("size", [True, "5.6", "1e999", None, {}])
def test_a_size_must_be_a_number(size: object) -> None:
    text = json.dumps(size) if size != "1e999" else "1e999"
    body = '{"event_type": "video.room.recording.completed", "payload": {"size_mb": ' + text + "}}"
    event = parse_unverified_event(body)
    assert isinstance(event, RecordingCompleted)
    assert event.payload.size_mb is None
    assert ("size_mb" in event.payload.unreadable) is (size is not None)


@pytest.mark.parametrize(
    ("context", "data"),
    [
        ('{"user": 7}', {"user": 7}),
        ("Alice", None),
        ("", None),
        ("[" * 100_000, None),
        ("[" * 1000 + "]" * 1000, None),
        (" " * 70_000 + "1", None),
        ("7", 7),
    ],
)
def test_a_context_is_often_json(context: str, data: object) -> None:
    event = parse_unverified_event(event_body("video.room.participant.joined", context=context))
    assert isinstance(event, ParticipantJoined)
    assert event.payload.context == context
    if not context.startswith("[[") or data is not None:
        assert event.payload.context_data == data
    else:
        event.payload.context_data  # must not raise  # noqa: B018 # pyright: ignore[reportUnusedExpression]


def test_a_context_is_none_if_there_is_none() -> None:
    event = parse_unverified_event(event_body("video.room.participant.left"))
    assert isinstance(event, ParticipantLeft)
    assert event.payload.context_data is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(
    event_type=st.sampled_from([*PAYLOADS]) | JSON,
    fields=st.dictionaries(st.sampled_from(["id", "occurred_at", "payload", "record_type", "x"]), JSON),
    payload=st.dictionaries(
        st.sampled_from(["room_id", "duration_secs", "size_mb", "context", "type", "format", "y"]), JSON
    ),
    meta=JSON,
)
def test_every_object_is_an_event(event_type: object, fields: dict[str, object], payload: object, meta: object) -> None:
    body = json.dumps({"data": {"payload": payload, **fields, "event_type": event_type}, "meta": meta})
    event = parse_unverified_event(body)
    assert (type(event) is UnknownEvent) == (event_type not in [*EVENT_CLASSES])


@given(st.binary(max_size=200))
def test_random_bytes_are_an_event_or_rejected(body: bytes) -> None:
    try:
        parse_unverified_event(body)
    except WebhookVerificationError as error:
        assert error.reason == "not_an_event"
