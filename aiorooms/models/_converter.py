"""The cattrs converter, which converts JSON data to attrs classes and back.

cattrs coerces by default: `{"id": null, "max_participants": "5"}` would become `id='None', max_participants=5`. This
converter has a strict hook for each scalar type, and the hook rejects all other types. Two special forms are accepted:
`20.0` is read as the whole number 20, and a timestamp without an offset is read as UTC.

Classes with the fields `unreadable` and `extra` describe answers of the server, and are read leniently. If a field is
invalid, it becomes None, and its raw value is put into `unreadable`. Fields that the class doesn't have are put into
`extra`. For example, if the server sends `"max_participants": "many", "mood": "good"`, the room has
`max_participants=None`, `unreadable={"max_participants": "many"}` and `extra={"mood": "good"}`.
"""

import sys
from collections.abc import Callable
from datetime import MAXYEAR, MINYEAR, UTC, datetime
from functools import partial
from operator import eq
from types import NoneType
from typing import Any, Final, TypeVar, cast, get_args, get_origin

import attrs
from cattrs import BaseValidationError, Converter
from cattrs.cols import homogenous_tuple_structure_factory
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override

from .._text import timestamp
from ._values import is_object, wrong_type

__all__ = ["converter"]

T = TypeVar("T")


def _str(value: object, _: object) -> str:
    if isinstance(value, str):
        return value
    raise wrong_type("a string", value)


def _bool(value: object, _: object) -> bool:
    if isinstance(value, bool):
        return value
    raise wrong_type("a boolean", value)


def _int(value: object, _: object) -> int:
    # bool is a subclass of int.
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    # Above 2**53, a float can't represent every whole number.
    if isinstance(value, float) and value.is_integer() and abs(value) <= 2**53:
        return int(value)
    raise wrong_type("a whole number", value)


def _float(value: object, _: object) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and -_MAX_FLOAT <= value <= _MAX_FLOAT:
        return float(value)
    raise wrong_type("a number", value)


_MAX_FLOAT: Final = sys.float_info.max


def _datetime(value: object, _: object) -> datetime:
    """Parse an ISO 8601 timestamp in upper or lower case, with a `T` or a space before the time.

    A timestamp without an offset is in UTC.
    """
    if isinstance(value, str) and len(value) >= _SHORTEST_TIMESTAMP:
        try:
            # `fromisoformat` does not know the lower-case `z`.
            time = datetime.fromisoformat(f"{value[:-1]}Z" if value[-1] == "z" else value)
        except ValueError:
            raise wrong_type("a timestamp", value) from None
        if time.tzinfo is UTC:
            return time
        # In the first and the last year that `datetime` supports, a conversion to UTC could overflow.
        if MINYEAR < time.year < MAXYEAR:
            return time if time.tzinfo is not None else time.replace(tzinfo=UTC)
    raise wrong_type("a timestamp", value)


# A shorter text may be a date without a time, which `fromisoformat` would read as midnight.
_SHORTEST_TIMESTAMP = len("2021-04-16T09:46")


def _optional(scalar: type[T], hook: Callable[[object, object], T]) -> Callable[[object, object], T | None]:
    def structure(value: object, wanted: object) -> T | None:
        if value is None:
            return None
        # Comparing the types saves a call of the hook for most valid values. A float may be infinite.
        return value if type(value) is scalar and scalar is not float else hook(value, wanted)

    return structure


converter = Converter(detailed_validation=False)
"""The converter. Its errors don't contain the path of the invalid value, because tracking the path is slow."""

for scalar, hook in ((str, _str), (bool, _bool), (int, _int), (float, _float), (datetime, _datetime)):
    converter.register_structure_hook(scalar, hook)
    # File records have fields `... | None`. A hook for the union saves two calls of cattrs for each of them. It is
    # registered with a predicate, because a copy of a converter loses hooks that are registered for a union.
    converter.register_structure_hook_func(partial(eq, scalar | None), _optional(scalar, hook))

converter.register_unstructure_hook(datetime, timestamp)


# The functions that cattrs generates would accept a list where an object is expected, and any iterable where a list is.
@converter.register_structure_hook_factory(attrs.has)
def _object(wanted: type[attrs.AttrsInstance], converter: Converter) -> Callable[[object, object], object]:
    structure = make_dict_structure_fn(wanted, converter)

    def structure_object(value: object, _: object) -> object:
        if not is_object(value):
            raise wrong_type("an object", value)
        return structure(value, wanted)

    return structure_object


def _is_answer(wanted: object) -> bool:
    return attrs.has(cast("type", wanted)) and all(hasattr(wanted, name) for name in _HIDDEN)


_HIDDEN: Final = ("unreadable", "extra")

_OMIT_HIDDEN: Final[dict[str, Any]] = {name: override(omit=True) for name in _HIDDEN}


# Registered after `_object`, so that cattrs tries this hook first.
@converter.register_structure_hook_factory(_is_answer)
def _answer(wanted: type[Any], converter: Converter) -> Callable[[object, object], object]:
    fields: dict[str, Any] = {field.name: field.type for field in attrs.fields(wanted) if field.name not in _HIDDEN}
    known = frozenset(fields)
    required = [name for name in fields if getattr(attrs.fields(wanted), name).default is attrs.NOTHING]
    assert all(fields[name] is str for name in required)
    # Every other field is `X | None`. None needs no hook, so only X is kept.
    types = {name: type_ if name in required else get_args(type_)[0] for name, type_ in fields.items()}
    # `__init__` of a frozen class is slow. Setting its members by their descriptors saves 1 % of an update's
    # instructions.
    # A float needs its hook, because it may be infinite.
    members = [
        (
            name,
            NoneType if type_ is float else type_,
            converter.get_structure_hook(type_),
            getattr(wanted, name).__set__,
        )
        for name, type_ in types.items()
    ]
    hidden = [(getattr(wanted, name).__set__, getattr(attrs.fields(wanted), name).default) for name in _HIDDEN]

    def structure_answer(value: object, _: object) -> object:
        if not is_object(value):
            raise wrong_type("an object", value)
        for name in required:
            if not isinstance(raw := value.get(name), str):
                raise wrong_type("a string", raw)
        # Most answers contain only known and valid fields.
        if known.issuperset(value):
            answer = object.__new__(wanted)
            get = value.get
            try:
                for name, plain, structure, set_member in members:
                    raw = get(name)
                    # Most values need no hook. Not calling one saves a quarter of the time to read a room.
                    set_member(answer, raw if raw is None or type(raw) is plain else structure(raw, types[name]))
            except (ValueError, BaseValidationError):
                pass
            else:
                for set_member, default in hidden:
                    set_member(answer, default)
                return answer
        readable: dict[str, object] = {}
        unreadable: dict[str, object] = {}
        for name in fields.keys() & value.keys():
            try:
                readable[name] = converter.structure(value[name], fields[name])
            except (ValueError, KeyError, BaseValidationError):
                unreadable[name] = value[name]
        extra = {name: raw for name, raw in value.items() if name not in fields}
        return wanted(**readable, unreadable=unreadable, extra=extra)

    return structure_answer


@converter.register_unstructure_hook_factory(_is_answer)
def _answer_to_dict(wanted: type[attrs.AttrsInstance], converter: Converter) -> Callable[[Any], dict[str, Any]]:
    return make_dict_unstructure_fn(wanted, converter, **_OMIT_HIDDEN)


def _is_list(wanted: object) -> bool:
    return get_origin(wanted) is tuple


@converter.register_structure_hook_factory(_is_list)
def _list(wanted: type[Any], converter: Converter) -> Callable[[object, object], object]:
    structure = homogenous_tuple_structure_factory(wanted, converter)

    def structure_list(value: object, _: object) -> object:
        if not isinstance(value, list):
            raise wrong_type("a list", value)
        return structure(value, wanted)

    return structure_list
