"""The three kinds of limiters, with a fake clock: fixed window, sliding window and token bucket."""

import copy
from email.utils import parsedate_to_datetime
from fractions import Fraction
from math import ceil, floor
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiorooms.simulator import RateLimit
from aiorooms.simulator._limit_headers import limit_headers
from aiorooms.simulator._limiters import Limiter, Verdict, make_limiter

SECOND = 1_000_000_000
KINDS: tuple[Literal["fixed", "sliding", "bucket"], ...] = ("fixed", "sliding", "bucket")


class NanosecondClock:
    """A clock that tests set, in whole nanoseconds. Limits are exact to the nanosecond, and float seconds are not."""

    def __init__(self) -> None:
        self.now = 1000 * SECOND

    def __call__(self) -> int:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += round(seconds * SECOND)


@pytest.mark.parametrize(
    ("text", "limit", "window"),
    [
        ("100/1s", 100, 1.0),
        ("100/s", 100, 1.0),
        ("20/1m", 20, 60.0),
        (" 20 / 2 m ", 20, 120.0),
        ("1000/h", 1000, 3600.0),
        ("5/250ms", 5, 0.25),
        ("3/0.5s", 3, 0.5),
        ("3/.5s", 3, 0.5),
    ],
)
def test_a_limit_is_read_from_text(text: str, limit: int, window: float) -> None:
    assert RateLimit.parse(text) == RateLimit(limit, window)


@pytest.mark.parametrize("text", ["", "100", "100/", "/s", "0/s", "-1/s", "1/0s", "1/-1s", "1.5/s", "1/s/s", "1/d"])
def test_invalid_text_raises(text: str) -> None:
    with pytest.raises(ValueError, match=r"rate limit|window"):
        RateLimit.parse(text)


@pytest.mark.parametrize("window", [0.0, -1.0, float("inf"), float("nan")])
def test_an_invalid_window_raises(window: float) -> None:
    with pytest.raises(ValueError, match="the window of a rate limit must be"):
        RateLimit(1, window)


@pytest.mark.parametrize("setting", ["kind", "reset_rounding", "retry_after", "style", "reset"])
def test_an_invalid_setting_raises(setting: str) -> None:
    with pytest.raises(ValueError, match=setting):
        RateLimit(**{setting: "leaky"})  # type: ignore[arg-type]


def test_the_positional_order_of_the_settings_is_stable() -> None:
    rule = RateLimit(5, 2.0, "down", False, "ms")
    assert rule == RateLimit(
        limit=5, window=2.0, reset_rounding="down", headers=False, retry_after="ms", kind="fixed"
    ), "the order of the settings or the default kind has changed"


# (seconds since the start, allowed, remaining, reset, retry)
Table = list[tuple[float, bool, int, float, float]]

FIXED: Table = [
    (0.0, True, 1, 10.0, 0.0),
    (4.0, True, 0, 6.0, 6.0),
    (9.5, False, 0, 0.5, 0.5),
    (10.0, True, 1, 10.0, 0.0),
    (19.0, True, 0, 1.0, 1.0),
    (19.75, False, 0, 0.25, 0.25),
    (45.0, True, 1, 5.0, 0.0),  # requests not used in earlier windows are lost
    (50.0, True, 1, 10.0, 0.0),
]
SLIDING: Table = [
    (0.0, True, 1, 10.0, 0.0),
    (4.0, True, 0, 6.0, 6.0),
    (9.5, False, 0, 0.5, 0.5),  # rate limited requests are not counted
    (9.999999999, False, 0, 0.000000001, 0.000000001),
    (10.0, True, 0, 4.0, 4.0),  # the first request has left the window
    (13.9, False, 0, 0.1, 0.1),
    (14.0, True, 0, 6.0, 6.0),
    (45.0, True, 1, 10.0, 0.0),
    (55.0, True, 1, 10.0, 0.0),
]
BUCKET: Table = [
    (0.0, True, 1, 5.0, 0.0),
    (0.0, True, 0, 10.0, 5.0),
    (2.0, False, 0, 8.0, 3.0),  # rate limited requests take no token
    (4.999999999, False, 0, 5.000000001, 0.000000001),
    (5.0, True, 0, 10.0, 5.0),
    (12.5, True, 0, 7.5, 2.5),  # half a token is left
    (15.0, True, 0, 10.0, 5.0),
    (20.0, True, 0, 10.0, 5.0),
    (31.0, True, 1, 5.0, 0.0),  # a bucket holds at most two tokens here
    (33.5, True, 0, 7.5, 2.5),
]


@pytest.mark.parametrize(("kind", "table"), [("fixed", FIXED), ("sliding", SLIDING), ("bucket", BUCKET)])
def test_each_kind_of_limiter_returns_the_expected_verdicts(kind: Any, table: Table) -> None:
    clock = NanosecondClock()
    began = clock.now
    limiter = make_limiter(RateLimit(2, 10.0, kind=kind), clock)
    for passed, allowed, remaining, reset, retry in table:
        clock.now = began + round(passed * SECOND)
        assert limiter.take() == Verdict(allowed, remaining, reset, retry), passed


@pytest.mark.parametrize(
    ("kind", "unused", "used"),
    [("fixed", 1.0, 1.0), ("sliding", 0.0, 1.0), ("bucket", 0.0, 1.0)],
)
def test_a_peek_is_always_allowed_and_not_counted(kind: Any, unused: float, used: float) -> None:
    clock = NanosecondClock()
    limiter = make_limiter(RateLimit(1, 1.0, kind=kind), clock)
    assert limiter.peek() == limiter.peek() == Verdict(True, 1, unused, 0.0)
    limiter.take()
    assert limiter.peek() == limiter.peek() == Verdict(True, 0, used, used)
    clock.advance(1)
    assert limiter.peek() == Verdict(True, 1, unused, 0.0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("window", [5e-324, 1e-9, 0.1, 1 / 3, 1e300])
def test_a_window_may_be_of_any_length(kind: Any, window: float) -> None:
    limiter = make_limiter(RateLimit(3, window, kind=kind), NanosecondClock())
    assert [limiter.take().allowed for _ in range(4)] == [True, True, True, False]
    assert limiter.peek().reset == pytest.approx(window, abs=1e-9)


# The tests below use random sequences of requests. Windows and pauses last a few nanoseconds, so they often coincide.

limits = st.integers(1, 5)
windows = st.integers(1, 12)
kinds = st.sampled_from(KINDS)
pauses = st.lists(st.integers(0, 9), max_size=60)
steps = st.lists(st.tuples(st.integers(0, 9), st.booleans()), max_size=40)
"""Pairs: a pause, and whether a request (True) or a peek (False) follows it."""


def limiter_of(kind: Any, limit: int, window: int) -> tuple[NanosecondClock, Limiter]:
    clock = NanosecondClock()
    return clock, make_limiter(RateLimit(limit, window / SECOND, kind=kind), clock)


def after(
    kind: Any, limit: int, window: int, steps: list[tuple[int, bool]]
) -> tuple[NanosecondClock, Limiter, Verdict]:
    """Return a clock, a limiter after these steps, and its last verdict."""
    clock, limiter = limiter_of(kind, limit, window)
    verdict = limiter.peek()
    for pause, requested in steps:
        clock.now += pause
        verdict = limiter.take() if requested else limiter.peek()
    return clock, limiter, verdict


def later(clock: NanosecondClock, limiter: Limiter, nanoseconds: int) -> Limiter:
    """Return a copy of the limiter at a later time."""
    later_clock, copied = copy.deepcopy((clock, limiter))
    later_clock.now += nanoseconds
    return copied


@given(limit=limits, window=windows, pauses=pauses)
def test_a_sliding_window_allows_exactly_the_limit(limit: int, window: int, pauses: list[int]) -> None:
    clock, limiter = limiter_of("sliding", limit, window)
    passed: list[int] = []
    for pause in pauses:
        clock.now += pause
        counted = sum(clock.now - window < moment for moment in passed)
        verdict = limiter.take()
        assert verdict.allowed == (counted < limit)
        if verdict.allowed:
            passed.append(clock.now)
            counted += 1
        assert verdict.remaining == limit - counted
        assert verdict.reset == (passed[-counted] + window - clock.now) / SECOND
    for first, one_too_many in zip(passed, passed[limit:], strict=False):
        assert one_too_many - first >= window


@given(limit=limits, window=windows, pauses=pauses)
def test_a_bucket_allows_exactly_as_many_requests_as_it_has_tokens(limit: int, window: int, pauses: list[int]) -> None:
    clock, limiter = limiter_of("bucket", limit, window)
    passed: list[int] = []
    for pause in pauses:
        clock.now += pause
        # From any request onwards, at most a full bucket and the tokens added since then can be used.
        level = min(
            limit - (len(passed) - number) + Fraction((clock.now - moment) * limit, window)
            for number, moment in enumerate([*passed, clock.now])
        )
        verdict = limiter.take()
        assert verdict.allowed == (level >= 1)
        if verdict.allowed:
            passed.append(clock.now)
            level -= 1
        assert verdict.remaining == floor(level)
        assert verdict.reset == ceil((limit - level) * window / limit) / SECOND
    for number, first in enumerate(passed):
        for count, last in enumerate(passed[number:], start=1):
            assert count * window <= limit * window + (last - first) * limit


@given(kind=kinds, limit=limits, window=windows, steps=steps)
def test_exactly_the_remaining_requests_are_allowed_immediately(
    kind: Any, limit: int, window: int, steps: list[tuple[int, bool]]
) -> None:
    _, limiter, verdict = after(kind, limit, window, steps)
    assert 0 <= verdict.remaining <= limit
    for left in reversed(range(verdict.remaining)):
        taken = limiter.take()
        assert (taken.allowed, taken.remaining) == (True, left)
    assert not limiter.take().allowed


@given(kind=kinds, limit=limits, window=windows, steps=steps)
def test_the_next_request_is_allowed_at_the_reported_time_and_not_before(
    kind: Any, limit: int, window: int, steps: list[tuple[int, bool]]
) -> None:
    clock, limiter, verdict = after(kind, limit, window, steps)
    wait = round(verdict.retry * SECOND)
    assert wait / SECOND == verdict.retry, "not a whole number of nanoseconds"
    assert (wait == 0) == (verdict.remaining > 0)
    assert later(clock, limiter, wait).take().allowed
    if wait:
        assert not later(clock, limiter, wait - 1).take().allowed


@given(kind=kinds, limit=limits, window=windows, steps=steps)
def test_the_reset_is_at_the_reported_time_and_not_before(
    kind: Any, limit: int, window: int, steps: list[tuple[int, bool]]
) -> None:
    clock, limiter, verdict = after(kind, limit, window, steps)
    wait = round(verdict.reset * SECOND)
    assert wait / SECOND == verdict.reset, "not a whole number of nanoseconds"
    assert verdict.retry <= verdict.reset
    if kind == "fixed":
        assert 0 < wait <= window
    else:
        assert 0 <= wait <= window
        assert (wait == 0) == (verdict.remaining == limit)
    then = later(clock, limiter, wait).peek().remaining
    assert then > verdict.remaining if kind == "sliding" and wait else then == limit
    if wait and verdict.remaining < limit:
        before = later(clock, limiter, wait - 1).peek().remaining
        assert before < limit if kind == "bucket" else before == verdict.remaining


@given(kind=kinds, limit=limits, window=windows, steps=steps)
def test_peeks_and_rate_limited_requests_change_nothing(
    kind: Any, limit: int, window: int, steps: list[tuple[int, bool]]
) -> None:
    clock, limiter = limiter_of(kind, limit, window)
    reference = make_limiter(RateLimit(limit, window / SECOND, kind=kind), clock)
    for pause, requested in steps:
        clock.now += pause
        if not requested:
            limiter.peek()
        elif limiter.take().allowed:
            assert reference.take().allowed
    assert limiter.peek() == reference.peek()


@pytest.mark.parametrize(
    ("rounding", "reset", "shown"),
    [
        ("up", 0.25, "1"),
        ("up", 1.0, "1"),
        ("up", 1.0000000001, "1"),
        ("up", 1.001, "2"),
        ("up", 0.0, "0"),
        ("down", 0.999, "0"),
        ("down", 59.9, "59"),
        ("fractional", 0.25, "0.250000"),
        ("fractional", 59.9876543, "59.987654"),
    ],
)
def test_the_reported_reset_is_rounded_as_configured(rounding: Any, reset: float, shown: str) -> None:
    rule = RateLimit(5, 60.0, reset_rounding=rounding)
    assert limit_headers([(rule, Verdict(True, 3, reset, 0.0))], 0.0) == [
        ("x-ratelimit-limit", "5"),
        ("x-ratelimit-remaining", "3"),
        ("x-ratelimit-reset", shown),
    ]


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("none", []),
        ("seconds", [("Retry-After", "3")]),
        ("date", [("Retry-After", "Fri, 16 Apr 2021 09:46:24 GMT")]),
        ("ms", [("retry-after-ms", "2500")]),
    ],
)
def test_retry_after_is_sent_in_the_configured_format_and_only_with_a_429(
    how: Any, expected: list[tuple[str, str]]
) -> None:
    rule = RateLimit(5, 60.0, retry_after=how, headers=False)
    wall = parsedate_to_datetime("Fri, 16 Apr 2021 09:46:20 GMT").timestamp() + 0.75
    assert limit_headers([(rule, Verdict(False, 0, 50.25, 2.5))], wall) == expected
    assert limit_headers([(rule, Verdict(True, 0, 50.25, 2.5))], wall) == []


def test_reset_and_retry_after_may_differ() -> None:
    rule = RateLimit(5, 60.0, retry_after="seconds", reset_rounding="down")
    fields = limit_headers([(rule, Verdict(False, 0, 50.75, 2.0000000001))], 0.0)
    assert fields[2:] == [("x-ratelimit-reset", "50"), ("Retry-After", "2")]
