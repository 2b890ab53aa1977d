"""Requests from strangers: for another host (DNS rebinding), or without the key."""

from uuid import uuid4

import pytest

from aiorooms.simulator import RoomsSimulator

from .calling import ask


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST.:80", 200),
        ("127.0.0.1:54321", 200),
        ("127.1.2.3", 200),
        ("[::1]:80", 200),
        ("attacker.example", 421),
        ("attacker.example:8080", 421),
        ("localhost.attacker.example", 421),
        ("127.0.0.1.attacker.example", 421),
        ("192.168.0.1", 421),
        ("x:localhost", 421),
        ("", 421),
    ],
)
async def test_a_simulator_on_loopback_answers_only_requests_for_loopback(host: str, status: int) -> None:
    async with RoomsSimulator(rooms=1) as sim:
        sim.record = True
        reply = await ask(sim, "PATCH", f"/rooms/{sim.room_ids[0]}", {"max_participants": 3}, headers={"Host": host})
        assert reply.status == status
        assert len(sim.recorded) == sim.stats.updates_applied.total() == (1 if status == 200 else 0)
        if status == 421:
            assert "localhost or a loopback address" in reply.json["message"]


async def test_a_simulator_on_another_address_answers_requests_for_every_host() -> None:
    async with RoomsSimulator(rooms=1, host="0.0.0.0") as sim:
        assert (await ask(sim, "GET", "/rooms", headers={"Host": "sim:8080"})).status == 200


@pytest.mark.parametrize("key", [None, "KEY_wrong"])
async def test_requests_without_the_key_need_no_memory(key: str | None) -> None:
    async with RoomsSimulator(rooms=1) as sim:
        for _ in range(3):
            assert (await ask(sim, "GET", f"/rooms/{uuid4()}", key=key)).status == 401
        assert (await ask(sim, "GET", f"/rooms/{sim.room_ids[0]}", key=key)).status == 401
        assert sim.stats.requests_by_room == {sim.room_ids[0]: 1}
        assert (await ask(sim, "GET", f"/rooms/{uuid4()}")).status == 404
        assert len(sim.stats.requests_by_room) == 2
