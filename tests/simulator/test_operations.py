"""The operations of the simulator on single rooms, its keys and its connections."""

import re
from datetime import datetime

import pytest

from aiorooms.simulator import RoomsSimulator

from ..samples import SAMPLE_REQUEST
from .calling import UNKNOWN_ID, RawConnection, ask, head

FIELDS = {
    "id",
    "max_participants",
    "unique_name",
    "created_at",
    "updated_at",
    "active_session_id",
    "sessions",
    "enable_recording",
    "webhook_event_url",
    "webhook_event_failover_url",
    "webhook_timeout_secs",
    "record_type",
}
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


async def test_the_sample_request_of_the_api_reference_is_applied() -> None:
    async with RoomsSimulator(rooms=3) as sim:
        room_id = sim.room_ids[1]
        before = sim.rooms[room_id]
        reply = await ask(sim, "PATCH", f"/rooms/{room_id}", SAMPLE_REQUEST)
    assert reply.status == 200
    assert reply.headers["Content-Type"].startswith("application/json")
    assert set(reply.data) == FIELDS
    assert reply.data == before | SAMPLE_REQUEST | {"updated_at": reply.data["updated_at"]}
    assert reply.data == sim.rooms[room_id]
    assert reply.data["sessions"] == []
    assert reply.data["record_type"] == "room"


async def test_an_absent_field_stays_unchanged_and_null_clears_a_field() -> None:
    async with RoomsSimulator(rooms=1) as sim:
        room = f"/rooms/{sim.room_ids[0]}"
        await ask(sim, "PATCH", room, SAMPLE_REQUEST)
        reply = await ask(sim, "PATCH", room, {"webhook_event_failover_url": None})
        assert reply.data["webhook_event_failover_url"] is None
        assert reply.data["webhook_timeout_secs"] == 25
        reply = await ask(sim, "PATCH", room, {"webhook_timeout_secs": None})
        assert reply.data["webhook_timeout_secs"] is None
        assert reply.data["webhook_event_url"] == "https://example.com"


async def test_updated_at_changes_with_every_applied_update_and_only_then() -> None:
    async with RoomsSimulator(rooms=1) as sim:
        room_id = sim.room_ids[0]
        created = sim.rooms[room_id]["created_at"]
        seen = [sim.rooms[room_id]["updated_at"]]
        for body in ({"max_participants": 5}, {"max_participants": 5}, {}):
            reply = await ask(sim, "PATCH", f"/rooms/{room_id}", body)
            assert TIMESTAMP.fullmatch(reply.data["updated_at"])
            seen.append(reply.data["updated_at"])
        assert seen == sorted(set(seen), key=str)
        await ask(sim, "PATCH", f"/rooms/{room_id}", {"max_participants": 1})
        assert sim.rooms[room_id]["updated_at"] == seen[-1]
        assert sim.rooms[room_id]["created_at"] == created


async def test_a_get_returns_the_room() -> None:
    async with RoomsSimulator(rooms=1) as sim:
        room_id = sim.room_ids[0]
        reply = await ask(sim, "GET", f"/rooms/{room_id}")
        assert reply.status == 200
        assert set(reply.data) == FIELDS - {"sessions"}
        assert reply.data["webhook_event_url"] == "https://old.example.com/rooms"
        assert reply.data["webhook_event_failover_url"] == ""
        assert reply.data["unique_name"] == "room-000001"
        upper = await ask(sim, "GET", f"/rooms/{room_id.upper()}")
        assert upper.data == reply.data
        quoted = await ask(sim, "GET", f"/rooms/{room_id.replace('-', '%2D')}")
        assert quoted.data == reply.data


async def test_sessions_are_included_on_request() -> None:
    async with RoomsSimulator(rooms=1) as sim:
        room_id = sim.room_ids[0]
        first = sim.add_session(room_id, participants=["Alice", "Bob"])
        second = sim.add_session(room_id, participants=["Carol"])
        past = sim.add_session(room_id, active=False)
        data = (await ask(sim, "GET", f"/rooms/{room_id}?include_sessions=true")).data
        assert data["active_session_id"] == second
        assert [session["id"] for session in data["sessions"]] == [first, second, past]
        assert [session["active"] for session in data["sessions"]] == [False, True, False]
        assert ["ended_at" in session for session in data["sessions"]] == [True, False, True]
        alice, bob = data["sessions"][0]["participants"]
        assert (alice["context"], bob["context"]) == ("Alice", "Bob")
        assert alice["session_id"] == first
        assert alice["left_at"] == data["sessions"][0]["ended_at"]
        assert "left_at" not in data["sessions"][1]["participants"][0]
        assert {session["record_type"] for session in data["sessions"]} == {"room_session"}
        assert alice["record_type"] == "room_participant"
        assert "sessions" not in (await ask(sim, "GET", f"/rooms/{room_id}?include_sessions=false")).data
        assert len((await ask(sim, "PATCH", f"/rooms/{room_id}", {})).data["sessions"]) == 3
        sim.end_session(room_id)
        assert (await ask(sim, "GET", f"/rooms/{room_id}")).data["active_session_id"] is None
        wrong = await ask(sim, "GET", f"/rooms/{room_id}?include_sessions=1")
        assert (wrong.status, wrong.errors) == (422, [("10001", "include_sessions")])


async def test_a_post_creates_a_room() -> None:
    async with RoomsSimulator(rooms=1) as sim:
        reply = await ask(sim, "POST", "/rooms", SAMPLE_REQUEST)
        assert reply.status == 201
        assert set(reply.data) == FIELDS
        assert reply.data == reply.data | SAMPLE_REQUEST
        assert reply.data["created_at"] == reply.data["updated_at"]
        assert sim.room_ids[1] == reply.data["id"]
        plain = (await ask(sim, "POST", "/rooms", {})).data
        assert plain["max_participants"] == 10
        assert plain["enable_recording"] is False
        assert plain["webhook_event_failover_url"] == ""
        assert plain["webhook_timeout_secs"] is None
        assert plain["unique_name"] == plain["id"]
        assert len(sim.rooms) == 3
        taken = await ask(sim, "POST", "/rooms", {"unique_name": "My room", "max_participants": 1})
        assert (taken.status, taken.errors) == (422, [("10012", "/unique_name"), ("10001", "/max_participants")])


async def test_a_room_is_deleted_once() -> None:
    async with RoomsSimulator(rooms=2) as sim:
        first, second = sim.room_ids
        reply = await ask(sim, "DELETE", f"/rooms/{first}")
        assert (reply.status, reply.body) == (204, b"")
        assert "Content-Length" not in reply.headers
        assert sim.room_ids == [second]
        again = await ask(sim, "DELETE", f"/rooms/{first}")
        assert again.status == 404
        renamed = await ask(sim, "PATCH", f"/rooms/{second}", {"unique_name": "room-000001"})
        assert renamed.status == 200


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
async def test_an_unknown_room_gets_a_404_with_a_single_error_object(method: str) -> None:
    async with RoomsSimulator(rooms=1) as sim:
        reply = await ask(sim, method, f"/rooms/{UNKNOWN_ID}", {} if method == "PATCH" else None)
    assert reply.status == 404
    assert reply.json == {
        "code": "10005",
        "title": "Resource not found",
        "detail": "The requested resource or URL could not be found.",
    }


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
@pytest.mark.parametrize("room_id", ["1", "room-000001", "%00", "7b61621f62e04aadab119fd19e272e73", UNKNOWN_ID + "0"])
async def test_an_id_that_is_not_a_uuid_gets_a_422(method: str, room_id: str) -> None:
    async with RoomsSimulator(rooms=1) as sim:
        reply = await ask(sim, method, f"/rooms/{room_id}", {} if method == "PATCH" else None)
    assert (reply.status, reply.errors) == (422, [("10006", "room_id")])


@pytest.mark.parametrize(
    "path", ["/rooms/", f"/rooms/{UNKNOWN_ID}/", f"/rooms/{UNKNOWN_ID}/sessions", "/room", "/roomsx"]
)
async def test_an_unknown_path_gets_a_404(path: str) -> None:
    async with RoomsSimulator() as sim:
        reply = await ask(sim, "GET", path)
    assert (reply.status, reply.json["code"]) == (404, "10005")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", f"/rooms/{UNKNOWN_ID}", "GET, PATCH, DELETE"),
        ("POST", f"/rooms/{UNKNOWN_ID}", "GET, PATCH, DELETE"),
        ("HEAD", f"/rooms/{UNKNOWN_ID}", "GET, PATCH, DELETE"),
        ("PATCH", "/rooms", "GET, POST"),
        ("DELETE", "/rooms", "GET, POST"),
    ],
)
async def test_a_method_that_the_path_does_not_support_gets_a_405(method: str, path: str, allowed: str) -> None:
    async with RoomsSimulator() as sim:
        reply = await ask(sim, method, path)
    assert reply.status == 405
    assert reply.headers["Allow"] == allowed
    assert (reply.body == b"") == (method == "HEAD")


@pytest.mark.parametrize("path", ["/rooms", f"/rooms/{UNKNOWN_ID}", "/nothing"])
async def test_a_wrong_or_missing_key_gets_a_401_that_does_not_count_against_the_limit(path: str) -> None:
    async with RoomsSimulator(rate_limit="5/1h") as sim:
        replies = [
            await ask(sim, "GET", path, key="KEY_other"),
            await ask(sim, "GET", path, key=None),
            await ask(sim, "GET", path, headers={"Authorization": f"Basic {sim.api_key}"}),
            await ask(sim, "GET", path, headers={"Authorization": sim.api_key}),
        ]
        assert [(reply.status, reply.errors) for reply in replies] == [(401, [("10009", None)])] * 4
        assert {reply.headers["x-ratelimit-remaining"] for reply in replies} == {"5"}
        assert sim.stats.unauthorized == 4
        small = await ask(sim, "GET", path, headers={"Authorization": f"bearer {sim.api_key}"})
        assert small.status != 401


async def test_a_key_can_be_revoked_or_forbidden_at_run_time() -> None:
    async with RoomsSimulator(rooms=1, api_key="KEY_one") as sim:
        room = f"/rooms/{sim.room_ids[0]}"
        assert (await ask(sim, "PATCH", room, {}, key="KEY_one")).status == 200
        sim.api_key = "KEY_two"
        assert (await ask(sim, "PATCH", room, {}, key="KEY_one")).status == 401
        sim.forbidden_keys.add("KEY_three")
        reply = await ask(sim, "PATCH", room, {}, key="KEY_three")
        assert reply.status == 403
        assert reply.json["code"] == "10010"
        sim.forbidden_keys.add("KEY_two")
        assert (await ask(sim, "GET", "/rooms", key="KEY_two")).status == 403


async def test_every_answer_has_a_unique_request_id() -> None:
    async with RoomsSimulator(rooms=1, seed=7) as sim:
        paths = ["/rooms", f"/rooms/{sim.room_ids[0]}", f"/rooms/{UNKNOWN_ID}", "/rooms/1", "/x"]
        ids = [(await ask(sim, "GET", path)).headers["x-request-id"] for path in paths]
        ids.append((await ask(sim, "GET", "/rooms", key=None)).headers["x-request-id"])
    assert len(set(ids)) == 6


async def test_rooms_can_be_changed_without_requests() -> None:
    async with RoomsSimulator() as sim:
        room_id = sim.add_room(id=UNKNOWN_ID.upper(), unique_name="mine", max_participants=99, updated_at="2021-01-01")
        other = sim.add_room(created_at="2021-04-16T09:46:20.954863Z")
        assert room_id == UNKNOWN_ID
        assert (await ask(sim, "GET", f"/rooms/{UNKNOWN_ID}")).data["max_participants"] == 99
        assert sim.rooms[other]["unique_name"] == other
        assert sim.rooms[other]["updated_at"] == "2021-04-16T09:46:20.954863Z"
        sim.change_room(room_id, unique_name="yours", webhook_event_url=None)
        assert sim.rooms[room_id]["unique_name"] == "yours"
        assert sim.rooms[room_id]["updated_at"] != "2021-01-01"
        assert (await ask(sim, "GET", "/rooms?filter[unique_name]=yours")).data[0]["webhook_event_url"] is None
        with pytest.raises(TypeError, match="not writable fields: colour"):
            sim.change_room(room_id, colour="red")
        with pytest.raises(ValueError, match="the room name 'yours' is already taken"):
            sim.add_room(unique_name="yours")
        with pytest.raises(ValueError, match=f"the room id {room_id} is already taken"):
            sim.add_room(id=room_id)
        sim.remove_room(room_id)
        assert list(sim.rooms) == sim.room_ids == [other]
        assert room_id not in sim.rooms
        assert repr(sim.rooms) == "<1 rooms>"
        with pytest.raises(KeyError):
            sim.remove_room(room_id)


async def test_the_same_seed_creates_the_same_rooms() -> None:
    one, two, three = RoomsSimulator(rooms=50), RoomsSimulator(rooms=50), RoomsSimulator(rooms=50, seed=1)
    assert dict(one.rooms) == dict(two.rooms)
    assert not set(one.room_ids) & set(three.room_ids)
    assert [room["unique_name"] for room in one.rooms.values()] == [f"room-{number:06d}" for number in range(1, 51)]
    uuid4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
    assert all(uuid4.fullmatch(room_id) for room_id in one.room_ids)
    for room in one.rooms.values():
        assert TIMESTAMP.fullmatch(str(room["created_at"]))
        assert datetime.fromisoformat(str(room["created_at"])).year == 2024


async def test_connections_are_kept_alive_or_closed_as_requested() -> None:
    async with RoomsSimulator(rooms=1) as sim:
        async with RawConnection(sim) as connection:
            await connection.send(head(sim, "GET", "/v2/rooms") * 2)
            first, _ = await connection.answer()
            await connection.answer()
            assert b"Connection:" not in first
            await connection.send(head(sim, "GET", "/v2/rooms", "Connection: close"))
            last, _ = await connection.answer()
            assert b"\r\nConnection: close\r\n" in last
            assert await connection.rest() == b""
        async with RawConnection(sim) as connection:
            await connection.send(head(sim, "GET", "/v2/rooms").replace(b"HTTP/1.1", b"HTTP/1.0"))
            assert b"\r\nConnection: close\r\n" in await connection.rest()
