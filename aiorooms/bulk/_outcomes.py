"""How rooms end: what the caller gets, and when nothing more is begun."""

import attrs

from ..errors import AioroomsError
from ._journal_records import Ending

__all__ = ["Outcome", "StopSignal"]


@attrs.frozen(kw_only=True)
class Outcome:
    """How the update of one planned room ended in this run."""

    room_id: str
    unique_name: str | None
    """The room's name when the plan was made."""
    status: Ending
    """`updated`, `failed`, `uncertain`, `skipped` (not sent), or `conflict` (modified by someone else; not touched)."""
    error: str | None = None
    """One line, unless the room was updated."""
    failure: AioroomsError | None = attrs.field(default=None, eq=False, repr=False)
    """The error itself; None if there is none, and for a conflict."""
    attempts: int = 0
    found: bool = False
    """The room was found to have the wanted values, and nothing was sent."""


class StopSignal:
    """Says whether nothing more is begun, and why; the first reason stays."""

    def __init__(self, max_failures: int | None) -> None:
        self.why: str | None = None
        self.error: AioroomsError | None = None
        """The error behind it, if that is one."""
        self.failures_left = max_failures

    def stop(self, why: str | AioroomsError) -> None:
        """Begin nothing more."""
        if self.why is None:
            self.why = str(why)
            self.error = why if isinstance(why, AioroomsError) else None

    def count_failure(self, error: AioroomsError) -> None:
        """Count a failure; after the last one that is allowed nothing more is begun."""
        if self.failures_left is not None:
            self.failures_left -= 1
            if self.failures_left == 0:
                self.stop(f"as many failures as are allowed, the last one: {error.message}")
