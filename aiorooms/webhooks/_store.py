"""What an inbox keeps its events in: the interface of a store, and the store in memory.

A store keeps each event from the moment it is accepted until its handler has finished, and then keeps its key for a
while, so that a repeated delivery can be recognized. A process *claims* an event for some seconds (the lease) before it
handles it. If the process dies, the lease expires, and another process, or the same one after a restart, claims the
event again.

    add -> claimed -> done ............................ the handler has finished; the key is remembered
                   -> free again, after a wait ........ the handler has raised; it is tried again
                   -> done, too ....................... the handler has raised too often
                   -> lease expired ................... the process has died; another one claims the event

Example, with a lease of 60 s: worker A accepts event 7 at t = 0 and is killed at t = 5. Its lease would have been
renewed at t = 20. At t = 60 it expires, worker B claims the event, and its handler finishes at t = 61. At t = 90, the
sender repeats event 7. It is answered 2xx and dropped, because the key is remembered.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Protocol

import attrs

from .._checks import check_at_least

__all__ = ["Claimed", "EventStore", "MemoryEventStore"]


@attrs.frozen(kw_only=True)
class Claimed:
    """An event that this process may handle until its lease expires."""

    key: str
    """The text by which a repeated delivery is recognized: the id of the event, or a hash."""
    body: bytes
    """The raw body."""
    attempts: int
    """How many times its handler has raised so far."""


class EventStore(Protocol):
    """Keeps the events of an inbox. All methods can be called concurrently. Times are in Unix seconds."""

    async def open(self) -> None:
        """Open the store. Called once, before all other methods."""
        ...

    async def close(self) -> None:
        """Close the store. Claimed events stay claimed until their lease expires, unless they are released."""
        ...

    async def add(self, key: str, body: bytes, *, lease_until: float) -> bool:
        """Keep an event, claimed until `lease_until`. Return after the commit: False if its key was known before.

        With a lease that has ended, the event is not claimed. Raises `StoreFullError` if there is no space.
        """
        ...

    async def claim(self, limit: int, *, lease_until: float, now: float) -> Sequence[Claimed]:
        """Claim up to `limit` events that are due and not claimed, or whose lease has expired. Oldest events first."""
        ...

    async def renew(self, keys: Sequence[str], *, lease_until: float) -> None:
        """Extend the lease of claimed events."""
        ...

    async def done(self, key: str, *, now: float) -> None:
        """Record that an event was handled or given up. Its key is remembered."""
        ...

    async def release(self, key: str, *, attempts: int, due: float) -> None:
        """Release an event, which is due again at `due`."""
        ...

    async def tidy(self, *, now: float) -> None:
        """Forget the keys that were remembered long enough. Called every few seconds."""
        ...


class StoreFullError(Exception):
    """There is no space for a further event."""


@attrs.define
class _Kept:
    body: bytes
    attempts: int
    free_at: float
    """When the event can be claimed: the end of its lease, or when it is due."""


class MemoryEventStore:
    """Keeps events in memory, so events that were acknowledged are lost if the process dies.

    - `max_events`: maximum number of events that are not handled yet, 1 or more. Further deliveries are answered 503.
    - `remember`: how many keys of handled events are remembered, 1 or more. The oldest ones are forgotten first.

    Raises `ClientSettingsError` if a setting is invalid.
    """

    def __init__(self, *, max_events: int = 10_000, remember: int = 100_000) -> None:
        check_at_least(1, "max_events", max_events)
        check_at_least(1, "remember", remember)
        self._max_events = max_events
        self._remember = remember
        self._events: OrderedDict[str, _Kept] = OrderedDict()
        self._handled: OrderedDict[str, None] = OrderedDict()

    async def open(self) -> None:
        """Do nothing."""

    async def close(self) -> None:
        """Do nothing. The events stay in memory."""

    async def add(self, key: str, body: bytes, *, lease_until: float) -> bool:
        """See `EventStore.add`."""
        if key in self._events or key in self._handled:
            return False
        if len(self._events) >= self._max_events:
            raise StoreFullError
        self._events[key] = _Kept(body, 0, lease_until)
        return True

    async def claim(self, limit: int, *, lease_until: float, now: float) -> Sequence[Claimed]:
        """See `EventStore.claim`."""
        found: list[Claimed] = []
        for key, kept in self._events.items():
            if len(found) >= limit:
                break
            if kept.free_at <= now:
                kept.free_at = lease_until
                found.append(Claimed(key=key, body=kept.body, attempts=kept.attempts))
        return found

    async def renew(self, keys: Sequence[str], *, lease_until: float) -> None:
        """See `EventStore.renew`."""
        for key in keys:
            if (kept := self._events.get(key)) is not None:
                kept.free_at = lease_until

    async def done(self, key: str, *, now: float) -> None:
        """See `EventStore.done`."""
        self._events.pop(key, None)
        self._handled[key] = None
        while len(self._handled) > self._remember:
            self._handled.popitem(last=False)

    async def release(self, key: str, *, attempts: int, due: float) -> None:
        """See `EventStore.release`."""
        if (kept := self._events.get(key)) is not None:
            kept.attempts, kept.free_at = attempts, due

    async def tidy(self, *, now: float) -> None:
        """Do nothing: `done` forgets the oldest keys."""
