"""Reading a room after a request whose outcome is uncertain, and what the room says of it. Pure but for the GET.

Example: an update to `max_participants=20` timed out. The room is read and has 20: it is confirmed, whichever attempt
did it. It has 10: it was not applied. Its answer has no `max_participants` at all: nobody knows.
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
    """Make the request that reads a room."""
    return _get(room_id, partial(decode_room_of, room_id), query)


def decode_room_of(room_id: str, body: bytes) -> Room:
    """Read an answer that holds the room of that id. Raises `DecodeError`."""
    return _same_room(room_id, decode_room(body))


def _same_room(room_id: str, room: Room) -> Room:
    """See that a room is the one asked for: a proxy in between can mix up answers."""
    if room.id is not None and room.id != room_id and room.id.lower() != room_id.lower():
        raise DecodeError(f"is {quoted(room.id)}: the answer is about another room", "data.id")
    return room


def read_back_update(room_id: str, wanted: Values) -> ReadBack[Room]:
    """Make the read-back of an update to the `wanted` values."""

    def decode(body: bytes) -> Verdict[Room]:
        room, names = decode_room_and_names(body)
        return judge_update(wanted, _same_room(room_id, room), names)

    return ReadBack(_get(room_id, decode), not_found=NotApplied())


def judge_update(wanted: Values, room: Room, names: frozenset[str]) -> Verdict[Room]:
    """Say whether a room has the wanted values; `names` are the fields that the answer has."""
    known = {name: value for name, value in wanted.items() if name in names}
    if different := differing(room, known):
        return NotApplied(f"the room was read, and the update is not in it ({', '.join(different)})")
    if missing := [name for name in wanted if name not in names]:
        return Unconfirmed(f"the room was read, and the answer does not have {', '.join(missing)}")
    return Confirmed(room)


def read_back_delete(room_id: str) -> ReadBack[None]:
    """Make the read-back of a delete."""

    def decode(body: bytes) -> Verdict[None]:
        decode_room_of(room_id, body)
        return NotApplied()

    return ReadBack(_get(room_id, decode), not_found=Confirmed(None))


def _get(room_id: str, decode: Callable[[bytes], T], query: str = "") -> Request[T]:
    return Request(method="GET", path=f"/rooms/{room_id}", query=query, subject=f"room {room_id}", decode=decode)
