"""Convert planned updates to the input of `update_many`, and the results of `update_many` to outcomes."""

import time
from collections import deque
from collections.abc import Container, Iterable, Iterator
from typing import NamedTuple

import attrs

from .._webhook_url import WebhookUrlPolicy
from ..errors import InvalidRequestError
from ..models import RoomUpdate, UpdateResult
from ..resources._statuses import ends_run
from ._checked_plan import CheckedPlan
from ._conflicts import Conflicts
from ._outcomes import Outcome, StopSignal
from ._plan_records import PlannedLine
from ._recorder import Recorder
from ._refresh import Refresher

__all__ = ["InFlight", "rooms_to_send"]


def rooms_to_send(plan: CheckedPlan, excluded: Container[str], conflicts: Conflicts) -> Iterator[PlannedLine]:
    """Yield the rooms of a plan whose update must be sent. Skip `excluded` rooms, and set modified rooms aside.

    Raises `PlanFileError` if a line of the plan differs from what was checked.
    """
    position = plan.start
    for line in plan.lines():
        planned = PlannedLine.read(line)
        position += len(line)
        conflicts.advance(position)
        if planned.room_id not in excluded and not conflicts.set_aside(planned):
            yield planned


class _Begun(NamedTuple):
    """An update whose `begin` line has been written."""

    unique_name: str | None
    at: float
    """The monotonic time at which the update began, in seconds."""
    listed_at: float | None
    """`Conflicts.listed_at` at that time."""


class InFlight:
    """The updates of one run that are in flight."""

    def __init__(
        self,
        recorder: Recorder,
        signal: StopSignal,
        conflicts: Conflicts,
        refresher: Refresher,
        policy: WebhookUrlPolicy,
    ) -> None:
        self._recorder = recorder
        self._conflicts = conflicts
        self._refresher = refresher
        self._signal = signal
        self._policy = policy
        self._begun: dict[str, _Begun] = {}
        """The updates that have a `begin` line but no outcome yet, by room id."""
        self._invalid: deque[Outcome] = deque()
        """Outcomes of updates that were not sent because the client's webhook URL policy rejects a URL in the plan."""

    def updates(self, rooms: Iterable[PlannedLine]) -> Iterator[tuple[str, RoomUpdate]]:
        """Yield the updates for `update_many`. Write the `begin` line of each update before it is yielded.

        Stop at the limit of the signal. An update whose URL the client's policy rejects counts too: otherwise a run
        with a limit could fail all rooms of a plan.
        """
        for planned in rooms:
            if not self._signal.may_begin():
                return
            room_id, name = planned.room_id, planned.unique_name
            try:
                update = RoomUpdate.from_dict(planned.after, webhook_url_policy=self._policy)
            except InvalidRequestError as error:
                self._signal.count_failure(error)
                self._invalid.append(self._recorder.end(room_id, name, "failed", error=error))
                continue
            self._recorder.begin(planned.line)
            self._begun[room_id] = _Begun(name, time.monotonic(), self._conflicts.listed_at)
            yield room_id, update

    def outcome(self, result: UpdateResult) -> Outcome:
        """Record a result of `update_many` in the journal, and return it as an `Outcome`."""
        if result.error is not None:
            if ends_run(result.error):
                self._signal.stop(result.error)
            else:
                self._signal.count_failure(result.error)
        begun = self._begun.pop(result.room_id)
        updated_at = None if result.room is None else result.room.updated_at
        if result.attempts:
            self._conflicts.record_update(begun.listed_at, begun.at + result.elapsed, updated_at)
            self._refresher.count(result)
        outcome = self._recorder.end(
            result.room_id,
            begun.unique_name,
            result.status,
            error=result.error,
            attempts=result.attempts,
            elapsed=result.elapsed,
            updated_at=updated_at,
        )
        note = self._conflicts.note(result.room_id)
        return outcome if note is None or outcome.status != "updated" else attrs.evolve(outcome, note=note)

    def abort(self) -> None:
        """Record that the updates without an outcome ended now, because the run was cancelled."""
        now = time.monotonic()
        for begun in self._begun.values():
            self._conflicts.record_update(begun.listed_at, now, None)
        self._begun.clear()

    def invalid(self) -> Iterator[Outcome]:
        """Yield the outcomes of invalid updates, which were not sent. Each outcome is yielded once."""
        while self._invalid:
            yield self._invalid.popleft()
