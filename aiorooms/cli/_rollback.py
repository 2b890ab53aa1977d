"""`aiorooms rollback`: plan the reversal of a run."""

from pathlib import Path
from typing import Final

import click

from ..bulk import Journal, Plan, Rollback, plan_rollback
from ..bulk._damage import damage_of_journal
from ..client import RoomsClient
from ._bulk_options import dry_run_option, reject_dry_run
from ._command import Command, Context
from ._diff import show_how_to_apply, show_plan
from ._exit_codes import FAILED, OK
from ._kinds import expect_journal
from ._options import (
    FILE,
    api_options,
    check_new_file,
    every_room_option,
    make_client,
    overwrite_option,
)
from ._output import Output
from ._repeated import Repeated, keep_repeated
from ._review import totals_of
from ._run import interrupted_before, run
from ._streams import is_standard, output_path, reject_two_outputs
from ._watch import stats_option

__all__ = ["rollback"]


_NO_DRY_RUN: Final = reject_dry_run("a rollback is only planned: the command changes no room")


def _check_out(ctx: Context) -> None:
    check_new_file(ctx, "--out", ctx.params["out"], source=ctx.params["journal"])
    reject_two_outputs(ctx, "out", "--out", "the plan")


@click.command(
    cls=Command, steps=[_NO_DRY_RUN, expect_journal("journal", "rollback"), keep_repeated, _check_out, make_client]
)
@click.argument("journal", metavar="JOURNAL", type=FILE)
@click.option(
    "--out",
    "-o",
    metavar="PLAN",
    type=FILE,
    default="back.plan",
    show_default=True,
    help="Path of the new plan; - is standard output.",
)
@overwrite_option
@click.option(
    "--strict",
    is_flag=True,
    help="Treat any modification by someone else as a conflict.  [default: only that of a field that the run changed]",
)
@every_room_option
@dry_run_option
@stats_option
@api_options
def rollback(
    journal: Path, out: Path, strict: bool, every_room: bool, repeated: Repeated, client: RoomsClient, as_json: bool
) -> int:
    """Plan the reversal of a run, without changing any room yet.

    If a room can't be rolled back, for example because someone else changed the same field after the run, the room is
    reported as a conflict and is not in the plan. The webhook URL and the failover URL count as one field. If someone
    else changed only other fields, the room is in the plan. With --strict, any modification is a conflict. If lines of
    the journal are damaged, the values that they hide are taken from the plan of the run, if it is still there.

    \b
    Examples:
      aiorooms rollback rooms.plan.journal
      aiorooms rollback rooms.plan.journal --out yesterday.plan
    """  # noqa: D301 - a backspace tells click to keep the line breaks
    opened = Journal.open(journal)
    output = Output(json=as_json)
    with output_path(out) as path:

        async def read() -> Rollback:
            async with client:
                return await plan_rollback(client, opened, path, strict=strict, on_room=reading.add_room)

        with output.reading() as reading:
            result = run(read(), interrupted=interrupted_before(path, "plan"))
        conflicts, damaged_lines = result.conflicts, result.damaged_lines
        plan = Plan.open(path)
        for conflict in conflicts:
            output.error(conflict)
        if damaged_lines:
            output.error(f"{damage_of_journal(damaged_lines)}, and may hide rooms that the plan does not roll back")
        if is_standard(out):
            output.aside(totals_of(plan))
        elif not as_json:
            show_plan(plan, output, every_room=every_room)
    if as_json:
        output.data(
            {
                "plan": str(out),
                "rooms": plan.rooms,
                "unchanged": plan.unchanged,
                "conflicts": len(conflicts),
                "noted": result.noted,
                "damaged_lines": [*damaged_lines],
            }
        )
    else:
        if result.noted:
            rooms = "1 room of the plan was" if result.noted == 1 else f"{result.noted:,} rooms of the plan were"
            output.note(f"{rooms} modified by someone else after the run, but not in a field that the run changed.")
        if not is_standard(out):
            show_how_to_apply(plan, output, repeated=repeated)
    return FAILED if conflicts or damaged_lines else OK
