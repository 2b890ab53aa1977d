"""A request that is ready to be sent, and the read-back that follows if its outcome is uncertain.

Example: all attempts of an update to `max_participants=20` time out, so the client reads the room. If the room has the
value 20, the read-back returns `Confirmed`. If it has the value 10, the result is `NotApplied`. If the field is
missing, the result is `Unconfirmed`.
"""

from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeAlias, TypeVar

import attrs

from ..errors import ErrorDetail

__all__ = ["Confirmed", "NotApplied", "NotConfirmedError", "ReadBack", "Request", "Unconfirmed", "Verdict"]

T = TypeVar("T")


@attrs.define(kw_only=True, eq=False)  # creating a frozen instance would cost 0.7 us more per update
class Request(Generic[T]):
    """A request whose body is already encoded, so every attempt sends the same bytes."""

    method: str
    route: str
    """The path with placeholders, such as `/rooms/{room_id}`."""
    path: str
    """The path after the base URL, percent-encoded."""
    subject: str
    """What the request is about, for error messages, such as `room 7b61...`."""
    decode: Callable[[bytes], T]
    """Decodes the body of a 2xx answer. Raises `DecodeError` or `NotConfirmedError`."""
    max_size: int
    """Maximum size of the answer, in bytes."""
    decode_no_content: Callable[[], T] | None = None
    """Returns the value for a 204 answer. None if the API never answers this request with 204."""
    decode_not_found: Callable[[], T] | None = None
    """Returns the value for a 404 answer. None if a 404 is a failure."""
    size_advice: str = ""
    """What the caller can do if the answer is too large, for the error message."""
    body: bytes | None = None
    revise: "Callable[[int, Sequence[ErrorDetail]], Request[T] | None] | None" = None
    """Called with the status and the errors of a rejection. Returns the request to send instead, or None."""
    query: str = ""
    """The query, percent-encoded, without the question mark."""
    read_back: "Callable[[], ReadBack[T]] | None" = None
    """Creates the read-back for an uncertain outcome. None if a read-back can't show the outcome."""

    @property
    def operation(self) -> str:
        """The method and the route. All requests of an operation have the same rate limits."""
        return f"{self.method} {self.route}"

    @property
    def idempotent(self) -> bool:
        """Whether the request may be sent again even if it was already carried out (RFC 9110, 9.2.2)."""
        # In RFC 9110, PATCH is not idempotent, because a patch may depend on the current state. Ours contain only
        # absolute values.
        return self.method != "POST"

    @property
    def read_only(self) -> bool:
        """Whether the request changes nothing on the server."""
        return self.method == "GET"


class NotConfirmedError(Exception):
    """The answer can be read, but does not show that the request was carried out. The message says why."""


@attrs.frozen
class Confirmed(Generic[T]):
    """The request was carried out. The call returns `value`."""

    value: T


@attrs.frozen
class NotApplied:
    """The request was not carried out."""

    hint: str = ""
    """The evidence that the request was not carried out, for the error message."""


@attrs.frozen
class Unconfirmed:
    """It is not known whether the request was carried out."""

    hint: str = ""
    """Why the read-back does not show whether the request was carried out, for the error message."""


Verdict: TypeAlias = Confirmed[T] | NotApplied | Unconfirmed
"""The result of a read-back."""


class ReadBack(NamedTuple, Generic[T]):
    """The GET that follows an uncertain request."""

    request: Request[Verdict[T]]
    """The GET itself. Its answer is decoded to the result of the read-back."""
    not_found: Verdict[T]
    """The result if the server answers 404."""
