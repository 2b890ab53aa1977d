"""`aiorooms plan` and `show`: what is to be changed, read from a file or chosen in the account."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import click

from ..bulk import Plan, PlanSummary, Rows, Wanted, make_plan, read_rows, select
from ..errors import AioroomsError, BulkInputError
from ._diff import show_plan
from ._json import JsonValue
from ._options import BadInputError, Reader, api_options, json_option
from ._output import Output, command_line, complain, complain_of_all, end_echo
from ._run import run
from ._status import FAILED, INTERRUPTED, OK, SLIP

__all__ = ["plan", "show"]

_PATH: Final = click.Path(path_type=Path)

_CHANGES: Final = 2
"""With --detailed-exitcode."""


class _PlanCommand(click.Command):
    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Have a slip end with 1 too, where 2 means that there are changes."""
        if "--detailed-exitcode" in args:
            ctx.meta[SLIP] = FAILED
        return super().parse_args(ctx, args)


@click.command(cls=_PlanCommand)
@click.argument("file", metavar="[FILE]", required=False, type=_PATH)
@click.option("--where", metavar="COND", multiple=True, help="Only rooms that meet this; may be given more than once.")
@click.option("--set", "set_fields", metavar="FIELD=VALUE", multiple=True, help="What to change in each room.")
@click.option(
    "--rewrite-webhook-host",
    metavar="OLD=NEW",
    multiple=True,
    help="Another host for webhook and failover URLs; path, port and query stay.",
)
@click.option("--out", metavar="PLAN", type=_PATH, help="Where the plan goes.  [default: rooms.plan]")
@click.option("--overwrite", is_flag=True, help="Write the plan over a file that is there.")
@click.option("--check", is_flag=True, help="Only check FILE; nothing is read from the account.")
@click.option("--all", "every_room", is_flag=True, help="Show each room, and not those together that change alike.")
@click.option(
    "--detailed-exitcode", is_flag=True, help="Exit with 0 if nothing is to be done, 2 if something is, 1 otherwise."
)
@api_options
def plan(
    file: Path | None,
    where: tuple[str, ...],
    set_fields: tuple[str, ...],
    rewrite_webhook_host: tuple[str, ...],
    out: Path | None,
    overwrite: bool,
    check: bool,
    every_room: bool,
    detailed_exitcode: bool,
    base_url: str | None,
    timeout: str | None,
    as_json: bool,
) -> int:
    """Plan a change of many rooms, and show it. Nothing is changed yet.

    What to change comes from FILE (CSV, JSONL or JSON), or from the options. Each row of a file names a room, as
    room_id or room (an id or a unique name), and has any of the fields of a room; an empty cell leaves a field alone,
    the word null clears it. Everything is checked first, and all that is wrong is told at once.

    \b
    Conditions: name=support-*  webhook_host=*.example.com  recording=on
                created>=2024-05-01  updated<=2024-05-31

    \b
    Examples:
      aiorooms plan rooms.csv
      aiorooms plan rooms.csv --check
      aiorooms plan --rewrite-webhook-host old.example.com=new.example.com
      aiorooms plan --where 'name=support-*' --set max_participants=20

    The plan is a file: look at it again with `aiorooms show`, and carry it out with `aiorooms apply`.

    With --json it writes one object with the totals; with --all as well, the line of each room before it.
    """  # noqa: D301 - click takes a backspace for "leave these lines as they are"
    path = out or Path("rooms.plan")
    output = Output(json=as_json)
    with _told_apart(detailed_exitcode=detailed_exitcode):
        reader = Reader()
        chosen = bool(where or set_fields or rewrite_webhook_host)
        if check and file is None:
            reader.wrong("there is no FILE to check", "--check")
        elif (file is None) != chosen:
            reader.wrong("give either FILE, or --set or --rewrite-webhook-host; see `aiorooms plan --help`")
        if check:
            reader.refuse()
            assert file is not None
            return _check(file, output)
        reader.new_file("--out", path, overwrite=overwrite, source=file)
        client = reader.client(base_url, timeout)
        reader.refuse()
        assert client is not None
        wanted: Wanted
        rows: Rows | None = None
        if file is None:
            wanted = select(where=where, set_fields=set_fields, rewrite_webhook_host=rewrite_webhook_host)
        else:
            wanted = rows = read_rows(file)
        made: list[PlanSummary] = []

        try:
            with output.reading() as on_room:

                async def read() -> None:
                    async with client:
                        made.append(await make_plan(client, wanted, path, on_room=on_room))

                interrupted = run(read)
        finally:
            if rows is not None:
                rows.close()
        if interrupted:
            end_echo()
            complain("interrupted; no plan was written")
            return INTERRUPTED
        opened = Plan.open(path)
        _show(opened, output, every_room=every_room)
        if opened.rooms and not as_json:
            output.note(f"Planned in {path}; `{command_line('apply', path, base_url=base_url)}` carries it out.")
        return _CHANGES if detailed_exitcode and opened.rooms else OK


@contextmanager
def _told_apart(*, detailed_exitcode: bool) -> Generator[None]:
    """Have what is wrong end with 1, so that 2 means that there are changes."""
    try:
        yield
    except (AioroomsError, BadInputError) as error:
        if not detailed_exitcode:
            raise
        if isinstance(error, (BulkInputError, BadInputError)):
            complain_of_all(error.problems)
        else:
            complain(str(error))
        raise click.exceptions.Exit(FAILED) from None


def _check(file: Path, out: Output) -> int:
    with read_rows(file) as rows:
        if out.json:
            out.data({"file": str(file), "rows": rows.count})
        else:
            told = (
                "1 row, and nothing is wrong with it"
                if rows.count == 1
                else f"{rows.count:,} rows, and nothing is wrong with them"
            )
            out.line(f"{file}: {told}.")
    return OK


def _totals(opened: Plan) -> dict[str, JsonValue]:
    return {
        "plan": str(opened.path),
        "plan_id": opened.plan_id,
        "rooms": opened.rooms,
        "unchanged": opened.unchanged,
        "source": opened.source,
        "base_url": opened.base_url,
    }


@click.command()
@click.argument("path", metavar="PLAN", type=_PATH)
@click.option("--all", "every_room", is_flag=True, help="Show each room, and not those together that change alike.")
@json_option
def show(path: Path, every_room: bool, as_json: bool) -> int:
    """Show a plan again.

    \b
    Examples:
      aiorooms show rooms.plan
      aiorooms show rooms.plan --all

    With --json it writes one object with the totals; with --all as well, the line of each room before it.
    """  # noqa: D301 - click takes a backspace for "leave these lines as they are"
    _show(Plan.open(path), Output(json=as_json), every_room=every_room)
    return OK


def _show(opened: Plan, out: Output, *, every_room: bool) -> None:
    if not out.json:
        show_plan(opened, out, every_room=every_room)
        return
    if every_room:
        for planned in opened.updates():
            out.data({"room_id": planned.room_id, "before": dict(planned.before), "after": dict(planned.after)})
    out.data(_totals(opened))
