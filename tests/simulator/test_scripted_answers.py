"""Answers that a test writes itself: `ScriptedAnswer` in a script."""

from typing import Any

import pytest

from aiorooms import RoomsClient, UnprocessableEntityError
from aiorooms.simulator import Faults, RoomsSimulator, ScriptedAnswer

from .calling import RawConnection, ask, head, patch


@pytest.mark.parametrize(
    ("body", "sent", "content_type"),
    [
        ({"errors": [{"code": "1"}]}, b'{"errors":[{"code":"1"}]}', "application/json; charset=utf-8"),
        ([1, None], b"[1,null]", "application/json; charset=utf-8"),
        (0, b"0", "application/json; charset=utf-8"),
        (False, b"false", "application/json; charset=utf-8"),
        ("über", "über".encode(), "text/plain; charset=utf-8"),
        (b"\xff\x00", b"\xff\x00", "application/octet-stream"),
        (None, b"", None),
    ],
)
async def test_the_body_decides_on_the_content_type(body: Any, sent: bytes, content_type: str | None) -> None:
    async with RoomsSimulator(rooms=1) as sim:
        sim.script(ScriptedAnswer(418, body), ScriptedAnswer(418, body, {"content-type": "text/x-mine"}))
        reply = await ask(sim, "GET", "/rooms")
        assert (reply.status, reply.body, reply.headers.get("Content-Type")) == (418, sent, content_type)
        reply = await ask(sim, "GET", "/rooms")
        assert reply.headers.getall("Content-Type") == ["text/x-mine"]


async def test_the_headers_replace_those_of_the_simulator() -> None:
    headers = [("X-Ratelimit-Remaining", "0"), ("x-request-id", "mine"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")]
    async with RoomsSimulator(rooms=1, rate_limit="9/1h") as sim:
        sim.script(ScriptedAnswer(429, headers=headers))
        reply = await ask(sim, "GET", "/rooms")
        assert reply.headers.getall("x-ratelimit-remaining") == ["0"]
        assert reply.headers.getall("x-request-id") == ["mine"]
        assert reply.headers.getall("set-cookie") == ["a=1", "b=2"]
        assert reply.headers.getall("x-ratelimit-limit") == ["9"], "the others remain"
        assert len(reply.headers.getall("date")) == 1
        assert sim.stats.refused == 0


@pytest.mark.parametrize("applied", [True, False])
async def test_applied_decides_whether_the_request_is_carried_out(applied: bool) -> None:
    async with RoomsSimulator(rooms=1) as sim:
        (room_id,) = sim.room_ids
        sim.script(ScriptedAnswer(500, "no", applied=applied), room_id=room_id, method="PATCH")
        assert (await ask(sim, "GET", f"/rooms/{room_id}")).status == 200
        reply = await ask(sim, "PATCH", f"/rooms/{room_id}", {"max_participants": 3})
        assert (reply.status, reply.body) == (500, b"no")
        assert sim.rooms[room_id]["max_participants"] == (3 if applied else 10)
        assert sim.stats.updates_applied.total() == applied
        assert sim.stats.faults == {"scripted": 1}
        assert sim.stats.by_status == {200: 1, 500: 1}


async def test_answers_faults_and_none_can_be_in_one_script() -> None:
    teapot = ScriptedAnswer(418)
    async with RoomsSimulator(rooms=1, faults=Faults(script=[teapot, None, "503", teapot])) as sim:
        sim.script("500", teapot, None)
        statuses = [(await ask(sim, "GET", "/rooms")).status for _ in range(8)]
        assert statuses == [500, 418, 200, 418, 200, 503, 418, 200]
        assert sim.stats.faults == {"500": 1, "503": 1, "scripted": 3}


async def test_a_connection_stays_open_unless_the_answer_closes_it() -> None:
    async with RoomsSimulator(rooms=1) as sim, RawConnection(sim) as connection:
        sim.script(
            ScriptedAnswer(204),
            ScriptedAnswer(304),
            ScriptedAnswer(200, "body"),
            ScriptedAnswer(503, "bye", {"connection": " Close "}),
        )
        for status in (b"204", b"304"):
            await connection.send(patch(sim))
            start, _ = await connection.answer()
            assert start.startswith(b"HTTP/1.1 " + status)
            assert b"Content-Length" not in start
        await connection.send(head(sim, "HEAD", "/v2/rooms"))
        start = await connection.reader.readuntil(b"\r\n\r\n")
        assert b"\r\nContent-Length: 4\r\n" in start
        await connection.send(patch(sim))
        start, body = await connection.answer()
        assert body == b"bye"
        assert start.lower().count(b"connection:") == 1
        assert await connection.rest() == b""


async def test_the_client_reads_a_scripted_error() -> None:
    async with RoomsSimulator(rooms=1) as sim, RoomsClient(sim.api_key, base_url=sim.url) as client:
        sim.script(
            ScriptedAnswer(422, {"errors": [{"code": "10015", "title": "Malformed", "detail": "no such thing"}]})
        )
        with pytest.raises(UnprocessableEntityError, match="no such thing") as caught:
            await client.rooms.update(sim.room_ids[0], max_participants=3)
        assert [error.code for error in caught.value.errors] == ["10015"]


CYCLE: list[Any] = []
CYCLE.append(CYCLE)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"status": 199}, ValueError, "status must be from 200 to 599, not 199"),
        ({"status": 600}, ValueError, "status must be from 200 to 599, not 600"),
        ({"status": "500"}, TypeError, "status must be a whole number, not '500'"),
        ({"status": True}, TypeError, "status must be a whole number, not True"),
        ({"status": 204, "body": "x"}, ValueError, "a 204 can't have a body"),
        ({"status": 304, "body": {}}, ValueError, "a 304 can't have a body"),
        ({"body": float("nan")}, ValueError, "not JSON compliant"),
        ({"body": {1}}, TypeError, "not JSON serializable"),
        ({"body": CYCLE}, ValueError, "Circular reference"),
        ({"body": "\ud800"}, ValueError, "surrogates not allowed"),
        ({"headers": {"a b": "c"}}, ValueError, "'a b' is not the name of a header"),
        ({"headers": {"": "c"}}, ValueError, "'' is not the name of a header"),
        ({"headers": {"a": "b\r\nc: d"}}, ValueError, "the header a contains characters"),
        ({"headers": {"a": "\u20ac"}}, ValueError, "the header a contains characters"),
        ({"headers": {"Content-Length": "1"}}, ValueError, "itself sends Content-Length"),
        ({"headers": {"Retry-After": 3}}, TypeError, r"not \('Retry-After', 3\)"),
        ({"headers": "abc"}, TypeError, "not 'a'"),
        ({"headers": [("a",)]}, TypeError, "pairs of two strings"),
        ({"applied": 1}, TypeError, "applied must be a bool, not 1"),
    ],
)
def test_wrong_values_raise_at_once(given: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        ScriptedAnswer(**given)


def test_equal_answers_are_equal_and_the_repr_shows_what_was_given() -> None:
    answer = ScriptedAnswer(503, "later", {"Retry-After": "3"}, applied=True)
    assert answer == ScriptedAnswer(503, "later", [("Retry-After", "3")], applied=True)
    assert repr(answer) == "ScriptedAnswer(status=503, body='later', headers=(('Retry-After', '3'),), applied=True)"


async def test_a_script_without_entries_changes_nothing() -> None:
    async with RoomsSimulator(rooms=1) as sim:
        sim.script()
        reply = await ask(sim, "GET", f"/rooms/{sim.room_ids[0]}")
        assert reply.status == 200
