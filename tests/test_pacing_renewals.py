"""How a reported limit is renewed: what the answers show about its kind and about the end of a window."""

import math
from collections.abc import Sequence

import pytest

from aiorooms._pacing.gate import Known
from aiorooms._pacing.headers import Report
from aiorooms._pacing.renewals import Kind, Renewals

LIMIT = 100

Answer = tuple[float, int, float]
"""When the server processed the request, R, and the reset."""


def after(answers: Sequence[Answer], *, exact: bool = False) -> Renewals:
    """Return what is known after these answers. Each request is sent when the answer before has arrived."""
    renewals = Renewals(LIMIT)
    known = Known()
    for at, remaining, reset in answers:
        report = Report(LIMIT, remaining, reset, exact)
        renewals.answered(at, report, sent_at=at, now=at, known=known, round_trip=0.01)
        known = Known(remaining=remaining, at=at)
    return renewals


@pytest.mark.parametrize(
    ("kind", "answers"),
    [
        (None, [(0.0, 50, 1), (0.1, 40, 1), (0.2, 30, 1)]),
        (None, [(0.5, 2, 1), (1.5, 90, 1), (1.6, 50, 1)]),
        ("windows", [(0.5, 2, 1), (1.5, 90, 1), (2.4, 5, 1), (2.6, 95, 1)]),
        (
            "gradual",
            [(0.1, 5, 1), (0.2, 9, 1), (0.3, 4, 1), (0.4, 8, 1), (0.5, 3, 1), (0.6, 7, 1), (0.7, 2, 1), (0.8, 6, 1)],
        ),
        (None, [(0.1, 5, 1), (1.2, 9, 1), (2.3, 4, 1), (3.4, 8, 1), (4.5, 3, 1), (5.6, 7, 1)]),
    ],
)
def test_rises_show_the_kind(kind: Kind | None, answers: list[Answer]) -> None:
    assert after(answers).kind == kind


@pytest.mark.parametrize(
    ("kind", "answers"),
    [
        # A window of 10 s that ends at 10.
        ("windows", [(0.5, 90, 9.5), (2.0, 70, 8.0), (3.5, 50, 6.5)]),
        # A bucket of 100 that is full after 10 s: nothing else is sent, so the end does not move, but R rises.
        ("gradual", [(0.5, 50, 5.0), (2.0, 65, 3.5), (3.5, 80, 2.0)]),
        # The same bucket, from which as much is taken as flows in.
        ("gradual", [(0.5, 20, 8.0), (2.0, 20, 8.0), (3.5, 20, 8.0)]),
        # The beginning of another window says nothing.
        (None, [(8.0, 20, 2.0), (10.5, 95, 9.5)]),
    ],
)
def test_the_end_of_exact_resets_shows_the_kind(kind: Kind | None, answers: list[Answer]) -> None:
    assert after(answers, exact=True).kind == kind


def test_answers_of_each_renewal_narrow_down_the_end_of_a_window() -> None:
    """The example of the module's docstring."""
    answers = [(9.9, 2, 1.0), (10.2, 90, 1.0), (10.95, 4, 1.0), (11.05, 95, 1.0)]
    ends = [after(answers[:count]).ends_at for count in range(1, 5)]
    assert ends == pytest.approx([9.92, 10.92, 10.97, 11.97])


def test_a_window_that_has_not_ended_as_expected_is_extended() -> None:
    renewals = after([(9.9, 2, 1.0), (10.2, 90, 1.0), (11.3, 1, 1.0)])
    assert renewals.ends_at > 11.3
    assert not renewals.is_end_sure


@pytest.mark.parametrize(("reset", "period"), [(1.0, 1.0), (0.0, 1.0), (5.0, 5.0)])
def test_the_length_of_a_window_is_the_longest_reset(reset: float, period: float) -> None:
    assert after([(0.1, 99, reset), (0.2, 98, reset)]).period == period


def test_a_reset_of_0_shows_that_resets_are_rounded_down() -> None:
    assert after([(0.1, 99, 4.0), (4.5, 10, 0.0)]).period == 5.0


def test_a_kind_that_is_known_is_not_replaced_by_a_conclusion() -> None:
    renewals = Renewals(LIMIT)
    renewals.conclude("gradual")
    renewals.conclude("windows")
    assert renewals.kind == "gradual"
    assert Renewals().ends_at == -math.inf
