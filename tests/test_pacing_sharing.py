"""Several processes share a limit without communicating: each gets its part, no matter which came first.

`python -m benchmarks fairness` runs the same model with thousands of random limiters.
"""

from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiorooms import RoomsClient
from aiorooms.simulator import RateLimit, RoomsSimulator
from benchmarks._processes import Scenario, measure

Kind = Literal["fixed", "sliding", "bucket"]
Rounding = Literal["fractional", "up", "down"]
KINDS: tuple[Kind, ...] = ("fixed", "sliding", "bucket")
ROUNDINGS: tuple[Rounding, ...] = ("fractional", "up", "down")


def staggered(count: int, apart: float) -> tuple[float, ...]:
    return tuple(number * apart for number in range(count))


@pytest.mark.parametrize("apart", [0.0, 0.63, 1.26])
@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("kind", KINDS)
def test_each_process_gets_most_of_an_equal_share_of_a_reported_limit(
    kind: Kind, rounding: Rounding, count: int, apart: float
) -> None:
    rule = RateLimit(100, reset_rounding=rounding, kind=kind)
    figures = measure(Scenario(limit=rule, starts=staggered(count, apart), seconds=20, seed=count))
    assert figures.smallest >= 0.6
    assert figures.used >= 0.88
    assert figures.rate_limited <= 0.03
    assert figures.entry <= 3.5


@pytest.mark.parametrize("apart", [0.0, 0.63])
@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("kind", ["fixed", "bucket"])
def test_eight_processes_share_a_reported_limit(kind: Kind, rounding: Rounding, apart: float) -> None:
    rule = RateLimit(100, reset_rounding=rounding, kind=kind)
    figures = measure(Scenario(limit=rule, starts=staggered(8, apart), seconds=20, seed=1))
    assert figures.smallest >= 0.4
    assert figures.used >= 0.95
    assert figures.rate_limited <= 0.04


@pytest.mark.parametrize("apart", [0.0, 0.63])
@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_each_process_gets_most_of_an_equal_share_of_an_unreported_limit(kind: Kind, count: int, apart: float) -> None:
    rule = RateLimit(100, headers=False, kind=kind)
    figures = measure(Scenario(limit=rule, starts=staggered(count, apart), seconds=30, seed=count))
    assert figures.smallest >= 0.5
    assert figures.used >= 0.9
    assert figures.rate_limited <= 0.12


@pytest.mark.parametrize("headers", [True, False])
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=20, derandomize=True)
@given(
    rounding=st.sampled_from(ROUNDINGS),
    count=st.integers(2, 8),
    each=st.integers(10, 40),
    window=st.sampled_from([1.0, 2.0, 5.0]),
    apart=st.floats(0, 2),
    latency=st.tuples(st.floats(0.005, 0.03), st.floats(0.03, 0.08)),
    seed=st.integers(0, 2**32),
)
def test_no_process_starves(
    kind: Kind,
    rounding: Rounding,
    headers: bool,
    count: int,
    each: int,
    window: float,
    apart: float,
    latency: tuple[float, float],
    seed: int,
) -> None:
    rule = RateLimit(count * each, window, rounding, headers, kind=kind)
    figures = measure(
        Scenario(
            limit=rule,
            starts=staggered(count, apart * window),
            seconds=16 * window,
            latency=latency,
            seed=seed,
        )
    )
    assert figures.smallest > 0, "a process got nothing in eight windows"
    assert figures.used >= 0.7


def test_a_process_that_knows_no_exact_end_of_long_windows_lets_another_one_in() -> None:
    rule = RateLimit(138, 5.0, reset_rounding="down")
    figures = measure(Scenario(limit=rule, starts=(0.0, 8.35), seconds=60, latency=(0.017, 0.036), seed=75))
    assert figures.smallest >= 0.6


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_a_process_alone_uses_the_limit_that_others_have_left(kind: Kind, rounding: Rounding) -> None:
    rule = RateLimit(100, reset_rounding=rounding, kind=kind)
    figures = measure(Scenario(limit=rule, starts=(0.0, 0.4), ends=(None, 6.0), seconds=20))
    assert figures.used >= 0.87
    assert figures.shares[0] == 2.0


@pytest.mark.parametrize("headers", [True, False])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("strays", "used"), [(0.01, 0.87), (0.1, 0.65)])
def test_occasional_429s_that_no_limit_causes_lower_the_rate_little(
    strays: float, used: float, kind: Kind, headers: bool
) -> None:
    rule = RateLimit(100, reset_rounding="fractional", headers=headers, kind=kind)
    for seed in range(3):
        figures = measure(Scenario(limit=rule, starts=(0.0,), seconds=40, strays=strays, seed=seed))
        assert figures.used >= used


@pytest.mark.parametrize("headers", [True, False])
def test_429s_that_no_limit_causes_never_stop_a_client(headers: bool) -> None:
    rule = RateLimit(100, headers=headers)
    for seed in range(3):
        figures = measure(Scenario(limit=rule, starts=(0.0,), seconds=40, strays=0.3, seed=seed))
        assert figures.used >= 0.2


async def test_a_single_caller_waits_after_429s_that_report_nothing() -> None:
    async with RoomsSimulator(rooms=1, rate_limit=RateLimit(5, headers=False)) as sim:
        async with RoomsClient(sim.api_key, base_url=sim.url) as client:
            for number in range(20):
                await client.rooms.update(sim.room_ids[0], max_participants=2 + number)
    assert sim.stats.refused <= 40
