"""Roll back an applied plan: from the journal, make a new plan that restores the previous values.

Each room of the account is compared with the journal. For example, `apply` changed a room's `max_participants` from 10
to 20, and the server then reported an `updated_at` of 12:00. The first of these cases that matches decides:

- `max_participants` is 10, because someone else has changed it back. The room needs no change.
- `max_participants` has another value than 10 and 20. Someone else changed it, so the room is a conflict and is not in
  the new plan. If the run changed only one of the two webhook URLs, a change of the other URL is a conflict too.
- The room no longer exists, its value can't be read, or its previous value can't be sent. Such a room is a conflict
  too.
- `max_participants` is 20. The new plan sets it to 10. If `updated_at` is not 12:00 any more, someone else modified
  another field. The room is in the new plan anyway, and is counted in `Rollback.noted`.

With `strict`, a room whose `updated_at` has changed is a conflict, unless it has its old values. The same rule applies
if the plan was in format 1 and set one of the two webhook URLs, because such a journal does not contain the other URL.

A room whose last outcome is `skipped` is rolled back only if an earlier attempt may have been applied: an earlier run
sent its update, or ended while the update was in flight.

An update that is `uncertain` or `failed`, or was in flight when the run ended, was not confirmed. For such an update,
the journal has no `updated_at` from after the update, so only the values are compared. A room whose update failed is
ignored if the room has neither the old values nor the new ones, or if it no longer exists.

If lines of the journal are damaged, `_hidden_updates` finds the updates that they hide.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from itertools import chain
from pathlib import Path
from typing import BinaryIO

import attrs

from .._webhook_url import WebhookUrlPolicy
from ..client import RoomsClient
from ..errors import InvalidRequestError, JournalError
from ..models import Room
from ..models._fields import differing, unreadable_fields
from ._existing_file import open_existing
from ._files import os_errors_as, quoted_path
from ._hidden_updates import HiddenUpdates
from ._journal import Journal, lines_of_file, unreadable
from ._output import check_output
from ._plan_writer import PlanSummary, PlanWriter, new_plan
from ._planning import plan_room
from ._recheck import Rechecker, find_room
from ._restoring import can_be_restored, restoring
from ._sent_updates import SentUpdate, SentUpdates
from ._texts import Texts

__all__ = ["Rollback", "plan_rollback"]


@attrs.frozen(kw_only=True)
class Rollback:
    """The result of `plan_rollback`."""

    plan: PlanSummary
    conflicts: Sequence[str]
    """For each room that can't be rolled back, a line with the reason. These rooms are not in the plan."""
    damaged_lines: Sequence[int] = ()
    """The numbers of the damaged lines of the journal.

    If the plan that was applied is no longer at its path, these lines may hide rooms that are neither in the new plan
    nor in `conflicts`.
    """
    noted: int = 0
    """Number of rooms in the plan that someone else modified after the update, but not in a field that it changed."""


async def plan_rollback(
    client: RoomsClient,
    journal: Journal,
    path: str | Path,
    *,
    strict: bool = False,
    on_room: Callable[[], None] | None = None,
) -> Rollback:
    """Write a plan that undoes the changes recorded in a journal. Apply it like any other plan.

    A room is a conflict, and not in the plan, if someone else changed a field that the run had changed, or the other
    webhook URL if it had changed one of the two. With `strict`, any modification after the update is a conflict. A room
    that the list of rooms lacks, or whose values in the list can't be read, is read with a GET. `on_room` is called
    after each room of the list is read.

    Damaged lines of the journal are skipped, and `Rollback.damaged_lines` names them. Raises `JournalError` if the
    journal can't be read, was written for another server or is at `path`, `PlanFileError` if the plan can't be written,
    and `APIError` if the account can't be read.
    """
    if client.base_url != journal.base_url:
        where = f"was written for {journal.base_url}, not for {client.base_url}"
        text = f"the journal {quoted_path(journal.path)} {where}"
        raise JournalError(text, hint="use a client for the server of the journal", reason="other_server")
    await asyncio.to_thread(check_output, path, journal, "plan")
    with ExitStack() as files:
        # The files stay open, so replacing them has no effect. If the task is cancelled while a thread reads them, they
        # are closed, and the next read raises an error that ends the thread.
        with os_errors_as(unreadable, journal.path):
            file = files.enter_context(closing(open_existing(journal.path)))
        updates = SentUpdates(journal, file)
        hidden = HiddenUpdates(journal, file, updates)
        await asyncio.to_thread(_read, journal, file, updates, hidden)
        await hidden.recover(files)
        return await _write(client, journal, path, updates, hidden, strict=strict, on_room=on_room)


def _read(journal: Journal, file: BinaryIO, updates: SentUpdates, hidden: HiddenUpdates) -> None:
    with os_errors_as(unreadable, journal.path):
        for line in lines_of_file(journal, file):
            hidden.add(line)
            if not updates.add(line):
                hidden.add_end(line)


async def _write(
    client: RoomsClient,
    journal: Journal,
    path: str | Path,
    updates: SentUpdates,
    hidden: HiddenUpdates,
    *,
    strict: bool,
    on_room: Callable[[], None] | None,
) -> Rollback:
    """Compare the account with the updates, and write the plan."""
    recheck = Rechecker(client)
    async with new_plan(path, client.base_url, f"rollback of {journal.path.name}") as plan:
        rollback = _Writer(plan, client.webhook_url_policy, strict=strict)
        async for room in client.rooms.list():
            if on_room is not None:
                on_room()
            if (update := updates.take(room.id) or hidden.take(room.id)) is None:
                rollback.add_conflict(hidden.conflict(room))
            else:
                rollback.add(update, await recheck(room))
        for update in chain(updates.take_rest(), hidden.take_rest()):
            rollback.add(update, await find_room(client, update.room_id))
        for room_id in hidden.unknown():  # `conflict` has removed those that were in the list
            if (found := await find_room(client, room_id)) is not None:
                rollback.add_conflict(hidden.conflict(found))
        return Rollback(
            plan=plan.finish(rollback.unchanged),
            conflicts=rollback.conflicts,
            noted=rollback.noted,
            damaged_lines=hidden.damaged_lines,
        )


class _Writer:
    """Writes the rooms of a rollback to its plan, and collects the conflicts."""

    def __init__(self, plan: PlanWriter, policy: WebhookUrlPolicy, *, strict: bool) -> None:
        self.conflicts = Texts()
        self.unchanged: int = 0
        self.noted: int = 0
        self._plan = plan
        self._policy = policy
        self._strict = strict

    def add_conflict(self, conflict: str | None) -> None:
        """Add a conflict, if there is one."""
        if conflict is not None:
            self.conflicts.append(conflict)

    def add(self, entry: SentUpdate, room: Room | None) -> None:
        """Write the line of a room, if it must be rolled back. `room` is None if it no longer exists."""
        room_id = entry.room_id
        if room is None:
            self.add_conflict(None if entry.failed else f"room {room_id} is no longer in the account")
        elif not (changed := differing(room, entry.before)):
            self.unchanged += 1
        elif unreadable := unreadable_fields(room, entry.before, entry.pair):
            self.add_conflict(f"room {room_id}: the server's answer has no readable {', '.join(unreadable)}")
        elif conflict := entry.conflict(room, strict=self._strict):
            self.add_conflict(None if entry.failed else conflict)
        elif not_clearable := [name for name, value in changed.items() if not can_be_restored(name, value)]:
            names = " or ".join(not_clearable)
            self.add_conflict(f"room {room_id}: the API can't clear {names}, which had no value before")
        else:
            try:
                planned = plan_room(room, restoring(entry.before, self._policy))
            except InvalidRequestError as error:
                self.add_conflict(f"the previous values of room {room_id} can't be sent: {error}")
                return
            assert planned is not None  # some values differ
            self._plan.add(planned)
            self.noted += entry.is_modified(room)
