"""The index of the rooms of a plan by id."""

from pathlib import Path

from aiorooms.bulk import Plan
from aiorooms.bulk._plan_records import PLANNED
from aiorooms.bulk.distributed._batches import BATCH_SIZE
from aiorooms.bulk.distributed._engine import Engine
from aiorooms.bulk.distributed._plan_index import PlanIndex
from aiorooms.bulk.distributed._store import RunStore
from aiorooms.simulator import RoomsSimulator

from .conftest import client_of, plan_of, submitted


async def test_each_room_is_found_in_its_batch(tmp_path: Path, on: str) -> None:
    async with RoomsSimulator(rooms=2 * BATCH_SIZE + 7) as sim:
        name = await submitted(sim, tmp_path, on)
        plan = Plan.open(tmp_path / "a.plan")
        async with Engine(on, "test", redelivery=15.0) as engine:
            index = await PlanIndex.of(RunStore(engine.client, name), 3)
            for position, planned in enumerate(plan.updates()):
                found = await index.find(planned.room_id.upper())
                assert found is not None
                assert (found.number, found.place) == divmod(position, BATCH_SIZE)
                assert PLANNED.line(found.planned) == PLANNED.line(planned)
            assert await index.find("00000000-0000-4000-8000-000000000000") is None
            assert await index.find("") is None


async def test_a_plan_without_rooms(tmp_path: Path, on: str) -> None:
    async with RoomsSimulator(rooms=3) as sim, client_of(sim) as client:
        plan = await plan_of(client, tmp_path, "max_participants=10", where=("name=nothing",))
        assert plan.rooms == 0
        async with Engine(on, "test", redelivery=15.0) as engine:
            index = await PlanIndex.of(RunStore(engine.client, "none"), 0)
            assert await index.find(sim.room_ids[0]) is None
