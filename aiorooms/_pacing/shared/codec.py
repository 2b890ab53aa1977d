"""Turn what the gates know into plain values, and back.

The state of a gate or quota is its attributes: numbers, flags, `Times`, and other parts with attributes. They are
written in the order in which they are defined, without names, because the state is exchanged several times a second.
So two versions of aiorooms whose attributes differ can't read each other's state. `layout` identifies the attributes,
and is part of the key in the store. Clients of different versions then don't share, but treat each other as strangers.

Example: `Pause` has the attributes `ends_at` and `_is_idle`, so `dump` returns `[110.25, false]`.
"""

from binascii import crc32
from collections.abc import Callable, Iterable, Iterator
from operator import attrgetter
from typing import Any, Final, TypeAlias

from ..needs import Needs
from ..pause import Pause
from ..renewals import Anchor, Renewals
from ..sharing import Sharing
from ..times import Times

__all__ = ["Plain", "dump", "layout", "load"]

Plain: TypeAlias = list[Any]
"""Values that JSON can represent."""

_SETTINGS: Final = frozenset(("_random", "_meter", "_is_common", "_max_in_flight", "_careful_from", "quotas"))
"""Attributes that every client sets by itself, and the quotas of a scope, which `Account` creates."""

_DIGITS: Final = 6
"""Times are stored in microseconds."""

_SIMPLE: Final = frozenset((int, bool, str, type(None)))

_GETTERS: Final[dict[type[object], Callable[[object], tuple[Any, ...]]]] = {}
"""Functions that return the state of an object, by class."""


def dump(part: object) -> Plain:
    """Return the state of a part."""
    kind = part.__class__
    values = _GETTERS.get(kind)
    if values is None:
        values = _GETTERS[kind] = attrgetter(*(name for name, _ in _state(part)))
    # Nearly all values are plain numbers. Looking at their classes first makes this three times as fast.
    return [
        value if (of := value.__class__) in _SIMPLE else round(value, _DIGITS) if of is float else _plain(value)
        for value in values(part)
    ]


def load(part: object, values: Plain) -> None:
    """Give a new part the state that `dump` returned. Other values raise one of many errors, see `link`."""
    for (name, old), value in zip([*_state(part)], values, strict=True):
        if isinstance(old, Times):
            old.load(value)
        elif isinstance(old, _NESTED):
            load(old, value)
        elif isinstance(old, set):
            setattr(part, name, {one if isinstance(one, str) else (one[0], one[1]) for one in value})
        elif isinstance(value, list):
            setattr(part, name, Anchor(*value))  # the only other compound attribute
        else:
            setattr(part, name, value)


def layout(parts: Iterable[object]) -> str:
    """Return a short text that differs if the attributes of the parts differ."""
    return f"{crc32(repr([*map(_names, parts)]).encode()):08x}"


_NESTED: Final = (Needs, Pause, Renewals, Sharing)


def _state(part: object) -> Iterator[tuple[str, Any]]:
    return ((name, value) for name, value in vars(part).items() if name not in _SETTINGS)


def _plain(value: Any) -> Any:  # noqa: ANN401 - any other value of an attribute
    if isinstance(value, Times):
        return [round(number, _DIGITS) for number in value.dump()]
    return [*value] if isinstance(value, (set, tuple)) else dump(value)


def _names(part: object) -> list[Any]:
    return [(name, _names(value)) if isinstance(value, _NESTED) else name for name, value in _state(part)]
