"""What earlier runs left: rooms that have their outcome keep it, and those in flight when a run ended are read back.

A room that was read back and has the wanted values is done, one that was modified by someone else is a conflict, and
any other is sent as if it had never been. One that can't be read stays as it is: the next resume reads it back.
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
from ._ledger import Ledger
from ._outcomes import Outcome, StopSignal
from ._plan import Plan
from ._plan_records import PLANNED, PlannedUpdate

__all__ = ["Earlier", "Kept", "read_back"]


@attrs.frozen(kw_only=True)
class Kept:
    """Which outcomes of earlier runs are kept."""

    retry_failed: bool = False
    force: bool = False

    def keeps(self, state: RoomState) -> bool:
        """Whether a room with this outcome is passed over."""
        if state == "failed":
            return not self.retry_failed
        if state == "conflict":
            return not self.force
        return state == "updated"


@attrs.frozen(kw_only=True)
class Earlier:
    """The rooms of the plan that earlier runs have begun."""

    settled: frozenset[str]
    """They keep their outcome."""
    uncertain: tuple[PlannedUpdate, ...]
    """They were in flight when a run ended, or their outcome is uncertain."""
    passed_over: frozenset[str]
    """All of these."""

    @classmethod
    def read(cls, states: Mapping[str, RoomState], kept: Kept, plan: Plan, file: BinaryIO) -> Self:
        """Sort the rooms by their states, and read those from the plan whose outcome is uncertain."""
        settled = frozenset(room_id for room_id, state in states.items() if kept.keeps(state))
        uncertain = frozenset(room_id for room_id, state in states.items() if state in ("begun", "uncertain"))
        lines = plan.room_lines(file) if uncertain else ()
        planned = (PLANNED.read(line) for line in lines)
        return cls(
            settled=settled,
            uncertain=tuple(one for one in planned if one.room_id in uncertain),
            passed_over=settled | uncertain,
        )


async def read_back(
    client: RoomsClient,
    rooms: tuple[PlannedUpdate, ...],
    conflicts: Conflicts,
    ledger: Ledger,
    signal: StopSignal,
    *,
    concurrency: int,
) -> tuple[list[Outcome], list[PlannedUpdate]]:
    """Read rooms of uncertain outcome; return the outcomes that this settles, and the rooms that have to be sent."""
    outcomes: list[Outcome] = []
    again: list[PlannedUpdate] = []
    left = iter(rooms)

    async def work() -> None:
        for planned in left:
            if signal.why is not None:
                return
            outcome = await _read_one(client, planned, conflicts, ledger, signal)
            if outcome is None:
                again.append(planned)
            else:
                outcomes.append(outcome)

    async with asyncio.TaskGroup() as group:
        for _ in range(min(concurrency, len(rooms))):
            group.create_task(work())
    return outcomes, again


async def _read_one(
    client: RoomsClient, planned: PlannedUpdate, conflicts: Conflicts, ledger: Ledger, signal: StopSignal
) -> Outcome | None:
    """Find out what became of a room; None if it has to be sent."""
    room_id, name = planned.room_id, planned.unique_name
    try:
        room = await client.rooms.retrieve(room_id)
    except NotFoundError as error:
        return ledger.end(room_id, name, "failed", error=error)
    except (APIError, ClientStateError) as error:
        if isinstance(error, ENDS_A_RUN):
            signal.stop(error)
        # The journal says what it said before, `begun` or `uncertain`.
        return Outcome(room_id=room_id, unique_name=name, status="uncertain", error=str(error), failure=error)
    return conflicts.compare(planned, room)
