"""Receive webhooks: verify that they are genuine, read their events, and drop repeated ones. Extra `webhooks`.

    webhooks = WebhookRouter()

    @webhooks.on(SessionStarted)
    async def started(event: SessionStarted) -> None:
        print(event.payload.room_id)

    webhook_handler(WebhookVerifier(), webhooks, store=FileEventStore("events.db")).add_to(app, "/webhooks")

`WebhookVerifier.event(headers, body)` only verifies and reads an event. It needs no framework and no I/O.
"""

from typing import TYPE_CHECKING

from ..errors import WebhookVerificationError
from ._aiohttp import WebhookHandler, webhook_handler
from ._events import (
    CompositionCompleted,
    CompositionCompletedPayload,
    Event,
    ParticipantJoined,
    ParticipantJoinedPayload,
    ParticipantLeft,
    ParticipantLeftPayload,
    RecordingCompleted,
    RecordingCompletedPayload,
    RecordingStarted,
    RecordingStartedPayload,
    RoomEvent,
    SessionEnded,
    SessionEndedPayload,
    SessionStarted,
    SessionStartedPayload,
    UnknownEvent,
    parse_unverified_event,
)
from ._file_store import FileEventStore
from ._inbox import InboxSettings, OnFailure, WebhookInbox
from ._router import OnEvent, WebhookRouter
from ._store import Claimed, EventStore, MemoryEventStore, StoreFullError
from ._verifier import Headers, WebhookVerifier

if TYPE_CHECKING:
    from ._redis_store import RedisEventStore

__all__ = [
    "Claimed",
    "CompositionCompleted",
    "CompositionCompletedPayload",
    "Event",
    "EventStore",
    "FileEventStore",
    "Headers",
    "InboxSettings",
    "MemoryEventStore",
    "OnEvent",
    "OnFailure",
    "ParticipantJoined",
    "ParticipantJoinedPayload",
    "ParticipantLeft",
    "ParticipantLeftPayload",
    "RecordingCompleted",
    "RecordingCompletedPayload",
    "RecordingStarted",
    "RecordingStartedPayload",
    "RedisEventStore",
    "RoomEvent",
    "SessionEnded",
    "SessionEndedPayload",
    "SessionStarted",
    "SessionStartedPayload",
    "StoreFullError",
    "UnknownEvent",
    "WebhookHandler",
    "WebhookInbox",
    "WebhookRouter",
    "WebhookVerificationError",
    "WebhookVerifier",
    "parse_unverified_event",
    "webhook_handler",
]


def __getattr__(name: str) -> object:
    # Only this store needs redis-py.
    if name == "RedisEventStore":
        from ._redis_store import RedisEventStore

        return RedisEventStore
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
