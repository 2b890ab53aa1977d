"""The steps that change a run in the store, in a real Redis and in the store in memory."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from aiorooms.bulk._plan_records import PlanHeader, PlanTotals
from aiorooms.bulk.distributed._batches import pack
from aiorooms.bulk.distributed._engine import Engine
from aiorooms.bulk.distributed._store import Change, Fence, Fenced, Opened, RunStore, run_names
from aiorooms.errors import DistributedRunError

HEADER = PlanHeader(plan_id="0123", created_at="2026-11-01", base_url="https://api.example.com/v2", source="rooms.csv")
LINES = [[b"a\n", b"b\n", b"c\n"], [b"d\n", b"e\n"]]


@asynccontextmanager
async def store_of(on: str, **settings: Any) -> AsyncGenerator[RunStore]:
    """Yield the store of a run with two batches, of three and two rooms."""
    async with Engine(on, "test", redelivery=15.0) as engine:
        store = RunStore(engine.client, f"run{id(settings)}")
        for number, lines in enumerate(LINES):
            await store.put_batch(number, len(lines), pack(lines))
        totals = PlanTotals(rooms=5, unchanged=0, latest_update=datetime(2026, 1, 1, tzinfo=UTC), sha256="f00d")
        await store.put_head(HEADER, totals, 2, settings, 1000.0, "boot 1")
        yield store


async def opened(store: RunStore, number: int, epoch: str, boot: str = "boot 1") -> Opened:
    found = await store.open_batch(number, epoch, boot, 15.0)
    assert isinstance(found, Opened)
    return found


def without_times(texts: list[bytes]) -> bytes:
    """Return the lines of a log. Each change also has a line with its time."""
    lines = b"".join(texts).splitlines(keepends=True)
    return b"".join(line for line in lines if not line.startswith(b"#"))


async def counts(store: RunStore) -> dict[str, int]:
    head = await store.head()
    assert head is not None
    assert sum(head.counts.values()) == head.totals.rooms
    return {letter: count for letter, count in head.counts.items() if count and letter != "."}


async def test_a_new_run_is_as_it_was_submitted(on: str) -> None:
    async with store_of(on, max_failures=3, force=True) as store:
        head = await store.head()
        assert head is not None
        assert (head.header, head.totals.rooms, head.batches) == (HEADER, 5, 2)
        assert head.settings == {"max_failures": 3, "force": True}
        assert (head.stop, head.ended_at, head.finished, head.counts) == ("", None, 0, {".": 5})
        assert await store.lines(1) == LINES[1]
        assert await store.rows(1) == ".."
        assert store.run in await run_names(store._client)
        assert await RunStore(store._client, "other").head() is None


async def test_a_delivery_gets_what_it_needs(on: str) -> None:
    async with store_of(on) as store:
        assert await store.began(0) is None
        found = await opened(store, 0, "x")
        assert found == Opened(True, LINES[0], "...", frozenset(), "", 0.0)
        assert await store.is_opened(0)
        assert not await store.is_opened(1)
        began = await store.began(0)
        assert began is not None
        assert abs(began - await store.time()) < 50
        assert not (await opened(store, 0, "y")).is_first
        assert await store.began(0) == began
        assert await store.open_batch(9, "z", "boot 1", 15.0) == "gone"


async def test_a_change_is_recorded_once(on: str) -> None:
    async with store_of(on) as store:
        await opened(store, 0, "x")
        fence = Fence(False, "x")
        begin = Change(letters=[(0, "b"), (2, "b")], body=b"begin\n")
        for _ in range(2):  # as if the first answer was lost
            assert await store.append(0, fence, 1, begin) == ""
        end = Change(letters=[(0, "u"), (2, "?")], body=b"end\n", failures=1, attempts=3, rate_limited=2, limit="9.5")
        for _ in range(2):
            await store.append(0, fence, 2, end)
        assert await store.rows(0) == "u.?"
        assert without_times(await store.log(0)) == b"begin\nend\n"
        assert await counts(store) == {"u": 1, "?": 1}
        head = await store.head()
        assert head is not None
        assert (head.attempts, head.rate_limited, head.limit) == (3, 2, 9.5)


async def test_an_earlier_delivery_changes_nothing(on: str) -> None:
    async with store_of(on) as store:
        await opened(store, 0, "x")
        await opened(store, 0, "y")
        for fence in (Fence(False, "x"), Fence(False, "")):
            with pytest.raises(Fenced):
                await store.append(0, fence, 5, Change(letters=[(0, "u")], body=b"late\n"))
        with pytest.raises(Fenced):
            await store.finish(0, "x", b"")
        assert await store.rows(0) == "..."
        assert await store.log(0) == []
        await store.append(0, Fence(False, "y"), 1, Change(letters=[(0, "u")]))
        assert await store.rows(0) == "u.."


async def test_a_batch_ends_once_and_keeps_its_log(on: str) -> None:
    async with store_of(on) as store:
        await opened(store, 0, "x")
        await store.append(0, Fence(False, "x"), 1, Change(letters=[(0, "u")], body=b"one\n"))
        for _ in range(2):
            await store.finish(0, "x", pack(await store.new_log(0)))
        head = await store.head()
        assert head is not None
        assert head.finished == 1
        assert without_times(await store.log(0)) == b"one\n"
        assert await store.open_batch(0, "y", "boot 1", 15.0) == "done"


@pytest.mark.parametrize("most", [None, 1, 3])
async def test_too_many_failures_stop_the_run(on: str, most: int | None) -> None:
    async with store_of(on, max_failures=most) as store:
        await opened(store, 0, "x")
        await opened(store, 1, "z")
        reasons = [
            await store.append(number, Fence(False, epoch), change, Change(failures=1))
            for change in (1, 2)
            for number, epoch in ((0, "x"), (1, "z"))
        ]
        assert [bool(reason) for reason in reasons] == [most is not None and count >= most for count in (1, 2, 3, 4)]
        found = await store.open_batch(0, "y", "boot 1", 15.0)
        assert isinstance(found, Opened) if most is None else found == "stopped"


async def test_the_first_reason_to_stop_counts(on: str) -> None:
    async with store_of(on) as store:
        await opened(store, 0, "x")
        assert await store.append(0, Fence(False, "x"), 1, Change(stop="401")) == "401"
        assert await store.stop("the user", 1000.0) == "ok"
        head = await store.head()
        assert head is not None
        assert head.stop == "401"
        assert await store.open_batch(1, "y", "boot 1", 15.0) == "stopped"


async def test_only_the_last_lead_leads(on: str) -> None:
    async with store_of(on) as store:
        await store.take_lead("first")
        await store.set_head("first", {"phase": "comparing"})
        await store.take_lead("second")
        for step in (store.set_head("first", {"phase": "ended"}), store.publish(0, "first", [1])):
            with pytest.raises(Fenced):
                await step
        with pytest.raises(Fenced):
            await store.append(0, Fence(True, "first"), 9, Change(body=b"late\n"))
        await store.append(0, Fence(True, "second"), 1, Change(letters=[(0, "c")], body=b"conflict\n"))
        assert without_times(await store.log(None)) == b"conflict\n"
        assert await store.rows(0) == "c.."
        head = await store.head()
        assert head is not None
        assert head.phase == "comparing"


async def test_rooms_are_set_aside_only_in_batches_that_were_not_opened(on: str) -> None:
    async with store_of(on) as store:
        await store.take_lead("lead")
        await store.publish(0, "lead", [2, 0])
        await store.publish(1, "lead", [1])
        await store.publish(1, "lead", [])
        assert (await opened(store, 0, "x")).aside == {0, 2}
        assert (await opened(store, 1, "x")).aside == frozenset()
        await store.publish(0, "lead", [1])
        assert (await opened(store, 0, "y")).aside == {0, 2}


async def test_the_window_is_the_longest_one(on: str) -> None:
    async with store_of(on) as store:
        await opened(store, 0, "x")
        now = await store.time()
        for number, ago in enumerate((5.0, 20.0, 1.0), 1):
            await store.append(0, Fence(False, "x"), number, Change(listed_at=f"{now - ago:.6f}"))
        head = await store.head()
        assert head is not None
        assert head.window is not None
        assert 20.0 <= head.window < 80.0


async def test_after_a_restart_of_the_store_batches_are_read_first(on: str) -> None:
    async with store_of(on) as store:
        assert (await opened(store, 0, "x")).is_first
        found = await opened(store, 1, "x", boot="boot 2")
        assert not found.is_first, "the store may have lost that the batch was opened before"
        assert 0 < found.wait <= 15.0


async def test_a_reopened_run_sends_what_was_left(on: str) -> None:
    async with store_of(on) as store:
        await opened(store, 0, "x")
        await store.append(0, Fence(False, "x"), 1, Change(letters=[(0, "u"), (1, "?"), (2, "f")], body=b"1\n"))
        await store.finish(0, "x", pack([b"1\n"]))
        await store.stop("why", 1000.0)
        assert await store.reopen(0, {"?": "b"})
        assert await store.reopen(1, {"?": "b"})
        await store.begin_again([{"run": 1, "began_at": 1.0}, {"run": 2, "began_at": 2.0}], {})
        assert await store.rows(0) == "ubf"
        assert await counts(store) == {"u": 1, "b": 1, "f": 1}
        found = await opened(store, 0, "y")
        assert (found.is_first, found.rows) == (False, "ubf")
        assert (await opened(store, 1, "y")).is_first
        await store.append(0, Fence(False, "y"), 1, Change(letters=[(1, "u")], body=b"2\n"))
        await store.finish(0, "y", pack([b"2\n"]))
        assert without_times(await store.log(0)) == b"1\n2\n"
        assert not await store.reopen(0, {"?": "b"})


async def test_a_batch_that_only_had_to_be_ended_is_delivered_again(on: str) -> None:
    async with store_of(on) as store:
        await opened(store, 1, "x")
        await store.append(1, Fence(False, "x"), 1, Change(letters=[(0, "u"), (1, "f")], body=b"1\n"))
        assert await store.reopen(1, {})
        assert not await store.is_opened(1)


async def test_a_run_that_no_worker_has_begun_ends_when_it_is_stopped(on: str) -> None:
    async with store_of(on) as store:
        await store.stop("why", 1000.0)
        head = await store.head()
        assert head is not None
        assert (head.ended_at, head.phase, head.stop) == (1000.0, "stopped", "why")


async def test_lost_data_is_an_error(on: str) -> None:
    async with store_of(on) as store:
        await store._client.delete(store._batch(1))
        with pytest.raises(DistributedRunError, match="batch 1 is missing; submit the plan again"):
            await store.lines(1)
        await store._client.hset(store._batch(0), mapping={"plan": b"damaged"})
        with pytest.raises(DistributedRunError, match="batch 0 is damaged"):
            await store.lines(0)
        await store._client.hset(store._head, mapping={"settings": "{"})
        with pytest.raises(DistributedRunError, match="its head is damaged"):
            await store.head()
        await store._client.delete(store._head)
        assert await store.stop("why", 1.0) == "gone"
        with pytest.raises(DistributedRunError, match="its head is missing"):
            await store.take_lead("x")


async def test_everything_expires(redis_url: str) -> None:
    async with store_of(redis_url) as store:
        await opened(store, 0, "x")
        await store.append(0, Fence(False, "x"), 1, Change(body=b"1\n"))
        keys = await store._client.keys(f"{store._prefix}*")
        assert len(keys) == 4
        for key in keys:
            assert await store._client.ttl(key) > 29 * 24 * 3600
