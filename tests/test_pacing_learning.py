"""What the pacer learns from a server, over thousands of random limiters, with a turned clock and no sockets.

The limiters are the simulator's own, which know nothing of the pacer.
"""

import asyncio
import math
import random
from collections.abc import Mapping, Sequence
from email.utils import formatdate
from itertools import islice
from typing import Any, Literal

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiorooms import Pacing
from aiorooms._pacing import NO_INFO, Pacer, Permit, WaitTooLongError, read_rate_limit
from aiorooms.simulator import RateLimit
from aiorooms.simulator._limiters import Limiter, limit_headers, make_limiter

from .conftest import standing
from .turned_clock import run_turned, timers

MOST_ATTEMPTS = 40


@attrs.define
class Server:
    """Answers after a random latency, half of it before and half after the limiter was asked."""

    rule: RateLimit | None
    latency: tuple[float, float]
    seed: int = 0
    refused: int = 0
    passed: list[float] = attrs.Factory(list[float])
    """When requests got through."""
    leave_out: frozenset[str] = frozenset()
    limiter: Limiter | None = attrs.field(init=False)
    _random: random.Random = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self.change(self.rule)

    def change(self, rule: RateLimit | None) -> None:
        loop = asyncio.get_running_loop()
        self.rule = rule
        self.limiter = None if rule is None else make_limiter(rule, lambda: round(loop.time() * 1e9))

    async def ask(self) -> tuple[bool, Mapping[str, str]]:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(self._random.uniform(*self.latency) / 2)
        headers: dict[str, str] = {}
        let_through = True
        if self.rule is not None and self.limiter is not None:
            verdict = self.limiter.take()
            let_through = verdict.allowed
            now = 1e9 + loop.time()
            headers = {name.lower(): value for name, value in limit_headers(self.rule, verdict, now)}
            headers["date"] = formatdate(now, usegmt=True)
            headers = {name: value for name, value in headers.items() if name not in self.leave_out}
        if let_through:
            self.passed.append(loop.time())
        self.refused += not let_through
        await asyncio.sleep(self._random.uniform(*self.latency) / 2)
        return let_through, headers


async def work(pacer: Pacer, server: Server, updates: int, workers: int, drop: float = 0.0) -> int:
    """Send updates until all are through; some answers get lost. Gives the most attempts that one took."""
    left = iter(range(updates))
    most = 0
    lost = random.Random(server.seed + 1)

    async def worker() -> None:
        nonlocal most
        for _ in left:
            for attempt in range(1, MOST_ATTEMPTS + 1):
                permit = await pacer.acquire()
                let_through, headers = await server.ask()
                if lost.random() < drop:
                    pacer.release(permit, None)
                    continue
                pacer.release(permit, read_rate_limit(headers, rate_limited=not let_through))
                most = max(most, attempt)
                if let_through:
                    break
            else:
                raise AssertionError("an update was refused for ever")

    async with asyncio.TaskGroup() as tasks:
        for _ in range(workers):
            tasks.create_task(worker())
    return most


class WatchedPacer(Pacer):
    """Sees that no more is in flight than may remain, but for one that is sent to see."""

    def _grant(self, now: float) -> Permit:
        permit, quota = super()._grant(now), self._quota
        in_flight = self.snapshot().in_flight
        assert not quota.is_known or in_flight <= max(1, quota.remaining), "more was in flight than may remain"
        return permit


def new_pacer(pacing: Pacing = Pacing(), *, seed: int = 0, max_in_flight: int = 100) -> Pacer:  # noqa: B008 - frozen
    loop = asyncio.get_running_loop()
    return WatchedPacer(pacing, max_in_flight=max_in_flight, clock=loop.time, random=random.Random(seed).random)


@attrs.frozen
class Figures:
    refused: float
    """Of all updates."""
    time: float
    """Of what it must take at the least."""
    attempts: int


def run(
    rule: RateLimit | None,
    *,
    updates: int = 1000,
    workers: int = 50,
    latency: tuple[float, float] = (0.001, 0.004),
    begin: float = 0.0,
    seed: int = 0,
    changes: Sequence[tuple[float, int]] = (),
    ideal: float = 9.0,
    clients: int = 1,
) -> Figures:
    """Run updates against a limiter; the client comes `begin` seconds after the limiter was made."""

    async def main() -> Figures:
        loop = asyncio.get_running_loop()
        server = Server(rule, latency, seed)
        await asyncio.sleep(begin)
        for at, limit in changes:
            assert rule is not None
            loop.call_later(at, server.change, attrs.evolve(rule, limit=limit))
        began = loop.time()
        attempts = await asyncio.gather(
            *(work(new_pacer(seed=seed + client), server, updates // clients, workers) for client in range(clients))
        )
        return Figures(server.refused / updates, (loop.time() - began) / ideal, max(attempts))

    return run_turned(main())


BEGINS = (0.0, 0.5, 0.77)
LATENCIES = ((0.0005, 0.002), (0.005, 0.02))


@pytest.mark.parametrize("latency", LATENCIES)
@pytest.mark.parametrize("begin", BEGINS)
@pytest.mark.parametrize(
    ("rule", "refused", "time"),
    [
        (RateLimit(reset_rounding="fractional"), 0.0, 1.03),
        (RateLimit(reset_rounding="up"), 0.0, 1.03),
        (RateLimit(reset_rounding="down"), 0.002, 1.03),
        (RateLimit(reset_rounding="fractional", kind="sliding"), 0.02, 1.15),
        (RateLimit(reset_rounding="fractional", kind="bucket"), 0.02, 1.15),
        (RateLimit(reset_rounding="up", kind="bucket"), 0.0, 1.1),
        (RateLimit(reset_rounding="down", kind="bucket"), 0.002, 1.12),
        (RateLimit(reset_rounding="fractional", retry_after="seconds"), 0.0, 1.03),
    ],
)
def test_a_limit_that_is_told_is_used_whole_and_not_run_into(
    rule: RateLimit, refused: float, time: float, begin: float, latency: tuple[float, float]
) -> None:
    figures = run(rule, begin=begin, latency=latency, seed=int(1000 * begin))
    assert figures.refused <= refused, f"{figures.refused:.1%} were refused"
    assert figures.time <= time, f"it took {figures.time:.2f} times as long as it has to"
    assert figures.attempts <= 2


@pytest.mark.parametrize("begin", BEGINS)
@pytest.mark.parametrize("rounding", ["fractional", "up", "down"])
def test_a_slow_limit(rounding: Literal["fractional", "up", "down"], begin: float) -> None:
    figures = run(RateLimit(20, reset_rounding=rounding), updates=500, ideal=24.0, begin=begin)
    assert figures.refused <= 0.005
    assert figures.time <= 1.05


@pytest.mark.parametrize("begin", BEGINS)
@pytest.mark.parametrize("rounding", ["fractional", "up", "down"])
def test_a_limit_that_changes_in_the_middle(rounding: Literal["fractional", "up", "down"], begin: float) -> None:
    # Four windows of 100, three of 40, and three and a part of 100.
    figures = run(
        RateLimit(reset_rounding=rounding), changes=[(3.0, 40), (6.0, 100)], begin=begin, ideal=3 + 3 + 580 / 100
    )
    assert figures.refused <= 0.03
    assert figures.time <= 1.2


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("retry_after", ["none", "seconds"])
@pytest.mark.parametrize("kind", ["fixed", "sliding", "bucket"])
def test_a_limit_of_which_nothing_is_told(
    kind: Literal["fixed", "sliding", "bucket"], retry_after: Literal["none", "seconds"], seed: int
) -> None:
    figures = run(RateLimit(headers=False, retry_after=retry_after, kind=kind), begin=BEGINS[seed], seed=seed)
    assert figures.refused <= 0.10
    assert figures.time <= 1.6
    assert figures.attempts <= 4


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("rounding", ["fractional", "up", "down"])
def test_four_processes_with_one_key_share_without_a_word(
    rounding: Literal["fractional", "up", "down"], seed: int
) -> None:
    figures = run(RateLimit(reset_rounding=rounding), clients=4, begin=BEGINS[seed], seed=seed)
    assert figures.refused < 0.05
    assert figures.time < 2.5


def test_a_rate_that_was_found_grows_when_the_server_bears_more() -> None:
    async def main() -> tuple[float, float]:
        loop = asyncio.get_running_loop()
        server = Server(RateLimit(20, headers=False), (0.001, 0.004))
        pacer = new_pacer()
        await work(pacer, server, 200, 50)
        before = pacer.snapshot().sustainable_rate
        server.change(RateLimit(100, headers=False))
        began = loop.time()
        await work(pacer, server, 3000, 50)
        assert before is not None
        return before, 3000 / (loop.time() - began)

    before, after = run_turned(main())
    assert 15 < before < 25
    assert after > 2 * before


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("limit", [1, 2, 3, 20])
def test_a_server_that_does_not_tell_its_limit(limit: int, seed: int) -> None:
    """It has shown as a waiter that nobody served."""

    async def main() -> Figures:
        loop = asyncio.get_running_loop()
        server = Server(RateLimit(limit, 1.0, reset_rounding="fractional"), (0.001, 0.05), seed)
        server.leave_out = frozenset({"x-ratelimit-limit"})
        began = loop.time()
        async with asyncio.timeout(100_000):
            attempts = await work(new_pacer(seed=seed), server, 10 * limit, 10)
        return Figures(server.refused / (10 * limit), (loop.time() - began) / 9, attempts)

    figures = run_turned(main())
    assert figures.time <= 1.4
    assert figures.refused <= 0.1


@pytest.mark.parametrize(
    "extra", [{}, {"retry-after": "0"}, {"x-ratelimit-remaining": "90", "x-ratelimit-limit": "100"}]
)
def test_refusals_that_the_figures_do_not_tell_of_are_not_run_into(extra: dict[str, str]) -> None:
    """Behind the limiter that tells figures stands another one, of 20 a second, that tells none."""

    async def main() -> tuple[float, float]:
        loop = asyncio.get_running_loop()
        told = {"x-ratelimit-limit": "1000", "x-ratelimit-remaining": "990", "x-ratelimit-reset": "30"}
        hidden = Server(RateLimit(20, headers=False), (0.001, 0.004))
        pacer = new_pacer()
        left = iter(range(200))

        async def worker() -> None:
            for _ in left:
                for _ in range(MOST_ATTEMPTS):
                    permit = await pacer.acquire()
                    let_through, _ = await hidden.ask()
                    pacer.release(permit, read_rate_limit(told if let_through else extra, rate_limited=not let_through))
                    if let_through:
                        break
                else:
                    raise AssertionError("an update was refused for ever")

        await asyncio.gather(*(worker() for _ in range(50)))
        return hidden.refused / 200, loop.time()

    refused, time = run_turned(main())
    assert refused <= 0.4, "most of it is the first rush"
    assert time <= 1.7 * 9


@pytest.mark.parametrize("kind", ["fixed", "bucket"])
@pytest.mark.parametrize("rounding", ["fractional", "up", "down"])
@pytest.mark.parametrize("latency", [(0.1, 0.1), (0.08, 0.12), (0.1, 0.2)])
def test_a_long_way_to_the_server_costs_little(
    kind: Literal["fixed", "bucket"], rounding: Literal["fractional", "up", "down"], latency: tuple[float, float]
) -> None:
    figures = run(RateLimit(reset_rounding=rounding, kind=kind), updates=1500, ideal=14.0, latency=latency, seed=1)
    assert figures.refused <= 0.03
    assert figures.time <= 1.4


@pytest.mark.parametrize("retry_after", [None, "1", "60"])
@pytest.mark.parametrize("workers", [1, 50])
def test_a_single_refusal_for_nothing_is_got_over(retry_after: str | None, workers: int) -> None:
    async def main() -> float:
        loop = asyncio.get_running_loop()
        server = Server(None, (0.01, 0.01))
        pacer = new_pacer()
        permit = await pacer.acquire()
        headers = {} if retry_after is None else {"retry-after": retry_after}
        pacer.release(permit, read_rate_limit(headers, rate_limited=True))
        await work(pacer, server, 2000, workers)
        return loop.time()

    ideal = 2000 * 0.01 / workers
    assert run_turned(main()) <= 2 * ideal + float(retry_after or 0) + 10


def test_refusals_for_nothing_now_and_then_do_not_add_up() -> None:
    async def main() -> float:
        loop = asyncio.get_running_loop()
        server = Server(None, (0.01, 0.02))
        pacer = new_pacer()
        longest = 0.0
        for _ in range(20):
            permit = await pacer.acquire()
            pacer.release(permit, read_rate_limit({}, rate_limited=True))
            began = loop.time()
            await work(pacer, server, 40, 5)
            longest = max(longest, loop.time() - began)
            await asyncio.sleep(60)
        return longest

    assert run_turned(main()) <= 5


def test_a_wrong_guess_at_the_rounding_is_corrected_in_time() -> None:
    async def main() -> float:
        loop = asyncio.get_running_loop()
        server = Server(RateLimit(reset_rounding="up"), (0.001, 0.004))
        pacer = new_pacer()
        await work(pacer, server, 300, 50)
        pacer._quota._rounded_down = True  # as after a rival took a whole window
        await work(pacer, server, 1800, 50)
        began = loop.time()
        await work(pacer, server, 1000, 50)
        return loop.time() - began

    assert run_turned(main()) <= 1.1 * 10


@pytest.mark.parametrize("told_before", [True, False])
async def test_a_reset_that_comes_with_a_refusal_only_is_not_waited_for_if_it_is_too_long(told_before: bool) -> None:
    pacer = Pacer(Pacing(), max_in_flight=10)
    permit = await pacer.acquire()
    if told_before:
        figures = {"x-ratelimit-limit": "10", "x-ratelimit-remaining": "9", "x-ratelimit-reset": "1"}
        pacer.release(permit, read_rate_limit(figures, rate_limited=False))
        permit = await pacer.acquire()
    refusal = {"x-ratelimit-limit": "10", "x-ratelimit-remaining": "5", "x-ratelimit-reset": "3600"}
    pacer.release(permit, read_rate_limit(refusal, rate_limited=True))
    with pytest.raises(WaitTooLongError) as caught:
        await pacer.acquire()
    assert caught.value.seconds == pytest.approx(3600, abs=60)
    assert standing(pacer) == (0, 0)


@pytest.mark.parametrize("max_rate", [0.5, 2.5, 20, 333])
@pytest.mark.parametrize("rule", [None, RateLimit(1000), RateLimit(5, headers=False)])
def test_a_cap_is_obeyed_exactly(max_rate: float, rule: RateLimit | None) -> None:
    async def main() -> tuple[list[float], float]:
        loop = asyncio.get_running_loop()
        server = Server(rule, (0.0, 0.0))
        await work(new_pacer(Pacing(max_rate=max_rate)), server, 100, 10)
        return server.passed, loop.time()

    passed, time = run_turned(main())
    count, seconds = (math.floor(max_rate), math.floor(max_rate) / max_rate) if max_rate >= 1 else (1, 1 / max_rate)
    for first, later in zip(passed, islice(passed, count, None), strict=False):
        assert later - first >= seconds - 1e-6, f"more than {max_rate:g} in a second"
    if rule is None or rule.headers:
        assert time <= 1.01 * 100 / max_rate + 0.1, "the cap was not used"


def test_nothing_is_learned_if_it_is_switched_off() -> None:
    async def main() -> Pacer:
        pacer = new_pacer(Pacing(enabled=False))
        server = Server(RateLimit(5, retry_after="seconds"), (0.001, 0.002))
        permits = [await pacer.acquire() for _ in range(50)]
        for permit in permits:
            let_through, headers = await server.ask()
            pacer.release(permit, read_rate_limit(headers, rate_limited=not let_through))
        assert server.refused == 45
        assert asyncio.get_running_loop().time() < 1
        return pacer

    snapshot = run_turned(main()).snapshot()
    assert (snapshot.limit, snapshot.remaining, snapshot.paused_until, snapshot.in_flight) == (None, None, None, 0)


def test_the_beginning_is_one_request_and_then_twice_as_many_with_each_answer() -> None:
    async def main() -> list[int]:
        pacer = new_pacer()
        at_once: list[int] = []

        async def one() -> None:
            permit = await pacer.acquire()
            at_once.append(pacer.snapshot().in_flight)
            await asyncio.sleep(0.1)
            pacer.release(permit, NO_INFO)

        await asyncio.gather(*(one() for _ in range(40)))
        return at_once

    at_once = run_turned(main())
    assert at_once[:7] == [1, 2, 2, 4, 4, 4, 4]


def test_a_first_answer_that_does_not_come_does_not_hold_up_the_others_for_long() -> None:
    async def main() -> float:
        pacer = new_pacer()
        await pacer.acquire()  # and it's never given back
        for _ in range(3):
            await pacer.acquire()
        return asyncio.get_running_loop().time()

    assert run_turned(main()) <= 1.0


rules = st.builds(
    RateLimit,
    limit=st.integers(1, 300),
    window=st.sampled_from([0.25, 0.5, 1.0, 2.0, 7.5, 60.0]),
    reset_rounding=st.sampled_from(["fractional", "up", "down"]),
    headers=st.booleans(),
    retry_after=st.sampled_from(["none", "seconds", "date", "ms"]),
    kind=st.sampled_from(["fixed", "sliding", "bucket"]),
)


@given(
    rule=rules,
    latency=st.tuples(st.floats(0, 0.05), st.floats(0.05, 0.5)),
    begin=st.floats(0, 60),
    workers=st.integers(1, 60),
    clients=st.integers(1, 3),
    drop=st.sampled_from([0.0, 0.0, 0.1]),
    seed=st.integers(0, 2**32),
    changes=st.lists(st.tuples(st.floats(0, 100), st.integers(1, 300)), max_size=2),
    cap=st.none() | st.floats(0.5, 200),
)
@settings(max_examples=100)
def test_nobody_starves_and_nothing_is_left_behind_whatever_the_limiter(
    rule: RateLimit,
    latency: tuple[float, float],
    begin: float,
    workers: int,
    clients: int,
    drop: float,
    seed: int,
    changes: list[tuple[float, int]],
    cap: float | None,
) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = Server(rule, latency, seed)
        await asyncio.sleep(begin)
        still_to_come = [loop.call_later(at, server.change, attrs.evolve(rule, limit=limit)) for at, limit in changes]
        # Of very few requests in a window one client may get all for long: who is refused comes too late the next time.
        count = clients if rule.limit >= 10 * clients and all(limit >= 10 * clients for _, limit in changes) else 1
        pacers = [new_pacer(Pacing(max_rate=cap, max_wait=1e6), seed=seed + number) for number in range(count)]
        async with asyncio.timeout(100_000):
            await asyncio.gather(*(work(pacer, server, 150, workers, drop) for pacer in pacers))
        assert len(server.passed) >= 150 * count
        for change in still_to_come:
            change.cancel()
        assert [standing(pacer) for pacer in pacers] == [(0, 0)] * count
        assert timers() == 0

    run_turned(main())


@given(
    rule=rules,
    cancels=st.lists(st.tuples(st.floats(0, 5), st.integers(0, 29)), max_size=30),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=100)
def test_a_cancelled_waiter_changes_nothing_for_the_others(
    rule: RateLimit, cancels: list[tuple[float, int]], seed: int
) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = Server(rule, (0.01, 0.05), seed)
        pacer = new_pacer(Pacing(max_wait=1e6), seed=seed)
        cancelled = {number for _, number in cancels}
        order: list[int] = []

        async def one(number: int) -> None:
            permit = await pacer.acquire()
            order.append(number)
            let_through, headers = False, None
            try:
                let_through, headers = await server.ask()
            finally:
                pacer.release(
                    permit, None if headers is None else read_rate_limit(headers, rate_limited=not let_through)
                )

        tasks: list[asyncio.Task[Any]] = [asyncio.create_task(one(number)) for number in range(30)]
        still_to_come = [loop.call_later(at, tasks[number].cancel) for at, number in cancels]
        async with asyncio.timeout(100_000):
            results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(result is None or isinstance(result, asyncio.CancelledError) for result in results)
        assert {number for number in range(30) if number not in cancelled} <= set(order), "somebody starved"
        assert order == sorted(order), "somebody was overtaken"
        for cancel in still_to_come:
            cancel.cancel()
        assert (standing(pacer), timers()) == ((0, 0), 0)

    run_turned(main())


def test_a_single_call_waits_behind_those_of_a_bulk_run_and_behind_no_more() -> None:
    async def main() -> float:
        loop = asyncio.get_running_loop()
        server = Server(RateLimit(100), (0.001, 0.004))
        pacer = new_pacer()
        bulk = asyncio.create_task(work(pacer, server, 3000, 100))
        waits: list[float] = []
        for _ in range(20):
            await asyncio.sleep(1.01)
            before = loop.time()
            waiting = pacer.snapshot().waiting
            permit = await pacer.acquire()
            waits.append((loop.time() - before) / (waiting / 100 + 1))
            _, headers = await server.ask()
            pacer.release(permit, read_rate_limit(headers, rate_limited=False))
        await bulk
        return max(waits)

    assert run_turned(main()) <= 1.0, "a single call waited for more than its own permit"


def test_a_snapshot_tells_how_things_stand() -> None:
    async def main() -> None:
        server = Server(RateLimit(10, 2.0, reset_rounding="fractional"), (0.001, 0.004))
        pacer = new_pacer()
        nothing = pacer.snapshot()
        assert (nothing.limit, nothing.remaining, nothing.resets_in, nothing.rate) == (None, None, None, 0.0)
        assert (nothing.sustainable_rate, nothing.paused_until, nothing.waiting) == (None, None, 0)
        running = asyncio.create_task(work(pacer, server, 50, 20))
        await asyncio.sleep(1.0)
        told = pacer.snapshot()
        assert (told.limit, told.remaining, told.waiting, told.in_flight) == (10, 0, 20, 0)
        assert told.resets_in == pytest.approx(1.0, abs=0.01)
        assert told.sustainable_rate == pytest.approx(5.0, rel=0.01)
        await running
        assert pacer.snapshot().rate == pytest.approx(5.0, rel=0.5)
        await asyncio.sleep(10)
        assert pacer.snapshot().rate == 0.0
        permit = await pacer.acquire()
        pacer.release(permit, read_rate_limit({"retry-after": "3"}, rate_limited=True))
        assert pacer.snapshot().paused_until is not None

    run_turned(main())
