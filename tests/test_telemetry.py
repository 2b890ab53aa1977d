"""Events and log lines: what happened is reported completely and in order, and never contains the key."""

import asyncio
import logging
from contextlib import aclosing, suppress
from typing import Any

import attrs
import pytest

from aiorooms import ClientSettingsError, Pacing, RetryPolicy, RoomsClient, RoomUpdate
from aiorooms._pacing import NO_INFO, Pacer
from aiorooms.errors import AioroomsError, ClientStateError
from aiorooms.simulator import Faults, RateLimit, RoomsSimulator
from aiorooms.telemetry import (
    AttemptEnded,
    AttemptStarted,
    CallEnded,
    Event,
    OutageBegan,
    OutageEnded,
    RateLimitPaused,
    RetryScheduled,
    RunStopped,
    SharedPacingChanged,
    UpdateEnded,
)

from .conftest import QUICK, settle, times
from .fake_clock import FakeClock


def names(events: list[Event]) -> list[str]:
    return [type(event).__name__ for event in events]


async def test_a_retried_update_is_reported_from_its_first_attempt_to_its_outcome() -> None:
    events: list[Event] = []
    async with RoomsSimulator(rooms=1) as sim:
        sim.script("503")
        async with RoomsClient(sim.api_key, base_url=sim.url, retry=QUICK, on_event=events.append) as client:
            await client.rooms.update(sim.room_ids[0], max_participants=20)
    attempt = ["AttemptStarted", "AttemptEnded"]
    assert names(events) == [*attempt, "RetryScheduled", *attempt, "CallEnded", "UpdateEnded"]
    started, ended, retry, _, last, _, update = events
    assert isinstance(started, AttemptStarted)
    assert (started.method, started.route) == ("PATCH", "/rooms/{room_id}")
    assert started.path == f"/rooms/{sim.room_ids[0]}"
    assert isinstance(ended, AttemptEnded)
    assert (ended.call, ended.attempt, ended.status, ended.error) == (started.call, 1, 503, "InternalServerError")
    assert ended.request_id
    assert isinstance(retry, RetryScheduled)
    assert retry.status == 503
    assert 0 <= retry.delay <= 0.002
    assert isinstance(last, AttemptEnded)
    assert (last.call, last.attempt, last.status, last.error) == (started.call, 2, 200, None)
    assert isinstance(update, UpdateEnded)
    assert (update.room_id, update.status, update.attempts, update.error) == (sim.room_ids[0], "updated", 2, None)


async def test_a_timeout_looks_like_one_and_a_cut_body_is_no_success() -> None:
    events: list[Event] = []
    async with RoomsSimulator(rooms=1) as sim:
        sim.script("stall_before", "truncated")
        async with RoomsClient(
            sim.api_key, base_url=sim.url, retry=QUICK, timeout=0.3, on_event=events.append
        ) as client:
            await client.rooms.retrieve(sim.room_ids[0])
    ended = [event for event in events if isinstance(event, AttemptEnded)]
    assert [event.error for event in ended[::2]] == ["APITimeoutError", None]
    assert ended[1].error in ("APIConnectionError", "APIResponseError")


async def test_a_cancelled_update_is_reported_as_cancelled() -> None:
    events: list[Event] = []
    async with RoomsSimulator(rooms=1, latency=30) as sim:
        async with RoomsClient(sim.api_key, base_url=sim.url, on_event=events.append) as client:
            call = asyncio.create_task(client.rooms.update(sim.room_ids[0], max_participants=20))
            while not events:
                await asyncio.sleep(0.01)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
    assert names(events) == ["AttemptStarted", "AttemptEnded", "CallEnded", "UpdateEnded"]
    assert isinstance(events[1], AttemptEnded)
    assert events[1].error == "CancelledError"
    assert isinstance(events[3], UpdateEnded)
    assert events[3].status == "cancelled"


async def test_a_single_update_ends_as_it_would_in_a_run() -> None:
    events: list[Event] = []
    async with RoomsSimulator(rooms=1) as sim:
        async with RoomsClient("another_key", base_url=sim.url, on_event=events.append) as client:
            with pytest.raises(AioroomsError):
                await client.rooms.update(sim.room_ids[0], max_participants=20)
            (result,) = [
                one async for one in client.rooms.update_many([(sim.room_ids[0], RoomUpdate(max_participants=3))])
            ]
    assert result.status == "skipped"
    assert [event.status for event in events if isinstance(event, UpdateEnded)] == ["skipped", "skipped"]


async def test_each_update_of_a_run_ends_with_one_event_and_the_counts_are_those_of_the_server() -> None:
    events: list[Event] = []
    async with RoomsSimulator(rooms=60, faults=Faults(rate=0.2, kinds=("503",)), seed=3) as sim:
        retry = RetryPolicy(max_attempts=10, base_delay=0.001, max_delay=0.002)
        async with RoomsClient(sim.api_key, base_url=sim.url, retry=retry, on_event=events.append) as client:
            updates = [(room_id, RoomUpdate(max_participants=20)) for room_id in sim.room_ids]
            statuses = [result.status async for result in client.rooms.update_many(updates)]
    ended = [event.status for event in events if isinstance(event, UpdateEnded)]
    assert sorted(ended) == sorted(statuses)
    attempts = [event for event in events if isinstance(event, AttemptEnded)]
    assert len(attempts) == sum(isinstance(event, AttemptStarted) for event in events) == sim.stats.requests
    retries = sum(isinstance(event, RetryScheduled) for event in events)
    assert retries == sum(event.status == 503 for event in attempts)


async def test_a_used_up_limit_is_reported_once_with_its_reason() -> None:
    events: list[Event] = []
    async with RoomsSimulator(rooms=1, rate_limit=RateLimit(2, 3.0, reset_rounding="fractional")) as sim:
        async with RoomsClient(sim.api_key, base_url=sim.url, on_event=events.append) as client:
            await asyncio.gather(*(client.rooms.retrieve(sim.room_ids[0]) for _ in range(4)))
    pauses = [event for event in events if isinstance(event, RateLimitPaused)]
    assert [event.reason for event in pauses] == ["limit"]
    assert 1 <= pauses[0].seconds <= 4.1
    assert pauses[0].waiting >= 1


async def test_a_pause_that_a_429_asks_for_is_reported() -> None:
    events: list[Event] = []
    async with RoomsSimulator(rooms=1, rate_limit=RateLimit(1, 2.0, headers=False, retry_after="seconds")) as sim:
        async with RoomsClient(sim.api_key, base_url=sim.url, on_event=events.append) as client:
            for _ in range(2):
                await client.rooms.retrieve(sim.room_ids[0])
    assert {event.reason for event in events if isinstance(event, RateLimitPaused)} == {"retry_after"}


async def test_an_outage_and_the_stop_of_a_run_are_reported(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "aiorooms")
    events: list[Event] = []
    async with RoomsSimulator(rooms=30) as sim:
        sim.script(*times("503", 24))
        retry = RetryPolicy(max_attempts=4, base_delay=0.001, max_delay=0.002)
        async with RoomsClient(sim.api_key, base_url=sim.url, retry=retry, on_event=events.append) as client:
            updates = [(room_id, RoomUpdate(max_participants=20)) for room_id in sim.room_ids]
            async with aclosing(client.rooms.update_many(updates, concurrency=10)) as results:
                async for _ in results:
                    pass
        async with RoomsClient("another_key", base_url=sim.url, on_event=events.append) as client:
            async with aclosing(client.rooms.update_many(updates[:1])) as results:
                async for _ in results:
                    pass
    kinds = [name for name in names(events) if name in ("OutageBegan", "OutageEnded", "RunStopped")]
    assert kinds == ["OutageBegan", "OutageEnded", "RunStopped"]
    began = next(event for event in events if isinstance(event, OutageBegan))
    assert "503" in began.reason
    assert next(event for event in events if isinstance(event, OutageEnded)).seconds >= 0
    assert "401" in next(event for event in events if isinstance(event, RunStopped)).reason
    bulk = [record.message for record in caplog.records if record.name == "aiorooms.bulk"]
    assert [line.split()[:3] for line in bulk] == [
        ["an", "outage", "began,"], ["the", "outage", "ended"], ["update_many", "sends", "no"]
    ]  # fmt: skip


async def test_what_on_event_raises_is_logged_and_reaches_no_call(caplog: pytest.LogCaptureFixture) -> None:
    def fail(event: Event) -> None:
        raise ZeroDivisionError("a bug of the user")

    async with RoomsSimulator(rooms=1) as sim:
        async with RoomsClient(sim.api_key, base_url=sim.url, on_event=fail) as client:
            room = await client.rooms.update(sim.room_ids[0], max_participants=20)
    assert room.max_participants == 20
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [record.message for record in errors] == [
        f"a listener raised an exception for {name}"
        for name in ("AttemptStarted", "AttemptEnded", "CallEnded", "UpdateEnded")
    ]
    assert errors[0].exc_info is not None
    assert errors[0].exc_info[0] is ZeroDivisionError


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG, "aiorooms")
    return caplog


async def test_log_records_have_the_fields_of_their_events(log: pytest.LogCaptureFixture) -> None:
    async with RoomsSimulator(rooms=1) as sim:
        sim.script("503")
        async with RoomsClient(sim.api_key, base_url=sim.url, retry=QUICK) as client:
            await client.rooms.update(sim.room_ids[0], max_participants=20)
    shown = [
        (record.name, record.levelname, vars(record)["event"]) for record in log.records if record.name[:4] == "aior"
    ]
    assert shown == [
        ("aiorooms.http", "DEBUG", "AttemptStarted"),
        ("aiorooms.http", "DEBUG", "AttemptEnded"),
        ("aiorooms.http", "INFO", "RetryScheduled"),
        ("aiorooms.http", "DEBUG", "AttemptStarted"),
        ("aiorooms.http", "DEBUG", "AttemptEnded"),
        ("aiorooms.http", "DEBUG", "CallEnded"),
        ("aiorooms.http", "DEBUG", "UpdateEnded"),
    ]
    ended = [record for record in log.records if record.__dict__.get("event") == "AttemptEnded"]
    assert [vars(record)["status"] for record in ended] == [503, 200]
    assert "attempt 2): 200 after 0." in ended[1].message


async def test_an_uncertain_outcome_is_a_warning(log: pytest.LogCaptureFixture) -> None:
    async with RoomsSimulator(rooms=1) as sim:
        sim.script("reset_after")
        sim.script("reset_before", method="GET")
        once = RetryPolicy(max_attempts=1)
        async with RoomsClient(sim.api_key, base_url=sim.url, retry=once) as client:
            with pytest.raises(AioroomsError):
                await client.rooms.update(sim.room_ids[0], max_participants=20)
    warnings = [record for record in log.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert f"room {sim.room_ids[0]}: uncertain after 1 attempts" in warnings[0].message


async def test_neither_events_nor_log_lines_contain_the_key(log: pytest.LogCaptureFixture) -> None:
    events: list[Event] = []
    async with RoomsSimulator(rooms=1, api_key="KEY_very_secret") as sim:
        async with RoomsClient(sim.api_key, base_url=sim.url, retry=QUICK, on_event=events.append) as client:
            for fault in ("503", "reset_before", "html_200"):
                sim.script(fault)
                with suppress(AioroomsError):
                    await client.rooms.update(sim.room_ids[0], max_participants=20)
        async with RoomsClient("KEY_very_secret_too", base_url=sim.url, on_event=events.append) as client:
            with pytest.raises(AioroomsError):
                await client.rooms.retrieve(sim.room_ids[0])
    texts = [repr(attrs.asdict(event)) for event in events] + [record.message for record in log.records]
    texts += [repr(vars(record)) for record in log.records]
    assert len(events) > 10
    assert not [text for text in texts if "very_secret" in text]


async def test_without_a_listener_nothing_is_written(capfd: pytest.CaptureFixture[str]) -> None:
    async with RoomsSimulator(rooms=1) as sim:
        sim.script("reset_after")
        sim.script("reset_before", method="GET")
        async with RoomsClient(sim.api_key, base_url=sim.url, retry=RetryPolicy(max_attempts=1)) as client:
            with pytest.raises(AioroomsError):
                await client.rooms.update(sim.room_ids[0], max_participants=20)
    assert capfd.readouterr().err == ""


def test_the_environment_variable_writes_log_lines_to_standard_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = logging.getLogger("aiorooms")
    monkeypatch.setattr(root, "handlers", [*root.handlers])
    monkeypatch.setattr(root, "level", root.level)
    monkeypatch.setenv("AIOROOMS_LOG", "Info")
    RoomsClient("key")
    RoomsClient("key")
    logging.getLogger("aiorooms.bulk").info("hello")
    logging.getLogger("aiorooms.bulk").debug("not shown")
    written = capsys.readouterr().err
    assert written.count("INFO aiorooms.bulk: hello") == 1
    assert "not shown" not in written


def test_an_unknown_level_in_the_environment_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIOROOMS_LOG", "loud")
    with pytest.raises(
        ClientSettingsError, match="AIOROOMS_LOG is 'loud'; set it to debug, info, warning, or remove it"
    ):
        RoomsClient("key")


def test_on_event_must_be_a_function() -> None:
    with pytest.raises(ClientSettingsError, match="on_event"):
        RoomsClient("key", on_event="print")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


# --- nothing that a listener or a handler does reaches a call ---


async def update_twice(**settings: Any) -> None:
    """Update a room twice over a single connection, so that a permit that is not released shows."""
    async with RoomsSimulator(rooms=1) as sim:
        async with RoomsClient(sim.api_key, base_url=sim.url, max_connections=1, **settings) as client:
            for number in (20, 21):
                async with asyncio.timeout(10):
                    room = await client.rooms.update(sim.room_ids[0], max_participants=number)
                assert room.max_participants == number
            assert client.pacing.snapshot().in_flight == 0


@pytest.mark.parametrize("error", [ZeroDivisionError(), asyncio.CancelledError()])
async def test_an_exception_of_on_event_leaks_no_permit(error: BaseException) -> None:
    def fail(event: Event) -> None:
        raise error

    await update_twice(on_event=fail)


@pytest.mark.parametrize("name", ["method", "request_id", "event"])
async def test_a_record_factory_with_the_same_names_changes_only_the_names(
    name: str, log: pytest.LogCaptureFixture
) -> None:
    before = logging.getLogRecordFactory()

    def make(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = before(*args, **kwargs)
        setattr(record, name, "mine")
        return record

    logging.setLogRecordFactory(make)
    try:
        await update_twice()
    finally:
        logging.setLogRecordFactory(before)
    ended = [vars(record) for record in log.records if vars(record).get("aiorooms_event", "") == "AttemptEnded"]
    assert [record["aiorooms_status"] for record in ended] == [200, 200]
    assert all(record[name] == "mine" for record in ended)


async def test_a_filter_that_raises_reaches_no_call(log: pytest.LogCaptureFixture) -> None:
    def fail(record: logging.LogRecord) -> bool:
        raise ZeroDivisionError

    logger = logging.getLogger("aiorooms.http")
    logger.addFilter(fail)
    try:
        await update_twice()
    finally:
        logger.removeFilter(fail)


async def test_a_closed_client_reports_no_attempt() -> None:
    events: list[Event] = []
    async with RoomsSimulator(rooms=1) as sim:
        client = RoomsClient(sim.api_key, base_url=sim.url, on_event=events.append)
        await client.close()
        with pytest.raises(ClientStateError):
            await client.rooms.retrieve(sim.room_ids[0])
    assert names(events) == ["CallEnded"]
    assert isinstance(events[0], CallEnded)
    assert (events[0].attempts, events[0].error) == (0, "ClientStateError")


async def test_each_update_of_a_run_that_is_left_early_is_reported() -> None:
    events: list[Event] = []
    async with RoomsSimulator(rooms=4, latency=30) as sim:
        async with RoomsClient(sim.api_key, base_url=sim.url, on_event=events.append) as client:
            updates = [(room_id, RoomUpdate(max_participants=20)) for room_id in sim.room_ids]
            run = asyncio.create_task(anext(client.rooms.update_many(updates)))
            while not events:
                await asyncio.sleep(0.01)
            run.cancel()
            await asyncio.gather(run, return_exceptions=True)
    ended = [event for event in events if isinstance(event, UpdateEnded)]
    assert sorted(event.room_id for event in ended) == sorted(sim.room_ids)
    assert {event.status for event in ended} == {"cancelled"}


async def test_every_call_of_an_outage_ends_even_probes() -> None:
    events: list[Event] = []
    async with RoomsSimulator(rooms=1) as sim:
        sim.script(*times("503", 6))
        retry = RetryPolicy(max_attempts=3, base_delay=0.001, max_delay=0.002)
        async with RoomsClient(sim.api_key, base_url=sim.url, retry=retry, on_event=events.append) as client:
            async with aclosing(client.rooms.update_many([(sim.room_ids[0], RoomUpdate(max_participants=20))])) as run:
                async for _ in run:
                    pass
    started = {event.call for event in events if isinstance(event, AttemptStarted)}
    assert len(started) > 1, "no probe was sent"
    assert started == {event.call for event in events if isinstance(event, CallEnded)}


async def test_a_long_retry_is_a_warning_at_the_level_of_warnings(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "aiorooms")
    async with RoomsSimulator(rooms=1, faults=Faults(rate=1, kinds=("503",), retry_after=12)) as sim:
        async with RoomsClient(sim.api_key, base_url=sim.url) as client:
            call = asyncio.create_task(client.rooms.retrieve(sim.room_ids[0]))
            while not caplog.records:
                await asyncio.sleep(0.01)
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
    assert "retry in 12" in caplog.records[0].message


async def test_a_wait_for_sockets_is_no_wait_for_the_rate_limit() -> None:
    events: list[RateLimitPaused | SharedPacingChanged] = []
    clock = FakeClock()
    pacer = Pacer(Pacing(), max_in_flight=10, clock=clock, call_later=clock.call_later, emit=events.append)
    first = await pacer.acquire()
    pacer.release(first, NO_INFO)
    first = await pacer.acquire()
    assert pacer.narrow()
    waiting = asyncio.create_task(pacer.acquire())
    await settle()
    assert not waiting.done()
    await clock.advance(5)
    assert waiting.done()
    assert not events
