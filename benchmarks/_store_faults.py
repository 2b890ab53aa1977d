"""Faults of the store while four processes share a limit through it, and of a process that holds permits. Over sockets.

For each fault there are two runs. In the first one, the limit of 100 requests per second is used up all the time, and
the accepted updates of each second are counted. In the second one, the limit is so high that no call waits for it, and
each process makes a call every 20 ms, so that whatever a call waits for is the store. The fault comes at 6 s, and ends
at 10 s. With the slow store, each answer takes 0.5 s longer.
"""

import asyncio
import signal
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final, Literal, TypeAlias, get_args

import attrs

from aiorooms import APIError, Pacing, RedisPacing, RoomsClient, RoomUpdate
from aiorooms.simulator import RateLimit

from ._contestants import fields_of
from ._redis_server import RedisServer, redis_server
from ._servers import Pipe, Server, end, set_limit, start, stats_of

__all__ = [
    "FAULTS",
    "HEAD",
    "SINGLE",
    "Fault",
    "FaultFigures",
    "line",
    "measure_fault",
    "measure_single",
    "single_text",
]

Fault: TypeAlias = Literal["stopped", "killed", "hung", "slow", "holder killed"]

FAULTS: Final[tuple[Fault, ...]] = get_args(Fault)
CLIENTS: Final = 4
BEGINS: Final = 6.0
ENDS: Final = 10.0
LENGTH: Final = 15.0
"""Seconds."""
SLOWER: Final = 0.5
EVERY: Final = 0.02
WITHIN: Final = 2.0
"""Seconds after the beginning and the end of a fault in which the full rate must be reached again."""
MOST_DELAY: Final = 0.25
FULL: Final = 0.9
"""The fraction of the limit that counts as the full rate, because windows and seconds don't begin together."""
HEAD: Final = (
    f"{'fault of the store, or of a client':<37}{'failed':>7}{'latest call':>13}{'worst second':>14}{'429s':>8}  met"
)


@attrs.frozen(kw_only=True)
class FaultFigures:
    """What calls saw of a fault."""

    fault: str
    failed: int
    latest: float
    """The longest duration of a call that needed to wait for nothing but the store, in seconds."""
    usual: float
    """The median duration of these calls."""
    slowest: float
    """Accepted updates of the worst second, except for two seconds after each change, as a fraction of the limit."""
    seconds: list[int]
    """The accepted updates of each second."""
    rate_limited_percent: float

    @property
    def missed(self) -> list[str]:
        """The targets that were missed."""
        wrong = {"failed": self.failed > 0, "delay": self.latest > MOST_DELAY, "rate": self.slowest < FULL}
        return [name for name, is_missed in wrong.items() if is_missed]


class _Proxy:
    """A relay between clients and the store, in a thread, that can make every answer slower."""

    def __init__(self, target: Path, own: Path) -> None:
        self.delay = 0.0
        self._target, self._own = target, own
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),), daemon=True)
        self._stop = asyncio.Event()
        self._thread.start()
        self._ready.wait()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    async def _serve(self) -> None:
        async with await asyncio.start_unix_server(self._relay, self._own):
            self._ready.set()
            await self._stop.wait()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            down, up = await asyncio.open_unix_connection(self._target)
        except OSError:
            writer.close()
            return

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter, slow: Callable[[], float]) -> None:
            try:
                while data := await source.read(65536):
                    await asyncio.sleep(slow())
                    sink.write(data)
            except OSError:
                pass
            finally:
                sink.close()

        await asyncio.gather(pump(reader, up, lambda: 0.0), pump(down, writer, lambda: self.delay))


def _run(pipe: Pipe, url: str, key: str, room_ids: list[str], store: str, loops: int, every: float) -> None:
    pipe.send(None)
    began: float = pipe.recv()
    pipe.send(asyncio.run(_calls(url, key, room_ids, store, loops, every, began)))


async def _calls(
    url: str, key: str, room_ids: Sequence[str], store: str, loops: int, every: float, began: float
) -> tuple[list[tuple[float, float]], int]:
    """Make calls until `LENGTH`. Return the end and the duration of each, and the number of failures."""
    ended: list[tuple[float, float]] = []
    failed = number = 0

    async def loop() -> None:
        nonlocal failed, number
        while (now := time.monotonic()) < began + LENGTH:
            number += 1
            try:
                await client.rooms.update(room_ids[number % len(room_ids)], **fields_of(number))
            except APIError:
                failed += 1
            ended.append((time.monotonic() - began, time.monotonic() - now))
            await asyncio.sleep(every)

    pacing = Pacing(shared=RedisPacing(store))
    async with RoomsClient(key, base_url=url, pacing=pacing) as client, asyncio.TaskGroup() as tasks:
        for _ in range(loops):
            tasks.create_task(loop())
    return ended, failed


def measure_fault(fault: Fault) -> FaultFigures:
    """Measure one fault, in two runs."""
    busy, failed, percent = _measure(fault, RateLimit(100, reset_rounding="fractional"), loops=30, every=0.0)
    calm, failed_too, _ = _measure(fault, RateLimit(5000, reset_rounding="fractional"), loops=1, every=EVERY)
    seconds = [sum(second <= at < second + 1 for at, _ in busy) for second in range(int(LENGTH))]
    # The updates of a killed process are not known, so only what follows counts.
    changes = [BEGINS] if fault == "holder killed" else [BEGINS, ENDS]
    begins = BEGINS if fault == "holder killed" else 1.0  # the first second belongs to the start
    steady = [
        count
        for second, count in enumerate(seconds[:-1])
        if second >= begins and not any(changed - 1 < second < changed + WITHIN for changed in changes)
    ]
    waits = [duration for at, duration in calm if at > 1]
    return FaultFigures(
        fault=fault,
        failed=failed + failed_too,
        latest=max(waits),
        usual=statistics.median(waits),
        slowest=min(steady) / 100,
        seconds=seconds,
        rate_limited_percent=percent,
    )


def _measure(
    fault: Fault, limit: RateLimit, *, loops: int, every: float
) -> tuple[list[tuple[float, float]], int, float]:
    with tempfile.TemporaryDirectory() as name, Server(400) as server:
        store, proxy = RedisServer(Path(name)), None
        store.start()
        proxy = _Proxy(Path(name) / "redis.sock", Path(name) / "proxy.sock")
        url = f"unix://{name}/proxy.sock"
        try:
            server.ask(partial(set_limit, limit))
            started = [
                start(_run, server.url, server.key, server.room_ids[number::CLIENTS], url, loops, every)
                for number in range(CLIENTS)
            ]
            for pipe, _ in started:
                pipe.recv()
            # The windows of the limit begin now, so each of the counted seconds is one window.
            began = time.monotonic()
            server.ask(partial(set_limit, limit))
            for pipe, _ in started:
                pipe.send(began)
            time.sleep(max(0.0, began + BEGINS - time.monotonic()))
            if fault == "holder killed":
                started[0][1].kill()
                started = started[1:]
            _begin(fault, store, proxy)
            time.sleep(max(0.0, began + ENDS - time.monotonic()))
            _end(fault, store, proxy)
            results = [pipe.recv() for pipe, _ in started]
            for pipe, process in started:
                end(process)
                pipe.close()
            stats = server.ask(stats_of)
        finally:
            proxy.close()
            store.end()
    calls = [call for ended, _ in results for call in ended]
    return calls, sum(failed for _, failed in results), 100 * stats.refused / max(1, stats.requests)


def _begin(fault: Fault, store: RedisServer, proxy: _Proxy) -> None:
    if fault == "slow":
        proxy.delay = SLOWER
    elif fault == "hung":
        store.send(signal.SIGSTOP)
    elif fault != "holder killed":
        store.end(signal.SIGTERM if fault == "stopped" else signal.SIGKILL)


def _end(fault: Fault, store: RedisServer, proxy: _Proxy) -> None:
    if fault == "slow":
        proxy.delay = 0.0
    elif fault == "hung":
        store.send(signal.SIGCONT)
    elif fault != "holder killed":
        store.start()


# --- a lone single call beside a bulk run in another process ---

SINGLE: Final = "a single call beside a bulk run"
_SINGLE_LIMIT: Final = RateLimit(100, 1.0, "fractional")
_SINGLE_EVERY: Final = 0.73
_SINGLE_LENGTH: Final = 15.0


def measure_single() -> list[float]:
    """Return how long single calls of one process took, while another one used up the limit with a bulk run."""
    with tempfile.TemporaryDirectory() as name, Server(400) as server, redis_server(Path(name)) as url:
        server.ask(partial(set_limit, _SINGLE_LIMIT))
        work = [(_run_bulk, server.room_ids[1:]), (_run_single, server.room_ids[:1])]
        started = [start(target, server.url, server.key, room_ids, url) for target, room_ids in work]
        for pipe, _ in started:
            pipe.recv()
        for pipe, _ in started:
            pipe.send(None)
        results: list[list[float]] = [pipe.recv() for pipe, _ in started]
        for pipe, process in started:
            end(process)
            pipe.close()
    return results[1]


def _run_bulk(pipe: Pipe, url: str, key: str, room_ids: list[str], store: str) -> None:
    async def run() -> list[float]:
        async with RoomsClient(key, base_url=url, pacing=Pacing(shared=RedisPacing(store))) as client:
            ends_at = time.monotonic() + _SINGLE_LENGTH

            def updates() -> Iterator[tuple[str, RoomUpdate]]:
                number = 0
                while time.monotonic() < ends_at:
                    yield room_ids[number % len(room_ids)], RoomUpdate(**fields_of(number))
                    number += 1

            async for _ in client.rooms.update_many(updates(), concurrency=50):
                pass
        return []

    _run_when_asked(pipe, run())


def _run_single(pipe: Pipe, url: str, key: str, room_ids: list[str], store: str) -> None:
    async def run() -> list[float]:
        waits: list[float] = []
        async with RoomsClient(key, base_url=url, pacing=Pacing(shared=RedisPacing(store))) as client:
            ends_at = time.monotonic() + _SINGLE_LENGTH - 1
            while time.monotonic() < ends_at:
                await asyncio.sleep(_SINGLE_EVERY)
                began = time.monotonic()
                await client.rooms.update(room_ids[0], **fields_of(len(waits)))
                waits.append(time.monotonic() - began)
        return waits

    _run_when_asked(pipe, run())


def _run_when_asked(pipe: Pipe, run: Coroutine[None, None, list[float]]) -> None:
    pipe.send(None)
    pipe.recv()
    pipe.send(asyncio.run(run))


def single_text(waits: Sequence[float]) -> str:
    """Return the figures of single calls."""
    median = statistics.median(waits)
    target = f"target at most one window of {_SINGLE_LIMIT.window:g} s: {'met' if median <= 1 else 'MISSED'}"
    return f"p50 {median:.3f} s, most {max(waits):.3f} s of {len(waits)} calls, {target}"


# --- the table ---


def line(figures: FaultFigures) -> str:
    """Return the row of the table."""
    return (
        f"{figures.fault:<37}{figures.failed:>7}{f'{figures.latest:.3f} s':>13}{f'{figures.slowest:.2f}':>14}"
        f"{figures.rate_limited_percent:>7.1f}%  {'NO: ' + ', '.join(figures.missed) if figures.missed else 'yes'}"
    )
