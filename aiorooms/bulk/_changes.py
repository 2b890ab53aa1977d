"""What the updates of a plan change, counted by field and value. `show`, the question of `apply` and the report use it.

A million rooms may have a million different URLs, so URLs are counted by their hosts. For example, a plan moves 3 rooms
to a new host and gives a fourth room its first URL:

    room A  webhook_event_url  https://old.example.com/a -> https://new.example.com/a
    room B  webhook_event_url  https://old.example.com/b -> https://new.example.com/b    max_participants 10 -> 20
    room C  webhook_event_url  https://old.example.com/c -> https://new.example.com/x
    room D  webhook_event_url  null                      -> https://new.example.com/d

The changes are then

- `webhook_event_url`: 4 rooms, of which 3 from `old.example.com` to `new.example.com`, and 1 from no URL to
  `new.example.com`
- `max_participants`: 1 room, from 10 to 20.

No path is shown, because it may contain a token. A name belongs to only one room, so of names, only the number of rooms
is counted. The memory is bounded: at most 1,000 different changes are counted for each field, the rest is counted
together.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Final, NamedTuple, TypeAlias

import attrs

from .._http.json import dumps
from ..models._fields import FIELD_NAMES, FIELDS, Values
from ._hosts import host_of_url

__all__ = ["ChangeCounter", "Changed", "FieldReview", "Value", "ValueChange", "changes_of", "words_of"]

Value: TypeAlias = str | int | bool | None

_MAX_CHANGES: Final = 1000
"""Maximum number of different changes of a field to count one by one."""


class Changed(NamedTuple):
    """A change of one field of a room."""

    field: str
    before: Value
    """The old value. Of a URL, only the host and the port; None if there is no URL. Of a name, always None."""
    after: Value
    """The new value, in the same form."""

    def __str__(self) -> str:
        if FIELDS[self.field].kind == "text":
            return "other names"
        return " → ".join(words_of(*self))


def changes_of(before: Values, after: Values) -> tuple[Changed, ...]:
    """Return the changes of one room."""
    return tuple(_changed(name, before.get(name), value) for name, value in after.items())


def _changed(name: str, before: Value, after: Value) -> Changed:
    kind = FIELDS[name].kind
    if kind == "url":
        return Changed(name, host_of_url(before), host_of_url(after))
    return Changed(name, None, None) if kind == "text" else Changed(name, before, after)


def words_of(field: str, before: Value, after: Value) -> tuple[str, str]:
    """Return the words for the old and the new value of a change. The host of a URL may be any text."""
    # A change is listed only if the values differ. So if the hosts are equal, the rest of the URL changes.
    is_same = isinstance(after, str) and before == after
    return _word(field, before), _word(field, after) + " (same host)" * is_same


def _word(field: str, value: Value) -> str:
    if isinstance(value, str):
        return value
    return "no URL" if value is None and FIELDS[field].kind == "url" else dumps(value).decode()


@attrs.frozen
class ValueChange:
    """A change that several rooms have in common."""

    before: Value
    """The old value, as in `Changed`."""
    after: Value
    rooms: int
    updated: int = 0
    """Number of these rooms that are updated."""


@attrs.frozen
class FieldReview:
    """The changes of one field."""

    name: str
    rooms: int
    """Number of rooms in which the field changes."""
    changes: Sequence[ValueChange]
    """The changes, the most frequent one first. Changes of names are not among them."""
    updated: int = 0
    """Number of these rooms that are updated."""

    @property
    def other(self) -> int:
        """Number of rooms whose change is in none of `changes`."""
        return self.rooms - sum(change.rooms for change in self.changes)


_Key: TypeAlias = tuple[Value, type, Value, type]
"""The values of a change with their types, because True == 1."""


class ChangeCounter:
    """Counts the rooms with each change, and how many of them are updated."""

    def __init__(self) -> None:
        self._rooms: Counter[str] = Counter()
        self._updated: Counter[str] = Counter()
        self._changes: dict[str, Counter[_Key]] = {name: Counter() for name in FIELD_NAMES}
        self._changes_updated: dict[str, Counter[_Key]] = {name: Counter() for name in FIELD_NAMES}

    def add(self, changes: Sequence[Changed], *, is_updated: bool = False) -> None:
        """Add the changes of one room."""
        for name, before, after in changes:
            self._rooms[name] += 1
            self._updated[name] += is_updated
            if FIELDS[name].kind == "text":
                continue
            key, counts = (before, type(before), after, type(after)), self._changes[name]
            if key in counts or len(counts) < _MAX_CHANGES:
                counts[key] += 1
                if is_updated:
                    self._changes_updated[name][key] += 1

    def fields(self) -> list[FieldReview]:
        """Return the fields that change, in the order of the API's reference page."""
        return [self._field(name) for name in FIELD_NAMES if self._rooms[name]]

    def _field(self, name: str) -> FieldReview:
        updated = self._changes_updated[name]
        changes = tuple(
            ValueChange(key[0], key[2], rooms, updated[key]) for key, rooms in self._changes[name].most_common()
        )
        return FieldReview(name, self._rooms[name], changes, self._updated[name])
