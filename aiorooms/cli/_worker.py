"""`aiorooms worker`: apply the batches of runs on several machines."""

import os
from typing import Final

import click

from ..client import RoomsClient
from ._bulk_options import rate_option, retries_option
from ._command import Command, Context
from ._distributed import load
from ._exit_codes import OK
from ._on import on_option, read_on
from ._options import SHARED_PACING, api_options, make_client, policy_option, read_policy, value_option
from ._output import Output
from ._run import Interrupted, run
from ._values import read_duration, whole_number

__all__ = ["worker"]

_GRACE: Final = 60.0
"""Time for a worker to hand its batches back after the first signal, in seconds."""


def _share_by_default(ctx: Context) -> None:
    """Share the rate limit through the store, unless the user names another Redis."""
    on: str | None = ctx.params["on"]
    if ctx.params.pop("no_shared_pacing"):
        ctx.params["shared_pacing"] = ""
    elif ctx.params["shared_pacing"] is None and SHARED_PACING not in os.environ and not ctx.has_problems:
        ctx.params["shared_pacing"] = on


@click.command(cls=Command, steps=[read_on, _share_by_default, read_policy, make_client])
@on_option("Redis with the runs", required=True)
@value_option(
    "--concurrency",
    "N",
    whole_number(3, 1000),
    "Maximum number of updates in flight, 3 to 1000. Each of three batches gets a third.",
    default="50",
)
@click.option(
    "--until-finished",
    is_flag=True,
    help="End when nothing is queued or in progress.  [default: wait for further runs]",
)
@value_option(
    "--redelivery",
    "TIME",
    read_duration(3.0),
    "About how long the batches of a killed worker wait for others, 3s or more. Give all workers the same.",
    default="15s",
)
@rate_option
@click.option(
    "--shared-pacing",
    metavar="URL",
    help=f"Redis through which workers share the rate limit.  [default: {SHARED_PACING}, or that of --on]",
)
@click.option("--no-shared-pacing", is_flag=True, help="Don't share the rate limit.  [default: share it]")
@retries_option
@policy_option
@api_options
def worker(
    on: str,
    concurrency: int,
    until_finished: bool,
    redelivery: float,
    client: RoomsClient,
    as_json: bool,
) -> int:
    """Apply batches of plans that `apply --on` submitted.

    Start any number of workers, on any machines, each with TELNYX_API_KEY. They apply runs with the same key and base
    URL, and share the rate limit through the same Redis.

    After the first Ctrl-C or SIGTERM, updates in flight finish, no others begin, and other workers get the batches.
    After the second, or 60 seconds, updates in flight are aborted; the next worker reads their rooms. If a worker is
    killed, its batches go to others after the redelivery time. If Redis can't be reached, the worker waits until it
    can.

    Only use a Redis that you trust: anyone who can write to it can run code in the workers.

    \b
    Examples:
      aiorooms worker --on redis://HOST:6379/0
      aiorooms worker --on env --concurrency 100
      aiorooms worker --on redis://HOST:6379/0 --until-finished
    """  # noqa: D301 - a backspace tells click to keep the line breaks
    out = Output(json=as_json)
    load()
    from ..bulk.distributed import Worker

    worker = Worker(client, on, concurrency=concurrency, redelivery=redelivery)
    out.note(f"Worker for {client.base_url}. Press Ctrl-C to stop.")

    has_ended = False

    async def work() -> None:
        nonlocal has_ended
        async with client:
            await worker.run(until_finished=until_finished)
        has_ended = True

    try:
        run(work(), on_stop=worker.stop, grace=_GRACE)
    except Interrupted:
        if not has_ended:
            raise Interrupted(
                "stopped; the updates in flight were aborted, and other workers read their rooms"
            ) from None
        out.note("Stopped. What was left was handed back.")
    return OK
