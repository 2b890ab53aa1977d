"""Every example of the README runs, against the simulator, and its commands are the ones that CI runs."""

import asyncio
import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from aiohttp.test_utils import TestClient, TestServer

from aiorooms import NotFoundError
from aiorooms.simulator import RoomsSimulator

from .samples import ROOM_ID

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def blocks(language: str, heading: str | None = None) -> list[str]:
    text = README if heading is None else README.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def run(code: str) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "readme"}
    exec(compile(code, "README.md", "exec"), names)
    return names


@pytest.fixture
def simulator(monkeypatch: pytest.MonkeyPatch) -> Any:
    with RoomsSimulator(rooms=5) as sim:
        sim.add_room(id=ROOM_ID, unique_name="the README's")
        monkeypatch.setenv("TELNYX_API_KEY", sim.api_key)
        monkeypatch.setenv("TELNYX_BASE_URL", sim.url)
        yield sim


def test_update_a_room(simulator: RoomsSimulator, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = blocks("python", "Update a room")
    run(first)
    room = simulator.rooms[ROOM_ID]
    assert (room["max_participants"], room["webhook_event_url"]) == (20, "https://hooks.example.com/rooms")
    assert "the README's" in capsys.readouterr().out
    run(second)
    assert capsys.readouterr().out == blocks("text", "Update a room")[0]


def test_the_line_of_the_errors_section_is_what_is_printed(simulator: RoomsSimulator) -> None:
    code = blocks("python", "Update a room")[0].replace(ROOM_ID, other := str(uuid4()))
    with pytest.raises(NotFoundError, match="404 room") as caught:
        run(code)
    assert str(caught.value).split("(")[0] == blocks("text", "Errors")[0].replace(ROOM_ID, other).split("(")[0]


def test_fastapi(simulator: RoomsSimulator) -> None:
    import httpx

    names = run(blocks("python", "In a web backend")[0])

    async def use() -> list[tuple[int, Any]]:
        app = names["app"]
        transport = httpx.ASGITransport(app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://backend") as http,
        ):
            answers = [await http.post(f"/rooms/{room}/recording/true") for room in (ROOM_ID, uuid4(), "x")]
            return [(answer.status_code, answer.json()) for answer in answers]

    (ok, missing, bad) = asyncio.run(use())
    assert ok == (200, {"recording": True})
    assert missing == (404, {"detail": "no such room"})
    assert bad[0] == 422
    assert simulator.rooms[ROOM_ID]["enable_recording"] is True


def test_aiohttp(simulator: RoomsSimulator) -> None:
    names = run(blocks("python", "In a web backend")[1])

    async def use() -> Any:
        async with TestClient(TestServer(names["app"])) as http:
            answer = await http.post(f"/rooms/{ROOM_ID}/recording")
            return await answer.json()

    assert asyncio.run(use()) == {"recording": True}


def test_bulk_script(simulator: RoomsSimulator, capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = blocks("python", "In a bulk script")
    run(code)
    assert capsys.readouterr().out == "{'updated': 6}\n"
    assert all(room["webhook_event_url"] == "https://hooks.example.com/rooms" for room in simulator.rooms.values())


def test_the_rate_limit(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = blocks("python", "The rate limit")
    run(code)
    promised = re.search(r"print\(told.*\)  # (.*)", code)
    assert promised is not None
    assert capsys.readouterr().out.strip() == promised[1]


def test_webhook_urls(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = blocks("python", "The webhook and failover URLs")
    names = run(code)
    assert len(capsys.readouterr().out.splitlines()) >= 3
    assert names["update"].webhook_event_url == "https://hooks.example.com/rooms"


def test_the_simulator(capsys: pytest.CaptureFixture[str]) -> None:
    run(blocks("python", "The simulator")[0])
    assert capsys.readouterr().out.startswith("20 ")


def test_the_pytest_fixture(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(blocks("python", "The simulator")[1])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", "-p", "no:cacheprovider", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_every_python_block_is_run_by_a_test_here() -> None:
    headings = [
        "Update a room",
        "In a web backend",
        "In a bulk script",
        "The rate limit",
        "The webhook and failover URLs",
        "The simulator",
    ]
    assert sum(len(blocks("python", heading)) for heading in headings) == len(blocks("python")) == 9


@pytest.mark.parametrize("heading", ["Try it", "Run the tests"])
def test_the_two_commands_are_one_line_each(heading: str) -> None:
    command = blocks("sh", heading)[0]
    assert command.count("\n") == 1
    assert "\\" not in command


def test_ci_runs_the_readmes_test_command() -> None:
    script = (ROOT / ".ci/run").read_text()
    awk = re.search(r"command=\$\((awk .*)\)\n", script)
    assert awk is not None
    printed = subprocess.run(["bash", "-c", awk[1]], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert printed == blocks("sh", "Run the tests")[0]


def test_the_command_line_section_names_real_commands(
    simulator: RoomsSimulator, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from aiorooms.cli import main

    lines = [line.partition("#")[0].split() for line in blocks("sh", "The command line")[0].splitlines()]
    invoke: Callable[[], None] = main
    for words in lines:
        assert words[0] == "aiorooms"
        arguments = [ROOM_ID if word.startswith("ROOM_ID") else word for word in words]
        if words[1] in ("simulate", "demo"):  # these are run by tests of their own
            arguments.append("--help")
        monkeypatch.setattr(sys, "argv", arguments)
        with contextlib.suppress(SystemExit):
            invoke()
        captured = capsys.readouterr()
        assert "Error" not in captured.err, captured.err
        assert captured.out
    assert simulator.rooms[ROOM_ID]["max_participants"] == 20


@pytest.mark.timeout(300)  # six commands, each a process of its own
def test_moving_every_room_to_a_new_webhook_host(tmp_path: Path) -> None:
    simulate, commands = blocks("sh", "Move every room to a new webhook host")
    words = simulate.split()
    assert words[:4] == ["aiorooms", "simulate", "--port", "8080"]
    with RoomsSimulator(rooms=2000, rate_limit="1000/1s", api_key="KEY_simulated") as sim:
        environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        before = {room_id: room["webhook_event_url"] for room_id, room in sim.rooms.items()}
        script = commands.replace("http://127.0.0.1:8080/v2", sim.url)
        urls: list[set[str]] = []
        for line in script.splitlines()[1:]:
            done = subprocess.run(
                ["bash", "-c", f"{script.splitlines()[0]}; {line}"],
                env=environment,
                cwd=tmp_path,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, f"{line}: {done.stderr}"
            urls.append({str(room["webhook_event_url"]).split("/")[2] for room in sim.rooms.values()})
        planned, applied, *_, rolled_back = urls
        assert (planned, applied) == ({"old.example.com"}, {"new.example.com"})
        assert rolled_back == {"old.example.com"}
        assert before == {room_id: room["webhook_event_url"] for room_id, room in sim.rooms.items()}
    assert (tmp_path / "tonight.html").exists()
