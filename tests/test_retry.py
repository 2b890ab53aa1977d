"""Whether and when a failed attempt is retried, without I/O."""

import math
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiorooms import APIConnectionError, RetryPolicy
from aiorooms._http.response import Failure
from aiorooms._http.retry import Again, GiveUp, Tally, backoff, decide
from aiorooms.errors import InternalServerError, RateLimitError

RESET = Failure(make_error=partial(APIConnectionError, "reset"), retry=True, uncertain=True)
LIMITED = Failure(make_error=partial(RateLimitError, status=429), retry=True, uncertain=False, status=429)
SERVER_ERROR = Failure(make_error=partial(InternalServerError, status=503), retry=True, uncertain=True, status=503)


def after(
    failure: Failure,
    tally: Tally,
    policy: RetryPolicy = RetryPolicy(),  # noqa: B008 - the default is immutable
    *,
    exempt: bool = False,
    keeps_trying: bool = False,
    longest_wait: float = math.inf,
    max_wait: float = 300.0,
    time_left: float = math.inf,
) -> Again | GiveUp:
    """Record a failed attempt in `tally`, and return the next step."""
    assert not tally.failed(failure, exempt=exempt)
    return decide(
        policy,
        failure,
        tally,
        keeps_trying=keeps_trying,
        longest_wait=longest_wait,
        max_wait=max_wait,
        time_left=time_left,
        random=1.0,
    )


def test_waits_double_until_no_attempt_is_left() -> None:
    tally = Tally()
    assert [after(RESET, tally) for _ in range(4)] == [Again(0.5), Again(1.0), Again(2.0), GiveUp()]


def test_only_a_wait_that_the_server_asked_for_is_limited_by_max_wait() -> None:
    patient = RetryPolicy(base_delay=20.0, max_delay=20.0)
    assert after(RESET, Tally(), patient, max_wait=10.0) == Again(20.0)
    assert after(SERVER_ERROR._replace(wait=10.0), Tally(), patient, max_wait=10.0) == Again(20.0)
    end = after(SERVER_ERROR._replace(wait=11.0), Tally(), patient, max_wait=10.0)
    assert isinstance(end, GiveUp)
    assert "the server asked the client to wait 11 s, longer than Pacing(max_wait=10) allows" in end.hint


def test_a_failure_that_must_not_be_retried_ends_the_call() -> None:
    assert after(RESET._replace(retry=False), Tally()) == GiveUp()


def test_the_first_25_overtaken_429s_do_not_count_against_max_attempts() -> None:
    tally = Tally()
    followed = [after(LIMITED, tally, exempt=True) for _ in range(25)]
    assert all(isinstance(one, Again) for one in followed)
    assert tally.counted == 0
    followed = [after(LIMITED, tally, exempt=True) for _ in range(4)]
    assert followed[-1] == GiveUp()


@pytest.mark.parametrize(
    ("failure", "asked", "wait"),
    [
        (LIMITED, 0.1, 0.1),  # exactly the requested wait
        (LIMITED, None, 0.5),
        (SERVER_ERROR, 0.1, 0.5),  # never shorter than the backoff
        (SERVER_ERROR, 7.0, 7.0),
    ],
)
def test_a_wait_that_the_server_asks_for_is_respected(failure: Failure, asked: float | None, wait: float) -> None:
    assert after(failure._replace(wait=asked), Tally()) == Again(wait)


def test_in_an_outage_attempts_do_not_count_and_long_waits_are_shortened() -> None:
    tally = Tally(counted=20)
    long_wait = SERVER_ERROR._replace(wait=3600.0)
    assert after(long_wait, tally, keeps_trying=True, longest_wait=6.0) == Again(6.0)
    assert after(long_wait, tally, keeps_trying=True, longest_wait=6.0, max_wait=5.0) == Again(5.0)


def test_no_request_is_tried_forever_even_if_it_may_not_be_the_cause() -> None:
    assert isinstance(after(SERVER_ERROR, Tally(counted=4 + 23), keeps_trying=True), Again)
    assert after(SERVER_ERROR, Tally(counted=4 + 24), keeps_trying=True) == GiveUp()


def test_a_wait_that_is_too_long_ends_the_call_and_names_the_setting() -> None:
    end = after(LIMITED._replace(wait=301.0), Tally())
    assert isinstance(end, GiveUp)
    assert end.reason == "max_wait"
    assert "asked the client to wait 301 s" in end.hint
    end = after(RESET, Tally(), RetryPolicy(max_elapsed=9), time_left=0.4)
    assert isinstance(end, GiveUp)
    assert end.is_out_of_time


def test_the_first_three_stale_connections_in_a_row_do_not_count_as_attempts() -> None:
    stale = RESET._replace(stale_connection=True)
    tally = Tally()
    assert [tally.failed(stale, exempt=False) for _ in range(5)] == [True, True, True, False, True]
    assert tally.attempts == 1
    assert tally.uncertain


@given(attempt=st.integers(1, 10**6), random=st.floats(0, 1))
def test_backoff_is_full_jitter_up_to_its_maximum(attempt: int, random: float) -> None:
    policy = RetryPolicy()
    wait = backoff(policy, attempt, random)
    assert 0 <= wait <= 8
    assert wait == random * backoff(policy, attempt, 1.0)


def test_backoff_doubles_up_to_its_maximum() -> None:
    assert [backoff(RetryPolicy(), attempt, 1.0) for attempt in range(1, 8)] == [0.5, 1, 2, 4, 8, 8, 8]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"max_attempts": 0}, r"RetryPolicy\(max_attempts=\) is 0; give a whole number, 1 or above"),
        ({"max_attempts": True}, "whole number"),
        ({"max_attempts": 2.0}, "whole number"),
        ({"base_delay": -1}, r"RetryPolicy\(base_delay=\) is -1; give a number, 0 or above"),
        ({"max_delay": float("nan")}, "0 or above"),
        ({"max_elapsed": 0}, "above 0"),
        ({"max_elapsed": "5"}, "above 0"),
    ],
)
def test_a_policy_is_checked_when_it_is_created(settings: dict[str, float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        RetryPolicy(**settings)  # type: ignore[arg-type]
