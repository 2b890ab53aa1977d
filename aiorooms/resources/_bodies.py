"""The bodies of answers about rooms: bytes to models."""

from collections.abc import Mapping
from typing import cast

import attrs

from .._http.json import loads
from ..models import Room
from ..models._converter import is_object, read_or_none, structure

__all__ = ["PageMeta", "decode_room", "decode_room_and_names", "decode_rooms"]


@attrs.frozen(kw_only=True)
class PageMeta:
    """Where a page stands in its list."""

    total_pages: int | None = None
    total_results: int | None = None


@attrs.frozen(kw_only=True)
class _RoomAnswer:
    data: Room


@attrs.frozen(kw_only=True)
class _RoomsAnswer:
    data: tuple[Room, ...]
    meta: PageMeta | None = None


def decode_room(body: bytes) -> Room:
    """Read an answer that holds one room. Raises `DecodeError`."""
    answer = loads(body)
    # Every update reads a room: without its envelope that takes 9 us, with it 15. An error speaks of the whole.
    if is_object(answer) and (room := read_or_none(answer.get("data"), Room)) is not None:
        return room
    return structure(answer, _RoomAnswer).data


def decode_room_and_names(body: bytes) -> tuple[Room, frozenset[str]]:
    """Read an answer that holds one room, and the names of the fields that it has. Raises `DecodeError`."""
    data = cast("Mapping[str, Mapping[str, object]]", loads(body))
    return structure(data, _RoomAnswer).data, frozenset(data["data"])


def decode_rooms(body: bytes) -> tuple[tuple[Room, ...], PageMeta]:
    """Read a page of rooms. Raises `DecodeError`."""
    answer = structure(loads(body), _RoomsAnswer)
    return answer.data, answer.meta or PageMeta()
