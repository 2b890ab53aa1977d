"""Asking whether a run is in progress does not disturb a run that begins at that moment."""

import asyncio
import fcntl
import os
import threading
from collections.abc import Generator
from contextlib import aclosing, contextmanager
from pathlib import Path

import pytest

from aiorooms.bulk import JournalError, apply, resume
from aiorooms.bulk import _journal_writer as module
from aiorooms.bulk._lock import is_locked, is_only_asked
from aiorooms.simulator import RoomsSimulator

from .conftest import client_of, collect, handwritten_journal, plan_of


@contextmanager
def held(path: Path, how: int) -> Generator[None]:
    """Lock a file while the block runs, as another process would."""
    number = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(number, how)
        yield
    finally:
        os.close(number)


@pytest.mark.parametrize(("how", "expected"), [(fcntl.LOCK_EX, True), (fcntl.LOCK_SH, False), (fcntl.LOCK_UN, False)])
def test_only_an_exclusive_lock_is_one_of_a_run(tmp_path: Path, how: int, expected: bool) -> None:
    (path := tmp_path / "a").touch()
    with held(path, how):
        assert is_locked(path) is expected


def test_without_a_file_the_lock_is_unknown(tmp_path: Path) -> None:
    assert is_locked(tmp_path / "none") is None
    assert is_locked(tmp_path) is None


async def test_a_run_has_the_lock_until_it_ends(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=3) as sim, client_of(sim) as client:
        path = tmp_path / "a.journal"
        async with aclosing(apply(client, await plan_of(client, tmp_path), path).outcomes()) as outcomes:
            await anext(outcomes)
            assert is_locked(path) is True
        assert is_locked(path) is False


async def test_a_run_that_begins_while_the_lock_is_asked_for_tries_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with RoomsSimulator(rooms=3) as sim, client_of(sim) as client:
        path = tmp_path / "a.journal"
        await handwritten_journal(client, await plan_of(client, tmp_path), path, [])
        tried = asyncio.Event()
        only_asked = is_only_asked

        def asked(descriptor: int) -> bool:
            tried.set()
            return only_asked(descriptor)

        monkeypatch.setattr(module, "is_only_asked", asked)
        monkeypatch.setattr(module, "_LOCK_PAUSES", (0.001,) * 10_000)
        with held(path, fcntl.LOCK_SH):
            run = asyncio.create_task(collect(resume(client, path)))
            await tried.wait()
        assert len(await run) == 3


async def test_a_run_does_not_wait_for_a_lock_that_is_never_released(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with RoomsSimulator(rooms=3) as sim, client_of(sim) as client:
        path = tmp_path / "a.journal"
        await handwritten_journal(client, await plan_of(client, tmp_path), path, [])
        monkeypatch.setattr(module, "_LOCK_PAUSES", (0.0, 0.0))
        with held(path, fcntl.LOCK_SH), pytest.raises(JournalError, match="is in use"):
            await collect(resume(client, path))


async def test_every_run_begins_while_another_thread_asks_all_the_time(tmp_path: Path) -> None:
    async with RoomsSimulator(rooms=1) as sim, client_of(sim) as client:
        path = tmp_path / "a.journal"
        await handwritten_journal(client, await plan_of(client, tmp_path), path, [])
        ended = threading.Event()
        answers: set[bool | None] = set()

        def ask() -> None:
            while not ended.is_set():
                answers.add(is_locked(path))

        asking = asyncio.create_task(asyncio.to_thread(ask))
        try:
            for _ in range(20):
                await collect(resume(client, path))
        finally:
            ended.set()
            await asking
        assert None not in answers
