"""A journal summed up, for its report.

A journal may have millions of lines, so it is summed up while it is read: into at most 200 stretches of time, which are
made twice as long whenever there would be more, and into groups of failures. Time stands still between two runs: what
is shown is the time in which something was done.
"""

import re
from collections import Counter
from typing import Final

import attrs

from ._journal import Journal
from ._journal_records import Begin, End, PacingRecord, Run, Stop

__all__ = ["Stretch", "Summary", "summarize"]

_MOST_STRETCHES: Final = 200

_LONGEST_PAUSE: Final = 60.0
"""Seconds between two records that are shown as they are; longer ones are left out."""

_ID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)


@attrs.define
class Stretch:
    """What happened in some seconds."""

    ended: Counter[str] = attrs.Factory(Counter[str])
    retries: int = 0
    rate_limited: int = 0
    elapsed: float = 0.0
    """Seconds of all updates together."""
    slowest: float = 0.0

    def add(self, other: "Stretch") -> None:
        self.ended += other.ended
        self.retries += other.retries
        self.rate_limited += other.rate_limited
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
    """Rooms by their last status; `begun` has no outcome."""
    reasons: dict[str, tuple[str, str]] = attrs.Factory(dict[str, tuple[str, str]])
    """Status and reason of each room whose last status is not `updated`."""
    runs: list[str] = attrs.Factory(list[str])
    """How each of them ended."""
    seconds: float = 0.0
    """In which something was done."""


def summarize(journal: Journal) -> Summary:
    """Read a journal and sum it up. Raises `JournalError` if it is damaged."""
    head = journal.head
    summary = Summary(base_url=journal.base_url, plan_file=journal.plan_file.name, rooms=head.rooms, began_at=head.at)
    states: dict[str, str] = {}
    last_at, rate_limited = head.at, 0
    for record in journal.entries():
        # A clock may be set back, a machine may sleep, and between two runs a night may pass.
        if not isinstance(record, Run) and 0 <= record.at - last_at <= _LONGEST_PAUSE:
            summary.seconds += record.at - last_at
        last_at = record.at
        match record:
            case Run():
                summary.runs.append("it broke off")
                rate_limited = 0
            case Stop() if summary.runs:
                summary.runs[-1] = record.stop
            case Begin():
                states[record.begin] = "begun"
            case End():
                states[record.end] = record.status
                _add_ending(summary, record)
            case PacingRecord():
                _stretch(summary).rate_limited += max(0, record.pacing.refused - rate_limited)
                rate_limited = record.pacing.refused
            case _:
                pass
    summary.states.update(states.values())
    return summary


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


def _add_ending(summary: Summary, record: End) -> None:
    stretch = _stretch(summary)
    elapsed = record.elapsed or 0.0
    stretch.ended[record.status] += 1
    stretch.retries += max(0, record.attempts - 1)
    stretch.elapsed += elapsed
    stretch.slowest = max(stretch.slowest, elapsed)
    # A later run may have done better.
    summary.reasons.pop(record.end, None)
    if record.error is not None:
        summary.reasons[record.end] = (record.status, _ID.sub("...", record.error))
