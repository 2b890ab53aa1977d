"""Group the errors of single rooms, so that 50 rooms with the same error get two lines and not 50.

The first error of each kind is printed at once. At the end, each kind that had more errors gets one line, with the
number of rooms and three of them. Two errors are of the same kind if they differ only in the room's id and in the
number of attempts. For example, 48 of 50 updates get a 404, and 2 get a 422:

    aiorooms: 404 room 7b61621f-62e0-4aad-ab11-9fd19e272e73 not found (10005: Resource not found)
    aiorooms: 422 room 8a3c1f7e-0d3b-4e58-9d0f-5b8b6a0c1d2e: request rejected (10015: ...)
    aiorooms: 48 rooms failed: 404 room ... not found (10005: Resource not found); for example 7b61..., 5c02..., 91fe...
    aiorooms: 2 rooms failed: 422 room ...: request rejected (10015: ...); for example 8a3c..., 0b9d...
"""

from collections.abc import Iterator
from typing import Final

from .._text import error_kind

__all__ = ["RoomErrors"]

_MAX_KINDS: Final = 50
"""Maximum number of kinds to print. The errors of further kinds are only counted."""

_MAX_EXAMPLES: Final = 3


class RoomErrors:
    """The errors of single rooms in one run."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], int] = {}
        """The number of rooms by status and kind."""
        self._examples: dict[tuple[str, str], list[str]] = {}
        self._others = 0

    def add(self, room_id: str, status: str, line: str) -> bool:
        """Record an error. Return whether its line must be printed now, because it is the first of its kind."""
        kind = status, error_kind(line)
        if (count := self._counts.get(kind, 0)) == 0 and len(self._counts) >= _MAX_KINDS:
            self._others += 1
            return False
        self._counts[kind] = count + 1
        examples = self._examples.setdefault(kind, [])
        if len(examples) < _MAX_EXAMPLES:
            examples.append(room_id)
        return count == 0

    def summary(self) -> Iterator[str]:
        """Yield a line for each kind that several rooms have, the most frequent one first."""
        for (status, text), count in sorted(self._counts.items(), key=lambda item: -item[1]):
            if count > 1:
                examples = ", ".join(self._examples[status, text])
                yield f"{count:,} rooms {_VERBS.get(status, status)}: {text}; for example {examples}"
        if self._others:
            yield "1 room has another error" if self._others == 1 else f"{self._others:,} rooms have other errors"


_VERBS: Final = {"uncertain": "are uncertain", "conflict": "are in conflict", "skipped": "were skipped"}
"""The words before the colon. The other status is `failed`."""
