"""Print a plan as text: the old and new values of each room, or of each group of rooms with the same change."""

from collections import Counter
from typing import Final, TypeAlias

from .._webhook_url import masked_url
from ..bulk import Plan, PlannedUpdate
from ..bulk._hosts import changed_hosts
from ..bulk._plan_review import PlanReviewer
from ..models._fields import FIELDS
from ._escaping import command_line, field_text
from ._json import dumps
from ._output import Output
from ._repeated import Repeated
from ._review import rooms_text, show_header, show_not_restorable, totals_of

__all__ = ["show_how_to_apply", "show_plan"]

_MAX_LINES: Final = 45
"""Maximum number of lines about changes, so that the output fits on one screen."""

_MAX_CHANGES: Final = 1000
"""Maximum number of different changes to count separately. Rooms with any other change are counted together."""

_Value: TypeAlias = str | int | bool | None

_Change: TypeAlias = tuple[tuple[str, _Value, _Value, bool], ...]
"""The name, old value and new value of each field that changes, and whether the values were shortened.

If the two values are URLs that differ only in the host, they may be shortened to the hosts.
"""


def show_plan(plan: Plan, out: Output, *, every_room: bool, with_header: bool = False) -> None:
    """Write the changes and the totals of a plan, and what a rollback could not bring back.

    `with_header` puts what a reviewer needs to know before the changes.
    """
    reviewer, groups = PlanReviewer(), _Groups()
    is_streamed = every_room and not with_header
    for planned in plan.updates():
        reviewer.add(planned)
        if is_streamed:
            _write_room(planned, out)
        elif not every_room:
            groups.add(planned)
    review = reviewer.result()
    if with_header:
        show_header(plan, review, out)
    if every_room and not is_streamed:
        for planned in plan.updates():
            _write_room(planned, out)
    groups.write(out)
    if not with_header:
        show_not_restorable(review, out)
    out.line(totals_of(plan))


def _write_room(planned: PlannedUpdate, out: Output) -> None:
    _write(out, _label(planned), _change_of(planned, whole=True))


def show_how_to_apply(plan: Plan, out: Output, *, repeated: Repeated) -> None:
    """Write the command that carries out a new plan, or nothing if the plan has no changes."""
    if plan.rooms:
        out.note(f"To apply the plan: {command_line('apply', plan.path, *repeated.server, *repeated.policy)}")


class _Groups:
    """The rooms of a plan, grouped by change."""

    def __init__(self) -> None:
        self._counts: Counter[_Change] = Counter()
        self._examples: dict[_Change, str] = {}
        self._more = 0

    def add(self, planned: PlannedUpdate) -> None:
        """Add a room."""
        change = _change_of(planned, whole=False)
        if change in self._counts or len(self._counts) < _MAX_CHANGES:
            self._counts[change] += 1
            if change not in self._examples:
                self._examples[change] = _label(planned)
        else:
            self._more += 1

    def write(self, out: Output) -> None:
        """Write the groups, the largest ones first, but not more than fit on a screen."""
        lines, more = 0, self._more
        for change, count in self._counts.most_common():
            lines += len(change) + 2
            if lines > _MAX_LINES:
                more += count
                continue
            example = self._examples[change]
            _write(out, example if count == 1 else f"{count:,} rooms, such as {example}", change)
        if more:
            out.line(f"and {rooms_text(more)} with other changes; --all shows each room")
            out.line("")


def _label(planned: PlannedUpdate) -> str:
    return planned.room_id if planned.unique_name is None else f"{field_text(planned.unique_name)} ({planned.room_id})"


def _change_of(planned: PlannedUpdate, *, whole: bool) -> _Change:
    change: list[tuple[str, _Value, _Value, bool]] = []
    for name, after in planned.after.items():
        before = planned.before.get(name)
        if FIELDS[name].kind == "url":  # a URL may contain a password
            before = masked_url(before) if isinstance(before, str) else before
            after = masked_url(after) if isinstance(after, str) else after
        hosts = None if whole else changed_hosts(before, after)
        change.append((name, before, after, False) if hosts is None else (name, *hosts, True))
    return tuple(change)


def _write(out: Output, rooms: str, change: _Change) -> None:
    out.line(rooms)
    for name, before, after, shortened in change:
        if shortened:
            out.change(f"{name} (host)", str(before), str(after))
        else:
            out.change(name, dumps(before), dumps(after))
    out.line("")
