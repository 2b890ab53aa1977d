"""The plan file: what is to be changed in which room, and what stood there when the plan was made.

A plan is JSON lines: a header, then a line for each room with the fields that change, before and after, and the room's
`updated_at`; in the end a line with totals and the checksum of all before it. So a plan that is torn, or was edited by
hand, is told from one that was made; and one of a million rooms is read line by line.
"""

import asyncio
import hashlib
import uuid
from bisect import bisect_left
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Mapping
from contextlib import asynccontextmanager, closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final, Protocol, Self, TypeAlias, cast

import attrs

from .._http.json import loads
from .._text import quoted
from .._webhook_url import WebhookUrlPolicy, same_url
from ..client import RoomsClient
from ..errors import AioroomsError, BulkInputError, InputProblem, PlanFileError
from ..models import Room, RoomUpdate, read_room_ref
from ._files import JsonObject, json_line, json_object, named, why, written_whole

__all__ = [
    "AFTER_ID",
    "Change",
    "Plan",
    "PlanIndex",
    "PlanSummary",
    "PlannedUpdate",
    "Values",
    "Wanted",
    "differing",
    "make_plan",
    "new_plan",
    "timestamp",
]

_VERSION: Final = 1

Values: TypeAlias = Mapping[str, str | int | bool | None]
"""Fields of a room and what is in them."""


@attrs.frozen(kw_only=True)
class PlannedUpdate:
    """What a plan says of one room."""

    room_id: str
    unique_name: str | None
    """The room's name when the plan was made."""
    updated_at: datetime | None
    """When the room was last changed before the plan was made."""
    before: Values
    after: Values
    """The same fields as `before`."""

    @classmethod
    def from_json(cls, data: JsonObject) -> Self:
        """Read the line of a room; it is trusted, as its file's checksum was right."""
        fields = cast("Mapping[str, str]", data)
        at = fields["updated_at"]
        return cls(
            room_id=fields["room_id"],
            unique_name=fields["unique_name"],
            updated_at=None if at is None else datetime.fromisoformat(at),  # pyright: ignore[reportUnnecessaryComparison]
            before=cast("Values", data["before"]),
            after=cast("Values", data["after"]),
        )

    def to_json(self) -> JsonObject:
        """Give what stands in the line of a room."""
        return {
            "room_id": self.room_id,
            "unique_name": self.unique_name,
            "updated_at": timestamp(self.updated_at),
            "before": self.before,
            "after": self.after,
        }

    def update(self, policy: WebhookUrlPolicy) -> RoomUpdate:
        """Give what is to be sent."""
        return RoomUpdate.from_dict(self.after, webhook_url_policy=policy)

    def has_changed(self, room: Room) -> bool:
        """Whether somebody changed the room since the plan was made."""
        if self.updated_at is None:
            return bool(differing(room, self.before))
        return room.updated_at != self.updated_at


@attrs.frozen(kw_only=True)
class PlanSummary:
    """What a plan comes to."""

    plan_id: str
    rooms: int
    """Rooms that change."""
    unchanged: int
    """Rooms that were asked for and are already as they should be."""


# --- making one ---


@attrs.frozen
class Change:
    """What is wanted of a room, and in which line of the source that stands."""

    update: RoomUpdate
    line: int | None = None


class Wanted(Protocol):
    """What a plan is made from: the rows of a file, or a selection from the account."""

    @property
    def source(self) -> str:
        """What it is called in the plan and in problems."""
        ...

    def change_of(self, room: Room) -> Change | None:
        """Say what is wanted of a room of the account; None if nothing is."""
        ...

    def not_met(self) -> Iterator[InputProblem]:
        """Say what was wanted of rooms that the account doesn't have."""
        ...


_MOST_PROBLEMS: Final = 1000


async def make_plan(
    client: RoomsClient, wanted: Wanted, path: str | Path, *, on_room: Callable[[], None] | None = None
) -> PlanSummary:
    """Read all rooms of the account, 250 at a time, and write what has to change into a plan file.

    The file is there whole or not at all. `on_room` is called for each room that was read. Raises `BulkInputError`
    with all problems if something can't be planned, and `PlanFileError` if the file can't be written.
    """
    unchanged = 0
    problems = _Problems(wanted.source)
    with new_plan(path, client.base_url, wanted.source) as plan:
        async for room in client.rooms.list():
            if on_room is not None:
                on_room()
            try:
                change = wanted.change_of(room)
            except BulkInputError as error:
                problems.add(*error.problems)
                continue
            if change is None:
                continue
            planned = plan_room(room, change.update)
            if planned is None:
                unchanged += 1
            elif problem := _problem(room, planned.after, wanted.source, change.line):
                problems.add(problem)
            else:
                plan.add(planned)
        for problem in wanted.not_met():
            problems.add(problem)
        problems.raise_if_any()
        return plan.finish(unchanged)


class _Problems:
    """The first of the problems, and how many there are."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._shown: list[InputProblem] = []
        self._more = 0

    def add(self, *problems: InputProblem) -> None:
        for problem in problems:
            if len(self._shown) < _MOST_PROBLEMS:
                self._shown.append(problem)
            else:
                self._more += 1

    def raise_if_any(self) -> None:
        if self._more:
            text = f"{self._more:,} more problems are not shown"
            self._shown.append(InputProblem(self._source, None, None, text))
        if self._shown:
            raise BulkInputError(self._shown)


def plan_room(room: Room, update: RoomUpdate) -> PlannedUpdate | None:
    """Give what an update really changes in a room; None if nothing."""
    after = differing(room, update.to_dict())
    if not after or room.id is None:
        return None
    return PlannedUpdate(
        room_id=room.id,
        unique_name=room.unique_name,
        updated_at=room.updated_at,
        before={name: getattr(room, name) for name in after},
        after=after,
    )


def differing(room: Room, wanted: Values) -> Values:
    """Give those of the wanted values that the room doesn't have."""
    return {name: value for name, value in wanted.items() if not _is(getattr(room, name), value)}


def _is(present: object, wanted: object) -> bool:
    # The API writes "no URL" as an empty text or as null.
    return present == wanted or (present in _NOTHING and wanted in _NOTHING)


_NOTHING: Final = (None, "")


def _problem(room: Room, after: Values, source: str, line: int | None) -> InputProblem | None:
    """See that a room can be named, and that it doesn't end up with one URL for both purposes.

    Of the two URLs the change may name but one.
    """
    if wrong_id := read_room_ref(room)[1]:
        return InputProblem(source, line, None, f"the account has a room whose id {wrong_id[0].message}")
    url = after.get("webhook_event_url", room.webhook_event_url)
    failover = after.get("webhook_event_failover_url", room.webhook_event_failover_url)
    if not isinstance(url, str) or not isinstance(failover, str) or not url or not same_url(url, failover):
        return None
    changed = "webhook_event_url" if "webhook_event_url" in after else "webhook_event_failover_url"
    if changed not in after:
        return None
    return InputProblem(
        source,
        line,
        changed,
        f"room {room.id} would have {quoted(url)} as webhook URL and as failover URL; change the other one too",
    )


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
            "aiorooms_plan": _VERSION,
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
        self._checksum.update(_totals(self._rooms, unchanged, latest, ""))
        self._file.write(_totals(self._rooms, unchanged, latest, self._checksum.hexdigest()))
        return PlanSummary(plan_id=self.plan_id, rooms=self._rooms, unchanged=unchanged)

    def _write(self, value: JsonObject) -> None:
        line = json_line(value)
        self._checksum.update(line)
        self._file.write(line)


def _totals(rooms: int, unchanged: object, latest: object, checksum: str) -> bytes:
    """Give the last line. The checksum is that of all lines before it, and of this one without the checksum."""
    return json_line({"rooms": rooms, "unchanged": unchanged, "latest_update": latest, "sha256": checksum})


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


def timestamp(moment: datetime | None) -> str | None:
    """Write as `2021-04-12T22:29:42.000001Z`."""
    if moment is None:
        return None
    utc = moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    return utc.isoformat().removesuffix("+00:00") + "Z"


# --- reading one ---


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
        with _opened(path) as file:
            first = file.readline(_LONGEST_HEADER)
            header = json_object(first)
            if header is None or "aiorooms_plan" not in header:
                raise PlanFileError(f"{named(path)} is not a plan; `aiorooms plan` makes one")
            if (version := header["aiorooms_plan"]) != _VERSION:
                raise PlanFileError(
                    f"the plan {named(path)} is of version {quoted(version)}, which takes a newer aiorooms"
                )
            checksum = hashlib.sha256()
            last, rooms = first, -1
            for line in file:
                checksum.update(last)
                last = line
                rooms += 1
        totals = json_object(last) if last.endswith(b"\n") else None
        if totals is None or "sha256" not in totals:
            raise PlanFileError(f"the plan {named(path)} is incomplete, its last line is missing; plan again")
        unchanged, latest = totals.get("unchanged"), totals.get("latest_update")
        checksum.update(_totals(rooms, unchanged, latest, ""))
        if last != _totals(rooms, unchanged, latest, checksum.hexdigest()):
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
        checksum.update(_totals(self.rooms, self.unchanged, timestamp(self.latest_update), ""))
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


def read_planned(line: bytes) -> PlannedUpdate:
    """Read the line of a room."""
    return PlannedUpdate.from_json(cast("JsonObject", loads(line)))


class PlanIndex:
    """Finds the line of a room in a plan, in some 70 bytes for each room.

    The file is held open, so another one in its place does no harm. Raises `PlanFileError` if it can't be opened.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._places: list[bytes] = []
        self._taken = bytearray()
        self._file = plan.open_file()

    def read(self) -> Self:
        """Read the plan; it takes a second for a million rooms. Raises `PlanFileError` if it is another one now."""
        offset = 0
        lines = self._plan.lines(self._file)
        try:
            for line in lines:
                if offset:
                    # Where the id stands is known, as `PlannedUpdate.to_json` wrote it.
                    self._places.append(_key(line[_ID].decode()) + offset.to_bytes(8))
                offset += len(line)
        except ValueError:
            for _ in lines:
                pass  # another plan, so this raises what is to be said
            raise
        self._places.sort()
        self._taken = bytearray(len(self._places))
        return self

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def take(self, room_id: str) -> bytes | None:
        """Give the line of a room, once; None if it isn't in the plan, or was taken before."""
        number = self._number(room_id)
        if number is None or self._taken[number]:
            return None
        return self._take(number)

    def left(self) -> Iterator[bytes]:
        """Give the lines that were not taken, and take them."""
        for number in range(len(self._places)):
            if not self._taken[number]:
                yield self._take(number)

    def _number(self, room_id: str) -> int | None:
        try:
            key = _key(room_id)
        except ValueError:
            return None  # a plan has no room whose id is no UUID
        number = bisect_left(self._places, key)
        return number if number < len(self._places) and self._places[number].startswith(key) else None

    def _take(self, number: int) -> bytes:
        self._taken[number] = 1
        self._file.seek(int.from_bytes(self._places[number][16:]))
        return self._file.readline()


_ID: Final = slice(len('{"room_id":"'), len('{"room_id":"') + 36)
"""Where the id of a room stands in its line."""

AFTER_ID: Final = _ID.stop + len('",')
"""Where the line of a room goes on."""


def _key(room_id: str) -> bytes:
    """Give the 16 bytes of a UUID. Raises `ValueError`."""
    key = bytes.fromhex(room_id.replace("-", ""))
    if len(key) != 16:
        raise ValueError("it is no UUID")
    return key


@asynccontextmanager
async def opened_index(plan: Plan) -> AsyncGenerator[PlanIndex]:
    """Read the index of a plan in a thread. Raises `PlanFileError`."""
    index = PlanIndex(plan)
    try:
        # If this is cancelled the thread goes on until it meets the closed file.
        yield await asyncio.to_thread(index.read)
    finally:
        index.close()
