"""`aiorooms rollback` and `verify`: the way back, and a look whether a plan is carried out."""

from contextlib import aclosing
from pathlib import Path
from typing import Final

import click

from ..bulk import Difference, Journal, Plan, Rollback, plan_rollback
from ..bulk import verify as verify_plan
from ._diff import show_plan
from ._json import JsonValue
from ._options import Reader, api_options
from ._output import Output, OutputLostError, command_line, complain, end_echo, flush, shown
from ._run import run
from ._status import FAILED, INTERRUPTED, OK

__all__ = ["rollback", "verify"]

_PATH: Final = click.Path(path_type=Path)


@click.command()
@click.argument("journal", metavar="JOURNAL", type=_PATH)
@click.option("--out", metavar="PLAN", type=_PATH, help="Where the plan goes.  [default: back.plan]")
@click.option("--overwrite", is_flag=True, help="Write the plan over a file that is there.")
@click.option("--all", "every_room", is_flag=True, help="Show each room, and not those together that change alike.")
@api_options
def rollback(
    journal: Path,
    out: Path | None,
    overwrite: bool,
    every_room: bool,
    base_url: str | None,
    timeout: str | None,
    as_json: bool,
) -> int:
    """Plan the way back from what a journal says was changed, and show it. Nothing is changed yet.

    Rooms that somebody else changed since are told, and are not in the plan.

    \b
    Examples:
      aiorooms rollback rooms.plan.journal
      aiorooms rollback rooms.plan.journal --out yesterday.plan
    """  # noqa: D301 - click takes a backspace for "leave these lines as they are"
    reader = Reader()
    path = reader.new_file("--out", out or Path("back.plan"), overwrite=overwrite, source=journal)
    client = reader.client(base_url, timeout)
    reader.refuse()
    assert client is not None
    opened = Journal.open(journal)
    made: list[Rollback] = []

    async def read() -> None:
        async with client:
            made.append(await plan_rollback(client, opened, path))

    if run(read):
        end_echo()
        complain("interrupted; no plan was written")
        return INTERRUPTED
    plan, conflicts = Plan.open(path), made[0].conflicts
    output = Output(json=as_json)
    for conflict in conflicts:
        output.complain(conflict)
    if as_json:
        output.data({"plan": str(path), "rooms": plan.rooms, "unchanged": plan.unchanged, "conflicts": len(conflicts)})
    else:
        show_plan(plan, output, every_room=every_room)
        if plan.rooms:
            output.note(f"Planned in {path}; `{command_line('apply', path, base_url=base_url)}` carries it out.")
    return FAILED if conflicts else OK


@click.command()
@click.argument("path", metavar="PLAN", type=_PATH)
@api_options
def verify(path: Path, base_url: str | None, timeout: str | None, as_json: bool) -> int:
    """Read the rooms of a plan again, and tell which are not as it wants them.

    \b
    Examples:
      aiorooms verify rooms.plan

    Each room that differs is a line: its id, and the fields with what was wanted and what is there. The exit code is 0
    if none differs, else 1.
    """  # noqa: D301 - click takes a backspace for "leave these lines as they are"
    reader = Reader()
    client = reader.client(base_url, timeout)
    reader.refuse()
    assert client is not None
    plan = Plan.open(path)
    out = Output(json=as_json)
    count = 0

    async def read() -> None:
        nonlocal count
        async with client, aclosing(verify_plan(client, plan)) as differences:
            async for difference in differences:
                count += 1
                _tell(difference, out)

    try:
        if run(read):
            end_echo()
            complain("interrupted")
            return INTERRUPTED
        flush()
    except OutputLostError as error:
        if not error.unread:
            raise
        return FAILED  # a reader that has enough has read of one that differs
    if not as_json:
        out.note(f"{plan.rooms - count:,} of {plan.rooms:,} rooms are as planned.")
    return FAILED if count else OK


def _tell(difference: Difference, out: Output) -> None:
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
