"""The effects of the faults. If a fault is injected into a request, the effect sends the answer, or sends nothing.

An effect writes to the connection of the request. If it writes nothing, the connection is closed. `_fault_kinds` maps
each kind of fault to its effect.
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
from ._wire import head_of, proxy_error, serialize

_LONG_HEADER = 20_000  # characters
_TLS_ALERT = b"\x15\x03\x01\x00\x02\x02\x28\r\n\r\n"
_HEAD_OF_103 = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"


@attrs.frozen
class FaultyRequest:
    """A request into which the simulator injects a fault, and what the effect of the fault needs."""

    incoming: Incoming
    answer: Answer
    """The correct answer, or an empty answer if the request was not carried out."""
    account: Account
    noise: int
    """A random number for the choices of the effect. It depends only on the simulator's seed and on the request."""
    stall_seconds: float
    slow_seconds: float
    retry_after: str | int | None


Effect: TypeAlias = Callable[[FaultyRequest], Awaitable[None]]


# Effects that send no answer


async def reset(faulty: FaultyRequest) -> None:
    """Reset the connection."""
    faulty.incoming.reset()


async def close(faulty: FaultyRequest) -> None:
    """Send nothing. The connection is then closed."""


async def stall(faulty: FaultyRequest) -> None:
    """Wait for `stall_seconds`, or until the client disconnects, and send nothing."""
    await faulty.incoming.wait(faulty.stall_seconds)


# Effects that send one complete answer, correct or wrong


def answers(make: Callable[[FaultyRequest], Answer]) -> Effect:
    """Return an effect that sends the answer returned by `make`."""

    async def send(faulty: FaultyRequest) -> None:
        faulty.incoming.send(make(faulty))

    return send


def proxy_page(status: int) -> Effect:
    """Return an effect that sends the HTML error page of a proxy."""
    return answers(lambda _: proxy_error(status))


def proxy_page_with_retry_after(status: int) -> Effect:
    """Return an effect that sends the HTML error page of a proxy, with `Retry-After` if `Faults.retry_after` is set."""
    return answers(lambda faulty: proxy_error(status, faulty.retry_after))


def bare_429(faulty: FaultyRequest) -> Answer:
    """Return the 429 page of a gateway that does not know the limit of the API, so no header reports it."""
    faulty.incoming.limit_lines = ""
    return proxy_error(429)


def server_error(_: FaultyRequest) -> Answer:
    """Return the API's own 500."""
    return error_list(500, error_item(UNEXPECTED, "An unexpected error occurred."))


def request_timeout(_: FaultyRequest) -> Answer:
    """Return the API's own 408. The connection is closed after this answer."""
    answer = error_list(408, error_item(TIMED_OUT, "The request timed out."))
    answer.close = True
    return answer


def redirect(_: FaultyRequest) -> Answer:
    """Return a redirect to a path that does not exist."""
    return Answer(307, b"", HTML_TYPE, (("Location", "/elsewhere"),))


def garbage(faulty: FaultyRequest) -> Answer:
    """Return the correct answer with random bytes as its body."""
    count = len(faulty.answer.body) or 64
    return _with_body(faulty, b"\xff" + Random(faulty.noise).randbytes(count))  # noqa: S311 - noise, not a secret


def html(_: FaultyRequest) -> Answer:
    """Return the HTML page of a sign-in portal, with status 200."""
    body = b"<!DOCTYPE html><html><head><title>Welcome</title></head><body>Please sign in.</body></html>"
    return Answer(200, body, HTML_TYPE)


def empty(_: FaultyRequest) -> Answer:
    """Return a 200 without a body."""
    return Answer(200, b"", None)


def wrong_type(faulty: FaultyRequest) -> Answer:
    """Return the correct answer, but with a wrong type in one field of the room, or of the first room of a list.

    If the answer contains no room, return `{"data": 17, "errors": 17}`.
    """
    parsed = _parsed_body(faulty)
    data = parsed.get("data") if isinstance(parsed, dict) else None
    room = data[0] if isinstance(data, list) and data else data
    if not isinstance(room, dict):
        return _with_body(faulty, to_json({"data": 17, "errors": 17}))
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
    name, value = wrong[faulty.noise % len(wrong)]
    room[name] = value
    return _with_body(faulty, to_json(parsed))


def cut_json(faulty: FaultyRequest) -> Answer:
    """Return the correct answer with only the first half of its JSON."""
    return _with_body(faulty, _first_half(faulty.answer.body or b'{"data":{}}'))


def error_with_200(faulty: FaultyRequest) -> Answer:
    """Return an errors list with status 200."""
    return attrs.evolve(server_error(faulty), status=200)


def bad_gzip(faulty: FaultyRequest) -> Answer:
    """Return the correct answer, uncompressed but with `Content-Encoding: gzip`."""
    answer = _with_body(faulty, faulty.answer.body or b"{}")
    return attrs.evolve(answer, headers=(*answer.headers, ("Content-Encoding", "gzip")))


def long_header(faulty: FaultyRequest) -> Answer:
    """Return the correct answer with a header field that is longer than most clients accept."""
    return attrs.evolve(faulty.answer, headers=(*faulty.answer.headers, ("X-Debug", "x" * _LONG_HEADER)))


def mislabeled(faulty: FaultyRequest) -> Answer:
    """Return the correct answer with the content type `text/plain`."""
    return attrs.evolve(faulty.answer, content_type="text/plain" if faulty.answer.body else None)


def wrong_room(faulty: FaultyRequest) -> Answer:
    """Return another room instead of the correct one. For answers that are not a single room, change nothing."""
    parsed = _parsed_body(faulty)
    data = parsed.get("data") if isinstance(parsed, dict) else None
    if not isinstance(parsed, dict) or not isinstance(data, dict):
        return faulty.answer
    others = [room for room in faulty.account.rooms.values() if room.id != data.get("id")]
    if others:
        other: JsonObject = others[faulty.noise % len(others)].to_json()
    else:
        other = {**data, "id": faulty.account.new_id()}
    return attrs.evolve(faulty.answer, body=to_json({**parsed, "data": other}))


async def slow(faulty: FaultyRequest) -> None:
    """Send the correct answer in small pieces, over `slow_seconds`."""
    await faulty.incoming.send_slowly(faulty.answer, faulty.slow_seconds)


async def stale(faulty: FaultyRequest) -> None:
    """Send the correct answer, and close the connection when the next request arrives on it."""
    faulty.incoming.send(faulty.answer)
    faulty.incoming.close_at_next_request()


# Effects that write raw bytes: half an answer, two answers, a body with an unusual end, or bytes that are not HTTP


def writes(make: Callable[[Answer, str], bytes], *, stays_open: bool = False) -> Effect:
    """Return an effect that writes the bytes returned by `make(answer, common)`.

    `answer` is the correct answer, and `common` contains the header lines of all answers. With `stays_open`, the
    connection stays open unless the client wants it closed.
    """

    async def write(faulty: FaultyRequest) -> None:
        incoming, answer = faulty.incoming, faulty.answer
        data = make(answer, incoming.next_lines())
        incoming.write(data, status=answer.status, keep_open=stays_open and not incoming.is_last)

    return write


async def bad_http(faulty: FaultyRequest) -> None:
    """Send bytes that are not HTTP."""
    faulty.incoming.write(_TLS_ALERT, status=None, keep_open=False)


def truncated(answer: Answer, common: str) -> bytes:
    """Return the complete head and half of the body. If there is no body, return half of the head."""
    if not answer.body:
        return _first_half(serialize(answer, common))
    return head_of(answer, common, f"Content-Length: {len(answer.body)}\r\n") + _first_half(answer.body)


def truncated_chunked(answer: Answer, common: str) -> bytes:
    """Return half of the body, chunked, without the last chunk. If there is no body, return half of the head."""
    if not answer.body:
        return _first_half(serialize(answer, common))
    half = _first_half(answer.body)
    return head_of(answer, common, "Transfer-Encoding: chunked\r\n") + b"%x\r\n%b\r\n" % (len(half), half)


def cut_head(answer: Answer, common: str) -> bytes:
    """Return half of the head."""
    return _first_half(head_of(answer, common, f"Content-Length: {len(answer.body)}\r\n"))


def until_close(answer: Answer, common: str) -> bytes:
    """Return the correct answer without a length. The close of the connection marks the end of the body."""
    closing = attrs.evolve(answer, close=True)
    return head_of(closing, common, "") + answer.body if answer.body else serialize(closing, common)


def early_hints(answer: Answer, common: str) -> bytes:
    """Return a 103 answer, then the correct one."""
    return _HEAD_OF_103 + serialize(answer, common)


def surplus(answer: Answer, common: str) -> bytes:
    """Return the correct answer, followed by a second answer that belongs to no request."""
    extra = error_list(500, error_item(BAD_REQUEST, "This answer belongs to no request."))
    return serialize(answer, common) + serialize(extra, common)


def _first_half(data: bytes) -> bytes:
    return data[: len(data) // 2]


def _parsed_body(faulty: FaultyRequest) -> JsonValue:
    parsed: JsonValue = json.loads(faulty.answer.body) if faulty.answer.body else None
    return parsed


def _with_body(faulty: FaultyRequest, body: bytes) -> Answer:
    """Return the correct answer with another body. A 204 becomes a 200. Any other status is unchanged."""
    answer = faulty.answer
    status = HTTPStatus.OK if answer.status == HTTPStatus.NO_CONTENT else answer.status
    return attrs.evolve(answer, status=int(status), body=body, content_type=JSON_TYPE)
