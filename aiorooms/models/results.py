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
- `skipped`: the update was not applied, for a reason that has nothing to do with the room; `error` says why. Either it
  was not sent, because the run had been stopped or the server could not be reached, or it got the error that stopped
  the run, such as a 401. Send it again in a later run.
"""


@attrs.frozen(kw_only=True)
class UpdateResult:
    """The result of one update of `update_many`. Every update has exactly one result."""

    room_id: str
    """The room's id as a string. If the input contained no valid id, what it contained instead, as text."""
    update: RoomUpdate | None
    """The `RoomUpdate` from the input; None if the input contained something else in its place."""
    status: UpdateStatus
    """How the update ended."""
    room: Room | None = None
    """The updated room; None if `status` is not `updated`."""
    error: AioroomsError | None = None
    """The error of the update, or the error that stopped the run; None if `updated`."""
    attempts: int = 0
    """Number of attempts; 0 if nothing was sent."""
    elapsed: float = 0.0
    """Seconds from when the update was read from the input until its outcome, including waits."""
