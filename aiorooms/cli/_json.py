"""Models as JSON data: the API's own field names, null for None, and timestamps in UTC as ISO 8601 with a Z."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TypeAlias, cast

import attrs

from ..errors import AioroomsError, APIStatusError
from ..models import Room, RoomParticipant, RoomSession, UpdateResult
from ._words import error_line

__all__ = ["JsonValue", "dumps", "error_data", "model_data", "result_data", "timestamp"]

JsonValue: TypeAlias = str | int | float | bool | Mapping[str, "JsonValue"] | list["JsonValue"] | None


def dumps(value: JsonValue) -> str:
    """Write on one line. In ASCII, so that every terminal, pipe and locale lets it through."""
    return json.dumps(value)


def timestamp(moment: datetime) -> str:
    """Write as `2021-04-12T22:29:42Z`, with microseconds if there are any."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def model_data(model: Room | RoomSession | RoomParticipant) -> dict[str, JsonValue]:
    """Return all fields of a model, also those that are None."""
    return {field.name: _value(getattr(model, field.name)) for field in attrs.fields(type(model))}


def _value(value: object) -> JsonValue:
    if isinstance(value, datetime):
        return timestamp(value)
    if isinstance(value, tuple):
        return [_value(item) for item in cast("tuple[object, ...]", value)]
    if isinstance(value, (Room, RoomSession, RoomParticipant)):
        return model_data(value)
    return cast("str | int | bool | None", value)


def result_data(result: UpdateResult) -> dict[str, JsonValue]:
    """Return the outcome of one update."""
    return {
        "room_id": result.room_id,
        "status": result.status,
        "attempts": result.attempts,
        "elapsed": round(result.elapsed, 6),
        "error": None if result.error is None else error_data(result.error),
        "room": None if result.room is None else model_data(result.room),
    }


def error_data(error: AioroomsError) -> dict[str, JsonValue]:
    """Return the name of the exception, its one line, and what the server said if it was the server."""
    data: dict[str, JsonValue] = {"type": type(error).__name__, "message": error_line(error)}
    if isinstance(error, APIStatusError):
        data["status"] = error.status
        data["codes"] = [detail.code for detail in error.errors if detail.code is not None]
        data["request_id"] = error.request_id
    return data
