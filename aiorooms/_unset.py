"""`UNSET`, the value that leaves a field unchanged.

`None` can't be that value, because `None` clears a field. `Unset` is an Enum with one member, so that type checkers
narrow the type on `is UNSET`.
"""

from enum import Enum
from typing import Final, Literal

__all__ = ["UNSET", "Unset"]


class Unset(Enum):
    """The type of `UNSET`, for annotations: `int | Unset`."""

    UNSET = "UNSET"

    def __repr__(self) -> str:
        return "UNSET"

    def __bool__(self) -> Literal[False]:
        return False


UNSET: Final = Unset.UNSET
"""The value that leaves a field unchanged: the field is not sent. Compare with `is UNSET`."""
