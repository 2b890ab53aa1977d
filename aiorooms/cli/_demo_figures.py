"""What the demo measures: the outcomes of its updates according to the journal, and their number, rate and latency.

For example, a run is killed when 800 of 2,000 rooms are updated and 30 updates are in flight. A second run reads these
30 rooms back, and updates the others. The journal then has

- 800 `end` lines after the first `run` line, and 830 `begin` lines. So 30 updates were in flight.
- 1,200 `end` lines after the second `run` line. All 2,000 rooms are updated. 28 of these lines have the key
  `found`: the server had applied the update, although its answer was lost with the process. It was not sent again.

The numbers of rooms are those that `aiorooms status` shows. The time of a run goes from its `run` line to its last
line, so the time between the two runs does not count.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Self

import attrs

from ..bulk._glance import seen_in
from ..bulk._journal_records import End, Record, Run
from ..bulk._progress import Progress, Snapshot

__all__ = ["Figures", "percentile"]


@attrs.frozen(kw_only=True)
class Figures:
    """The measurements of all runs of one journal."""

    states: Counter[str]
    """Number of rooms in each state, such as `updated`. A room without a state is not counted."""
    retried: int
    """Number of updates that took more than one attempt."""
    seconds: float
    """Duration of all runs."""
    latencies: Sequence[float]
    """The time from dequeue to outcome of each update that was sent and applied, in seconds, in ascending order."""
    before_kill: int
    """Number of rooms with an outcome in the first run."""
    in_flight: int
    """Number of updates that were in flight when the first run ended."""
    found: int
    """Number of rooms that were found with their new values, so that no update was sent again."""

    @classmethod
    def of(cls, entries: Iterable[Record], rooms: int) -> Self:
        """Sum up the lines of a journal about a plan with this number of rooms."""
        progress = Progress(rooms, 0.0)
        latencies: list[float] = []
        retried = 0
        at_kill: Snapshot | None = None
        durations: list[float] = []

        def end_run() -> Snapshot:
            now = progress.snapshot(0.0, is_locked=False)
            if now.runs:
                durations.append(now.last_at - now.runs[-1].began_at)
            return now

        for entry in entries:
            if isinstance(entry, Run):
                ended = end_run()
                if at_kill is None and ended.runs:
                    at_kill = ended
            elif isinstance(entry, End):
                retried += entry.attempts > 1
                if entry.elapsed is not None and entry.status == "updated":
                    latencies.append(entry.elapsed)
            progress.add(seen_in(entry))
        last = end_run()
        counts = (at_kill or last).counts
        return cls(
            states=Counter({state: count for state, count in last.counts.items() if count and state != "not_begun"}),
            retried=retried,
            seconds=sum(durations),
            latencies=sorted(latencies),
            before_kill=rooms - counts["begun"] - counts["not_begun"],
            in_flight=counts["begun"],
            found=last.already_right,
        )

    @property
    def updates_per_second(self) -> float:
        """Number of updated rooms per second of the runs."""
        return self.states["updated"] / self.seconds if self.seconds else 0.0


def percentile(latencies: Sequence[float], share: int) -> float:
    """Return the `share`th percentile of sorted latencies, by nearest rank; 0 if there are none."""
    return latencies[max(0, math.ceil(len(latencies) * share / 100) - 1)] if latencies else 0.0
