"""What the updates of a plan change, summed up by field and value.

URLs are summed up by their hosts, because each room may have a path of its own. For example, three rooms are planned:

    A  webhook_event_url  https://old.example.com/a -> https://new.example.com/a
    B  webhook_event_url  https://old.example.com/b -> https://new.example.com/b
    C  webhook_event_url  https://new.example.com/c -> https://new.example.com/d
       max_participants   10 -> 20

The changes are then `old.example.com -> new.example.com` in 2 rooms, `other paths at new.example.com` in 1 room, and
`10 -> 20` in 1 room. Names differ in each room, so they are `other names`. No path or name is shown, because a path may
contain a token.
"""

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from yarl import URL

from .._http.json import dumps
from .._webhook_url import YARL_ERRORS, split_plain
from ..models._fields import FIELDS, Values

__all__ = ["Changed", "Changes", "changes_of"]

_MAX_KINDS: Final = 1000
"""Maximum number of different changes to count separately. An account may have a host for each room."""


class Changed(NamedTuple):
    """A change of a field, in words."""

    field: str
    before: str
    """Empty if the old and new values have no short words."""
    after: str

    def __str__(self) -> str:
        return f"{self.before} → {self.after}" if self.before else self.after


def changes_of(before: Values, after: Values) -> tuple[Changed, ...]:
    """Return the changes of one room."""
    return tuple(_changed(name, before.get(name), value) for name, value in after.items())


def _changed(name: str, before: str | int | bool | None, after: str | int | bool | None) -> Changed:
    kind = FIELDS[name].kind
    if kind == "url":
        old, new = _host(before), _host(after)
        return Changed(name, "", f"other paths at {new}") if old == new else Changed(name, old, new)
    if kind == "text":
        return Changed(name, "", "other names" if after is not None else "no name")
    return Changed(name, dumps(before).decode(), dumps(after).decode())


def _host(url: object) -> str:
    if url is None or url == "":
        return "none"
    text = str(url)
    plain = split_plain(text)
    return _host_of(text if plain is None else plain[0])


# The URLs of many rooms have few hosts. Without this cache, yarl would parse both URLs of each room.
@lru_cache(maxsize=256)
def _host_of(url: str) -> str:
    try:
        parsed = URL(url, encoded=True)
        host, port = parsed.raw_host, parsed.explicit_port
    except YARL_ERRORS:
        return "no valid host"
    if not host:
        return "no valid host"
    return host if port is None else f"{host}:{port}"


class Changes:
    """The number of rooms with each change."""

    def __init__(self) -> None:
        self.planned: Counter[Changed] = Counter()
        self.updated: Counter[Changed] = Counter()
        self.others: int = 0
        """Number of changes that were not counted separately, because there are more than 1,000 kinds."""

    def add(self, changes: Sequence[Changed], *, is_updated: bool) -> None:
        """Add the changes of one room."""
        for change in changes:
            if change not in self.planned and len(self.planned) >= _MAX_KINDS:
                self.others += 1
                continue
            self.planned[change] += 1
            self.updated[change] += is_updated
