"""Clients that share a limit through a real Redis, over sockets."""

import asyncio
import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from aiorooms import ClientSettingsError, Pacing, RedisPacing, RoomsClient
from aiorooms._pacing.shared import link, redis_store
from aiorooms.simulator import RateLimit, RoomsSimulator
from aiorooms.telemetry import Event, SharedPacingChanged
from benchmarks._redis_server import RedisServer, redis_server

from ..documents import SHARED_PACING_GUIDE, blocks, run


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with redis_server(tmp_path_factory.mktemp("redis")) as given:
        yield given


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let clients wait for the store for seconds, so that they don't lose it on a busy machine."""
    for name in ("TIMEOUT", "_CALLER_TIMEOUT", "_JOIN_TIMEOUT", "_MAX_WAIT"):
        monkeypatch.setattr(link, name, 5.0)
    monkeypatch.setattr(redis_store, "_CONNECT_TIMEOUT", 5.0)


def connect(url: str) -> Any:
    """Return a client of redis-py, whose commands have hardly any types."""
    return Redis.from_url(url)  # pyright: ignore[reportUnknownMemberType]


def client_of(sim: RoomsSimulator, source: str, *, prefix: str = "aiorooms", **more: object) -> RoomsClient:
    pacing = Pacing(shared=RedisPacing(source, prefix=prefix))
    return RoomsClient(sim.api_key, base_url=sim.url, pacing=pacing, **more)  # type: ignore[arg-type]


async def update_all(clients: list[RoomsClient], sim: RoomsSimulator) -> None:
    async with asyncio.TaskGroup() as tasks:
        for number, room_id in enumerate(sim.room_ids):
            tasks.create_task(clients[number % len(clients)].rooms.update(room_id, max_participants=20))


async def keys_of(url: str) -> dict[str, bytes]:
    """Return all that Redis stores."""
    redis = connect(url)
    found: dict[str, bytes] = {}
    async for key in redis.scan_iter():
        kind = (await redis.type(key)).decode()
        value = await (redis.hgetall(key) if kind == "hash" else redis.get(key))
        assert await redis.ttl(key) >= 0
        found[key.decode()] = repr(value).encode()
    await redis.aclose()
    return found


async def test_two_clients_use_a_limit_as_one(url: str) -> None:
    async with RoomsSimulator(rooms=300, rate_limit=RateLimit(100, reset_rounding="fractional")) as sim:
        async with client_of(sim, url) as one, client_of(sim, url) as other:
            await update_all([one, other], sim)
            assert sim.stats.refused <= 3
            seen = one.pacing.snapshot(), other.pacing.snapshot()
            assert all(snapshot.is_shared and snapshot.clients == 2 and snapshot.limit == 100 for snapshot in seen)
        assert not one.pacing.snapshot().is_shared


async def test_little_is_stored_and_not_the_key(url: str) -> None:
    async with RoomsSimulator(rooms=50, rate_limit="100/1s") as sim, client_of(sim, url, prefix="small") as client:
        await update_all([client], sim)
        found = {name: value for name, value in (await keys_of(url)).items() if "small" in name}
    assert [re.fullmatch(r"\{small:pacing:\d+-\w{8}:\w{32}\}:state", name) is not None for name in found] == [True]
    assert all(sim.api_key not in name and sim.api_key.encode() not in value for name, value in found.items())
    assert sum(map(len, found.values())) < 1500


async def test_clients_with_another_key_or_prefix_do_not_share(url: str) -> None:
    async with RoomsSimulator(rooms=2) as sim:
        async with client_of(sim, url, prefix="a") as one, client_of(sim, url, prefix="b") as other:
            await update_all([one, other], sim)
            assert (one.pacing.snapshot().clients, other.pacing.snapshot().clients) == (1, 1)


async def test_a_store_that_can_not_be_reached_fails_no_call(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "aiorooms")
    events: list[Event] = []
    async with RoomsSimulator(rooms=20) as sim:
        async with client_of(sim, f"unix://user:secret@{tmp_path}/none.sock", on_event=events.append) as client:
            await update_all([client], sim)
            assert not client.pacing.snapshot().is_shared
    changed = [event for event in events if isinstance(event, SharedPacingChanged)]
    assert [event.is_shared for event in changed] == [False]
    assert "can't be shared" in caplog.text
    assert "secret" not in caplog.text + repr(events) + repr(client)


async def test_a_store_that_was_restarted_is_used_again(tmp_path: Path) -> None:
    server = RedisServer(tmp_path)
    server.start()
    used: list[bool] = []
    changed = asyncio.Event()

    def record(event: Event) -> None:
        if isinstance(event, SharedPacingChanged):
            used.append(event.is_shared)
            changed.set()

    async def until(count: int) -> None:
        while len(used) < count:
            changed.clear()
            await client.rooms.update(sim.room_ids[0], max_participants=20)
            await asyncio.sleep(0.01)

    try:
        async with RoomsSimulator(rooms=1) as sim, client_of(sim, server.url, on_event=record) as client:
            await until(1)
            server.end()
            await until(2)
            server.start()
            await until(3)
    finally:
        server.end()
    assert used[:3] == [True, False, True]


async def test_a_client_of_redis_py_can_be_given(url: str) -> None:
    redis = connect(url)
    async with RoomsSimulator(rooms=10) as sim:
        pacing = Pacing(shared=RedisPacing(redis, prefix="own"))
        async with RoomsClient(sim.api_key, base_url=sim.url, pacing=pacing) as client:
            await update_all([client], sim)
            assert client.pacing.snapshot().is_shared
    assert await redis.ping()
    await redis.aclose()


async def test_a_client_that_can_not_subscribe_polls(url: str) -> None:
    class Cluster:
        """Has the commands that a client of a cluster has, and no `pubsub`."""

        def __init__(self, redis: Any) -> None:
            self.evalsha, self.eval, self.ping, self.info = redis.evalsha, redis.eval, redis.ping, redis.info
            self.aclose = redis.aclose

    redis = connect(url)
    async with RoomsSimulator(rooms=100, rate_limit="50/1s") as sim:
        pacing = Pacing(shared=RedisPacing(Cluster(redis), prefix="polls"))  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
        async with (
            RoomsClient(sim.api_key, base_url=sim.url, pacing=pacing) as one,
            RoomsClient(sim.api_key, base_url=sim.url, pacing=pacing) as other,
        ):
            await update_all([one, other], sim)
            assert other.pacing.snapshot().clients == 2
        assert sim.stats.refused <= 3
    await redis.aclose()


async def test_a_user_of_redis_with_the_documented_rights_is_enough(tmp_path: Path) -> None:
    (acl,) = blocks(SHARED_PACING_GUIDE, "text")
    words = acl.split()
    assert words[:3] == ["ACL", "SETUSER", "aiorooms"]
    with redis_server(tmp_path) as url:
        redis = connect(url)
        await redis.execute_command(*words)
        await redis.aclose()
        async with RoomsSimulator(rooms=30, rate_limit="20/1s") as sim:
            given = url.replace("unix://", "unix://aiorooms:PASSWORD@")
            async with client_of(sim, given) as one, client_of(sim, given) as other:
                await update_all([one, other], sim)
                assert one.pacing.snapshot().clients == 2


async def test_a_server_that_may_evict_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    server = RedisServer(tmp_path, "--maxmemory", "50mb", "--maxmemory-policy", "allkeys-lru")
    server.start()
    try:
        async with RoomsSimulator(rooms=1) as sim, client_of(sim, server.url) as client:
            await client.rooms.update(sim.room_ids[0], max_participants=20)
    finally:
        server.end()
    (text,) = [record.getMessage() for record in caplog.records if "allkeys-lru" in record.getMessage()]
    assert text.startswith("Redis may evict what clients share about the rate limit")


FORKED = """
import asyncio, os, sys
from aiorooms import Pacing, RedisPacing, RoomsClient
from aiorooms._pacing.shared import link
link.TIMEOUT = link._CALLER_TIMEOUT = link._JOIN_TIMEOUT = 5.0
pacing = Pacing(shared=RedisPacing(sys.argv[2], prefix="fork"))
client = RoomsClient("KEY_simulated", base_url=sys.argv[1], pacing=pacing)

async def work():
    async with client:
        for number in range(5):
            await client.rooms.update(sys.argv[3], max_participants=2 + number)
        assert client.pacing.snapshot().is_shared

children = []
for _ in range(3):
    child = os.fork()
    if not child:
        asyncio.run(work())
        os._exit(0)
    children.append(child)
sys.exit(any(os.waitpid(child, 0)[1] for child in children))
"""


def test_a_client_that_was_created_before_a_fork_connects_after_it(url: str) -> None:
    with RoomsSimulator(rooms=1) as sim:
        assert sim.api_key == "KEY_simulated"
        words = [sys.executable, "-c", FORKED, sim.url, url, sim.room_ids[0]]
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=50)
        assert done.returncode == 0, done.stderr
        assert sim.stats.requests == 15


async def test_closing_while_joining_and_twice(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=1) as sim:
        client = client_of(sim, f"unix://{tmp_path}/none.sock")
        call = asyncio.create_task(client.rooms.update(sim.room_ids[0], max_participants=20))
        await asyncio.sleep(0.01)
        await client.close()
        await client.close()
        await asyncio.gather(call, return_exceptions=True)
    assert len(asyncio.all_tasks()) == 1


@pytest.mark.parametrize(
    ("source", "wrong"),
    [
        ("http://host", "is not a URL of Redis"),
        ("redis://user:secret@host:99999/0", "is not a valid URL of Redis"),
        ("redis://user:secret@host:x/0", "is not a valid URL of Redis"),
        ("redis://user:sec#secret@host", "is not a valid URL of Redis"),
        ("redis://user:secret@host?unknown=1", "is not a valid URL of Redis"),
        (7, "a URL or a client of redis.asyncio"),
    ],
)
def test_an_invalid_source_is_rejected_without_its_password(source: str, wrong: str) -> None:
    with pytest.raises(ClientSettingsError, match=re.escape(wrong)) as caught:
        RedisPacing(source)
    assert "secret" not in str(caught.value)
    assert caught.value.setting == "source"


def test_other_invalid_settings_are_rejected() -> None:
    with pytest.raises(ClientSettingsError, match="without braces"):
        RedisPacing("redis://host", prefix="{a}")
    with pytest.raises(ClientSettingsError, match=r"Pacing\(shared=\) can't be combined with enabled=False"):
        Pacing(enabled=False, shared=RedisPacing("redis://host"))
    with pytest.raises(ClientSettingsError, match=r"Pacing\(shared=\)"):
        Pacing(shared="redis://host")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    assert "secret" not in repr(Pacing(shared=RedisPacing("redis://user:secret@host")))


def test_the_example_of_the_guide(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = blocks(SHARED_PACING_GUIDE, "python")
    assert code.count("redis://127.0.0.1:6379/0") == 1
    run(code.replace("redis://127.0.0.1:6379/0", url))
    assert capsys.readouterr().out == "True 2 0\n"
