"""Making a plan: the account is read, and what has to change is written into a plan file."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import attrs

from .._text import quoted
from .._webhook_url import same_url
from ..client import RoomsClient
from ..errors import BulkInputError, InputProblem
from ..models import Room, RoomUpdate, read_room_ref
from ..models._fields import Values, differing
from ._plan_records import PlannedUpdate
from ._plan_writer import PlanSummary, new_plan
from ._problems import Problems

__all__ = ["Change", "Wanted", "make_plan", "plan_room"]


@attrs.frozen
class Change:
    """What is wanted of a room, and in which line of the source that stands."""

    update: RoomUpdate
    line: int | None = None


class Wanted(Protocol):
    """What a plan is made from: the rows of a file, or a selection from the account."""

    @property
    def source(self) -> str:
        """What it is called in the plan and in problems."""
        ...

    def change_of(self, room: Room) -> Change | None:
        """Say what is wanted of a room of the account; None if nothing is."""
        ...

    def not_met(self) -> Iterator[InputProblem]:
        """Say what was wanted of rooms that the account doesn't have."""
        ...


async def make_plan(
    client: RoomsClient, wanted: Wanted, path: str | Path, *, on_room: Callable[[], None] | None = None
) -> PlanSummary:
    """Read all rooms of the account, 250 at a time, and write what has to change into a plan file.

    The file is there whole or not at all. `on_room` is called for each room that was read. Raises `BulkInputError`
    with all problems if something can't be planned, and `PlanFileError` if the file can't be written.
    """
    unchanged = 0
    problems = Problems(wanted.source)
    with new_plan(path, client.base_url, wanted.source) as plan:
        async for room in client.rooms.list():
            if on_room is not None:
                on_room()
            try:
                change = wanted.change_of(room)
            except BulkInputError as error:
                problems.add(*error.problems)
                continue
            if change is None:
                continue
            planned = plan_room(room, change.update)
            if planned is None:
                unchanged += 1
            elif problem := _problem(room, planned.after, wanted.source, change.line):
                problems.add(problem)
            else:
                plan.add(planned)
        for problem in wanted.not_met():  # there may be a million
            problems.add(problem)
        problems.raise_if_any()
        return plan.finish(unchanged)


def plan_room(room: Room, update: RoomUpdate) -> PlannedUpdate | None:
    """Return what an update really changes in a room; None if nothing."""
    after = differing(room, update.to_dict())
    if not after or room.id is None:
        return None
    return PlannedUpdate(
        room_id=room.id,
        unique_name=room.unique_name,
        updated_at=room.updated_at,
        before={name: getattr(room, name) for name in after},
        after=after,
    )


def _problem(room: Room, after: Values, source: str, line: int | None) -> InputProblem | None:
    """Check that a room can be named, and that it doesn't get one URL for both purposes.

    The change may name only one of the two URLs.
    """
    if wrong_id := read_room_ref(room)[1]:
        text = f"the account has a room whose id {wrong_id[0].message}"
        return InputProblem(source, line, None, text, code="not_a_uuid", value=room.id)
    url = after.get("webhook_event_url", room.webhook_event_url)
    failover = after.get("webhook_event_failover_url", room.webhook_event_failover_url)
    if not isinstance(url, str) or not isinstance(failover, str) or not url or not same_url(url, failover):
        return None
    changed = "webhook_event_url" if "webhook_event_url" in after else "webhook_event_failover_url"
    if changed not in after:
        return None
    text = f"room {room.id} would have {quoted(url)} as webhook URL and as failover URL; change the other one too"
    return InputProblem(source, line, changed, text, code="same_url")
