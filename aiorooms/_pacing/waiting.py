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
_Queue: TypeAlias = OrderedDict[Waiter, tuple[float, int]]


class Waiting:
    """Callers in order of arrival, one queue for each priority and operation. Empty queues are removed."""

    def __init__(self) -> None:
        self._queues: dict[Priority, dict[str, _Queue]] = {"normal": {}, "low": {}}
        self._arrivals = 0
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def has(self, priority: Priority, operation: str | None = None) -> bool:
        """Whether any caller has this priority, and waits for this operation if one is given."""
        queues = self._queues[priority]
        return bool(queues) if operation is None else operation in queues

    def count(self, priority: Priority) -> int:
        """Return the number of callers with this priority."""
        return sum(map(len, self._queues[priority].values()))

    def counts(self) -> dict[tuple[Priority, str], int]:
        """Return the number of callers by priority and operation."""
        return {
            (priority, operation): len(queue)
            for priority in PRIORITIES
            for operation, queue in self._queues[priority].items()
        }

    def operations(self, priority: Priority) -> Iterator[str]:
        """Yield the operations that callers with this priority wait for, in the order of their first callers."""
        queues = self._queues[priority]
        if len(queues) < 2:
            return iter(tuple(queues))
        return iter(sorted(queues, key=lambda operation: next(iter(queues[operation].values()))))

    def since(self, priority: Priority, operation: str) -> float | None:
        """Return when the first caller of a queue began to wait; None if nobody waits."""
        queue = self._queues[priority].get(operation)
        return None if queue is None else next(iter(queue.values()))[0]

    def add(self, waiter: Waiter, priority: Priority, operation: str, now: float) -> None:
        """Add a caller to the end of its queue."""
        self._queues[priority].setdefault(operation, OrderedDict())[waiter] = (now, self._arrivals)
        self._arrivals += 1
        self._count += 1

    def pop(self, priority: Priority, operation: str) -> Waiter:
        """Remove and return the first caller of a queue, which must not be empty."""
        queue = self._queues[priority][operation]
        waiter, _ = queue.popitem(last=False)
        self._forget(queue, priority, operation)
        return waiter

    def remove(self, waiter: Waiter, priority: Priority, operation: str) -> None:
        """Remove a caller, if it still waits."""
        queue = self._queues[priority].get(operation)
        if queue is not None and queue.pop(waiter, None) is not None:
            self._forget(queue, priority, operation)

    def pop_all(self, operation: str | None = None) -> list[Waiter]:
        """Remove and return all callers, or all that wait for one operation."""
        found: list[Waiter] = []
        for priority in PRIORITIES:
            for name in self.operations(priority):
                if operation is None or name == operation:
                    found += self._queues[priority].pop(name)
        self._count -= len(found)
        return found

    def _forget(self, queue: _Queue, priority: Priority, operation: str) -> None:
        self._count -= 1
        if not queue:
            del self._queues[priority][operation]
