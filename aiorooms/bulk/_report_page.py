"""The report as an HTML page.

The page is one file without references to others: style, script and chart are in it, so it can be opened offline or
attached to a mail. Its Content-Security-Policy allows only this script, by its hash, and no connection. Names, URLs and
error messages come from outside. In the static part they are escaped. The list of rooms is JSON in a `<script>` element
that is no program. There, `<` is escaped too, so no name can end the element, and the script shows names as text.
"""

import base64
import hashlib
import html
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from itertools import islice
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
from ._report_rooms import ReportRoom, ReportRooms
from ._summary import HoldUps, RoomResult, RunSummary, Summary
from ._units import duration, latency, recorded_utc, utc

__all__ = ["report_page"]

_PACKAGE: Final = __name__.rpartition(".")[0]

_MAX_CHANGES: Final = 12
_MAX_GROUPS: Final = 50
_MAX_EXAMPLES: Final = 3
_MAX_RUNS: Final = 50
_MAX_STATIC: Final = 200
"""Maximum numbers of lines. The page says how many it leaves out."""

_KINDS: Final = {
    "updated": "good",
    "already_right": "good",
    "failed": "bad",
    "uncertain": "bad",
    "conflict": "bad",
    "skipped": "bad",
    "not_begun": "muted",
}
"""For each state of a room, its kind, which decides its colour."""

_ALREADY_RIGHT: Final = OUTCOME_WORDS["already_right"]

_FIELDS: Final = {
    "unique_name": "Name",
    "max_participants": "Maximum number of participants",
    "enable_recording": "Recording",
    "webhook_event_url": "Webhook URL",
    "webhook_event_failover_url": "Failover URL",
    "webhook_timeout_secs": "Webhook timeout in seconds",
}
"""The names of the fields for a reader who does not know the API."""


def report_page(
    journal: Journal, summary: Summary, rooms: ReportRooms, chart: Chart | None, *, at: float, is_running: bool
) -> Iterator[str]:
    """Yield the page in pieces. `at` is the Unix time of now, and `is_running` says whether the last run goes on."""
    counts = _counts(journal, summary)
    done = counts["updated"] + counts[_ALREADY_RIGHT]
    host = URL(journal.base_url).host or journal.base_url
    title = f"{done:,} of {counted(journal.head.rooms, 'room')} as planned at {host}"
    script = _resource("_report.js")
    yield _HEAD.format(title=_text(title), hash=_sha256(script), style=_resource("_report.css"))
    yield f"<h1>{_text(title)}</h1>\n{_verdict(journal, summary, done, is_running=is_running)}\n"
    yield _changes(rooms)
    yield f"<dl>{''.join(f'<dt>{name}</dt><dd>{value}</dd>' for name, value in _facts(journal, summary, rooms))}</dl>\n"
    yield f'<ul class="totals">{_totals(journal, counts)}</ul>\n'
    yield "".join(
        f'<p class="warning">{_text(text)}</p>\n' for text in _warnings(summary, rooms, is_running=is_running)
    )
    if chart is not None:
        yield _figure(chart)
    yield _runs(summary, is_running=is_running)
    yield _groups(summary, rooms)
    yield from _list(rooms)
    yield f"<footer>Made by aiorooms {__version__} from the journal {_text(journal.path.name)} at {utc(at)}.</footer>\n"
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


def _printable(text: str) -> str:
    """Escape unprintable characters, also those that reverse the direction of the text."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _text(text: str) -> str:
    """Return a text of any origin as HTML."""
    return html.escape(_printable(text))


# --- what was done ---


def _counts(journal: Journal, summary: Summary) -> Counter[str]:
    """Return the number of rooms by the name of their state."""
    counts: Counter[str] = Counter()
    for outcome, count in summary.by_outcome.items():
        counts[_state(outcome)[0]] += count
    counts[OUTCOME_WORDS["not_begun"]] = max(0, journal.head.rooms - counts.total())
    return counts


def _state(outcome: RoomResult) -> tuple[str, str]:
    state: str = outcome.state
    if state == "updated" and outcome.found:
        state = "already_right"
    elif state == "begun":  # its run has ended
        state = "uncertain"
    return OUTCOME_WORDS[state], _KINDS[state]


def _reason(outcome: RoomResult) -> str:
    return "in flight when its run ended" if outcome.state == "begun" else outcome.reason


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
        f"<li><b>{_text(_FIELDS.get(change.field, change.field))}</b>: {_text(str(change))} "
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
    yield "Server", _text(journal.base_url)
    plan = rooms.plan
    made, source = (plan.created_at, plan.source) if plan is not None else (head.plan_created_at, head.source)
    details = [f"id {_text(head.plan)}"]
    if made is not None:
        details.append(f"made {_text(recorded_utc(made))}")
    if source is not None:
        details.append(f"from {_text(source)}")
    yield "Plan", f"<b>{_text(journal.plan_file.name)}</b>, {', '.join(details)}"
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
        f"{_text(words.get(reason, reason))} ({count:,})" for reason, count in held.reasons.most_common(3)
    )
    return f"{held.count:,}, in total {duration(held.seconds)}: {reasons}"


def _totals(journal: Journal, counts: Counter[str]) -> str:
    tiles = [("", journal.head.rooms, "in the plan")]
    tiles += [
        ("bad" if kind == "bad" else "", counts[name], name)
        for name, kind in ((OUTCOME_WORDS[state], kind) for state, kind in _KINDS.items())
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
        f'<td data-name="ended">{_text(ended)}</td><td class="n" data-name="updated">{updated:,}</td>'
        f'<td class="n" data-name="other outcomes">{run.outcomes.total() - updated:,}</td></tr>'
    )


# --- the rooms ---


def _groups(summary: Summary, rooms: ReportRooms) -> str:
    groups: Counter[tuple[str, str]] = Counter()
    for outcome, count in summary.by_outcome.items():
        if outcome.state != "updated":
            groups[_state(outcome)[0], _reason(outcome)] += count
    if not groups:
        return ""
    examples: dict[tuple[str, str], list[str]] = {}
    for room in rooms.listed:
        some = examples.setdefault((_state(room.outcome)[0], _reason(room.outcome)), [])
        if len(some) < _MAX_EXAMPLES:
            some.append(_label(room))
    rows = "".join(
        f'<tr><td class="n" data-name="rooms">{count:,}</td><td class="state bad">{name}</td>'
        f"<td>{_text(reason) or 'no reason was recorded'}</td>"
        f'<td data-name="such as">{"<br>".join(examples.get((name, reason), []))}</td></tr>'
        for (name, reason), count in groups.most_common(_MAX_GROUPS)
    )
    rest = groups.most_common()[_MAX_GROUPS:]
    if rest:
        more, kinds = sum(count for _, count in rest), len(rest)
        rows += f'<tr><td class="n">{more:,}</td><td></td><td>{kinds:,} other reasons</td><td></td></tr>'
    return (
        '<h2>Failures and conflicts, by reason</h2>\n<table class="cards"><thead><tr><th class="n">rooms</th>'
        f"<th>outcome</th><th>reason</th><th>such as</th></tr></thead><tbody>{rows}</tbody></table>\n"
    )


def _label(room: ReportRoom) -> str:
    name = "" if room.unique_name is None else f"<bdi>{_text(room.unique_name)}</bdi> "
    return f'{name}<span class="id">{_text(room.room_id)}</span>'


def _list(rooms: ReportRooms) -> Iterator[str]:
    if not rooms.listed:
        return
    outcomes = {outcome: place for place, outcome in enumerate(dict.fromkeys(room.outcome for room in rooms.listed))}
    changes = {words: place for place, words in enumerate(dict.fromkeys(_words(room.changes) for room in rooms.listed))}
    has_changes = len(changes) > 1
    has_reasons = any(map(_reason, outcomes))
    header = ["name", "id", "outcome", *["why"] * has_reasons, *["change"] * has_changes]
    columns = "".join(f'<th scope="col"><button type="button">{name}</button></th>' for name in header)
    yield _LIST.format(left_out=_left_out(rooms), columns=columns, static=_static(rooms))
    data: dict[str, object] = {
        "outcomes": [[*_state(outcome), _printable(_reason(outcome))] for outcome in outcomes],
        "changes": [*map(_printable, changes)] if has_changes else [""],
    }
    yield f'<script type="application/json" id="data">{_json(data)[:-1]},"rooms":['
    separator = ""
    for block in _blocks(rooms.listed):
        lines = [
            _json(
                [
                    None if room.unique_name is None else _printable(room.unique_name),
                    _printable(room.room_id),
                    outcomes[room.outcome],
                    changes[_words(room.changes)] * has_changes,
                ]
            )
            for room in block
        ]
        yield separator + ",\n".join(lines)
        separator = ",\n"
    yield "]}</script>\n"


def _blocks(rooms: Sequence[ReportRoom]) -> Iterator[Iterable[ReportRoom]]:
    return (islice(rooms, begin, begin + 1000) for begin in range(0, len(rooms), 1000))


def _json(value: object) -> str:
    """Return a value as JSON that can be put between the tags of a `<script>` element."""
    text = json.dumps(value, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _words(changes: tuple[Changed, ...]) -> str:
    return "; ".join(f"{_FIELDS.get(change.field, change.field)}: {change}" for change in changes)


def _left_out(rooms: ReportRooms) -> str:
    hidden = rooms.total - len(rooms.listed)
    if hidden <= 0:
        return ""
    text = f"{len(rooms.listed):,} of {rooms.total:,} rooms are listed, those that are not updated first. "
    return f'<p class="note">{text}The other {hidden:,} are in the journal.</p>'


def _static(rooms: ReportRooms) -> str:
    """Return the rooms that are not updated, for a browser that runs no script."""
    others = [room for room in rooms.listed if room.outcome.state != "updated"]
    rows = "".join(
        f'<tr><td>{_label(room)}</td><td class="state bad">{_state(room.outcome)[0]}</td>'
        f"<td>{_text(_reason(room.outcome))}</td></tr>"
        for room in others[:_MAX_STATIC]
    )
    more = f"<p>{len(others) - _MAX_STATIC:,} more are not shown.</p>" if len(others) > _MAX_STATIC else ""
    table = f"<p>These rooms are not updated:</p><table><tbody>{rows}</tbody></table>{more}" if others else ""
    return f"<p>Searching the rooms needs JavaScript.</p>{table}"


_LIST: Final = """\
<h2 id="rooms-title">Rooms</h2>
{left_out}<noscript>{static}</noscript>
<div id="list" hidden>
<div class="controls"><input id="search" type="search" placeholder="Search names, ids and reasons" \
aria-label="Search names, ids and reasons" autocomplete="off" spellcheck="false">
<select id="filter" aria-label="Outcome"><option value="">all outcomes</option></select></div>
<p class="note" id="count" aria-live="polite"></p><p class="note" id="printed" hidden></p>
<table class="cards" id="rooms" aria-labelledby="rooms-title"><thead><tr>{columns}</tr></thead><tbody id="rows"></tbody>
</table>
<div class="pages"><button id="back" type="button">Back</button><button id="next" type="button">Next</button></div>
</div>
"""
