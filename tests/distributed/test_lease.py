"""The lease guard, with a turned clock."""

import pytest
from docket._redelivery import JITTER
from hypothesis import given
from hypothesis import strategies as st

from aiorooms.bulk.distributed._engine import Engine
from aiorooms.bulk.distributed._lease import MARGIN, Lease, clock


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_example_of_the_module() -> None:
    clock = Clock()
    lease = Lease(13.0, clock(), clock)
    clock.now = 100.3
    lease.renewed(100.0)
    held: list[bool] = []
    for now in (111.4, 111.5, 140.0):
        clock.now = now
        held.append(lease.is_held)
    lease.renewed(139.9)
    assert [*held, lease.is_held] == [True, False, False, False], "an expired lease stays expired"


def test_a_renewal_counts_from_when_it_was_sent() -> None:
    clock = Clock()
    lease = Lease(15.0, clock(), clock)
    clock.now = 110.0
    lease.renewed(105.0)
    clock.now = 105.0 + 15.0 - MARGIN - 0.01
    assert lease.is_held
    clock.now += 0.02
    assert not lease.is_held


def test_a_lease_that_another_worker_has_is_lost_at_once() -> None:
    clock = Clock()
    lease = Lease(15.0, clock(), clock)
    lease.lose()
    assert not lease.is_held
    lease.renewed(clock())
    assert not lease.is_held


@given(st.lists(st.tuples(st.floats(0.0, 20.0), st.floats(0.0, 20.0)), max_size=30), st.floats(3.0, 30.0))
def test_nothing_is_sent_when_another_worker_may_have_the_batch(
    renewals: list[tuple[float, float]], seconds: float
) -> None:
    clock = Clock()
    lease = Lease(seconds, clock(), clock)
    last_received = clock()
    """The earliest time at which the store can have received the last renewal that it confirmed."""
    for pause, trip in renewals:
        clock.now += pause
        began = clock()
        clock.now += trip
        was_held = lease.is_held
        lease.renewed(began)
        if was_held:
            last_received = began
        if lease.is_held:
            assert clock() < last_received + seconds - MARGIN + 1e-9


def test_the_clock_moves() -> None:
    assert clock() <= clock()
    assert clock() == pytest.approx(clock(), abs=60)


@pytest.mark.parametrize("redelivery", [3.0, 4.0, 15.0, 60.0, 3600.0])
def test_a_lease_is_so_short_that_its_task_is_delivered_again_in_time(redelivery: float) -> None:
    lease = Engine("memory://", "test", redelivery=redelivery).lease
    assert 3.0 <= lease <= redelivery
    # docket looks every quarter of the lease, and at random up to a quarter of that later (`docket._redelivery`).
    assert lease * (1 + JITTER[1] / 4) <= redelivery + 2.0
