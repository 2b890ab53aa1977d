"""What the head of a run says about its rooms, as the snapshot that a journal gives. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from .._progress import RunProgress, Snapshot
from .._units import time_left
from ._batches import ASIDE, BEGUN, FOUND, LETTERS
from ._store import Head

__all__ = ["done_count", "snapshot_of", "updated_count"]

_DONE: Final = frozenset({*LETTERS.values(), FOUND, ASIDE})


def done_count(head: Head) -> int:
    """Return how many rooms have an outcome or are set aside."""
    return sum(count for letter, count in head.counts.items() if letter in _DONE)


def updated_count(head: Head) -> int:
    """Return how many rooms this run has updated by an update of its own."""
    return head.counts.get(LETTERS["updated"], 0)


def _room_counts(head: Head) -> Mapping[str, int]:
    """Return the number of rooms by state, with the keys of `Snapshot.counts`.

    A room that was set aside is `not_begun` until it has an outcome.
    """
    counts: dict[str, int] = {status: head.counts.get(letter, 0) for status, letter in LETTERS.items()}
    counts["updated"] += head.counts.get(FOUND, 0)
    counts["begun"] = head.counts.get(BEGUN, 0)
    counts["not_begun"] = max(0, head.totals.rooms - sum(counts.values()))
    return counts


def snapshot_of(head: Head, now: float) -> Snapshot:
    """Return what can be said about a run at the Unix time `now`, in seconds."""
    counts = _room_counts(head)
    is_running = head.ended_at is None
    unsettled = counts["not_begun"] + counts["begun"]
    left = unsettled if is_running else unsettled + counts["uncertain"] + counts["skipped"]
    rate = head.rate if is_running else None
    return Snapshot(
        phase="running" if is_running else "ended",
        rooms=head.totals.rooms,
        counts=counts,
        already_right=head.counts.get(FOUND, 0),
        left=left,
        rate_now=rate,
        rate_minute=None,
        limit=head.limit,
        rate_limited=head.rate_limited,
        seconds_left=time_left(left, left / rate, head.limit or None) if rate and left else None,
        pause=None,
        outage=None,
        runs=[
            RunProgress(run["run"], run["began_at"], None, run.get("ended_at"), run.get("ended")) for run in _runs(head)
        ],
        last_at=head.ended_at or now,
        damaged=0,
    )


def _runs(head: Head) -> Sequence[Mapping[str, Any]]:
    """Return the runs. A run that was stopped before any worker had begun has its end only in the head."""
    *earlier, last = head.runs
    if head.ended_at is not None and "ended" not in last:
        last = {**last, "ended_at": head.ended_at, "ended": f"stopped: {head.stop}"}
    return [*earlier, last]
