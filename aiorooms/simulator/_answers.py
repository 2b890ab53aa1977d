"""The answers of the API, and the three formats of its errors.

An error body is a list of errors, one error object without a list, or `{"success": false, "message": ...}`. The
operation and the status determine the format. A client must handle all three.
"""

import json
from typing import TypeAlias

import attrs

JsonValue: TypeAlias = "dict[str, JsonValue] | list[JsonValue] | str | int | float | bool | None"
JsonObject: TypeAlias = dict[str, JsonValue]

JSON_TYPE = "application/json; charset=utf-8"
HTML_TYPE = "text/html"

BAD_REQUEST = "10001"
INVALID_URL = "10003"
MISSING_PARAMETER = "10004"
NOT_FOUND = "10005"
INVALID_ID = "10006"
UNEXPECTED = "10007"
TIMED_OUT = "10008"
AUTHENTICATION = "10009"
AUTHORIZATION = "10010"
TOO_MANY_REQUESTS = "10011"
DUPLICATE = "10012"
MEDIA_TYPE = "10014"
MALFORMED = "10015"

TITLES = {
    BAD_REQUEST: "Bad request",
    INVALID_URL: "Invalid URL",
    MISSING_PARAMETER: "Missing required parameter",
    NOT_FOUND: "Resource not found",
    INVALID_ID: "Invalid ID",
    UNEXPECTED: "Unexpected error",
    TIMED_OUT: "Request timeout",
    AUTHENTICATION: "Authentication failed",
    AUTHORIZATION: "Authorization failed",
    TOO_MANY_REQUESTS: "Too many requests",
    DUPLICATE: "Duplicate resource",
    MEDIA_TYPE: "Unsupported media type",
    MALFORMED: "Malformed request",
}


@attrs.define
class Answer:
    """One HTTP answer, not yet serialized."""

    status: int
    body: bytes = b""
    content_type: str | None = JSON_TYPE
    headers: tuple[tuple[str, str], ...] = ()
    close: bool = False
    """Send `Connection: close`, and close the connection after this answer."""


class Rejected(Exception):  # noqa: N818 - not an error of the simulator: it contains the answer to an invalid request
    """Raised by an operation to reject the request. `.answer` is the error answer."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


def to_json(value: JsonValue) -> bytes:
    return _encode(value).encode("ascii")


def data_answer(status: int, data: JsonObject) -> Answer:
    """Return the answer of a successful operation."""
    return Answer(status, to_json({"data": data}))


def error_item(code: str, detail: str, *, pointer: str | None = None, parameter: str | None = None) -> JsonObject:
    item: JsonObject = {"code": code, "title": TITLES[code], "detail": detail}
    if pointer is not None:
        item["source"] = {"pointer": pointer}
    elif parameter is not None:
        item["source"] = {"parameter": parameter}
    item["meta"] = {"url": f"https://developers.telnyx.com/docs/overview/errors/{code}"}
    return item


def error_list(status: int, *items: JsonObject, headers: tuple[tuple[str, str], ...] = ()) -> Answer:
    return Answer(status, to_json({"errors": [*items]}), headers=headers)


def bare_error(status: int, code: str, detail: str) -> Answer:
    return Answer(status, to_json({"code": code, "title": TITLES[code], "detail": detail}))


def not_found() -> Answer:
    return bare_error(404, NOT_FOUND, "The requested resource or URL could not be found.")


def plain_failure(status: int, message: str) -> Answer:
    return Answer(status, to_json({"success": False, "message": message}))
