"""`aiorooms verify`: compare the rooms on the server with a plan."""

from contextlib import aclosing
from pathlib import Path

import click

from ..bulk import Difference, Plan
from ..bulk import verify as verify_plan
from ..client import RoomsClient
from ._command import Command
from ._escaping import field_text
from ._exit_codes import FAILED, OK
from ._json import JsonValue
from ._kinds import expect_plan
from ._options import FILE, api_options, make_client
from ._output import Output, OutputLostError, flush
from ._run import run
from ._status_text import as_planned
from ._watch import stats_option

__all__ = ["verify"]


@click.command(cls=Command, steps=[expect_plan("path", "verify"), make_client])
@click.argument("path", metavar="PLAN", type=FILE)
@stats_option
@api_options
def verify(path: Path, client: RoomsClient, as_json: bool) -> int:
    """Compare the rooms on the server with a plan.

    Each room that differs from the plan is one line: its id, and the planned and current values of the fields that
    differ. The exit code is 0 if no room differs, and 1 if any room differs.

    \b
    Examples:
      aiorooms verify rooms.plan
      aiorooms verify rooms.plan --json > different.jsonl
    """  # noqa: D301 - a backspace tells click to keep the line breaks
    plan = Plan.open(path)
    out = Output(json=as_json)

    async def compare() -> int:
        count = 0
        async with client, aclosing(verify_plan(client, plan, on_room=reading.add_room)) as differences:
            async for difference in differences:
                count += 1
                _write(difference, out)
        return count

    try:
        with out.reading(writes_results=True) as reading:
            count = run(compare())
        flush()
    except OutputLostError as error:
        if not error.reader_closed:
            raise
        return FAILED  # a line about a room that differs was lost
    if not as_json:
        out.note(f"{as_planned(plan.rooms - count, plan.rooms).capitalize()}.")
    return FAILED if count else OK


def _write(difference: Difference, out: Output) -> None:
    if out.json:
        wanted: dict[str, JsonValue] = {**difference.wanted}
        found: dict[str, JsonValue] | None = None if difference.found is None else {**difference.found}
        out.data({"room_id": difference.room_id, "wanted": wanted, "found": found})
        return
    if difference.found is None:
        out.line(f"{difference.room_id}\tno longer in the account")
        return
    found_values = difference.found
    fields = (
        f"{name}: planned {field_text(value) or 'null'}, found {field_text(found_values[name]) or 'no value'}"
        for name, value in difference.wanted.items()
    )
    out.line(f"{difference.room_id}\t{'; '.join(fields)}")
