"""Plain http to other machines: an error, unless `--allow-insecure-http` allows it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from yarl import URL

from aiorooms.cli._main import cli
from aiorooms.simulator import RoomsSimulator

from ..samples import ROOM_ID
from .conftest import KEY, lines, run

FLAG = "--allow-insecure-http"


@pytest.fixture
def remote(monkeypatch: pytest.MonkeyPatch) -> Iterator[RoomsSimulator]:
    """A simulator whose URL is not one of loopback, though this machine can connect to it."""
    with RoomsSimulator(rooms=2, api_key=KEY, host="0.0.0.0") as sim:
        monkeypatch.setenv("TELNYX_API_KEY", KEY)
        monkeypatch.setenv("TELNYX_BASE_URL", str(URL(sim.url).with_host("0.0.0.0")))
        yield sim


def with_base_url(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if isinstance(command, click.Group):
        for name, one in command.commands.items():
            yield from with_base_url(one, (*path, name))
    elif any("--base-url" in parameter.opts for parameter in command.params):
        yield path


ARGUMENTS: dict[str, list[str]] = {
    "update": [ROOM_ID, "--enable-recording"],
    "get": [ROOM_ID],
    "plan": ["--set", "max_participants=3"],
    "apply": ["rooms.plan"],
    "resume": ["journal"],
    "verify": ["rooms.plan"],
    "rollback": ["journal"],
    "export": ["rooms.csv"],
    "webhooks probe": ["--room", ROOM_ID],
    "worker": ["--on", "redis://127.0.0.1:1/0"],
}


@pytest.mark.parametrize("words", [*with_base_url(cli)], ids=" ".join)
@pytest.mark.parametrize("option", [True, False])
def test_without_the_option_plain_http_is_an_error(
    remote: RoomsSimulator, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], option: bool
) -> None:
    more = ARGUMENTS.get(" ".join(words), [])
    if option:
        monkeypatch.delenv("TELNYX_BASE_URL")
        more = [*more, "--base-url", "http://0.0.0.0:1/v2"]
    result = run(*words, *more)
    assert result.exit_code == 2
    name = "--base-url" if option else "TELNYX_BASE_URL"
    (line,) = lines(result.stderr)
    assert line.startswith(f"aiorooms: {name} 'http://0.0.0.0:")
    assert line.endswith(
        f"would send the API key unencrypted; use https, or {FLAG} if the server is a simulator or the network is "
        "trusted"
    )
    assert remote.stats.requests == 0
    if words != ("worker",):  # it would wait for its Redis
        assert "would send the API key unencrypted" not in run(*words, *more, FLAG).stderr


def test_with_the_option_commands_use_plain_http(remote: RoomsSimulator) -> None:
    first = remote.room_ids[0]
    assert run("update", first, "--max-participants", "3", FLAG).exit_code == 0
    assert "max_participants\t3\n" in run("get", first, FLAG).stdout
    assert len(lines(run("list", FLAG).stdout)) == 2
    assert remote.rooms[first]["max_participants"] == 3


def test_suggested_commands_repeat_the_option(
    remote: RoomsSimulator, on_terminal: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, text = on_terminal("plan", "--set", "max_participants=3", FLAG)
    assert (code, f"To apply the plan: aiorooms apply rooms.plan {FLAG}\n" in text) == (0, True), text
    url = str(URL(remote.url).with_host("0.0.0.0"))
    code, text = on_terminal("apply", "rooms.plan", "--yes", "--base-url", url, FLAG)
    assert f"aiorooms rollback rooms.plan.journal --base-url {url} {FLAG}\n" in text


def test_a_check_of_a_file_needs_no_server() -> None:
    Path("rooms.csv").write_text(f"room,max_participants\n{ROOM_ID},3\n")
    assert run("plan", "rooms.csv", "--check", FLAG).exit_code == 0


def test_probing_a_url_does_not_use_the_api() -> None:
    result: Any = run("webhooks", "probe", "https://hooks.example.com/", FLAG)
    assert result.exit_code == 2
    assert lines(result.stderr) == [f"aiorooms: {FLAG}: give --room too"]
