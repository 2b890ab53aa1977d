"""Webhook events as the API formats them. This module does no I/O."""

import json
from typing import Literal, TypeAlias

import attrs

from ._answers import JsonObject
from ._deliveries import Quirk

EventType: TypeAlias = Literal[
    "video.room.session.started",
    "video.room.session.ended",
    "video.room.participant.joined",
    "video.room.participant.left",
    "video.room.recording.started",
    "video.room.recording.completed",
    "video.room.composition.completed",
]


@attrs.frozen
class Event:
    """One webhook event."""

    id: str
    type: EventType
    room_id: str
    occurred_at: str
    payload: JsonObject

    def body(self, url: str, attempt: int, quirk: Quirk | None) -> bytes:
        """Return the body of an attempt to deliver the event to a URL."""
        occurred_at = self.occurred_at
        if quirk in ("space", "no_zone"):
            occurred_at = occurred_at.replace("T", " ")
        if quirk == "no_zone":
            occurred_at = occurred_at.removesuffix("Z")
        data: JsonObject = {
            "record_type": "event",
            "event_type": self.type,
            "id": self.id,
            "occurred_at": occurred_at,
            "payload": self.payload,
        }
        event: JsonObject = {"data": data, "meta": {"attempt": attempt, "delivered_to": url}}
        return json.dumps(data if quirk == "bare" else event, separators=(",", ":")).encode("ascii")
