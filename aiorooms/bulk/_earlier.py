"""Decide what `resume` does with the rooms that earlier runs recorded.

`KeepPolicy` says which outcomes are kept; the updates of these rooms are not sent again. A room is uncertain if its
update was in flight when a run ended, or if its outcome is `uncertain`. `resume` reads such a room back with a GET. To
any other room, `resume` sends the update.

For example, a plan changes `max_participants` from 10 to 20, and the room's `updated_at` in the plan is 06:00. What
`resume` does after the GET depends on the values that the GET returns:

- `max_participants` is 20. The outcome is `updated`, and no update is sent.
- `max_participants` is 10, and `updated_at` is 06:00. The update was not applied, so `resume` sends it.
- `max_participants` is 10 or 30, and `updated_at` is 09:00. Someone else modified the room. The outcome is `conflict`,
  and no update is sent. With `force`, `resume` sends the update instead.

If the server answers that the room does not exist, the outcome is `failed`. If the GET fails for another reason, the
room's state in the journal does not change, so the next `resume` reads the room back again.
"""

import asyncio
from collections.abc import Mapping
from typing import BinaryIO, Self

import attrs

from ..client import RoomsClient
from ..errors import APIError, ClientStateError, NotFoundError
from ..resources._resource import ENDS_A_RUN
from ._conflicts import Conflicts
from ._journal_records import RoomState
from ._outcomes import Outcome, StopSignal
from ._plan import Plan
from ._plan_records import PLANNED, PlannedLine
from ._recorder import Recorder

__all__ = ["EarlierRuns", "KeepPolicy", "read_back"]


@attrs.frozen(kw_only=True)
class KeepPolicy:
    """Decides which outcomes of earlier runs are kept."""

    retry_failed: bool = False
    force: bool = False

    def keeps(self, state: RoomState) -> bool:
        """Return whether a room in this state keeps its outcome. Such a room is neither read back nor updated."""
        if state == "failed":
            return not self.retry_failed
        if state == "conflict":
            return not self.force
        return state == "updated"


@attrs.frozen(kw_only=True)
class EarlierRuns:
    """The rooms that keep the outcome of an earlier run, and the rooms that must be read back."""

    settled: frozenset[str]
    """The ids of rooms that keep their outcome."""
    uncertain: tuple[PlannedLine, ...]
    """The plan's lines for the rooms that must be read back."""
    excluded: frozenset[str]
    """The ids of all settled and uncertain rooms, which `rooms_to_send` skips."""

    @classmethod
    def read(cls, states: Mapping[str, RoomState], keep_policy: KeepPolicy, plan: Plan, file: BinaryIO) -> Self:
        """Classify the rooms by their state, and read the updates of uncertain rooms from the plan file."""
        settled = frozenset(room_id for room_id, state in states.items() if keep_policy.keeps(state))
        uncertain = frozenset(room_id for room_id, state in states.items() if state in ("begun", "uncertain"))
        lines = plan.room_lines(file) if uncertain else ()
        planned = map(PlannedLine.read, lines)
        return cls(
            settled=settled,
            uncertain=tuple(one for one in planned if one.room_id in uncertain),
            excluded=settled | uncertain,
        )


async def read_back(
    client: RoomsClient,
    rooms: tuple[PlannedLine, ...],
    conflicts: Conflicts,
    recorder: Recorder,
    signal: StopSignal,
    *,
    concurrency: int,
) -> tuple[list[Outcome], list[PlannedLine]]:
    """Read uncertain rooms back. Return the outcomes, and the rooms whose update must be sent.

    If the run is stopped before all rooms have been read, the unread rooms are in neither list.
    """
    outcomes: list[Outcome] = []
    to_send: list[PlannedLine] = []
    left = iter(rooms)

    async def work() -> None:
        for planned in left:
            if signal.reason is not None:
                return
            outcome = await _read_one(client, planned, conflicts, recorder, signal)
            if outcome is None:
                to_send.append(planned)
            else:
                outcomes.append(outcome)

    async with asyncio.TaskGroup() as group:
        for _ in range(min(concurrency, len(rooms))):
            group.create_task(work())
    return outcomes, to_send


async def _read_one(
    client: RoomsClient, planned: PlannedLine, conflicts: Conflicts, recorder: Recorder, signal: StopSignal
) -> Outcome | None:
    """Read a room back. Return its outcome, or None if its update must be sent."""
    room_id, name = planned.room_id, planned.unique_name
    try:
        room = await client.rooms.retrieve(room_id)
    except NotFoundError as error:
        return recorder.end(room_id, name, "failed", error=error)
    except (APIError, ClientStateError) as error:
        if isinstance(error, ENDS_A_RUN):
            signal.stop(error)
        # This outcome is not recorded, so the room stays `begun` or `uncertain` in the journal.
        return Outcome(room_id=room_id, unique_name=name, status="uncertain", error=str(error), failure=error)
    return conflicts.compare(PLANNED.read(planned.line), room)
