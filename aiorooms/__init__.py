"""The asyncio SDK for Telnyx Video Rooms: update one room or a million, and never lose track of one.

    async with RoomsClient() as client:
        room = await client.rooms.update(room_id, max_participants=20, webhook_event_failover_url=None)

`aiorooms.errors` contains the exceptions, and `aiorooms.models` the models. `aiorooms.bulk` plans a change of many
rooms, applies it and rolls it back. `aiorooms.webhook_config` checks webhook and failover URLs. `aiorooms.simulator` is
a local server for development and tests.
"""

from ._http.call_settings import CallOptions
from ._http.deadlines import Timeout
from ._http.retry import RetryPolicy
from ._pacing import Pacing, PacingSnapshot, RedisPacing
from ._unset import UNSET, Unset
from ._version import __version__
from .client import ClientPacing, RoomsClient
from .errors import (
    AioroomsError,
    APIConnectionError,
    APIError,
    APIResponseError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    ClientSettingsError,
    ClientStateError,
    ConflictError,
    InternalServerError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    Problem,
    RateLimitError,
    RateLimitTimeoutError,
    UnprocessableEntityError,
)
from .models import (
    NotUpdated,
    Response,
    Room,
    RoomCreate,
    RoomParticipant,
    RoomRef,
    RoomSession,
    RoomUpdate,
    Updated,
    UpdateOutcome,
    UpdateResult,
    UpdateStatus,
)
from .resources._update_many import UpdateRun, Updates
from .webhook_config import WebhookConfig, WebhookUrlPolicy

__all__ = [
    "UNSET",
    "APIConnectionError",
    "APIError",
    "APIResponseError",
    "APIStatusError",
    "APITimeoutError",
    "AioroomsError",
    "AuthenticationError",
    "BadRequestError",
    "CallOptions",
    "ClientPacing",
    "ClientSettingsError",
    "ClientStateError",
    "ConflictError",
    "InternalServerError",
    "InvalidRequestError",
    "NotFoundError",
    "NotUpdated",
    "Pacing",
    "PacingSnapshot",
    "PermissionDeniedError",
    "Problem",
    "RateLimitError",
    "RateLimitTimeoutError",
    "RedisPacing",
    "Response",
    "RetryPolicy",
    "Room",
    "RoomCreate",
    "RoomParticipant",
    "RoomRef",
    "RoomSession",
    "RoomUpdate",
    "RoomsClient",
    "Timeout",
    "UnprocessableEntityError",
    "Unset",
    "UpdateOutcome",
    "UpdateResult",
    "UpdateRun",
    "UpdateStatus",
    "Updated",
    "Updates",
    "WebhookConfig",
    "WebhookUrlPolicy",
    "__version__",
]
