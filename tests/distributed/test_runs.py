"""Runs on several machines, from `submit` to the pulled journal, in Redis and in memory, against the simulator."""

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from aiorooms import ClientSettingsError, Pacing, RedisPacing, RoomsClient
from aiorooms._aio import end_tasks
from aiorooms.bulk import Journal, Plan, PlanFileError, apply, make_plan, plan_rollback, select, verify, write_report
from aiorooms.bulk.distributed import DistributedRun, DistributedRunError, RunStatus, Worker, find_runs, submit
from aiorooms.bulk.distributed._connect import opened_store
from aiorooms.bulk.distributed._store import RunStore
from aiorooms.simulator import RoomsSimulator, ScriptedAnswer
from benchmarks._redis_server import RedisServer

from ..bulk.conftest import collect
from ..documents import DISTRIBUTED_GUIDE, blocks
from ..shared_pacing.test_redis import connect
from .conftest import client_of, ended, journal_of, plan_of, submitted, until, working


async def test_workers_apply_a_plan_together(tmp_path: Path, on: str) -> None:
    async with RoomsSimulator(rooms=600) as sim, client_of(sim) as one, client_of(sim) as other:
        name = await submitted(sim, tmp_path, on)
        async with working(one, on), working(other, on):
            status = await ended(name, on)
        assert (status.phase, status.stop, status.snapshot.is_complete) == ("ended", "", True)
        assert status.snapshot.counts["updated"] == 600
        assert status.overwrite_window is not None
        assert sim.stats.by_method["PATCH"] == 600, "no update was sent twice"
        assert all(room["max_participants"] == 20 for room in sim.rooms.values())
        _, counts = await journal_of(name, on, tmp_path)
        assert counts == {"updated": 600}
        assert name in await find_runs(on)


async def test_a_run_waits_for_a_worker(tmp_path: Path, on: str) -> None:
    async with RoomsSimulator(rooms=3) as sim, client_of(sim) as client:
        name = await submitted(sim, tmp_path, on)
        async with DistributedRun(name, on) as run:
            status = await run.status()
        assert (status.phase, status.has_ended, status.snapshot.left) == ("queued", False, 3)
        async with working(client, on):
            assert (await ended(name, on)).snapshot.is_complete


async def test_a_worker_ends_when_nothing_is_left(tmp_path: Path, on: str) -> None:
    async with RoomsSimulator(rooms=300) as sim, client_of(sim) as client:
        name = await submitted(sim, tmp_path, on)
        async with asyncio.timeout(50):
            await Worker(client, on).run(until_finished=True)
        assert (await ended(name, on)).snapshot.is_complete


async def test_a_plan_without_rooms_ends_at_once(tmp_path: Path, on: str) -> None:
    async with RoomsSimulator(rooms=3) as sim, client_of(sim) as client:
        plan = await plan_of(client, tmp_path, where=("name=nothing",))
        name = await submit(client, plan, on)
        async with working(client, on):
            status = await ended(name, on)
        assert (status.phase, status.snapshot.rooms) == ("ended", 0)
        _, counts = await journal_of(name, on, tmp_path)
        assert counts == {}


# --- what others changed ---


async def test_rooms_that_someone_else_changed_are_conflicts_as_in_a_local_run(tmp_path: Path, on: str) -> None:
    outcomes: list[dict[str, str]] = []
    for is_local in (True, False):
        async with RoomsSimulator(rooms=300, seed=3) as sim, client_of(sim) as client:
            plan = await plan_of(client, tmp_path, name=f"{is_local}.plan")
            ids = sim.room_ids
            sim.change_room(ids[0], max_participants=33)  # a conflict
            sim.change_room(ids[260], max_participants=20)  # as wanted
            sim.change_room(ids[5], webhook_timeout_secs=3)  # another field
            sim.change_room(ids[7], max_participants=34)
            sim.remove_room(ids[7])  # an update would find no room
            if is_local:
                await collect(apply(client, plan, tmp_path / "local.journal"))
                path = tmp_path / "local.journal"
            else:
                name = await submit(client, plan, on)
                async with working(client, on):
                    status = await ended(name, on)
                assert status.snapshot.already_right == 1
                path, _ = await journal_of(name, on, tmp_path)
            outcomes.append({**Journal.open(path).states()})
            assert sim.rooms[ids[0]]["max_participants"] == 33
            assert sim.rooms[ids[5]]["max_participants"] == 20
    local, distributed = (Counter(found.values()) for found in outcomes)
    assert distributed == local == {"updated": 298, "conflict": 1, "failed": 1}


async def test_with_strict_each_modification_is_a_conflict_and_with_force_none(tmp_path: Path, on: str) -> None:
    for settings, expected in (({"strict": True}, {"updated": 8, "conflict": 2}), ({"force": True}, {"updated": 10})):
        async with RoomsSimulator(rooms=10) as sim, client_of(sim) as client:
            plan = await plan_of(client, tmp_path, name=f"{next(iter(settings))}.plan")
            sim.change_room(sim.room_ids[1], max_participants=33)
            sim.change_room(sim.room_ids[2], webhook_timeout_secs=3)
            name = await submit(client, plan, on, **settings)
            async with working(client, on):
                await ended(name, on)
            _, counts = await journal_of(name, on, tmp_path)
            assert counts == expected


async def test_a_room_that_was_deleted_after_it_was_set_aside_is_a_conflict(tmp_path: Path, on: str) -> None:
    async with RoomsSimulator(rooms=520, rate_limit="200/1s") as sim, client_of(sim) as client:
        plan = await plan_of(client, tmp_path)
        last = sim.room_ids[-1]
        sim.change_room(last, max_participants=33)
        name = await submit(client, plan, on)
        async with working(client, on):
            await until(name, on, "updated", 20)
            sim.remove_room(last)
            await ended(name, on)
        path, counts = await journal_of(name, on, tmp_path)
        assert counts == {"updated": 519, "conflict": 1}
        errors = [record["error"] for record in Journal.open(path).records() if "error" in record]
        assert errors == [f"room {last} was modified by someone else after the plan was made, and then deleted"]


async def test_a_change_during_the_run_is_noticed(tmp_path: Path, redis_url: str) -> None:
    # The last of four batches is opened when the first has ended, which takes the limit at least six seconds.
    async with RoomsSimulator(rooms=800, rate_limit="40/1s") as sim, client_of(sim) as client:
        name = await submitted(sim, tmp_path, redis_url)
        last = sim.room_ids[-1]
        async with working(client, redis_url), opened_store(redis_url) as redis:
            await until(name, redis_url, "updated", 30)
            sim.change_room(last, max_participants=33)
            store = RunStore(redis, name)
            changed_at = await store.time()
            while (head := await store.head()) is None or (head.listed_at or 0.0) < changed_at:
                await asyncio.sleep(0.05)
            sim.rate_limit = None
            status = await ended(name, redis_url)
        assert status.snapshot.counts["conflict"] == 1
        assert sim.rooms[last]["max_participants"] == 33


# --- stopping and resuming ---


async def test_a_stopped_run_can_be_resumed(tmp_path: Path, on: str) -> None:
    async with RoomsSimulator(rooms=1000, rate_limit="300/1s") as sim, client_of(sim) as client:
        name = await submitted(sim, tmp_path, on)
        async with working(client, on), DistributedRun(name, on) as run:
            await until(name, on, "updated", 50)
            with pytest.raises(DistributedRunError, match="is in progress; stop it first"):
                await run.resume()
            assert await run.stop("enough")
            status = await ended(name, on)
            assert (status.phase, status.stop) == ("stopped", "enough")
            assert status.snapshot.counts["begun"] == 0
            assert 0 < status.snapshot.left < 1000
            assert not await run.stop()
            sim.rate_limit = None
            await run.resume()
            status = await ended(name, on)
        assert status.snapshot.is_complete
        assert [run.ended for run in status.snapshot.runs] == ["stopped: enough", "done"]
        assert sim.stats.by_method["PATCH"] == 1000 + sim.stats.refused
        path, counts = await journal_of(name, on, tmp_path)
        assert counts == {"updated": 1000}
        assert [record["run"] for record in Journal.open(path).records() if "run" in record] == [1, 2]


async def test_a_rejected_key_stops_the_run(tmp_path: Path, on: str) -> None:
    async with RoomsSimulator(rooms=600) as sim, client_of(sim) as client:
        name = await submitted(sim, tmp_path, on)
        sim.script(*[ScriptedAnswer(401, b"{}")] * 2000, method="PATCH")
        async with working(client, on):
            status = await ended(name, on)
        assert "401" in status.stop
        assert status.snapshot.counts["updated"] == 0
        assert sim.stats.requests < 200


async def test_too_many_failures_stop_the_run_and_failed_rooms_can_be_retried(tmp_path: Path, on: str) -> None:
    async with RoomsSimulator(rooms=500) as sim, client_of(sim) as client:
        name = await submitted(sim, tmp_path, on, max_failures=10)
        removed = sim.room_ids[:50]
        for room_id in removed:
            sim.remove_room(room_id)
        async with working(client, on), DistributedRun(name, on) as run:
            status = await ended(name, on)
            assert status.stop.startswith("the maximum number of failures was reached; the last failure: 404 ")
            assert 10 <= status.snapshot.counts["failed"] <= 50
            await run.resume()
            status = await ended(name, on)
            assert status.snapshot.counts == {**status.snapshot.counts, "updated": 450, "failed": 50}
            patches = sim.stats.by_method["PATCH"]
            await run.resume(retry_failed=True)
            assert (await ended(name, on)).snapshot.counts["failed"] == 50
            assert sim.stats.by_method["PATCH"] <= patches + 50


# --- the pulled journal ---


async def test_a_pulled_journal_serves_as_the_one_of_a_local_run(tmp_path: Path, on: str) -> None:
    async with RoomsSimulator(rooms=300) as sim, client_of(sim) as client:
        name = await submitted(sim, tmp_path, on)
        plan = Plan.open(tmp_path / "a.plan")
        async with working(client, on):
            await ended(name, on)
        path, _ = await journal_of(name, on, tmp_path)
        assert [difference async for difference in verify(client, plan)] == []
        await asyncio.to_thread(write_report, Journal.open(path), tmp_path / "report.html")
        text = (tmp_path / "report.html").read_text()
        assert "300" in text
        back = await plan_rollback(client, Journal.open(path), tmp_path / "back.plan")
        assert back.plan.rooms == 300
        await collect(apply(client, Plan.open(tmp_path / "back.plan"), tmp_path / "back.journal"))
        assert all(room["max_participants"] == 10 for room in sim.rooms.values())
        records = [*Journal.open(path).records()]
        begun = [record["begin"] for record in records if "begin" in record]
        assert sorted(map(str, begun)) == sorted(planned.room_id for planned in plan.updates())
        with pytest.raises(Exception, match="already exists"):
            async with DistributedRun(name, on) as run:
                await run.pull_journal(path)


# --- errors ---


async def test_a_plan_that_is_being_applied_is_not_submitted_again(tmp_path: Path, on: str) -> None:
    async with RoomsSimulator(rooms=3) as sim, client_of(sim) as client:
        name = await submitted(sim, tmp_path, on)
        plan = Plan.open(tmp_path / "a.plan")
        assert await submit(client, plan, on) == name, "no worker has begun"
        async with working(client, on):
            sim.latency = 0.2
            await until(name, on, "begun", 1)
            with pytest.raises(DistributedRunError, match=f"is being applied already, by the run {name}"):
                await submit(client, plan, on)
            await ended(name, on)
            again = await submit(client, plan, on)
            assert again == f"{name}-2"
            assert (await ended(again, on)).snapshot.already_right == 3


async def test_a_queued_run_is_not_mistaken_for_one_with_other_settings(tmp_path: Path, on: str) -> None:
    async with RoomsSimulator(rooms=3) as sim, client_of(sim) as client:
        name = await submitted(sim, tmp_path, on)
        with pytest.raises(DistributedRunError, match=f"is being applied already, by the run {name}"):
            await submit(client, Plan.open(tmp_path / "a.plan"), on, force=True)


async def test_a_submission_that_failed_can_be_repeated_at_once(
    tmp_path: Path, on: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise TimeoutError("too slow")

    async with RoomsSimulator(rooms=3) as sim, client_of(sim) as client:
        with monkeypatch.context() as patch:
            patch.setattr(RunStore, "put_batch", fail)
            with pytest.raises(DistributedRunError, match="the store can't be used: too slow"):
                await submitted(sim, tmp_path, on)
        name = await submit(client, Plan.open(tmp_path / "a.plan"), on)
        async with working(client, on):
            assert (await ended(name, on)).snapshot.is_complete


async def test_the_tasks_of_an_earlier_attempt_do_nothing(
    tmp_path: Path, on: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with RoomsSimulator(rooms=3) as sim, client_of(sim) as client:
        name = await submitted(sim, tmp_path, on)
        async with DistributedRun(name, on) as run:
            assert await run.stop()
            assert await run.resume()
        async with working(client, on):
            assert (await ended(name, on)).snapshot.is_complete
        assert "is tried again" not in caplog.text
        path, _ = await journal_of(name, on, tmp_path)
        assert [record["stop"] for record in Journal.open(path).records() if "stop" in record] == [
            "stopped: by the user",
            "done",
        ]


async def test_a_run_that_does_not_exist(on: str) -> None:
    with pytest.raises(DistributedRunError, match="does not have a run nothing"):
        async with DistributedRun("nothing", on):
            pass


async def test_a_plan_for_another_server_is_rejected(tmp_path: Path, on: str) -> None:
    async with RoomsSimulator(rooms=3) as sim, RoomsSimulator(rooms=3) as other:
        async with client_of(sim) as client:
            plan = await plan_of(client, tmp_path)
        async with client_of(other) as client:
            with pytest.raises(PlanFileError, match="was made for"):
                await submit(client, plan, on)


async def test_a_worker_with_another_key_gets_nothing(tmp_path: Path, on: str) -> None:
    async with RoomsSimulator(rooms=3) as sim, client_of(sim) as client:
        name = await submitted(sim, tmp_path, on)
        async with RoomsClient("KEY_other", base_url=sim.url) as other, working(other, on):
            await asyncio.sleep(0.3)
            async with DistributedRun(name, on) as run:
                assert (await run.status()).phase == "queued"
        async with working(client, on):
            await ended(name, on)


@pytest.mark.parametrize(
    "wrong", ["http://127.0.0.1", "", "redis:/x", "redis://localhost:abc", "redis://user:pa/ss@host"]
)
async def test_a_url_that_is_none_of_a_store(wrong: str) -> None:
    client = RoomsClient("KEY", base_url="http://127.0.0.1:1")
    for make in (lambda: Worker(client, wrong), lambda: DistributedRun("run", wrong)):
        with pytest.raises(ClientSettingsError, match=r"is not (the URL of a store|a valid URL of Redis)") as caught:
            make()
        assert "pa" not in str(caught.value).replace("password", "")
    await client.close()


async def test_a_store_that_may_evict_is_rejected(tmp_path: Path) -> None:
    server = RedisServer(tmp_path, "--maxmemory", "50mb", "--maxmemory-policy", "allkeys-lru")
    server.start()
    try:
        async with RoomsSimulator(rooms=3) as sim:
            with pytest.raises(DistributedRunError, match="maxmemory-policy is allkeys-lru; set it to noeviction"):
                await submitted(sim, tmp_path, server.url)
            async with client_of(sim) as client:
                with pytest.raises(DistributedRunError, match="allkeys-lru"):
                    await Worker(client, server.url).run()
    finally:
        server.end()


async def test_a_store_that_can_not_be_reached_is_one_line_without_the_password(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=3) as sim:
        with pytest.raises(DistributedRunError, match="the store can't be used") as caught:
            await submitted(sim, tmp_path, f"unix://:SECRET@{tmp_path}/nothing.sock")
    assert "\n" not in str(caught.value)
    assert "SECRET" not in str(caught.value)
    assert caught.value.reason == "no_store"


async def test_the_api_key_is_not_stored(tmp_path: Path, redis_process: RedisServer) -> None:
    async with RoomsSimulator(rooms=300) as sim, client_of(sim) as client:
        name = await submitted(sim, tmp_path, redis_process.url)
        async with working(client, redis_process.url):
            await ended(name, redis_process.url)
        key = sim.api_key.encode()
    redis_process.end()
    for path in (tmp_path / "redis").rglob("*"):
        assert not path.is_file() or key not in path.read_bytes()


async def test_a_user_of_redis_with_the_documented_rights_is_enough(tmp_path: Path, redis_process: RedisServer) -> None:
    (acl,) = blocks(DISTRIBUTED_GUIDE, "text")
    redis = connect(redis_process.url)
    await redis.execute_command(*acl.split())
    await redis.aclose()
    on = redis_process.url.replace("unix://", "unix://aiorooms:PASSWORD@")
    async with RoomsSimulator(rooms=600, rate_limit="500/1s") as sim:
        pacing = Pacing(shared=RedisPacing(on))
        async with RoomsClient(sim.api_key, base_url=sim.url, pacing=pacing) as client:
            name = await submitted(sim, tmp_path, on)
            async with working(client, on):
                assert (await ended(name, on)).snapshot.is_complete
            _, counts = await journal_of(name, on, tmp_path)
            assert counts == {"updated": 600}
            assert name in await find_runs(on)


async def test_the_settings_are_checked(tmp_path: Path, on: str) -> None:
    async with RoomsSimulator(rooms=1) as sim, client_of(sim) as client:
        await make_plan(client, select(set_fields=["max_participants=20"]), tmp_path / "a.plan")
        plan = Plan.open(tmp_path / "a.plan")
        with pytest.raises(ClientSettingsError, match="max_failures"):
            await submit(client, plan, on, max_failures=0)
        with pytest.raises(ClientSettingsError, match="outage_patience"):
            await submit(client, plan, on, outage_patience=0)
        with pytest.raises(ClientSettingsError, match="concurrency"):
            Worker(client, on, concurrency=2)
        with pytest.raises(ClientSettingsError, match="redelivery"):
            Worker(client, on, redelivery=2.9)


async def test_watching_goes_on_when_the_store_can_be_used_again(
    tmp_path: Path, redis_process: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[RunStatus] = []

    async def watch() -> None:
        async with DistributedRun(name, redis_process.url) as run:
            async for status in run.watch(0.05):
                seen.append(status)  # noqa: PERF401 - a list comprehension would show nothing before its end

    async with RoomsSimulator(rooms=5) as sim:
        name = await submitted(sim, tmp_path, redis_process.url)
        watching = asyncio.create_task(watch())
        async with asyncio.timeout(50):
            while not seen:
                await asyncio.sleep(0.02)
            await asyncio.to_thread(redis_process.end)
            while "the store can't be used" not in caplog.text:
                await asyncio.sleep(0.02)
            count = len(seen)
            await asyncio.to_thread(redis_process.start)
            while len(seen) == count:
                await asyncio.sleep(0.02)
        await end_tasks([watching])
    texts = [record.getMessage() for record in caplog.records if record.name == "aiorooms.distributed"]
    assert [text.partition(":")[0] for text in texts] == ["the store can't be used", "the store can be used again"]
