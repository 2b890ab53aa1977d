"""Workers that are killed, suspended or stopped, and a store that fails, with processes and a real Redis."""

import asyncio
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from aiorooms import RoomsClient
from aiorooms._aio import end_tasks
from aiorooms.bulk import Journal, Plan
from aiorooms.bulk.distributed import DistributedRun, Worker, submit
from aiorooms.bulk.distributed import _delivery as delivery_module
from aiorooms.bulk.distributed import _worker as worker_module
from aiorooms.bulk.distributed._connect import opened_store
from aiorooms.bulk.distributed._engine import Delivery
from aiorooms.bulk.distributed._lead import lead_run
from aiorooms.bulk.distributed._lease import Lease, LeaseLostError, clock
from aiorooms.bulk.distributed._recording import BatchRecorder, Ended, RateLimited
from aiorooms.bulk.distributed._store import Change, Fence, RunStore
from aiorooms.simulator import RateLimit, RoomsSimulator
from benchmarks._redis_server import RedisServer
from benchmarks.distributed import Fleet, play

from ..conftest import settle, tasks_left
from .conftest import client_of, ended, journal_of, submitted, until, working


def test_nothing_is_lost_when_workers_and_the_store_are_killed() -> None:
    campaign = play(range(1, 2), 400, 3.0)
    assert (campaign.left, campaign.again, campaign.false_conflicts) == (0, 0, 0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_stopped_worker_hands_its_batches_back(tmp_path: Path, redis_url: str, number: signal.Signals) -> None:
    async with RoomsSimulator(rooms=1000, rate_limit=RateLimit(400)) as sim, client_of(sim) as client:
        name = await submitted(sim, tmp_path, redis_url)
        fleet = Fleet(sim, redis_url, tmp_path, "--redelivery", "300")
        try:
            fleet.start()
            await until(name, redis_url, "updated", 20)
            fleet.processes[0].send_signal(number)
            code = await asyncio.to_thread(fleet.processes[0].wait, 50)
            assert code == 0
            async with DistributedRun(name, redis_url) as run:
                status = await run.status()
            assert status.snapshot.counts["begun"] == 0, "all updates in flight have an outcome"
            assert not status.has_ended
            sim.rate_limit = None
            # If the batches had to wait for the redelivery, this would take too long.
            async with working(client, redis_url, redelivery=300.0):
                assert (await ended(name, redis_url)).snapshot.is_complete
        finally:
            await asyncio.to_thread(fleet.close)
        log = (tmp_path / "workers.log").read_text()
        assert "Stopped. What was left was handed back." in log
        assert sim.stats.by_method["PATCH"] == 1000 + sim.stats.refused


async def test_a_suspended_worker_sends_nothing_for_a_batch_that_went_elsewhere(tmp_path: Path, redis_url: str) -> None:
    async with RoomsSimulator(rooms=500, latency=0.05) as sim, client_of(sim) as client:
        name = await submitted(sim, tmp_path, redis_url)
        fleet = Fleet(sim, redis_url, tmp_path, "--redelivery", "3", "--concurrency", "6", "--no-shared-pacing")
        try:
            fleet.start()
            await until(name, redis_url, "updated", 20)
            fleet.processes[0].send_signal(signal.SIGSTOP)
            while sim.stats.in_flight:
                await asyncio.sleep(0.02)
            async with working(client, redis_url, redelivery=3.0):
                assert (await ended(name, redis_url)).snapshot.is_complete
            patches = sim.stats.by_method["PATCH"]
            fleet.processes[0].send_signal(signal.SIGCONT)
            await asyncio.sleep(2)
            assert sim.stats.by_method["PATCH"] == patches
        finally:
            await asyncio.to_thread(fleet.close)
        _, counts = await journal_of(name, redis_url, tmp_path)
        assert counts == {"updated": 500}


async def test_without_the_store_nothing_new_is_sent_and_the_run_goes_on_later(
    tmp_path: Path, redis_process: RedisServer
) -> None:
    on = redis_process.url
    async with RoomsSimulator(rooms=1000, rate_limit=RateLimit(300)) as sim, client_of(sim) as client:
        name = await submitted(sim, tmp_path, on)
        async with working(client, on, redelivery=4.0):
            await until(name, on, "updated", 100)
            await asyncio.to_thread(redis_process.end, signal.SIGKILL)
            await asyncio.sleep(2.5)  # what was begun is finished
            requests = sim.stats.requests
            await asyncio.sleep(1)
            assert sim.stats.requests - requests <= 2
            await asyncio.to_thread(redis_process.start)
            status = await ended(name, on)
        assert status.snapshot.is_complete
        path, counts = await journal_of(name, on, tmp_path)
        assert counts == {"updated": 1000}
        ends = [str(record["end"]) for record in Journal.open(path).records() if "end" in record]
        assert len(ends) == len({*ends}), "each room has one outcome"


async def test_a_store_that_is_lost_entirely(tmp_path: Path, redis_process: RedisServer) -> None:
    on = redis_process.url
    async with RoomsSimulator(rooms=600, rate_limit=RateLimit(300)) as sim, client_of(sim) as client:
        name = await submitted(sim, tmp_path, on)
        async with working(client, on):
            await until(name, on, "updated", 100)
            await asyncio.to_thread(redis_process.end, signal.SIGKILL)
            for path in (tmp_path / "redis").iterdir():
                if path.suffix != ".sock":
                    path.unlink()
            await asyncio.to_thread(redis_process.start)
            before = sim.stats.by_method["PATCH"]
            again = await submit(client, Plan.open(tmp_path / "a.plan"), on)
            status = await ended(again, on)
        assert status.snapshot.is_complete
        assert status.snapshot.already_right >= 100
        assert sim.stats.by_method["PATCH"] - before <= 600


async def test_a_cancelled_worker_leaves_nothing_behind(tmp_path: Path, on: str) -> None:
    async with RoomsSimulator(rooms=300, latency=0.05) as sim, client_of(sim) as client:
        name = await submitted(sim, tmp_path, on)
        before = tasks_left()
        task = asyncio.create_task(Worker(client, on).run())
        await until(name, on, "begun", 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert tasks_left() - before == set()
        assert client.pacing.snapshot().in_flight == 0


async def test_cancelling_a_worker_cancels_its_updates(tmp_path: Path, on: str) -> None:
    async with RoomsSimulator(rooms=3000, rate_limit=RateLimit(100)) as sim, client_of(sim) as client:
        name = await submitted(sim, tmp_path, on)
        task = asyncio.create_task(Worker(client, on).run())
        await until(name, on, "updated", 20)
        task.cancel()
        async with asyncio.timeout(10):
            with pytest.raises(asyncio.CancelledError):
                await task


async def test_the_leads_of_many_runs_leave_slots_to_batches(tmp_path: Path, on: str) -> None:
    async with RoomsSimulator(rooms=5) as sim, client_of(sim) as client:
        names: list[str] = []
        for number in range(4):
            folder = tmp_path / str(number)
            folder.mkdir()
            names.append(await submitted(sim, folder, on, f"max_participants={20 + number}", force=True))
        async with working(client, on):
            for name in names:
                assert (await ended(name, on)).snapshot.is_complete


def recorder_of(client: RoomsClient) -> BatchRecorder:
    """Return a recorder whose store answers as `RunStore.append` is patched to."""
    lease = Lease(15.0, clock())
    return BatchRecorder(RunStore(object(), "run"), 0, "epoch", lease, client, "", RateLimited(0))


async def test_a_flush_waits_for_the_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a batch could end while its last outcomes are being recorded, and these would be lost."""
    may_answer = asyncio.Event()
    recorded: list[int] = []

    async def slow(_: RunStore, number: int, fence: Fence, change_number: int, change: Change) -> str:
        await may_answer.wait()
        recorded.extend(place for place, _ in change.letters)
        return ""

    monkeypatch.setattr(RunStore, "append", slow)
    async with RoomsClient("KEY", base_url="http://127.0.0.1:1") as client:
        recorder = recorder_of(client)
        await recorder.end(Ended(place=7, letter="u", line=b"", attempts=1, failure=None))
        first = asyncio.create_task(recorder.flush())
        second = asyncio.create_task(recorder.flush())
        await settle()
        assert not second.done()
        may_answer.set()
        await second
        assert recorded == [7]
        await first


async def test_outcomes_are_recorded_once_if_the_beginning_that_took_them_is_cancelled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`update_many` cancels the source of its updates when it is stopped."""
    tried: list[tuple[int, Change]] = []
    is_up = False

    async def append(_: RunStore, number: int, fence: Fence, change_number: int, change: Change) -> str:
        tried.append((change_number, change))
        if not is_up:
            raise OSError("no store")
        return ""

    monkeypatch.setattr(RunStore, "append", append)
    async with RoomsClient("KEY", base_url="http://127.0.0.1:1") as client:
        recorder = recorder_of(client)
        await recorder.end(Ended(place=7, letter="u", line=b"7\n", attempts=1, failure=None))
        beginning = asyncio.create_task(recorder.begin([8]))
        await settle()
        await recorder.end(Ended(place=9, letter="f", line=b"9\n", attempts=1, failure="why"))
        await end_tasks([beginning])
        is_up = True
        tried.clear()
        for _ in range(2):
            await recorder.flush()
        (first, repeated), (second, new) = tried
    assert (first, [*repeated.letters]) == (1, [(7, "u"), (8, "b")]), "the store may have recorded this change already"
    assert (second, [*new.letters]) == (2, [(9, "f")])


async def test_a_batch_is_not_ended_without_its_lease(tmp_path: Path, on: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another worker may have it, and the last outcomes may not have been recorded."""

    async def lose(batch: delivery_module._Batch) -> None:
        batch._open.clear()
        batch._lease.lose()

    async def renew() -> bool:
        return True

    monkeypatch.setattr(delivery_module._Batch, "apply", lose)
    async with RoomsSimulator(rooms=3) as sim, client_of(sim) as client, opened_store(on) as redis:
        store = RunStore(redis, await submitted(sim, tmp_path, on))
        settings = delivery_module.BatchSettings(concurrency=1, rate_limited=RateLimited(0))
        with pytest.raises(LeaseLostError):
            await delivery_module.apply_batch(
                client, store, Delivery(store.run, 0, 1, renew), Lease(15.0, clock()), settings, "", asyncio.Event()
            )
        head = await store.head()
        assert head is not None
        assert head.finished == 0


@pytest.mark.parametrize("rooms", [100, 600])
async def test_a_worker_that_stops_hands_the_lead_back_once(
    tmp_path: Path, on: str, rooms: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    leads = 0

    async def count(*arguments: Any) -> None:
        nonlocal leads
        leads += 1
        await lead_run(*arguments)

    monkeypatch.setattr(worker_module, "lead_run", count)
    async with RoomsSimulator(rooms=rooms, latency=0.3) as sim, client_of(sim) as client:
        name = await submitted(sim, tmp_path, on)
        worker = Worker(client, on)
        running = asyncio.create_task(worker.run())
        await until(name, on, "updated", 20)
        worker.stop()
        async with asyncio.timeout(20):
            await running
        assert leads == 1
        monkeypatch.undo()
        async with working(client, on):
            assert (await ended(name, on)).snapshot.is_complete


async def test_a_delivery_that_is_fenced_during_its_read_back_stops_nothing(
    tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The rooms are as wanted, so outcomes are recorded by the tasks that read. The regular flush must not be earlier.
    monkeypatch.setattr(delivery_module, "_FLUSH", 100.0)
    async with RoomsSimulator(rooms=100, latency=0.2) as sim, client_of(sim) as client:
        name = await submitted(sim, tmp_path, redis_url, force=True)
        for room_id in sim.room_ids:
            sim.change_room(room_id, max_participants=20)
        async with opened_store(redis_url) as redis:
            store = RunStore(redis, name)
            await store.open_batch(0, "earlier", await store.boot(), 15.0)  # the next delivery is not the first one
            await store.reopen(0, {})
            async with working(client, redis_url, redelivery=3.0):
                while not await store.is_opened(0):
                    await asyncio.sleep(0.01)
                await store.open_batch(0, "later", await store.boot(), 15.0)
                status = await ended(name, redis_url)
        assert (status.stop, status.snapshot.is_complete) == ("", True)
        assert sim.stats.by_method["PATCH"] == 0


async def test_rooms_that_are_read_back_wait_for_the_end_of_an_outage(tmp_path: Path, redis_url: str) -> None:
    async with RoomsSimulator(rooms=20) as sim, client_of(sim) as client:
        name = await submitted(sim, tmp_path, redis_url)
        async with opened_store(redis_url) as redis:
            store = RunStore(redis, name)
            await store.open_batch(0, "earlier", await store.boot(), 15.0)
            await store.reopen(0, {})
            async with working(client, redis_url):
                while not await store.is_opened(0):
                    await asyncio.sleep(0)
                sim.refuse_connections()
                await asyncio.sleep(1)
                sim.accept_connections()
                status = await ended(name, redis_url)
        assert status.snapshot.counts["updated"] == 20


async def test_a_bug_in_a_worker_stops_the_run(
    tmp_path: Path, on: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise TypeError("a bug")

    async with RoomsSimulator(rooms=3) as sim, client_of(sim) as client:
        name = await submitted(sim, tmp_path, on)
        monkeypatch.setattr(delivery_module, "_Batch", broken)
        async with working(client, on):
            status = await ended(name, on)
        assert status.stop == "a worker failed: TypeError('a bug')"
    assert f"the run {name} is stopped" in caplog.text


def test_a_worker_without_a_store_waits_and_can_be_stopped(tmp_path: Path) -> None:
    with RoomsSimulator(rooms=1) as sim:
        words = [sys.executable, "-m", "aiorooms", "worker", "--on", f"unix://{tmp_path}/nothing.sock"]
        environment = {"TELNYX_API_KEY": sim.api_key, "TELNYX_BASE_URL": sim.url}
        with subprocess.Popen(words, env=environment, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            lines = [process.stderr.readline() for _ in range(2)]
            process.terminate()
            assert process.wait(50) == 0
    assert any("the store can't be used" in line and "tries again every second" in line for line in lines), lines
