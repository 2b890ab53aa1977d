"""A damaged line of a journal is named, and what it hides is read back from the account, not guessed."""

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

import attrs
import pytest

from aiorooms import RoomsClient
from aiorooms.bulk import Journal, JournalError, Plan, _journal, plan_rollback, resume, write_report
from aiorooms.bulk._damage import damage_of_journal
from aiorooms.bulk._journal import journal_lines
from aiorooms.bulk._journal_records import Stop, begin_line, end_line, line_of
from aiorooms.bulk._journal_writer import JournalWriter
from aiorooms.bulk._line_checksum import sealed
from aiorooms.bulk._plan_records import PLANNED
from aiorooms.simulator import RoomsSimulator

from .conftest import by_room, client_of, collect, counts, handwritten_journal, patches, plan_of, states, write_plan

# --- every bit ---


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a journal that some tests copy and damage."""
    folder = tmp_path_factory.mktemp("written")

    async def write() -> None:
        plan = write_plan(folder / "a.plan", 1)
        async with JournalWriter.create(folder / "a.journal", plan) as writer:
            for planned in plan.updates():
                writer.write(begin_line(PLANNED.line(planned), 1.5))
                writer.write(end_line(planned.room_id, 1.5, "updated", attempts=1))

    asyncio.run(write())
    return folder / "a.journal"


def test_every_flipped_bit_is_noticed_and_no_wrong_value_is_read(written: Path, tmp_path: Path) -> None:
    content = written.read_bytes()
    header = content.index(b"\n") + 1
    right = [*Journal.open(written).entries()]
    path = tmp_path / "a.journal"
    path.write_bytes(content)
    with path.open("r+b", buffering=0) as file:
        for bit in range(8 * len(content)):
            place = bit // 8
            os.pwrite(file.fileno(), bytes([content[place] ^ 1 << bit % 8]), place)
            if place < header:
                with pytest.raises(JournalError) as caught:
                    Journal.open(path)
                assert caught.value.reason in ("damaged_journal", "not_a_journal"), bit
            else:
                journal = Journal.open(path)
                lines = [*journal_lines(journal)]
                entries = [line.record for line in lines if line.record is not None]
                assert all(entry in right for entry in entries), bit
                assert 1 <= len(right) - len(entries) <= 2, bit
                is_cut = journal.size < len(content)  # the last line break was flipped
                assert is_cut or any(line.is_damaged for line in lines), bit
            os.pwrite(file.fileno(), content[place : place + 1], place)


@pytest.mark.parametrize(
    "line",
    [
        b'{"end":"x","at":1.0}',
        b'{"end":"x","status":"done","at":1.0}',
        b'{"end":5,"status":"updated","at":1.0}',
        b'{"end":"x","status":"updated","updated_at":5}',
        b'{"end":"x","at":1.0,"status":"updated","updated_at":"2x24-05-01T00:00:00Z"}',
        b'{"begin":"x","at":1.0}',
        b'{"begin":"x","at":1.0,"before":{},"after":null}',
        b'{"begin":null,"at":1.0,"before":{},"after":{}}',
    ],
)
def test_a_line_that_is_not_a_record_is_damaged_even_if_its_checksum_is_right(
    written: Path, tmp_path: Path, line: bytes
) -> None:
    lines = written.read_bytes().splitlines(keepends=True)
    path = tmp_path / "a.journal"
    path.write_bytes(b"".join([*lines[:3], sealed(line + b"\n"), *lines[4:]]))
    assert Journal.open(path).damaged_lines() == [4]
    assert len([*Journal.open(path).entries()]) == len(lines) - 2
    assert len([*Journal.open(path).records()]) == len(lines) - 2


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"\0" * 9,
        b"\0" * 3_000_000,
        b"\xff" * 1_048_576,
        b"{" * 1_048_575,
        b'{"run":1,"at":1.5}',
        b'{"later":"kinds"}',
    ],
    ids=["empty", "list", "zeros", "many zeros", "a long line", "a line of 1 MB", "no checksum", "unknown kind"],
)
def test_text_between_two_lines_is_one_damaged_line(written: Path, tmp_path: Path, text: bytes) -> None:
    lines = written.read_bytes().splitlines(keepends=True)
    path = tmp_path / "a.journal"
    path.write_bytes(b"".join([*lines[:3], text + b"\n", *lines[3:]]))
    journal = Journal.open(path)
    assert journal.damaged_lines() == [4]
    assert journal.states() == Journal.open(written).states()


def test_a_line_that_is_longer_than_any_line_of_a_journal_is_not_kept_in_memory(
    written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = written.read_bytes().splitlines(keepends=True)
    path = tmp_path / "a.journal"
    long = [sealed(b'{"stop":"%s","at":1.0}\n' % (b"x" * size)) for size in (2_000_000, 6_000_000)]
    path.write_bytes(b"".join([*lines[:3], *long, *lines[3:]]))
    assert Journal.open(path).damaged_lines() == []
    monkeypatch.setattr(_journal, "_LONGEST_LINE", 4_000_000)
    journal = Journal.open(path)
    assert journal.damaged_lines() == [5]
    assert journal.states() == Journal.open(written).states()


# --- resume and rollback ---


@attrs.frozen
class Scene:
    """A plan with 5 rooms, the server after two runs, and their journal.

    In the first run, a room was updated, one failed, and two were in flight when the run was aborted; the update of one
    of these two was applied. The second run updated the failed room, and was then stopped. One room was never sent.
    """

    sim: RoomsSimulator
    client: RoomsClient
    plan: Plan
    path: Path
    """The path of the journal."""

    @property
    def changed(self) -> set[str]:
        """The ids of the rooms that the runs have changed."""
        return {room_id for room_id, room in self.sim.rooms.items() if room["max_participants"] == 20}


@asynccontextmanager
async def two_runs(folder: Path, *, until: int = 13) -> AsyncGenerator[Scene]:
    """Yield a scene. The second run did not begin if the journal is read only until a line before its `run` line."""
    async with RoomsSimulator(rooms=5) as sim, client_of(sim) as client:
        plan, path = await plan_of(client, folder), folder / "a.journal"
        planned = {one.room_id: PLANNED.line(one) for one in plan.updates()}
        updated, failed, applied, lost, _ = sim.room_ids
        at: dict[str, datetime] = {}
        for room_id in (updated, applied, failed):
            if room_id != failed or until >= SECOND_RUN:
                sim.change_room(room_id, max_participants=20)
            at[room_id] = (await client.rooms.retrieve(room_id)).updated_at or datetime.now(UTC)
        async with JournalWriter.create(path, plan) as writer:
            for room_id in (updated, failed, applied, lost):
                writer.write(begin_line(planned[room_id], 1.5))
            writer.write(end_line(updated, 2.5, "updated", attempts=1, updated_at=at[updated]))
            writer.write(end_line(failed, 2.5, "failed", attempts=1, error="404"))
            writer.write(line_of(Stop(stop="interrupted", at=2.5)))
        async with JournalWriter.reopen(Journal.open(path), plan) as writer:
            writer.write(begin_line(planned[failed], 3.5))
            writer.write(end_line(failed, 4.5, "updated", attempts=1, updated_at=at[failed]))
            writer.write(line_of(Stop(stop="stopped: by hand", at=4.5)))
        sim.record = True
        sim.recorded.clear()
        yield Scene(sim, client, plan, path)


SECOND_RUN = 10
"""The number of the second `run` line in the journal of a scene."""

LAST = 13
"""The number of the last line in the journal of a scene."""

Damage: TypeAlias = Callable[[list[bytes]], list[bytes]]


def flip_in(number: int) -> Damage:
    """Flip a bit in line `number`."""
    return lambda lines: [*lines[: number - 1], b"[" + lines[number - 1][1:], *lines[number:]]


def flip_break_after(number: int) -> Damage:
    """Flip a bit of the line break after line `number`."""
    return lambda lines: [*lines[: number - 1], lines[number - 1][:-1] + b"\x0b", *lines[number:]]


def split(number: int) -> Damage:
    """Make a line break in the middle of line `number`."""
    return lambda lines: [
        *lines[: number - 1],
        lines[number - 1][:50] + b"\n" + lines[number - 1][51:],
        *lines[number:],
    ]


def zeros(first: int, last: int) -> Damage:
    """Replace the lines from `first` to `last` with NUL bytes."""
    return lambda lines: [*lines[: first - 1], b"\0" * len(b"".join(lines[first - 1 : last])), *lines[last:]]


DAMAGES: Mapping[str, Damage] = {
    **{f"line {number}": flip_in(number) for number in range(2, LAST + 1)},
    **{f"line break {number}": flip_break_after(number) for number in range(2, LAST)},
    **{f"split line {number}": split(number) for number in (3, 8)},
    **{
        f"zeros {first}-{first + length - 1}": zeros(first, first + length - 1)
        for length in (2, 3, 6, 11)
        for first in range(2, LAST - length + 1)
    },
}
"""Each flipped bit has the effect of one of the first three kinds: it hides a line, joins two lines, or splits one."""

every_damage = pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())


def apply_damage(scene: Scene, damage: Damage) -> None:
    scene.path.write_bytes(b"".join(damage(scene.path.read_bytes().splitlines(keepends=True))))


@every_damage
@pytest.mark.parametrize("force", [False, True], ids=["", "force"])
async def test_after_resume_every_room_is_updated_and_none_was_sent_again(
    tmp_path: Path, damage: Damage, force: bool
) -> None:
    async with two_runs(tmp_path) as scene:
        apply_damage(scene, damage)
        *_, lost, unsent = scene.sim.room_ids
        run = resume(scene.client, scene.path, force=force)
        outcomes = by_room(await collect(run))
        assert {outcome.status for outcome in outcomes.values()} == {"updated"}
        assert states(scene.path) == {"updated": 5}
        assert patches(scene.sim) == {lost: 1, unsent: 1}
        assert run.damaged_lines
        # The rooms whose outcome was not hidden are not handled again.
        assert run.settled + len(outcomes) == 5
        scene.sim.recorded.clear()
        assert await collect(resume(scene.client, scene.path, force=force)) == []
        assert patches(scene.sim) == {}


@pytest.mark.parametrize("lines", range(2, LAST + 1))
@pytest.mark.parametrize("force", [False, True], ids=["", "force"])
async def test_after_resume_of_a_journal_whose_end_was_lost_every_room_has_a_true_outcome(
    tmp_path: Path, lines: int, force: bool
) -> None:
    async with two_runs(tmp_path, until=lines) as scene:
        content = scene.path.read_bytes().splitlines(keepends=True)
        scene.path.write_bytes(b"".join(content[:lines]) + b"".join(content[lines : lines + 1])[:20])
        _, failed, _, lost, unsent = scene.sim.room_ids
        is_failed = 8 <= lines < SECOND_RUN
        await collect(resume(scene.client, scene.path, force=force))
        assert states(scene.path) == ({"updated": 4, "failed": 1} if is_failed else {"updated": 5})
        sent = {lost, unsent} if lines >= 8 else {lost, unsent, failed}
        assert patches(scene.sim) == dict.fromkeys(sent, 1)
        assert scene.changed == {*scene.sim.room_ids} - ({failed} if is_failed else set())


@every_damage
@pytest.mark.parametrize("has_plan", [True, False], ids=["with the plan", "without the plan"])
async def test_a_rollback_restores_only_values_of_the_journal_and_names_the_other_rooms(
    tmp_path: Path, damage: Damage, has_plan: bool
) -> None:
    async with two_runs(tmp_path) as scene:
        apply_damage(scene, damage)
        if not has_plan:
            scene.plan.path.unlink()
        back = await plan_rollback(scene.client, Journal.open(scene.path), tmp_path / "back.plan")
        planned = [*Plan.open(tmp_path / "back.plan").updates()]
        assert all(one.after == {"max_participants": 10} for one in planned)
        restored = {one.room_id for one in planned}
        assert restored <= scene.changed
        named = {room_id for room_id in scene.changed if any(room_id in line for line in back.conflicts)}
        assert not restored & named
        assert back.damaged_lines
        if has_plan:
            assert restored | named == scene.changed
            assert len(back.conflicts) == len(named)


async def test_a_room_without_a_begin_line_is_rolled_back_with_the_values_of_the_plan(tmp_path: Path) -> None:
    async with two_runs(tmp_path) as scene:
        apply_damage(scene, flip_in(3))
        journal, updated = Journal.open(scene.path), scene.sim.room_ids[0]
        back = await plan_rollback(scene.client, journal, tmp_path / "back.plan")
        assert (back.plan.rooms, back.conflicts, back.damaged_lines) == (3, [], [3])
        scene.plan.path.rename(tmp_path / "moved.plan")
        back = await plan_rollback(scene.client, journal, tmp_path / "back.plan")
        (conflict,) = back.conflicts
        assert conflict.startswith(f"room {updated}: a damaged line hides its previous values, and the plan '")
        assert conflict.endswith("a.plan' can't be read: No such file or directory")
        assert back.plan.rooms == 2
        # A plan of the same name that was modified or made later is not used.
        await plan_of(scene.client, tmp_path, "max_participants=30")
        back = await plan_rollback(scene.client, journal, tmp_path / "back.plan")
        assert "doesn't belong to the plan" in back.conflicts[0]


async def test_a_hidden_room_that_may_have_been_changed_by_someone_else_is_not_rolled_back(tmp_path: Path) -> None:
    async with two_runs(tmp_path) as scene:
        unsent = scene.sim.room_ids[-1]
        scene.sim.change_room(unsent, max_participants=20)
        journal = Journal.open(scene.path)
        assert (await plan_rollback(scene.client, journal, tmp_path / "back.plan")).conflicts == []
        apply_damage(scene, flip_in(6))
        back = await plan_rollback(scene.client, Journal.open(scene.path), tmp_path / "back.plan")
        text = "has the planned values, but the line that says who set them may be damaged or lost"
        assert back.conflicts == [f"room {unsent} {text}"]


@pytest.mark.parametrize("end", ["failed", "conflict"])
@pytest.mark.parametrize("value", [10, 20, 30])
async def test_a_doubtful_room_keeps_its_outcome_unless_it_has_the_wanted_values(
    tmp_path: Path, end: str, value: int
) -> None:
    async with RoomsSimulator(rooms=2) as sim, client_of(sim) as client:
        plan, path = await plan_of(client, tmp_path), tmp_path / "a.journal"
        room_id = sim.room_ids[0]
        await handwritten_journal(client, plan, path, [room_id], end)
        with path.open("ab") as file:
            file.write(b"damaged\n")
        if value != 10:
            sim.change_room(room_id, max_participants=value)
        sim.record = True
        run = resume(client, path)
        assert counts(await collect(run)) == {"updated": 2 if value == 20 else 1}
        assert states(path) == ({"updated": 2} if value == 20 else {"updated": 1, end: 1})
        assert room_id not in patches(sim)
        assert run.settled == (0 if value == 20 else 1)


async def test_a_hidden_room_is_compared_with_the_account_even_if_an_earlier_resume_was_stopped(tmp_path: Path) -> None:
    async with two_runs(tmp_path) as scene:
        apply_damage(scene, zeros(2, LAST))
        run = resume(scene.client, scene.path)
        run.stop("by hand")
        assert await collect(run) == []
        assert patches(scene.sim) == {}
        assert states(scene.path) == {}
        await collect(resume(scene.client, scene.path, force=True))
        assert patches(scene.sim) == dict.fromkeys(scene.sim.room_ids[3:], 1)
        assert states(scene.path) == {"updated": 5}


# --- what is reported ---


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ([4], "line 4 of the journal is damaged"),
        ([4, 5], "lines 4 to 5 of the journal are damaged"),
        ([4, 7, 8, 9, 1200], "lines 4, 7 to 9 and 1,200 of the journal are damaged"),
        ([*range(2, 40, 2)], "lines 2, 4, 6, 8, 10 and others of the journal are damaged"),
    ],
)
def test_the_damaged_lines_are_named_in_one_line(numbers: list[int], text: str) -> None:
    assert damage_of_journal(numbers) == text


async def test_the_report_names_the_damaged_lines_and_counts_the_others(tmp_path: Path) -> None:
    async with two_runs(tmp_path) as scene:
        apply_damage(scene, zeros(7, 8))
        assert await asyncio.to_thread(write_report, Journal.open(scene.path), tmp_path / "a.html") == [7]
        page = (tmp_path / "a.html").read_text()
        assert (
            "Line 7 of the journal is damaged. This report doesn&#x27;t include damaged lines. Resume the run" in page
        )
