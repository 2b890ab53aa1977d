"""The callers that wait for a permit, by priority and operation.

Callers with the same priority and operation are served in the order of their arrival. The pacer decides which priority
and which operation is next. Usually all operations have the same limits, and then the order of arrival decides here
too. If an operation has limits of its own, its callers don't delay those of other operations.

Example: A and C wait to update rooms, and B, which came between them, waits to list rooms. `operations` yields updates
first, because A came first. If updates are not allowed now, B gets its permit before A.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Iterator
from typing import Final, Literal, TypeAlias

from .gate import Permit

__all__ = ["PRIORITIES", "Priority", "Waiter", "Waiting"]

Priority: TypeAlias = Literal["normal", "low"]
"""The priority of a call: `normal` for single calls, `low` for bulk runs that must not delay single calls."""

PRIORITIES: Final[tuple[Priority, ...]] = ("normal", "low")

Waiter: TypeAlias = "asyncio.Future[Permit]"

# Removing a caller from an OrderedDict is fast, even if there are 20,000 callers. The values are the time and the
# position of the arrival.
_Line: TypeAlias = OrderedDict[Waiter, tuple[float, int]]


class Waiting:
    """Callers in order of arrival, one line for each priority and operation. Empty lines are removed."""

    def __init__(self) -> None:
        self._lines: dict[Priority, dict[str, _Line]] = {"normal": {}, "low": {}}
        self._arrivals = 0
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def has(self, priority: Priority, operation: str | None = None) -> bool:
        """Whether any caller has this priority, and waits for this operation if one is given."""
        lines = self._lines[priority]
        return bool(lines) if operation is None else operation in lines

    def count(self, priority: Priority) -> int:
        """Return the number of callers with this priority."""
        return sum(map(len, self._lines[priority].values()))

    def operations(self, priority: Priority) -> Iterator[str]:
        """Yield the operations that callers with this priority wait for, in the order of their first callers."""
        lines = self._lines[priority]
        if len(lines) < 2:
            return iter(tuple(lines))
        return iter(sorted(lines, key=lambda operation: next(iter(lines[operation].values()))))

    def since(self, priority: Priority, operation: str) -> float | None:
        """Return when the first caller of a line began to wait; None if nobody waits."""
        line = self._lines[priority].get(operation)
        return None if line is None else next(iter(line.values()))[0]

    def add(self, waiter: Waiter, priority: Priority, operation: str, now: float) -> None:
        """Add a caller to the end of its line."""
        self._lines[priority].setdefault(operation, OrderedDict())[waiter] = (now, self._arrivals)
        self._arrivals += 1
        self._count += 1

    def pop(self, priority: Priority, operation: str) -> Waiter:
        """Remove and return the first caller of a line, which must not be empty."""
        line = self._lines[priority][operation]
        waiter, _ = line.popitem(last=False)
        self._forget(line, priority, operation)
        return waiter

    def remove(self, waiter: Waiter, priority: Priority, operation: str) -> None:
        """Remove a caller, if it still waits."""
        line = self._lines[priority].get(operation)
        if line is not None and line.pop(waiter, None) is not None:
            self._forget(line, priority, operation)

    def pop_all(self, operation: str | None = None) -> list[Waiter]:
        """Remove and return all callers, or all that wait for one operation."""
        found: list[Waiter] = []
        for priority in PRIORITIES:
            for name in self.operations(priority):
                if operation is None or name == operation:
                    found += self._lines[priority].pop(name)
        self._count -= len(found)
        return found

    def _forget(self, line: _Line, priority: Priority, operation: str) -> None:
        self._count -= 1
        if not line:
            del self._lines[priority][operation]
