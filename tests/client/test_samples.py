"""The sample request in the API reference is sent as documented, and the sample answer is read."""

import json
from datetime import UTC, datetime

import pytest

from aiorooms import APIResponseError, Room, RoomsClient, RoomSession, RoomUpdate

from ..raw_server import Peer, raw_server
from ..samples import ROOM_ID, SAMPLE_ANSWER, SAMPLE_REQUEST


async def test_the_samples_of_the_reference_page_are_sent_and_read() -> None:
    async def answer(peer: Peer) -> None:
        while True:
            await peer.read()
            peer.answer(SAMPLE_ANSWER)

    async with raw_server(answer) as (url, received), RoomsClient("KEY", base_url=url) as client:
        # The values in the sample answer differ from those in the sample request, so the sample
        # answer doesn't confirm the update.
        with pytest.raises(APIResponseError, match="max_participants: requested 10, got 50"):
            await client.rooms.update(ROOM_ID, RoomUpdate.from_dict(SAMPLE_REQUEST))
        room = await client.rooms.retrieve(ROOM_ID)
    request, *_ = received
    head, _, body = request.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == f"PATCH /v2/rooms/{ROOM_ID} HTTP/1.1"
    headers = dict(line.lower().split(": ", 1) for line in lines[1:])
    assert headers["authorization"] == "bearer key"
    assert headers["accept"] == "application/json"
    assert headers["content-type"] == "application/json"
    assert headers["user-agent"].startswith("aiorooms/")
    assert headers["content-length"] == str(len(body))
    assert body == (
        b'{"unique_name":"My room","max_participants":10,"enable_recording":true,'
        b'"webhook_event_url":"https://example.com","webhook_event_failover_url":"https://failover.example.com",'
        b'"webhook_timeout_secs":25}'
    )
    assert json.loads(body) == SAMPLE_REQUEST
    created = datetime(2021, 4, 16, 9, 46, 20, 954863, tzinfo=UTC)
    updated = datetime(2021, 4, 16, 10, 24, 55, 962200, tzinfo=UTC)
    assert room == Room(
        id=ROOM_ID,
        max_participants=50,
        unique_name="My Room",
        created_at=created,
        updated_at=updated,
        active_session_id="7b61621f-62e0-4aad-ab11-9fd19e272e74",
        enable_recording=True,
        webhook_event_failover_url="https://failover.example.com",
        webhook_timeout_secs=25,
        webhook_event_url="https://www.example.com",
        sessions=(
            RoomSession(
                id="7b61621f-62e0-4aad-ab11-9fd19e272e74",
                room_id=ROOM_ID,
                active=True,
                created_at=created,
                updated_at=updated,
                participants=(),
                record_type="room_session",
            ),
        ),
        record_type="room",
    )


TIMESTAMP_FORMATS = [
    "2021-04-16T09:46:20.954863Z",
    "2021-04-16 09:46:20.954863Z",
    "2021-04-16T11:46:20.954863+02:00",
    "2021-04-16T09:46:20.954863+00:00",
]


@pytest.mark.parametrize("written", TIMESTAMP_FORMATS)
@pytest.mark.parametrize("field", [name for name in json.loads(SAMPLE_ANSWER)["data"] if name != "id"])
async def test_missing_fields_are_none_unknown_fields_are_in_extra_and_timestamps_are_aware(
    field: str, written: str
) -> None:
    data = json.loads(SAMPLE_ANSWER)
    data["data"]["created_at"] = written
    data["data"].pop(field)
    data["data"]["brand_new"] = {"x": [1]}
    data["brand_new"] = 1

    async def answer(peer: Peer) -> None:
        await peer.read()
        peer.answer(json.dumps(data).encode())

    async with raw_server(answer) as (url, _), RoomsClient("KEY", base_url=url) as client:
        room = await client.rooms.retrieve(ROOM_ID)
    assert getattr(room, field) is None
    assert (room.extra, room.unreadable) == ({"brand_new": {"x": [1]}}, {})
    if field != "created_at":
        assert room.created_at == datetime(2021, 4, 16, 9, 46, 20, 954863, tzinfo=UTC)
