"""Common mistakes get an error that names the right form."""

from typing import Any

import pytest

from aiorooms import APIResponseError, ClientSettingsError, InvalidRequestError, NotFoundError, RoomsClient, RoomUpdate
from aiorooms.errors import ClientStateError
from aiorooms.simulator import RoomsSimulator

from .conftest import QUICK, times
from .raw_server import Peer, raw_server
from .samples import ROOM_ID


@pytest.mark.parametrize("method", ["update", "create"])
async def test_a_misspelt_field_gets_a_suggestion(method: str) -> None:
    async with RoomsClient("key") as client:
        call: Any = getattr(client.rooms, method)
        ids = [ROOM_ID] if method == "update" else []
        with pytest.raises(TypeError) as caught:
            await call(*ids, max_participant=20, zzz=1)
    assert str(caught.value) == (
        f"rooms.{method}() got an unexpected argument 'max_participant'; did you mean 'max_participants'?, and 'zzz'; "
        "the names are unique_name, max_participants, enable_recording, webhook_event_url, webhook_event_failover_url, "
        "webhook_timeout_secs, timeout, retry, deadline, extra_headers"
    )


async def test_a_misspelt_filter_gets_a_suggestion() -> None:
    async with RoomsClient("key") as client:
        rooms: Any = client.rooms
        with pytest.raises(TypeError, match="'date_created_at'; did you mean 'date_created_at_"):
            rooms.list(date_created_at=1)
        with pytest.raises(
            TypeError, match=r"rooms.list_page\(\) got an unexpected argument 'uniq_name'; did you mean"
        ):
            await rooms.list_page(2, uniq_name="lobby")


def test_a_misspelt_key_of_a_mapping_gets_a_suggestion() -> None:
    with pytest.raises(InvalidRequestError, match="did you mean 'webhook_event_url'"):
        RoomUpdate.from_dict({"webhook_url": "https://hooks.example.com/"})


async def test_the_room_of_an_update_can_be_given_by_name() -> None:
    async with RoomsSimulator(rooms=1) as sim:
        async with RoomsClient(sim.api_key, base_url=sim.url) as client:
            room = await client.rooms.update(room_id=sim.room_ids[0], max_participants=20)
            assert room.max_participants == 20
            room = await client.rooms.update(room_id=room, update=RoomUpdate(max_participants=21))
            assert room.max_participants == 21


def test_with_instead_of_async_with_is_told() -> None:
    client: Any = RoomsClient("key")
    with pytest.raises(TypeError, match="use `async with RoomsClient"):
        with client:
            pass


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"api_key": "Bearer KEY1"}, "api_key begins with 'Bearer '; give the key alone, the client adds the rest"),
        ({"base_url": "api.telnyx.com/v2"}, "has no scheme; did you mean 'https://api.telnyx.com/v2'?"),
        ({"base_url": "me:KEY1@api.telnyx.com/v2"}, "has no scheme; give one such as https://api.telnyx.com/v2"),
        ({"base_url": "127.0.0.1:8000/v2"}, "has no scheme; did you mean 'http://127.0.0.1:8000/v2'?"),
        ({"base_url": "https://api.telnyx.com"}, "did you mean 'https://api.telnyx.com/v2'?"),
        ({"base_url": "https://api.telnyx.com/v2/rooms"}, "did you mean 'https://api.telnyx.com/v2'?"),
    ],
)
def test_a_wrong_setting_is_told_with_the_right_form(settings: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {"api_key": "key", **settings}
    with pytest.raises(ClientSettingsError) as caught:
        RoomsClient(**given)
    assert message in str(caught.value)
    assert "KEY1" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["https://api.telnyx.com/v2/", "https://proxy.example.com/telnyx", "http://localhost:8080"]
)
def test_other_paths_of_other_hosts_are_accepted(url: str) -> None:
    assert RoomsClient("key", base_url=url).base_url == url.rstrip("/")


def test_a_url_of_pydantic_gets_a_hint() -> None:
    url: Any = type("HttpUrl", (), {"__module__": "pydantic.networks"})()
    with pytest.raises(InvalidRequestError, match=r"got HttpUrl of pydantic instead of a str; pass str\(url\)"):
        RoomUpdate(webhook_event_url=url)


def test_another_kind_of_event_loop_gets_one_clear_error() -> None:
    call: Any = RoomsClient("key").rooms.retrieve(ROOM_ID)
    with pytest.raises(ClientStateError, match="no asyncio event loop is running; aiorooms needs asyncio, not trio"):
        call.send(None)


@pytest.mark.parametrize("body", [b"", b"<html><title>nginx</title></html>", b'{"foo": 1}'])
async def test_a_404_that_is_not_one_of_the_api_says_to_check_the_base_url(body: bytes) -> None:
    head = b"HTTP/1.1 404 Not Found\r\nContent-Length: %d\r\n\r\n" % len(body)

    async def serve(peer: Peer) -> None:
        await peer.read()
        peer.write(head + body)

    async with raw_server(serve) as (url, _):
        async with RoomsClient("key", base_url=url, retry=QUICK) as client:
            with pytest.raises(NotFoundError, match="the answer is not one of the API: check base_url"):
                await client.rooms.retrieve(ROOM_ID)


async def test_an_html_page_in_place_of_json_is_told_with_its_title() -> None:
    async with RoomsSimulator(rooms=1) as sim:
        sim.script(*times("html_200", 10))
        async with RoomsClient(sim.api_key, base_url=sim.url, retry=QUICK) as client:
            with pytest.raises(APIResponseError, match="an HTML page, not JSON: check base_url and proxies .HTML: "):
                await client.rooms.retrieve(sim.room_ids[0])
