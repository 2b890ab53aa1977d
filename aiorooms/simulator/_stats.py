"""Counters and recorded requests, for tests. The counters need memory for each room, but not for each request."""

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

import attrs

METHODS = frozenset({"GET", "POST", "PATCH", "DELETE", "PUT", "HEAD", "OPTIONS"})


class RecordedRequest(NamedTuple):
    """One request exactly as it was received."""

    method: str
    path: str
    """The request target as in the request line: path and query, not decoded."""
    headers: Mapping[str, str]
    """Case-insensitive; `.items()` has all values of a repeated header."""
    body: bytes


@attrs.define
class Stats:
    """The counters since the simulator was created, or since `reset_stats()`."""

    requests: int = 0
    """Requests whose head was read, with any outcome."""
    by_method: Counter[str] = attrs.Factory(Counter[str])
    """By HTTP method; unusual methods are counted together as `OTHER`."""
    by_status: Counter[int] = attrs.Factory(Counter[int])
    """By status of the answer; requests that got no status line are not counted."""
    refused: int = 0
    """Rate limited requests: the 429s of the rate limit, without the 429s of faults."""
    unauthorized: int = 0
    """Requests with a missing or wrong key (401)."""
    stale: int = 0
    """Requests that arrived on a connection after the fault `stale`; they are dropped, and are not in `requests`."""
    in_flight: int = 0
    """Requests received and not yet answered. `reset_stats()` leaves it unchanged."""
    peak_in_flight: int = 0
    """Maximum of `in_flight`.

    Without latency or faults, a request is answered in the loop iteration in which its body is complete. The maximum is
    then 1 or little more, however many requests the client sends at once. Set a latency to measure its concurrency.
    """
    connections: int = 0
    """Distinct connections with at least one request."""
    updates_applied: Counter[str] = attrs.Factory(Counter[str])
    """By room id: PATCHes that were applied, even if the answer was lost."""
    faults: Counter[str] = attrs.Factory(Counter[str])
    """By kind of fault: requests with that fault."""
    requests_by_room: Counter[str] = attrs.Factory(Counter[str])
    """By the room id in the path (lower case): all requests, also failed ones.

    Rooms that don't exist are counted only if the key is known, so that requests without a key need no memory.
    """

    def clear(self) -> None:
        """Set all counters to 0, except `in_flight`; `peak_in_flight` becomes the current `in_flight`."""
        self.requests = self.refused = self.unauthorized = self.stale = self.connections = 0
        self.peak_in_flight = self.in_flight
        for counter in (self.by_method, self.updates_applied, self.faults, self.requests_by_room):
            counter.clear()
        self.by_status.clear()
