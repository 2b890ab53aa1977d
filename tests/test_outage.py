"""Outages in a bulk run: the updates queue, and one at a time probes the server. In a short outage, none fails."""

import asyncio
import ssl
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any, Literal

import aiohttp
import pytest

from aiorooms import (
    AioroomsError,
    APIConnectionError,
    AuthenticationError,
    Pacing,
    RetryPolicy,
    RoomsClient,
    RoomUpdate,
    UpdateResult,
)
from aiorooms._http.outage import Failures, Outage
from aiorooms.simulator import FaultKind, Faults, RoomsSimulator
from benchmarks import outages

from .conftest import QUICK, tasks_left, times
from .fake_clock import run_with_fake_clock
from .samples import ROOM_ID

UPDATE = RoomUpdate(max_participants=20)


def counts(results: list[UpdateResult]) -> dict[str, int]:
    return dict(Counter(result.status for result in results))


async def collect(results: AsyncIterator[UpdateResult]) -> list[UpdateResult]:
    return [result async for result in results]


@pytest.mark.parametrize("how", ["closed", "503", "reset", "hang"])
@pytest.mark.parametrize("concurrency", [1, 20])
async def test_no_update_fails_because_of_a_short_outage(
    how: Literal["closed", "503", "reset", "hang"], concurrency: int
) -> None:
    before = 0
    # If the server hangs, attempts end only by their timeout, so the outage must last longer than the timeout.
    timeout, seconds = (1, 2) if how == "hang" else (30, 0.5)
    async with RoomsSimulator(rooms=60) as sim:
        async with RoomsClient(sim.api_key, base_url=sim.url, retry=QUICK, timeout=timeout) as client:
            updates = ((room_id, UPDATE) for room_id in sim.room_ids)
            results: list[UpdateResult] = []
            async for result in client.rooms.update_many(updates, concurrency=concurrency):
                results.append(result)
                if len(results) == 20:
                    before = sim.stats.requests
                    sim.refuse_connections(how)
                    asyncio.get_running_loop().call_later(seconds, sim.accept_connections)
            assert counts(results) == {"updated": 60}
            assert all(room["max_participants"] == 20 for room in sim.rooms.values())
            if how in ("503", "reset"):
                # 40 requests succeed. At most the following fail: one per worker when the outage begins, two per worker
                # (or four, if that is more) until an outage is assumed, and five probes.
                sent = sim.stats.requests - before - 40
                assert sent <= 3 * concurrency + 4 + 5, f"{sent} requests failed because of the outage"
            assert tasks_left() == set()


async def test_a_run_stops_when_its_patience_is_over_if_the_server_is_never_reached() -> None:
    async with RoomsClient("key", base_url="http://127.0.0.1:9/v2", retry=QUICK) as client:
        updates = [(f"7b61621f-62e0-4aad-ab11-{number:012}", UPDATE) for number in range(200)]
        began = asyncio.get_running_loop().time()
        results = await collect(client.rooms.update_many(updates, concurrency=10, outage_patience=0.5))
        assert asyncio.get_running_loop().time() - began >= 0.5
        assert len(results) == 200
        assert counts(results) == {"skipped": 200}
        for result in results:
            assert isinstance(result.error, APIConnectionError)
            assert "been unavailable for more than 0.5 s (outage_patience)" in str(result.error)


async def test_a_single_failing_room_is_not_treated_as_an_outage() -> None:
    async with RoomsSimulator(rooms=30) as sim:
        broken = sim.room_ids[3]
        sim.script(*times("500", 1000), room_id=broken, method="PATCH")
        async with RoomsClient(sim.api_key, base_url=sim.url, retry=RetryPolicy(base_delay=0.01)) as client:
            results = await collect(client.rooms.update_many(((room, UPDATE) for room in sim.room_ids), concurrency=5))
            assert counts(results) == {"updated": 29, "failed": 1}
            (failed,) = [result for result in results if result.status == "failed"]
            assert (failed.room_id, failed.attempts) == (broken, 4)
            assert sim.stats.by_method["PATCH"] == 29 + 4


async def test_a_long_retry_after_does_not_delay_the_probes_of_an_outage() -> None:
    async with RoomsSimulator(rooms=20, faults=Faults(retry_after=3600)) as sim:
        async with RoomsClient(sim.api_key, base_url=sim.url, retry=QUICK) as client:
            for room_id in sim.room_ids:
                sim.script("503", room_id=room_id)
            updates = [(room_id, UPDATE) for room_id in sim.room_ids]
            results = await collect(client.rooms.update_many(updates, concurrency=20, outage_patience=5))
            assert counts(results) == {"updated": 20}


async def test_time_spent_waiting_for_the_input_does_not_count_against_the_patience() -> None:
    async with RoomsSimulator(rooms=10) as sim:
        async with RoomsClient(sim.api_key, base_url=sim.url, retry=QUICK) as client:

            async def updates() -> AsyncIterator[tuple[str, RoomUpdate]]:
                for number, room_id in enumerate(sim.room_ids):
                    if number == 5:
                        await asyncio.sleep(1.2)
                        sim.refuse_connections("503")
                        asyncio.get_running_loop().call_later(0.1, sim.accept_connections)
                    yield room_id, UPDATE

            results = await collect(client.rooms.update_many(updates(), concurrency=1, outage_patience=1))
            assert counts(results) == {"updated": 10}


async def test_time_without_input_after_an_update_without_contact_does_not_count_against_the_patience() -> None:
    async with RoomsSimulator(rooms=2) as sim:
        broken, other = sim.room_ids
        sim.script(*times("500", 1000), room_id=broken)  # the read-back fails too
        sim.script("503", room_id=other, method="PATCH")

        async def updates() -> AsyncIterator[tuple[str, RoomUpdate]]:
            yield broken, UPDATE
            await asyncio.sleep(1.2)
            yield other, UPDATE

        async with RoomsClient(sim.api_key, base_url=sim.url, retry=QUICK) as client:
            results = await collect(client.rooms.update_many(updates(), concurrency=1, outage_patience=1))
        assert [result.status for result in results] == ["uncertain", "updated"]


async def test_a_failing_room_whose_read_back_is_rate_limited_does_not_stop_the_run() -> None:
    async with RoomsSimulator(rooms=3) as sim:
        broken = sim.room_ids[1]
        sim.script(*times("500", 4), room_id=broken, method="PATCH")
        sim.script("429", room_id=broken, method="GET")
        async with RoomsClient(sim.api_key, base_url=sim.url, retry=QUICK) as client:
            updates = [(room_id, UPDATE) for room_id in sim.room_ids]
            results = await collect(client.rooms.update_many(updates, concurrency=1))
            assert [result.status for result in results] == ["updated", "failed", "updated"]


@pytest.mark.parametrize("fault", ["500", "reset_before", "502"])
@pytest.mark.parametrize("rooms", [1, 3])
async def test_a_single_worker_does_not_treat_a_failing_room_as_an_outage(fault: FaultKind, rooms: int) -> None:
    async with RoomsSimulator(rooms=rooms) as sim:
        broken = sim.room_ids[rooms // 2]
        sim.script(*times(fault, 1000), room_id=broken, method="PATCH")
        async with RoomsClient(sim.api_key, base_url=sim.url, retry=QUICK) as client:
            updates = [(room_id, UPDATE) for room_id in sim.room_ids]
            results = await collect(client.rooms.update_many(updates, concurrency=1))
            expected = {1: ["failed"], 3: ["updated", "failed", "updated"]}
            assert [result.status for result in results] == expected[rooms]
            assert results[rooms // 2].attempts == 4


@pytest.mark.parametrize("concurrency", [1, 3])
async def test_a_room_that_is_answered_503_and_429_in_turn_is_not_tried_forever(concurrency: int) -> None:
    async with RoomsSimulator(rooms=3) as sim:
        broken = sim.room_ids[1]
        answers: list[FaultKind] = ["503", "429"] * 1000
        sim.script(*answers, room_id=broken, method="PATCH")
        # Without pacing, the 429s make no long pauses.
        async with RoomsClient(sim.api_key, base_url=sim.url, retry=QUICK, pacing=Pacing(enabled=False)) as client:
            updates = [(room_id, UPDATE) for room_id in sim.room_ids]
            results = await collect(client.rooms.update_many(updates, concurrency=concurrency))
        assert counts(results) == {"updated": 2, "failed": 1}
        assert max(result.attempts for result in results) <= 2 * (4 + 25)


@pytest.mark.parametrize("concurrency", [1, 10])
async def test_a_room_whose_read_back_fails_too_is_uncertain_and_does_not_stop_the_run(concurrency: int) -> None:
    async with RoomsSimulator(rooms=10) as sim:
        sim.script(*times("reset_after", 1000), room_id=sim.room_ids[4])
        async with RoomsClient(sim.api_key, base_url=sim.url, retry=QUICK) as client:
            updates = [(room_id, UPDATE) for room_id in sim.room_ids]
            results = await collect(client.rooms.update_many(updates, concurrency=concurrency))
        assert counts(results) == {"updated": 9, "uncertain": 1}
        assert {result.attempts for result in results if result.error is not None} == {4}


async def test_without_retries_an_update_that_nothing_confirms_has_a_second_attempt() -> None:
    async with RoomsSimulator(rooms=2) as sim:
        for room_id, failures in zip(sim.room_ids, (1, 1000), strict=True):
            sim.script(*times("reset_before", failures), room_id=room_id, method="PATCH")
        retry = RetryPolicy(max_attempts=1, base_delay=0.001)
        async with RoomsClient(sim.api_key, base_url=sim.url, retry=retry) as client:
            updates = [(room_id, UPDATE) for room_id in sim.room_ids]
            results = await collect(client.rooms.update_many(updates, concurrency=1))
        assert [(result.status, result.attempts) for result in results] == [("updated", 2), ("failed", 2)]


# --- who is blamed ---


async def test_answers_to_earlier_attempts_and_429s_do_not_end_the_patience_of_an_update() -> None:
    """The update's own 429, and the answer to another room's slow update, come before its failures."""
    async with RoomsSimulator(rooms=2) as sim:
        slow, other = sim.room_ids
        sim.script("429", *times("reset_before", 5), room_id=other, method="PATCH")
        sim.script("slow", room_id=slow, method="PATCH")
        sim.script(*times("503", 3), method="GET")  # the probes
        async with RoomsClient(sim.api_key, base_url=sim.url, retry=QUICK) as client:
            results = await collect(client.rooms.update_many([(slow, UPDATE), (other, UPDATE)], concurrency=2))
        assert counts(results) == {"updated": 2}


async def test_a_server_that_rate_limits_everything_without_announcing_a_pause_stops_the_run() -> None:
    async with RoomsSimulator(rooms=40, faults=Faults(retry_after=None)) as sim:
        sim.script(*times("429", 100_000))
        async with RoomsClient(sim.api_key, base_url=sim.url, retry=QUICK) as client:
            updates = [(room_id, UPDATE) for room_id in sim.room_ids]
            results = await collect(client.rooms.update_many(updates, concurrency=8, outage_patience=0.5))
        assert counts(results) == {"skipped": 40}
        assert all("rate limited every request for more than 0.5 s" in str(result.error) for result in results)


async def test_no_room_is_blamed_if_only_updates_fail_until_the_patience_is_over() -> None:
    """The read-backs show that the updates were not applied, but the outage is still the cause."""
    async with RoomsSimulator(rooms=20) as sim:
        sim.script(*times("503", 100_000), method="PATCH")
        async with RoomsClient(sim.api_key, base_url=sim.url, retry=QUICK) as client:
            updates = [(room_id, UPDATE) for room_id in sim.room_ids]
            results = await collect(client.rooms.update_many(updates, concurrency=8, outage_patience=0.5))
    assert counts(results) == {"skipped": 20}
    assert {result.error.reason for result in results if result.error is not None} == {"outage_patience"}
    assert any("a read-back shows that the update was not applied" in str(result.error) for result in results)


async def test_an_update_that_gets_the_error_that_stops_the_run_is_skipped() -> None:
    async with RoomsSimulator(rooms=10) as sim:
        async with RoomsClient("revoked", base_url=sim.url, retry=QUICK) as client:
            updates = [(room_id, UPDATE) for room_id in sim.room_ids]
            results = await collect(client.rooms.update_many(updates, concurrency=3, max_failures=1))
        assert counts(results) == {"skipped": 10}
        assert all(isinstance(result.error, AuthenticationError) for result in results)


@pytest.mark.parametrize("concurrency", [1, 30])
async def test_no_attempt_begins_after_max_elapsed_during_an_outage(concurrency: int) -> None:
    retry = RetryPolicy(base_delay=0.01, max_elapsed=0.6)
    async with RoomsSimulator(rooms=concurrency) as sim:
        sim.refuse_connections("503")
        asyncio.get_running_loop().call_later(2.0, sim.accept_connections)
        async with RoomsClient(sim.api_key, base_url=sim.url, retry=retry) as client:
            updates = [(room_id, UPDATE) for room_id in sim.room_ids]
            results = await collect(client.rooms.update_many(updates, concurrency=concurrency))
        assert max(result.elapsed for result in results) < 1.2
        assert {result.error.reason for result in results if result.error is not None} == {"max_elapsed"}


class _RestartingConnector(aiohttp.TCPConnector):
    """Fails the TLS handshake of some connections."""

    failing = range(0)
    connections = 0

    async def connect(self, req: aiohttp.ClientRequest, traces: Any, timeout: aiohttp.ClientTimeout) -> Any:
        self.connections += 1
        if self.connections in self.failing:
            raise aiohttp.ClientConnectorSSLError(req.connection_key, ssl.SSLError(1, "tlsv1 alert internal error"))
        return await super().connect(req, traces, timeout)


@pytest.mark.parametrize(("failing", "expected"), [(range(5, 30), {"updated": 20}), (range(1, 30), {"skipped": 20})])
async def test_a_handshake_that_fails_during_a_restart_does_not_stop_the_run(
    failing: range, expected: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The run waits before each further connection, for 2 s in the end. Here only the number of connections matters.
    monkeypatch.setattr("aiorooms._http.outage._FIRST_PAUSE", 0.001)
    monkeypatch.setattr("aiorooms._http.outage._MAX_PAUSE", 0.002)
    connector = _RestartingConnector(force_close=True)
    connector.failing = failing
    async with RoomsSimulator(rooms=20) as sim, aiohttp.ClientSession(connector=connector) as session:
        client = RoomsClient(sim.api_key, base_url=sim.url, retry=QUICK, session=session)
        updates = [(room_id, UPDATE) for room_id in sim.room_ids]
        results = await collect(client.rooms.update_many(updates, concurrency=3))
    assert counts(results) == expected


async def test_single_calls_do_not_wait_for_the_end_of_an_outage() -> None:
    async with RoomsClient("key", base_url="http://127.0.0.1:9/v2", retry=QUICK) as client:
        with pytest.raises(APIConnectionError, match="after 4 attempts"):
            await client.rooms.update(ROOM_ID, max_participants=3)


async def test_cancelling_during_an_outage_leaves_nothing_behind() -> None:
    async with RoomsSimulator(rooms=40) as sim:
        async with RoomsClient(sim.api_key, base_url=sim.url, retry=QUICK) as client:
            sim.refuse_connections("503")
            run = asyncio.create_task(
                collect(client.rooms.update_many(((room, UPDATE) for room in sim.room_ids), concurrency=20))
            )
            while sim.stats.requests < 21:
                await asyncio.sleep(0.001)
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run
            assert tasks_left() == set()
            snapshot = client.pacing.snapshot()
            assert (snapshot.in_flight, snapshot.waiting) == (0, 0)


async def test_closing_the_client_during_an_outage_ends_the_run() -> None:
    async with RoomsSimulator(rooms=40) as sim:
        client = RoomsClient(sim.api_key, base_url=sim.url, retry=QUICK)
        sim.refuse_connections("503")
        run = asyncio.create_task(
            collect(client.rooms.update_many(((room, UPDATE) for room in sim.room_ids), concurrency=20))
        )
        while sim.stats.requests < 21:
            await asyncio.sleep(0.001)
        async with asyncio.timeout(5):
            await client.close()
            results = await run
        assert len(results) == 40
        assert all(isinstance(result.error, AioroomsError) for result in results)
        assert tasks_left() == set()


async def test_without_patience_each_update_fails_after_its_own_attempts() -> None:
    async with RoomsClient("key", base_url="http://127.0.0.1:9/v2", retry=QUICK) as client:
        updates = [(f"7b61621f-62e0-4aad-ab11-{number:012}", UPDATE) for number in range(20)]
        results = await collect(client.rooms.update_many(updates, concurrency=10, outage_patience=None))
        assert [(result.status, result.attempts) for result in results] == [("skipped", 4)] * 20


@pytest.mark.parametrize("value", [0, -1, True, "60"])
async def test_outage_patience_is_checked_when_update_many_is_called(value: Any) -> None:
    async with RoomsClient("key") as client:
        with pytest.raises(ValueError, match=r"update_many\(outage_patience=\) is .*; give a number above 0"):
            client.rooms.update_many([], outage_patience=value)


# --- the queue, with a fake clock ---


def test_one_caller_at_a_time_probes_with_growing_pauses_until_a_contact() -> None:
    async def main() -> tuple[list[float], float]:
        loop = asyncio.get_running_loop()
        outage = Outage(60, 2, clock=loop.time)
        probed_at: list[float] = []
        at_once = 0

        async def one() -> None:
            nonlocal at_once
            while True:
                was_on = outage.is_on
                async with outage.queue(asyncio.Event()):
                    at_once += 1
                    if was_on and outage.is_on:
                        assert at_once == 1, "two probes at the same time"
                        probed_at.append(loop.time())
                    await asyncio.sleep(0.01)
                    at_once -= 1
                    if loop.time() > 10:
                        outage.contact(outage.begin())
                        return
                    outage.failed("a room", outage.begin())

        for _ in range(4):
            outage.failed("a room", outage.begin())
        assert outage.is_on
        await asyncio.gather(*(one() for _ in range(30)))
        return probed_at, loop.time()

    probed_at, ended = run_with_fake_clock(main())
    pauses = [later - earlier for earlier, later in pairwise(probed_at)]
    assert pauses == pytest.approx([0.51, 1.01, *[2.01] * (len(pauses) - 2)])
    assert ended < probed_at[-1] + 0.1, "the other callers did not continue at the first contact"
    assert ended < 13


def test_patience_is_measured_from_the_first_attempt_after_the_last_contact() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        outage = Outage(60, 2, clock=loop.time)
        await asyncio.sleep(1000)
        outage.failed("a room", outage.begin())
        assert outage.stopped_by is None, "the first attempt ended the patience"
        await asyncio.sleep(59)
        outage.failed("a room", outage.begin())
        assert outage.stopped_by is None
        await asyncio.sleep(0.1)
        outage.contact(outage.begin())
        await asyncio.sleep(1000)  # as if the input were slow
        outage.failed("a room", outage.begin())
        assert outage.stopped_by is None
        last = outage.begin()
        await asyncio.sleep(90)  # an attempt that takes longer than the patience
        outage.failed("a room", last)
        assert outage.stopped_by is None, "the duration of the last attempt was counted"
        outage.failed("a room", outage.begin())
        assert outage.stopped_by is not None

    run_with_fake_clock(main())


class _Account:
    """An outage state with a clock that the test turns, and the failures of one update."""

    def __init__(self, patience: float = 60.0) -> None:
        self.now = 100.0
        self.outage = Outage(patience, 50, clock=lambda: self.now)
        self.failures = Failures(self.outage)

    def at(self, seconds: float) -> float:
        """Turn the clock to 100 s plus `seconds`, and return the time."""
        self.now = 100.0 + seconds
        return self.now

    def fails(self, began: float, ended: float) -> tuple[bool, bool]:
        """Let an attempt of the update fail. Return whether the failure counts, and whether it is confirmed."""
        self.at(ended)
        return self.failures.add("room 1", 100.0 + began), self.failures.is_confirmed

    def attempt(self, began: float) -> float:
        """Begin and end an attempt at this time. Return the time."""
        self.at(began)
        began_at = self.outage.begin()
        self.outage.end()
        return began_at

    def contact(self, began: float, ended: float) -> bool:
        """Let an attempt of another update have a contact. Return whether it ended an outage."""
        self.at(ended)
        return self.outage.contact(100.0 + began)


@pytest.mark.parametrize(
    ("contact", "confirmed"),
    [
        (None, False),
        ((-0.1, 0.05), False),  # it began before the first failure
        ((0.05, 0.15), False),
        ((0.1, 0.2), False),  # it began at the same moment
        ((0.11, 0.2), True),
        ((0.11, 0.9), True),
    ],
    ids=["none", "before", "during", "same_moment", "after", "late"],
)
def test_only_a_contact_that_began_after_the_previous_failure_confirms_a_failure(
    contact: tuple[float, float] | None, confirmed: bool
) -> None:
    account = _Account()
    assert account.fails(0.0, 0.1) == (True, False), "the first failure counts, but nothing confirms it"
    if contact is not None:
        account.contact(*contact)
    assert account.fails(0.5, 1.0) == (confirmed, confirmed)


def test_an_outage_of_any_length_counts_as_one_failure() -> None:
    account = _Account()
    counted = [account.fails(second, second + 0.1)[0] for second in range(50)]
    assert counted == [True, *[False] * 49]
    assert not account.failures.is_confirmed


def test_only_an_answer_to_an_attempt_that_began_after_the_first_failure_ends_an_outage() -> None:
    account = _Account()
    for _ in range(20):
        account.fails(1.0, 1.1)
    assert account.outage.is_on
    assert not account.contact(0.9, 1.2), "an answer to an earlier request ended the outage"
    assert not account.contact(1.05, 1.2), "it began before the end of the first failure"
    assert account.outage.is_on
    assert account.contact(2.0, 2.1)
    assert not account.outage.is_on


def test_fast_failures_between_slow_answers_are_not_treated_as_an_outage() -> None:
    """One of ten servers is down: a tenth of the requests fails at once, and the answers to the others take 0.3 s."""
    account = _Account()
    for number in range(1000):
        account.contact(number * 0.1 - 0.3, number * 0.1)
        account.fails(number * 0.1, number * 0.1 + 0.01)
        assert not account.outage.is_on


def test_an_ended_patience_stays_ended() -> None:
    account = _Account()
    account.fails(0.0, 0.1)
    account.fails(61.0, 61.1)
    began = account.outage.begin()
    account.fails(62.0, 62.1)
    account.outage.contact(began + 1)
    account.at(63)
    account.outage.begin()
    account.fails(130.0, 130.1)
    assert account.outage.stopped_by is not None
    assert "unavailable for more than 60 s" in account.outage.stopped_by.text
    account.contact(131.0, 132.0)
    assert account.outage.stopped_by is not None


@pytest.mark.parametrize(
    ("every", "wait", "over_at"),
    [
        (1.0, None, 61.0),  # nothing is announced
        (1.0, 0.0, 61.0),
        (10.0, 10.0, None),  # all the time is announced
        (10.0, 5.0, 130.0),  # half of the time is announced
        (100.0, 60.0, 200.0),  # 40 s of 100 s are not announced
    ],
    ids=["unannounced", "retry_after_0", "announced", "half", "long_pauses"],
)
def test_announced_pauses_do_not_count_against_the_patience(
    every: float, wait: float | None, over_at: float | None
) -> None:
    account = _Account()
    over: list[float] = []
    for number in range(200):
        began = account.at(every * number)
        for _ in range(3):  # several updates get the same answer, and the pause counts once
            account.outage.rate_limited(began, wait)
        if account.outage.stopped_by is not None:
            over.append(every * number)
    assert (over[0] if over else None) == over_at


async def test_a_run_can_stop_while_the_timeout_of_a_waiting_caller_expires() -> None:
    outage = Outage(1, 2)

    async def wait() -> None:
        async with asyncio.timeout(0) as timeout:
            with outage.ending(timeout):
                await asyncio.sleep(10)

    async def stop() -> None:
        await asyncio.sleep(0)  # the timeout has expired, but `wait` has not continued yet
        began_at = outage.begin()
        outage.failed("a room", began_at)
        outage.failed("a room", began_at + 2)

    waited, stopped = await asyncio.gather(wait(), stop(), return_exceptions=True)
    assert isinstance(waited, TimeoutError)
    assert stopped is None
    assert outage.stopped_by is not None


def test_a_pause_counts_up_to_the_longest_wait_of_the_run() -> None:
    account = _Account(patience=60.0)  # so the longest wait is 6 s
    failed = 0
    while account.outage.stopped_by is None:
        began = account.attempt(100.0 * failed)
        account.outage.failed("room 1", began)
        failed += 1
    assert failed == 12, "11 pauses count 6 s each"


def test_time_in_which_an_attempt_hangs_counts_against_the_patience() -> None:
    account = _Account()
    hanging = account.outage.begin()
    account.outage.failed("room 1", account.attempt(1.0))
    account.at(61.0)
    account.outage.failed("room 1", account.attempt(61.0))
    account.outage.end()
    account.outage.failed("room 2", hanging)
    assert account.outage.stopped_by is not None


def test_a_short_pause_after_a_long_one_does_not_end_the_patience() -> None:
    account = _Account()
    for number in range(50):  # all 50 workers get the same answer, some of them a little later
        account.at(0.1 + number / 1000)
        account.outage.rate_limited(100.0 + number / 1000, 100.0)
    account.at(100.3)
    account.outage.rate_limited(200.2, 1.0)  # the reset was rounded down
    assert account.outage.stopped_by is None


def test_an_accepted_request_ends_the_time_in_which_everything_was_rate_limited() -> None:
    account = _Account()
    for second in range(0, 600, 30):
        began = account.at(second)
        account.outage.rate_limited(began, None)
        account.contact(second + 1, second + 2)
    assert account.outage.stopped_by is None


def test_no_update_is_lost_in_random_outages() -> None:
    """`python -m benchmarks outages` makes 200 such runs, with outages of up to 8 s."""
    campaign = outages.play(range(1, 5), longest=0.8)
    assert campaign.runs == 4
    assert campaign.outages.total() >= 4


async def test_after_an_outage_each_answer_allows_one_more_request_in_flight(monkeypatch: pytest.MonkeyPatch) -> None:
    # On a busy machine, an answer may take this long.
    monkeypatch.setattr("aiorooms._pacing.slow_start._WIDEN_AFTER", 3600)
    async with RoomsSimulator(rooms=80, latency=0.05) as sim:
        async with RoomsClient(sim.api_key, base_url=sim.url, retry=QUICK) as client:
            in_flight: list[tuple[int, int]] = []

            async def interrupt() -> None:
                """Begin an outage after 20 updates, end it when the run has noticed, and watch what is sent."""
                while sim.stats.by_status[200] < 20:
                    await asyncio.sleep(0)
                sim.refuse_connections("503")
                while sim.stats.by_status[503] < 20 or client.pacing.snapshot().in_flight:
                    await asyncio.sleep(0)
                sim.accept_connections()
                before = sim.stats.by_status[200]
                while (answers := sim.stats.by_status[200] - before) < 20:
                    in_flight.append((client.pacing.snapshot().in_flight, answers))
                    await asyncio.sleep(0)

            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(interrupt())
                results = await collect(client.rooms.update_many([(room_id, UPDATE) for room_id in sim.room_ids]))
        assert counts(results) == {"updated": 80}
        assert all(sent <= 1 + answers for sent, answers in in_flight), max(in_flight)
        assert max(in_flight)[0] > 10, "the concurrency did not grow again"


@pytest.mark.parametrize("call", ["update_many", "retrieve"])
def test_running_out_of_file_descriptors_narrows_the_concurrency_and_fails_no_room(call: str) -> None:
    with RoomsSimulator(rooms=120, latency=0.01) as sim:
        # In a process of its own, because the simulator needs file descriptors too.
        command = [sys.executable, "-c", _FEW_DESCRIPTORS, call, sim.url, sim.api_key, *sim.room_ids]
        process = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
        assert (process.returncode, process.stdout) == (0, "120 ok\n"), process.stderr
        assert sim.stats.requests == 121, "a request was sent twice"


_FEW_DESCRIPTORS = """
import asyncio, os, resource, sys
from aiorooms import RetryPolicy, RoomsClient, RoomUpdate

async def main(call, url, key, *room_ids):
    async with RoomsClient(key, base_url=url, retry=RetryPolicy(base_delay=0.1)) as client:
        await client.rooms.retrieve(room_ids[0])
        with open(os.devnull) as lowest:
            _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (lowest.fileno() + 8, hard))
        if call == "retrieve":
            print(len(await asyncio.gather(*map(client.rooms.retrieve, room_ids))), "ok")
            return
        updates = [(room_id, RoomUpdate(max_participants=20)) for room_id in room_ids]
        results = [result async for result in client.rooms.update_many(updates, concurrency=60)]
        print(sum(result.status == "updated" for result in results), "ok")

asyncio.run(main(*sys.argv[1:]))
"""


async def test_an_update_that_waits_for_a_permit_when_the_outage_begins_does_not_fail() -> None:
    retry = RetryPolicy(max_attempts=2, base_delay=0.01)
    async with (
        RoomsSimulator(rooms=60) as sim,
        # With one connection, at most one update is in flight, and the others wait for a permit.
        RoomsClient(sim.api_key, base_url=sim.url, retry=retry, max_connections=1) as client,
    ):
        updates = [(room_id, RoomUpdate(max_participants=20)) for room_id in sim.room_ids]
        statuses: list[str] = []
        async for result in client.rooms.update_many(updates, concurrency=10):
            statuses.append(result.status)
            if len(statuses) == 20:
                sim.refuse_connections("503")
                asyncio.get_running_loop().call_later(0.8, sim.accept_connections)
        assert statuses == ["updated"] * 60
