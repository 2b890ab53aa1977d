"""The result of an update."""

from typing import Literal, TypeAlias

import attrs

from ..errors import AioroomsError
from .rooms import Room, RoomUpdate

__all__ = ["UpdateResult", "UpdateStatus"]

UpdateStatus: TypeAlias = Literal["updated", "failed", "uncertain", "skipped"]
"""How an update ended.

- `updated`: the server confirmed the update; `room` is the updated room.
- `failed`: the update was not applied; `error` says why.
- `uncertain`: the client could not confirm whether the update was applied; `error` says what went wrong.
- `skipped`: the update was never sent, because the run had been stopped; `error` is the error that stopped it.
"""


@attrs.frozen(kw_only=True)
class UpdateResult:
    """The result of one update of `update_many`. Every update has exactly one."""

    room_id: str
    """The room's id as it was given, as a string; a repr of the input if it has none."""
    update: RoomUpdate | None
    """The update as it was given; None if the input has no `RoomUpdate`."""
    status: UpdateStatus
    """How the update ended."""
    room: Room | None = None
    """The updated room, if `status` is `updated`; else None."""
    error: AioroomsError | None = None
    """The error of the update, or of the run if `status` is `skipped`; None if it is `updated`."""
    attempts: int = 0
    """Number of attempts; 0 if nothing was sent."""
    elapsed: float = 0.0
    """Seconds from taking the update from the input to its outcome, waits included."""
