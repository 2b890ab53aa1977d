"""`aiorooms export`: write all rooms to a file that `aiorooms plan` can read."""

from pathlib import Path
from typing import Final, get_args

import click

from .._text import counted
from ..bulk import export_rooms
from ..bulk._export import Format
from ..client import RoomsClient
from ._command import Command, Context
from ._exit_codes import OK
from ._options import FILE, api_options, check_new_file, make_client, overwrite_option, value_option
from ._output import Output
from ._run import interrupted_before, run
from ._streams import is_standard, new_file_name, output_path, reject_two_outputs
from ._values import one_of
from ._watch import stats_option

__all__ = ["export"]

_FORMATS: Final[tuple[Format, ...]] = get_args(Format)


def _check_export(ctx: Context) -> None:
    file: Path | None = ctx.params["file"]
    check_new_file(ctx, "FILE", file)
    reject_two_outputs(ctx, "file", "FILE", "the rooms")
    if is_standard(file) and ctx.params["form"] is None:
        ctx.params["form"] = "csv"


@click.command(cls=Command, steps=[_check_export, make_client])
@click.argument("file", metavar="FILE", type=FILE)
@value_option(
    "--format",
    "csv|jsonl",
    one_of(_FORMATS),
    "Format of FILE.  [default: from its extension; csv for standard output]",
    to="form",
)
@overwrite_option
@stats_option
@api_options
def export(file: Path, form: Format | None, client: RoomsClient, as_json: bool) -> int:
    """Write all rooms to a file that `aiorooms plan` can read.

    If FILE is -, the rooms are written to standard output. In a CSV file, a name that a spreadsheet would convert, such
    as 00123 or =1+1, is written between apostrophes, and `aiorooms plan` removes them.

    \b
    Examples:
      aiorooms export rooms.csv
      aiorooms export rooms.jsonl
      aiorooms export - | gzip > rooms.csv.gz
    """  # noqa: D301 - a backspace tells click to keep the line breaks
    out = Output(json=as_json)
    with output_path(file) as path, out.reading() as reading:

        async def write() -> int:
            async with client:
                return await export_rooms(client, path, form=form, on_room=reading.add_room)

        count = run(write(), interrupted=interrupted_before(path, "file"))
    if as_json:
        out.data({"file": str(file), "rooms": count})
    else:
        text = f"Wrote {counted(count, 'room')} to {new_file_name(file)}."
        if is_standard(file):
            out.aside(text)
        else:
            out.line(text)
    return OK
