"""A journal summed up."""

import re
from collections import Counter
from collections.abc import Mapping
from typing import Final, cast

import attrs

from ._files import JsonObject
from ._journal import Journal

__all__ = ["Stretch", "Summary", "summarize"]

_MOST_STRETCHES: Final = 200

_LONGEST_PAUSE: Final = 60.0
"""Seconds between two records that are shown as they are; longer ones are left out."""


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
