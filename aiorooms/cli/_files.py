"""`aiorooms export` and `report`: the account as a file that a plan is read from, and a journal as a page."""

from pathlib import Path
from typing import Final, Literal

import click

from ..bulk import Journal, export_rooms, write_report
from ._options import Reader, api_options, json_option
from ._output import Output, complain, end_echo
from ._run import run
from ._status import INTERRUPTED, OK

__all__ = ["export", "report"]

_FORMATS: Final[tuple[Literal["csv", "jsonl"], ...]] = ("csv", "jsonl")


@click.command()
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--format", "form", metavar="csv|jsonl", help="Without it the ending of FILE tells.")
@click.option("--overwrite", is_flag=True, help="Write over a file that is there.")
@api_options
def export(
    file: Path, form: str | None, overwrite: bool, base_url: str | None, timeout: str | None, as_json: bool
) -> int:
    """Write all rooms into a file, in the format that `aiorooms plan` reads.

    \b
    Examples:
      aiorooms export rooms.csv
      aiorooms export rooms.jsonl
    """  # noqa: D301 - click takes a backspace for "leave these lines as they are"
    reader = Reader()
    reader.new_file("FILE", file, overwrite=overwrite)
    chosen = reader.one_of("--format", form, _FORMATS)
    client = reader.client(base_url, timeout)
    reader.refuse()
    assert client is not None
    counts: list[int] = []
    out = Output(json=as_json)
    with out.reading() as on_room:

        async def write() -> None:
            async with client:
                counts.append(await export_rooms(client, file, form=chosen, on_room=on_room))

        interrupted = run(write)
    if interrupted:
        end_echo()
        complain("interrupted; no file was written")
        return INTERRUPTED
    if as_json:
        out.data({"file": str(file), "rooms": counts[0]})
    else:
        out.line(f"{counts[0]:,} rooms are in {file}.")
    return OK


@click.command()
@click.argument("journal", metavar="JOURNAL", type=click.Path(path_type=Path))
@click.option(
    "--out", metavar="FILE", type=click.Path(path_type=Path), help="Where the page goes.  [default: JOURNAL.html]"
)
@click.option("--overwrite", is_flag=True, help="Write over a file that is there.")
@json_option
def report(journal: Path, out: Path | None, overwrite: bool, as_json: bool) -> int:
    """Write a journal as an HTML page that needs no network.

    It shows the totals, charts of updates, latency, refusals and retries over time, and the failures by reason.

    \b
    Examples:
      aiorooms report rooms.plan.journal
      aiorooms report rooms.plan.journal --out tonight.html
    """  # noqa: D301 - click takes a backspace for "leave these lines as they are"
    reader = Reader()
    path = reader.new_file("--out", out or Path(f"{journal}.html"), overwrite=overwrite, source=journal)
    reader.refuse()
    write_report(Journal.open(journal), path)
    output = Output(json=as_json)
    if as_json:
        output.data({"report": str(path)})
    else:
        output.line(f"The report is in {path}.")
    return OK
