"""Convert planned updates to the input of `update_many`, and the results of `update_many` to outcomes."""

from collections import deque
from collections.abc import Container, Iterable, Iterator
from itertools import islice
from typing import BinaryIO

import attrs

from .._webhook_url import WebhookUrlPolicy
from ..errors import InvalidRequestError
from ..models import RoomUpdate, UpdateResult
from ..resources._resource import ends_run
from ._conflicts import Conflicts
from ._outcomes import Outcome, StopSignal
from ._plan import Plan
from ._plan_records import PlannedLine
from ._recorder import Recorder

__all__ = ["InFlight", "rooms_to_send"]


def rooms_to_send(file: BinaryIO, plan: Plan, excluded: Container[str], conflicts: Conflicts) -> Iterator[PlannedLine]:
    """Yield the rooms of a plan whose update must be sent. Skip `excluded` rooms, and set modified rooms aside.

    The caller must have verified the checksum of the file.
    """
    file.seek(0)
    position = len(file.readline())
    for line in islice(file, plan.rooms):
        planned = PlannedLine.read(line)
        position += len(line)
        conflicts.position = position
        if planned.room_id not in excluded and not conflicts.set_aside(planned):
            yield planned


class InFlight:
    """The updates of one run that are in flight."""

    def __init__(self, recorder: Recorder, signal: StopSignal, conflicts: Conflicts, policy: WebhookUrlPolicy) -> None:
        self._recorder = recorder
        self._conflicts = conflicts
        self._signal = signal
        self._policy = policy
        self._names: dict[str, str | None] = {}
        """The names of rooms that have a `begin` line but no outcome yet, by room id."""
        self._invalid: deque[Outcome] = deque()
        """Outcomes of updates that were not sent because the client's webhook URL policy rejects a URL in the plan."""

    def updates(self, rooms: Iterable[PlannedLine]) -> Iterator[tuple[str, RoomUpdate]]:
        """Yield the updates for `update_many`. Write the `begin` line of each update before it is yielded."""
        for planned in rooms:
            if self._signal.reason is not None:
                return
            room_id, name = planned.room_id, planned.unique_name
            try:
                update = RoomUpdate.from_dict(planned.after, webhook_url_policy=self._policy)
            except InvalidRequestError as error:
                self._signal.count_failure(error)
                self._invalid.append(self._recorder.end(room_id, name, "failed", error=error))
                continue
            self._recorder.begin(planned.line)
            self._names[room_id] = name
            yield room_id, update

    def outcome(self, result: UpdateResult) -> Outcome:
        """Record a result of `update_many` in the journal, and return it as an `Outcome`."""
        if result.error is not None:
            if ends_run(result.error):
                self._signal.stop(result.error)
            else:
                self._signal.count_failure(result.error)
        outcome = self._recorder.end(
            result.room_id,
            self._names.pop(result.room_id),
            result.status,
            error=result.error,
            attempts=result.attempts,
            elapsed=result.elapsed,
            updated_at=None if result.room is None else result.room.updated_at,
        )
        note = self._conflicts.note(result.room_id)
        return outcome if note is None or outcome.status != "updated" else attrs.evolve(outcome, note=note)

    def invalid(self) -> Iterator[Outcome]:
        """Yield the outcomes of invalid updates, which were not sent. Each outcome is yielded once."""
        while self._invalid:
            yield self._invalid.popleft()
