"""What the simulator saw, so that tests can ask. Counters grow with the number of rooms, never of requests."""

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

import attrs

METHODS = frozenset({"GET", "POST", "PATCH", "DELETE", "PUT", "HEAD", "OPTIONS"})


class RecordedRequest(NamedTuple):
    """One request exactly as it was received."""

    method: str
    path: str
    """The request target as it stood in the request line: path and query, nothing decoded."""
    headers: Mapping[str, str]
    """Looked up without regard to case; a repeated header keeps all its values in `.items()`."""
    body: bytes


@attrs.define
class Stats:
    """Counters of everything that reached the simulator since it was made or `reset_stats()` was called."""

    requests: int = 0
    """Requests whose head was read, whatever became of them."""
    by_method: Counter[str] = attrs.Factory(Counter[str])
    """By HTTP method; unusual methods are counted together as `OTHER`."""
    by_status: Counter[int] = attrs.Factory(Counter[int])
    """By the status that was sent. A request that got no status line is not in it."""
    refused: int = 0
    """Requests over the rate limit: the limiter's own 429s."""
    unauthorized: int = 0
    """Requests with no key or a wrong one (401)."""
    stale: int = 0
    """Requests sent on a connection that the fault `stale` had closed: dropped unread, and not in `requests`."""
    in_flight: int = 0
    """Requests being worked on at this moment. `reset_stats()` leaves it alone."""
    peak_in_flight: int = 0
    """The most requests that were in flight at one moment.

    Without latency or faults a request is answered in the turn of the loop in which its body is complete, so this is 1
    or little more, however many the client sends at once. Give the simulator some latency to see the client's figure.
    """
    connections: int = 0
    """Distinct connections that carried at least one request."""
    updates_applied: Counter[str] = attrs.Factory(Counter[str])
    """By room id: PATCHes that changed the room, also when the answer was lost afterwards."""
    faults: Counter[str] = attrs.Factory(Counter[str])
    """By fault kind: requests that met it."""
    requests_by_room: Counter[str] = attrs.Factory(Counter[str])
    """By room id (lower case) as it stood in the path, also of rooms that do not exist, and of refused requests."""

    def clear(self) -> None:
        """Start counting anew; requests in flight are counted on."""
        self.requests = self.refused = self.unauthorized = self.stale = self.connections = 0
        self.peak_in_flight = self.in_flight
        for counter in (self.by_method, self.updates_applied, self.faults, self.requests_by_room):
            counter.clear()
        self.by_status.clear()
