"""Send an empty string instead of null if the server rejects null for the failover URL.

The API reference allows null. But the documented default is an empty string, and published answers contain an empty
string if a room has no failover URL. After one rejection of null, the client sends only empty strings.
"""

from collections.abc import Sequence
from functools import partial
from http import HTTPStatus
from typing import Final

import attrs

from .._http.json import dumps
from .._http.request import Request
from ..errors import ErrorDetail
from ..models import Room
from ..models._fields import Values

__all__ = ["NullSupport"]

_FAILOVER: Final = "webhook_event_failover_url"


class NullSupport:
    """Whether the server of one client accepts null for the failover URL."""

    def __init__(self) -> None:
        self._is_rejected = False

    def with_fields(self, request: Request[Room], fields: Values) -> Request[Room]:
        """Set the body of a request, and what to send instead if the server rejects null for the failover URL."""
        if fields.get(_FAILOVER, "") is None:
            without_null = dumps({**fields, _FAILOVER: ""})
            if self._is_rejected:
                request.body = without_null
                return request
            request.revise = partial(self._revise, request, without_null)
        request.body = dumps(fields)
        return request

    def _revise(
        self, request: Request[Room], without_null: bytes, status: int, errors: Sequence[ErrorDetail]
    ) -> Request[Room] | None:
        if status != HTTPStatus.UNPROCESSABLE_ENTITY or not any(map(_names_failover, errors)):
            return None

        def decode(body: bytes) -> Room:
            room = request.decode(body)
            self._is_rejected = True  # the server accepted "", so null was the problem
            return room

        return attrs.evolve(request, body=without_null, revise=None, decode=decode)


def _names_failover(error: ErrorDetail) -> bool:
    return any(text is not None and _FAILOVER in text for text in (error.pointer, error.detail, error.title))
