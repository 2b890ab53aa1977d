"""The argument of an operation: one request, and methods that read its parts.

Choices where the documentation is silent:

- A request with an id that is not a UUID gets a 422 with code 10006, in a list of errors. Ids are case-insensitive.
- Requests are checked in the order that most frameworks use: media type (415, 10014), JSON (400, 10015), id, resource
  (404), fields (422).
- The body of a GET or DELETE is ignored.
"""

import json
from collections.abc import Container, Mapping
from typing import NoReturn
from urllib.parse import parse_qsl

import attrs

from .._account import Account, is_uuid
from .._answers import INVALID_ID, MALFORMED, MEDIA_TYPE, JsonObject, JsonValue, Rejected, error_item, error_list


@attrs.define
class Call:
    """One request to one operation."""

    account: Account
    ids: Mapping[str, str]
    """The ids in the path by their names in the route. They are in lower case and not validated."""
    query: str
    content_type: str | None
    body: bytes

    def id(self, name: str, known: Container[str]) -> str:
        """Return an id from the path. Reject the request if the id is neither in `known` nor a UUID."""
        found = self.ids[name]
        if found not in known and not is_uuid(found):
            raise Rejected(error_list(422, error_item(INVALID_ID, f"{name} is not a valid UUID", parameter=name)))
        return found

    def parameters(self) -> dict[str, str]:
        """Return the query parameters. If a name is repeated, its last value counts."""
        return dict(parse_qsl(self.query, keep_blank_values=True)) if self.query else {}

    def json_object(self) -> JsonObject:
        """Return the body. Reject the request if the body is not a JSON object."""
        if not _is_json(self.content_type or ""):
            raise Rejected(error_list(415, error_item(MEDIA_TYPE, "The content type must be application/json.")))
        try:
            value: JsonValue = json.loads(self.body.decode("utf-8"), parse_constant=_reject_constant)
        except (ValueError, RecursionError):
            raise Rejected(error_list(400, error_item(MALFORMED, "The request body is not valid JSON."))) from None
        if not isinstance(value, dict):
            raise Rejected(error_list(400, error_item(MALFORMED, "The request body must be a JSON object.")))
        return value


def _reject_constant(name: str) -> NoReturn:
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
