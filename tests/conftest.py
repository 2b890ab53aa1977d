"""Fixtures and helpers for all tests. A test fails if aiorooms blocks the event loop."""

import asyncio
import gc
import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from blockbuster import BlockBuster
from coverage import Coverage
from hypothesis import HealthCheck, settings

from aiorooms import RetryPolicy
from aiorooms._pacing import Pacer
from aiorooms.bulk._new_file import write_atomically
from aiorooms.bulk._plan_writer import PlanWriter
from aiorooms.errors import PlanFileError
from aiorooms.simulator import FaultKind

# The tests start the program hundreds of times. With stored bytecode, it starts in two thirds of the time.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

settings.register_profile("quick", max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("quick")

# Collecting thousands of tests makes millions of objects that live until the end. Without the garbage collector, this
# takes half the time. Afterwards, no collection visits these objects again.
gc.disable()


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


QUICK = RetryPolicy(base_delay=0.001, max_delay=0.002)
"""A retry policy with almost no delay, for tests that are not about waiting."""


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TELNYX_API_KEY", raising=False)
    monkeypatch.delenv("TELNYX_BASE_URL", raising=False)


@pytest.fixture
def short_slow_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a server that does not answer receive all requests at once, and not only after two seconds."""
    monkeypatch.setattr("aiorooms._pacing.slow_start._WIDEN_AFTER", 0.01)


MAY_BLOCK = [
    # A journal line must be written before its request is sent.
    ("os.write", "bulk/_journal_writer.py", {"write"}),
    # The file is read backwards, 64 KB at a time.
    ("io.BufferedReader.read", "bulk/_journal.py", {"complete_size"}),
    ("os.getcwd", "bulk/_journal_writer.py", {"create", "__init__"}),
    ("os.stat", "bulk/_journal_writer.py", {"_already_exists", "_close"}),
    ("os.path.samestat", "bulk/_journal_writer.py", {"_close"}),
    ("os.unlink", "bulk/_journal_writer.py", {"_close"}),
    # Most writes only fill a buffer.
    ("io.BufferedWriter.write", "bulk/_new_file.py", {"write"}),
    ("io.BufferedRandom.write", "bulk/_room_names.py", {"add_rename"}),
    ("os.path.abspath", "bulk/_new_file.py", {"__init__"}),
    ("os.getcwd", "bulk/_new_file.py", {"__init__"}),
    ("os.readlink", "bulk/_new_file.py", {"__init__"}),
    ("os.link", "bulk/_new_file.py", {"rename"}),
    ("os.replace", "bulk/_new_file.py", {"rename"}),
    ("os.stat", "bulk/_new_file.py", {"__init__"}),
    ("os.unlink", "bulk/_new_file.py", {"discard", "rename"}),
    ("io.TextIOWrapper.read", "aiorooms/client.py", {"_is_in_netrc"}),  # reads netrc, once per client
    # redis-py looks up its own version for each new connection.
    ("os.stat", "redis/utils.py", {"get_lib_version"}),
    ("os.listdir", "redis/utils.py", {"get_lib_version"}),
    ("os.scandir", "redis/utils.py", {"get_lib_version"}),
    ("io.TextIOWrapper.read", "redis/utils.py", {"get_lib_version"}),
    ("io.BufferedReader.read", "redis/utils.py", {"get_lib_version"}),
]
"""Blocking calls that aiorooms makes in the event loop on purpose. Most are faster than `asyncio.to_thread`.

Each entry is a blocking function, a file of aiorooms, and the functions in that file that may call it.
"""


@pytest.fixture(scope="session")
def detector() -> BlockBuster:
    """The detector of blocking calls. To make it takes longer than to switch it on and off."""
    detector = BlockBuster("aiorooms")
    if Coverage.current() is not None:
        # Coverage acquires its lock from C, so no frame can exempt it. The traced function would get the error.
        del detector.functions["threading.Lock.acquire"]
    for name, file, functions in MAY_BLOCK:
        detector.functions[name].can_block_in(file, functions)
    return detector


@pytest.fixture(autouse=True)
def _no_blocking_calls(detector: BlockBuster) -> Iterator[None]:
    detector.activate()
    try:
        yield
    finally:
        detector.deactivate()


def times(kind: FaultKind, count: int) -> list[FaultKind]:
    """Return a fault script with `count` faults of one kind."""
    return [kind] * count


async def settle() -> None:
    """Run 20 iterations of the event loop, which is enough for most tasks that need neither a timer nor I/O."""
    for _ in range(20):
        await asyncio.sleep(0)


def tasks_left() -> set[asyncio.Task[Any]]:
    """Return the tasks of the running loop, except for the current task and the tasks of simulators."""
    return {
        task
        for task in asyncio.all_tasks()
        if task is not asyncio.current_task() and "aiorooms/simulator" not in _origin(task)
    }


def _origin(task: asyncio.Task[Any]) -> str:
    code = getattr(task.get_coro(), "cr_code", None)
    filename = "" if code is None else code.co_filename
    # The tasks that run the simulator's handlers begin in aiohttp's web_protocol.py.
    return "aiorooms/simulator" if filename.endswith("web_protocol.py") else filename


def in_flight_and_waiting(pacer: Pacer) -> tuple[int, int]:
    """Return the number of attempts in flight and the number of attempts that wait for a permit."""
    snapshot = pacer.snapshot()
    return snapshot.in_flight, snapshot.waiting


@contextmanager
def plan_file(path: str | Path, base_url: str, source: str) -> Generator[PlanWriter]:
    """Yield a writer of a plan file, without a client and an event loop. The plan is complete after `finish`."""
    with write_atomically(Path(path), lambda _, reason: PlanFileError(reason)) as file:
        yield PlanWriter(file, base_url, source)
