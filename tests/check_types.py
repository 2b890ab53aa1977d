"""Check the types that mypy and pyright infer for the public API. CI type-checks this file, and never runs it.

Each line with `type: ignore` must be a type error. Otherwise mypy reports the `type: ignore` as unused.
"""

from typing import assert_type
from uuid import UUID

from aiorooms import (
    UNSET,
    AioroomsError,
    NotUpdated,
    Response,
    RetryPolicy,
    Room,
    RoomsClient,
    RoomUpdate,
    Unset,
    Updated,
    UpdateResult,
    UpdateRun,
)
from aiorooms.models import RoomPage


async def calls(client: RoomsClient, room_id: UUID) -> None:
    assert_type(await client.rooms.retrieve(room_id), Room)
    assert_type(await client.rooms.update(room_id, max_participants=20), Room)
    assert_type(await client.rooms.update("id", RoomUpdate(max_participants=20)), Room)
    assert_type(await client.rooms.create(unique_name="x"), Room)
    assert_type(await client.rooms.delete(room_id), None)
    assert_type(client.rooms.update_many([(room_id, RoomUpdate())]), UpdateRun)
    async for room in client.rooms.list():
        assert_type(room, Room)
        await client.rooms.update(room, max_participants=20)
    async for page in client.rooms.list().pages():
        assert_type(page, RoomPage)


async def wrong_calls(client: RoomsClient) -> None:
    await client.rooms.update("id", max_participant=20)  # type: ignore[call-overload]
    await client.rooms.update("id", max_participants="20")  # type: ignore[call-overload]
    await client.rooms.update("id", unique_name=None)  # type: ignore[call-overload]
    await client.rooms.update("id", webhook_event_url=None)  # type: ignore[call-overload]
    await client.rooms.update("id", enable_recording=None)  # type: ignore[call-overload]
    await client.rooms.update("id", {"max_participants": 20})  # type: ignore[call-overload]
    await client.rooms.update("id", RoomUpdate(), max_participants=20)  # type: ignore[call-overload]
    await client.rooms.update(7, max_participants=20)  # type: ignore[call-overload]
    RoomUpdate("name")  # type: ignore[call-arg]
    RoomUpdate(max_participants=None)  # type: ignore[arg-type]
    RoomUpdate(webhook_timeout_secs="5")  # type: ignore[arg-type]
    RoomUpdate(nmae="x")  # type: ignore[call-arg]


async def right_calls(client: RoomsClient) -> None:
    await client.rooms.update("id", webhook_event_failover_url=None, webhook_timeout_secs=None)
    RoomUpdate(unique_name=UNSET, webhook_event_failover_url=None, webhook_timeout_secs=None)


def narrowing(update: RoomUpdate) -> str:
    assert_type(update.webhook_event_failover_url, str | Unset | None)
    if update.webhook_event_failover_url is UNSET:
        return "unchanged"
    assert_type(update.webhook_event_failover_url, str | None)
    if update.webhook_event_failover_url is None:
        return "cleared"
    assert_type(update.webhook_event_failover_url, str)
    return update.webhook_event_failover_url


def outcomes(result: UpdateResult) -> str:
    match result.status:
        case "updated":
            return "done"
        case "failed" | "uncertain" | "skipped":
            return str(result.error)


async def results(client: RoomsClient, room_id: UUID) -> None:
    async for result in client.rooms.update_many([(room_id, RoomUpdate())]):
        assert_type(result, Updated | NotUpdated)
        if result.status == "updated":
            assert_type(result.room, Room)
            assert_type(result.room.id, str)
        else:
            assert_type(result.error, AioroomsError)
        if result.status != "uncertain":
            assert_type(result, Updated | NotUpdated)
        taken: UpdateResult = result
        if isinstance(taken, Updated):
            assert_type(taken.room, Room)


async def responses(client: RoomsClient, room_id: UUID) -> None:
    with_response = client.with_options(deadline=2).rooms.with_response
    assert_type(await with_response.retrieve(room_id, timeout=5), Response[Room])
    assert_type(await with_response.list_page(3, unique_name="x", deadline=1), Response[RoomPage])
    assert_type(await with_response.create(unique_name="x", retry=RetryPolicy()), Response[Room])
    assert_type(await with_response.update(room_id, max_participants=3, deadline=1), Response[Room])
    assert_type(await with_response.update(room_id, RoomUpdate(), extra_headers={"X-Request-Id": "1"}), Response[Room])
    assert_type(await with_response.delete(room_id), Response[None])


async def wrong_options(client: RoomsClient) -> None:
    await client.rooms.update("id", RoomUpdate(), time_out=1)  # type: ignore[call-overload]
    await client.rooms.retrieve("id", deadline="1")  # type: ignore[arg-type]
    client.with_options(base_url="https://example.com")  # type: ignore[call-arg]
    Room(unique_name="x")  # type: ignore[call-arg]
    Updated(room_id="id", update=None)  # type: ignore[call-arg]
    NotUpdated(room_id="id", update=None, status="updated", error=AioroomsError())  # type: ignore[arg-type]
