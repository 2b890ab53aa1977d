"""The option `--host` of the command simulate: which URLs and commands it prints."""

import json
import os
import shlex
import signal
import socket
import subprocess
import sys

import pytest
from yarl import URL

from aiorooms.cli._output import Output
from aiorooms.cli._simulate_output import Banner
from aiorooms.simulator import RoomsSimulator

from .conftest import Program, lines, run, signals_when

FLAG = "--allow-insecure-http"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_on_loopback_there_is_no_warning(started: list[RoomsSimulator], host: str) -> None:
    with signals_when(lambda: bool(started), signal.SIGINT):
        result = run("simulate", "--port", "0", "--host", host)
    assert result.exit_code == 0
    assert result.stderr == ""
    assert FLAG not in result.stdout
    assert result.stdout.count("export TELNYX_BASE_URL=") == 1
    assert URL(started[0].url).host == host


@pytest.mark.parametrize(("host", "loopback"), [("0.0.0.0", "127.0.0.1"), ("::", "::1")])
def test_beyond_loopback_there_is_one_line_of_warning_and_a_url_for_other_machines(
    started: list[RoomsSimulator], host: str, loopback: str
) -> None:
    with signals_when(lambda: bool(started), signal.SIGINT):
        result = run("simulate", "--port", "0", "--host", host, "--rooms", "1")
    assert lines(result.stderr) == [
        f"aiorooms: warning: with --host {host}, every machine that can connect to this one can use the simulator"
    ]
    printed = [line.strip() for line in lines(result.stdout)]
    here, elsewhere = [URL(shlex.split(line)[1].partition("=")[2]) for line in printed if "_BASE_URL=" in line]
    assert (here.host, elsewhere.host) == (loopback, socket.gethostname())
    assert here.port == elsewhere.port
    update = f"aiorooms update {started[0].room_ids[0]} --max-participants 20"
    assert [line for line in printed if line.startswith("aiorooms ")] == [update, f"{update} {FLAG}"]


def test_the_object_has_the_url_for_other_machines(started: list[RoomsSimulator]) -> None:
    with signals_when(lambda: bool(started), signal.SIGINT):
        result = run("simulate", "--port", "0", "--host", "0.0.0.0", "--json")
    printed = json.loads(result.stdout)
    assert URL(printed["remote_url"]) == URL(printed["url"]).with_host(socket.gethostname())
    assert URL(printed["control_url"]).host == "127.0.0.1"


def test_other_machines_use_the_address_of_one_interface(capsys: pytest.CaptureFixture[str]) -> None:
    class Elsewhere(RoomsSimulator):
        @property
        def url(self) -> str:
            return "http://192.0.2.1:8080/v2"

    banner = Banner(Elsewhere(rooms=1), "192.0.2.1", "same", "http://127.0.0.1:8081/control")
    banner.write(Output(json=False))
    printed = capsys.readouterr().out
    assert banner.remote_url == "http://192.0.2.1:8080/v2"
    assert printed.count("export TELNYX_BASE_URL=http://192.0.2.1:8080/v2\n") == 1
    assert "Use the simulator from another shell or machine (" in printed
    assert printed.endswith(f" --max-participants 20 {FLAG}\n")


def test_the_simulator_answers_requests_to_its_other_addresses(program: Program) -> None:
    with program("simulate", "--port", "0", "--host", "0.0.0.0", "--api-key", "KEY_mine", "--json") as process:
        assert process.stdout is not None
        printed = json.loads(process.stdout.readline())
        base_url = str(URL(printed["url"]).with_host("0.0.0.0"))
        words = [sys.executable, "-m", "aiorooms", "get", printed["room_id"], "--base-url", base_url]
        environment = {**os.environ, "TELNYX_API_KEY": "KEY_mine"}
        for more, code in (([], 2), ([FLAG], 0)):
            got = subprocess.run([*words, *more], env=environment, capture_output=True, timeout=30, check=False)
            assert got.returncode == code, got.stderr
        process.send_signal(signal.SIGTERM)
        assert "requests 1, " in process.communicate(timeout=10)[1]


@pytest.mark.parametrize("host", ["no.such.host.invalid", "203.0.113.1"])
def test_a_host_of_another_machine_is_a_one_line_error(host: str) -> None:
    result = run("simulate", "--port", "0", "--host", host)
    assert (result.exit_code, result.stdout) == (2, "")
    (line,) = lines(result.stderr)
    assert line.startswith(f"aiorooms: the simulator can't listen on {host} port 0: ")
    assert line.endswith("; give an address or the name of this machine with --host, such as 127.0.0.1 or 0.0.0.0")


@pytest.mark.parametrize("host", ["", " ", "http://localhost", "[::1]", "a\tb", "x" * 64, "a..b"])
def test_a_host_that_is_none_is_an_error(host: str) -> None:
    result = run("simulate", "--host", host)
    assert result.exit_code == 2
    assert lines(result.stderr)[0].startswith("aiorooms: --host: ")
