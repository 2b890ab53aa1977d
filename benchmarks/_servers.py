"""A simulator in a process of its own, and processes that use it, for benchmarks of several clients."""

import multiprocessing
from collections.abc import Callable
from multiprocessing import connection
from multiprocessing.context import SpawnProcess
from typing import Any, Final, Self, TypeAlias, TypeVar, cast

from aiorooms.simulator import RateLimit, RoomsSimulator, Stats

__all__ = [
    "Action",
    "Pipe",
    "Server",
    "Wanted",
    "close_port",
    "count_wrong",
    "end",
    "open_port",
    "set_limit",
    "start",
    "stats_of",
]

T = TypeVar("T")

Wanted: TypeAlias = list[tuple[str, dict[str, Any]]]
"""Pairs of a room id and the fields to set."""

Pipe: TypeAlias = "connection.Connection[Any, Any]"

Action: TypeAlias = Callable[[RoomsSimulator], T]
"""A function that the server's process calls with its simulator. It is pickled, so it must be importable."""

_SPAWN: Final = multiprocessing.get_context("spawn")


def start(target: Callable[..., None], *args: object) -> tuple[Pipe, SpawnProcess]:
    """Start a process that calls `target` with one end of a pipe and `args`. Return the other end, and the process."""
    ours, theirs = _SPAWN.Pipe()
    process = _SPAWN.Process(target=target, args=(theirs, *args), daemon=True)
    process.start()
    theirs.close()  # so that our end reports EOF when the process exits
    return ours, process


def end(process: SpawnProcess) -> None:
    process.join(10)
    if process.is_alive():
        process.kill()
        process.join()


def serve(pipe: Pipe, rooms: int) -> None:
    with RoomsSimulator(rooms=rooms) as sim:
        pipe.send((sim.url, sim.api_key, sim.room_ids))
        for action in iter(pipe.recv, None):
            pipe.send(action(sim))


def set_limit(rule: RateLimit, sim: RoomsSimulator) -> None:
    sim.rate_limit = rule


def close_port(sim: RoomsSimulator) -> None:
    sim.refuse_connections("closed")


def open_port(sim: RoomsSimulator) -> None:
    sim.accept_connections()


def stats_of(sim: RoomsSimulator) -> Stats:
    return sim.stats


def count_wrong(wanted: Wanted, sim: RoomsSimulator) -> int:
    return sum(not fields.items() <= sim.rooms[room_id].items() for room_id, fields in wanted)


class Server:
    """A simulator in its own process, and a pipe to that process."""

    def __init__(self, rooms: int) -> None:
        self._pipe, self._process = start(serve, rooms)
        self.url, self.key, self.room_ids = cast("tuple[str, str, list[str]]", self._pipe.recv())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe.send(None)
        end(self._process)

    def ask(self, action: Action[T]) -> T:
        self._pipe.send(action)
        return cast("T", self._pipe.recv())
