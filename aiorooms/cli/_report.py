"""`aiorooms report`: write an HTML report about a journal."""

from pathlib import Path
from typing import Final

import click

from .._text import quoted
from ..bulk import Journal, write_report
from ..bulk._damage import damage_of_journal
from ._command import Command, Context
from ._exit_codes import OK
from ._kinds import expect_journal
from ._options import FILE, check_new_file, json_option, overwrite_option
from ._output import Output
from ._streams import is_standard, output_path, reject_two_outputs

__all__ = ["report"]

_OTHER_FORMATS: Final = {
    **dict.fromkeys([".pdf", ".ps"], "give a name that ends with .html, open it in a browser and print it to PDF"),
    **dict.fromkeys(
        [".png", ".jpg", ".jpeg", ".gif", ".svg", ".webp"],
        "give a name that ends with .html, open it in a browser and take a screenshot",
    ),
    **dict.fromkeys(
        [".doc", ".docx", ".odt", ".rtf", ".md", ".txt", ".ppt", ".pptx"],
        "give a name that ends with .html; a word processor can open it",
    ),
    **dict.fromkeys(
        [".csv", ".tsv", ".xls", ".xlsx", ".ods", ".json", ".jsonl", ".xml", ".zip", ".gz"],
        "give a name that ends with .html; for data, use `aiorooms status --json` or the journal itself",
    ),
}
"""What to do instead, for each ending of a file that is no HTML page. A page with such a name would not be opened."""


def _check_report(ctx: Context) -> None:
    journal: Path | None = ctx.params["journal"]
    page: Path | None = ctx.params["page"] or (None if journal is None else Path(f"{journal}.html"))
    if ctx.params["page"] is None and is_standard(journal):
        ctx.add_problem("give a file, or - for standard output, because the journal has no name", "--out")
    ctx.params["page"] = page
    if is_standard(page):
        ctx.params.pop("overwrite")
        reject_two_outputs(ctx, "page", "--out", "the report")
        return
    if page is not None and (advice := _OTHER_FORMATS.get(page.suffix.lower())) is not None:
        ctx.params.pop("overwrite")
        ctx.add_problem(f"{quoted(str(page))} would be an HTML page, not a {page.suffix} file; {advice}", "--out")
        return
    check_new_file(ctx, "--out", page, source=journal)


@click.command(cls=Command, steps=[_check_report, expect_journal("journal", "report")])
@click.argument("journal", metavar="JOURNAL", type=FILE)
@click.option(
    "-o",
    "--out",
    "page",
    metavar="FILE",
    type=FILE,
    help="Path of the report, or - for standard output.  [default: JOURNAL.html]",
)
@overwrite_option
@json_option
def report(journal: Path, page: Path, as_json: bool) -> int:
    """Write an HTML report about a journal.

    The report is one file that can be opened offline, printed, or attached to a mail. It says what was changed, on
    which server, when and in how many runs, and why each run ended. It shows the rate, outages and pauses over time,
    the failures and conflicts by reason, and a list of the rooms that can be searched.

    Up to 100,000 rooms are listed, those that are not updated first.

    \b
    Examples:
      aiorooms report rooms.plan.journal
      aiorooms report rooms.plan.journal --out tonight.html
      aiorooms report - --out - < rooms.plan.journal | gzip > tonight.html.gz
    """  # noqa: D301 - a backspace tells click to keep the line breaks
    source = Journal.open(journal)
    with output_path(page) as new:
        damaged_lines = write_report(source, new)
    out = Output(json=as_json)
    if damaged_lines:
        out.error(f"{damage_of_journal(damaged_lines)}; the report does not count damaged lines")
    if as_json:
        out.data({"report": str(page), "damaged_lines": [*damaged_lines]})
    elif not is_standard(page):
        out.line(f"Wrote the report to {page}.")
    return OK
