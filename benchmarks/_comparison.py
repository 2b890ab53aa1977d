"""The results of a comparison, which `compare` measures and `chart` draws."""

from collections.abc import Mapping, Sequence
from typing import Final

import attrs

from ._runs import Figures, Spread, Target

OURS: Final = ("update", "update_many")
"""The contestants that are aiorooms."""


@attrs.frozen(kw_only=True)
class Row:
    """The results of one contestant. Ratios are to the script on the same loop; None if that script did not run."""

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
    """Peak memory above the import, in MB."""
    above_ratio: Spread | None
    client_busy: Spread
    """Share of the wall time in which the client used its core, 0 to 1."""
    server_busy: Spread
    """Share of the wall time in which the server used its core, 0 to 1."""
    runs: Sequence[Figures]


@attrs.frozen(kw_only=True)
class Headroom:
    """The capacity of the server, compared with the load of the clients."""

    pipelined_per_second: float
    """Pipelined requests answered per second. The server's capacity is higher if `pipelined_busy` is below 1."""
    pipelined_busy: float
    """Share of the time in which the server used its core to answer the pipelined requests, 0 to 1."""
    fastest: str
    """The contestant with the most updates per second, except the raw sockets."""
    fastest_per_second: float
    fastest_busy: float
    too_busy: Mapping[str, float]
    """The contestants that kept the server busy for more than a quarter of the time, with the share of the time."""


@attrs.frozen(kw_only=True)
class Comparison:
    rounds: int
    count: int
    concurrency: int
    rows: Sequence[Row]
    bars: Sequence[Target]
    headroom: Headroom
