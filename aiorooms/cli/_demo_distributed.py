"""`aiorooms demo --distributed`: three workers apply a plan through Redis, one of them is killed, and nothing is lost.

The simulator runs in this process. The workers and the other commands are real ones, in processes of their own. If no
`redis-server` is on PATH, the demo says how to get one. Then it shows the same in one process, with the store in
memory: three workers are tasks, and one of them is cancelled.
"""

import asyncio
import os
import shutil
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from .._aio import end_tasks
from .._text import counted
from ._demo_steps import Commands, process_of
from ._distributed import load
from ._output import Output

if TYPE_CHECKING:
    from ..simulator import RoomsSimulator

__all__ = ["DistributedStory"]

_WORKERS: Final = 3
_KILL_AFTER: Final = 0.3
"""Share of the updates after which a worker is killed."""

_REDELIVERY: Final = 3.0
"""Seconds. The default of 15 would make the demo too long."""

_HOW_TO_GET_REDIS: Final = "install it with `apt install redis-server` or `brew install redis`"
_PLAN: Final = "rooms.plan"
_SET: Final = ("--set", "max_participants=20")


class DistributedStory:
    """The steps of the demo, and what they achieved."""

    def __init__(self, simulator: "RoomsSimulator", out: Output, folder: Path, redis_folder: Path) -> None:
        self.updated = 0
        """Number of rooms with the planned values at the end."""
        self.is_killed = False
        self.failure: str | None = None
        self._simulator = simulator
        self._out = out
        self._folder = folder
        # The path of a Unix socket has about 100 bytes at most. The folder of the demo may have a longer path.
        self._redis_folder = redis_folder
        self._step = 0
        # Searching for a program and importing would block the event loop.
        self._binary = shutil.which("redis-server")
        load()

    @property
    def succeeded(self) -> bool:
        """Whether all rooms have the planned values, and every command succeeded."""
        return self.failure is None and self.updated == len(self._simulator.rooms)

    async def run(self) -> None:
        """Do all steps."""
        simulator, binary = self._simulator, self._binary
        async with simulator:
            commands = Commands(self._out, self._folder, simulator.url, simulator.api_key)
            self._begin("Plan", "read all rooms, and write the changes to a file.")
            await self._succeed(commands, "plan", *_SET)
            if binary is None:
                self._out.note(f"There is no redis-server on PATH; {_HOW_TO_GET_REDIS}. This is the same in memory.")
                await self._in_memory()
            else:
                await self._in_redis(commands, binary)
            self.updated = sum(room["max_participants"] == 20 for room in simulator.rooms.values())

    # --- with Redis ---

    async def _in_redis(self, commands: Commands, binary: str) -> None:
        async with _redis(binary, self._redis_folder) as on:
            await self._apply(commands, on)

    async def _apply(self, commands: Commands, on: str) -> None:
        worker = ("worker", "--on", on, "--redelivery", f"{_REDELIVERY:g}", "--quiet")
        self._begin("Workers", f"start {_WORKERS} of them, each in a process of its own.")
        commands.show(*worker)
        async with AsyncExitStack() as stack:
            workers = [
                await stack.enter_async_context(process_of(worker, self._folder, commands.environment, DEVNULL))
                for _ in range(_WORKERS)
            ]
            rooms = counted(len(self._simulator.rooms), "room")
            self._begin("Apply", f"submit {rooms}, and `kill -9` one worker after {_KILL_AFTER:.0%} of the updates.")
            killing = asyncio.create_task(self._kill(workers[0]))
            try:
                await self._succeed(commands, "apply", _PLAN, "--on", on, "--yes")
            finally:
                await end_tasks([killing])
            self._begin("Journal", "pull an ordinary journal out of Redis.")
            await self._succeed(commands, "journal", await _newest(on), "--on", on, "--out", "rooms.journal")
            self._begin("Verify", "compare every room on the server with the plan.")
            await self._succeed(commands, "verify", _PLAN)

    async def _kill(self, worker: Process) -> None:
        await self._reach(_KILL_AFTER)
        worker.kill()
        await worker.wait()
        self.is_killed = True
        self._out.note(f"A worker was killed. Its rooms go to the other two within {_REDELIVERY * 1.5:g} s.")

    async def _reach(self, share: float) -> None:
        target = share * len(self._simulator.rooms)
        while self._simulator.stats.by_method["PATCH"] < target:  # noqa: ASYNC110 - the simulator has no event for it
            await asyncio.sleep(0.02)

    # --- without ---

    async def _in_memory(self) -> None:
        from ..bulk import Plan
        from ..bulk.distributed import DistributedRun, Worker, submit
        from ..client import RoomsClient

        on = "memory://demo"
        simulator = self._simulator
        self._begin("Workers", f"start {_WORKERS} of them in this process, and cancel one.")
        plan = await asyncio.to_thread(Plan.open, self._folder / _PLAN)
        async with AsyncExitStack() as stack:
            clients: list[RoomsClient] = [
                await stack.enter_async_context(RoomsClient(simulator.api_key, base_url=simulator.url))
                for _ in range(_WORKERS)
            ]
            name = await submit(clients[0], plan, on)
            workers: list[Worker] = [Worker(client, on, redelivery=_REDELIVERY) for client in clients]
            tasks = [asyncio.create_task(worker.run()) for worker in workers]
            try:
                await self._reach(_KILL_AFTER)
                await end_tasks(tasks[:1])
                self.is_killed = True
                self._out.note("A worker was cancelled.")
                async with DistributedRun(name, on) as run:
                    async for status in run.watch(1.0):
                        self._out.note(f"{status.snapshot.done:,} of {counted(status.snapshot.rooms, 'room')} done")
            finally:
                await end_tasks(tasks)

    # --- helpers ---

    def _begin(self, title: str, text: str) -> None:
        self._step += 1
        if not self._out.json:
            self._out.line("")
            self._out.styled((f"{self._step}. {title}: ", "bold"), text)

    async def _succeed(self, commands: Commands, *words: str) -> None:
        ended = await commands.run(*words)
        if ended.exit_code and self.failure is None:
            self.failure = f"step {self._step} failed: `aiorooms {words[0]}` ended with exit code {ended.exit_code}"


async def _newest(on: str) -> str:
    from ..bulk.distributed import find_runs

    return (await find_runs(on))[0]


@asynccontextmanager
async def _redis(binary: str, folder: Path) -> AsyncGenerator[str]:
    """Run a Redis server on a socket in a folder, and yield its URL."""
    socket = folder / "redis.sock"
    words = ("--port", "0", "--unixsocket", str(socket), "--appendonly", "yes", "--dir", str(folder))
    process = await asyncio.create_subprocess_exec(binary, *words, stdout=DEVNULL, start_new_session=True)
    try:
        while not await asyncio.to_thread(os.path.exists, socket):
            if process.returncode is not None:
                raise OSError(f"redis-server ended with exit code {process.returncode}")
            await asyncio.sleep(0.02)
        yield f"unix://{socket}"
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
