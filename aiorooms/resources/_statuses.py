"""What an error says about an update: its status, and whether the run of many updates ends."""

from http import HTTPStatus
from typing import Final, Literal

from ..errors import (
    AioroomsError,
    APIError,
    APIStatusError,
    AuthenticationError,
    ClientStateError,
    PermissionDeniedError,
    RateLimitError,
)

__all__ = ["ends_run", "is_about_room", "status_of"]

_ENDS_A_RUN: Final = (AuthenticationError, PermissionDeniedError, ClientStateError)


def ends_run(error: AioroomsError) -> bool:
    """Return whether an error stops a run of many updates, because every later request would fail in the same way."""
    if isinstance(error, RateLimitError) and error.reason == "max_wait":
        return True
    if isinstance(error, APIStatusError) and error.status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
        return True
    return isinstance(error, _ENDS_A_RUN) or error.reason in ("outage_patience", "cannot_send", "stopped")


def is_about_room(error: AioroomsError) -> bool:
    """Return whether an error says something about the room or its update, and not only about the server or us."""
    if isinstance(error, RateLimitError) and error.reason in ("max_elapsed", "deadline"):
        return False
    return not ends_run(error) and (error.was_sent or not isinstance(error, APIError))


def status_of(error: AioroomsError) -> Literal["failed", "uncertain", "skipped"]:
    """Return how an update ended that raised an error."""
    return "uncertain" if error.uncertain else "failed" if is_about_room(error) else "skipped"
