"""Look up the addresses of hosts, each host once, and several at a time."""

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from typing import Final, NamedTuple, TypeAlias

from .._webhook_url import read_address

__all__ = ["Addresses", "Lookups", "Resolve", "resolve_host"]

Resolve: TypeAlias = Callable[[str], Awaitable[Sequence[str]]]
"""A function that returns the IP addresses of a host name, or raises OSError."""

_TIMEOUT: Final = 10.0
"""Time for one lookup, in seconds."""
_CONCURRENCY: Final = 20
"""Maximum number of lookups in flight."""
_MAX_CACHED: Final = 10_000
"""The number of hosts whose addresses are kept."""


async def resolve_host(host: str) -> Sequence[str]:
    """Return the IP addresses of a host name as the operating system knows them. Raises OSError if there are none.

    Each lookup has a thread of its own. The threads of the event loop are few, so some slow lookups would hold up all
    others, and the program could not end before the last of them.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Sequence[str]] = loop.create_future()

    def deliver(addresses: Sequence[str], error: OSError | None) -> None:
        if not answer.done():  # the caller may have been cancelled
            answer.set_result(addresses) if error is None else answer.set_exception(error)

    def ask() -> None:
        addresses: Sequence[str] = ()
        failure: OSError | None = None
        try:
            found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
            addresses = tuple(dict.fromkeys(str(address[0]) for *_, address in found))
        except (OSError, UnicodeError) as error:
            failure = error if isinstance(error, OSError) else OSError(str(error))
        with suppress(RuntimeError):  # the event loop was closed meanwhile
            loop.call_soon_threadsafe(deliver, addresses, failure)

    try:
        threading.Thread(target=ask, name="aiorooms DNS lookup", daemon=True).start()
    except RuntimeError as error:  # no further thread can be started
        raise OSError(str(error)) from None
    return await answer


class Addresses(NamedTuple):
    """The addresses of a host, or why there are none."""

    addresses: Sequence[str]
    error: str


async def look_up(host: str, resolve: Resolve, timeout: float = _TIMEOUT) -> Addresses:
    """Return the addresses of a host in normal form. An IP address is its own address."""
    if (literal := read_address(host)) is not None:
        return Addresses((str(literal),), "")
    try:
        async with asyncio.timeout(timeout):
            addresses = tuple(await resolve(host))
    except TimeoutError:
        return Addresses((), f"the lookup took longer than {timeout:g} s")
    except (OSError, UnicodeError) as error:
        return Addresses((), getattr(error, "strerror", None) or str(error) or type(error).__name__)
    read = [read_address(address) for address in addresses]
    if None in read:
        return Addresses((), "the resolver returned something other than IP addresses")
    return Addresses(tuple(map(str, read)), "" if addresses else "the name has no addresses")


class Lookups:
    """The addresses of many hosts."""

    def __init__(self, resolve: Resolve) -> None:
        self._resolve = resolve
        self._known: dict[str, Addresses] = {}

    async def add(self, hosts: Collection[str]) -> None:
        """Look up the hosts that are not known yet. If too many are known, forget those that were not used lately."""
        for host in hosts:
            if host in self._known:
                self._known[host] = self._known.pop(host)  # now it is the last one
        new = [host for host in dict.fromkeys(hosts) if host not in self._known]
        left = iter(new)

        async def work() -> None:
            for host in left:
                self._known[host] = await look_up(host, self._resolve)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(min(_CONCURRENCY, len(new))):
                tasks.create_task(work())
        # The hosts of this call are the last ones, so they stay.
        for host in list(self._known)[: max(0, len(self._known) - max(_MAX_CACHED, len(hosts)))]:
            del self._known[host]

    def __getitem__(self, host: str) -> Addresses:
        """Return the addresses of a host that was added."""
        return self._known[host]
