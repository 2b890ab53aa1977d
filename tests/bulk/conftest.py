"""Helpers for the tests of bulk runs."""

from collections import Counter
from collections.abc import AsyncGenerator, Collection, Generator, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias
from uuid import UUID

import attrs
import pytest

from aiorooms import RetryPolicy, Room, RoomsClient
from aiorooms.bulk import (
    BulkRun,
    Change,
    InputProblem,
    Journal,
    Outcome,
    Plan,
    PlannedUpdate,
    apply,
    make_plan,
    select,
)
from aiorooms.bulk._line_checksum import sealed
from aiorooms.bulk._plan_records import PLANNED, TOTALS, Checksum
from aiorooms.models import FIELD_NAMES
from aiorooms.simulator import ALL, FaultKind, RoomsSimulator

from ..conftest import plan_file

Fields: TypeAlias = Mapping[str, object]

PERSISTENT = RetryPolicy(max_attempts=8, base_delay=0.001, max_delay=0.002)
"""Enough retries for any transient fault, with almost no delay between them."""


@asynccontextmanager
async def client_of(sim: RoomsSimulator, *, timeout: float = 5.0) -> AsyncGenerator[RoomsClient]:
    """Yield a client of `sim` that retries with almost no delay."""
    async with RoomsClient(sim.api_key, base_url=sim.url, retry=PERSISTENT, timeout=timeout) as client:
        yield client


async def plan_of(
    client: RoomsClient, folder: Path, *set_fields: str, where: tuple[str, ...] = (), name: str = "a.plan"
) -> Plan:
    """Make a plan that sets the given fields, or `max_participants=20` if none are given."""
    wanted = select(where=where, set_fields=set_fields or ("max_participants=20",))
    await make_plan(client, wanted, folder / name)
    return Plan.open(folder / name)


async def collect(run: BulkRun) -> list[Outcome]:
    return [outcome async for outcome in run.outcomes()]


def counts(outcomes: list[Outcome]) -> dict[str, int]:
    return dict(Counter(outcome.status for outcome in outcomes))


def fields_of(room: Fields) -> Fields:
    """Return the writable fields of a room in the simulator, with None instead of an empty URL."""
    return {name: None if room[name] == "" else room[name] for name in FIELD_NAMES}


def account(sim: RoomsSimulator) -> Mapping[str, Fields]:
    """Return the writable fields of all rooms in the simulator, by room id."""
    return {room_id: fields_of(room) for room_id, room in sim.rooms.items()}


def patches(sim: RoomsSimulator) -> Counter[str]:
    """Return the number of recorded PATCH requests by room id."""
    return Counter(one.path.rpartition("/")[2] for one in sim.recorded if one.method == "PATCH")


def read_backs(sim: RoomsSimulator) -> Counter[str]:
    """Return the number of recorded GET requests by room id. Requests for lists are not counted."""
    return Counter(
        one.path.partition("?")[0].rpartition("/")[2]
        for one in sim.recorded
        if one.method == "GET" and "/rooms/" in one.path
    )


def states(path: Path) -> Mapping[str, int]:
    """Return the number of rooms in each state, according to the journal."""
    return dict(Counter(Journal.open(path).states().values()))


def open_files() -> int:
    """Return the number of open files of this process, or 0 on a system without /proc."""
    numbers = Path("/proc/self/fd")
    return len([*numbers.iterdir()]) if numbers.exists() else 0


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def planned(number: int = 0) -> PlannedUpdate:
    return PlannedUpdate(
        room_id=str(UUID(int=number)),
        unique_name=f"räum-{number}",
        updated_at=datetime(2024, 5, 1, 6, 7, 8, 9, tzinfo=UTC),
        before={"max_participants": 10},
        after={"max_participants": 20},
    )


def write_plan(path: Path, count: int = 3) -> Plan:
    with plan_file(path, "http://127.0.0.1:1/v2", "rooms.csv") as plan:
        for number in range(count):
            plan.add(planned(number))
        plan.finish(7)
    return Plan.open(path)


def in_format_1(plan: Plan) -> Plan:
    """Rewrite a plan file as the first version of aiorooms would have written it."""
    header, *lines, totals = plan.path.read_bytes().splitlines(keepends=True)
    lines = [PLANNED.line(attrs.evolve(PLANNED.read(line), pair={})) for line in lines]
    checksum = Checksum()
    for line in (header := header.replace(b'"aiorooms_plan":3', b'"aiorooms_plan":1'), *lines):
        checksum.add(line)
    plan.path.write_bytes(b"".join((header, *lines, TOTALS.line(checksum.seal(TOTALS.read(totals))))))
    return Plan.open(plan.path)


@attrs.frozen
class FixedChanges:
    """An input of `make_plan` with a fixed change for each room id."""

    changes: dict[str, Change]
    missing: tuple[InputProblem, ...] = ()
    source: str = "rooms.csv"

    def change_of(self, room: Room) -> Change | None:
        return self.changes.get(room.id or "")

    def not_met(self) -> Iterator[InputProblem]:
        return iter(self.missing)


HARMLESS: list[FaultKind] = [kind for kind in ALL if "stall" not in kind and kind != "slow"]
"""Kinds of faults that neither stall nor slow down a request."""


def rooms_to_change(plan: Plan, sim: RoomsSimulator) -> set[str]:
    """Return the ids of the planned rooms that exist but don't have their planned values."""
    rooms = sim.rooms
    return {
        one.room_id
        for one in plan.updates()
        if one.room_id in rooms and any(rooms[one.room_id][name] != value for name, value in one.after.items())
    }


def by_room(outcomes: list[Outcome]) -> dict[str, Outcome]:
    assert len({outcome.room_id for outcome in outcomes}) == len(outcomes)
    return {outcome.room_id: outcome for outcome in outcomes}


async def interrupted(sim: RoomsSimulator, client: RoomsClient, plan: Plan, path: Path, after: int = 10) -> set[str]:
    """Apply a plan, and abort the run after `after` outcomes or a few more. Return the ids of the rooms in flight."""

    def begun() -> set[str]:
        return {room_id for room_id, state in Journal.open(path).states().items() if state == "begun"}

    async with aclosing(apply(client, plan, path, concurrency=5).outcomes()) as outcomes:
        for _ in range(after):
            await anext(outcomes)
        while not begun():  # on a slow machine, it can happen that no update is in flight at this moment
            await anext(outcomes)
    return begun()


def append_lines(path: Path, *lines: str) -> None:
    """Append lines to a journal, with their checksums."""
    with path.open("ab") as file:
        file.writelines(sealed(f"{line}\n".encode()) for line in lines)


def edit_journal(path: Path, old: bytes, new: bytes) -> None:
    """Replace text in the lines of a journal, and correct the checksums."""
    lines = (line.rpartition(b',"crc":')[0] + b"}\n" for line in path.read_bytes().splitlines())
    path.write_bytes(b"".join(sealed(line.replace(old, new)) for line in lines))


async def handwritten_journal(client: RoomsClient, plan: Plan, path: Path, rooms: list[str], *ends: str) -> None:
    """Write a journal without sending any update.

    Each of `rooms` gets a `begin` line, followed by an `end` line for each status in `ends`.
    """
    run = apply(client, plan, path)
    run.stop("by hand")
    await collect(run)
    for room_id in rooms:
        append_lines(path, f'{{"begin":"{room_id}","at":1.0,"before":{{}},"after":{{}}}}')
        for end in ends:
            append_lines(path, f'{{"end":"{room_id}","at":1.0,"status":"{end}","attempts":1}}')


async def append_uncertain_room(path: Path, room_id: str) -> None:
    """Append the lines of an uncertain update to a journal."""
    append_lines(
        path,
        f'{{"begin":"{room_id}","at":1.0,"before":{{}},"after":{{}}}}',
        f'{{"end":"{room_id}","at":1.0,"status":"uncertain","attempts":4}}',
    )


@contextmanager
def odd_answers(sim: RoomsSimulator, **values: object) -> Generator[None]:
    """While the block runs, answer with these values instead of those of the rooms."""
    room_class: Any = type(next(iter(sim._account.rooms.values())))
    whole = room_class.to_json

    def with_odd_values(room: object, **options: object) -> Fields:
        return {**whole(room, **options), **values}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room_class, "to_json", with_odd_values)
        yield


@contextmanager
def odd_lists(sim: RoomsSimulator, room_ids: Collection[str], **values: object) -> Generator[None]:
    """While the block runs, lists contain these rooms with these values, or lack them if there are no values.

    The answers to other requests are correct.
    """
    account_class: Any = type(sim._account)
    select = account_class.select

    def odd_select(account: object, *filters: object) -> list[Any]:
        rooms = [room for room in select(account, *filters) if values or room.id not in room_ids]
        return [attrs.evolve(room, **values) if room.id in room_ids else room for room in rooms]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(account_class, "select", odd_select)
        yield
