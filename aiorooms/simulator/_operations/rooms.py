"""The operations on rooms.

Choices where the documentation is silent:

- The answer to a `GET` has no key `sessions` unless `include_sessions=true`. The answers to `PATCH` and `POST` always
  have it, as in the sample on the reference page.
- A request with a name that is already taken gets a 422 with code 10012 and the pointer `/unique_name`.
- The name of a new room defaults to its id.
- An update without fields (`{}`) is applied, and changes `updated_at`.
- Rooms are listed in the order in which they were added.
"""

from .._account import WRITABLE, Account, Room
from .._answers import (
    BAD_REQUEST,
    DUPLICATE,
    Answer,
    JsonObject,
    JsonValue,
    Rejected,
    data_answer,
    error_item,
    error_list,
    not_found,
)
from .call import Call
from .lists import read_boolean, read_dates, read_page
from .room_fields import check_field


def list_rooms(call: Call) -> Answer:
    """Answer `GET /v2/rooms`."""
    parameters = call.parameters()
    page = read_page(parameters)
    with_sessions = read_boolean(parameters, "include_sessions")
    found = call.account.select(parameters.get("filter[unique_name]"), read_dates(parameters))
    return page.of(found, lambda room: room.to_json(with_sessions=with_sessions))


def create_room(call: Call) -> Answer:
    """Answer `POST /v2/rooms`."""
    fields = _checked_fields(call.account, call.json_object(), None)
    return data_answer(201, call.account.create(fields).to_json())


def show_room(call: Call) -> Answer:
    """Answer `GET /v2/rooms/{room_id}`."""
    room = _room(call)
    with_sessions = call.parameters().get("include_sessions", "false")
    if with_sessions not in ("true", "false"):
        detail = "include_sessions must be true or false"
        raise Rejected(error_list(422, error_item(BAD_REQUEST, detail, parameter="include_sessions")))
    return data_answer(200, room.to_json(with_sessions=with_sessions == "true"))


def update_room(call: Call) -> Answer:
    """Answer `PATCH /v2/rooms/{room_id}`."""
    body = call.json_object()
    room = _room(call)
    call.account.change(room, _checked_fields(call.account, body, room))
    return data_answer(200, room.to_json())


def delete_room(call: Call) -> Answer:
    """Answer `DELETE /v2/rooms/{room_id}`."""
    call.account.remove(_room(call).id)
    return Answer(204, content_type=None)


def _room(call: Call) -> Room:
    """Return the room whose id is in the path. Reject the request if there is no such room."""
    room = call.account.rooms.get(call.id("room_id", call.account.rooms))
    if room is None:
        raise Rejected(not_found())
    return room


def _checked_fields(account: Account, body: JsonObject, room: Room | None) -> dict[str, JsonValue]:
    """Return the fields to set, or reject the request with all problems. `room` is None for a new room."""
    fields = {name: body[name] for name in WRITABLE if name in body}
    problems: list[JsonObject] = []
    for name, value in fields.items():
        problem = check_field(name, value, rejects_null=account.rejects_null)
        if problem is None and name == "unique_name":
            owner = account.named(str(value))
            if owner is not None and owner is not room:
                problem = DUPLICATE, "has already been taken"
        if problem is not None:
            code, text = problem
            problems.append(error_item(code, f"{name} {text}", pointer=f"/{name}"))
    if problems:
        raise Rejected(error_list(422, *problems))
    return fields
