"""The five operations, and the checks of their arguments before anything is sent."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

import attrs
import pytest

from aiorooms import (
    APIStatusError,
    InvalidRequestError,
    NotFoundError,
    RoomCreate,
    RoomsClient,
    RoomUpdate,
    UnprocessableEntityError,
    WebhookUrlPolicy,
)
from aiorooms.simulator import RoomsSimulator


async def test_a_room_is_created_retrieved_updated_and_deleted() -> None:
    async with RoomsSimulator() as sim, RoomsClient(sim.api_key, base_url=sim.url) as client:
        room = await client.rooms.create(unique_name="first", webhook_event_url="https://a.example.com")
        assert room.id is not None
        assert (room.unique_name, room.max_participants, room.enable_recording) == ("first", 10, False)
        assert attrs.evolve(await client.rooms.retrieve(room.id), sessions=room.sessions) == room
        changed = await client.rooms.update(
            room, max_participants=20, webhook_event_failover_url="https://b.example.com", webhook_timeout_secs=5
        )
        assert (changed.max_participants, changed.webhook_timeout_secs) == (20, 5)
        assert changed.updated_at is not None
        assert room.updated_at is not None
        assert changed.updated_at > room.updated_at
        cleared = await client.rooms.update(
            UUID(room.id), RoomUpdate(webhook_event_failover_url=None, webhook_timeout_secs=None)
        )
        assert not cleared.webhook_event_failover_url
        assert cleared.webhook_timeout_secs is None
        assert cleared.webhook_event_url == "https://a.example.com"
        await client.rooms.delete(room.id.upper())
        with pytest.raises(NotFoundError, match=f"404 room {room.id} not found \\(10005: "):
            await client.rooms.retrieve(room.id)
        with pytest.raises(NotFoundError):
            await client.rooms.delete(room)
        with pytest.raises(NotFoundError):
            await client.rooms.update(room, max_participants=3)
        second = await client.rooms.create(RoomCreate(unique_name="second"))
        assert sim.room_ids == [second.id]


async def test_a_duplicate_name_is_rejected_by_the_server_with_a_pointer() -> None:
    async with RoomsSimulator(rooms=2) as sim, RoomsClient(sim.api_key, base_url=sim.url) as client:
        taken = str(sim.rooms[sim.room_ids[1]]["unique_name"])
        with pytest.raises(APIStatusError, match=f"422 room {sim.room_ids[0]}: request rejected") as caught:
            await client.rooms.update(sim.room_ids[0], unique_name=taken)
        assert isinstance(caught.value, UnprocessableEntityError)
        assert caught.value.errors[0].pointer == "/unique_name"
        assert caught.value.request_id
        with pytest.raises(UnprocessableEntityError, match=f"422 new room '{taken}': request rejected"):
            await client.rooms.create(unique_name=taken)
        assert sim.stats.requests == 2


async def test_include_sessions_is_sent_as_given() -> None:
    async with RoomsSimulator(rooms=1) as sim, RoomsClient(sim.api_key, base_url=sim.url) as client:
        (room_id,) = sim.room_ids
        sim.record = True
        await client.rooms.retrieve(room_id, include_sessions=True)
        await client.rooms.retrieve(room_id, include_sessions=False)
        await client.rooms.retrieve(room_id)
        assert [request.path for request in sim.recorded] == [
            f"/v2/rooms/{room_id}?include_sessions=true",
            f"/v2/rooms/{room_id}?include_sessions=false",
            f"/v2/rooms/{room_id}",
        ]


async def test_invalid_calls_send_nothing_and_report_all_problems_together() -> None:
    async with RoomsSimulator(rooms=1) as sim, RoomsClient(sim.api_key, base_url=sim.url) as client:
        (room_id,) = sim.room_ids
        rooms: Any = client.rooms
        update = RoomUpdate(max_participants=20)
        calls: list[tuple[Callable[[], Any], list[str]]] = [
            (lambda: rooms.update("x", max_participants=1, webhook_timeout_secs=99),
             ["/room_id", "/max_participants", "/webhook_timeout_secs"]),
            (lambda: rooms.update("x"), ["/room_id", ""]),
            (lambda: rooms.update("x", RoomUpdate()), ["/room_id", ""]),
            (lambda: rooms.update(room_id, update, max_participants=3), [""]),
            (lambda: rooms.update(room_id, {"max_participants": 3}), [""]),
            (lambda: rooms.update(room_id, RoomCreate(max_participants=3)), [""]),
            (lambda: rooms.create(update), [""]),
            (lambda: rooms.create(RoomCreate(), max_participants=3), [""]),
            (lambda: rooms.create(max_participants=1, unique_name=""), ["/unique_name", "/max_participants"]),
            (lambda: rooms.retrieve("x", include_sessions=1), ["/room_id", "/include_sessions"]),
            (lambda: rooms.delete(None), ["/room_id"]),
        ]  # fmt: skip
        for call, pointers in calls:
            with pytest.raises(InvalidRequestError) as caught:
                await call()
            assert [problem.pointer for problem in caught.value.problems] == pointers, str(caught.value)
        with pytest.raises(InvalidRequestError) as caught:
            rooms.list(page_size=0, unique_name="", date_created_at_gte=datetime.now(UTC), include_sessions="yes")
        assert [problem.pointer for problem in caught.value.problems] == [
            "/unique_name", "/include_sessions", "/page_size", "/date_created_at_gte",
        ]  # fmt: skip
        with pytest.raises(TypeError):
            await rooms.update(room_id, max_participant=3)
        assert sim.stats.requests == 0


async def test_the_webhook_url_policy_of_the_client_applies_to_every_update_and_create() -> None:
    policy = WebhookUrlPolicy(schemes=("https",), allow_credentials=True)
    async with (
        RoomsSimulator(rooms=1) as sim,
        RoomsClient(sim.api_key, base_url=sim.url, webhook_url_policy=policy) as client,
    ):
        (room_id,) = sim.room_ids
        plain = "http://example.com/"
        with pytest.raises(InvalidRequestError, match="http"):
            await client.rooms.update(room_id, webhook_event_url=plain)
        with pytest.raises(InvalidRequestError, match="http"):
            await client.rooms.update(room_id, RoomUpdate(webhook_event_url=plain))
        with pytest.raises(InvalidRequestError, match="http"):
            await client.rooms.create(RoomCreate(webhook_event_failover_url=plain))
        results = [r async for r in client.rooms.update_many([(room_id, RoomUpdate(webhook_event_url=plain))])]
        assert [result.status for result in results] == ["failed"]
        assert sim.stats.requests == 0
        url = "https://user:word@example.com/"
        room = await client.rooms.update(room_id, webhook_event_url=url)
        assert room.webhook_event_url == url
        await client.rooms.update(room_id, RoomUpdate(webhook_event_url=url, webhook_url_policy=policy))


async def test_date_filters_are_sent_as_iso_dates() -> None:
    async with RoomsSimulator(rooms=1) as sim, RoomsClient(sim.api_key, base_url=sim.url) as client:
        sim.record = True
        day = date(2021, 4, 25)
        assert [room async for room in client.rooms.list(date_created_at_eq=day, date_updated_at_lte=day)] == []
        (request,) = sim.recorded
        assert "filter%5Bdate_created_at%5D%5Beq%5D=2021-04-25&" in request.path
        assert "filter%5Bdate_updated_at%5D%5Blte%5D=2021-04-25&" in request.path
