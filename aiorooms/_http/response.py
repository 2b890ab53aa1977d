"""What an answer means: bytes to a value or a failure. Pure: values in, values out.

An attempt ends in a `Success` or a `Failure`. A failure says three things besides what went wrong:

- `retry`: another attempt may do better, and is safe. What may have been carried out is sent again only if the
  request is idempotent: a PATCH of absolute values, a GET and a DELETE are; a POST is not.
- `uncertain`: the server may have carried the request out, although it looks failed. That is so whenever the
  request went out and no answer came back that says otherwise; a rejection (4xx, but for 408) does say otherwise.
- `wait`: how long the server asked to wait.

Example: a PATCH is answered 502 by a proxy. The failure is an `InternalServerError` that may be retried and may have
been applied. The next attempt is answered 422: nothing was changed by that one, but the first is still uncertain, so
the call ends with a read-back of the room.

No exception is made here. What the caller gets is made once, when the call ends, from the last failure.
"""

import json
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, Generic, NamedTuple, TypeVar, cast
from urllib.parse import quote

import attrs

from .._pacing import PLAIN, RateLimitInfo, read_rate_limit
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
from ..models._converter import DecodeError, is_object
from .json import dumps, loads
from .request import Request

__all__ = ["Failure", "Success", "is_server_trouble", "no_answer", "not_sent", "read_answer", "redact", "unreadable"]

T = TypeVar("T")


class Success(NamedTuple, Generic[T]):
    """The value that was asked for."""

    value: T
    rate_limit: RateLimitInfo = PLAIN


@attrs.frozen(kw_only=True)
class Failure:
    """How an attempt failed, and what may be done about it."""

    make_error: Callable[..., APIError]
    """Makes the exception; takes what the call adds at its end (`attempts`, `uncertain`, `hint`, `reason`)."""
    retry: bool
    uncertain: bool
    status: int | None = None
    """The HTTP status of a readable answer; None if none came."""
    wait: float | None = None
    """Seconds that the server asked to wait."""
    stale_connection: bool = False
    """The server hung up without an answer on a connection that had been used before."""
    answered: bool = False
    """Whether the server was there and answered, with an error or with something unreadable."""
    rate_limit: RateLimitInfo | None = None
    """What the answer says of the rate limit; None if none came."""

    @property
    def rate_limited(self) -> bool:
        """Whether the server said "too many requests"."""
        return self.status == 429

    @property
    def is_contact(self) -> bool:
        """Whether the answer says something about the request, and so shows that the server is not out."""
        return self.status is not None and not is_server_trouble(self.status)


def is_server_trouble(status: int) -> bool:
    """Whether a status says nothing about the request: 408, and 500 and above."""
    return status == 408 or status >= 500


# --- no answer ---


def not_sent(request: Request[T], reason: str, *, timed_out: bool = False, retry: bool = True) -> Failure:
    """The connection could not be made, so the server knows nothing of the request."""
    kind = APITimeoutError if timed_out else APIConnectionError
    message = f"{request.subject}: not sent: {excerpt(reason, 300)}"
    return Failure(make_error=partial(kind, message), retry=retry, uncertain=False)


def no_answer(request: Request[T], reason: str, *, timed_out: bool = False) -> Failure:
    """The request went out, at least in part, and its answer did not come back whole."""
    kind = APITimeoutError if timed_out else APIConnectionError
    return Failure(
        make_error=partial(kind, f"{request.subject}: {excerpt(reason, 300)}"),
        retry=request.idempotent,
        uncertain=not request.read_only,
    )


# --- an answer ---


def read_answer(
    request: Request[T], status: int, headers: Mapping[str, str], body: bytes, *, secret: str = ""
) -> Success[T] | Failure:
    """Read an answer into its value or a failure. Whatever the bytes are, nothing else comes out.

    `secret` is the API key: a server may echo it, and no error may hold it.
    """
    rate_limit = read_rate_limit(headers, rate_limited=status == 429)
    if not 200 <= status < 300:
        return _read_error(request, status, headers, body, secret, rate_limit)
    try:
        return Success(request.decode(body), rate_limit)
    except DecodeError as error:
        what = str(error)
        text = _plain_text(body)
        if redact(text, secret) != text:
            what = "is not what the API describes (it isn't shown, as the API key is in it)"
        where = f"{error.path} {what}" if error.path else what
        message = f"{status} {request.subject}: the answer can't be read: {where}"
        return unreadable(request, message, status=status, path=error.path, secret=secret, rate_limit=rate_limit)


def unreadable(
    request: Request[T],
    message: str,
    *,
    status: int | None = None,
    path: str | None = None,
    secret: str = "",
    rate_limit: RateLimitInfo | None = None,
) -> Failure:
    """An answer came that makes no sense."""
    message = excerpt(redact(message, secret), _LONGEST)
    return Failure(
        make_error=partial(APIResponseError, message, path=path, status=status),
        retry=request.idempotent,
        uncertain=not request.read_only,
        answered=True,
        rate_limit=rate_limit,
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
    400: "was a bad request",
    401: "refused: check the API key",
    403: "refused: the API key may not do this",
    404: "not found",
    408: "timed out on the server",
    409: "clashes with the present state",
    422: "refused",
    429: "refused: too many requests",
}


def _read_error(
    request: Request[T], status: int, headers: Mapping[str, str], body: bytes, secret: str, rate_limit: RateLimitInfo
) -> Failure:
    text = redact(_plain_text(body), secret)
    details = _error_details(text)
    said = excerpt("; ".join(map(str, details)), _LONGEST) if details else _what_it_looks_like(text)
    wait = rate_limit.retry_after if status == 429 else retry_after(headers)
    if wait is None and status == 429:
        wait = reset_after(headers)
    request_id = headers.get("x-request-id")
    make_error = partial(
        InternalServerError if status >= 500 else _ERRORS.get(status, APIStatusError),
        f"{status} {request.subject} {_phrase(status, headers, secret)} ({said})",
        status=status,
        errors=details,
        request_id=None if request_id is None else redact(request_id, secret),
        retry_after=wait,
    )
    may_pass = is_server_trouble(status)
    return Failure(
        make_error=make_error,
        retry=status == 429 or (may_pass and request.idempotent),
        uncertain=may_pass and not request.read_only,
        status=status,
        wait=wait if status == 429 or may_pass else None,
        answered=True,
        rate_limit=rate_limit,
    )


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
