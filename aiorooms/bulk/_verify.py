"""After an apply: the account is read again, and compared with the plan."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, closing
from typing import BinaryIO

import attrs

from ..client import RoomsClient
from ..models._fields import Values, differing
from ._index import LineIndex
from ._plan import Plan
from ._plan_records import PLANNED

__all__ = ["Difference", "plan_index", "verify"]


@attrs.frozen(kw_only=True)
class Difference:
    """A planned room that is not as the plan wants it."""

    room_id: str
    unique_name: str | None
    """Its name when the plan was made."""
    wanted: Values
    """The fields that differ, as the plan wants them."""
    found: Values | None
    """The same fields as they are; None if the room is not in the account any more."""


async def verify(client: RoomsClient, plan: Plan) -> AsyncGenerator[Difference]:
    """Read all rooms of the account, 250 at a time, and give those that differ from the plan.

    Raises `PlanFileError` if the plan is of another server than the client's, or what listing the account raises.
    """
    plan.check_server(client)
    # The file is held open, so another one in its place does no harm. If this is cancelled while the index is made, the
    # thread goes on until it meets the closed file.
    with closing(plan.open_file()) as file:
        index = await asyncio.to_thread(plan_index, plan, file)
        async with aclosing(client.rooms.list()) as rooms:
            async for room in rooms:
                if room.id is None or (line := index.take(room.id.lower())) is None:
                    continue
                planned = PLANNED.read(line)
                if wanted := differing(room, planned.after):
                    found = {name: getattr(room, name) for name in wanted}
                    yield Difference(room_id=room.id, unique_name=planned.unique_name, wanted=wanted, found=found)
        for line in index.left():
            planned = PLANNED.read(line)
            yield Difference(room_id=planned.room_id, unique_name=planned.unique_name, wanted=planned.after, found=None)


def plan_index(plan: Plan, file: BinaryIO) -> LineIndex:
    """Read a plan's index; it takes some seconds for a million rooms. Raises `PlanFileError` if it is another now."""
    index = LineIndex(file)
    lines = plan.room_lines(file)
    try:
        for line in lines:
            index.add(PLANNED.read(line).room_id.lower(), file.tell() - len(line))
    except ValueError:
        for _ in lines:
            pass  # it is another file now, which is said at its end
        raise
    index.sort()
    return index
