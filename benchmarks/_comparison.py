"""What a comparison found: what `compare` makes, and `chart` draws."""

from collections.abc import Mapping, Sequence
from typing import Final

import attrs

from ._runs import Bar, Figures, Spread

OURS: Final = ("update", "update_many")
"""The contestants that are aiorooms."""


@attrs.frozen(kw_only=True)
class Row:
    """What was measured of a contestant. Ratios are None where the script on the same loop was not run."""

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
    """The share of the time in which the client had its core, 0 to 1."""
    server_busy: Spread
    """The share of the time in which the server had something to do, 0 to 1."""
    runs: Sequence[Figures]


@attrs.frozen(kw_only=True)
class Headroom:
    """How much the server can do, beside what is asked of it."""

    pipelined_per_second: float
    """Requests that it answers when many come in one piece. It may be able to do more: it had so much to do."""
    pipelined_busy: float
    """The share of the time in which it had something to do then, 0 to 1."""
    fastest: str
    """Who asks the most of it, the raw sockets left aside."""
    fastest_per_second: float
    fastest_busy: float
    too_busy: Mapping[str, float]
    """In whose runs the server had more to do than a fourth of the time."""


@attrs.frozen(kw_only=True)
class Comparison:
    rounds: int
    count: int
    concurrency: int
    rows: Sequence[Row]
    bars: Sequence[Bar]
    headroom: Headroom
