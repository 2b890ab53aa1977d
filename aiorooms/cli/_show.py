"""`aiorooms show`: show a plan to a person who reviews it."""

from pathlib import Path

import click

from ..bulk import Plan, PlanSummary
from ..bulk._plan_review import PlanReviewer
from ._command import Command
from ._diff import show_plan
from ._exit_codes import OK
from ._json import JsonValue
from ._kinds import expect_plan
from ._options import FILE, every_room_option, json_option
from ._output import Output
from ._review import review_data, show_how_to_approve
from ._streams import is_copy, shown_path

__all__ = ["show", "write_plan"]


@click.command(cls=Command, steps=[expect_plan("path", "show")])
@click.argument("path", metavar="PLAN", type=FILE)
@every_room_option
@json_option
def show(path: Path, every_room: bool, as_json: bool) -> int:
    """Show a plan, its origin, and what can't be undone.

    The output begins with the source, the server, the time, the id and the checksum of the plan. Then come the changes
    by field and, for URLs, by host, and the rooms that a rollback could not bring back. It ends with the command that
    applies this plan and no other, so that one person can plan and another one can apply.

    \b
    Examples:
      aiorooms show rooms.plan
      aiorooms show rooms.plan --all
      ssh host cat rooms.plan | aiorooms show -

    With --json, the output is one object with the totals, fields (the changes by field) and not_restorable. With --json
    and --all, one object for each room comes first.
    """  # noqa: D301 - a backspace tells click to keep the line breaks
    out = Output(json=as_json)
    plan = Plan.open(path)
    write_plan(plan, out, every_room=every_room, with_header=True)
    if not as_json and not is_copy(path):
        show_how_to_approve(plan, out)
    return OK


def write_plan(
    plan: Plan, out: Output, *, every_room: bool, summary: PlanSummary | None = None, with_header: bool = False
) -> None:
    """Write a plan as text or JSON. If it has just been made, `summary` has totals that the file does not contain."""
    if not out.json:
        show_plan(plan, out, every_room=every_room, with_header=with_header)
        return
    reviewer = PlanReviewer()
    for planned in plan.updates():
        reviewer.add(planned)
        if every_room:
            out.data({"room_id": planned.room_id, "before": dict(planned.before), "after": dict(planned.after)})
    totals: dict[str, JsonValue] = {
        "plan": shown_path(plan.path),
        "plan_id": plan.plan_id,
        "rooms": plan.rooms,
        "unchanged": plan.unchanged,
        "not_concerned": plan.not_concerned,
        "invalid": plan.invalid,
        "source": plan.source,
        "base_url": plan.base_url,
        **review_data(plan, reviewer.result()),
    }
    if summary is not None:
        totals["outdated"] = summary.outdated
        totals["outdated_rooms"] = [*summary.outdated_rooms]
        totals["warnings"] = [*summary.first_warnings]
    out.data(totals)
