"""The benchmarks run and print their results. No test depends on measured times."""

import importlib.util
import json
import subprocess
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import pytest

from benchmarks import __main__ as benchmarks
from benchmarks import compare, ratios

ROOT = Path(__file__).parent.parent

pytestmark = pytest.mark.timeout(300)  # several processes, one after another


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any], str]:
    """Run a very short comparison, and return its output, its JSON and its chart."""
    folder = tmp_path_factory.mktemp("comparison")
    command = [sys.executable, "-m", "benchmarks", "compare", "--rounds", "1", "--count", "100"]
    command += ["--only", "floor,script,update_many", "--json", f"{folder}/a.json", "--chart", f"{folder}/a.svg"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads((folder / "a.json").read_text()), (folder / "a.svg").read_text()


def test_the_json_of_a_comparison_contains_every_contestant_and_figure(
    comparison: tuple[str, dict[str, Any], str],
) -> None:
    _, found, _ = comparison
    assert {"python", "platform", "cores", "pinned", "aiorooms", "aiohttp"} <= found["environment"].keys()
    loops = ["asyncio", "uvloop"] if importlib.util.find_spec("uvloop") else ["asyncio"]
    json_libraries = [False, True] if importlib.util.find_spec("orjson") else [False]
    assert [(row["contestant"], row["loop"], row["orjson"]) for row in found["rows"]] == [
        (name, loop, orjson)
        for name in ("floor", "script", "update_many")
        for orjson in (json_libraries if name == "update_many" else [False])
        for loop in loops
    ]
    for row in found["rows"]:
        for figure in ("cpu_us", "cpu_ratio", "per_second", "per_second_ratio", "client_busy", "server_busy"):
            assert row[figure]["median"] > 0, (row["label"], figure)
        for figure in ("above_mb", "above_ratio"):
            # The figure is 0 if the run needs no more memory than the imports.
            assert row[figure]["median"] >= 0, (row["label"], figure)
        assert len(row["runs"]) == 1
    for bar in found["bars"]:
        assert bar["met"] == (bar["measured"]["median"] <= bar["bar"])
    assert any("/ script" in bar["what"] for bar in found["bars"])
    assert found["headroom"]["pipelined_per_second"] > 0


def test_every_row_of_a_comparison_is_in_the_output_and_in_the_chart(
    comparison: tuple[str, dict[str, Any], str],
) -> None:
    printed, found, chart = comparison
    for row in found["rows"]:
        assert row["label"] in printed
        assert row["label"] in chart
    assert "on asyncio" in printed
    assert "The server answers" in printed
    assert len(chart) < 50_000


def test_ratios_has_a_table_for_each_loop_and_json_library(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks", "ratios", "--rounds", "2", "--count", "20"]
    command += ["--only", "script,bare,update,update_same_urls", "--json", f"{tmp_path}/ratios.json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "ratios.json").read_text())
    for table, times in found["times"].items():
        assert list(times) == ["script", "bare", "update", "update_same_urls"]
        assert all(len(rounds) == 2 for rounds in times.values())
        assert f"on {table.removesuffix(', orjson')}" in done.stdout
    assert any(bar["what"] == "update (asyncio) / script" for bar in found["bars"])


def test_a_ratio_is_the_median_of_the_ratios_within_each_round() -> None:
    found = ratios.ratio({"ours": [2.0, 4.0, 9.0], "theirs": [1.0, 1.0, 3.0]}, "ours", "theirs")
    assert found.median == 3.0


def test_contestants_whose_packages_are_missing_are_skipped_with_a_note(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    original = importlib.util.find_spec

    def find_spec(name: str) -> ModuleSpec | None:
        return None if name == "telnyx" else original(name)

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)
    with pytest.raises(SystemExit, match="none of the contestants can run"):
        compare.main(["--only", "telnyx_httpx"])
    expected = "skipped, because telnyx is missing (pip install -e '.[bench]'): telnyx_httpx (asyncio)"
    assert expected in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nope"], "unknown benchmark 'nope'; choose from compare, ratios,"),
        (["compare", "--only", "floor,nope"], "unknown contestant 'nope'; choose from floor, bare,"),
        (["compare", "--rounds", "0"], "argument --rounds: must be 1 or more"),
        (["ratios", "--only", "script,floor"], "unknown client 'floor'; choose from script, bare,"),
        (["compare", "--chart", "chart.pdf"], "--chart: the file name 'chart.pdf' must end in .svg or .png"),
    ],
)
def test_invalid_arguments_are_usage_errors(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        benchmarks.main(arguments)
    assert message in capsys.readouterr().err


def test_a_contestant_that_fails_ends_the_benchmark(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit, match=r"gather \(asyncio\) failed: its process ended with exit status 1"):
        compare.main(["--only", "gather", "--rounds", "1", "--count", "1", "--concurrency", "101"])
