"""Decode answers about rooms: from bytes to models.

A room must have an id. Every other field may be invalid without making the whole answer unreadable (see
`models._converter`).
"""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Final, cast

from .._http.json import loads
from ..models import Room, RoomPage
from ..models._values import DecodeError, is_object, load_converter, wrong_type

__all__ = ["MAX_LIST", "MAX_ROOM", "decode_data", "decode_room", "decode_rooms", "id_of", "room_of"]


MAX_ROOM: Final = 8 * 1024 * 1024
"""Maximum size of an answer about one room, in bytes: enough for thousands of sessions."""

MAX_LIST: Final = 64 * 1024 * 1024
"""Maximum size of one page of a list, in bytes."""


def decode_room(body: bytes) -> Room:
    """Return the room in an answer. Raises `DecodeError`."""
    return room_of(decode_data(body))


def room_of(data: Mapping[str, object]) -> Room:
    """Return the room that an object describes. Raises `DecodeError` if it has no id."""
    if id_of(data) is None:
        raw = data.get("id", _MISSING)
        raise DecodeError("is missing" if raw in (_MISSING, "") else str(wrong_type("a string", raw)), "data.id")
    return _structure_room()(data, Room)


def id_of(data: Mapping[str, object]) -> str | None:
    """Return the id in an object; None if it is missing, empty or not a string."""
    room_id = data.get("id")
    return room_id if isinstance(room_id, str) and room_id else None


def decode_data(body: bytes) -> Mapping[str, object]:
    """Return the object `data` of an answer. Raises `DecodeError` if there is no such object."""
    answer = loads(body)
    if not is_object(answer):
        raise DecodeError(str(wrong_type("an object", answer)))
    data = answer.get("data", _MISSING)
    if not is_object(data):
        raise DecodeError("is missing" if data is _MISSING else str(wrong_type("an object", data)), "data")
    return data


@cache
def _structure_room() -> Callable[[Mapping[str, object], type[Room]], Room]:
    """Return the hook of the converter. It accepts every object with an id, so that errors need not be caught."""
    return load_converter().get_structure_hook(Room)


_MISSING: Final = object()


def decode_rooms(number: int, body: bytes) -> RoomPage:
    """Return page `number` of a list of rooms. Raises `DecodeError` if the answer does not contain a list `data`."""
    answer = loads(body)
    if not is_object(answer):
        raise DecodeError(str(wrong_type("an object", answer)))
    data = answer.get("data", _MISSING)
    if not isinstance(data, list):
        raise DecodeError("is missing" if data is _MISSING else str(wrong_type("a list", data)), "data")
    rooms: list[Room] = []
    others: list[object] = []
    for item in cast("list[object]", data):
        if is_object(item) and id_of(item) is not None:
            rooms.append(room_of(item))
        else:
            others.append(item)
    meta = answer.get("meta")
    counts: Mapping[str, object] = meta if is_object(meta) else {}
    return RoomPage(
        rooms=tuple(rooms),
        number=number,
        total_pages=_whole_number(counts.get("total_pages")),
        total_results=_whole_number(counts.get("total_results")),
        unreadable=tuple(others),
    )


def _whole_number(value: object) -> int | None:
    try:
        return load_converter().structure(value, int)
    except ValueError:
        return None
