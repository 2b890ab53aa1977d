"""A follower reads only new lines, copes with every change of the file, and does not disturb the run."""

import asyncio
import os
import shutil
from contextlib import aclosing
from pathlib import Path

import pytest

from aiorooms.bulk import JournalError, apply, resume
from aiorooms.bulk import _follow as module
from aiorooms.bulk._follow import Follower
from aiorooms.bulk._journal_records import end_line
from aiorooms.bulk._line_checksum import sealed
from aiorooms.bulk._progress import Snapshot
from aiorooms.simulator import RoomsSimulator

from .conftest import append_lines, client_of, collect, handwritten_journal, interrupted, plan_of


def read(follower: Follower) -> None:
    while not follower.step():
        pass


def state(path: Path) -> Snapshot:
    """Read a journal from its beginning."""
    follower = Follower(path)
    read(follower)
    return follower.snapshot()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a journal of 10 planned rooms whose run has ended without an outcome."""

    async def write() -> None:
        async with RoomsSimulator(rooms=10) as sim, client_of(sim) as client:
            await handwritten_journal(client, await plan_of(client, tmp_path), tmp_path / "a.journal", [])

    asyncio.run(write())
    return tmp_path / "a.journal"


def ends(count: int, status: str = "failed") -> list[str]:
    return [f'{{"end":"room-{number}","at":5.0,"status":"{status}","attempts":1}}' for number in range(count)]


async def test_a_run_is_running_until_it_ends_and_then_complete(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=10) as sim, client_of(sim) as client:
        plan, path = await plan_of(client, tmp_path), tmp_path / "a.journal"
        async with aclosing(apply(client, plan, path, concurrency=1).outcomes()) as outcomes:
            await anext(outcomes)
            now = await asyncio.to_thread(state, path)
            assert now.phase == "running"
            assert now.counts["updated"] >= 1
            rest = [outcome async for outcome in outcomes]
        now = await asyncio.to_thread(state, path)
        assert (now.phase, now.is_complete, now.counts["updated"]) == ("ended", True, 10)
        assert len(rest) == 9


async def test_a_run_that_is_cancelled_while_its_first_line_is_synced_was_not_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with RoomsSimulator(rooms=5) as sim, client_of(sim) as client:
        path = tmp_path / "a.journal"
        await collect(apply(client, await plan_of(client, tmp_path), path, limit=2))
        sync, syncing = os.fsync, asyncio.Event()
        loop = asyncio.get_running_loop()

        def slow_sync(number: int) -> None:
            loop.call_soon_threadsafe(syncing.set)
            sync(number)

        monkeypatch.setattr(os, "fsync", slow_sync)
        task = asyncio.create_task(collect(resume(client, path)))
        await syncing.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        now = await asyncio.to_thread(Follower(path).snapshot)
        assert (now.phase, [run.ended for run in now.runs][1:]) == ("ended", ["interrupted"])
        assert sim.stats.by_method["PATCH"] == 2


def test_a_header_that_was_replaced_is_noticed_even_if_no_line_was_read(tmp_path: Path) -> None:
    path = tmp_path / "a.journal"

    def write(rooms: int) -> None:
        text = '{"aiorooms_journal":2,"plan":"p","plan_file":"/a.plan","plan_sha256":"s","base_url":"http://x/v2"'
        path.write_bytes(sealed(f'{text},"rooms":{rooms},"at":1.0}}\n'.encode()))

    write(5)
    follower = Follower(path)
    write(6)  # the same file, as if its number had been used again
    assert follower.snapshot().rooms == 6
    write(7)
    assert follower.snapshot().rooms == 7
    os.truncate(path, 40)
    with pytest.raises(JournalError, match="cut off in its first line"):
        follower.snapshot()


async def test_a_run_that_was_interrupted_and_resumed_has_two_runs(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=20) as sim, client_of(sim) as client:
        plan, path = await plan_of(client, tmp_path), tmp_path / "a.journal"
        sim.latency = 0.005
        await interrupted(sim, client, plan, path, after=5)
        follower = Follower(path)
        await asyncio.to_thread(read, follower)
        now = await asyncio.to_thread(follower.snapshot)
        assert (now.phase, [run.ended for run in now.runs], now.is_complete) == ("ended", ["interrupted"], False)
        await collect(resume(client, path))
        await asyncio.to_thread(read, follower)
        now = await asyncio.to_thread(follower.snapshot)
        assert [run.ended for run in now.runs] == ["interrupted", "done"]
        assert now.is_complete
        assert now.left == 0


def test_only_new_lines_are_read(path: Path) -> None:
    append_lines(path, *ends(4))
    follower = Follower(path)
    read(follower)
    # Damage a line that was read before. The end of the file, by which the follower recognizes it, stays the same.
    content = path.read_bytes()
    with path.open("r+b") as file:
        file.seek(content.index(b'{"end"'))
        file.write(b"x")
    append_lines(path, *ends(2))
    read(follower)
    assert follower.snapshot().damaged == 0
    assert follower.snapshot().counts["failed"] == 4
    assert state(path).damaged == 1, "the line was not damaged"


def test_an_incomplete_line_is_read_when_it_is_complete_or_was_replaced(path: Path) -> None:
    follower = Follower(path)
    line = sealed(end_line("a", 1.5, "failed", attempts=1))
    size = path.stat().st_size
    with path.open("ab") as file:
        file.write(line[:20])
    read(follower)
    assert follower.snapshot().counts["failed"] == 0
    with path.open("ab") as file:
        file.write(line[20:])
    read(follower)
    assert follower.snapshot().counts["failed"] == 1
    with path.open("ab") as file:
        file.write(b'{"end":"b"')
    read(follower)
    os.truncate(path, size + len(line))  # `resume` cuts off an incomplete line
    append_lines(path, *ends(1, "conflict"))
    read(follower)
    now = follower.snapshot()
    assert (now.counts["failed"], now.counts["conflict"], now.damaged) == (1, 1, 0)


@pytest.mark.parametrize("how", ["truncated", "truncated and longer again", "replaced", "overwritten in place"])
def test_a_changed_file_is_read_again(path: Path, how: str) -> None:
    original = path.read_bytes()
    append_lines(path, *ends(5))
    follower = Follower(path)
    read(follower)
    assert follower.snapshot().counts["failed"] == 5
    match how:
        case "truncated":
            os.truncate(path, len(original))
        case "truncated and longer again":
            os.truncate(path, len(original))
            append_lines(path, *ends(7, "conflict"))
        case "replaced":
            other = path.with_name("b")
            other.write_bytes(original)
            append_lines(other, *ends(7, "conflict"))
            other.replace(path)
        case _:
            path.with_name("b").write_bytes(original)
            append_lines(path.with_name("b"), *ends(7, "conflict"))
            shutil.copyfile(path.with_name("b"), path)
    read(follower)
    now = follower.snapshot()
    assert (now.counts["failed"], now.counts["conflict"]) == (0, 0 if how == "truncated" else 7)


def test_damaged_lines_are_counted_and_skipped(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"garbage\n" + b"\0" * 5000 + b"\n")
    append_lines(path, *ends(1))
    follower = Follower(path)
    read(follower)
    now = follower.snapshot()
    assert (now.damaged, now.counts["failed"]) == (2, 1)


@pytest.mark.parametrize("what", ["removed", "not a journal", "another journal appended"])
def test_a_journal_that_can_not_be_read_any_more_is_an_error(path: Path, what: str) -> None:
    follower = Follower(path)
    read(follower)
    if what == "removed":
        path.unlink()
    elif what == "not a journal":
        path.write_text("hello\n")
    else:
        path.write_bytes(path.read_bytes() * 2)
    with pytest.raises(JournalError, match=r"can't be read|is not a journal|contains another journal"):
        read(follower)


def test_a_long_journal_is_read_in_steps(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_STEP", 3)
    append_lines(path, *ends(10))
    follower = Follower(path)
    fractions: list[float] = []
    while not follower.step():
        fractions.append(follower.fraction)
    assert fractions == sorted(fractions)
    assert 0 < fractions[0] < fractions[-1] <= 1
    assert len(fractions) >= 4
    assert follower.snapshot().counts["failed"] == 10


@pytest.mark.parametrize(
    ("answers", "phase"),
    [([True], "running"), ([False, False], "killed"), ([False, True], "running"), ([None], "killed")],
    ids=str,
)
def test_the_lock_is_asked_for_again_before_a_run_is_called_killed(
    path: Path, monkeypatch: pytest.MonkeyPatch, answers: list[bool | None], phase: str
) -> None:
    append_lines(path, '{"run":2,"at":5.0}')
    given = iter(answers)

    def answer(path: Path) -> bool | None:
        return next(given)

    monkeypatch.setattr(module, "is_locked", answer)
    follower = Follower(path, clock=lambda: 1e9 * 5)
    read(follower)
    assert follower.snapshot().phase == phase
    assert next(given, "none left") == "none left"


def test_a_run_that_began_and_ended_between_the_questions_is_seen(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    append_lines(path, '{"run":2,"at":5.0}')
    asked: list[Path] = []

    def answer(path: Path) -> bool:
        asked.append(path)
        if len(asked) == 2:
            append_lines(path, '{"run":3,"at":6.0}', '{"stop":"done","at":7.0}')
        return False

    monkeypatch.setattr(module, "is_locked", answer)
    follower = Follower(path)
    read(follower)
    # The lines of run 3 were written after the second question, so the file is read once more.
    assert follower.snapshot().phase in ("killed", "ended")
    read(follower)
    assert follower.snapshot().phase == "ended"


def test_a_journal_of_format_version_1_is_followed(path: Path) -> None:
    head, *_ = path.read_bytes().splitlines(keepends=True)
    old = head.rpartition(b',"crc":')[0].replace(b'{"aiorooms_journal":2', b'{"aiorooms_journal":1') + b"}\n"
    lines = (b'{"run":1,"at":1.0}\n', b'{"end":"a","at":1.5,"status":"failed"}\n', b'{"stop":"done","at":2.0}\n')
    path.write_bytes(old + b"".join(lines))
    follower = Follower(path)
    read(follower)
    now = follower.snapshot()
    assert (now.phase, now.counts["failed"], now.damaged) == ("ended", 1, 0)
