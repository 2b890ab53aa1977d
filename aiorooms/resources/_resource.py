"""The base class of all resources, and helpers that the resources share."""

from collections.abc import Sequence
from typing import Final

from .._http.attempts import Sender
from .._webhook_url import WebhookUrlPolicy
from ..errors import AuthenticationError, ClientStateError, InvalidRequestError, PermissionDeniedError, Problem

__all__ = ["ENDS_A_RUN", "Resource", "raise_if_invalid"]

ENDS_A_RUN: Final = (AuthenticationError, PermissionDeniedError, ClientStateError)
"""Errors that stop a run of many updates, because every later request would fail in the same way."""


class Resource:
    """The operations on one kind of resource, such as `client.rooms`."""

    def __init__(self, sender: Sender, webhook_url_policy: WebhookUrlPolicy) -> None:
        self._sender = sender
        self._policy = webhook_url_policy


def raise_if_invalid(problems: Sequence[Problem]) -> None:
    """Raise `InvalidRequestError` with all problems, if there are any."""
    if problems:
        raise InvalidRequestError(problems)
