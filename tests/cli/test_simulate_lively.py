"""The options of the command simulate for webhook events."""

import json
import signal
import subprocess
import sys

import pytest

from aiorooms.simulator import RoomsSimulator

from .conftest import Program, lines, run, signals_when

UNSIGNED = "warning: webhook events are unsigned, because the package cryptography is not installed"


def test_lively_sessions_send_events_to_a_receiver_on_this_machine(
    started: list[RoomsSimulator],
) -> None:
    def ready() -> bool:
        if not started:
            return False
        for room_id in started[0].room_ids:
            started[0].change_room(room_id, webhook_event_url=started[0].receiver_url)
        return started[0].stats.events["delivered"] > 5

    with signals_when(ready, signal.SIGINT):
        result = run("simulate", "--port", "0", "--rooms", "3", "--lively", "--lively-rate", "1000")
    assert result.exit_code == 0
    printed = lines(result.stdout)
    assert f"  export TELNYX_PUBLIC_KEY={started[0].public_key}" in printed
    assert ", events delivered " in printed[-1]


def test_a_rate_needs_lively_sessions() -> None:
    result = run("simulate", "--lively-rate", "5")
    assert result.exit_code == 2
    assert lines(result.stderr)[0] == ("aiorooms: --lively-rate: it needs --lively")


@pytest.mark.parametrize("rate", ["0", "1001", "x"])
def test_an_invalid_rate_is_an_error(rate: str) -> None:
    result = run("simulate", "--lively", "--lively-rate", rate)
    assert result.exit_code == 2
    assert lines(result.stderr)[0].startswith("aiorooms: --lively-rate: ")


def test_without_cryptography_the_command_says_that_events_are_unsigned(
    started: list[RoomsSimulator], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.asymmetric.ed25519", None)
    with signals_when(lambda: bool(started), signal.SIGINT):
        result = run("simulate", "--port", "0")
    assert result.exit_code == 0
    assert lines(result.stderr) == [f"aiorooms: {UNSIGNED}; run `pip install 'aiorooms[webhooks]'`"]
    assert "  Events      unsigned, delivered only to loopback addresses" in lines(result.stdout)
    assert "TELNYX_PUBLIC_KEY" not in result.stdout


def test_a_lively_simulator_is_stopped_by_a_signal(program: Program) -> None:
    words = ["--rooms", "5", "--lively", "--lively-rate", "1000", "--json"]
    with program("simulate", "--port", "0", *words) as process:
        assert process.stdout is not None
        printed = json.loads(process.stdout.readline())
        assert printed["lively"] == 1000
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=10)
        assert process.returncode == 0
        assert len(lines(err)) == 1


def test_the_demo_runs_without_cryptography() -> None:
    code = (
        "import sys; sys.modules['cryptography'] = None; "
        "from aiorooms.cli import main; sys.argv = ['aiorooms', 'demo', '--rooms', '1', '--faults', '0']; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=50)
    assert (done.returncode, done.stderr) == (0, "")
