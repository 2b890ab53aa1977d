"""Roll back an applied plan: from the journal, make a new plan that restores the previous values.

Each room of the account is compared with the journal. For example, `apply` changed a room's `max_participants` from 10
to 20, and the server then reported an `updated_at` of 12:00. The first of these cases that matches decides:

- `max_participants` is 20, and `updated_at` is still 12:00. The new plan sets `max_participants` to 10.
- `max_participants` is 10, because someone else has changed it back. The room needs no change.
- `max_participants` has another value, or `updated_at` has changed. Someone else modified the room, so it is a conflict
  and is not in the new plan.
- The room no longer exists, or its previous value can't be sent. Such a room is a conflict too.

An update that is `uncertain` or `failed`, or was in flight when the run ended, was not confirmed. For such an update,
the journal has no `updated_at` from after the update, so only the values are compared. A room whose update failed is
ignored if the room has neither the old values nor the new ones.
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import attrs

from .._webhook_url import WebhookUrlPolicy
from ..client import RoomsClient
from ..errors import InvalidRequestError, JournalError
from ..models import Room, RoomUpdate
from ..models._fields import FIELDS, Values, differing
from ._files import quoted_path
from ._journal import Journal
from ._journal_records import Begin, End
from ._plan_records import PlannedUpdate
from ._plan_writer import PlanSummary, new_plan

__all__ = ["Rollback", "plan_rollback"]


@attrs.frozen(kw_only=True)
class Rollback:
    """The result of `plan_rollback`."""

    plan: PlanSummary
    conflicts: Sequence[str]
    """For each room that can't be rolled back, a line with the reason. These rooms are not in the plan."""


@attrs.define
class _JournaledUpdate:
    """An update that was sent, read from the journal."""

    before: Values
    after: Values
    updated_at: datetime | None = None
    """The room's `updated_at` after the update; None if the update was not confirmed."""
    failed: bool = False
    """Whether the update failed. Even then, the server may have applied a timed-out attempt later."""


async def plan_rollback(client: RoomsClient, journal: Journal, path: str | Path) -> Rollback:
    """Write a plan that undoes the changes recorded in a journal. Apply it like any other plan.

    Raises `JournalError` if the journal is damaged or was written for another server, `PlanFileError` if the plan can't
    be written, and `APIError` if the account can't be listed.
    """
    if client.base_url != journal.base_url:
        where = f"was written for {journal.base_url}, not for {client.base_url}"
        text = f"the journal {quoted_path(journal.path)} {where}"
        raise JournalError(text, hint="use a client for the server of the journal", reason="other_server")
    updates = await asyncio.to_thread(_updates_of, journal)
    conflicts: list[str] = []
    unchanged = 0
    with new_plan(path, client.base_url, f"rollback of {journal.path.name}") as plan:
        async for room in client.rooms.list():
            if room.id is None or (entry := updates.pop(room.id, None)) is None:
                continue
            if not differing(room, entry.before):
                unchanged += 1
            elif differing(room, entry.after) or entry.updated_at not in (None, room.updated_at):
                if not entry.failed:
                    conflicts.append(f"room {room.id} was modified by someone else after the update")
            elif not_clearable := [name for name, value in entry.before.items() if not _can_be_restored(name, value)]:
                conflicts.append(
                    f"room {room.id}: the API can't clear {' or '.join(not_clearable)}, which had no value before"
                )
            elif problems := _problems(entry.before, client.webhook_url_policy):
                conflicts.append(f"the previous values of room {room.id} can't be sent: {problems}")
            else:
                plan.add(_reverse_update(room, entry))
        conflicts += [f"room {room_id} is no longer in the account" for room_id in updates]
        return Rollback(plan=plan.finish(unchanged), conflicts=conflicts)


def _updates_of(journal: Journal) -> dict[str, _JournaledUpdate]:
    updates: dict[str, _JournaledUpdate] = {}
    for record in journal.entries():
        if isinstance(record, Begin):
            updates.setdefault(record.begin, _JournaledUpdate(record.before, record.after))
        elif isinstance(record, End) and (entry := updates.get(record.end)) is not None:
            entry.failed = record.status == "failed"
            if record.status == "skipped":
                del updates[record.end]
            elif record.updated_at is not None:
                entry.updated_at = record.updated_at
    return updates


def _can_be_restored(name: str, value: object) -> bool:
    """Return whether the API accepts the previous value of a field. Some fields can't be cleared."""
    return FIELDS[name].nullable or value not in (None, "")


def _problems(before: Values, policy: WebhookUrlPolicy) -> str:
    """Return why the client rejects the previous values, for example a forbidden URL; "" if it accepts them."""
    try:
        RoomUpdate.from_dict({name: _sendable(value) for name, value in before.items()}, webhook_url_policy=policy)
    except InvalidRequestError as error:
        return str(error)
    return ""


def _reverse_update(room: Room, entry: _JournaledUpdate) -> PlannedUpdate:
    return PlannedUpdate(
        room_id=room.id or "",
        unique_name=room.unique_name,
        updated_at=room.updated_at,
        before=entry.after,
        after={name: _sendable(value) for name, value in entry.before.items()},
    )


def _sendable(value: str | int | bool | None) -> str | int | bool | None:
    # The API returns "no URL" as an empty string, but rejects an empty string in a request.
    return None if value == "" else value
