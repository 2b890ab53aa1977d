from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from aiorooms.simulator import RateLimit, RoomsSimulator
from aiorooms.simulator._limiters import FixedWindow, Verdict, limit_headers, make_limiter

from .calling import ask


class Clock:
    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


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
def test_what_is_not_a_limit(text: str) -> None:
    with pytest.raises(ValueError, match=r"rate limit|window"):
        RateLimit.parse(text)


@pytest.mark.parametrize("window", [0.0, -1.0, float("inf"), float("nan")])
def test_what_is_not_a_window(window: float) -> None:
    with pytest.raises(ValueError, match="a window lasts"):
        RateLimit(1, window)


def test_a_fixed_window_lets_through_its_limit_and_starts_anew() -> None:
    clock = Clock()
    limiter = make_limiter(RateLimit(2, 10.0), clock)
    table = [
        # seconds passed, allowed, remaining, reset
        (0.0, True, 1, 10.0),
        (4.0, True, 0, 6.0),
        (9.5, False, 0, 0.5),
        (10.0, True, 1, 10.0),
        (19.0, True, 0, 1.0),
        (19.75, False, 0, 0.25),
        (45.0, True, 1, 5.0),  # windows that nobody used are lost
        (50.0, True, 1, 10.0),
    ]
    for passed, allowed, remaining, reset in table:
        clock.now = 1000.0 + passed
        assert limiter.take() == Verdict(allowed, remaining, reset), passed


def test_a_look_counts_nothing_and_refuses_nothing() -> None:
    clock = Clock()
    limiter = FixedWindow(1, 1.0, clock)
    assert limiter.peek() == limiter.peek() == Verdict(True, 1, 1.0)
    limiter.take()
    assert limiter.peek() == Verdict(True, 0, 1.0)
    clock.now += 1
    assert limiter.peek() == Verdict(True, 1, 1.0)


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
def test_the_reset_is_rounded_as_the_rule_says(rounding: Any, reset: float, shown: str) -> None:
    rule = RateLimit(5, 60.0, reset_rounding=rounding)
    assert limit_headers(rule, Verdict(True, 3, reset), 0.0) == [
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
def test_retry_after_of_a_refusal(how: Any, expected: list[tuple[str, str]]) -> None:
    rule = RateLimit(5, 60.0, retry_after=how, headers=False)
    wall = parsedate_to_datetime("Fri, 16 Apr 2021 09:46:20 GMT").timestamp() + 0.75
    assert limit_headers(rule, Verdict(False, 0, 2.5), wall) == expected
    assert limit_headers(rule, Verdict(True, 0, 2.5), wall) == []


async def test_over_the_limit() -> None:
    async with RoomsSimulator(rooms=1, rate_limit="2/1h") as sim:
        room = f"/rooms/{sim.room_ids[0]}"
        one = await ask(sim, "PATCH", room, {"max_participants": 7})
        two = await ask(sim, "GET", "/nothing")
        three = await ask(sim, "PATCH", room, {"max_participants": 8})
        four = await ask(sim, "GET", "/rooms")
        assert [reply.headers["x-ratelimit-remaining"] for reply in (one, two, three, four)] == ["1", "0", "0", "0"]
        assert {reply.headers["x-ratelimit-limit"] for reply in (one, two, three, four)} == {"2"}
        assert all(3590 <= int(reply.headers["x-ratelimit-reset"]) <= 3600 for reply in (one, two, three, four))
        assert [(reply.status, reply.errors) for reply in (three, four)] == [(429, [("10011", None)])] * 2
        assert sim.rooms[sim.room_ids[0]]["max_participants"] == 7
        assert sim.stats.refused == 2
        assert sim.stats.by_status == {200: 1, 404: 1, 429: 2}
        assert sim.stats.updates_applied == {sim.room_ids[0]: 1}


async def test_the_limit_may_change_in_the_middle_of_a_run() -> None:
    async with RoomsSimulator(rooms=1) as sim:
        assert sim.rate_limit is None
        assert "x-ratelimit-limit" not in (await ask(sim, "GET", "/rooms")).headers
        sim.rate_limit = "1/1h"
        assert sim.rate_limit == RateLimit(1, 3600.0)
        assert (await ask(sim, "GET", "/rooms")).status == 200
        assert (await ask(sim, "GET", "/rooms")).status == 429
        sim.rate_limit = RateLimit(1, 3600.0, headers=False, retry_after="seconds")
        assert (await ask(sim, "GET", "/rooms")).status == 200
        reply = await ask(sim, "GET", "/rooms")
        assert reply.status == 429
        assert 3590 <= int(reply.headers["Retry-After"]) <= 3600
        assert "x-ratelimit-limit" not in reply.headers
        sim.rate_limit = None
        assert (await ask(sim, "GET", "/rooms")).status == 200
        with pytest.raises(ValueError, match="not a rate limit"):
            sim.rate_limit = "fast"


async def test_the_window_turns_for_real() -> None:
    async with RoomsSimulator(rooms=1, rate_limit=RateLimit(1, 0.005)) as sim:
        statuses: list[int] = []
        while statuses.count(200) < 3:
            statuses.append((await ask(sim, "GET", "/rooms")).status)
    assert set(statuses) <= {200, 429}
