"""Starting and stopping the simulator, in an event loop and in a thread, and its outages and latency."""

import asyncio
import contextlib
import gc
import socket
import threading
import time
import tracemalloc
import urllib.error
import urllib.request
from collections.abc import Iterator

import aiohttp
import pytest
import uvloop
from yarl import URL

from aiorooms.simulator import Faults, RoomsSimulator, _listener

from .calling import RawConnection, ask, head, patch, until


def get(sim: RoomsSimulator, path: str = "/rooms") -> int:
    """Send a GET without asyncio, and return the status."""
    request = urllib.request.Request(f"{sim.url}{path}", headers={"Authorization": f"Bearer {sim.api_key}"})
    with urllib.request.urlopen(request, timeout=5) as answer:
        answer.read()
        return int(answer.status)


def loop_threads() -> set[threading.Thread]:
    """Return the threads of simulators. A DNS lookup can't be cancelled, so its thread may live longer."""
    return {thread for thread in threading.enumerate() if thread.name == "rooms-simulator"}


def other_tasks() -> set["asyncio.Task[object]"]:
    return asyncio.all_tasks() - {asyncio.current_task()}


async def test_the_simulator_runs_in_the_current_loop() -> None:
    before, threads = other_tasks(), {*threading.enumerate()}
    sim = RoomsSimulator(rooms=1)
    assert repr(sim) == "<RoomsSimulator not started, 1 rooms>"
    with pytest.raises(RuntimeError, match="no URL before it is started"):
        _ = sim.url
    async with sim as same:
        assert same is sim
        url = URL(sim.url)
        assert (url.scheme, url.host, url.path) == ("http", "127.0.0.1", "/v2")
        assert (await ask(sim, "GET", "/rooms")).status == 200
        assert {*threading.enumerate()} <= threads
    assert other_tasks() == before
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(url.host, url.port)


async def test_the_simulator_can_be_started_and_stopped_more_than_once() -> None:
    sim = RoomsSimulator(rooms=1)
    await sim.stop()
    for _ in range(3):
        await sim.start()
        assert (await ask(sim, "PATCH", f"/rooms/{sim.room_ids[0]}", {})).status == 200
        with pytest.raises(RuntimeError, match="is already running"):
            await sim.start()
        with pytest.raises(RuntimeError, match="is already running"):
            sim.__enter__()
        await sim.stop()
        await sim.stop()
    assert sim.stats.requests == 3


def test_the_simulator_runs_in_a_thread() -> None:
    threads = loop_threads()
    with RoomsSimulator(rooms=2) as sim:
        assert get(sim) == 200
        with pytest.raises(urllib.error.HTTPError, match="401") as caught:
            urllib.request.urlopen(f"{sim.url}/rooms")
        caught.value.close()
        room_id = sim.add_room(unique_name="from outside")
        assert get(sim, f"/rooms/{room_id}") == 200
        sim.remove_room(room_id)
        with pytest.raises(KeyError):
            sim.remove_room(room_id)
        session = sim.add_session(sim.room_ids[0], participants=["Alice"])
        assert sim.rooms[sim.room_ids[0]]["active_session_id"] == session
        sim.end_session(sim.room_ids[0])
        sim.change_room(sim.room_ids[0], max_participants=3)
        sim.script("500")
        with pytest.raises(urllib.error.HTTPError, match="500") as caught:
            get(sim)
        caught.value.close()
        sim.refuse_connections()
        with pytest.raises(urllib.error.URLError, match="refused"):
            get(sim)
        sim.accept_connections()
        assert get(sim) == 200
        sim.reset_stats()
        sim.rate_limit = "1/1h"
        assert get(sim) == 200
        assert sim.stats.requests == 1
        with pytest.raises(RuntimeError, match="is already running"):
            sim.__enter__()
    assert loop_threads() <= threads
    assert sim.room_ids
    with sim:  # the simulator can be started again
        sim.rate_limit = None
        assert get(sim) == 200
    sim.__exit__(None, None, None)


@pytest.fixture
def in_thread() -> Iterator[RoomsSimulator]:
    threads = loop_threads()
    with RoomsSimulator(rooms=1) as sim:
        yield sim
    assert loop_threads() <= threads


async def test_the_simulator_runs_in_a_thread_and_serves_async_code(in_thread: RoomsSimulator) -> None:
    sim = in_thread
    assert (await ask(sim, "GET", f"/rooms/{sim.add_room()}")).status == 200
    sim.refuse_connections()
    with pytest.raises(aiohttp.ClientConnectorError):
        await ask(sim, "GET", "/rooms")
    sim.accept_connections()
    sim.script("500")
    assert (await ask(sim, "GET", "/rooms")).status == 500
    sim.faults = Faults(1.0, kinds=["502"])
    assert (await ask(sim, "GET", "/rooms")).status == 502
    with pytest.raises(RuntimeError, match="runs in another event loop"):
        await sim.stop()


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening.getsockname()[1]


async def test_a_port_in_use_is_a_clear_error_and_leaves_no_task(taken: int) -> None:
    before = other_tasks()
    sim = RoomsSimulator(port=taken)
    for _ in range(2):
        with pytest.raises(OSError, match=f"can't listen on 127.0.0.1 port {taken}: Address already in use"):
            await sim.start()
        assert other_tasks() == before


def test_a_port_in_use_leaves_no_thread(taken: int) -> None:
    threads = {*threading.enumerate()}
    sim = RoomsSimulator(port=taken)
    for _ in range(2):
        with pytest.raises(OSError, match=f"can't listen on 127.0.0.1 port {taken}: Address already in use"):
            sim.__enter__()
        assert {*threading.enumerate()} <= threads


async def test_a_host_that_is_not_local_is_a_clear_error() -> None:
    with pytest.raises(OSError, match=r"can't listen on 192\.0\.2\.1 port 0"):
        await RoomsSimulator(host="192.0.2.1").start()


async def test_the_simulator_listens_on_a_host_name_and_on_ipv6() -> None:
    async with RoomsSimulator(host="localhost") as sim:
        assert sim.url.startswith("http://localhost:")
        assert (await ask(sim, "GET", "/rooms")).status == 200
    try:
        sim = RoomsSimulator(host="::1")
        await sim.start()
    except OSError:
        return  # no IPv6 here
    try:
        assert sim.url.startswith("http://[::1]:")
        assert (await ask(sim, "GET", "/rooms")).status == 200
    finally:
        await sim.stop()


@pytest.mark.parametrize("loop_factory", [None, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("latency", [0.0, 600.0])
def test_a_stop_is_prompt_and_leaves_no_task_or_socket(loop_factory: None, latency: float) -> None:
    async def run() -> None:
        sim = RoomsSimulator(rooms=3, latency=latency, faults=Faults(script=["stall_before", "stall_after", "slow"]))
        sim.faults = Faults(script=["stall_before", "stall_after", "slow"], stall_seconds=600, slow_seconds=600)
        await sim.start()
        connections = [RawConnection(sim) for _ in range(6)]
        for connection in connections:
            await connection.__aenter__()
        for connection in connections[:3]:
            await connection.send(patch(sim))
        await connections[3].send(patch(sim)[:-3])  # a body that never ends
        await connections[4].send(head(sim, "GET", "/v2/rooms")[:-5])  # a head that never ends
        await until(lambda: sim.stats.in_flight == 4)
        await connections[0].__aexit__()  # a client that has already disconnected
        async with asyncio.timeout(10):  # the requests in flight would take 600 s
            await sim.stop()
        assert sim.stats.in_flight == 0
        assert not other_tasks()
        for connection in connections[1:]:
            with contextlib.suppress(ConnectionResetError):
                await connection.rest()
            await connection.__aexit__()
        if latency:
            assert not sim.stats.updates_applied

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(run())
    gc.collect()  # warns about any socket or transport that is still open


async def test_a_stop_closes_a_connection_that_was_just_accepted() -> None:
    for iterations in range(6):
        before = other_tasks()
        sim = RoomsSimulator()
        await sim.start()
        url = URL(sim.url)
        with socket.socket() as raw:
            raw.setblocking(False)
            raw.connect_ex((url.host, url.port))
            for _ in range(iterations):
                await asyncio.sleep(0)
            await sim.stop()
            assert other_tasks() == before
    gc.collect()


@pytest.mark.parametrize("loop_factory", [None, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_the_port_stays_closed_until_the_outage_ends(loop_factory: None) -> None:
    async def run() -> None:
        async with RoomsSimulator(rooms=1) as sim:
            url = URL(sim.url)
            for _ in range(3):
                async with RawConnection(sim) as idle, RawConnection(sim) as stalled:
                    await idle.send(patch(sim))
                    await idle.answer()
                    sim.script("stall_after")
                    await stalled.send(patch(sim))
                    await until(lambda: sim.stats.in_flight == 1)
                    sim.refuse_connections()
                    sim.refuse_connections()
                    for connection in (idle, stalled):
                        assert await connection.rest() == b""
                with pytest.raises(ConnectionRefusedError):
                    await asyncio.open_connection(url.host, url.port)
                with socket.socket() as raw, pytest.raises(ConnectionRefusedError):
                    raw.connect((url.host, url.port))
                sim.accept_connections()
                sim.accept_connections()
                with socket.socket() as raw:
                    raw.connect((url.host, url.port))  # immediately, before the next loop iteration
                assert (await ask(sim, "GET", "/rooms")).status == 200
            sim.refuse_connections()
            sim.accept_connections()
            sim.refuse_connections()  # no loop iteration in between
        assert not other_tasks()
        async with sim:  # stopping the simulator ended the outage
            assert (await ask(sim, "GET", "/rooms")).status == 200
            sim.refuse_connections("503")
        async with sim:
            assert (await ask(sim, "GET", "/rooms")).status == 200

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(run())
    gc.collect()


async def test_the_simulator_keeps_running_after_a_failure_to_accept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_listener, "_ACCEPT_PAUSE", 0.001)
    loop = asyncio.get_running_loop()
    accept, failures = loop.sock_accept, [OSError(24, "Too many open files"), ConnectionAbortedError()]

    async def sometimes(listening: socket.socket) -> tuple[socket.socket, object]:
        if failures:
            raise failures.pop()
        return await accept(listening)

    monkeypatch.setattr(loop, "sock_accept", sometimes)
    async with RoomsSimulator() as sim:
        assert (await ask(sim, "GET", "/rooms")).status == 200
        assert not failures


async def test_outages_and_stops_have_no_effect_while_the_simulator_is_not_running() -> None:
    sim = RoomsSimulator()
    sim.refuse_connections()
    sim.accept_connections()
    sim.refuse_connections("reset")
    await sim.stop()
    async with sim:
        assert (await ask(sim, "GET", "/rooms")).status == 200


async def test_an_outage_can_answer_with_503_or_reset_connections_or_hang() -> None:
    async with RoomsSimulator(rooms=1) as sim:
        room = f"/rooms/{sim.room_ids[0]}"
        sim.refuse_connections("503")
        reply = await ask(sim, "PATCH", room, {})
        assert (reply.status, reply.headers["Content-Type"]) == (503, "text/html")
        sim.refuse_connections("reset")
        async with RawConnection(sim) as connection:
            await connection.send(patch(sim))
            with pytest.raises(ConnectionResetError):
                await connection.rest()
        sim.refuse_connections("hang")
        async with RawConnection(sim) as connection, RawConnection(sim) as impatient:
            await connection.send(patch(sim))
            await impatient.send(patch(sim))
            await until(lambda: sim.stats.in_flight == 2)
            await impatient.__aexit__()
            await until(lambda: sim.stats.in_flight == 1)
            sim.accept_connections()
            assert await connection.rest() == b""
        assert not sim.stats.updates_applied
        assert (await ask(sim, "PATCH", room, {})).status == 200


async def test_latency_delays_each_answer_and_can_be_changed() -> None:
    async with RoomsSimulator(rooms=1, latency=(0.01, 0.02)) as sim:
        assert sim.latency == (0.01, 0.02)
        begun = time.perf_counter()
        assert (await ask(sim, "GET", "/rooms")).status == 200
        assert time.perf_counter() - begun >= 0.01
        sim.latency = 600
        assert sim.latency == 600
        async with RawConnection(sim) as connection:  # the server continues even if the client disconnects
            await connection.send(patch(sim))
            await until(lambda: sim.stats.in_flight == 1)
        sim.latency = 0
        assert (
            await ask(sim, "GET", "/rooms")
        ).status == 200  # by now the server knows that the client has disconnected
        assert sim.stats.in_flight == 1
        assert not sim.stats.updates_applied
        (waiting,) = sim._waits._all
        waiting.set_result(True)  # as if the 600 s were over
        await until(lambda: sim.stats.in_flight == 0)
        assert sim.stats.updates_applied == {sim.room_ids[0]: 1}
        for wrong in (-1.0, (2.0, 1.0), float("nan")):
            with pytest.raises(ValueError, match="latency must be 0 seconds or more"):
                sim.latency = wrong


def test_invalid_settings_raise() -> None:
    with pytest.raises(ValueError, match="rooms must be 0 or more"):
        RoomsSimulator(rooms=-1)
    with pytest.raises(ValueError, match="port must be between 0 and 65535"):
        RoomsSimulator(port=65536)
    with pytest.raises(ValueError, match="not a rate limit"):
        RoomsSimulator(rate_limit="fast")


def test_a_room_takes_less_than_1500_bytes() -> None:
    tracemalloc.start()
    try:
        sim = RoomsSimulator(rooms=2000)
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(sim.rooms) == 2000
    assert size < 2000 * 1500


@pytest.mark.parametrize(("host", "loopback"), [("0.0.0.0", "127.0.0.1"), ("::", "::1")])
async def test_the_url_of_a_simulator_on_all_addresses_has_the_loopback_address(host: str, loopback: str) -> None:
    async with RoomsSimulator(rooms=1, host=host) as sim:
        assert URL(sim.url).host == URL(sim.receiver_url).host == loopback
        assert (await ask(sim, "GET", "/rooms")).status == 200
