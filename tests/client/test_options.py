"""The options of a call, and views of a client: other settings over the same connections and with the same pacing."""

import gc
import math
import warnings
from typing import Any

import aiohttp
import pytest

from aiorooms import (
    APITimeoutError,
    ClientSettingsError,
    ClientStateError,
    InternalServerError,
    InvalidRequestError,
    Pacing,
    RetryPolicy,
    Room,
    RoomsClient,
    RoomUpdate,
    WebhookUrlPolicy,
)
from aiorooms.simulator import RoomsSimulator

from ..conftest import QUICK, times
from ..samples import ROOM_ID

ONCE = RetryPolicy(max_attempts=1)


async def _call_all(client: RoomsClient, room_id: str, **options: Any) -> list[str]:
    """Call every operation with the same options. Return the methods that succeeded."""
    rooms = client.rooms
    await rooms.retrieve(room_id, **options)
    _ = [room async for room in rooms.list(**options)]
    await rooms.list_page(1, **options)
    created = await rooms.create(unique_name="new", **options)
    await rooms.update(room_id, max_participants=20, **options)
    await rooms.update(room_id, RoomUpdate(max_participants=21), **options)
    _ = [result async for result in rooms.update_many([(room_id, RoomUpdate(max_participants=22))], **options)]
    await rooms.delete(created.id, **options)
    return ["GET", "GET", "GET", "POST", "PATCH", "PATCH", "PATCH", "DELETE"]


@pytest.mark.parametrize("own_session", [False, True])
async def test_every_operation_sends_extra_headers_and_replaces_equal_ones(own_session: bool) -> None:
    async with RoomsSimulator(rooms=1) as sim, aiohttp.ClientSession() as session:
        sim.record = True
        given = {"X-Request-Id": "from-the-client", "x-tenant": "7"}
        async with RoomsClient(
            sim.api_key, base_url=sim.url, extra_headers=given, session=session if own_session else None
        ) as client:
            headers = {"x-request-id": "r-1", "User-Agent": "mine/1"}
            methods = await _call_all(client, sim.room_ids[0], extra_headers=headers)
        assert [request.method for request in sim.recorded] == methods
        for request in sim.recorded:
            sent = {name.lower(): value for name, value in request.headers.items()}
            assert (sent["x-request-id"], sent["x-tenant"], sent["user-agent"]) == ("r-1", "7", "mine/1")
            assert [name.lower() for name in request.headers].count("x-request-id") == 1
            assert sent["authorization"] == f"Bearer {sim.api_key}"


async def test_every_operation_has_a_retry_policy_and_a_timeout_of_its_own() -> None:
    async with RoomsSimulator(rooms=1) as sim, RoomsClient(sim.api_key, base_url=sim.url, retry=QUICK) as client:
        calls: list[Any] = [
            lambda: client.rooms.retrieve(sim.room_ids[0], retry=ONCE),
            lambda: client.rooms.list_page(retry=ONCE),
            lambda: anext(client.rooms.list(retry=ONCE)),
            lambda: client.rooms.update(sim.room_ids[0], max_participants=20, retry=ONCE),
            lambda: client.with_options(retry=ONCE).rooms.delete(sim.room_ids[0]),
        ]
        for call in calls:
            sim.script("503")
            with pytest.raises(InternalServerError) as caught:
                await call()
            assert caught.value.attempts == 1
        sim.script("503")
        assert (await client.rooms.with_response.retrieve(sim.room_ids[0])).attempts == 2


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"deadline": 0}, "deadline is 0; give a number above 0"),
    ({"deadline": "2"}, "deadline is '2'; give a number above 0"),
    ({"deadline": math.nan}, "deadline is nan; give a number above 0"),
    ({"retry": 3}, "retry is 3; give a RetryPolicy"),
    ({"timeout": -1}, "timeout is -1; give a number above 0"),
    ({"extra_headers": ["X-A"]}, "extra_headers is ['X-A']; give a mapping of names to values"),
    ({"extra_headers": {"X A": "1"}}, "extra_headers has the invalid name 'X A'; give a name such as X-Request-Id"),
    ({"extra_headers": {"authorization": "x"}}, "extra_headers contains authorization, which the client sets itself"),
    ({"extra_headers": {"Content-Length": "0"}}, "extra_headers contains Content-Length"),
    ({"extra_headers": {"X-A": 1}}, "extra_headers has a value of type int for X-A; give a str"),
    ({"extra_headers": {"X-A": "a\r\nX-B: c"}}, "extra_headers has an invalid value for X-A"),
    ({"extra_headers": {"X-A": "ü"}}, "extra_headers has an invalid value for X-A"),
    ({"extra_headers": {"X-A": "1", "x-a": "2"}}, "extra_headers names a header twice"),
]


@pytest.mark.parametrize(("options", "message"), WRONG)
async def test_a_wrong_option_is_told_before_anything_is_sent(options: dict[str, Any], message: str) -> None:
    async with RoomsSimulator(rooms=1) as sim, RoomsClient(sim.api_key, base_url=sim.url) as client:
        with pytest.raises(ClientSettingsError) as caught:
            await client.rooms.update(sim.room_ids[0], max_participants=20, **options)
        assert str(caught.value).startswith(message)
        for wrong_call in (client.rooms.list, client.with_options):
            with pytest.raises(ClientSettingsError):
                wrong_call(**options)
        with pytest.raises(ClientSettingsError):
            client.rooms.update_many([], **options)
        with pytest.raises(ClientSettingsError):
            RoomsClient("key", **options)
        assert sim.stats.requests == 0


async def test_a_misspelt_option_gets_a_suggestion() -> None:
    async with RoomsClient("key") as client:
        rooms: Any = client.rooms
        with pytest.raises(TypeError, match=r"rooms.retrieve\(\) got an unexpected argument 'dead_line'; did you mean"):
            await rooms.retrieve(ROOM_ID, dead_line=1)
        with pytest.raises(TypeError, match=r"rooms.delete\(\) got .* 'zzz'; the names are timeout, retry"):
            await rooms.delete(ROOM_ID, zzz=1)
        with pytest.raises(TypeError, match=r"rooms.update_many\(\) got .* did you mean 'extra_headers'\?"):
            rooms.update_many([], extra_header={})
        anything: Any = client
        with pytest.raises(TypeError, match=r"with_options\(\) got .* did you mean 'timeout'\?"):
            anything.with_options(time_out=1)


# --- the deadline ---


async def test_a_deadline_cuts_a_running_attempt_and_the_update_is_uncertain() -> None:
    async with RoomsSimulator(rooms=1) as sim, RoomsClient(sim.api_key, base_url=sim.url, retry=QUICK) as client:
        sim.script(*times("stall_before", 3))
        with pytest.raises(APITimeoutError) as caught:
            await client.rooms.update(sim.room_ids[0], max_participants=20, deadline=0.2)
        error = caught.value
        assert (error.attempts, error.uncertain, error.reason) == (1, True, "deadline")
        assert str(error) == (
            f"room {sim.room_ids[0]}: no answer within the timeout; deadline=0.2 expired; "
            "the outcome is uncertain: check the room before sending the request again"
        )
        assert sim.stats.requests == 1, "there is no time for a read-back"


async def test_a_read_that_is_cut_is_not_uncertain() -> None:
    async with RoomsSimulator(rooms=1) as sim, RoomsClient(sim.api_key, base_url=sim.url, retry=QUICK) as client:
        sim.script("stall_before")
        with pytest.raises(APITimeoutError) as caught:
            await client.rooms.retrieve(sim.room_ids[0], deadline=0.2)
        assert not caught.value.uncertain


async def test_a_create_that_is_cut_is_uncertain_and_names_the_deadline() -> None:
    async with RoomsSimulator() as sim, RoomsClient(sim.api_key, base_url=sim.url) as client:
        sim.script("stall_before")
        with pytest.raises(APITimeoutError, match="deadline=0.2 expired; the outcome is uncertain"):
            await client.rooms.create(unique_name="new", deadline=0.2)


async def test_no_retry_begins_if_its_wait_would_exceed_the_deadline() -> None:
    slow = RetryPolicy(base_delay=1000, max_delay=1000)
    async with RoomsSimulator(rooms=1) as sim, RoomsClient(sim.api_key, base_url=sim.url, retry=slow) as client:
        sim.record = True
        sim.script("503")
        with pytest.raises(InternalServerError, match=r"deadline=0\.\d+ allows no further attempt") as caught:
            await client.rooms.update(sim.room_ids[0], max_participants=20, deadline=0.25)
        assert caught.value.reason == "deadline"
        assert not caught.value.uncertain, "the rest of the time is enough for a read-back"
        assert [request.method for request in sim.recorded] == ["PATCH", "GET"]


async def test_a_read_back_is_cut_by_the_deadline_of_its_call() -> None:
    async with RoomsSimulator(rooms=1) as sim, RoomsClient(sim.api_key, base_url=sim.url, retry=QUICK) as client:
        sim.script("500_after", method="PATCH")
        sim.script(*times("stall_before", 5), method="GET")
        with pytest.raises(InternalServerError) as caught:
            await client.rooms.update(sim.room_ids[0], max_participants=20, retry=ONCE, deadline=0.3)
        assert caught.value.uncertain


async def test_a_wait_for_the_rate_limit_ends_at_the_deadline() -> None:
    async with RoomsSimulator(rooms=1) as sim:
        async with RoomsClient(sim.api_key, base_url=sim.url, pacing=Pacing(max_rate=0.01)) as client:
            await client.rooms.retrieve(sim.room_ids[0])
            with pytest.raises(APITimeoutError, match=r"deadline=0.05 expired while the call was queued") as caught:
                await client.rooms.update(sim.room_ids[0], max_participants=20, deadline=0.05)
            assert caught.value.reason == "deadline"
            assert not caught.value.was_sent
            assert client.pacing.snapshot().waiting == 0


async def test_a_deadline_in_update_many_is_for_each_update_and_an_infinite_one_is_none() -> None:
    async with RoomsSimulator(rooms=30, latency=0.02) as sim:
        async with RoomsClient(sim.api_key, base_url=sim.url, deadline=30) as client:
            updates = [(room_id, RoomUpdate(max_participants=20)) for room_id in sim.room_ids]
            sim.script("stall_before", room_id=sim.room_ids[0])
            run = client.rooms.update_many(updates, concurrency=2, deadline=0.5)
            results = {result.room_id: result async for result in run}
            assert [results[room_id].status for room_id in sim.room_ids] == ["uncertain", *["updated"] * 29]
            client.with_options(deadline=math.inf)


# --- views ---


async def test_a_view_has_other_settings_over_the_same_connections_and_pacing() -> None:
    async with RoomsSimulator(rooms=1) as sim, RoomsClient(sim.api_key, base_url=sim.url, retry=QUICK) as client:
        view = client.with_options(retry=ONCE, extra_headers={"X-Request-Id": "7"}, timeout=5)
        second = view.with_options(deadline=5)
        await client.rooms.retrieve(sim.room_ids[0])
        sim.record = True
        assert isinstance(await second.rooms.retrieve(sim.room_ids[0]), Room)
        assert sim.recorded[0].headers["X-Request-Id"] == "7"
        assert sim.stats.connections == 1
        assert second.pacing is client.pacing
        sim.script("503", "503")
        with pytest.raises(InternalServerError):
            await second.rooms.retrieve(sim.room_ids[0])
        await client.rooms.retrieve(sim.room_ids[0])
        await view.close()
        await client.rooms.retrieve(sim.room_ids[0])
    with pytest.raises(ClientStateError, match="the client is closed"):
        await view.rooms.retrieve(sim.room_ids[0])


async def test_a_view_can_have_another_policy_for_webhook_urls() -> None:
    strict = WebhookUrlPolicy(allowed_hosts=["hooks.example.com"])
    async with RoomsSimulator(rooms=1) as sim, RoomsClient(sim.api_key, base_url=sim.url) as client:
        view = client.with_options(webhook_url_policy=strict)
        assert view.webhook_url_policy is strict
        with pytest.raises(InvalidRequestError):
            await view.rooms.update(sim.room_ids[0], webhook_event_url="https://other.example.com/")
        await client.rooms.update(sim.room_ids[0], webhook_event_url="https://other.example.com/")


async def test_what_is_learned_about_null_is_shared_with_views() -> None:
    async with RoomsSimulator(rooms=2) as sim, RoomsClient(sim.api_key, base_url=sim.url) as client:
        sim.rejects_null = True
        await client.with_options(deadline=9).rooms.update(sim.room_ids[0], webhook_event_failover_url=None)
        before = sim.stats.requests
        await client.rooms.update(sim.room_ids[1], webhook_event_failover_url=None)
        assert sim.stats.requests - before == 1


async def test_an_unclosed_client_is_told_only_once_when_its_views_are_gone_too() -> None:
    async with RoomsSimulator(rooms=1) as sim:
        view: RoomsClient | None = RoomsClient(sim.api_key, base_url=sim.url).with_options(deadline=9)
        assert view is not None
        await view.rooms.retrieve(sim.room_ids[0])
        gc.collect()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            sender = view._sender
            view = None
            gc.collect()
        assert [str(warning.message)[:8] for warning in caught] == ["unclosed"]
        await sender.close()
