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

The lines of a room may be missing in the journal, because a line is damaged or the end of the file was lost
(`_standing`). Such a room has no state, or an old one. `find_applied` looks for these rooms among those that changed
since the plan was made:

- A room that is `failed` or `conflict`, but doubtful. If it has the wanted values, its outcome is `updated`. Otherwise
  it keeps its outcome.
- With `force`, any room whose update would be sent. If it has the wanted values, its outcome is `updated`. Otherwise
  the update is sent. (Without `force`, `_conflicts` compares these rooms anyway.)

A journal may also contain rooms that are not in the plan, because lines of another journal were added to it. These
rooms are ignored, and they are not counted. Otherwise a run could take its plan for finished.

If the server answers that the room does not exist, the outcome is `failed`. If the GET fails for another reason, the
room's state in the journal does not change, so the next `resume` reads the room back again.
"""

import asyncio
from collections.abc import Collection, Iterable
from typing import Self

import attrs

from ..client import RoomsClient
from ..errors import APIError, ClientStateError, NotFoundError
from ..models import Room
from ..models._fields import differing, unreadable_fields
from ..resources._statuses import ends_run
from ._checked_plan import CheckedPlan
from ._conflicts import Conflicts
from ._journal_records import RoomState
from ._lookup import room_id_of
from ._outcomes import Outcome, StopSignal
from ._plan_records import PLANNED, PlannedLine
from ._reading_steps import ReadingSteps
from ._recorder import Recorder
from ._standing import Standing

__all__ = ["EarlierRuns", "KeepPolicy", "find_applied", "read_back", "unplanned_rooms"]


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
    doubtful: frozenset[str]
    """The ids of settled rooms whose later lines may be hidden by a damaged line."""
    excluded: frozenset[str]
    """The ids of all settled and uncertain rooms, which `rooms_to_send` skips."""
    unplanned: frozenset[str]
    """The ids of rooms in the journal that are not in the plan. None of the other attributes contains them."""

    @classmethod
    def read(cls, before: Standing, keep_policy: KeepPolicy, plan: CheckedPlan) -> Self:
        """Classify the rooms by their state, and read the updates of uncertain rooms."""
        unplanned = unplanned_rooms(before.states, plan.lines())
        settled = frozenset(room_id for room_id, state in before.states.items() if keep_policy.keeps(state)) - unplanned
        uncertain = {room_id for room_id, state in before.states.items() if state in ("begun", "uncertain")} - unplanned
        return cls(
            settled=settled,
            uncertain=_lines_of(uncertain, plan),
            doubtful=before.doubtful & settled,
            excluded=settled | uncertain,
            unplanned=unplanned,
        )


def unplanned_rooms(room_ids: Iterable[str], lines: Iterable[bytes]) -> frozenset[str]:
    """Return the ids for which the lines of a plan contain no room."""
    left = set(room_ids)
    for line in lines:
        if not left:
            break
        left.discard(room_id_of(line))
    return frozenset(left)


def _lines_of(room_ids: Collection[str], plan: CheckedPlan) -> tuple[PlannedLine, ...]:
    planned = map(PlannedLine.read, plan.lines() if room_ids else ())
    return tuple(one for one in planned if one.room_id in room_ids)


async def find_applied(
    earlier: EarlierRuns,
    plan: CheckedPlan,
    conflicts: Conflicts,
    recorder: Recorder,
    *,
    force: bool,
) -> list[Outcome]:
    """Find the rooms that already have the wanted values, although no line of the journal says so.

    Returns the outcomes of these rooms, which are all `updated`. Raises `APIError` if the account can't be listed.
    """
    listed: dict[str, Room] = {}
    if not earlier.doubtful and (not force or len(earlier.excluded) == len(plan)):
        return []
    async for room in conflicts.changed_rooms():
        room_id = room.id or ""
        if room_id in earlier.doubtful or (force and room_id not in earlier.excluded):
            listed[room_id] = room
    rooms = await asyncio.to_thread(_lines_of, listed, plan)
    return [
        recorder.end(
            planned.room_id, planned.unique_name, "updated", found=True, updated_at=listed[planned.room_id].updated_at
        )
        for planned in rooms
        if not differing(listed[planned.room_id], planned.after)
    ]


async def read_back(
    client: RoomsClient,
    rooms: tuple[PlannedLine, ...],
    conflicts: Conflicts,
    recorder: Recorder,
    signal: StopSignal,
    reading: ReadingSteps,
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
            read = await reading.run(_read_one(client, planned, conflicts, recorder, signal))
            if isinstance(read, PlannedLine):
                to_send.append(read)
            elif read is not None:
                outcomes.append(read)

    async with asyncio.TaskGroup() as group:
        for _ in range(min(concurrency, len(rooms))):
            group.create_task(work())
    return outcomes, to_send


async def _read_one(
    client: RoomsClient, planned: PlannedLine, conflicts: Conflicts, recorder: Recorder, signal: StopSignal
) -> Outcome | PlannedLine:
    """Read a room back. Return its outcome, or `planned` if its update must be sent."""
    room_id, name = planned.room_id, planned.unique_name
    try:
        room = await client.rooms.retrieve(room_id)
    except NotFoundError as error:
        return recorder.end(room_id, name, "failed", error=error)
    except (APIError, ClientStateError) as error:
        if ends_run(error):
            signal.stop(error)
        # This outcome is not recorded, so the room stays `begun` or `uncertain` in the journal.
        return Outcome(room_id=room_id, unique_name=name, status="uncertain", error=str(error), failure=error)
    update = PLANNED.read(planned.line)
    if unreadable := unreadable_fields(room, update.after, update.pair):
        text = f"room {room_id}: the answer to the read-back has no readable {', '.join(unreadable)}"
        return Outcome(room_id=room_id, unique_name=name, status="uncertain", error=text)  # not recorded, as above
    return conflicts.compare(update, room) or planned
