"""The examples in the README run and do what the README says, and CI runs the README's test command."""

import asyncio
import contextlib
import gc
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import uuid4

import pytest
from aiohttp.test_utils import TestServer

import aiorooms
from aiorooms import NotFoundError, RoomsClient, bulk, errors, telemetry, webhook_config, webhooks
from aiorooms import simulator as simulator_module
from aiorooms.bulk import Plan
from aiorooms.simulator import RoomsSimulator

from .documents import README, ROOT, blocks, run
from .samples import ROOM_ID


@pytest.fixture
def simulator(monkeypatch: pytest.MonkeyPatch) -> Any:
    with RoomsSimulator(rooms=5) as sim:
        sim.add_room(id=ROOM_ID, unique_name="the README's")
        monkeypatch.setenv("TELNYX_API_KEY", sim.api_key)
        monkeypatch.setenv("TELNYX_BASE_URL", sim.url)
        yield sim


def test_the_example_of_an_update(simulator: RoomsSimulator, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = blocks(README, "python", "Update one room")
    run(first)
    room = simulator.rooms[ROOM_ID]
    assert (room["max_participants"], room["webhook_event_url"]) == (20, "https://hooks.example.com/rooms")
    assert "the README's" in capsys.readouterr().out
    run(second)
    assert capsys.readouterr().out == blocks(README, "text", "Update one room")[0]


def test_the_error_message_in_the_readme_is_the_one_that_is_raised(simulator: RoomsSimulator) -> None:
    code = blocks(README, "python", "Update one room")[0].replace(ROOM_ID, other := str(uuid4()))
    with pytest.raises(NotFoundError, match="404 room") as caught:
        run(code)
    assert str(caught.value).split("(")[0] == blocks(README, "text", "Errors")[0].replace(ROOM_ID, other).split("(")[0]


def test_the_example_for_fastapi(simulator: RoomsSimulator) -> None:
    import httpx

    names = run(blocks(README, "python", "In a web backend")[0])

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
    assert ok[0] == 200
    assert (ok[1]["id"], ok[1]["enable_recording"]) == (ROOM_ID, True)
    assert missing == (404, {"detail": "no such room"})
    assert bad[0] == 422
    assert simulator.rooms[ROOM_ID]["enable_recording"] is True


def test_the_example_of_update_many(simulator: RoomsSimulator, capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = blocks(README, "python", "Update many rooms")
    run(code)
    assert capsys.readouterr().out == "{'updated': 6}\n"
    assert all(room["webhook_event_url"] == "https://hooks.example.com/rooms" for room in simulator.rooms.values())


def test_the_example_of_the_rate_limit(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = blocks(README, "python", "The rate limit")
    run(code)
    promised = re.search(r"print\(now.*\)  # (.*)", code)
    assert promised is not None
    assert capsys.readouterr().out.strip() == promised[1]


def test_the_example_of_webhook_urls(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = blocks(README, "python", "Webhook and failover URLs")
    names = run(code)
    assert len(capsys.readouterr().out.splitlines()) >= 3
    assert names["update"].webhook_event_url == "https://hooks.example.com/rooms"


def test_the_example_of_the_simulator(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = blocks(README, "python", "The simulator")
    run(code)
    assert capsys.readouterr().out.startswith("20 ")


HEADINGS = [
    "Update one room",
    "In a web backend",
    "Update many rooms",
    "The rate limit",
    "Webhook and failover URLs",
    "Receive events",
    "The simulator",
]


def test_the_example_of_receiving_events(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The commands of the section, line by line: a lively simulator, the receiver, and the update of all rooms."""
    monkeypatch.chdir(tmp_path)
    lively, commands = blocks(README, "sh", "Receive events")
    update = commands.splitlines()[-1]
    words = shlex.split(lively.replace("--port 8080", "--port 0 --lively-rate 20 --rooms 3 --json"))
    command = [sys.executable, "-m", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as simulate:
        try:
            assert simulate.stdout is not None
            ready = json.loads(simulate.stdout.readline())
            for name, key in (("API_KEY", "api_key"), ("BASE_URL", "url"), ("PUBLIC_KEY", "public_key")):
                monkeypatch.setenv(f"TELNYX_{name}", ready[key])
            names = run(blocks(README, "python", "Receive events")[0])

            async def receive() -> None:
                async with TestServer(names["app"]) as receiver:
                    aimed = update.replace("http://127.0.0.1:8787", str(receiver.make_url("")).rstrip("/"))
                    shell = await asyncio.create_subprocess_shell(
                        aimed.replace("aiorooms ", f"{sys.executable} -m aiorooms "), stdout=subprocess.DEVNULL
                    )
                    assert await shell.wait() == 0
                    while "video.room.participant.joined" not in "".join(printed):
                        printed.append(capsys.readouterr().out)
                        await asyncio.sleep(0.05)

            printed: list[str] = []
            asyncio.run(receive())
        finally:
            simulate.terminate()
    assert "video.room.participant.joined ParticipantJoinedPayload(room_id='" in "".join(printed)


def test_every_python_block_is_run_by_a_test_in_this_module() -> None:
    assert sum(len(blocks(README, "python", heading)) for heading in HEADINGS) == len(blocks(README, "python")) == 8


@pytest.mark.parametrize("module", [aiorooms, bulk, errors, simulator_module, telemetry, webhook_config, webhooks])
def test_the_readme_names_everything_public(module: ModuleType) -> None:
    words = set(re.findall(r"\w+", README.read_text()))
    # The README omits the version and the type aliases of codes. An editor shows the values of these aliases.
    assert set(module.__all__) - words - {"__version__", "InputCode", "ProblemCode", "Reason"} == set()


def test_the_readme_names_every_method_of_a_client() -> None:
    words = set(re.findall(r"\w+", README.read_text()))
    for kind in (RoomsClient, type(RoomsClient("KEY").rooms)):
        assert {name for name in vars(kind) if not name.startswith("_")} - words == set()


@pytest.mark.parametrize("heading", ["Try it", "Run the tests"])
def test_the_first_command_of_a_section_is_one_line(heading: str) -> None:
    command = blocks(README, "sh", heading)[0]
    assert command.count("\n") == 1
    assert "\\" not in command


def test_ci_runs_the_readmes_test_command() -> None:
    script = (ROOT / ".ci/run").read_text()
    awk = re.search(r"command=\$\((awk .*)\)\n", script)
    assert awk is not None
    printed = subprocess.run(["bash", "-c", awk[1]], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert printed == blocks(README, "sh", "Run the tests")[0]


def test_the_command_line_section_names_real_commands(
    simulator: RoomsSimulator, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from aiorooms.cli import main

    monkeypatch.setattr(gc, "freeze", lambda: None)  # it would hide the garbage of other tests
    lines = [line.partition("#")[0].split() for line in blocks(README, "sh", "The command line")[0].splitlines()]
    invoke: Callable[[], None] = main
    for words in lines:
        assert words[0] == "aiorooms"
        arguments = [ROOM_ID if word.startswith("ROOM_ID") else word for word in words]
        if words[1] in ("simulate", "demo"):  # other tests run these
            arguments.append("--help")
        monkeypatch.setattr(sys, "argv", arguments)
        with contextlib.suppress(SystemExit):
            invoke()
        captured = capsys.readouterr()
        assert "Error" not in captured.err, captured.err
        assert captured.out
    assert simulator.rooms[ROOM_ID]["max_participants"] == 20


def typed(commands: str, sim: RoomsSimulator, folder: Path) -> "Iterator[tuple[str, subprocess.CompletedProcess[str]]]":
    """Run the lines of a block of commands, each in a shell of its own. The first line sets the environment."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    first, *lines = commands.replace("http://127.0.0.1:8080/v2", sim.url).splitlines()
    for line in lines:
        with_port = line.replace("http://127.0.0.1:8080/webhooks", sim.receiver_url)
        script = ["bash", "-c", f"{first}; {with_port}"]
        yield line, subprocess.run(script, env=environment, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.timeout(300)  # six commands, each in a separate process
def test_the_commands_move_every_room_to_a_new_webhook_host_and_back(tmp_path: Path) -> None:
    simulate, commands = blocks(README, "sh", "Change every room: plan, apply, roll back")
    words = simulate.split()
    assert words[:4] == ["aiorooms", "simulate", "--port", "8080"]
    with RoomsSimulator(rooms=2000, rate_limit="1000/1s", api_key="KEY_simulated") as sim:
        before = {room_id: room["webhook_event_url"] for room_id, room in sim.rooms.items()}
        urls: list[set[str]] = []
        for line, done in typed(commands, sim, tmp_path):
            assert done.returncode == 0, f"{line}: {done.stderr}"
            urls.append({str(room["webhook_event_url"]).split("/")[2] for room in sim.rooms.values()})
        planned, tried, applied, *_, rolled_back = urls
        both = {"old.example.com", "new.example.com"}
        assert (planned, tried, applied) == ({"old.example.com"}, both, {"new.example.com"})
        assert rolled_back == {"old.example.com"}
        assert before == {room_id: room["webhook_event_url"] for room_id, room in sim.rooms.items()}
    assert (tmp_path / "tonight.html").exists()


@pytest.mark.timeout(300)  # five commands, each in a separate process
def test_the_commands_audit_fix_and_probe_every_webhook(tmp_path: Path) -> None:
    simulate, commands = blocks(README, "sh", "Check every webhook of the account")
    assert simulate == "aiorooms simulate --port 8080 --rooms 500 --webhooks mixed\n"
    with RoomsSimulator(rooms=500, webhooks="mixed", api_key="KEY_simulated") as sim:
        codes = {line: done.returncode for line, done in typed(commands, sim, tmp_path)}
        audited, planned, applied, probed, planned_again = codes.values()
        assert (audited, planned, applied, probed, planned_again) == (1, 1, 0, 0, 0)
        failover = [room["webhook_event_failover_url"] for room in sim.rooms.values()]
        assert failover.count("https://backup.example.net/rooms") == 10, (
            "two of each 100 rooms lack a failover of their own"
        )
        assert not any(str(room["webhook_event_url"]).startswith("http:") for room in sim.rooms.values())
    assert Plan.open(tmp_path / "rooms.plan").rooms == 500
