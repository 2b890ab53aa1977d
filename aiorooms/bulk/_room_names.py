"""Find names that two rooms would have if a plan was applied.

A name belongs to one room of the account. A plan that gives a room a name that another room has would fail for this
room, so `make_plan` reports it. The updates of a plan are sent concurrently, in no order. So it also matters if the
other room gives the name up in the same plan. For example, the account has the rooms A to E with the names a to e:

- A gets the name e, and E keeps it. The name is *taken*.
- B gets the name c, and C gets the name x. This is a *chain*: the update of B fails if it is sent before that of C. It
  needs two plans: one that gives C its new name, and then one that gives B the name c.
- C gets the name d, and D gets the name c. This is a *swap*, and so is a longer circle. It needs two plans, too: one
  that gives both rooms temporary names, and then one that gives them the new ones.
- A and E both get the name y.

Names are compared in Unicode's form NFC, so two names that look the same count as one.

The planned updates that change a name are kept in a temporary file, until all rooms have been read. Only then is known
which of them belong in the plan. A room of the account needs 24 bytes of memory, and one that gets a new name 160 more.
"""

import tempfile
import unicodedata
from array import array
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self, cast
from uuid import UUID

import attrs

from .._text import quoted
from ..errors import InputCode, InputProblem, PlanFileError
from ..models import Room
from ._files import os_errors_as
from ._index import LineIndex
from ._plan_records import PLANNED, PlannedUpdate

__all__ = ["RoomNames"]

_MAX_CHAIN: Final = 1000
"""Maximum number of rooms of a circle that is recognized."""

_ID: Final = 16
_DIGEST: Final = 8
"""Length of an id and of the digest of a name, in bytes. Two of a million names have the same digest with a probability
of 1 in 30 million."""


@attrs.frozen
class _Rename:
    """A planned update that changes the name of a room."""

    planned: PlannedUpdate
    line: int | None
    """The line in the source."""

    @property
    def name(self) -> str:
        return str(self.planned.after["unique_name"])

    def __str__(self) -> str:
        where = "" if self.line is None else f" (line {self.line:,})"
        return f"room {self.planned.room_id}{where}"


class RoomNames:
    """The names of the rooms of an account, and the planned updates that change a name."""

    def __init__(self, *, is_needed: bool) -> None:
        """If `is_needed` is false, the caller knows that no name changes, and nothing is kept in memory."""
        self._is_needed = is_needed
        self._holders = bytearray()
        """The id of each room with a name, and the digest of its name."""
        self._file: BinaryIO | None = None
        self._wanted = array("Q")
        """The digests of the new names."""
        self._by_new: LineIndex
        self._by_old: LineIndex
        self._invalid: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._file is not None:
            with suppress(OSError):  # an error could only come from data that nobody needs any more
                self._file.close()

    def add_room(self, room: Room) -> None:
        """Add a room of the account with its present name."""
        if self._is_needed and room.unique_name is not None:
            try:
                self._holders += UUID(room.id).bytes
            except ValueError:
                return  # no update can be sent to a room with such an id
            self._holders += _digest(room.unique_name)

    def add_rename(self, planned: PlannedUpdate, line: int | None) -> None:
        """Keep a planned update that changes the name, until `renames` yields it."""
        with os_errors_as(_no_temporary_file, Path()):
            if self._file is None:
                self._file = cast("BinaryIO", tempfile.TemporaryFile())  # noqa: SIM115 - `__exit__` closes it
                self._by_new, self._by_old = LineIndex(self._file), LineIndex(self._file)
            offset = self._file.tell()
            text = b"%d %s" % (line or 0, PLANNED.line(planned))
            self._file.write(text)
        digest = _digest(str(planned.after["unique_name"]))
        self._wanted.append(int.from_bytes(digest))
        self._by_new.add(digest.hex(), offset, text)
        if planned.unique_name is not None:
            self._by_old.add(_digest(planned.unique_name).hex(), offset, text)

    def problems(self, source: str) -> Iterator[InputProblem]:
        """Yield a problem for each room whose new name another room has or gets. Call this when all were added."""
        if self._file is None:
            return
        with os_errors_as(_no_temporary_file, Path()):
            self._file.flush()
        self._by_new.sort()
        self._by_old.sort()
        self._wanted = array("Q", sorted(self._wanted))
        for first, other in self._by_new.duplicates():
            one, two = _read(self._by_new.line_at(first)), _read(self._by_new.line_at(other))
            yield self._problem(source, two, "duplicate_name", f"{one} gets the same name", "names must be unique")
        for room_id, digest in self._held_and_wanted():
            line = self._by_new.find(digest.hex())
            if line is not None and (rename := _read(line)).planned.room_id.lower() != room_id:
                yield self._conflict(source, rename, room_id)

    def renames(self) -> Iterator[PlannedUpdate]:
        """Yield the planned updates for which `problems` has found no problem, in the order of `add_rename`."""
        if self._file is not None:
            self._file.seek(0)
            for line in self._file:
                if (planned := _read(line).planned).room_id not in self._invalid:
                    yield planned

    def _held_and_wanted(self) -> Iterator[tuple[str, bytes]]:
        """Yield the rooms that have a name which another room may get, each as its id and the digest of the name."""
        wanted, holders = self._wanted, self._holders
        for begin in range(0, len(holders), _ID + _DIGEST):
            digest = bytes(holders[begin + _ID : begin + _ID + _DIGEST])
            number = int.from_bytes(digest)
            position = bisect_left(wanted, number)
            if position < len(wanted) and wanted[position] == number:
                yield str(UUID(bytes=bytes(holders[begin : begin + _ID]))), digest

    def _conflict(self, source: str, rename: _Rename, holder_id: str) -> InputProblem:
        holder = self._holder(rename.name)
        if holder is None or holder.planned.room_id.lower() != holder_id:
            advice = "choose another name, or first give that room another one"
            return self._problem(source, rename, "name_taken", f"room {holder_id} has it", advice)
        gets = f"{holder} has it, and gets the name {quoted(holder.name)} in the same plan"
        if self._is_swap(rename, holder):
            advice = "make two plans: one that gives all rooms that exchange names temporary ones, and then this one"
            return self._problem(source, rename, "name_swap", gets, advice)
        advice = f"make two plans: one that gives room {holder_id} its new name, and then this one"
        return self._problem(source, rename, "name_chain", gets, advice)

    def _holder(self, name: str) -> _Rename | None:
        """Return the update of the room that gives up this name, if there is one."""
        line = self._by_old.find(_digest(name).hex())
        return None if line is None else _read(line)

    def _is_swap(self, rename: _Rename, holder: _Rename) -> bool:
        following: _Rename | None = holder
        for _ in range(_MAX_CHAIN):
            if following is None or following.planned.room_id == rename.planned.room_id:
                break
            following = self._holder(following.name)
        return following is not None and following.planned.room_id == rename.planned.room_id

    def _problem(self, source: str, rename: _Rename, code: InputCode, why: str, advice: str) -> InputProblem:
        planned = rename.planned
        self._invalid.add(planned.room_id)
        name = quoted(rename.name) + " (or one that looks the same)" * (not rename.name.isascii())
        text = f"room {planned.room_id} would get the name {name}, but {why}; {advice}"
        return InputProblem(source, rename.line, "unique_name", text, code=code, value=rename.name)


def _digest(name: str) -> bytes:
    normal = name if name.isascii() else unicodedata.normalize("NFC", name)
    return blake2b(normal.encode(errors="surrogatepass"), digest_size=_DIGEST).digest()


def _read(text: bytes) -> _Rename:
    line, _, planned = text.partition(b" ")
    return _Rename(PLANNED.read(planned), int(line) or None)


def _no_temporary_file(path: Path, reason: str) -> PlanFileError:
    text = f"the new names can't be kept in a temporary file: {reason}"
    return PlanFileError(text, hint="set TMPDIR to a folder with free space", reason="unwritable")
