"""What each request means: method, path, query and body in, an answer out. Pure: no sockets, no clock of its own.

Where the documentation is silent, this was chosen:

- A room id that is not a UUID is a 422 with code 10006 in the list shape. Ids are compared without regard to case.
- An order of checks as in most frameworks: media type (415, 10014), JSON (400, 10015), id, room (404), fields (422).
- `GET` leaves the key `sessions` out unless `include_sessions=true`; `PATCH` and `POST` always show it, as the sample
  on the reference page does.
- Bad page or filter parameters of a list are a 400 in the shape `{"success": false, "message": ...}`; unknown
  parameters are ignored. A page after the last is empty. Without any room there are 0 pages.
- 405 comes with an `Allow` header, in the list shape. A body sent with GET or DELETE is ignored.
"""

import json
import re
from collections.abc import Sequence
from datetime import date
from typing import NoReturn, TypeVar
from urllib.parse import parse_qsl, unquote

from .._account import Account
from .._answers import (
    BAD_REQUEST,
    INVALID_ID,
    MALFORMED,
    MEDIA_TYPE,
    NOT_FOUND,
    Answer,
    JsonObject,
    JsonValue,
    Refusal,
    bare_error,
    error_item,
    error_list,
    plain_failure,
    to_json,
)

ROOMS_PATH = "/v2/rooms"
_ROOM_PREFIX = ROOMS_PATH + "/"
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_NUMBER = re.compile(r"[0-9]{1,9}")
_DATE_FILTER = re.compile(r"filter\[date_(created_at|updated_at)\]\[(eq|gte|lte)\]")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_DEFAULT_PAGE_SIZE = 20
_MAX_PAGE_SIZE = 250
_NOWHERE = "The requested resource or URL could not be found."

T = TypeVar("T")


def room_in(path: str) -> str | None:
    """Return the room id that a path names, in lower case and not checked, or None."""
    if not path.startswith(_ROOM_PREFIX):
        return None
    room_id = path[len(_ROOM_PREFIX) :]
    if not room_id or "/" in room_id:
        return None
    return unquote(room_id).lower()


def is_uuid(text: str) -> bool:
    """Return whether a text is a UUID in lower case."""
    return _UUID.fullmatch(text) is not None


def call(
    account: Account, method: str, path: str, room_id: str | None, query: str, content_type: str | None, body: bytes
) -> Answer:
    """Do what a request asks for and say what the API says. `room_id` is what `room_in` read from the path."""
    try:
        if room_id is not None:
            return _one_room(account, method, room_id, query, content_type, body)
        if path == ROOMS_PATH:
            return _all_rooms(account, method, query, content_type, body)
    except Refusal as refusal:
        return refusal.answer
    return bare_error(404, NOT_FOUND, _NOWHERE)


def _one_room(account: Account, method: str, room_id: str, query: str, content_type: str | None, body: bytes) -> Answer:
    if method == "PATCH":
        wanted = _json_object(content_type, body)
        _check_id(account, room_id)
        return _show(200, account.update(room_id, wanted).to_json())
    if method == "GET":
        _check_id(account, room_id)
        room = account.find(room_id)
        with_sessions = False
        if query:
            shown = dict(parse_qsl(query, keep_blank_values=True)).get("include_sessions", "false")
            if shown not in ("true", "false"):
                detail = "include_sessions must be true or false"
                raise Refusal(error_list(422, error_item(BAD_REQUEST, detail, parameter="include_sessions")))
            with_sessions = shown == "true"
        return _show(200, room.to_json(with_sessions=with_sessions))
    if method == "DELETE":
        _check_id(account, room_id)
        account.delete(room_id)
        return Answer(204, content_type=None)
    return _not_allowed("GET, PATCH, DELETE")


def _all_rooms(account: Account, method: str, query: str, content_type: str | None, body: bytes) -> Answer:
    if method == "GET":
        return _list(account, query)
    if method == "POST":
        return _show(201, account.create(_json_object(content_type, body)).to_json())
    return _not_allowed("GET, POST")


def _show(status: int, data: JsonObject) -> Answer:
    return Answer(status, to_json({"data": data}))


def _not_allowed(methods: str) -> Answer:
    item = error_item(BAD_REQUEST, f"The method is not allowed here; use {methods}.")
    return error_list(405, item, headers=(("Allow", methods),))


def _check_id(account: Account, room_id: str) -> None:
    if room_id not in account.rooms and not is_uuid(room_id):
        raise Refusal(error_list(422, error_item(INVALID_ID, "room_id is not a valid UUID", parameter="room_id")))


def _json_object(content_type: str | None, body: bytes) -> JsonObject:
    if content_type != "application/json" and not _is_json(content_type or ""):
        detail = "The content type must be application/json."
        raise Refusal(error_list(415, error_item(MEDIA_TYPE, detail)))
    try:
        value: JsonValue = json.loads(body.decode("utf-8"), parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise Refusal(error_list(400, error_item(MALFORMED, "The request body is not valid JSON."))) from None
    if not isinstance(value, dict):
        raise Refusal(error_list(400, error_item(MALFORMED, "The request body must be a JSON object.")))
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _is_json(content_type: str) -> bool:
    kind, _, parameters = content_type.partition(";")
    if kind.strip().lower() != "application/json":
        return False
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset" and value.strip(' "').lower() not in ("utf-8", "utf8"):
            return False
    return True


def _list(account: Account, query: str) -> Answer:
    number, size = 1, _DEFAULT_PAGE_SIZE
    unique_name: str | None = None
    dates: list[tuple[str, str, str]] = []
    with_sessions = False
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name == "page[number]":
            number = _integer(name, value, 1, None)
        elif name == "page[size]":
            size = _integer(name, value, 1, _MAX_PAGE_SIZE)
        elif name == "filter[unique_name]":
            unique_name = value
        elif name == "include_sessions":
            if value not in ("true", "false"):
                raise Refusal(plain_failure(400, "include_sessions must be true or false"))
            with_sessions = value == "true"
        elif match := _DATE_FILTER.fullmatch(name):
            dates.append((match[1], match[2], _day(name, value)))
    found = account.select(unique_name, dates)
    shown = _page(found, number, size)
    data: list[JsonValue] = [room.to_json(with_sessions=with_sessions) for room in shown]
    meta: JsonObject = {
        "total_pages": -(-len(found) // size),
        "total_results": len(found),
        "page_number": number,
        "page_size": size,
    }
    return Answer(200, to_json({"data": data, "meta": meta}))


def _page(items: Sequence[T], number: int, size: int) -> Sequence[T]:
    return items[(number - 1) * size : number * size]


def _integer(name: str, value: str, low: int, high: int | None) -> int:
    if _NUMBER.fullmatch(value) and low <= int(value) and (high is None or int(value) <= high):
        return int(value)
    bounds = f"between {low} and {high}" if high is not None else f"of at least {low}"
    raise Refusal(plain_failure(400, f"{name} must be an integer {bounds}"))


def _day(name: str, value: str) -> str:
    try:
        if _DATE.fullmatch(value):
            date.fromisoformat(value)
            return value
    except ValueError:
        pass
    raise Refusal(plain_failure(400, f"{name} must be a date such as 2021-04-25"))
