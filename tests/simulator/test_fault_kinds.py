"""Every kind of fault, checked byte by byte on a connection, and with aiohttp."""

import asyncio
import gzip
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any, get_args

import aiohttp
import pytest

from aiorooms.simulator import (
    ALL,
    APPLIED,
    NOT_APPLIED,
    ODD,
    FaultKind,
    Faults,
    RoomsSimulator,
    fault_descriptions,
)
from aiorooms.simulator._fault_kinds import KINDS
from aiorooms.simulator._faults import FaultPlan

from .calling import UNKNOWN_ID, RawConnection, ask, head, patch, until

PROXY_PAGES: dict[FaultKind, bytes] = {
    "429": b"429 Too Many Requests",
    "429_bare": b"429 Too Many Requests",
    "502": b"502 Bad Gateway",
    "503": b"503 Service Unavailable",
    "504": b"504 Gateway Timeout",
    "520": b"520 Web Server Returns an Unknown Error",
    "502_after": b"502 Bad Gateway",
    "503_after": b"503 Service Unavailable",
    "504_after": b"504 Gateway Timeout",
    "524_after": b"524 A Timeout Occurred",
}
wire_checks: dict[FaultKind, Callable[[RoomsSimulator, RawConnection], Awaitable[None]]] = {}
"""For each kind of fault, a function that reads and checks the answer to one PATCH."""


def on_wire(*kinds: FaultKind) -> Callable[[Any], Any]:
    """Register the decorated function in `wire_checks` for these kinds of fault."""

    def register(check: Any) -> Any:
        for kind in kinds:
            wire_checks[kind] = check
        return check

    return register


async def check_connection(sim: RoomsSimulator, connection: RawConnection) -> None:
    """Check that the connection still works."""
    await connection.send(head(sim, "GET", "/v2/rooms"))
    start, body = await connection.answer()
    assert start.startswith(b"HTTP/1.1 200 OK\r\n")
    json.loads(body)


def check_room(sim: RoomsSimulator, body: bytes) -> None:
    assert json.loads(body)["data"] == sim.rooms[sim.room_ids[0]]


@on_wire("reset_before", "reset_after")
async def _(_sim: RoomsSimulator, connection: RawConnection) -> None:
    with pytest.raises(ConnectionResetError):
        await connection.rest()


@on_wire("close_before", "close_after", "stall_before", "stall_after")
async def _(_sim: RoomsSimulator, connection: RawConnection) -> None:
    assert await connection.rest() == b""


@on_wire("408")
async def _(_sim: RoomsSimulator, connection: RawConnection) -> None:
    start, _, body = (await connection.rest()).partition(b"\r\n\r\n")
    assert start.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert json.loads(body)["errors"][0]["code"] == "10008"


@on_wire("500", "500_after")
async def _(sim: RoomsSimulator, connection: RawConnection) -> None:
    start, body = await connection.answer()
    assert start.startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
    assert json.loads(body)["errors"][0]["code"] == "10007"
    await check_connection(sim, connection)


def proxy_page(kind: FaultKind, title: bytes) -> None:
    """Register a check for a kind of fault that answers with an HTML error page, as a proxy does."""

    async def check(sim: RoomsSimulator, connection: RawConnection) -> None:
        start, body = await connection.answer()
        assert start.startswith(b"HTTP/1.1 %b\r\n" % title)
        assert b"\r\nContent-Type: text/html\r\n" in start
        assert b"<title>%b</title>" % title in body
        assert (b"\r\nRetry-After: 7\r\n" in start) == (kind in ("429", "503", "503_after"))
        await check_connection(sim, connection)

    wire_checks[kind] = check


for page_kind, page_title in PROXY_PAGES.items():
    proxy_page(page_kind, page_title)


@on_wire("bad_http")
async def _(_sim: RoomsSimulator, connection: RawConnection) -> None:
    assert not (await connection.rest()).startswith(b"HTTP/")


@on_wire("redirect")
async def _(sim: RoomsSimulator, connection: RawConnection) -> None:
    start, body = await connection.answer()
    assert start.startswith(b"HTTP/1.1 307 Temporary Redirect\r\n")
    assert b"\r\nLocation: /elsewhere\r\n" in start
    assert body == b""
    await check_connection(sim, connection)


@on_wire("truncated")
async def _(_sim: RoomsSimulator, connection: RawConnection) -> None:
    with pytest.raises(asyncio.IncompleteReadError) as caught:
        await connection.answer()
    assert len(caught.value.partial) == (caught.value.expected or 0) // 2
    assert caught.value.partial.startswith(b'{"data":{"id":"')


@on_wire("truncated_chunked")
async def _(_sim: RoomsSimulator, connection: RawConnection) -> None:
    start, _, rest = (await connection.rest()).partition(b"\r\n\r\n")
    assert start.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Transfer-Encoding: chunked" in start
    assert b"Content-Length" not in start
    size, _, chunk = rest.partition(b"\r\n")
    assert len(chunk) == int(size, 16) + 2
    assert chunk.startswith(b'{"data":{"id":"')
    assert not chunk.endswith(b"0\r\n\r\n")


@on_wire("cut_head")
async def _(_sim: RoomsSimulator, connection: RawConnection) -> None:
    rest = await connection.rest()
    assert rest.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\n\r\n" not in rest


@on_wire("garbage")
async def _(sim: RoomsSimulator, connection: RawConnection) -> None:
    start, body = await connection.answer()
    assert start.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Content-Type: application/json" in start
    assert len(body) > 100
    with pytest.raises(UnicodeDecodeError):
        body.decode()
    await check_connection(sim, connection)


@on_wire("html_200")
async def _(sim: RoomsSimulator, connection: RawConnection) -> None:
    start, body = await connection.answer()
    assert start.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Content-Type: text/html" in start
    assert body.startswith(b"<!DOCTYPE html>")
    await check_connection(sim, connection)


@on_wire("empty_200")
async def _(sim: RoomsSimulator, connection: RawConnection) -> None:
    start, body = await connection.answer()
    assert start.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nContent-Length: 0\r\n" in start
    assert body == b""
    await check_connection(sim, connection)


@on_wire("wrong_type")
async def _(sim: RoomsSimulator, connection: RawConnection) -> None:
    _, body = await connection.answer()
    room, right = json.loads(body)["data"], sim.rooms[sim.room_ids[0]]
    wrong = [name for name in right if room[name] != right[name]]
    assert len(wrong) == 1
    assert type(room[wrong[0]]) is not type(right[wrong[0]]) or room[wrong[0]] == "yesterday"
    await check_connection(sim, connection)


@on_wire("cut_json")
async def _(sim: RoomsSimulator, connection: RawConnection) -> None:
    _, body = await connection.answer()
    assert body.startswith(b'{"data":{"id":"')
    with pytest.raises(json.JSONDecodeError):
        json.loads(body)
    await check_connection(sim, connection)


@on_wire("error_200")
async def _(sim: RoomsSimulator, connection: RawConnection) -> None:
    start, body = await connection.answer()
    assert start.startswith(b"HTTP/1.1 200 OK\r\n")
    assert json.loads(body)["errors"][0]["code"] == "10007"
    await check_connection(sim, connection)


@on_wire("bad_gzip")
async def _(sim: RoomsSimulator, connection: RawConnection) -> None:
    start, body = await connection.answer()
    assert b"\r\nContent-Encoding: gzip\r\n" in start
    with pytest.raises(gzip.BadGzipFile):
        gzip.decompress(body)
    await check_connection(sim, connection)


@on_wire("long_header")
async def _(sim: RoomsSimulator, connection: RawConnection) -> None:
    start, body = await connection.answer()
    assert len(start) > 20_000
    check_room(sim, body)
    await check_connection(sim, connection)


@on_wire("mislabeled")
async def _(sim: RoomsSimulator, connection: RawConnection) -> None:
    start, body = await connection.answer()
    assert b"\r\nContent-Type: text/plain\r\n" in start
    check_room(sim, body)
    await check_connection(sim, connection)


@on_wire("until_close")
async def _(sim: RoomsSimulator, connection: RawConnection) -> None:
    start, _, body = (await connection.rest()).partition(b"\r\n\r\n")
    assert b"Content-Length" not in start
    assert b"\r\nConnection: close" in start
    check_room(sim, body)


@on_wire("early_hints")
async def _(sim: RoomsSimulator, connection: RawConnection) -> None:
    hints, _ = await connection.answer()
    assert hints.startswith(b"HTTP/1.1 103 Early Hints\r\n")
    start, body = await connection.answer()
    assert start.startswith(b"HTTP/1.1 200 OK\r\n")
    check_room(sim, body)
    await check_connection(sim, connection)


@on_wire("slow")
async def _(sim: RoomsSimulator, connection: RawConnection) -> None:
    first = await connection.reader.read(10_000)
    assert first.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\n\r\n" not in first
    _, body = await connection.answer()
    check_room(sim, body)
    await check_connection(sim, connection)


@on_wire("stale")
async def _(sim: RoomsSimulator, connection: RawConnection) -> None:
    start, body = await connection.answer()
    assert b"Connection: close" not in start
    check_room(sim, body)
    requests = sim.stats.requests
    await connection.send(patch(sim))
    assert await connection.rest() == b""
    assert (sim.stats.requests, sim.stats.stale) == (requests, 1)
    assert sim.stats.updates_applied.total() == 1
    async with RawConnection(sim) as other:
        await check_connection(sim, other)


@on_wire("wrong_room")
async def _(sim: RoomsSimulator, connection: RawConnection) -> None:
    start, body = await connection.answer()
    assert start.startswith(b"HTTP/1.1 200 OK\r\n")
    assert json.loads(body)["data"] == sim.rooms[sim.room_ids[1]]
    await check_connection(sim, connection)


@on_wire("surplus")
async def _(sim: RoomsSimulator, connection: RawConnection) -> None:
    _, body = await connection.answer()
    check_room(sim, body)
    start, _ = await connection.answer()
    assert start.startswith(b"HTTP/1.1 500 ")
    await check_connection(sim, connection)


def test_every_kind_is_in_the_registry_and_has_a_check() -> None:
    assert get_args(FaultKind) == tuple(KINDS), "`FaultKind` and the registry differ in the kinds or in their order"
    assert set(wire_checks) == set(KINDS)
    assert set(ALL) | set(ODD) == NOT_APPLIED | APPLIED == set(KINDS)
    assert not set(ALL) & set(ODD)
    assert not NOT_APPLIED & APPLIED


def test_every_kind_in_all_has_a_description() -> None:
    before, after = fault_descriptions(applied=False), fault_descriptions(applied=True)
    assert before.keys() == set(ALL) & NOT_APPLIED
    assert after.keys() == set(ALL) & APPLIED
    assert all((before | after).values())


@pytest.mark.parametrize("kind", sorted(KINDS))
async def test_each_kind_of_fault_sends_the_expected_bytes(kind: FaultKind) -> None:
    faults = Faults(stall_seconds=0.01, slow_seconds=0.02, retry_after=7)
    async with RoomsSimulator(rooms=2, faults=faults) as sim, RawConnection(sim) as connection:
        room_id = sim.room_ids[0]
        sim.script(kind)
        await connection.send(patch(sim))
        await wire_checks[kind](sim, connection)
        applied = kind in APPLIED
        assert sim.stats.updates_applied == ({room_id: 1} if applied else {})
        assert (sim.rooms[room_id]["webhook_event_url"] == "https://new.example.com/rooms") == applied
        assert sim.stats.faults == {kind: 1}
        assert sim.stats.in_flight == 0


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", ""), ("GET", "/{}"), ("GET", f"/{UNKNOWN_ID}"), ("POST", ""), ("PATCH", "/{}"), ("DELETE", "/{}")],
)
async def test_every_fault_in_every_operation_has_the_expected_effect_on_aiohttp(
    kind: FaultKind, method: str, path: str
) -> None:
    faults = Faults(1.0, kinds=[kind], stall_seconds=0, slow_seconds=0)
    async with RoomsSimulator(rooms=1, faults=faults) as sim:
        body = {"unique_name": "x"} if method in ("POST", "PATCH") else None
        target = "/rooms" + path.format(sim.room_ids[0])
        status = 404 if UNKNOWN_ID in path else {"POST": 201, "DELETE": 204}.get(method, 200)
        try:
            reply = await ask(sim, method, target, body)
        except (aiohttp.ClientError, ConnectionError):
            # Only these kinds may cause an error in aiohttp. Each is given by the first letters of its name.
            assert kind[:3] in ("res", "clo", "sta", "bad", "tru", "cut", "lon") or kind == "surplus"
        else:
            fixed = {"redirect": 307, "html_200": 200, "empty_200": 200, "error_200": 200}
            expected = fixed.get(kind) or (int(kind[:3]) if kind[:3].isdigit() else status)
            # A fault that sends a body turns a 204 into a 200.
            assert reply.status == expected or (reply.status, status) == (200, 204)
        sim.faults = None
        changed = method != "GET" and kind in APPLIED
        assert (sim.rooms != RoomsSimulator(rooms=1).rooms) == changed
        if method == "PATCH":
            assert (await ask(sim, method, target, body)).data["unique_name"] == "x"


async def test_an_error_page_has_retry_after_only_if_configured() -> None:
    async with RoomsSimulator(rooms=1, faults=Faults(script=["503"])) as sim:
        reply = await ask(sim, "GET", "/rooms")
        assert reply.status == 503
        assert "Retry-After" not in reply.headers
        assert "x-request-id" in reply.headers


async def test_a_stray_429_can_report_the_rate_limit_or_not() -> None:
    async with RoomsSimulator(
        rooms=1, rate_limit="9/1h", faults=Faults(script=["429", "429_bare"], retry_after=7)
    ) as sim:
        for kind, remaining in (("429", "8"), ("429_bare", None)):
            reply = await ask(sim, "PATCH", f"/rooms/{sim.room_ids[0]}", {"max_participants": 7})
            assert (reply.status, reply.headers.get("x-ratelimit-remaining")) == (429, remaining), kind
            assert ("Retry-After" in reply.headers) == (kind == "429")
        assert sim.stats.updates_applied.total() == sim.stats.refused == 0
        sim.faults = Faults(0.25, kinds=["429_bare"])
        sim.rate_limit = None
        statuses = [(await ask(sim, "GET", f"/rooms?page[number]={number}")).status for number in range(1, 201)]
    assert 25 <= statuses.count(429) <= 75
    assert statuses.count(200) == 200 - statuses.count(429)


async def test_a_stall_ends_when_the_client_disconnects() -> None:
    async with RoomsSimulator(rooms=1, faults=Faults(script=["stall_after"])) as sim:
        async with RawConnection(sim) as connection:
            await connection.send(patch(sim))
            await until(lambda: sim.stats.in_flight == 1)
        await until(lambda: sim.stats.in_flight == 0)
        assert sim.stats.updates_applied.total() == 1
        sim.faults = Faults(script=["slow"], slow_seconds=60)
        async with RawConnection(sim) as connection:
            await connection.send(patch(sim))
            await until(lambda: sim.stats.in_flight == 1)
        await until(lambda: sim.stats.in_flight == 0)


async def test_a_slow_answer_takes_slow_seconds_and_closes_the_connection_if_requested() -> None:
    async with (
        RoomsSimulator(rooms=1, faults=Faults(script=["slow"], slow_seconds=0.02)) as sim,
        RawConnection(sim) as connection,
    ):
        begun = time.perf_counter()
        await connection.send(head(sim, "GET", "/v2/rooms", "Connection: close"))
        assert b"\r\nConnection: close\r\n" in await connection.rest()
        assert time.perf_counter() - begun >= 0.02


@pytest.mark.parametrize("noise", range(12))
async def test_wrong_type_changes_exactly_one_field(noise: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def fixed(_plan: FaultPlan, _text: str) -> int:
        return noise

    monkeypatch.setattr(FaultPlan, "_hash", fixed)
    async with RoomsSimulator(rooms=1) as sim:
        sim.add_session(sim.room_ids[0])
        right = (await ask(sim, "GET", f"/rooms/{sim.room_ids[0]}?include_sessions=true")).data
        for path in (f"/rooms/{sim.room_ids[0]}", "/rooms"):
            sim.script("wrong_type")
            data = (await ask(sim, "GET", f"{path}?include_sessions=true")).data
            room: dict[str, Any] = data if path != "/rooms" else data[0]
            assert sum(room[name] != right[name] for name in right) == 1
