"""Check the arguments of a call, and send it for a `Response`."""

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar, cast

from .._http.attempts import Sender
from .._http.call_settings import OPTION_NAMES, CallOptions, CallSettings
from .._http.request import Request
from .._text import similar
from ..errors import InvalidRequestError, Problem
from ..models import Response

__all__ = ["checked_options", "raise_if_invalid", "send_for_response", "split_arguments"]

T = TypeVar("T")


def split_arguments(
    method: str, arguments: Mapping[str, object], known: Sequence[str]
) -> tuple[dict[str, Any], CallOptions]:
    """Return the arguments with `known` names, such as the fields of a room, and the options of the call.

    Raises `TypeError` if an argument has another name, and suggests a known one.
    """
    _check_names(method, arguments, (*known, *OPTION_NAMES))
    options = {name: value for name, value in arguments.items() if name in OPTION_NAMES}
    return {name: value for name, value in arguments.items() if name in known}, cast("CallOptions", options)


def checked_options(method: str, options: CallOptions) -> CallOptions:
    """Return the options. Raises `TypeError` if one has an unknown name, and suggests a known one."""
    _check_names(method, options, OPTION_NAMES)
    return options


def _check_names(method: str, arguments: Iterable[str], known: Sequence[str]) -> None:
    if unknown := [name for name in arguments if name not in known]:
        hints = [f"{name!r}; {similar(name, known, 'the names are ' + ', '.join(known))}" for name in unknown]
        raise TypeError(f"{method}() got an unexpected argument {', and '.join(hints)}")


async def send_for_response(sender: Sender, request: Request[T], settings: CallSettings) -> Response[T]:
    """Send a request, and return the value with the answer that it was read from."""
    began = time.monotonic()
    value, attempts, received = await sender.send(request, settings)
    return Response(
        value=value,
        status=received.status,
        headers=received.headers,
        body=received.body,
        request_id=received.request_id,
        attempts=attempts,
        elapsed=time.monotonic() - began,
    )


def raise_if_invalid(problems: Sequence[Problem]) -> None:
    """Raise `InvalidRequestError` with all problems, if there are any."""
    if problems:
        raise InvalidRequestError(problems)
