"""Several limits at once, and limits that apply to one operation only.

The server counts with the limiters of the simulator, which share no code with the pacer, and a turned clock.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Mapping

import attrs
import pytest

from aiorooms import Pacing
from aiorooms._pacing import NO_INFO, Pacer, Priority, RateLimitInfo, WaitTooLongError, read_rate_limit
from aiorooms._pacing.disagreement import Disagreement
from aiorooms._pacing.gate import Permit
from aiorooms._pacing.headers import Report
from aiorooms._pacing.limits import Limits
from aiorooms._pacing.scope import Scope
from aiorooms.simulator import RateLimit
from aiorooms.simulator._limit_headers import limit_headers
from aiorooms.simulator._limit_sets import GivenRateLimits, LimitSets, read_rate_limits
from aiorooms.simulator._limiters import make_limiter
from aiorooms.simulator._routes import find_target

from .conftest import in_flight_and_waiting
from .fake_clock import FakeClock, run_with_fake_clock

UPDATE, READ = "PATCH /rooms/{room_id}", "GET /rooms/{room_id}"
STYLES = ("ietf-fields", "ietf-dictionary", "ietf-policy", "kong", "x-ratelimit")


@attrs.define
class Server:
    """A server with any limits, which answers after 10 to 30 ms."""

    limits: LimitSets
    accepted: Counter[str] = attrs.Factory(Counter[str])
    rate_limited: Counter[str] = attrs.Factory(Counter[str])
    _random: random.Random = attrs.Factory(lambda: random.Random(1))

    @classmethod
    def of(cls, given: GivenRateLimits) -> "Server":
        loop = asyncio.get_running_loop()
        rules = read_rate_limits(given)
        return cls(LimitSets.of(rules, lambda rule: make_limiter(rule, lambda: round(loop.time() * 1e9))))

    async def send(self, operation: str) -> RateLimitInfo:
        method, _, path = operation.partition(" ")
        target = find_target(f"/v2{path}")
        await asyncio.sleep(self._random.uniform(0.005, 0.015))
        limits = self.limits.find(method, target)
        headers: Mapping[str, str] = {}
        allowed = True
        if limits is not None:
            states = limits.take()
            allowed = all(verdict.allowed for _, verdict in states)
            fields = limit_headers(states, 1e9 + asyncio.get_running_loop().time())
            headers = {name.lower(): value for name, value in fields}
        (self.accepted if allowed else self.rate_limited)[operation] += 1
        await asyncio.sleep(self._random.uniform(0.005, 0.015))
        return read_rate_limit(headers, rate_limited=not allowed)


def run(given: GivenRateLimits, loops: Mapping[str, int], seconds: float, pause: Mapping[str, float] = {}) -> Server:
    """Send requests of each operation with a number of loops, for a number of seconds."""

    async def main() -> Server:
        loop = asyncio.get_running_loop()
        server = Server.of(given)
        pacer = Pacer(Pacing(max_wait=1e6), max_in_flight=100, clock=loop.time, random=random.Random(2).random)

        async def send(operation: str) -> None:
            while True:
                permit = await pacer.acquire("normal", operation)
                pacer.release(permit, await server.send(operation))
                await asyncio.sleep(pause.get(operation, 0.0))

        with_ends = asyncio.timeout(seconds)
        try:
            async with with_ends, asyncio.TaskGroup() as tasks:
                for operation, count in loops.items():
                    for _ in range(count):
                        tasks.create_task(send(operation))
        except TimeoutError:
            pass
        return server

    return run_with_fake_clock(main())


def test_operations_with_limits_of_their_own_use_all_of_them() -> None:
    server = run({"PATCH": "20/1s", "GET": "600/60s"}, {UPDATE: 30, READ: 30}, 58)
    assert server.accepted[UPDATE] >= 0.93 * 20 * 58
    assert server.accepted[READ] == 600
    assert server.rate_limited.total() <= 0.02 * server.accepted.total()


@pytest.mark.parametrize("loops", [{UPDATE: 30, READ: 1}, {UPDATE: 1, READ: 30}, {READ: 30, UPDATE: 30}])
@pytest.mark.parametrize("limits", [{"PATCH": "50/1s", "GET": "20/1s"}, {"PATCH": "10/1s", "GET": "300/10s"}])
def test_operations_with_limits_of_their_own_are_hardly_rate_limited(
    limits: GivenRateLimits, loops: Mapping[str, int]
) -> None:
    server = run(limits, loops, 30)
    assert server.rate_limited.total() <= 0.03 * server.accepted.total()
    assert min(server.accepted.values()) >= 100


def test_equal_limits_are_separate_too_if_what_remains_disagrees() -> None:
    server = run({"PATCH": "300/10s", "GET": "300/10s"}, {UPDATE: 30, READ: 1}, 60, {READ: 0.04})
    assert server.accepted[UPDATE] >= 0.9 * 300 * 6
    assert server.accepted[READ] >= 0.5 * 60 / 0.06
    assert server.rate_limited.total() <= 0.03 * server.accepted.total()


def test_a_limit_of_one_operation_does_not_delay_another_that_has_none() -> None:
    server = run({"PATCH": "20/1s"}, {UPDATE: 30, READ: 5}, 10)
    assert server.accepted[READ] >= 0.85 * 5 * 10 / 0.02
    assert server.accepted[UPDATE] >= 0.85 * 20 * 10


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("kind", ["fixed", "sliding", "bucket"])
def test_the_tighter_of_two_limits_counts(kind: str, style: str) -> None:
    rules = [RateLimit(20, 1.0, style=style, kind=kind), RateLimit(300, 60.0, style=style, kind=kind)]  # type: ignore[arg-type]
    server = run(rules, {UPDATE: 50}, 170)
    allowed = 3 * 300 if kind == "fixed" else 300 + 300 * 170 / 60 if kind == "bucket" else 3 * 300
    assert 0.85 * allowed <= server.accepted.total() <= allowed + 1
    assert server.rate_limited.total() <= 0.03 * allowed


def test_the_tighter_of_two_limits_can_change() -> None:
    server = run(["5/1s", "200/60s"], {UPDATE: 50}, 115)
    assert server.accepted.total() >= 0.9 * 400
    assert server.rate_limited.total() <= 8


async def test_a_used_up_limit_of_one_operation_fails_only_its_own_calls() -> None:
    pacer = Pacer(Pacing(max_wait=10), max_in_flight=10)
    pacer.release(await pacer.acquire("normal", READ), report(20, 19, 1.0))
    pacer.release(await pacer.acquire("normal", UPDATE), report(3, 2, 3600.0))
    pacer.release(await pacer.acquire("normal", UPDATE), report(3, 1, 3600.0))
    last = await pacer.acquire("normal", UPDATE)
    waiting = [asyncio.create_task(pacer.acquire("normal", UPDATE)) for _ in range(3)]
    await asyncio.sleep(0)
    pacer.release(last, report(3, 0, 3600.0))
    for error in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(error, WaitTooLongError)
    with pytest.raises(WaitTooLongError):
        await pacer.acquire("normal", UPDATE)
    pacer.release(await pacer.acquire("normal", READ), report(20, 18, 1.0))
    assert in_flight_and_waiting(pacer) == (0, 0)


async def test_a_pause_applies_to_one_operation_if_a_429_says_that_its_own_limit_is_used_up() -> None:
    pacer = Pacer(Pacing(), max_in_flight=10)
    pacer.release(await pacer.acquire("normal", READ), report(20, 19, 1.0))
    pacer.release(await pacer.acquire("normal", UPDATE), report(600, 599, 60.0))
    used_up = RateLimitInfo(True, 100.0, report(600, 0, 60.0).reports)
    pacer.release(await pacer.acquire("normal", UPDATE), used_up)
    assert pacer.snapshot().paused_until is not None
    assert pacer.acquire_now("normal", UPDATE) is None
    permit = pacer.acquire_now("normal", READ)
    assert permit is not None
    pacer.release(permit, RateLimitInfo(True, 100.0))
    assert pacer.acquire_now("normal", READ) is None, "a 429 that reports nothing must stop all"


async def test_a_caller_with_a_used_up_limit_does_not_delay_those_behind_it() -> None:
    pacer = Pacer(Pacing(), max_in_flight=10)
    pacer.release(await pacer.acquire("normal", READ), report(20, 19, 1.0))
    pacer.release(await pacer.acquire("normal", UPDATE), report(600, 1, 60.0))
    first = await pacer.acquire("normal", UPDATE)
    update = asyncio.create_task(pacer.acquire("normal", UPDATE))
    await asyncio.sleep(0)
    read = await asyncio.wait_for(pacer.acquire("normal", READ), 1)
    assert not update.done()
    update.cancel()
    await asyncio.gather(update, return_exceptions=True)
    for permit in (first, read):
        pacer.release(permit, None)
    assert in_flight_and_waiting(pacer) == (0, 0)


async def test_an_operation_that_is_new_waits_for_its_first_answer_if_each_has_its_own_limits() -> None:
    pacer = Pacer(Pacing(), max_in_flight=10)
    pacer.release(await pacer.acquire("normal", READ), report(20, 19, 1.0))
    pacer.release(await pacer.acquire("normal", UPDATE), report(600, 599, 60.0))
    first = pacer.acquire_now("normal", "DELETE /rooms/{room_id}")
    assert first is not None
    assert pacer.acquire_now("normal", "DELETE /rooms/{room_id}") is None
    pacer.release(first, NO_INFO)
    assert pacer.acquire_now("normal", "DELETE /rooms/{room_id}") is not None


async def test_a_limit_that_is_no_longer_reported_is_forgotten_after_its_reset() -> None:
    clock = FakeClock()
    pacer = Pacer(Pacing(), max_in_flight=10, clock=clock, call_later=clock.call_later)
    two = (Report(20, 19, 1.0, name="second", window=1.0), Report(1, 0, 10.0, name="hour", window=3600.0))
    pacer.release(await pacer.acquire(), RateLimitInfo(reports=two))
    assert pacer.acquire_now() is None
    await clock.advance(11)
    for _ in range(10):
        permit = pacer.acquire_now()
        assert permit is not None
        pacer.release(permit, RateLimitInfo(reports=two[:1]))


def test_ever_new_names_of_limits_are_bounded() -> None:
    async def main() -> int:
        pacer = Pacer(Pacing(), max_in_flight=10)
        for number in range(100):
            permit = await pacer.acquire()
            pacer.release(permit, RateLimitInfo(reports=(Report(1000, 999, 60.0, name=f"limit {number}"),)))
        assert pacer._limits is not None
        return len(pacer._limits.scope("").quotas)

    assert run_with_fake_clock(main()) <= 8


# --- the disagreement of operations ---


def report(limit: int, remaining: int, reset: float, name: str = "") -> RateLimitInfo:
    return RateLimitInfo(reports=(Report(limit, remaining, reset, name=name),))


class Conversation:
    """Sends one request after another and keeps what their answers show."""

    def __init__(self) -> None:
        self.disagreement = Disagreement()
        self.now = 0.0

    def send(self, operation: str) -> Permit:
        self.now += 0.1
        permit = Permit(self.now, operation)
        self.disagreement.sent(permit)
        return permit

    def answer(self, permit: Permit, info: RateLimitInfo) -> str | None:
        self.now += 0.1
        return self.disagreement.answered(permit, info, self.now)

    def ask(self, operation: str, info: RateLimitInfo) -> str | None:
        return self.answer(self.send(operation), info)


def test_another_limit_of_another_operation_separates_them_at_once() -> None:
    talk = Conversation()
    assert talk.ask(UPDATE, report(20, 19, 1)) is None
    assert talk.ask(READ, report(600, 599, 60)) == "separate"
    assert talk.ask(UPDATE, report(20, 18, 1)) is None
    assert talk.ask(UPDATE, report(600, 18, 1)) is None, "only the first answer can show a change for both"


def test_a_common_limit_that_has_changed_is_recognized_by_the_next_answer() -> None:
    talk = Conversation()
    talk.ask(UPDATE, report(20, 19, 1))
    assert talk.ask(READ, report(20, 18, 1)) is None
    assert talk.ask(READ, report(600, 599, 60)) is None, "the answer before it was one of the same operation"
    assert talk.ask(UPDATE, report(600, 598, 60)) is None
    assert talk.ask(READ, report(50, 49, 60)) == "separate"
    assert talk.ask(READ, report(50, 48, 60)) is None
    assert talk.ask(UPDATE, report(50, 47, 60)) == "common"
    assert talk.ask(READ, report(600, 599, 60)) == "separate"


def test_answers_that_may_have_overtaken_each_other_show_nothing() -> None:
    talk = Conversation()
    update, read = talk.send(UPDATE), talk.send(READ)
    assert talk.answer(update, report(20, 19, 1)) is None
    assert talk.answer(read, report(600, 599, 60)) is None


def test_what_remains_separates_operations_after_three_signs_in_a_row() -> None:
    talk = Conversation()
    shown = [
        talk.ask(operation, report(100, remaining, 60))
        for operation, remaining in [
            (UPDATE, 60), (READ, 99), (UPDATE, 58), (READ, 57), (UPDATE, 56), (READ, 98), (UPDATE, 54), (READ, 97),
            (UPDATE, 52), (READ, 96), (UPDATE, 50),
        ]
    ]  # fmt: skip
    assert shown[-1] == "separate"
    assert shown[:-1] == [None] * 10


def test_one_answer_with_several_limits_is_one_sign() -> None:
    def three(remaining: int) -> RateLimitInfo:
        return RateLimitInfo(reports=tuple(Report(100, remaining, 60.0, name=name) for name in ("a", "b", "c")))

    talk = Conversation()
    shown = [
        talk.ask(operation, three(remaining))
        for operation, remaining in [(UPDATE, 60), (READ, 99), (UPDATE, 58), (READ, 98), (UPDATE, 56), (READ, 97)]
    ]
    assert shown == [None] * 6
    assert talk.ask(UPDATE, three(54)) == "separate"


def test_operations_that_never_report_the_same_names_are_separate() -> None:
    talk = Conversation()
    for number in range(4):
        assert talk.ask(UPDATE, report(20, 19 - number, 1, "updates")) is None
        assert talk.ask(READ, NO_INFO) is None
    assert talk.ask(UPDATE, report(20, 1, 1, "updates")) is None
    assert talk.ask(UPDATE, report(20, 0, 1, "updates")) is None
    assert talk.ask(READ, NO_INFO) == "separate"


# --- faults ---


def test_callers_of_a_bulk_run_wait_for_no_answer_if_nothing_is_in_flight() -> None:
    async def main() -> bool:
        loop = asyncio.get_running_loop()
        pacer = Pacer(Pacing(), max_in_flight=20, clock=loop.time, random=random.Random(1).random)
        window, left = -1, 0

        async def send(priority: Priority, *, is_lost: bool) -> None:
            nonlocal window, left
            permit = await pacer.acquire(priority)
            await asyncio.sleep(0.01)
            if int(loop.time()) != window:
                window, left = int(loop.time()), 2
            accepted = left > 0
            left -= accepted
            info = RateLimitInfo(not accepted, None, (Report(2, left, window + 1 - loop.time(), exact=True),))
            pacer.release(permit, None if is_lost else info)

        for _ in range(7):
            await asyncio.gather(*(send("normal", is_lost=False) for _ in range(2)))
        async with asyncio.timeout(300):
            await asyncio.gather(*(send("low", is_lost=True) for _ in range(6)))
        return True

    assert run_with_fake_clock(main())


@pytest.mark.parametrize("others", [NO_INFO, RateLimitInfo(reports=(Report(100_000, 90_000, 3600.0, name="hour"),))])
def test_a_limit_that_only_429s_report_is_found_even_if_answers_report_another_one(others: RateLimitInfo) -> None:
    async def main() -> Counter[bool]:
        loop = asyncio.get_running_loop()
        pacer = Pacer(Pacing(), max_in_flight=100, clock=loop.time, random=random.Random(1).random)
        counted: Counter[bool] = Counter()
        windows: Counter[int] = Counter()
        used_up = RateLimitInfo(True, None, (Report(20, 0, 1.0, name="burst", window=1.0),))

        async def send() -> None:
            while loop.time() < 20:
                permit = await pacer.acquire("normal", UPDATE)
                await asyncio.sleep(0.02)
                windows[int(loop.time())] += 1
                accepted = windows[int(loop.time())] <= 20
                counted[accepted] += 1
                await asyncio.sleep(0.02)
                pacer.release(permit, others if accepted else used_up)

        await asyncio.gather(*(send() for _ in range(50)))
        return counted

    counted = run_with_fake_clock(main())
    assert counted[True] >= 250
    assert counted[False] <= 120


def test_answers_to_requests_that_were_sent_when_no_limit_was_known_belong_to_their_own_operation() -> None:
    async def main() -> Limits:
        loop = asyncio.get_running_loop()
        pacer = Pacer(Pacing(), max_in_flight=60, clock=loop.time, random=random.Random(1).random)

        async def read() -> None:
            for _ in range(10):
                permit = await pacer.acquire("normal", READ)
                await asyncio.sleep(0.02)
                pacer.release(permit, NO_INFO)

        await asyncio.gather(*(read() for _ in range(60)))
        update = await pacer.acquire("normal", UPDATE)
        pacer.release(update, report(10, 9, 1.0, "updates"))
        for remaining in range(8, 2, -1):
            pacer.release(await pacer.acquire("normal", UPDATE), report(10, remaining, 1.0, "updates"))
            pacer.release(await pacer.acquire("normal", READ), NO_INFO)
        assert pacer._limits is not None
        return pacer._limits

    limits = run_with_fake_clock(main())
    assert not limits.is_common
    assert [*limits.scope(UPDATE).quotas] == ["updates"]
    assert not limits.scope(READ).quotas


async def test_a_429_that_reports_no_limit_separates_no_operations_and_stops_all() -> None:
    pacer = Pacer(Pacing(), max_in_flight=10)
    for operation, remaining in ((READ, 599), (UPDATE, 598)):
        pacer.release(await pacer.acquire("normal", operation), report(600, remaining, 60.0))
    permit = await pacer.acquire("normal", UPDATE)
    pacer.release(permit, RateLimitInfo(True, 30.0, (Report(0, 0),)))
    assert pacer._limits is not None
    assert pacer._limits.is_common
    assert pacer.acquire_now("normal", READ) is None


async def test_a_pause_of_one_operation_outlasts_the_end_of_separate_limits() -> None:
    pacer = Pacer(Pacing(), max_in_flight=10)
    pacer.release(await pacer.acquire("normal", READ), report(20, 19, 1.0))
    read, update = await pacer.acquire("normal", READ), await pacer.acquire("normal", UPDATE)
    pacer.release(update, report(600, 599, 60.0))
    read_after = await pacer.acquire("normal", READ)
    pacer.release(read, None)
    update = await pacer.acquire("normal", UPDATE)
    pacer.release(update, RateLimitInfo(True, 30.0, report(600, 0, 60.0).reports))
    pacer.release(read_after, report(600, 590, 60.0))
    assert pacer._limits is not None
    assert pacer._limits.is_common
    assert pacer.acquire_now("normal", UPDATE) is None


async def test_a_limit_that_is_ignored_shows_in_no_snapshot() -> None:
    clock = FakeClock()
    pacer = Pacer(Pacing(), max_in_flight=10, clock=clock, call_later=clock.call_later)
    two = (Report(20, 19, 1.0, name="second", window=1.0), Report(2, 0, 10.0, name="hour", window=3600.0))
    pacer.release(await pacer.acquire(), RateLimitInfo(reports=two))
    assert pacer.snapshot().limit == 2
    await clock.advance(2000)
    pacer.release(await pacer.acquire(), RateLimitInfo(reports=two[:1]))
    snapshot = pacer.snapshot()
    assert (snapshot.limit, snapshot.sustainable_rate) == (20, 20)


def test_a_reset_that_has_passed_says_nothing_about_rounding() -> None:
    scope = Scope(random.random, waits=True)
    scope.learn(report(20, 19, 1.0).reports, 100.0, 5.0)
    assert not scope.quotas[""].sharing.renewals._is_rounded_down
