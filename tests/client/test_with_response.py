"""`with_response`: every operation with status, headers, body and request id, and request ids in errors."""

import json
import pickle

import pytest

from aiorooms import APIResponseError, NotFoundError, Response, Room, RoomsClient, RoomUpdate, UpdateResult
from aiorooms.errors import AioroomsError
from aiorooms.models import RoomPage
from aiorooms.simulator import RoomsSimulator

from ..conftest import QUICK, times
from ..raw_server import Peer, raw_server
from ..samples import ROOM_ID


async def test_every_operation_gives_what_came_back() -> None:
    async with RoomsSimulator(rooms=2) as sim, RoomsClient(sim.api_key, base_url=sim.url) as client:
        rooms = client.rooms.with_response
        room_id = sim.room_ids[0]
        responses: list[Response[Room] | Response[RoomPage] | Response[None]] = [
            await rooms.retrieve(room_id, include_sessions=True),
            await rooms.list_page(2, page_size=1),
            await rooms.create(unique_name="new"),
            await rooms.update(room_id, max_participants=20),
            await rooms.update(room_id, RoomUpdate(max_participants=21)),
            await rooms.delete(room_id),
        ]
    assert [response.status for response in responses] == [200, 200, 201, 200, 200, 204]
    assert len({response.request_id for response in responses}) == len(responses)
    for response in responses:
        assert response.attempts == 1
        assert response.elapsed > 0
        assert response.headers["X-REQUEST-ID"] == response.headers["x-request-id"] == response.request_id
    retrieved, page, _, updated, _, deleted = responses
    assert isinstance(page.value, RoomPage)
    assert page.value.number == 2
    assert isinstance(retrieved.value, Room)
    assert json.loads(retrieved.body)["data"]["id"] == room_id == retrieved.value.id
    assert json.loads(updated.body)["data"]["max_participants"] == 20
    assert (deleted.value, deleted.body) == (None, b"")


async def test_the_repr_shows_neither_headers_nor_body() -> None:
    response = Response(
        value=None, status=204, headers={"a": "KEY"}, body=b"KEY", request_id="r", attempts=1, elapsed=0.5
    )
    assert "KEY" not in repr(response)


async def test_attempts_are_counted_and_a_read_back_gives_its_own_answer() -> None:
    async with RoomsSimulator(rooms=1) as sim, RoomsClient(sim.api_key, base_url=sim.url, retry=QUICK) as client:
        sim.script("503", "503", None)
        assert (await client.rooms.with_response.update(sim.room_ids[0], max_participants=20)).attempts == 3
        sim.script(*times("reset_after", 4), method="PATCH")
        response = await client.rooms.with_response.update(sim.room_ids[0], max_participants=21)
        assert (response.attempts, response.status, response.value.max_participants) == (4, 200, 21)
        sim.script("reset_after", method="DELETE")
        gone = await client.rooms.with_response.delete(sim.room_ids[0])
        assert (gone.status, gone.value) == (404, None)
        assert gone.request_id
        assert b"could not be found" in gone.body


async def test_a_read_back_that_finds_no_room_confirms_a_delete_with_its_404() -> None:
    async with RoomsSimulator(rooms=1) as sim, RoomsClient(sim.api_key, base_url=sim.url, retry=QUICK) as client:
        sim.script(*times("reset_after", 4), method="DELETE")
        gone = await client.rooms.with_response.delete(sim.room_ids[0])
        assert gone.status == 404


async def test_results_and_errors_have_the_request_id() -> None:
    async with RoomsSimulator(rooms=2) as sim, RoomsClient(sim.api_key, base_url=sim.url) as client:
        first, missing = sim.room_ids
        sim.remove_room(missing)
        updates = [(room_id, RoomUpdate(max_participants=20)) for room_id in (first, missing)]
        results: dict[str, UpdateResult] = {
            result.room_id: result async for result in client.rooms.update_many([*updates, ("x", RoomUpdate())])
        }
        assert results[first].request_id
        error = results[missing].error
        assert error is not None
        assert results[missing].request_id == error.request_id
        assert str(error).endswith(f" [request id {error.request_id}]")
        assert results["x"].request_id is None
        assert isinstance(error, NotFoundError)
        assert str(pickle.loads(pickle.dumps(error))) == str(error)
        assert "request id" not in error.message


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"200 OK\r\nContent-Length: 2\r\n\r\n{}", "data is missing"),
        (b'200 OK\r\nContent-Length: 11\r\n\r\n{"data":{}}', "does not confirm"),
        (b"200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nxx", "can't be read"),
        (b"200 OK\r\nContent-Length: 30\r\n\r\n" + b" " * 30, "larger than"),
    ],
)
async def test_answers_that_can_not_be_used_have_the_request_id_too(answer: bytes, message: str) -> None:
    async def serve(peer: Peer) -> None:
        while True:
            await peer.read()
            head, _, rest = answer.partition(b"\r\n")
            peer.write(b"HTTP/1.1 " + head + b"\r\nx-request-id: r-42\r\n" + rest)

    async with (
        raw_server(serve) as (url, _),
        RoomsClient("KEY", base_url=url, retry=QUICK, max_response_size=20) as client,
    ):
        with pytest.raises(APIResponseError, match=message) as caught:
            await client.rooms.update(ROOM_ID, max_participants=20)
        assert caught.value.request_id == "r-42"
        assert str(caught.value).endswith(" [request id r-42]")


def test_a_long_request_id_is_cut_in_the_message() -> None:
    error = AioroomsError("failed")
    error.request_id = "x" * 5000 + "\n"
    assert len(str(error)) < 150
    assert str(error).isprintable()
