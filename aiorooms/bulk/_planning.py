"""Make a plan: read all rooms of the account, and write a plan file with the rooms that must change."""

import asyncio
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Final, Protocol

import attrs

from .._aio import finish
from .._text import quoted, timestamp
from .._webhook_url import same_url
from ..client import RoomsClient
from ..errors import BulkInputError, InputProblem
from ..models import Room, RoomUpdate, read_room_ref
from ..models._fields import differing, other_url
from ._new_webhooks import NewWebhooks, ProbeUrls
from ._plan_records import PlannedUpdate
from ._plan_writer import PlanSummary, PlanWriter, new_plan
from ._problems import Problems
from ._recheck import Rechecker
from ._room_names import RoomNames

__all__ = ["Change", "LeftOutError", "Wanted", "make_plan", "plan_room"]


class LeftOutError(Exception):
    """The row of a room has a problem, and was left out when the input was read."""


@attrs.frozen
class Change:
    """The wanted values of a room."""

    update: RoomUpdate
    line: int | None = None
    """The line number in the source, shown in problems; None if the source has no lines."""
    updated_at: datetime | None = attrs.field(default=None, kw_only=True)
    """The room's `updated_at` when the source was exported; None if the source does not contain it."""
    warning: str | None = attrs.field(default=None, kw_only=True)
    """Why the change may not be what was meant, in one line; None if nothing is odd about it."""


class Wanted(Protocol):
    """The input of `make_plan`: `Rows`, `Selection`, or any other class with these members.

    A class that never changes the name of a room may have an attribute `renames`, which is False. Planning then needs
    less memory. A class may also have a method `warnings`, which yields lines about all rooms for the summary.
    The attribute `left_out` is for the rows that `read_rows` left out.
    """

    @property
    def source(self) -> str:
        """The name of the input, recorded in the plan and shown in problems."""
        ...

    def change_of(self, room: Room) -> Change | None:
        """Return the wanted values of a room; None if the input does not concern the room.

        Raises `BulkInputError` if a wanted value is invalid.
        """
        ...

    def not_met(self) -> Iterator[InputProblem]:
        """Yield a problem for each wanted room that is not in the account. Called after the last `change_of`.

        Other problems that only all rooms together show belong here too.
        """
        ...


async def make_plan(
    client: RoomsClient,
    wanted: Wanted,
    path: str | Path,
    *,
    strict: bool = False,
    skip_invalid: bool = False,
    probe: ProbeUrls | None = None,
    on_room: Callable[[], None] | None = None,
) -> PlanSummary:
    """Read all rooms of the account, 250 per page, and write a plan file with the rooms that must change.

    The file is written atomically. `on_room` is called after each room is read. The summary counts the rooms that were
    modified after `wanted` was exported. With `strict`, each of them is a problem. A room whose values can't be read
    in the list is read again with a GET. `probe` is a function that probes the new webhook URLs before the file is
    written, such as `webhook_config.probe_many`. A URL that fails is a problem, which names the rooms.

    Raises `BulkInputError`, with the first 1,000 problems, if a change is invalid, a wanted room is not in the account,
    the present value of a field that changes can't be read, or a room would get a name that another room has or gets.
    With `skip_invalid`, these rooms are left out of the plan, and the summary lists the problems. Raises
    `PlanFileError` if the file can't be written, and `APIError` if the account can't be read.
    """
    making = _Making(wanted, Problems(wanted.source, skip_rows=skip_invalid), strict=strict, probes=probe is not None)
    recheck = Rechecker(client)
    with making.names:
        async with new_plan(path, client.base_url, wanted.source) as plan:
            async for listed in client.rooms.list():
                if on_room is not None:
                    on_room()
                if (room := await recheck(listed)) is not None:
                    making.add(room, plan)
            # A task that is cancelled waits for the thread, which writes to files that are closed afterwards.
            await finish(asyncio.create_task(asyncio.to_thread(making.finish, plan)))
            making.problems.raise_if_any()
            if probe is not None:
                await making.new_webhooks.check(probe, making.problems)
                making.problems.raise_if_any()
            return making.summary(plan)


class _Making:
    """A plan that is being made."""

    def __init__(self, wanted: Wanted, problems: Problems, *, strict: bool, probes: bool) -> None:
        self.problems = problems
        self.names = RoomNames(is_needed=bool(getattr(wanted, "renames", True)))
        self.new_webhooks = NewWebhooks()
        self._wanted = wanted
        self._strict = strict
        self._probes = probes
        self._unchanged = 0
        self._not_concerned = 0
        self._outdated = 0
        self._outdated_rooms: list[str] = []
        self._warnings = 0
        self._first_warnings: list[tuple[int, str]] = []
        """Each with its line in the source, or 0."""

    def add(self, room: Room, plan: PlanWriter) -> None:
        """Plan the change of a room of the account, if there is one."""
        self.names.add_room(room)
        try:
            change = self._wanted.change_of(room)
        except BulkInputError as error:
            self.problems.add_of_row(*error.problems)
            return
        except LeftOutError:
            return  # neither concerned nor not concerned
        if change is None:
            self._not_concerned += 1
            return
        if not self._is_current(room, change):
            return
        planned = plan_room(room, change.update)
        if planned is None:
            self._unchanged += 1
        elif problem := _problem(room, planned, self._wanted.source, change.line):
            self.problems.add_of_row(problem)
        else:
            if change.warning is not None:
                self._add_warning(change.line or 0, change.warning)
            if self._probes:
                self.new_webhooks.add(room, planned.after)
            if "unique_name" in planned.after:
                self.names.add_rename(planned, change.line)
            else:
                plan.add(planned)

    def _add_warning(self, line: int, text: str) -> None:
        self._warnings += 1
        if len(self._first_warnings) < _MAX_WARNINGS:
            self._first_warnings.append((line, text))

    def _is_current(self, room: Room, change: Change) -> bool:
        """Count a room that was modified after the source was exported. Return whether it can be planned."""
        if change.updated_at in (None, room.updated_at) or room.updated_at is None:
            return True
        self._outdated += 1
        if len(self._outdated_rooms) < _MAX_EXAMPLES:
            self._outdated_rooms.append(room.id)
        if self._strict:
            text = f"room {room.id} was modified at {timestamp(room.updated_at)}, after the file was exported"
            advice = f"{text}; export the rooms again"
            self.problems.add_of_row(InputProblem(self._wanted.source, change.line, None, advice, code="room_modified"))
        return not self._strict

    def finish(self, plan: PlanWriter) -> None:
        """Add the problems that only all rooms together show, and the planned updates that change a name."""
        if isinstance(left_out := getattr(self._wanted, "left_out", None), Problems):
            self.problems.add_left_out(left_out)
        for problem in self._wanted.not_met():  # added one by one, because a list of all would need too much memory
            add = self.problems.add if problem.code in _ABOUT_ALL else self.problems.add_of_row
            add(problem)
        warnings: Callable[[], Iterator[str]] = getattr(self._wanted, "warnings", lambda: iter(()))
        for warning in warnings():
            self._add_warning(0, warning)
        for problem in self.names.problems(self._wanted.source):
            self.problems.add_of_row(problem)
        if not self.problems.count:
            for planned in self.names.renames():
                plan.add(planned)

    def summary(self, plan: PlanWriter) -> PlanSummary:
        """Write the totals of the plan, and return them."""
        skipped = self.problems.skipped
        invalid = 0 if skipped is None else skipped.rows
        summary = plan.finish(self._unchanged, not_concerned=self._not_concerned, invalid=invalid)
        return attrs.evolve(
            summary,
            invalid_problems=() if skipped is None else skipped.listed(),
            outdated=self._outdated,
            outdated_rooms=self._outdated_rooms,
            warnings=self._warnings,
            first_warnings=[text for _, text in sorted(self._first_warnings)],
        )


_ABOUT_ALL: Final = ("host_not_found",)
"""The codes of problems that are not about single rooms, so `skip_invalid` can't leave a room out."""

_MAX_WARNINGS: Final = 10

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
