"""`aiorooms export`: write all rooms to a file that `aiorooms plan` can read."""

from pathlib import Path
from typing import Final, get_args

import click

from ..bulk import export_rooms
from ..bulk._export import Format
from ..client import RoomsClient
from ._command import Command, Context
from ._exit_codes import OK
from ._options import FILE, api_options, check_new_file, make_client, overwrite_option, value_option
from ._output import Output
from ._run import interrupted_before, run
from ._values import one_of
from ._watch import stats_option

__all__ = ["export"]

_FORMATS: Final[tuple[Format, ...]] = get_args(Format)


def _check_export(ctx: Context) -> None:
    check_new_file(ctx, "FILE", ctx.params["file"])


@click.command(cls=Command, steps=[_check_export, make_client])
@click.argument("file", metavar="FILE", type=FILE)
@value_option("--format", "csv|jsonl", one_of(_FORMATS), "Format of FILE.  [default: from its extension]", to="form")
@overwrite_option
@stats_option
@api_options
def export(file: Path, form: Format | None, client: RoomsClient, as_json: bool) -> int:
    """Write all rooms to a file that `aiorooms plan` can read.

    \b
    Examples:
      aiorooms export rooms.csv
      aiorooms export rooms.jsonl
    """  # noqa: D301 - a backspace tells click to keep the line breaks
    out = Output(json=as_json)
    with out.reading() as reading:

        async def write() -> int:
            async with client:
                return await export_rooms(client, file, form=form, on_room=reading.add_room)

        count = run(write(), interrupted=interrupted_before(file, "file"))
    if as_json:
        out.data({"file": str(file), "rooms": count})
    else:
        out.line(f"Wrote {count:,} room{'s' * (count != 1)} to {file}.")
    return OK
