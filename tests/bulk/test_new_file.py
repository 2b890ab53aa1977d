"""New files: plans, exports and reports are private, whole or not at all, and replace only regular files."""

import asyncio
import contextlib
import errno
import os
import shutil
import signal
import socket
import stat
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aiorooms.bulk import BulkInputError, PlanFileError, export_rooms, make_plan, select
from aiorooms.bulk._new_file import write_atomically, write_atomically_async
from aiorooms.errors import AioroomsError
from aiorooms.simulator import RoomsSimulator

from .conftest import client_of, files_in, write_plan


def error_of(path: Path, reason: str) -> AioroomsError:
    return PlanFileError(f"{path.name} can't be written: {reason}")


def write(path: Path, content: bytes = b"new") -> None:
    with write_atomically(path, error_of) as file:
        file.write(content)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def failing(code: int) -> Callable[..., Any]:
    def fail(*_: object, **__: object) -> Any:
        raise OSError(code, os.strerror(code))

    return fail


@pytest.mark.parametrize("mask", [0o000, 0o027, 0o077], ids=oct)
def test_a_new_file_can_be_read_by_its_owner_only(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        write(tmp_path / "a")
        write_plan(tmp_path / "a.plan")
    finally:
        os.umask(before)
    assert (mode_of(tmp_path / "a"), mode_of(tmp_path / "a.plan")) == (0o600, 0o600)


def test_ctrl_c_leaves_no_file_even_if_it_comes_when_the_file_has_just_been_created(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = os.open

    def create_and_interrupt(path: Path, flags: int, mode: int) -> int:
        os.close(create(path, flags, mode))
        assert len(files_in(tmp_path)) == 1
        signal.raise_signal(signal.SIGINT)
        return -1

    monkeypatch.setattr(os, "open", create_and_interrupt)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "a")
    assert files_in(tmp_path) == []


def test_ctrl_c_leaves_no_file_of_a_coroutine_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create = os.open

    def create_and_interrupt(path: Path, flags: int, mode: int) -> int:
        os.close(create(path, flags, mode))
        raise KeyboardInterrupt

    async def main() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(os, "open", create_and_interrupt)
            async with write_atomically_async(tmp_path / "a", error_of):
                pass

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(main())
    assert files_in(tmp_path) == []


def test_the_umask_of_the_process_is_never_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "umask", failing(errno.EPERM))
    write(tmp_path / "a")
    write(tmp_path / "a")


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o444, 0o660], ids=oct)
def test_a_replaced_file_keeps_its_mode(tmp_path: Path, mode: int) -> None:
    (tmp_path / "a").write_bytes(b"old and longer")
    (tmp_path / "a").chmod(mode)
    write(tmp_path / "a")
    assert (mode_of(tmp_path / "a"), (tmp_path / "a").read_bytes()) == (mode, b"new")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give a file away")
def test_a_replaced_file_keeps_its_owner(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    os.chown(tmp_path / "a", 1234, 2345)
    write(tmp_path / "a")
    status = (tmp_path / "a").stat()
    assert (status.st_uid, status.st_gid, (tmp_path / "a").read_bytes()) == (1234, 2345, b"new")


@pytest.mark.parametrize("exists", [True, False], ids=["existing target", "dangling link"])
def test_a_symbolic_link_is_written_through(tmp_path: Path, exists: bool) -> None:
    (tmp_path / "folder").mkdir()
    target = tmp_path / "folder" / "target"
    if exists:
        target.write_bytes(b"old")
    (tmp_path / "link").symlink_to("folder/target")
    (tmp_path / "link of link").symlink_to("link")
    write(tmp_path / "link of link")
    assert target.read_bytes() == b"new"
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "link of link").is_symlink()
    assert files_in(tmp_path / "folder") == ["target"]


def special_files(folder: Path) -> dict[str, Path]:
    (folder / "folder").mkdir()
    os.mkfifo(folder / "pipe")
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as listening:
        listening.bind(str(folder / "socket"))
    (folder / "link").symlink_to("/dev/null")
    return {
        "Is a directory": folder / "folder",
        "it is a pipe, not a regular file": folder / "pipe",
        "it is a socket, not a regular file": folder / "socket",
        "it is a device, not a regular file": Path("/dev/null"),
        "it is a device": folder / "link",
    }


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
async def test_a_file_that_is_not_regular_is_refused_before_anything_is_sent() -> None:
    folder = Path(tempfile.mkdtemp())  # the path of a socket must be short
    try:
        async with RoomsSimulator(rooms=3) as sim, client_of(sim) as client:
            for reason, path in special_files(folder).items():
                before = path.stat().st_mode
                with pytest.raises(PlanFileError, match=reason):
                    await make_plan(client, select(set_fields=["max_participants=20"]), path)
                with pytest.raises(BulkInputError, match=reason):
                    await export_rooms(client, path, form="csv")
                assert path.stat().st_mode == before
            assert sim.stats.requests == 0
        assert files_in(folder) == ["folder", "link", "pipe", "socket"]
    finally:
        shutil.rmtree(folder)


# -- System calls that are refused

REFUSED = {
    "rename EBUSY": (Path, "replace", errno.EBUSY),
    "rename EPERM": (Path, "replace", errno.EPERM),
    "rename EXDEV": (Path, "replace", errno.EXDEV),
    "chmod EPERM": (os, "fchmod", errno.EPERM),
    "chmod ENOTSUP": (os, "fchmod", errno.ENOTSUP),
}


@pytest.mark.parametrize(("owner", "name", "code"), REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("old", [b"", b"old", b"older" * 100_000, None], ids=["empty", "short", "long", "new"])
def test_if_a_rename_or_a_mode_is_refused_the_content_is_still_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: object, name: str, code: int, old: bytes | None
) -> None:
    path = tmp_path / "a"
    if old is not None:
        path.write_bytes(old)
        path.chmod(0o640)
    number = None if old is None else path.stat().st_ino
    monkeypatch.setattr(owner, name, failing(code))
    monkeypatch.setattr(os, "link", failing(errno.EPERM))  # so that a new file is renamed too
    write(path, b"new content\n" * 1000)
    assert path.read_bytes() == b"new content\n" * 1000
    assert mode_of(path) == (0o600 if old is None else 0o640)
    assert number in (None, path.stat().st_ino), "the existing file was replaced"
    assert files_in(tmp_path) == ["a"]


def test_if_the_owner_can_not_be_kept_by_a_rename_the_content_is_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    status = path.stat()
    # For the temporary file, the system reports another group than the group of the existing file.
    other_group = os.stat_result((*status[:5], status.st_gid + 1, *status[6:]))

    def fstat(_: int) -> os.stat_result:
        return other_group

    monkeypatch.setattr(os, "fstat", fstat)
    monkeypatch.setattr(os, "fchown", failing(errno.EPERM))
    write(path)
    assert (path.read_bytes(), path.stat().st_ino) == (b"new", status.st_ino)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO], ids=errno.errorcode.get)
@pytest.mark.parametrize("call", ["fsync", "replace", "fchmod"])
def test_after_any_other_error_the_existing_file_is_unchanged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    (tmp_path / "a").write_bytes(b"old")
    monkeypatch.setattr(Path if call == "replace" else os, call, failing(code))
    with pytest.raises(PlanFileError, match=f"^a can't be written: {os.strerror(code)}$"):
        write(tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == b"old"
    assert files_in(tmp_path) == ["a"]


def test_if_the_copy_fails_too_the_complete_content_is_kept_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_bytes(b"old")
    monkeypatch.setattr(Path, "replace", failing(errno.EBUSY))
    monkeypatch.setattr(shutil, "copyfileobj", failing(errno.ENOSPC))
    with pytest.raises(
        PlanFileError, match="No space left on device; its complete new content is in '.*tmp'"
    ) as caught:
        write(tmp_path / "a")
    (kept,) = (path for path in tmp_path.iterdir() if path.name != "a")
    assert kept.read_bytes() == b"new"
    assert kept.name in str(caught.value)


def test_if_the_copy_to_a_new_file_fails_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "replace", failing(errno.EXDEV))
    monkeypatch.setattr(os, "link", failing(errno.EXDEV))
    monkeypatch.setattr(shutil, "copyfileobj", failing(errno.ENOSPC))
    with pytest.raises(PlanFileError, match="No space left on device$"):
        write(tmp_path / "a")
    assert files_in(tmp_path) == []


def test_if_the_existing_file_can_not_be_opened_the_complete_content_is_kept_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_bytes(b"old")
    real = os.open

    def refused(path: Any, flags: int, *args: Any, **options: Any) -> int:
        if Path(path) == tmp_path / "a":
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        return real(path, flags, *args, **options)

    monkeypatch.setattr(Path, "replace", failing(errno.EBUSY))
    monkeypatch.setattr(os, "open", refused)
    with pytest.raises(PlanFileError, match="Permission denied; its complete new content is in '.*tmp'$"):
        write(tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == b"old"
    (kept,) = (path for path in tmp_path.iterdir() if path.name != "a")
    assert kept.read_bytes() == b"new"


# -- A file that another program creates meanwhile

WITHOUT = {
    "hard links": [],
    "no hard links": [(os, "link", errno.EPERM)],
    "neither hard links nor renames": [(os, "link", errno.ENOTSUP), (Path, "replace", errno.EXDEV)],
}


@pytest.mark.parametrize("refused", WITHOUT.values(), ids=WITHOUT)
@pytest.mark.parametrize("link", [False, True], ids=["file", "dangling link"])
def test_a_file_that_another_program_creates_meanwhile_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: list[tuple[object, str, int]], link: bool
) -> None:
    for owner, name, code in refused:
        monkeypatch.setattr(owner, name, failing(code))
    target = path = tmp_path / "a"
    if link:
        target = tmp_path / "target"
        path.symlink_to("target")
    with (
        pytest.raises(
            PlanFileError, match="another program created it meanwhile; its complete new content is in '"
        ) as caught,
        write_atomically(path, error_of) as file,
    ):
        file.write(b"new")
        target.write_bytes(b"theirs")
    assert target.read_bytes() == b"theirs"
    (kept,) = (one for one in tmp_path.iterdir() if one not in (path, target))
    assert (kept.read_bytes(), mode_of(kept)) == (b"new", 0o600)
    assert kept.name in str(caught.value)


def test_a_file_that_is_created_just_before_the_copy_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def replace(_: Path, target: Path) -> None:
        target.write_bytes(b"theirs")
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(os, "link", failing(errno.ENOTSUP))
    monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises(PlanFileError, match="another program created it meanwhile; its complete new content is in '"):
        write(tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == b"theirs"


async def test_an_export_does_not_replace_a_file_that_appears_while_the_account_is_read(tmp_path: Path) -> None:
    path = tmp_path / "o.csv"
    async with RoomsSimulator(rooms=1) as sim, client_of(sim) as client:
        with pytest.raises(BulkInputError, match="can't be written: another program created it meanwhile"):
            await export_rooms(client, path, on_room=lambda: os.close(os.open(path, os.O_CREAT | os.O_EXCL)))
    assert await asyncio.to_thread(path.read_bytes) == b""


async def test_a_task_that_is_cancelled_during_the_copy_completes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_bytes(b"old")
    loop, reached, cancelled = asyncio.get_running_loop(), asyncio.Event(), threading.Event()
    real = shutil.copyfileobj

    def copy(*args: Any) -> None:
        loop.call_soon_threadsafe(reached.set)
        cancelled.wait(10)
        real(*args)

    async def write_it() -> None:
        async with write_atomically_async(tmp_path / "a", error_of) as file:
            file.write(b"new")

    monkeypatch.setattr(Path, "replace", failing(errno.EBUSY))
    monkeypatch.setattr(shutil, "copyfileobj", copy)
    task = asyncio.create_task(write_it())
    await reached.wait()
    task.cancel()
    cancelled.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread((tmp_path / "a").read_bytes) == b"new"
    assert files_in(tmp_path) == ["a"]


@pytest.mark.parametrize(
    "error", [ValueError, KeyboardInterrupt, OSError, GeneratorExit], ids=lambda kind: kind.__name__
)
def test_if_the_block_raises_nothing_is_left_and_the_error_is_unchanged(
    tmp_path: Path, error: type[BaseException]
) -> None:
    (tmp_path / "a").write_bytes(b"old")
    with pytest.raises(error, match="^by the block$"), write_atomically(tmp_path / "a", error_of) as file:
        file.write(b"x" * 100_000)
        raise error("by the block")
    assert (tmp_path / "a").read_bytes() == b"old"
    assert files_in(tmp_path) == ["a"]


@pytest.mark.parametrize("during", ["block", "sync"])
async def test_a_cancelled_task_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, during: str) -> None:
    (tmp_path / "a").write_bytes(b"old")
    loop, reached = asyncio.get_running_loop(), asyncio.Event()
    cancelled = threading.Event()
    real = os.fsync

    def fsync(number: int) -> None:
        loop.call_soon_threadsafe(reached.set)
        cancelled.wait(10)
        real(number)

    async def write_it() -> None:
        async with write_atomically_async(tmp_path / "a", error_of) as file:
            file.write(b"new")
            if during == "block":
                reached.set()
                await asyncio.sleep(60)

    monkeypatch.setattr(os, "fsync", fsync)
    task = asyncio.create_task(write_it())
    await reached.wait()
    task.cancel()
    cancelled.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread((tmp_path / "a").read_bytes) == b"old"
    assert files_in(tmp_path) == ["a"]


def test_the_longest_possible_name_can_be_written(tmp_path: Path) -> None:
    for name in ("a" * 255, "\N{GRINNING FACE}" * 63):
        write(tmp_path / name)
        assert (tmp_path / name).read_bytes() == b"new"


def test_a_path_with_a_nul_character_is_a_one_line_error(tmp_path: Path) -> None:
    with pytest.raises(PlanFileError, match="can't be written: the path contains a NUL character$"):
        write(tmp_path / "a\0b")


def test_a_loop_of_links_is_a_one_line_error(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(PlanFileError, match="can't be written: Too many levels of symbolic links$"):
        write(tmp_path / "a")
