"""What each kind of fault does to a request that meets it.

An effect sends whatever the fault says on the connection of the request. An effect that sends nothing has the
connection closed. `_fault_kinds` says which kind has which effect.
"""

import json
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from random import Random
from typing import TypeAlias

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
from ._incoming import Incoming
from ._wire import head_of, page, whole

_LONG = 20_000
_TLS_ALERT = b"\x15\x03\x01\x00\x02\x02\x28\r\n\r\n"
_HEAD_OF_103 = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"


@attrs.frozen
class Broken:
    """A request that meets a fault."""

    incoming: Incoming
    answer: Answer
    """The right answer; an empty one if the request was not carried out."""
    account: Account
    noise: int
    """64 random bits, the same under the same seed, for whatever the effect has to choose."""
    stall_seconds: float
    slow_seconds: float
    retry_after: str | int | None


Effect: TypeAlias = Callable[[Broken], Awaitable[None]]


# Without an answer


async def reset(broken: Broken) -> None:
    """Reset the connection."""
    broken.incoming.reset()


async def close(broken: Broken) -> None:
    """Send nothing, so that the connection is closed."""


async def stall(broken: Broken) -> None:
    """Wait until the client gives up or the time has passed."""
    await broken.incoming.wait(broken.stall_seconds)


# With an answer, right or wrong


def answers(make: Callable[[Broken], Answer]) -> Effect:
    """Return the effect that sends the answer that `make` returns."""

    async def send(broken: Broken) -> None:
        broken.incoming.send(make(broken))

    return send


def proxy_page(status: int) -> Effect:
    """Return the effect that sends the HTML page of a proxy."""
    return answers(lambda _: page(status))


def proxy_page_with_retry_after(status: int) -> Effect:
    """Return the effect that sends the HTML page of a proxy, with the `Retry-After` of the settings."""
    return answers(lambda broken: page(status, broken.retry_after))


def server_error(_: Broken) -> Answer:
    """Return the API's own 500."""
    return error_list(500, error_item(UNEXPECTED, "An unexpected error occurred."))


def request_timeout(_: Broken) -> Answer:
    """Return the API's own 408, after which the connection is closed."""
    answer = error_list(408, error_item(TIMED_OUT, "The request timed out."))
    answer.close = True
    return answer


def redirect(_: Broken) -> Answer:
    """Return a redirect to nowhere."""
    return Answer(307, b"", HTML_TYPE, (("Location", "/elsewhere"),))


def garbage(broken: Broken) -> Answer:
    """Return random bytes as the body."""
    count = len(broken.answer.body) or 64
    return _with_body(broken, b"\xff" + Random(broken.noise).randbytes(count))  # noqa: S311 - noise, not a secret


def html(_: Broken) -> Answer:
    """Return a page that has nothing to do with the API."""
    body = b"<!DOCTYPE html><html><head><title>Welcome</title></head><body>Please sign in.</body></html>"
    return Answer(200, body, HTML_TYPE)


def empty(_: Broken) -> Answer:
    """Return a 200 without a body."""
    return Answer(200, b"", None)


def wrong_type(broken: Broken) -> Answer:
    """Give one field of a room, of the first room of a list, or of anything else, a type that it can't have."""
    shown = _shown(broken)
    data = shown.get("data") if isinstance(shown, dict) else None
    room = data[0] if isinstance(data, list) and data else data
    if not isinstance(room, dict):
        return _with_body(broken, to_json({"data": 17, "errors": 17}))
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
    name, value = wrong[broken.noise % len(wrong)]
    room[name] = value
    return _with_body(broken, to_json(shown))


def cut_json(broken: Broken) -> Answer:
    """Cut the JSON in half."""
    return _with_body(broken, _first_half(broken.answer.body or b'{"data":{}}'))


def error_with_200(broken: Broken) -> Answer:
    """Return an errors list with the status of a success."""
    return attrs.evolve(server_error(broken), status=200)


def bad_gzip(broken: Broken) -> Answer:
    """Label the body as compressed."""
    answer = _with_body(broken, broken.answer.body or b"{}")
    return attrs.evolve(answer, headers=(*answer.headers, ("Content-Encoding", "gzip")))


def long_header(broken: Broken) -> Answer:
    """Add a header field that is longer than clients accept."""
    return attrs.evolve(broken.answer, headers=(*broken.answer.headers, ("X-Debug", "x" * _LONG)))


def mislabeled(broken: Broken) -> Answer:
    """Label the body as plain text."""
    return attrs.evolve(broken.answer, content_type="text/plain" if broken.answer.body else None)


def wrong_room(broken: Broken) -> Answer:
    """Put another room in the place of the one that is shown."""
    shown = _shown(broken)
    data = shown.get("data") if isinstance(shown, dict) else None
    if not isinstance(shown, dict) or not isinstance(data, dict):
        return broken.answer
    others = [room for room in broken.account.rooms.values() if room.id != data.get("id")]
    if others:
        other: JsonObject = others[broken.noise % len(others)].to_json()
    else:
        other = {**data, "id": broken.account.new_id()}
    return attrs.evolve(broken.answer, body=to_json({**shown, "data": other}))


async def slow(broken: Broken) -> None:
    """Send the right answer in small pieces."""
    await broken.incoming.send_slowly(broken.answer, broken.slow_seconds)


async def stale(broken: Broken) -> None:
    """Send the right answer, and close the connection when the next request is sent on it."""
    broken.incoming.send(broken.answer)
    broken.incoming.close_at_next_request()


# With bytes that are not an answer, or not one answer


def writes(make: Callable[[Answer, str], bytes], *, stays_open: bool = False) -> Effect:
    """Return the effect that writes the bytes that `make` makes of the right answer and the common header lines."""

    async def write(broken: Broken) -> None:
        incoming, answer = broken.incoming, broken.answer
        data = make(answer, incoming.next_lines())
        incoming.write(data, status=answer.status, keep_open=stays_open and not incoming.is_last)

    return write


async def bad_http(broken: Broken) -> None:
    """Send bytes that are not HTTP."""
    broken.incoming.write(_TLS_ALERT, status=None, keep_open=False)


def truncated(answer: Answer, common: str) -> bytes:
    """Return the whole head and half of the body; half of the head if there is no body."""
    if not answer.body:
        return _first_half(whole(answer, common))
    return head_of(answer, common, f"Content-Length: {len(answer.body)}\r\n") + _first_half(answer.body)


def truncated_chunked(answer: Answer, common: str) -> bytes:
    """Return a chunked answer with half of the body and no last chunk; half of the head if there is no body."""
    if not answer.body:
        return _first_half(whole(answer, common))
    half = _first_half(answer.body)
    return head_of(answer, common, "Transfer-Encoding: chunked\r\n") + b"%x\r\n%b\r\n" % (len(half), half)


def cut_head(answer: Answer, common: str) -> bytes:
    """Return half of the head."""
    return _first_half(head_of(answer, common, f"Content-Length: {len(answer.body)}\r\n"))


def until_close(answer: Answer, common: str) -> bytes:
    """Return the right answer without a length."""
    closing = attrs.evolve(answer, close=True)
    return head_of(closing, common, "") + answer.body if answer.body else whole(closing, common)


def early_hints(answer: Answer, common: str) -> bytes:
    """Return an informational answer and the right one."""
    return _HEAD_OF_103 + whole(answer, common)


def surplus(answer: Answer, common: str) -> bytes:
    """Return the right answer and one more."""
    extra = error_list(500, error_item(BAD_REQUEST, "This answer belongs to no request."))
    return whole(answer, common) + whole(extra, common)


def _first_half(data: bytes) -> bytes:
    return data[: len(data) // 2]


def _shown(broken: Broken) -> JsonValue:
    shown: JsonValue = json.loads(broken.answer.body) if broken.answer.body else None
    return shown


def _with_body(broken: Broken, body: bytes) -> Answer:
    """Return the right answer with another body; it keeps its status, except that a 204 becomes a 200."""
    answer = broken.answer
    status = HTTPStatus.OK if answer.status == HTTPStatus.NO_CONTENT else answer.status
    return attrs.evolve(answer, status=int(status), body=body, content_type=JSON_TYPE)
