"""Every kind of fault with every method: the outcome that the client reports matches the simulator's state."""

import asyncio
from typing import Any, Literal

import pytest

from aiorooms import AioroomsError, APIError, RetryPolicy, RoomsClient, RoomUpdate
from aiorooms.simulator import ALL, NOT_APPLIED, ODD, FaultKind, Faults, RoomsSimulator

from .conftest import QUICK, times

HARMLESS = {"mislabeled", "until_close", "early_hints", "slow", "stale", "long_header"}
"""Kinds of faults whose answers a client may accept: the answers are correct, and only their delivery is odd."""

Method = Literal["retrieve", "list", "create", "update", "delete"]
METHODS: tuple[Method, ...] = ("retrieve", "list", "create", "update", "delete")
HTTP = {"retrieve": "GET", "list": "GET", "create": "POST", "update": "PATCH", "delete": "DELETE"}
NAME = "new name"


async def call(client: RoomsClient, method: Method, room_id: str) -> Any:
    match method:
        case "retrieve":
            return await client.rooms.retrieve(room_id)
        case "list":
            return [room async for room in client.rooms.list()]
        case "create":
            return await client.rooms.create(unique_name=NAME)
        case "update":
            return await client.rooms.update(room_id, unique_name=NAME)
        case "delete":
            return await client.rooms.delete(room_id)


def carried_out(sim: RoomsSimulator, method: Method, room_id: str) -> bool:
    """Return whether the simulator has carried out a create, an update or a delete."""
    if method == "delete":
        return room_id not in sim.rooms
    return any(room["unique_name"] == NAME for room in sim.rooms.values())


def client_of(sim: RoomsSimulator, kind: FaultKind | None = None, retry: RetryPolicy = QUICK) -> RoomsClient:
    """Return a client. Its timeout is short only for faults that send no answer."""
    timeout = 0.3 if kind in ("stall_before", "stall_after") else 30
    return RoomsClient(sim.api_key, base_url=sim.url, retry=retry, timeout=timeout)


@pytest.mark.parametrize("kind", [*ALL, *ODD])
@pytest.mark.parametrize("method", METHODS)
async def test_after_one_fault_on_a_new_connection_the_reported_outcome_is_true(
    kind: FaultKind, method: Method
) -> None:
    async with RoomsSimulator(rooms=3, faults=Faults(script=[kind], slow_seconds=0.01)) as sim:
        room_id = sim.room_ids[0]
        async with client_of(sim, kind) as client:
            await outcome(sim, client, method, room_id, kind)


@pytest.mark.parametrize("kind", [*ALL, *ODD])
@pytest.mark.parametrize("method", METHODS)
async def test_after_one_fault_on_a_reused_connection_the_reported_outcome_is_true(
    kind: FaultKind, method: Method
) -> None:
    async with RoomsSimulator(rooms=3, faults=Faults(slow_seconds=0.01)) as sim:
        room_id = sim.room_ids[0]
        async with client_of(sim, kind) as client:
            await client.rooms.retrieve(sim.room_ids[1])
            sim.script(kind)
            await outcome(sim, client, method, room_id, kind)
            assert await client.rooms.retrieve(sim.room_ids[1])


async def outcome(sim: RoomsSimulator, client: RoomsClient, method: Method, room_id: str, kind: FaultKind) -> None:
    """Send one request that meets the fault once, and check that the reported outcome is true.

    Every method except `create` must succeed, because its request is sent again. But a redirect is always an error.
    """
    error: AioroomsError | None = None
    value: Any = None
    try:
        value = await call(client, method, room_id)
    except AioroomsError as caught:
        error = caught
        assert str(error).isprintable()
        assert sim.api_key not in repr(error) + str(error)
        assert error.__context__ is None or isinstance(error.__context__, AioroomsError)
    if kind == "redirect":
        assert isinstance(error, APIError)
        assert "redirected" in str(error)
        return
    if error is not None:
        assert method == "create", f"{method} was not sent again after {kind}: {error!r}"
        assert error.attempts == 1
        assert error.uncertain or not carried_out(sim, method, room_id)
        return
    if method in ("create", "update", "delete"):
        assert carried_out(sim, method, room_id), f"{method} was reported as done after {kind}, but was not carried out"
    if method in ("retrieve", "update") and kind != "wrong_room":
        assert value.id == room_id
    if method == "list":
        assert [room.id for room in value] == sim.room_ids
    if method == "create":
        # The client doesn't know the id of a new room, so it can't detect that the answer is about another room.
        assert kind in HARMLESS | {"wrong_room", "wrong_type", "surplus"} or kind in NOT_APPLIED, (
            f"a POST was reported as done after {kind}"
        )
        assert sum(room["unique_name"] == NAME for room in sim.rooms.values()) == 1


@pytest.mark.parametrize("kind", ALL)
async def test_an_update_that_always_fails_is_settled_by_one_read_back(kind: FaultKind) -> None:
    async with RoomsSimulator(rooms=1, faults=Faults(slow_seconds=0.01)) as sim:
        (room_id,) = sim.room_ids
        sim.script(*times(kind, 20), method="PATCH")
        async with client_of(sim, kind, RetryPolicy(max_attempts=2, base_delay=0.001)) as client:
            try:
                room = await client.rooms.update(room_id, max_participants=33)
            except APIError as error:
                assert not error.uncertain
                assert sim.rooms[room_id]["max_participants"] != 33, (
                    f"reported as failed after {kind}, but applied: {error}"
                )
                assert error.attempts == 2
                if kind != "bad_http":
                    assert "the update was not applied (max_participants: requested 33, the room has" in str(error)
            else:
                assert room.max_participants == 33
                assert sim.rooms[room_id]["max_participants"] == 33, f"reported as done after {kind}, but not applied"
        if kind == "wrong_type":  # a read-back is needed only if the updated field has the wrong type
            assert sim.stats.by_method["GET"] <= 1
        elif kind not in HARMLESS:
            assert sim.stats.by_method["GET"] == 1, f"{kind} was not settled by a single read-back"


@pytest.mark.parametrize("kind", ["reset_after", "500_after", "truncated", "garbage", "stall_after", "reset_before"])
async def test_an_update_whose_read_back_fails_is_uncertain(kind: FaultKind) -> None:
    async with RoomsSimulator(rooms=2) as sim:
        room_id, other = sim.room_ids
        sim.script(*times(kind, 20), room_id=room_id)
        async with client_of(sim, kind, RetryPolicy(max_attempts=2, base_delay=0.001)) as client:
            with pytest.raises(APIError, match="check the room before sending the request again") as caught:
                await client.rooms.update(room_id, max_participants=33)
            assert caught.value.uncertain
            assert caught.value.attempts == 2
            sim.script(*times(kind, 20), room_id=room_id)
            updates = [(room_id, RoomUpdate(max_participants=34)), (other, RoomUpdate(max_participants=34))]
            results = {result.room_id: result async for result in client.rooms.update_many(updates)}
            assert results[room_id].status == "uncertain"
            assert results[room_id].attempts == 2
            assert results[other].status == "updated"


def omit_field(sim: RoomsSimulator, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Make the simulator omit a field from its answers."""
    whole = type(sim._account.rooms[sim.room_ids[0]]).to_json

    def without(room: Any, **options: Any) -> Any:
        return {key: value for key, value in whole(room, **options).items() if key != name}

    monkeypatch.setattr("aiorooms.simulator._account.Room.to_json", without)


@pytest.mark.parametrize("kind", ["reset_after", "reset_before"])
@pytest.mark.parametrize("value", [None, "https://failover.example.net/"])
async def test_an_update_of_a_field_that_the_read_back_lacks_is_uncertain(
    monkeypatch: pytest.MonkeyPatch, kind: FaultKind, value: str | None
) -> None:
    async with RoomsSimulator(rooms=1) as sim:
        (room_id,) = sim.room_ids
        omit_field(sim, monkeypatch, "webhook_event_failover_url")
        sim.script(*times(kind, 9), method="PATCH")
        async with client_of(sim, retry=RetryPolicy(max_attempts=1)) as client:
            with pytest.raises(APIError, match="the read-back has no webhook_event_failover_url") as caught:
                await client.rooms.update(room_id, webhook_event_failover_url=value)
            assert caught.value.uncertain
            # If another field differs, the update was certainly not applied: updates are never applied in part.
            if kind == "reset_before":
                with pytest.raises(
                    APIError, match=r"not applied \(max_participants: requested 7, the room has"
                ) as caught:
                    await client.rooms.update(room_id, webhook_event_failover_url=value, max_participants=7)
                assert not caught.value.uncertain


async def test_an_update_is_not_uncertain_if_its_retry_gets_a_404() -> None:
    async with RoomsSimulator(rooms=1) as sim:
        (room_id,) = sim.room_ids
        sim.script("reset_before", method="PATCH")
        async with client_of(sim) as client:
            task = asyncio.create_task(client.rooms.update(room_id, max_participants=33))
            while sim.stats.requests == 0:
                await asyncio.sleep(0)
            sim.remove_room(room_id)
            with pytest.raises(APIError, match="not found") as caught:
                await task
            assert not caught.value.uncertain


@pytest.mark.parametrize("kind", ["close_after", "500_after", "garbage", "stall_after", "truncated"])
@pytest.mark.parametrize("warm", [True, False])
async def test_a_delete_whose_answer_was_lost_succeeds(kind: FaultKind, warm: bool) -> None:
    async with RoomsSimulator(rooms=1) as sim:
        (room_id,) = sim.room_ids
        async with client_of(sim, kind) as client:
            if warm:
                await client.rooms.retrieve(room_id)
            sim.script(kind, method="DELETE")
            await client.rooms.delete(room_id)
        assert room_id not in sim.rooms


async def test_a_delete_that_always_fails_is_settled_by_a_read_back() -> None:
    async with RoomsSimulator(rooms=2) as sim:
        first, second = sim.room_ids
        async with client_of(sim, retry=RetryPolicy(max_attempts=1)) as client:
            sim.script("500_after", "500", method="DELETE")
            await client.rooms.delete(first)
            with pytest.raises(APIError, match="500 room") as caught:
                await client.rooms.delete(second)
            assert not caught.value.uncertain
        assert sim.room_ids == [second]


async def test_2000_updates_with_faults_in_half_of_their_first_three_attempts_all_succeed() -> None:
    # The server ends each stall itself. On a slow machine, a short client timeout would also end other attempts.
    faults = Faults(rate=0.5, first_tries=3, methods={"PATCH"}, slow_seconds=0.02, stall_seconds=0.2)
    async with RoomsSimulator(rooms=2000, faults=faults, seed=7) as sim:
        wanted = RoomUpdate(
            webhook_event_url="https://hooks.example.com/rooms", webhook_event_failover_url=None, max_participants=20
        )
        async with RoomsClient(sim.api_key, base_url=sim.url, retry=QUICK) as client:
            results = [
                result async for result in client.rooms.update_many((room_id, wanted) for room_id in sim.room_ids)
            ]
        assert {result.status for result in results} == {"updated"}
        assert sorted(result.room_id for result in results) == sorted(sim.room_ids)
        assert all(
            (room["webhook_event_url"], room["max_participants"]) == ("https://hooks.example.com/rooms", 20)
            and not room["webhook_event_failover_url"]
            for room in sim.rooms.values()
        )
        assert sum(sim.stats.faults.values()) > 1000
        assert set(sim.stats.faults) == set(ALL), "some kinds of faults did not occur"
