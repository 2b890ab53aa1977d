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
    """The room's id as a string, as it was given; if the item has no id, the item's repr."""
    update: RoomUpdate | None
    """The update as it was given; None if the item has no `RoomUpdate`."""
    status: UpdateStatus
    """How the update ended."""
    room: Room | None = None
    """The updated room, if `status` is `updated`; else None."""
    error: AioroomsError | None = None
    """The error of the update, or the one that stopped the run (`skipped`); None if `status` is `updated`."""
    attempts: int = 0
    """Number of attempts; 0 if nothing was sent."""
    elapsed: float = 0.0
    """Time from pulling the update to its outcome, waits included, in seconds."""
