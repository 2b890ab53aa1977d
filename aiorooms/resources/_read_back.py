"""Checking whether an answer confirms an update, and the read-back if it doesn't. Nothing here does I/O.

An update is confirmed only by an answer with the room's id and the values that were sent. Example: an update sets
`max_participants=20`. An answer with 20 confirms it. If all attempts time out, or an answer has 10 or no
`max_participants`, the room is read back. If the read-back has 20, the update is confirmed, whichever attempt applied
it. If the read-back has 10, the update was not applied. If it has no `max_participants`, the outcome stays uncertain.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar

from .._http.request import Confirmed, NotApplied, NotConfirmedError, ReadBack, Request, Unconfirmed, Verdict
from .._text import quoted
from .._webhook_url import masked_url
from ..models import Room
from ..models._converter import DecodeError
from ..models._fields import FIELDS, Values, has_value
from ._bodies import MAX_ROOM, decode_data, decode_room, room_of, room_with_id

__all__ = [
    "decode_deleted",
    "decode_room_of",
    "decode_updated",
    "get_room",
    "not_confirmed",
    "read_back_delete",
    "read_back_update",
]

T = TypeVar("T")


def get_room(room_id: str, query: str = "") -> Request[Room]:
    """Return the request that reads a room."""
    return _get(room_id, partial(decode_room_of, room_id), query)


def decode_room_of(room_id: str, body: bytes) -> Room:
    """Return the room in an answer. Raises `DecodeError` if the room can't be read or has another id."""
    return _same_room(room_id, decode_room(body))


def _same_room(room_id: str, room: Room) -> Room:
    """Return the room. Raises `DecodeError` if it has another id, because a proxy may have mixed up answers."""
    if room.id is not None and room.id != room_id and room.id.lower() != room_id.lower():
        raise DecodeError(f"is {quoted(room.id)}: the answer is about another room", "data.id")
    return room


# --- updates ---


def decode_updated(room_id: str, wanted: Values, body: bytes) -> Room:
    """Return the room after an update. Raises `DecodeError`, or `NotConfirmedError` if it lacks a wanted value."""
    try:
        data = decode_data(body)
    except DecodeError as error:
        if error.path is None:
            raise
        raise NotConfirmedError(f"{error.path} {error}") from None
    room = _same_room(room_id, room_of(data))
    missing, different = _compare(wanted, room, data)
    if room.id is None:
        missing = ["id", *missing]
    if not missing and not different:
        return room
    gaps = [f"{name} is missing or unreadable" for name in missing]
    raise NotConfirmedError("; ".join([*gaps, *_differences(different, wanted, room, "got")]))


def _compare(wanted: Values, room: Room, data: Mapping[str, object]) -> tuple[list[str], list[str]]:
    """Return the names of the wanted fields that can't be read from the answer, and of those with another value."""
    missing: list[str] = []
    different: list[str] = []
    for name, value in wanted.items():
        present = getattr(room, name)
        # None stands for null, and also for a field that is missing or unreadable.
        if present is None and (name not in data or name in room.unreadable):
            missing.append(name)
        elif present != value and not has_value(name, present, value):
            different.append(name)
    return missing, different


def _differences(names: Sequence[str], wanted: Values, room: Room, verb: str) -> list[str]:
    return [
        f"{name}: requested {_shown(name, wanted[name])}, {verb} {_shown(name, getattr(room, name))}" for name in names
    ]


def _shown(name: str, value: object) -> str:
    # Not cut: what is cut off an API key that a server echoes could not be redacted any more.
    return repr(masked_url(value) if isinstance(value, str) and FIELDS[name].kind == "url" else value)


def read_back_update(room_id: str, wanted: Values) -> ReadBack[Room]:
    """Return the read-back of an update to the `wanted` values."""

    def decode(body: bytes) -> Verdict[Room]:
        data = decode_data(body)
        return judge_update(wanted, _same_room(room_id, room_with_id(data)), data)

    return ReadBack(_get(room_id, decode), not_found=NotApplied())


def judge_update(wanted: Values, room: Room, data: Mapping[str, object]) -> Verdict[Room]:
    """Return the verdict on an update to the `wanted` values. `data` is the answer that the room was read from."""
    missing, different = _compare(wanted, room, data)
    if different:
        gaps = "; ".join(_differences(different, wanted, room, "the room has"))
        return NotApplied(f"a read-back shows that the update was not applied ({gaps})")
    if missing:
        return Unconfirmed(f"the answer to the read-back has no {', '.join(missing)}")
    return Confirmed(room)


def not_confirmed() -> Room:
    """Raise `NotConfirmedError` for an answer without a body."""
    raise NotConfirmedError("it has no body")


# --- deletes ---


def decode_deleted(body: bytes) -> None:
    """Accept the answer to a delete if it has an object `data`. Raises `DecodeError` if not."""
    decode_data(body)


def read_back_delete(room_id: str) -> ReadBack[None]:
    """Return the read-back of a delete."""

    def decode(body: bytes) -> Verdict[None]:
        decode_room_of(room_id, body)
        return NotApplied()

    return ReadBack(_get(room_id, decode), not_found=Confirmed(None))


def _get(room_id: str, decode: Callable[[bytes], T], query: str = "") -> Request[T]:
    return Request(
        method="GET",
        path=f"/rooms/{room_id}",
        query=query,
        subject=f"room {room_id}",
        decode=decode,
        max_size=MAX_ROOM,
    )
