"""Scripted and random faults: which requests get them, and in which order."""

from typing import Any

import pytest

from aiorooms.simulator import ALL, FaultKind, Faults, RoomsSimulator
from aiorooms.simulator._faults import FaultPlan

from .calling import RawConnection, ask, head


async def test_scripts_are_used_in_order_the_most_specific_first() -> None:
    async with RoomsSimulator(rooms=2, faults=Faults(script=["504", None])) as sim:
        one, two = (f"/rooms/{room_id}" for room_id in sim.room_ids)

        async def status(method: str, path: str) -> int:
            return (await ask(sim, method, path, {} if method == "PATCH" else None)).status

        sim.script("500")
        sim.script("502", None, "503", method="patch")
        sim.script("520", room_id=sim.room_ids[0])
        sim.script("408", room_id=sim.room_ids[0], method="PATCH")
        assert await status("PATCH", one) == 408
        assert await status("PATCH", one) == 520
        assert await status("PATCH", one) == 502
        assert await status("PATCH", two) == 200
        assert await status("GET", "/rooms") == 500
        assert await status("GET", two) == 504
        assert await status("PATCH", two) == 503
        assert await status("PATCH", two) == 200  # the None in the script of the constructor, which means no fault
        assert await status("PATCH", two) == 200
        sim.script("500", room_id=sim.room_ids[1])
        sim.faults = None  # removes only the faults of the constructor, not the script just added
        assert sim.faults is None
        assert await status("GET", two) == 500
        assert sim.stats.faults.total() == 7


async def test_faults_can_be_limited_to_methods() -> None:
    faults = Faults(1.0, kinds=["500"], script=["502"], methods=["patch"])
    async with RoomsSimulator(rooms=1, faults=faults) as sim:
        room = f"/rooms/{sim.room_ids[0]}"
        assert (await ask(sim, "GET", room)).status == 200
        assert (await ask(sim, "PATCH", room, {})).status == 502
        assert (await ask(sim, "PATCH", room, {})).status == 500
        assert (await ask(sim, "GET", room)).status == 200
        sim.script("503", method="GET")
        assert (await ask(sim, "GET", room)).status == 503


async def test_random_faults_can_be_limited_to_the_first_tries() -> None:
    async with RoomsSimulator(rooms=1, faults=Faults(1.0, kinds=["500", "500_after"], first_tries=3)) as sim:
        room = f"/rooms/{sim.room_ids[0]}"
        for method, body in (("GET", None), ("PATCH", {"max_participants": 7})):
            statuses = [(await ask(sim, method, room, body)).status for _ in range(5)]
            assert statuses == [500, 500, 500, 200, 200]
        creates = [(await ask(sim, "POST", "/rooms", {"unique_name": name})).status for name in "abaaaab"]
        assert creates[:4] == [500] * 4
        lists = [(await ask(sim, "GET", f"/rooms?page[number]={number}")).status for number in (1, 2, 1, 1, 1, 2, 2, 2)]
        assert lists == [500, 500, 500, 500, 200, 500, 500, 200]


async def test_requests_with_a_wrong_key_or_over_the_rate_limit_get_no_fault() -> None:
    async with RoomsSimulator(rooms=1, rate_limit="1/1h", faults=Faults(1.0, kinds=["500"])) as sim:
        assert (await ask(sim, "GET", "/rooms", key="KEY_wrong")).status == 401
        broken = await ask(sim, "GET", "/rooms")
        assert broken.status == 500
        assert broken.headers["x-ratelimit-remaining"] == "0"
        assert (await ask(sim, "GET", "/rooms")).status == 429
        assert sim.stats.faults == {"500": 1}


def draws(plan: FaultPlan, order: list[str]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for room_id in order:
        found.setdefault(room_id, []).append(plan.draw("PATCH", room_id, room_id))
    return found


def test_random_faults_depend_on_the_seed_and_not_on_the_order_of_arrival() -> None:
    rooms = [f"room-{number}" for number in range(100)] * 3
    faults = Faults(0.5)
    first = draws(FaultPlan(faults, 1), rooms)
    assert first == draws(FaultPlan(faults, 1), sorted(rooms))
    assert first == draws(FaultPlan(faults, 1), rooms[::-1])
    assert first != draws(FaultPlan(faults, 2), rooms)
    drawn = [draw for of_room in first.values() for draw in of_room]
    broken = [draw.kind for draw in drawn if draw is not None]
    assert 0.4 < len(broken) / len(drawn) < 0.6
    assert len(set(broken)) > len(ALL) // 2
    assert set(broken) <= set(ALL)


def test_every_kind_in_all_is_drawn() -> None:
    plan = FaultPlan(Faults(1.0), 0)
    drawn = {draw.kind for number in range(2000) if (draw := plan.draw("GET", None, str(number)))}
    assert drawn == set(ALL)


async def test_two_runs_with_the_same_seed_send_the_same_bytes() -> None:
    async def run(seed: int) -> list[bytes]:
        answers: list[bytes] = []
        kinds: list[FaultKind] = ["500", "502_after", "garbage", "wrong_type", "html_200"]
        async with (
            RoomsSimulator(rooms=20, faults=Faults(0.7, kinds=kinds), seed=seed) as sim,
            RawConnection(sim) as connection,
        ):
            for room_id in sim.room_ids:
                await connection.send(head(sim, "GET", f"/v2/rooms/{room_id}"))
                answers.append((await connection.answer())[1])
        return answers

    assert await run(3) == await run(3) != await run(4)


@pytest.mark.parametrize(
    "wrong",
    [
        {"rate": -0.1},
        {"rate": 1.1},
        {"rate": float("nan")},
        {"rate": 0.5, "kinds": []},
        {"kinds": ["501"]},
        {"script": ["502", "teapot"]},
        {"stall_seconds": -1},
        {"slow_seconds": float("nan")},
    ],
)
def test_invalid_faults_raise(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"probability|kind|seconds"):
        Faults(**wrong)
    with pytest.raises(TypeError, match="not a string"):
        Faults(methods="GET")
    with pytest.raises(TypeError, match="not a string; give \\['502'\\]"):
        Faults(kinds="502")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def test_an_unknown_kind_in_a_script_raises() -> None:
    with pytest.raises(ValueError, match="unknown fault kinds: \\['teapot'\\]"):
        RoomsSimulator().script("teapot")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
