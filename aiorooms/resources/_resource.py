"""The base class of all resources, and helpers that the resources share."""

from collections.abc import Sequence
from typing import Final, Literal

from .._http.attempts import Sender
from .._webhook_url import WebhookUrlPolicy
from ..errors import (
    AioroomsError,
    APIError,
    AuthenticationError,
    ClientStateError,
    InvalidRequestError,
    PermissionDeniedError,
    Problem,
    RateLimitError,
)

__all__ = ["Resource", "ends_run", "is_about_room", "raise_if_invalid", "status_of"]

_ENDS_A_RUN: Final = (AuthenticationError, PermissionDeniedError, ClientStateError)


def ends_run(error: AioroomsError) -> bool:
    """Return whether an error stops a run of many updates, because every later request would fail in the same way."""
    if isinstance(error, RateLimitError) and error.reason == "max_wait":
        return True
    return isinstance(error, _ENDS_A_RUN) or error.reason in ("outage_patience", "cannot_send")


def is_about_room(error: AioroomsError) -> bool:
    """Return whether an error says something about the room or its update, and not only about the server or us."""
    if isinstance(error, RateLimitError) and error.reason == "max_elapsed":
        return False
    return not ends_run(error) and (error.was_sent or not isinstance(error, APIError))


def status_of(error: AioroomsError) -> Literal["failed", "uncertain", "skipped"]:
    """Return how an update ended that raised an error."""
    return "uncertain" if error.uncertain else "failed" if is_about_room(error) else "skipped"


class Resource:
    """The operations on one kind of resource, such as `client.rooms`."""

    def __init__(self, sender: Sender, webhook_url_policy: WebhookUrlPolicy) -> None:
        self._sender = sender
        self._policy = webhook_url_policy


def raise_if_invalid(problems: Sequence[Problem]) -> None:
    """Raise `InvalidRequestError` with all problems, if there are any."""
    if problems:
        raise InvalidRequestError(problems)
