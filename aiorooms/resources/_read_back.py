"""Read-backs: the GET of a room after a request with an uncertain outcome, and the verdict. Nothing here does I/O.

Example: an update to `max_participants=20` timed out, so the room is read. If it has 20, the update is confirmed,
whichever attempt applied it. If it has 10, the update was not applied. If the answer has no `max_participants`, the
outcome stays uncertain.
"""

from collections.abc import Callable
from functools import partial
from typing import TypeVar

from .._http.request import Confirmed, NotApplied, ReadBack, Request, Unconfirmed, Verdict
from .._text import quoted
from ..models import Room
from ..models._converter import DecodeError
from ..models._fields import Values, differing
from ._bodies import decode_room, decode_room_and_names

__all__ = ["decode_room_of", "get_room", "read_back_delete", "read_back_update"]

T = TypeVar("T")


def get_room(room_id: str, query: str = "") -> Request[Room]:
    """Return the request that reads a room."""
    return _get(room_id, partial(decode_room_of, room_id), query)


def decode_room_of(room_id: str, body: bytes) -> Room:
    """Return the room in an answer. Raises `DecodeError` if it can't be read, or has another id."""
    return _same_room(room_id, decode_room(body))


def _same_room(room_id: str, room: Room) -> Room:
    """Return the room if it has the requested id; raise `DecodeError` if a proxy has mixed up answers."""
    if room.id is not None and room.id != room_id and room.id.lower() != room_id.lower():
        raise DecodeError(f"is {quoted(room.id)}: the answer is about another room", "data.id")
    return room


def read_back_update(room_id: str, wanted: Values) -> ReadBack[Room]:
    """Return the read-back of an update to the `wanted` values."""

    def decode(body: bytes) -> Verdict[Room]:
        room, names = decode_room_and_names(body)
        return judge_update(wanted, _same_room(room_id, room), names)

    return ReadBack(_get(room_id, decode), not_found=NotApplied())


def judge_update(wanted: Values, room: Room, names: frozenset[str]) -> Verdict[Room]:
    """Return the verdict on an update to the `wanted` values. `names` are the fields in the answer."""
    known = {name: value for name, value in wanted.items() if name in names}
    if different := differing(room, known):
        return NotApplied(f"a read-back shows that the update was not applied ({', '.join(different)})")
    if missing := [name for name in wanted if name not in names]:
        return Unconfirmed(f"the answer to the read-back has no {', '.join(missing)}")
    return Confirmed(room)


def read_back_delete(room_id: str) -> ReadBack[None]:
    """Return the read-back of a delete."""

    def decode(body: bytes) -> Verdict[None]:
        decode_room_of(room_id, body)
        return NotApplied()

    return ReadBack(_get(room_id, decode), not_found=Confirmed(None))


def _get(room_id: str, decode: Callable[[bytes], T], query: str = "") -> Request[T]:
    return Request(method="GET", path=f"/rooms/{room_id}", query=query, subject=f"room {room_id}", decode=decode)
