"""The rate limit of a running simulator: 429s, reported headers, and changes at run time."""

import threading
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from aiorooms.simulator import RateLimit, RoomsSimulator, _access
from aiorooms.simulator._limiters import Limiter, make_limiter

from .calling import Reply, ask

KINDS = ("fixed", "sliding", "bucket")


async def test_requests_over_the_limit_get_a_429_and_change_nothing() -> None:
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


async def test_the_limit_can_be_changed_at_any_time() -> None:
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


@pytest.mark.parametrize("kind", KINDS)
async def test_a_new_limit_resets_the_count(kind: Any) -> None:
    rule = RateLimit(1, 3600.0, kind=kind)
    async with RoomsSimulator(rate_limit=rule) as sim:
        for _ in range(2):
            assert [(await ask(sim, "GET", "/rooms")).status for _ in range(3)] == [200, 429, 429]
            sim.rate_limit = rule


def test_a_new_limit_is_set_in_the_thread_of_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[str] = []

    def make(rule: RateLimit, clock: Callable[[], int]) -> Limiter:
        threads.append(threading.current_thread().name)
        return make_limiter(rule, clock)

    monkeypatch.setattr(_access, "make_limiter", make)
    here = threading.current_thread().name
    sim = RoomsSimulator(rate_limit="1/1h")
    sim.rate_limit = "2/1h"
    with sim:
        sim.rate_limit = "3/1h"
        assert sim.rate_limit == RateLimit(3, 3600.0)
        with pytest.raises(ValueError, match="not a rate limit"):
            sim.rate_limit = "fast"
        assert sim.rate_limit == RateLimit(3, 3600.0)
    sim.rate_limit = "4/1h"
    assert threads == [here, here, "rooms-simulator", here]


@pytest.mark.parametrize(
    ("kind", "resets", "retry"),
    [
        ("fixed", [3600, 3600, 3600], 3600),
        ("sliding", [3600, 3600, 3600], 3600),
        ("bucket", [1800, 3600, 3600], 1800),
    ],
)
@pytest.mark.parametrize("retry_after", ["none", "seconds", "date", "ms"])
@pytest.mark.parametrize("headers", [True, False])
async def test_answers_report_the_limit_as_configured(
    kind: Any, resets: list[int], retry: int, retry_after: Any, headers: bool
) -> None:
    rule = RateLimit(2, 3600.0, "fractional", headers, retry_after, kind=kind)
    began = time.time()
    async with RoomsSimulator(rate_limit=rule) as sim:
        # A 401 does not count against the limit.
        assert (await ask(sim, "GET", "/rooms", key="KEY_wrong")).status == 401
        replies = [await ask(sim, "GET", "/rooms") for _ in range(3)]
    assert [reply.status for reply in replies] == [200, 200, 429]
    assert [requested_waits(reply, began) for reply in replies[:2]] == [{}, {}]
    wait = requested_waits(replies[2], began)
    assert wait.keys() == ({retry_after} - {"none"})
    assert all(retry - 30 <= seconds <= retry + 30 for seconds in wait.values())
    if not headers:
        assert not any("ratelimit" in name.lower() for reply in replies for name in reply.headers)
        return
    assert [reply.headers["x-ratelimit-limit"] for reply in replies] == ["2", "2", "2"]
    assert [reply.headers["x-ratelimit-remaining"] for reply in replies] == ["1", "0", "0"]
    for reply, reset in zip(replies, resets, strict=True):
        assert reset - 30 <= float(reply.headers["x-ratelimit-reset"]) <= reset


def requested_waits(reply: Reply, began: float) -> dict[str, float]:
    """Return the seconds that an answer asks the client to wait, by format."""
    waits: dict[str, float] = {}
    if "retry-after-ms" in reply.headers:
        waits["ms"] = int(reply.headers["retry-after-ms"]) / 1000
    if "Retry-After" in reply.headers:
        text = reply.headers["Retry-After"]
        if text.isdecimal():
            waits["seconds"] = int(text)
        else:
            waits["date"] = parsedate_to_datetime(text).timestamp() - began
    return waits


@pytest.mark.parametrize("kind", KINDS)
async def test_requests_are_allowed_again_after_the_window_in_real_time(kind: Any) -> None:
    async with RoomsSimulator(rooms=1, rate_limit=RateLimit(1, 0.005, kind=kind)) as sim:
        statuses: list[int] = []
        while statuses.count(200) < 3:
            statuses.append((await ask(sim, "GET", "/rooms")).status)
    assert set(statuses) <= {200, 429}
