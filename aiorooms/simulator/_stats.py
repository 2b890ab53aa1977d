"""Counters and recorded requests, for tests. The counters need memory for each room, but not for each request."""

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

import attrs

METHODS = frozenset({"GET", "POST", "PATCH", "DELETE", "PUT", "HEAD", "OPTIONS"})

SCRIPTED = "scripted"
"""The key of `Stats.faults` for all scripted answers."""


class RecordedRequest(NamedTuple):
    """One request exactly as it was received."""

    method: str
    path: str
    """The request target as in the request line: path and query, not decoded."""
    headers: Mapping[str, str]
    """The headers by case-insensitive name. `.items()` contains all values of a repeated header."""
    body: bytes


@attrs.define
class Stats:
    """The counters since the simulator was created, or since `reset_stats()`."""

    requests: int = 0
    """Number of requests whose headers were read, whatever their outcome, except those counted in `stale`."""
    by_method: Counter[str] = attrs.Factory(Counter[str])
    """Number of requests by HTTP method. Unusual methods are counted together as `OTHER`."""
    by_status: Counter[int] = attrs.Factory(Counter[int])
    """Number of answers by status. Answers without a status line are not counted."""
    refused: int = 0
    """Number of rate limited requests. 429s that are injected as faults are not counted."""
    unauthorized: int = 0
    """Number of requests with a missing or wrong key (401)."""
    stale: int = 0
    """Number of requests that arrived on a connection on which the fault `stale` had occurred.

    These requests are dropped, and are not counted in `requests`.
    """
    in_flight: int = 0
    """Number of requests received and not yet answered. `reset_stats()` leaves this number unchanged."""
    peak_in_flight: int = 0
    """Maximum of `in_flight` since the last `reset_stats()`.

    Without latency or faults, a request is answered in the loop iteration in which its body is complete. The maximum is
    then about 1, however many requests the client sends at once. Set a latency to measure the client's concurrency.
    """
    connections: int = 0
    """Number of connections with at least one request."""
    updates_applied: Counter[str] = attrs.Factory(Counter[str])
    """Number of PATCHes that were applied, by room id, even if the answer was lost."""
    faults: Counter[str] = attrs.Factory(Counter[str])
    """Number of requests with a fault, by kind of fault. `scripted` counts those with a `ScriptedAnswer`."""
    requests_by_room: Counter[str] = attrs.Factory(Counter[str])
    """Number of requests by room id in lower case, including failed requests.

    Requests for a room that doesn't exist are counted only if the id is a UUID and the API key is known. Otherwise,
    requests without a valid API key could use up the memory.
    """

    events: Counter[str] = attrs.Factory(Counter[str])
    """Number of webhook events by outcome. Events that wait for an attempt are not counted.

    `delivered` means that a receiver answered with a 2xx, and `given_up` that all attempts have failed. Nothing was
    sent with `not_allowed` (no URL of the room is on loopback) and `dropped` (too many events were waiting).
    `RoomsSimulator.delivery_log` contains each attempt.
    """

    def clear(self) -> None:
        """Set all counters to 0, except `in_flight`. Set `peak_in_flight` to the current `in_flight`."""
        self.requests = self.refused = self.unauthorized = self.stale = self.connections = 0
        self.peak_in_flight = self.in_flight
        for counter in (self.by_method, self.updates_applied, self.faults, self.requests_by_room, self.events):
            counter.clear()
        self.by_status.clear()
