"""The words of `aiorooms status`: the state of a journal as lines of text, as one line, and as JSON. Pure."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from .._text import counted, timestamp
from ..bulk._journal import Journal
from ..bulk._outcomes import OUTCOME_WORDS
from ..bulk._progress import RunProgress, Snapshot
from ..bulk._units import clock_utc, duration, rate_per, recorded_utc, utc
from ..telemetry._events import PAUSE_WORDS
from ._escaping import command_line
from ._json import JsonValue

__all__ = ["as_planned", "headline", "one_line", "run_data", "run_lines", "status_data", "status_lines"]

_STATES: Final = ("updated", "failed", "uncertain", "conflict", "skipped", "begun", "not_begun")
"""The states of a room, in the order in which they are shown."""

_MAX_RUNS: Final = 5


def headline(now: Snapshot) -> str:
    """Return the state, how many rooms are done, and what to expect."""
    done = f"{now.done:,} of {counted(now.rooms, 'room')} done{_percent(now)}"
    if now.phase == "running":
        left = "" if now.seconds_left is None else f", {duration(now.seconds_left)} left"
        return f"running: {done}{left}"
    if now.phase == "killed":
        return f"killed: no end was recorded, and no command is writing the journal; {done}"
    ended = now.runs[-1].ended if now.runs else None
    if now.is_complete:
        return f"ended: {as_planned(now.rooms, now.rooms)}" if now.rooms else "ended: the plan has no rooms"
    if ended == "done":
        return f"ended: {as_planned(now.counts['updated'], now.rooms)}"
    return f"{ended or 'ended'}; {done}"


def as_planned(number: int, rooms: int) -> str:
    """Return how many rooms of a plan are as planned, such as `all 20 rooms are as planned`."""
    if number == rooms > 1:
        return f"all {rooms:,} rooms are as planned"
    return f"{number:,} of {counted(rooms, 'room')} {'is' if number == 1 else 'are'} as planned"


def _percent(now: Snapshot) -> str:
    return f" ({100 * now.done // now.rooms} %)" if now.rooms else ""


def status_lines(now: Snapshot, journal: Journal, at: float) -> Sequence[tuple[str, str]]:
    """Return the details as pairs of a short name and a text. `at` is the Unix time of the snapshot."""
    head = journal.head
    made = "" if head.plan_created_at is None else f", made {recorded_utc(head.plan_created_at)}"
    source = "" if head.source is None else f" from {head.source}"
    lines = [("plan", f"{journal.plan_file}{made}{source}"), ("server", journal.base_url), *run_lines(now, at)]
    ago = max(0.0, at - now.last_at)
    lines.append(("journal", f"{journal.path}, last line written at {utc(now.last_at)} ({duration(ago)} ago)"))
    if now.phase != "running" and now.left:
        lines.append(("next", command_line("resume", journal.path)))
    if now.damaged:
        lines.append(("damaged", f"{counted(now.damaged, 'line')} of the journal, which do not count"))
    return lines


def run_lines(now: Snapshot, at: float) -> Sequence[tuple[str, str]]:
    """Return the details that all runs have: the outcomes, the rate, what holds it up, and when each run began."""
    lines = [("outcomes", _outcomes(now))]
    if rate := _rate(now):
        lines.append(("rate", rate))
    return [*lines, *_held_up(now, at), *(("run", text) for text in _runs(now.runs, now.phase))]


def _outcomes(now: Snapshot) -> str:
    names = {state: OUTCOME_WORDS[state] for state in _STATES}
    if now.phase != "running":
        names["begun"] = "in flight at the end"
    parts = [f"{now.counts[state]:,} {name}" for state, name in names.items() if now.counts[state]]
    if now.already_right:
        parts[0] += f" ({now.already_right:,} {OUTCOME_WORDS['already_right']})"
    return ", ".join(parts) or "none"


def _rate(now: Snapshot) -> str:
    parts: list[str] = []
    if now.rate_now is not None:
        parts.append(f"{rate_per(now.rate_now)} now")
    if now.rate_minute is not None:
        parts.append(f"{rate_per(now.rate_minute)} over the last minute")
    if now.limit is not None:
        parts.append(f"limit {rate_per(now.limit)}")
    if now.rate_limited:
        parts.append(f"{now.rate_limited:,} rate limited (429)")
    return ", ".join(parts)


def _held_up(now: Snapshot, at: float) -> list[tuple[str, str]]:
    lines: list[tuple[str, str]] = []
    if now.outage is not None:
        since = f"since {clock_utc(now.outage.at)}"
        if now.phase == "running":
            since += f" ({duration(at - now.outage.at)})"
        lines.append(("outage", f"{since}: {now.outage.outage}"))
    if now.pause is not None:
        ends = now.pause.at + now.pause.pause
        begun = f"since {clock_utc(now.pause.at)}"
        until = (
            f"resumes in {duration(ends - at)}"
            if now.phase == "running"
            else f"would have lasted until {clock_utc(ends)}"
        )
        lines.append(("pause", f"rate limited {begun}, {until}: {PAUSE_WORDS.get(now.pause.reason, now.pause.reason)}"))
    return lines


def _runs(runs: Sequence[RunProgress], phase: str) -> list[str]:
    lines: list[str] = []
    if (hidden := len(runs) - _MAX_RUNS) > 0:
        lines.append(counted(hidden, "earlier run"))
    for run in runs[-_MAX_RUNS:]:
        is_last = run is runs[-1]
        if run.ended is not None and run.ended_at is not None:
            end = f"ended after {duration(max(0.0, run.ended_at - run.began_at))}: {run.ended}"
        elif is_last and phase == "running":
            end = "in progress"
        else:
            end = "killed"
        lines.append(f"{run.number:,} ({'apply' if run.number == 1 else 'resume'}) began {utc(run.began_at)}, {end}")
    return lines


def one_line(now: Snapshot, at: float) -> str:
    """Return the state as one line with its time, for a log."""
    counts = [
        f"{now.counts[state]:,} {OUTCOME_WORDS[state]}"
        for state in ("failed", "uncertain", "conflict")
        if now.counts[state]
    ]
    parts = [headline(now), _rate(now), *counts, *(f"{name}: {text}" for name, text in _held_up(now, at))]
    return f"{clock_utc(at)} {'; '.join(filter(None, parts))}"


def status_data(now: Snapshot, journal: Journal) -> dict[str, JsonValue]:
    """Return the state of a journal as JSON data."""
    return {
        "journal": str(journal.path),
        "plan": str(journal.plan_file),
        "plan_id": journal.plan_id,
        "source": journal.head.source,
        "base_url": journal.base_url,
        **run_data(now),
        "last_line_at": _time(now.last_at),
        "damaged_lines": now.damaged,
    }


def run_data(now: Snapshot) -> dict[str, JsonValue]:
    """Return what all runs have as JSON data."""
    runs: list[JsonValue] = [
        {
            "run": run.number,
            "began_at": _time(run.began_at),
            "ended_at": None if run.ended_at is None else _time(run.ended_at),
            "ended": run.ended,
        }
        for run in now.runs
    ]
    return {
        "state": now.phase,
        "ended": now.runs[-1].ended if now.runs else None,
        "rooms": now.rooms,
        "done": now.done,
        "left": now.left,
        "counts": {**now.counts, "already_right": now.already_right},
        "rate": {"now": _rounded(now.rate_now), "last_minute": _rounded(now.rate_minute), "limit": now.limit},
        "rate_limited": now.rate_limited,
        "seconds_left": _rounded(now.seconds_left),
        "outage": None if now.outage is None else {"since": _time(now.outage.at), "reason": now.outage.outage},
        "pause": None
        if now.pause is None
        else {
            "since": _time(now.pause.at),
            "until": _time(now.pause.at + now.pause.pause),
            "reason": now.pause.reason,
        },
        "runs": runs,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


def _time(at: float) -> str:
    return timestamp(datetime.fromtimestamp(at, UTC))
