"""The routes of the API: method, path and operation.

To add an operation, write its function in a module of `_operations/` and add a row to `ROUTES`. The function accepts a
`Call`, and returns an `Answer` or raises `Rejected`.

Ids are read from the path. A request gets a 404 if its path is not in `ROUTES`. It gets a 405 if `ROUTES` contains its
path, but not with the method of the request. The `Allow` header of a 405 lists the methods in the order of the rows.
"""

import re
from collections.abc import Callable, Mapping
from urllib.parse import unquote

import attrs

from ._account import Account
from ._answers import BAD_REQUEST, Answer, Rejected, error_item, error_list, not_found
from ._operations.call import Call
from ._operations.rooms import create_room, delete_room, list_rooms, show_room, update_room


@attrs.frozen
class Route:
    """One operation of the API."""

    method: str
    path: str
    """The path with the names of its ids in braces. Paths are tried in the order of `ROUTES`."""
    operation: Callable[[Call], Answer]


ROUTES = (
    Route("GET", "/v2/rooms/{room_id}", show_room),
    Route("PATCH", "/v2/rooms/{room_id}", update_room),
    Route("DELETE", "/v2/rooms/{room_id}", delete_room),
    Route("GET", "/v2/rooms", list_rooms),
    Route("POST", "/v2/rooms", create_room),
)


@attrs.define
class Target:
    """The operations and ids of a path."""

    path: str
    """The path as in `ROUTES`, with the names of its ids."""
    operations: Mapping[str, Callable[[Call], Answer]]
    """The operations by method."""
    ids: Mapping[str, str]
    """The ids in the path by name. They are in lower case and not validated."""


def _patterns() -> list[tuple[str, re.Pattern[str], dict[str, Callable[[Call], Answer]]]]:
    by_path: dict[str, dict[str, Callable[[Call], Answer]]] = {}
    for route in ROUTES:
        by_path.setdefault(route.path, {})[route.method] = route.operation
    return [
        (path, re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path)), operations)
        for path, operations in by_path.items()
    ]


_PATTERNS = _patterns()


def find_target(path: str) -> Target | None:
    """Return the operations and ids of a path, or None if the API has no such path."""
    for template, pattern, operations in _PATTERNS:
        match = pattern.fullmatch(path)
        if match is not None:
            ids = {name: unquote(value).lower() for name, value in match.groupdict().items()}
            return Target(template, operations, ids)
    return None


def call_operation(
    target: Target | None, account: Account, method: str, query: str, content_type: str | None, body: bytes
) -> Answer:
    """Carry out a request, and return the answer of the API."""
    if target is None:
        return not_found()
    operation = target.operations.get(method)
    if operation is None:
        methods = ", ".join(target.operations)
        item = error_item(BAD_REQUEST, f"The method is not allowed here; use one of {methods}.")
        return error_list(405, item, headers=(("Allow", methods),))
    try:
        return operation(Call(account, target.ids, query, content_type, body))
    except Rejected as rejected:
        return rejected.answer
