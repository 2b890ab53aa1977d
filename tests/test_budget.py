"""The time of one call: `max_elapsed` and the deadline, on a clock that is turned by hand."""

import math

import aiohttp
import pytest

from aiorooms._http.budget import Budget
from aiorooms._http.deadlines import TimeLimits


class _Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("max_elapsed", "deadline", "left", "limit"),
    [
        (None, None, None, None),
        (5.0, None, 5.0, ("RetryPolicy(max_elapsed=5)", "max_elapsed")),
        (None, 2.0, 2.0, ("deadline=2", "deadline")),
        (5.0, 2.0, 2.0, ("deadline=2", "deadline")),
        (1.5, 2.0, 1.5, ("RetryPolicy(max_elapsed=1.5)", "max_elapsed")),
    ],
)
def test_the_earlier_of_both_limits_counts(
    max_elapsed: float | None, deadline: float | None, left: float | None, limit: tuple[str, str] | None
) -> None:
    clock = _Clock()
    budget = Budget(max_elapsed, deadline, clock=clock)
    before = budget.left
    assert before is None, "the time does not count yet"
    budget.start()
    assert budget.left == left
    assert not budget.is_over
    if limit is not None:
        assert budget.expired_setting == limit
        assert left is not None
        clock.now += left
        assert budget.is_over


@pytest.mark.parametrize(
    ("timeout", "after", "total"),
    [(30.0, 0.0, 2.0), (30.0, 1.5, 0.5), (0.1, 1.5, 0.1), (None, 1.5, 0.5), (30.0, 9.0, 0.0)],
)
def test_the_deadline_cuts_an_attempt(timeout: float | None, after: float, total: float) -> None:
    clock = _Clock()
    budget = Budget(None, 2.0, clock=clock)
    budget.start()
    clock.now += after
    limits = TimeLimits.of(aiohttp.ClientTimeout(total=timeout))
    assert budget.shorten(limits).total == pytest.approx(total)
    assert budget.shorten(limits).others == limits.others


def test_max_elapsed_does_not_cut_an_attempt() -> None:
    budget = Budget(0.5, None, clock=_Clock())
    budget.start()
    limits = TimeLimits.of(aiohttp.ClientTimeout(total=30))
    assert budget.shorten(limits) is limits


def test_a_read_back_has_the_deadline_of_its_call() -> None:
    clock = _Clock()
    call = Budget(None, 2.0, clock=clock)
    call.start()
    clock.now += 1.5
    read_back = Budget(None, 2.0, ends_at=call.ends_at, clock=clock)
    read_back.start()
    assert read_back.left == pytest.approx(0.5)
    clock.now += 0.5
    assert read_back.is_past_deadline


def test_a_call_without_limits_is_never_over() -> None:
    budget = Budget(None, None, clock=lambda: math.inf)
    budget.start()
    assert not budget.is_over
    assert not budget.is_past_deadline
