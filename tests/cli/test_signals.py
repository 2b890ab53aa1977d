"""Signals to a command in a process of its own: SIGHUP, ignored signals, and signals while updates wait."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aiorooms.bulk import Journal
from aiorooms.simulator import RoomsSimulator, ScriptedAnswer

from .conftest import KEY, Invoke, Program, lines, planned, run, running, until, until_reading

RATE_LIMITED = ScriptedAnswer(status=429, headers={"Retry-After": "200"})
SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


def states(path: str) -> Counter[str]:
    return Counter(Journal.open(path).states().values())


def ignoring(number: int) -> Callable[[], object]:
    """Return a function that makes a new process ignore a signal, as `nohup` and shell scripts do."""
    return lambda: signal.signal(number, signal.SIG_IGN)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_drains_a_run(sim: RoomsSimulator, invoke: Invoke, program: Program, number: int) -> None:
    planned(invoke)
    sim.latency = 0.2
    with program("apply", "rooms.plan", "--yes", "--concurrency", "3") as process:
        until(lambda: sim.stats.in_flight == 3, "three updates are in flight")
        process.send_signal(number)
        _, errors = process.communicate(timeout=20)
        assert process.returncode == 130
    assert lines(errors)[-1] == "To continue: aiorooms resume rooms.plan.journal"
    assert set(states("rooms.plan.journal")) <= {"updated", "skipped"}


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_that_was_ignored_at_the_beginning_stays_ignored(
    sim: RoomsSimulator, invoke: Invoke, program: Program, number: int
) -> None:
    planned(invoke)
    sim.latency = 0.05
    start = ignoring(number)
    with program("apply", "rooms.plan", "--yes", "--concurrency", "1", preexec_fn=start) as process:
        until(lambda: sim.stats.in_flight > 0, "an update is in flight")
        process.send_signal(number)
        process.send_signal(number)
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 0, errors
    assert "stopping" not in errors
    assert states("rooms.plan.journal") == {"updated": 20}


def test_the_other_signals_still_work_if_one_is_ignored(sim: RoomsSimulator, invoke: Invoke, program: Program) -> None:
    planned(invoke)
    sim.latency = 0.2
    start = ignoring(signal.SIGHUP)
    with program("apply", "rooms.plan", "--yes", "--concurrency", "3", preexec_fn=start) as process:
        until(lambda: sim.stats.in_flight == 3, "three updates are in flight")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
    assert process.returncode == 130


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("words", [("list",), ("export", "a.csv"), ("get", "ROOM")], ids=lambda words: words[0])
def test_a_signal_ends_a_command_that_waits(
    sim: RoomsSimulator, program: Program, words: tuple[str, ...], number: int
) -> None:
    sim.script(RATE_LIMITED)
    with program(*(sim.room_ids[0] if word == "ROOM" else word for word in words)) as process:
        until(lambda: sim.stats.requests == 1, "the command waits")
        process.send_signal(number)
        process.communicate(timeout=20)
    assert process.returncode == 130


def test_a_signal_while_updates_wait_after_a_429_leaves_none_uncertain(
    sim: RoomsSimulator, invoke: Invoke, program: Program
) -> None:
    planned(invoke)
    sim.script(None, RATE_LIMITED, method="PATCH")
    with program("apply", "rooms.plan", "--yes", "--json", "--concurrency", "3") as process:
        until(lambda: sim.stats.by_method["PATCH"] >= 2 and not sim.stats.in_flight, "the run is rate limited")
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "uncertain" not in errors
    *_, totals = map(json.loads, lines(output))
    assert (totals["uncertain"], totals["stopped_by"]) == (0, "interrupted")
    assert set(states("rooms.plan.journal")) == {"updated", "skipped"}
    assert invoke("resume", "rooms.plan.journal", "--yes").exit_code == 0
    assert invoke("verify", "rooms.plan").exit_code == 0


@pytest.mark.parametrize("rooms", [1, 20])
def test_a_signal_while_an_update_waits_after_a_429_skips_it(sim: RoomsSimulator, program: Program, rooms: int) -> None:
    sim.script(RATE_LIMITED)
    ids = sim.room_ids[:rooms]
    with program("update", *ids, "--max-participants", "30", "--json") as process:
        until(lambda: sim.stats.requests == 1 and not sim.stats.in_flight, "the update is rate limited")
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    found = {result["room_id"]: result["status"] for result in map(json.loads, lines(output))}
    assert found == dict.fromkeys(ids, "skipped")
    assert lines(errors)[-2].startswith(f"interrupted: 0 updated, {rooms} skipped in ")
    assert not sim.stats.updates_applied


def test_a_run_that_lists_the_account_is_not_called_uncertain(
    sim: RoomsSimulator, invoke: Invoke, program: Program
) -> None:
    planned(invoke)
    sim.latency = 3
    with program("apply", "rooms.plan", "--yes") as process:
        until(lambda: Path("rooms.plan.journal").exists() and sim.stats.in_flight > 0, "the account is listed")
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert lines(errors)[-2:] == [
        "interrupted: 0 updated, 20 not begun, out of 20.",
        "To continue: aiorooms resume rooms.plan.journal",
    ]
    assert "uncertain" not in errors


@pytest.mark.parametrize("bar", [True, False], ids=["with a bar", "without"])
def test_a_run_survives_the_end_of_its_terminal(sim: RoomsSimulator, invoke: Invoke, folder: Path, bar: bool) -> None:
    """The kernel sends SIGHUP, and every write to the terminal fails from then on."""
    planned(invoke, *(() if bar else ("--where", "name=room-00000*")), "--set", "max_participants=30")
    sim.latency = 0.3
    ours, theirs = os.openpty()
    environment = {**os.environ, "TELNYX_API_KEY": KEY, "TELNYX_BASE_URL": sim.url}
    code = "import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); from aiorooms.cli import main; main()"
    command = [sys.executable, "-c", code, "apply", "rooms.plan", "--yes", "--concurrency", "3"]
    how: dict[str, Any] = {"stdin": theirs, "stdout": theirs, "stderr": theirs, "start_new_session": True}
    with running(command, env=environment, **how) as process:
        os.close(theirs)
        until(lambda: sim.stats.in_flight == 3, "three updates are in flight")
        os.close(ours)
        try:
            code_at_end = process.wait(20)
        except subprocess.TimeoutExpired:
            pytest.fail("the run did not end")
    assert code_at_end == 130
    assert set(states("rooms.plan.journal")) <= {"updated", "skipped"}
    *_, stop = Journal.open("rooms.plan.journal").records()
    assert stop["stop"] == "stopped: interrupted"


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("words", [("show", "-"), ("report", "-", "-o", "-")], ids=lambda words: words[0])
def test_a_signal_while_standard_input_is_read_leaves_no_copy_of_it(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], number: int
) -> None:
    copies = tmp_path / "temporary"
    copies.mkdir()
    monkeypatch.setenv("TMPDIR", str(copies))
    with program(*words, stdin=subprocess.PIPE) as process:
        until(lambda: any(copies.iterdir()), "the copy has begun")
        until_reading(process)
        process.send_signal(number)
        assert process.wait(timeout=20) == 130
    assert not any(copies.iterdir())


@pytest.mark.parametrize("words", [("show", "-"), ("report", "-", "-o", "-"), ("demo", "--rooms", "1")], ids=" ".join)
def test_a_signal_leaves_no_folder_even_if_it_comes_when_the_folder_has_just_been_created(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    (folder := tmp_path / "temporary").mkdir()
    create = os.mkdir

    def create_and_interrupt(path: Path, mode: int) -> None:
        create(path, mode)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    with monkeypatch.context() as patch:
        patch.setattr(os, "mkdir", create_and_interrupt)
        assert run(*words).exit_code == 130
    assert not any(folder.iterdir())


def test_a_signal_leaves_no_folder_even_if_it_comes_when_the_folder_is_being_removed(tmp_path: Path) -> None:
    code = """
import shutil, signal, tempfile
from aiorooms.cli._temporary import temporary_folder

remove = shutil.rmtree

def interrupt_once(folder, ignore_errors):
    if not interrupted:
        interrupted.append(folder)
        signal.raise_signal(signal.SIGINT)
    remove(folder, ignore_errors)

interrupted = []
shutil.rmtree = interrupt_once
with temporary_folder("aiorooms-") as folder:
    (folder / "file").touch()
"""
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.stderr.endswith("KeyboardInterrupt\n")
    assert not any(tmp_path.iterdir())


def test_a_signal_that_was_ignored_does_not_end_the_reading_of_standard_input(program: Program) -> None:
    start = ignoring(signal.SIGHUP)
    with program("plan", "-", "--check", stdin=subprocess.PIPE, preexec_fn=start) as process:
        assert process.stdin is not None
        process.stdin.write("room_id,max_participants\n")
        process.stdin.flush()
        time.sleep(1)
        process.send_signal(signal.SIGHUP)
        process.communicate("6baa9455-e3e7-4682-8209-4cac629f6fbe,20\n", timeout=20)
    assert process.returncode == 0
