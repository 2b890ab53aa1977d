"""What sharing needs from a store: the state of an account, an inbox for reports, a lock, a clock, and messages.

The store calculates nothing. Each method is one step that nobody can interrupt. `redis_store` implements it for Redis,
and tests implement it in memory.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

__all__ = ["Posted", "Session", "Store", "StoreError", "Swapped"]


class StoreError(Exception):
    """The store can't be used now. The text says why."""


class Posted(NamedTuple):
    """The answer of the store to a report."""

    now: float
    """Seconds since the Unix epoch, on the store's clock."""
    is_locked: bool
    """Whether the client has got the lock, and must record the reports in the inbox. What follows is for this case."""
    token: str = ""
    """Identifies the state. Empty if there is none."""
    state: bytes = b""
    reports: Sequence[bytes] = ()
    """The inbox."""


class Swapped(NamedTuple):
    """The answer of the store to a new state."""

    now: float
    """Seconds since the Unix epoch, on the store's clock."""
    is_done: bool
    """Whether the state was replaced."""
    reports: Sequence[bytes] = ()
    """What is in the inbox now. If it is empty, the lock was released."""


class Session(Protocol):
    """Connections to the store. All methods raise `StoreError` if the store does not answer as it should."""

    can_receive: bool
    """Whether messages can be received."""

    async def post(self, report: bytes) -> Posted:
        """Add a report to the inbox, unless it is empty. If nobody has the lock, take it."""
        ...

    async def swap(
        self, expected: str, token: str, state: bytes, *, ttl: float, recorded: int, messages: Mapping[str, bytes]
    ) -> Swapped:
        """Replace the state, if its token is `expected` and no other client has the lock.

        Then remove as many reports from the inbox as were recorded in the state, and send messages to clients. If the
        inbox is empty, release the lock. The store keeps the state for `ttl` seconds.
        """
        ...

    async def ping(self) -> None:
        """Find out whether the store answers."""
        ...

    async def receive(self) -> bytes:
        """Wait for the next message to this client, and return it."""
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...


class Store(Protocol):
    """Where the account of one API key is kept."""

    async def open(self, client: str) -> Session:
        """Connect. Messages to `client` are received from now on. Raise `StoreError` if the store can't be reached."""
        ...
