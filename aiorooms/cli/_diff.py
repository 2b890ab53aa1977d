"""A plan as people read it: what changes, before and after; rooms that change alike are shown together."""

from collections import Counter
from typing import Final, TypeAlias

from yarl import URL

from ..bulk import Plan, PlannedUpdate
from ._json import dumps
from ._output import Output, command_line, field_text

__all__ = ["show_how_to_apply", "show_plan"]

_MAX_LINES: Final = 45
"""Lines about kinds of changes: a screenful."""

_MAX_KINDS: Final = 1000
"""Kinds of changes that are counted; in a plan with more, each room is likely to be a kind of its own."""

_Kind: TypeAlias = tuple[tuple[str, str, str], ...]
"""For each field that changes: its name, before and after."""


def show_plan(plan: Plan, out: Output, *, every_room: bool) -> None:
    """Write what a plan changes, and its totals."""
    if every_room:
        for planned in plan.updates():
            _write(out, _label(planned), _kind_of(planned, whole=True))
    else:
        _show_kinds(plan, out)
    unchanged = f", {plan.unchanged:,} are as wanted already" if plan.unchanged else ""
    out.line(f"{plan.rooms:,} {_rooms(plan.rooms)} to change{unchanged}.")


def show_how_to_apply(plan: Plan, out: Output, *, base_url: str | None) -> None:
    """Write the command that carries out a new plan, if there is anything to do."""
    if plan.rooms:
        out.note(f"Planned in {plan.path}; `{command_line('apply', plan.path, base_url=base_url)}` carries it out.")


def _show_kinds(plan: Plan, out: Output) -> None:
    counts: Counter[_Kind] = Counter()
    examples: dict[_Kind, str] = {}
    more = 0
    for planned in plan.updates():
        kind = _kind_of(planned, whole=False)
        if kind in counts or len(counts) < _MAX_KINDS:
            counts[kind] += 1
            examples.setdefault(kind, _label(planned))
        else:
            more += 1
    lines = 0
    for kind, count in counts.most_common():
        lines += len(kind) + 2
        if lines > _MAX_LINES:
            more += count
            continue
        who = examples[kind] if count == 1 else f"{count:,} rooms, such as {examples[kind]}"
        _write(out, who, kind)
    if more:
        out.line(f"and {more:,} {_rooms(more)} in other ways; --all shows each room\n")


def _rooms(count: int) -> str:
    return "room" if count == 1 else "rooms"


def _label(planned: PlannedUpdate) -> str:
    return planned.room_id if planned.unique_name is None else f"{field_text(planned.unique_name)} ({planned.room_id})"


def _kind_of(planned: PlannedUpdate, *, whole: bool) -> _Kind:
    kind: list[tuple[str, str, str]] = []
    for name, after in planned.after.items():
        before = planned.before[name]
        hosts = None if whole else _hosts(before, after)
        kind.append((name, dumps(before), dumps(after)) if hosts is None else (f"{name}, the host", *hosts))
    return tuple(kind)


def _hosts(before: object, after: object) -> tuple[str, str] | None:
    """Return the hosts of two URLs that differ in nothing else."""
    if not isinstance(before, str) or not isinstance(after, str):
        return None
    try:
        old, new = URL(before, encoded=True), URL(after, encoded=True)
        if not old.raw_host or not new.raw_host or old.raw_host == new.raw_host:
            return None
        return (old.raw_host, new.raw_host) if before.replace(old.raw_host, new.raw_host, 1) == after else None
    except (ValueError, IndexError):  # yarl raises both
        return None


def _write(out: Output, who: str, kind: _Kind) -> None:
    out.line(who)
    for name, before, after in kind:
        out.change(name, before, after)
    out.line("")
