"""Several rate limits at once, and limits for single operations."""

from typing import Any

import pytest

from aiorooms.simulator import RateLimit, RoomsSimulator
from aiorooms.simulator._limit_sets import LimitSet, LimitSets, read_rate_limits
from aiorooms.simulator._limiters import make_limiter
from aiorooms.simulator._routes import find_target

from .calling import UNKNOWN_ID, ask

SECOND = 1_000_000_000


class Clock:
    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> int:
        return self.now


def set_of(clock: Clock, *rules: RateLimit) -> LimitSet:
    found = LimitSets.of(rules, lambda rule: make_limiter(rule, clock)).find("GET", None)
    assert found is not None
    return found


@pytest.mark.parametrize("kind", ["fixed", "sliding", "bucket"])
def test_a_request_that_one_limit_does_not_allow_counts_in_none(kind: Any) -> None:
    clock = Clock()
    limits = set_of(clock, RateLimit(2, 1.0, kind=kind), RateLimit(3, 60.0, kind=kind))
    seen: list[list[tuple[bool, int]]] = []
    for seconds in (0, 0, 0, 0, 1, 1, 1, 2):
        clock.now = seconds * SECOND
        seen.append([(verdict.allowed, verdict.remaining) for _, verdict in limits.take()])
    assert seen == [
        [(True, 1), (True, 2)],
        [(True, 0), (True, 1)],
        [(False, 0), (True, 1)],
        [(False, 0), (True, 1)],
        [(True, 1), (True, 0)],
        [(True, 1), (False, 0)],
        [(True, 1), (False, 0)],
        [(True, 2), (False, 0)],
    ]
    assert [verdict.allowed for _, verdict in limits.peek()] == [True, True]


@pytest.mark.parametrize(
    ("given", "limits"),
    [
        (None, None),
        ([], None),
        ({}, None),
        ("10/1s", RateLimit(10)),
        (["10/1s"], (RateLimit(10),)),
        (["10/1s", RateLimit(5, 60.0)], (RateLimit(10), RateLimit(5, 60.0))),
        (
            {"patch": "10/1s", "get  /rooms": ["1/1s", "2/1m"], "*": None},
            {"PATCH": RateLimit(10), "GET /rooms": (RateLimit(1), RateLimit(2, 60.0)), "*": ()},
        ),
    ],
)
def test_limits_are_read(given: Any, limits: Any) -> None:
    assert read_rate_limits(given) == limits
    assert read_rate_limits(read_rate_limits(given)) == limits


def test_all_problems_with_limits_are_reported_together() -> None:
    given: Any = {"PATHC": "fast", "GET /room": "1/1s", "GET": ["1/1s", "slow"], "POST": "0/1s"}
    with pytest.raises(ValueError, match="'PATHC' is not an operation or method; choose from *") as caught:
        read_rate_limits(given)
    text = str(caught.value)
    assert all(f"{word!r} is not" in text for word in ("PATHC", "fast", "GET /room", "slow"))
    assert "PATHC: 'fast' is not a rate limit" in text
    assert "POST: a rate limit must allow at least 1 request" in text
    assert "choose from *, GET, PATCH, DELETE, POST, GET /rooms/{room_id}, " in text


@pytest.mark.parametrize(
    ("limits", "problem"),
    [
        ([RateLimit(1, reset="date"), RateLimit(2)], "a list can't contain a reset of 'date'"),
        ([RateLimit(1, style="kong"), RateLimit(2, style="kong")], "must have different windows"),
    ],
)
def test_limits_that_exclude_each_other_raise(limits: list[RateLimit], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        RoomsSimulator(rate_limit=limits)
    assert read_rate_limits([limits[0]]) == (limits[0],)


@pytest.mark.parametrize(
    ("method", "path", "key"),
    [
        ("PATCH", f"/v2/rooms/{UNKNOWN_ID}", "PATCH"),
        ("GET", "/v2/rooms", "GET /rooms"),
        ("GET", f"/v2/rooms/{UNKNOWN_ID}", "GET /rooms/{room_id}"),
        ("GET", "/v2/nothing", "GET"),
        ("DELETE", f"/v2/rooms/{UNKNOWN_ID}", "*"),
        ("PUT", "/v2/nothing", "*"),
    ],
)
def test_the_most_specific_limits_apply(method: str, path: str, key: str) -> None:
    keys = ["*", "GET", "PATCH", "GET /rooms", "GET /rooms/{room_id}"]
    limits = read_rate_limits({name: RateLimit(1 + number) for number, name in enumerate(keys)})
    found = LimitSets.of(limits, lambda rule: make_limiter(rule, Clock())).find(method, find_target(path))
    assert found is not None
    assert found.rules == (RateLimit(1 + keys.index(key)),)


async def test_all_limits_must_allow_a_request_over_a_socket() -> None:
    limits = [RateLimit(2, 3600.0, style="kong"), RateLimit(9, 86_400.0, style="kong", retry_after="seconds")]
    async with RoomsSimulator(rate_limit=limits) as sim:
        assert sim.rate_limit == tuple(limits)
        replies = [await ask(sim, "GET", "/rooms") for _ in range(4)]
        assert [reply.status for reply in replies] == [200, 200, 429, 429]
        assert [reply.headers["X-RateLimit-Remaining-Hour"] for reply in replies] == ["1", "0", "0", "0"]
        assert [reply.headers["X-RateLimit-Remaining-Day"] for reply in replies] == ["8", "7", "7", "7"]
        assert "Retry-After" not in replies[3].headers, "only the other limit sends it"
        assert sim.stats.refused == 2


async def test_operations_have_limits_of_their_own_over_a_socket() -> None:
    async with RoomsSimulator(rooms=1, rate_limit={"PATCH": "1/1h", "GET /rooms": "2/1m"}) as sim:
        room = f"/rooms/{sim.room_ids[0]}"
        update = [await ask(sim, "PATCH", room, {"max_participants": 7}) for _ in range(2)]
        lists = [await ask(sim, "GET", "/rooms") for _ in range(3)]
        reads = [await ask(sim, "GET", room) for _ in range(4)]
        assert [reply.status for reply in update] == [200, 429]
        assert [reply.status for reply in lists] == [200, 200, 429]
        assert [reply.status for reply in reads] == [200] * 4
        assert {reply.headers["x-ratelimit-limit"] for reply in update} == {"1"}
        assert {reply.headers["x-ratelimit-limit"] for reply in lists} == {"2"}
        assert not any("ratelimit" in name.lower() for reply in reads for name in reply.headers)
        sim.rate_limit = {"*": "1/1h", "GET": None}
        assert sim.rate_limit == {"*": RateLimit(1, 3600.0), "GET": ()}
        assert [(await ask(sim, "GET", room)).status for _ in range(3)] == [200] * 3
        assert [(await ask(sim, "PATCH", room, {"max_participants": 8})).status for _ in range(2)] == [200, 429]
