"""A plan file as it is read: opened once against its checksum, then line by line.

A plan is JSON lines: a header, then a line for each room with the fields that change, before and after, and the room's
`updated_at`; the last line has totals and the checksum of all before it. So a plan that is torn or was edited by hand
is detected, and one of a million rooms takes no memory.
"""

from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Final, Self

import attrs

from .._text import quoted
from ..client import RoomsClient
from ..errors import PlanFileError
from ._files import json_object, os_errors_as, quoted_path
from ._plan_records import HEADER, PLANNED, TOTALS, VERSION, Checksum, PlannedUpdate, PlanTotals

__all__ = ["Plan"]


@attrs.frozen(kw_only=True)
class Plan:
    """A plan file that is whole and as it was made."""

    path: Path
    plan_id: str
    created_at: str
    base_url: str
    """Of the account that it was made for."""
    source: str
    """What it was made from."""
    rooms: int
    """Rooms that change."""
    unchanged: int
    """Rooms that were asked for and were already as they should be."""
    latest_update: datetime | None
    """The latest `updated_at` of its rooms; None if not all have one. Whatever changed since has a later one."""
    sha256: str
    """The checksum."""

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Read header, totals and checksum. Raises `PlanFileError` unless it is a plan that nobody has edited."""
        path = Path(path)
        with os_errors_as(_unreadable, path), path.open("rb") as file:
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
                f"the plan {quoted_path(path)} is incomplete, its last line is missing",
                hint="plan again",
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
            latest_update=totals.latest_update,
            sha256=totals.sha256,
        )

    def updates(self) -> Iterator[PlannedUpdate]:
        """Yield what is planned, room by room, in the order of the file.

        Raises `PlanFileError` if it is another file now than the one that was opened.
        """
        with closing(self.open_file()) as file:
            for line in self.room_lines(file):
                try:
                    planned = PLANNED.read(line)
                except ValueError:
                    raise self._replaced() from None
                yield planned

    def open_file(self) -> BinaryIO:
        """Open the file. Raises `PlanFileError`."""
        with os_errors_as(_unreadable, self.path):
            return self.path.open("rb")

    def check(self, file: BinaryIO) -> None:
        """Read all of the file. Raises `PlanFileError` if it is not this plan."""
        for _ in self.room_lines(file):
            pass

    def room_lines(self, file: BinaryIO) -> Iterator[bytes]:
        """Give the line of each room. Raises `PlanFileError` after the last one if they are not this plan's."""
        file.seek(0)
        checksum = Checksum()
        checksum.add(file.readline())
        for _ in range(self.rooms):
            line = file.readline()
            checksum.add(line)
            yield line
        totals = PlanTotals(rooms=self.rooms, unchanged=self.unchanged, latest_update=self.latest_update)
        if checksum.seal(totals).sha256 != self.sha256:
            raise self._replaced()

    def check_server(self, client: RoomsClient) -> None:
        """Raise `PlanFileError` if the client talks to another server than the plan was made for."""
        if client.base_url != self.base_url:
            text = f"the plan {quoted_path(self.path)} was made for {self.base_url}, not for {client.base_url}"
            raise PlanFileError(text, reason="other_server")

    def _replaced(self) -> PlanFileError:
        text = f"the plan {quoted_path(self.path)} was changed after it was opened"
        return PlanFileError(text, hint="open it again", reason="replaced_plan")


_LONGEST_HEADER: Final = 1024 * 1024
"""Bytes; so that a file without line ends is not read as a whole."""


def _check_version(path: Path, first: bytes) -> None:
    header = json_object(first)
    if header is None or "aiorooms_plan" not in header:
        raise PlanFileError(f"{quoted_path(path)} is not a plan", hint="make_plan() writes one", reason="not_a_plan")
    if (version := header["aiorooms_plan"]) != VERSION:
        text = f"the plan {quoted_path(path)} is of version {quoted(version)}, which takes a newer aiorooms"
        raise PlanFileError(text, reason="newer_plan")


def _unreadable(path: Path, reason: str) -> PlanFileError:
    return PlanFileError(f"the plan {quoted_path(path)} can't be read: {reason}", reason="unreadable")


def _edited(path: Path) -> PlanFileError:
    text = f"the plan {quoted_path(path)} was changed after it was made"
    return PlanFileError(text, hint="edit the source and plan again", reason="edited_plan")
