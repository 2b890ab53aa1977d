"""Commands run in an event loop, and signals let them finish or cancel them."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator
from importlib.util import find_spec
from pathlib import Path

import pytest
from click.testing import Result

from aiorooms.bulk._new_file import NewFile
from aiorooms.cli import _run

from .conftest import running


async def seven() -> int:
    await asyncio.sleep(0)
    return 7


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture(params=["uvloop", "asyncio"])
def _loop(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "uvloop":
        pytest.importorskip("uvloop")
        monkeypatch.setattr(_run, "find_spec", find_spec)


pytestmark = pytest.mark.usefixtures("_loop")


def test_run_returns_the_result_of_the_command() -> None:
    before = signal.getsignal(signal.SIGINT)
    assert _run.run(seven()) == 7
    assert signal.getsignal(signal.SIGINT) is before, "the handler was not restored"


def test_an_error_of_the_command_is_raised() -> None:
    async def fail() -> None:
        await asyncio.sleep(0)
        raise LookupError

    with pytest.raises(LookupError):
        _run.run(fail())


def test_a_signal_cancels_a_command_without_on_stop() -> None:
    ended: list[str] = []

    async def command() -> None:
        try:
            interrupt()
            await asyncio.sleep(60)
        finally:
            ended.append("cleanly")

    with pytest.raises(_run.Interrupted) as stopped:
        _run.run(command(), interrupted=lambda: "interrupted; no file was written")
    assert stopped.value.line == "interrupted; no file was written"
    assert ended == ["cleanly"]


def test_a_signal_wakes_a_loop_that_waits() -> None:
    """The main thread must not need an interrupted system call to see a signal.

    A signal can arrive after Python has looked for signals and before the loop waits. No call is interrupted then, as
    here, where another thread receives the signal.
    """

    def interrupt_when_waiting() -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        waiting.wait()
        time.sleep(0.05)  # the loop has begun to wait by then, and otherwise the test shows nothing
        interrupt()

    async def command() -> None:
        waiting.set()
        asyncio.get_running_loop().call_later(10, woken.append, "a timer")
        try:
            await asyncio.sleep(60)
        finally:
            woken.append("the signal")

    woken: list[str] = []
    waiting = threading.Event()
    sender = threading.Thread(target=interrupt_when_waiting)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    sender.start()
    try:
        with pytest.raises(_run.Interrupted):
            _run.run(command())
        assert woken == ["the signal"]
    finally:
        sender.join()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def test_a_signal_before_the_command_starts_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    listening = _run.SignalHandler.listening

    @contextlib.contextmanager
    def interrupted_first(handler: _run.SignalHandler) -> Generator[None]:
        with listening(handler):
            interrupt()
            yield

    monkeypatch.setattr(_run.SignalHandler, "listening", interrupted_first)
    ran: list[str] = []

    async def command() -> None:
        ran.append("yes")

    with pytest.raises(_run.Interrupted):
        _run.run(command())
    assert ran == []


def test_a_signal_calls_on_stop_and_the_command_may_finish() -> None:
    async def command() -> None:
        interrupt()
        await asyncio.wait_for(stopping.wait(), 10)

    stopping = asyncio.Event()
    with pytest.raises(_run.Interrupted):
        _run.run(command(), on_stop=stopping.set)
    assert stopping.is_set()


def test_a_command_that_does_not_finish_in_the_grace_period_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_run, "GRACE", 0.05)
    stopping: list[str] = []

    async def command() -> None:
        interrupt()
        await asyncio.sleep(60)

    with pytest.raises(_run.Interrupted):
        _run.run(command(), on_stop=lambda: stopping.append("once"))
    assert stopping == ["once"]


def test_after_two_signals_the_default_handler_is_restored() -> None:
    handlers: list[object] = []

    async def command() -> None:
        interrupt()
        await asyncio.sleep(0.05)
        interrupt()
        try:
            await asyncio.sleep(60)
        finally:
            handlers.append(signal.getsignal(signal.SIGINT))

    with pytest.raises(_run.Interrupted):
        _run.run(command(), on_stop=lambda: None)
    assert handlers == [signal.SIG_DFL]


def test_three_signals_end_a_process_whose_loop_is_blocked() -> None:
    program = "import time; from aiorooms.cli._run import run\nasync def block(): print(flush=True); time.sleep(60)\n"
    command = [sys.executable, "-c", f"{program}run(block(), on_stop=lambda: None)"]
    with running(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        for _ in range(3):
            process.send_signal(signal.SIGTERM)
            time.sleep(0.2)
        assert process.wait(timeout=5) == -signal.SIGTERM


def test_a_cancellation_without_a_signal_is_not_hidden() -> None:
    async def command() -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        _run.run(command())


def test_run_works_in_any_thread() -> None:
    ended: list[int] = []
    thread = threading.Thread(target=lambda: ended.append(_run.run(seven())))
    thread.start()
    thread.join()
    assert ended == [7]


@pytest.mark.parametrize("before", [None, b"old"], ids=["new", "replaced"])
@pytest.mark.parametrize("is_written", [True, False])
@pytest.mark.parametrize("what", ["plan", "file"])
def test_an_interrupted_command_says_whether_its_file_was_written(
    tmp_path: Path, what: str, is_written: bool, before: bytes | None
) -> None:
    path = tmp_path / "a"
    if before is not None:
        path.write_bytes(before)

    async def command() -> None:
        if is_written:
            await asyncio.to_thread(path.write_bytes, b"new content")
        interrupt()
        await asyncio.sleep(60)

    with pytest.raises(_run.Interrupted) as stopped:
        _run.run(command(), interrupted=_run.interrupted_before(path, what))
    assert stopped.value.line == f"interrupted; {'the' if is_written else 'no'} {what} was written"


@pytest.mark.parametrize(
    "command",
    [
        ("export", "out.csv"),
        ("plan", "--set", "max_participants=20", "--out", "out.plan"),
        ("rollback", "rooms.plan.journal", "--out", "back.plan"),
        ("webhooks", "audit", "--fix-timeout", "10", "--fix-plan", "fixes.plan"),
    ],
    ids=lambda command: command[0],
)
@pytest.mark.usefixtures("applied")
def test_a_signal_that_comes_when_the_file_has_been_written(
    invoke: Callable[..., Result], command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = NewFile.rename

    def interrupted(file: NewFile) -> bool:
        is_renamed = rename(file)
        interrupt()
        return is_renamed

    monkeypatch.setattr(NewFile, "rename", interrupted)
    result = invoke(*command)
    what = "file" if command[0] == "export" else "plan"
    assert (result.exit_code, result.stderr) == (130, f"aiorooms: interrupted; the {what} was written\n")
    assert Path(command[-1]).stat().st_size
