"""Before a run: the problems of plan, server, journal and key are found together, and nothing is changed."""

import asyncio
import errno
import fcntl
import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from aiorooms import APIConnectionError, AuthenticationError, RoomsClient
from aiorooms.bulk import apply
from aiorooms.bulk._kinds import kind_of_bytes, kind_of_input
from aiorooms.bulk._preflight import Preflight, check_key, check_new_run, check_resumed_run
from aiorooms.simulator import RoomsSimulator

from .conftest import client_of, collect, files_in, plan_of, write_plan


async def new_run(client: RoomsClient, plan: Path, journal: Path, *, lock: bool = True) -> Preflight:
    """Call `check_new_run` in a thread, because it would block the event loop. Commands call it before their loop."""
    return await asyncio.to_thread(check_new_run, client, plan, journal, lock=lock)


async def resumed_run(client: RoomsClient, journal: Path, plan: Path | None, *, lock: bool = True) -> Preflight:
    return await asyncio.to_thread(check_resumed_run, client, journal, plan, lock=lock)


def reasons(found: Preflight) -> list[object]:
    return [problem.reason for problem in found.problems]


@contextmanager
def locked(path: Path) -> Generator[None]:
    """Lock a file as another run would."""
    with path.open("rb+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def folder_is_missing(folder: Path) -> Path:
    return folder / "none" / "a.journal"


def name_is_too_long(folder: Path) -> Path:
    return folder / ("x" * 300)


def parent_is_a_file(folder: Path) -> Path:
    return folder / "a.plan" / "a.journal"


def is_a_folder(folder: Path) -> Path:
    return folder


def exists(folder: Path) -> Path:
    return folder / "there"


def has_nul(folder: Path) -> Path:
    return folder / "nul\0"


def is_a_dangling_link(folder: Path) -> Path:
    return folder / "link"


@pytest.mark.parametrize(
    ("journal", "reason", "text"),
    [
        (folder_is_missing, "unwritable", os.strerror(errno.ENOENT)),
        (name_is_too_long, "unwritable", os.strerror(errno.ENAMETOOLONG)),
        (parent_is_a_file, "unwritable", os.strerror(errno.ENOTDIR)),
        (is_a_folder, "unwritable", os.strerror(errno.EISDIR)),
        (exists, "file_exists", "already exists"),
        (is_a_dangling_link, "file_exists", "is a symbolic link"),
        (has_nul, "unwritable", "NUL"),
    ],
)
async def test_a_journal_that_can_not_be_created_is_a_problem(
    tmp_path: Path, journal: Callable[[Path], Path], reason: str, text: str
) -> None:
    async with RoomsSimulator(rooms=2) as sim, client_of(sim) as client:
        plan = await plan_of(client, tmp_path)
        (tmp_path / "there").write_text("x")
        (tmp_path / "link").symlink_to("nowhere")
        path = journal(tmp_path)
        before = files_in(tmp_path)
        (problem,) = (await new_run(client, plan.path, path)).problems
        assert (problem.reason, text in problem.message) == (reason, True), problem
        assert files_in(tmp_path) == before


async def test_a_folder_or_a_journal_that_can_not_be_written_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_file = os.open

    def deny_access(path: object, mode: int) -> bool:
        return not mode & os.W_OK

    def deny_open(path: Any, flags: int, *more: int) -> int:
        if flags & os.O_RDWR:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return open_file(path, flags, *more)

    async with RoomsSimulator(rooms=2) as sim, client_of(sim) as client:
        plan = await plan_of(client, tmp_path)
        path = tmp_path / "a.journal"
        await collect(apply(client, plan, path))
        # The tests may run as root, which may write everywhere.
        monkeypatch.setattr(os, "access", deny_access)
        monkeypatch.setattr(os, "open", deny_open)
        for found in (
            await new_run(client, plan.path, tmp_path / "b.journal"),
            await resumed_run(client, path, None),
        ):
            (problem,) = found.problems
            assert (problem.reason, "Permission denied" in problem.message) == ("unwritable", True)


async def test_a_journal_that_can_not_be_locked_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    async with RoomsSimulator(rooms=2) as sim, client_of(sim) as client:
        plan = await plan_of(client, tmp_path)
        path = tmp_path / "a.journal"
        await collect(apply(client, plan, path, limit=1))
        before = files_in(tmp_path), path.read_bytes()
        monkeypatch.setattr(fcntl, "flock", fail)
        # A plan that can't be locked is no problem, and a journal that does not exist yet can't be tried.
        assert reasons(await new_run(client, plan.path, tmp_path / "b.journal")) == []
        assert reasons(await resumed_run(client, path, None)) == ["no_locks"]
        assert reasons(await resumed_run(client, path, None, lock=False)) == []
        assert (files_in(tmp_path), path.read_bytes()) == before


async def test_all_problems_are_found_together(tmp_path: Path) -> None:
    plan = write_plan(tmp_path / "a.plan")  # for another server
    (tmp_path / "there").write_text("x")
    async with RoomsSimulator() as sim, client_of(sim) as client:
        with locked(plan.path):
            found = await new_run(client, plan.path, tmp_path / "there")
            assert reasons(found) == ["other_server", "plan_in_use", "file_exists"]
            assert (found.plan, found.has_other_server) == (plan, True)
            assert reasons(await new_run(client, plan.path, tmp_path / "new", lock=False)) == ["other_server"]
        found = await new_run(client, tmp_path / "none.plan", tmp_path / "there")
        assert (reasons(found), found.plan) == (["unreadable", "file_exists"], None)
        found = await resumed_run(client, tmp_path / "there", None)
        assert (reasons(found), found.plan) == (["not_a_journal"], None)


async def test_a_run_that_can_begin_has_no_problems_and_can_then_begin(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=2) as sim, client_of(sim) as client:
        plan, path = await plan_of(client, tmp_path), tmp_path / "a.journal"
        found = await new_run(client, plan.path, path)
        assert (found.problems, found.plan) == ([], plan)
        assert files_in(tmp_path) == ["a.plan"]
        run = apply(client, plan, path, limit=1)
        await collect(run)
        found = await resumed_run(client, path, None)
        assert (found.problems, found.plan) == ([], plan)


async def test_a_running_run_is_one_problem(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=2) as sim, client_of(sim) as client:
        plan, path = await plan_of(client, tmp_path), tmp_path / "a.journal"
        await collect(apply(client, plan, path, limit=1))
        with locked(path), locked(plan.path):
            assert reasons(await resumed_run(client, path, None)) == ["journal_in_use"]
            assert reasons(await resumed_run(client, path, None, lock=False)) == []
        with locked(plan.path):
            assert reasons(await resumed_run(client, path, None)) == ["plan_in_use"]
        plan.path.rename(tmp_path / "moved.plan")
        assert reasons(await resumed_run(client, path, None)) == ["plan_missing"]
        with locked(path):
            assert reasons(await resumed_run(client, path, None)) == ["journal_in_use", "plan_missing"]
        assert reasons(await resumed_run(client, path, tmp_path / "moved.plan")) == []


async def test_the_key_is_checked_with_one_small_request() -> None:
    async with RoomsSimulator(rooms=30) as sim, client_of(sim) as client:
        sim.record = True
        await check_key(client)
        (request,) = sim.recorded
        assert (request.method, "size%5D=1" in request.path or "size]=1" in request.path) == ("GET", True)
        sim.api_key = "another"
        with pytest.raises(AuthenticationError):
            await check_key(client)
        sim.refuse_connections()
        with pytest.raises(APIConnectionError):
            await check_key(client)


# --- what a file is ---


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b'{"aiorooms_plan":2,"id"', "plan"),
        (b'{"aiorooms_journal":2,"plan"', "journal"),
        (b'{"aiorooms_journal":99', "journal"),
        (b'\xef\xbb\xbf{ "aiorooms_plan" : 1', "plan"),
        (b'\n{\n  "aiorooms_journal": 2', "journal"),
        (b'{"aiorooms_plans":2', None),
        (b'{"id":"x","aiorooms_plan":2', None),
        (b"room,aiorooms_plan\n", None),
        (b"", None),
        (b"\0" * 50, None),
    ],
)
def test_the_first_bytes_show_what_a_file_is(tmp_path: Path, head: bytes, kind: str | None) -> None:
    assert kind_of_bytes(head) == kind
    (path := tmp_path / "it").write_bytes(head + b"\n")
    assert kind_of_input(path) == kind_of_input(str(path)) == kind


async def test_real_files_are_recognized(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=2) as sim, client_of(sim) as client:
        plan = await plan_of(client, tmp_path)
        await collect(apply(client, plan, tmp_path / "a.journal"))
        for path, kind in ((plan.path, "plan"), (tmp_path / "a.journal", "journal")):
            assert await asyncio.to_thread(kind_of_input, path) == kind


@pytest.mark.parametrize("name", [".", "none", "pipe", "nul\0", "x" * 300])
def test_what_can_not_be_read_is_of_no_kind(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert kind_of_input(tmp_path / name) is None
