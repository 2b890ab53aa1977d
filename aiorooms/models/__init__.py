"""The answers and requests of the API as frozen attrs classes."""

from ._fields import FIELD_NAMES, MAX_PARTICIPANTS, WEBHOOK_TIMEOUT_SECS
from .results import NotUpdated, Response, Updated, UpdateOutcome, UpdateResult, UpdateStatus
from .rooms import (
    Room,
    RoomCreate,
    RoomFields,
    RoomFilters,
    RoomPage,
    RoomParticipant,
    RoomRef,
    RoomSession,
    RoomUpdate,
    read_room_ref,
)

__all__ = [
    "FIELD_NAMES",
    "MAX_PARTICIPANTS",
    "WEBHOOK_TIMEOUT_SECS",
    "NotUpdated",
    "Response",
    "Room",
    "RoomCreate",
    "RoomFields",
    "RoomFilters",
    "RoomPage",
    "RoomParticipant",
    "RoomRef",
    "RoomSession",
    "RoomUpdate",
    "UpdateOutcome",
    "UpdateResult",
    "UpdateStatus",
    "Updated",
    "read_room_ref",
]
