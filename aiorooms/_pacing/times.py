"""Times of many requests, counted in a small number of groups.

A sliding window makes a request available again one window after it was used, so the times of the last window must be
known. If 10,000 requests fit in a window, storing each time would take too much memory and time. So requests that are
closer to each other than the *resolution* form a group, which has the time of its last request.

Example: the resolution is 0.1 s. Requests at 5.00, 5.02, 5.08 and 5.20 become two groups: 3 requests at 5.08, and 1 at
5.20. At 6.04, the requests of the last second are these 4, although the first two are older: a group is old when all of
its requests are. With the resolution 0, only requests at the same time form a group.
"""

import math
from collections import deque
from itertools import islice

__all__ = ["Times"]


class Times:
    """Times in ascending order. If there are more than `most`, the oldest are forgotten."""

    def __init__(self, most: int, resolution: float = 0.0) -> None:
        self.resolution = resolution
        """Seconds."""
        self._most = most
        self._count = 0
        self._groups: deque[tuple[float, float, int]] = deque()
        """First time, last time and number of requests of each group."""

    def __len__(self) -> int:
        return self._count

    @property
    def first(self) -> float:
        """The time of the first group. There must be one."""
        return self._groups[0][1]

    def add(self, at: float, count: int = 1) -> None:
        """Add requests."""
        groups = self._groups
        later: list[tuple[float, float, int]] = []
        while groups and groups[-1][0] > at:
            later.append(groups.pop())
        self._count += count
        first = at
        if groups and at - groups[-1][0] <= self.resolution:
            first, last, earlier = groups.pop()
            at, count = max(at, last), earlier + count
        groups.append((first, at, count))
        if later:
            groups.extend(reversed(later))
        while self._count > self._most and len(groups) > 1:
            self._count -= groups.popleft()[2]

    def drop_until(self, at: float) -> list[tuple[float, int]]:
        """Remove the groups up to a time, inclusive, and return their times and numbers of requests."""
        groups = self._groups
        if not groups or groups[0][1] > at:
            return []
        dropped: list[tuple[float, int]] = []
        while groups and groups[0][1] <= at:
            _, last, count = groups.popleft()
            self._count -= count
            dropped.append((last, count))
        return dropped

    def drop_last(self, count: int) -> None:
        """Remove the last requests."""
        groups = self._groups
        while groups and count > 0:
            first, last, size = groups.pop()
            removed = min(size, count)
            self._count -= removed
            count -= removed
            if removed < size:
                groups.append((first, last, size - removed))

    def count_after(self, at: float) -> int:
        """Return the number of requests after a time."""
        total = 0
        for _, last, count in reversed(self._groups):
            if last <= at:
                break
            total += count
        return total

    def count_between(self, after: float, until: float) -> int:
        """Return the number of requests after a time and up to another one, inclusive."""
        return self.count_after(after) - self.count_after(until)

    def first_after(self, at: float) -> float:
        """Return the time of the first group after a time; infinity if there is none."""
        return next((last for _, last, _ in self._groups if last > at), math.inf)

    def clear(self) -> None:
        """Forget all requests."""
        self._groups.clear()
        self._count = 0

    def dump(self) -> list[float]:
        """Return the resolution, and the first time, the duration and the number of requests of each group."""
        groups = [value for first, last, count in self._groups for value in (first, last - first, count)]
        return [self.resolution, *groups]

    def load(self, values: list[float]) -> None:
        """Restore what `dump` returned. Raise ValueError or OverflowError for other values."""
        numbers = iter(values)
        if not values:
            raise ValueError("there is no resolution")
        self.resolution = next(numbers)
        self._groups = deque()
        self._count = 0
        while group := tuple(islice(numbers, 3)):
            first, duration, count = group
            self._groups.append((first, first + duration, int(count)))
            self._count += int(count)
