"""`verify`: rooms that differ from the plan are found."""

from pathlib import Path
from typing import BinaryIO

import pytest

from aiorooms.bulk import Difference, Journal, Plan, PlanFileError, apply, plan_rollback, verify
from aiorooms.simulator import RoomsSimulator

from ..conftest import tasks_left
from .conftest import (
    account,
    client_of,
    collect,
    counts,
    edit_journal,
    odd_lists,
    plan_of,
)


async def test_verify_yields_rooms_that_differ_from_the_plan(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=4) as sim, client_of(sim) as client:
        first, second, third, fourth = sim.room_ids
        plan = await plan_of(client, tmp_path, "max_participants=20", "enable_recording=on")
        sim.change_room(first, max_participants=20, enable_recording=True)
        sim.change_room(second, max_participants=20)
        sim.remove_room(third)
        found = {one.room_id: one async for one in verify(client, plan)}
        both = {"max_participants": 20, "enable_recording": True}
        assert found == {
            second: Difference(
                room_id=second,
                unique_name="room-000002",
                wanted={"enable_recording": True},
                found={"enable_recording": False},
            ),
            third: Difference(room_id=third, unique_name="room-000003", wanted=both, found=None),
            fourth: Difference(
                room_id=fourth,
                unique_name="room-000004",
                wanted=both,
                found={"max_participants": 10, "enable_recording": False},
            ),
        }


async def test_verify_with_a_plan_for_another_server_is_an_error(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=1) as sim, client_of(sim) as client, RoomsSimulator() as other:
        plan = await plan_of(client, tmp_path)
        async with client_of(other) as elsewhere:
            with pytest.raises(PlanFileError, match=r"was made for http://.*, not for http://"):
                await anext(verify(elsewhere, plan))
        assert other.stats.requests == 0


async def test_closing_verify_early_closes_the_plan_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[BinaryIO] = []
    open_file = Plan.open_file

    def recorded(plan: Plan) -> BinaryIO:
        opened.append(open_file(plan))
        return opened[-1]

    async with RoomsSimulator(rooms=3) as sim, client_of(sim) as client:
        plan = await plan_of(client, tmp_path)
        monkeypatch.setattr(Plan, "open_file", recorded)
        differences = verify(client, plan)
        await anext(differences)
        assert [file.closed for file in opened] == [False]
        await differences.aclose()
        assert [file.closed for file in opened] == [True]
    assert tasks_left() == set()


async def test_urls_that_the_server_normalised_do_not_differ_from_the_plan(tmp_path: Path) -> None:
    wanted = "webhook_event_url=https://X.example.com/h"
    async with RoomsSimulator(rooms=2) as sim, client_of(sim) as client:
        before = account(sim)
        plan = await plan_of(client, tmp_path, wanted)
        assert counts(await collect(apply(client, plan, tmp_path / "a.journal"))) == {"updated": 2}
        for room_id in sim.room_ids:
            sim.change_room(room_id, webhook_event_url="https://x.example.com/h")
        assert [one async for one in verify(client, plan)] == []
        again = await plan_of(client, tmp_path, wanted, name="again.plan")
        assert (again.rooms, again.unchanged) == (0, 2)
        # A rollback doesn't treat these rooms as modified. The test removes `updated_at` from the journal, so that
        # `plan_rollback` compares values.
        path = tmp_path / "a.journal"
        edit_journal(path, b'"updated_at":"20', b'"was":"20')
        back = await plan_rollback(client, Journal.open(path), tmp_path / "back.plan")
        assert (back.plan.rooms, back.conflicts) == (2, [])
        await collect(apply(client, Plan.open(tmp_path / "back.plan"), tmp_path / "back.journal"))
        assert account(sim) == before
        # A URL with a different path is different, even if only the case differs.
        sim.change_room(sim.room_ids[0], webhook_event_url="https://x.example.com/H")
        assert len([one async for one in verify(client, plan)]) == 2


async def test_a_room_that_the_list_lacks_or_shows_incompletely_is_read_again(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=3) as sim, client_of(sim) as client:
        first, second, third = sim.room_ids
        plan = await plan_of(client, tmp_path)
        sim.change_room(first, max_participants=20)
        sim.change_room(second, max_participants=20)
        sim.remove_room(third)
        with odd_lists(sim, [first]):
            assert [one.room_id async for one in verify(client, plan)] == [third]
        with odd_lists(sim, [first, second], max_participants="20"):
            assert [one.room_id async for one in verify(client, plan)] == [third]
        sim.change_room(second, max_participants=30)
        with odd_lists(sim, [second]):
            found = [(one.room_id, one.found) async for one in verify(client, plan)]
        assert sorted(found) == sorted([(second, {"max_participants": 30}), (third, None)])
