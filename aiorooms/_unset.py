"""`UNSET`, the value that means "leave this field alone".

`None` is taken: it clears a field. `Unset` is an Enum of one member, so that type checkers narrow on `is UNSET`.
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
"""Leave the field as it is: it is not sent at all. Compare with `is UNSET`."""
