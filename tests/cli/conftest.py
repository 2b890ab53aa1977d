"""Run the command line in this process (so that coverage sees it), on a terminal, or in a separate process."""

import contextlib
import fcntl
import functools
import io
import os
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import IO, Any

import pytest
from click.testing import CliRunner, Result

from aiorooms import RetryPolicy, RoomsClient
from aiorooms.cli import _options, _run
from aiorooms.cli._main import cli
from aiorooms.simulator import RoomsSimulator
from aiorooms.telemetry._log import ROOT

KEY = "KEY0123456789abcdef"

Invoke = Callable[..., Result]


@pytest.fixture(autouse=True, scope="session")
def signals_are_not_ignored() -> None:
    """Make sure that programs started by tests receive Ctrl-C and SIGHUP.

    If the tests run as a background job of a shell, SIGINT is ignored, and with `nohup` SIGHUP is, also in child
    processes.
    """
    for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make retries fast, ignore the machine's colour settings, and use 80 columns and asyncio's own event loop.

    uvloop is not used, because pytest-timeout can't interrupt it. Commands in a separate process do use it.
    """
    monkeypatch.setattr(_run, "find_spec", dict[str, object]().get)
    quick = functools.partial(RoomsClient, retry=RetryPolicy(base_delay=0.001, max_delay=0.002))
    monkeypatch.setattr(_options, "RoomsClient", quick)
    for name in ("NO_COLOR", "FORCE_COLOR", "CLICOLOR_FORCE", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm-256color")


@pytest.fixture(autouse=True)
def _logger() -> Iterator[None]:
    """Undo what `--verbose` changes in the loggers, so that no later test in this process sees it."""
    handlers, level = [*ROOT.handlers], ROOT.level
    yield
    ROOT.handlers[:] = handlers
    ROOT.setLevel(level)


@pytest.fixture
def sim() -> Iterator[RoomsSimulator]:
    with RoomsSimulator(rooms=20, api_key=KEY) as simulator:
        yield simulator


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Callable[[RoomsSimulator], None]:
    """Return a function that makes the commands use a simulator."""

    def use(simulator: RoomsSimulator) -> None:
        monkeypatch.setenv("TELNYX_API_KEY", KEY)
        monkeypatch.setenv("TELNYX_BASE_URL", simulator.url)

    return use


@pytest.fixture
def invoke(sim: RoomsSimulator, use: Callable[[RoomsSimulator], None]) -> Invoke:
    """Return a function that runs a command in this process against `sim`."""
    use(sim)
    return run


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make an empty folder the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def planned(invoke: Invoke, *options: str) -> None:
    """Run `aiorooms plan` with these options. By default, set `max_participants` to 30 and write rooms.plan."""
    result = invoke("plan", *(options or ("--set", "max_participants=30")))
    assert result.exit_code == 0, result.stderr


@pytest.fixture
def applied(invoke: Invoke) -> None:
    """Write and apply rooms.plan."""
    planned(invoke)
    assert invoke("apply", "rooms.plan", "--yes").exit_code == 0


def run(*args: str, stdin: str | bytes | None = None) -> Result:
    """Run a command in this process, and check that its output does not contain the API key."""
    result = CliRunner().invoke(cli, args, input=stdin, prog_name="aiorooms", catch_exceptions=False)
    assert KEY not in result.output, "the API key was shown"
    return result


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[RoomsSimulator]:
    """Return a list of the simulators that the test has started. The list grows during the test."""
    simulators: list[RoomsSimulator] = []
    start = RoomsSimulator.start

    async def start_and_record(simulator: RoomsSimulator) -> None:
        await start(simulator)
        simulators.append(simulator)

    monkeypatch.setattr(RoomsSimulator, "start", start_and_record)
    return simulators


def lines(text: str) -> list[str]:
    return text.splitlines()


def without_window(text: str) -> list[str]:
    """Return the lines without the one about the time in which changes by others may have been overwritten."""
    return [line for line in lines(text) if not line.startswith("Changes that others made less than ")]


@contextlib.contextmanager
def signals_when(ready: Callable[[], bool], *numbers: int, between: float = 0.1) -> Generator[None]:
    """When `ready` returns True, send signals to this process, `between` seconds apart."""
    given_up = threading.Event()

    def send() -> None:
        while not ready():
            if given_up.wait(0.005):
                return
        for number in numbers:
            os.kill(os.getpid(), number)
            if given_up.wait(between):
                return

    sender = threading.Thread(target=send)
    # If a signal arrives after the command has finished, it must not end the whole test run.
    before = {number: signal.signal(number, _ignore) for number in set(numbers)}
    sender.start()
    try:
        yield
    finally:
        given_up.set()
        sender.join()
        for number, handler in before.items():
            signal.signal(number, handler)


def _ignore(number: int, frame: FrameType | None) -> None: ...


class Terminal:
    """A pseudo-terminal that records its output."""

    def __init__(self, columns: int) -> None:
        self._ours, self.theirs = os.openpty()
        fcntl.ioctl(self.theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        self._written = b""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        # On Linux, reading raises an OSError when the terminal is closed.
        with contextlib.suppress(OSError):
            while piece := os.read(self._ours, 65536):
                self._written += piece

    @property
    def text(self) -> str:
        return self._written.decode()

    def close(self) -> None:
        os.close(self.theirs)
        self._reader.join()
        os.close(self._ours)


@pytest.fixture
def on_terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str]]:
    """Return a function that runs a command in this process on a terminal, and returns its exit code and its output."""

    def invoke(*args: str, columns: int = 80) -> tuple[int, str]:
        monkeypatch.setenv("COLUMNS", str(columns))
        terminal = Terminal(columns)
        with open(terminal.theirs, "w", closefd=False) as out, monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", out)
            patch.setattr(sys, "stderr", out)
            code: Any = cli.main(args, prog_name="aiorooms", standalone_mode=False)
        terminal.close()
        assert KEY not in terminal.text, "the API key was shown"
        return code, terminal.text.replace("\r\n", "\n")

    return invoke


@pytest.fixture
def into(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str]]:
    """Return a function that runs a command in this process with a file as standard output.

    The function returns the exit code and the text on standard error.
    """

    def invoke(file: IO[str], *args: str) -> tuple[int, str]:
        errors = io.StringIO()
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", file)
            patch.setattr(sys, "stderr", errors)
            code: Any = cli.main(args, prog_name="aiorooms", standalone_mode=False)
        return code, errors.getvalue()

    return invoke


@contextlib.contextmanager
def running(command: list[str], **how: Any) -> "Generator[subprocess.Popen[str]]":
    """Run a program, and kill it at the end of the block, so that a failing test can't hang."""
    with subprocess.Popen(command, text=True, **how) as process:
        try:
            yield process
        finally:
            process.kill()


Program = Callable[..., "contextlib.AbstractContextManager[subprocess.Popen[str]]"]


@pytest.fixture
def program(sim: RoomsSimulator) -> Program:
    """Return a function that starts a command in a separate process, against `sim`."""

    def start(*args: str, **how: Any) -> "contextlib.AbstractContextManager[subprocess.Popen[str]]":
        environment = {**os.environ, "TELNYX_API_KEY": KEY, "TELNYX_BASE_URL": sim.url, **how.pop("env", {})}
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **how}
        return running([sys.executable, "-m", "aiorooms", *args], env=environment, **pipes)

    return start


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait until `condition` returns True. Fail after 15 seconds, with `what` in the message."""
    give_up_at = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < give_up_at, f"timed out waiting until {what}"
        time.sleep(0.01)


def until_reading(process: "subprocess.Popen[str]") -> None:
    """Wait until a process is blocked while it reads its input.

    If a signal arrived just before the read, the process would notice it only after the read.
    """
    call = Path(f"/proc/{process.pid}/syscall")

    def is_reading() -> bool:
        # Number and first argument of the system call: `read` of descriptor 0, or `select` with one descriptor.
        return call.read_text().split()[:2] in (
            ["0", "0x0"],
            ["63", "0x0"],
            ["23", "0x1"],
            ["270", "0x1"],
            ["72", "0x1"],
        )

    until(is_reading, "the process reads its input")


class Session:
    """A command on its own terminal. A test can press keys and read the output."""

    def __init__(self, process: "subprocess.Popen[str]", number: int) -> None:
        self.process = process
        self._number = number
        self._written = b""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # on Linux, reading raises an OSError when the terminal is closed
            while piece := os.read(self._number, 65536):
                self._written += piece

    @property
    def text(self) -> str:
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self._written.decode()).replace("\r\n", "\n")

    def press(self, keys: str) -> None:
        os.write(self._number, keys.encode())

    def resize(self, columns: int) -> None:
        fcntl.ioctl(self._number, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))

    def wait_for(self, text: str) -> None:
        until(lambda: text in self.text, f"{text!r} is on the terminal, which showed {self.text!r} at first")

    def end(self) -> int:
        code = self.process.wait(60)
        self._reader.join()
        return code


Start = Callable[..., contextlib.AbstractContextManager[Session]]


@pytest.fixture
def in_terminal(sim: RoomsSimulator) -> Start:
    """Return a function that starts a command in a separate process, which leads a session on its own terminal."""

    @contextlib.contextmanager
    def start(
        *args: str, grace: float = _run.GRACE, columns: int | None = 100, env: Mapping[str, str] | None = None
    ) -> Generator[Session]:
        ours, theirs = os.openpty()
        environment = {**os.environ, "TELNYX_API_KEY": KEY, "TELNYX_BASE_URL": sim.url, **(env or {})}
        environment.pop("COLUMNS", None)
        if columns is not None:  # None means that the size of the terminal counts
            environment["COLUMNS"] = str(columns)
        # The process must lead a session on this terminal. Otherwise Ctrl-C would not reach it.
        code = (
            "import fcntl, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
            f"from aiorooms.cli import _run, main; _run.GRACE = {grace}; main()"
        )
        command = [sys.executable, "-c", code, *args]
        how: dict[str, Any] = {"stdin": theirs, "stdout": theirs, "stderr": theirs, "start_new_session": True}
        with running(command, env=environment, **how) as process:
            os.close(theirs)
            session = Session(process, ours)
            yield session
        session.end()
        os.close(ours)
        assert KEY not in session.text, "the API key was shown"

    return start
