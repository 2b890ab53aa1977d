"""One call, ready to be sent any number of times, and how a read-back settles it if its outcome is uncertain."""

from collections.abc import Callable
from typing import Generic, TypeAlias, TypeVar

import attrs

__all__ = ["Confirmed", "NotApplied", "ReadBack", "Request", "Unconfirmed", "Verdict"]

T = TypeVar("T")


@attrs.define(kw_only=True)  # not frozen: that would cost 0.7 us an update
class Request(Generic[T]):
    """A call whose body is encoded already: every attempt sends the same bytes."""

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
    read_back: "Callable[[], ReadBack[T]] | None" = None
    """Makes the read-back for an uncertain outcome; None if nothing can settle it."""

    @property
    def idempotent(self) -> bool:
        """Whether sending it again after it was carried out does no harm (RFC 9110, 9.2.2)."""
        # RFC 9110 leaves PATCH out because a patch may be relative. Ours hold absolute values only.
        return self.method != "POST"

    @property
    def read_only(self) -> bool:
        """Whether it changes nothing on the server."""
        return self.method == "GET"


@attrs.frozen
class Confirmed(Generic[T]):
    """The request was carried out; `value` is what the call returns."""

    value: T


@attrs.frozen
class NotApplied:
    """The request was not carried out."""

    hint: str = ""
    """Why that is known."""


@attrs.frozen
class Unconfirmed:
    """It is not known whether the request was carried out."""

    hint: str = ""
    """Why the read-back does not say."""


Verdict: TypeAlias = Confirmed[T] | NotApplied | Unconfirmed
"""What a read-back says of a request."""


@attrs.frozen
class ReadBack(Generic[T]):
    """The GET that follows an uncertain request."""

    request: Request[Verdict[T]]
    """Its answer says what became of the other request."""
    not_found: Verdict[T]
    """What it means if the server answers 404."""
