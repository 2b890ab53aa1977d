"""The contestants: different clients that update rooms on the canned server, which answers at once (see `_server`).

A contestant is an async context manager that yields the function to measure. This function makes `count` updates,
`concurrency` at a time. Every update sets the same five fields, with a webhook URL and a failover URL that no earlier
update had. Exceptions are the contestants whose names end in `same_urls`, where both URLs are always the same. All
contestants encode the JSON of each request, and decode that of each answer.

`python -m benchmarks._contestants NAME --url ...` runs one contestant, and prints its CPU time, wall time and peak
memory as one line of JSON.
"""

import argparse
import asyncio
import contextlib
import gc
import importlib
import itertools
import json
import os
import re
import resource
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Final, TypeAlias, cast

KEY: Final = "KEY0123456789abcdef"
ROOM_IDS: Final = [f"{number:08x}-62e0-4aad-ab11-9fd19e272e73" for number in range(2_000)]

Run: TypeAlias = Callable[[int], Awaitable[None]]
"""A function that makes the given number of updates."""

Contestant: TypeAlias = Callable[[str, int], AbstractAsyncContextManager[Run]]
"""A contestant. Its arguments are the base URL of the server, and the number of updates in flight."""


_numbers: Final = itertools.count()
"""The numbers of all updates of the process. The measured run continues where the warm-up stopped."""


def fields_of(number: int, *, same_urls: bool = False) -> dict[str, Any]:
    """Return the five fields that update `number` sets. With `same_urls`, the URLs are always the same."""
    path = "all" if same_urls else number
    return {
        "max_participants": 2 + number % 49,
        "enable_recording": number % 2 == 0,
        "webhook_event_url": f"https://hooks.example.com/telnyx/rooms/{path}?team=42",
        "webhook_event_failover_url": f"https://failover.example.com/telnyx/rooms/{path}?team=42",
        "webhook_timeout_secs": number % 31,
    }


def _todo(count: int, *, same_urls: bool = False) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield `count` pairs of a room id and the fields to set."""
    for number in itertools.islice(_numbers, count):
        yield ROOM_IDS[number % len(ROOM_IDS)], fields_of(number, same_urls=same_urls)


def _host_and_port(url: str) -> tuple[str, int]:
    host, _, port = url.split("/")[2].partition(":")
    return host, int(port)


def _head(url: str) -> str:
    """Return a template of the head of a PATCH request, for a room id and the length of the body."""
    _, _, host_and_port, path = url.split("/", 3)
    return (
        f"PATCH /{path}/rooms/%s HTTP/1.1\r\nHost: {host_and_port}\r\nAuthorization: Bearer {KEY}\r\n"
        "Content-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    )


async def _with_workers(concurrency: int, work: Callable[[], Awaitable[None]]) -> None:
    async with asyncio.TaskGroup() as group:
        for _ in range(concurrency):
            group.create_task(cast("Any", work()))


# --- without an SDK ---


@asynccontextmanager
async def floor(url: str, concurrency: int) -> AsyncGenerator[Run]:
    """Write requests with raw asyncio protocols. Only the JSON of the bodies is encoded and decoded."""
    host, port = _host_and_port(url)
    head = _head(url)

    class Connection(asyncio.Protocol):
        def __init__(self, todo: Iterator[tuple[str, dict[str, Any]]]) -> None:
            self._todo = todo
            self._received = b""
            self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self._transport = cast("asyncio.Transport", transport)
            self._next()

        def _next(self) -> None:
            item = next(self._todo, None)
            if item is None:
                self._transport.close()
                self.done.set_result(None)
            else:
                room_id, fields = item
                body = json.dumps(fields).encode()
                self._transport.write((head % (room_id, len(body))).encode() + body)

        def data_received(self, data: bytes) -> None:
            self._received += data
            head, blank, answer = self._received.partition(b"\r\n\r\n")
            if not blank or len(answer) < int(head.rpartition(b"Content-Length: ")[2].split(b"\r\n", 1)[0]):
                return
            assert json.loads(answer)["data"]["id"]
            self._received = b""
            self._next()

    async def run(count: int) -> None:
        todo = _todo(count)
        loop = asyncio.get_running_loop()
        made = [await loop.create_connection(lambda: Connection(todo), host, port) for _ in range(concurrency)]
        for _, connection in made:
            await connection.done

    yield run


@asynccontextmanager
async def bare(url: str, concurrency: int) -> AsyncGenerator[Run]:
    """Use an aiohttp session with as little work as its public API allows, with orjson if it can be imported."""
    import aiohttp
    from yarl import URL

    dumps, loads = _json_library()
    base = URL(url)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(
        connector=connector,
        headers={"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"},
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(),
        auto_decompress=False,
    ) as session:

        async def run(count: int) -> None:
            todo = _todo(count)

            async def work() -> None:
                for room_id, fields in todo:
                    room_url = base.with_path(f"{base.path}/rooms/{room_id}", encoded=True)
                    response = await session.patch(room_url, data=dumps(fields), allow_redirects=False)
                    assert loads(await response.read())["data"]["id"]

            await _with_workers(concurrency, work)

        yield run


def _json_library() -> tuple[Callable[[object], bytes], Callable[[bytes], Any]]:
    try:
        import orjson
    except ImportError:
        return lambda value: json.dumps(value).encode(), json.loads
    return orjson.dumps, orjson.loads


@asynccontextmanager
async def script(url: str, concurrency: int) -> AsyncGenerator[Run]:
    """Use aiohttp as a typical script does. Workers call `patch(json=...)`, `raise_for_status` and `json`."""
    import aiohttp

    connector = aiohttp.TCPConnector(limit=max(100, concurrency))  # 100 is aiohttp's default
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {KEY}"}, connector=connector) as session:

        async def run(count: int) -> None:
            todo = _todo(count)

            async def work() -> None:
                for room_id, fields in todo:
                    async with session.patch(f"{url}/rooms/{room_id}", json=fields) as response:
                        response.raise_for_status()
                        data = (await response.json())["data"]
                        assert data["id"]

            await _with_workers(concurrency, work)

        yield run


@asynccontextmanager
async def gather(url: str, concurrency: int) -> AsyncGenerator[Run]:
    """Do the same as `script`, but with one `asyncio.gather` over all updates instead of workers.

    `concurrency` is ignored. aiohttp's connector limits the number of requests in flight to 100, its default.
    """
    import aiohttp

    assert concurrency <= 100  # aiohttp's connector allows no more in flight
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {KEY}"}) as session:

        async def update(room_id: str, fields: dict[str, Any]) -> object:
            async with session.patch(f"{url}/rooms/{room_id}", json=fields) as response:
                response.raise_for_status()
                return (await response.json())["data"]

        async def run(count: int) -> None:
            rooms = await asyncio.gather(*(update(*item) for item in _todo(count)))
            assert len(rooms) == count

        yield run


@asynccontextmanager
async def httpx(url: str, concurrency: int) -> AsyncGenerator[Run]:
    """Do the same as `script` with httpx."""
    import httpx

    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {KEY}"}) as client:

        async def run(count: int) -> None:
            todo = _todo(count)

            async def work() -> None:
                for room_id, fields in todo:
                    response = await client.patch(f"{url}/rooms/{room_id}", json=fields)
                    response.raise_for_status()
                    assert response.json()["data"]["id"]

            await _with_workers(concurrency, work)

        yield run


# --- the official SDK ---


@asynccontextmanager
async def _telnyx(url: str, concurrency: int, transport: str) -> AsyncGenerator[Run]:
    sdk = importlib.import_module("telnyx")  # optional; type checkers would report a plain import as missing
    http_client = sdk.DefaultAioHttpClient() if transport == "aiohttp" else None
    async with sdk.AsyncTelnyx(api_key=KEY, base_url=url, http_client=http_client) as client:

        async def run(count: int) -> None:
            todo = _todo(count)

            async def work() -> None:
                for room_id, fields in todo:
                    answer = await client.rooms.update(room_id, **fields)
                    assert answer.data.id

            await _with_workers(concurrency, work)

        yield run


def telnyx_aiohttp(url: str, concurrency: int) -> AbstractAsyncContextManager[Run]:
    """Call the official SDK from workers, with its aiohttp transport."""
    return _telnyx(url, concurrency, "aiohttp")


def telnyx_httpx(url: str, concurrency: int) -> AbstractAsyncContextManager[Run]:
    """Call the official SDK from workers, with its default transport, httpx."""
    return _telnyx(url, concurrency, "httpx")


# --- aiorooms ---


@asynccontextmanager
async def _update(url: str, concurrency: int, *, same_urls: bool = False) -> AsyncGenerator[Run]:
    from aiorooms import RoomsClient

    async with RoomsClient(KEY, base_url=url, max_connections=max(100, concurrency)) as client:

        async def run(count: int) -> None:
            todo = _todo(count, same_urls=same_urls)

            async def work() -> None:
                for room_id, fields in todo:
                    room = await client.rooms.update(room_id, **fields)
                    assert room.id

            await _with_workers(concurrency, work)

        yield run


def update(url: str, concurrency: int) -> AbstractAsyncContextManager[Run]:
    """Call `rooms.update` from workers, as `script` does."""
    return _update(url, concurrency)


def update_same_urls(url: str, concurrency: int) -> AbstractAsyncContextManager[Run]:
    """Call `rooms.update` with the same URLs for all rooms."""
    return _update(url, concurrency, same_urls=True)


@asynccontextmanager
async def _update_many(
    url: str, concurrency: int, *, enabled: bool = True, same_urls: bool = False
) -> AsyncGenerator[Run]:
    from aiorooms import Pacing, RoomsClient, RoomUpdate

    pacing = Pacing(enabled=enabled)
    async with RoomsClient(KEY, base_url=url, pacing=pacing, max_connections=max(100, concurrency)) as client:

        async def run(count: int) -> None:
            updates = ((room_id, RoomUpdate(**fields)) for room_id, fields in _todo(count, same_urls=same_urls))
            updated = 0
            async for result in client.rooms.update_many(updates, concurrency=concurrency):
                assert result.status == "updated", result.error
                updated += 1
            assert updated == count

        yield run


def update_many(url: str, concurrency: int) -> AbstractAsyncContextManager[Run]:
    """Call `rooms.update_many` with a generator."""
    return _update_many(url, concurrency)


def update_many_same_urls(url: str, concurrency: int) -> AbstractAsyncContextManager[Run]:
    """Call `rooms.update_many` with the same URLs for all rooms."""
    return _update_many(url, concurrency, same_urls=True)


def update_many_unpaced(url: str, concurrency: int) -> AbstractAsyncContextManager[Run]:
    """Call `rooms.update_many` with `Pacing(enabled=False)`."""
    return _update_many(url, concurrency, enabled=False)


# --- not a contestant: the load that measures the server's capacity ---


@asynccontextmanager
async def pipelined(url: str, concurrency: int) -> AsyncGenerator[Run]:
    """Send batches of the same request on 4 connections, `concurrency` in flight in total. Decode no answers."""
    host, port = _host_and_port(url)
    sent = json.dumps(fields_of(0)).encode()
    request = (_head(url) % (ROOM_IDS[0], len(sent))).encode() + sent

    async def work(batches: Iterator[int]) -> None:
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        body_length = int(head.rpartition(b"Content-Length: ")[2])
        await reader.readexactly(body_length)
        for batch in batches:
            writer.write(request * batch)
            await reader.readexactly(batch * (len(head) + body_length))
        writer.close()

    async def run(count: int) -> None:
        batch = concurrency // _PIPELINES
        batches = iter([batch] * (count // batch))
        await _with_workers(_PIPELINES, lambda: work(batches))

    yield run


CONTESTANTS: Final[dict[str, Contestant]] = {
    contestant.__name__: contestant
    for contestant in (
        floor,
        bare,
        script,
        gather,
        httpx,
        telnyx_aiohttp,
        telnyx_httpx,
        update,
        update_same_urls,
        update_many,
        update_many_same_urls,
        update_many_unpaced,
        pipelined,
    )
}

NEEDS: Final = {
    # If sniffio is missing, httpcore tries to import it for each request. That takes a quarter of the request's time.
    "httpx": ("httpx", "sniffio"),
    "telnyx_aiohttp": ("telnyx", "httpx_aiohttp"),
    "telnyx_httpx": ("telnyx",),
}
"""Optional packages that a contestant needs. If one of them is missing, the contestant is skipped."""

IMPORTS: Final = {
    "floor": ("asyncio",),
    "bare": ("aiohttp",),
    "script": ("aiohttp",),
    "gather": ("aiohttp",),
    "pipelined": ("asyncio",),
    **NEEDS,
}
"""Packages that a contestant's process imports before the measurement. Contestants not listed here import aiorooms."""

_PIPELINES: Final = 4
"""Number of connections that `pipelined` opens."""

_WARM_UP: Final = 500
"""Number of updates that are made before the measurement, to open the connections.

With more than 250 updates in flight, there are twice as many updates before the measurement as in flight. In any case,
there are at most as many as in the measured run.
"""

_FREED: Final = 512 * 1024
"""Size of a block that each process allocates and frees at the start, in bytes.

After that, glibc reuses the memory of asyncio's read buffers, which saves CPU time. aiorooms frees such a block too.
Here all contestants do it, to keep the comparison fair.
"""


# --- the process of one contestant ---


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _peak_mb() -> float:
    # On Linux, `ru_maxrss` may be the memory of the parent process at the fork. VmHWM is that of this process alone.
    with contextlib.suppress(FileNotFoundError):
        peak = re.search(r"VmHWM:\s*([0-9]+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
        assert peak is not None
        return int(peak[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024**2 if sys.platform == "darwin" else 1024)


async def _measure(contestant: Contestant, url: str, count: int, concurrency: int) -> dict[str, float]:
    async with contestant(url, concurrency) as run:
        await run(min(max(_WARM_UP, 2 * concurrency), count))
        gc.collect()
        cpu, clock = _cpu(), time.perf_counter()
        await run(count)
        return {"cpu": _cpu() - cpu, "seconds": time.perf_counter() - clock}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks._contestants", description=__doc__)
    parser.add_argument("name", choices=CONTESTANTS)
    parser.add_argument("--url", required=True)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--concurrency", type=int, default=50)
    parser.add_argument("--loop", choices=["asyncio", "uvloop"], default="asyncio")
    parser.add_argument("--without-orjson", action="store_true")
    parser.add_argument("--core", type=int)
    options = parser.parse_args()
    if options.core is not None:
        os.sched_setaffinity(0, {options.core})
    if options.without_orjson:
        cast("dict[str, object]", sys.modules)["orjson"] = None  # makes `import orjson` fail
    bytes(_FREED)
    new_loop = importlib.import_module(options.loop).new_event_loop
    for package in IMPORTS.get(options.name, ("aiorooms",)):
        importlib.import_module(package)
    imported_mb = _peak_mb()
    with asyncio.Runner(loop_factory=new_loop) as runner:
        figures = runner.run(_measure(CONTESTANTS[options.name], options.url, options.count, options.concurrency))
    print(json.dumps({**figures, "imported_mb": imported_mb, "peak_mb": _peak_mb()}))


if __name__ == "__main__":
    main()
