"""`aiorooms export` and `report`: the account as a file that `plan` reads, and a journal as a page."""

from pathlib import Path
from typing import Final, Literal

import click

from ..bulk import Journal, export_rooms, write_report
from ..client import RoomsClient
from ._command import Command, Context
from ._options import FILE, api_options, check_new_file, json_option, make_client, overwrite_option, value_option
from ._output import Output
from ._run import run
from ._status import OK
from ._values import one_of

__all__ = ["export", "report"]

_Format = Literal["csv", "jsonl"]

_FORMATS: Final[tuple[_Format, ...]] = ("csv", "jsonl")


def _check_export(ctx: Context) -> None:
    check_new_file(ctx, "FILE", ctx.params["file"])


@click.command(cls=Command, steps=[_check_export, make_client])
@click.argument("file", metavar="FILE", type=FILE)
@value_option(
    "--format", "csv|jsonl", one_of(_FORMATS), "Format of the file.  [default: by the ending of FILE]", to="form"
)
@overwrite_option
@api_options
def export(file: Path, form: _Format | None, client: RoomsClient, as_json: bool) -> int:
    """Write all rooms into a file that `aiorooms plan` reads.

    \b
    Examples:
      aiorooms export rooms.csv
      aiorooms export rooms.jsonl
    """  # noqa: D301 - click takes a backspace for "leave these lines as they are"
    out = Output(json=as_json)
    with out.reading() as on_room:

        async def write() -> int:
            async with client:
                return await export_rooms(client, file, form=form, on_room=on_room)

        count = run(write(), interrupted="interrupted; no file was written")
    if as_json:
        out.data({"file": str(file), "rooms": count})
    else:
        out.line(f"{count:,} rooms are in {file}.")
    return OK


def _check_report(ctx: Context) -> None:
    journal: Path = ctx.params["journal"]
    page: Path = ctx.params["page"] or Path(f"{journal}.html")
    ctx.params["page"] = page
    check_new_file(ctx, "--out", page, source=journal)


@click.command(cls=Command, steps=[_check_report])
@click.argument("journal", metavar="JOURNAL", type=FILE)
@click.option("--out", "page", metavar="FILE", type=FILE, help="Where to write the page.  [default: JOURNAL.html]")
@overwrite_option
@json_option
def report(journal: Path, page: Path, as_json: bool) -> int:
    """Write a journal as an HTML page that needs no network.

    It shows the totals, charts of updates, latency, 429s and retries over time, and the failures by reason.

    \b
    Examples:
      aiorooms report rooms.plan.journal
      aiorooms report rooms.plan.journal --out tonight.html
    """  # noqa: D301 - click takes a backspace for "leave these lines as they are"
    write_report(Journal.open(journal), page)
    out = Output(json=as_json)
    if as_json:
        out.data({"report": str(page)})
    else:
        out.line(f"The report is in {page}.")
    return OK
