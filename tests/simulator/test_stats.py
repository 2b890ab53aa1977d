"""The counters of the simulator, and the requests that it records."""

import asyncio

from aiorooms.simulator import Faults, RateLimit, RoomsSimulator, Stats

from .calling import UNKNOWN_ID, UPDATE, RawConnection, ask, head, patch, until


async def test_requests_are_counted_by_method_status_and_room() -> None:
    async with RoomsSimulator(rooms=2) as sim:
        one, two = sim.room_ids
        await ask(sim, "PATCH", f"/rooms/{one}", {"max_participants": 5})
        await ask(sim, "PATCH", f"/rooms/{one.upper()}", {"max_participants": 6})
        await ask(sim, "PATCH", f"/rooms/{two}", {"max_participants": 1})
        await ask(sim, "GET", f"/rooms/{two}", key="KEY_wrong")
        await ask(sim, "DELETE", f"/rooms/{UNKNOWN_ID}")
        await ask(sim, "GET", "/rooms/not-an-id")
        await ask(sim, "PROPFIND", "/rooms")
        assert sim.stats == Stats(
            requests=7,
            by_method=sim.stats.by_method,
            by_status=sim.stats.by_status,
            unauthorized=1,
            peak_in_flight=1,
            connections=7,
            updates_applied=sim.stats.updates_applied,
            requests_by_room=sim.stats.requests_by_room,
        )
        assert sim.stats.by_method == {"PATCH": 3, "GET": 2, "DELETE": 1, "OTHER": 1}
        assert sim.stats.by_status == {200: 2, 422: 2, 401: 1, 404: 1, 405: 1}
        assert sim.stats.updates_applied == {one: 2}
        assert sim.stats.requests_by_room == {one: 2, two: 2, UNKNOWN_ID: 1}
        stats = sim.stats
        sim.reset_stats()
        assert sim.stats is stats
        assert stats == Stats()


async def test_requests_in_flight_and_connections_are_counted() -> None:
    async with RoomsSimulator(rooms=3, latency=0.03) as sim:
        asking = [asyncio.create_task(ask(sim, "PATCH", f"/rooms/{room_id}", {})) for room_id in sim.room_ids]
        await until(lambda: sim.stats.in_flight == 3)
        assert not sim.stats.updates_applied
        sim.reset_stats()
        assert (sim.stats.in_flight, sim.stats.peak_in_flight, sim.stats.requests) == (3, 3, 0)
        assert {reply.status for reply in await asyncio.gather(*asking)} == {200}
        assert sim.stats.in_flight == 0
        async with RawConnection(sim) as connection, RawConnection(sim):  # nothing is sent on the second connection
            sim.latency = 0
            for _ in range(3):
                await connection.send(patch(sim))
                await connection.answer()
            assert sim.stats.connections == 1
            sim.reset_stats()
            await connection.send(patch(sim))
            await connection.answer()
            assert sim.stats.connections == 1


async def test_a_request_whose_client_disconnects_in_the_body_is_no_longer_in_flight() -> None:
    async with RoomsSimulator(rooms=1) as sim:
        async with RawConnection(sim) as connection:
            await connection.send(patch(sim)[:-5])
            await until(lambda: sim.stats.in_flight == 1)
        await until(lambda: sim.stats.in_flight == 0)
        assert sim.stats.requests == 1
        assert not sim.stats.by_status
        async with RawConnection(sim) as connection:
            broken = head(sim, "POST", "/v2/rooms", "Content-Type: application/json", "Transfer-Encoding: chunked")
            await connection.send(broken + b"2\r\n{")
            await until(lambda: sim.stats.in_flight == 1)
            await connection.send(b"}zz\r\n")
        await until(lambda: sim.stats.in_flight == 0)
        assert len(sim.rooms) == 1


async def test_requests_are_recorded_exactly_as_received() -> None:
    async with RoomsSimulator(rooms=1, rate_limit=RateLimit(3, 3600)) as sim:
        path = f"/v2/rooms/{sim.room_ids[0]}?x=%41&y"
        async with RawConnection(sim) as connection:
            await connection.send(head(sim, "GET", "/v2/rooms"))
            await connection.answer()
            sim.record = True
            for _ in range(3):
                await connection.send(head(sim, "PATCH", path, "X-Odd:  Two", "x-odd: three", body=UPDATE))
                await connection.answer()
            sim.record = False
            await connection.send(head(sim, "GET", "/v2/rooms"))
            await connection.answer()
        assert len(sim.recorded) == 3  # including the rate limited one
        first = sim.recorded[0]
        assert first.method == "PATCH"
        assert first.path == path
        assert first.body == UPDATE
        assert [(name, value) for name, value in first.headers.items() if name.lower() == "x-odd"] == [
            ("X-Odd", "Two"),
            ("x-odd", "three"),
        ]
        assert first.headers["AUTHORIZATION"] == f"Bearer {sim.api_key}"
        sim.reset_stats()
        assert sim.recorded == []


async def test_counters_do_not_grow_with_the_number_of_requests() -> None:
    async with (
        RoomsSimulator(rooms=1, faults=Faults(0.5, kinds=["500", "502_after"])) as sim,
        RawConnection(sim) as connection,
    ):
        for _ in range(300):
            await connection.send(patch(sim))
            await connection.answer()
        stats = sim.stats
        assert stats.requests == 300
        assert len(stats.requests_by_room) == len(stats.updates_applied) == len(stats.by_method) == 1
        assert set(stats.faults) == {"500", "502_after"}
        assert stats.by_status[500] + stats.by_status[502] == stats.faults.total()
        assert sim.recorded == []
