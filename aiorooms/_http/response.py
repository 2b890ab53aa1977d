"""Interpret an answer: turn its status, headers and body into a value or a failure. No I/O, no state.

The result of an attempt is a `Success` or a `Failure`. Besides the error, a failure records:

- `retry`: whether another attempt is safe and may succeed. A request that may have been carried out is sent again only
  if it is idempotent. GET, DELETE and a PATCH of absolute values are idempotent, POST is not.
- `uncertain`: whether the server may have carried out the request although the attempt failed. It is True if the
  request was sent and is not a GET, unless the answer is a rejection (4xx except 408).
- `wait`: how long the server asked the client to wait, in seconds.

Example: a proxy answers a PATCH with 502. The failure has `retry` and `uncertain` set, and its error would be an
`InternalServerError`. The server answers the next attempt with 422, which shows that this attempt changed nothing. The
outcome of the first attempt is still uncertain, so the client reads the room before the call ends.

The functions here return failures and raise no exceptions. When a call fails, its exception is created from the failure
of its last attempt.
"""

import re
from collections.abc import Callable, Mapping
from functools import partial
from http import HTTPStatus
from typing import Final, Generic, NamedTuple, TypeVar, cast

from .._pacing import NO_INFO, RateLimitInfo, read_rate_limit
from .._pacing.headers import reset_after, retry_after
from .._text import excerpt
from ..errors import (
    APIConnectionError,
    APIError,
    APIResponseError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    ConflictError,
    ErrorDetail,
    InternalServerError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    UnprocessableEntityError,
)
from ..models._values import DecodeError, is_object
from .json import dumps, loads
from .request import NotConfirmedError, Request
from .secret import ApiKey

__all__ = [
    "Failure",
    "Received",
    "Success",
    "is_server_failure",
    "no_answer",
    "not_sent",
    "read_answer",
    "too_large",
    "unreadable",
]

T = TypeVar("T")

# Ints, because looking a member up for each answer takes 0.3 us in Python 3.11.
_NO_CONTENT: Final = int(HTTPStatus.NO_CONTENT)
_NOT_FOUND: Final = int(HTTPStatus.NOT_FOUND)


class Received(NamedTuple):
    """An answer as it was received."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    """The body, decompressed."""
    request_id: str | None
    """The `x-request-id` of the answer, in which the API key is replaced."""

    @classmethod
    def of(cls, status: int, headers: Mapping[str, str], body: bytes, key: ApiKey) -> "Received":
        """Return the answer with its request id."""
        request_id = headers.get("x-request-id")
        return cls(status, headers, body, None if request_id is None else key.redact(request_id))

    def redacted(self, key: ApiKey) -> "Received":
        """Return the answer with the API key replaced, because a failure stays in the frames of a traceback."""
        headers = {name: key.redact(value) for name, value in self.headers.items()}
        return self._replace(headers=headers, body=key.redact(_plain_text(self.body)).encode("utf-8", "replace"))


class Success(NamedTuple, Generic[T]):
    """The value of a successful attempt."""

    value: T
    received: Received
    rate_limit: RateLimitInfo = NO_INFO

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.received.status


class Failure(NamedTuple):
    """How an attempt failed, and what may follow."""

    make_error: Callable[..., APIError]
    """Creates the exception when the call ends. Called with `attempts`, `uncertain`, `hint` and `reason`."""
    retry: bool
    uncertain: bool
    status: int | None = None
    """The HTTP status of the answer. None if there was no answer, or if the answer can't be read."""
    wait: float | None = None
    """How long the server asked the client to wait, in seconds. None if it did not ask."""
    stale_connection: bool = False
    """Whether the server closed a reused connection without an answer, or the answer was to another request."""
    was_sent: bool = True
    """Whether the request was sent, at least in part."""
    out_of_sockets: bool = False
    """Whether the system granted no socket, because the process has too many open files or connections."""
    errors: tuple[ErrorDetail, ...] = ()
    """The error objects of the answer."""
    rate_limit: RateLimitInfo | None = None
    """The rate limit that the answer reports. None if there was no answer."""
    received: Received | None = None
    """The answer, with the API key replaced; None if there was none."""

    @property
    def rate_limited(self) -> bool:
        """Whether the server answered 429."""
        return self.status == 429

    @property
    def is_contact(self) -> bool:
        """Whether this is a successful contact: a readable answer whose status is neither 408 nor 5xx."""
        return self.status is not None and not is_server_failure(self.status)


def is_server_failure(status: int) -> bool:
    """Return whether a status means that the server could not handle the request: 408, or 500 and above."""
    return status == 408 or status >= 500


# --- no answer ---


def not_sent(request: Request[T], reason: str, *, timed_out: bool = False, retry: bool = True) -> Failure:
    """Return the failure of a request that was not sent. The server can't have carried it out."""
    kind = APITimeoutError if timed_out else APIConnectionError
    message = f"{request.subject}: not sent: {excerpt(reason, 300)}"
    return Failure(make_error=partial(kind, message), retry=retry, uncertain=False, was_sent=False)


def no_answer(request: Request[T], reason: str, *, timed_out: bool = False) -> Failure:
    """Return the failure of a request that was sent, at least in part, and got no complete answer."""
    kind = APITimeoutError if timed_out else APIConnectionError
    return Failure(
        make_error=partial(kind, f"{request.subject}: {excerpt(reason, 300)}"),
        retry=request.idempotent,
        uncertain=not request.read_only,
    )


# --- an answer ---


def read_answer(
    request: Request[T], status: int, headers: Mapping[str, str], body: bytes, key: ApiKey
) -> Success[T] | Failure:
    """Return the value of an answer, or a failure. Never raises, whatever the answer contains.

    `key` is replaced in error messages, because a server may echo it.
    """
    received = Received.of(status, headers, body, key)
    rate_limit = read_rate_limit(headers, rate_limited=status == 429)
    if status == _NOT_FOUND and request.decode_not_found is not None:
        return Success(request.decode_not_found(), received, rate_limit)
    if not 200 <= status < 300:
        return _read_error(request, received, key, rate_limit)
    try:
        if status == _NO_CONTENT and request.decode_no_content is not None:
            return Success(request.decode_no_content(), received, rate_limit)
        return Success(request.decode(body), received, rate_limit)
    except NotConfirmedError as error:
        return _not_confirmed(request, received, key.redact(str(error)), key, rate_limit)
    except DecodeError as error:
        what = str(error)
        text = _plain_text(body)
        if details := _error_details(key.redact(text)):
            message = f"{status} {request.subject}: the answer contains errors ({'; '.join(map(str, details))})"
            return unreadable(request, message, received=received, key=key, rate_limit=rate_limit)
        if key.redact(text) != text:
            what = "is not what the API describes (not shown, because it contains the API key)"
        if not error.path and text.lstrip()[:100].lower().startswith(("<!doctype html", "<html")):
            what = f"is an HTML page, not JSON: check base_url and proxies ({_describe(key.redact(text))})"
        where = f"{error.path or 'it'} {what}"
        message = f"{status} {request.subject}: the answer can't be read: {where}"
        return unreadable(request, message, received=received, path=error.path, key=key, rate_limit=rate_limit)


def _not_confirmed(
    request: Request[T], received: Received, gaps: str, key: ApiKey, rate_limit: RateLimitInfo
) -> Failure:
    """Return the failure of a request whose answer does not show the outcome. Only a read-back can show it."""
    status, request_id = received.status, received.request_id
    message = f"{status} {request.subject}: the answer does not confirm the request ({gaps})"
    return Failure(
        make_error=partial(APIResponseError, excerpt(message, _MAX_TEXT), status=status, request_id=request_id),
        retry=False,
        uncertain=True,
        status=status,
        rate_limit=rate_limit,
        received=received.redacted(key),
    )


def too_large(request: Request[T], received: Received, limit: int, key: ApiKey) -> Failure:
    """Return the failure of a request whose answer is too large. It is not retried: the answer would be the same."""
    status, request_id = received.status, received.request_id
    advice = [request.size_advice] if request.size_advice else []
    if limit < request.max_size:
        advice.append("raise max_response_size")
    message = "; ".join([f"{status} {request.subject}: the answer is larger than {limit:,} bytes", *advice])
    return Failure(
        make_error=partial(APIResponseError, message, status=status, request_id=request_id),
        retry=False,
        uncertain=not request.read_only,
        status=status,
        rate_limit=read_rate_limit(received.headers, rate_limited=False),
        received=received.redacted(key),
    )


def unreadable(
    request: Request[T],
    message: str,
    *,
    received: Received | None = None,
    path: str | None = None,
    key: ApiKey,
    rate_limit: RateLimitInfo | None = None,
) -> Failure:
    """Return the failure of a request whose answer can't be read. `received` is None if the answer is not HTTP."""
    message = excerpt(key.redact(message), _MAX_TEXT)
    status, request_id = (None, None) if received is None else (received.status, received.request_id)
    return Failure(
        make_error=partial(APIResponseError, message, path=path, status=status, request_id=request_id),
        retry=request.idempotent,
        uncertain=not request.read_only,
        rate_limit=rate_limit,
        received=None if received is None else received.redacted(key),
    )


_ERRORS: Final[Mapping[int, type[APIStatusError]]] = {
    400: BadRequestError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: ConflictError,
    422: UnprocessableEntityError,
    429: RateLimitError,
}

_PHRASES: Final = {
    400: ": bad request",
    401: ": request rejected: check the API key",
    403: ": request rejected: the API key has no permission for this",
    404: " not found",
    407: ": the proxy requires credentials: check the proxy's user and password",
    408: ": the server timed out",
    409: ": request rejected: it conflicts with the current state",
    422: ": request rejected",
    429: ": rate limited",
}


def _read_error(request: Request[T], received: Received, key: ApiKey, rate_limit: RateLimitInfo) -> Failure:
    status, headers, body, request_id = received
    text = key.redact(_plain_text(body))
    details = _error_details(text)
    said = excerpt("; ".join(map(str, details)), _MAX_TEXT) if details else _describe(text)
    wait = rate_limit.retry_after if status == 429 else retry_after(headers)
    if wait is None and status == 429:
        wait = reset_after(headers) if rate_limit.reset is None else rate_limit.reset
    make_error = partial(
        InternalServerError if status >= 500 else _ERRORS.get(status, APIStatusError),
        f"{status} {request.subject}{_phrase(status, headers, key, is_described=bool(details))} ({said})",
        status=status,
        errors=details,
        request_id=request_id,
        retry_after=wait,
    )
    is_transient = is_server_failure(status)
    return Failure(
        make_error=make_error,
        retry=status == 429 or (is_transient and request.idempotent),
        # Only a 4xx shows that the request was rejected. A redirect does not: the server sends a 303, for example,
        # after it has carried out the request.
        uncertain=(is_transient or not 400 <= status < 500) and not request.read_only,
        status=status,
        wait=wait if status == 429 or is_transient else None,
        errors=details,
        rate_limit=rate_limit,
        received=received.redacted(key),
    )


def _phrase(status: int, headers: Mapping[str, str], key: ApiKey, *, is_described: bool) -> str:
    if status == 404 and not is_described:
        return " not found, and the answer is not one of the API: check base_url"
    if status >= 500:
        return ": the server failed to handle the request"
    if 300 <= status < 400:
        target = key.redact(headers.get("location", "an unknown location"))
        return f": redirected to {excerpt(target, 200)}: check base_url"
    return _PHRASES.get(status, ": request rejected")


def _error_details(text: str) -> tuple[ErrorDetail, ...]:
    """Return the errors in a body: the list `errors` or `detail`, a single error object, or the text `message`."""
    try:
        body = loads(text.encode())
    except (DecodeError, UnicodeEncodeError):
        return ()
    if not is_object(body):
        return ()
    errors = body.get("errors") or body.get("detail")
    if isinstance(errors, list):
        return tuple(_error_detail(error) for error in cast("list[object]", errors) if is_object(error))
    if "code" in body or "title" in body or "detail" in body:
        return (_error_detail(body),)
    message = body.get("message")
    return (ErrorDetail(detail=message),) if isinstance(message, str) and message.strip() else ()


_MAX_TEXT: Final = 500
"""Maximum number of characters of the server's text in an error message. `.errors` contains the full text."""


def _error_detail(error: Mapping[str, object]) -> ErrorDetail:
    source = error.get("source")
    meta = error.get("meta")
    # The alternatives are for FastAPI's format: `{"loc": ["body", "max_participants"], "msg": ..., "type": ...}`.
    return ErrorDetail(
        code=_text(error.get("code")) or _text(error.get("type")),
        title=_text(error.get("title")),
        detail=_text(error.get("detail")) or _text(error.get("msg")),
        pointer=_text(source.get("pointer")) if is_object(source) else _pointer(error.get("loc")),
        parameter=_text(source.get("parameter")) if is_object(source) else None,
        meta=meta if is_object(meta) else None,
    )


def _pointer(location: object) -> str | None:
    """Return FastAPI's `loc` as a JSON pointer: `["body", "max_participants"]` becomes `/max_participants`."""
    if not isinstance(location, list):
        return None
    parts = [part for part in cast("list[object]", location)[1:] if isinstance(part, (str, int))]
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts) or None


def _text(value: object) -> str | None:
    """Return a string unchanged, and an integer as a string. Return None for anything else."""
    if isinstance(value, (str, int)) and not isinstance(value, bool):
        return str(value)
    return None


def _describe(text: str) -> str:
    if not text.strip():
        return "no body"
    # Search only the beginning, because searching a long text that repeats "<title" would take seconds.
    if title := re.search(r"<title[^>]*>([^<]{1,200})", text[:2000], re.IGNORECASE):
        return f"HTML: {excerpt(title[1], _MAX_TEXT)}"
    return f"unrecognized body: {excerpt(text, 100)!r}"


def _plain_text(body: bytes) -> str:
    """Return a body as text. JSON is re-encoded without needless escapes, because they could hide the API key."""
    if b"\\" in body:
        try:
            return dumps(loads(body)).decode()
        except (ValueError, TypeError, RecursionError):  # not JSON, or nested too deeply to be re-encoded
            pass
    return body.decode("utf-8", "replace")
