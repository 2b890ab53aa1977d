"""The summary of a journal, for the report.

A journal may have millions of lines, so its records are added up in at most 200 time buckets while it is read. At first
a bucket is a quarter of a second wide. When a 201st bucket would be needed, adjacent buckets are merged in pairs, and
the width doubles. For example, after 30 minutes of active time there are 113 buckets of 16 seconds. *Active time* is
the time during runs. The time between two runs is not included, and neither is a gap of more than 60 seconds between
two lines.

Outages and pauses are *spans* of active time. A pause has only a line for its beginning, which names its expected
length. For example, a pause of 30 s begins at 100 s of active time. If the run goes on, the span is 100 to 130 s. If
the process is killed at 110 s, the span is 100 to 110 s, and `RunSummary.killed_in` says so. Spans that are closer to
each other than the width of a bucket are drawn as one, so their number is bounded like that of the buckets.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Final, Literal

import attrs

from .._text import error_kind
from ._journal import Journal, journal_lines
from ._journal_records import (
    Begin,
    End,
    JournalLine,
    OutageBegin,
    OutageEnd,
    PacingRecord,
    Pause,
    Record,
    RoomState,
    Run,
    Stop,
)
from ._units import duration

__all__ = ["Bucket", "HoldUps", "RoomResult", "RunSummary", "Span", "Summary", "merged_in_pairs", "summarize"]

_MAX_BUCKETS: Final = 200

_FIRST_WIDTH: Final = 0.25
"""Width of a bucket at first, in seconds."""

_MAX_PAUSE: Final = 60.0
"""Longest time between two records that counts as active, in seconds."""

_MAX_REASONS: Final = 1000
"""Maximum number of different reasons to count separately. A server may put a number of its own into each message."""

_OTHER_REASONS: Final = "other reasons"

NO_END: Final = "no end was recorded; the run was killed or is still in progress"


@attrs.define
class Bucket:
    """The totals of an interval of active time."""

    ended: Counter[str] = attrs.Factory(Counter[str])
    """Number of outcomes by status."""
    retries: int = 0
    rate_limited: int = 0
    limit: float | None = None
    """The last sustained rate that the rate limit allowed, in requests per second; None if unknown."""

    def add(self, other: "Bucket") -> None:
        self.ended += other.ended
        self.retries += other.retries
        self.rate_limited += other.rate_limited
        self.limit = self.limit if other.limit is None else other.limit


def merged_in_pairs(buckets: Sequence[Bucket]) -> list[Bucket]:
    """Return buckets of twice the width."""
    merged: list[Bucket] = []
    for place, bucket in enumerate(buckets):
        if place % 2:
            merged[-1].add(bucket)
        else:
            merged.append(attrs.evolve(bucket, ended=bucket.ended.copy()))
    return merged


@attrs.define
class Span:
    """A part of the active time in which something held the run up."""

    kind: Literal["outage", "pause"]
    begin: float
    end: float
    """Both in seconds of active time."""


@attrs.define
class HoldUps:
    """How often and for how long outages or pauses held the runs up."""

    count: int = 0
    seconds: float = 0.0
    reasons: Counter[str] = attrs.Factory(Counter[str])
    """How often for each reason. There are at most 20 reasons; others are counted as `other reasons`."""

    def add(self, seconds: float, reason: str) -> None:
        self.count += 1
        self.seconds += seconds
        self.reasons[reason if reason in self.reasons or len(self.reasons) < 20 else _OTHER_REASONS] += 1


@attrs.define
class RunSummary:
    """One run."""

    number: int
    began_at: float
    """Unix time in seconds."""
    active_at: float
    """When it began, in seconds of active time."""
    ended_at: float
    """When its last line was written, as Unix time in seconds."""
    ended: str = NO_END
    has_end: bool = False
    is_unlocked: bool = False
    """Whether it does not lock the journal, so that a run without an end may be in progress."""
    killed_in: str = ""
    """The outage or pause that was in progress at the last line of a run without an end; else empty."""
    outcomes: Counter[str] = attrs.Factory(Counter[str])
    """Number of outcomes by status."""


@attrs.frozen
class RoomResult:
    """What became of a room."""

    state: RoomState | Literal["not_begun"]
    reason: str = ""
    """Why it is not updated, without ids; empty for an updated room and one without an outcome."""
    found: bool = False
    """Whether the room already had the wanted values, so that no update was sent."""


@attrs.define
class Summary:
    """The summary of a journal."""

    width: float = _FIRST_WIDTH
    """Seconds per bucket."""
    buckets: list[Bucket] = attrs.Factory(list[Bucket])
    spans: list[Span] = attrs.Factory(list[Span])
    """The outages and pauses, in the order of their beginning."""
    outcomes: list[RoomResult] = attrs.Factory(list[RoomResult])
    """The different outcomes."""
    rooms: dict[str, int] = attrs.Factory(dict[str, int])
    """For each room of the journal, the place of its last outcome in `outcomes`."""
    by_outcome: Counter[RoomResult] = attrs.Factory(Counter[RoomResult])
    """The number of rooms of the journal by outcome."""
    runs: list[RunSummary] = attrs.Factory(list[RunSummary])
    outages: HoldUps = attrs.Factory(HoldUps)
    pauses: HoldUps = attrs.Factory(HoldUps)
    seconds: float = 0.0
    """Active time, in seconds."""
    last_at: float = 0.0
    """When the last line was written, as Unix time in seconds."""
    updates: int = 0
    """Number of outcomes of updates that were sent."""
    retries: int = 0
    rate_limited: int = 0
    elapsed: float = 0.0
    """Sum of the durations of the updates, in seconds."""
    slowest: float = 0.0
    """Longest duration of an update, in seconds."""
    damaged_lines: list[int] = attrs.Factory(list[int])
    """The numbers of the journal's damaged lines, which are not in the other values."""


def summarize(journal: Journal) -> Summary:
    """Read a journal and return its summary. Raises `JournalError` if it can't be read."""
    reader = _Reader(journal.head.at)
    for line in journal_lines(journal):
        reader.add(line)
    reader.end_run()
    summary = reader.summary
    places = Counter(summary.rooms.values())
    summary.by_outcome = Counter({summary.outcomes[place]: count for place, count in places.items()})
    return summary


class _Reader:
    """Adds up the lines of a journal."""

    def __init__(self, at: float) -> None:
        self.summary = Summary(last_at=at)
        self._places: dict[RoomResult, int] = {}
        """The place of each outcome in `Summary.outcomes`."""
        self._reasons: set[str] = set()
        self._rate_limited = 0
        self._limit: float | None = None
        self._outage: tuple[OutageBegin, float] | None = None
        self._pause: tuple[Pause, float] | None = None
        """The last pause or outage that has not ended, and the active time at which it began."""

    def add(self, line: JournalLine) -> None:
        """Add a line."""
        summary, record = self.summary, line.record
        if record is None:
            if line.is_damaged:
                summary.damaged_lines.append(line.number)
            return
        if isinstance(record, Run):
            self.end_run()
        # Don't count the time before a run, a negative step (the clock was set back) or a long one (the machine slept).
        elif 0 <= record.at - summary.last_at <= _MAX_PAUSE:
            summary.seconds += record.at - summary.last_at
        summary.last_at = record.at
        if summary.runs and not isinstance(record, Run):
            summary.runs[-1].ended_at = record.at
        self._add(record)

    def _add(self, record: Record) -> None:
        summary = self.summary
        match record:
            case Run():
                unlocked = record.locked is False
                summary.runs.append(RunSummary(record.run, record.at, summary.seconds, record.at, is_unlocked=unlocked))
                self._rate_limited, self._limit = 0, None
            case Stop() if summary.runs:
                run = summary.runs[-1]
                run.ended, run.has_end = record.stop, True
                self.end_run()
            case Begin():
                summary.rooms[record.begin] = self._place(RoomResult("begun"))
            case End():
                self._add_outcome(record)
            case PacingRecord():
                self._add_pacing(record)
            case Pause() if record.holds_up:
                self._end_pause()
                self._pause = record, summary.seconds
            case OutageBegin():
                self._end_outage()
                self._outage = record, summary.seconds
            case OutageEnd():
                self._end_outage()
            case _:
                pass

    def _place(self, outcome: RoomResult) -> int:
        place = self._places.get(outcome)
        if place is None:
            place = self._places[outcome] = len(self.summary.outcomes)
            self.summary.outcomes.append(outcome)
        return place

    def _add_outcome(self, record: End) -> None:
        summary = self.summary
        reason = "" if record.error is None else self._reason(record.error)
        summary.rooms[record.end] = self._place(RoomResult(record.status, reason, record.found))
        if summary.runs:
            summary.runs[-1].outcomes[record.status] += 1
        bucket = self._current_bucket()
        bucket.ended[record.status] += 1
        bucket.retries += (retries := max(0, record.attempts - 1))
        summary.retries += retries
        if record.attempts:
            elapsed = record.elapsed or 0.0
            summary.updates += 1
            summary.elapsed += elapsed
            summary.slowest = max(summary.slowest, elapsed)

    def _reason(self, error: str) -> str:
        reason = error_kind(error)
        if reason not in self._reasons:
            if len(self._reasons) >= _MAX_REASONS:
                return _OTHER_REASONS
            self._reasons.add(reason)
        return reason

    def _add_pacing(self, record: PacingRecord) -> None:
        more = max(0, record.pacing.refused - self._rate_limited)
        self._rate_limited, self._limit = record.pacing.refused, record.pacing.limit
        self.summary.rate_limited += more
        bucket = self._current_bucket()
        bucket.rate_limited += more
        bucket.limit = self._limit

    def _current_bucket(self) -> Bucket:
        """Return the bucket of the current moment. If there would be too many buckets, merge them in pairs first."""
        summary = self.summary
        buckets = summary.buckets
        while (number := int(summary.seconds / summary.width)) >= _MAX_BUCKETS:
            buckets[:] = merged_in_pairs(buckets)
            summary.width *= 2
            spans, summary.spans = summary.spans, []
            for span in spans:
                self._add_span(span)
        while len(buckets) <= number:
            buckets.append(Bucket(limit=self._limit))
        return buckets[number]

    # --- outages and pauses ---

    def end_run(self) -> None:
        """End the outage and the pause in progress. If the run has no end, it was killed in them."""
        summary = self.summary
        run = summary.runs[-1] if summary.runs else None
        if run is not None and not run.has_end:
            if self._outage is not None:
                run.killed_in = f"an outage that had begun {duration(summary.seconds - self._outage[1])} before"
            elif self._pause is not None and (lasted := summary.seconds - self._pause[1]) < self._pause[0].pause:
                length = duration(self._pause[0].pause)
                run.killed_in = f"a pause of {length} that had begun {duration(lasted)} before"
        self._end_pause()
        self._end_outage()

    def _end_pause(self) -> None:
        if self._pause is not None:
            (pause, began), self._pause = self._pause, None
            end = min(self.summary.seconds, began + pause.pause)
            self.summary.pauses.add(end - began, pause.reason)
            self._add_span(Span("pause", began, end))

    def _end_outage(self) -> None:
        if self._outage is not None:
            (outage, began), self._outage = self._outage, None
            self.summary.outages.add(self.summary.seconds - began, error_kind(outage.outage))
            self._add_span(Span("outage", began, self.summary.seconds))

    def _add_span(self, span: Span) -> None:
        """Add a span, or extend the last one of the same kind if it is closer than the width of a bucket."""
        last = next((one for one in reversed(self.summary.spans) if one.kind == span.kind), None)
        if last is not None and span.begin - last.end < self.summary.width:
            last.end = max(last.end, span.end)
        else:
            self.summary.spans.append(span)
