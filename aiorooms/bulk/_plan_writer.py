"""Write a plan file line by line and atomically: the file appears under its name only when it is complete."""

import uuid
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import attrs

from .._text import timestamp
from ..errors import InputProblem, PlanFileError
from ._files import as_utf8, quoted_path
from ._new_file import write_atomically_async
from ._plan_records import HEADER, PLANNED, TOTALS, Checksum, PlanHeader, PlannedUpdate, PlanTotals

__all__ = ["PlanSummary", "PlanWriter", "new_plan"]


@attrs.frozen(kw_only=True)
class PlanSummary:
    """The totals of a new plan."""

    plan_id: str
    rooms: int
    """Number of rooms to change."""
    unchanged: int
    """Number of rooms that already have the wanted values."""
    not_concerned: int = 0
    """Number of rooms of the account for which the source has no values."""
    invalid: int = 0
    """Number of rooms and rows that were left out because of a problem, with `skip_invalid`."""
    invalid_problems: Sequence[InputProblem] = ()
    """The first 1,000 problems of these rooms and rows. If there are more, the last one says how many."""
    outdated: int = 0
    """Number of rooms in the source that were modified after it was exported. The plan may revert these changes."""
    outdated_rooms: Sequence[str] = ()
    """The ids of the first three of these rooms."""
    warnings: int = 0
    """Number of changes that may not be what was meant, such as a name that a spreadsheet may have converted."""
    first_warnings: Sequence[str] = ()
    """The first ten of these warnings, one line each."""


class _File(Protocol):
    def write(self, data: bytes, /) -> object: ...


class PlanWriter:
    """Writes a plan file line by line."""

    def __init__(self, file: _File, base_url: str, source: str) -> None:
        self.plan_id = str(uuid.uuid4())
        self._file = file
        self._checksum = Checksum()
        self._rooms = 0
        self._latest: datetime | None = None
        self._all_dated = True
        header = PlanHeader(
            plan_id=self.plan_id,
            created_at=timestamp(datetime.now(UTC)),
            base_url=base_url,
            source=as_utf8(source),
        )
        self._write(HEADER.line(header))

    def add(self, planned: PlannedUpdate) -> None:
        """Write the line of a room."""
        self._write(PLANNED.line(planned))
        self._rooms += 1
        at = planned.updated_at
        self._all_dated &= at is not None
        if at is not None and (self._latest is None or at > self._latest):
            self._latest = at

    def finish(self, unchanged: int, *, not_concerned: int = 0, invalid: int = 0) -> PlanSummary:
        """Write the totals and the checksum."""
        latest = self._latest if self._all_dated else None
        totals = PlanTotals(
            rooms=self._rooms, unchanged=unchanged, latest_update=latest, not_concerned=not_concerned, invalid=invalid
        )
        self._file.write(TOTALS.line(self._checksum.seal(totals)))
        return PlanSummary(
            plan_id=self.plan_id,
            rooms=self._rooms,
            unchanged=unchanged,
            not_concerned=not_concerned,
            invalid=invalid,
        )

    def _write(self, line: bytes) -> None:
        self._checksum.add(line)
        self._file.write(line)


@asynccontextmanager
async def new_plan(path: str | Path, base_url: str, source: str) -> AsyncGenerator[PlanWriter]:
    """Yield a writer. If the block succeeds, create the file. Raises `PlanFileError` if it can't be written."""
    async with write_atomically_async(Path(path), _unwritable) as file:
        yield PlanWriter(file, base_url, source)


def _unwritable(path: Path, reason: str) -> PlanFileError:
    return PlanFileError(f"the plan {quoted_path(path)} can't be written: {reason}", reason="unwritable")
