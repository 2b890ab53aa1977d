"""Helpers for the tests of runs on several machines: a real Redis, a store in memory, and workers in this process."""

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from aiorooms import RoomsClient
from aiorooms.bulk import Journal, Plan
from aiorooms.bulk.distributed import DistributedRun, RunStatus, Worker, submit
from aiorooms.simulator import RoomsSimulator
from benchmarks._redis_server import RedisServer, redis_server

from ..bulk.conftest import client_of, plan_of

__all__ = ["client_of", "ended", "journal_of", "plan_of", "submitted", "until", "working"]

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with redis_server(tmp_path_factory.mktemp("store")) as url:
        yield url


@pytest.fixture
def redis_process(tmp_path: Path) -> Iterator[RedisServer]:
    """A server that keeps what it was told when it is killed."""
    folder = tmp_path / "redis"
    folder.mkdir()
    server = RedisServer(folder, "--appendonly", "yes")
    server.start()
    yield server
    server.end()


@pytest.fixture(params=["redis", "memory"])
def on(request: pytest.FixtureRequest) -> str:
    """The URL of a store. That of the store in memory is another one in each test."""
    if request.param == "memory":
        return f"memory://{next(_numbers)}"
    return str(request.getfixturevalue("redis_url"))


@asynccontextmanager
async def working(client: RoomsClient, on: str, count: int = 1, *, redelivery: float = 15.0) -> AsyncGenerator[None]:
    """Run workers in this event loop while the block runs."""
    workers = [Worker(client, on, redelivery=redelivery) for _ in range(count)]
    async with asyncio.TaskGroup() as tasks:
        for worker in workers:
            tasks.create_task(worker.run())
        yield
        for worker in workers:
            worker.stop()


async def submitted(sim: RoomsSimulator, folder: Path, on: str, *set_fields: str, **settings: object) -> str:
    """Make a plan, submit it, and return the name of its run."""
    async with client_of(sim) as client:
        plan: Plan = await plan_of(client, folder, *set_fields)
        return await submit(client, plan, on, **settings)  # type: ignore[arg-type]


async def ended(name: str, on: str) -> RunStatus:
    """Wait until a run has ended, and return its state."""
    async with asyncio.timeout(50), DistributedRun(name, on) as run:
        return [status async for status in run.watch(0.05)][-1]


async def until(name: str, on: str, condition: str, number: int) -> RunStatus:
    """Wait until so many rooms are in a state, such as `updated`."""
    async with asyncio.timeout(50), DistributedRun(name, on) as run:
        while True:
            status = await run.status()
            if status.snapshot.counts[condition] >= number or status.has_ended:
                return status
            await asyncio.sleep(0.02)


async def journal_of(name: str, on: str, folder: Path) -> tuple[Path, Counter[str]]:
    """Pull the journal of a run. Return its path, and the number of rooms by state."""
    path = folder / f"pulled-{next(_numbers)}.journal"
    async with DistributedRun(name, on) as run:
        await run.pull_journal(path)
    journal = Journal.open(path)
    assert journal.damaged_lines() == []
    return path, Counter(journal.states().values())
