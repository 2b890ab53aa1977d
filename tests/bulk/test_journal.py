"""Journals can be read after a crash or on a full disk, and no update is sent before its line is written."""

import asyncio
import errno
import json
import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiorooms._text import timestamp
from aiorooms.bulk import Journal, JournalError, Outcome, Plan, _journal, apply, resume
from aiorooms.bulk import _journal_writer as module
from aiorooms.bulk._journal_records import Begin, End, Run, begin_line, end_line, record_of
from aiorooms.bulk._journal_writer import JournalWriter
from aiorooms.bulk._plan_records import PLANNED
from aiorooms.simulator import RoomsSimulator

from ..conftest import tasks_left
from .conftest import (
    account,
    client_of,
    collect,
    counts,
    open_files,
    patches,
    plan_of,
    planned,
    states,
    write_plan,
)


def room_id(number: int) -> str:
    return str(UUID(int=number))


def begin(number: int) -> bytes:
    return begin_line(PLANNED.line(planned(number)), 1.5)


def end(number: int, status: Any) -> bytes:
    return end_line(room_id(number), 1.5, status, attempts=1)


async def write_journal(path: Path, plan: Plan, records: list[tuple[str, int]]) -> None:
    async with JournalWriter.create(path, plan) as journal:
        write_records(journal, records)


def write_records(journal: JournalWriter, records: list[tuple[str, int]]) -> None:
    for what, number in records:
        journal.write(begin(number) if what == "begin" else end(number, what))


def replay(records: list[tuple[str, int]]) -> Mapping[str, str]:
    return {room_id(number): "begun" if what == "begin" else what for what, number in records}


# --- content ---


async def test_a_journal_has_a_header_and_records_of_the_run_and_of_each_update(tmp_path: Path) -> None:
    plan = write_plan(tmp_path / "a.plan")
    await write_journal(tmp_path / "a.journal", plan, [("begin", 1), ("updated", 1)])
    journal = Journal.open(tmp_path / "a.journal")
    assert (journal.plan_id, journal.plan_file, journal.base_url) == (plan.plan_id, plan.path, plan.base_url)
    assert journal.header["plan_sha256"] == plan.sha256
    assert journal.header["rooms"] == 3
    run, begun, ended = journal.records()
    assert run["run"] == 1
    rest = {name: value for name, value in PLANNED.to_json(planned(1)).items() if name != "room_id"}
    assert begun == {"begin": room_id(1), "at": 1.5, **rest}
    assert ended == {"end": room_id(1), "at": 1.5, "status": "updated", "attempts": 1}
    one = planned(1)
    assert [*journal.entries()] == [
        Run(run=1, at=float(str(run["at"])), locked=True),
        Begin(
            begin=one.room_id,
            at=1.5,
            unique_name=one.unique_name,
            updated_at=one.updated_at,
            before=one.before,
            after=one.after,
        ),
        End(end=room_id(1), at=1.5, status="updated", attempts=1),
    ]
    assert journal.runs() == 1


@pytest.mark.parametrize("name", ['a,"unique_name":"b', 'räum "5"', "", None])
def test_a_begin_line_has_the_values_of_the_plan(name: str | None) -> None:
    one = attrs.evolve(planned(1), unique_name=name, before={"unique_name": name, "webhook_timeout_secs": None})
    record = record_of(json.loads(begin_line(PLANNED.line(one), 1.5)))
    assert record == Begin(
        begin=one.room_id, at=1.5, **attrs.asdict(one, filter=lambda field, _: field.name != "room_id")
    )


@pytest.mark.parametrize(
    "line", [b"", b"{}\n", b'{"unique_name":null,"room_id":"a"}\n', b'{"room_id":"a","after":{}}\n']
)
def test_a_begin_line_is_made_only_from_the_line_of_a_room(line: bytes) -> None:
    with pytest.raises(ValueError, match="it is not a line of a plan"):
        begin_line(line, 1.5)


@given(time=st.datetimes(datetime(2, 1, 1), datetime(9998, 12, 31), timezones=st.timezones()))
def test_a_time_is_written_in_utc(time: datetime) -> None:
    line = end_line(room_id(1), 1.5, "updated", attempts=1, updated_at=time)
    assert json.loads(line)["updated_at"] == timestamp(time)


async def test_every_line_can_be_read_as_soon_as_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "a.journal"
    async with JournalWriter.create(path, write_plan(tmp_path / "a.plan")) as journal:
        journal.write(begin(1))
        assert Journal.open(path).states() == {room_id(1): "begun"}
        journal.write(end(1, "failed"))
        assert Journal.open(path).states() == {room_id(1): "failed"}


@pytest.mark.parametrize(
    ("why", "recorded"),
    [
        ("a\udcffb\ud800", "stopped: a\\udcffb\\ud800"),
        ("two\nlines\0", "stopped: two\nlines\0"),
        ("ü" * 2_000_000, f"stopped: {'ü' * 9_988}..."),
    ],
    ids=["unpaired surrogates", "control characters", "very long"],
)
async def test_any_text_can_be_the_reason_why_a_run_was_stopped(tmp_path: Path, why: str, recorded: str) -> None:
    async with RoomsSimulator(rooms=1) as sim, client_of(sim) as client:
        run = apply(client, await plan_of(client, tmp_path), tmp_path / "a.journal")
        run.stop(why)
        assert await collect(run) == []
        assert run.stopped_by == why
        *_, last = Journal.open(tmp_path / "a.journal").records()
        assert last["stop"] == recorded
        assert Journal.open(tmp_path / "a.journal").damaged_lines() == []


@pytest.mark.parametrize("error", ["a\udcffb", "x" * 2_000_000], ids=["unpaired surrogate", "very long"])
def test_any_text_can_be_the_error_of_a_room(error: str) -> None:
    record = record_of(json.loads(end_line(room_id(1), 1.5, "failed", error=error)))
    assert isinstance(record, End)
    assert record.error in ("a\\udcffb", f"{'x' * 9_997}...")


@pytest.mark.parametrize("letter", ["a", "ü", "\0"])
async def test_a_room_with_a_very_long_value_is_recorded(tmp_path: Path, letter: str) -> None:
    async with RoomsSimulator(rooms=2) as sim, client_of(sim) as client:
        url = f"https://x.example.com/{letter * 1_100_000}"
        sim.change_room(sim.room_ids[0], webhook_event_url=url)
        plan, path = await plan_of(client, tmp_path, "webhook_event_url=https://n.example.com/"), tmp_path / "a.journal"
        assert counts(await collect(apply(client, plan, path))) == {"updated": 2}
        journal = Journal.open(path)
        assert journal.damaged_lines() == []
        assert url in {one.before["webhook_event_url"] for one in journal.entries() if isinstance(one, Begin)}


# --- after a crash of the process or the machine ---

_records = st.lists(
    st.tuples(
        st.sampled_from(["begin", "updated", "failed", "uncertain", "skipped", "conflict"]), st.integers(0, 5)
    ),
    max_size=12,
)  # fmt: skip


@given(records=_records, more=_records, data=st.data())
def test_a_journal_cut_at_any_byte_is_valid_up_to_its_last_complete_line(
    records: list[tuple[str, int]], more: list[tuple[str, int]], data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.journal")
        plan = write_plan(Path(folder, "a.plan"))
        asyncio.run(write_journal(path, plan, records))
        whole = path.read_bytes()
        header = whole.index(b"\n") + 1
        # Draw a share, not a number of bytes, because the timestamps vary in length.
        cut = header + int(data.draw(st.floats(0, 1)) * (len(whole) - header))
        torn = data.draw(st.sampled_from([b"", b"", b"\0" * 100]))  # a file system may leave zeros at the end
        path.write_bytes(whole[:cut] + torn)
        # The first two lines are the header and the start of the run. Each further line is one of `records`.
        there = max(0, whole[:cut].count(b"\n") - 2)
        journal = Journal.open(path)
        assert journal.states() == replay(records[:there])

        async def go_on() -> None:
            async with JournalWriter.reopen(journal, plan) as writer:
                write_records(writer, more)

        asyncio.run(go_on())
        assert Journal.open(path).states() == {**replay(records[:there]), **replay(more)}
        assert Journal.open(path).runs() == (2 if cut > whole.index(b"\n", header) else 1)
        assert path.read_bytes().startswith(whole[: whole.rfind(b"\n", 0, cut) + 1])
        assert all(json.loads(line) for line in path.read_bytes().splitlines())


@given(data=st.data())
def test_a_journal_that_was_cut_within_its_header_is_not_overwritten(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.journal")
        plan = write_plan(Path(folder, "a.plan"))
        asyncio.run(write_journal(path, plan, []))
        whole = path.read_bytes()
        cut = whole[: int(data.draw(st.floats(0, 1)) * whole.index(b"\n"))]
        path.write_bytes(cut)
        for use in (lambda: Journal.open(path), lambda: asyncio.run(write_journal(path, plan, []))):
            with pytest.raises(JournalError) as caught:
                use()
            assert "is empty or was cut off in its first line; delete it, and start again" in str(caught.value)
            assert caught.value.reason == "empty_journal"
        assert path.read_bytes() == cut
        path.unlink()
        asyncio.run(write_journal(path, plan, [("begin", 1)]))
        assert Journal.open(path).states() == {room_id(1): "begun"}


# --- files that are not journals ---


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"room_id\n", "is not a journal; give a file written by apply()"),
        (b"no line end", "is not a journal"),
        (b'{"aiorooms_plan":1}\n', "is not a journal"),
        (b"[]\n", "is not a journal"),
        (b"\xff\xfe\n", "is not a journal"),
        (
            b'{"aiorooms_journal":3,"plan":"x"}\n',
            "has format version 3, but this aiorooms reads only 1 and 2; upgrade aiorooms",
        ),
        (b'{"aiorooms_journal":2,"plan":"x"}\n', "is damaged at line 1, so its plan is unknown; restore it"),
        (b'{"aiorooms_journal":3,"plan":"x","crc":"00000000"}\n', "is damaged at line 1"),
        (b'{"aiorooms_journal":1}\n', "is damaged at line 1"),
        (b'{"aiorooms_journal":1,"plan":"x","plan_file":5,"plan_sha256":"x","base_url":"x"}\n', "is damaged at line 1"),
        (b'{"aiorooms_journal":1,"pl\n', "is damaged at line 1"),
    ],
)
def test_a_file_that_is_not_a_journal_is_a_one_line_error(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.journal"
    path.write_bytes(content)
    with pytest.raises(JournalError) as caught:
        Journal.open(path)
    assert message in str(caught.value)
    assert caught.value.reason in ("not_a_journal", "newer_journal", "damaged_journal")
    assert (caught.value.reason == "damaged_journal") == ("damaged" in message)
    assert "a.journal" in str(caught.value)
    assert str(caught.value).isprintable()
    assert path.read_bytes() == content


def test_a_huge_file_that_is_not_a_journal_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.journal"
    path.touch()
    os.truncate(path, 8 * 1024**3)  # the file is sparse
    read: list[object] = []
    monkeypatch.setattr(_journal, "complete_size", read.append)
    with pytest.raises(JournalError, match="is not a journal"):
        Journal.open(path)
    assert read == []


def test_a_directory_and_a_missing_file_are_not_journals(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match=r"the journal '.*' can't be read: Is a directory"):
        Journal.open(tmp_path)
    with pytest.raises(JournalError, match=r"the journal '.*a.journal' can't be read: No such file or directory"):
        Journal.open(tmp_path / "a.journal")


def test_a_journal_that_disappears_is_a_one_line_error(tmp_path: Path) -> None:
    path = tmp_path / "a.journal"
    plan = write_plan(tmp_path / "a.plan")
    asyncio.run(write_journal(path, plan, []))
    journal = Journal.open(path)
    path.unlink()
    with pytest.raises(JournalError, match=r"the journal '.*a.journal' can't be read: No such file or directory"):
        journal.states()

    async def go_on() -> None:
        async with JournalWriter.reopen(journal, plan):
            pytest.fail("the journal was continued")

    with pytest.raises(JournalError, match=r"the journal '.*a.journal' can't be written: No such file or directory"):
        asyncio.run(go_on())


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty_journal"),
        (b"\0" * 100, "empty_journal"),
        (b"notes", "file_exists"),
        (b"notes\n", "file_exists"),
        (b"\0" * 70_000, "file_exists"),
        (b'{"aiorooms_journal":1,"plan":"x"}\n', "journal_exists"),
    ],
)
async def test_an_existing_file_is_never_overwritten(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "a.journal"
    path.write_bytes(content)
    with pytest.raises(JournalError) as caught:
        await write_journal(path, write_plan(tmp_path / "a.plan"), [])
    assert caught.value.reason == reason
    assert caught.value.hint
    assert path.read_bytes() == content


@pytest.mark.parametrize(("place", "reason"), [("no/a.journal", "No such file"), (".", "Is a directory")])
async def test_nothing_is_sent_if_the_journal_can_not_be_created(tmp_path: Path, place: str, reason: str) -> None:
    async with RoomsSimulator(rooms=1) as sim, client_of(sim) as client:
        plan = await plan_of(client, tmp_path)
        sim.reset_stats()
        with pytest.raises(JournalError, match=rf"the journal '.*' can't be written: {reason}"):
            await collect(apply(client, plan, tmp_path / place))
        assert sim.stats.requests == 0


# --- the lock ---


async def test_only_one_run_at_a_time_writes_a_journal(tmp_path: Path) -> None:
    path = tmp_path / "a.journal"
    plan = write_plan(tmp_path / "a.plan")
    async with JournalWriter.create(path, plan) as writer:
        before = path.read_bytes()
        text = r"the journal '.*' is in use: another run is writing it; wait until that run has ended$"
        with pytest.raises(JournalError, match=text):
            async with JournalWriter.reopen(Journal.open(path), plan):
                pytest.fail("the journal was opened twice")
        assert path.read_bytes() == before
        writer.write(begin(1))
    async with JournalWriter.reopen(Journal.open(path), plan):
        assert Journal.open(path).states() == {room_id(1): "begun"}


OTHER = """
import asyncio, sys
from aiorooms.bulk import Journal, JournalError, Plan
from aiorooms.bulk._journal_records import Stop, line_of
from aiorooms.bulk._journal_writer import JournalWriter

async def main():
    async with JournalWriter.reopen(Journal.open(sys.argv[1]), Plan.open(sys.argv[2])) as writer:
        writer.write(line_of(Stop(stop="here", at=1.0)))
        print("open", flush=True)
        sys.stdin.read()

try:
    asyncio.run(main())
except JournalError as error:
    print(error)
"""


def test_the_lock_on_a_journal_is_released_when_its_process_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "a.journal"
    plan = write_plan(tmp_path / "a.plan")
    asyncio.run(write_journal(path, plan, [("begin", 1)]))
    command = [sys.executable, "-c", OTHER, str(path), str(plan.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as first:
        try:
            assert first.stdout is not None
            assert first.stdout.readline() == "open\n"

            async def go_on() -> int:
                async with JournalWriter.reopen(Journal.open(path), plan):
                    return Journal.open(path).runs()

            with pytest.raises(JournalError, match="is in use"):
                asyncio.run(go_on())
            second = subprocess.run(command, input="", capture_output=True, text=True, check=False)
            assert second.stdout.count("\n") == 1
            assert "is in use: another run is writing it" in second.stdout
        finally:
            first.kill()
    assert asyncio.run(go_on()) == 3
    assert Journal.open(path).states() == {room_id(1): "begun"}


async def test_of_two_concurrent_runs_of_resume_one_raises_an_error(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=20, latency=0.01) as sim, client_of(sim) as client:
        plan = await plan_of(client, tmp_path)
        path = tmp_path / "a.journal"
        async with first_outcome(apply(client, plan, path, concurrency=2).outcomes()):
            with pytest.raises(JournalError, match="is in use"):
                await collect(resume(client, path))
            with pytest.raises(JournalError, match="is in use"):
                await collect(apply(client, plan, path))
        with pytest.raises(JournalError, match="the journal '.*' already exists; continue it with resume.."):
            await collect(apply(client, plan, path))
        sim.record = True
        both = [asyncio.create_task(collect(resume(client, path))) for _ in range(2)]
        ended = await asyncio.gather(*both, return_exceptions=True)
        assert [type(one) for one in ended if isinstance(one, BaseException)] == [JournalError]
        assert states(path) == {"updated": 20}
        assert max(patches(sim).values()) == 1


@asynccontextmanager
async def first_outcome(outcomes: Any) -> AsyncGenerator[Any]:
    """Yield the first outcome. Close the iterator at the end of the block."""
    try:
        yield await anext(outcomes)
    finally:
        await outcomes.aclose()


# --- the disk ---


async def test_new_lines_are_synced_to_the_disk_periodically(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    fsync = os.fsync

    def counted(number: int) -> None:
        if stat.S_ISREG(os.fstat(number).st_mode):  # the folder of a new journal is synced too
            synced.append(os.fstat(number).st_size)
        fsync(number)

    monkeypatch.setattr(module, "_SYNC_INTERVAL", 0.02)
    monkeypatch.setattr(os, "fsync", counted)
    plan = write_plan(tmp_path / "a.plan")
    synced.clear()
    files = open_files()
    async with JournalWriter.create(tmp_path / "a.journal", plan) as writer:
        sizes: list[int] = []
        for number in range(3):
            writer.write(begin(number))
            sizes.append((tmp_path / "a.journal").stat().st_size)
            async with asyncio.timeout(5):
                while not synced or synced[-1] < sizes[-1]:
                    await asyncio.sleep(0.002)
        there = len(synced)
        await asyncio.sleep(0.06)
        assert len(synced) == there  # no line was written, so there was no sync
        writer.write(end(1, "updated"))
    assert synced[-1] == (tmp_path / "a.journal").stat().st_size
    assert open_files() == files


async def test_a_line_written_during_a_sync_is_synced_by_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, go_on = asyncio.Event(), asyncio.Event()
    synced: list[int] = []
    loop = asyncio.get_running_loop()

    def slow(number: int) -> None:
        synced.append(os.fstat(number).st_size)
        if len(synced) == 1:
            loop.call_soon_threadsafe(began.set)
            asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result(5)

    monkeypatch.setattr(module, "_SYNC_INTERVAL", 0.01)
    plan = write_plan(tmp_path / "a.plan")
    async with JournalWriter.create(tmp_path / "a.journal", plan) as writer:
        monkeypatch.setattr(os, "fsync", slow)
        writer.write(begin(0))
        await began.wait()
        writer.write(begin(1))
        loop.call_later(0.01, go_on.set)
    assert synced[-1] == (tmp_path / "a.journal").stat().st_size


def test_the_journal_is_synced_at_least_once_a_second() -> None:
    assert module._SYNC_INTERVAL <= 1.0


@pytest.fixture(params=["nothing", "half"])
def full_disk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Return a function that sets how many lines fit on the disk. Half of the next line, or nothing, is written."""
    left: list[int] = []
    write = os.write

    def limited(number: int, data: bytes) -> int:
        if left:
            left[0] -= 1
            if left[0] == -1 and request.param == "half":
                return write(number, data[: len(data) // 2])
            if left[0] < 0:
                raise OSError(errno.ENOSPC, "No space left on device")
        return write(number, data)

    monkeypatch.setattr(os, "write", limited)
    return left.append


@pytest.mark.parametrize("space", [0, 1, 2, 3, 10, 25])
async def test_a_full_disk_ends_the_run_and_no_room_is_sent_without_its_line(
    tmp_path: Path, full_disk: Callable[[int], None], space: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with RoomsSimulator(rooms=40, latency=0.001) as sim, client_of(sim) as client:
        plan = await plan_of(client, tmp_path)
        path = tmp_path / "a.journal"
        sim.record = True
        full_disk(space)
        outcomes: list[Outcome] = []
        with pytest.raises(JournalError) as caught:
            async for outcome in apply(client, plan, path, concurrency=4).outcomes():
                outcomes.append(outcome)  # noqa: PERF401 - a comprehension would lose the outcomes before the error
        assert "a.journal' can't be written any more: No space left on device" in str(caught.value)
        assert caught.value.reason == ("unwritable" if space < 2 else "journal_lost")
        assert "\n" not in str(caught.value)
        assert ("nothing was sent" if space < 2 else "no further update was sent; resume()") in str(caught.value)
        assert tasks_left() == set()
        monkeypatch.undo()
        changed = {room_id for room_id, fields in account(sim).items() if fields["max_participants"] == 20}
        if space < 2:  # the header or the line of the run didn't fit, so no journal is left
            assert not path.exists()
            assert (outcomes, changed) == ([], set())
            await collect(apply(client, plan, path))
        else:
            journal = Journal.open(path).states()
            assert changed <= journal.keys()
            assert {one.room_id for one in outcomes} == changed == set(patches(sim))
            done = {room_id for room_id, state in journal.items() if state == "updated"}
            sim.recorded.clear()
            resumed = await collect(resume(client, path))
            assert not done & set(patches(sim))
            assert not changed & set(patches(sim))
            assert {one.room_id for one in resumed if one.found} == changed - done
        assert states(path) == {"updated": 40}
        assert {fields["max_participants"] for fields in account(sim).values()} == {20}


async def test_a_failed_sync_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fsync = os.fsync

    async with RoomsSimulator(rooms=60, latency=0.01) as sim, client_of(sim) as client:

        def broken(number: int) -> None:
            if sim.stats.by_method["PATCH"]:
                raise OSError(errno.EIO, "Input/output error")
            fsync(number)

        plan = await plan_of(client, tmp_path)
        monkeypatch.setattr(module, "_SYNC_INTERVAL", 0.02)
        monkeypatch.setattr(os, "fsync", broken)
        with pytest.raises(JournalError, match="can't be written any more: Input/output error; no further update"):
            await collect(apply(client, plan, tmp_path / "a.journal", concurrency=2))
        assert sim.stats.by_method["PATCH"] < 60
        assert tasks_left() == set()


async def test_a_sync_that_fails_for_an_unexpected_reason_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync = os.fsync

    async with RoomsSimulator(rooms=60, latency=0.01) as sim, client_of(sim) as client:

        def broken(number: int) -> None:
            if sim.stats.by_method["PATCH"]:
                raise RuntimeError("can't start new thread")
            fsync(number)

        plan = await plan_of(client, tmp_path)
        monkeypatch.setattr(module, "_SYNC_INTERVAL", 0.02)
        monkeypatch.setattr(os, "fsync", broken)
        with pytest.raises(JournalError, match=r"can't be written any more: RuntimeError\(.*thread.*\); no further"):
            await collect(apply(client, plan, tmp_path / "a.journal", concurrency=2))
        assert sim.stats.by_method["PATCH"] < 60
        assert tasks_left() == set()


async def test_nothing_is_sent_if_the_first_lines_can_not_be_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(number: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    async with RoomsSimulator(rooms=3) as sim, client_of(sim) as client:
        plan = await plan_of(client, tmp_path)
        sim.reset_stats()
        monkeypatch.setattr(os, "fsync", broken)
        with pytest.raises(JournalError, match="can't be written any more: Input/output error; nothing was sent"):
            await collect(apply(client, plan, tmp_path / "a.journal"))
        assert sim.stats.requests == 0
        assert not (tmp_path / "a.journal").exists()


async def test_a_failure_of_the_last_sync_is_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = write_plan(tmp_path / "a.plan")

    def broken(number: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    async def write() -> None:
        async with JournalWriter.create(tmp_path / "a.journal", plan) as writer:
            monkeypatch.setattr(os, "fsync", broken)
            writer.write(begin(1))

    with pytest.raises(JournalError, match="can't be written any more: Input/output error; no further"):
        await write()


@pytest.fixture(autouse=True)
def _no_file_stays_open() -> Iterator[None]:
    before = open_files()
    yield
    assert open_files() <= before


async def test_a_run_leaves_no_file_open(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=3) as sim, client_of(sim) as client:
        plan = await plan_of(client, tmp_path)
        assert counts(await collect(apply(client, plan, tmp_path / "a.journal"))) == {"updated": 3}
