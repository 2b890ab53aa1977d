"""Apply a plan on several machines, through Redis. Needs the extra `distributed`.

    name = await submit(client, Plan.open("tonight.plan"), "redis://localhost:6379/0")  # once
    await Worker(client, "redis://localhost:6379/0").run()  # in any number of processes, on any machines
    async with DistributedRun(name, "redis://localhost:6379/0") as run:
        async for status in run.watch():
            ...
        await run.pull_journal("tonight.journal")

| module | what it does | I/O |
|---|---|---|
| `_batches`, `_snapshot` | batches of a plan, a letter for each room; what the head of a run says | no |
| `_lease` | the guard that is asked before each attempt | no |
| `_store`, `_scripts` | what a run keeps in Redis, and the steps that change it | yes |
| `_delivery`, `_recording` | apply one delivery of a batch, and record it | yes |
| `_lead`, `_plan_index` | find what others changed, queue the batches, end the run | yes |
| `_engine` | the queue of tasks, on pydocket | yes |
| `_worker`, `_runs`, `_pull`, `_connect` | what users call: a worker, a run, its journal; the connection | yes |

What 100 workers and 100 million rooms would need, calculated from the figures for a million:

- 400,000 batches: 3.4 GB in Redis for the plan, as much again for the logs, and 0.5 GB for the tasks. Redis needs a
  machine with 16 GB; this is the first limit. It takes 25 minutes to submit them.
- The lead: 0.8 GB for the index. Two million commands to queue and to end, at some thousand per second.
- At a limit of 500/s, the run takes 56 hours, and Redis gets 24 scripts per second for the batches, 300 renewals
  and 300 looks for a stop. Without a limit, 100 workers send 70,000/s. This is 3,400 scripts per second, a quarter of
  what one Redis can do.
- A list of the modified rooms has up to 400,000 pages. At 5 pages per second, it takes 22 hours. So someone else's
  change may be overwritten a day later: this breaks before anything else does. Split such a plan by conditions.
- The journal has 200 million lines, 60 GB, and is pulled with the memory of a few batches.
"""

from importlib.util import find_spec

from ...errors import DistributedRunError
from .._progress import Snapshot

if find_spec("docket") is None:  # pragma: no cover - the tests install it
    raise DistributedRunError(
        "a run on several machines needs pydocket",
        hint="install it: pip install 'aiorooms[distributed]'",
        reason="missing_extra",
    )

from ._connect import REDELIVERY
from ._runs import DistributedRun, RunStatus, find_runs, list_runs, submit
from ._worker import Worker

__all__ = [
    "REDELIVERY",
    "DistributedRun",
    "DistributedRunError",
    "RunStatus",
    "Snapshot",
    "Worker",
    "find_runs",
    "list_runs",
    "submit",
]
