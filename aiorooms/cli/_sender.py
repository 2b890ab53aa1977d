"""Send deliveries to a URL as they were received: with the raw body and all headers, so that the signature stays valid.

Only the headers that belong to one connection are new, such as `Host` and `Content-Length`. Redirects are not followed,
and the body of the answer is not read.

As in `webhooks probe`, addresses that the public internet can't reach are not connected to, except with
`--allow-private`. Loopback needs no option: it is the usual place of an application that is being written. Exactly the
addresses that were checked are connected to.
"""

import asyncio
import base64
import math
import os
import re
import socket
import time
from types import TracebackType
from typing import Final, Self
from urllib.parse import unquote_to_bytes

import aiohttp
import attrs
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from .._text import excerpt, quoted
from .._webhook_url import host_of, is_loopback, is_public, read_address
from ..webhook_config._dns import resolve_host
from ._recordings import Pairs

__all__ = ["Answer", "Sender"]

_OF_CONNECTION: Final = {
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
}
"""The headers that are not passed on."""

_ADDED_BY_AIOHTTP: Final = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")

_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", re.ASCII)
_VALUE: Final = re.compile(r"[^\0\r\n\ud800-\udfff]*")
"""What aiohttp can send unchanged. It would drop the byte of a lone surrogate, which is a byte that is not UTF-8."""

_MIN_STATUS: Final = 200
"""A lower status is not an answer to a POST."""

_HINT: Final = "use a public host or this machine, or give --allow-private"


@attrs.frozen
class Answer:
    """What became of one delivery."""

    status: int | None
    """None if there was no answer."""
    error: str | None
    """Why there was no answer, or None."""
    seconds: float


class _PrivateAddressError(OSError):
    """The host has an address that the public internet can't reach."""


class _UnsendableHeaderError(ValueError):
    """A header has forbidden characters."""


def _check_address(host: str, address: str) -> None:
    read = read_address(address)
    shown = address if read is None else str(read)
    if read is None or not (is_public(shown) or is_loopback(shown)):
        which = "" if shown == host else f" (its address is {shown})"
        raise _PrivateAddressError(f"the host {host}{which} is not on the public internet; {_HINT}")


class _Resolver(AbstractResolver):
    """Resolves hosts, and raises an `OSError` if an address is not allowed."""

    def __init__(self, *, allow_private: bool) -> None:
        self._allow_private = allow_private

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[ResolveResult]:
        addresses = await resolve_host(host)
        for address in addresses:
            if not self._allow_private:
                _check_address(host, address)
        return [
            ResolveResult(hostname=host, host=address, port=port, family=_family(address), proto=0, flags=0)
            for address in addresses
        ]

    async def close(self) -> None: ...


def _family(address: str) -> int:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


class Sender:
    """Sends deliveries to one URL. Use it with `async with`."""

    def __init__(self, url: str, *, timeout: float, concurrency: int, allow_private: bool) -> None:
        parsed = URL(url, encoded=True)
        self._authorization: str | None = None
        if parsed.raw_user is not None or parsed.raw_password is not None:
            user, password = (unquote_to_bytes(text or "") for text in (parsed.raw_user, parsed.raw_password))
            self._authorization = f"Basic {base64.b64encode(user + b':' + password).decode()}"
            parsed = parsed.with_user(None)
        self._url = parsed
        self._host = host_of(url) or ""
        self._timeout = timeout
        self._allow_private = allow_private
        self._places = asyncio.Semaphore(concurrency)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                resolver=_Resolver(allow_private=self._allow_private),
                use_dns_cache=False,
                force_close=True,  # on a kept connection that the target has just closed, a delivery would be lost
                limit=0,  # the semaphore limits them
            ),
            timeout=aiohttp.ClientTimeout(total=None, ceil_threshold=math.inf),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=_ADDED_BY_AIOHTTP,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def send(self, headers: Pairs, body: bytes) -> Answer:
        """Send a delivery, and return what became of it. The time limit includes waiting for earlier deliveries."""
        began = time.monotonic()
        status, problem = None, None
        try:
            async with asyncio.timeout(self._timeout), self._places:
                status = await self._post(headers, body)
        except TimeoutError:
            problem = f"no answer within {self._timeout:g} s"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            problem = _problem(error)
        if status is not None and status < _MIN_STATUS:
            status, problem = None, f"the answer has the status {status}, which is none for a webhook"
        return Answer(status, problem, time.monotonic() - began)

    async def _post(self, headers: Pairs, body: bytes) -> int:
        if self._session is None:
            raise RuntimeError("use the sender with `async with`")
        if not self._allow_private and read_address(self._host) is not None:
            _check_address(self._host, self._host)  # aiohttp does not call the resolver for an address
        response = await self._session.post(
            self._url, data=body, headers=self._passed_on(headers), allow_redirects=False
        )
        response.close()
        return response.status

    def _passed_on(self, headers: Pairs) -> Pairs:
        dropped = set(_OF_CONNECTION)
        for name, value in headers:
            if not (_NAME.fullmatch(name) and _VALUE.fullmatch(value)):
                raise _UnsendableHeaderError(f"the header {quoted(name)} can't be sent")
            if name.lower() == "connection":
                dropped |= {named.strip().lower() for named in value.split(",")}
        if self._authorization is None:
            return [(name, value) for name, value in headers if name.lower() not in dropped]
        dropped.add("authorization")
        kept = [(name, value) for name, value in headers if name.lower() not in dropped]
        return [*kept, ("Authorization", self._authorization)]


def _problem(error: Exception) -> str:
    match error:
        case aiohttp.ClientSSLError() | aiohttp.ServerFingerprintMismatch():
            return f"the encryption failed: {excerpt(str(error), 200)}"
        case aiohttp.ClientConnectorError(os_error=_PrivateAddressError() as private):
            return str(private)
        case aiohttp.ClientConnectorError(host=host, port=port, os_error=os_error):
            number = os_error.errno or 0
            why = os.strerror(number) if number > 0 else os_error.strerror or str(os_error)
            return f"can't connect to {host}:{port}: {excerpt(why, 200)}"
        case _PrivateAddressError():
            return str(error)
        case aiohttp.ServerDisconnectedError() | aiohttp.ClientOSError():
            return "the connection was closed without an answer"
        case aiohttp.ClientResponseError():
            # Keep only the first line, because the others contain the received bytes.
            return f"the answer is not HTTP: {excerpt(error.message.partition(chr(10))[0], 200)}"
        case _UnsendableHeaderError():
            return str(error)
        case _:
            return excerpt(f"{type(error).__name__}: {error}", 200)
