"""Sign webhooks as the API does, with PyNaCl: another library than the one that verifies them."""

import base64
import json
import time
from typing import Any

from nacl.signing import SigningKey

KEY = SigningKey(b"k" * 32)
OTHER_KEY = SigningKey(b"o" * 32)


def public(key: SigningKey = KEY) -> str:
    return base64.b64encode(bytes(key.verify_key)).decode()


def signed(body: bytes, *, key: SigningKey = KEY, at: float | None = None) -> dict[str, str]:
    """Return the headers of a webhook that is signed at a time in Unix seconds; None means now."""
    timestamp = str(int(time.time() if at is None else at))
    signature = key.sign(timestamp.encode() + b"|" + body).signature
    return {"Telnyx-Signature-Ed25519": base64.b64encode(signature).decode(), "Telnyx-Timestamp": timestamp}


def event_body(
    event_type: str = "video.room.session.started", *, event_id: str = "e-1", envelope: bool = True, **payload: Any
) -> bytes:
    """Return the body of an event."""
    data = {
        "record_type": "event",
        "event_type": event_type,
        "id": event_id,
        "occurred_at": "2026-03-02T04:47:29.980874Z",
        "payload": {"room_id": "r-1", "session_id": "s-1", **payload},
    }
    meta = {"attempt": 1, "delivered_to": "https://hooks.example.com/"}
    return json.dumps({"data": data, "meta": meta} if envelope else data).encode()
