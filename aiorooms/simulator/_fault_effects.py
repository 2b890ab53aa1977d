"""Answers as bytes, whole ones and spoilt ones. Pure: nothing here sends anything.

The head is written by hand, and not by a web framework, so that a spoilt answer differs from a good one in exactly
the way that its fault says, and because it is several times faster.
"""

from http import HTTPStatus
from random import Random

import attrs

from ._account import Account
from ._answers import (
    BAD_REQUEST,
    HTML_TYPE,
    JSON_TYPE,
    TIMED_OUT,
    UNEXPECTED,
    Answer,
    JsonObject,
    JsonValue,
    error_item,
    error_list,
    to_json,
)
from ._faults import Draw, FaultKind, Faults

_REASONS = {status.value: status.phrase for status in HTTPStatus} | {
    422: "Unprocessable Entity",
    520: "Web Server Returns an Unknown Error",
    524: "A Timeout Occurred",
}
_LONG = 20_000
_TLS_ALERT = b"\x15\x03\x01\x00\x02\x02\x28\r\n\r\n"
_HEAD_OF_103 = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"


def head_of(answer: Answer, common: str, framing: str) -> bytes:
    """Write the status line and the header; `common` and `framing` are header lines that end in CRLF."""
    lines = f"HTTP/1.1 {answer.status} {_REASONS.get(answer.status, '')}\r\n{common}"
    if answer.content_type is not None:
        lines += f"Content-Type: {answer.content_type}\r\n"
    for name, value in answer.headers:
        lines += f"{name}: {value}\r\n"
    if answer.close:
        lines += "Connection: close\r\n"
    return f"{lines}{framing}\r\n".encode("latin-1")


def whole(answer: Answer, common: str, *, with_body: bool = True) -> bytes:
    """Write an answer as it should be; `with_body` is false for an answer to HEAD."""
    if answer.status == HTTPStatus.NO_CONTENT:
        return head_of(answer, common, "")
    head = head_of(answer, common, f"Content-Length: {len(answer.body)}\r\n")
    return head + answer.body if with_body else head


def page(status: int, retry_after: str | int | None = None) -> Answer:
    """Write the HTML page of a proxy."""
    title = f"{status} {_REASONS[status]}"
    html = f"<html>\r\n<head><title>{title}</title></head>\r\n<body><center><h1>{title}</h1></center></body>\r\n</html>"
    headers = () if retry_after is None else (("Retry-After", str(retry_after)),)
    return Answer(status, html.encode(), HTML_TYPE, headers)


def instead(kind: FaultKind, faults: Faults) -> Answer | None:
    """Return the answer that a fault gives in place of the API's own; None if the fault is not of that sort."""
    name = kind.removesuffix("_after")
    if name in ("502", "504", "520", "524"):
        return page(int(name))
    if name in ("429", "503"):
        return page(int(name), faults.retry_after)
    if name == "500":
        return error_list(500, error_item(UNEXPECTED, "An unexpected error occurred."))
    if name == "408":
        answer = error_list(408, error_item(TIMED_OUT, "The request timed out."))
        answer.close = True
        return answer
    if name == "redirect":
        return Answer(307, b"", HTML_TYPE, (("Location", "/elsewhere"),))
    return None


def spoil(draw: Draw, answer: Answer, shown: JsonValue, account: Account) -> Answer | None:
    """Return the answer with a spoilt body or header; None if the fault is not of that sort.

    `shown` is the body of the answer as JSON.
    """
    kind = draw.kind
    status = 200 if answer.status == HTTPStatus.NO_CONTENT else answer.status
    if kind == "garbage":
        body = b"\xff" + Random(draw.noise).randbytes(len(answer.body) or 64)  # noqa: S311 - noise, not a secret
        return attrs.evolve(answer, status=status, body=body, content_type=JSON_TYPE)
    if kind == "html_200":
        html = b"<!DOCTYPE html><html><head><title>Welcome</title></head><body>Please sign in.</body></html>"
        return Answer(200, html, HTML_TYPE)
    if kind == "empty_200":
        return Answer(200, b"", None)
    if kind == "wrong_type":
        return attrs.evolve(
            answer, status=status, body=to_json(_with_wrong_type(shown, draw.noise)), content_type=JSON_TYPE
        )
    if kind == "cut_json":
        body = answer.body or b'{"data":{}}'
        return attrs.evolve(answer, status=status, body=body[: len(body) // 2], content_type=JSON_TYPE)
    if kind == "error_200":
        return Answer(200, to_json({"errors": [error_item(UNEXPECTED, "An unexpected error occurred.")]}))
    if kind == "bad_gzip":
        body = answer.body or b"{}"
        headers = (*answer.headers, ("Content-Encoding", "gzip"))
        return attrs.evolve(answer, status=status, body=body, headers=headers, content_type=JSON_TYPE)
    if kind == "long_header":
        return attrs.evolve(answer, headers=(*answer.headers, ("X-Debug", "x" * _LONG)))
    if kind == "mislabeled":
        return attrs.evolve(answer, content_type="text/plain" if answer.body else None)
    if kind == "wrong_room":
        return attrs.evolve(answer, body=to_json(_for_other_room(shown, draw.noise, account)) if answer.body else b"")
    return None


def mangle(kind: FaultKind, answer: Answer, common: str) -> tuple[bytes, bool] | None:
    """Return spoilt bytes and whether the connection stays open after them; None if the fault is not of that sort."""
    body = answer.body
    if kind == "bad_http":
        return _TLS_ALERT, False
    if kind == "truncated":
        if not body:  # nothing to cut but the head
            return _first_half(whole(answer, common)), False
        return head_of(answer, common, f"Content-Length: {len(body)}\r\n") + _first_half(body), False
    if kind == "truncated_chunked":
        if not body:
            return _first_half(whole(answer, common)), False
        half = _first_half(body)
        return head_of(answer, common, "Transfer-Encoding: chunked\r\n") + b"%x\r\n%b\r\n" % (len(half), half), False
    if kind == "cut_head":
        return _first_half(head_of(answer, common, f"Content-Length: {len(body)}\r\n")), False
    if kind == "until_close":
        closing = attrs.evolve(answer, close=True)
        return (head_of(closing, common, "") + body if body else whole(closing, common)), False
    if kind == "early_hints":
        return _HEAD_OF_103 + whole(answer, common), True
    if kind == "surplus":
        extra = error_list(500, error_item(BAD_REQUEST, "This answer belongs to no request."))
        return whole(answer, common) + whole(extra, common), True
    return None


def _first_half(data: bytes) -> bytes:
    return data[: len(data) // 2]


def _with_wrong_type(shown: JsonValue, noise: int) -> JsonValue:
    """Give one field of a room, of the first room of a list, or of anything else, a type that it can't have."""
    data = shown.get("data") if isinstance(shown, dict) else None
    room = data[0] if isinstance(data, list) and data else data
    if not isinstance(room, dict):
        return {"data": 17, "errors": 17}
    wrong: list[tuple[str, JsonValue]] = [
        ("id", 17),
        ("max_participants", "10"),
        ("unique_name", ["room"]),
        ("created_at", 1618566380),
        ("updated_at", "yesterday"),
        ("active_session_id", True),
        ("enable_recording", "true"),
        ("webhook_event_url", {"url": "https://example.com"}),
        ("webhook_event_failover_url", 0),
        ("webhook_timeout_secs", 2.5),
        ("sessions", {}),
        ("record_type", 1),
    ]
    name, value = wrong[noise % len(wrong)]
    room[name] = value
    return shown


def _for_other_room(shown: JsonValue, noise: int, account: Account) -> JsonValue:
    """Put another room in the place of the one that is shown."""
    data = shown.get("data") if isinstance(shown, dict) else None
    if not isinstance(shown, dict) or not isinstance(data, dict):
        return shown
    others = [room_id for room_id in account.rooms if room_id != data.get("id")]
    other: JsonObject = account.rooms[others[noise % len(others)]].to_json() if others else {**data}
    if not others:
        other["id"] = account.new_id()
    return {**shown, "data": other}
