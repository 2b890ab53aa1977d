"""Apply a plan on several machines, through Redis. Needs the extra `distributed`.

name = await submit(client, Plan.open("tonight.plan"), "redis://localhost:6379/0")   # once
await Worker(client, "redis://localhost:6379/0").run()                                # on any number of machines
async with DistributedRun(name, "redis://localhost:6379/0") as run:
async for status in run.watch():
...
await run.pull_journal("tonight.journal")
"""

from importlib.util import find_spec

from ...errors import DistributedRunError

if find_spec("docket") is None:  # pragma: no cover - the tests install it
    raise DistributedRunError(
        "a run on several machines needs pydocket",
        hint="install it: pip install 'aiorooms[distributed]'",
        reason="missing_extra",
    )

from ._runs import REDELIVERY, DistributedRun, RunStatus, find_runs, submit
from ._worker import Worker

__all__ = ["REDELIVERY", "DistributedRun", "DistributedRunError", "RunStatus", "Worker", "find_runs", "submit"]
