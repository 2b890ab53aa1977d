"""The report as an HTML page.

The page is one file without references to others: style, script and chart are in it, so it can be opened offline or
attached to a mail. Its Content-Security-Policy allows only this script, by its hash, and no connection. Names, URLs and
error messages come from outside. In the static part they are escaped. The list of rooms is JSON in a `<script>` element
that is no program. There, `<` is escaped too, so no name can end the element, and the script shows names as text.
"""

import base64
import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Final

from yarl import URL

from .._text import counted
from .._version import __version__
from ..telemetry._events import PAUSE_WORDS
from ._changes import Changed
from ._charts import Chart
from ._damage import damage_of_journal
from ._journal import Journal
from ._outcomes import OUTCOME_WORDS
from ._report_rooms import ReportRooms
from ._report_table import reason_groups, room_list
from ._report_words import FIELD_WORDS, STATE_KINDS, html_text, state_words
from ._summary import HoldUps, RunSummary, Summary
from ._units import duration, latency, recorded_utc, utc

__all__ = ["report_page"]

_PACKAGE: Final = __name__.rpartition(".")[0]

_MAX_CHANGES: Final = 12
_MAX_RUNS: Final = 50
"""Maximum numbers of lines. The page says how many it leaves out."""

_ALREADY_RIGHT: Final = OUTCOME_WORDS["already_right"]


def report_page(
    journal: Journal, summary: Summary, rooms: ReportRooms, chart: Chart | None, *, at: float, is_running: bool
) -> Iterator[str]:
    """Yield the page in pieces. `at` is the Unix time of now, and `is_running` says whether the last run goes on."""
    counts = _counts(journal, summary)
    done = counts["updated"] + counts[_ALREADY_RIGHT]
    host = URL(journal.base_url).host or journal.base_url
    title = f"{done:,} of {counted(journal.head.rooms, 'room')} as planned at {host}"
    script = _resource("_report.js")
    yield _HEAD.format(title=html_text(title), hash=_sha256(script), style=_resource("_report.css"))
    yield f"<h1>{html_text(title)}</h1>\n{_verdict(journal, summary, done, is_running=is_running)}\n"
    yield _changes(rooms)
    yield f"<dl>{''.join(f'<dt>{name}</dt><dd>{value}</dd>' for name, value in _facts(journal, summary, rooms))}</dl>\n"
    yield f'<ul class="totals">{_totals(journal, counts)}</ul>\n'
    yield "".join(
        f'<p class="warning">{html_text(text)}</p>\n' for text in _warnings(summary, rooms, is_running=is_running)
    )
    if chart is not None:
        yield _figure(chart)
    yield _runs(summary, is_running=is_running)
    yield reason_groups(summary, rooms)
    yield from room_list(rooms)
    name = html_text(journal.path.name)
    yield f"<footer>Made by aiorooms {__version__} from the journal {name} at {utc(at)}.</footer>\n"
    if rooms.listed:
        yield f"<script>{script}</script>\n"
    yield "</body></html>\n"


_HEAD: Final = """\
<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<meta http-equiv="Content-Security-Policy" \
content="default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{hash}'; \
base-uri 'none'; form-action 'none'">
<title>{title}</title>
<style>{style}</style></head><body>
"""


@cache
def _resource(name: str) -> str:
    return files(_PACKAGE).joinpath(name).read_text("utf-8")


def _sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


# --- what was done ---


def _counts(journal: Journal, summary: Summary) -> Counter[str]:
    """Return the number of rooms by the name of their state."""
    counts: Counter[str] = Counter()
    for outcome, count in summary.by_outcome.items():
        counts[state_words(outcome)[0]] += count
    counts[OUTCOME_WORDS["not_begun"]] = max(0, journal.head.rooms - counts.total())
    return counts


def _verdict(journal: Journal, summary: Summary, done: int, *, is_running: bool) -> str:
    planned = journal.head.rooms
    if is_running:
        kind, text = "bad", "The run is still in progress"
    elif done >= planned and summary.runs and summary.runs[-1].has_end:
        kind, text = "good", "Complete"
    else:
        left = planned - done
        kind, text = "bad", f"Incomplete: {counted(left, 'room')} {'is' if left == 1 else 'are'} not as planned"
        if left <= 0:
            text = "All rooms are as planned, but the end of the last run was not recorded"
    return f'<p class="verdict {kind}">{text}</p>'


def _changes(rooms: ReportRooms) -> str:
    kinds = sorted(_kinds(rooms), key=lambda kind: kind[1], reverse=True)
    lines = [
        f"<li><b>{html_text(FIELD_WORDS.get(change.field, change.field))}</b>: {html_text(str(change))} "
        f'<span class="count">in {updated:,} of {counted(count, "room")}</span></li>'
        for change, count, updated in kinds[:_MAX_CHANGES]
    ]
    many = sum(field.rooms for field in rooms.fields) - sum(count for _, count, _ in kinds[:_MAX_CHANGES])
    if many:
        rest = max(len(kinds) - _MAX_CHANGES, 0)
        lines.append(f'<li class="count">and {many:,} other changes, of {rest:,} or more kinds</li>')
    return f'<ul class="changes">{"".join(lines)}</ul>\n' if lines else ""


def _kinds(rooms: ReportRooms) -> Iterator[tuple[Changed, int, int]]:
    """Yield each change with its number of rooms, and how many of them are updated."""
    for field in rooms.fields:
        if not field.changes:  # names are not counted one by one
            yield Changed(field.name, None, None), field.rooms, field.updated
        for change in field.changes:
            yield Changed(field.name, change.before, change.after), change.rooms, change.updated


def _facts(journal: Journal, summary: Summary, rooms: ReportRooms) -> Iterator[tuple[str, str]]:
    head = journal.head
    yield "Server", html_text(journal.base_url)
    plan = rooms.plan
    made, source = (plan.created_at, plan.source) if plan is not None else (head.plan_created_at, head.source)
    details = [f"id {html_text(head.plan)}"]
    if made is not None:
        details.append(f"made {html_text(recorded_utc(made))}")
    if source is not None:
        details.append(f"from {html_text(source)}")
    yield "Plan", f"<b>{html_text(journal.plan_file.name)}</b>, {', '.join(details)}"
    began = summary.runs[0].began_at if summary.runs else head.at
    yield "Time", f"{utc(began)} to {utc(max(began, summary.last_at))}"
    count = len(summary.runs)
    yield "Duration", f"{duration(summary.seconds)} in {counted(count, 'run')}, without the time between runs"
    if summary.updates:
        average = summary.elapsed / summary.updates
        rate = f", {summary.updates / summary.seconds:,.1f} per second" if summary.seconds >= 1 else ""
        each = f"{latency(average)} on average and {latency(summary.slowest)} at most, including waits"
        yield "Updates", f"{summary.updates:,} sent{rate}; each took {each}"
    if summary.retries or summary.rate_limited:
        yield "Retries and 429s", f"{summary.retries:,} retries; {summary.rate_limited:,} requests were rate limited"
    if summary.outages.count:
        yield "Outages", _held(summary.outages, {})
    if summary.pauses.count:
        yield "Rate limit pauses", _held(summary.pauses, PAUSE_WORDS)


def _held(held: HoldUps, words: Mapping[str, str]) -> str:
    reasons = "; ".join(
        f"{html_text(words.get(reason, reason))} ({count:,})" for reason, count in held.reasons.most_common(3)
    )
    return f"{held.count:,}, in total {duration(held.seconds)}: {reasons}"


def _totals(journal: Journal, counts: Counter[str]) -> str:
    tiles = [("", journal.head.rooms, "in the plan")]
    tiles += [
        ("bad" if kind == "bad" else "", counts[name], name)
        for name, kind in ((OUTCOME_WORDS[state], kind) for state, kind in STATE_KINDS.items())
        if counts[name]
    ]
    return "".join(f'<li class="{kind}"><b>{count:,}</b>{name}</li>' for kind, count, name in tiles)


def _warnings(summary: Summary, rooms: ReportRooms, *, is_running: bool) -> Iterator[str]:
    states: Counter[str] = Counter()
    for outcome, count in summary.by_outcome.items():
        states[outcome.state] += count
    left = states["begun"] + states["uncertain"]
    if left and not is_running:
        yield f"Rooms with an uncertain outcome: {left:,}. Resume the run to read them back."
    if summary.damaged_lines:
        damage = damage_of_journal(summary.damaged_lines)
        advice = "Resume the run to compare the rooms that they may concern with the account."
        yield f"{damage[0].upper()}{damage[1:]}. This report doesn't include damaged lines. {advice}"
    if rooms.plan_missing:
        yield (
            f"The rooms are listed from the journal, because {rooms.plan_missing}. "
            "Rooms that were not begun are not listed, and some have no name."
        )


def _figure(chart: Chart) -> str:
    kinds = {"limit": "line", "outage": "shade", "pause": "shade"}
    legend = "".join(
        f'<span><i class="{kinds.get(name, "")}" style="--c:var(--{name})"></i>{text}</span>'
        for name, text in chart.legend
    )
    described = "Chart of the updates over the active time."
    return (
        f'<h2>Over time</h2>\n<figure role="img" aria-label="{described}"><figcaption>{legend}</figcaption>'
        f'<div class="wide">{chart.wide}</div><div class="narrow">{chart.narrow}</div></figure>\n'
    )


def _runs(summary: Summary, *, is_running: bool) -> str:
    if not summary.runs:
        return ""
    shown = summary.runs[-_MAX_RUNS:]
    rows = "".join(_run(run, is_running=is_running and run is summary.runs[-1]) for run in shown)
    hidden = len(summary.runs) - len(shown)
    note = f'<p class="note">The first {hidden:,} runs are not shown.</p>' if hidden else ""
    return (
        '<h2>Runs</h2>\n<table class="cards"><thead><tr><th>run</th><th>began</th><th>lasted</th><th>ended</th>'
        f'<th class="n">updated</th><th class="n">other outcomes</th></tr></thead><tbody>{rows}</tbody></table>{note}\n'
    )


def _run(run: RunSummary, *, is_running: bool) -> str:
    ended = "done: the end of the plan was reached" if run.ended == "done" else run.ended
    if is_running:
        ended = "still in progress"
    elif not run.has_end and not run.is_unlocked:
        ended = f"killed{f' in {run.killed_in}' if run.killed_in else ''}; no end was recorded"
    updated = run.outcomes["updated"]
    name = f"{run.number:,} ({'apply' if run.number == 1 else 'resume'})"
    return (
        f'<tr><td class="one">{name}</td><td class="one" data-name="began">{utc(run.began_at)}</td>'
        f'<td class="one" data-name="lasted">{duration(max(0.0, run.ended_at - run.began_at))}</td>'
        f'<td data-name="ended">{html_text(ended)}</td><td class="n" data-name="updated">{updated:,}</td>'
        f'<td class="n" data-name="other outcomes">{run.outcomes.total() - updated:,}</td></tr>'
    )
