"""The command in a separate process: exit codes, pipes, signals, and a real terminal."""

import fcntl
import json
import os
import re
import signal
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from aiorooms.simulator import RoomsSimulator

from ..samples import ROOM_ID
from .conftest import KEY, Program, Terminal, lines, running, until, until_reading


def test_a_successful_update_exits_with_0(sim: RoomsSimulator, program: Program) -> None:
    with program("update", "-", "--max-participants", "20") as updating:
        out, err = updating.communicate("\n".join(sim.room_ids), timeout=20)
    assert updating.returncode == 0
    assert len(lines(out)) == 20
    assert err.startswith("20 updated in ")


def test_a_missing_key_exits_with_2(program: Program) -> None:
    with program("list", env={"TELNYX_API_KEY": ""}) as listing:
        out, err = listing.communicate(timeout=20)
    assert listing.returncode == 2
    assert out == ""
    assert err.startswith("aiorooms: TELNYX_API_KEY is not set")


@pytest.mark.parametrize("how", ["list", "list --json"])
def test_list_succeeds_if_the_reader_closes_the_pipe(sim: RoomsSimulator, program: Program, how: str) -> None:
    for _ in range(2000):
        sim.add_room()
    with program(*how.split(), "--page-size", "50") as listing:
        assert listing.stdout is not None
        assert listing.stderr is not None
        assert listing.stdout.readline()
        listing.stdout.close()
        assert listing.wait(timeout=20) == 0
        assert listing.stderr.read() == ""


def test_an_update_stops_if_the_reader_closes_the_pipe(sim: RoomsSimulator, program: Program) -> None:
    sim.latency = 0.2
    with program("update", *sim.room_ids, "--max-participants", "20", "--concurrency", "2") as updating:
        assert updating.stdout is not None
        assert updating.stderr is not None
        assert updating.stdout.readline()
        updating.stdout.close()
        assert updating.wait(timeout=20) == 1
        err = updating.stderr.read()
    summary, reason = lines(err)
    updated, not_sent = map(int, re.findall(r"(\d+) (?:updated|skipped)", summary))
    assert updated + not_sent == 20
    assert not_sent > 0
    assert updated == sim.stats.updates_applied.total(), "a room was updated but not reported"
    assert reason == "aiorooms: stopped: can't write to standard output: Broken pipe"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_a_one_line_error(sim: RoomsSimulator, program: Program) -> None:
    with (
        Path("/dev/full").open("w") as full,
        program("update", sim.room_ids[0], "--enable-recording", stdout=full) as updating,
    ):
        _, err = updating.communicate(timeout=20)
    assert updating.returncode == 1
    assert lines(err) == ["aiorooms: stopped: can't write to standard output: No space left on device"]


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-"])
def test_a_closed_stream_causes_no_traceback(sim: RoomsSimulator, closed: str) -> None:
    script = f"exec '{sys.executable}' -m aiorooms update - --enable-recording {closed}"
    environment = {**os.environ, "TELNYX_API_KEY": KEY, "TELNYX_BASE_URL": sim.url}
    ended = subprocess.run(
        ["bash", "-c", script], input=sim.room_ids[0], env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == (2 if closed == "<&-" else 0), ended.stderr
    assert "Traceback" not in ended.stderr


def test_ctrl_c_drains_updates_in_flight_and_every_room_has_one_outcome(sim: RoomsSimulator, program: Program) -> None:
    sim.latency = 0.5
    options = ["--max-participants", "20", "--concurrency", "4", "--json"]
    with program("update", "-", *options) as updating:
        assert updating.stdin is not None
        updating.stdin.write("\n".join(sim.room_ids))
        updating.stdin.close()
        updating.stdin = None
        until(lambda: sim.stats.in_flight == 4, "four updates are in flight")
        updating.send_signal(signal.SIGINT)
        out, err = updating.communicate(timeout=20)
    assert updating.returncode == 130
    by_room = {one["room_id"]: one["status"] for one in map(json.loads, lines(out))}
    assert set(by_room) == set(sim.room_ids)
    assert {room for room, status in by_room.items() if status == "updated"} == set(sim.stats.updates_applied)
    updated = list(by_room.values()).count("updated")
    # Slow start: one request is in flight at first, then two, then four.
    assert 4 <= updated < 20
    assert f"interrupted: {updated} updated, {20 - updated} skipped in " in err
    assert "Traceback" not in err


def unread_bytes(pipe: int) -> int:
    """Return the number of bytes in a pipe that have not been read yet."""
    return int(struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)))[0])


@pytest.mark.skipif(not Path("/proc/self/syscall").exists(), reason="needs /proc")
def test_ctrl_c_interrupts_the_reading_of_ids(program: Program) -> None:
    with program("update", "-", "--enable-recording") as updating:
        assert updating.stdin is not None
        updating.stdin.write(f"{ROOM_ID}\n")
        updating.stdin.flush()
        pipe = updating.stdin.fileno()
        until(lambda: unread_bytes(pipe) == 0, "the command has read the first id")
        until_reading(updating)
        updating.send_signal(signal.SIGINT)
        out, err = updating.communicate(timeout=20)
    assert updating.returncode == 130, err
    assert out == ""
    assert err.strip() == "aiorooms: interrupted"


@pytest.mark.timeout(120)  # the demo starts seven processes, one after another
def test_the_demo_shows_a_moving_bar_on_a_real_terminal() -> None:
    terminal = Terminal(80)
    environment = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS")}
    command = [sys.executable, "-m", "aiorooms", "demo", "--rooms", "100", "--rate-limit", "100/1s"]
    ends = terminal.theirs
    with running(command, stdin=ends, stdout=ends, stderr=ends, env={**environment, "TERM": "xterm"}) as demo:
        assert demo.wait(timeout=100) == 0
    terminal.close()
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.text)
    # Three runs have a bar: the killed one, the resumed one and the rollback.
    bars = [re.findall(r"(\d+)/100 ", part) for part in re.split(r"aiorooms (?:apply|resume) ", text)]
    for bar in bars:
        shown = [int(done) for done in bar]
        assert shown == sorted(shown), "the bar moved backwards"
    assert [bar[-1] for bar in bars if bar][-1] == "100"
    assert max(len(set(bar)) for bar in bars) > 2, "the bar did not move"
    assert "0 failed" in text
    assert "Verified: all 100 rooms" in text
    assert "\x1b[32m" in terminal.text or "\x1b[1;32m" in terminal.text, "no colours were used"
    assert terminal.text.count("\x1b[?25l") == terminal.text.count("\x1b[?25h"), "the cursor was left hidden"


def test_ctrl_c_in_the_demo_shows_the_cursor_that_the_bar_had_hidden() -> None:
    terminal = Terminal(80)
    command = [sys.executable, "-m", "aiorooms", "demo", "--rooms", "200", "--rate-limit", "20/1s"]
    ends = terminal.theirs
    with running(command, stdin=ends, stdout=ends, stderr=ends, env={**os.environ, "TERM": "xterm"}) as demo:
        until(lambda: "\x1b[?25l" in terminal.text.partition("aiorooms apply rooms.plan --yes")[2], "a bar is shown")
        demo.send_signal(signal.SIGINT)
        assert demo.wait(timeout=20) == 130
    terminal.close()
    assert terminal.text.rindex("\x1b[?25h") > terminal.text.rindex("\x1b[?25l"), "the cursor was left hidden"
