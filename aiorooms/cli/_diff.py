"""Print a plan as text: the old and new values of each room, or of each group of rooms with the same change."""

from collections import Counter
from functools import lru_cache
from typing import Final, TypeAlias

from yarl import URL

from .._webhook_url import YARL_ERRORS, split_plain
from ..bulk import Plan, PlannedUpdate
from ._json import dumps
from ._output import Output, command_line, field_text
from ._repeated import Repeated

__all__ = ["show_how_to_apply", "show_plan", "totals_of"]

_MAX_LINES: Final = 45
"""Maximum number of lines about changes, so that the output fits on one screen."""

_MAX_CHANGES: Final = 1000
"""Maximum number of different changes to count separately. Rooms with any other change are counted together."""

_Value: TypeAlias = str | int | bool | None

_Change: TypeAlias = tuple[tuple[str, _Value, _Value, bool], ...]
"""The name, old value and new value of each field that changes, and whether the values were shortened.

If the two values are URLs that differ only in the host, they may be shortened to the hosts.
"""


def show_plan(plan: Plan, out: Output, *, every_room: bool) -> None:
    """Write the changes and the totals of a plan."""
    if every_room:
        for planned in plan.updates():
            _write(out, _label(planned), _change_of(planned, whole=True))
    else:
        _show_changes(plan, out)
    out.line(totals_of(plan))


def totals_of(plan: Plan) -> str:
    """Return the totals of a plan, such as `3 rooms to change, 5 already as planned.` A total of 0 is omitted."""
    others = (
        (plan.unchanged, "already as planned"),
        (plan.not_concerned, "not concerned"),
        (plan.invalid, "left out because of a problem"),
    )
    text = f"{plan.rooms:,} {_rooms(plan.rooms)} to change"
    return ", ".join((text, *(f"{count:,} {name}" for count, name in others if count))) + "."


def show_how_to_apply(plan: Plan, out: Output, *, repeated: Repeated) -> None:
    """Write the command that carries out a new plan, or nothing if the plan has no changes."""
    if plan.rooms:
        out.note(f"To apply the plan: {command_line('apply', plan.path, *repeated.server, *repeated.policy)}")


def _show_changes(plan: Plan, out: Output) -> None:
    counts: Counter[_Change] = Counter()
    examples: dict[_Change, str] = {}
    more = 0
    for planned in plan.updates():
        change = _change_of(planned, whole=False)
        if change in counts or len(counts) < _MAX_CHANGES:
            counts[change] += 1
            if change not in examples:
                examples[change] = _label(planned)
        else:
            more += 1
    lines = 0
    for change, count in counts.most_common():
        lines += len(change) + 2
        if lines > _MAX_LINES:
            more += count
            continue
        rooms = examples[change] if count == 1 else f"{count:,} rooms, such as {examples[change]}"
        _write(out, rooms, change)
    if more:
        out.line(f"and {more:,} {_rooms(more)} with other changes; --all shows each room")
        out.line("")


def _rooms(count: int) -> str:
    return "room" if count == 1 else "rooms"


def _label(planned: PlannedUpdate) -> str:
    return planned.room_id if planned.unique_name is None else f"{field_text(planned.unique_name)} ({planned.room_id})"


def _change_of(planned: PlannedUpdate, *, whole: bool) -> _Change:
    change: list[tuple[str, _Value, _Value, bool]] = []
    for name, after in planned.after.items():
        before = planned.before.get(name)
        hosts = None if whole else _hosts(before, after)
        change.append((name, before, after, False) if hosts is None else (name, *hosts, True))
    return tuple(change)


def _hosts(before: object, after: object) -> tuple[str, str] | None:
    """Return the hosts of two URLs that differ only in the host, or None for all other values."""
    if not isinstance(before, str) or not isinstance(after, str):
        return None
    old, new = split_plain(before), split_plain(after)
    if old is None or new is None:
        return _changed_hosts(before, after)
    return _changed_hosts(old[0], new[0]) if old[1] == new[1] else None


# The URLs of many rooms have few hosts. Without this cache, yarl would parse both URLs of each room.
@lru_cache(maxsize=128)
def _changed_hosts(before: str, after: str) -> tuple[str, str] | None:
    """Return the hosts of two URLs or origins that differ only in the host, by parsing both."""
    try:
        old, new = URL(before, encoded=True).raw_host, URL(after, encoded=True).raw_host
        if not old or not new or old == new:
            return None
        return (old, new) if before.replace(old, new, 1) == after else None
    except YARL_ERRORS:
        return None


def _write(out: Output, rooms: str, change: _Change) -> None:
    out.line(rooms)
    for name, before, after, shortened in change:
        if shortened:
            out.change(f"{name} (host)", str(before), str(after))
        else:
            out.change(name, dumps(before), dumps(after))
    out.line("")
