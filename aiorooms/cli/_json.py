"""Convert models and errors to JSON data.

Fields have the API's own names, None becomes null, and timestamps are in UTC, in ISO 8601 format with a Z.
"""

import json
from collections.abc import Mapping
from typing import TypeAlias, cast

from ..errors import AioroomsError, APIStatusError
from ..models import Room, UpdateResult
from ._words import error_line

__all__ = ["JsonValue", "dumps", "error_data", "model_data", "result_data"]

JsonValue: TypeAlias = str | int | float | bool | Mapping[str, "JsonValue"] | list["JsonValue"] | None


def dumps(value: JsonValue) -> str:
    """Return a value as one line of JSON. It contains printable ASCII only, so any encoding can represent it."""
    return json.dumps(value).replace("\x7f", r"\u007f")  # DEL is ASCII, but not printable


def model_data(model: Room) -> dict[str, JsonValue]:
    """Return all fields of a room as JSON data, including those that are None."""
    return cast("dict[str, JsonValue]", model.to_dict())


def result_data(result: UpdateResult) -> dict[str, JsonValue]:
    """Return the outcome of one update as JSON data."""
    return {
        "room_id": result.room_id,
        "status": result.status,
        "attempts": result.attempts,
        "elapsed": round(result.elapsed, 6),
        "request_id": result.request_id,
        "error": None if result.error is None else error_data(result.error),
        "room": None if result.room is None else model_data(result.room),
    }


def error_data(error: AioroomsError) -> dict[str, JsonValue]:
    """Return the class and message of an error, and what is known about the answer: status, codes and request id."""
    data: dict[str, JsonValue] = {"type": type(error).__name__, "message": error_line(error)}
    if isinstance(error, APIStatusError):
        data["status"] = error.status
        data["codes"] = [detail.code for detail in error.errors if detail.code is not None]
    if isinstance(error, APIStatusError) or error.request_id is not None:
        data["request_id"] = error.request_id
    return data
