"""`FixRules` fixes what can be fixed by rule, and leaves out what would not be valid."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from aiorooms import InvalidRequestError, Room, RoomsClient, RoomUpdate, WebhookUrlPolicy
from aiorooms.bulk import BulkInputError, Plan, computed, make_plan
from aiorooms.errors import ClientSettingsError
from aiorooms.simulator import RoomsSimulator
from aiorooms.webhook_config import FixRules, audit

from ..conftest import tasks_left
from .rooms import FAILOVER, TIMEOUT, URL, room

BACKUP = "https://backup.example.net/rooms"
ALL = FixRules(https=True, failover_url=BACKUP, timeout_secs=15)


@pytest.mark.parametrize(
    ("fields", "fixed"),
    [
        ({}, {}),
        ({URL: "http://hooks.example.com:80/a%2f?x"}, {URL: "https://hooks.example.com/a%2f?x"}),
        ({FAILOVER: "HTTP://b.example.com:8080/"}, {FAILOVER: "https://b.example.com:8080/"}),
        ({FAILOVER: None}, {FAILOVER: BACKUP}),
        ({FAILOVER: ""}, {FAILOVER: BACKUP}),
        ({FAILOVER: "https://hooks.example.com/b"}, {FAILOVER: BACKUP}),
        ({FAILOVER: "http://hooks.example.com/b"}, {FAILOVER: BACKUP}),
        ({URL: "https://backup.example.net/x", FAILOVER: None}, {}),
        ({URL: "hooks.example.com/x", FAILOVER: "backup.example.org/x"}, {}),
        ({TIMEOUT: None}, {TIMEOUT: 15}),
        ({TIMEOUT: 0}, {TIMEOUT: 15}),
        ({TIMEOUT: 30}, {}),
        ({URL: None, FAILOVER: None, TIMEOUT: None}, {}),
        ({URL: "", TIMEOUT: None}, {}),
        ({URL: "http://hooks.example.com/#a", TIMEOUT: 0}, {TIMEOUT: 15}),
        (
            {URL: "http://a.example.com/", FAILOVER: None, TIMEOUT: 0},
            {URL: "https://a.example.com/", FAILOVER: BACKUP, TIMEOUT: 15},
        ),
    ],
)  # fmt: skip
def test_each_rule_fixes_its_findings_and_nothing_else(fields: dict[str, Any], fixed: dict[str, Any]) -> None:
    update = ALL(room(**fields))
    assert (None if update is None else update.to_dict()) == (fixed or None)


def test_rules_that_are_not_given_change_nothing() -> None:
    bad = room(webhook_event_url="http://a.example.com/", webhook_event_failover_url=None, webhook_timeout_secs=None)
    alone = {URL: FixRules(https=True), FAILOVER: FixRules(failover_url=BACKUP), TIMEOUT: FixRules(timeout_secs=1)}
    for changed, rules in alone.items():
        update = rules(bad)
        assert update is not None
        assert set(update.to_dict()) == {changed}


def test_https_is_left_out_if_both_urls_would_be_the_same() -> None:
    pair = room(webhook_event_url="http://a.example.com/x", webhook_event_failover_url="https://a.example.com/x")
    assert FixRules(https=True)(pair) is None
    update = ALL(pair)
    assert update is not None
    assert update.to_dict() == {URL: "https://a.example.com/x", FAILOVER: BACKUP}


def test_a_fix_that_the_policy_rejects_is_left_out() -> None:
    rules = FixRules(https=True, timeout_secs=5, webhook_url_policy=WebhookUrlPolicy(allow_private_hosts=False))
    assert rules(room(webhook_event_url="http://10.0.0.1/")) is None
    assert rules(room(webhook_event_url="http://10.0.0.1/", webhook_timeout_secs=0)) == RoomUpdate(
        webhook_timeout_secs=5
    )


def test_a_room_whose_settings_can_not_be_read_is_not_changed() -> None:
    assert ALL(Room(id=room().id, webhook_event_url="http://a.example.com", unreadable={FAILOVER: 1})) is None


def test_invalid_rules_raise() -> None:
    with pytest.raises(ClientSettingsError, match="FixRules has no rule; give https=True, "):
        FixRules()
    with pytest.raises(ClientSettingsError, match=r"FixRules\(timeout_secs=\) is 0"):
        FixRules(timeout_secs=0)
    with pytest.raises(InvalidRequestError) as caught:
        FixRules(failover_url="backup", timeout_secs=31)
    assert [problem.field for problem in caught.value.problems] == [FAILOVER, TIMEOUT]


async def test_the_pairs_are_the_input_of_update_many_and_then_nothing_is_left_to_fix() -> None:
    async with RoomsSimulator(rooms=300) as sim, RoomsClient(sim.api_key, base_url=sim.url) as client:
        sim.change_room(
            sim.room_ids[0], webhook_event_failover_url="https://other.example.com/", webhook_timeout_secs=3
        )
        async with aclosing(client.rooms.update_many(ALL.updates(client.rooms.list()))) as results:
            statuses = [result.status async for result in results]
        assert statuses == ["updated"] * 299
        assert [one async for one in audit(client.rooms.list(), ignore=["unusual"])] == []
        async with aclosing(ALL.updates(client.rooms.list())) as updates:
            assert [pair async for pair in updates] == []
    assert tasks_left() == set()


class Rooms(AsyncIterator[Room]):
    """A source of rooms that is no generator."""

    closed = False

    async def __anext__(self) -> Room:
        return room(webhook_timeout_secs=0)

    async def aclose(self) -> None:
        self.closed = True


async def test_stopping_early_closes_the_rooms_whatever_they_are() -> None:
    rooms = Rooms()
    async with aclosing(ALL.updates(rooms)) as updates:
        await anext(updates)
    assert rooms.closed
    rooms = Rooms()
    async with aclosing(audit(rooms)) as findings:
        await anext(findings)
    assert rooms.closed


async def test_the_rules_are_an_input_of_a_plan(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=10) as sim, RoomsClient(sim.api_key, base_url=sim.url) as client:
        summary = await make_plan(client, computed(ALL), tmp_path / "a.plan")
        assert (summary.rooms, summary.unchanged) == (10, 0)
        plan = Plan.open(tmp_path / "a.plan")
        assert plan.source == "FixRules"
        assert all(one.after == {FAILOVER: BACKUP, TIMEOUT: 15} for one in plan.updates())


async def test_problems_of_a_computed_update_name_the_room(tmp_path: Path) -> None:
    def double(room: Room) -> RoomUpdate | None:
        return RoomUpdate(max_participants=(room.max_participants or 0) * 20)

    async with RoomsSimulator(rooms=2) as sim, RoomsClient(sim.api_key, base_url=sim.url) as client:
        sim.change_room(sim.room_ids[0], max_participants=2)
        with pytest.raises(BulkInputError) as caught:
            await make_plan(client, computed(double, source="doubled"), tmp_path / "a.plan")
        (problem,) = caught.value.problems
        assert (problem.file, problem.field) == (f"room {sim.room_ids[1]}", "max_participants")
    assert not (tmp_path / "a.plan").exists()


async def test_a_computed_value_that_is_no_update_is_an_error_that_names_the_function(tmp_path: Path) -> None:
    def fields(room: Room) -> Any:
        return {"max_participants": room.max_participants}

    async def later(room: Room) -> Any:
        return fields(room)

    async with RoomsSimulator(rooms=2) as sim, RoomsClient(sim.api_key, base_url=sim.url) as client:
        wrong_functions: dict[str, Any] = {"dict": fields, "coroutine": later}
        for given, update_of in wrong_functions.items():
            wrong = rf"{update_of.__name__} returned a value of type {given}; return a RoomUpdate or None"
            with pytest.raises(TypeError, match=wrong):
                await make_plan(client, computed(update_of, source="fixes"), tmp_path / "a.plan")
    assert not (tmp_path / "a.plan").exists()
