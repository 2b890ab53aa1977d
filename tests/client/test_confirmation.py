"""An update or delete succeeds only if its answer or a read-back confirms it."""

import json
from collections.abc import Awaitable, Callable

import pytest

from aiorooms import (
    APIResponseError,
    APIStatusError,
    NotFoundError,
    RetryPolicy,
    RoomsClient,
    RoomUpdate,
    UnprocessableEntityError,
)
from aiorooms.simulator import RoomsSimulator

from ..conftest import QUICK
from ..raw_server import Peer, raw_server
from ..samples import ROOM_ID

HEAD = "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"


def http(status: str, body: object = "", kind: str = "application/json") -> bytes:
    content = body if isinstance(body, str) else json.dumps(body)
    return (HEAD.format(status=status, kind=kind, length=len(content)) + content).encode()


def room(**fields: object) -> dict[str, object]:
    return {"data": {"id": ROOM_ID, **fields}}


def serving(change: bytes, *reads: bytes) -> Callable[[Peer], Awaitable[None]]:
    """Return a handler that answers each GET with the next of `reads`, and all other requests with `change`.

    The last of `reads` is repeated.
    """
    left = list(reads)

    async def serve(peer: Peer) -> None:
        while True:
            request = await peer.read()
            if request.startswith(b"GET"):
                peer.write(left.pop(0) if len(left) > 1 else left[0])
            else:
                peer.write(change)

    return serve


def methods(received: list[bytes]) -> list[str]:
    return [request.split(b" ")[0].decode() for request in received]


UNCONFIRMED = [
    # None of these answers confirms an update that sets max_participants to 3.
    http("200 OK", {"data": {}}),
    http("200 OK", {"data": {"max_participants": 3}}),
    http("200 OK", {"data": {"id": None, "max_participants": 3}}),
    http("200 OK", room()),
    http("200 OK", room(max_participants=10)),
    http("200 OK", room(max_participants="3")),
    http("201 Created", room(max_participants=None)),
    http("204 No Content"),
    http("200 OK", {"data": None}),
    http("303 See Other"),
    http("301 Moved"),
]


@pytest.mark.parametrize("answer", UNCONFIRMED)
async def test_an_update_that_the_answer_does_not_confirm_is_read_back(answer: bytes) -> None:
    async with raw_server(serving(answer, http("200 OK", room(max_participants=3)))) as (url, received):
        async with RoomsClient("KEY", base_url=url, retry=QUICK) as client:
            assert (await client.rooms.update(ROOM_ID, max_participants=3)).max_participants == 3
    assert methods(received) == ["PATCH", "GET"]


@pytest.mark.parametrize("answer", UNCONFIRMED)
async def test_if_the_read_back_shows_other_values_the_update_fails_and_the_error_names_them(answer: bytes) -> None:
    read = http("200 OK", room(max_participants=10, unique_name="a", enable_recording=True))
    async with raw_server(serving(answer, read)) as (url, received):
        async with RoomsClient("KEY", base_url=url, retry=QUICK) as client:
            with pytest.raises((APIResponseError, APIStatusError)) as caught:
                await client.rooms.update(ROOM_ID, max_participants=3, unique_name="b", enable_recording=True)
            assert not caught.value.uncertain
            assert "max_participants: requested 3, the room has 10" in str(caught.value)
            assert "unique_name: requested 'b', the room has 'a'" in str(caught.value)
            assert "enable_recording" not in str(caught.value).partition("a read-back shows")[2]
            updates = [(ROOM_ID, RoomUpdate(max_participants=3))]
            (result,) = [result async for result in client.rooms.update_many(updates)]
            assert result.status == "failed"
    assert methods(received) == ["PATCH", "GET"] * 2


async def test_if_the_read_back_does_not_contain_the_field_the_update_is_uncertain() -> None:
    async with raw_server(serving(http("200 OK", room()), http("200 OK", room()))) as (url, _):
        async with RoomsClient("KEY", base_url=url, retry=QUICK) as client:
            with pytest.raises(APIResponseError, match="the answer to the read-back has no max_participants") as caught:
                await client.rooms.update(ROOM_ID, max_participants=3)
            assert caught.value.uncertain


async def test_a_read_back_may_use_the_remaining_attempts_of_the_update() -> None:
    reads = [http("500 Broken"), b"garbage", http("200 OK", room(max_participants=3))]
    async with raw_server(serving(http("200 OK", room()), *reads)) as (url, received):
        async with RoomsClient("KEY", base_url=url, retry=QUICK) as client:
            assert (await client.rooms.update(ROOM_ID, max_participants=3)).max_participants == 3
    assert methods(received) == ["PATCH", "GET", "GET", "GET"]


async def test_an_answer_with_normalized_values_confirms_the_update() -> None:
    answer = http("200 OK", room(webhook_event_url="https://x.io:443/a", webhook_event_failover_url=""))
    async with raw_server(serving(answer, b"")) as (url, received):
        async with RoomsClient("KEY", base_url=url, retry=QUICK) as client:
            await client.rooms.update(ROOM_ID, webhook_event_url="https://X.io/a", webhook_event_failover_url=None)
    assert methods(received) == ["PATCH"]


async def test_odd_values_in_other_fields_do_not_stop_a_run() -> None:
    odd = room(max_participants=3.0, created_at="noon", sessions=["x"], unique_name=7, mood="good")
    async with raw_server(serving(http("200 OK", odd), b"")) as (url, received):
        async with RoomsClient("KEY", base_url=url, retry=QUICK) as client:
            updates = [(ROOM_ID, RoomUpdate(max_participants=3))] * 40
            results = [result async for result in client.rooms.update_many(updates)]
    assert {result.status for result in results} == {"updated"}
    assert len(received) == 40


# --- deletes ---


@pytest.mark.parametrize("answer", [http("204 No Content"), http("200 OK", room()), http("202 Accepted", {"data": {}})])
async def test_a_delete_is_confirmed_by_a_204_or_by_a_json_object_with_data(answer: bytes) -> None:
    async with raw_server(serving(answer, b"")) as (url, received):
        async with RoomsClient("KEY", base_url=url, retry=QUICK) as client:
            await client.rooms.delete(ROOM_ID)
    assert methods(received) == ["DELETE"]


@pytest.mark.parametrize(
    "answer",
    [
        http("200 OK", "Sign in", "text/html"),
        http("200 OK", {"errors": [{"code": "10009", "detail": "no such key"}]}),
        http("200 OK"),
        http("200 OK", [1]),
        http("200 OK", {"data": None}),
        http("200 OK", {"data": {"id": "5e0a0d4c-2d5e-4d3a-9f5d-6e9d0d1f2a3b"}}),
    ],
)
async def test_any_other_answer_to_a_delete_requires_a_read_back(answer: bytes) -> None:
    async with raw_server(serving(answer, http("200 OK", room()))) as (url, _):
        async with RoomsClient("KEY", base_url=url, retry=RetryPolicy(max_attempts=1)) as client:
            with pytest.raises(APIResponseError) as caught:
                await client.rooms.delete(ROOM_ID)
            assert not caught.value.uncertain, "the read-back found the room, so the outcome is certain"
    async with raw_server(serving(answer, http("404 Not Found"))) as (url, _):
        async with RoomsClient("KEY", base_url=url, retry=RetryPolicy(max_attempts=1)) as client:
            await client.rooms.delete(ROOM_ID)
            with pytest.raises(NotFoundError):
                await client.rooms.retrieve(ROOM_ID)


@pytest.mark.parametrize("confirmed", [{}, {"unique_name": "new"}])
async def test_a_create_is_confirmed_by_a_room_without_other_values(confirmed: dict[str, str]) -> None:
    async with raw_server(serving(http("201 Created", {"data": {"id": ROOM_ID, **confirmed}}))) as (url, _):
        async with RoomsClient("KEY", base_url=url) as client:
            assert (await client.rooms.create(unique_name="new", max_participants=3)).id == ROOM_ID


async def test_an_answer_about_another_room_does_not_confirm_a_create() -> None:
    async with raw_server(serving(http("200 OK", {"data": {"id": ROOM_ID, "unique_name": "old"}}))) as (url, received):
        async with RoomsClient("KEY", base_url=url) as client:
            with pytest.raises(APIResponseError, match="unique_name: requested 'new', got 'old'") as caught:
                await client.rooms.create(unique_name="new")
    assert caught.value.uncertain
    assert len(received) == 1


# --- unusual answers ---


async def test_the_errors_in_a_200_answer_are_reported() -> None:
    answer = http("200 OK", {"errors": [{"code": "10015", "detail": "try later"}]})
    async with raw_server(serving(answer, answer)) as (url, _):
        async with RoomsClient("KEY", base_url=url, retry=QUICK) as client:
            with pytest.raises(APIResponseError, match=r"the answer contains errors \(10015: try later\)"):
                await client.rooms.retrieve(ROOM_ID)


async def test_errors_in_the_format_of_fastapi_are_read() -> None:
    detail = [{"loc": ["body", "max_participants"], "msg": "Input should be at most 50", "type": "less_than_equal"}]
    async with raw_server(serving(http("422 Unprocessable", {"detail": detail}), b"")) as (url, _):
        async with RoomsClient("KEY", base_url=url, retry=QUICK) as client:
            with pytest.raises(UnprocessableEntityError) as caught:
                await client.rooms.update(ROOM_ID, max_participants=3)
    (error,) = caught.value.errors
    assert (error.pointer, error.detail) == ("/max_participants", "Input should be at most 50")
    assert str(error) == "less_than_equal: Input should be at most 50 at /max_participants"


async def test_a_byte_order_mark_is_skipped() -> None:
    body = b"\xef\xbb\xbf" + json.dumps(room(max_participants=3)).encode()
    head = HEAD.format(status="200 OK", kind="application/json", length=len(body)).encode()
    async with raw_server(serving(head + body, b"")) as (url, _):
        async with RoomsClient("KEY", base_url=url, retry=QUICK) as client:
            assert (await client.rooms.update(ROOM_ID, max_participants=3)).id == ROOM_ID


# --- null for the failover URL ---


async def test_if_null_is_rejected_the_failover_url_is_cleared_by_an_empty_string() -> None:
    async with RoomsSimulator(rooms=3) as sim, RoomsClient(sim.api_key, base_url=sim.url, retry=QUICK) as client:
        sim.rejects_null = True
        sim.record = True
        update = RoomUpdate(webhook_event_failover_url=None, max_participants=20)
        updates = [(room_id, update) for room_id in sim.room_ids]
        results = [result async for result in client.rooms.update_many(updates, concurrency=1)]
        assert [(result.status, result.attempts) for result in results] == [
            ("updated", 2),
            ("updated", 1),
            ("updated", 1),
        ]
        assert [value["webhook_event_failover_url"] for value in sim.rooms.values()] == [""] * 3
        bodies = [json.loads(request.body)["webhook_event_failover_url"] for request in sim.recorded]
        assert bodies == [None, "", "", ""]


async def test_a_rejection_of_another_field_is_raised() -> None:
    async with RoomsSimulator(rooms=2) as sim, RoomsClient(sim.api_key, base_url=sim.url, retry=QUICK) as client:
        sim.rejects_null = True
        first, _ = sim.room_ids
        with pytest.raises(UnprocessableEntityError, match="webhook_timeout_secs can't be null"):
            await client.rooms.update(first, webhook_timeout_secs=None)
        with pytest.raises(UnprocessableEntityError, match="has already been taken"):
            await client.rooms.update(first, webhook_event_failover_url=None, unique_name="room-000002")
        assert sim.stats.by_method["PATCH"] == 3


async def test_create_also_replaces_a_rejected_null_with_an_empty_string() -> None:
    async with RoomsSimulator() as sim, RoomsClient(sim.api_key, base_url=sim.url, retry=QUICK) as client:
        sim.rejects_null = True
        await client.rooms.create(unique_name="lobby", webhook_event_failover_url=None)
        assert len(sim.rooms) == 1


async def test_the_client_stops_sending_null_only_after_an_empty_string_was_accepted() -> None:
    async def serve(peer: Peer) -> None:
        while True:
            request = await peer.read()
            fields = json.loads(request.partition(b"\r\n\r\n")[2])
            if fields.get("max_participants") == 3 or fields["webhook_event_failover_url"] == "":
                errors = [{"code": "1", "detail": "webhook_event_failover_url can't be changed with max_participants"}]
                peer.write(http("422 Unprocessable", {"errors": errors}))
            else:
                peer.write(http("200 OK", room(**fields)))

    async with raw_server(serve) as (url, _), RoomsClient("KEY", base_url=url, retry=QUICK) as client:
        with pytest.raises(UnprocessableEntityError):
            await client.rooms.update(ROOM_ID, webhook_event_failover_url=None, max_participants=3)
        await client.rooms.update(ROOM_ID, webhook_event_failover_url=None)


@pytest.mark.parametrize("name", ["KEY_secret_0123", "x" * 62 + "KEY_secret_0123"])
async def test_an_error_does_not_show_the_key_if_the_server_echoes_it_as_a_value(name: str) -> None:
    answer = http("200 OK", room(unique_name=name))
    async with raw_server(serving(answer, answer)) as (url, _):
        async with RoomsClient("KEY_secret_0123", base_url=url, retry=QUICK) as client:
            with pytest.raises(APIResponseError, match="requested 'a', the room has 'x*.API key") as caught:
                await client.rooms.update(ROOM_ID, unique_name="a")
    assert "KEY_" not in str(caught.value)
    assert "KEY_" not in repr(vars(caught.value))
