"""A call that is ready to be sent, and the read-back that follows if its outcome is uncertain.

Example: an update to `max_participants=20` times out. Its `read_back` is a GET of the room. An answer with 20 is
decoded to `Confirmed`, an answer with 10 to `NotApplied`, and an answer without the field to `Unconfirmed`.
"""

from collections.abc import Callable, Sequence
from typing import Generic, TypeAlias, TypeVar

import attrs

from ..errors import ErrorDetail

__all__ = ["Confirmed", "NotApplied", "NotConfirmedError", "ReadBack", "Request", "Unconfirmed", "Verdict"]

T = TypeVar("T")


@attrs.define(kw_only=True)  # not frozen, which would cost 0.7 us per update
class Request(Generic[T]):
    """A call with its body encoded: every attempt sends the same bytes."""

    method: str
    path: str
    """The path after the base URL, percent-encoded."""
    subject: str
    """What the call is about, for error messages: `room 7b61...`."""
    decode: Callable[[bytes], T]
    """Decodes the body of a 2xx answer; raises `DecodeError`, or `NotConfirmedError`."""
    max_size: int
    """Maximum size of the answer, in bytes."""
    decode_no_content: Callable[[], T] | None = None
    """Returns the value of a 204; None if the API never answers this request with a 204."""
    size_hint: str = ""
    """The end of the error message if the answer is too large: what the caller can do."""
    body: bytes | None = None
    revise: "Callable[[int, Sequence[ErrorDetail]], Request[T] | None] | None" = None
    """Takes the status and the errors of a rejection; returns the request to send instead, or None."""
    query: str = ""
    """The query, percent-encoded, without the question mark."""
    read_back: "Callable[[], ReadBack[T]] | None" = None
    """Creates the read-back for an uncertain outcome; None if no read-back can settle it."""

    @property
    def idempotent(self) -> bool:
        """Whether the request may be sent again even if it was already carried out (RFC 9110, 9.2.2)."""
        # RFC 9110 excludes PATCH because a patch may be relative. Ours hold absolute values only.
        return self.method != "POST"

    @property
    def read_only(self) -> bool:
        """Whether the request changes nothing on the server."""
        return self.method == "GET"


class NotConfirmedError(Exception):
    """The answer can be read, but doesn't show that the request was carried out; the text says what is wrong."""


@attrs.frozen
class Confirmed(Generic[T]):
    """The request was carried out; `value` is what the call returns."""

    value: T


@attrs.frozen
class NotApplied:
    """The request was not carried out."""

    hint: str = ""
    """What shows that it was not carried out."""


@attrs.frozen
class Unconfirmed:
    """It is not known whether the request was carried out."""

    hint: str = ""
    """Why the read-back could not tell."""


Verdict: TypeAlias = Confirmed[T] | NotApplied | Unconfirmed
"""The result of a read-back."""


@attrs.frozen
class ReadBack(Generic[T]):
    """The GET that follows an uncertain request."""

    request: Request[Verdict[T]]
    """Its answer says whether the uncertain request was carried out."""
    not_found: Verdict[T]
    """The result if the server answers 404."""
