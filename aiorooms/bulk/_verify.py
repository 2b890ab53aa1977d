"""After an apply: the account is read again, and compared with the plan."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

import attrs

from ..client import RoomsClient
from ._index import opened_index
from ._plan import Plan
from ._plan_records import Values, differing, read_planned

__all__ = ["Difference", "verify"]


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
    async with opened_index(plan) as index, aclosing(client.rooms.list()) as rooms:
        async for room in rooms:
            if room.id is None or (line := index.take(room.id)) is None:
                continue
            planned = read_planned(line)
            if wanted := differing(room, planned.after):
                found = {name: getattr(room, name) for name in wanted}
                yield Difference(room_id=room.id, unique_name=planned.unique_name, wanted=wanted, found=found)
        for line in index.left():
            planned = read_planned(line)
            yield Difference(room_id=planned.room_id, unique_name=planned.unique_name, wanted=planned.after, found=None)
