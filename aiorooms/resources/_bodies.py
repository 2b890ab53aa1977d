"""Decoding answers about rooms, from bytes to models.

A room is what has an id. Its other fields are read as far as possible (`models._converter`), so that an odd one never
spoils an answer.
"""

from collections.abc import Mapping
from typing import Final, cast

import attrs

from .._http.json import loads
from .._text import quoted
from ..models import Room, RoomPage
from ..models._converter import DecodeError, is_object, read_or_none

__all__ = ["decode_data", "decode_room", "decode_rooms", "room_of"]


def decode_room(body: bytes) -> Room:
    """Return the room in an answer. Raises `DecodeError`."""
    room = room_of(decode_data(body))
    if room.id is None:
        raw = room.unreadable.get("id")
        raise DecodeError("is missing" if raw is None else f"is {quoted(raw)}, not a string", "data.id")
    return room


def decode_data(body: bytes) -> Mapping[str, object]:
    """Return the `data` of an answer, an object. Raises `DecodeError`."""
    answer = loads(body)
    if not is_object(answer):
        raise DecodeError(f"it is {quoted(answer)}, not an object")
    data = answer.get("data", _MISSING)
    if not is_object(data):
        raise DecodeError("is missing" if data is _MISSING else f"is {quoted(data)}, not an object", "data")
    return data


def room_of(data: Mapping[str, object]) -> Room:
    """Return the room that an object describes; its id is None if there is none, or it isn't a string."""
    room = read_or_none(data, Room)
    assert room is not None  # every object can be read
    return room


_MISSING: Final = object()


def decode_rooms(number: int, body: bytes) -> RoomPage:
    """Return a page of rooms. Raises `DecodeError` if it is not a list."""
    answer = loads(body)
    data = answer.get("data") if is_object(answer) else None
    if not isinstance(data, list):
        raise DecodeError("is missing, or not a list", "data")
    rooms: list[Room] = []
    others: list[object] = []
    for item in cast("list[object]", data):
        room = read_or_none(item, Room)
        if room is None or room.id is None:
            others.append(item)
        else:
            rooms.append(room)
    meta = read_or_none(cast("Mapping[str, object]", answer).get("meta"), _PageMeta) or _PageMeta()
    return RoomPage(
        rooms=tuple(rooms),
        number=number,
        total_pages=meta.total_pages,
        total_results=meta.total_results,
        unreadable=tuple(others),
    )


@attrs.frozen(kw_only=True)
class _PageMeta:
    total_pages: int | None = None
    total_results: int | None = None
    unreadable: Mapping[str, object] = attrs.field(factory=dict)
    extra: Mapping[str, object] = attrs.field(factory=dict)
