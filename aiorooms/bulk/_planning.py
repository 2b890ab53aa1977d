"""Making a plan: the account is read, and what has to change is written into a plan file."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Protocol

import attrs

from .._text import quoted
from .._webhook_url import same_url
from ..client import RoomsClient
from ..errors import BulkInputError, InputProblem
from ..models import Room, RoomUpdate, read_room_ref
from ._plan_records import PlannedUpdate, PlanSummary, Values, differing
from ._plan_writer import new_plan

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


_MOST_PROBLEMS: Final = 1000


async def make_plan(
    client: RoomsClient, wanted: Wanted, path: str | Path, *, on_room: Callable[[], None] | None = None
) -> PlanSummary:
    """Read all rooms of the account, 250 at a time, and write what has to change into a plan file.

    The file is there whole or not at all. `on_room` is called for each room that was read. Raises `BulkInputError`
    with all problems if something can't be planned, and `PlanFileError` if the file can't be written.
    """
    unchanged = 0
    problems = _Problems(wanted.source)
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
        for problem in wanted.not_met():
            problems.add(problem)
        problems.raise_if_any()
        return plan.finish(unchanged)


class _Problems:
    """The first of the problems, and how many there are."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._shown: list[InputProblem] = []
        self._more = 0

    def add(self, *problems: InputProblem) -> None:
        for problem in problems:
            if len(self._shown) < _MOST_PROBLEMS:
                self._shown.append(problem)
            else:
                self._more += 1

    def raise_if_any(self) -> None:
        if self._more:
            text = f"{self._more:,} more problems are not shown"
            self._shown.append(InputProblem(self._source, None, None, text))
        if self._shown:
            raise BulkInputError(self._shown)


def plan_room(room: Room, update: RoomUpdate) -> PlannedUpdate | None:
    """Give what an update really changes in a room; None if nothing."""
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
    """See that a room can be named, and that it doesn't end up with one URL for both purposes.

    Of the two URLs the change may name but one.
    """
    if wrong_id := read_room_ref(room)[1]:
        return InputProblem(source, line, None, f"the account has a room whose id {wrong_id[0].message}")
    url = after.get("webhook_event_url", room.webhook_event_url)
    failover = after.get("webhook_event_failover_url", room.webhook_event_failover_url)
    if not isinstance(url, str) or not isinstance(failover, str) or not url or not same_url(url, failover):
        return None
    changed = "webhook_event_url" if "webhook_event_url" in after else "webhook_event_failover_url"
    if changed not in after:
        return None
    return InputProblem(
        source,
        line,
        changed,
        f"room {room.id} would have {quoted(url)} as webhook URL and as failover URL; change the other one too",
    )
