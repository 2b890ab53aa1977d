"""What the demo measures: the outcomes of its updates according to the journal, and their number, rate and latency.

For example, a run is killed when 800 of 2,000 rooms are updated and 30 updates are in flight. A second run reads these
30 rooms back, and updates the others. The journal then has

- 800 `end` lines after the first `run` line, and 830 `begin` lines. So 30 updates were in flight.
- 1,200 `end` lines after the second `run` line. All 2,000 rooms are updated. 28 of these lines have the key
  `found`: the server had applied the update, although its answer was lost with the process. It was not sent again.

The time of a run goes from its `run` line to its last line, so the time between the two runs does not count.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Self

import attrs

from ..bulk._journal_records import Begin, End, Record, RoomState, Run

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
    def of(cls, entries: Iterable[Record]) -> Self:
        """Sum up the lines of a journal."""
        states: dict[str, RoomState] = {}
        latencies: list[float] = []
        retried = found = 0
        seconds = 0.0
        first: Counter[RoomState] | None = None
        began = last = 0.0
        runs = 0
        for entry in entries:
            if isinstance(entry, Run):
                seconds += last - began
                began = entry.at
                runs += 1
                if runs > 1 and first is None:
                    first = Counter(states.values())
            elif isinstance(entry, Begin):
                states[entry.begin] = "begun"
            elif isinstance(entry, End):
                states[entry.end] = entry.status
                retried += entry.attempts > 1
                found += entry.found
                if entry.elapsed is not None and entry.status == "updated":
                    latencies.append(entry.elapsed)
            last = entry.at
        seconds += last - began
        counted = Counter(states.values()) if first is None else first
        return cls(
            states=Counter({str(state): count for state, count in Counter(states.values()).items()}),
            retried=retried,
            seconds=seconds,
            latencies=sorted(latencies),
            before_kill=counted.total() - counted["begun"],
            in_flight=counted["begun"],
            found=found,
        )

    @property
    def updates_per_second(self) -> float:
        """Number of updated rooms per second of the runs."""
        return self.states["updated"] / self.seconds if self.seconds else 0.0


def percentile(latencies: Sequence[float], share: int) -> float:
    """Return the `share`th percentile of sorted latencies, by nearest rank; 0 if there are none."""
    return latencies[max(0, math.ceil(len(latencies) * share / 100) - 1)] if latencies else 0.0
