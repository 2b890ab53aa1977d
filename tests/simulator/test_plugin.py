"""The pytest plugin: the fixtures `rooms_simulator` and `rooms_simulator_env`, and their marker."""

import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

USER_TESTS = """
import urllib.request

import pytest

pytestmark = pytest.mark.rooms_simulator(rooms=3, seed=5)


def get(sim, path="/rooms"):
    request = urllib.request.Request(f"{sim.url}{path}", headers={"Authorization": f"Bearer {sim.api_key}"})
    with urllib.request.urlopen(request) as answer:
        return answer.headers["x-ratelimit-limit"]


def test_sync(rooms_simulator) -> None:
    assert len(rooms_simulator.rooms) == 3
    assert get(rooms_simulator) is None


@pytest.mark.rooms_simulator(rooms=2, rate_limit="7/1s", api_key="KEY_mine")
def test_marked(rooms_simulator) -> None:
    assert len(rooms_simulator.rooms) == 2
    assert get(rooms_simulator) == "7"
    assert rooms_simulator.api_key == "KEY_mine"


@pytest.mark.asyncio
async def test_async(rooms_simulator) -> None:
    assert get(rooms_simulator) is None


@pytest.mark.rooms_simulator(1000)
def test_wrong_marker(rooms_simulator) -> None:
    pass


@pytest.fixture
def unused():
    pass
"""
USERS_OF_THE_ENVIRONMENT = """
import asyncio
import os

import pytest

from aiorooms import RoomsClient

VARIABLES = ("TELNYX_API_KEY", "TELNYX_BASE_URL")


@pytest.fixture(autouse=True, scope="module")
def other_variables():
    os.environ.update(TELNYX_API_KEY="KEY_other", TELNYX_BASE_URL="https://api.example.com/v2")
    yield
    assert [os.environ[name] for name in VARIABLES] == ["KEY_other", "https://api.example.com/v2"]


@pytest.mark.rooms_simulator(rooms=3, api_key="KEY_mine")
def test_sync(rooms_simulator_env, rooms_simulator) -> None:
    assert rooms_simulator_env is rooms_simulator
    assert [os.environ[name] for name in VARIABLES] == ["KEY_mine", rooms_simulator.url]

    async def update() -> None:
        async with RoomsClient() as client:
            await client.rooms.update(rooms_simulator.room_ids[2], max_participants=3)

    asyncio.run(update())
    assert rooms_simulator.stats.updates_applied == {rooms_simulator.room_ids[2]: 1}


@pytest.mark.asyncio
async def test_async(rooms_simulator_env) -> None:
    async with RoomsClient() as client:
        assert (await client.rooms.list_page(1)).rooms


def test_without_the_fixture() -> None:
    assert os.environ["TELNYX_API_KEY"] == "KEY_other"
"""
UNUSED = """
import sys


def test_without_the_fixture(request) -> None:
    assert request.config.pluginmanager.hasplugin("aiorooms.pytest_plugin")
    assert not [name for name in sys.modules if name.startswith("aiorooms.simulator")]


def test_with_the_fixture(rooms_simulator) -> None:
    assert "aiorooms.simulator" in sys.modules
"""


def run(tmp_path: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = os.environ | {
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    return subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        cwd=tmp_path,
        env=environment,
        text=True,
        capture_output=True,
        check=False,
        timeout=30,
    )


def test_the_simulator_is_imported_when_the_fixture_is_used_and_not_before(tmp_path: Path) -> None:
    (tmp_path / "test_unused.py").write_text(UNUSED)
    done = run(tmp_path, "-m", "pytest", "-p", "aiorooms.pytest_plugin", "-p", "no:cacheprovider")
    assert "2 passed" in done.stdout, done.stdout + done.stderr


def test_pytest_finds_the_plugin_by_its_entry_point() -> None:
    found = [entry.value for entry in entry_points(group="pytest11") if entry.name == "aiorooms"]
    if not found:
        pytest.skip("aiorooms is not installed, so it has no entry points")
    assert set(found) == {"aiorooms.pytest_plugin"}


def test_the_fixture_and_its_marker_work_in_the_tests_of_a_user(tmp_path: Path) -> None:
    (tmp_path / "test_users.py").write_text(USER_TESTS)
    plugins = ["-p", "aiorooms.pytest_plugin", "-p", "pytest_asyncio.plugin", "-p", "no:cacheprovider"]
    plugins += ["-o", "asyncio_default_fixture_loop_scope=function"]
    done = run(tmp_path, "-m", "pytest", *plugins, "--strict-markers", "-W", "error", "-rE")
    assert "3 passed, 1 error" in done.stdout, done.stdout + done.stderr
    assert "accepts keyword arguments only, not (1000,)" in done.stdout
    listed = run(tmp_path, "-m", "pytest", *plugins, "--markers")
    assert "@pytest.mark.rooms_simulator(**arguments)" in listed.stdout
    listed = run(tmp_path, "-m", "pytest", *plugins, "--fixtures")
    assert "A running Telnyx Video Rooms simulator" in listed.stdout
    assert "with TELNYX_API_KEY and TELNYX_BASE_URL set" in listed.stdout


def test_the_variables_are_set_only_during_the_test(tmp_path: Path) -> None:
    (tmp_path / "test_users.py").write_text(USERS_OF_THE_ENVIRONMENT)
    plugins = ["-p", "aiorooms.pytest_plugin", "-p", "pytest_asyncio.plugin", "-p", "no:cacheprovider"]
    plugins += ["-o", "asyncio_default_fixture_loop_scope=function"]
    done = run(tmp_path, "-m", "pytest", *plugins, "--strict-markers", "-W", "error")
    assert "3 passed" in done.stdout, done.stdout + done.stderr


def test_without_a_marker_the_fixture_has_10_rooms(request: pytest.FixtureRequest) -> None:
    if not request.config.pluginmanager.hasplugin("aiorooms"):
        pytest.skip("aiorooms is not installed, so pytest has not loaded its plugin")
    sim = request.getfixturevalue("rooms_simulator")
    assert len(sim.rooms) == 10
