"""The way back: a plan, made from a journal, that gives rooms the values which they had before.

The account is listed once. A room that has the wanted values and was not modified since goes into the plan. One that
someone else modified since is a conflict, and stays as it is. One that has the values from before needs nothing, which
may also be so with a room of uncertain outcome.
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
    """What a rollback plan comes to."""

    plan: PlanSummary
    conflicts: Sequence[str]
    """A line for each room that was modified by someone else since, or is gone; they are not in the plan."""


@attrs.define
class _Touched:
    """What the journal says of a room that was changed, or may have been."""

    before: Values
    after: Values
    updated_at: datetime | None = None
    """When the change was made; None if its outcome is not known."""
    failed: bool = False
    """It was not carried out, as far as was seen; an attempt that timed out may have been later."""


async def plan_rollback(client: RoomsClient, journal: Journal, path: str | Path) -> Rollback:
    """Write a plan that takes back what the journal's runs changed. It can be read first, and is applied as any other.

    Raises `JournalError`, `PlanFileError`, or what listing the account raises.
    """
    if client.base_url != journal.base_url:
        where = f"was written for {journal.base_url}, not for {client.base_url}"
        raise JournalError(f"the journal {quoted_path(journal.path)} {where}", reason="other_server")
    touched = await asyncio.to_thread(_touched, journal)
    conflicts: list[str] = []
    unchanged = 0
    with new_plan(path, client.base_url, f"rollback of {journal.path.name}") as plan:
        async for room in client.rooms.list():
            if room.id is None or (entry := touched.pop(room.id, None)) is None:
                continue
            if not differing(room, entry.before):
                unchanged += 1
            elif differing(room, entry.after) or entry.updated_at not in (None, room.updated_at):
                if not entry.failed:
                    conflicts.append(f"room {room.id} was modified by someone else since it was updated")
            elif stuck := [name for name, value in entry.before.items() if not _can_be_set(name, value)]:
                conflicts.append(
                    f"room {room.id} had no {' and no '.join(stuck)} before, which the API can't take away"
                )
            elif problems := _problems(entry.before, client.webhook_url_policy):
                conflicts.append(f"room {room.id} had values before that can't be sent: {problems}")
            else:
                plan.add(_back(room, entry))
        conflicts += [f"room {room_id} is not in the account any more" for room_id in touched]
        return Rollback(plan=plan.finish(unchanged), conflicts=conflicts)


def _touched(journal: Journal) -> dict[str, _Touched]:
    touched: dict[str, _Touched] = {}
    for record in journal.entries():
        if isinstance(record, Begin):
            touched.setdefault(record.begin, _Touched(record.before, record.after))
        elif isinstance(record, End) and (entry := touched.get(record.end)) is not None:
            entry.failed = record.status == "failed"
            if record.status == "skipped":
                del touched[record.end]
            elif record.updated_at is not None:
                entry.updated_at = record.updated_at
    return touched


def _can_be_set(name: str, value: object) -> bool:
    """Whether a field can be given back what was in it."""
    return FIELDS[name].nullable or value not in (None, "")


def _problems(before: Values, policy: WebhookUrlPolicy) -> str:
    """Say why the client would not send these values: others may have set what it doesn't."""
    try:
        RoomUpdate.from_dict({name: _sendable(value) for name, value in before.items()}, webhook_url_policy=policy)
    except InvalidRequestError as error:
        return str(error)
    return ""


def _back(room: Room, entry: _Touched) -> PlannedUpdate:
    return PlannedUpdate(
        room_id=room.id or "",
        unique_name=room.unique_name,
        updated_at=room.updated_at,
        before=entry.after,
        after={name: _sendable(value) for name, value in entry.before.items()},
    )


def _sendable(value: str | int | bool | None) -> str | int | bool | None:
    # The API writes "no URL" as an empty text, which can't be sent.
    return None if value == "" else value
