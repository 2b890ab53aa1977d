"""The control URL of the command simulate: what it prints, and what it logs."""

import json
import shlex
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from .conftest import Program, lines

Process = subprocess.Popen[str]


def send(method: str, url: str, data: str | None = None) -> Any:
    """Send a request, and return the JSON of the answer, even of an error."""
    request = urllib.request.Request(url, None if data is None else data.encode(), method=method)
    try:
        with urllib.request.urlopen(request, timeout=5) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return json.load(error)


def as_curl(line: str) -> Any:
    """Send the request of a curl command that has no headers."""
    words = shlex.split(line)
    assert words[0] == "curl"
    method = words[words.index("-X") + 1] if "-X" in words else "GET"
    return send(method, words[-1], words[words.index("-d") + 1] if "-d" in words else None)


@pytest.fixture
def simulating(program: Program) -> Iterator[Process]:
    with program("simulate", "--port", "0", "--rooms", "1") as process:
        yield process


def banner(process: Process) -> list[str]:
    assert process.stdout is not None
    printed: list[str] = []
    while not printed or "aiorooms update" not in printed[-1]:
        printed.append(process.stdout.readline())
        assert printed[-1], f"the simulator exited: {printed}"
    return [line.strip() for line in printed]


def end(process: Process) -> tuple[str, str]:
    process.send_signal(signal.SIGTERM)
    return process.communicate(timeout=10)


def test_the_printed_requests_show_and_change_the_simulator(simulating: Process) -> None:
    printed = banner(simulating)
    show, limited, broken, repaired = [line for line in printed if line.startswith("curl ") and "/control" in line]
    assert as_curl(show)["rate_limit"] is None
    state = as_curl(limited)
    assert (state["rate_limit"]["limit"], state["faults"]["rate"]) == (50, 0.1)
    assert as_curl(broken)["outage"] == "503"
    url = next(line.rpartition("=")[2] for line in printed if line.startswith("export TELNYX_BASE_URL="))
    with pytest.raises(urllib.error.HTTPError, match="503") as caught:
        urllib.request.urlopen(url, timeout=5)
    caught.value.close()
    assert as_curl(repaired)["outage"] is None
    out, err = end(simulating)
    assert "requests 1, " in out, "requests to the control URL were counted"
    assert lines(err) == [
        (
            "aiorooms: changed: rate limit: 50 requests in 1 s, fixed windows, x-ratelimit headers; "
            "faults: 10% of the requests, all kinds in `aiorooms simulate --help`"
        ),
        "aiorooms: changed: outage: 503",
        "aiorooms: changed: outage: none",
    ]


def test_only_changes_are_logged_and_the_key_is_not_shown(program: Program) -> None:
    with program("simulate", "--port", "0", "--rooms", "0", "--json") as process:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["control_url"]
        send("GET", url)
        assert send("PATCH", url, '{"api_key": " ", "faults": 2}')["problems"] == [
            "api_key: a key consists of printable ASCII characters without spaces",
            "faults: rate is 2, not a share from 0 to 1",
        ]
        send("PATCH", url, "{}")
        assert send("PATCH", url, '{"api_key": "KEY_new", "latency": [0, 0.5]}')["api_key"] == "KEY_new"
        limits = {"PATCH": ["10/1s", {"limit": 2, "retry_after": "date"}], "GET": None}
        faults = {"rate": 0.005, "kinds": ["503", "slow"]}
        send("PATCH", url, json.dumps({"rate_limit": limits, "faults": faults, "latency": 0.25}))
        send("PATCH", url, '{"rate_limit": null, "faults": null, "latency": null}')
        out, err = end(process)
        assert out == ""
        *changed, total = lines(err)
        assert changed == [
            "aiorooms: changed: latency: 0 to 0.5 s; API key: replaced",
            (
                "aiorooms: changed: rate limit: PATCH: 10 requests in 1 s, fixed windows, x-ratelimit headers; "
                "2 requests in 1 s, fixed windows, x-ratelimit headers, Retry-After as a date; GET: none; "
                "faults: 0.5% of the requests, 503, slow; latency: 0.25 s"
            ),
            "aiorooms: changed: rate limit: none; faults: none; latency: none",
        ]
        assert total.startswith("Served: requests 0, connections 0, ")
