"""Read a plan file.

A plan is a file of JSON lines: a header, a line for each room to change, and totals with a checksum. For example, a
plan sets `max_participants` to 20 in 3 rooms. Two of them have that value already, so only one room is listed:

    {"aiorooms_plan":3,"id":"eb74...","created_at":"2024-...","base_url":"https://...","source":"rooms.csv"}
    {"room_id":"c386...",...,"before":{"max_participants":10},"after":{"max_participants":20}}
    {"rooms":1,"unchanged":2,"latest_update":"2024-...","sha256":"3969..."}

The checksum covers all lines, so `Plan.open` rejects a plan that is incomplete or was edited. The rooms are read line
by line, so even a plan with a million rooms needs little memory.
"""

from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Final, Self

import attrs

from .._text import quoted
from ..client import RoomsClient
from ..errors import PlanFileError
from ._duplicates import DuplicateIds
from ._existing_file import open_existing
from ._files import json_object, os_errors_as, quoted_path
from ._plan_records import (
    HEADER,
    PLANNED,
    TOTALS,
    VERSION,
    VERSIONS,
    Checksum,
    PlannedUpdate,
    PlanTotals,
    room_id_of,
)

__all__ = ["Plan", "modified_plan", "replaced_plan", "unreadable_plan"]


@attrs.frozen(kw_only=True)
class Plan:
    """A plan file. `open` has checked that it is complete and was not modified since it was made."""

    path: Path
    plan_id: str
    created_at: str
    base_url: str
    """The base URL of the API that the plan was made for."""
    source: str
    """The file or the selection that the plan was made from."""
    rooms: int
    """Number of rooms to change."""
    unchanged: int
    """Number of rooms that already had the wanted values when the plan was made."""
    not_concerned: int = 0
    """Number of rooms of the account for which the source had no values; 0 in a plan of an older format."""
    invalid: int = 0
    """Number of rooms and rows that were left out because of a problem; 0 in a plan of an older format."""
    latest_update: datetime | None
    """The latest `updated_at` of the planned rooms when the plan was made.

    None if there are no planned rooms, or if one of them has no `updated_at`.
    """
    sha256: str
    """The checksum in the last line of the file, as hexadecimal digits."""
    version: int = VERSION
    """The version of the file format. With a plan in format 1, every modification of a room is a conflict."""

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Check a plan file, and read its header and totals.

        Raises `PlanFileError` if the file can't be read, is not a regular file or not a plan, is incomplete, was
        modified after it was made, or has an unknown format version.
        """
        path = Path(path)
        with os_errors_as(unreadable_plan, path), open_existing(path) as file:
            first = file.readline(_LONGEST_HEADER)
            _check_version(path, first)
            checksum = Checksum()
            last, rooms = first, -1
            for line in file:
                checksum.add(last)
                last = line
                rooms += 1
        ending = json_object(last) if last.endswith(b"\n") else None
        if ending is None or "sha256" not in ending:
            raise PlanFileError(
                f"the plan {quoted_path(path)} is incomplete: its last line is missing",
                hint="make the plan again",
                reason="incomplete_plan",
            )
        try:
            header, totals = HEADER.read(first), TOTALS.from_json(ending)
        except ValueError:
            raise _edited(path) from None
        if rooms != totals.rooms or last != TOTALS.line(checksum.seal(totals)):
            raise _edited(path)
        return cls(
            path=path,
            plan_id=header.plan_id,
            created_at=header.created_at,
            base_url=header.base_url,
            source=header.source,
            rooms=totals.rooms,
            unchanged=totals.unchanged,
            not_concerned=totals.not_concerned,
            invalid=totals.invalid,
            latest_update=totals.latest_update,
            sha256=totals.sha256,
            version=header.version,
        )

    def updates(self) -> Iterator[PlannedUpdate]:
        """Yield the planned updates, in the order of the file.

        Raises `PlanFileError` if the file can't be read, if a line is not the line of a room, if two lines are for the
        same room, or if the file was modified or replaced since `Plan.open`. A modification and a second line for a
        room are noticed only after the last update.
        """
        with closing(self.open_file()) as file:
            yield from map(PLANNED.read, self.room_lines(file))

    def open_file(self) -> BinaryIO:
        """Open the file for reading. Raises `PlanFileError` if it can't be read."""
        with os_errors_as(unreadable_plan, self.path):
            return open_existing(self.path)

    def check(self, file: BinaryIO) -> None:
        """Read the whole file, and raise `PlanFileError` if its checksum differs from `sha256`."""
        for _ in self.room_lines(file):
            pass

    def room_lines(self, file: BinaryIO) -> Iterator[bytes]:
        """Yield the line of each room, in a form that `PLANNED` and `PlannedLine` can read.

        Then raise `PlanFileError` if the file's checksum differs from `sha256`, or if two lines are for the same room.
        If a line is not the line of a room, no further line is yielded, and `PlanFileError` is raised too. It is also
        raised if the file can't be read.
        """
        with os_errors_as(unreadable_plan, self.path):
            file.seek(0)
            checksum = Checksum()
            checksum.add(file.readline())
            ids = DuplicateIds()
            wrong = ""
            for number, line in enumerate(islice(file, self.rooms), 2):
                checksum.add(line)
                if wrong:
                    continue
                try:
                    ids.add(room_id_of(line))
                except ValueError as error:
                    wrong = f"line {number:,} {error}"
                else:
                    yield line
            totals = PlanTotals(
                rooms=self.rooms,
                unchanged=self.unchanged,
                latest_update=self.latest_update,
                not_concerned=self.not_concerned,
                invalid=self.invalid,
            )
            if checksum.seal(totals).sha256 != self.sha256:
                raise replaced_plan(self.path)
            if not wrong and (pair := ids.first_pair(self._room_ids(file))) is not None:
                wrong = f"the lines {pair[0] + 2:,} and {pair[1] + 2:,} are for the same room"
            if wrong:
                raise _edited(self.path, wrong)

    def _room_ids(self, file: BinaryIO) -> Iterator[str]:
        """Yield the room's id of each line, which was checked before."""
        file.seek(0)
        file.readline()
        yield from map(room_id_of, islice(file, self.rooms))

    def check_server(self, client: RoomsClient) -> None:
        """Raise `PlanFileError` if the base URLs of the client and the plan differ."""
        if client.base_url != self.base_url:
            text = f"the plan {quoted_path(self.path)} was made for {self.base_url}, not for {client.base_url}"
            raise PlanFileError(text, hint="use a client whose base_url is the one of the plan", reason="other_server")


def replaced_plan(path: Path) -> PlanFileError:
    """Return the error for a plan that was modified or replaced after it was opened."""
    text = f"the plan {quoted_path(path)} was modified or replaced after it was opened"
    return PlanFileError(text, hint="open it again", reason="replaced_plan")


def modified_plan(path: Path) -> PlanFileError:
    """Return the error for a plan that was modified during a run, after its checksum had been verified."""
    text = f"the plan {quoted_path(path)} was modified while it was applied"
    hint = "no further update was sent; restore the plan from a copy, then continue with resume()"
    return PlanFileError(text, hint=hint, reason="modified_plan")


_LONGEST_HEADER: Final = 1024 * 1024
"""Maximum number of bytes to read as the header. If the file is not a plan, its first line may be very long."""


def _check_version(path: Path, first: bytes) -> None:
    header = json_object(first)
    if header is None or "aiorooms_plan" not in header:
        raise PlanFileError(
            f"{quoted_path(path)} is not a plan", hint="give a file written by make_plan()", reason="not_a_plan"
        )
    if (version := header["aiorooms_plan"]) not in VERSIONS:
        known = f"{', '.join(map(str, VERSIONS[:-1]))} and {VERSIONS[-1]}"
        text = (
            f"the plan {quoted_path(path)} has format version {quoted(version)}, but this aiorooms reads only {known}"
        )
        raise PlanFileError(text, hint="upgrade aiorooms", reason="newer_plan")


def unreadable_plan(path: Path, reason: str) -> PlanFileError:
    """Return the error for a plan that can't be read, for `os_errors_as`."""
    return PlanFileError(f"the plan {quoted_path(path)} can't be read: {reason}", reason="unreadable")


def _edited(path: Path, wrong: str = "") -> PlanFileError:
    text = f"the plan {quoted_path(path)} was modified after it was made{f': {wrong}' * bool(wrong)}"
    return PlanFileError(text, hint="edit the input of make_plan() instead, and make a new plan", reason="edited_plan")
