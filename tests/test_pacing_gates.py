"""Single gates: the rules by which the pacer decides when a request may be sent.

test_pacing_learning tests all gates together, against simulated limiters.
"""

import math
from random import random

from hypothesis import given
from hypothesis import strategies as st

from aiorooms._pacing import NO_INFO, Gate, Pacer, Pacing, Permit, RateLimitInfo
from aiorooms._pacing.cap import Cap
from aiorooms._pacing.meter import Meter
from aiorooms._pacing.pause import Pause
from aiorooms._pacing.probing import Probing
from aiorooms._pacing.slow_start import SlowStart
from aiorooms._pacing.sockets import Sockets

PERMIT = Permit(0.0)


def limited(seconds: float | None) -> RateLimitInfo:
    return RateLimitInfo(rate_limited=True, retry_after=seconds)


def test_a_pause_ends_at_the_latest_requested_time() -> None:
    pause = Pause()
    pause.answered(PERMIT, limited(10), 100, 0)
    pause.answered(PERMIT, limited(5), 101, 0)
    pause.answered(PERMIT, NO_INFO, 102, 0)
    assert pause.may_send_at(102, 0) == pause.blocked_until(102) == 110
    assert not pause.is_idle
    pause.lost(PERMIT, 110, 0)
    assert pause.is_idle


def test_a_429_that_asks_for_no_wait_begins_no_pause() -> None:
    pause = Pause()
    pause.answered(PERMIT, limited(None), 100, 0)
    pause.answered(PERMIT, limited(0), 100, 0)
    assert pause.is_idle


def test_slow_start_allows_one_more_request_in_flight_after_each_answer() -> None:
    gate = SlowStart(4)
    allowed: list[int] = []
    for _ in range(4):
        allowed.append(next((n for n in range(10) if gate.may_send_at(0.0, n) > 0.0), 10))
        gate.answered(PERMIT, NO_INFO, 0.0, 0)
    assert allowed == [1, 2, 3, 10]
    assert gate.is_idle


def test_slow_start_allows_the_next_request_after_half_a_second_without_an_answer() -> None:
    gate = SlowStart(100)
    gate.sent(Permit(7.0), 0)
    assert gate.may_send_at(7.1, 1) == 7.5
    assert gate.may_send_at(7.5, 1) <= 7.5


def test_slow_start_begins_again_with_one_request_even_if_no_answer_arrives() -> None:
    gate = SlowStart(4)
    for _ in range(4):
        gate.answered(PERMIT, NO_INFO, 0.0, 0)
    gate.begin_again(100.0)
    assert not gate.is_idle
    assert [gate.may_send_at(100.0, in_flight) for in_flight in (0, 1, 9)] == [100.0, 100.5, 100.5]
    assert gate.may_send_at(100.5, 1) == 100.5


def test_without_sockets_as_many_requests_are_in_flight_as_fit_and_one_more_each_second() -> None:
    assert Sockets(20).is_idle
    gate = Sockets(20)
    gate.narrow(100.0, 12)
    assert not gate.is_idle
    assert gate.may_send_at(100.0, 11) == 100.0
    assert gate.may_send_at(100.5, 12) == 101.0
    assert gate.may_send_at(101.0, 12) == 101.0
    assert gate.may_send_at(101.0, 13) == 102.0
    gate.narrow(101.5, 12)
    assert gate.may_send_at(103.0, 12) == 103.0
    assert gate.may_send_at(103.0, 13) == 103.5, "the limit grew by more than 1 a second"
    assert gate.may_send_at(200.0, 1000) == 200.0, "the limit has reached the number of connections"
    gate.narrow(300.0, 0)
    assert gate.may_send_at(300.0, 0) == 300.0, "at least one request may always be in flight"


@given(
    events=st.lists(
        st.tuples(st.sampled_from(["sent", "lost", "plain", "limited"]), st.floats(0, 5), st.integers(0, 50)),
        max_size=40,
    )
)
def test_no_gate_ever_returns_nan(events: list[tuple[str, float, int]]) -> None:
    gates: list[Gate] = [Pause(), Cap(3.0), Probing(Meter(), random), SlowStart(50), Sockets(50)]
    now = 1000.0
    for event, seconds, in_flight in events:
        now += seconds
        for gate in gates:
            permit = Permit(now - seconds)
            if event == "sent":
                gate.sent(Permit(now), in_flight)
            elif event == "lost":
                gate.lost(permit, now, in_flight)
            else:
                gate.answered(permit, NO_INFO if event == "plain" else limited(seconds), now, in_flight)
            assert not math.isnan(gate.may_send_at(now, in_flight))
            assert gate.blocked_until(now) < math.inf
            assert gate.rate is None or 0 < gate.rate < math.inf


async def test_a_429_causes_no_pause_if_pacing_is_disabled() -> None:
    pacer = Pacer(Pacing(enabled=False), max_in_flight=10)
    pacer.release(await pacer.acquire(), limited(100))
    assert pacer.acquire_now() is not None
    assert pacer.snapshot().paused_until is None
    assert pacer.snapshot().rate_limited == 1
