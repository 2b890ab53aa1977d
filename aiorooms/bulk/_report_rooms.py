"""The rooms of a report: what was planned for each of them, and what became of it.

The names and the changes of the rooms come from the plan. If the plan file is not there any more, or is another one,
they come from the `begin` lines of the journal. Then a room has no name if its update was not begun, for example
because it was in conflict, and rooms without a line are not listed.

A page of a million rooms would be too large for a browser, so at most 100,000 rooms are listed: first all that are not
updated, and then the updated ones, both in the order of the plan. The page says how many it leaves out.
"""

from collections.abc import Sequence
from contextlib import closing
from typing import Final, NamedTuple, cast

import attrs

from ..errors import JournalError, PlanFileError
from ..models._fields import Values
from ._changes import ChangeCounter, Changed, FieldReview, changes_of
from ._files import json_object
from ._journal import Journal
from ._journal_records import Begin
from ._plan import Plan
from ._plan_of_journal import plan_of
from ._plan_records import PLANNED
from ._summary import RoomResult, Summary

__all__ = ["MAX_LISTED", "ReportRoom", "ReportRooms", "list_rooms"]

MAX_LISTED: Final = 100_000

_NOT_BEGUN: Final = RoomResult("not_begun")


class ReportRoom(NamedTuple):
    """A room that is listed."""

    room_id: str
    unique_name: str | None
    outcome: RoomResult
    changes: tuple[Changed, ...]


@attrs.define
class ReportRooms:
    """The rooms of a report."""

    fields: Sequence[FieldReview] = ()
    """The changes, with the number of rooms that are updated."""
    listed: list[ReportRoom] = attrs.Factory(list[ReportRoom])
    """The rooms that are not updated, then the updated ones."""
    total: int = 0
    """Number of rooms that could be listed."""
    plan: Plan | None = None
    plan_missing: str = ""
    """Why the plan could not be used, if `plan` is None."""


class _Planned(NamedTuple):
    room_id: str
    unique_name: str | None
    before: Values
    after: Values


def list_rooms(journal: Journal, summary: Summary) -> ReportRooms:
    """Return the rooms of a report. Raises `JournalError` if the journal can't be read.

    This removes the rooms from `summary.rooms`, because two copies of a million ids would need much memory.
    """
    try:
        plan = plan_of(journal)
    except (PlanFileError, JournalError) as error:
        return _rooms_of_journal(journal, summary, error.message)
    return _rooms_of_plan(plan, summary)


def _rooms_of_plan(plan: Plan, summary: Summary) -> ReportRooms:
    listing = _Listing(summary)
    with closing(plan.open_file()) as file:
        for line in plan.room_lines(file):
            listing.add(_planned(line), not_begun=True)
    return attrs.evolve(listing.finish(), plan=plan)


def _planned(line: bytes) -> _Planned:
    """Read the line of a room that `Plan.room_lines` has checked."""
    value = json_object(line)
    if value is None or not {"room_id", "unique_name", "before", "after"} <= value.keys():
        planned = PLANNED.read(line)
        return _Planned(planned.room_id, planned.unique_name, planned.before, planned.after)
    return _Planned(
        cast("str", value["room_id"]),
        cast("str | None", value["unique_name"]),
        cast("Values", value["before"]),
        cast("Values", value["after"]),
    )


def _rooms_of_journal(journal: Journal, summary: Summary, reason: str) -> ReportRooms:
    listing = _Listing(summary)
    for record in journal.entries():
        if isinstance(record, Begin):
            listing.add(_Planned(record.begin, record.unique_name, record.before, record.after), not_begun=False)
    return attrs.evolve(listing.finish(), plan_missing=reason)


class _Listing:
    """Lists each room once."""

    def __init__(self, summary: Summary) -> None:
        self._outcomes = summary.outcomes
        self._left = summary.rooms
        """The rooms of the journal that were not added yet."""
        self._changes = ChangeCounter()
        self._updated: list[ReportRoom] = []
        self._others: list[ReportRoom] = []
        self._total = 0

    def add(self, planned: _Planned, *, not_begun: bool) -> None:
        """Add a room. If the journal has no line about it, or it was added before, `not_begun` must be true."""
        place = self._left.pop(planned.room_id, None)
        if place is None and not not_begun:
            return
        outcome = _NOT_BEGUN if place is None else self._outcomes[place]
        changes = changes_of(planned.before, planned.after)
        self._changes.add(changes, is_updated=outcome.state == "updated")
        self._list(ReportRoom(planned.room_id, planned.unique_name, outcome, changes))

    def _list(self, room: ReportRoom) -> None:
        self._total += 1
        rooms = self._updated if room.outcome.state == "updated" else self._others
        if len(rooms) < MAX_LISTED:
            rooms.append(room)

    def finish(self) -> ReportRooms:
        """Add the rooms of the journal whose plan is unknown, and return all."""
        for room_id, place in self._left.items():
            self._list(ReportRoom(room_id, None, self._outcomes[place], ()))
        self._left.clear()
        listed = [*self._others, *self._updated[: MAX_LISTED - len(self._others)]]
        return ReportRooms(fields=self._changes.fields(), listed=listed, total=self._total)
