"""What is shown of a delivery, as text and as JSON, and the lines of a recording. No I/O but files."""

import inspect
import io
import json
import os
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from aiorooms.cli._event_text import TOLERANCE, Seen, data_of, parts_of, reason_text, short_type
from aiorooms.cli._recordings import (
    Damaged,
    Delivery,
    Recorder,
    event_type_of,
    read_line,
    read_recording,
    to_line,
)
from aiorooms.cli._replay import due_after, is_wanted
from aiorooms.cli._values import read_speed, read_url
from aiorooms.webhooks import WebhookVerifier, parse_unverified_event

from ..webhooks.signing import event_body

AT = datetime(2026, 3, 2, 4, 47, 29, 980874, UTC)
DELIVERY = Delivery(AT, "/hook?a=1", [("X-A", "1"), ("x-a", "é\udcff")], b'{"a": "\xff"}')


def text_of(body: bytes, **more: Any) -> str:
    fields: dict[str, Any] = {"verified": True, **more}
    seen = Seen(received_at=AT, path="/", event=parse_unverified_event(body), **fields)
    return "".join(part if isinstance(part, str) else part[0] for part in parts_of(seen))


@pytest.mark.parametrize(
    ("event_type", "payload", "shown"),
    [
        ("session.started", {}, ""),
        ("session.ended", {"duration_secs": 235, "ended_reason": "stale"}, " duration=235s reason=stale"),
        (
            "participant.joined",
            {"participant_id": "p-1", "context": '{"name": "Ann"}'},
            r' participant=p-1 context="{\"name\": \"Ann\"}"',
        ),
        (
            "participant.left",
            {"participant_id": "p-1", "context": "x reason=kicked", "duration_secs": 5, "left_reason": "kicked out"},
            ' participant=p-1 context="x reason=kicked" duration=5s reason="kicked out"',
        ),
        (
            "recording.started",
            {"participant_id": "p-1", "recording_id": "c-1", "type": "audio"},
            " participant=p-1 recording=c-1 type=audio",
        ),
        (
            "recording.completed",
            {"recording_id": "c-1", "type": "video", "size_mb": 12.5, "download_url": "https://a.example/x?b=1&c=%2F"},
            " recording=c-1 type=video size=12.5MB download=https://a.example/x?b=1&c=%2F",
        ),
        (
            "composition.completed",
            {"composition_id": "c-2", "resolution": "1280x720"},
            " composition=c-2 resolution=1280x720",
        ),
        ("session.ended", {"duration_secs": "long"}, " unreadable=duration_secs"),
    ],
)
def test_a_line_has_the_most_telling_fields(event_type: str, payload: dict[str, Any], shown: str) -> None:
    body = event_body(f"video.room.{event_type}", **payload)
    assert text_of(body) == f"2026-03-02T04:47:29Z {event_type} room=r-1{shown}"


def test_marks_and_the_answer_of_the_target() -> None:
    start = "2026-03-02T04:47:29Z session.started"
    body = event_body()
    assert text_of(body, repeated=True) == f"{start} (repeated) room=r-1"
    assert text_of(body, repeated=True, verified=None) == f"{start} (repeated, not verified) room=r-1"
    assert text_of(body, forward_status=204) == f"{start} room=r-1 forward=204"
    assert text_of(body, forward_error="no") == f"{start} room=r-1 forward=failed"


def test_an_event_of_another_type_shows_its_payload() -> None:
    line = text_of(event_body("video.room.paused", by="Ann"))
    assert line.endswith(r' paused room=r-1 payload="{\"session_id\": \"s-1\", \"by\": \"Ann\"}"')
    assert text_of(b"{}") == "2026-03-02T04:47:29Z unknown"


@pytest.mark.parametrize("evil", ["\x1b[2J", "a\tb", "a\nb", "\u202e", "\udcff", 'a" room="r-2', "(repeated)"])
def test_no_text_from_outside_controls_the_terminal_or_looks_like_another_field(evil: str) -> None:
    payload: dict[str, Any] = {evil: evil}
    for body in (event_body("video.room.participant.left", context=evil), event_body(evil, **payload)):
        line = text_of(body)
        assert line.isprintable()
        assert "\t" not in line
        assert ' room="r-2' not in line
        assert line.count(" (repeated)") == 0


def test_long_texts_are_cut_but_not_the_url_of_a_download() -> None:
    line = text_of(event_body("video.room.participant.left", context="x" * 10_000))
    assert f" context={'x' * 197}..." in line
    url = "https://a.example/" + "x" * 1500
    assert text_of(event_body("video.room.recording.completed", download_url=url)).endswith(f" download={url}")


def test_a_delivery_as_json() -> None:
    event = parse_unverified_event(event_body("video.room.session.ended", duration_secs="x", mood="good"))
    seen = Seen(received_at=AT, path="/a", event=event, verified=None, repeated=True, forward_status=200)
    assert data_of(seen) == {
        "received_at": "2026-03-02T04:47:29.980874Z",
        "path": "/a",
        "verified": None,
        "reason": None,
        "repeated": True,
        "event": {
            "id": "e-1",
            "occurred_at": "2026-03-02T04:47:29.980874Z",
            "attempt": 1,
            "delivered_to": "https://hooks.example.com/",
            "record_type": "event",
            "event_type": "video.room.session.ended",
            "payload": {
                "room_id": "r-1",
                "session_id": "s-1",
                "duration_secs": None,
                "ended_reason": None,
                "unreadable": {"duration_secs": "x"},
                "extra": {"mood": "good"},
            },
            "unreadable": {},
            "extra": {},
        },
        "forward_status": 200,
        "forward_error": None,
    }


@pytest.mark.parametrize("odd", ['{"a": NaN}', "[" * 300 + "]" * 300, "Infinity"])
@pytest.mark.parametrize("event_type", ["x.y", "video.room.session.ended"])
def test_what_json_can_not_represent_is_null(event_type: str, odd: str) -> None:
    body = f'{{"event_type": "{event_type}", "payload": {{"odd": {odd}, "duration_secs": 1}}}}'.encode()
    seen = Seen(received_at=AT, path="/", event=parse_unverified_event(body), verified=True)
    json.dumps(data_of(seen), allow_nan=False)
    assert text_of(body).isprintable()


@pytest.mark.parametrize(
    ("reason", "age", "text"),
    [
        ("wrong_signature", 0, "the signature is wrong (another key, or the body was changed)"),
        ("too_old", 412, "it is too old by 112 s (the tolerance is 300 s)"),
        ("too_old", 300.2, "it is too old by 1 s "),
        ("too_old", 86_700, "it is too old by 86,400 s "),
        ("in_the_future", -400, "it is too far in the future by 100 s "),
        ("missing_header", 0, "it has no signature (the headers "),
        (None, 0, "it could not be verified"),
    ],
)
def test_the_reason_of_a_rejection_in_words(reason: str | None, age: float, text: str) -> None:
    assert reason_text(reason, [("Telnyx-Timestamp", "1000000")], 1_000_000 + age).startswith(text)


def test_the_tolerance_is_that_of_the_verifier() -> None:
    assert inspect.signature(WebhookVerifier).parameters["tolerance"].default == TOLERANCE


def test_every_reason_has_words() -> None:
    for reason in ("duplicate_header", "malformed_header", "not_an_event", "not_post", "compressed", "too_large"):
        assert reason_text(reason, [], 0) != reason_text(None, [], 0)


@pytest.mark.parametrize(
    ("event_type", "short"),
    [("video.room.session.ended", "session.ended"), ("a.b", "a.b"), (None, "unknown"), ("video.room.", "unknown")],
)
def test_the_short_type(event_type: str | None, short: str) -> None:
    assert short_type(event_type) == short


# --- recordings ---


def test_a_recorded_delivery_is_read_as_it_was() -> None:
    line = to_line(DELIVERY)
    assert line.isascii()
    assert b"\n" not in line
    assert read_line(line) == Delivery(AT, "/hook?a=1", [("X-A", "1"), ("x-a", "é\udcff")], b'{"a": "\xff"}')


def changed(**fields: Any) -> bytes:
    return json.dumps({**json.loads(to_line(DELIVERY)), **fields}).encode()


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"{", "is not JSON"),
        (b"\xff", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[]", "is not a JSON object"),
        (changed(received_at="yesterday"), "has no valid received_at"),
        (changed(received_at="2026-03-02T04:47:29"), "has no valid received_at"),
        (changed(path=None), "has no valid path"),
        (changed(headers={"a": "b"}), "has no valid headers"),
        (changed(headers=[["a"]]), "has no valid headers"),
        (changed(headers=[["a", 1]]), "has no valid headers"),
        (changed(headers=["ab"]), "has no valid headers"),
        (changed(body="%"), "has no valid body"),
        (changed(body=None), "has no valid body"),
        (changed(body="é"), "has no valid body"),
    ],
)
def test_a_damaged_line(line: bytes, problem: str) -> None:
    assert read_line(line) == Damaged(problem)


def test_damaged_lines_have_their_numbers() -> None:
    good = to_line(DELIVERY)
    too_long = b"x" * 9_000_000
    file = io.BytesIO(b"\n".join([good, b"{", b"", too_long, good, good[:20]]))
    read = [(number, isinstance(delivery, Damaged)) for number, delivery in read_recording(file)]
    assert read == [(1, False), (2, True), (4, True), (5, False), (6, True)]


def test_a_recording_is_private_and_is_continued(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    for _ in range(2):
        recorder = Recorder.open(path)
        recorder.add(DELIVERY)
        recorder.close()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.write_bytes(path.read_bytes()[:-9])  # the listener was killed
    recorder = Recorder.open(path)
    recorder.add(DELIVERY)
    recorder.close()
    with path.open("rb") as file:
        read = [(number, isinstance(delivery, Damaged)) for number, delivery in read_recording(file)]
    assert read == [(1, False), (2, True), (3, False)]


def test_other_files_are_not_appended_to(tmp_path: Path) -> None:
    other = tmp_path / "rooms.csv"
    other.write_text("room_id\n1\n")
    with pytest.raises(ValueError, match="is not a recording"):
        Recorder.open(other)
    assert other.read_text() == "room_id\n1\n"
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(ValueError, match="is a pipe"):
        Recorder.open(pipe)


@pytest.mark.parametrize(
    ("body", "event_type"),
    [
        (event_body("a.b"), "a.b"),
        (event_body("a.b", envelope=False), "a.b"),
        (b"{}", None),
        (b'{"data": {"event_type": 1}}', None),
        (b"[", None),
        (b"[" * 100_000, None),
    ],
)
def test_the_type_of_an_event(body: bytes, event_type: str | None) -> None:
    assert event_type_of(body) == event_type


@pytest.mark.parametrize(("after", "speed", "due"), [(10, 0, 0), (10, 1, 10), (10, 4, 2.5), (10, 0.5, 20), (-10, 1, 0)])
def test_when_a_delivery_is_due(after: float, speed: float, due: float) -> None:
    assert due_after(AT, AT + timedelta(seconds=after), speed) == due


@pytest.mark.parametrize(
    ("event_type", "only", "wanted"),
    [
        ("video.room.session.ended", (), True),
        (None, (), True),
        ("video.room.session.ended", ("session.ended",), True),
        ("video.room.session.ended", ("a", "video.room.session.ended"), True),
        ("video.room.session.ended", ("session",), False),
        (None, ("unknown",), False),
    ],
)
def test_which_events_are_sent(event_type: str | None, only: tuple[str, ...], wanted: bool) -> None:
    assert is_wanted(event_type, only) is wanted


def test_values_of_options() -> None:
    assert read_speed("0.5") == 0.5
    assert read_url("http://127.0.0.1:8000/hook") == "http://127.0.0.1:8000/hook"
    for read, text in ((read_speed, "-1"), (read_speed, "nan"), (read_speed, "x"), (read_url, ""), (read_url, "x")):
        with pytest.raises(ValueError, match="give|is not|must|needs"):
            read(text)
