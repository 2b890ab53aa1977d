"""Review a plan: which fields change, from what to what, and what a rollback could not bring back. Pure.

A million rooms may have a million different URLs, so changes are counted by host, not by URL. For example, a plan moves
3 rooms to a new host and gives a fourth room its first URL:

    room A  webhook_event_url  https://old.example.com/a -> https://new.example.com/a
    room B  webhook_event_url  https://old.example.com/b -> https://new.example.com/b    max_participants 10 -> 20
    room C  webhook_event_url  https://old.example.com/c -> https://new.example.com/x
    room D  webhook_event_url  null                      -> https://new.example.com/d

The review then says

- `webhook_event_url`: 4 rooms, of which 3 from `old.example.com` to `new.example.com`, and 1 from null to
  `new.example.com`
- `max_participants`: 1 room, from 10 to 20
- not restorable: 1 room (D), because the API can't clear `webhook_event_url`.

The memory is bounded: at most 1,000 different changes are counted for each field, the rest is counted together. A name
belongs to only one room, so of names, only the number of rooms is counted.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final, TypeAlias

import attrs
from yarl import URL

from .._checks import text_message
from .._webhook_url import DEFAULT_POLICY, YARL_ERRORS, WebhookUrlPolicy, split_plain
from ..errors import InvalidRequestError
from ..models._fields import FIELD_NAMES, FIELDS
from ._plan_records import PlannedUpdate
from ._restoring import can_be_restored, restoring

__all__ = ["FieldReview", "NotRestorable", "PlanReview", "PlanReviewer", "ValueChange", "review_of"]

Value: TypeAlias = str | int | bool | None

_MAX_CHANGES: Final = 1000
"""Maximum number of different changes of a field to count one by one."""


@attrs.frozen
class ValueChange:
    """A change that several rooms have in common."""

    before: Value
    """The old value. Of a URL, only the host and the port; None if there is no URL."""
    after: Value
    """The new value, in the same form."""
    rooms: int


@attrs.frozen
class FieldReview:
    """The changes of one field."""

    name: str
    rooms: int
    """Number of rooms in which the field changes."""
    changes: Sequence[ValueChange]
    """The changes, the most frequent one first."""

    @property
    def other(self) -> int:
        """Number of rooms whose change is in none of `changes`."""
        return self.rooms - sum(change.rooms for change in self.changes)


@attrs.frozen
class NotRestorable:
    """Why a rollback could not bring back the old values of some rooms."""

    field: str | None
    """The field; None if the reason is not about a single field."""
    reason: str
    rooms: int
    example: str
    """The id of the first of these rooms."""


@attrs.frozen
class PlanReview:
    """What a reviewer needs to know about the changes in a plan."""

    rooms: int
    fields: Sequence[FieldReview]
    """The fields that change, in the order of the API's reference page."""
    not_restorable: Sequence[NotRestorable]

    @property
    def rooms_not_restorable(self) -> int:
        """Number of rooms that a rollback could not bring back. Each room is counted once."""
        return sum(group.rooms for group in self.not_restorable)


class PlanReviewer:
    """Builds the review of a plan room by room."""

    def __init__(self, policy: WebhookUrlPolicy = DEFAULT_POLICY) -> None:
        """`policy` decides which old URLs a rollback may send."""
        self._policy = policy
        self._total = 0
        self._rooms: Counter[str] = Counter()
        # A key contains the types, because True == 1.
        self._changes: dict[str, Counter[tuple[Value, type, Value, type]]] = {name: Counter() for name in FIELD_NAMES}
        self._not_restorable: Counter[tuple[str | None, str]] = Counter()
        self._reasons: dict[tuple[str | None, str], tuple[str, str]] = {}
        """The reason and the first room's id of each group."""

    def add(self, planned: PlannedUpdate) -> None:
        """Add a room."""
        self._total += 1
        for name, after in planned.after.items():
            self._rooms[name] += 1
            kind = FIELDS[name].kind
            if kind == "text":
                continue
            before = planned.before.get(name)
            if kind == "url":
                before, after = _host(before), _host(after)
            change, counts = (before, type(before), after, type(after)), self._changes[name]
            if change in counts or len(counts) < _MAX_CHANGES:
                counts[change] += 1
        self._check_restorable(planned)

    def result(self) -> PlanReview:
        """Return the review of all rooms that were added."""
        fields = [
            FieldReview(
                name,
                self._rooms[name],
                tuple(
                    ValueChange(before, after, rooms)
                    for (before, _, after, _), rooms in self._changes[name].most_common()
                ),
            )
            for name in FIELD_NAMES
            if self._rooms[name]
        ]
        groups = [
            NotRestorable(key[0], self._reasons[key][0], rooms, self._reasons[key][1])
            for key, rooms in self._not_restorable.most_common()
        ]
        return PlanReview(self._total, fields, groups)

    def _check_restorable(self, planned: PlannedUpdate) -> None:
        """Count a room whose old values can't be sent. The first reason counts, so that each room is counted once."""
        for name, value in planned.before.items():
            if not can_be_restored(name, value):
                self._count(name, "not_clearable", f"{name} had no value, and the API can't clear it", planned)
                return
        try:
            restoring(planned.before, self._policy)
        except InvalidRequestError as error:
            problem = error.problems[0]
            field = problem.field
            what = "the old values" if field is None else f"the old {field}"
            self._count(field, problem.code, f"{what} would be rejected: {text_message(problem)}", planned)

    def _count(self, field: str | None, code: str, reason: str, planned: PlannedUpdate) -> None:
        key = (field, code)
        self._not_restorable[key] += 1
        if key not in self._reasons:
            self._reasons[key] = (reason, planned.room_id)


def review_of(updates: Iterable[PlannedUpdate], policy: WebhookUrlPolicy = DEFAULT_POLICY) -> PlanReview:
    """Return the review of these updates, such as `Plan.updates()`."""
    reviewer = PlanReviewer(policy)
    for planned in updates:
        reviewer.add(planned)
    return reviewer.result()


def _host(url: Value) -> Value:
    """Return the host of a URL, with its port if it has one; None if there is no URL."""
    if not isinstance(url, str) or not url:
        return None
    parts = split_plain(url)
    # A URL may contain a password, so it is never shown whole.
    return _host_of_origin(parts[0]) if parts is not None else _host_of_url(url)


def _host_of_url(url: str) -> str:
    try:
        parsed = URL(url, encoded=True)
        host, port = parsed.raw_host, parsed.explicit_port
    except YARL_ERRORS:
        return _NO_HOST
    if not host:
        return _NO_HOST
    shown = f"[{host}]" if ":" in host else host
    return shown if port is None else f"{shown}:{port}"


_NO_HOST: Final = "(no host)"

# The URLs of many rooms have few origins. Without this cache, yarl would parse each of them.
_host_of_origin: Final = lru_cache(maxsize=1024)(_host_of_url)
