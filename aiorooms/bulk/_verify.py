"""Verify an applied plan: read the account again, and compare the rooms with the plan."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, closing

import attrs

from ..client import RoomsClient
from ..models import Room
from ..models._fields import Values, differing
from ._files import os_errors_as
from ._index import ChangedLineError
from ._lookup import plan_index
from ._plan import Plan, replaced_plan, unreadable_plan
from ._plan_records import PLANNED, PlannedUpdate
from ._recheck import Rechecker, find_room

__all__ = ["Difference", "verify"]


@attrs.frozen(kw_only=True)
class Difference:
    """A room of the plan that doesn't have the planned values."""

    room_id: str
    unique_name: str | None
    """The room's name when the plan was made."""
    wanted: Values
    """The fields that differ, with their planned values."""
    found: Values | None
    """The same fields, with the current values of the room; None if the room no longer exists."""


async def verify(
    client: RoomsClient, plan: Plan, *, on_room: Callable[[], None] | None = None
) -> AsyncGenerator[Difference]:
    """Read all rooms of the account, 250 per page, and yield a `Difference` for each planned room that differs.

    A planned room that is no longer in the account differs too. A room that the list lacks, or whose values in the list
    can't be read, is read with a GET. `on_room` is called after each room of the list is read. Raises
    `PlanFileError` if the plan was made for another server or was modified since `Plan.open`, and `APIError` if the
    account can't be read.
    """
    plan.check_server(client)
    recheck = Rechecker(client)
    # The file stays open, so replacing it has no effect. If the task is cancelled while the thread builds the index,
    # the file is closed, and the next read raises an error that ends the thread.
    with closing(plan.open_file()) as file:
        index = await asyncio.to_thread(plan_index, plan, file)
        with os_errors_as(unreadable_plan, plan.path):
            try:
                async with aclosing(client.rooms.list()) as rooms:
                    async for room in rooms:
                        if on_room is not None:
                            on_room()
                        if (line := index.find_once(room.id.lower())) is None:
                            continue
                        planned = PLANNED.read(line)
                        if not differing(room, planned.after):
                            continue
                        if (difference := _difference(planned, await recheck(room))) is not None:
                            yield difference
                for planned in map(PLANNED.read, index.unmatched()):
                    found = await find_room(client, planned.room_id)
                    if (difference := _difference(planned, found)) is not None:
                        yield difference
            except ChangedLineError:
                raise replaced_plan(plan.path) from None


def _difference(planned: PlannedUpdate, room: Room | None) -> Difference | None:
    wanted = planned.after if room is None else differing(room, planned.after)
    if not wanted:
        return None
    found = None if room is None else {name: getattr(room, name) for name in wanted}
    return Difference(room_id=planned.room_id, unique_name=planned.unique_name, wanted=wanted, found=found)
