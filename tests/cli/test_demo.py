"""The command demo: its totals and its output, with faults, on a terminal and after Ctrl-C."""

import functools
import json
import math
import re
import signal
from collections.abc import Callable
from typing import Any

import pytest
from rich.cells import cell_len

from aiorooms import RetryPolicy, RoomsClient
from aiorooms.cli import _demo
from aiorooms.simulator import RoomsSimulator

from .conftest import lines, run, signals_when
from .test_read import without_colour

CALM = ["--rate-limit", "none", "--faults", "0"]


@pytest.fixture(autouse=True)
def _quick_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    # The fixture `_quick` doesn't affect the demo, which creates its own client to ignore the user's environment.
    quick = functools.partial(RoomsClient, retry=RetryPolicy(base_delay=0.01, max_delay=0.02))
    monkeypatch.setattr(_demo, "RoomsClient", quick)
    monkeypatch.setattr(_demo, "_STALL", 0.05)


def demo_json(*options: str) -> dict[str, Any]:
    result = run("demo", "--json", *options)
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    (line,) = lines(result.stdout)
    data: dict[str, Any] = json.loads(line)
    return data


def test_the_json_has_all_totals_and_they_are_consistent() -> None:
    data = demo_json("--rooms", "300", "--rate-limit", "200/1s", "--faults", "10%", "--seed", "5")
    assert list(data) == [
        *["rooms", "updated", "failed", "uncertain", "skipped", "verified", "retried", "refused", "broken"],
        *["requests", "seconds", "updates_per_second", "latency", "seed"],
    ]
    assert (data["rooms"], data["updated"], data["verified"], data["seed"]) == (300, 300, 300, 5)
    assert 0 <= data["refused"] < 0.05 * data["requests"]
    assert 10 < data["broken"] < 80
    assert data["requests"] >= 300 + data["refused"]
    assert 0 < data["retried"] <= data["refused"] + data["broken"]
    assert math.isclose(data["updates_per_second"], 300 / data["seconds"], rel_tol=0.01)
    assert 0 < data["latency"]["p50"] <= data["latency"]["p95"] <= data["latency"]["p99"] <= data["seconds"]


def test_the_same_seed_breaks_the_same_number_of_requests() -> None:
    options = ["--rooms", "100", "--rate-limit", "none", "--faults", "0.2"]
    assert demo_json(*options)["broken"] == demo_json(*options)["broken"]


def test_the_demo_succeeds_with_a_fault_rate_of_50_percent() -> None:
    data = demo_json("--rooms", "200", "--rate-limit", "none", "--faults", "50%")
    assert data["updated"] == data["verified"] == 200
    assert data["retried"] > 50


def test_without_a_terminal_the_demo_writes_plain_text() -> None:
    result = run("demo", "--rooms", "30", *CALM)
    assert result.exit_code == 0
    assert result.stderr == "", "a bar was shown without a terminal"
    assert "\x1b" not in result.stdout
    rows = [line.split() for line in lines(result.stdout)]
    for label in (
        ["updated", "30"],
        ["failed", "0"],
        ["retried", "0"],
        ["rate", "limited", "0"],
        ["time"],
        ["updates/s"],
    ):
        assert any(words[: len(label)] == label for words in rows), f"{label} is not in the table"
    for share in ("p50", "p95", "p99"):
        assert any(words[:2] == ["latency", share] for words in rows), f"{share} is not in the table"
    assert "Verified: all 30 rooms on the server have both new URLs." in result.stdout
    assert lines(result.stdout)[-1].startswith("Next: ")
    assert all(line == line.rstrip() and len(line) <= 80 for line in lines(result.stdout))


@pytest.mark.parametrize("columns", [80, 120])
def test_on_a_terminal_the_demo_shows_a_bar_and_colours(
    on_terminal: Callable[..., tuple[int, str]], columns: int
) -> None:
    code, text = on_terminal("demo", "--rooms", "300", *CALM, columns=columns)
    assert code == 0
    assert "\x1b[" in text
    assert "300/300" in text, "no bar was shown"
    assert re.search(r"/s in \d+:\d\d", "".join(without_colour(text))), "the bar lacks the rate or the time"
    for line in without_colour(text):
        assert cell_len(line.rsplit("\r", 1)[-1]) <= columns, f"wider than the screen: {line}"


def test_no_color_turns_colours_off(
    on_terminal: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    _, text = on_terminal("demo", "--rooms", "30", *CALM)
    assert "30/30" in text
    assert "\x1b[3" not in text, "colours were used"


def test_the_demo_ignores_the_users_key_and_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TELNYX_API_KEY", "not a key")
    monkeypatch.setenv("TELNYX_BASE_URL", "not a URL")
    assert run("demo", "--rooms", "20", *CALM).exit_code == 0


def test_failed_updates_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_demo, "_FAULTY_ATTEMPTS", 1000)
    result = run("demo", "--rooms", "30", "--rate-limit", "none", "--faults", "0.9")
    assert result.exit_code == 1
    counts = {line.split()[0]: line.split()[1] for line in lines(result.stdout) if line.startswith("  ")}
    assert int(counts["failed"]) + int(counts.get("uncertain", "0")) > 0
    assert int(counts["updated"]) < 30


def test_rooms_without_the_new_urls_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    verify = _demo.Move.verify

    def change_one_first(move: _demo.Move) -> None:
        move.simulator.change_room(move.simulator.room_ids[0], webhook_event_url="https://old.example.com/")
        verify(move)

    monkeypatch.setattr(_demo.Move, "verify", change_one_first)
    result = run("demo", "--rooms", "30", *CALM)
    assert result.exit_code == 1
    assert "Not verified: 1 of 30 rooms don't have both new URLs." in result.stdout


def test_ctrl_c_is_reported_in_one_line(started: list[RoomsSimulator]) -> None:
    with signals_when(lambda: bool(started) and started[0].stats.requests > 10, signal.SIGINT):
        result = run("demo", "--rooms", "200", "--rate-limit", "20/1s")
    assert result.exit_code == 130
    (line,) = lines(result.stderr)
    assert line.startswith("aiorooms: interrupted after ")
    assert line.endswith(" of 200 updates")


def test_invalid_options_are_reported_together() -> None:
    result = run("demo", "--rooms", "0", "--faults", "101%", "--rate-limit", "fast", "--seed", "-1")
    assert result.exit_code == 2
    assert [line.split(": ")[1] for line in lines(result.stderr)[:-1]] == [
        *["--rooms", "--rate-limit", "--faults", "--seed"]
    ]
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("count", "share", "value"), [(1, 50, 1), (1, 99, 1), (2, 50, 1), (100, 50, 50), (100, 99, 99), (2000, 95, 1900)]
)
def test_percentiles_are_computed_by_nearest_rank(count: int, share: int, value: int) -> None:
    assert _demo.percentile([float(n) for n in range(1, count + 1)], share) == value
