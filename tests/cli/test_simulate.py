"""The command simulate: its options reach the simulator, and invalid ones are reported together."""

import inspect
import json
import re
import shlex
import signal
import socket
import subprocess
import sys
import urllib.request
from typing import Any, get_args

import pytest

from aiorooms.cli._simulate import simulate
from aiorooms.simulator import ALL, Deliveries, RateLimit, RoomsSimulator

from .conftest import Program, lines, run, signals_when


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_simulate_serves_until_a_signal_and_then_prints_totals(started: list[RoomsSimulator], number: int) -> None:
    asked: list[str] = []

    def ask() -> bool:
        if not started:
            return False
        request = urllib.request.Request(f"{started[0].url}/rooms?page[size]=1")
        request.add_header("Authorization", "Bearer KEY_mine")
        with urllib.request.urlopen(request, timeout=5) as response:
            asked.append(json.load(response)["data"][0]["unique_name"])
        return True

    with signals_when(ask, number):
        result = run("simulate", "--port", "0", "--rooms", "7", "--api-key", "KEY_mine")
    assert result.exit_code == 0
    assert asked == ["room-000001"]
    printed = lines(result.stdout)
    assert printed[0] == f"Simulating the Telnyx Video Rooms API at {started[0].url}"
    assert "  Rooms       7" in printed
    assert "  export TELNYX_API_KEY=KEY_mine" in printed
    assert f"  export TELNYX_BASE_URL={started[0].url}" in printed
    assert (
        printed[-1] == "Served: requests 1, connections 1, updates applied 0, rate limited (429) 0, broken by faults 0"
    )
    assert result.stderr == ""


def test_every_option_reaches_the_simulator(started: list[RoomsSimulator], monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}
    make = RoomsSimulator.__init__

    def init(self: RoomsSimulator, **options: Any) -> None:
        given.update(options)
        make(self, **options)

    monkeypatch.setattr(RoomsSimulator, "__init__", init)
    options = ["--rate-limit", "20/1m", "--faults", "5%", "--latency", "0.25", "--seed", "9", "--rooms", "0"]
    options += ["--limiter", "bucket", "--reset-rounding", "down", "--retry-after", "ms", "--no-rate-limit-headers"]
    options += ["--webhooks", "mixed", "--lively", "--lively-rate", "0.5", "--deliver-anywhere", "--odd-events", "10%"]
    with signals_when(lambda: bool(started), signal.SIGINT):
        result = run("simulate", "--port", "0", *options, "--json")
    assert result.exit_code == 0
    assert (given["rooms"], given["latency"], given["seed"], given["port"]) == (0, 0.25, 9, 0)
    assert given["rate_limit"] == RateLimit(20, 60.0, "down", headers=False, retry_after="ms", kind="bucket")
    assert given["faults"].rate == 0.05
    assert given["webhooks"] == "mixed"
    assert given["lively"] == 0.5
    assert given["deliveries"] == Deliveries(repeat=0.1, reorder=0.1, quirks=0.1, deliver_anywhere=True)
    printed = json.loads(result.stdout)
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/control", printed.pop("control_url"))
    assert printed == {
        "url": started[0].url,
        "remote_url": None,
        "api_key": "KEY_simulated",
        "rooms": 0,
        "room_id": None,
        "receiver_url": started[0].receiver_url,
        "webhooks": "mixed",
        "public_key": started[0].public_key,
        "lively": 0.5,
        "deliver_anywhere": True,
        "odd_events": 0.1,
        "latency": 0.25,
        "rate_limit": {
            "limit": 20,
            "window": 60.0,
            "reset_rounding": "down",
            "headers": False,
            "retry_after": "ms",
            "kind": "bucket",
            "style": "x-ratelimit",
            "reset": "seconds",
        },
        "faults": {
            "rate": 0.05,
            "kinds": [*ALL],
            "first_tries": None,
            "methods": None,
            "stall_seconds": 30.0,
            "slow_seconds": 0.2,
            "retry_after": None,
        },
    }
    assert lines(result.stderr)[0].startswith("Served: requests 0, "), "the totals belong on standard error"


def test_the_printed_commands_work(program: Program) -> None:
    with program("simulate", "--port", "0", "--rooms", "3", "--api-key", "it's$mine") as simulating:
        assert simulating.stdout is not None
        printed: list[str] = []
        while not printed or "aiorooms update" not in printed[-1]:
            printed.append(simulating.stdout.readline())
            assert printed[-1], f"the simulator exited: {printed}"
        curl = next(line for line in printed if line.strip().startswith("curl "))
        exports = "".join(line for line in printed if "export " in line)
        get = f"{shlex.quote(sys.executable)} -m aiorooms get {printed[-1].split()[2]}"
        script = f"set -e\n{exports}\n{get}\nprintenv TELNYX_API_KEY"
        got = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False, timeout=30)
        assert got.returncode == 0, got.stderr
        assert "unique_name\troom-000001\n" in got.stdout
        assert lines(got.stdout)[-1] == "it's$mine"
        _, option, header, url = shlex.split(curl)
        assert option == "-H"
        request = urllib.request.Request(url, headers=dict([header.split(": ", 1)]))
        with urllib.request.urlopen(request, timeout=5) as response:
            assert json.load(response)["data"]["unique_name"] == "room-000001"
        simulating.send_signal(signal.SIGTERM)
        out, err = simulating.communicate(timeout=10)
        assert simulating.returncode == 0
        assert out.startswith("Served: requests 2, connections 2, ")
        assert err == ""


def test_a_port_in_use_is_a_one_line_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        result = run("simulate", "--port", str(port))
        control = run("simulate", "--port", "0", "--control-port", str(port))
    for ended, option in ((result, "--port"), (control, "--control-port")):
        assert (ended.exit_code, ended.stdout) == (2, "")
        (line,) = lines(ended.stderr)
        assert line.startswith(f"aiorooms: the simulator can't listen on 127.0.0.1 port {port}: ")
        assert line.endswith(f"choose another port with {option}, or use {option} 0 for a free one")


def test_invalid_options_are_reported_together() -> None:
    result = run(
        *[
            "simulate",
            "--port",
            "65536",
            "--host",
            "a b",
            "--control-port",
            "-1",
            "--rooms",
            "many",
            "--rate-limit",
            "100",
            "--api-key",
            "a b",
        ],
        *["--faults", "2", "--lively-rate", "1001", "--odd-events", "2", "--latency", "-1", "--seed", "x"],
    )
    assert result.exit_code == 2
    assert [line.split(": ")[1] for line in lines(result.stderr)[:-1]] == [
        *[
            "--port",
            "--host",
            "--control-port",
            "--rooms",
            "--rate-limit",
            "--api-key",
            "--faults",
            "--lively-rate",
            "--odd-events",
            "--latency",
            "--seed",
        ]
    ]


def test_without_other_options_a_rate_limit_has_the_simulators_defaults(started: list[RoomsSimulator]) -> None:
    with signals_when(lambda: bool(started), signal.SIGINT):
        assert run("simulate", "--port", "0", "--rate-limit", "7/2s").exit_code == 0
    assert started[0].rate_limit == RateLimit(7, 2.0)


def test_several_rate_limits_apply_together(started: list[RoomsSimulator]) -> None:
    words = ["--rate-limit", "7/2s", "--rate-limit", "100/1m", "--limiter", "sliding", "--no-rate-limit-headers"]
    with signals_when(lambda: bool(started), signal.SIGINT):
        assert run("simulate", "--port", "0", *words).exit_code == 0
    assert started[0].rate_limit == (
        RateLimit(7, 2.0, headers=False, kind="sliding"),
        RateLimit(100, 60.0, headers=False, kind="sliding"),
    )


def test_no_limit_and_a_limit_exclude_each_other() -> None:
    result = run("simulate", "--rate-limit", "7/2s", "--rate-limit", "none")
    assert result.exit_code == 2
    assert lines(result.stderr)[0] == (
        "aiorooms: --rate-limit: none can't be combined with a limit; omit one of the two"
    )


@pytest.mark.parametrize(
    ("option", "setting"),
    [("--limiter", "kind"), ("--reset-rounding", "reset_rounding"), ("--retry-after", "retry_after")],
)
def test_every_value_of_the_rate_limit_options_can_be_chosen(option: str, setting: str) -> None:
    for word in get_args(inspect.get_annotations(RateLimit)[setting]):
        limit = simulate.make_context("simulate", ["--rate-limit", "7/2s", option, word]).params["limits"][0]
        assert getattr(limit, setting) == word
    (parameter,) = (one for one in simulate.params if option in one.opts)
    assert parameter.metavar == "|".join(get_args(inspect.get_annotations(RateLimit)[setting]))


def test_invalid_rate_limit_options_are_reported_together() -> None:
    words = ["--limiter", "leaky", "--reset-rounding", "Up", "--retry-after", ""]
    result = run("simulate", "--rate-limit", "100", *words)
    assert result.exit_code == 2
    assert lines(result.stderr)[1:-1] == [
        "aiorooms: --limiter: 'leaky' is not one of fixed, sliding, bucket",
        "aiorooms: --reset-rounding: 'Up' is not one of fractional, up, down",
        "aiorooms: --retry-after: '' is not one of none, seconds, date, ms",
    ]
    assert lines(result.stderr)[0].startswith("aiorooms: --rate-limit: '100' is not a rate limit")


@pytest.mark.parametrize("none", [[], ["--rate-limit", "none"]])
@pytest.mark.parametrize(
    "options",
    [
        ["--limiter", "fixed"],
        ["--reset-rounding", "up"],
        ["--retry-after", "none"],
        ["--no-rate-limit-headers"],
        ["--no-rate-limit-headers", "--retry-after", "ms", "--limiter", "sliding", "--seed", "x"],
    ],
)
def test_rate_limit_options_need_a_rate_limit(none: list[str], options: list[str]) -> None:
    result = run("simulate", *none, *options)
    assert result.exit_code == 2
    assert result.stdout == ""
    printed = [
        line for line in lines(result.stderr) if "there is no rate limit to change; give one with --rate-limit" in line
    ]
    assert {line.split(": ")[1] for line in printed} == {word for word in options if word.startswith("--")} - {"--seed"}
    assert ("--seed" in options) == ("--seed: 'x' is not a whole number" in result.stderr)


def test_the_help_lists_all_faults_except_odd_ones() -> None:
    shown = run("simulate", "--help").stdout.split("Faults of requests that are not")[1]
    listed = [line.split()[0] for line in lines(shown) if line.startswith("  ") and not line.startswith("   ")]
    assert listed == list(ALL)


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        (
            [],
            [
                *["none", "none", "none", "the same in all rooms", "none by themselves"],
                "signed, delivered only to loopback addresses",
            ],
        ),
        (
            [
                *["--rate-limit", "100/1s", "--faults", "5%", "--latency", "0.25", "--webhooks", "mixed"],
                *["--lively", "--deliver-anywhere", "--odd-events", "5%"],
            ],
            [
                "100 requests in 1 s, fixed windows, x-ratelimit headers",
                "5% of the requests, all kinds in `aiorooms simulate --help`",
                "0.25 s",
                "mixed, with the mistakes that an audit finds",
                "2 steps per second, such as a join",
                "signed, delivered to every host, 5% each repeated, reordered and unusual",
            ],
        ),
        (
            [
                *["--rate-limit", "10/1s", "--rate-limit", "1000/1h", "--limiter", "bucket", "--retry-after", "ms"],
                "--no-rate-limit-headers",
            ],
            [
                (
                    "10 requests in 1 s, token bucket, no headers, retry-after-ms; "
                    "1,000 requests in 3600 s, token bucket, no headers, retry-after-ms"
                ),
                *["none", "none", "the same in all rooms", "none by themselves"],
                "signed, delivered only to loopback addresses",
            ],
        ),
    ],
)
def test_the_settings_are_shown(started: list[RoomsSimulator], options: list[str], shown: list[str]) -> None:
    with signals_when(lambda: bool(started), signal.SIGINT):
        printed = lines(run("simulate", "--port", "0", *options).stdout)
    for name, text in zip(("Rate limit", "Faults", "Latency", "Webhooks", "Sessions", "Events"), shown, strict=True):
        assert f"  {name:<10}  {text}" in printed
