"""What exceptions of aiohttp mean for a request: whether it was sent, may have been applied, may be sent again.

None of these exceptions goes further than this. They aren't chained to ours either: some hold the request's headers,
and so the API key.
"""

import os
from typing import Final, TypeVar

import aiohttp

from .request import Request
from .response import Failure, no_answer, not_sent, redact, unreadable

__all__ = ["NO_REPLAY", "REPLAYED", "HungUpError", "is_hang_up", "lost"]

T = TypeVar("T")

_DISCONNECTED: Final = (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, aiohttp.ClientConnectionResetError)


def is_hang_up(error: Exception) -> bool:
    """Whether the server hung up on a connection that had been made."""
    return isinstance(error, (HungUpError, *_DISCONNECTED)) and not isinstance(error, aiohttp.ClientConnectorError)


REPLAYED: Final = ("GET", "DELETE")
"""The methods that aiohttp sends again by itself, once and without telling, if the server hangs up.

If a DELETE was carried out before, the second one is answered by 404, which must not look like "there is no such room".
And if the session was closed meanwhile, the second one is an AssertionError."""


class HungUpError(Exception):
    """Carries the server's hanging up past aiohttp, so that it is for us to send again."""


async def _no_replay(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    try:
        return await send(request)
    except aiohttp.ClientConnectorError:
        raise
    except _DISCONNECTED as error:
        raise HungUpError(str(error)) from error


NO_REPLAY: Final = (_no_replay,)


def lost(request: Request[T], error: Exception, *, begun: bool, secret: str) -> Failure:
    """Say what an exception of aiohttp means for a request. `begun`: something of the request went out."""
    cause = error.__cause__ if isinstance(error, HungUpError) and error.__cause__ is not None else error
    reason = redact(f"{type(cause).__name__}: {cause}", secret)
    match cause:
        case aiohttp.ClientSSLError() | aiohttp.ServerFingerprintMismatch():
            return not_sent(request, reason, retry=False)
        case aiohttp.ConnectionTimeoutError():
            return not_sent(request, reason, timed_out=True)
        case aiohttp.ClientConnectorError(host=host, port=port, os_error=refusal):
            # asyncio's own texts repeat the address; the numbers of getaddrinfo are below 0.
            number = refusal.errno or 0
            why = os.strerror(number) if number > 0 else refusal.strerror or str(refusal)
            return not_sent(request, f"can't connect to {host}:{port}: {why}")
        case aiohttp.ClientHttpProxyError():
            return not_sent(request, reason)
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
            # What follows the first line are the bytes that came.
            why = cause.message.partition("\n")[0]
            return unreadable(request, f"{request.subject}: the answer is not HTTP: {why}", secret=secret)
        case _:
            return no_answer(request, f"no answer: {reason}")
