"""The addresses of a webhook URL, looked up and checked before an event is sent.

Events are sent only to the addresses that were checked. Otherwise, a name could have a loopback address when it is
checked, and another address when it is connected to.
"""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import NamedTuple

from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from ._deliveries import Outcome

_LOOKUP_TIMEOUT = 5.0  # seconds
_KEPT_SECONDS = 10.0
_MAX_KEPT = 1000
_LOCALHOST = ("127.0.0.1", "::1")


class Target(NamedTuple):
    """The addresses of a URL, or why no event may be sent to it."""

    url: URL
    addresses: Sequence[str] = ()
    outcome: Outcome | None = None
    error: str = ""


def parse_url(text: str) -> URL | None:
    """Return an http or https URL with a host, or None."""
    try:
        url = URL(text)
        valid = url.scheme in ("http", "https") and bool(url.host) and url.port is not None
    except ValueError:
        return None
    return url if valid else None


@lru_cache(maxsize=16_384)  # lively sessions ask for thousands of rooms again and again
def names_loopback(text: str) -> bool:
    """Return whether the host of a URL is a loopback address or `localhost`, without looking it up."""
    url = parse_url(text)
    known = None if url is None else _known_addresses(url.host or "")
    return known is not None and all(map(is_loopback, known))


def is_loopback(address: str) -> bool:
    """Return whether an IP address is a loopback address, such as `127.0.0.1`, `::1` or `::ffff:127.0.0.1`."""
    try:
        read = ip_address(address)
    except ValueError:
        return False
    if isinstance(read, IPv6Address) and read.ipv4_mapped is not None:
        return read.ipv4_mapped.is_loopback
    return read.is_loopback


def _known_addresses(host: str) -> Sequence[str] | None:
    """Return the addresses of a host that needs no lookup: an IP address, or a name that means this machine."""
    if host.lower().removesuffix(".") == "localhost":
        return _LOCALHOST
    try:
        ip_address(host)
    except ValueError:
        return None
    return (host,)


class Targets:
    """Looks up the hosts of webhook URLs. The results are kept for 10 s."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[float, Sequence[str], str]] = {}

    async def find(self, text: str, *, anywhere: bool) -> Target:
        """Return the addresses of a URL. If `anywhere` is false, all of them must be loopback addresses."""
        url = parse_url(text)
        if url is None:
            return Target(URL(), outcome="invalid_url", error="not an http or https URL")
        addresses, error = await self._look_up(url.host or "")
        if not addresses:
            return Target(url, outcome="unreachable", error=error)
        if not anywhere and not all(map(is_loopback, addresses)):
            return Target(url, outcome="not_allowed", error=f"{addresses[0]} is not a loopback address")
        return Target(url, addresses)

    async def _look_up(self, host: str) -> tuple[Sequence[str], str]:
        addresses = _known_addresses(host)
        if addresses is not None:
            return addresses, ""
        now = time.monotonic()
        known = self._known.get(host)
        if known is not None and now < known[0]:
            return known[1:]
        error = ""
        try:
            async with asyncio.timeout(_LOOKUP_TIMEOUT):
                addresses = await _resolve(host)
        except TimeoutError:
            addresses, error = (), f"the lookup of the host took longer than {_LOOKUP_TIMEOUT:g} s"
        except OSError as failure:
            addresses, error = (), f"the host can't be resolved: {failure.strerror or failure}"
        if len(self._known) >= _MAX_KEPT:
            self._known.clear()
        self._known[host] = (now + _KEPT_SECONDS, addresses, error)
        return addresses, error


async def _resolve(host: str) -> Sequence[str]:
    """Return the addresses of a host. Raise OSError if there are none.

    Each lookup has its own thread, because a lookup can't be cancelled, and a stop must not wait for it.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Sequence[str]] = loop.create_future()

    def deliver(addresses: Sequence[str], failure: OSError | None) -> None:
        if answer.done():  # the delivery was cancelled
            return
        if failure is None:
            answer.set_result(addresses)
        else:
            answer.set_exception(failure)

    def ask() -> None:
        addresses: Sequence[str] = ()
        failure: OSError | None = None
        try:
            found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
            addresses = tuple(dict.fromkeys(str(address[0]) for *_, address in found))
        except OSError as error:
            failure = error
        except UnicodeError as error:
            failure = OSError(str(error))
        with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
            loop.call_soon_threadsafe(deliver, addresses, failure)

    try:
        threading.Thread(target=ask, name="rooms-simulator DNS lookup", daemon=True).start()
    except RuntimeError as error:  # no further thread can be started
        raise OSError(str(error)) from None
    return await answer


class PinnedResolver(AbstractResolver):
    """Resolves every host to the addresses that were checked."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self._addresses = addresses

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[ResolveResult]:
        """Return the addresses."""
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=0,
            )
            for address in self._addresses
        ]

    async def close(self) -> None:
        """Do nothing. There is nothing to close."""
