"""A simulator of the Telnyx Video Rooms API that runs on your own machine, for tests, demos and benchmarks.

`RoomsSimulator` is a real HTTP server on loopback with rooms in memory. It validates requests as the API does, and
answers with the API's own status codes and bodies. It can also limit the rate, and inject the faults of networks,
proxies and load balancers. It delivers signed webhook events, and `Deliveries` configures that.

    async with RoomsSimulator(rooms=1000, rate_limit="100/1s") as sim:
        ...  # send requests to sim.url with the key sim.api_key, then check sim.rooms and sim.stats

The simulator shares no code with the client, because tests can't find a bug in code that both use.
"""

from ._deliveries import Deliveries, DeliveryAttempt
from ._fault_kinds import ALL, APPLIED, NOT_APPLIED, ODD, FaultKind, fault_descriptions
from ._faults import Faults
from ._limiters import RateLimit
from ._scripted_answer import ScriptedAnswer
from ._simulator import RoomsSimulator
from ._stats import RecordedRequest, Stats

__all__ = [
    "ALL",
    "APPLIED",
    "NOT_APPLIED",
    "ODD",
    "Deliveries",
    "DeliveryAttempt",
    "FaultKind",
    "Faults",
    "RateLimit",
    "RecordedRequest",
    "RoomsSimulator",
    "ScriptedAnswer",
    "Stats",
    "fault_descriptions",
]
