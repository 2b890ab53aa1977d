"""The answers and requests of the API as frozen attrs classes."""

from ._fields import FIELD_NAMES, MAX_PARTICIPANTS, WEBHOOK_TIMEOUT_SECS
from .results import UpdateResult, UpdateStatus
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
    "Room",
    "RoomCreate",
    "RoomFields",
    "RoomFilters",
    "RoomPage",
    "RoomParticipant",
    "RoomRef",
    "RoomSession",
    "RoomUpdate",
    "UpdateResult",
    "UpdateStatus",
    "read_room_ref",
]
