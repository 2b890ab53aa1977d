"""`aiorooms rollback` and `verify`: the way back, and whether an account is as a plan wants it."""

from contextlib import aclosing
from pathlib import Path

import click

from ..bulk import Difference, Journal, Plan, Rollback, plan_rollback
from ..bulk import verify as verify_plan
from ..client import RoomsClient
from ._command import Command, Context
from ._diff import show_how_to_apply, show_plan
from ._json import JsonValue
from ._options import (
    FILE,
    api_options,
    check_new_file,
    every_room_option,
    make_client,
    make_client_and_keep_url,
    overwrite_option,
)
from ._output import Output, OutputLostError, flush, shown
from ._run import run
from ._status import FAILED, OK

__all__ = ["rollback", "verify"]


def _check_out(ctx: Context) -> None:
    check_new_file(ctx, "--out", ctx.params["out"], source=ctx.params["journal"])


@click.command(cls=Command, steps=[_check_out, make_client_and_keep_url])
@click.argument("journal", metavar="JOURNAL", type=FILE)
@click.option(
    "--out", metavar="PLAN", type=FILE, default="back.plan", show_default=True, help="Where to write the plan."
)
@overwrite_option
@every_room_option
@api_options
def rollback(
    journal: Path, out: Path, every_room: bool, base_url: str | None, client: RoomsClient, as_json: bool
) -> int:
    """Plan the way back from a journal. Nothing is changed yet.

    Rooms that were modified by someone else since are reported, and are not in the plan.

    \b
    Examples:
      aiorooms rollback rooms.plan.journal
      aiorooms rollback rooms.plan.journal --out yesterday.plan
    """  # noqa: D301 - click takes a backspace for "leave these lines as they are"
    opened = Journal.open(journal)

    async def read() -> Rollback:
        async with client:
            return await plan_rollback(client, opened, out)

    conflicts = run(read(), interrupted="interrupted; no plan was written").conflicts
    plan = Plan.open(out)
    output = Output(json=as_json)
    for conflict in conflicts:
        output.complain(conflict)
    if as_json:
        output.data({"plan": str(out), "rooms": plan.rooms, "unchanged": plan.unchanged, "conflicts": len(conflicts)})
    else:
        show_plan(plan, output, every_room=every_room)
        show_how_to_apply(plan, output, base_url=base_url)
    return FAILED if conflicts else OK


@click.command(cls=Command, steps=[make_client])
@click.argument("path", metavar="PLAN", type=FILE)
@api_options
def verify(path: Path, client: RoomsClient, as_json: bool) -> int:
    """Compare the rooms of a plan with what it wants.

    \b
    Examples:
      aiorooms verify rooms.plan
      aiorooms verify rooms.plan --json > different.jsonl

    Each room that differs is a line: its id, and the fields with the wanted and the present value. The exit code is 0
    if none differs, else 1.
    """  # noqa: D301 - click takes a backspace for "leave these lines as they are"
    plan = Plan.open(path)
    out = Output(json=as_json)

    async def compare() -> int:
        count = 0
        async with client, aclosing(verify_plan(client, plan)) as differences:
            async for difference in differences:
                count += 1
                _write(difference, out)
        return count

    try:
        count = run(compare())
        flush()
    except OutputLostError as error:
        if not error.unread:
            raise
        return FAILED  # a reader that has enough has read of one that differs
    if not as_json:
        out.note(f"{plan.rooms - count:,} of {plan.rooms:,} rooms are as planned.")
    return FAILED if count else OK


def _write(difference: Difference, out: Output) -> None:
    if out.json:
        wanted: dict[str, JsonValue] = {**difference.wanted}
        found: dict[str, JsonValue] | None = None if difference.found is None else {**difference.found}
        out.data({"room_id": difference.room_id, "wanted": wanted, "found": found})
        return
    if difference.found is None:
        out.line(f"{difference.room_id}\tnot in the account any more")
        return
    found_values = difference.found
    fields = (
        f"{name}: {shown(value) or 'nothing'} was wanted, {shown(found_values[name]) or 'nothing'} is there"
        for name, value in difference.wanted.items()
    )
    out.line(f"{difference.room_id}\t{'; '.join(fields)}")
