"""Rollback: updated rooms get their previous values, unless someone else has modified them since."""

import asyncio
import os
import random
import re
import tempfile
import tracemalloc
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aiorooms import RoomsClient, RoomUpdate, WebhookUrlPolicy
from aiorooms.bulk import (
    BulkInputError,
    Change,
    Journal,
    JournalError,
    Plan,
    PlanFileError,
    apply,
    make_plan,
    plan_rollback,
    resume,
    select,
    verify,
)
from aiorooms.bulk._hidden_updates import HiddenUpdates
from aiorooms.models import FIELD_NAMES
from aiorooms.simulator import Faults, RoomsSimulator

from ..conftest import tasks_left
from .conftest import (
    HARMLESS,
    FixedChanges,
    account,
    append_lines,
    client_of,
    collect,
    counts,
    edit_journal,
    fields_of,
    handwritten_journal,
    in_format_1,
    interrupted,
    odd_answers,
    odd_lists,
    plan_of,
    states,
)

OLD = "https://old.example.com/rooms"
NEW = "https://new.example.com/rooms"


async def roll_back(client: RoomsClient, folder: Path, name: str = "a.journal") -> Sequence[str]:
    """Make a rollback plan and apply it. Return the conflicts that were found when the plan was made."""
    back = await plan_rollback(client, Journal.open(folder / name), folder / f"{name}.back")
    outcomes = await collect(apply(client, Plan.open(folder / f"{name}.back"), folder / f"{name}.back.journal"))
    assert counts(outcomes) == ({"updated": back.plan.rooms} if back.plan.rooms else {})
    return back.conflicts


async def test_a_rollback_restores_the_previous_values(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=300) as sim, client_of(sim) as client:
        before = account(sim)
        await collect(
            apply(
                client,
                await plan_of(client, tmp_path, "max_participants=20", "webhook_timeout_secs=5"),
                tmp_path / "a.journal",
            )
        )
        sim.reset_stats()
        back = await plan_rollback(client, Journal.open(tmp_path / "a.journal"), tmp_path / "back.plan")
        assert (back.plan.rooms, back.plan.unchanged, back.conflicts) == (300, 0, [])
        assert sim.stats.by_method == {"GET": 2}
        plan = Plan.open(tmp_path / "back.plan")
        assert plan.source == "rollback of a.journal"
        one = next(plan.updates())
        assert one.before == {"max_participants": 20, "webhook_timeout_secs": 5}
        assert one.after == {"max_participants": 10, "webhook_timeout_secs": None}
        assert counts(await collect(apply(client, plan, tmp_path / "back.journal"))) == {"updated": 300}
        assert account(sim) == before
        assert [one async for one in verify(client, plan)] == []
        # The rollback can be rolled back too.
        assert await roll_back(client, tmp_path, "back.journal") == []
        assert {fields["max_participants"] for fields in account(sim).values()} == {20}


async def test_a_room_modified_after_its_update_is_a_conflict(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=6) as sim, client_of(sim) as client:
        noted, other, back, gone, *_ = sim.room_ids
        await collect(apply(client, await plan_of(client, tmp_path), tmp_path / "a.journal"))
        sim.change_room(noted, enable_recording=True)
        sim.change_room(other, max_participants=30)
        sim.change_room(back, max_participants=10)
        sim.remove_room(gone)
        strict = await plan_rollback(client, Journal.open(tmp_path / "a.journal"), tmp_path / "s.plan", strict=True)
        assert [*strict.conflicts] == [
            f"room {noted} was modified by someone else after the update",
            f"room {other} was modified by someone else after the update",
            f"room {gone} is no longer in the account",
        ]
        assert (strict.plan.rooms, strict.plan.unchanged, strict.noted) == (2, 1, 0)
        conflicts = await roll_back(client, tmp_path)
        assert [*conflicts] == [
            f"room {other} was modified by someone else after the update (max_participants)",
            f"room {gone} is no longer in the account",
        ]
        assert [fields["max_participants"] for fields in account(sim).values()] == [10, 30, 10, 10, 10]
        assert account(sim)[noted]["enable_recording"] is True


async def test_an_answer_without_updated_at_does_not_prevent_a_strict_rollback(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=2) as sim, client_of(sim) as client:
        await collect(apply(client, await plan_of(client, tmp_path), tmp_path / "a.journal"))
        with odd_answers(sim, updated_at="yesterday"):
            back = await plan_rollback(client, Journal.open(tmp_path / "a.journal"), tmp_path / "b.plan", strict=True)
        assert (back.plan.rooms, back.noted, [*back.conflicts]) == (2, 0, [])


URL_CHANGES: Mapping[str, tuple[str, Mapping[str, Any], str]] = {
    "the other URL": (f"webhook_event_url={NEW}", {"webhook_event_failover_url": f"{NEW}/2"}, "conflict"),
    "the other way round": (f"webhook_event_failover_url={NEW}", {"webhook_event_url": f"{NEW}/2"}, "conflict"),
    "another field": (f"webhook_event_url={NEW}", {"max_participants": 30}, "noted"),
    "a URL, if no URL was changed": ("max_participants=20", {"webhook_event_url": NEW}, "noted"),
    "the spelling of the URL": (
        f"webhook_event_url={NEW}",
        {"webhook_event_url": NEW.replace("https", "HTTPS")},
        "noted",
    ),
}
"""What a run changes, what someone else changes after that, and what the rollback finds."""


@pytest.mark.parametrize("is_old", [False, True], ids=["format 2", "format 1"])
@pytest.mark.parametrize("change", URL_CHANGES)
async def test_the_two_webhook_urls_belong_together_in_a_rollback(tmp_path: Path, change: str, is_old: bool) -> None:
    edit, modified, finding = URL_CHANGES[change]
    async with RoomsSimulator(rooms=2) as sim, client_of(sim) as client:
        plan = await plan_of(client, tmp_path, edit)
        await collect(apply(client, in_format_1(plan) if is_old else plan, tmp_path / "a.journal"))
        sim.change_room(sim.room_ids[0], **modified)
        back = await plan_rollback(client, Journal.open(tmp_path / "a.journal"), tmp_path / "back.plan")
        # The journal of a plan in format 1 does not contain the other URL, so the old rule applies.
        is_conflict = finding == "conflict" or (is_old and "webhook" in edit)
        assert len(back.conflicts) == is_conflict
        assert (back.plan.rooms, back.noted) == (2 - is_conflict, not is_conflict)


async def test_a_field_that_someone_has_changed_back_is_not_in_the_rollback(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=1) as sim, client_of(sim) as client:
        before = account(sim)
        plan = await plan_of(client, tmp_path, "max_participants=20", "webhook_timeout_secs=5")
        await collect(apply(client, plan, tmp_path / "a.journal"))
        sim.change_room(sim.room_ids[0], max_participants=10)
        assert await roll_back(client, tmp_path) == []
        (planned,) = Plan.open(tmp_path / "a.journal.back").updates()
        assert (planned.before, planned.after) == ({"webhook_timeout_secs": 5}, {"webhook_timeout_secs": None})
        assert account(sim) == before


async def test_a_room_in_flight_is_rolled_back_if_its_update_was_applied(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=100, latency=0.005) as sim, client_of(sim) as client:
        before = account(sim)
        plan = await plan_of(client, tmp_path)
        assert await interrupted(sim, client, plan, tmp_path / "a.journal")
        async with asyncio.timeout(5):
            while sim.stats.in_flight:
                await asyncio.sleep(0.001)
        changed = sum(fields["max_participants"] == 20 for fields in account(sim).values())
        back = await plan_rollback(client, Journal.open(tmp_path / "a.journal"), tmp_path / "back.plan")
        assert (back.plan.rooms, back.conflicts) == (changed, [])
        await collect(apply(client, Plan.open(tmp_path / "back.plan"), tmp_path / "back.journal"))
        assert account(sim) == before


SKIPPED = {
    "failed, then skipped": (("begin", "failed 3", "begin", "skipped 0"), True),
    "uncertain, then skipped": (("begin", "uncertain 3", "begin", "skipped 0"), True),
    "in flight, then skipped": (("begin", "begin", "skipped 0"), True),
    "failed, then skipped twice": (("begin", "failed 1", "begin", "skipped 0", "begin", "skipped 2"), True),
    "only skipped": (("begin", "skipped 2"), False),
    "skipped twice": (("begin", "skipped 2", "begin", "skipped 2"), False),
    "failed before it was sent, then skipped": (("begin", "failed 0", "begin", "skipped 2"), False),
}
"""Lines of a room in a journal, with the number of attempts, and whether the room may have been updated."""


@pytest.mark.parametrize(("lines", "may_be_updated"), SKIPPED.values(), ids=SKIPPED)
async def test_a_skipped_room_is_rolled_back_if_an_earlier_attempt_may_have_been_applied(
    tmp_path: Path, lines: tuple[str, ...], may_be_updated: bool
) -> None:
    async with RoomsSimulator(rooms=2) as sim, client_of(sim) as client:
        path, room_id = tmp_path / "a.journal", sim.room_ids[0]
        await handwritten_journal(client, await plan_of(client, tmp_path), path, [])
        for line in lines:
            status, _, attempts = line.partition(" ")
            values = '"before":{"max_participants":10},"after":{"max_participants":20}'
            if status != "begin":
                values = f'"status":"{status}","attempts":{attempts}'
            append_lines(path, f'{{"{"begin" if status == "begin" else "end"}":"{room_id}","at":1.0,{values}}}')
        append_lines(path, '{"stop":"done","at":1.0}')
        sim.change_room(room_id, max_participants=20)
        back = await plan_rollback(client, Journal.open(path), tmp_path / "back.plan")
        assert (back.plan.rooms, [*back.conflicts]) == (may_be_updated, [])


async def test_a_room_that_the_list_lacks_or_shows_incompletely_is_read_again(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=4) as sim, client_of(sim) as client:
        lacking, conflicting, odd, gone = sim.room_ids
        await collect(apply(client, await plan_of(client, tmp_path), tmp_path / "a.journal"))
        journal = Journal.open(tmp_path / "a.journal")
        sim.remove_room(gone)
        sim.change_room(conflicting, max_participants=30)
        with odd_lists(sim, [odd], max_participants="20"):
            back = await plan_rollback(client, journal, tmp_path / "a.back")
        with odd_lists(sim, [lacking, conflicting]):
            again = await plan_rollback(client, journal, tmp_path / "b.back")
        assert back.plan.rooms == again.plan.rooms == 2
        assert sorted(back.conflicts) == sorted(again.conflicts)
        assert sorted(again.conflicts) == sorted(
            [
                f"room {conflicting} was modified by someone else after the update (max_participants)",
                f"room {gone} is no longer in the account",
            ]
        )
        assert len({one.room_id for one in Plan.open(tmp_path / "b.back").updates()} & {lacking, odd}) == 2


async def test_a_room_that_was_deleted_before_its_update_needs_no_rollback(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=3) as sim, client_of(sim) as client:
        plan = await plan_of(client, tmp_path)
        sim.remove_room(sim.room_ids[0])
        outcomes = await collect(apply(client, plan, tmp_path / "a.journal"))
        assert counts(outcomes) == {"failed": 1, "updated": 2}
        back = await plan_rollback(client, Journal.open(tmp_path / "a.journal"), tmp_path / "back.plan")
        assert (back.plan.rooms, [*back.conflicts]) == (2, [])


@pytest.mark.parametrize("other_name", [False, True], ids=["the path", "a link"])
async def test_a_rollback_does_not_overwrite_its_journal(tmp_path: Path, other_name: bool) -> None:
    async with RoomsSimulator(rooms=2) as sim, client_of(sim) as client:
        path = out = tmp_path / "a.journal"
        await collect(apply(client, await plan_of(client, tmp_path), path))
        if other_name:
            out = tmp_path / "link"
            out.symlink_to("a.journal")
        before = states(path)
        sim.reset_stats()
        with pytest.raises(
            JournalError, match=r"^the plan would overwrite the journal '.*'; choose another path$"
        ) as caught:
            await plan_rollback(client, Journal.open(path), out)
        assert caught.value.reason == "overwrites_journal"
        assert states(path) == before
        assert sim.stats.requests == 0


@pytest.mark.parametrize("end", ["failed", "skipped", "conflict"])
async def test_a_room_that_was_not_updated_is_not_rolled_back(tmp_path: Path, end: str) -> None:
    async with RoomsSimulator(rooms=3) as sim, client_of(sim) as client:
        plan, path = await plan_of(client, tmp_path), tmp_path / "a.journal"
        await handwritten_journal(client, plan, path, [sim.room_ids[0]], end)
        sim.change_room(sim.room_ids[1], max_participants=30)
        back = await plan_rollback(client, Journal.open(path), tmp_path / "back.plan")
        assert back.plan.rooms == 0
        assert [*back.conflicts] == []


async def test_a_room_that_had_the_wanted_values_before_is_not_rolled_back(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=3) as sim, client_of(sim) as client:
        plan = await plan_of(client, tmp_path)
        sim.change_room(sim.room_ids[0], max_participants=20)
        await collect(apply(client, plan, tmp_path / "a.journal"))
        assert await roll_back(client, tmp_path) == []
        assert [fields["max_participants"] for fields in account(sim).values()] == [20, 10, 10]


async def test_a_room_without_a_failover_url_has_none_after_the_rollback(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=2) as sim, client_of(sim) as client:
        sim.change_room(sim.room_ids[1], webhook_event_failover_url=None)
        await collect(
            apply(client, await plan_of(client, tmp_path, f"webhook_event_failover_url={NEW}"), tmp_path / "a.journal")
        )
        assert await roll_back(client, tmp_path) == []
        assert [room["webhook_event_failover_url"] for room in sim.rooms.values()] == [None, None]
        # One room had "" and has null now. Both mean that there is no URL, so no room has to be changed.
        again = await plan_rollback(client, Journal.open(tmp_path / "a.journal"), tmp_path / "again.plan")
        assert (again.plan.rooms, again.plan.unchanged, [*again.conflicts]) == (0, 2, [])


async def test_a_room_whose_previous_values_can_not_be_sent_is_a_conflict(tmp_path: Path) -> None:
    async with RoomsSimulator() as sim, client_of(sim) as client:
        none = sim.add_room(webhook_event_url="")
        both = sim.add_room(webhook_event_url=OLD, webhook_event_failover_url=OLD)
        odd = sim.add_room(webhook_event_url="ftp://old.example.com/")
        fine = sim.add_room(webhook_event_url="http://old.example.com/")
        update = RoomUpdate(webhook_event_url=NEW, webhook_event_failover_url=f"{NEW}/2")
        wanted = FixedChanges(dict.fromkeys((none, both, odd, fine), Change(update)))
        await make_plan(client, wanted, tmp_path / "a.plan")
        await collect(apply(client, Plan.open(tmp_path / "a.plan"), tmp_path / "a.journal"))
        conflicts = await roll_back(client, tmp_path)
        unsendable, failover = "the previous values of room", "webhook_event_failover_url"
        assert [conflict.partition(";")[0] for conflict in conflicts] == [
            f"room {none}: the API can't clear webhook_event_url, which had no value before",
            f"{unsendable} {both} can't be sent: {failover}: {OLD!r} points to the same place as the webhook URL",
            f"{unsendable} {odd} can't be sent: webhook_event_url: 'ftp://old.example.com/' has the scheme 'ftp'",
        ]
        assert all(conflict.isprintable() for conflict in conflicts)
        assert sim.rooms[fine]["webhook_event_url"] == "http://old.example.com/"
        sim.change_room(fine, webhook_event_url=NEW, webhook_event_failover_url=f"{NEW}/2")
        policy = WebhookUrlPolicy(schemes=("https",))
        path = tmp_path / "a.journal"
        # Without `updated_at` in the journal, rooms are compared by their values.
        edit_journal(path, b'"updated_at":"20', b'"was":"20')
        async with RoomsClient(sim.api_key, base_url=sim.url, webhook_url_policy=policy) as careful:
            back = await plan_rollback(careful, Journal.open(path), tmp_path / "again.plan")
        assert back.plan.rooms == 0
        assert f"{unsendable} {fine} can't be sent: webhook_event_url: 'http://" in back.conflicts[-1]


async def test_a_room_that_failed_and_was_then_updated_by_resume_is_rolled_back(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=2) as sim, client_of(sim) as client:
        first, second = sim.room_ids
        await make_plan(client, FixedChanges({first: Change(RoomUpdate(unique_name="taken"))}), tmp_path / "a.plan")
        sim.change_room(second, unique_name="taken")
        path = tmp_path / "a.journal"
        assert counts(await collect(apply(client, Plan.open(tmp_path / "a.plan"), path))) == {"failed": 1}
        assert (await plan_rollback(client, Journal.open(path), tmp_path / "0.plan")).conflicts == []
        sim.change_room(second, unique_name="another")
        assert counts(await collect(resume(client, path, retry_failed=True))) == {"updated": 1}
        assert await roll_back(client, tmp_path) == []
        assert sim.rooms[first]["unique_name"] == "room-000001"


async def test_a_journal_of_another_server_is_an_error(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=2) as sim, client_of(sim) as client, RoomsSimulator(rooms=2) as other:
        await collect(apply(client, await plan_of(client, tmp_path), tmp_path / "a.journal"))
        async with client_of(other) as elsewhere:
            with pytest.raises(JournalError, match=rf"a.journal' was written for {sim.url}, not for {other.url}"):
                await plan_rollback(elsewhere, Journal.open(tmp_path / "a.journal"), tmp_path / "back.plan")
        assert other.stats.requests == 0
        assert not (tmp_path / "back.plan").exists()


async def test_a_path_that_can_not_be_written_is_a_one_line_error(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=2) as sim, client_of(sim) as client:
        await collect(apply(client, await plan_of(client, tmp_path), tmp_path / "a.journal"))
        journal = Journal.open(tmp_path / "a.journal")
        with pytest.raises(PlanFileError, match=r"the plan '.*' can't be written: No such file or directory"):
            await plan_rollback(client, journal, tmp_path / "no" / "back.plan")


# --- random accounts ---

_urls = [f"https://{host}.example.com/{number}" for host in ("old", "a") for number in range(3)]
_rooms = st.fixed_dictionaries(
    {
        "max_participants": st.integers(2, 50),
        "enable_recording": st.booleans(),
        "webhook_event_url": st.sampled_from(_urls[:3]),
        "webhook_event_failover_url": st.sampled_from([None, "", *_urls[3:]]),
        "webhook_timeout_secs": st.none() | st.integers(0, 30),
    }
)
_options = st.fixed_dictionaries(
    {
        "where": st.lists(
            st.sampled_from(["recording=on", "webhook_host=old.example.com", "webhook_host!=a.example.com"]), max_size=1
        ),
        "set_fields": st.lists(
            st.sampled_from(
                ["max_participants=20", "enable_recording=on", "webhook_timeout_secs=null", "webhook_timeout_secs=3",
                 "webhook_event_failover_url=null", f"webhook_event_url={NEW}"]
            ), min_size=1, max_size=3, unique_by=lambda text: text.partition("=")[0],
        ),
        "rewrite_webhook_host": st.lists(
            st.sampled_from(["old.example.com=b.example.com", "a.example.com=c.example.com"]), max_size=1
        ),
    }
)  # fmt: skip


@given(
    rooms=st.lists(_rooms, max_size=12),
    options=_options,
    seed=st.integers(0, 1000),
    faults=st.booleans(),
    leaves=st.lists(st.integers(1, 8), max_size=2),
)
@settings(max_examples=25)
# A fault changes the type of a value in the first list of the second run.
@example(
    rooms=[{"webhook_event_url": "https://old.example.com/0", "max_participants": 2}],
    options={
        "where": [],
        "set_fields": ["max_participants=20"],
        "rewrite_webhook_host": ["old.example.com=b.example.com"],
    },
    seed=9,
    faults=True,
    leaves=[],
)
# A fault may remove the id of a room in a list. Such a room is skipped when the list is searched for conflicts.
@pytest.mark.filterwarnings("ignore:the list of rooms contains entries without an id:RuntimeWarning")
def test_plan_apply_and_rollback_restore_random_accounts(
    rooms: list[dict[str, Any]], options: dict[str, Any], seed: int, faults: bool, leaves: list[int]
) -> None:
    asyncio.run(apply_and_roll_back(rooms, options, seed, leaves, Faults(0.3, kinds=HARMLESS) if faults else None))


async def apply_and_roll_back(
    rooms: list[dict[str, Any]], options: dict[str, Any], seed: int, leaves: list[int], faults: Faults | None
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with RoomsSimulator(seed=seed) as sim, client_of(sim) as client:
            for fields in rooms:
                sim.add_room(**fields)
            before = account(sim)
            try:
                summary = await make_plan(client, select(**options), folder / "a.plan")
            except BulkInputError as error:
                assert {problem.code for problem in error.problems} == {"host_not_found"}
                return
            plan, path = Plan.open(folder / "a.plan"), folder / "a.journal"
            sim.faults = faults
            runs = [apply(client, plan, path, concurrency=3)]
            for leave in leaves:
                outcomes = runs[-1].outcomes()
                for _ in range(leave):
                    await anext(outcomes, None)
                await outcomes.aclose()
                runs.append(resume(client, path, concurrency=3))
            await collect(runs[-1])
            after = account(sim)
            wanted = {one.room_id: one.after for one in plan.updates()}
            assert summary.rooms == len(wanted)
            assert after == {room_id: {**fields, **wanted.get(room_id, {})} for room_id, fields in before.items()}
            back = await plan_rollback(client, Journal.open(path), folder / "back.plan")
            assert (back.plan.rooms, [*back.conflicts]) == (len(wanted), [])
            await collect(apply(client, Plan.open(folder / "back.plan"), folder / "back.journal", concurrency=3))
            assert account(sim) == before
            assert tasks_left() == set()


async def test_all_writable_fields_are_applied_and_rolled_back(tmp_path: Path) -> None:
    chance = random.Random(1)
    async with RoomsSimulator(rooms=20) as sim, client_of(sim) as client:
        before = account(sim)
        changes = {
            room_id: Change(
                RoomUpdate(
                    unique_name=f"new-{room_id}",
                    max_participants=chance.randint(11, 50),
                    enable_recording=True,
                    webhook_event_url=f"{NEW}/{room_id}",
                    webhook_event_failover_url=f"{NEW}/failover",
                    webhook_timeout_secs=chance.randint(0, 30),
                )
            )
            for room_id in sim.room_ids
        }
        await make_plan(client, FixedChanges(changes), tmp_path / "a.plan")
        await collect(apply(client, Plan.open(tmp_path / "a.plan"), tmp_path / "a.journal"))
        for room_id, room in sim.rooms.items():
            assert fields_of(room) == changes[room_id].update.to_dict()
            assert set(fields_of(room)) == set(FIELD_NAMES)
        assert await roll_back(client, tmp_path) == []
        assert account(sim) == before


async def test_a_room_whose_value_can_not_be_read_is_named_and_not_rolled_back(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=2) as sim, client_of(sim) as client:
        for room_id in sim.room_ids:
            sim.change_room(room_id, webhook_event_failover_url="")
        url = "webhook_event_failover_url=https://failover.example.com"
        await collect(apply(client, await plan_of(client, tmp_path, url), tmp_path / "a.journal"))
        with odd_answers(sim, webhook_event_failover_url=5):
            back = await plan_rollback(client, Journal.open(tmp_path / "a.journal"), tmp_path / "back.plan")
        assert back.plan.rooms == back.plan.unchanged == 0
        assert sorted(back.conflicts) == [
            f"room {room_id}: the server's answer has no readable webhook_event_failover_url"
            for room_id in sorted(sim.room_ids)
        ]


# --- the journal while it is read, and memory ---


def change_line(path: Path, number: int, old: bytes, new: bytes) -> None:
    """Change one line of a file in place, as another program or a failing disk would."""
    lines = path.read_bytes().splitlines(keepends=True)
    assert old in lines[number - 1]
    before = sum(map(len, lines[: number - 1]))
    with path.open("r+b") as file:
        file.seek(before)
        file.write(lines[number - 1].replace(old, new))


def while_listing(monkeypatch: pytest.MonkeyPatch, change: Callable[[], object]) -> None:
    """Call `change` when the journal has been read and the account has not been listed yet."""
    recover = HiddenUpdates.recover

    async def recover_and_change(hidden: HiddenUpdates, files: ExitStack) -> None:
        await recover(hidden, files)
        await asyncio.to_thread(change)

    monkeypatch.setattr(HiddenUpdates, "recover", recover_and_change)


async def test_a_journal_may_be_appended_to_replaced_or_deleted_while_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with RoomsSimulator(rooms=3) as sim, client_of(sim) as client:
        path = tmp_path / "a.journal"
        await collect(apply(client, await plan_of(client, tmp_path), path))
        journal = Journal.open(path)

        def change() -> None:
            append_lines(path, f'{{"end":"{sim.room_ids[0]}","at":9.0,"status":"skipped"}}')
            path.rename(tmp_path / "moved")
            path.write_bytes(b"another file")

        while_listing(monkeypatch, change)
        back = await plan_rollback(client, journal, tmp_path / "back.plan")
        assert (back.plan.rooms, back.conflicts, back.damaged_lines) == (3, [], [])


CHANGES: Mapping[str, tuple[bytes, bytes]] = {
    "a value": (b'"before":{"max_participants":10}', b'"before":{"max_participants":11}'),
    "the room": (b'"begin":"', b'"begin":" '),
    "the kind": (b'"begin":', b'"begun":'),
    "no JSON": (b"{", b"["),
}


@pytest.mark.parametrize(
    ("version", "change"),
    # Without a checksum, as in format 1, a wrong value can't be detected.
    [(2, "a value"), *((version, change) for version in (1, 2) for change in ("the room", "the kind", "no JSON"))],
)
async def test_a_journal_that_is_modified_while_it_is_read_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: int, change: str
) -> None:
    old, new = CHANGES[change]
    async with RoomsSimulator(rooms=3) as sim, client_of(sim) as client:
        path = tmp_path / "a.journal"
        await collect(apply(client, await plan_of(client, tmp_path), path))
        if version == 1:
            without = b"".join(re.sub(rb',"crc":"\w{8}"}', b"}", line) for line in path.read_bytes().splitlines(True))
            path.write_bytes(without.replace(b'"aiorooms_journal":2', b'"aiorooms_journal":1'))
        journal = Journal.open(path)
        while_listing(monkeypatch, lambda: change_line(path, 4, old, new))
        with pytest.raises(JournalError, match=r"a.journal' was modified while the rollback was planned") as caught:
            await plan_rollback(client, journal, tmp_path / "back.plan")
        assert caught.value.reason == "replaced_journal"
        assert not (tmp_path / "back.plan").exists()


async def test_a_journal_that_is_truncated_while_it_is_read_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with RoomsSimulator(rooms=3) as sim, client_of(sim) as client:
        path = tmp_path / "a.journal"
        await collect(apply(client, await plan_of(client, tmp_path), path))
        while_listing(monkeypatch, lambda: os.truncate(path, 700))
        with pytest.raises(JournalError, match="was modified while the rollback was planned"):
            await plan_rollback(client, Journal.open(path), tmp_path / "back.plan")


async def test_a_plan_that_is_modified_while_hidden_rooms_are_looked_up_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with RoomsSimulator(rooms=200) as sim, client_of(sim) as client:
        path = tmp_path / "a.journal"
        plan = await plan_of(client, tmp_path)
        await collect(apply(client, plan, path))
        change_line(path, 3, b'"begin"', b'"began"')
        while_listing(monkeypatch, lambda: change_line(plan.path, 2, b":10}", b":12}"))
        with pytest.raises(PlanFileError, match="was modified or replaced after it was opened"):
            await plan_rollback(client, Journal.open(path), tmp_path / "back.plan")


async def test_hidden_rooms_that_no_list_contains_are_read_with_a_get(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=4) as sim, client_of(sim) as client:
        path, (first, second, third, gone) = tmp_path / "a.journal", sim.room_ids
        plan = await plan_of(client, tmp_path)
        await collect(apply(client, plan, path))
        edit_journal(path, b'"begin":', b'"began":')
        sim.remove_room(gone)
        with odd_lists(sim, [first, second]):
            back = await plan_rollback(client, Journal.open(path), tmp_path / "b.plan")
        assert {one.room_id for one in Plan.open(tmp_path / "b.plan").updates()} == {first, second, third}
        assert back.conflicts == [f"room {gone} is no longer in the account"]
        plan.path.unlink()
        with odd_lists(sim, [first, second]):
            back = await plan_rollback(client, Journal.open(path), tmp_path / "b.plan")
        hidden = [conflict.partition(":")[0] for conflict in back.conflicts]
        assert sorted(hidden) == sorted(f"room {room_id}" for room_id in (first, second, third))


async def test_rooms_that_are_in_no_list_are_handled_in_the_order_of_the_journal(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=8) as sim, client_of(sim) as client:
        path, ids = tmp_path / "a.journal", sim.room_ids
        await handwritten_journal(client, await plan_of(client, tmp_path), path, [])
        begin = '{{"begin":"{}","at":1.0,"before":{{"max_participants":10}},"after":{{"max_participants":20}}}}'
        order = [ids[number] for number in (5, 2, 7, 0, 3)]
        append_lines(path, begin.format(ids[3]), f'{{"end":"{ids[3]}","at":1.0,"status":"skipped"}}')
        append_lines(path, *(begin.format(room_id) for room_id in order), '{"stop":"done","at":1.0}')
        for room_id in ids:
            sim.remove_room(room_id)
        back = await plan_rollback(client, Journal.open(path), tmp_path / "back.plan")
        assert back.conflicts == [f"room {room_id} is no longer in the account" for room_id in order]


@pytest.mark.parametrize("case", ["updated", "conflict", "interrupted"])
async def test_the_memory_of_a_rollback_hardly_grows_with_the_number_of_rooms(tmp_path: Path, case: str) -> None:
    async def used(rooms: int) -> int:
        async with RoomsSimulator(rooms=rooms) as sim, client_of(sim) as client:
            folder = tmp_path / str(rooms)
            folder.mkdir()
            url = "https://new.example.com/clinics/7/rooms/consultation/events?key=0123456789"
            changes = {each: Change(RoomUpdate(webhook_event_url=f"{url}&{each}")) for each in sim.room_ids}
            await make_plan(client, FixedChanges(changes), folder / "a.plan")
            run = apply(client, Plan.open(folder / "a.plan"), folder / "a.journal")
            if case == "interrupted":
                run.stop("by hand")
            await collect(run)
            if case == "interrupted":
                edit_journal(folder / "a.journal", b'{"stop":', b'{"went":')
            if case == "conflict":
                for room_id in sim.room_ids:
                    sim.change_room(room_id, webhook_event_url=f"{OLD}/others")
            journal = Journal.open(folder / "a.journal")
            tracemalloc.start()
            try:
                back = await plan_rollback(client, journal, folder / "back.plan")
                _, peak = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
            assert len(back.conflicts) == (rooms if case == "conflict" else 0)
            assert back.plan.rooms == (rooms if case == "updated" else 0)
            return peak

    few, many = 300, 1200
    assert (await used(many) - await used(few)) / (many - few) < 400
