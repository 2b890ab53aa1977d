"""`aiorooms report`: write an HTML report about a journal."""

from pathlib import Path

import click

from ..bulk import Journal, write_report
from ..bulk._damage import damage_of_journal
from ._command import Command, Context
from ._exit_codes import OK
from ._kinds import expect_journal
from ._options import FILE, check_new_file, json_option, overwrite_option
from ._output import Output

__all__ = ["report"]


def _check_report(ctx: Context) -> None:
    journal: Path | None = ctx.params["journal"]
    page: Path | None = ctx.params["page"] or (None if journal is None else Path(f"{journal}.html"))
    ctx.params["page"] = page
    check_new_file(ctx, "--out", page, source=journal)


@click.command(cls=Command, steps=[expect_journal("journal", "report"), _check_report])
@click.argument("journal", metavar="JOURNAL", type=FILE)
@click.option("--out", "page", metavar="FILE", type=FILE, help="Path of the report.  [default: JOURNAL.html]")
@overwrite_option
@json_option
def report(journal: Path, page: Path, as_json: bool) -> int:
    """Write an HTML report about a journal.

    The report can be opened offline. It shows the totals, the failures by reason, and charts of updates, latency, 429s
    and retries over time.

    \b
    Examples:
      aiorooms report rooms.plan.journal
      aiorooms report rooms.plan.journal --out tonight.html
    """  # noqa: D301 - a backspace tells click to keep the line breaks
    damaged_lines = write_report(Journal.open(journal), page)
    out = Output(json=as_json)
    if damaged_lines:
        out.error(f"{damage_of_journal(damaged_lines)}; the report does not count damaged lines")
    if as_json:
        out.data({"report": str(page), "damaged_lines": [*damaged_lines]})
    else:
        out.line(f"Wrote the report to {page}.")
    return OK
