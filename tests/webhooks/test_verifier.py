"""Signatures: a webhook is accepted only if it is genuine, and everything else fails closed."""

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict
from starlette.datastructures import Headers as StarletteHeaders

from aiorooms import ClientSettingsError
from aiorooms.errors import AioroomsError
from aiorooms.webhooks import SessionStarted, WebhookVerificationError, WebhookVerifier

from .signing import KEY, OTHER_KEY, event_body, public, signed

BODY = event_body()
NOW = 1_800_000_000


def verifier(*keys: str, tolerance: float = 300) -> WebhookVerifier:
    return WebhookVerifier([*keys] or public(), tolerance=tolerance, clock=lambda: NOW)


def reason(headers: Any, body: bytes = BODY, *keys: str) -> str | None:
    """Return why a webhook is rejected; None if it is accepted."""
    try:
        verifier(*keys).verify(headers, body)
    except WebhookVerificationError as error:
        assert str(error) == "the webhook could not be verified"
        assert isinstance(error, AioroomsError)
        return error.reason
    return None


def test_a_genuine_webhook_is_accepted_and_has_its_event() -> None:
    event = verifier().event(signed(BODY, at=NOW), BODY)
    assert isinstance(event, SessionStarted)
    assert event.payload.room_id == "r-1"


def pairs(headers: dict[str, str]) -> list[tuple[str, str]]:
    return [*headers.items()]


def asgi(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode(), value.encode()) for name, value in headers.items()]


def upper(headers: dict[str, str]) -> dict[str, str]:
    return {name.upper(): value for name, value in headers.items()}


@pytest.mark.parametrize("kind", [dict, CIMultiDict, StarletteHeaders, pairs, asgi, upper])
def test_headers_can_be_given_as_any_framework_has_them(kind: Any) -> None:
    assert reason(kind(signed(BODY, at=NOW))) is None


@pytest.mark.parametrize(
    ("age", "why"),
    [(0, None), (300, None), (-300, None), (301, "too_old"), (-301, "in_the_future"), (10**9, "too_old")],
)
def test_the_tolerance_counts_in_both_directions(age: int, why: str | None) -> None:
    assert reason(signed(BODY, at=NOW - age)) == why


@pytest.mark.parametrize("change", [b"", b" " + BODY, BODY[:-1], BODY.replace(b"r-1", b"r-2"), BODY + b"\n"])
def test_another_body_is_rejected(change: bytes) -> None:
    assert reason(signed(BODY, at=NOW), change) == "wrong_signature"


def test_another_key_is_rejected_and_during_a_rotation_both_are_accepted() -> None:
    headers = signed(BODY, at=NOW, key=OTHER_KEY)
    assert reason(headers) == "wrong_signature"
    assert reason(headers, BODY, public(KEY), public(OTHER_KEY)) is None
    assert reason(signed(BODY, at=NOW), BODY, public(KEY), public(OTHER_KEY)) is None


GOOD = signed(BODY, at=NOW)
SIGNATURE, TIMESTAMP = GOOD["Telnyx-Signature-Ed25519"], GOOD["Telnyx-Timestamp"]


@pytest.mark.parametrize(
    ("headers", "why"),
    [
        ({}, "missing_header"),
        ({"Telnyx-Timestamp": TIMESTAMP}, "missing_header"),
        ({"Telnyx-Signature-Ed25519": SIGNATURE}, "missing_header"),
        ([*GOOD.items(), ("telnyx-timestamp", TIMESTAMP)], "duplicate_header"),
        ([*GOOD.items(), ("TELNYX-SIGNATURE-ED25519", SIGNATURE)], "duplicate_header"),
        ({**GOOD, "Telnyx-Signature-Ed25519": ""}, "malformed_header"),
        ({**GOOD, "Telnyx-Signature-Ed25519": "not base64!"}, "malformed_header"),
        ({**GOOD, "Telnyx-Signature-Ed25519": base64.b64encode(b"x" * 63).decode()}, "malformed_header"),
        ({**GOOD, "Telnyx-Signature-Ed25519": SIGNATURE + "="}, "malformed_header"),
        ({**GOOD, "Telnyx-Signature-Ed25519": "ü"}, "malformed_header"),
        ({**GOOD, "Telnyx-Timestamp": ""}, "malformed_header"),
        ({**GOOD, "Telnyx-Timestamp": "1e9"}, "malformed_header"),
        ({**GOOD, "Telnyx-Timestamp": "-5"}, "malformed_header"),
        ({**GOOD, "Telnyx-Timestamp": f" {TIMESTAMP}"}, "malformed_header"),
        ({**GOOD, "Telnyx-Timestamp": "٣" * 10}, "malformed_header"),
        ({**GOOD, "Telnyx-Timestamp": "9" * 5000}, "malformed_header"),
        ({**GOOD, "Telnyx-Timestamp": str(int(TIMESTAMP) + 1)}, "wrong_signature"),
        ({**GOOD, "Telnyx-Timestamp": "0" + TIMESTAMP}, "wrong_signature"),
    ],
)
def test_missing_doubled_and_malformed_headers_are_rejected(headers: Any, why: str) -> None:
    assert reason(headers) == why


def test_a_memoryview_is_raw_bytes_too() -> None:
    body: Any = memoryview(BODY)
    assert verifier().event(signed(BODY, at=NOW), body).id == "e-1"


@pytest.mark.parametrize("body", ["text", {"data": {}}, None, [1]])
def test_a_body_that_is_not_raw_bytes_is_a_mistake_of_the_caller(body: Any) -> None:
    with pytest.raises(TypeError, match="give the raw bytes as received"):
        verifier().verify(GOOD, body)


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"{", b"\xff\xfe", b"[" * 100_000, b'{"a": ' * 100_000])
def test_a_genuine_body_that_is_no_object_is_not_an_event(body: bytes) -> None:
    with pytest.raises(WebhookVerificationError) as caught:
        verifier().event(signed(body, at=NOW), body)
    assert caught.value.reason == "not_an_event"


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ("", "public_keys is missing; give public_keys=... or set TELNYX_PUBLIC_KEY"),
        ([], "public_keys is missing"),
        ([""], "public_keys is missing"),
        ("AAAA", "public_keys is not an Ed25519 public key; give the base64 text of its 32 bytes"),
        ("KEY0123 not base64", "public_keys is not an Ed25519 public key"),
        ([public(), "AAAA"], "public_keys is not an Ed25519 public key"),
        (b"bytes", "public_keys is b'bytes'; give the base64 text of a public key, or several"),
        ([b"x"], "public_keys is b'x'; give the base64 text"),
        (7, "public_keys is 7; give the base64 text"),
    ],
)
def test_a_verifier_needs_a_valid_key(keys: Any, message: str) -> None:
    with pytest.raises(ClientSettingsError) as caught:
        WebhookVerifier(keys)
    assert str(caught.value).startswith(message)


def test_keys_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TELNYX_PUBLIC_KEY", raising=False)
    with pytest.raises(ClientSettingsError, match="TELNYX_PUBLIC_KEY is missing"):
        WebhookVerifier()
    monkeypatch.setenv("TELNYX_PUBLIC_KEY", f" {public(OTHER_KEY)}, {public()}\n")
    WebhookVerifier().verify(signed(BODY), BODY)


@pytest.mark.parametrize("tolerance", [0, -1, float("nan"), float("inf"), "300"])
def test_the_tolerance_must_be_a_number_of_seconds(tolerance: Any) -> None:
    with pytest.raises(ClientSettingsError, match="tolerance"):
        WebhookVerifier(public(), tolerance=tolerance)


@given(
    body=st.binary(max_size=50),
    signature=st.one_of(st.text(max_size=100), st.binary(min_size=64, max_size=64).map(base64.b64encode)),
    timestamp=st.one_of(st.text(max_size=20), st.integers(NOW - 400, NOW + 400).map(str)),
)
def test_no_random_webhook_is_accepted(body: bytes, signature: Any, timestamp: str) -> None:
    text = signature.decode() if isinstance(signature, bytes) else signature
    assert reason({"telnyx-signature-ed25519": text, "telnyx-timestamp": timestamp}, body) is not None


def test_the_reason_is_not_in_the_message() -> None:
    error = WebhookVerificationError(reason="too_old")
    assert "old" not in str(error)
    assert error.reason == "too_old"
