"""Sending the rooms of a plan: what `update_many` gets, and what its results say."""

from collections import deque
from collections.abc import Container, Iterable, Iterator
from itertools import islice
from typing import BinaryIO

from .._webhook_url import WebhookUrlPolicy
from ..errors import InvalidRequestError
from ..models import RoomUpdate, UpdateResult
from ..models._fields import Values
from ._conflicts import Conflicts
from ._ledger import Ledger
from ._outcomes import Outcome, StopSignal
from ._plan import Plan
from ._plan_records import PLANNED, PlannedUpdate

__all__ = ["InFlight", "rooms_to_send"]


def rooms_to_send(
    file: BinaryIO, plan: Plan, passed_over: Container[str], conflicts: Conflicts
) -> Iterator[PlannedUpdate]:
    """Read the rooms of a plan, which was checked before; those that may be conflicts are set aside."""
    file.seek(0)
    file.readline()
    for line in islice(file, plan.rooms):
        planned = PLANNED.read(line)
        if planned.room_id not in passed_over and not conflicts.set_aside(planned, line):
            yield planned


class InFlight:
    """The rooms that are in flight."""

    def __init__(self, ledger: Ledger, signal: StopSignal, policy: WebhookUrlPolicy) -> None:
        self._ledger = ledger
        self._signal = signal
        self._policy = policy
        self._names: dict[str, str | None] = {}
        """The rooms that were begun and have no outcome yet, with their names."""
        self._invalid: deque[Outcome] = deque()
        """Outcomes of rooms that the client's policy for webhook URLs rejects, and the plan's did not."""

    def updates(self, rooms: Iterable[PlannedUpdate]) -> Iterator[tuple[str, RoomUpdate]]:
        """Give the updates for `update_many`; each stands in the journal before it is given."""
        after: Values | None = None
        update = RoomUpdate()
        for planned in rooms:
            if self._signal.why is not None:
                return
            room_id, name = planned.room_id, planned.unique_name
            try:
                # Most plans give all rooms the same; not to check that again saves a fifth of what is done here.
                if planned.after != after:
                    update = planned.update(self._policy)
                    after = planned.after
            except InvalidRequestError as error:
                self._signal.count_failure(error)
                self._invalid.append(self._ledger.end(room_id, name, "failed", error=error))
                continue
            self._ledger.begin(planned)
            self._names[room_id] = name
            yield room_id, update

    def outcome(self, result: UpdateResult) -> Outcome:
        """Record a result of `update_many`."""
        if result.error is not None:
            if result.status == "skipped":
                self._signal.stop(result.error)
            else:
                self._signal.count_failure(result.error)
        return self._ledger.end(
            result.room_id,
            self._names.pop(result.room_id),
            result.status,
            error=result.error,
            attempts=result.attempts,
            elapsed=result.elapsed,
            updated_at=None if result.room is None else result.room.updated_at,
        )

    def invalid(self) -> Iterator[Outcome]:
        """Give the outcomes of rooms that were not even sent."""
        while self._invalid:
            yield self._invalid.popleft()
