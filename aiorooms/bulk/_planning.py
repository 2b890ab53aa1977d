"""Make a plan: read all rooms of the account, and write a plan file with the rooms that must change."""

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Final, Protocol

import attrs

from .._text import quoted, timestamp
from .._webhook_url import same_url
from ..client import RoomsClient
from ..errors import BulkInputError, InputProblem
from ..models import Room, RoomUpdate, read_room_ref
from ..models._fields import differing, other_url
from ._new_webhooks import NewWebhooks, ProbeUrls
from ._plan_records import PlannedUpdate
from ._plan_writer import PlanSummary, new_plan
from ._problems import Problems
from ._recheck import Rechecker

__all__ = ["Change", "Wanted", "make_plan", "plan_room"]


@attrs.frozen
class Change:
    """The wanted values of a room."""

    update: RoomUpdate
    line: int | None = None
    """The line number in the source, shown in problems; None if the source has no lines."""
    updated_at: datetime | None = attrs.field(default=None, kw_only=True)
    """The room's `updated_at` when the source was exported; None if the source does not contain it."""


class Wanted(Protocol):
    """The input of `make_plan`: `Rows`, `Selection`, or any other class with these members."""

    @property
    def source(self) -> str:
        """The name of the input, recorded in the plan and shown in problems."""
        ...

    def change_of(self, room: Room) -> Change | None:
        """Return the wanted values of a room; None to leave the room unchanged.

        Raises `BulkInputError` if a wanted value is invalid.
        """
        ...

    def not_met(self) -> Iterator[InputProblem]:
        """Yield a problem for each wanted room that is not in the account. Called after the last `change_of`."""
        ...


async def make_plan(
    client: RoomsClient,
    wanted: Wanted,
    path: str | Path,
    *,
    strict: bool = False,
    probe: ProbeUrls | None = None,
    on_room: Callable[[], None] | None = None,
) -> PlanSummary:
    """Read all rooms of the account, 250 per page, and write a plan file with the rooms that must change.

    The file is written atomically. `on_room` is called after each room is read. The summary counts the rooms that were
    modified after `wanted` was exported. With `strict`, each of them is a problem. A room whose values can't be read
    in the list is read again with a GET. `probe` is a function that probes the new webhook URLs before the file is
    written, such as `webhook_config.probe_many`. A URL that fails is a problem, which names the rooms.

    Raises `BulkInputError`, with the first 1,000 problems, if a change is invalid, a wanted room is not in the account,
    or the present value of a field that changes can't be read. Raises `PlanFileError` if the file can't be written, and
    `APIError` if the account can't be read.
    """
    unchanged = outdated = 0
    outdated_rooms: list[str] = []
    problems = Problems(wanted.source)
    recheck = Rechecker(client)
    new_webhooks = NewWebhooks()
    async with new_plan(path, client.base_url, wanted.source) as plan:
        async for listed in client.rooms.list():
            if on_room is not None:
                on_room()
            if (room := await recheck(listed)) is None:
                continue
            try:
                change = wanted.change_of(room)
            except BulkInputError as error:
                problems.add(*error.problems)
                continue
            if change is None:
                continue
            if change.updated_at not in (None, room.updated_at) and room.updated_at is not None:
                outdated += 1
                if len(outdated_rooms) < _MAX_EXAMPLES:
                    outdated_rooms.append(str(room.id))
                if strict:
                    text = f"room {room.id} was modified at {timestamp(room.updated_at)}, after the file was exported"
                    advice = f"{text}; export the rooms again"
                    problems.add(InputProblem(wanted.source, change.line, None, advice, code="room_modified"))
            planned = plan_room(room, change.update)
            if planned is None:
                unchanged += 1
            elif problem := _problem(room, planned, wanted.source, change.line):
                problems.add(problem)
            else:
                plan.add(planned)
                if probe is not None:
                    new_webhooks.add(room, planned.after)
        for problem in wanted.not_met():  # added one by one, because a list of all would need too much memory
            problems.add(problem)
        problems.raise_if_any()
        if probe is not None:
            await new_webhooks.check(probe, problems)
            problems.raise_if_any()
        return attrs.evolve(plan.finish(unchanged), outdated=outdated, outdated_rooms=outdated_rooms)


_MAX_EXAMPLES: Final = 3


def plan_room(room: Room, update: RoomUpdate) -> PlannedUpdate | None:
    """Return the planned update of a room, with the fields that must change; None if nothing changes."""
    after = differing(room, update.to_dict())
    if not after:
        return None
    return PlannedUpdate(
        room_id=room.id,
        unique_name=room.unique_name,
        updated_at=room.updated_at,
        before={name: getattr(room, name) for name in after},
        after=after,
        pair={} if (other := other_url(after)) is None else {other: getattr(room, other)},
    )


def _problem(room: Room, planned: PlannedUpdate, source: str, line: int | None) -> InputProblem | None:
    """Return a problem if a planned update is invalid.

    That is so if the room's id is invalid, if an old value can't be read, or if its webhook URL and failover URL would
    be the same. If the change sets only one of the two URLs, the new URL is compared with the current value of the
    other one.
    """
    after = planned.after
    if wrong_id := read_room_ref(room)[1]:
        text = f"a room of the account has an invalid id: {wrong_id[0].message}"
        return InputProblem(source, line, None, text, code="not_a_uuid", value=room.id)
    if unreadable := [name for name in (*planned.before, *planned.pair) if name in room.unreadable]:
        text = f"room {room.id}: the server's answer has no readable {', '.join(unreadable)}; try again later"
        return InputProblem(source, line, unreadable[0], text, code="room_unreadable")
    if other_url(after) is None:
        return None  # if both change, `RoomUpdate` has compared them
    url = after.get("webhook_event_url", room.webhook_event_url)
    failover = after.get("webhook_event_failover_url", room.webhook_event_failover_url)
    if not isinstance(url, str) or not isinstance(failover, str) or not url or not same_url(url, failover):
        return None
    changed = "webhook_event_url" if "webhook_event_url" in after else "webhook_event_failover_url"
    text = f"room {room.id} would have {quoted(url)} as webhook URL and as failover URL; set one of them to another URL"
    return InputProblem(source, line, changed, text, code="same_url")
