"""The inbox: each genuine event is kept, acknowledged and handled once, whatever the handler and the sender do."""

import asyncio
import json
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import redis

from aiorooms import ClientSettingsError
from aiorooms.webhooks import (
    Event,
    EventStore,
    FileEventStore,
    MemoryEventStore,
    RedisEventStore,
    StoreFullError,
    WebhookInbox,
    WebhookVerifier,
)
from benchmarks._redis_server import redis_server

from ..conftest import tasks_left
from .signing import event_body, public, signed

MakeStore = Callable[..., EventStore]


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with redis_server(tmp_path_factory.mktemp("redis")) as url:
        yield url


def _maker(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> MakeStore:
    """Return a function that makes a store. All durable stores of a test share their events."""
    url = request.getfixturevalue("redis_url") if kind == "redis" else ""
    prefix = uuid4().hex

    def make(**settings: Any) -> EventStore:
        match kind:
            case "memory":
                return MemoryEventStore(**settings)
            case "file":
                return FileEventStore(tmp_path / "events.db", **settings)
            case _:
                return RedisEventStore(url, prefix=prefix, **settings)

    return make


@pytest.fixture(params=["file", "redis"])
def make_durable(request: pytest.FixtureRequest, tmp_path: Path) -> MakeStore:
    return _maker(request.param, request, tmp_path)


@pytest.fixture(params=["memory", "file", "redis"])
def make_store(request: pytest.FixtureRequest, tmp_path: Path) -> MakeStore:
    return _maker(request.param, request, tmp_path)


class Handler:
    """Records the ids of the events that it has finished. It raises for some of them first."""

    def __init__(self, **raises: int) -> None:
        self.raises = raises
        self.begun: list[str | None] = []
        self.finished: list[str | None] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, event: Event) -> None:
        self.begun.append(event.id)
        await self.gate.wait()
        name = event.id or ""
        if self.raises.get(name, 0):
            self.raises[name] -= 1
            raise ValueError(f"no {name}")
        self.finished.append(event.id)

    async def has_finished(self, count: int) -> None:
        while len(self.finished) < count:
            await asyncio.sleep(0.001)


def inbox(handler: Any, store: EventStore, **settings: Any) -> WebhookInbox:
    settings.setdefault("retry_delay", 0.001)
    return WebhookInbox(WebhookVerifier(public()), handler, store=store, **settings)


async def deliver(box: WebhookInbox, event_id: str = "e-1") -> int:
    body = event_body(event_id=event_id)
    return await box.receive(signed(body), body)


async def test_an_event_is_handled_once_however_often_it_is_delivered(make_store: MakeStore) -> None:
    handler = Handler()
    async with inbox(handler, make_store()) as box:
        assert [await deliver(box, "a"), await deliver(box, "b"), await deliver(box, "a")] == [200] * 3
        assert await asyncio.gather(*(deliver(box, "c") for _ in range(20))) == [200] * 20
        await handler.has_finished(3)
        assert await deliver(box, "b") == 200
    assert sorted(map(str, handler.finished)) == ["a", "b", "c"]
    assert tasks_left() == set()


async def test_an_event_without_an_id_is_recognized_by_its_body(make_store: MakeStore) -> None:
    handler = Handler()
    first, second = (b'{"event_type": "x", "payload": {"n": %d}}' % number for number in (1, 2))
    async with inbox(handler, make_store()) as box:
        for body in (first, second, first, second):
            assert await box.receive(signed(body), body) == 200
        await handler.has_finished(2)
    assert handler.finished == [None, None]


async def test_the_answer_does_not_wait_for_the_handler(make_store: MakeStore) -> None:
    handler = Handler()
    handler.gate.clear()
    async with inbox(handler, make_store(), concurrency=2) as box:
        for number in range(10):
            assert await deliver(box, f"e-{number}") == 200
        while len(handler.begun) < 2:
            await asyncio.sleep(0.001)
        assert len(handler.begun) == 2, "at most two handlers run at a time"
        handler.gate.set()
        await handler.has_finished(10)


async def test_a_handler_that_raises_is_tried_again(make_store: MakeStore) -> None:
    handler = Handler(a=3)
    async with inbox(handler, make_store(), max_attempts=4) as box:
        await deliver(box, "a")
        await handler.has_finished(1)
    assert handler.begun == ["a"] * 4


async def test_after_the_last_attempt_on_failure_gets_the_event(make_store: MakeStore) -> None:
    failed: list[tuple[str | None, str]] = []

    async def on_failure(event: Event, error: Exception) -> None:
        failed.append((event.id, str(error)))
        raise RuntimeError("this is logged, and ends nothing")

    handler = Handler(a=99)
    async with inbox(handler, make_store(), max_attempts=2, on_failure=on_failure, concurrency=1) as box:
        await deliver(box, "a")
        while not failed:
            await asyncio.sleep(0.001)
        await deliver(box, "b")
        await handler.has_finished(1)
        assert await deliver(box, "a") == 200
    assert failed == [("a", "no a")]
    assert handler.begun == ["a", "a", "b"]


async def test_events_that_were_not_handled_are_handled_after_a_restart(make_durable: MakeStore) -> None:
    stuck, handler = Handler(), Handler()
    stuck.gate.clear()
    async with inbox(stuck, make_durable(), concurrency=2, drain=0) as box:
        for number in range(5):
            await deliver(box, f"e-{number}")
    assert stuck.finished == []
    async with inbox(handler, make_durable()) as box:
        await handler.has_finished(5)
        assert await deliver(box, "e-3") == 200
    assert sorted(map(str, handler.finished)) == [f"e-{number}" for number in range(5)]


async def test_an_event_of_a_dead_process_is_claimed_when_its_lease_has_expired(make_durable: MakeStore) -> None:
    dead = make_durable()
    await dead.open()
    assert await dead.add("a", event_body(event_id="a"), lease_until=1000)  # long ago
    await dead.close()
    handler = Handler()
    async with inbox(handler, make_durable()):
        await handler.has_finished(1)


async def test_two_processes_share_their_events_and_none_is_handled_twice(make_durable: MakeStore) -> None:
    handler = Handler()
    async with inbox(handler, make_durable()) as one, inbox(handler, make_durable()) as other:
        deliveries = [deliver(box, f"e-{number}") for number in range(50) for box in (one, other)]
        assert set(await asyncio.gather(*deliveries)) == {200}
        await handler.has_finished(50)
    assert len(handler.finished) == len(set(handler.finished)) == 50


async def test_a_long_handler_keeps_its_event(make_durable: MakeStore) -> None:
    handler, other = Handler(), Handler()
    handler.gate.clear()
    settings = {"lease": 0.9}
    store, renewed = make_durable(), list[float]()
    renew = store.renew

    async def counting(keys: Sequence[str], *, lease_until: float) -> None:
        renewed.append(lease_until)
        await renew(keys, lease_until=lease_until)

    store.renew = counting  # type: ignore[method-assign]
    async with inbox(handler, store, **settings) as box:
        await deliver(box, "a")
        async with inbox(other, make_durable(), **settings):
            while len(renewed) < 4:  # a lease is renewed three times before it would expire
                await asyncio.sleep(0.01)
            assert other.begun == []
        handler.gate.set()
        await handler.has_finished(1)
    assert handler.begun == ["a"]


async def test_a_full_inbox_answers_503_and_still_knows_its_events(make_store: MakeStore) -> None:
    handler = Handler()
    handler.gate.clear()
    async with inbox(handler, make_store(max_events=2)) as box:
        assert [await deliver(box, name) for name in "abcab"] == [200, 200, 503, 200, 200]
        handler.gate.set()
        await handler.has_finished(2)
        while await deliver(box, "c") == 503:
            await asyncio.sleep(0.001)
        await handler.has_finished(3)


async def test_handlers_have_time_to_finish_when_the_inbox_closes(make_store: MakeStore) -> None:
    handler = Handler()
    handler.gate.clear()
    async with inbox(handler, make_store(), concurrency=2) as box:
        for number in range(4):
            await deliver(box, f"e-{number}")
        asyncio.get_running_loop().call_later(0.01, handler.gate.set)
    assert len(handler.finished) == 4
    assert await deliver(box, "late") == 503
    assert tasks_left() == set()


async def test_a_cancelled_end_leaves_nothing_behind(make_store: MakeStore) -> None:
    handler = Handler()
    handler.gate.clear()

    async def run() -> None:
        async with inbox(handler, make_store()) as box:
            await deliver(box)

    task = asyncio.create_task(run())
    while not handler.begun:
        await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert tasks_left() == set()


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({}, b"{}", 400),
        (None, b"[]", 400),
        (None, b"x" * 257 * 1024, 413),
        ({"Content-Encoding": "gzip"}, b"{}", 415),
        ({"Content-Encoding": "identity"}, b"{}", 400),
    ],
)
async def test_other_deliveries_are_rejected(headers: dict[str, str] | None, body: bytes, status: int) -> None:
    handler = Handler()
    async with inbox(handler, MemoryEventStore()) as box:
        given = signed(body) if headers is None else headers
        assert await box.receive(given, body) == status

        async def pieces() -> AsyncIterator[bytes]:
            for at in range(0, len(body), 1000):
                yield body[at : at + 1000]

        assert await box.receive(given, pieces()) == status
    assert handler.begun == []


async def test_an_endless_body_is_not_read_to_its_end() -> None:
    read: list[int] = []

    async def endless() -> AsyncIterator[bytes]:
        while True:
            read.append(1)
            yield b"x" * 1000

    async with inbox(Handler(), MemoryEventStore(), max_body=10_000) as box:
        assert await box.receive(signed(b""), endless()) == 413
    assert len(read) == 11


async def test_a_store_that_fails_costs_no_event(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Failing(FileEventStore):
        fails = 0

        async def done(self, key: str, *, now: float) -> None:
            if self.fails:
                self.fails -= 1
                raise sqlite3.OperationalError("disk I/O error")
            await super().done(key, now=now)

    handler, store = Handler(), Failing(tmp_path / "events.db")
    store.fails = 1
    async with inbox(handler, store, lease=0.3) as box:
        await deliver(box, "a")
        await handler.has_finished(2)  # its end was not recorded, so it is handled again when the lease has expired
    assert handler.finished == ["a", "a"]
    assert "did not record what became of event a" in caplog.text


async def test_a_handler_that_raises_cancelled_error_ends_no_worker(make_store: MakeStore) -> None:
    finished: list[str | None] = []

    async def on_event(event: Event) -> None:
        if event.id == "odd":
            cancelled = asyncio.ensure_future(asyncio.sleep(0))
            cancelled.cancel()
            await cancelled
        finished.append(event.id)

    async with inbox(on_event, make_store(), concurrency=1, max_attempts=2) as box:
        assert [await deliver(box, name) for name in ("odd", "a", "b")] == [200] * 3
        while len(finished) < 2:
            await asyncio.sleep(0.001)
    assert finished == ["a", "b"]


async def test_a_handler_that_swallows_its_cancellation_does_not_stop_the_shutdown(make_store: MakeStore) -> None:
    begun: list[str | None] = []

    async def on_event(event: Event) -> None:
        begun.append(event.id)
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()

    async with inbox(on_event, make_store(), concurrency=1, drain=0) as box:
        await deliver(box, "a")
        await deliver(box, "b")
        while not begun:
            await asyncio.sleep(0.001)
    assert begun == ["a"]
    assert tasks_left() == set()


@pytest.mark.parametrize("event_id", ["\ud800", "x" * 100_000, "a\x00b", "", 7, None, [1]])
async def test_an_event_with_an_odd_id_is_handled_once(event_id: object, make_store: MakeStore) -> None:
    handler = Handler()
    async with inbox(handler, make_store()) as box:
        for attempt in (1, 2):
            data: dict[str, object] = {"event_type": "x", "id": event_id, "payload": {}}
            body = json.dumps({"data": data, "meta": {"attempt": attempt}}).encode()
            assert await box.receive(signed(body), body) == 200
        await handler.has_finished(1)
        await deliver(box, "last")
        await handler.has_finished(2)
    assert len(handler.finished) == 2


async def test_a_backlog_is_handled_without_pauses(make_durable: MakeStore) -> None:
    store = make_durable()
    await store.open()
    adds = [store.add(f"e-{n}", event_body(event_id=f"e-{n}"), lease_until=0) for n in range(1_000)]
    await asyncio.gather(*adds)
    await store.close()
    handler = Handler()
    async with asyncio.timeout(20):  # with a pause of a second for each 20 events, it would take 50 s
        async with inbox(handler, make_durable(), retry_delay=1) as box:
            await handler.has_finished(1_000)
            assert await deliver(box, "e-7") == 200
    assert len(set(handler.finished)) == len(handler.finished) == 1_000


async def test_many_events_wait_in_the_store_and_not_in_memory(make_store: MakeStore) -> None:
    handler = Handler()
    handler.gate.clear()
    async with inbox(handler, make_store(), concurrency=1) as box:
        for number in range(100):
            assert await deliver(box, f"e-{number}") == 200
        assert box._queue.qsize() <= 20
        handler.gate.set()
        await handler.has_finished(100)
    assert len(set(handler.finished)) == 100


async def test_five_hundred_deliveries_at_the_same_time_are_kept(make_store: MakeStore) -> None:
    handler = Handler()
    async with inbox(handler, make_store()) as box:
        statuses = await asyncio.gather(*(deliver(box, f"e-{number}") for number in range(500)))
        assert set(statuses) == {200}
        await handler.has_finished(500)


async def test_an_inbox_can_run_only_once_at_a_time(make_store: MakeStore) -> None:
    handler = Handler()
    box = inbox(handler, make_store())
    for _ in range(2):
        async with box:
            with pytest.raises(RuntimeError, match="the inbox is running already"):
                await box.__aenter__()
            await deliver(box, "a")
            await handler.has_finished(1)


async def test_a_file_that_could_not_be_opened_can_be_opened_later(tmp_path: Path) -> None:
    box = inbox(handler := Handler(), FileEventStore(tmp_path / "folder" / "events.db"))
    threads = {*threading.enumerate()}
    with pytest.raises(FileNotFoundError):
        await box.__aenter__()
    while {*threading.enumerate()} - threads:  # the thread of the store has closed everything, and ends
        await asyncio.sleep(0.001)
    (tmp_path / "folder").mkdir()
    async with box:
        await deliver(box)
        await handler.has_finished(1)


async def test_an_inbox_that_is_not_running_is_a_mistake() -> None:
    box = inbox(Handler(), MemoryEventStore())
    with pytest.raises(RuntimeError, match="the inbox is not running; use `async with`"):
        await deliver(box)


@pytest.mark.parametrize(
    "settings",
    [{"concurrency": 0}, {"max_attempts": 0}, {"retry_delay": 0}, {"lease": 0}, {"max_body": 0}, {"drain": -1}],
)
def test_wrong_settings_are_told(settings: dict[str, Any]) -> None:
    with pytest.raises(ClientSettingsError, match=next(iter(settings))):
        inbox(Handler(), MemoryEventStore(), **settings)


async def test_the_memory_store_forgets_the_oldest_keys() -> None:
    store = MemoryEventStore(remember=2)
    for key in "abc":
        assert await store.add(key, b"", lease_until=1)
        await store.done(key, now=0)
    assert [await store.add(key, b"", lease_until=1) for key in "abc"] == [True, False, False]


async def test_the_file_store_forgets_keys_after_their_time(tmp_path: Path) -> None:
    store = FileEventStore(tmp_path / "events.db", remember=100)
    await store.open()
    await store.add("a", b"", lease_until=1)
    await store.done("a", now=50)
    await store.tidy(now=149)
    assert not await store.add("a", b"", lease_until=1)
    await store.tidy(now=151)
    assert await store.add("a", b"", lease_until=1)
    await store.close()
    with pytest.raises(RuntimeError, match="not open"):
        await store.add("b", b"", lease_until=1)


async def test_a_job_that_finds_the_store_full_does_not_disturb_the_others(tmp_path: Path) -> None:
    store = FileEventStore(tmp_path / "events.db", max_events=1)
    await store.open()
    jobs = [store.add(str(number), b"", lease_until=1) for number in range(5)]
    results = await asyncio.gather(*jobs, return_exceptions=True)
    assert sum(result is True for result in results) == 1
    assert sum(isinstance(result, StoreFullError) for result in results) == 4
    await store.close()


async def test_a_file_that_can_not_be_opened_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "events.db").write_text("this is no database, but a text that is long enough to look like one")
    store = FileEventStore(tmp_path / "events.db")
    for _ in range(2):
        with pytest.raises(sqlite3.DatabaseError):
            await store.open()
    await store.close()


async def test_the_file_is_private(tmp_path: Path) -> None:
    store = FileEventStore(tmp_path / "events.db")
    await store.open()
    assert (tmp_path / "events.db").stat().st_mode & 0o777 == 0o600
    await store.close()


async def test_redis_that_can_not_be_reached_is_an_error() -> None:
    store = RedisEventStore("redis://127.0.0.1:1/0")
    with pytest.raises(redis.ConnectionError):
        await store.open()
    with pytest.raises(RuntimeError, match="not open"):
        await store.done("a", now=0)


@pytest.mark.parametrize("name", ["on_event", "on_failure"])
def test_a_function_that_is_not_async_is_told(name: str) -> None:
    def plain(*arguments: object) -> None: ...

    given: dict[str, Any] = {"on_event": Handler(), name: plain}
    with pytest.raises(TypeError, match=rf"{name} is <function .*, which is not async; write it as `async def`"):
        WebhookInbox(WebhookVerifier(public()), **given)
