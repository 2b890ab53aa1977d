"""The results of calls: those of `update_many`, and `Response`."""

from collections.abc import Mapping
from typing import Generic, Literal, TypeAlias, TypeVar

import attrs

from ..errors import AioroomsError
from .rooms import Room, RoomUpdate

__all__ = ["NotUpdated", "Response", "UpdateOutcome", "UpdateResult", "UpdateStatus", "Updated"]

T = TypeVar("T")

UpdateStatus: TypeAlias = Literal["updated", "failed", "uncertain", "skipped"]
"""How an update ended.

- `updated`: the server confirmed the update; `room` is the updated room.
- `failed`: the update was not applied; `error` says why.
- `uncertain`: the client could not confirm whether the update was applied; `error` says what went wrong.
- `skipped`: the update was not applied, for a reason that has nothing to do with the room; `error` says why. Either it
  was not sent, because the run had been stopped or the server could not be reached, or the run was stopped before its
  next attempt, or it got the error that stopped the run, such as a 401. Send it again in a later run.
"""


@attrs.frozen(kw_only=True)
class UpdateResult:
    """The result of one update of `update_many`. Every update has exactly one result.

    The results of `update_many` are `Updated` or `NotUpdated`.
    """

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
    request_id: str | None = None
    """The id that the server gave the request with the last answer, for Telnyx support; None if it sent none."""


@attrs.frozen(kw_only=True)
class Updated(UpdateResult):
    """The result of an update that the server confirmed."""

    status: Literal["updated"] = "updated"
    room: Room  # pyright: ignore[reportGeneralTypeIssues] - all arguments are keywords, so it needs no default
    """The updated room."""
    error: None = None


@attrs.frozen(kw_only=True)
class NotUpdated(UpdateResult):
    """The result of an update that failed, is uncertain, or was skipped."""

    status: Literal["failed", "uncertain", "skipped"]
    room: None = None
    error: AioroomsError  # pyright: ignore[reportGeneralTypeIssues] - as above
    """The error of the update, or the error that stopped the run."""


UpdateOutcome: TypeAlias = Updated | NotUpdated
"""A result of `update_many`. Type checkers know that `result.room` is a `Room` if `result.status == "updated"`, and
that `result.error` is an error if not."""


@attrs.frozen(kw_only=True)
class Response(Generic[T]):
    """The value of a call, and the answer that it was read from, as `client.rooms.with_response` returns them."""

    value: T
    """What the method without `with_response` returns."""
    status: int
    """The HTTP status."""
    headers: Mapping[str, str] = attrs.field(repr=False)
    """The headers. Their names are not case-sensitive."""
    body: bytes = attrs.field(repr=False)
    """The raw body, decompressed. It is not in the repr, because a server may echo the API key."""
    request_id: str | None
    """The id that the server gave the request, for Telnyx support; None if it sent none."""
    attempts: int
    """Number of attempts. Those of a read-back don't count, even if the answer is that of the read-back."""
    elapsed: float
    """Seconds from the call until its end, including waits."""
