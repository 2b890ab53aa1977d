"""The summary of a journal, for the report.

A journal may have millions of lines, so its records are added up in at most 200 time buckets while it is read. At first
a bucket is 1 second wide. When a 201st bucket would be needed, adjacent buckets are merged in pairs, and the width
doubles. For example, after 30 minutes of active time there are 113 buckets of 16 seconds. *Active time* is the time
during runs. The time between two runs is not included, and neither is a gap of more than 60 seconds between two lines.
"""

from collections import Counter
from typing import Final

import attrs

from .._text import error_kind
from ._journal import Journal, journal_lines
from ._journal_records import Begin, End, PacingRecord, Run, Stop

__all__ = ["Bucket", "Summary", "summarize"]

_MAX_BUCKETS: Final = 200

_MAX_PAUSE: Final = 60.0
"""Longest time between two records that counts as active, in seconds."""


@attrs.define
class Bucket:
    """The totals of an interval of active time."""

    ended: Counter[str] = attrs.Factory(Counter[str])
    """Number of outcomes by status."""
    retries: int = 0
    rate_limited: int = 0
    elapsed: float = 0.0
    """Sum of the durations of the updates that ended in this interval, in seconds."""
    slowest: float = 0.0
    """Longest duration of an update that ended in this interval, in seconds."""

    def add(self, other: "Bucket") -> None:
        self.ended += other.ended
        self.retries += other.retries
        self.rate_limited += other.rate_limited
        self.elapsed += other.elapsed
        self.slowest = max(self.slowest, other.slowest)


@attrs.define
class Summary:
    """The summary of a journal."""

    base_url: str
    plan_file: str
    rooms: int
    began_at: float
    width: float = 1.0
    """Seconds per bucket."""
    buckets: list[Bucket] = attrs.Factory(list[Bucket])
    states: Counter[str] = attrs.Factory(Counter[str])
    """Number of rooms by state, as in `Journal.states`."""
    reasons: dict[str, tuple[str, str]] = attrs.Factory(dict[str, tuple[str, str]])
    """By room id: status and reason of each room whose last outcome has an error."""
    runs: list[str] = attrs.Factory(list[str])
    """How each run ended."""
    seconds: float = 0.0
    """Active time, in seconds."""
    damaged_lines: list[int] = attrs.Factory(list[int])
    """The numbers of the journal's damaged lines, which are not in the other values."""


def summarize(journal: Journal) -> Summary:
    """Read a journal and return its summary. Raises `JournalError` if it can't be read."""
    head = journal.head
    summary = Summary(base_url=journal.base_url, plan_file=journal.plan_file.name, rooms=head.rooms, began_at=head.at)
    states: dict[str, str] = {}
    last_at, rate_limited = head.at, 0
    for line in journal_lines(journal):
        record = line.record
        if record is None:
            if line.is_damaged:
                summary.damaged_lines.append(line.number)
            continue
        # Don't count the time before a run, a negative step (the clock was set back) or a long one (the machine slept).
        if not isinstance(record, Run) and 0 <= record.at - last_at <= _MAX_PAUSE:
            summary.seconds += record.at - last_at
        last_at = record.at
        match record:
            case Run():
                summary.runs.append("no end was recorded; the run was killed or is still in progress")
                rate_limited = 0
            case Stop() if summary.runs:
                summary.runs[-1] = record.stop
            case Begin():
                states[record.begin] = "begun"
            case End():
                states[record.end] = record.status
                _add_outcome(summary, record)
            case PacingRecord():
                _current_bucket(summary).rate_limited += max(0, record.pacing.refused - rate_limited)
                rate_limited = record.pacing.refused
            case _:
                pass
    summary.states.update(states.values())
    return summary


def _current_bucket(summary: Summary) -> Bucket:
    """Return the bucket of the current moment. If there would be too many buckets, merge them in pairs first."""
    buckets = summary.buckets
    while (number := int(summary.seconds / summary.width)) >= _MAX_BUCKETS:
        merged: list[Bucket] = []
        for place, bucket in enumerate(buckets):
            if place % 2:
                merged[-1].add(bucket)
            else:
                merged.append(bucket)
        buckets[:] = merged
        summary.width *= 2
    while len(buckets) <= number:
        buckets.append(Bucket())
    return buckets[number]


def _add_outcome(summary: Summary, record: End) -> None:
    bucket = _current_bucket(summary)
    elapsed = record.elapsed or 0.0
    bucket.ended[record.status] += 1
    bucket.retries += max(0, record.attempts - 1)
    bucket.elapsed += elapsed
    bucket.slowest = max(bucket.slowest, elapsed)
    # Only the last outcome of a room counts.
    summary.reasons.pop(record.end, None)
    if record.error is not None:
        summary.reasons[record.end] = (record.status, error_kind(record.error))
