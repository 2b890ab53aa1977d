"""The plan file: what is to be changed in which room, and what stood there when the plan was made.

A plan is JSON lines: a header, then a line for each room with the fields that change, before and after, and the room's
`updated_at`; in the end a line with totals and the checksum of all before it. So a plan that is torn, or was edited by
hand, is told from one that was made; and one of a million rooms is read line by line.
"""

import hashlib
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Final, Self, cast

import attrs

from .._text import quoted
from ..client import RoomsClient
from ..errors import PlanFileError
from ._files import json_object, named, why
from ._plan_records import VERSION, PlannedUpdate, read_planned, timestamp, totals

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
        """Read header, last_line and checksum. Raises `PlanFileError` unless it is a plan that nobody has edited."""
        path = Path(path)
        with _opened(path) as file:
            first = file.readline(_LONGEST_HEADER)
            header = json_object(first)
            if header is None or "aiorooms_plan" not in header:
                raise PlanFileError(f"{named(path)} is not a plan; `aiorooms plan` makes one")
            if (version := header["aiorooms_plan"]) != VERSION:
                raise PlanFileError(
                    f"the plan {named(path)} is of version {quoted(version)}, which takes a newer aiorooms"
                )
            checksum = hashlib.sha256()
            last, rooms = first, -1
            for line in file:
                checksum.update(last)
                last = line
                rooms += 1
        last_line = json_object(last) if last.endswith(b"\n") else None
        if last_line is None or "sha256" not in last_line:
            raise PlanFileError(f"the plan {named(path)} is incomplete, its last line is missing; plan again")
        unchanged, latest = last_line.get("unchanged"), last_line.get("latest_update")
        checksum.update(totals(rooms, unchanged, latest, ""))
        if last != totals(rooms, unchanged, latest, checksum.hexdigest()):
            raise PlanFileError(f"the plan {named(path)} was changed after it was made; edit the source and plan again")
        return cls(
            path=path,
            plan_id=str(header["id"]),
            created_at=str(header["created_at"]),
            base_url=str(header["base_url"]),
            source=str(header["source"]),
            rooms=rooms,
            unchanged=cast("int", unchanged),
            latest_update=None if latest is None else datetime.fromisoformat(str(latest)),
            sha256=checksum.hexdigest(),
        )

    def updates(self) -> Iterator[PlannedUpdate]:
        """Give what is planned, room by room, in the order of the file.

        Raises `PlanFileError` if it is another file now than the one that was opened.
        """
        for line in self.planned_lines():
            try:
                planned = read_planned(line)
            except (ValueError, KeyError, TypeError):
                raise self._replaced() from None
            yield planned

    def planned_lines(self) -> Iterator[bytes]:
        """Give the line of each room. Raises `PlanFileError` as `updates` does."""
        with closing(self.open_file()) as file:
            lines = self.lines(file)
            next(lines)
            yield from lines

    def open_file(self) -> BinaryIO:
        """Open the file. Raises `PlanFileError`."""
        try:
            return self.path.open("rb")
        except OSError as error:
            raise _unreadable(self.path, error) from None

    def check(self, file: BinaryIO) -> None:
        """Read all of the file. Raises `PlanFileError` if it is not this plan."""
        for _ in self.lines(file):
            pass

    def lines(self, file: BinaryIO) -> Iterator[bytes]:
        """Give the header and the line of each room. Raises `PlanFileError` at the end if they are not this plan's."""
        file.seek(0)
        checksum = hashlib.sha256()
        for _ in range(self.rooms + 1):
            line = file.readline()
            checksum.update(line)
            yield line
        checksum.update(totals(self.rooms, self.unchanged, timestamp(self.latest_update), ""))
        if checksum.hexdigest() != self.sha256:
            raise self._replaced()

    def check_server(self, client: RoomsClient) -> None:
        """Raise `PlanFileError` if the client talks to another server than the plan was made for."""
        if client.base_url != self.base_url:
            raise PlanFileError(f"the plan {named(self.path)} was made for {self.base_url}, not for {client.base_url}")

    def _replaced(self) -> PlanFileError:
        return PlanFileError(f"the plan {named(self.path)} was changed after it was opened; open it again")


_LONGEST_HEADER: Final = 1024 * 1024
"""Bytes; so that a file without line ends is not read as a whole."""


@contextmanager
def _opened(path: Path) -> Generator[BinaryIO]:
    """Open a plan to be read. Raises `PlanFileError` if that, or the reading, can't be done."""
    try:
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: OSError) -> PlanFileError:
    return PlanFileError(f"the plan {named(path)} can't be read: {why(error)}")
