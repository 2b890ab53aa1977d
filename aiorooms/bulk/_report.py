"""The report of a journal: an HTML page with totals, charts and reasons. The page needs no network access."""

import html
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from ..errors import JournalError
from ._charts import charts
from ._damage import damage_of_journal
from ._files import as_utf8, quoted_path
from ._journal import Journal
from ._new_file import write_atomically
from ._output import check_output
from ._summary import Summary, summarize

__all__ = ["write_report"]

_MAX_GROUPS: Final = 50

_MAX_EXAMPLES: Final = 3


def write_report(journal: Journal, path: str | Path) -> Sequence[int]:
    """Write the report of a journal as an HTML page, atomically.

    Returns the numbers of the journal's damaged lines. The report names them, and does not count what they hide. Raises
    `JournalError` if the journal can't be read, plotly is not installed, the page can't be written, or `path` is the
    journal itself.
    """
    path = Path(path)
    check_output(path, journal, "report")
    with write_atomically(path, _unwritable) as file:  # checks the path before the journal is read
        summary = summarize(journal)
        file.write(as_utf8(_page(summary)).encode())
    return summary.damaged_lines


def _unwritable(path: Path, reason: str) -> JournalError:
    return JournalError(f"the report {quoted_path(path)} can't be written: {reason}", reason="unwritable")


def _page(summary: Summary) -> str:
    drawn = "".join(f'<div class="chart">{chart}</div>' for chart in charts(summary))
    return _PAGE.format(
        title=html.escape(f"Rooms at {summary.base_url}"),
        plan=html.escape(summary.plan_file),
        when=html.escape(_utc(summary.began_at)),
        totals="".join(f"<li><b>{count:,}</b> {name}</li>" for name, count in _totals(summary)),
        seconds=html.escape(_duration(summary.seconds)),
        runs=_runs(summary),
        charts=drawn,
        failures=_failures(summary),
    )


def _totals(summary: Summary) -> list[tuple[str, int]]:
    states = summary.states
    named_states = (
        ("updated or already as planned", states["updated"]),
        ("failed", states["failed"]),
        ("uncertain", states["uncertain"] + states["begun"]),
        ("in conflict", states["conflict"]),
        ("skipped", states["skipped"]),
        ("not begun", max(0, summary.rooms - states.total())),
    )
    return [("rooms in the plan", summary.rooms), *((name, count) for name, count in named_states if count)]


def _runs(summary: Summary) -> str:
    lines = "".join(
        f"<li>{'apply' if number == 1 else 'resume'}: {html.escape(ended)}</li>"
        for number, ended in enumerate(summary.runs, 1)
    )
    if summary.damaged_lines:
        damage = damage_of_journal(summary.damaged_lines)
        advice = "Resume the run to compare the rooms that they may concern with the account."
        lines += f"<li><b>Note: {damage}. The totals don't include damaged lines. {advice}</b></li>"
    left = summary.states["begun"] + summary.states["uncertain"]
    if left:
        lines += f"<li><b>Rooms with an uncertain outcome: {left:,}. Resume the run to read them back.</b></li>"
    return lines


def _failures(summary: Summary) -> str:
    if not summary.reasons:
        return "<p>None.</p>"
    counts = Counter(summary.reasons.values())
    examples: dict[tuple[str, str], list[str]] = {}
    for room_id, group in summary.reasons.items():
        if len(some := examples.setdefault(group, [])) < _MAX_EXAMPLES:
            some.append(html.escape(room_id))
    rows = "".join(
        f"<tr><td>{count:,}</td><td>{html.escape(status)}</td><td>{html.escape(reason)}</td>"
        f"<td><code>{'<br>'.join(examples[status, reason])}</code></td></tr>"
        for (status, reason), count in counts.most_common(_MAX_GROUPS)
    )
    more = sum(count for _, count in counts.most_common()[_MAX_GROUPS:])
    rows += f"<tr><td>{more:,}</td><td></td><td>other reasons</td><td></td></tr>" if more else ""
    return f"<table><tr><th>rooms</th><th>outcome</th><th>reason</th><th>example rooms</th></tr>{rows}</table>"


def _utc(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"


_PAGE: Final = """\
<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; color: #1d2733; background: #fff }}
body {{ margin: 2em auto; max-width: 70em; padding: 0 1em }}
h1 {{ font-size: 1.5em; margin: 0 }} h2 {{ font-size: 1.15em; margin: 1.6em 0 .4em }}
ul.totals {{ list-style: none; display: flex; flex-wrap: wrap; gap: .6em; padding: 0 }}
ul.totals li {{ border: 1px solid #d5dbe1; border-radius: 6px; padding: .5em .9em }}
ul.totals b {{ font-size: 1.3em }}
table {{ border-collapse: collapse; width: 100% }}
td, th {{ border-bottom: 1px solid #e3e7eb; padding: .35em .6em; text-align: left; vertical-align: top }}
td {{ overflow-wrap: anywhere }} td:first-child {{ text-align: right }}
code {{ font-size: .85em }} .chart {{ break-inside: avoid }}
</style></head><body>
<h1>{title}</h1>
<p>Plan: {plan}. First run: {when}. Active time (without the time between runs): {seconds}.</p>
<ul class="totals">{totals}</ul>
<ul>{runs}</ul>
{charts}
<h2>Outcomes other than “updated”, by reason</h2>
{failures}
</body></html>
"""
