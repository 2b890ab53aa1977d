"""Decoded JSON: what is wrong with a value, and access to the converter that turns values into models.

Nothing here imports cattrs. Importing it and creating the converter took 18 % of the instructions that
`import aiorooms` adds to those of `import aiohttp`, so `load_converter` does both on first use.
"""

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Final, TypeGuard

from .._text import excerpt

if TYPE_CHECKING:
    from cattrs import Converter

__all__ = ["DecodeError", "is_object", "load_converter", "wrong_type"]


class DecodeError(ValueError):
    """A body can't be decoded. `path` is the path of the invalid value; None if the body as a whole is invalid."""

    def __init__(self, message: str, path: str | None = None) -> None:
        super().__init__(message)
        self.path = path


def is_object(value: object) -> TypeGuard[Mapping[str, object]]:
    """Return whether a value is a decoded JSON object."""
    return isinstance(value, dict)


_KINDS: Final[Mapping[type[object], str]] = {
    str: "a string",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    list: "a list",
    dict: "an object",
}


def wrong_type(wanted: str, value: object) -> ValueError:
    """Return the error for a value of the wrong type. Its message is, for example, `is null, not a string`."""
    kind = "null" if value is None else _KINDS.get(type(value), "something else")
    shown = f" {excerpt(repr(value), 60)}" if isinstance(value, (str, int, float)) else ""
    return ValueError(f"is {kind}{shown}, not {wanted}")


@cache
def load_converter() -> "Converter":
    """Return the converter (see `_converter`). The first call imports cattrs."""
    from ._converter import converter  # not at the top of the module: see its docstring

    return converter
