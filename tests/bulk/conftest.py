"""What the tests of bulk runs share: plans, runs and looks at an account, and files that are at their place at once."""

from collections import Counter
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeAlias

from aiorooms import RetryPolicy, RoomsClient
from aiorooms.bulk import BulkRun, Journal, Outcome, Plan, make_plan, select
from aiorooms.models import FIELD_NAMES
from aiorooms.simulator import RoomsSimulator

Fields: TypeAlias = Mapping[str, object]

QUICK = RetryPolicy(max_attempts=8, base_delay=0.001, max_delay=0.002)
"""Retries that don't wait, and enough of them for any faults that pass."""


@asynccontextmanager
async def client_of(sim: RoomsSimulator, *, timeout: float = 5.0) -> AsyncGenerator[RoomsClient]:
    """A client that doesn't wait between attempts."""
    async with RoomsClient(sim.api_key, base_url=sim.url, retry=QUICK, timeout=timeout) as client:
        yield client


async def plan_of(
    client: RoomsClient, folder: Path, *set_fields: str, where: tuple[str, ...] = (), name: str = "a.plan"
) -> Plan:
    """Plan to set fields, `max_participants=20` if none is given."""
    wanted = select(where=where, set_fields=set_fields or ("max_participants=20",))
    await make_plan(client, wanted, folder / name)
    return Plan.open(folder / name)


async def collect(run: BulkRun) -> list[Outcome]:
    return [outcome async for outcome in run.outcomes()]


def counts(outcomes: list[Outcome]) -> dict[str, int]:
    return dict(Counter(outcome.status for outcome in outcomes))


def fields_of(room: Fields) -> Fields:
    """The six fields of a room as the simulator has it; "no URL" is null."""
    return {name: None if room[name] == "" else room[name] for name in FIELD_NAMES}


def account(sim: RoomsSimulator) -> Mapping[str, Fields]:
    return {room_id: fields_of(room) for room_id, room in sim.rooms.items()}


def patches(sim: RoomsSimulator) -> Counter[str]:
    """How many PATCHes arrived by room, while `sim.record` was on."""
    return Counter(one.path.rpartition("/")[2] for one in sim.recorded if one.method == "PATCH")


def looks(sim: RoomsSimulator) -> Counter[str]:
    """How many GETs of single rooms arrived by room, while `sim.record` was on."""
    return Counter(
        one.path.partition("?")[0].rpartition("/")[2]
        for one in sim.recorded
        if one.method == "GET" and "/rooms/" in one.path
    )


def states(path: Path) -> Mapping[str, int]:
    return dict(Counter(Journal.open(path).states().values()))


def open_files() -> int:
    numbers = Path("/proc/self/fd")
    return len([*numbers.iterdir()]) if numbers.exists() else 0


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())
