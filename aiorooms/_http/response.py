"""What a request is, what an answer means, and whether to send again. No I/O: values in, values out.

An attempt ends in the value that was asked for or in a `Failure`. A failure knows three things besides its error:

- `retry`: another attempt may do better, and is safe. What may have been carried out is sent again only if the
  request is idempotent: a PATCH of absolute values, a GET and a DELETE are; a POST is not.
- `maybe_applied`: the server may have carried the request out, although it looks failed. It may have done so whenever
  the request went out and no answer came back that says otherwise; a refusal (4xx, but for 408) does say otherwise.
- `wait`: how long the server asked to wait.

When a call fails in the end after an attempt that may have been applied, its error has `uncertain` set, and
the caller of this layer looks at the room before it lets that stand.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Final, Generic, TypeVar, cast
from urllib.parse import quote

import attrs

from .._checks import at_least, not_negative, positive
from .._pacing import reset_after, retry_after
from .._text import excerpt
from ..errors import (
    AioroomsError,
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
from ..models._converter import DecodeError, is_object
from .json import dumps, loads

__all__ = [
    "Answer",
    "Failure",
    "Request",
    "RetryPolicy",
    "backoff",
    "is_sign_of_life",
    "no_answer",
    "not_sent",
    "read_answer",
    "redact",
    "unreadable",
]

T = TypeVar("T")


@attrs.frozen(kw_only=True)
class RetryPolicy:
    """When a failed attempt is followed by another. Raises `ClientSettingsError`, a `ValueError`, for a wrong setting.

    Sent again are: 408, 429 and 5xx answers, connection failures, timeouts, and 2xx answers that are cut off or can't
    be read; a POST only if it can't have been carried out. The wait before attempt n + 1 is random between 0 and
    `base_delay * 2 ** (n - 1)`, at most `max_delay` ("full jitter"), but as long as the server asks for at the least;
    after a 429 it's just that.
    """

    max_attempts: int = attrs.field(default=4, validator=at_least(1))
    """How many times a request is sent at the most; 1 switches retries off."""
    base_delay: float = attrs.field(default=0.5, validator=not_negative)
    """Seconds; the longest wait before the second attempt."""
    max_delay: float = attrs.field(default=8.0, validator=not_negative)
    """Seconds; the longest wait that the client chooses by itself."""
    max_elapsed: float | None = attrs.field(default=None, validator=attrs.validators.optional(positive))
    """Seconds since the call began after which no further attempt is begun. None: no limit."""


@attrs.define(kw_only=True)
class Request(Generic[T]):
    """One call, ready to be sent any number of times: its body is encoded already."""

    method: str
    path: str
    """The path after the base URL, percent-encoded."""
    subject: str
    """What it is about, as it stands in error messages: `room 7b61...`."""
    decode: Callable[[bytes], T]
    """Reads the body of a 2xx answer; raises `DecodeError`."""
    body: bytes | None = None
    query: str = ""
    """Percent-encoded, without the question mark."""

    @property
    def idempotent(self) -> bool:
        """Whether sending it again after it was carried out does no harm (RFC 9110, 9.2.2)."""
        # RFC 9110 leaves PATCH out because a patch may be relative. Ours hold absolute values only.
        return self.method != "POST"

    @property
    def read_only(self) -> bool:
        """Whether it changes nothing on the server."""
        return self.method == "GET"


@attrs.define
class Answer(Generic[T]):
    """What a call brought, and how often it was sent."""

    value: T
    attempts: int


@attrs.frozen
class Failure:
    """How an attempt failed, and what may be done about it."""

    error: APIError
    retry: bool
    maybe_applied: bool
    wait: float | None = None
    """Seconds that the server asked to wait."""
    stale_connection: bool = False
    """The server hung up without an answer on a connection that had been used before."""

    @property
    def refused(self) -> bool:
        """Whether the server said "too many requests"."""
        return isinstance(self.error, RateLimitError)


def is_sign_of_life(error: AioroomsError) -> bool:
    """Whether the server answered something that says something about the request, and so is not out."""
    return isinstance(error, APIStatusError) and error.status < 500 and error.status != 408


def backoff(policy: RetryPolicy, attempt: int, random: float) -> float:
    """Seconds to wait after failed attempt number `attempt` (from 1); `random` is between 0 and 1."""
    # The exponent is bounded: 2 ** 5000 is an OverflowError.
    return random * min(policy.max_delay, policy.base_delay * 2.0 ** min(attempt - 1, 32))


# --- no answer ---


def not_sent(request: Request[T], reason: str, *, timed_out: bool = False, retry: bool = True) -> Failure:
    """The connection could not be made, so the server knows nothing of the request."""
    kind = APITimeoutError if timed_out else APIConnectionError
    return Failure(kind(f"{request.subject}: not sent: {excerpt(reason, 300)}"), retry=retry, maybe_applied=False)


def no_answer(request: Request[T], reason: str, *, timed_out: bool = False) -> Failure:
    """The request went out, at least in part, and its answer did not come back whole."""
    kind = APITimeoutError if timed_out else APIConnectionError
    return _doubtful(request, kind(f"{request.subject}: {excerpt(reason, 300)}"))


def _doubtful(request: Request[T], error: APIError) -> Failure:
    return Failure(error, retry=request.idempotent, maybe_applied=not request.read_only)


# --- an answer ---


def read_answer(
    request: Request[T], status: int, headers: Mapping[str, str], body: bytes, *, secret: str = ""
) -> T | Failure:
    """Read an answer into its value or a failure. Whatever the bytes are, nothing else comes out.

    `secret` is the API key: a server may echo it, and no error may hold it.
    """
    if 200 <= status < 300:
        try:
            return request.decode(body)
        except DecodeError as error:
            what = str(error)
            text = _plain_text(body)
            if redact(text, secret) != text:
                what = "is not what the API describes (it isn't shown, as the API key is in it)"
            where = f"{error.path} {what}" if error.path else what
            message = f"{status} {request.subject}: the answer can't be read: {where}"
            return unreadable(request, message, status=status, path=error.path, secret=secret)
    return _read_error(request, status, headers, body, secret)


def unreadable(
    request: Request[T], message: str, *, status: int | None = None, path: str | None = None, secret: str = ""
) -> Failure:
    """An answer came that makes no sense."""
    return _doubtful(request, APIResponseError(excerpt(redact(message, secret), _LONGEST), path=path, status=status))


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
    400: "was a bad request",
    401: "refused: check the API key",
    403: "refused: the API key may not do this",
    404: "not found",
    408: "timed out on the server",
    409: "clashes with the present state",
    422: "refused",
    429: "refused: too many requests",
}


def _read_error(request: Request[T], status: int, headers: Mapping[str, str], body: bytes, secret: str) -> Failure:
    text = redact(_plain_text(body), secret)
    details = _error_details(text)
    said = excerpt("; ".join(map(str, details)), _LONGEST) if details else _what_it_looks_like(text)
    kind = InternalServerError if status >= 500 else _ERRORS.get(status, APIStatusError)
    wait = retry_after(headers)
    if wait is None and status == 429:
        wait = reset_after(headers)
    request_id = headers.get("x-request-id")
    error = kind(
        f"{status} {request.subject} {_phrase(status, headers, secret)} ({said})",
        status=status,
        errors=details,
        request_id=None if request_id is None else redact(request_id, secret),
        retry_after=wait,
    )
    if status == 429:
        return Failure(error, retry=True, maybe_applied=False, wait=wait)
    if status == 408 or status >= 500:
        return attrs.evolve(_doubtful(request, error), wait=wait)
    return Failure(error, retry=False, maybe_applied=False)


def _phrase(status: int, headers: Mapping[str, str], secret: str) -> str:
    if status >= 500:
        return "failed on the server"
    if 300 <= status < 400:
        target = redact(headers.get("location", "nowhere"), secret)
        return f"was redirected to {excerpt(target, 200)}: check base_url"
    return _PHRASES.get(status, "refused")


def _error_details(text: str) -> tuple[ErrorDetail, ...]:
    """Read the three shapes in which the API writes errors; empty for anything else."""
    try:
        body = loads(text.encode())
    except (DecodeError, UnicodeEncodeError):
        return ()
    if not is_object(body):
        return ()
    errors = body.get("errors")
    if isinstance(errors, list):
        return tuple(_error_detail(error) for error in cast("list[object]", errors) if is_object(error))
    if "code" in body or "title" in body or "detail" in body:
        return (_error_detail(body),)
    message = body.get("message")
    return (ErrorDetail(detail=message),) if isinstance(message, str) and message.strip() else ()


_LONGEST: Final = 500
"""Characters of what the server said that stand in an error's one line. `.errors` has all of it."""


def _error_detail(error: Mapping[str, object]) -> ErrorDetail:
    source = error.get("source")
    meta = error.get("meta")
    return ErrorDetail(
        code=_text(error.get("code")),
        title=_text(error.get("title")),
        detail=_text(error.get("detail")),
        pointer=_text(source.get("pointer")) if is_object(source) else None,
        parameter=_text(source.get("parameter")) if is_object(source) else None,
        meta=meta if is_object(meta) else None,
    )


def _text(value: object) -> str | None:
    """A text, or a number where a text should be: in an error, what can be told is told."""
    if isinstance(value, (str, int)) and not isinstance(value, bool):
        return str(value)
    return None


def _what_it_looks_like(text: str) -> str:
    if not text.strip():
        return "no body"
    # Only the beginning is searched: over a long text that is all "<title" this would take seconds.
    if title := re.search(r"<title[^>]*>([^<]{1,200})", text[:2000], re.IGNORECASE):
        return f"HTML: {excerpt(title[1], _LONGEST)}"
    return f"unknown body: {excerpt(text, 100)!r}"


def redact(text: str, secret: str) -> str:
    """Take the API key out of a text, also where it is written as in a URL or in JSON."""
    if secret:
        for written in (secret, quote(secret, safe=""), json.dumps(secret)[1:-1]):
            text = text.replace(written, "[API key]")
    return text


def _plain_text(body: bytes) -> str:
    """A body as text. JSON comes without needless escapes, behind which the API key could not be seen."""
    if b"\\" in body:
        try:
            return dumps(loads(body)).decode()
        except (ValueError, TypeError, RecursionError):  # no JSON, or too deeply nested to be written again
            pass
    return body.decode("utf-8", "replace")
