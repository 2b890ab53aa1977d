"""Single calls and bulk runs of one client: who gets the next permit. Nearly all with a fake clock and no sockets."""

import asyncio
from contextlib import aclosing
from statistics import median
from typing import Any, Literal

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiorooms import ClientSettingsError, Pacing, RoomsClient, RoomUpdate
from aiorooms._pacing import NO_INFO, Pacer, Permit, Priority, RateLimitInfo, read_rate_limit
from aiorooms._pacing.headers import Report
from aiorooms._pacing.needs import Needs
from aiorooms.simulator import RateLimit, RoomsSimulator

from .conftest import in_flight_and_waiting, settle
from .fake_clock import FakeClock, run_with_fake_clock
from .test_pacing import make
from .test_pacing_learning import Server, new_pacer, work


@attrs.frozen
class Result:
    waits: list[float]
    """How long each single call waited for its permit, in seconds."""
    time: float
    """Duration of the bulk run in seconds."""


def run(
    rule: RateLimit, *, workers: int, updates: int, every: float, callers: int = 1, priority: Priority = "low"
) -> Result:
    """Send single calls beside a bulk run. Each caller sends one every `every` seconds, or at once if it is 0."""

    async def main() -> Result:
        loop = asyncio.get_running_loop()
        server = Server(rule, (0.01, 0.03))
        pacer = new_pacer()
        waits: list[float] = []

        async def call() -> None:
            while True:
                await asyncio.sleep(every)
                asked_at = loop.time()
                permit = await pacer.acquire()
                waits.append(loop.time() - asked_at)
                accepted, headers = await server.send()
                pacer.release(permit, read_rate_limit(headers, rate_limited=not accepted))

        tasks = [asyncio.create_task(call()) for _ in range(callers)]
        await asyncio.sleep(0.37 * rule.window)
        began = loop.time()
        await work(pacer, server, updates, workers, priority=priority)
        ended = loop.time()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        return Result(waits, ended - began)

    return run_with_fake_clock(main())


@pytest.mark.parametrize("workers", [50, 200])
@pytest.mark.parametrize(
    ("rule", "every"),
    [
        (RateLimit(50, 1.0, kind="bucket"), 0.73),
        (RateLimit(50, 1.0, kind="bucket", reset_rounding="fractional"), 0.73),
        (RateLimit(100, 5.0), 0.73),
        (RateLimit(100, 5.0, reset_rounding="fractional"), 0.73),
        (RateLimit(600, 60.0), 2.9),
        (RateLimit(600, 60.0), 0.73),
    ],
    ids=["bucket", "exact bucket", "5 s", "exact 5 s", "60 s", "60 s, often"],
)
def test_a_single_call_does_not_wait_for_a_bulk_run(rule: RateLimit, every: float, workers: int) -> None:
    result = run(
        rule, workers=workers, updates=round(rule.limit / rule.window * max(30.0, 4 * rule.window)), every=every
    )
    assert len(result.waits) > 20
    assert median(result.waits) <= 0.25


def test_with_normal_priority_a_bulk_run_is_served_in_the_order_of_arrival() -> None:
    result = run(RateLimit(50, kind="bucket"), workers=200, updates=1500, every=0.73, priority="normal")
    assert median(result.waits) > 3


def test_a_flood_of_single_calls_leaves_a_bulk_run_half_of_the_permits() -> None:
    for rule in (RateLimit(50, kind="bucket"), RateLimit(100, 5.0), RateLimit(50, reset_rounding="fractional")):
        result = run(rule, workers=80, updates=500, every=0.0, callers=80)
        assert result.time <= 500 / (rule.limit / rule.window) * 2.3 + rule.window


@pytest.mark.parametrize("begin", [0.0, 0.5, 0.77])
@pytest.mark.parametrize("rounding", ["fractional", "up", "down"])
@pytest.mark.parametrize("kind", ["fixed", "sliding", "bucket"])
def test_a_bulk_run_without_single_calls_is_hardly_slower_than_calls_with_normal_priority(
    kind: Literal["fixed", "sliding", "bucket"], rounding: Literal["fractional", "up", "down"], begin: float
) -> None:
    async def main(priority: Priority) -> float:
        server = Server(RateLimit(100, kind=kind, reset_rounding=rounding), (0.005, 0.02))
        await asyncio.sleep(begin)
        await work(new_pacer(), server, 1000, 50, priority=priority)
        return asyncio.get_running_loop().time()

    assert run_with_fake_clock(main("low")) <= 1.01 * run_with_fake_clock(main("normal"))


async def test_queues_take_turns() -> None:
    pacer, _ = make(max_in_flight=1)
    first = await pacer.acquire()
    served: list[str] = []

    async def call(name: str, priority: Priority) -> None:
        permit = await pacer.acquire(priority)
        served.append(name)
        pacer.release(permit, NO_INFO)

    names = [
        ("a", "low"),
        ("b", "low"),
        ("c", "low"),
        ("1", "normal"),
        ("2", "normal"),
        ("3", "normal"),
        ("4", "normal"),
    ]
    tasks = [asyncio.create_task(call(name, "low" if priority == "low" else "normal")) for name, priority in names]
    await settle()
    tasks[1].cancel()
    await settle()
    pacer.release(first, NO_INFO)
    await asyncio.wait(tasks)
    assert served == ["1", "a", "2", "c", "3", "4"]
    assert in_flight_and_waiting(pacer) == (0, 0)


@given(
    order=st.lists(st.sampled_from(["normal", "low"]), min_size=1, max_size=30),
    cancelled=st.sets(st.integers(0, 29)),
)
def test_within_a_priority_no_caller_is_overtaken_and_nobody_starves(
    order: list[Priority], cancelled: set[int]
) -> None:
    async def main() -> list[int]:
        pacer, _ = make(max_in_flight=1)
        first = await pacer.acquire()
        served: list[int] = []

        async def call(number: int) -> None:
            permit = await pacer.acquire(order[number])
            served.append(number)
            pacer.release(permit, NO_INFO)

        tasks = [asyncio.create_task(call(number)) for number in range(len(order))]
        await settle()
        for number in cancelled & set(range(len(order))):
            tasks[number].cancel()
        await settle()
        pacer.release(first, NO_INFO)
        await asyncio.wait(tasks)
        assert in_flight_and_waiting(pacer) == (0, 0)
        return served

    served = asyncio.run(main())
    assert set(served) == set(range(len(order))) - cancelled
    for priority in ("normal", "low"):
        ours = [number for number in served if order[number] == priority]
        assert ours == sorted(ours)


def test_the_permits_left_to_single_calls_shrink_with_the_window() -> None:
    needs = Needs()
    assert needs.kept(0.0, 100, 1.0) == 0, "a permit was left although there are no single calls"
    for _ in range(10):
        needs.sent(0.0, is_single=True)
    assert needs.kept(0.0, 90, 0.5) == 1, "the current window says nothing about its rest"
    assert [needs.kept(5.0, 100, left) for left in (1.0, 0.5, 0.1, 0.0)] == [11, 6, 2, 0]
    for _ in range(45):
        needs.sent(5.0, is_single=True)
    assert needs.kept(5.0, 55, 1.0) == 5, "single calls were left more than half of the window"
    for _ in range(10):
        needs.sent(5.0, is_single=True)
    assert needs.kept(5.0, 45, 1.0) == 0
    for _ in range(30):
        needs.sent(5.0, is_single=False)
    assert needs.kept(5.0, 15, 1.0) == 0
    assert needs.kept(10.0, 1, 1.0) == 0, "the only permit of a window was left"
    assert [needs.kept(10.0 + 5 * windows, 100, 1.0) for windows in range(1, 11)] == [1] * 8 + [0] * 2


def with_all_gates(max_in_flight: int) -> tuple[Pacer, FakeClock]:
    clock = FakeClock()
    return Pacer(Pacing(), max_in_flight=max_in_flight, clock=clock, call_later=clock.call_later), clock


async def test_an_expected_wait_is_known_only_if_the_rate_limit_is_the_reason() -> None:
    pacer, _ = make(max_in_flight=1)
    assert pacer.expected_wait() is None
    permit = await pacer.acquire()
    pacer.release(permit, RateLimitInfo(rate_limited=True, retry_after=10))
    wait = pacer.expected_wait()
    assert wait is not None
    assert wait.seconds == pytest.approx(10)
    assert wait.waiting == 0


async def test_a_call_that_waits_for_an_answer_does_not_wait_for_the_rate_limit() -> None:
    """The limit is known and far from used up, but a new client has only a few requests in flight."""
    pacer, _ = with_all_gates(100)
    report = Report(limit=100, remaining=99, reset=1.0)
    pacer.release(await pacer.acquire(), RateLimitInfo(reports=(report,)))
    while pacer.acquire_now() is not None:
        pass
    assert pacer.snapshot().sustainable_rate == 100
    assert pacer.expected_wait() is None


async def test_a_second_bulk_run_leaves_permits_although_an_earlier_one_had_more_workers() -> None:
    pacer, _ = with_all_gates(1)

    def answer(permit: Permit, remaining: int) -> None:
        pacer.release(permit, RateLimitInfo(reports=(Report(20, remaining, reset=5.0),)))

    answer(await pacer.acquire(), 19)
    answer(await pacer.acquire(), 18)
    last = await pacer.acquire("low")
    waiting = [asyncio.create_task(pacer.acquire("low")) for _ in range(40)]
    await settle()
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)
    answer(last, remaining := 17)
    while (permit := pacer.acquire_now("low")) is not None:
        answer(permit, remaining := remaining - 1)
    assert remaining < 17
    single = pacer.acquire_now()
    assert single is not None, "the second bulk run left no permit"
    pacer.release(single, None)
    assert in_flight_and_waiting(pacer) == (0, 0)


async def test_when_many_answers_arrive_at_once_a_bulk_run_leaves_permits_until_its_callers_are_gone_for_longer() -> (
    None
):
    pacer, clock = make(max_in_flight=100)

    def answer(permit: Permit | None, remaining: int) -> None:
        assert permit is not None
        pacer.release(permit, RateLimitInfo(reports=(Report(12, remaining, reset=5.0),)))

    answer(pacer.acquire_now(), 11)
    tasks = [asyncio.create_task(pacer.acquire("low")) for _ in range(12)]
    await settle()
    remaining = 11
    answered: set[asyncio.Task[Permit]] = set()
    while ready := {task for task in tasks if task.done()} - answered:
        answered |= ready
        for task in ready:
            answer(task.result(), remaining := remaining - 1)
        await settle()
    assert remaining > 0, "nothing was left to single calls"
    await clock.advance(1)
    assert any(task.done() for task in set(tasks) - answered), "the last updates got no permit"
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


async def test_a_single_call_is_sent_before_the_updates_that_wait() -> None:
    async with RoomsSimulator(rooms=60, rate_limit=RateLimit(10, 1.0, kind="bucket")) as sim:
        sim.record = True
        async with RoomsClient(sim.api_key, base_url=sim.url) as client:
            updates = [(room_id, RoomUpdate(max_participants=20)) for room_id in sim.room_ids]
            async with aclosing(client.rooms.update_many(updates)) as results:
                for _ in range(15):
                    await anext(results)
                assert client.pacing.snapshot().waiting > 30
                before = len(sim.recorded) + client.pacing.snapshot().in_flight
                await client.rooms.retrieve(sim.room_ids[0])
            methods = [request.method for request in sim.recorded]
    assert methods.index("GET") <= before + 3


@pytest.mark.parametrize("priority", ["high", None, 1])
def test_an_unknown_priority_raises(priority: Any) -> None:
    client = RoomsClient("KEY")
    with pytest.raises(ClientSettingsError, match=r"update_many\(priority=\) is .*; give \"low\" or \"normal\""):
        client.rooms.update_many([], priority=priority)
