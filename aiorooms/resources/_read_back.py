"""Check whether an answer confirms an update, and define the read-back for an uncertain outcome. No I/O.

A read-back is a GET that shows whether an update or a delete was carried out. An update is confirmed only by an answer
with the room's id and the values that were sent.

Example: an update sets `max_participants=20`. An answer with 20 confirms the update. If the answer has another value or
no value, or if all attempts time out, the client reads the room. If the room has 20, the update is confirmed. If the
room has 10, the update was not applied. If `max_participants` is missing, the outcome stays uncertain.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar

from .._http.request import Confirmed, NotApplied, NotConfirmedError, ReadBack, Request, Unconfirmed, Verdict
from .._text import quoted
from .._webhook_url import masked_url
from ..models import Room
from ..models._fields import FIELDS, Values, has_value
from ..models._values import DecodeError
from ._bodies import MAX_ROOM, decode_data, decode_room, id_of, room_of

__all__ = [
    "decode_created",
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
    """Return the room unchanged. Raises `DecodeError` if it has another id."""
    _check_id(room_id, room.id)
    return room


def _check_id(room_id: str, answered: str) -> None:
    """Raise `DecodeError` if an answer has another id: a proxy may have mixed up answers."""
    if answered != room_id and answered.lower() != room_id.lower():
        raise DecodeError(f"is {quoted(answered)}: the answer is about another room", "data.id")


# --- updates ---


def decode_updated(room_id: str, wanted: Values, body: bytes) -> Room:
    """Return the room in the answer to an update.

    Raises `DecodeError` if the answer can't be read or is about another room, and `NotConfirmedError` if it does not
    contain the room's id and all wanted values.
    """
    try:
        data = decode_data(body)
    except DecodeError as error:
        if error.path is None:
            raise
        raise NotConfirmedError(f"{error.path} {error}") from None
    if id_of(data) is None:
        raise NotConfirmedError("id is missing or unreadable")
    room = _same_room(room_id, room_of(data))
    missing, different = _compare(wanted, room, data)
    if not missing and not different:
        return room
    gaps = [f"{name} is missing or unreadable" for name in missing]
    raise NotConfirmedError("; ".join([*gaps, *_differences(different, wanted, room, "got")]))


def _compare(wanted: Values, room: Room, data: Mapping[str, object]) -> tuple[list[str], list[str]]:
    """Return the wanted fields that can't be read from the answer, and the wanted fields that have another value."""
    missing: list[str] = []
    different: list[str] = []
    # Usually, the answer repeats all values as they were sent. Comparing them all at once is faster.
    if wanted.items() <= data.items() and not room.unreadable:
        return missing, different
    for name, value in wanted.items():
        present = getattr(room, name)
        # None can mean null, or a field that is missing or unreadable.
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
    # Do not shorten the value: if a server echoes the API key, only the whole key can be recognized and redacted.
    return repr(masked_url(value) if isinstance(value, str) and FIELDS[name].kind == "url" else value)


def read_back_update(room_id: str, wanted: Values) -> ReadBack[Room]:
    """Return the read-back of an update to the `wanted` values."""

    def decode(body: bytes) -> Verdict[Room]:
        data = decode_data(body)
        return judge_update(wanted, _same_room(room_id, room_of(data)), data)

    return _read_back(_get(room_id, decode), not_found=NotApplied())


def judge_update(wanted: Values, room: Room, data: Mapping[str, object]) -> Verdict[Room]:
    """Return whether an update to the `wanted` values was carried out. `room` was decoded from `data`."""
    missing, different = _compare(wanted, room, data)
    if different:
        gaps = "; ".join(_differences(different, wanted, room, "the room has"))
        return NotApplied(f"a read-back shows that the update was not applied ({gaps})")
    if missing:
        return Unconfirmed(f"the answer to the read-back has no {', '.join(missing)}")
    return Confirmed(room)


def not_confirmed() -> Room:
    """Raise `NotConfirmedError`, because an answer without a body does not confirm an update."""
    raise NotConfirmedError("it has no body")


# --- creates ---


def decode_created(wanted: Values, body: bytes) -> Room:
    """Return the room in the answer to a create.

    Raises `DecodeError` if the answer can't be read, and `NotConfirmedError` if a wanted field has another value. The
    answer need not contain all wanted fields, because published answers to creates lack some fields.
    """
    data = decode_data(body)
    room = room_of(data)
    _, different = _compare(wanted, room, data)
    if different:
        raise NotConfirmedError("; ".join(_differences(different, wanted, room, "got")))
    return room


# --- deletes ---


def decode_deleted(room_id: str, body: bytes) -> None:
    """Check the answer to a delete. Raises `DecodeError` if it has no object `data`, or is about another room."""
    if (deleted := id_of(decode_data(body))) is not None:
        _check_id(room_id, deleted)


def read_back_delete(room_id: str) -> ReadBack[None]:
    """Return the read-back of a delete. The delete is confirmed if the room does not exist."""

    def decode(body: bytes) -> Verdict[None]:
        decode_room_of(room_id, body)
        return NotApplied()

    return _read_back(_get(room_id, decode), not_found=Confirmed(None))


def _read_back(request: Request[Verdict[T]], not_found: Verdict[T]) -> ReadBack[T]:
    request.decode_not_found = lambda: not_found
    return ReadBack(request, not_found)


def _get(room_id: str, decode: Callable[[bytes], T], query: str = "") -> Request[T]:
    return Request(
        method="GET",
        route="/rooms/{room_id}",
        path=f"/rooms/{room_id}",
        query=query,
        subject=f"room {room_id}",
        decode=decode,
        max_size=MAX_ROOM,
    )
