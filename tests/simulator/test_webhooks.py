"""The receiver of webhooks, and accounts with mixed webhook settings."""

import aiohttp
import pytest

from aiorooms.simulator import RoomsSimulator


@pytest.mark.parametrize("path", ["", "/", "/rooms/1?x=1"])
async def test_the_receiver_accepts_every_event_without_a_key(path: str) -> None:
    async with RoomsSimulator() as sim, aiohttp.ClientSession() as session:
        async with session.post(sim.receiver_url + path, json={"data": {}}) as response:
            assert response.status == 200
        async with session.get(sim.receiver_url + path) as response:
            assert response.status == 401, "only a POST is an event"
        async with session.post(sim.receiver_url + "x") as response:
            assert response.status == 401, "this is another path"
        sim.refuse_connections("503")
        async with session.post(sim.receiver_url) as response:
            assert response.status == 503, "an outage concerns the receiver too"


def test_a_simulator_that_was_not_started_has_no_receiver() -> None:
    with pytest.raises(RuntimeError, match="has no URL before it is started"):
        _ = RoomsSimulator().receiver_url


def test_mixed_webhooks_are_different_for_each_room_and_repeat_their_mistakes() -> None:
    rooms = [*RoomsSimulator(rooms=250, webhooks="mixed").rooms.values()]
    assert len({str(room["webhook_event_url"]) for room in rooms if room["webhook_event_url"]}) == 247
    for first, later in ((0, 100), (8, 208)):
        assert (
            str(rooms[first]["webhook_event_url"]).rpartition("/")[0]
            == str(rooms[later]["webhook_event_url"]).rpartition("/")[0]
        )
    assert rooms[8]["webhook_timeout_secs"] is rooms[108]["webhook_timeout_secs"] is None
    assert rooms[50]["webhook_event_failover_url"] == "https://backup.example.com/rooms/51"
