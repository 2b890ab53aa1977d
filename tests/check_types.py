"""Check the types that mypy and pyright infer for the public API. CI type-checks this file, and never runs it.

Each line with `type: ignore` must be a type error. Otherwise mypy reports the `type: ignore` as unused.
"""

from collections.abc import AsyncGenerator
from typing import assert_type
from uuid import UUID

from aiorooms import UNSET, Room, RoomsClient, RoomUpdate, Unset, UpdateResult
from aiorooms.models import RoomPage


async def calls(client: RoomsClient, room_id: UUID) -> None:
    assert_type(await client.rooms.retrieve(room_id), Room)
    assert_type(await client.rooms.update(room_id, max_participants=20), Room)
    assert_type(await client.rooms.update("id", RoomUpdate(max_participants=20)), Room)
    assert_type(await client.rooms.create(unique_name="x"), Room)
    assert_type(await client.rooms.delete(room_id), None)
    assert_type(client.rooms.update_many([(room_id, RoomUpdate())]), AsyncGenerator[UpdateResult])
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
