"""Convert between JSON lines and attrs classes, with cattrs.

The converter is a copy of the models' converter, and equally strict: a missing key or a value of the wrong type raises
`ValueError`. Numbers and fields are checked too, because a file may be damaged or edited: a time of 1e300 seconds can't
be shown in a report, and the value of an unknown field can't be compared with a room. Unknown keys of a line are
ignored, so that a later version can add keys.
"""

from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from functools import cached_property, partial
from operator import eq
from typing import Any, Final, Generic, Literal, TypeVar, get_args, get_origin

import attrs
from cattrs.fns import identity
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override

from .._text import timestamp
from ..models._converter import converter
from ..models._fields import FIELDS, Values
from ..models._values import is_object
from ._files import json_line, json_object

__all__ = ["Codec", "check_values", "file_converter"]

T = TypeVar("T", bound=attrs.AttrsInstance)


class Codec(Generic[T]):
    """Encodes and decodes the records of one class.

    cattrs generates the conversion functions when they are first used.
    """

    def __init__(self, record_class: type[T], *, omit: Collection[str] = (), **keys: str) -> None:
        """`keys` maps the name of a field to its key in the line, if the two differ.

        `omit` names the fields that are omitted from a line if they have their default value.
        """
        self.record_class = record_class
        self._keys: Any = {field: override(rename=key) for field, key in keys.items()}
        self._keys |= {field: override(omit_if_default=True) for field in omit}

    def line(self, record: T) -> bytes:
        """Encode a record as a line."""
        return json_line(self.to_json(record))

    def read(self, line: bytes) -> T:
        """Decode a line. Raises `ValueError` if the line is not a record of this class."""
        return self.from_json(json_object(line))

    def from_json(self, value: object) -> T:
        """Return a record from JSON data. Raises `ValueError` if the data is not a record of this class."""
        if not is_object(value):
            raise ValueError("it is not an object")
        try:
            return self._structure(value, self.record_class)
        except KeyError as error:
            raise ValueError(f"{error} is missing") from None

    @cached_property
    def to_json(self) -> Callable[[T], dict[str, Any]]:
        """The function that converts a record to JSON data."""
        return make_dict_unstructure_fn(self.record_class, file_converter, **self._keys)

    @cached_property
    def _structure(self) -> Callable[[Mapping[str, Any], type[T]], T]:
        # Detailed validation is slower. It only adds the path of the wrong value, and no message shows that path.
        return make_dict_structure_fn(
            self.record_class, file_converter, _cattrs_detailed_validation=False, **self._keys
        )


# --- the converter ---

file_converter: Final = converter.copy()


def check_values(value: object) -> Values:
    """Return the value if it is an object of writable fields. Raises `ValueError` if it is not.

    The values may be out of range, because they are checked again before they are sent.
    """
    if not is_object(value) or not _NAMES.issuperset(value):
        raise ValueError("it is not an object of writable fields")
    # A loop over the values takes three times as long.
    if not _SCALARS.issuperset(map(type, value.values())):
        raise ValueError("it is not the value of a field")
    return value  # type: ignore[return-value]  # checked above


_NAMES: Final = frozenset(FIELDS)
_SCALARS: Final = frozenset((str, int, bool, type(None)))


def _values(value: object, _: object) -> Values:
    return check_values(value)


_MAX_NUMBER: Final = 253_402_300_799  # the last second of the year 9999, the latest time that `datetime` supports


def _number(value: object, _: object) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= _MAX_NUMBER:
        return value
    raise ValueError(f"it is not a number from 0 to {_MAX_NUMBER}")


def _count(value: object, _: object) -> int:
    if type(value) is int and 0 <= value <= _MAX_NUMBER:
        return value
    raise ValueError(f"it is not a whole number from 0 to {_MAX_NUMBER}")


def _optional_number(value: object, wanted: object) -> float | None:
    return None if value is None else _number(value, wanted)


def _text_of(moment: datetime | None) -> str | None:
    return None if moment is None else timestamp(moment)


def _is_values(kind: object) -> bool:
    return kind == Values


def _is_literal(kind: object) -> bool:
    return get_origin(kind) is Literal


# cattrs' own hook for literals raises a plain `Exception`, not a `ValueError`.
def _one_of(kind: object) -> Callable[[object, object], object]:
    known = get_args(kind)

    def structure(value: object, _: object) -> object:
        if value not in known:
            raise ValueError(f"it is not one of {known}")
        return value

    return structure


file_converter.register_structure_hook_func(_is_values, _values)
# cattrs recognizes its function `identity`, and generates code that copies the value without a call.
for kind in (Values, str | None, float | None):
    file_converter.register_unstructure_hook_func(partial(eq, kind), identity)
file_converter.register_structure_hook(int, _count)
file_converter.register_structure_hook(float, _number)
file_converter.register_structure_hook(float | None, _optional_number)
file_converter.register_unstructure_hook(datetime | None, _text_of)
file_converter.register_structure_hook_factory(_is_literal, _one_of)
