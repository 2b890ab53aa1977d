"""A Telnyx Video Rooms API that runs on your own machine, for tests, demos and benchmarks.

`RoomsSimulator` is a real HTTP server on loopback with rooms in memory. It checks what it is sent as the API does,
answers with the API's own status codes and bodies, limits the rate when asked to, and can break in every way that a
network, a proxy or a load balancer breaks.

    async with RoomsSimulator(rooms=1000, rate_limit="100/1s") as sim:
        ...  # speak to sim.url with the key sim.api_key, then look at sim.rooms and sim.stats

Nothing here is shared with the client: shared code hides shared bugs. The names below are loaded on first use, so
that the pytest plugin, which every run of pytest loads, costs nothing.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._faults import ALL, APPLIED, NOT_APPLIED, ODD, FaultKind, Faults
    from ._limiters import RateLimit
    from ._server import RoomsSimulator
    from ._stats import RecordedRequest, Stats

__all__ = [
    "ALL",
    "APPLIED",
    "NOT_APPLIED",
    "ODD",
    "FaultKind",
    "Faults",
    "RateLimit",
    "RecordedRequest",
    "RoomsSimulator",
    "Stats",
]

_HOMES = {
    "ALL": "_faults",
    "APPLIED": "_faults",
    "NOT_APPLIED": "_faults",
    "ODD": "_faults",
    "FaultKind": "_faults",
    "Faults": "_faults",
    "RateLimit": "_limiters",
    "RecordedRequest": "_stats",
    "RoomsSimulator": "_server",
    "Stats": "_stats",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(importlib.import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
