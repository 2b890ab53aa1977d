"""Convert aiohttp's exceptions to failures.

A failure records whether the server may have carried out the request, and whether the request may be sent again.

Example: `ClientConnectorError` means that nothing was sent, so even a POST may be sent again. `ServerDisconnectedError`
after the body was sent leaves the outcome uncertain, so only an idempotent request is sent again.

aiohttp's exceptions are neither re-raised nor chained to the exceptions of aiorooms. Some of them contain the request
headers, and with them the API key.
"""

import errno
import os
from http import HTTPStatus
from typing import Final, TypeVar

import aiohttp

from .request import Request
from .response import Failure, is_server_failure, no_answer, not_sent, unreadable
from .secret import ApiKey

__all__ = ["NO_REPLAY", "REPLAYED", "DisconnectedError", "is_broken_handshake", "is_disconnect", "to_failure"]

T = TypeVar("T")

_DISCONNECTS: Final = (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, aiohttp.ClientConnectionResetError)


def is_disconnect(error: Exception) -> bool:
    """Return whether the server closed an established connection."""
    return isinstance(error, (DisconnectedError, *_DISCONNECTS)) and not isinstance(error, aiohttp.ClientConnectorError)


def is_broken_handshake(error: Exception) -> bool:
    """Return whether TLS failed although the certificate was not the problem."""
    certificate = (aiohttp.ClientConnectorCertificateError, aiohttp.ServerFingerprintMismatch)
    return isinstance(error, aiohttp.ClientSSLError) and not isinstance(error, certificate)


REPLAYED: Final = ("GET", "DELETE")
"""The methods that aiohttp silently retries if the server disconnects.

If the server has carried out the first DELETE, it answers the repeated one with 404. The call succeeded, but it would
look as if the room had not existed. If the session is closed between the two requests, aiohttp raises an
AssertionError."""


class DisconnectedError(Exception):
    """The server disconnected. Replaces aiohttp's own exception, after which aiohttp would silently retry."""


async def _no_replay(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    try:
        return await send(request)
    except aiohttp.ClientConnectorError:
        raise
    except _DISCONNECTS as error:
        raise DisconnectedError(str(error)) from error


NO_REPLAY: Final = (_no_replay,)


_NO_SOCKET: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL)
"""Error numbers that say that this machine has no further socket, whatever the server does."""


def to_failure(request: Request[T], error: Exception, *, begun: bool, key: ApiKey) -> Failure:
    """Return the failure for an exception of aiohttp. `begun` says whether sending the request had begun."""
    cause = error.__cause__ if isinstance(error, DisconnectedError) and error.__cause__ is not None else error
    reason = key.redact(f"{type(cause).__name__}: {cause}")
    match cause:
        case aiohttp.ClientSSLError() | aiohttp.ServerFingerprintMismatch():
            return not_sent(request, reason, retry=False)
        case aiohttp.ConnectionTimeoutError():
            return not_sent(request, reason, timed_out=True)
        case aiohttp.ClientConnectorError(host=host, port=port, os_error=os_error):
            # asyncio's message repeats the address, so use the text for the error number. The errors of getaddrinfo
            # have negative numbers; for them, use the text in the exception.
            number = os_error.errno or 0
            why = os.strerror(number) if number > 0 else os_error.strerror or str(os_error)
            proxy = "the proxy " if isinstance(cause, aiohttp.ClientProxyConnectionError) else ""
            failure = not_sent(request, f"can't connect to {proxy}{host}:{port}: {why}")
            return failure._replace(out_of_sockets=number in _NO_SOCKET)
        case aiohttp.ClientHttpProxyError(status=status, message=message):
            is_transient = status == HTTPStatus.TOO_MANY_REQUESTS or is_server_failure(status)
            return not_sent(request, key.redact(f"the proxy answered {status} {message}"), retry=is_transient)
        case aiohttp.ClientResponseError() if not begun:
            # The proxy has answered CONNECT. Keep only the first line: the others contain the received bytes.
            why = key.redact(cause.message.partition("\n")[0])
            return not_sent(request, f"the answer of the proxy is not HTTP: {why}")
        case TimeoutError() if not begun:
            return not_sent(request, "no connection within the timeout", timed_out=True)
        case ValueError() if not begun or request.read_only:
            return not_sent(request, reason, retry=False)
        case _ if not begun:
            return not_sent(request, reason)
        case aiohttp.ServerDisconnectedError():
            return no_answer(request, "the server disconnected without an answer")
        case TimeoutError():
            return no_answer(request, "no answer within the timeout", timed_out=True)
        case aiohttp.ClientPayloadError():
            return no_answer(request, f"the answer was cut off: {reason}")
        case aiohttp.ClientResponseError():
            # Keep only the first line, because the others contain the received bytes.
            why = cause.message.partition("\n")[0]
            return unreadable(request, f"{request.subject}: the answer is not HTTP: {why}", key=key)
        case _:
            return no_answer(request, f"no answer: {reason}")
