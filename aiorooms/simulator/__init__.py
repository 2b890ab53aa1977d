"""A Telnyx Video Rooms API that runs on your own machine, for tests, demos and benchmarks.

`RoomsSimulator` is a real HTTP server on loopback with rooms in memory. It checks what it is sent as the API does,
answers with the API's own status codes and bodies, limits the rate when asked to, and can break in every way that a
network, a proxy or a load balancer breaks.

    async with RoomsSimulator(rooms=1000, rate_limit="100/1s") as sim:
        ...  # speak to sim.url with the key sim.api_key, then look at sim.rooms and sim.stats

Nothing here is shared with the client: shared code hides shared bugs.
"""

from ._fault_kinds import ALL, APPLIED, NOT_APPLIED, ODD, FaultKind, fault_descriptions
from ._faults import Faults
from ._limiters import RateLimit
from ._simulator import RoomsSimulator
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
    "fault_descriptions",
]
