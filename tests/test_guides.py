"""Every Python example in the guides runs and does what its guide says."""

import asyncio
import logging
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp.test_utils import TestClient, TestServer

from aiorooms import WebhookUrlPolicy
from aiorooms.bulk import Journal
from aiorooms.cli._main import cli
from aiorooms.simulator import RoomsSimulator
from aiorooms.simulator._control import Control
from aiorooms.webhook_config._findings import KINDS, MEANINGS, SEVERITIES

from .documents import BULK_GUIDE, DISTRIBUTED_GUIDE, SIMULATOR_GUIDE, TELEMETRY_GUIDE, WEBHOOKS_GUIDE, blocks, run
from .proxies import real_proxy


def test_the_example_of_a_bulk_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _ = blocks(BULK_GUIDE, "python")
    monkeypatch.chdir(tmp_path)
    with RoomsSimulator(rooms=2) as sim:
        monkeypatch.setenv("TELNYX_API_KEY", sim.api_key)
        monkeypatch.setenv("TELNYX_BASE_URL", sim.url)
        run(code)
        assert [room["webhook_event_url"] for room in sim.rooms.values()] == ["https://new.example.com/rooms"] * 2
    counts, *planned, statuses, differences, back = capsys.readouterr().out.splitlines()
    assert counts == "2 rooms to change, 0 unchanged"
    assert len(planned) == 2
    assert statuses == "{'updated': 2} not stopped"
    assert differences == "[]"
    assert back == "2 rooms to change back, 0 conflicts"


def test_the_example_of_a_file_with_problems(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, code = blocks(BULK_GUIDE, "python")
    monkeypatch.chdir(tmp_path)
    Path("rooms.csv").write_text("room,max_participants,webhook_event_url\nlobby,99,\nhall,20,hooks.example.com\n")
    run(code)
    assert capsys.readouterr().out == blocks(BULK_GUIDE, "text")[0]


def test_the_example_of_the_pytest_fixtures(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(blocks(SIMULATOR_GUIDE, "python")[0])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", "-p", "no:cacheprovider", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert "2 passed" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("number", range(4))
def test_the_examples_of_the_simulator(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    _, *examples = blocks(SIMULATOR_GUIDE, "python")  # the first one is about the fixtures
    outputs = blocks(SIMULATOR_GUIDE, "text")
    assert len(examples) == len(outputs) == 4
    run(examples[number])
    assert capsys.readouterr().out == outputs[number]


async def test_the_example_of_the_control_url() -> None:
    _, example = blocks(SIMULATOR_GUIDE, "sh")
    async with RoomsSimulator() as sim, aiohttp.ClientSession() as session:
        control = Control(sim, lambda _: None)
        await control.start(0)
        states: list[Any] = []
        for command in example.splitlines():
            words = shlex.split(command.replace("http://127.0.0.1:8081/control", control.url))
            method = words[words.index("-X") + 1] if "-X" in words else "GET"
            data = words[words.index("-d") + 1] if "-d" in words else None
            async with session.request(method, words[-1], data=data) as answer:
                assert (words[0], answer.status) == ("curl", 200)
                states.append(await answer.json())
        await control.stop()
    start, broken, closed, end = states
    assert (start["rate_limit"], start["faults"], start["latency"]) == (None, None, 0)
    assert (broken["rate_limit"]["limit"], broken["faults"]["rate"], broken["latency"]) == (50, 0.1, 0.05)
    assert closed["outage"] == "closed"
    assert (end["outage"], end["faults"], end["api_key"]) == (None, None, "KEY_new")
    table = SIMULATOR_GUIDE.read_text().partition("### Change it while it runs")[2]
    assert {f"| `{key}` |" in table for key in end} == {True}


@pytest.mark.parametrize("number", range(3))
def test_the_examples_of_webhook_settings(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(blocks(WEBHOOKS_GUIDE, "python")) == len(blocks(WEBHOOKS_GUIDE, "text")) == 3
    run(blocks(WEBHOOKS_GUIDE, "python")[number])
    assert capsys.readouterr().out == blocks(WEBHOOKS_GUIDE, "text")[number]


IN_PRODUCTION = [*blocks(TELEMETRY_GUIDE, "python")]
WITH_OUTPUT = [IN_PRODUCTION[number] for number in (0, 1, 2, 3, 6)]


@pytest.mark.parametrize("number", range(5))
def test_the_recipes_for_production(
    number: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    logger = logging.getLogger("aiorooms")
    monkeypatch.setattr(logger, "handlers", [*logger.handlers])
    monkeypatch.setattr(logger, "level", logger.level)
    assert len(IN_PRODUCTION) == 7
    assert len(WITH_OUTPUT) == len(blocks(TELEMETRY_GUIDE, "text"))
    run(WITH_OUTPUT[number])
    assert capsys.readouterr().out == blocks(TELEMETRY_GUIDE, "text")[number]


def test_the_recipe_for_aiohttp(monkeypatch: pytest.MonkeyPatch) -> None:
    with RoomsSimulator(rooms=5) as sim:
        monkeypatch.setenv("TELNYX_API_KEY", sim.api_key)
        monkeypatch.setenv("TELNYX_BASE_URL", sim.url)
        names = run(IN_PRODUCTION[4])

        async def use() -> Any:
            async with TestClient(TestServer(names["app"])) as http:
                async with http.post(f"/rooms/{sim.room_ids[0]}/recording") as answer:
                    return await answer.json()

        room = asyncio.run(use())
    assert (room["id"], room["enable_recording"]) == (sim.room_ids[0], True)


def test_the_recipe_for_a_proxy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with RoomsSimulator(rooms=5) as sim, real_proxy(tmp_path, "--basic-auth", "user:password") as proxy:
        monkeypatch.setenv("TELNYX_API_KEY", sim.api_key)
        monkeypatch.setenv("TELNYX_BASE_URL", sim.url)
        run(IN_PRODUCTION[5].replace("proxy.example.com:3128", f"127.0.0.1:{proxy.port}"))
        assert capsys.readouterr().out == "5 rooms\n"
        assert proxy.has_served("/v2/rooms")


def test_the_example_of_a_run_on_several_machines(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    (example,) = blocks(DISTRIBUTED_GUIDE, "python")
    run(example)
    assert capsys.readouterr().out.splitlines()[-1] == "ended 1000"
    assert {*Journal.open("tonight.journal").states().values()} == {"updated"}


def test_the_commands_of_a_run_on_several_machines_exist() -> None:
    text = "".join(blocks(DISTRIBUTED_GUIDE, "sh"))
    words = re.findall(r"^aiorooms (.+)$", text, re.MULTILINE)
    assert len(words) == 6
    for line in words:
        command, *options = shlex.split(line)
        named = {name for parameter in cli.commands[command].params for name in parameter.opts}
        assert {word for word in options if word.startswith("--")} <= named


def test_the_guide_names_every_kind_of_finding() -> None:
    text = WEBHOOKS_GUIDE.read_text()
    for kind in KINDS:
        assert f"| `{kind}` | {SEVERITIES[kind]} | {MEANINGS[kind]} |\n" in text


def test_the_example_of_a_policy_file(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(blocks(WEBHOOKS_GUIDE, "toml")[0])
    assert WebhookUrlPolicy.from_toml(path) == WebhookUrlPolicy(
        schemes=["https"], allow_private_hosts=False, allowed_hosts=["example.com", "*.example.com"]
    )
