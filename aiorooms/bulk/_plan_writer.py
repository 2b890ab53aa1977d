"""Writing a plan file line by line."""

import hashlib
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from ..errors import AioroomsError, PlanFileError
from ._files import JsonObject, json_line, named, why, written_whole
from ._plan_records import VERSION, PlannedUpdate, PlanSummary, timestamp, totals

__all__ = ["PlanWriter", "new_plan"]


class PlanWriter:
    """Writes a plan file line by line."""

    def __init__(self, file: BinaryIO, base_url: str, source: str) -> None:
        self.plan_id = str(uuid.uuid4())
        self._file = file
        self._checksum = hashlib.sha256()
        self._rooms = 0
        self._latest: datetime | None = None
        self._all_dated = True
        header = {
            "aiorooms_plan": VERSION,
            "id": self.plan_id,
            "created_at": timestamp(datetime.now(UTC)),
            "base_url": base_url,
            "source": source,
        }
        self._write(header)

    def add(self, planned: PlannedUpdate) -> None:
        """Write the line of a room."""
        self._write(planned.to_json())
        self._rooms += 1
        at = planned.updated_at
        self._all_dated &= at is not None
        if at is not None and (self._latest is None or at > self._latest):
            self._latest = at

    def finish(self, unchanged: int) -> PlanSummary:
        """Write the totals and the checksum."""
        latest = timestamp(self._latest) if self._all_dated else None
        self._checksum.update(totals(self._rooms, unchanged, latest, ""))
        self._file.write(totals(self._rooms, unchanged, latest, self._checksum.hexdigest()))
        return PlanSummary(plan_id=self.plan_id, rooms=self._rooms, unchanged=unchanged)

    def _write(self, value: JsonObject) -> None:
        line = json_line(value)
        self._checksum.update(line)
        self._file.write(line)


@contextmanager
def new_plan(path: str | Path, base_url: str, source: str) -> Generator[PlanWriter]:
    """Give a writer; the file is there when the block ends well. Raises `PlanFileError` if it can't be written."""
    path = Path(path)
    try:
        with written_whole(path) as file:
            yield PlanWriter(file, base_url, source)
    except OSError as error:
        # Those of the client are of other classes, although they are OSErrors too.
        if isinstance(error, AioroomsError):
            raise
        raise PlanFileError(f"the plan {named(path)} can't be written: {why(error)}") from None
