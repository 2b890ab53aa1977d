"""Classes for the results that `compare` measures and `chart` draws."""

from collections.abc import Mapping, Sequence
from typing import Final

import attrs

from ._runs import Figures, Spread, Target

OURS: Final = ("update", "update_many")
"""The contestants that use aiorooms, with new URLs in each update."""

SAME_URLS: Final = ("update_same_urls", "update_many_same_urls")
"""The contestants that use aiorooms, with the same URLs in all rooms. All others use another client, or none."""


@attrs.frozen(kw_only=True)
class Row:
    """The results of one contestant on one event loop.

    A ratio is the contestant's figure divided by that of `script` on the same loop, or None if `script` did not run.
    """

    contestant: str
    label: str
    loop: str
    orjson: bool
    cpu_us: Spread
    """CPU time of the client for one update, in microseconds."""
    cpu_ratio: Spread | None
    per_second: Spread
    """Updates per second."""
    per_second_ratio: Spread | None
    above_mb: Spread
    """Increase of the peak memory after the imports, in MB."""
    above_ratio: Spread | None
    client_busy: Spread
    """CPU time of the client as a share of the wall time, 0 to 1."""
    server_busy: Spread
    """CPU time of the server as a share of the wall time, 0 to 1."""
    runs: Sequence[Figures]


@attrs.frozen(kw_only=True)
class Headroom:
    """How many requests per second the server can answer, and how many the clients send."""

    pipelined_per_second: float
    """Pipelined requests that the server answers per second. If `pipelined_busy` is below 1, more are possible."""
    pipelined_busy: float
    """CPU time of the server as a share of the wall time while it answers the pipelined requests, 0 to 1."""
    fastest: str
    """The contestant with the most updates per second. `floor` counts only if no other contestant ran."""
    fastest_per_second: float
    """Updates per second of the contestant `fastest`."""
    fastest_busy: float
    """The `server_busy` of the contestant `fastest`."""
    too_busy: Mapping[str, float]
    """The contestants whose `server_busy` is above 1/4, each with its `server_busy`."""


@attrs.frozen(kw_only=True)
class Comparison:
    """The results of all contestants."""

    rounds: int
    count: int
    concurrency: int
    rows: Sequence[Row]
    bars: Sequence[Target]
    """The targets."""
    headroom: Headroom
