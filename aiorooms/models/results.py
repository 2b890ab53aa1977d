"""What came of an update."""

from typing import Literal, TypeAlias

import attrs

from ..errors import AioroomsError
from .rooms import Room, RoomUpdate

__all__ = ["UpdateResult", "UpdateStatus"]

UpdateStatus: TypeAlias = Literal["updated", "failed", "uncertain", "skipped"]
"""How an update ended.

- `updated`: the server confirmed it; `room` is the room as it is now.
- `failed`: it was not carried out; `error` says why.
- `uncertain`: it may have been carried out, and that could not be confirmed; `error` says what was met.
- `skipped`: it was never sent, because the run had been stopped; `error` is what stopped it.
"""


@attrs.frozen(kw_only=True)
class UpdateResult:
    """The one outcome of one input of `update_many`."""

    room_id: str
    """The id as it was given; if it is no text, as Python would write it."""
    update: RoomUpdate | None
    """The update as it was given; None if what was given is no `RoomUpdate`."""
    status: UpdateStatus
    room: Room | None = None
    """The room as the server answered it, if `status` is `updated`."""
    error: AioroomsError | None = None
    """What went wrong, unless `status` is `updated`."""
    attempts: int = 0
    """Number of attempts."""
    elapsed: float = 0.0
    """Seconds from dequeue to outcome, waits included."""
