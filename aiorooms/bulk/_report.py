"""A journal as one HTML page that needs no network: totals, charts over time, and the failures, grouped by reason.

A journal may have millions of lines, so it is summed up while it is read: into at most 200 stretches of time, which are
made twice as long whenever there would be more, and into groups of failures. Time stands still between two runs: what
is shown is the time in which something was done.
"""

import html
import importlib
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, cast

import attrs

from ..errors import JournalError
from ._files import JsonObject, named, why, written_whole
from ._journal import Journal

__all__ = ["write_report"]

_MOST_STRETCHES: Final = 200

_LONGEST_PAUSE: Final = 60.0
"""Seconds between two records that are shown as they are; longer ones are left out."""

_MOST_GROUPS: Final = 50

_EXAMPLES: Final = 3

_STATUSES: Final = ("updated", "failed", "uncertain", "conflict", "skipped")

_ID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)


@attrs.define
class Stretch:
    """What happened in some seconds."""

    ended: Counter[str] = attrs.Factory(Counter[str])
    retries: int = 0
    refused: int = 0
    elapsed: float = 0.0
    """Seconds of all updates together."""
    slowest: float = 0.0

    def add(self, other: "Stretch") -> None:
        self.ended += other.ended
        self.retries += other.retries
        self.refused += other.refused
        self.elapsed += other.elapsed
        self.slowest = max(self.slowest, other.slowest)


@attrs.define
class Summary:
    """What a journal comes to."""

    base_url: str
    plan_file: str
    rooms: int
    began_at: float
    width: float = 1.0
    """Seconds of a stretch."""
    stretches: list[Stretch] = attrs.Factory(list[Stretch])
    states: Counter[str] = attrs.Factory(Counter[str])
    """How things stand in the end, by status; `begun` has no outcome."""
    reasons: dict[str, tuple[str, str]] = attrs.Factory(dict[str, tuple[str, str]])
    """Status and reason of each room that was not updated in the end."""
    runs: list[str] = attrs.Factory(list[str])
    """How each of them ended."""
    seconds: float = 0.0
    """In which something was done."""


def summarize(journal: Journal) -> Summary:
    """Read a journal and sum it up. Raises `JournalError` if it is damaged."""
    header = journal.header
    summary = Summary(
        base_url=journal.base_url,
        plan_file=journal.plan_file.name,
        rooms=cast("int", header["rooms"]),
        began_at=_number(header.get("at")),
    )
    states: dict[str, str] = {}
    last_at, refused = summary.began_at, 0
    for record in journal.records():
        at = _number(record.get("at"), last_at)
        # A clock may be set back, a machine may sleep, and between two runs a night may pass.
        if "run" not in record and 0 <= at - last_at <= _LONGEST_PAUSE:
            summary.seconds += at - last_at
        last_at = at
        if "run" in record:
            summary.runs.append("it broke off")
            refused = 0
        elif isinstance(stop := record.get("stop"), str) and summary.runs:
            summary.runs[-1] = stop
        elif isinstance(room_id := record.get("begin"), str):
            states[room_id] = "begun"
        elif isinstance(room_id := record.get("end"), str):
            states[room_id] = str(record.get("status"))
            _add_ending(summary, record, room_id)
        elif isinstance(pacing := record.get("pacing"), Mapping):
            now_refused = int(_number(cast("JsonObject", pacing).get("refused")))
            _stretch(summary).refused += max(0, now_refused - refused)
            refused = now_refused
    summary.states.update(states.values())
    return summary


def _number(value: object, otherwise: float = 0.0) -> float:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else otherwise


def _stretch(summary: Summary) -> Stretch:
    """Give the present stretch of time."""
    stretches = summary.stretches
    while (number := int(summary.seconds / summary.width)) >= _MOST_STRETCHES:
        merged: list[Stretch] = []
        for place, stretch in enumerate(stretches):
            if place % 2:
                merged[-1].add(stretch)
            else:
                merged.append(stretch)
        stretches[:] = merged
        summary.width *= 2
    while len(stretches) <= number:
        stretches.append(Stretch())
    return stretches[number]


def _add_ending(summary: Summary, record: JsonObject, room_id: str) -> None:
    status = str(record.get("status"))
    stretch = _stretch(summary)
    elapsed = _number(record.get("elapsed"))
    stretch.ended[status] += 1
    stretch.retries += max(0, int(_number(record.get("attempts"))) - 1)
    stretch.elapsed += elapsed
    stretch.slowest = max(stretch.slowest, elapsed)
    # A later run may have done better.
    summary.reasons.pop(room_id, None)
    if isinstance(error := record.get("error"), str):
        summary.reasons[room_id] = (status, _ID.sub("...", error))


# --- the page ---


def write_report(journal: Journal, path: str | Path) -> None:
    """Write the page, whole or not at all. Raises `JournalError` if it can't be made, or written."""
    path = Path(path)
    if path.exists() and path.samefile(journal.path):
        raise JournalError(f"the report would take the place of the journal {named(path)}; give another place")
    page = _page(summarize(journal))
    try:
        with written_whole(path) as file:
            file.write(page.encode())
    except OSError as error:
        raise JournalError(f"the report {named(path)} can't be written: {why(error)}") from None


def _page(summary: Summary) -> str:
    charts = "".join(f'<div class="chart">{chart}</div>' for chart in _charts(summary))
    return _PAGE.format(
        title=html.escape(f"Rooms at {summary.base_url}"),
        plan=html.escape(summary.plan_file),
        when=html.escape(_utc(summary.began_at)),
        totals="".join(f"<li><b>{count:,}</b> {name}</li>" for name, count in _totals(summary)),
        seconds=html.escape(_duration(summary.seconds)),
        runs=_runs(summary),
        charts=charts,
        failures=_failures(summary),
    )


def _totals(summary: Summary) -> list[tuple[str, int]]:
    states = summary.states
    open_rooms = summary.rooms - sum(states.values())
    named_states = (
        ("updated", states["updated"]),
        ("failed", states["failed"]),
        ("of unknown outcome", states["uncertain"] + states["begun"]),
        ("changed by somebody else", states["conflict"]),
        ("not sent", states["skipped"] + max(0, open_rooms)),
    )
    return [("planned", summary.rooms), *((name, count) for name, count in named_states if count)]


def _runs(summary: Summary) -> str:
    lines = "".join(
        f"<li>{'apply' if number == 1 else 'resume'}: {html.escape(ended)}</li>"
        for number, ended in enumerate(summary.runs, 1)
    )
    left = summary.states["begun"] + summary.states["uncertain"]
    if left:
        lines += f"<li><b>{left:,} rooms have no known outcome; <code>aiorooms resume</code> looks at them.</b></li>"
    return lines


def _failures(summary: Summary) -> str:
    if not summary.reasons:
        return "<p>None.</p>"
    counts = Counter(summary.reasons.values())
    examples: dict[tuple[str, str], list[str]] = {}
    for room_id, group in summary.reasons.items():
        if len(some := examples.setdefault(group, [])) < _EXAMPLES:
            some.append(html.escape(room_id))
    rows = "".join(
        f"<tr><td>{count:,}</td><td>{html.escape(status)}</td><td>{html.escape(reason)}</td>"
        f"<td><code>{'<br>'.join(examples[status, reason])}</code></td></tr>"
        for (status, reason), count in counts.most_common(_MOST_GROUPS)
    )
    more = sum(count for _, count in counts.most_common()[_MOST_GROUPS:])
    rows += f"<tr><td>{more:,}</td><td></td><td>other reasons</td><td></td></tr>" if more else ""
    return f"<table><tr><th>rooms</th><th>outcome</th><th>reason</th><th>for example</th></tr>{rows}</table>"


def _charts(summary: Summary) -> Sequence[str]:
    """Draw with plotly; the first chart brings its program with it, so that the page needs no network."""
    try:
        go: Any = importlib.import_module("plotly.graph_objects")
    except ImportError:
        raise JournalError("a report needs plotly; pip install 'aiorooms[report]'") from None
    stretches, width = summary.stretches, summary.width
    seconds = [number * width for number in range(len(stretches))]

    def figure(title: str, unit: str, lines: Mapping[str, tuple[str, Sequence[float | None]]], *, bars: bool) -> Any:  # noqa: ANN401 - plotly's own
        made = go.Figure()
        for name, (colour, values) in lines.items():
            if any(values):
                trace = go.Bar if bars else go.Scatter
                look = {"marker_color": colour} if bars else {"line": {"color": colour, "shape": "hv"}}
                made.add_trace(trace(x=seconds, y=list(values), name=name, **look))
        made.update_layout(
            title=title,
            barmode="stack",
            template="plotly_white",
            height=320,
            margin={"l": 60, "r": 20, "t": 50, "b": 45},
            xaxis={"title": "seconds of work"},
            yaxis={"title": unit, "rangemode": "tozero"},
            showlegend=True,
        )
        return made

    figures = [
        figure(
            "Updates over time",
            "rooms per second",
            {status: (_COLOURS[status], [s.ended[status] / width for s in stretches]) for status in _STATUSES},
            bars=True,
        ),
        figure(
            "How long an update took, waits included",
            "seconds",
            {
                "on average": (
                    "#2f6f9f",
                    [s.elapsed / total if (total := s.ended.total()) else None for s in stretches],
                ),
                "the slowest": ("#c9793a", [s.slowest if s.ended else None for s in stretches]),
            },
            bars=False,
        ),
        figure(
            "Refused for the rate limit, and sent again",
            "requests per second",
            {
                "refused (429)": ("#b3434f", [s.refused / width for s in stretches]),
                "sent again": ("#7a6ca8", [s.retries / width for s in stretches]),
            },
            bars=True,
        ),
    ]
    options = {"displaylogo": False, "displayModeBar": False, "responsive": True}
    to_html: Callable[..., str] = importlib.import_module("plotly.io").to_html
    return [
        to_html(made, full_html=False, include_plotlyjs=number == 0, config=options, div_id=f"chart{number}")
        for number, made in enumerate(figures)
    ]


_COLOURS: Final = {
    "updated": "#3c8d5a",
    "failed": "#b3434f",
    "uncertain": "#c9793a",
    "conflict": "#7a6ca8",
    "skipped": "#9aa3ad",
}


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
<p>Plan {plan}, begun {when}, {seconds} of work.</p>
<ul class="totals">{totals}</ul>
<ul>{runs}</ul>
{charts}
<h2>What was not updated, and why</h2>
{failures}
</body></html>
"""
