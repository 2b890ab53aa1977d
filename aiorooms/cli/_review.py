"""What a reviewer needs to know about a plan: as text, as JSON, and in two lines before a question.

For example, the two lines before the question of `apply` are

    Plan 39695a0b12cd, made 2024-05-01 from rooms.csv: webhook_event_url of 20 rooms (old.example -> new.example)
    A rollback could not bring back 5 rooms: webhook_event_url had no value, and the API can't clear it.
"""

import os
from collections.abc import Sequence
from typing import Final

from .._text import counted
from ..bulk import Plan
from ..bulk._changes import FieldReview, ValueChange, words_of
from ..bulk._plan_review import PlanReview
from ..client import BASE_URL
from ._escaping import command_line, escape
from ._json import JsonValue
from ._output import Output
from ._streams import shown_path

__all__ = [
    "lines_before_question",
    "lines_not_restorable",
    "review_data",
    "rooms_text",
    "show_header",
    "show_how_to_approve",
    "show_not_restorable",
    "totals_of",
]

_SHORT_CHECKSUM: Final = 12
"""Number of digits of a checksum in a line. They are enough for `--approve`."""

_MAX_SOURCE: Final = 40
"""Longest source to name in a line, in characters."""

_DATE: Final = len("2024-05-01")

_MAX_CHANGES: Final = 8
"""Maximum number of changes of a field to show."""


def rooms_text(count: int) -> str:
    """Return a number of rooms as text, such as `1 room`."""
    return counted(count, "room")


def totals_of(plan: Plan) -> str:
    """Return the totals of a plan, such as `3 rooms to change, 5 already as planned.` A total of 0 is omitted."""
    others = (
        (plan.unchanged, "already as planned"),
        (plan.not_concerned, "not concerned"),
        (plan.invalid, "left out because of a problem"),
    )
    text = f"{rooms_text(plan.rooms)} to change"
    return ", ".join((text, *(f"{count:,} {name}" for count, name in others if count))) + "."


def show_header(plan: Plan, review: PlanReview, out: Output) -> None:
    """Write where a plan comes from, its checksum, its changes by field and host, and what can't be undone."""
    for name, value in (
        ("Plan", shown_path(plan.path)),
        ("Source", plan.source),
        ("Server", plan.base_url),
        ("Made", plan.created_at),
        ("Id", plan.plan_id),
        ("Checksum", plan.sha256),
        ("Totals", totals_of(plan)),
    ):
        out.styled((f"{name + ':':<11}", "bold"), escape(value))
    out.line("")
    for field in review.fields:
        _show_field(field, out)
    if review.rooms:
        show_not_restorable(review, out, if_all="A rollback could bring back all rooms.")


def _show_field(field: FieldReview, out: Output) -> None:
    out.line(f"{field.name}: {rooms_text(field.rooms)}")
    shown = field.changes[:_MAX_CHANGES]
    width = max((len(f"{change.rooms:,}") for change in shown), default=0)
    for change in shown:
        before, after = _words(field, change)
        out.styled(f"  {change.rooms:>{width},}  ", (before, "red"), " -> ", (after, "green"))
    others = field.rooms - sum(change.rooms for change in shown)
    if others and shown:
        out.line(f"  and {rooms_text(others)} with other changes")


def show_not_restorable(review: PlanReview, out: Output, *, if_all: str = "") -> None:
    """Write what a rollback could not bring back. If it could bring back all rooms, write `if_all`."""
    lines = lines_not_restorable(review) or ([if_all] if if_all else [])
    for line in (*lines, "") if lines else ():
        out.line(line)


def lines_not_restorable(review: PlanReview) -> Sequence[str]:
    """Return lines that say what a rollback could not bring back; none if it could bring back all rooms."""
    if not review.not_restorable:
        return ()
    lines = [f"A rollback could not bring back {rooms_text(review.rooms_not_restorable)}:"]
    for group in review.not_restorable:
        rooms = f"room {group.example}" if group.rooms == 1 else f"{group.rooms:,} rooms, such as {group.example}"
        lines.append(f"  {rooms}: {group.reason}")
    return lines


def lines_before_question(plan: Plan, review: PlanReview) -> tuple[str, str]:
    """Return two lines about a plan: what it changes, and what a rollback could not bring back."""
    source = f" from {plan.source}" if len(plan.source) <= _MAX_SOURCE else ""
    made = f"Plan {plan.sha256[:_SHORT_CHECKSUM]}, made {plan.created_at[:_DATE]}{source}"
    changes = f"{made}: {', '.join(map(_in_line, review.fields))}"
    if not review.not_restorable:
        return changes, "A rollback could bring back all rooms."
    first, *more = review.not_restorable
    others = f" ({first.rooms:,}), or for other reasons" if more else ""
    lost = f"A rollback could not bring back {rooms_text(review.rooms_not_restorable)}: {first.reason}{others}."
    return changes, lost


def _in_line(field: FieldReview) -> str:
    text = f"{field.name} of {rooms_text(field.rooms)}"
    if not field.changes:
        return text
    first = field.changes[0]
    others = ", others" if field.rooms > first.rooms else ""
    return f"{text} ({' -> '.join(_words(field, first))}{others})"


def _words(field: FieldReview, change: ValueChange) -> tuple[str, str]:
    before, after = words_of(field.name, change.before, change.after)
    return escape(before), escape(after)


def show_how_to_approve(plan: Plan, out: Output) -> None:
    """Write the command that applies this plan and no other, or nothing if the plan has no changes."""
    if not plan.rooms:
        return
    used = os.environ.get("TELNYX_BASE_URL", "").rstrip("/") or BASE_URL
    server = () if plan.base_url == used else ("--base-url", plan.base_url)
    out.note(f"To apply this plan and no other: {command_line('apply', plan.path, *server, '--approve', plan.sha256)}")


def review_data(plan: Plan, review: PlanReview) -> dict[str, JsonValue]:
    """Return the review as JSON data."""
    return {
        "created_at": plan.created_at,
        "sha256": plan.sha256,
        "fields": {field.name: _field_data(field) for field in review.fields},
        "not_restorable": [
            {"field": group.field, "reason": group.reason, "rooms": group.rooms, "example": group.example}
            for group in review.not_restorable
        ],
    }


def _field_data(field: FieldReview) -> dict[str, JsonValue]:
    changes: list[JsonValue] = [
        {"before": change.before, "after": change.after, "rooms": change.rooms} for change in field.changes
    ]
    return {"rooms": field.rooms, "changes": changes, "other": field.other}
