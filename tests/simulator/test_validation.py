"""Validation of requests by the simulator: fields, bodies and content types."""

import json
from typing import Any

import pytest

from aiorooms.simulator import RoomsSimulator

from .calling import RawConnection, ask, head

LONG = "https://example.com/" + "x" * 1980

GOOD: list[tuple[str, Any]] = [
    ("unique_name", "x"),
    ("unique_name", "room-000001"),
    ("unique_name", " 🎥 "),
    ("unique_name", "\ud800"),
    ("max_participants", 2),
    ("max_participants", 50),
    ("enable_recording", True),
    ("enable_recording", False),
    ("webhook_event_url", "https://example.com"),
    ("webhook_event_url", "HTTP://user:secret@example.com:65535/a?b#c"),
    ("webhook_event_url", "http://localhost:8080/hook"),
    ("webhook_event_url", "http://[::1]:80/hook"),
    ("webhook_event_url", "https://example.com?x=1"),
    ("webhook_event_url", "https://bücher.example/ä"),
    ("webhook_event_url", LONG),
    ("webhook_event_failover_url", "https://example.com"),
    ("webhook_event_failover_url", None),
    ("webhook_timeout_secs", 0),
    ("webhook_timeout_secs", 30),
    ("webhook_timeout_secs", None),
    ("record_type", 17),
    ("id", "unknown keys and read-only ones are ignored"),
    ("colour", "red"),
]
BAD: list[tuple[str, Any, str]] = [
    ("unique_name", "", "10001"),
    ("unique_name", "  \t", "10001"),
    ("unique_name", None, "10001"),
    ("unique_name", 17, "10001"),
    ("unique_name", "room-000002", "10012"),
    ("max_participants", 1, "10001"),
    ("max_participants", 51, "10001"),
    ("max_participants", -10, "10001"),
    ("max_participants", 10.0, "10001"),
    ("max_participants", "10", "10001"),
    ("max_participants", True, "10001"),
    ("max_participants", None, "10001"),
    ("max_participants", [10], "10001"),
    ("enable_recording", 1, "10001"),
    ("enable_recording", 0, "10001"),
    ("enable_recording", "true", "10001"),
    ("enable_recording", None, "10001"),
    ("webhook_timeout_secs", -1, "10001"),
    ("webhook_timeout_secs", 31, "10001"),
    ("webhook_timeout_secs", False, "10001"),
    ("webhook_timeout_secs", 2.5, "10001"),
    ("webhook_event_url", None, "10001"),
    ("webhook_event_url", 17, "10003"),
    ("webhook_event_url", {"url": "https://example.com"}, "10003"),
    *(
        ("webhook_event_url", url, "10003")
        for url in (
            "",
            "example.com",
            "example.com/hook",
            "example.com:8080/hook",
            "//example.com/hook",
            "https:example.com",
            "https:/example.com",
            "https://",
            "https:///hook",
            "https://:8080/hook",
            "https://.",
            "https://?x=1",
            "https://user@/hook",
            "ftp://example.com/hook",
            "javascript:alert(1)",
            " https://example.com",
            "https://example.com ",
            "https://exa mple.com",
            "ht\ntps://example.com",
            "https://example.com/\x00",
            "https://example.com/a b",
            "https://example.com:65536",
            "https://example.com:99999999",
            "https://example.com:http",
            "https://[::1",
            "https://ex\\ample.com",
            LONG + "x",
        )
    ),
    ("webhook_event_failover_url", "", "10003"),
    ("webhook_event_failover_url", "failover.example.com", "10003"),
]


@pytest.mark.parametrize("operation", ["update", "create"])
async def test_valid_values_are_applied(operation: str) -> None:
    async with RoomsSimulator(rooms=2) as sim:
        for name, value in GOOD:
            if operation == "update":
                reply = await ask(sim, "PATCH", f"/rooms/{sim.room_ids[0]}", {name: value})
                assert reply.status == 200, (name, value, reply.body)
            else:
                if value == "room-000001":
                    continue
                reply = await ask(sim, "POST", "/rooms", {name: value})
                assert reply.status == 201, (name, value, reply.body)
            if name in reply.data and name not in ("id", "record_type"):
                assert reply.data[name] == value
            else:
                assert name in ("colour", "id", "record_type")
                assert reply.data.get(name) != value


@pytest.mark.parametrize("operation", ["update", "create"])
async def test_invalid_values_change_nothing(operation: str) -> None:
    async with RoomsSimulator(rooms=2) as sim:
        before = dict(sim.rooms)
        method, path = ("PATCH", f"/rooms/{sim.room_ids[0]}") if operation == "update" else ("POST", "/rooms")
        for name, value, code in BAD:
            reply = await ask(sim, method, path, {"enable_recording": True, name: value})
            assert (reply.status, reply.errors) == (422, [(code, f"/{name}")]), (name, value)
        assert dict(sim.rooms) == before
        assert not sim.stats.updates_applied


async def test_all_problems_are_reported_together() -> None:
    async with RoomsSimulator(rooms=2) as sim:
        body = {
            "webhook_timeout_secs": 31,
            "webhook_event_failover_url": "x",
            "webhook_event_url": None,
            "enable_recording": 1,
            "max_participants": True,
            "unique_name": "room-000002",
        }
        reply = await ask(sim, "PATCH", f"/rooms/{sim.room_ids[0]}", body)
    assert reply.status == 422
    assert reply.errors == [
        ("10012", "/unique_name"),
        ("10001", "/max_participants"),
        ("10001", "/enable_recording"),
        ("10001", "/webhook_event_url"),
        ("10003", "/webhook_event_failover_url"),
        ("10001", "/webhook_timeout_secs"),
    ]


async def test_a_name_can_be_used_again_after_its_room_was_renamed() -> None:
    async with RoomsSimulator(rooms=2) as sim:
        one, two = sim.room_ids
        assert (await ask(sim, "PATCH", f"/rooms/{one}", {"unique_name": "Room-000002"})).status == 200
        assert (await ask(sim, "PATCH", f"/rooms/{two}", {"unique_name": "room-000001"})).status == 200
        assert (await ask(sim, "PATCH", f"/rooms/{one}", {"unique_name": "room-000001"})).status == 422


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" ",
        b"{",
        b"nothing",
        b'{"max_participants": NaN}',
        b'{"max_participants": -Infinity}',
        b'{"unique_name": "\xff"}',
        '{"unique_name": "x"}'.encode("utf-16"),
        b'\xef\xbb\xbf{"unique_name": "x"}',
        b"[" * 100_000,
        b'{"max_participants": ' + b"1" * 5000 + b"}",
        b"[]",
        b"null",
        b"17",
        b'"{}"',
    ],
)
@pytest.mark.parametrize("method", ["PATCH", "POST"])
async def test_a_body_that_is_not_a_json_object_gets_a_400(method: str, data: bytes) -> None:
    async with RoomsSimulator(rooms=1) as sim:
        path = f"/rooms/{sim.room_ids[0]}" if method == "PATCH" else "/rooms"
        reply = await ask(sim, method, path, data=data)
        assert (reply.status, reply.errors) == (400, [("10015", None)])
        assert len(sim.rooms) == 1


@pytest.mark.parametrize(
    ("content_type", "accepted"),
    [
        ("application/json", True),
        ("Application/JSON; charset=utf-8", True),
        ('application/json;charset="UTF-8";x=y', True),
        ("application/json; charset=latin-1", False),
        ("application/vnd.api+json", False),
        ("text/plain", False),
        ("application/x-www-form-urlencoded", False),
        ("", False),
    ],
)
async def test_only_json_in_utf_8_is_accepted_as_content_type(content_type: str, accepted: bool) -> None:
    async with RoomsSimulator(rooms=1) as sim:
        path = f"/rooms/{sim.room_ids[0]}"
        reply = await ask(sim, "PATCH", path, data=b"{}", headers={"Content-Type": content_type})
        if accepted:
            assert reply.status == 200
        else:
            assert (reply.status, reply.errors) == (415, [("10014", None)])


async def test_a_patch_without_content_type_and_body_gets_a_415() -> None:
    async with RoomsSimulator(rooms=1) as sim, RawConnection(sim) as connection:
        await connection.send(head(sim, "PATCH", f"/v2/rooms/{sim.room_ids[0]}"))
        start, body = await connection.answer()
        assert start.startswith(b"HTTP/1.1 415 Unsupported Media Type\r\n")
        assert json.loads(body)["errors"][0]["code"] == "10014"


async def test_a_chunked_body_is_read() -> None:
    async with RoomsSimulator(rooms=1) as sim, RawConnection(sim) as connection:
        start = head(
            sim,
            "PATCH",
            f"/v2/rooms/{sim.room_ids[0]}",
            "Content-Type: application/json",
            "Transfer-Encoding: chunked",
        )
        await connection.send(start + b'14\r\n{"max_participants":\r\n2\r\n7}\r\n0\r\n\r\n')
        answer, _ = await connection.answer()
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert sim.rooms[sim.room_ids[0]]["max_participants"] == 7


async def test_a_body_that_is_too_large_gets_a_413_and_the_connection_stays_open() -> None:
    async with RoomsSimulator(rooms=1) as sim, RawConnection(sim) as connection:
        await connection.send(head(sim, "PATCH", f"/v2/rooms/{sim.room_ids[0]}", body=b"x" * 3_000_000))
        start, body = await connection.answer()
        assert start.startswith(b"HTTP/1.1 413 ")
        assert json.loads(body)["errors"][0]["code"] == "10001"
        await connection.send(head(sim, "GET", "/v2/rooms"))
        assert (await connection.answer())[0].startswith(b"HTTP/1.1 200 OK")
        assert sim.stats.in_flight == 0
